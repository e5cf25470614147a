// SPDX-License-Identifier: GPL-2.0

//! What a hanging machine can still tell: the driver's in-flight tables and attributes, the state
//! of its queues, tasks that are blocked and where, memory. Every file is read by a thread of its
//! own with a limit, since reading may hang for the very reason that is looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::agent::Runner;
use crate::message::ToHost;

/// Limit for reading one file.
const READ_LIMIT: Duration = Duration::from_secs(1);

/// Directories whose files are shown, where they exist.
const TREES: &[&str] = &["/sys/kernel/debug/sheepdog", "/sys/kernel/config/sheepdog"];

/// Files that are shown.
const FILES: &[&str] = &[
    "/proc/meminfo",
    "/proc/pressure/memory",
    "/proc/pressure/io",
];

/// Sends everything, then the end.
pub fn send(runner: &Runner) {
    let mut paths: Vec<PathBuf> = Vec::new();
    for tree in TREES {
        collect(Path::new(tree), 0, &mut paths);
    }
    for queue in entries("/sys/kernel/debug/block") {
        if queue
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("sheep"))
        {
            collect(&queue, 0, &mut paths);
        }
    }
    paths.extend(FILES.iter().map(PathBuf::from));
    for task in entries("/proc") {
        if is_blocked(&task) {
            paths.extend(["comm", "cmdline", "wchan", "stack"].map(|file| task.join(file)));
        }
    }
    for path in paths {
        if let Some(text) = read_limited(&path) {
            runner.send(&ToHost::Dump {
                title: path.display().to_string(),
                text,
            });
        }
    }
    runner.send(&ToHost::DumpEnd);
}

fn entries(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    found.sort();
    found
}

fn collect(directory: &Path, depth: u32, paths: &mut Vec<PathBuf>) {
    if depth > 4 {
        return;
    }
    for entry in entries(directory) {
        if entry.is_dir() {
            collect(&entry, depth + 1, paths);
        } else {
            paths.push(entry);
        }
    }
}

/// Whether this entry of /proc is a task in uninterruptible sleep that is not an idle kernel
/// thread.
fn is_blocked(task: &Path) -> bool {
    let status = fs::read_to_string(task.join("stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; the state follows it.
    status
        .rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('D'))
}

fn read_limited(path: &Path) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    let file = path.to_owned();
    thread::spawn(move || {
        if let Ok(bytes) = fs::read(file) {
            // Nobody listens any more when the limit has passed.
            let _ = sender.send(String::from_utf8_lossy(&bytes).replace('\0', " "));
        }
    });
    match receiver.recv_timeout(READ_LIMIT) {
        Ok(text) => Some(text),
        Err(mpsc::RecvTimeoutError::Timeout) => Some("(reading this hangs)\n".into()),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
    }
}
