// SPDX-License-Identifier: GPL-2.0

//! DEL_VDI (protocol sheet 3.5).
//!
//! Deletes for real, objects included, unless the server runs with the upstream behaviour: then a
//! VDI with objects is only marked deleted, and SUCCESS all the same.

use std::collections::BTreeSet;

use sheepdog_core::proto::inode;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::limits::NAME_LEN;
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
use crate::store::NewObject;
use crate::store::Piece;

use super::lookup::Wanted;

impl Cluster {
    pub(super) fn del_vdi(&self, request: Request<'_>) -> Outcome {
        let wanted = Wanted::from_request(&request)?;
        let mut meta = self.meta.lock();
        let vid = self.find(&meta, &wanted)?.vid;
        if !self.options.upstream_delete || self.has_no_objects(vid)? {
            self.delete(&meta, vid)?;
        }
        if let Some(format) = &mut meta.format {
            format.deleted.insert(vid.raw());
        }
        self.recycle(&mut meta, vid)?;
        self.save(&meta)?;
        let reply = VdiReply {
            vdi_id: vid.raw(),
            ..VdiReply::default()
        };
        Ok(Answer::vdi(SdResult::SUCCESS, reply))
    }

    fn has_no_objects(&self, vid: Vid) -> Result<bool, SdResult> {
        Ok(self.is_hyper(vid)? || self.whole_map_dropped(vid)?.is_empty())
    }

    /// Leaves an inode without name, size and map, then removes what no VDI needs any more.
    fn delete(&self, meta: &Meta, vid: Vid) -> Result<(), SdResult> {
        let hyper = self.is_hyper(vid)?;
        let tree = if hyper {
            self.objects_of_tree(vid)?
        } else {
            Vec::new()
        };
        let gone = if hyper {
            Vec::new()
        } else {
            self.whole_map_dropped(vid)?
        };
        let oid = ObjectId::inode(vid);
        let mut header = self.read_bytes(oid, 0, inode::HEADER_LEN)?;
        header[field::NAME..field::NAME + NAME_LEN].fill(0);
        header[field::VDI_SIZE..field::VDI_SIZE + 8].fill(0);
        let object = NewObject {
            size: inode::INODE_LEN.into(),
            base: None,
            pieces: &[Piece {
                offset: 0,
                data: &header,
            }],
        };
        self.store.create(oid, object)?;
        for oid in tree {
            self.remove_if_there(oid)?;
        }
        self.reclaim(meta, gone)
    }

    fn parent_of(&self, vid: Vid) -> Vid {
        let bytes = self.read_bytes(ObjectId::inode(vid), 0, inode::HEADER_LEN);
        let header = bytes.as_deref().ok().and_then(InodeHeader::from_prefix);
        header.map_or(Vid::NONE, |header| Vid::truncate(header.parent_vdi_id()))
    }

    /// The oldest ancestor of `vid`. A damaged chain ends where it repeats itself.
    fn root_of(&self, vid: Vid) -> Vid {
        let mut seen = BTreeSet::new();
        let mut at = vid;
        loop {
            let parent = self.parent_of(at);
            if parent.is_none() || !seen.insert(at) {
                return at;
            }
            at = parent;
        }
    }

    /// On a RECYCLE_VID cluster: frees the ids of a family of which nobody is left
    /// (protocol sheet 3.5).
    fn recycle(&self, meta: &mut Meta, vid: Vid) -> Result<(), SdResult> {
        let Some(format) = &meta.format else {
            return Ok(());
        };
        if format.flags & cluster_flag::RECYCLE_VID == 0 {
            return Ok(());
        }
        let root = self.root_of(vid);
        let everyone = meta.in_use.iter().map(|&raw| Vid::truncate(raw));
        let family: Vec<Vid> = everyone.filter(|&vid| self.root_of(vid) == root).collect();
        if !family.iter().all(|vid| format.deleted.contains(&vid.raw())) {
            return Ok(());
        }
        for vid in family {
            self.remove_if_there(ObjectId::inode(vid))?;
            self.forget(meta, vid);
            if let Some(format) = &mut meta.format {
                format.deleted.remove(&vid.raw());
            }
        }
        Ok(())
    }
}
