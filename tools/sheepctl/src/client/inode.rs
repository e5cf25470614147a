// SPDX-License-Identifier: GPL-2.0

//! Reading VDIs: the header of an inode, its object map, and the list of all.
//!
//! The map is read by itself, never together with the header in one read of 4 198 968 bytes:
//! servers take such a read for the refresh of a client that shares the VDI (protocol section 11).

use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use sheepdog_core::proto::inode::{HEADER_LEN, MAP_OFFSET};
use sheepdog_core::proto::limits::MAX_OBJECTS;
use sheepdog_core::proto::oid::{ObjectId, Vid};
use sheepdog_core::proto::{InodeHeader, Opcode, RequestHeader, SdResult};

use crate::client::{Client, Reply};
use crate::failure::{Failure, Outcome};
use crate::name::Name;
use crate::redundancy::Redundancy;

/// What an inode's header says.
#[derive(Debug, Clone)]
pub struct Vdi {
    pub vid: Vid,
    pub name: Name,
    /// Tag of a snapshot; any bytes, often none.
    pub tag: Vec<u8>,
    pub snap_id: u32,
    pub parent: Option<Vid>,
    pub size_bytes: u64,
    pub block_size_shift: u8,
    pub nr_copies: u8,
    pub copy_policy: u8,
    pub store_policy: u8,
    /// Seconds << 32 | nanoseconds, as the server has it.
    pub create_time: u64,
    /// In the same form; 0 for a working VDI.
    pub snap_ctime: u64,
}

/// What there is, as far as it can be read.
#[derive(Debug)]
pub struct Listing {
    pub vdis: Vec<Vdi>,
    /// Why others could not be read; after one of the connection not all others were asked for.
    pub failures: Vec<Failure>,
}

impl Vdi {
    /// Whether this is a snapshot: nobody can write to it.
    pub fn is_snapshot(&self) -> bool {
        self.snap_ctime != 0
    }

    /// Whether its index is a B-tree instead of a flat map.
    pub fn is_hyper(&self) -> bool {
        self.store_policy != 0
    }

    /// Object size in bytes, `None` for a shift that no object size has.
    pub fn object_size(&self) -> Option<u64> {
        1_u64.checked_shl(self.block_size_shift.into())
    }

    /// How the data is stored.
    pub fn redundancy(&self) -> Redundancy {
        Redundancy::from_inode(self.nr_copies, self.copy_policy)
    }
}

/// The moment that `timestamp` (seconds << 32 | nanoseconds) means, as RFC 3339 in UTC.
pub fn time_text(timestamp: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(timestamp >> 32);
    humantime::format_rfc3339_seconds(time).to_string()
}

impl Client {
    /// Reads the inode header of `vid`, `None` when the VDI was deleted.
    ///
    /// # Errors
    ///
    /// `EPROTO` for an inode that is none, else the failure of READ_OBJ.
    pub fn read_vdi(&mut self, vid: Vid) -> Outcome<Option<Vdi>> {
        let reply = self.ask_for_vdi(vid)?;
        self.vdi_in(&reply, vid)
    }

    fn ask_for_vdi(&mut self, vid: Vid) -> Outcome<Reply> {
        let length = HEADER_LEN as u32;
        self.call(
            &RequestHeader::read_obj(ObjectId::inode(vid), 0, length),
            &[],
        )
    }

    /// The VDI in the reply to [`Self::ask_for_vdi`].
    fn vdi_in(&self, reply: &Reply, vid: Vid) -> Outcome<Option<Vdi>> {
        match reply.header.result {
            SdResult::SUCCESS => {}
            SdResult::NO_OBJ => return Ok(None),
            result => return Err(self.refused(Opcode::READ_OBJ, result, &format!("VDI {vid}"))),
        }
        let damaged = || self.nonsense(Opcode::READ_OBJ, "an inode that is none");
        let header = InodeHeader::from_prefix(&reply.data).ok_or_else(damaged)?;
        if header.vdi_id() != vid.raw() {
            return Err(damaged());
        }
        let name = header.name().ok_or_else(damaged)?;
        let Ok(name) = Name::new(name) else {
            return Ok(None);
        };
        Ok(Some(Vdi {
            vid,
            name,
            tag: header.tag().ok_or_else(damaged)?.to_vec(),
            snap_id: header.snap_id(),
            parent: Vid::new(header.parent_vdi_id()).filter(|vid| !vid.is_none()),
            size_bytes: header.vdi_size(),
            block_size_shift: header.block_size_shift(),
            nr_copies: header.nr_copies(),
            copy_policy: header.copy_policy(),
            store_policy: header.store_policy(),
            create_time: header.create_time(),
            snap_ctime: header.snap_ctime(),
        }))
    }

