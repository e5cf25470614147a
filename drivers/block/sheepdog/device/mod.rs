// SPDX-License-Identifier: GPL-2.0

//! One mapped VDI: its object map, its links, its desk, and its disk.
//!
//! [`open`] makes a [`Device`], [`Live`] shows it to the system and takes it away again,
//! [`recovery`] keeps it connected. What happens to a request in between is in [`crate::request`].

mod announce;
pub(crate) mod attempt;
mod dialer;
pub(crate) mod live;
pub(crate) mod open;
mod recovery;

use crate::{
    gateway::{
        Link,
        Peer, //
    },
    observe::{
        Watched,
        WatchedLink, //
    },
    sys::{
        blk::{
            Announcer,
            Request,
            TagSet, //
        },
        clock,
        socket::{
            Reserve,
            Socket, //
        }, //
    },
    volume,
    volume::{
        Admission,
        Entry,
        Geometry,
        Identity,
        Node,
        Seat,
        Zombie, //
    }, //
};
use dialer::Dialer;
use kernel::{
    new_condvar,
    new_mutex,
    new_spinlock,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        CondVar,
        Mutex,
        SpinLock, //
    }, //
};

/// The desk of a mapping, its places in memory of the kernel.
pub(crate) type Desk = volume::Desk<KVVec<Node>, KVVec<Option<Zombie>>, KVVec<Seat>>;

/// Each request can leave two zombies, one for its object and one for the entry in the map.
const ZOMBIES_PER_TICKET: usize = 2;

/// What requests of a mapping share, under its one lock.
pub(crate) struct Room {
    pub(crate) desk: Desk,
    /// The requests that wait at the desk, by ticket.
    pub(crate) parked: KVVec<Option<Request<Device>>>,
}

/// Time limits, in milliseconds, and the queue depth.
#[derive(Clone, Copy)]
pub(crate) struct Tuning {
    /// Requests per link.
    pub(crate) queue_depth: u32,
    /// For connecting, and for the answer to the first question.
    pub(crate) connect_timeout_ms: u32,
    /// How long a link may be silent before its gateway is doubted.
    pub(crate) reply_timeout_ms: u32,
    /// How long a request may take; 0 for ever.
    pub(crate) io_timeout_ms: u32,
    /// How long what an old gateway has read is feared when nothing is known of it.
    pub(crate) fence_ms: u32,
}

/// A mapped VDI.
#[pin_data]
pub(crate) struct Device {
    /// Name of the disk.
    pub(crate) name: CString,
    pub(crate) geometry: Geometry,
    identity: Identity,
    /// The object map as the inode has it. An entry becomes the VDI's own under the lock of
    /// `room`, and then stays so; it is read without.
    map: KVVec<Atomic<u32>>,
    pub(crate) peer: Arc<Peer>,
    /// One per hardware queue.
    pub(crate) links: KVec<Arc<Link<Device>>>,
    /// Of no use before the sockets of the links and after them.
    _reserve: Reserve,
    pub(crate) tuning: Tuning,
    pub(crate) read_only: bool,
    /// Whether the desk is, as of the last time that the lock of `room` was dropped.
    open: Atomic<bool>,
    #[pin]
    pub(crate) room: SpinLock<Room>,
    /// Something happened at the desk.
    #[pin]
    pub(crate) stir: CondVar,
    #[pin]
    dialer: Dialer,
    /// There while the disk is.
    #[pin]
    announcer: Mutex<Option<Announcer>>,
}

/// What a VDI is, as it was found at mapping.
pub(crate) struct Volume {
    pub(crate) geometry: Geometry,
    pub(crate) identity: Identity,
    pub(crate) map: KVVec<Atomic<u32>>,
}

fn filled<T: Copy>(value: T, len: usize) -> Result<KVVec<T>> {
    let mut places = KVVec::with_capacity(len, GFP_KERNEL)?;
    for _ in 0..len {
        places.push(value, GFP_KERNEL)?;
    }
    Ok(places)
}

