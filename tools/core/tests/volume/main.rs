// SPDX-License-Identifier: GPL-2.0

//! `volume` as a whole: a model of the driver's [`shell`] and of its connections ([`outage`]) drives
//! it against a model of a cluster ([`sheep`], [`abandoned`]), in arbitrary orders ([`property`]) and in
//! all orders ([`explorer`], [`failover`]), and hostile peers try to mislead it ([`hostile`]);
//! [`opening`] maps VDIs that change under way. [`waiting`] looks at `Creations` alone.

mod abandoned;
mod budget;
mod events;
mod explorer;
mod failover;
mod history;
mod hostile;
mod opening;
mod outage;
mod property;
mod sheep;
mod shell;
mod waiting;
mod world;
