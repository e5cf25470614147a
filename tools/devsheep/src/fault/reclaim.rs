// SPDX-License-Identifier: GPL-2.0

//! Memory that runs out while a request is carried out: the thread that allocates has to reclaim
//! some itself. The kernel does that for who writes to a cgroup's `memory.reclaim` in the way in
//! which the thread may allocate: not through file systems if it is an I/O flusher.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The file of a cgroup to which one writes how much to reclaim.
pub const RECLAIM_FILE: &str = "memory.reclaim";
/// More than there is: it ends when nothing more is found.
const ALL: &str = "1G";

/// Reclaims what a cgroup's memory has that can be reclaimed.
pub fn reclaim(cgroup: &Path) {
    match fs::write(cgroup.join(RECLAIM_FILE), ALL) {
        Ok(()) => {}
        // Less than that was found.
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => tracing::warn!(?cgroup, %error, "cannot reclaim memory"),
    }
}
