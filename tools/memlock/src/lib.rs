// SPDX-License-Identifier: GPL-2.0

//! Locks the memory of the program that it is loaded into, before the program's `main`.
//!
//! `sheepctl guard` names it in LD_PRELOAD. A lock made before exec(2) ends with exec(2), and no system
//! call locks the memory of another process, so it is made from inside: by this library, once when it
//! is loaded, and again in the child after each fork(2), which does not inherit locks either. What it
//! must never do: lock anything without being asked, which the environment variable [`MARK`] does.
//!
//! What is mapped when the program starts (its code and libraries) is read in at once. What comes
//! later is locked when it is touched: else the unused rest of every thread's stack, 8 MiB, would be
//! memory.

mod sys;

use std::io::{self, Write};

use rustix::mm::{mlockall, MlockAllFlags};

/// Set by `sheepctl guard`: the id of the process that becomes the program, a dash, and what makes the
/// value unique.
pub const MARK: &str = "SHEEPCTL_GUARD";

/// The exit status of a program that could not be locked, as of all that `sheepctl guard` cannot do.
pub const CANNOT_GUARD: i32 = 125;

/// The dynamic loader calls what stands in this section, when the C library works already.
#[used]
#[link_section = ".init_array"]
static WHEN_LOADED: extern "C" fn() = when_loaded;

extern "C" fn when_loaded() {
    let Some(mark) = std::env::var_os(MARK) else {
        return;
    };
    let Err(error) = lock() else {
        return;
    };
    // Whatever else the program starts inherits the environment and may do without; `sheepctl check`
    // finds what is not locked and matters.
    let own = format!("{}-", std::process::id());
    if mark.as_encoded_bytes().starts_with(own.as_bytes()) {
        let _ = writeln!(
            io::stderr(),
            "sheepctl: guard: the memory cannot be locked: {error}\n  \
             there has to be memory for all of the program, and either CAP_IPC_LOCK or `ulimit -l unlimited`"
        );
        std::process::exit(CANNOT_GUARD);
    }
}

fn lock() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT)?;
    // Without CURRENT this says how later mappings are locked, and lets those that exist be.
    mlockall(MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    sys::at_fork()
}
