// SPDX-License-Identifier: GPL-2.0

//! A kernel's loadable modules: which files a module needs and in which order. In: the directory
//! `/lib/modules/<release>` with depmod's `modules.dep` and `modules.builtin`. Out: the files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::kernel::decompress;

/// The modules of one kernel.
pub struct Modules {
    directory: PathBuf,
    /// Path and the paths that it depends on, nearest first, by name.
    loadable: HashMap<String, (String, Vec<String>)>,
    builtin: HashSet<String>,
}

/// One module's file.
#[derive(Debug)]
pub struct Module {
    /// Name, with underscores.
    pub name: String,
    path: PathBuf,
}

impl Modules {
    /// Reads depmod's files.
    pub fn open(directory: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path)
                .with_context(|| format!("{}: run depmod for this kernel", path.display()))
        };
        Ok(Self::parse(
            directory,
            &read("modules.dep")?,
            &read("modules.builtin")?,
        ))
    }

    fn parse(directory: &Path, dependencies: &str, builtin: &str) -> Self {
        let loadable = dependencies
            .lines()
            .filter_map(|line| {
                let (path, needs) = line.split_once(':')?;
                let needs = needs.split_whitespace().map(String::from).collect();
                Some((name(path), (path.to_owned(), needs)))
            })
            .collect();
        Self {
            directory: directory.to_owned(),
            loadable,
            builtin: builtin.lines().map(name).collect(),
        }
    }

    /// The files of `wanted` and of all that they need, in the order in which they load. Modules
    /// that are part of the kernel are left out.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<Module>> {
        let mut order: Vec<&str> = Vec::new();
        for want in wanted {
            let Some((path, needs)) = self.loadable.get(*want) else {
                if self.builtin.contains(*want) {
                    continue;
                }
                bail!(
                    "{}: this kernel has no module {want}",
                    self.directory.display()
                );
            };
            // modules.dep lists all that a module needs, what loads first at the end.
            for path in needs.iter().rev().chain([path]) {
                if !order.contains(&path.as_str()) {
                    order.push(path);
                }
            }
        }
        Ok(order
            .into_iter()
            .map(|path| Module {
                name: name(path),
                path: self.directory.join(path),
            })
            .collect())
    }
}

impl Module {
    /// The module, decompressed.
    pub fn read(&self) -> Result<Vec<u8>> {
        let data = fs::read(&self.path).with_context(|| format!("{}", self.path.display()))?;
        match self.path.extension().and_then(|end| end.to_str()) {
            Some("xz") => decompress("xz", &data),
            Some("zst") => decompress("zstd", &data),
            Some("gz") => decompress("gzip", &data),
            _ => Ok(data),
        }
        .with_context(|| format!("{}", self.path.display()))
    }
}

/// The name of a module from its path: `kernel/net/core/net-failover.ko.xz` is `net_failover`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/a/net-x.ko.xz: kernel/b/mid.ko.xz kernel/c/low.ko.xz\n\
                       kernel/b/mid.ko.xz: kernel/c/low.ko.xz\n\
                       kernel/c/low.ko.xz:\n";

    fn names(wanted: &[&str]) -> Result<Vec<String>> {
        let modules = Modules::parse(Path::new("/m"), DEP, "kernel/d/inside.ko\n");
        let closure = modules.closure(wanted)?;
        Ok(closure.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn what_is_needed_loads_first_and_once() {
        assert_eq!(names(&["mid", "net_x"]).unwrap(), ["low", "mid", "net_x"]);
        assert_eq!(names(&["net_x"]).unwrap(), ["low", "mid", "net_x"]);
    }

    #[test]
    fn part_of_the_kernel_needs_no_file() {
        assert!(names(&["inside"]).unwrap().is_empty());
    }

    #[test]
    fn a_module_that_is_nowhere_is_an_error() {
        let error = names(&["nonesuch"]).unwrap_err();
        assert!(error.to_string().contains("no module nonesuch"));
    }
}
