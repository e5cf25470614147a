// SPDX-License-Identifier: GPL-2.0

//! The rooms `proto/` and `volume/` of the kernel module, compiled as an ordinary crate from the
//! very same files, so that they can be property-tested, fuzzed and shared with the tools.

#![cfg_attr(not(test), no_std)]

#[path = "../../../drivers/block/sheepdog/proto/mod.rs"]
pub mod proto;

#[path = "../../../drivers/block/sheepdog/volume/mod.rs"]
pub mod volume;
