// SPDX-License-Identifier: GPL-2.0

//! Processes of this machine, as far as memory reclaim is concerned.
//!
//! Comes in: `/proc`. Goes out: whether a process is an I/O flusher, whether its memory is locked,
//! what its memory cgroup allows, and which files and sockets it has open. Only looks. A process that
//! ends meanwhile has no threads and no files.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::host::{names_in, Host};

/// What `prctl(PR_SET_IO_FLUSHER)` sets in a task: PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE
/// (include/linux/sched.h; PR_IO_FLUSHER in kernel/sys.c).
const IO_FLUSHER_FLAGS: u32 = 0x0008_0000 | 0x0010_0000;

/// Where the task's flags stand in `/proc/<pid>/stat`, counted from behind the name.
const FLAGS_FIELD: usize = 6;

/// Resident memory that no lock covers in a process that has locked everything: pages of the kernel's
/// own (vDSO, vvar) and what one of its calls maps at the moment.
const UNLOCKED_SLACK: u64 = 64 << 10;

/// One process.
#[derive(Debug, Clone)]
pub struct Process {
    directory: PathBuf,
    pub pid: u32,
}

/// How many threads a process has, and how many of them are I/O flushers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    pub all: usize,
    pub io_flushers: usize,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub resident: u64,
    /// Resident or swapped out, and not locked.
    pub unlocked: u64,
}

impl Memory {
    pub fn is_locked(self) -> bool {
        self.unlocked <= UNLOCKED_SLACK
    }
}

/// What the memory cgroup of a process and those above it allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryCgroup {
    /// The smallest limit (memory.max or memory.high), in bytes.
    pub limit: Option<u64>,
    /// Nothing is swapped out (memory.swap.max is 0).
    pub never_swapped: bool,
}

/// All processes, by rising id.
pub fn all(host: &Host) -> Vec<Process> {
    let pids: BTreeSet<u32> = names_in(&host.path("/proc"))
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    pids.into_iter()
        .map(|pid| Process::new(host, pid))
        .collect()
}

impl Process {
    pub fn new(host: &Host, pid: u32) -> Self {
        Self {
            directory: host.path("/proc").join(pid.to_string()),
            pid,
        }
    }

    /// The name that the kernel knows it by: 15 bytes at most, and the process can change it.
    pub fn name(&self) -> String {
        let name = fs::read_to_string(self.directory.join("comm")).unwrap_or_default();
        name.trim_end().to_owned()
    }

    /// The file name of its program, if this user may see it.
    pub fn program(&self) -> Option<String> {
        let path = fs::read_link(self.directory.join("exe")).ok()?;
        let name = path.file_name()?.to_str()?;
        Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
    }

    /// Its threads; none when it has ended.
    pub fn threads(&self) -> Threads {
        let tasks = self.directory.join("task");
        let flags: Vec<u32> = names_in(&tasks)
            .iter()
            .filter_map(|task| fs::read_to_string(tasks.join(task).join("stat")).ok())
            .filter_map(|stat| flags_of(&stat))
            .collect();
        let is_flusher = |flags: &&u32| *flags & IO_FLUSHER_FLAGS == IO_FLUSHER_FLAGS;
        Threads {
            all: flags.len(),
            io_flushers: flags.iter().filter(is_flusher).count(),
        }
    }

    /// Its memory.
    ///
    /// # Errors
    ///
    /// `EACCES` for a process of another user.
    pub fn memory(&self) -> io::Result<Memory> {
        let rollup = fs::read_to_string(self.directory.join("smaps_rollup"))?;
        let bytes = |name| bytes_of(&rollup, name).unwrap_or(0);
        Ok(Memory {
            resident: bytes("Rss:"),
            unlocked: bytes("Pss:").saturating_sub(bytes("Locked:")) + bytes("Swap:"),
        })
    }

