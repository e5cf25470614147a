// SPDX-License-Identifier: GPL-2.0

//! Whether a gateway answers, and whether what it serves is the VDI that was mapped.
//!
//! Asked on each new connection before requests go there, and when a gateway has been silent for
//! long. One small read of the VDI's inode: it is served from one sheep's disk, needs no order over
//! the cluster, and changes nothing (protocol sheet 12). A cluster that was formatted anew, or a
//! gateway of another cluster, must never get the writes of this one.

use core::fmt;

use super::Geometry;
use super::Lie;
use crate::proto::inode::field;
use crate::proto::limits::HEADER_LEN;
use crate::proto::ObjectId;
use crate::proto::Opcode;
use crate::proto::RequestHeader;
use crate::proto::ResponseHeader;
use crate::proto::SdResult;

const FIRST: usize = field::CREATE_TIME;
/// Bytes of the answer.
pub const ANSWER_LEN: usize = field::BTREE_COUNTER - FIRST;

/// What a VDI keeps from its creation on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    create_time: u64,
    vdi_id: u32,
    store_policy: u8,
    block_size_shift: u8,
}

/// What a gateway has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// It serves the VDI, which is as it was mapped.
    Same,
    /// It serves the VDI, which has become a snapshot: its data can not be written any more.
    Snapshot,
}

/// Why a gateway is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// It cannot serve now.
    Result(SdResult),
    /// It has no such VDI.
    Missing,
    /// It serves another VDI of the same id.
    Other,
    /// It answers what no sheep answers.
    Nonsense(Lie),
}

impl Identity {
    /// Out of an inode, from its first byte on; `None` if it is too short.
    pub fn of_inode(inode: &[u8]) -> Option<Self> {
        Self::of_answer(inode.get(FIRST..)?)
    }

    fn of_answer(bytes: &[u8]) -> Option<Self> {
        let at = |offset: usize| offset - FIRST;
        let byte = |offset| bytes.get(at(offset)).copied();
        let word = |offset| bytes.get(at(offset)..)?.first_chunk().copied();
        let create_time = bytes.get(at(field::CREATE_TIME)..)?.first_chunk()?;
        Some(Self {
            create_time: u64::from_le_bytes(*create_time),
            vdi_id: u32::from_le_bytes(word(field::VDI_ID)?),
            store_policy: byte(field::STORE_POLICY)?,
            block_size_shift: byte(field::BLOCK_SIZE_SHIFT)?,
        })
    }
}

/// The request that asks.
pub fn request(geometry: &Geometry, id: u32) -> [u8; HEADER_LEN] {
    let inode = ObjectId::inode(geometry.vid());
    let request = RequestHeader::read_obj(inode, FIRST as u32, ANSWER_LEN as u32);
    request.with_id(id).to_bytes()
}

/// Whether the answer that `header` announces is to be read: [`ANSWER_LEN`] bytes.
///
/// # Errors
///
/// [`Unfit`]. The connection is of no use any more, whatever follows.
pub fn announced(header: &ResponseHeader) -> Result<(), Unfit> {
    if header.opcode != Opcode::READ_OBJ {
        return Err(Unfit::Nonsense(Lie::Opcode {
            sent: Opcode::READ_OBJ,
            got: header.opcode,
        }));
    }
    match header.result {
        SdResult::SUCCESS if header.data_length == ANSWER_LEN as u32 => Ok(()),
        SdResult::SUCCESS => Err(Unfit::Nonsense(Lie::Length {
            expected: ANSWER_LEN as u32,
            got: header.data_length,
        })),
        SdResult::NO_OBJ => Err(Unfit::Missing),
        result => Err(Unfit::Result(result)),
    }
}

/// What the answer means to a mapping of `known`.
///
/// # Errors
///
/// [`Unfit::Other`].
pub fn found(known: &Identity, answer: &[u8; ANSWER_LEN]) -> Result<Found, Unfit> {
    if Identity::of_answer(answer) != Some(*known) {
        return Err(Unfit::Other);
    }
    let snap_ctime = answer.get(field::SNAP_CTIME - FIRST..);
    let snap_ctime = snap_ctime.and_then(|bytes| bytes.first_chunk::<8>());
    Ok(match snap_ctime {
        Some([0, 0, 0, 0, 0, 0, 0, 0]) => Found::Same,
        _ => Found::Snapshot,
    })
}

/// Whether a connection is to be replaced though its gateway answers the probe, and for how long it has carried
/// nothing: nothing has arrived on it for `silent_ms`, and the gateway's host has acknowledged nothing of what
/// was sent for `unacknowledged_ms`. A slow sheep leaves the latter at 0, since its host acknowledges.
pub fn dead_for(silent_ms: u32, unacknowledged_ms: u32, limit_ms: u32) -> Option<u32> {
    let dead_ms = silent_ms.min(unacknowledged_ms);
    (dead_ms >= limit_ms).then_some(dead_ms)
}

