// SPDX-License-Identifier: GPL-2.0

//! How user space maps, lists and unmaps: a configfs directory per mapping.
//!
//! The interface is described in Documentation/ABI/testing/configfs-sheepdog. Every mistake gets an
//! errno and a log line that says what is wrong.

mod attributes;
mod mapping;
mod names;
mod settings;

pub(crate) use attributes::{
    subsystem,
    Root, //
};
