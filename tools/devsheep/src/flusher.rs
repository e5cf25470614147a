// SPDX-License-Identifier: GPL-2.0

//! Makes this process one that memory reclaim may wait for.
//!
//! A server on the host whose block device it backs must neither write back pages to get memory
//! nor be paged out, or the two wait for each other for ever. The marks are inherited by threads,
//! so this runs before there are any.

use anyhow::Context;
use anyhow::Result;
use rustix::mm::mlockall;
use rustix::mm::MlockAllFlags;
use rustix::process::configure_io_flusher_behavior;

/// Marks the process an I/O flusher and locks its memory.
///
/// # Errors
///
/// When the capability is missing; the message says which.
pub fn become_io_flusher() -> Result<()> {
    configure_io_flusher_behavior(true).context(
        "--io-flusher: prctl(PR_SET_IO_FLUSHER) failed: it needs CAP_SYS_RESOURCE and Linux 5.6; \
         run as root, or `setcap cap_sys_resource,cap_ipc_lock+ep` on the binary",
    )?;
    lock_memory().context(
        "--io-flusher: mlockall failed: it needs CAP_IPC_LOCK or a larger `ulimit -l`; \
         run as root, or `setcap cap_sys_resource,cap_ipc_lock+ep` on the binary",
    )
}

/// Reads in and locks what is mapped now, code and libraries; later memory is locked when it is
/// touched: else the unused rest of each thread's stack would be memory. Without `CURRENT` the second
/// call says how later mappings are locked and lets those that exist be.
fn lock_memory() -> rustix::io::Result<()> {
    mlockall(MlockAllFlags::CURRENT)?;
    mlockall(MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}
