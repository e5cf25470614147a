// SPDX-License-Identifier: GPL-2.0

//! The state of the one-node cluster: objects, which VDI ids are taken, who is a snapshot, locks.
//!
//! The inode objects are the truth about VDIs, because clients write to them. What is kept beside
//! them is what a real sheep keeps in memory too: the bitmaps, the snapshot marks that make data
//! objects read-only, and the locks.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use parking_lot::Mutex;
use parking_lot::RwLock;
use serde::Deserialize;
use serde::Serialize;
use sheepdog_core::proto::inode;
use sheepdog_core::proto::limits;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;

use crate::store::Result;
use crate::store::Store;

/// Cluster flags (protocol sheet 2.4).
pub mod cluster_flag {
    /// Refuse writes with fewer zones than copies.
    pub const STRICT: u16 = 0x01;
    /// The number of virtual nodes follows from the space.
    pub const AUTO_VNODES: u16 = 0x04;
    /// LOCK_VDI locks.
    pub const USE_LOCK: u16 = 0x08;
    /// VDI ids are used again.
    pub const RECYCLE_VID: u16 = 0x10;
}

/// What does not change while the server runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// DEL_VDI answers SUCCESS but keeps a VDI that has objects, as upstream does.
    pub upstream_delete: bool,
    /// FLUSH_VDI flushes and succeeds; otherwise it is refused, as upstream does.
    pub flush: bool,
    /// The address that the node list shows.
    pub node: SocketAddr,
}

/// What formatting a cluster decides, and what has to survive a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Format {
    /// When: seconds << 32 | nanoseconds.
    pub ctime: u64,
    /// See [`cluster_flag`].
    pub flags: u16,
    /// Replicas of a new VDI.
    pub copies: u8,
    /// Erasure code of a new VDI.
    pub copy_policy: u8,
    /// Object size of a new VDI.
    pub block_size_shift: u8,
    /// Unix time of each epoch, the first one first.
    pub epochs: Vec<u64>,
    /// Ids of deleted VDIs.
    pub deleted: BTreeSet<u32>,
}

/// Replicas and object size of a VDI, as the server remembers them.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of replicas.
    pub copies: u8,
    /// Erasure code.
    pub copy_policy: u8,
    /// Logarithm of the object size.
    pub block_size_shift: u8,
}

impl Shape {
    /// Object size in bytes. A shift that no client should use counts modulo 32, as upstream does
    /// (protocol sheet 3.3).
    pub fn object_size(&self) -> u64 {
        1 << (self.block_size_shift & 31)
    }
}

/// Who has locked a VDI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lock {
    /// This node, alone.
    Normal,
    /// This node, with others.
    Shared,
}

/// What one operation at a time may use.
#[derive(Debug, Default)]
pub struct Meta {
    /// `None` before the cluster is formatted.
    pub format: Option<Format>,
    /// Ids whose bit is set, those of deleted VDIs included.
    pub in_use: BTreeSet<u32>,
    /// Held locks.
    pub locks: HashMap<u32, Lock>,
}

/// Whether requests are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// All.
    Running,
    /// Only some: the cluster has to be formatted.
    Unformatted,
    /// None any more.
    ShuttingDown,
    /// None any more, this node alone.
    Killed,
}

/// The cluster.
pub struct Cluster {
    /// The objects.
    pub store: Box<dyn Store>,
    /// What does not change.
    pub options: Options,
    /// Taken by everything that reads or changes more than one object.
    pub meta: Mutex<Meta>,
    shapes: RwLock<HashMap<u32, Shape>>,
    snapshots: Vec<AtomicU64>,
    status: AtomicU32,
    epoch: AtomicU32,
    halted: AtomicBool,
}

/// Now, in the protocol's form: seconds << 32 | nanoseconds.
pub fn timestamp() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| {
        (now.as_secs() << 32) | u64::from(now.subsec_nanos())
    })
}

/// Now, in seconds.
pub fn unix_time() -> u64 {
    timestamp() >> 32
}

impl Cluster {
    /// Opens what `store` holds; formats a new store with `format`, unless that is `None`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or holds something else.
    pub fn open(
        store: Box<dyn Store>,
        options: Options,
        format: Option<Format>,
    ) -> anyhow::Result<Self> {
        let mut snapshots = Vec::new();
        snapshots.resize_with(1 << 18, AtomicU64::default);
        let cluster = Self {
            store,
            options,
            meta: Mutex::default(),
            shapes: RwLock::default(),
            snapshots,
            status: AtomicU32::new(Status::Unformatted as u32),
            epoch: AtomicU32::new(0),
            halted: AtomicBool::new(false),
        };
        let note = cluster.store.load_note().context("cannot read the store")?;
        let known = match note {
            Some(note) => Some(
                serde_json::from_slice(&note)
                    .context("the directory's `note` is not one of devsheep's; use another")?,
            ),
            None => None,
        };
        let fresh = known.is_none();
        if let Some(format) = known.or(format) {
            let mut meta = cluster.meta.lock();
            cluster.adopt(&mut meta, format);
            if fresh {
                cluster.save(&meta).context("cannot write to the store")?;
            }
            cluster
                .find_vdis(&mut meta)
                .context("cannot read the store")?;
        }
        Ok(cluster)
    }

