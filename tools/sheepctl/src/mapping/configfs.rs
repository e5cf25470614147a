// SPDX-License-Identifier: GPL-2.0

//! The driver's configfs directory.
//!
//! Comes in: the directory, a parameter so that tests can use a tree of their own. A write is one
//! write call and is not repeated when a signal interrupts it: `map` may take long, and EINTR is
//! its answer to ctrl-C.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::mapping::{Attribute, Driver};
use crate::name::MappingName;

/// The directory that holds one directory per mapping.
#[derive(Debug, Clone)]
pub struct ConfigfsDirectory {
    directory: PathBuf,
}

impl ConfigfsDirectory {
    /// The driver at `directory`, usually `/sys/kernel/config/sheepdog`.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    fn path(&self, mapping: &MappingName) -> PathBuf {
        self.directory.join(mapping.as_str())
    }
}

impl Driver for ConfigfsDirectory {
    fn mappings(&self) -> io::Result<Vec<MappingName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|text| text.parse().ok());
            if let (Some(name), true) = (name, entry.file_type()?.is_dir()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, mapping: &MappingName) -> io::Result<()> {
        fs::create_dir(self.path(mapping))
    }

    fn remove(&self, mapping: &MappingName) -> io::Result<()> {
        fs::remove_dir(self.path(mapping))
    }

    fn read(&self, mapping: &MappingName, attribute: Attribute) -> io::Result<Vec<u8>> {
        let mut value = fs::read(self.path(mapping).join(attribute.file_name()))?;
        if value.last() == Some(&b'\n') {
            value.pop();
        }
        Ok(value)
    }

    fn write(&self, mapping: &MappingName, attribute: Attribute, value: &[u8]) -> io::Result<()> {
        let path = self.path(mapping).join(attribute.file_name());
        let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        if rustix::io::write(file, value)? != value.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_are_mappings() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("b")).unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("version"), "1").unwrap();
        let names = ConfigfsDirectory::new(root.path()).mappings().unwrap();
        assert_eq!(names, ["a", "b"].map(|name| name.parse().unwrap()));
    }

    #[test]
    fn attributes_are_files_of_the_mapping() {
        let root = tempfile::tempdir().unwrap();
        let driver = ConfigfsDirectory::new(root.path());
        let mapping = "vm0".parse().unwrap();
        driver.create(&mapping).unwrap();
        let written = driver.write(&mapping, Attribute::Vdi, b"vm0");
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::NotFound);

        fs::write(root.path().join("vm0/vdi"), "").unwrap();
        driver.write(&mapping, Attribute::Vdi, b"alice").unwrap();
        assert_eq!(driver.read(&mapping, Attribute::Vdi).unwrap(), b"alice");
        fs::write(root.path().join("vm0/state"), "live\n").unwrap();
        assert_eq!(driver.read(&mapping, Attribute::State).unwrap(), b"live");
    }
}
