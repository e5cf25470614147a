// SPDX-License-Identifier: GPL-2.0

//! Writes to inodes, and what follows from a change of the object map (protocol sheet 7.3).
//!
//! Upstream counts references in the inodes and in ledger objects and reclaims in the background.
//! Here nothing is counted: an object whose entry goes away is removed at once, before the reply,
//! unless the map of another VDI still names it. So a repeated or doubled map write cannot lose
//! anything, and an index can be used again as soon as the reply is there.

use sheepdog_core::proto::inode;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::limits::MAX_OBJECTS;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;

use crate::answer::Answer;
use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::Cluster;
use crate::cluster::Meta;

const MAP_START: u64 = inode::MAP_OFFSET as u64;
const MAP_END: u64 = inode::GREF_OFFSET as u64;

/// A map entry that no longer names `owner`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Dropped {
    idx: u32,
    owner: u32,
}

/// The numbers in `bytes`, of which there is a multiple of four.
fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect()
}

/// What `old` had and `new` has not, of entries that begin at `first`.
fn dropped(first: u32, old: &[u32], new: &[u32]) -> Vec<Dropped> {
    let pairs = (first..).zip(old.iter().zip(new));
    pairs
        .filter(|(_, (old, new))| **old != 0 && old != new)
        .map(|(idx, (&owner, _))| Dropped { idx, owner })
        .collect()
}

impl Cluster {
    /// `count` map entries of `vid` from `first` on.
    pub(super) fn map_range(
        &self,
        vid: Vid,
        first: u32,
        count: usize,
    ) -> Result<Vec<u32>, SdResult> {
        let offset = MAP_START + 4 * u64::from(first);
        let bytes = self.read_bytes(ObjectId::inode(vid), offset, 4 * count)?;
        Ok(words(&bytes))
    }

    /// Whether the map area of `vid` holds a B-tree.
    pub(super) fn is_hyper(&self, vid: Vid) -> Result<bool, SdResult> {
        let bytes = self.read_bytes(ObjectId::inode(vid), field::STORE_POLICY as u64, 1)?;
        Ok(bytes != [0])
    }

    /// WRITE_OBJ to an inode.
    pub(super) fn write_inode(
        &self,
        oid: ObjectId,
        offset: u32,
        data: &[u8],
    ) -> Result<(), SdResult> {
        let meta = self.meta.lock();
        self.write_inode_locked(&meta, oid, offset, data)
    }

    pub(super) fn write_inode_locked(
        &self,
        meta: &Meta,
        oid: ObjectId,
        offset: u32,
        data: &[u8],
    ) -> Result<(), SdResult> {
        let start = u64::from(offset);
        let end = start + data.len() as u64;
        let in_map = start >= MAP_START && end <= MAP_END && !data.is_empty();
        if !in_map || self.is_hyper(oid.vid())? {
            return Ok(self.store.write(oid, start, data)?);
        }
        let first = (start - MAP_START) / 4;
        let count = (end - MAP_START).div_ceil(4) - first;
        let (Ok(first), Ok(count)) = (u32::try_from(first), usize::try_from(count)) else {
            return Err(SdResult::INVALID_PARMS);
        };
        let old = self.map_range(oid.vid(), first, count)?;
        self.store.write(oid, start, data)?;
        let new = self.map_range(oid.vid(), first, count)?;
        self.clear_grefs(oid, first, count)?;
        self.reclaim(meta, dropped(first, &old, &new))
    }

    /// Zeroes the reference counts beside the entries, as upstream does.
    fn clear_grefs(&self, oid: ObjectId, first: u32, count: usize) -> Result<(), SdResult> {
        let offset = MAP_END + 8 * u64::from(first);
        let counts = self.read_bytes(oid, offset, 8 * count)?;
        if counts.iter().any(|&byte| byte != 0) {
            self.store.write(oid, offset, &vec![0; counts.len()])?;
        }
        Ok(())
    }

    /// Removes the objects of dropped entries that no map names any more.
    pub(super) fn reclaim(&self, meta: &Meta, mut gone: Vec<Dropped>) -> Result<(), SdResult> {
        let range = gone.iter().map(|entry| entry.idx);
        let (Some(first), Some(last)) = (range.clone().min(), range.max()) else {
            return Ok(());
        };
        let count = (last - first) as usize + 1;
        for &raw in &meta.in_use {
            let vid = Vid::truncate(raw);
            let start = self.read_bytes(ObjectId::inode(vid), 0, field::STORE_POLICY + 1);
            // Without a name the VDI is deleted and names nothing; nor does a hyper volume.
            let Ok(start) = start else { continue };
            if start[field::NAME] == 0 || start[field::STORE_POLICY] != 0 {
                continue;
            }
            let map = self.map_range(vid, first, count)?;
            gone.retain(|entry| map[(entry.idx - first) as usize] != entry.owner);
        }
        for entry in gone {
            if let Some(owner) = Vid::new(entry.owner) {
                self.remove_if_there(ObjectId::data(owner, entry.idx))?;
            }
        }
        Ok(())
    }

    /// Every entry of a map that goes away as a whole.
    pub(super) fn whole_map_dropped(&self, vid: Vid) -> Result<Vec<Dropped>, SdResult> {
        let old = self.map_range(vid, 0, MAX_OBJECTS as usize)?;
        let new = vec![0; old.len()];
        Ok(dropped(0, &old, &new))
    }

    /// Removes an object that may be absent: an entry can name one that was never created.
    pub(super) fn remove_if_there(&self, oid: ObjectId) -> Result<(), SdResult> {
        match self.store.remove(oid).map_err(SdResult::from) {
            Ok(()) | Err(SdResult::NO_OBJ) => Ok(()),
            Err(result) => Err(result),
        }
    }

    /// DISCARD_OBJ (protocol sheet 13). Safer than upstream on a snapshot: an object that another
    /// VDI needs stays.
    pub(super) fn discard_obj(&self, request: Request<'_>) -> Outcome {
        let oid = request.header.object_arm().oid;
        if oid.kind() != ObjectKind::Data {
            return Err(SdResult::INVALID_PARMS);
        }
        let meta = self.meta.lock();
        if self.is_hyper(oid.vid())? {
            self.discard_in_tree(oid)?;
            return Ok(Answer::SUCCESS);
        }
        let offset = inode::map_offset(oid.idx()).ok_or(SdResult::INVALID_PARMS)?;
        self.write_inode_locked(&meta, ObjectId::inode(oid.vid()), offset, &[0; 4])?;
        Ok(Answer::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_that_named_something_else_are_dropped() {
        let gone = dropped(10, &[0, 5, 5, 7], &[1, 5, 6, 0]);
        assert_eq!(
            gone,
            [Dropped { idx: 12, owner: 5 }, Dropped { idx: 13, owner: 7 }]
        );
    }
}
