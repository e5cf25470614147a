// SPDX-License-Identifier: GPL-2.0

//! What must have been on the recorded cluster before a scenario began.
//!
//! The recordings begin on clusters that earlier scenarios had filled. What a scenario reads, and
//! did not write itself before, was there: so it can be put there before the replay.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::ops::Range;

use devsheep::cluster::Cluster;
use devsheep::cluster::Format;
use devsheep::cluster::Lock;
use devsheep::store::NewObject;
use devsheep::store::Piece;
use sheepdog_core::proto::inode;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::name::hash_start;
use sheepdog_core::proto::Flags;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;
use sheepdog_traces::Entry;
use sheepdog_traces::Frame;

/// A request together with its response.
struct Exchange<'a> {
    request: RequestHeader,
    sent: &'a Frame,
    response: ResponseHeader,
    received: &'a Frame,
}

/// What is known of one object.
#[derive(Default)]
struct Known {
    /// Content at the start, by offset.
    pieces: Vec<(usize, Vec<u8>)>,
    /// Ranges that are no longer what they were at the start.
    changed: Vec<Range<usize>>,
    /// The scenario made it.
    made: bool,
}

impl Known {
    /// Takes note of bytes that were read: what has not changed was there at the start.
    fn read(&mut self, offset: usize, bytes: &[u8]) {
        let range = offset..offset + bytes.len();
        if self
            .changed
            .iter()
            .any(|known| known.start <= range.start && range.end <= known.end)
        {
            return;
        }
        let mut fresh = vec![true; bytes.len()];
        let seen = self.pieces.iter().map(|(at, piece)| *at..*at + piece.len());
        for range in self.changed.iter().cloned().chain(seen) {
            let start = range.start.clamp(offset, offset + bytes.len()) - offset;
            let end = range.end.clamp(offset, offset + bytes.len()) - offset;
            fresh[start..end].fill(false);
        }
        let mut at = 0;
        while at < bytes.len() {
            let run = fresh[at..]
                .iter()
                .take_while(|&&new| new == fresh[at])
                .count();
            if fresh[at] {
                let piece = &bytes[at..at + run];
                let used = piece
                    .iter()
                    .rposition(|&byte| byte != 0)
                    .map_or(0, |last| last + 1);
                self.pieces.push((offset + at, piece[..used].to_vec()));
            }
            at += run;
        }
        self.changed.push(range);
    }
}

/// Everything that was there.
#[derive(Default)]
pub struct Seed {
    objects: BTreeMap<u64, Known>,
    in_use: BTreeSet<u32>,
    made_vids: BTreeSet<u32>,
    deleted: BTreeSet<u32>,
    deleted_here: BTreeSet<u32>,
    locked: BTreeSet<u32>,
    lock_seen: BTreeSet<u32>,
    shapes: HashMap<u32, (u8, u8)>,
    /// Name, tag, and snapshot id of VDIs whose inode is perhaps never read.
    names: BTreeMap<u32, (Vec<u8>, Vec<u8>, u32)>,
}

/// Pairs requests with responses: by connection and id, first come first served.
fn exchanges(entries: &[Entry]) -> Vec<Exchange<'_>> {
    let mut waiting: HashMap<(u64, u32, u8), Vec<&Frame>> = HashMap::new();
    let mut done = Vec::new();
    for entry in entries {
        match entry {
            Entry::Request(frame) => {
                let header = RequestHeader::from_bytes(&frame.header);
                let key = (frame.conn, header.id, header.opcode.0);
                waiting.entry(key).or_default().push(frame);
            }
            Entry::Response(frame) => {
                let response = ResponseHeader::from_bytes(&frame.header);
                let key = (frame.conn, response.id, response.opcode.0);
                if let Some(queue) = waiting.get_mut(&key).filter(|queue| !queue.is_empty()) {
                    let sent = queue.remove(0);
                    done.push(Exchange {
                        request: RequestHeader::from_bytes(&sent.header),
                        sent,
                        response,
                        received: frame,
                    });
                }
            }
            _ => {}
        }
    }
    done
}

