// SPDX-License-Identifier: GPL-2.0

//! Whether a started daemon is what it was started as.
//!
//! The process that could look has become the daemon, so another one looks, which is a child of
//! neither: the daemon would find a child that it does not know. It waits until the command runs,
//! gives it time to start its threads or to go into the background, looks at every process that has
//! the mark in its environment, says what it saw on standard error, and ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::pipe::{pipe_with, PipeFlags};

use crate::check::counted;
use crate::failure::{Failure, Outcome};
use crate::guard::{Guard, MARK};
use crate::host::process::{self, Process};
use crate::host::Host;
use crate::size::ByteSize;

/// How long a daemon may take to start its threads and to go into the background. Everything that
/// matters is inherited, so looking too early shows too few threads, not wrong ones.
const SETTLING: Duration = Duration::from_secs(2);

/// Between two looks whether it still runs.
const PAUSE: Duration = Duration::from_millis(100);

/// The way to the process that looks: it begins when this end is closed, which exec(2) does.
pub struct Watcher(File);

impl Watcher {
    /// There is nothing to look at.
    pub fn cancel(mut self) {
        // If it has died, it does not look either.
        let _ = self.0.write_all(b"x");
    }
}

/// Now, for a mark.
pub fn started() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

/// Starts the process that looks.
///
/// # Errors
///
/// The errno of a failed system call.
pub fn begin(mark: &str, guard: &Guard) -> Outcome<Watcher> {
    let failed =
        |error: io::Error| Failure::from_io(&error, "cannot start the process that checks");
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let mut parent = again(&["--detach"], mark, guard.lock, guard.quiet)
        .stdin(Stdio::from(theirs))
        .spawn()
        .map_err(failed)?;
    parent.wait().map_err(failed)?;
    Ok(Watcher(File::from(ours)))
}

fn again(options: &[&str], mark: &str, lock: bool, quiet: bool) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("guard-watch").args(options);
    if lock {
        command.arg("--lock");
    }
    if quiet {
        command.arg("--quiet");
    }
    command.arg(mark).stdout(Stdio::null());
    command
}

/// The process between: starts the one that looks and ends, so that nobody's child is left.
///
/// # Errors
///
/// The errno of a failed system call.
pub fn detach(mark: &str, lock: bool, quiet: bool) -> Outcome<()> {
    again(&[], mark, lock, quiet)
        .spawn()
        .map(|_| ())
        .map_err(|error| Failure::from_io(&error, "cannot start the process that checks"))
}

/// The process that looks.
pub fn watch(host: &Host, mark: &str, lock: bool, quiet: bool) {
    let mut cancelled = Vec::new();
    let read = io::stdin().read_to_end(&mut cancelled);
    if read.is_err() || !cancelled.is_empty() {
        return;
    }
    let deadline = Instant::now() + SETTLING;
    while Instant::now() < deadline {
        if marked(host, mark).is_empty() {
            return;
        }
        thread::sleep(PAUSE);
    }
    for process in marked(host, mark) {
        match verdict(&process, lock) {
            Some(Ok(text)) if !quiet => eprintln!("sheepctl: guard: {text}"),
            Some(Err(text)) => eprintln!("sheepctl: guard: WRONG: {text}"),
            _ => {}
        }
    }
}

fn marked(host: &Host, mark: &str) -> Vec<Process> {
    let mut processes = process::all(host);
    processes.retain(|process| process.environment(MARK).as_deref() == Some(OsStr::new(mark)));
    processes
}

/// What a process is; `Err` if that is not what it should be, `None` if it has ended.
fn verdict(process: &Process, lock: bool) -> Option<Result<String, String>> {
    let subject = format!("{} (pid {})", process.name(), process.pid);
    let threads = process.threads();
    if threads.all == 0 {
        return None;
    }
    let memory = process.memory();
    let mut wrong = Vec::new();
    if threads.io_flushers < threads.all {
        let other = threads.all - threads.io_flushers;
        let all = counted(threads.all, "thread");
        wrong.push(format!(
            "{other} of {all} no I/O flusher, which only the program itself can undo"
        ));
    }
    let memory = match memory {
        _ if !lock => "its memory was not to be locked".to_owned(),
        Ok(memory) if memory.is_locked() => format!("{} are locked", ByteSize(memory.resident)),
        Ok(memory) => {
            wrong.push(format!(
                "{} of {} not locked: the program did not load the library (set-user-id or \
                 capabilities on its file), or unlocked its memory",
                ByteSize(memory.unlocked),
                ByteSize(memory.resident)
            ));
            String::new()
        }
        Err(error) => format!("whether its memory is locked cannot be seen ({error})"),
    };
    Some(if wrong.is_empty() {
        let all = counted(threads.all, "thread");
        Ok(format!("{subject}: {all}, all I/O flushers; {memory}"))
    } else {
        Err(format!("{subject}: {}", wrong.join("; ")))
    })
}
