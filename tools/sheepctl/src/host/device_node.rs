// SPDX-License-Identifier: GPL-2.0

//! Waiting until `/dev/sheepa` can be used.
//!
//! Comes in: a disk's name. Goes out: the path of its node, when the node is there and udev has
//! made its links. udev has finished with a device when its database has an entry for it; the
//! kernel's devtmpfs makes the node itself.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::failure::{Failure, Outcome};
use crate::host::{disk_and_partitions, Host};

/// How long the node and udev may take. udev needs milliseconds; a busy machine that boots may
/// take seconds.
const LIMIT: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// What stands at the place of a device node.
#[derive(Debug, PartialEq, Eq)]
enum Node {
    Missing,
    BlockDevice,
    Other,
}

fn look(path: &Path) -> Node {
    match fs::metadata(path) {
        Err(_) => Node::Missing,
        Ok(data) if data.file_type().is_block_device() => Node::BlockDevice,
        Ok(_) => Node::Other,
    }
}

/// Waits for the node of the disk `device` and for udev.
///
/// # Errors
///
/// `ETIMEDOUT` when the node does not appear; `EEXIST` when a file that is no block device is in
/// its place. A udev that does not finish in time is no error.
pub fn wait(host: &Host, device: &str) -> Outcome<PathBuf> {
    let path = host.path("/dev").join(device);
    let deadline = Instant::now() + LIMIT;
    while look(&path) != Node::BlockDevice {
        if look(&path) == Node::Other {
            return Err(Failure::new(
                Errno::EXIST,
                format!("{} is an ordinary file, not a device", path.display()),
            )
            .advise(format!(
                "remove it with `rm {}` and map again",
                path.display()
            )));
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Errno::TIMEDOUT,
                format!("the disk {device} exists, but {} does not", path.display()),
            )
            .advise("check that devtmpfs is mounted on /dev"));
        }
        std::thread::sleep(PAUSE);
    }
    while !udev_has_finished(host, device) && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
    }
    Ok(path)
}

/// Whether udev has handled the disk and its partitions, or does not run at all.
fn udev_has_finished(host: &Host, disk: &str) -> bool {
    if !host.path("/run/udev/control").exists() {
        return true;
    }
    let database = host.path("/run/udev/data");
    disk_and_partitions(host, disk)
        .iter()
        .all(|(_, numbers)| database.join(format!("b{numbers}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_place_of_the_node_is_an_error_at_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        fs::write(root.path().join("dev/sheepa"), "written by dd").unwrap();
        let failure = wait(&Host::new(root.path()), "sheepa").unwrap_err();
        assert_eq!(failure.errno(), Errno::EXIST);
        assert!(failure.to_string().contains("rm "), "{failure}");
    }

    #[test]
    fn udev_is_done_when_its_database_knows_the_device() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        assert!(udev_has_finished(&host, "sheepa"), "no udev");
        fs::create_dir_all(root.path().join("run/udev/data")).unwrap();
        fs::write(root.path().join("run/udev/control"), "").unwrap();
        fs::create_dir_all(root.path().join("sys/block/sheepa")).unwrap();
        fs::write(root.path().join("sys/block/sheepa/dev"), "252:16\n").unwrap();
        assert!(!udev_has_finished(&host, "sheepa"), "udev still works");
        fs::write(root.path().join("run/udev/data/b252:16"), "").unwrap();
        assert!(udev_has_finished(&host, "sheepa"), "udev has finished");
        fs::create_dir_all(root.path().join("sys/block/sheepa/sheepa1")).unwrap();
        fs::write(
            root.path().join("sys/block/sheepa/sheepa1/partition"),
            "1\n",
        )
        .unwrap();
        fs::write(root.path().join("sys/block/sheepa/sheepa1/dev"), "252:17\n").unwrap();
        assert!(!udev_has_finished(&host, "sheepa"), "a partition is left");
    }
}
