// SPDX-License-Identifier: GPL-2.0

//! What a mapping is and does at this moment: `sheepctl list`.
//!
//! Comes in: the attribute files. Goes out: [`Mapping`], whose field names and types are the
//! documented JSON schema of `sheepctl list --json`: fields may be added, none changes or goes.

use std::io;
use std::str::FromStr;

use rustix::io::Errno;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::mapping::{Attribute, Driver};
use crate::name::{printable, MappingName};

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// Name of the mapping.
    pub mapping: String,
    /// Name of the VDI; bytes that are no text are shown as `\xNN`.
    pub vdi: String,
    /// Id of the VDI, six hexadecimal digits; null when it was never looked up.
    pub vdi_id: Option<String>,
    /// Path of the device; null when there is none.
    pub device: Option<String>,
    /// `new`, `mapping`, `live`, `reconnecting`, `failing`, `removing` or `failed`.
    pub state: String,
    /// Capacity in bytes; null without a device.
    pub size_bytes: Option<u64>,
    /// Object size in bytes; null without a device.
    pub object_size: Option<u64>,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Gateways as `address:port`, in the order in which they are tried.
    pub gateways: Vec<String>,
    /// The gateway in use; null while there is none.
    pub gateway: Option<String>,
    /// Number of connections.
    pub connections: u64,
    /// Requests in flight per connection, at most.
    pub queue_depth: u64,
    /// Limit for connecting, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long a gateway may be silent, in milliseconds; null if the driver is older.
    pub reply_timeout_ms: Option<u64>,
    /// After how long without any gateway requests fail, in milliseconds; 0: never.
    pub io_timeout_ms: u64,
    /// How long a write waits for one that an old gateway may still execute, in milliseconds; null
    /// if the driver is older.
    pub fence_ms: Option<u64>,
    /// Memory that the mapping holds in the kernel, in bytes.
    pub memory_bytes: u64,
    /// Requests that wait for a reply.
    pub in_flight: u64,
    /// Requests that wait in the driver, for a connection or a fence.
    pub waiting: u64,
}

impl Mapping {
    /// The disk's name, without `/dev/`.
    pub fn disk(&self) -> Option<&str> {
        self.device.as_deref()?.strip_prefix("/dev/")
    }

    /// Whether one of its gateways is among `gateways`.
    pub fn goes_through(&self, gateways: &[String]) -> bool {
        self.gateways
            .iter()
            .any(|gateway| gateways.contains(gateway))
    }
}

