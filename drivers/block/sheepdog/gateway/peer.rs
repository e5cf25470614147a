// SPDX-License-Identifier: GPL-2.0

//! Who is at the other end of a mapping's links: one of its gateways. All links go to the same one.

use core::net::SocketAddr;

use crate::sys::log::Plain;
use kernel::{
    fmt,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// The gateways of a mapping, and which of them is in use. Shows itself as disk and gateway, for log
/// lines.
pub(crate) struct Peer {
    disk: CString,
    gateways: KVec<SocketAddr>,
    current: Atomic<u32>,
}

impl Peer {
    /// The gateways of a disk; the first is in use. `EINVAL` without any, `ENOMEM`.
    pub(crate) fn new(disk: &CStr, list: &[SocketAddr]) -> Result<Arc<Self>> {
        if list.is_empty() {
            return Err(EINVAL);
        }
        let mut gateways = KVec::new();
        gateways.extend_from_slice(list, GFP_KERNEL)?;
        let peer = Self {
            disk: CString::try_from(disk)?,
            gateways,
            current: Atomic::new(0),
        };
        Ok(Arc::new(peer, GFP_KERNEL)?)
    }

    /// Number of gateways, 1 or more.
    pub(crate) fn len(&self) -> u32 {
        self.gateways.len() as u32
    }

    /// The gateway at this place of the list, the first for a place that there is not.
    pub(crate) fn gateway(&self, place: u32) -> &SocketAddr {
        let place = self.gateways.get(place as usize);
        place.unwrap_or(&self.gateways[0])
    }

    /// The place of the gateway in use.
    pub(crate) fn current(&self) -> u32 {
        self.current.load(Relaxed)
    }

    /// The gateway in use.
    pub(crate) fn address(&self) -> &SocketAddr {
        self.gateway(self.current())
    }

    /// From now on this one is in use.
    pub(crate) fn turn_to(&self, place: u32) {
        self.current.store(place, Relaxed);
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}: {}", &*self.disk, Plain(self.address())))
    }
}
