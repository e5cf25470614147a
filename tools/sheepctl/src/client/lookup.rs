// SPDX-License-Identifier: GPL-2.0

//! From a name to a VDI id (protocol section 3.4).
//!
//! The payload is always 512 bytes, name and tag: the shorter form can crash a server.

use rustix::io::Errno;
use sheepdog_core::proto::{RequestHeader, SdResult, Vid};

use crate::client::{Client, Reply};
use crate::failure::{Failure, Outcome};
use crate::name::{Name, Snapshot, VdiSpec};

/// What a server knows of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    Found(Vid),
    NoVdi,
    /// The VDI is there, the snapshot is not.
    NoTag,
}

/// The payload of lookups and of DEL_VDI, which have [`snap_id`] in their header.
pub fn payload(spec: &VdiSpec) -> Vec<u8> {
    let mut payload = spec.name.as_field().to_vec();
    match &spec.snapshot {
        Some(Snapshot::Tag(tag)) => payload.extend_from_slice(tag.as_field()),
        Some(Snapshot::Id(_)) | None => payload.resize(2 * payload.len(), 0),
    }
    payload
}

/// The id by which lookups and DEL_VDI find a snapshot, 0 for none.
pub fn snap_id(spec: &VdiSpec) -> u32 {
    match spec.snapshot {
        Some(Snapshot::Id(id)) => id,
        Some(Snapshot::Tag(_)) | None => 0,
    }
}

/// How messages call `spec`.
pub fn about(spec: &VdiSpec) -> String {
    match &spec.snapshot {
        Some(snapshot) => format!("snapshot `{snapshot}` of VDI `{}`", spec.name),
        None => about_name(&spec.name),
    }
}

/// How messages call the working VDI `name`.
pub fn about_name(name: &Name) -> String {
    format!("VDI `{name}`")
}

impl Client {
    /// Looks `spec` up.
    ///
    /// # Errors
    ///
    /// Any result but SUCCESS, NO_VDI and NO_TAG.
    pub fn lookup(&mut self, spec: &VdiSpec) -> Outcome<Lookup> {
        let request = RequestHeader::get_vdi_info(snap_id(spec));
        let reply = self.call(&request, &payload(spec))?;
        match reply.header.result {
            SdResult::SUCCESS => self.vid_of(&request, &reply).map(Lookup::Found),
            SdResult::NO_VDI => Ok(Lookup::NoVdi),
            SdResult::NO_TAG => Ok(Lookup::NoTag),
            result => Err(self.refused(request.opcode, result, &about(spec))),
        }
    }

    /// Looks up `spec`, which has to exist.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it does not, else as [`Self::lookup`].
    pub fn find(&mut self, spec: &VdiSpec) -> Outcome<Vid> {
        let request = RequestHeader::get_vdi_info(snap_id(spec));
        let reply = self.demand(&request, &payload(spec), &about(spec))?;
        self.vid_of(&request, &reply)
    }

    /// The id in the reply to a VDI operation that succeeded.
    ///
    /// # Errors
    ///
    /// `EPROTO` when it is no VDI id.
    pub fn vid_of(&self, request: &RequestHeader, reply: &Reply) -> Outcome<Vid> {
        Vid::new(reply.header.vdi_arm().vdi_id)
            .filter(|vid| !vid.is_none())
            .ok_or_else(|| self.nonsense(request.opcode, "an impossible VDI id"))
    }
}

/// The failure of an operation that met another VDI than it began with.
pub fn changed_meanwhile(spec: &VdiSpec) -> Failure {
    Failure::new(
        Errno::BUSY,
        format!("{} was changed by somebody else meanwhile", about(spec)),
    )
    .advise("look at it with `sheepctl vdi list`, and try again")
}
