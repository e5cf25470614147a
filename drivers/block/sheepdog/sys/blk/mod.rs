// SPDX-License-Identifier: GPL-2.0

//! Multi-queue block devices whose requests carry data of the driver and end with a status.
//!
//! `kernel::block::mq` cannot yet end a request with an error, reach its data, time out, or set
//! queue limits. This has the same shape, an [`Operations`] trait with a [`TagSet`] and a [`Disk`],
//! so that it can be replaced by the kernel's own when that has learnt it.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

// For a disk whose data is in memory; the driver's data goes to and from sockets.
#[cfg(sheepdog_samples)]
mod copy;
mod cursor;
mod disk;
mod request;
mod tag_set;

pub(crate) use cursor::{
    Chunk,
    Cursor, //
};
// The disks of samples have nothing to tell.
#[cfg(not(sheepdog_samples))]
pub(crate) use disk::Announcer;
pub(crate) use disk::{
    Disk,
    Limits, //
};
pub(crate) use request::{
    Hold,
    Op,
    Request,
    Status, //
};
pub(crate) use tag_set::{
    Operations,
    TagSet, //
};