    /// As [`Self::read_vdi`], for a VDI that was just looked up.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it was deleted meanwhile, else as [`Self::read_vdi`].
    pub fn read_found_vdi(&mut self, vid: Vid) -> Outcome<Vdi> {
        self.read_vdi(vid)?.ok_or_else(|| {
            Failure::new(Errno::NOENT, format!("VDI {vid} was deleted meanwhile"))
                .advise("`sheepctl vdi list` shows which there are")
        })
    }

    /// The first `entries` entries of the object map of `vid`.
    ///
    /// # Errors
    ///
    /// The failure of READ_OBJ.
    pub fn read_map(&mut self, vid: Vid, entries: u32) -> Outcome<Vec<u32>> {
        let length = 4 * entries.min(MAX_OBJECTS);
        let request = RequestHeader::read_obj(ObjectId::inode(vid), MAP_OFFSET, length);
        let bytes = self.demand_data(&request, &format!("object map of VDI {vid}"))?;
        let entry = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(bytes.chunks_exact(4).map(entry).collect())
    }

    /// All VDIs and snapshots, sorted by name and snapshot id, but those that are deleted meanwhile.
    ///
    /// # Errors
    ///
    /// The failure of the requests for what there is. That of a single VDI is in the result.
    pub fn list(&mut self) -> Outcome<Listing> {
        let in_use = self.demand_data(&RequestHeader::read_vdis(), "list of VDIs")?;
        let deleted = self.demand_data(&RequestHeader::read_del_vdis(), "list of deleted VDIs")?;
        let mut vdis = Vec::new();
        let mut failures = Vec::new();
        for vid in set_bits(&in_use, &deleted) {
            let reply = match self.ask_for_vdi(vid) {
                Ok(reply) => reply,
                Err(failure) => {
                    // The connection is no good any more.
                    failures.push(failure);
                    break;
                }
            };
            match self.vdi_in(&reply, vid) {
                Ok(vdi) => vdis.extend(vdi),
                Err(failure) => failures.push(failure),
            }
        }
        vdis.sort_by(|a, b| (a.name.as_bytes(), a.snap_id).cmp(&(b.name.as_bytes(), b.snap_id)));
        Ok(Listing { vdis, failures })
    }
}

/// The ids whose bit is set in `in_use` and clear in `deleted`.
fn set_bits<'a>(in_use: &'a [u8], deleted: &'a [u8]) -> impl Iterator<Item = Vid> + 'a {
    let bytes = in_use.iter().zip(deleted).map(|(used, gone)| used & !gone);
    bytes
        .enumerate()
        .filter(|(_, byte)| *byte != 0)
        .flat_map(|(index, byte)| {
            let bits = (0..8).filter(move |bit| byte & (1 << bit) != 0);
            bits.filter_map(move |bit| Vid::new(u32::try_from(index * 8 + bit).ok()?))
        })
        .filter(|vid| !vid.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vdi_is_in_use_and_not_deleted() {
        let mut in_use = vec![0; 8];
        in_use[0] = 0b0000_0011;
        in_use[2] = 0b1000_0001;
        let mut deleted = vec![0; 8];
        deleted[2] = 0b0000_0001;
        let vids: Vec<u32> = set_bits(&in_use, &deleted).map(Vid::raw).collect();
        assert_eq!(vids, [1, 23]);
    }

    #[test]
    fn timestamps_are_seconds_and_nanoseconds() {
        assert_eq!(time_text(0), "1970-01-01T00:00:00Z");
        assert_eq!(
            time_text((1_700_000_000 << 32) | 999_999_000),
            "2023-11-14T22:13:20Z"
        );
    }
}
