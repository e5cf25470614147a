// SPDX-License-Identifier: GPL-2.0

//! What the udev rule needs to make `/dev/sheep/<vdi>` links.
//!
//! Comes in: a disk's kernel name. Goes out: properties in udev's `KEY=value` form, the VDI's name
//! encoded so that it is one safe path component.

use crate::mapping::{Attribute, Driver};

/// The lines for the disk `disk`, `None` when no mapping has it.
///
/// Reads only what it needs, so that it works while the mapping is still being made.
pub fn properties(driver: &dyn Driver, disk: &str) -> Option<String> {
    let mapping = driver.mappings().ok()?.into_iter().find(|mapping| {
        driver
            .read(mapping, Attribute::Device)
            .is_ok_and(|device| device == disk.as_bytes())
    })?;
    let vdi = driver.read(&mapping, Attribute::Vdi).ok()?;
    Some(format!(
        "SHEEPDOG_MAPPING={}\nSHEEPDOG_VDI_ENC={}\n",
        encode(mapping.as_str().as_bytes()),
        encode(&vdi)
    ))
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