    /// The value of a variable in the environment that it was started with.
    pub fn environment(&self, name: &str) -> Option<OsString> {
        let all = fs::read(self.directory.join("environ")).ok()?;
        let variable = all.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable.strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        })?;
        Some(OsString::from_vec(variable.to_vec()))
    }

    /// What its memory cgroup allows. Nothing is known of version 1 of the cgroups.
    pub fn memory_cgroup(&self, host: &Host) -> MemoryCgroup {
        let table = fs::read_to_string(self.directory.join("cgroup")).unwrap_or_default();
        let mut allowed = MemoryCgroup::default();
        let Some(path) = table.lines().find_map(|line| line.strip_prefix("0::/")) else {
            return allowed;
        };
        let root = host.path("/sys/fs/cgroup");
        let directory = root.join(path);
        for group in directory
            .ancestors()
            .take_while(|group| group.starts_with(&root))
        {
            let number = |file: &str| -> Option<u64> {
                fs::read_to_string(group.join(file))
                    .ok()?
                    .trim()
                    .parse()
                    .ok()
            };
            let limits = ["memory.max", "memory.high"].map(number);
            let limits = limits.into_iter().flatten().chain(allowed.limit);
            allowed.limit = limits.min();
            allowed.never_swapped |= number("memory.swap.max") == Some(0);
        }
        allowed
    }

    /// Inodes of its sockets, if this user may see them.
    pub fn sockets(&self) -> Vec<u64> {
        let open = self.open_files();
        open.iter()
            .filter_map(|path| {
                let inode = path.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                inode.parse().ok()
            })
            .collect()
    }

    /// Paths that it works with: what it has open, its program, its directory, and those among its
    /// arguments.
    /// sheep takes its directories as one argument with commas between them.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = self.open_files();
        let links = ["cwd", "exe"].map(|link| self.directory.join(link));
        paths.extend(links.iter().filter_map(|link| fs::read_link(link).ok()));
        let arguments = fs::read(self.directory.join("cmdline")).unwrap_or_default();
        let words = arguments.split(|byte| matches!(byte, 0 | b',' | b'='));
        paths.extend(words.map(|word| PathBuf::from(OsString::from_vec(word.to_vec()))));
        paths.retain(|path| path.is_absolute());
        paths
    }

    fn open_files(&self) -> Vec<PathBuf> {
        let directory = self.directory.join("fd");
        names_in(&directory)
            .iter()
            .filter_map(|number| fs::read_link(directory.join(number)).ok())
            .collect()
    }

    /// `major:minor` and source of the file system that `path` is on, as the process sees it.
    pub fn file_system_of(&self, path: &Path) -> Option<(String, String)> {
        let table = fs::read(self.directory.join("mountinfo")).ok()?;
        let mut best: Option<(usize, (String, String))> = None;
        for line in String::from_utf8_lossy(&table).lines() {
            // id, parent, major:minor, root, mount point, options, optional fields, -, type, source
            let fields: Vec<&str> = line.split(' ').collect();
            let (Some(numbers), Some(point)) = (fields.get(2), fields.get(4)) else {
                continue;
            };
            let dash = fields.iter().position(|field| *field == "-");
            let source = dash.and_then(|dash| fields.get(dash + 2)).unwrap_or(&"");
            let point = PathBuf::from(point.replace("\\040", " "));
            let length = point.as_os_str().as_bytes().len();
            // Of two mounts on one directory the later one is seen.
            if path.starts_with(&point) && best.as_ref().is_none_or(|(most, _)| length >= *most) {
                best = Some((length, ((*numbers).to_owned(), (*source).to_owned())));
            }
        }
        best.map(|(_, file_system)| file_system)
    }
}

/// The flags in a line of `stat`. The name before them is in parentheses, and can hold some.
fn flags_of(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields
        .split_ascii_whitespace()
        .nth(FLAGS_FIELD)?
        .parse()
        .ok()
}

fn bytes_of(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn flags_stand_behind_a_name_with_parentheses() {
        let stat = "7 (a) S (b) S 1 7 7 0 -1 1573120 95 0 0 0 1 2 0 0 20 0 3 0 99 0 0";
        assert_eq!(flags_of(stat), Some(1_573_120));
        assert_eq!(flags_of("7 (a"), None);
    }

    #[test]
    fn limits_of_the_groups_above_count() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        put(root.path(), "proc/7/cgroup", "0::/a.slice/b.service\n");
        let process = Process::new(&host, 7);
        assert_eq!(process.memory_cgroup(&host), MemoryCgroup::default());
        for (file, content) in [
            ("a.slice/b.service/memory.max", "max\n"),
            ("a.slice/b.service/memory.high", "1073741824\n"),
            ("a.slice/memory.max", "536870912\n"),
            ("a.slice/memory.swap.max", "0\n"),
        ] {
            put(root.path(), &format!("sys/fs/cgroup/{file}"), content);
        }
        assert_eq!(
            process.memory_cgroup(&host),
            MemoryCgroup {
                limit: Some(512 << 20),
                never_swapped: true
            }
        );
    }

    #[test]
    fn the_deepest_mount_has_the_file() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "proc/7/mountinfo",
            "20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
             30 20 252:1 / /srv/my\\040store rw - xfs /dev/sheepa1 rw\n",
        );
        let process = Process::new(&Host::new(root.path()), 7);
        let source = |path: &str| process.file_system_of(Path::new(path)).unwrap().1;
        assert_eq!(source("/srv/my store/obj/1"), "/dev/sheepa1");
        assert_eq!(source("/srv/my storehouse"), "/dev/sda1");
    }

    #[test]
    fn paths_are_open_files_and_arguments() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "proc/7/cmdline",
            "sheep\0-p\x007001\0/meta,/disk1\0--journal=/j\0",
        );
        fs::create_dir_all(root.path().join("proc/7/fd")).unwrap();
        std::os::unix::fs::symlink("socket:[123]", root.path().join("proc/7/fd/3")).unwrap();
        std::os::unix::fs::symlink("/meta/lock", root.path().join("proc/7/fd/4")).unwrap();
        let process = Process::new(&Host::new(root.path()), 7);
        let mut paths = process.paths();
        paths.sort();
        assert_eq!(
            paths,
            ["/disk1", "/j", "/meta", "/meta/lock"].map(PathBuf::from)
        );
        assert_eq!(process.sockets(), [123]);
    }

    #[test]
    fn the_environment_is_asked_for_whole_names() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "proc/7/environ", "AB=1\0A=x=y\0");
        let process = Process::new(&Host::new(root.path()), 7);
        assert_eq!(process.environment("A"), Some("x=y".into()));
        assert_eq!(process.environment("B"), None);
    }
}
