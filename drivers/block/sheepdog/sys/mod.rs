// SPDX-License-Identifier: GPL-2.0

//! What the `kernel` crate lacks: request queues whose requests carry data and end with a status,
//! TCP sockets on bio pages, allocation scopes, threads, memory pools, files in debugfs.
//!
//! All `unsafe` and all C of the driver live in this room. Its interfaces are safe: a request ends
//! exactly once, and a thread is gone before its code is. One thing is left to the rooms above, since
//! no type says it: a [`Chunk`](blk::Chunk) describes pages of a request and must be used up while that
//! request, or a [`Hold`](blk::Hold) of it, is there. Nothing here knows what Sheepdog is.

pub(crate) mod blk;
pub(crate) mod clock;
pub(crate) mod configfs;
pub(crate) mod debugfs;
pub(crate) mod errno;
mod ffi;
pub(crate) mod log;
pub(crate) mod memalloc;
// The driver allocates nothing on its way yet; discard will. Until then samples/mempool.rs keeps it.
#[cfg(sheepdog_samples)]
pub(crate) mod mempool;
pub(crate) mod pages;
pub(crate) mod slots;
pub(crate) mod socket;
pub(crate) mod thread;
