// SPDX-License-Identifier: GPL-2.0

//! What the machine finds under `/host`: process 1, tools, the module, tests. In: files of this
//! side. Out: a read-only image of them, made once per run of the runner and kernel.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::cache;

/// Names in the image.
const MODULE: &str = "sheepdog.ko";

/// What goes into the image.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The module under test.
    pub module: Option<PathBuf>,
    /// Programs, for `/host/bin`.
    pub programs: Vec<PathBuf>,
    /// Other files, `/host/<name>`.
    pub files: Vec<(PathBuf, String)>,
    /// Directories whose files go to `/host/tests`.
    pub tests: Vec<PathBuf>,
}

/// The image, in a directory of its own that goes away with it.
pub struct HostDir {
    directory: TempDir,
}

impl HostDir {
    /// No image.
    #[cfg(test)]
    pub fn empty() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        Ok(Self { directory })
    }

    /// Makes the image.
    pub fn make(contents: &Contents) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("vmtest-host-").tempdir()?;
        let top = directory.path().join("files");
        fs::create_dir_all(top.join("bin"))?;
        let own = std::env::current_exe()?;
        copy(&own.with_file_name("vmtest-guest"), &top.join("bin"))
            .context("process 1 of the machine has to be beside the runner: build both")?;
        for program in &contents.programs {
            copy(program, &top.join("bin"))?;
        }
        for (file, name) in &contents.files {
            let target = top.join(name);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::copy(file, target).with_context(|| format!("{}", file.display()))?;
        }
        if let Some(module) = &contents.module {
            fs::copy(module, top.join(MODULE)).with_context(|| format!("{}", module.display()))?;
        }
        for tests in &contents.tests {
            copy_tree(tests, &top.join("tests"))?;
        }
        cache::erofs(&directory.path().join("image"), &top)?;
        Ok(Self { directory })
    }

    /// Path of the image.
    pub fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }
}

fn copy(file: &Path, directory: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    fs::copy(file, directory.join(name)).with_context(|| format!("{}", file.display()))?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
