// SPDX-License-Identifier: GPL-2.0

//! What is known of one tag, packed into one word so that it is written and read in one piece.

use crate::{
    proto::limits::{
        MAX_BLOCK_SIZE_SHIFT,
        MAX_OBJECTS, //
    },
    volume::{
        Extent,
        Step, //
    }, //
};

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Its frame is on the way to the socket.
    Sending,
    /// The cluster has it, or the socket.
    Sent,
    /// Another request makes the object that it wants to write to.
    Creation,
    /// There is no gateway.
    Gateway,
    /// What was lost with an old connection may still be executed.
    Fence,
    /// The cluster could not serve it: it will be sent again.
    Cluster,
}

/// A kind of [`Step`], without the parent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    ReadParent,
    Write,
    Create,
    CreateParent,
    UpdateMap,
}

/// One request as it was when it was noted down.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) kind: Kind,
    /// Index of the object.
    pub(super) idx: u32,
    /// Where in the object, and how much, in sectors of 512 bytes.
    pub(super) offset_sectors: u32,
    pub(super) len_sectors: u32,
}

const PLACE_BITS: u32 = 3;
const KIND_BITS: u32 = 3;
const IDX_BITS: u32 = MAX_OBJECTS.ilog2();
const OFFSET_BITS: u32 = MAX_BLOCK_SIZE_SHIFT as u32 - 9;
/// Requests are at most 4 MiB, 2^13 sectors.
const LEN_BITS: u32 = 14;

const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const KIND_AT: u32 = PLACE_BITS;
const IDX_AT: u32 = KIND_AT + KIND_BITS;
const OFFSET_AT: u32 = IDX_AT + IDX_BITS;
const LEN_AT: u32 = OFFSET_AT + OFFSET_BITS;
const _: () = assert!(LEN_AT + LEN_BITS <= u64::BITS);

/// The word for no request.
pub(super) const NOTHING: u64 = 0;

const fn field(word: u64, at: u32, bits: u32) -> u32 {
    ((word >> at) & ((1 << bits) - 1)) as u32
}

impl Place {
    const fn code(self) -> u64 {
        match self {
            Self::Sending => 1,
            Self::Sent => 2,
            Self::Creation => 3,
            Self::Gateway => 4,
            Self::Fence => 5,
            Self::Cluster => 6,
        }
    }
}

impl Record {
    #[inline]
    pub(super) fn new(place: Place, step: Step, extent: &Extent) -> Self {
        let kind = match step {
            Step::Read { parent: None } => Kind::Read,
            Step::Read { parent: Some(_) } => Kind::ReadParent,
            Step::Write => Kind::Write,
            Step::Create { parent: None } => Kind::Create,
            Step::Create { parent: Some(_) } => Kind::CreateParent,
            Step::UpdateMap => Kind::UpdateMap,
        };
        Self {
            place,
            kind,
            idx: extent.idx,
            offset_sectors: extent.offset >> 9,
            len_sectors: extent.len >> 9,
        }
    }

    #[inline]
    pub(super) const fn pack(self) -> u64 {
        self.place.code()
            | (self.kind as u64) << KIND_AT
            | (self.idx as u64) << IDX_AT
            | (self.offset_sectors as u64) << OFFSET_AT
            | (self.len_sectors as u64) << LEN_AT
    }

    pub(super) const fn unpack(word: u64) -> Option<Self> {
        let place = match word & PLACE_MASK {
            1 => Place::Sending,
            2 => Place::Sent,
            3 => Place::Creation,
            4 => Place::Gateway,
            5 => Place::Fence,
            6 => Place::Cluster,
            _ => return None,
        };
        let kind = match field(word, KIND_AT, KIND_BITS) {
            0 => Kind::Read,
            1 => Kind::ReadParent,
            2 => Kind::Write,
            3 => Kind::Create,
            4 => Kind::CreateParent,
            5 => Kind::UpdateMap,
            _ => return None,
        };
        Some(Self {
            place,
            kind,
            idx: field(word, IDX_AT, IDX_BITS),
            offset_sectors: field(word, OFFSET_AT, OFFSET_BITS),
            len_sectors: field(word, LEN_AT, LEN_BITS),
        })
    }
}