    /// Learns from the inode objects which VDIs there are.
    fn find_vdis(&self, meta: &mut Meta) -> Result<()> {
        for oid in self.store.list()? {
            if oid.kind() != ObjectKind::Inode {
                continue;
            }
            let mut bytes = Vec::new();
            self.store.read(oid, 0, inode::HEADER_LEN, &mut bytes)?;
            if let Some(header) = InodeHeader::from_prefix(&bytes) {
                self.register(meta, oid.vid(), &header);
            }
        }
        Ok(())
    }

    /// Takes note of a VDI whose inode is `header`.
    pub fn register(&self, meta: &mut Meta, vid: Vid, header: &InodeHeader<'_>) {
        meta.in_use.insert(vid.raw());
        self.set_snapshot(vid, header.is_snapshot());
        let shape = Shape {
            copies: header.nr_copies(),
            copy_policy: header.copy_policy(),
            block_size_shift: header.block_size_shift(),
        };
        self.set_shape(vid, shape);
    }

    /// Makes `format` the cluster's, in memory.
    pub fn adopt(&self, meta: &mut Meta, format: Format) {
        let epoch = u32::try_from(format.epochs.len()).unwrap_or(u32::MAX);
        // One node is one zone.
        let halted = format.flags & cluster_flag::STRICT != 0 && format.copies > 1;
        self.halted.store(halted, Ordering::Relaxed);
        meta.format = Some(format);
        self.epoch.store(epoch, Ordering::Relaxed);
        self.set_status(Status::Running);
    }

    /// Removes every VDI and every object.
    pub fn wipe(&self, meta: &mut Meta) -> Result<()> {
        self.store.clear()?;
        *meta = Meta::default();
        self.shapes.write().clear();
        for word in &self.snapshots {
            word.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Keeps what has to survive a restart.
    pub fn save(&self, meta: &Meta) -> Result<()> {
        match serde_json::to_vec(&meta.format) {
            Ok(note) => self.store.save_note(&note),
            Err(error) => Err(std::io::Error::other(error).into()),
        }
    }

    /// The current epoch, 0 before the cluster is formatted.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Whether requests are served.
    pub fn status(&self) -> Status {
        let status = self.status.load(Ordering::Relaxed);
        [Status::Running, Status::Unformatted, Status::ShuttingDown]
            .into_iter()
            .find(|&known| known as u32 == status)
            .unwrap_or(Status::Killed)
    }

    /// Changes that.
    pub fn set_status(&self, status: Status) {
        self.status.store(status as u32, Ordering::Relaxed);
    }

    /// Whether a strict cluster has too few nodes to write (protocol sheet 5, HALT).
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// Whether data objects of `vid` refuse writes.
    pub fn is_snapshot(&self, vid: Vid) -> bool {
        let (word, bit) = self.snapshot_bit(vid);
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// Changes that.
    pub fn set_snapshot(&self, vid: Vid, snapshot: bool) {
        let (word, bit) = self.snapshot_bit(vid);
        if snapshot {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn snapshot_bit(&self, vid: Vid) -> (&AtomicU64, u64) {
        let raw = vid.raw();
        (&self.snapshots[(raw / 64) as usize], 1 << (raw % 64))
    }

    /// What the server remembers of a VDI.
    pub fn shape(&self, vid: Vid) -> Option<Shape> {
        self.shapes.read().get(&vid.raw()).copied()
    }

    /// Changes that.
    pub fn set_shape(&self, vid: Vid, shape: Shape) {
        self.shapes.write().insert(vid.raw(), shape);
    }

    /// Forgets a VDI.
    pub fn forget(&self, meta: &mut Meta, vid: Vid) {
        meta.in_use.remove(&vid.raw());
        meta.locks.remove(&vid.raw());
        self.shapes.write().remove(&vid.raw());
        self.set_snapshot(vid, false);
    }

    /// Size that a new object gets (protocol sheet 6.1).
    pub fn new_object_size(&self, oid: ObjectId) -> u64 {
        match oid.kind() {
            ObjectKind::Inode => inode::INODE_LEN.into(),
            ObjectKind::Attr => limits::ATTR_LEN.into(),
            ObjectKind::BtreeNode => limits::BTREE_NODE_LEN.into(),
            ObjectKind::Ledger => limits::LEDGER_LEN.into(),
            ObjectKind::Data | ObjectKind::VmState | ObjectKind::Unknown => {
                match self.shape(oid.vid()) {
                    Some(shape) => shape.object_size(),
                    None => 1 << limits::DEFAULT_BLOCK_SIZE_SHIFT,
                }
            }
        }
    }

    /// Reads `len` bytes at `offset` of an object into a buffer of their own.
    pub fn read_bytes(
        &self,
        oid: ObjectId,
        offset: u64,
        len: usize,
    ) -> std::result::Result<Vec<u8>, SdResult> {
        let mut bytes = Vec::with_capacity(len);
        self.store.read(oid, offset, len, &mut bytes)?;
        Ok(bytes)
    }
}
