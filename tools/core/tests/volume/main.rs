// SPDX-License-Identifier: GPL-2.0

//! `volume` as a whole: a model of the driver's shell drives it against a model of a cluster, in
//! arbitrary orders ([`property`]) and in all orders ([`explorer`]), and hostile peers try to
//! mislead it ([`hostile`]); [`opening`] maps VDIs that change under way. [`waiting`] looks at
//! `Creations` alone.

mod explorer;
mod history;
mod hostile;
mod opening;
mod property;
mod sheep;
mod shell;
mod waiting;
