// SPDX-License-Identifier: GPL-2.0

//! GET_VDI_ATTR: finds, creates or deletes an attribute object, whose value clients then read with
//! READ_OBJ (protocol sheet 2.5 and 3.2).

use sheepdog_core::proto::limits::ATTR_LEN;
use sheepdog_core::proto::limits::NAME_LEN;
use sheepdog_core::proto::name::fnv1a;
use sheepdog_core::proto::name::hash_start;
use sheepdog_core::proto::name::until_nul;
use sheepdog_core::proto::response::VdiReply;
use sheepdog_core::proto::Flags;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::SdResult;

use crate::answer::Answer;
use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::Cluster;
use crate::store::NewObject;
use crate::store::Piece;

use super::lookup::Wanted;

const CTIME: usize = 512;
const SNAP_ID: usize = 520;
const KEY: usize = 528;
const VALUE: usize = 784;
/// Attributes with the same hash lie behind one another; nobody has this many.
const MAX_PROBES: u32 = 1 << 16;

/// What tells attributes of a VDI apart: name, tag, snapshot id and key.
fn identity(attribute: &[u8]) -> [&[u8]; 3] {
    [
        &attribute[..2 * NAME_LEN],
        &attribute[SNAP_ID..SNAP_ID + 4],
        &attribute[KEY..VALUE],
    ]
}

impl Cluster {
    pub(super) fn get_vdi_attr(&self, request: Request<'_>) -> Outcome {
        let attribute = request.payload;
        if attribute.len() != ATTR_LEN as usize {
            return Err(SdResult::INVALID_PARMS);
        }
        let snapid = &attribute[SNAP_ID..SNAP_ID + 4];
        let (name, tag) = (&attribute[..NAME_LEN], &attribute[NAME_LEN..2 * NAME_LEN]);
        let wanted = Wanted {
            name: until_nul(name).ok_or(SdResult::INVALID_PARMS)?,
            tag: until_nul(tag).ok_or(SdResult::INVALID_PARMS)?,
            snapid: u32::from_le_bytes([snapid[0], snapid[1], snapid[2], snapid[3]]),
        };
        let meta = self.meta.lock();
        let found = self.find(&meta, &wanted)?;
        let (copies, ctime) = (found.header()?.nr_copies(), found.header()?.create_time());
        let vid = hash_start(wanted.name);
        let answer = |result, attr_id| {
            let reply = VdiReply {
                vdi_id: vid.raw(),
                attr_id,
                copies,
                ..VdiReply::default()
            };
            Ok(Answer::vdi(result, reply))
        };
        let flags = request.header.flags;
        let mut attr_id = (fnv1a(&identity(attribute).concat()) & 0xffff_ffff) as u32;
        for _ in 0..MAX_PROBES {
            let oid = ObjectId::attr(vid, attr_id);
            if self.store.size_of(oid)?.is_none() {
                if !flags.contains(Flags::ATTR_CREAT) {
                    return answer(SdResult::NO_OBJ, attr_id);
                }
                self.put_attribute(oid, attribute, ctime)?;
                return answer(SdResult::SUCCESS, attr_id);
            }
            let known = self.read_bytes(oid, 0, VALUE)?;
            if identity(&known) == identity(attribute) {
                if flags.contains(Flags::ATTR_EXCL) {
                    return answer(SdResult::VDI_EXIST, attr_id);
                }
                if flags.contains(Flags::ATTR_CREAT) {
                    self.put_attribute(oid, attribute, ctime)?;
                } else if flags.contains(Flags::ATTR_DEL) {
                    // The empty object stays, so that those behind it are still found.
                    self.put_attribute(oid, &[], 0)?;
                }
                return answer(SdResult::SUCCESS, attr_id);
            }
            attr_id = attr_id.wrapping_add(1);
        }
        Err(SdResult::FULL_VDI)
    }

    /// Writes an attribute whole, with the creation time of its VDI.
    fn put_attribute(&self, oid: ObjectId, content: &[u8], ctime: u64) -> Result<(), SdResult> {
        let content = Piece {
            offset: 0,
            data: content,
        };
        let ctime = Piece {
            offset: CTIME as u64,
            data: &ctime.to_le_bytes(),
        };
        let object = NewObject {
            size: ATTR_LEN.into(),
            base: None,
            pieces: &[content, ctime],
        };
        Ok(self.store.create(oid, object)?)
    }
}