fn bits(bitmap: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let set = |byte: &u8, bit: u32| (byte >> bit) & 1 == 1;
    (0_u32..)
        .zip(bitmap)
        .filter(|(_, byte)| **byte != 0)
        .flat_map(move |(at, byte)| {
            (0..8)
                .filter(move |&bit| set(byte, bit))
                .map(move |bit| 8 * at + bit)
        })
}

fn until_nul(field: &[u8]) -> Vec<u8> {
    field
        .iter()
        .copied()
        .take_while(|&byte| byte != 0)
        .collect()
}

impl Seed {
    /// Learns from a whole scenario.
    pub fn learn(entries: &[Entry]) -> Self {
        let mut seed = Self::default();
        for exchange in exchanges(entries) {
            seed.take(&exchange);
        }
        seed
    }

    fn object(&mut self, oid: ObjectId) -> &mut Known {
        self.objects.entry(oid.raw()).or_default()
    }

    fn take(&mut self, exchange: &Exchange<'_>) {
        let result = exchange.response.result;
        match exchange.request.opcode {
            Opcode::READ_OBJ if result.is_success() => {
                let arm = exchange.request.object_arm();
                let payload = exchange.received.payload().unwrap();
                self.object(arm.oid).read(arm.offset as usize, &payload);
            }
            Opcode::WRITE_OBJ | Opcode::CREATE_AND_WRITE_OBJ => self.take_write(exchange),
            Opcode::DISCARD_OBJ if result.is_success() => {
                let oid = exchange.request.object_arm().oid;
                let offset = inode::map_offset(oid.idx()).unwrap() as usize;
                self.object(ObjectId::inode(oid.vid()))
                    .changed
                    .push(offset..offset + 4);
            }
            Opcode::REMOVE_OBJ if result.is_success() => {
                self.object(exchange.request.object_arm().oid).made = true;
            }
            Opcode::GET_VDI_INFO | Opcode::LOCK_VDI | Opcode::DEL_VDI => self.take_lookup(exchange),
            Opcode::NEW_VDI => self.take_new_vdi(exchange),
            Opcode::GET_VDI_ATTR => {
                let payload = exchange.sent.payload().unwrap();
                self.placeholder(&until_nul(&payload[..256]));
            }
            Opcode::GET_HASH if result.is_success() => {
                self.object(exchange.request.object_arm().oid);
            }
            Opcode::READ_VDIS if result.is_success() => {
                let payload = exchange.received.payload().unwrap();
                let made = &self.made_vids;
                self.in_use
                    .extend(bits(&payload).filter(|vid| !made.contains(vid)));
            }
            Opcode::READ_DEL_VDIS if result.is_success() => {
                let payload = exchange.received.payload().unwrap();
                let here = &self.deleted_here;
                self.deleted
                    .extend(bits(&payload).filter(|vid| !here.contains(vid)));
            }
            _ => {}
        }
    }

    fn take_write(&mut self, exchange: &Exchange<'_>) {
        if !exchange.response.result.is_success() {
            return;
        }
        let arm = exchange.request.object_arm();
        let create = exchange.request.opcode == Opcode::CREATE_AND_WRITE_OBJ;
        if create && exchange.request.flags.contains(Flags::COW) && arm.cow_oid.raw() != 0 {
            self.object(arm.cow_oid);
        }
        let start = arm.offset as usize;
        let end = start + exchange.request.payload_len() as usize;
        let known = self.object(arm.oid);
        known.changed.push(start..end);
        if create {
            known.changed.push(0..usize::MAX);
            known.made |= known.pieces.is_empty();
        }
        if arm.oid.kind() == ObjectKind::Inode && start >= inode::HEADER_LEN {
            let gref = |at: usize| inode::GREF_OFFSET as usize + (at - inode::HEADER_LEN) * 2;
            known.changed.push(gref(start)..gref(end));
        }
    }

