// SPDX-License-Identifier: GPL-2.0

//! Objects as sparse files in a directory, one file per object.
//!
//! `objects/<16 hex digits>` is an object, `objects/*.tmp` what a crash left of a CREATE, `note`
//! what [`Store::save_note`] keeps, `lock` is held while a server uses the directory.
//! With `sync` a WRITE is durable when it returns (O_DSYNC), and so is a CREATE (temporary file,
//! fsync, rename, fsync of the directory). Without it the page cache has the data, which survives
//! a killed server but no power failure.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use anyhow::bail;
use anyhow::Context;
use rustix::fs::flock;
use rustix::fs::fstatvfs;
use rustix::fs::FlockOperation;
use rustix::fs::OFlags;
use sheepdog_core::proto::ObjectId;

use super::range_end;
use super::NewObject;
use super::Result;
use super::Space;
use super::Store;

/// Objects are copied in pieces of this size.
const COPY_CHUNK: usize = 1 << 20;

const TEMPORARY: &str = "tmp";

/// The store.
pub struct DirectoryStore {
    root: PathBuf,
    objects: PathBuf,
    objects_dir: File,
    root_dir: File,
    sync: bool,
    next_temporary: AtomicU64,
    _lock: File,
}

impl DirectoryStore {
    /// Opens the store in `root`, which is created if need be.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or another server uses it.
    pub fn open(root: &Path, sync: bool) -> anyhow::Result<Self> {
        let objects = root.join("objects");
        fs::create_dir_all(&objects)
            .with_context(|| format!("cannot create {objects:?}; choose another --directory"))?;
        let lock = File::create(root.join("lock"))
            .with_context(|| format!("cannot write in {root:?}; choose another --directory"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("{root:?} is in use by another devsheep; stop it or choose another --directory");
        }
        for entry in fs::read_dir(&objects)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == TEMPORARY) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self {
            objects_dir: File::open(&objects)?,
            root_dir: File::open(root)?,
            root: root.to_owned(),
            objects,
            sync,
            next_temporary: AtomicU64::new(0),
            _lock: lock,
        })
    }

    fn path(&self, oid: ObjectId) -> PathBuf {
        self.objects.join(oid.to_string())
    }

    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        if self.sync {
            directory.sync_all()?;
        }
        Ok(())
    }

    /// Writes a file whole and puts it in the place of `target`.
    fn replace(
        &self,
        target: &Path,
        directory: &File,
        fill: impl FnOnce(&File) -> Result<()>,
    ) -> Result<()> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.objects.join(format!("{number}.{TEMPORARY}"));
        let attempt = || -> Result<()> {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&temporary)?;
            fill(&file)?;
            if self.sync {
                file.sync_all()?;
            }
            fs::rename(&temporary, target)?;
            Ok(self.sync_directory(directory)?)
        };
        attempt().inspect_err(|_| {
            // The first error is the one to report; what is left is removed at the next start.
            let _ = fs::remove_file(&temporary);
        })
    }
}

fn read_range(file: &File, offset: u64, len: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.resize(start + len, 0);
    let mut filled = 0;
    while filled < len {
        let buffer = &mut out[start + filled..];
        match file.read_at(buffer, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn copy_sparse(from: &File, to: &File, size: u64) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(COPY_CHUNK);
    let mut at = 0;
    while at < size {
        let len = usize::try_from(size - at).map_or(COPY_CHUNK, |rest| rest.min(COPY_CHUNK));
        buffer.clear();
        read_range(from, at, len, &mut buffer)?;
        if buffer.iter().any(|&byte| byte != 0) {
            to.write_all_at(&buffer, at)?;
        }
        at += len as u64;
    }
    Ok(())
}

impl Store for DirectoryStore {
    fn size_of(&self, oid: ObjectId) -> Result<Option<u64>> {
        match fs::metadata(self.path(oid)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self, oid: ObjectId, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        let file = File::open(self.path(oid))?;
        range_end(offset, len, file.metadata()?.len())?;
        Ok(read_range(&file, offset, len, out)?)
    }

    fn write(&self, oid: ObjectId, offset: u64, data: &[u8]) -> Result<()> {
        let mut options = OpenOptions::new();
        options.write(true);
        if self.sync {
            options.custom_flags(OFlags::DSYNC.bits() as i32);
        }
        let file = options.open(self.path(oid))?;
        range_end(offset, data.len(), file.metadata()?.len())?;
        Ok(file.write_all_at(data, offset)?)
    }

    fn create(&self, oid: ObjectId, object: NewObject<'_>) -> Result<()> {
        let base = object.base.map(|base| File::open(self.path(base)));
        let base = base.transpose()?;
        self.replace(&self.path(oid), &self.objects_dir, |file| {
            file.set_len(object.size)?;
            if let Some(base) = &base {
                copy_sparse(base, file, object.size)?;
            }
            for piece in object.pieces {
                range_end(piece.offset, piece.data.len(), object.size)?;
                file.write_all_at(piece.data, piece.offset)?;
            }
            Ok(())
        })
    }

    fn remove(&self, oid: ObjectId) -> Result<()> {
        fs::remove_file(self.path(oid))?;
        Ok(self.sync_directory(&self.objects_dir)?)
    }

    fn list(&self) -> Result<Vec<ObjectId>> {
        let mut oids = Vec::new();
        for entry in fs::read_dir(&self.objects)? {
            let name = entry?.file_name();
            let raw = name
                .to_str()
                .and_then(|name| u64::from_str_radix(name, 16).ok());
            oids.extend(raw.map(ObjectId::from_raw));
        }
        Ok(oids)
    }

    fn clear(&self) -> Result<()> {
        for oid in self.list()? {
            fs::remove_file(self.path(oid))?;
        }
        Ok(self.sync_directory(&self.objects_dir)?)
    }

    fn space(&self) -> Result<Space> {
        let stat = fstatvfs(&self.root_dir).map_err(io::Error::from)?;
        Ok(Space {
            size: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn save_note(&self, note: &[u8]) -> Result<()> {
        self.replace(&self.root.join("note"), &self.root_dir, |file| {
            Ok(file.write_all_at(note, 0)?)
        })
    }

    fn load_note(&self) -> Result<Option<Vec<u8>>> {
        match fs::read(self.root.join("note")) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn flush(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(&self.root_dir).map_err(io::Error::from)?)
    }

    fn waits_for_disk(&self) -> bool {
        true
    }
}
