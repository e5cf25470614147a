// SPDX-License-Identifier: GPL-2.0

//! Sheepdog volumes as block devices.
//!
//! Maps VDIs of a Sheepdog cluster as `/dev/sheepa`, `/dev/sheepb`, …: see
//! Documentation/admin-guide for how to use it, and Documentation/design for how it is built.

use kernel::{
    configfs,
    prelude::*, //
};

mod control;
mod device;
mod gateway;
mod observe;
pub mod proto;
mod request;
mod sys;
pub mod volume;

/// Of the module and its configfs interface.
const VERSION: &str = "0.1.0";

module! {
    type: Sheepdog,
    name: "sheepdog",
    authors: ["The sheepdog.ko developers"],
    description: "Sheepdog volumes as block devices",
    license: "GPL",
}

#[pin_data]
pub(crate) struct Sheepdog {
    #[pin]
    subsystem: configfs::Subsystem<control::Root>,
}

impl kernel::InPlaceModule for Sheepdog {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let subsystem = control::subsystem();
        try_pin_init!(Self {
            subsystem <- subsystem?,
        })
    }
}