    fn take_lookup(&mut self, exchange: &Exchange<'_>) {
        let payload = exchange.sent.payload().unwrap();
        let text = |range: Range<usize>| until_nul(payload.get(range).unwrap_or_default());
        let (name, tag) = (text(0..256), text(256..512));
        let snapid = exchange.request.vdi_arm().snapid;
        let reply = exchange.response.vdi_arm();
        let vid = reply.vdi_id;
        match exchange.response.result {
            SdResult::SUCCESS | SdResult::VDI_LOCKED => {
                let delete = exchange.request.opcode == Opcode::DEL_VDI;
                if !self.made_vids.contains(&vid) {
                    self.take_run(&name, vid);
                    self.in_use.insert(vid);
                    let known = self.names.entry(vid).or_insert((name, Vec::new(), 0));
                    if known.1.is_empty() {
                        known.1 = tag;
                    }
                    if known.2 == 0 {
                        known.2 = snapid;
                    }
                    if !delete {
                        self.shapes
                            .entry(vid)
                            .or_insert((reply.copies, reply.block_size_shift));
                    }
                }
                if exchange.request.opcode == Opcode::LOCK_VDI && self.lock_seen.insert(vid) {
                    let held = exchange.response.result == SdResult::VDI_LOCKED;
                    if held && exchange.request.vdi_arm().lock_type < 2 {
                        self.locked.insert(vid);
                    }
                }
                if delete {
                    self.deleted_here.insert(vid);
                    self.object(ObjectId::inode(Vid::truncate(vid)))
                        .changed
                        .push(0..usize::MAX);
                }
            }
            // Another snapshot of it is there.
            SdResult::NO_TAG => self.placeholder(&name),
            _ => {}
        }
    }

    fn placeholder(&mut self, name: &[u8]) {
        let known = self.names.values().any(|(known, _, _)| known == name);
        let vid = hash_start(name).raw();
        if !known && !self.made_vids.contains(&vid) {
            self.in_use.insert(vid);
            self.names.insert(vid, (name.to_vec(), Vec::new(), 0));
        }
    }

    fn take_new_vdi(&mut self, exchange: &Exchange<'_>) {
        let payload = exchange.sent.payload().unwrap();
        let name = until_nul(&payload);
        let arm = exchange.request.vdi_arm();
        let vid = exchange.response.vdi_arm().vdi_id;
        match exchange.response.result {
            SdResult::SUCCESS => {
                self.take_run(&name, vid);
                self.made_vids.insert(vid);
                self.object(ObjectId::inode(Vid::truncate(vid))).made = true;
                if arm.base_vdi_id != 0 {
                    let base = Vid::truncate(arm.base_vdi_id);
                    let header = field::SNAP_CTIME..field::SNAP_CTIME + 8;
                    let grefs = inode::GREF_OFFSET as usize..inode::INODE_LEN as usize;
                    self.object(ObjectId::inode(base))
                        .changed
                        .extend([header, grefs]);
                }
            }
            SdResult::VDI_EXIST => {
                self.placeholder(&name);
                self.not_really_deleted(&name);
            }
            _ => {}
        }
    }

    /// A VDI that was deleted but still exists had objects.
    fn not_really_deleted(&mut self, name: &[u8]) {
        let named = self.names.iter().filter(|(_, (known, _, _))| known == name);
        let vids = named.map(|(&vid, _)| vid);
        let vids: Vec<u32> = vids.filter(|vid| self.deleted_here.contains(vid)).collect();
        for vid in vids {
            let entry = (inode::MAP_OFFSET as usize, vid.to_le_bytes().to_vec());
            self.object(ObjectId::inode(Vid::truncate(vid)))
                .pieces
                .push(entry);
        }
    }

