// SPDX-License-Identifier: GPL-2.0

//! Finding a VDI by its name (protocol sheet 3.4 and 6.2).

use sheepdog_core::proto::inode;
use sheepdog_core::proto::limits::NAME_LEN;
use sheepdog_core::proto::limits::NR_VIDS;
use sheepdog_core::proto::name::hash_start;
use sheepdog_core::proto::name::until_nul;
use sheepdog_core::proto::response::VdiReply;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;

use crate::answer::Answer;
use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::cluster_flag;
use crate::cluster::Cluster;
use crate::cluster::Meta;

/// Which VDI a request means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its tag; empty for none.
    pub tag: &'a [u8],
    /// Its snapshot id; 0 for none.
    pub snapid: u32,
}

impl<'a> Wanted<'a> {
    /// Reads the payload of a lookup: a name field, and perhaps a tag field.
    pub(super) fn from_request(request: &Request<'a>) -> Result<Self, SdResult> {
        let snapid = request.header.vdi_arm().snapid;
        let (name, tag) = match request.payload.split_at_checked(NAME_LEN) {
            Some((name, tag)) if tag.is_empty() || tag.len() == NAME_LEN => (name, tag),
            _ => return Err(SdResult::INVALID_PARMS),
        };
        Ok(Self {
            // No VDI has a name that does not end.
            name: until_nul(name).ok_or(SdResult::NO_VDI)?,
            tag: until_nul(tag).unwrap_or(tag),
            snapid,
        })
    }

    fn is_snapshot(&self) -> bool {
        !self.tag.is_empty() || self.snapid != 0
    }

    fn matches(&self, header: &InodeHeader<'_>) -> bool {
        let tag = !self.tag.is_empty() && header.tag() == Some(self.tag);
        let snapid = self.snapid != 0 && header.snap_id() == self.snapid;
        header.is_snapshot() && (tag || snapid)
    }
}

/// A VDI and the header of its inode.
pub(super) struct Found {
    /// Its id.
    pub vid: Vid,
    bytes: Vec<u8>,
}

impl Found {
    /// The header of its inode.
    pub(super) fn header(&self) -> Result<InodeHeader<'_>, SdResult> {
        InodeHeader::from_prefix(&self.bytes).ok_or(SdResult::SYSTEM_ERROR)
    }

    /// The answer that names it.
    pub(super) fn answer(&self, result: SdResult) -> Outcome {
        let header = self.header()?;
        let reply = VdiReply {
            vdi_id: self.vid.raw(),
            copies: header.nr_copies(),
            block_size_shift: header.block_size_shift(),
            ..VdiReply::default()
        };
        Ok(Answer::vdi(result, reply))
    }
}

/// The id after `vid`, around the end of the bitmap.
fn next_vid(vid: u32) -> u32 {
    if vid + 1 < NR_VIDS {
        vid + 1
    } else {
        1
    }
}

impl Meta {
    fn recycles_vids(&self) -> bool {
        let flags = self.format.as_ref().map_or(0, |format| format.flags);
        flags & cluster_flag::RECYCLE_VID != 0
    }

    /// The ids among which a VDI of this name is, the newest one first.
    fn candidates(&self, name: &[u8]) -> Vec<u32> {
        if self.recycles_vids() {
            return self.in_use.iter().rev().copied().collect();
        }
        let mut run = Vec::new();
        let mut vid = hash_start(name).raw();
        while self.in_use.contains(&vid) && run.len() < self.in_use.len() {
            run.push(vid);
            vid = next_vid(vid);
        }
        run.reverse();
        run
    }

    /// The id that a new VDI of this name gets (protocol sheet 6.2).
    pub(super) fn free_vid(&self, name: &[u8]) -> Result<Vid, SdResult> {
        let start = if self.recycles_vids() {
            1
        } else {
            hash_start(name).raw()
        };
        let mut vid = start;
        while self.in_use.contains(&vid) {
            vid = next_vid(vid);
            if vid == start {
                return Err(SdResult::FULL_VDI);
            }
        }
        Ok(Vid::truncate(vid))
    }
}

impl Cluster {
    /// The VDI `vid`, `NO_OBJ` when it has no inode.
    pub(super) fn load(&self, vid: Vid) -> Result<Found, SdResult> {
        let bytes = self.read_bytes(ObjectId::inode(vid), 0, inode::HEADER_LEN)?;
        Ok(Found { vid, bytes })
    }

    /// Every VDI and snapshot called `name`, the newest one first.
    pub(super) fn named(&self, meta: &Meta, name: &[u8]) -> Vec<Found> {
        let vids = meta.candidates(name).into_iter().map(Vid::truncate);
        vids.filter_map(|vid| self.load(vid).ok())
            .filter(|found| {
                let header = found.header();
                !name.is_empty() && header.is_ok_and(|header| header.name() == Some(name))
            })
            .collect()
    }

    /// The VDI that is wanted.
    pub(super) fn find(&self, meta: &Meta, wanted: &Wanted<'_>) -> Result<Found, SdResult> {
        let named = self.named(meta, wanted.name);
        let known = !named.is_empty();
        if wanted.is_snapshot() {
            let mut matching = named.into_iter().filter(|found| {
                let header = found.header();
                header.is_ok_and(|header| wanted.matches(&header))
            });
            let missing = if known {
                SdResult::NO_TAG
            } else {
                SdResult::NO_VDI
            };
            matching.next().ok_or(missing)
        } else {
            // The newest one is the working VDI, unless that was deleted.
            let newest = named.into_iter().next().ok_or(SdResult::NO_VDI)?;
            if newest.header()?.is_snapshot() {
                return Err(SdResult::NO_VDI);
            }
            Ok(newest)
        }
    }

    pub(super) fn get_vdi_info(&self, request: Request<'_>) -> Outcome {
        let wanted = Wanted::from_request(&request)?;
        let meta = self.meta.lock();
        self.find(&meta, &wanted)?.answer(SdResult::SUCCESS)
    }
}
