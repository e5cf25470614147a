// SPDX-License-Identifier: GPL-2.0

//! One mapped VDI: its object map, its links, who waits for whom, and its disk.
//!
//! [`open`] makes a [`Device`], [`Live`] shows it to the system and takes it away again. What
//! happens to a request in between is in [`crate::request`].

pub(crate) mod attempt;
pub(crate) mod live;
pub(crate) mod open;

use crate::{
    gateway::Link,
    observe::{
        Watched,
        WatchedLink, //
    },
    sys::blk::{
        Request,
        TagSet, //
    },
    volume::{
        Creations,
        Entry,
        Geometry,
        Node, //
    }, //
};
use kernel::{
    new_spinlock,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        SpinLock, //
    }, //
};

/// Requests that create objects, and those that wait for them.
pub(crate) struct Creating {
    /// Who waits for whom, by ticket.
    pub(crate) table: Creations<KVVec<Node>>,
    /// The waiting requests, by ticket.
    pub(crate) waiting: KVVec<Option<Request<Device>>>,
}

/// A mapped VDI.
#[pin_data]
pub(crate) struct Device {
    /// Name of the disk.
    pub(crate) name: CString,
    pub(crate) geometry: Geometry,
    /// The object map as the inode has it. An entry becomes the VDI's own under the lock of
    /// `creating`, and then stays so; it is read without.
    map: KVVec<Atomic<u32>>,
    /// One per hardware queue.
    pub(crate) links: KVec<Arc<Link<Device>>>,
    pub(crate) queue_depth: u32,
    pub(crate) io_timeout_ms: u32,
    /// No gateway any more: requests fail.
    dead: Atomic<bool>,
    #[pin]
    pub(crate) creating: SpinLock<Creating>,
}

impl Device {
    fn new(
        name: CString,
        geometry: Geometry,
        map: KVVec<Atomic<u32>>,
        links: KVec<Arc<Link<Device>>>,
        queue_depth: u32,
        io_timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let tickets = links.len() * queue_depth as usize;
        let mut waiting = KVVec::with_capacity(tickets, GFP_KERNEL)?;
        for _ in 0..tickets {
            waiting.push(None, GFP_KERNEL)?;
        }
        let creating = Creating {
            table: Creations::new(KVVec::from_elem(Node::IDLE, tickets, GFP_KERNEL)?),
            waiting,
        };
        Arc::pin_init(
            pin_init!(Self {
                name,
                geometry,
                map,
                links,
                queue_depth,
                io_timeout_ms,
                dead: Atomic::new(false),
                creating <- new_spinlock!(creating),
            }),
            GFP_KERNEL,
        )
    }

    /// What the map says of an object. A damaged entry cannot be here: the map was checked when it
    /// was read.
    pub(crate) fn entry(&self, idx: u32) -> Result<Entry> {
        let raw = self.map.get(idx as usize).ok_or(EINVAL)?.load(Acquire);
        Entry::decode(raw, self.geometry.vid()).map_err(|_| EINVAL)
    }

    /// Notes that the object is the VDI's own now. To be called under the lock of `creating`.
    pub(crate) fn set_own(&self, idx: u32) {
        if let Some(entry) = self.map.get(idx as usize) {
            entry.store(self.geometry.vid().raw(), Release);
        }
    }

    /// Whether requests can reach the cluster.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// From now on requests fail. Whether this was news.
    pub(crate) fn set_dead(&self) -> bool {
        !self.dead.xchg(true, Full)
    }

    /// Ends what is in flight, and everything that follows, with an error. Nobody waits for that
    /// here.
    pub(crate) fn shut(&self) {
        self.set_dead();
        for link in &self.links {
            link.shut();
        }
    }

    /// Name of the disk.
    pub(crate) fn name(&self) -> &CString {
        &self.name
    }

    /// Its geometry.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Number of requests that wait for a reply.
    pub(crate) fn in_flight(&self) -> usize {
        self.links.iter().map(|link| link.in_flight()).sum()
    }

    /// Bytes that the mapping holds: object map, requests, tables.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tickets = self.links.len() * self.queue_depth as usize;
        let per_ticket =
            core::mem::size_of::<Node>() + core::mem::size_of::<Option<Request<Device>>>();
        let links: usize = self.links.iter().map(|link| link.memory_bytes()).sum();
        core::mem::size_of::<Self>()
            + self.map.len() * core::mem::size_of::<Atomic<u32>>()
            + tickets * per_ticket
            + tickets * TagSet::<Self>::REQUEST_BYTES
            + links
    }
}

impl Watched for Device {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn entry(&self, idx: u32) -> Result<Entry> {
        self.entry(idx)
    }

    fn shape(&self) -> (usize, usize) {
        (self.links.len(), self.queue_depth as usize)
    }

    fn link(&self, index: usize) -> Option<&dyn WatchedLink> {
        let link = self.links.get(index)?;
        Some(&**link)
    }
}
