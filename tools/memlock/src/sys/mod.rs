// SPDX-License-Identifier: GPL-2.0

//! The one call that has no safe interface in a library: to be called in the child after fork(2).

use std::io;

use rustix::mm::{mlockall, MlockAllFlags};

/// From now on a child locks its memory when it has been forked.
pub fn at_fork() -> io::Result<()> {
    // SAFETY: `after_fork` is a function, so it is there for as long as this library, which is never
    // unloaded. It makes one system call, which is allowed in a child whose other threads are gone.
    match unsafe { libc::pthread_atfork(None, None, Some(after_fork)) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The child shares its pages with its parent until one of them writes: with ONFAULT they are not all
/// copied at once. A failure has no one to tell.
unsafe extern "C" fn after_fork() {
    let _ = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT);
}
