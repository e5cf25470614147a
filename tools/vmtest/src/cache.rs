// SPDX-License-Identifier: GPL-2.0

//! Directories made once and kept under the hash of what they are made from. A directory appears
//! whole or not at all, so two runners may make the same one at once: the first one wins. One that
//! has not been used for long goes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{bail, Context, Result};
use sha2::{Digest, Sha256};

/// How long a directory stays after it was used last. No run of the runner takes so long.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long one stays that is being made, or was when its runner died. Making one takes a minute.
const KEPT_UNFINISHED: Duration = Duration::from_secs(24 * 3600);

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
    if let Ok(found) = File::open(&target) {
        // The time of its last use, see `prune`. A cache that cannot be written serves as well.
        let _ = found.set_modified(SystemTime::now());
        return Ok(target);
    }
    prune(cache, kind);
    make(cache, kind, target, fill)
}

fn make(
    cache: &Path,
    kind: &str,
    target: PathBuf,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
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

/// Removes directories of this kind that have not been used for long, and what runners that died
/// have left. What cannot be removed stays until the next time.
fn prune(cache: &Path, kind: &str) {
    let (finished, unfinished) = (format!("{kind}-"), format!(".{kind}-"));
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kept = if name.starts_with(&finished) {
            KEPT
        } else if name.starts_with(&unfinished) {
            KEPT_UNFINISHED
        } else {
            continue;
        };
        let used = entry.metadata().and_then(|data| data.modified());
        if used.is_ok_and(|used| used.elapsed().is_ok_and(|age| age > kept)) {
            let _ = fs::remove_dir_all(entry.path());
        }
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
    fn what_is_not_used_any_more_goes_when_another_is_made() {
        let cache = tempfile::tempdir().unwrap();
        let age = |path: &Path, age| {
            let then = SystemTime::now() - age;
            File::open(path).unwrap().set_modified(then).unwrap();
        };
        let fill = |path: &Path| Ok(fs::write(path.join("a"), "1")?);
        let make = |piece| directory(cache.path(), "test", key(piece), fill).unwrap();
        let unfinished = |name| {
            let path = cache.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (unused, used) = (make("unused"), make("used"));
        let (dead, going_on) = (unfinished(".test-a"), unfinished(".test-b"));
        let other = unfinished("other-c");
        for path in [&unused, &used, &other] {
            age(path, KEPT * 2);
        }
        age(&dead, KEPT_UNFINISHED * 2);
        assert_eq!(make("used"), used);
        let new = make("new");
        for path in [&used, &going_on, &other, &new] {
            assert!(path.is_dir(), "{}", path.display());
        }
        for path in [&unused, &dead] {
            assert!(!path.exists(), "{}", path.display());
        }
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
