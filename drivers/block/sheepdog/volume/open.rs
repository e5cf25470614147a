// SPDX-License-Identifier: GPL-2.0

//! The mapping phase: how a name becomes a [`Geometry`] and an object map.
//!
//! [`Opening`] says what to ask, the caller sends it and hands the answer back, until the VDI is
//! [`Progress::Open`] or [`Progress::Refused`]. Four questions, one at a time:
//!
//! 1. [`Ask::Lookup`]: which VDI has this name. Takes no lock, so it can be asked again.
//! 2. [`Ask::Header`]: the inode's header, which tells the length of the object map.
//! 3. [`Ask::Inode`]: header and map together, in one read.
//! 4. [`Ask::Check`]: the header's facts again. A snapshot or a resize in between shows as a
//!    difference (protocol sheet 10.2), and all begins anew.
//!
//! The number of attempts is bounded, here; the time of each is bounded by the caller.

use core::ops::Range;

use super::Entry;
use super::Failure;
use super::Geometry;
use super::Incoming;
use super::Lie;
use super::Refusal;
use crate::proto::inode::field;
use crate::proto::inode::MAP_OFFSET;
use crate::proto::limits::HEADER_LEN;
use crate::proto::limits::LOOKUP_PAYLOAD_LEN;
use crate::proto::InodeError;
use crate::proto::InodeHeader;
use crate::proto::ObjectId;
use crate::proto::Opcode;
use crate::proto::RequestHeader;
use crate::proto::ResponseHeader;
use crate::proto::SdResult;
use crate::proto::Vid;

/// How often the questions are begun anew: together with [`delay_ms`] some seconds, longer than a
/// snapshot or a node's join takes, shorter than an administrator's patience.
const RETRIES: u32 = 10;

/// The header's fields that must not change while the inode is read: times, size, kind, ids.
const FACTS: Range<usize> = field::CREATE_TIME..field::BTREE_COUNTER;
const FACTS_OFFSET: u32 = FACTS.start as u32;
const FACTS_LEN: usize = FACTS.end - FACTS.start;

/// What the mapping is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading and writing: the VDI must not be a snapshot.
    ReadWrite,
    /// Reading only.
    ReadOnly,
}

/// What is to be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// GET_VDI_INFO. The payload is the name field, 256 bytes, and 256 zero bytes.
    Lookup,
    /// READ_OBJ of the inode's first 4664 bytes.
    Header,
    /// READ_OBJ of the inode up to the map's end. The map begins at byte 4664 of the answer:
    /// one little-endian u32 per object.
    Inode,
    /// READ_OBJ of the inode's bytes 512 to 567.
    Check,
}

/// What follows from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress {
    /// Ask [`Opening::ask`].
    Ask,
    /// Let this time pass, then ask [`Opening::ask`]: everything begins anew. An inode that was
    /// read is worthless.
    Wait {
        /// The time in milliseconds.
        ms: u32,
    },
    /// The VDI can be mapped. Its map is in the last answer to [`Ask::Inode`].
    Open(Geometry),
    /// The VDI cannot be mapped.
    Refused(Refusal),
}

#[derive(Clone, Copy)]
enum Stage {
    Lookup,
    Header(Vid),
    Inode(Geometry),
    Check(Geometry),
}

/// A VDI on its way to becoming a disk.
pub struct Opening {
    access: Access,
    stage: Stage,
    /// The facts as the header has them.
    facts: [u8; FACTS_LEN],
    /// Attempts that have failed.
    failed: u32,
}

/// What an answer leads to when nothing is wrong with it.
enum Next {
    Stage(Stage),
    Open(Geometry),
}

/// Why an attempt failed.
enum Setback {
    /// It can succeed another time; this is the refusal when it never does.
    Passing(Refusal),
    /// It cannot succeed.
    Final(Refusal),
}

impl Opening {
    /// Nothing is known yet.
    pub const fn new(access: Access) -> Self {
        Self {
            access,
            stage: Stage::Lookup,
            facts: [0; FACTS_LEN],
            failed: 0,
        }
    }

    /// What is to be asked now.
    pub const fn ask(&self) -> Ask {
        match self.stage {
            Stage::Lookup => Ask::Lookup,
            Stage::Header(_) => Ask::Header,
            Stage::Inode(_) => Ask::Inode,
            Stage::Check(_) => Ask::Check,
        }
    }

    /// The header of the request that asks it.
    pub fn request(&self, id: u32) -> [u8; HEADER_LEN] {
        let read =
            |vid, offset| RequestHeader::read_obj(ObjectId::inode(vid), offset, self.answer_len());
        let request = match self.stage {
            Stage::Lookup => RequestHeader::get_vdi_info(0),
            Stage::Header(vid) => read(vid, 0),
            Stage::Inode(geometry) => read(geometry.vid(), 0),
            Stage::Check(geometry) => read(geometry.vid(), FACTS_OFFSET),
        };
        request.with_id(id).to_bytes()
    }

    /// Bytes of payload that the answer brings when it is a success: 0, 4664, 4664 plus 4 per
    /// object, or 56.
    pub const fn answer_len(&self) -> u32 {
        match &self.stage {
            Stage::Lookup => 0,
            Stage::Header(_) => MAP_OFFSET,
            Stage::Inode(geometry) => geometry.inode_bytes(),
            Stage::Check(_) => FACTS_LEN as u32,
        }
    }

