// SPDX-License-Identifier: GPL-2.0

//! NEW_VDI: create, clone, roll back, snapshot (protocol sheet 3.3, 10.1 and 10.4).

use sheepdog_core::proto::arm::VdiArm;
use sheepdog_core::proto::inode;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::limits::MAX_OBJECTS;
use sheepdog_core::proto::limits::NAME_LEN;
use sheepdog_core::proto::name::until_nul;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;

use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::timestamp;
use crate::cluster::Cluster;
use crate::cluster::Meta;
use crate::cluster::Shape;
use crate::store::NewObject;
use crate::store::Piece;

use super::lookup::Found;

/// The object map of an inode and its reference counts, up to the last entry in use.
#[derive(Default)]
struct Map {
    entries: Vec<u8>,
    grefs: Vec<u8>,
}

/// What the new inode says, apart from its map.
struct NewInode<'a> {
    vid: Vid,
    name: &'a [u8],
    parent: Vid,
    snap_id: u32,
    arm: VdiArm,
    shape: Shape,
}

impl NewInode<'_> {
    fn header(&self) -> Vec<u8> {
        let mut bytes = vec![0; inode::HEADER_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(field::NAME, self.name);
        put(field::CREATE_TIME, &timestamp().to_le_bytes());
        put(field::VDI_SIZE, &self.arm.vdi_size.to_le_bytes());
        put(field::COPY_POLICY, &[self.shape.copy_policy]);
        put(field::STORE_POLICY, &[self.arm.store_policy]);
        put(field::NR_COPIES, &[self.shape.copies]);
        put(field::BLOCK_SIZE_SHIFT, &[self.shape.block_size_shift]);
        put(field::SNAP_ID, &self.snap_id.to_le_bytes());
        put(field::VDI_ID, &self.vid.raw().to_le_bytes());
        put(field::PARENT_VDI_ID, &self.parent.raw().to_le_bytes());
        bytes
    }
}

/// The number of replicas that an erasure code asks for: data and parity strips
/// (protocol sheet 6.3).
fn strips(copy_policy: u8) -> u8 {
    (copy_policy >> 4) * 2 + (copy_policy & 0x0f)
}

impl Map {
    fn nonzero(&self) -> impl Iterator<Item = usize> + '_ {
        let entries = self.entries.chunks_exact(4).enumerate();
        entries
            .filter(|(_, entry)| *entry != [0; 4])
            .map(|(idx, _)| idx)
    }

    fn change_gref(&mut self, idx: usize, change: impl FnOnce(&mut [i32; 2])) {
        let bytes = &mut self.grefs[8 * idx..8 * idx + 8];
        let half = |at: usize| {
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut gref = [half(0), half(4)];
        change(&mut gref);
        bytes[..4].copy_from_slice(&gref[0].to_le_bytes());
        bytes[4..].copy_from_slice(&gref[1].to_le_bytes());
    }

    /// The reference counts of a child, and those of the parent afterwards: nothing here uses them,
    /// but a client that reads a whole inode sees what upstream would show (protocol sheet 7.3).
    fn count_child(&mut self) -> Vec<u8> {
        let mut child = Self {
            entries: Vec::new(),
            grefs: vec![0; self.grefs.len()],
        };
        for idx in self.nonzero().collect::<Vec<_>>() {
            let mut generation = 0;
            self.change_gref(idx, |gref| {
                gref[1] = gref[1].wrapping_add(1);
                generation = gref[0];
            });
            child.change_gref(idx, |gref| gref[0] = generation.wrapping_add(1));
        }
        child.grefs
    }
}

impl Cluster {
    fn shape_of(&self, meta: &Meta, arm: &VdiArm) -> Result<Shape, SdResult> {
        let format = meta.format.as_ref().ok_or(SdResult::WAIT_FOR_FORMAT)?;
        let (mut copies, copy_policy) = match arm.copies {
            0 => (format.copies, format.copy_policy),
            copies => (copies, arm.copy_policy),
        };
        if copy_policy != 0 {
            copies = strips(copy_policy);
        }
        let block_size_shift = match arm.block_size_shift {
            0 => format.block_size_shift,
            shift => shift & 31,
        };
        Ok(Shape {
            copies,
            copy_policy,
            block_size_shift,
        })
    }

    fn load_map(&self, vid: Vid) -> Result<Map, SdResult> {
        let oid = ObjectId::inode(vid);
        let len = 4 * MAX_OBJECTS as usize;
        let mut entries = self.read_bytes(oid, inode::MAP_OFFSET.into(), len)?;
        let used = entries.iter().rposition(|&byte| byte != 0);
        let count = used.map_or(0, |last| last / 4 + 1);
        entries.truncate(4 * count);
        let grefs = self.read_bytes(oid, inode::GREF_OFFSET.into(), 8 * count)?;
        Ok(Map { entries, grefs })
    }

