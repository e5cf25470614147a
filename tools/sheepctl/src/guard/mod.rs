// SPDX-License-Identifier: GPL-2.0

//! Starting a daemon that memory reclaim may wait for: `sheepctl guard`.
//!
//! Comes in: a command. Goes out: this process becomes the command, as with env(1) and nice(1), as an
//! I/O flusher, with a library loaded that locks its memory, and last in line when memory runs out.
//! The command is not changed and need not know. What it starts itself inherits all of that.
//!
//! Why so, and not otherwise: being an I/O flusher is inherited over fork(2) and exec(2), and there is
//! a call for it. Locked memory is inherited over neither, and no call locks the memory of another
//! process, so the lock is made inside the command, by tools/memlock.

pub mod program;
pub mod watch;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{configure_io_flusher_behavior, setrlimit, Resource, Rlimit};

use crate::failure::{errno_text, Failure, Outcome};
use crate::guard::program::Loading;
use crate::name::printable;

/// Exit codes as env(1) has them.
const CANNOT_GUARD: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Marks the environment of everything that a guard has started (tools/memlock).
pub const MARK: &str = "SHEEPCTL_GUARD";

/// File name of the library of tools/memlock.
const LIBRARY: &str = "libsheepdog_memlock.so";

/// What to start, and how.
#[derive(Debug)]
pub struct Guard {
    /// Program and arguments; not empty.
    pub command: Vec<OsString>,
    pub oom_score_adj: i16,
    pub lock: bool,
    /// The library of tools/memlock, if not where it is installed.
    pub library: Option<PathBuf>,
    /// Says only what is wrong.
    pub quiet: bool,
}

/// Becomes the command. Returns only when that is not possible.
pub fn run(guard: &Guard) -> Failure {
    match prepare(guard) {
        Ok(command) => start(guard, command),
        Err(failure) => failure.exits_with(CANNOT_GUARD),
    }
}

fn prepare(guard: &Guard) -> Outcome<Command> {
    let (name, arguments) = guard
        .command
        .split_first()
        .ok_or_else(|| Failure::new(Errno::INVAL, "no command"))?;
    let mut command = Command::new(name);
    command.args(arguments);
    if guard.lock {
        if let Loading::Impossible(reason) = program::loading(name) {
            return Err(Failure::new(
                Errno::NOEXEC,
                format!("cannot lock the memory of `{}`: it is {reason}", printable(name.as_bytes())),
            )
            .advise("the lock is made by a library that is loaded into the program")
            .advise(
                "start it with --no-lock, in a unit with MemorySwapMax=0 and MemoryMin=: then it is \
                 never swapped out, but its code can be dropped and has to be read again",
            ));
        }
        command.env("LD_PRELOAD", preload(&library(guard)?));
    }
    configure_io_flusher_behavior(true).map_err(refused)?;
    // With CAP_SYS_RESOURCE, which the call above needs, this succeeds, and then no lock needs
    // CAP_IPC_LOCK, whatever user the program becomes.
    if guard.lock {
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        setrlimit(Resource::Memlock, unlimited).map_err(|errno| {
            Failure::from_io(&errno.into(), "cannot raise the limit of locked memory")
                .advise("CAP_SYS_RESOURCE is missing; see the help for what gives it")
        })?;
    }
    fs::write("/proc/self/oom_score_adj", guard.oom_score_adj.to_string()).map_err(|error| {
        Failure::from_io(&error, "cannot set oom_score_adj")
            .advise("/proc has to be mounted and writable, and CAP_SYS_RESOURCE there")
    })?;
    Ok(command)
}

/// Why the kernel does not make this process an I/O flusher.
fn refused(errno: Errno) -> Failure {
    let failure = Failure::new(
        errno,
        format!(
            "the kernel refuses to make this an I/O flusher (PR_SET_IO_FLUSHER): {}",
            errno_text(errno)
        ),
    );
    match errno {
        Errno::PERM => failure
            .advise("CAP_SYS_RESOURCE is missing. Run sheepctl as root;")
            .advise("in a unit with User=, add AmbientCapabilities=CAP_SYS_RESOURCE;")
            .advise(
                "in a container, add it (--cap-add SYS_RESOURCE); a rootless one cannot have it",
            ),
        Errno::INVAL => failure.advise("it takes Linux 5.6 or later"),
        _ => failure,
    }
}

/// The library: beside this program as cargo leaves it, or as it is installed.
fn library(guard: &Guard) -> Outcome<PathBuf> {
    let own = std::env::current_exe().unwrap_or_default();
    let directory = own.parent().unwrap_or(Path::new("/"));
    let candidates = match &guard.library {
        Some(path) => vec![path.clone()],
        None => vec![
            directory.join(LIBRARY),
            directory.join("../lib/sheepdog").join(LIBRARY),
        ],
    };
    let found = candidates.iter().find_map(|path| path.canonicalize().ok());
    found.ok_or_else(|| {
        let places: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
        Failure::new(
            Errno::NOENT,
            format!(
                "{LIBRARY}, which locks memory, is not at {}",
                places.join(" or ")
            ),
        )
        .advise("install sheepctl with `make install`, or start the program with --no-lock")
    })
}

/// The library before all that is to be loaded anyway.
fn preload(library: &Path) -> OsString {
    let mut list = library.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|list| !list.is_empty()) {
        list.push(":");
        list.push(others);
    }
    list
}

fn start(guard: &Guard, mut command: Command) -> Failure {
    // Processes that others started keep their marks apart from those that this one starts.
    let mark = format!("{}-{}", std::process::id(), watch::started());
    command.env(MARK, &mark);
    let watcher = match watch::begin(&mark, guard) {
        Ok(watcher) => watcher,
        Err(failure) => return failure.exits_with(CANNOT_GUARD),
    };
    let error = command.stdin(Stdio::inherit()).exec();
    watcher.cancel();
    let name = printable(guard.command[0].as_bytes());
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_RUN,
    };
    Failure::from_io(&error, format!("cannot run `{name}`")).exits_with(code)
}
