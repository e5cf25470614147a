// SPDX-License-Identifier: GPL-2.0

//! Process 1 of the virtual machine: sets the machine up, runs the scripts that the runner names,
//! tells how they ended, carries questions of a script to the runner (`vmtest-guest host ...`),
//! and reports on a hang. It stays locked in memory and must never do I/O to a disk under test.

#[path = "../message.rs"]
mod message;

mod agent;
mod dump;
mod question;
mod setup;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() != 1 {
        return question::ask(&words);
    }
    match setup::machine().and_then(|()| agent::serve()) {
        Ok(never) => match never {},
        Err(error) => {
            // Reaches the console through the kernel log; process 1 ending panics the kernel,
            // which is what the runner reports.
            setup::kernel_log(&format!("vmtest-guest: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
