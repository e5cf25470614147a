// SPDX-License-Identifier: GPL-2.0

//! What the udev rule needs to make links below `/dev/sheep`, for the VDI and for the mapping.
//!
//! Comes in: a disk's kernel name. Goes out: properties in udev's `KEY=value` form, the VDI's name
//! encoded so that it is one safe path component.

use std::thread;
use std::time::{Duration, Instant};

use crate::mapping::{Attribute, Driver};
use crate::name::MappingName;

/// How long to wait for a mapping that is being made: the kernel announces the disk a moment before
/// the mapping names it.
const LIMIT: Duration = Duration::from_secs(5);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The lines for the disk `disk`, `None` when no mapping has it.
pub fn properties(driver: &dyn Driver, disk: &str) -> Option<String> {
    let deadline = Instant::now() + LIMIT;
    let mapping = loop {
        if let Some(mapping) = mapping_of(driver, disk) {
            break mapping;
        }
        if !one_is_being_made(driver) || Instant::now() >= deadline {
            // It may have come to life between the two looks.
            break mapping_of(driver, disk)?;
        }
        thread::sleep(PAUSE);
    };
    let vdi = driver.read(&mapping, Attribute::Vdi).ok()?;
    Some(format!(
        "SHEEPDOG_MAPPING={}\nSHEEPDOG_VDI_ENC={}\n",
        encode(mapping.as_str().as_bytes()),
        encode(&vdi)
    ))
}

fn mapping_of(driver: &dyn Driver, disk: &str) -> Option<MappingName> {
    driver.mappings().ok()?.into_iter().find(|mapping| {
        let device = driver.read(mapping, Attribute::Device);
        device.is_ok_and(|device| device == disk.as_bytes())
    })
}

fn one_is_being_made(driver: &dyn Driver) -> bool {
    let mappings = driver.mappings().unwrap_or_default();
    mappings.iter().any(|mapping| {
        let state = driver.read(mapping, Attribute::State);
        state.is_ok_and(|state| state == b"mapping")
    })
}

/// Bytes that udev keeps in link names stay; every other byte becomes `\xNN`, as in udev's own
/// `*_ENC` properties. A leading dot is encoded as well: `.` and `..` are no names for links.
fn encode(name: &[u8]) -> String {
    let mut encoded = String::new();
    for (index, byte) in name.iter().enumerate() {
        match byte {
            b'.' if index == 0 => encoded.push_str("\\x2e"),
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => encoded.push(char::from(*byte)),
            b'#' | b'+' | b'-' | b'.' | b':' | b'=' | b'@' | b'_' => {
                encoded.push(char::from(*byte));
            }
            _ => encoded.push_str(&format!("\\x{byte:02x}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io;

    use crate::mapping::model::ModelDriver;

    #[test]
    fn the_mapping_of_a_disk_is_found() {
        let driver = ModelDriver::with_live("disk", "vm0", "sheepa");
        driver.add_live("disk2", "my vm/1", "sheepb");
        assert_eq!(
            properties(&driver, "sheepb").unwrap(),
            "SHEEPDOG_MAPPING=disk2\nSHEEPDOG_VDI_ENC=my\\x20vm\\x2f1\n"
        );
        assert_eq!(properties(&driver, "sheepc"), None);
    }

    /// A driver whose mapping names its disk only after some looks at its state.
    struct Slow {
        model: ModelDriver,
        looks: Cell<u32>,
    }

    impl Driver for Slow {
        fn mappings(&self) -> io::Result<Vec<MappingName>> {
            self.model.mappings()
        }
        fn create(&self, _: &MappingName) -> io::Result<()> {
            unreachable!("udev makes no mappings")
        }
        fn remove(&self, _: &MappingName) -> io::Result<()> {
            unreachable!("udev removes no mappings")
        }
        fn read(&self, mapping: &MappingName, attribute: Attribute) -> io::Result<Vec<u8>> {
            self.looks.set(self.looks.get() + 1);
            match attribute {
                Attribute::State if self.looks.get() < 10 => Ok(b"mapping".to_vec()),
                Attribute::Device if self.looks.get() < 10 => Ok(Vec::new()),
                _ => self.model.read(mapping, attribute),
            }
        }
        fn write(&self, _: &MappingName, _: Attribute, _: &[u8]) -> io::Result<()> {
            unreachable!("udev changes no mappings")
        }
    }

    #[test]
    fn a_mapping_that_is_being_made_is_waited_for() {
        let driver = Slow {
            model: ModelDriver::with_live("vm0", "vm0", "sheepa"),
            looks: Cell::new(0),
        };
        assert!(properties(&driver, "sheepa").is_some());
    }

    #[test]
    fn every_name_becomes_one_path_component() {
        for (name, encoded) in [
            (&b"vm0-a_b@c"[..], "vm0-a_b@c"),
            (b"..", "\\x2e."),
            (b"a/../b", "a\\x2f..\\x2fb"),
            (b"a b\n\xff", "a\\x20b\\x0a\\xff"),
            (b"\\x41", "\\x5cx41"),
        ] {
            assert_eq!(encode(name), encoded);
        }
    }
}
