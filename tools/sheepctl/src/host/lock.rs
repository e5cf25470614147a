// SPDX-License-Identifier: GPL-2.0

//! Commands of this machine that use or change one VDI wait for each other.
//!
//! Comes in: a VDI's name. Goes out: a lock, which ends with the process at the latest. It is a
//! file below `/run/sheepctl`, which only root can make: commands of other users, and of other
//! machines, are not kept out. VDIs of one name in two clusters share a lock, which costs time only.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{flock, FlockOperation};
use rustix::io::{retry_on_intr, Errno};

use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::name::{MappingName, Name};

/// The right to use or change a VDI, until it is dropped.
#[derive(Debug)]
pub struct VdiLock {
    /// Closing it ends the lock. None for who may not make it.
    _file: Option<File>,
}

impl VdiLock {
    /// Waits for the lock of the VDI `name`, and says so.
    ///
    /// # Errors
    ///
    /// The errno of a failed system call.
    pub fn take(host: &Host, name: &Name) -> Outcome<Self> {
        let directory = host.path("/run/sheepctl");
        // Names that become one file name share a lock.
        let path = directory.join(MappingName::for_vdi(name, 1).as_str());
        let failed =
            |error: io::Error| Failure::from_io(&error, format!("cannot lock {}", path.display()));
        let file = match make_directory(&directory).and_then(|()| open(&path)) {
            Ok(file) => file,
            Err(error) if is_not_for_us(&error) => return Ok(Self { _file: None }),
            Err(error) => return Err(failed(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                eprintln!("sheepctl: waiting for another sheepctl that works with VDI `{name}`");
                retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            }
            locked => locked,
        }
        .map_err(|errno| failed(errno.into()))?;
        Ok(Self { _file: Some(file) })
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Another user than root, or a machine without `/run`.
fn is_not_for_us(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotFound
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{channel, RecvTimeoutError};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn the_second_waits_for_the_first() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("run")).unwrap();
        let host = Host::new(root.path());
        let take = |name: &[u8]| VdiLock::take(&host, &Name::new(name).unwrap()).unwrap();
        let first = take(b"a/b");
        let _other = take(b"other");
        let (tell, told) = channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _second = take(b"a/b");
                tell.send(()).unwrap();
            });
            let early = told.recv_timeout(Duration::from_millis(100));
            drop(first);
            assert_eq!(early, Err(RecvTimeoutError::Timeout));
            told.recv_timeout(Duration::from_secs(30)).unwrap();
        });
    }

    #[test]
    fn without_a_place_for_locks_nobody_waits() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let name = Name::new(b"vm0").unwrap();
        let _first = VdiLock::take(&host, &name).unwrap();
        let _second = VdiLock::take(&host, &name).unwrap();
    }
}
