// SPDX-License-Identifier: GPL-2.0

//! Directories made once and kept under the hash of what they are made from. A directory appears
//! whole or not at all, so two runners may make the same one at once: the first one wins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use sha2::{Digest, Sha256};

/// Hash over the pieces that determine a directory's content.
pub struct Key(Sha256);

impl Key {
    /// Starts with a kind, e.g. `kernel`, and the version of the code that fills the directory.
    pub fn new(kind: &str, version: u32) -> Self {
        let mut key = Self(Sha256::new());
        key.add(kind.as_bytes());
        key.add(&version.to_le_bytes());
        key
    }

    /// Adds a piece; its length is part of the hash.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update((piece.len() as u64).to_le_bytes());
        self.0.update(piece);
    }

    /// Adds a file's content.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        self.add(&fs::read(path).with_context(|| format!("{}", path.display()))?);
        Ok(())
    }

    fn name(self) -> String {
        let digest: [u8; 32] = self.0.finalize().into();
        let start = digest.first_chunk().copied().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(start))
    }
}

/// Returns `<cache>/<kind>-<key>`, which `fill` makes if it is not there.
pub fn directory(
    cache: &Path,
    kind: &str,
    key: Key,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let target = cache.join(format!("{kind}-{}", key.name()));
    if target.is_dir() {
        return Ok(target);
    }
    fs::create_dir_all(cache).with_context(|| format!("{}", cache.display()))?;
    let work = tempfile::Builder::new()
        .prefix(&format!(".{kind}-"))
        .tempdir_in(cache)
        .with_context(|| format!("make a directory in {}", cache.display()))?;
    fill(work.path())?;
    match fs::rename(work.path(), &target) {
        Ok(()) => {
            // It is no longer at the place that would be removed.
            let _ = work.keep();
            Ok(target)
        }
        Err(_) if target.is_dir() => Ok(target),
        Err(error) => Err(error).with_context(|| format!("{}", target.display())),
    }
}

/// Makes a read-only image of a directory. Uncompressed: decompressing costs an emulated CPU more
/// than reading from the host's page cache.
pub fn erofs(image: &Path, directory: &Path) -> Result<()> {
    let output = Command::new("mkfs.erofs")
        .args(["--quiet", "--all-root", "-T0", "-x-1"])
        .args([image, directory])
        .output()
        .context("mkfs.erofs: install the package erofs-utils")?;
    if !output.status.success() {
        bail!(
            "mkfs.erofs {}: {}",
            directory.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(piece: &str) -> Key {
        let mut key = Key::new("test", 1);
        key.add(piece.as_bytes());
        key
    }

    #[test]
    fn filled_once_and_kept() {
        let cache = tempfile::tempdir().unwrap();
        let fill = |path: &Path| Ok(fs::write(path.join("a"), "1")?);
        let first = directory(cache.path(), "test", key("x"), fill).unwrap();
        let again = |_: &Path| bail!("must not be filled again");
        assert_eq!(
            directory(cache.path(), "test", key("x"), again).unwrap(),
            first
        );
        assert_ne!(
            directory(cache.path(), "test", key("y"), fill).unwrap(),
            first
        );
    }

    #[test]
    fn a_failed_fill_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let fail = |path: &Path| {
            fs::write(path.join("half"), "")?;
            bail!("no")
        };
        assert!(directory(cache.path(), "test", key("x"), fail).is_err());
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_loses_the_race_takes_the_winners() {
        let cache = tempfile::tempdir().unwrap();
        let path = directory(cache.path(), "test", key("x"), |mine| {
            fs::write(mine.join("a"), "mine")?;
            let theirs = |path: &Path| Ok(fs::write(path.join("a"), "theirs")?);
            directory(cache.path(), "test", key("x"), theirs)?;
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "theirs");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    }
}
