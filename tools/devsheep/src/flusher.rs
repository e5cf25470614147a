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

/// From `include/uapi/linux/prctl.h`; the `libc` crate does not have it.
const PR_SET_IO_FLUSHER: libc::c_int = 57;
const ON: libc::c_ulong = 1;
const UNUSED: libc::c_ulong = 0;

/// Marks the process an I/O flusher and locks its memory.
///
/// # Errors
///
/// When the capability is missing; the message says which.
pub fn become_io_flusher() -> Result<()> {
    // SAFETY: PR_SET_IO_FLUSHER takes integers only and touches no memory of this process.
    let status = unsafe { libc::prctl(PR_SET_IO_FLUSHER, ON, UNUSED, UNUSED, UNUSED) };
    if status != 0 {
        return Err(std::io::Error::last_os_error()).context(
            "--io-flusher: prctl(PR_SET_IO_FLUSHER) failed: it needs CAP_SYS_RESOURCE and Linux 5.6; \
             run as root, or `setcap cap_sys_resource,cap_ipc_lock+ep` on the binary",
        );
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE).context(
        "--io-flusher: mlockall failed: it needs CAP_IPC_LOCK or a larger `ulimit -l`; \
         run as root, or `setcap cap_sys_resource,cap_ipc_lock+ep` on the binary",
    )
}
