// SPDX-License-Identifier: GPL-2.0

//! What the configuration attributes hold, and which values they take.
//!
//! Ranges and defaults are those of Documentation/ABI/testing/configfs-sheepdog; each stands here
//! once.

use core::{
    net::SocketAddr,
    ops::RangeInclusive, //
};

use crate::{
    proto::VdiName,
    sys::{
        errno,
        log::Plain, //
    }, //
};
use kernel::{
    fmt,
    prelude::*,
    str::BStr, //
};

/// A number with its limits.
pub(super) struct Number {
    pub(super) name: &'static str,
    pub(super) range: RangeInclusive<u32>,
    pub(super) default: u32,
}

/// One hardware queue each; more than a few only cost memory.
pub(super) const CONNECTIONS: Number = Number {
    name: "connections",
    range: 1..=16,
    default: 1,
};
/// A sheep works on at least 32 requests at once (protocol sheet 1); twice that keeps it busy. At
/// most as many as a request id has tags for.
pub(super) const QUEUE_DEPTH: Number = Number {
    name: "queue_depth",
    range: 1..=1024,
    default: 64,
};
/// A sheep answers a lookup in milliseconds; ten seconds cover a cluster that is busy joining.
pub(super) const CONNECT_TIMEOUT_MS: Number = Number {
    name: "connect_timeout_ms",
    range: 100..=600_000,
    default: 10_000,
};
/// As for SCSI disks. A gateway waits up to 35 s for a hanging peer (protocol sheet 1); it is probed
/// before it is given up, so it may.
pub(super) const REPLY_TIMEOUT_MS: Number = Number {
    name: "reply_timeout_ms",
    range: 1_000..=3_600_000,
    default: 30_000,
};
/// For ever, as a hard NFS mount and rbd: a file system that sees no error needs no repair. At most a
/// day.
pub(super) const IO_TIMEOUT_MS: Number = Number {
    name: "io_timeout_ms",
    range: 0..=86_400_000,
    default: 0,
};
/// Zookeeper's usual session timeout, 30 s, after which a cluster has put out a node that hangs, and
/// a gateway's 35 s for a hanging peer; see Documentation/failover.rst.
pub(super) const FENCE_MS: Number = Number {
    name: "fence_ms",
    range: 0..=3_600_000,
    default: 40_000,
};
pub(super) const READ_ONLY: Number = Number {
    name: "read_only",
    range: 0..=1,
    default: 0,
};

const MAX_GATEWAYS: usize = 16;

/// The configuration of one mapping.
pub(super) struct Settings {
    pub(super) gateways: KVec<SocketAddr>,
    pub(super) vdi: Option<VdiName>,
    pub(super) connections: u32,
    pub(super) queue_depth: u32,
    pub(super) connect_timeout_ms: u32,
    pub(super) reply_timeout_ms: u32,
    pub(super) io_timeout_ms: u32,
    pub(super) fence_ms: u32,
    pub(super) read_only: u32,
}

impl Settings {
    pub(super) fn new() -> Self {
        Self {
            gateways: KVec::new(),
            vdi: None,
            connections: CONNECTIONS.default,
            queue_depth: QUEUE_DEPTH.default,
            connect_timeout_ms: CONNECT_TIMEOUT_MS.default,
            reply_timeout_ms: REPLY_TIMEOUT_MS.default,
            io_timeout_ms: IO_TIMEOUT_MS.default,
            fence_ms: FENCE_MS.default,
            read_only: READ_ONLY.default,
        }
    }
}

/// What was written, without the newline that `echo` adds.
pub(super) fn without_newline(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\n").unwrap_or(text)
}

/// A number within its limits.
pub(super) fn parse_number(mapping: &CStr, number: &Number, text: &[u8]) -> Result<u32> {
    let value = core::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok());
    let (first, last) = (number.range.start(), number.range.end());
    match value {
        Some(value) if number.range.contains(&value) => Ok(value),
        Some(value) => {
            pr_err!(
                "mapping {}: {}: {} is out of range, {} to {} is allowed\n",
                mapping,
                number.name,
                value,
                first,
                last
            );
            Err(ERANGE)
        }
        None => {
            pr_err!(
                "mapping {}: {}: \"{}\" is not a number from {} to {}\n",
                mapping,
                number.name,
                BStr::from_bytes(text),
                first,
                last
            );
            Err(EINVAL)
        }
    }
}

/// The list of gateways.
pub(super) fn parse_gateways(mapping: &CStr, text: &[u8]) -> Result<KVec<SocketAddr>> {
    let mut gateways = KVec::new();
    for part in text.split(|byte| *byte == b',') {
        let gateway = core::str::from_utf8(part)
            .ok()
            .and_then(|part| part.trim().parse::<SocketAddr>().ok())
            .filter(|gateway| gateway.port() != 0 && !gateway.ip().is_unspecified());
        let Some(gateway) = gateway else {
            pr_err!(
                "mapping {}: gateways: \"{}\" is not address:port, for example 192.0.2.1:7000 or \
                 [2001:db8::1]:7000\n",
                mapping,
                BStr::from_bytes(part)
            );
            return Err(EINVAL);
        };
        if gateways.len() == MAX_GATEWAYS {
            pr_err!(
                "mapping {}: gateways: more than {}\n",
                mapping,
                MAX_GATEWAYS
            );
            return Err(ERANGE);
        }
        gateways.push(gateway, GFP_KERNEL)?;
    }
    Ok(gateways)
}

/// The name of a VDI.
pub(super) fn parse_vdi(mapping: &CStr, text: &[u8]) -> Result<VdiName> {
    VdiName::new(text).map_err(|error| {
        pr_err!("mapping {}: vdi: {}\n", mapping, Plain(error));
        if text.is_empty() {
            EINVAL
        } else {
            errno::name_too_long()
        }
    })
}

/// Shows a list of gateways as it is written.
pub(super) struct GatewayList<'a>(pub(super) &'a [SocketAddr]);

impl fmt::Display for GatewayList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gateway) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{gateway}")?;
        }
        Ok(())
    }
}
