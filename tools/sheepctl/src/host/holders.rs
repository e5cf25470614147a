// SPDX-License-Identifier: GPL-2.0

//! Who holds a disk open, so that it cannot be unmapped.
//!
//! Comes in: a disk's name. Goes out: mounts, swap areas, devices stacked on it and processes,
//! for the disk and its partitions. What this user may not see is left out: processes of other
//! users, for one who is not root.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use crate::host::{disk_and_partitions, names_in, Host};

/// One user of a disk or of a partition of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    Mount {
        device: String,
        directory: String,
    },
    Swap {
        device: String,
    },
    Device {
        device: String,
        above: String,
    },
    Process {
        device: String,
        pid: u32,
        command: String,
    },
}

impl Holder {
    /// Whether this is udev, which looks at a disk for a moment whenever somebody closes it.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Process { command, .. }
            if command.contains("udev"))
    }

    /// What lets go of the disk.
    pub fn remedy(&self) -> String {
        match self {
            Self::Mount { directory, .. } => format!("umount {directory}"),
            Self::Swap { device } => format!("swapoff /dev/{device}"),
            Self::Device { above, .. } if above.starts_with("dm-") => {
                format!("dmsetup remove /dev/{above}, or deactivate what it belongs to")
            }
            Self::Device { above, .. } if above.starts_with("loop") => {
                format!("losetup -d /dev/{above}")
            }
            Self::Device { above, .. } => format!("stop /dev/{above}"),
            Self::Process { pid, .. } => format!("end process {pid}"),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { device, directory } => {
                write!(f, "/dev/{device} is mounted on {directory}")
            }
            Self::Swap { device } => write!(f, "/dev/{device} is a swap area"),
            Self::Device { device, above } => write!(f, "/dev/{device} is part of /dev/{above}"),
            Self::Process {
                device,
                pid,
                command,
            } => write!(f, "/dev/{device} is open in process {pid} ({command})"),
        }
    }
}

/// All holders of the disk `disk` that can be seen, in a fixed order.
pub fn find(host: &Host, disk: &str) -> Vec<Holder> {
    let devices = disk_and_partitions(host, disk);
    let mut found = BTreeSet::new();
    for (device, numbers) in &devices {
        mounts(host, device, numbers, &mut found);
        swaps(host, device, &mut found);
        stacked(host, disk, device, &mut found);
    }
    loops(host, &devices, &mut found);
    processes(host, &devices, &mut found);
    found.into_iter().collect()
}

/// Lines of mountinfo: id, parent, major:minor, root, mount point (with octal escapes), …
fn mounts(host: &Host, device: &str, numbers: &str, found: &mut BTreeSet<Holder>) {
    let table = fs::read_to_string(host.path("/proc/self/mountinfo")).unwrap_or_default();
    for line in table.lines() {
        let mut fields = line.split(' ').skip(2);
        if fields.next() == Some(numbers) && !numbers.is_empty() {
            let directory = fields.nth(1).unwrap_or("?").replace("\\040", " ");
            found.insert(Holder::Mount {
                device: device.to_owned(),
                directory,
            });
        }
    }
}

fn swaps(host: &Host, device: &str, found: &mut BTreeSet<Holder>) {
    let table = fs::read_to_string(host.path("/proc/swaps")).unwrap_or_default();
    let path = format!("/dev/{device}");
    if table
        .lines()
        .any(|line| line.split_ascii_whitespace().next() == Some(path.as_str()))
    {
        found.insert(Holder::Swap {
            device: device.to_owned(),
        });
    }
}

/// Names of the devices that are made of the disk `disk` or of its partitions.
pub fn above(host: &Host, disk: &str) -> Vec<String> {
    let devices = disk_and_partitions(host, disk);
    let on = |(device, _): &(String, String)| stacked_on(host, disk, device);
    devices.iter().flat_map(on).collect()
}

fn stacked(host: &Host, disk: &str, device: &str, found: &mut BTreeSet<Holder>) {
    for above in stacked_on(host, disk, device) {
        found.insert(Holder::Device {
            device: device.to_owned(),
            above,
        });
    }
}

/// Device mapper, md and bcache devices: the kernel lists them under `holders`.
fn stacked_on(host: &Host, disk: &str, device: &str) -> Vec<String> {
    let mut directory = host.path("/sys/block").join(disk);
    if device != disk {
        directory.push(device);
    }
    names_in(&directory.join("holders"))
}