    /// A VDI with this id is found by its name only if all ids before it are taken.
    fn take_run(&mut self, name: &[u8], vid: u32) {
        let run = hash_start(name).raw()..vid;
        // A name that does not end has another hash on the recorded server.
        if run.len() < 64 {
            let made = &self.made_vids;
            self.in_use.extend(run.filter(|vid| !made.contains(vid)));
        }
    }

    /// Puts everything there.
    pub fn plant(&self, cluster: &Cluster) {
        let mut meta = cluster.meta.lock();
        for &vid in &self.in_use {
            meta.in_use.insert(vid);
        }
        if let Some(Format { deleted, .. }) = &mut meta.format {
            deleted.extend(&self.deleted);
        }
        for &vid in &self.locked {
            meta.locks.insert(vid, Lock::Normal);
        }
        let mut inodes: BTreeSet<u64> = self
            .names
            .keys()
            .map(|&vid| ObjectId::inode(Vid::truncate(vid)).raw())
            .collect();
        let read = self.objects.iter().filter(|(_, known)| !known.made);
        let (read_inodes, data): (Vec<_>, Vec<_>) =
            read.partition(|(&raw, _)| ObjectId::from_raw(raw).kind() == ObjectKind::Inode);
        inodes.extend(read_inodes.iter().map(|(&raw, _)| raw));
        for raw in inodes {
            let oid = ObjectId::from_raw(raw);
            if self.made_vids.contains(&oid.vid().raw()) {
                continue;
            }
            self.plant_inode(cluster, oid);
            let mut header = Vec::new();
            cluster
                .store
                .read(oid, 0, inode::HEADER_LEN, &mut header)
                .unwrap();
            cluster.register(
                &mut meta,
                oid.vid(),
                &InodeHeader::from_prefix(&header).unwrap(),
            );
        }
        for (&raw, known) in data {
            let oid = ObjectId::from_raw(raw);
            create(cluster, oid, cluster.new_object_size(oid), &known.pieces);
        }
    }

    fn plant_inode(&self, cluster: &Cluster, oid: ObjectId) {
        let vid = oid.vid().raw();
        let (copies, shift) = self.shapes.get(&vid).copied().unwrap_or((1, 22));
        let mut header = vec![0; inode::HEADER_LEN];
        header[field::NR_COPIES] = copies;
        header[field::BLOCK_SIZE_SHIFT] = shift;
        header[field::SNAP_ID] = 1;
        header[field::VDI_ID..][..4].copy_from_slice(&vid.to_le_bytes());
        header[field::CREATE_TIME] = 1;
        if let Some((name, tag, snapid)) = self.names.get(&vid) {
            header[..name.len()].copy_from_slice(name);
            header[field::TAG..][..tag.len()].copy_from_slice(tag);
            if *snapid != 0 {
                header[field::SNAP_ID..][..4].copy_from_slice(&snapid.to_le_bytes());
            }
            header[field::SNAP_CTIME] = u8::from(!tag.is_empty() || *snapid != 0);
        }
        let mut pieces = vec![(0, header)];
        if let Some(known) = self.objects.get(&oid.raw()) {
            pieces.extend(known.pieces.iter().cloned());
        }
        create(cluster, oid, inode::INODE_LEN.into(), &pieces);
    }
}

fn create(cluster: &Cluster, oid: ObjectId, size: u64, pieces: &[(usize, Vec<u8>)]) {
    let len = usize::try_from(size).unwrap();
    let within = pieces.iter().filter(|(at, _)| *at < len);
    let pieces: Vec<Piece<'_>> = within
        .map(|(at, data)| Piece {
            offset: *at as u64,
            data: &data[..data.len().min(len - at)],
        })
        .collect();
    let object = NewObject {
        size,
        base: None,
        pieces: &pieces,
    };
    cluster.store.create(oid, object).unwrap();
}
