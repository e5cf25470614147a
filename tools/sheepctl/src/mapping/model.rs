// SPDX-License-Identifier: GPL-2.0

//! A model of the driver's configfs interface for tests of the code above it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;

use rustix::io::Errno;

use super::{Attribute, Driver};
use crate::name::MappingName;

/// Values of one mapping's attributes.
pub type Files = HashMap<Attribute, String>;

/// Mappings in memory, and what the next actions shall answer.
#[derive(Debug, Default)]
pub struct ModelDriver {
    pub mappings: RefCell<BTreeMap<String, Files>>,
    /// The answer to `map`: success if `None`.
    pub map_error: Option<Errno>,
    /// An attribute that the driver refuses, and how.
    pub refused: Option<(Attribute, Errno)>,
    /// The answer to every read of an attribute, unless `None`.
    pub unreadable: Cell<Option<Errno>>,
    /// How often `unmap` without force answers EBUSY before it succeeds.
    pub busy_unmaps: RefCell<u32>,
    /// All that was written to `unmap`.
    pub unmaps: RefCell<Vec<String>>,
}

impl ModelDriver {
    /// A driver with one live mapping of `vdi` as `device`.
    pub fn with_live(mapping: &str, vdi: &str, device: &str) -> Self {
        let driver = Self::default();
        driver.add_live(mapping, vdi, device);
        driver
    }

    /// Adds one live mapping.
    pub fn add_live(&self, mapping: &str, vdi: &str, device: &str) {
        self.create(&mapping.parse().unwrap()).unwrap();
        self.set(mapping, Attribute::Vdi, vdi);
        self.set(mapping, Attribute::Gateways, "127.0.0.1:7000");
        self.go_live(mapping, device);
    }

    /// Sets an attribute as the kernel would.
    pub fn set(&self, mapping: &str, attribute: Attribute, value: &str) {
        let mut mappings = self.mappings.borrow_mut();
        let files = mappings.get_mut(mapping).unwrap();
        files.insert(attribute, value.to_owned());
    }

    /// Takes attributes away, as if the driver were older.
    pub fn forget(&self, attributes: &[Attribute]) {
        for files in self.mappings.borrow_mut().values_mut() {
            files.retain(|attribute, _| !attributes.contains(attribute));
        }
    }

    /// The value of an attribute.
    pub fn get(&self, mapping: &str, attribute: Attribute) -> String {
        self.mappings.borrow()[mapping][&attribute].clone()
    }

    fn go_live(&self, mapping: &str, device: &str) {
        self.set(mapping, Attribute::State, "live");
        self.set(mapping, Attribute::Device, device);
        self.set(mapping, Attribute::VdiId, "c596d4");
        self.set(mapping, Attribute::SizeBytes, "1073741824");
        self.set(mapping, Attribute::ObjectSize, "4194304");
        self.set(mapping, Attribute::MemoryBytes, "66560");
        self.set(mapping, Attribute::Gateway, "127.0.0.1:7000");
        self.set(mapping, Attribute::InFlight, "0");
        self.set(mapping, Attribute::Waiting, "0");
    }

    fn state(&self, mapping: &str) -> String {
        self.get(mapping, Attribute::State)
    }

    fn map(&self, mapping: &str) -> io::Result<()> {
        if let Some(errno) = self.map_error {
            self.set(mapping, Attribute::State, "failed");
            return Err(errno.into());
        }
        let number = self.mappings.borrow().len();
        let letter = char::from(b'a' + u8::try_from(number - 1).unwrap());
        self.go_live(mapping, &format!("sheep{letter}"));
        Ok(())
    }

    fn unmap(&self, mapping: &str, value: &str) -> io::Result<()> {
        self.unmaps.borrow_mut().push(value.to_owned());
        if self.get(mapping, Attribute::Device).is_empty() {
            return Err(Errno::NODEV.into());
        }
        let mut busy = self.busy_unmaps.borrow_mut();
        if *busy > 0 && value != "force" {
            *busy -= 1;
            return Err(Errno::BUSY.into());
        }
        let mut mappings = self.mappings.borrow_mut();
        let files = mappings.get_mut(mapping).unwrap();
        for attribute in WITHOUT_DISK_EMPTY {
            files.insert(attribute, String::new());
        }
        files.insert(Attribute::State, "new".to_owned());
        Ok(())
    }
}

/// What is empty without a disk.
const WITHOUT_DISK_EMPTY: [Attribute; 8] = [
    Attribute::Device,
    Attribute::VdiId,
    Attribute::SizeBytes,
    Attribute::ObjectSize,
    Attribute::MemoryBytes,
    Attribute::Gateway,
    Attribute::InFlight,
    Attribute::Waiting,
];

fn fresh() -> Files {
    [
        (Attribute::Gateways, ""),
        (Attribute::Vdi, ""),
        (Attribute::Connections, "1"),
        (Attribute::QueueDepth, "64"),
        (Attribute::ConnectTimeoutMs, "10000"),
        (Attribute::ReplyTimeoutMs, "30000"),
        (Attribute::IoTimeoutMs, "0"),
        (Attribute::FenceMs, "40000"),
        (Attribute::ReadOnly, "0"),
        (Attribute::State, "new"),
    ]
    .into_iter()
    .chain(WITHOUT_DISK_EMPTY.map(|attribute| (attribute, "")))
    .map(|(attribute, value)| (attribute, value.to_owned()))
    .collect()
}

impl Driver for ModelDriver {
    fn mappings(&self) -> io::Result<Vec<MappingName>> {
        let mappings = self.mappings.borrow();
        Ok(mappings.keys().map(|name| name.parse().unwrap()).collect())
    }

    fn create(&self, mapping: &MappingName) -> io::Result<()> {
        let mut mappings = self.mappings.borrow_mut();
        if mappings.contains_key(mapping.as_str()) {
            return Err(Errno::EXIST.into());
        }
        mappings.insert(mapping.to_string(), fresh());
        Ok(())
    }

    fn remove(&self, mapping: &MappingName) -> io::Result<()> {
        if self.state(mapping.as_str()) == "live" {
            return Err(Errno::BUSY.into());
        }
        self.mappings.borrow_mut().remove(mapping.as_str());
        Ok(())
    }

    fn read(&self, mapping: &MappingName, attribute: Attribute) -> io::Result<Vec<u8>> {
        if let Some(errno) = self.unreadable.get() {
            return Err(errno.into());
        }
        let mappings = self.mappings.borrow();
        let files = mappings.get(mapping.as_str()).ok_or(Errno::NOENT)?;
        Ok(files.get(&attribute).ok_or(Errno::NOENT)?.clone().into())
    }

    fn write(&self, mapping: &MappingName, attribute: Attribute, value: &[u8]) -> io::Result<()> {
        let value = String::from_utf8_lossy(value);
        if let Some((refused, errno)) = self.refused {
            if refused == attribute {
                return Err(errno.into());
            }
        }
        match attribute {
            Attribute::Map => self.map(mapping.as_str()),
            Attribute::Unmap => self.unmap(mapping.as_str(), &value),
            _ => {
                self.set(mapping.as_str(), attribute, &value);
                Ok(())
            }
        }
    }
}