/// All mappings, sorted by name. A mapping that goes away meanwhile is left out.
///
/// # Errors
///
/// `EPROTO` for a value that is not what the interface promises, `EACCES` for another user than
/// root; the errno of a failed system call otherwise.
pub fn all(driver: &dyn Driver) -> Outcome<Vec<Mapping>> {
    let names = driver
        .mappings()
        .map_err(|error| Failure::from_io(&error, "cannot list the mappings"))?;
    let mut mappings = Vec::new();
    for name in &names {
        match one(driver, name) {
            Ok(mapping) => mappings.push(mapping),
            Err(failure) if failure.errno() == Errno::NOENT && is_gone(driver, name) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(mappings)
}

fn is_gone(driver: &dyn Driver, name: &MappingName) -> bool {
    driver.mappings().is_ok_and(|names| !names.contains(name))
}

/// The mapping called `name`.
///
/// # Errors
///
/// As [`all`]; `ENOENT` when there is no such mapping.
pub fn one(driver: &dyn Driver, name: &MappingName) -> Outcome<Mapping> {
    let reader = Reader { driver, name };
    Ok(Mapping {
        mapping: name.to_string(),
        vdi: printable(&reader.bytes(Attribute::Vdi)?),
        vdi_id: non_empty(reader.text(Attribute::VdiId)?),
        device: non_empty(reader.text(Attribute::Device)?).map(|disk| format!("/dev/{disk}")),
        state: reader.text(Attribute::State)?,
        size_bytes: reader.optional(Attribute::SizeBytes)?,
        object_size: reader.optional(Attribute::ObjectSize)?,
        read_only: reader.number::<u8>(Attribute::ReadOnly)? != 0,
        gateways: reader
            .text(Attribute::Gateways)?
            .split(',')
            .filter(|gateway| !gateway.is_empty())
            .map(str::to_owned)
            .collect(),
        gateway: reader.newer(Attribute::Gateway)?,
        connections: reader.number(Attribute::Connections)?,
        queue_depth: reader.number(Attribute::QueueDepth)?,
        connect_timeout_ms: reader.number(Attribute::ConnectTimeoutMs)?,
        reply_timeout_ms: reader.newer_number(Attribute::ReplyTimeoutMs)?,
        io_timeout_ms: reader.number(Attribute::IoTimeoutMs)?,
        fence_ms: reader.newer_number(Attribute::FenceMs)?,
        memory_bytes: reader.optional(Attribute::MemoryBytes)?.unwrap_or(0),
        in_flight: reader.optional(Attribute::InFlight)?.unwrap_or(0),
        waiting: reader.newer_number(Attribute::Waiting)?.unwrap_or(0),
    })
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Reads one mapping's attributes.
struct Reader<'a> {
    driver: &'a dyn Driver,
    name: &'a MappingName,
}

impl Reader<'_> {
    fn bytes(&self, attribute: Attribute) -> Outcome<Vec<u8>> {
        self.driver
            .read(self.name, attribute)
            .map_err(|error: io::Error| {
                let file = attribute.file_name();
                let failure =
                    Failure::from_io(&error, format!("cannot read `{file}` of {}", self.name));
                match failure.errno() {
                    Errno::ACCESS => {
                        failure.advise("run sheepctl as root: nobody else may look at a mapping")
                    }
                    _ => failure,
                }
            })
    }

    fn text(&self, attribute: Attribute) -> Outcome<String> {
        Ok(printable(&self.bytes(attribute)?))
    }

    fn number<T: FromStr>(&self, attribute: Attribute) -> Outcome<T> {
        self.parse(attribute, &self.text(attribute)?)
    }

    fn parse<T: FromStr>(&self, attribute: Attribute, text: &str) -> Outcome<T> {
        text.parse().map_err(|_| {
            let file = attribute.file_name();
            Failure::new(
                Errno::PROTO,
                format!("`{file}` of {} is `{text}`, not a number", self.name),
            )
            .advise("sheepctl and the loaded driver are of different versions: install both anew")
        })
    }

    /// A number of a disk: empty without one.
    fn optional(&self, attribute: Attribute) -> Outcome<Option<u64>> {
        if self.bytes(attribute)?.is_empty() {
            return Ok(None);
        }
        self.number(attribute).map(Some)
    }

    /// An attribute that the first driver did not have: `unmap` and `list` have to work after an
    /// update too, until the old driver is unloaded.
    fn newer(&self, attribute: Attribute) -> Outcome<Option<String>> {
        match self.text(attribute) {
            Err(failure) if failure.errno() == Errno::NOENT => Ok(None),
            text => text.map(non_empty),
        }
    }

    fn newer_number(&self, attribute: Attribute) -> Outcome<Option<u64>> {
        self.newer(attribute)?
            .map(|text| self.parse(attribute, &text))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::model::ModelDriver;

    #[test]
    fn a_live_mapping_shows_all_its_numbers() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        let mapping = one(&driver, &"vm0".parse().unwrap()).unwrap();
        let json = serde_json::to_value(&mapping).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "mapping": "vm0", "vdi": "vm0", "vdi_id": "c596d4", "device": "/dev/sheepa",
                "state": "live", "size_bytes": 1_073_741_824_u64, "object_size": 4_194_304,
                "read_only": false, "gateways": ["127.0.0.1:7000"],
                "gateway": "127.0.0.1:7000", "connections": 1, "queue_depth": 64,
                "connect_timeout_ms": 10000, "reply_timeout_ms": 30000, "io_timeout_ms": 0,
                "fence_ms": 40000, "memory_bytes": 66560, "in_flight": 0, "waiting": 0
            })
        );
    }

    #[test]
    fn a_new_mapping_has_no_device() {
        let driver = ModelDriver::default();
        let name = "vm0".parse().unwrap();
        driver.create(&name).unwrap();
        let mapping = one(&driver, &name).unwrap();
        assert_eq!(mapping.state, "new");
        assert_eq!((mapping.device, mapping.vdi_id), (None, None));
        assert_eq!((mapping.size_bytes, mapping.gateways), (None, Vec::new()));
    }

    #[test]
    fn another_user_than_root_is_told() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        driver.unreadable.set(Some(Errno::ACCESS));
        let failure = all(&driver).unwrap_err();
        assert_eq!(failure.errno(), Errno::ACCESS);
        assert!(
            failure.to_string().contains("run sheepctl as root"),
            "{failure}"
        );
    }

    #[test]
    fn what_an_older_driver_does_not_have_is_null() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        driver.forget(&[
            Attribute::Gateway,
            Attribute::ReplyTimeoutMs,
            Attribute::FenceMs,
            Attribute::Waiting,
        ]);
        let mapping = one(&driver, &"vm0".parse().unwrap()).unwrap();
        assert_eq!((mapping.gateway, mapping.waiting), (None, 0));
        assert_eq!((mapping.reply_timeout_ms, mapping.fence_ms), (None, None));
    }

    #[test]
    fn a_value_that_is_no_number_names_the_attribute() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        driver.set("vm0", Attribute::InFlight, "many");
        let failure = all(&driver).unwrap_err();
        assert_eq!(failure.errno(), Errno::PROTO);
        assert!(
            failure.to_string().contains("`in_flight` of vm0"),
            "{failure}"
        );
    }
}
