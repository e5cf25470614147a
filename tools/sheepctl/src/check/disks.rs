// SPDX-License-Identifier: GPL-2.0

//! Risks that the disks themselves show: states, and swap on them.

use std::fs;

use crate::check::{Finding, Level};
use crate::host::holders::{self, Holder};
use crate::host::{disk_and_partitions, Host};
use crate::mapping::status::Mapping;

/// A block device that is a disk of the driver, a partition of one, or made of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    /// `major:minor`.
    pub numbers: String,
    /// The disk of the driver below it.
    pub disk: String,
}

/// All of them.
pub fn devices(host: &Host, mappings: &[Mapping]) -> Vec<Device> {
    let mut found = Vec::new();
    for disk in mappings.iter().filter_map(Mapping::disk) {
        collect(host, disk, disk, &mut found);
    }
    found
}

/// Adds `name`, its partitions, and what is stacked on them.
fn collect(host: &Host, name: &str, disk: &str, found: &mut Vec<Device>) {
    if found.iter().any(|device| device.name == name) {
        return;
    }
    for (name, numbers) in disk_and_partitions(host, name) {
        found.push(Device {
            name,
            numbers,
            disk: disk.to_owned(),
        });
    }
    for above in holders::above(host, name) {
        collect(host, &above, disk, found);
    }
}

/// Mappings that are not live.
pub fn states(mappings: &[Mapping], findings: &mut Vec<Finding>) {
    for mapping in mappings {
        let (level, message, remedy) = match mapping.state.as_str() {
            "live" => continue,
            "reconnecting" => (
                Level::Risk,
                format!("no gateway answers, {} requests wait", mapping.waiting),
                "check the gateways and the way to them: `sheepctl cluster info --gateway ADDR`; \
                 `sheepctl unmap --force` ends the wait with I/O errors",
            ),
            "failing" => (
                Level::Risk,
                "no gateway has answered for the io timeout, requests fail".to_owned(),
                "check the gateways; when one answers requests succeed again, but file systems that \
                 saw errors have to be checked and mounted anew",
            ),
            "failed" => (
                Level::Risk,
                "it was not mapped".to_owned(),
                "the kernel log says why; `sheepctl unmap` removes the mapping",
            ),
            state => (
                Level::Note,
                format!("its state is `{state}`"),
                "wait for it to be live or gone, and look again",
            ),
        };
        findings.push(Finding {
            level,
            kind: "mapping-state",
            subject: mapping
                .device
                .clone()
                .unwrap_or_else(|| format!("mapping {}", mapping.mapping)),
            message,
            remedy: remedy.to_owned(),
        });
    }
}

/// Swap areas on disks of the driver.
pub fn swap(host: &Host, devices: &[Device], findings: &mut Vec<Finding>) {
    let table = fs::read_to_string(host.path("/proc/swaps")).unwrap_or_default();
    for area in table.lines().skip(1) {
        let path = area.split_ascii_whitespace().next().unwrap_or_default();
        let name = path.strip_prefix("/dev/").unwrap_or_default();
        let Some(device) = devices.iter().find(|device| device.name == name) else {
            continue;
        };
        let area = Holder::Swap {
            device: device.name.clone(),
        };
        findings.push(Finding {
            level: Level::Risk,
            kind: "swap",
            subject: format!("/dev/{}", device.disk),
            message: format!(
                "{area}: memory that is swapped out there comes back only while the cluster answers"
            ),
            remedy: area.remedy(),
        });
    }
}