    /// What to do with the bytes that follow the answer's header: receive
    /// [`Opening::answer_len`] of them, or throw some away.
    ///
    /// # Errors
    ///
    /// [`Refusal::Nonsense`] for what no server answers. The connection is of no use any more.
    pub fn incoming(&self, answer: &ResponseHeader) -> Result<Incoming, Refusal> {
        let (sent, limit) = match self.stage {
            Stage::Lookup => (Opcode::GET_VDI_INFO, LOOKUP_PAYLOAD_LEN),
            _ => (Opcode::READ_OBJ, self.answer_len()),
        };
        let (expected, got) = (self.answer_len(), answer.data_length);
        let lie = if answer.opcode != sent {
            let got = answer.opcode;
            Lie::Opcode { sent, got }
        } else if answer.result.is_success() && got != expected {
            Lie::Length { expected, got }
        } else if got > limit {
            Lie::TooLong { limit, got }
        } else {
            return Ok(match got {
                0 => Incoming::None,
                _ if answer.result.is_success() => Incoming::Data,
                _ => Incoming::Discard(got),
            });
        };
        Err(Refusal::Nonsense(lie))
    }

    /// Takes the answer to the last question. `payload` is what it brought, when
    /// [`Opening::incoming`] said [`Incoming::Data`]; its first 4664 bytes are enough.
    pub fn answered(&mut self, answer: &ResponseHeader, payload: &[u8]) -> Progress {
        let next = match self.stage {
            Stage::Lookup => looked_up(answer).map(|vid| Next::Stage(Stage::Header(vid))),
            _ if !answer.result.is_success() => Err(inode_failure(answer.result)),
            Stage::Header(vid) => self.first_look(vid, payload),
            Stage::Inode(geometry) => self
                .look_again(payload.get(FACTS))
                .map(|()| Next::Stage(Stage::Check(geometry))),
            Stage::Check(geometry) => self
                .look_again(payload.get(..FACTS_LEN))
                .map(|()| Next::Open(geometry)),
        };
        let setback = match next {
            Ok(Next::Stage(stage)) => {
                self.stage = stage;
                return Progress::Ask;
            }
            Ok(Next::Open(geometry)) => return Progress::Open(geometry),
            Err(setback) => setback,
        };
        self.stage = Stage::Lookup;
        match setback {
            Setback::Passing(_) if self.failed < RETRIES => {
                let ms = delay_ms(self.failed);
                self.failed += 1;
                Progress::Wait { ms }
            }
            Setback::Passing(refusal) | Setback::Final(refusal) => Progress::Refused(refusal),
        }
    }

    fn first_look(&mut self, vid: Vid, payload: &[u8]) -> Result<Next, Setback> {
        let (Some(header), Some(facts)) = (InodeHeader::from_prefix(payload), payload.get(FACTS))
        else {
            return Err(Setback::Final(Refusal::Unusable(
                InodeError::NameWithoutNul,
            )));
        };
        let unusable = |error| Setback::Final(Refusal::Unusable(error));
        let geometry = Geometry::from(header.geometry(vid).map_err(unusable)?);
        if header.is_snapshot() && self.access == Access::ReadWrite {
            // The lookup found a working VDI: the snapshot was taken since.
            return Err(Setback::Passing(Refusal::Snapshot));
        }
        if geometry.capacity_sectors() == 0 {
            return Err(Setback::Final(Refusal::Empty(geometry.size_bytes())));
        }
        for (to, from) in self.facts.iter_mut().zip(facts) {
            *to = *from;
        }
        Ok(Next::Stage(Stage::Inode(geometry)))
    }

    fn look_again(&self, facts: Option<&[u8]>) -> Result<(), Setback> {
        if facts == Some(&self.facts[..]) {
            Ok(())
        } else {
            Err(Setback::Passing(Refusal::Changing))
        }
    }
}

/// Checks the object map that [`Ask::Inode`] brought: `entries` from the first on.
///
/// # Errors
///
/// [`Refusal::BadMap`] for the first entry that is damaged.
pub fn check_map(own: Vid, entries: impl IntoIterator<Item = u32>) -> Result<(), Refusal> {
    for (idx, raw) in (0..u32::MAX).zip(entries) {
        Entry::decode(raw, own).map_err(|entry| Refusal::BadMap { idx, entry })?;
    }
    Ok(())
}

/// How long to wait after the attempt with this number has failed: 0.1 s, doubling up to 1 s.
const fn delay_ms(failed: u32) -> u32 {
    match failed {
        0 => 100,
        1 => 200,
        2 => 400,
        3 => 800,
        _ => 1000,
    }
}

/// The meaning of a lookup's result (protocol sheet 3.4, 5 and 11).
fn looked_up(answer: &ResponseHeader) -> Result<Vid, Setback> {
    let result = answer.result;
    Err(match result {
        SdResult::SUCCESS => {
            let raw = answer.vdi_arm().vdi_id;
            match Vid::new(raw) {
                Some(vid) if !vid.is_none() => return Ok(vid),
                _ => Setback::Final(Refusal::BadVid(raw)),
            }
        }
        SdResult::NO_VDI | SdResult::NO_TAG => Setback::Final(Refusal::NotFound),
        SdResult::VDI_LOCKED => Setback::Final(Refusal::Locked),
        _ => failed(result),
    })
}

/// The meaning of the result of a failed read of the inode.
fn inode_failure(result: SdResult) -> Setback {
    match result {
        // Right after a snapshot the new inode may not be there yet (protocol sheet 5).
        SdResult::NO_OBJ => Setback::Passing(Refusal::Failed(Failure::Missing)),
        _ => failed(result),
    }
}

fn failed(result: SdResult) -> Setback {
    match Failure::from_result(result) {
        _ if result == SdResult::WAIT_FOR_FORMAT => Setback::Final(Refusal::NotFormatted),
        Failure::Unavailable(result) | Failure::Leaving(result) => {
            Setback::Passing(Refusal::Unavailable(result))
        }
        failure => Setback::Final(Refusal::Failed(failure)),
    }
}
