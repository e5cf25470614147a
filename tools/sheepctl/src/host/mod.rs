// SPDX-License-Identifier: GPL-2.0

//! This machine: where its kernel's files are, and making the driver ready for a mapping.
//!
//! Comes in: a root directory, `/` but for tests. Goes out: paths below it, and the driver's
//! configfs directory, with the module loaded and configfs mounted. With another root than `/`
//! nothing outside that directory is read, written, loaded or mounted.

pub mod device_node;
pub mod holders;
pub mod kernel_log;
pub mod lock;
pub mod network;
pub mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};

use crate::failure::{Failure, Outcome};

/// The kernel module's name.
const MODULE: &str = "sheepdog";

/// The file system tree that stands for this machine.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The machine below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `absolute` below the root.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// The directory that holds one directory per mapping.
    pub fn driver_directory(&self) -> PathBuf {
        self.configfs().join(MODULE)
    }

    fn configfs(&self) -> PathBuf {
        self.path("/sys/kernel/config")
    }

    fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Makes [`Self::driver_directory`] exist: loads the modules and mounts configfs, as
    /// `rbd map` does.
    ///
    /// # Errors
    ///
    /// `ENODEV` when the driver is not there afterwards; `EPERM` for a user who may not load it.
    pub fn prepare_driver(&self) -> Outcome<()> {
        if self.driver_directory().is_dir() {
            return Ok(());
        }
        let mut loading = Ok(());
        if self.is_this_machine() {
            loading = modprobe("configfs")
                .and_then(|()| mount_configfs(&self.configfs()))
                .and_then(|()| modprobe(MODULE));
        }
        if self.driver_directory().is_dir() {
            return Ok(());
        }
        Err(self.explain_missing_driver(loading.err()))
    }

    fn explain_missing_driver(&self, cause: Option<Failure>) -> Failure {
        if !rustix::process::geteuid().is_root() && self.is_this_machine() {
            return Failure::new(
                Errno::PERM,
                "the driver is not loaded, and only root can load it",
            )
            .advise("run sheepctl as root");
        }
        let failure = cause.unwrap_or_else(|| {
            Failure::new(
                Errno::NODEV,
                format!(
                    "the driver is not loaded: {} does not exist",
                    self.driver_directory().display()
                ),
            )
        });
        if self.configfs_is_mounted() {
            failure.advise(
                "load it with `modprobe sheepdog`, or `insmod sheepdog.ko` from a build directory",
            )
        } else {
            failure.advise(format!(
                "configfs is not mounted: `mount -t configfs configfs {}`",
                self.configfs().display()
            ))
        }
    }

    /// Whether the mount table lists a configfs; an unreadable table counts as yes.
    fn configfs_is_mounted(&self) -> bool {
        std::fs::read_to_string(self.path("/proc/self/mounts")).map_or(true, |mounts| {
            mounts
                .lines()
                .any(|line| line.split(' ').nth(2) == Some("configfs"))
        })
    }
}

/// Loads `module`, or finds it loaded or built in.
fn modprobe(module: &str) -> Outcome<()> {
    let run = Command::new("modprobe").arg(module).output();
    let output = run.map_err(|error| {
        Failure::from_io(&error, format!("cannot run `modprobe {module}`"))
            .advise("install kmod, or load the driver with insmod")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(
        Errno::NODEV,
        format!("`modprobe {module}` failed: {}", reason.trim()),
    ))
}

/// Mounts configfs unless it is mounted.
fn mount_configfs(directory: &Path) -> Outcome<()> {
    match mount("configfs", directory, "configfs", MountFlags::empty(), None) {
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(errno) => Err(Failure::from_io(
            &errno.into(),
            format!("cannot mount configfs on {}", directory.display()),
        )),
    }
}

/// Names and `major:minor` of the disk and its partitions.
pub fn disk_and_partitions(host: &Host, disk: &str) -> Vec<(String, String)> {
    let directory = host.path("/sys/block").join(disk);
    let numbers = |path: &Path| {
        fs::read_to_string(path.join("dev"))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let mut devices = vec![(disk.to_owned(), numbers(&directory))];
    for name in names_in(&directory) {
        let partition = directory.join(&name);
        if partition.join("partition").exists() {
            devices.push((name, numbers(&partition)));
        }
    }
    devices
}

/// Names of the entries of `directory`; none when it cannot be read.
fn names_in(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str], mounts: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for path in paths {
            std::fs::create_dir_all(root.path().join(path)).unwrap();
        }
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        std::fs::write(root.path().join("proc/self/mounts"), mounts).unwrap();
        root
    }

    #[test]
    fn a_loaded_driver_is_found() {
        let root = tree(&["sys/kernel/config/sheepdog"], "");
        Host::new(root.path()).prepare_driver().unwrap();
    }

    #[test]
    fn a_missing_module_is_named() {
        let root = tree(
            &["sys/kernel/config"],
            "configfs /sys/kernel/config configfs rw 0 0\n",
        );
        let failure = Host::new(root.path()).prepare_driver().unwrap_err();
        assert_eq!(failure.errno(), Errno::NODEV);
        assert!(
            failure.to_string().contains("modprobe sheepdog"),
            "{failure}"
        );
    }

    #[test]
    fn an_unmounted_configfs_is_named() {
        let root = tree(&["sys/kernel/config"], "sysfs /sys sysfs rw 0 0\n");
        let failure = Host::new(root.path()).prepare_driver().unwrap_err();
        assert!(
            failure.to_string().contains("mount -t configfs"),
            "{failure}"
        );
    }
}
