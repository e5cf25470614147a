// SPDX-License-Identifier: GPL-2.0

//! Snapshots and clones (protocol section 10).
//!
//! A snapshot turns the working VDI into the snapshot and makes a new working VDI of the same
//! name; its tag is written before. The request names the working VDI's id: with an older one the
//! server goes back to what that one held (section 3.3), so it is looked up once more at the last
//! moment, and what came out is looked at. A clone is always of a snapshot: cloning a working VDI
//! makes it read-only for everybody, for ever.

use rustix::io::Errno;
use sheepdog_core::proto::arm::VdiArm;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::limits::NAME_LEN;
use sheepdog_core::proto::{ObjectId, RequestHeader, Vid};

use crate::client::create::child_of;
use crate::client::inode::Vdi;
use crate::client::lookup::{about, changed_meanwhile, Lookup};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::name::{Name, Snapshot, VdiSpec};

impl Client {
    /// Takes the snapshot `tag` of the working VDI `name` and returns the new working VDI's id.
    ///
    /// # Errors
    ///
    /// `ENOENT` without such a VDI, `EEXIST` for a tag that is taken, `EOPNOTSUPP` for a hyper
    /// volume, `EBUSY` when somebody else takes a snapshot at the same time, else the failure of a
    /// request.
    pub fn snapshot(&mut self, name: &Name, tag: &Name) -> Outcome<Vid> {
        let snapshot = VdiSpec {
            name: name.clone(),
            snapshot: Some(Snapshot::Tag(tag.clone())),
        };
        if let Lookup::Found(vid) = self.lookup(&snapshot)? {
            return Err(Failure::new(
                Errno::EXIST,
                format!("{} exists, with id {vid}", about(&snapshot)),
            )
            .advise("choose another --tag, or delete that snapshot"));
        }
        let working = VdiSpec {
            name: name.clone(),
            snapshot: None,
        };
        let vid = self.find(&working)?;
        let vdi = self.read_found_vdi(vid)?;
        refuse_hyper(&working, &vdi)?;
        self.write_tag(&working, vid, tag.as_field())?;
        if self.lookup(&working)? != Lookup::Found(vid) {
            return Err(changed_meanwhile(&working).advise(format!(
                "the snapshot with id {vid} is not yours, but may have got the tag `{tag}`"
            )));
        }
        let arm = VdiArm {
            snapid: 1,
            ..child_of(&vdi)
        };
        let new = self
            .new_vdi(name, arm)
            .map_err(|failure| self.take_tag_back(&working, vid, failure))?;
        self.refuse_rebased(&working, &vdi, new)?;
        Ok(new)
    }

    /// Fails when somebody else took a snapshot of `base` before `new` was made of it: what was
    /// written in between is then in a snapshot, and not in `new`.
    fn refuse_rebased(&mut self, working: &VdiSpec, base: &Vdi, new: Vid) -> Outcome<()> {
        let new = self.read_found_vdi(new);
        let snap_id = new
            .map_err(|failure| failure.advise("the snapshot was taken before this failed"))?
            .snap_id;
        if snap_id == base.snap_id.wrapping_add(1) {
            return Ok(());
        }
        let newest = VdiSpec {
            name: working.name.clone(),
            snapshot: Some(Snapshot::Id(snap_id.wrapping_sub(1))),
        };
        let newest_vid = self.find(&newest)?;
        Err(Failure::new(
            Errno::BUSY,
            format!(
                "{} went back to what snapshot {} (id {}) holds: somebody else took a snapshot at \
                 the same moment",
                about(working),
                base.snap_id,
                base.vid
            ),
        )
        .advise(format!(
            "what was written since is in {newest} (id {newest_vid}) and not in the VDI"
        ))
        .advise("let nobody write to the VDI before that is put right"))
    }

    fn write_tag(&mut self, working: &VdiSpec, vid: Vid, tag: &[u8; NAME_LEN]) -> Outcome<()> {
        let offset = field::TAG as u32;
        let request = RequestHeader::write_obj(ObjectId::inode(vid), offset, NAME_LEN as u32);
        self.demand(&request, tag, &about(working)).map(|_| ())
    }

    /// After a snapshot that failed: the working VDI must not keep the tag.
    fn take_tag_back(&mut self, working: &VdiSpec, vid: Vid, failure: Failure) -> Failure {
        if matches!(failure.errno(), Errno::TIMEDOUT | Errno::CONNRESET) {
            return failure;
        }
        let taken_back = self.read_found_vdi(vid).and_then(|vdi| {
            if vdi.is_snapshot() {
                return Ok(());
            }
            self.write_tag(working, vid, &[0; NAME_LEN])
        });
        match taken_back {
            Ok(()) => failure,
            Err(second) => failure.advise(format!("the VDI still has the tag: {second}")),
        }
    }

    /// Makes `name`, a VDI that begins as a copy of the snapshot `source`.
    ///
    /// # Errors
    ///
    /// `EINVAL` when `source` is no snapshot, `ENOENT` when it does not exist, `EEXIST` for a name
    /// that is taken, `EOPNOTSUPP` for a hyper volume, else the failure of a request.
    pub fn clone_snapshot(&mut self, source: &VdiSpec, name: &Name) -> Outcome<Vid> {
        let no_snapshot = || {
            Failure::new(
                Errno::INVAL,
                format!("`{source}` is no snapshot, and only snapshots can be cloned"),
            )
            .advise(format!(
                "take one with `sheepctl vdi snapshot {} --tag TAG`, and clone {}@TAG",
                source.name, source.name
            ))
        };
        if source.snapshot.is_none() {
            return Err(no_snapshot());
        }
        let vid = self.find(source)?;
        let vdi = self.read_found_vdi(vid)?;
        if !vdi.is_snapshot() {
            return Err(no_snapshot());
        }
        refuse_hyper(source, &vdi)?;
        self.new_vdi(name, child_of(&vdi))
    }
}

fn refuse_hyper(spec: &VdiSpec, vdi: &Vdi) -> Outcome<()> {
    if !vdi.is_hyper() {
        return Ok(());
    }
    Err(Failure::new(
        Errno::OPNOTSUPP,
        format!("{} is a hyper volume, which has no snapshots", about(spec)),
    )
    .advise("copy it to a VDI with larger objects instead: `vdi create --object-size`"))
}