impl Device {
    /// A device with a link per socket, all connected to the gateway that `peer` has turned to.
    fn new(
        name: CString,
        volume: Volume,
        peer: Arc<Peer>,
        (sockets, reserve): (KVec<Arc<Socket>>, Reserve),
        (tuning, read_only): (Tuning, bool),
    ) -> Result<Arc<Self>> {
        let mut links = KVec::with_capacity(sockets.len(), GFP_KERNEL)?;
        for socket in sockets {
            let link = Link::new(peer.clone(), tuning.queue_depth as usize)?;
            link.attach(socket);
            links.push(link, GFP_KERNEL)?;
        }
        let tickets = links.len() * tuning.queue_depth as usize;
        let mut parked = KVVec::with_capacity(tickets, GFP_KERNEL)?;
        for _ in 0..tickets {
            parked.push(None, GFP_KERNEL)?;
        }
        let limits = volume::Limits {
            gateways: peer.len(),
            io_timeout_ms: (tuning.io_timeout_ms != 0).then_some(tuning.io_timeout_ms),
            fence_ms: tuning.fence_ms,
        };
        let places = (
            filled(Node::IDLE, tickets)?,
            filled(None, ZOMBIES_PER_TICKET * tickets)?,
            filled(Seat::FREE, tickets)?,
        );
        let desk = Desk::new(
            limits,
            (peer.current(), links.len() as u32),
            places,
            clock::now_ms(),
        );
        Arc::pin_init(
            pin_init!(Self {
                name,
                geometry: volume.geometry,
                identity: volume.identity,
                map: volume.map,
                peer,
                links,
                _reserve: reserve,
                tuning,
                read_only,
                open: Atomic::new(false),
                room <- new_spinlock!(Room { desk, parked }),
                stir <- new_condvar!(),
                dialer <- Dialer::new(),
                announcer <- new_mutex!(None),
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

    /// Notes that the object is the VDI's own now. To be called under the lock of `room`.
    pub(crate) fn set_own(&self, idx: u32) {
        if let Some(entry) = self.map.get(idx as usize) {
            entry.store(self.geometry.vid().raw(), Release);
        }
    }

    /// Whether requests for objects that exist need no decision of the desk. What the map says is to
    /// be read before this: an entry that became own while the desk was closed is seen with that.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Acquire)
    }

    /// Does something at the desk, under its lock.
    pub(crate) fn at_desk<R>(&self, act: impl FnOnce(&mut Room) -> R) -> R {
        let mut room = self.room.lock();
        let result = act(&mut room);
        self.open.store(room.desk.is_open(), Release);
        result
    }

    /// Ends what is in flight, and everything that follows, with an error. Nobody waits for that
    /// here.
    pub(crate) fn shut(&self) {
        self.at_desk(|room| room.desk.close());
        self.dialer.close();
        for link in &self.links {
            link.end();
        }
        self.stir.notify_all();
    }

    /// Whoever asks a gateway whether it lives gets no answer.
    pub(crate) fn hang_up(&self) {
        self.dialer.hang_up();
    }

    /// Nobody is told of changes any more.
    fn forget_disk(&self) {
        let announcer = self.announcer.lock().take();
        drop(announcer);
    }

    /// Name of the disk.
    pub(crate) fn name(&self) -> &CString {
        &self.name
    }

    /// Its geometry.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// In a word, how its connections are.
    pub(crate) fn state(&self) -> &'static str {
        match self.at_desk(|room| room.desk.session().admission()) {
            Admission::Send => "live",
            Admission::Wait => "reconnecting",
            Admission::TimedOut => "failing",
            Admission::Closed => "removing",
        }
    }

    /// Number of requests that wait for a reply.
    pub(crate) fn in_flight(&self) -> usize {
        self.links.iter().map(|link| link.in_flight()).sum()
    }

    /// Number of requests that wait for something else.
    pub(crate) fn waiting(&self) -> u32 {
        self.at_desk(|room| room.desk.waiting())
    }

    /// Bytes that the mapping holds: object map, requests, tables.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tickets = self.links.len() * self.tuning.queue_depth as usize;
        let per_ticket = core::mem::size_of::<Node>()
            + core::mem::size_of::<Seat>()
            + ZOMBIES_PER_TICKET * core::mem::size_of::<Option<Zombie>>()
            + core::mem::size_of::<Option<Request<Device>>>();
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
        (self.links.len(), self.tuning.queue_depth as usize)
    }

    fn link(&self, index: usize) -> Option<&dyn WatchedLink> {
        let link = self.links.get(index)?;
        Some(&**link)
    }
}