/// What is said by now of a wait of `wait_ms`, if that was `said_ms` before: its length once that is `limit_ms`, and
/// again each time it has doubled; 0 before.
pub fn said_of(wait_ms: u32, said_ms: u32, limit_ms: u32) -> u32 {
    if wait_ms < limit_ms {
        0
    } else if wait_ms / 2 >= said_ms {
        wait_ms
    } else {
        said_ms
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result(result) => write!(f, "result {result}"),
            Self::Missing => f.write_str("this cluster has no such VDI"),
            Self::Other => f.write_str("this cluster has another VDI of the same id"),
            Self::Nonsense(lie) => write!(f, "reply makes no sense: {lie}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::tests::geometry;
    use super::*;
    use crate::proto::response::REPLY_ARM_LEN;

    fn inode() -> Vec<u8> {
        let mut bytes = vec![0; 4664];
        bytes[field::CREATE_TIME..][..8].copy_from_slice(&0x1234_5678_9abc_def0u64.to_le_bytes());
        bytes[field::VDI_SIZE..][..8].copy_from_slice(&(64u64 << 20).to_le_bytes());
        bytes[field::BLOCK_SIZE_SHIFT] = 22;
        bytes[field::VDI_ID..][..4].copy_from_slice(&0x7c_2b25u32.to_le_bytes());
        bytes
    }

    fn answer(inode: &[u8]) -> [u8; ANSWER_LEN] {
        inode[FIRST..FIRST + ANSWER_LEN].try_into().unwrap()
    }

    #[test]
    fn it_asks_for_the_facts_of_the_own_inode() {
        let header = RequestHeader::from_bytes(&request(&geometry(64 << 20, 22), 9));
        let arm = header.object_arm();
        assert_eq!((header.opcode, header.id), (Opcode::READ_OBJ, 9));
        assert_eq!(arm.oid.raw(), 0x807c_2b25_0000_0000);
        assert_eq!((arm.offset, header.data_length), (512, 56));
    }

    #[test]
    fn the_same_vdi_may_have_grown_or_become_a_snapshot() {
        let mut now = inode();
        let known = Identity::of_inode(&now).unwrap();
        assert_eq!(found(&known, &answer(&now)), Ok(Found::Same));
        now[field::VDI_SIZE + 4] = 1;
        assert_eq!(found(&known, &answer(&now)), Ok(Found::Same));
        now[field::SNAP_CTIME + 3] = 1;
        assert_eq!(found(&known, &answer(&now)), Ok(Found::Snapshot));
    }

    #[test]
    fn another_vdi_of_the_same_id_is_not_taken_for_it() {
        let known = Identity::of_inode(&inode()).unwrap();
        for byte in [
            field::CREATE_TIME,
            field::VDI_ID,
            field::STORE_POLICY,
            field::BLOCK_SIZE_SHIFT,
        ] {
            let mut other = inode();
            other[byte] ^= 1;
            assert_eq!(found(&known, &answer(&other)), Err(Unfit::Other));
        }
        assert_eq!(Identity::of_inode(&inode()[..568]), Some(known));
        assert_eq!(Identity::of_inode(&inode()[..560]), None);
    }

    #[test]
    fn a_connection_is_dead_when_neither_sheep_nor_host_says_anything_for_long() {
        assert_eq!(dead_for(30_000, 31_000, 30_000), Some(30_000));
        assert_eq!(dead_for(99_000, 0, 30_000), None, "a slow sheep");
        assert_eq!(dead_for(29_999, 99_000, 30_000), None, "heard of lately");
        assert_eq!(dead_for(99_000, 29_999, 30_000), None, "acknowledges");
    }

    #[test]
    fn a_wait_is_said_once_and_again_when_it_has_doubled() {
        let looks = [
            0, 4_999, 5_052, 5_188, 6_400, 10_103, 10_104, 20_000, 20_208, 300, 5_100,
        ];
        let mut said_ms = 0;
        let said = looks.map(|wait_ms| {
            let before = said_ms;
            said_ms = said_of(wait_ms, said_ms, 5_000);
            said_ms > before
        });
        let expected = looks.map(|wait_ms| matches!(wait_ms, 5_052 | 10_104 | 20_208 | 5_100));
        assert_eq!(said, expected);
        assert_eq!(said_of(u32::MAX, u32::MAX, 5_000), u32::MAX);
    }

    #[test]
    fn only_a_success_of_the_right_length_is_read_on() {
        let says = |opcode, result, data_length| {
            announced(&ResponseHeader {
                proto_ver: 0,
                opcode,
                flags: 0,
                epoch: 1,
                id: 1,
                data_length,
                result,
                arm: [0; REPLY_ARM_LEN],
            })
        };
        let (read, success) = (Opcode::READ_OBJ, SdResult::SUCCESS);
        assert_eq!(says(read, success, 56), Ok(()));
        for got in [0, 55, 57, u32::MAX] {
            let lie = Lie::Length { expected: 56, got };
            assert_eq!(says(read, success, got), Err(Unfit::Nonsense(lie)));
        }
        assert!(says(Opcode::WRITE_OBJ, success, 56).is_err());
        assert_eq!(says(read, SdResult::NO_OBJ, 0), Err(Unfit::Missing));
        let waits = SdResult::WAIT_FOR_JOIN;
        assert_eq!(says(read, waits, 0), Err(Unfit::Result(waits)));
    }
}
