// SPDX-License-Identifier: GPL-2.0

//! `map`, `unmap`, `list`, and the udev helper.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;

use crate::address::resolve_all;
use crate::cli::{InfoArgs, ListArgs, MapArgs, UnmapArgs};
use crate::command::{catch_interrupts, Output};
use crate::failure::{Failure, Outcome};
use crate::host::kernel_log::KernelLog;
use crate::host::lock::VdiLock;
use crate::host::{device_node, holders, Host};
use crate::mapping::configfs::ConfigfsDirectory;
use crate::mapping::map::{undo, MapRequest};
use crate::mapping::status::{self, Mapping};
use crate::mapping::{udev, unmap as ending, Driver};
use crate::name::Name;
use crate::size::ByteSize;
use crate::table::{columns, pairs};

/// Limit for resolving the gateways' names: the driver's default for connecting.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);

fn driver(host: &Host) -> ConfigfsDirectory {
    ConfigfsDirectory::new(&host.driver_directory())
}

/// All mappings; none when the driver is not loaded.
pub fn mappings(host: &Host) -> Outcome<Vec<Mapping>> {
    if !host.driver_directory().exists() {
        return Ok(Vec::new());
    }
    status::all(&driver(host))
}

/// The mappings on this machine through which a working VDI `name` is in use, of whatever cluster.
pub fn mappings_of(host: &Host, name: &Name) -> Outcome<Vec<Mapping>> {
    let vdi = name.to_string();
    let mut mappings = mappings(host).map_err(|failure| match failure.errno() {
        Errno::ACCESS => failure.advise(format!(
            "this machine may use VDI `{vdi}`, and it must not be changed then"
        )),
        _ => failure,
    })?;
    mappings.retain(|mapping| mapping.vdi == vdi && mapping.device.is_some());
    Ok(mappings)
}

pub fn map(host: &Host, args: MapArgs, output: &mut Output<'_>) -> Outcome<()> {
    let request = MapRequest {
        vdi: args.vdi,
        name: args.name,
        gateways: resolve_all(
            &args.gateway.gateways,
            args.connect_timeout.unwrap_or(RESOLVE_LIMIT),
        )?,
        connections: args.connections,
        queue_depth: args.queue_depth,
        connect_timeout: args.connect_timeout,
        reply_timeout: args.reply_timeout,
        io_timeout: args.io_timeout,
        fence: args.fence,
        read_only: args.read_only,
    };
    host.prepare_driver()?;
    // Until the mapping shows its VDI, nobody else may look whether there is one.
    let lock = VdiLock::take(host, &request.vdi)?;
    // Makes a waiting map return, so that the mapping can be removed.
    let interrupted = catch_interrupts()?;
    let driver = driver(host);
    let mut log = KernelLog::here(host);
    let (name, mapping) = crate::mapping::map::map(&driver, &mut log, &request)?;
    drop(lock);
    let node = mapping
        .disk()
        .ok_or_else(|| {
            Failure::new(
                Errno::PROTO,
                "the driver mapped the VDI but names no device",
            )
        })
        .and_then(|disk| device_node::wait(host, disk))
        .and_then(|node| {
            if interrupted.load(Ordering::Relaxed) {
                return Err(Failure::new(Errno::INTR, "interrupted"));
            }
            Ok(node)
        })
        .map_err(|failure| undo(&driver, &name, failure))?;
    output.text(&format!("{}\n", node.display()))
}

pub fn unmap(host: &Host, args: &UnmapArgs) -> Outcome<()> {
    let mappings = mappings(host)?;
    let name = ending::choose(&mappings, &args.target)?;
    let disk = mappings
        .iter()
        .find(|mapping| mapping.mapping == name.as_str())
        .and_then(Mapping::disk);
    let holders = || disk.map_or_else(Vec::new, |disk| holders::find(host, disk));
    ending::unmap(&driver(host), &name, args.force, &holders)
}

pub fn list(host: &Host, args: &ListArgs, output: &mut Output<'_>) -> Outcome<()> {
    let mappings = mappings(host)?;
    if args.json {
        return output.json(&mappings);
    }
    if mappings.is_empty() {
        return Ok(());
    }
    let head = [
        "DEVICE", "VDI", "MAPPING", "STATE", "WAITING", "SIZE", "ACCESS", "GATEWAY",
    ];
    let rows = mappings.into_iter().map(|mapping| {
        let access = access(&mapping);
        vec![
            or_dash(mapping.device),
            mapping.vdi,
            mapping.mapping,
            mapping.state,
            mapping.waiting.to_string(),
            or_dash(mapping.size_bytes.map(ByteSize)),
            access.to_owned(),
            or_dash(mapping.gateway),
        ]
    });
    output.text(&columns(&head, rows))
}

fn access(mapping: &Mapping) -> &'static str {
    if mapping.read_only {
        "ro"
    } else {
        "rw"
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

pub fn info(host: &Host, args: &InfoArgs, output: &mut Output<'_>) -> Outcome<()> {
    let mappings = mappings(host)?;
    let name = ending::choose(&mappings, &args.target)?;
    let is_meant = |mapping: &Mapping| mapping.mapping == name.as_str();
    let Some(mapping) = mappings.into_iter().find(is_meant) else {
        return Err(Failure::new(Errno::NODEV, format!("`{name}` is gone")));
    };
    if args.json {
        return output.json(&mapping);
    }
    output.text(&shown(mapping))
}

fn shown(mapping: Mapping) -> String {
    let time = |ms: u64| humantime::format_duration(Duration::from_millis(ms)).to_string();
    let io_timeout = match mapping.io_timeout_ms {
        0 => "none, requests wait for ever".to_owned(),
        limit => time(limit),
    };
    let access = access(&mapping);
    pairs([
        ("device", or_dash(mapping.device)),
        ("vdi", mapping.vdi),
        ("vdi id", or_dash(mapping.vdi_id)),
        ("mapping", mapping.mapping),
        ("state", with_meaning(&mapping.state)),
        ("size", or_dash(mapping.size_bytes.map(ByteSize))),
        ("object size", or_dash(mapping.object_size.map(ByteSize))),
        ("access", access.to_owned()),
        ("gateway", or_dash(mapping.gateway)),
        ("gateways", mapping.gateways.join(" ")),
        ("in flight", mapping.in_flight.to_string()),
        ("waiting", mapping.waiting.to_string()),
        ("connections", mapping.connections.to_string()),
        ("queue depth", mapping.queue_depth.to_string()),
        ("connect timeout", time(mapping.connect_timeout_ms)),
        ("reply timeout", or_dash(mapping.reply_timeout_ms.map(time))),
        ("io timeout", io_timeout),
        ("fence", or_dash(mapping.fence_ms.map(time))),
        ("memory", ByteSize(mapping.memory_bytes).to_string()),
    ])
}

/// What a state means for whoever uses the disk, where its name does not say so.
fn with_meaning(state: &str) -> String {
    let meaning = match state {
        "reconnecting" => "no connection to a gateway; requests wait",
        "failing" => "no gateway for the io timeout; requests fail until one answers",
        "failed" => "the last try to map it failed",
        _ => return state.to_owned(),
    };
    format!("{state} ({meaning})")
}

/// Prints nothing, and fails, when no mapping has the disk: udev then makes no link.
pub fn udev_export(host: &Host, disk: &str, output: &mut Output<'_>) -> Outcome<()> {
    let driver: &dyn Driver = &driver(host);
    match udev::properties(driver, disk) {
        Some(properties) => output.text(&properties),
        None => Err(Failure::new(
            Errno::NODEV,
            format!("`{disk}` is no disk of a mapping"),
        )),
    }
}