fn loops(host: &Host, devices: &[(String, String)], found: &mut BTreeSet<Holder>) {
    for above in names_in(&host.path("/sys/block")) {
        let file = host
            .path("/sys/block")
            .join(&above)
            .join("loop/backing_file");
        let Ok(backing) = fs::read_to_string(file) else {
            continue;
        };
        if let Some(device) = named(devices, backing.trim()) {
            found.insert(Holder::Device { device, above });
        }
    }
}

fn processes(host: &Host, devices: &[(String, String)], found: &mut BTreeSet<Holder>) {
    for name in names_in(&host.path("/proc")) {
        let Ok(pid) = name.parse::<u32>() else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let directory = host.path("/proc").join(&name);
        for number in names_in(&directory.join("fd")) {
            let Ok(target) = fs::read_link(directory.join("fd").join(number)) else {
                continue;
            };
            if let Some(device) = target.to_str().and_then(|path| named(devices, path)) {
                let command = fs::read_to_string(directory.join("comm")).unwrap_or_default();
                found.insert(Holder::Process {
                    device,
                    pid,
                    command: command.trim().to_owned(),
                });
            }
        }
    }
}

/// The device among `devices` whose node `path` is.
fn named(devices: &[(String, String)], path: &str) -> Option<String> {
    let name = path.strip_prefix("/dev/")?;
    devices
        .iter()
        .find(|(device, _)| device == name)
        .map(|(device, _)| device.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn put(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "sys/block/sheepa/dev", "252:0\n");
        put(root.path(), "sys/block/sheepa/sheepa1/dev", "252:1\n");
        put(root.path(), "sys/block/sheepa/sheepa1/partition", "1\n");
        put(root.path(), "sys/block/sheepa/queue/rotational", "0\n");
        put(root.path(), "sys/block/sheepb/dev", "252:16\n");
        root
    }

    fn shown(root: &Path) -> Vec<String> {
        find(&Host::new(root), "sheepa")
            .iter()
            .map(Holder::to_string)
            .collect()
    }

    #[test]
    fn an_idle_disk_has_no_holders() {
        let root = machine();
        put(
            root.path(),
            "proc/self/mountinfo",
            "30 1 252:16 / /b rw - ext4 /dev/sheepb rw\n",
        );
        fs::create_dir_all(root.path().join("proc/7/fd")).unwrap();
        symlink("/dev/sheepb", root.path().join("proc/7/fd/3")).unwrap();
        assert_eq!(shown(root.path()), Vec::<String>::new());
    }

    #[test]
    fn a_mounted_partition_is_found() {
        let root = machine();
        put(
            root.path(),
            "proc/self/mountinfo",
            "30 1 252:1 / /mnt/my\\040disk rw,relatime shared:1 - ext4 /dev/sheepa1 rw\n",
        );
        assert_eq!(
            shown(root.path()),
            ["/dev/sheepa1 is mounted on /mnt/my disk"]
        );
    }

    #[test]
    fn processes_swap_and_stacked_devices_are_found() {
        let root = machine();
        put(root.path(), "proc/42/comm", "dd\n");
        fs::create_dir_all(root.path().join("proc/42/fd")).unwrap();
        symlink("/dev/sheepa", root.path().join("proc/42/fd/1")).unwrap();
        put(
            root.path(),
            "proc/swaps",
            "Filename Type Size Used Priority\n/dev/sheepa1 partition 1 0 -2\n",
        );
        put(root.path(), "sys/block/sheepa/holders/dm-3/x", "");
        put(
            root.path(),
            "sys/block/loop4/loop/backing_file",
            "/dev/sheepa\n",
        );
        assert_eq!(
            shown(root.path()),
            [
                "/dev/sheepa1 is a swap area",
                "/dev/sheepa is part of /dev/dm-3",
                "/dev/sheepa is part of /dev/loop4",
                "/dev/sheepa is open in process 42 (dd)",
            ]
        );
    }

    #[test]
    fn udev_only_passes_by() {
        let process = |command: &str| Holder::Process {
            device: "sheepa".into(),
            pid: 1,
            command: command.into(),
        };
        assert!(process("(udev-worker)").is_passing());
        assert!(process("systemd-udevd").is_passing());
        assert!(!process("dd").is_passing());
    }
}