    /// Writes the inode and makes the VDI known.
    fn add_vdi(
        &self,
        meta: &mut Meta,
        new: &NewInode<'_>,
        entries: &[u8],
        grefs: &[u8],
    ) -> Outcome {
        let [low, high] = inode::BTREE_MAGIC.to_le_bytes();
        let tree = [low, high, 1, 0, 0, 0, 0, 0];
        let entries = if new.arm.store_policy == 0 {
            entries
        } else {
            &tree
        };
        let header = new.header();
        let object = NewObject {
            size: inode::INODE_LEN.into(),
            base: None,
            pieces: &[
                Piece {
                    offset: 0,
                    data: &header,
                },
                Piece {
                    offset: inode::MAP_OFFSET.into(),
                    data: entries,
                },
                Piece {
                    offset: inode::GREF_OFFSET.into(),
                    data: grefs,
                },
            ],
        };
        self.store
            .create(ObjectId::inode(new.vid), object)
            .map_err(|_| SdResult::VDI_WRITE)?;
        let found = self.load(new.vid)?;
        self.register(meta, new.vid, &found.header()?);
        found.answer(SdResult::SUCCESS)
    }

    /// Makes a VDI that shares the objects of `base`.
    fn add_child(&self, meta: &mut Meta, base: &Found, mut new: NewInode<'_>) -> Outcome {
        let mut map = self
            .load_map(base.vid)
            .map_err(|_| SdResult::BASE_VDI_READ)?;
        let grefs = map.count_child();
        self.store
            .write(
                ObjectId::inode(base.vid),
                inode::GREF_OFFSET.into(),
                &map.grefs,
            )
            .map_err(|_| SdResult::BASE_VDI_WRITE)?;
        new.parent = base.vid;
        self.add_vdi(meta, &new, &map.entries, &grefs)
    }

    /// The VDI to derive from. Hyper volumes have no snapshots and no clones.
    fn load_base(&self, meta: &Meta, raw: u32) -> Result<Found, SdResult> {
        let base = Vid::new(raw).filter(|vid| meta.in_use.contains(&vid.raw()));
        let found = base.and_then(|vid| self.load(vid).ok());
        let found = found.ok_or(SdResult::BASE_VDI_READ)?;
        if found.header()?.store_policy() != 0 {
            return Err(SdResult::INVALID_PARMS);
        }
        Ok(found)
    }

    pub(super) fn new_vdi(&self, request: Request<'_>) -> Outcome {
        let arm = request.header.vdi_arm();
        if request.payload.len() != NAME_LEN {
            return Err(SdResult::INVALID_PARMS);
        }
        // An empty name would make a VDI that looks deleted.
        let name = until_nul(request.payload).filter(|name| !name.is_empty());
        let name = name.ok_or(SdResult::INVALID_PARMS)?;
        let mut meta = self.meta.lock();
        let shape = self.shape_of(&meta, &arm)?;
        if self.is_halted() {
            return Err(SdResult::VDI_WRITE);
        }
        let newest = self.named(&meta, name).into_iter().next();
        let (newest_id, working) = match &newest {
            Some(found) => (found.header()?.snap_id(), !found.header()?.is_snapshot()),
            None => (0, false),
        };
        let new = NewInode {
            vid: meta.free_vid(name)?,
            name,
            parent: Vid::NONE,
            snap_id: newest_id.wrapping_add(1),
            arm,
            shape,
        };
        match (newest, arm.snapid != 0) {
            (Some(current), true) if working => self.snapshot(&mut meta, &current, new),
            (_, true) => Err(SdResult::NO_VDI),
            (_, false) if working => Err(SdResult::VDI_EXIST),
            (_, false) if arm.base_vdi_id == 0 => self.add_vdi(&mut meta, &new, &[], &[]),
            (_, false) => {
                let base = self.load_base(&meta, arm.base_vdi_id)?;
                // Upstream would make the base read-only behind its users' backs.
                if !base.header()?.is_snapshot() {
                    return Err(SdResult::INVALID_PARMS);
                }
                self.add_child(&mut meta, &base, new)
            }
        }
    }

    /// In the order of protocol sheet 10.1: from the mark on, data writes to the old VDI are
    /// refused.
    fn snapshot(&self, meta: &mut Meta, current: &Found, new: NewInode<'_>) -> Outcome {
        let base = self.load_base(meta, new.arm.base_vdi_id)?;
        if base.vid != current.vid && !base.header()?.is_snapshot() {
            return Err(SdResult::INVALID_PARMS);
        }
        self.set_snapshot(current.vid, true);
        let oid = ObjectId::inode(current.vid);
        let now = timestamp().to_le_bytes();
        let marked = self.store.write(oid, field::SNAP_CTIME as u64, &now);
        if let Err(error) = marked {
            self.set_snapshot(current.vid, false);
            tracing::error!(%error, vid = %current.vid, "cannot mark a snapshot");
            return Err(SdResult::VDI_WRITE);
        }
        self.add_child(meta, &base, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_code_counts_data_and_parity_strips() {
        assert_eq!(strips(0x11), 3);
        assert_eq!(strips(0x23), 7);
        assert_eq!(strips(0x8f), 31);
    }

    #[test]
    fn a_child_is_one_generation_younger_and_the_parent_has_one_more_reference() {
        let mut map = Map {
            entries: [[5, 0, 0, 0], [0; 4], [6, 0, 0, 0]].concat(),
            grefs: vec![0; 24],
        };
        let child = map.count_child();
        assert_eq!(map.grefs[..8], [0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(map.grefs[8..16], [0; 8]);
        assert_eq!(child[16..], [1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
