// SPDX-License-Identifier: GPL-2.0

//! Response headers (protocol sheet 2.3).
//!
//! Everything in them is a claim of the peer. `data_length` bytes follow whatever the result is;
//! the reader bounds that number by what it asked for. Fields other than the result mean something
//! only when the result is SUCCESS (a failed NEW_VDI returns a stray id).

use super::limits::HEADER_LEN;
use super::opcode::Opcode;
use super::result::SdResult;
use super::wire::array_at;
use super::wire::put;
use super::wire::u16_at;
use super::wire::u32_at;
use super::wire::u64_at;
use super::wire::u8_at;

/// Bytes of the operation's own part of a response header.
pub const REPLY_ARM_LEN: usize = 28;

const _: () = assert!(HEADER_LEN == 20 + REPLY_ARM_LEN);

/// A response header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHeader {
    /// 0 in every reply of current servers; not to be checked.
    pub proto_ver: u8,
    /// The request's opcode.
    pub opcode: Opcode,
    /// 0 in every reply of current servers.
    pub flags: u16,
    /// The cluster's epoch, 0 before it is formatted.
    pub epoch: u32,
    /// The request's id.
    pub id: u32,
    /// Bytes that follow this header, whatever the result.
    pub data_length: u32,
    /// What became of the request.
    pub result: SdResult,
    /// The operation's own part, bytes 20 to 47.
    pub arm: [u8; REPLY_ARM_LEN],
}

/// The reply to a VDI operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VdiReply {
    /// Zero.
    pub reserved: u32,
    /// The VDI's id: 24 bits in an honest reply, any 32 bits on the wire.
    pub vdi_id: u32,
    /// GET_VDI_ATTR: the index of the attribute object.
    pub attr_id: u32,
    /// Number of replicas.
    pub copies: u8,
    /// Logarithm of the object size.
    pub block_size_shift: u8,
    /// Zero.
    pub pad: [u8; 14],
}

impl VdiReply {
    /// Stores the arm.
    pub fn to_bytes(self) -> [u8; REPLY_ARM_LEN] {
        let mut bytes = [0; REPLY_ARM_LEN];
        put::<0, 4, REPLY_ARM_LEN>(&mut bytes, self.reserved.to_le_bytes());
        put::<4, 4, REPLY_ARM_LEN>(&mut bytes, self.vdi_id.to_le_bytes());
        put::<8, 4, REPLY_ARM_LEN>(&mut bytes, self.attr_id.to_le_bytes());
        put::<12, 2, REPLY_ARM_LEN>(&mut bytes, [self.copies, self.block_size_shift]);
        put::<14, 14, REPLY_ARM_LEN>(&mut bytes, self.pad);
        bytes
    }
}

/// The reply to GET_NODE_LIST and STAT_SHEEP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeReply {
    /// GET_NODE_LIST: number of nodes in the payload.
    pub nr_nodes: u32,
    /// STAT_SHEEP: bytes of storage.
    pub store_size: u64,
    /// STAT_SHEEP: bytes that are free.
    pub store_free: u64,
}

impl NodeReply {
    /// Stores the arm.
    pub fn to_bytes(self) -> [u8; REPLY_ARM_LEN] {
        let mut bytes = [0; REPLY_ARM_LEN];
        put::<0, 4, REPLY_ARM_LEN>(&mut bytes, self.nr_nodes.to_le_bytes());
        put::<12, 8, REPLY_ARM_LEN>(&mut bytes, self.store_size.to_le_bytes());
        put::<20, 8, REPLY_ARM_LEN>(&mut bytes, self.store_free.to_le_bytes());
        bytes
    }
}

/// The reply to GET_CLUSTER_DEFAULT; all zero before the cluster is formatted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClusterDefaultReply {
    /// Number of replicas that a new VDI gets.
    pub nr_copies: u8,
    /// Erasure code that a new VDI gets.
    pub copy_policy: u8,
    /// Logarithm of the object size that a new VDI gets.
    pub block_size_shift: u8,
}

impl ClusterDefaultReply {
    /// Stores the arm.
    pub fn to_bytes(self) -> [u8; REPLY_ARM_LEN] {
        let mut bytes = [0; REPLY_ARM_LEN];
        let small = [self.nr_copies, self.copy_policy, self.block_size_shift];
        put::<0, 3, REPLY_ARM_LEN>(&mut bytes, small);
        bytes
    }
}

/// Stores the arm of the reply to GET_HASH: a SHA-1 digest.
pub fn hash_arm(digest: [u8; 20]) -> [u8; REPLY_ARM_LEN] {
    let mut bytes = [0; REPLY_ARM_LEN];
    put::<4, 20, REPLY_ARM_LEN>(&mut bytes, digest);
    bytes
}

impl ResponseHeader {
    /// Reads a header. Any 48 bytes are one.
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        Self {
            proto_ver: u8_at::<0, HEADER_LEN>(bytes),
            opcode: Opcode(u8_at::<1, HEADER_LEN>(bytes)),
            flags: u16_at::<2, HEADER_LEN>(bytes),
            epoch: u32_at::<4, HEADER_LEN>(bytes),
            id: u32_at::<8, HEADER_LEN>(bytes),
            data_length: u32_at::<12, HEADER_LEN>(bytes),
            result: SdResult(u32_at::<16, HEADER_LEN>(bytes)),
            arm: array_at::<20, REPLY_ARM_LEN, HEADER_LEN>(bytes),
        }
    }

    /// The header as it is sent.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        put::<0, 2, HEADER_LEN>(&mut bytes, [self.proto_ver, self.opcode.0]);
        put::<2, 2, HEADER_LEN>(&mut bytes, self.flags.to_le_bytes());
        put::<4, 4, HEADER_LEN>(&mut bytes, self.epoch.to_le_bytes());
        put::<8, 4, HEADER_LEN>(&mut bytes, self.id.to_le_bytes());
        put::<12, 4, HEADER_LEN>(&mut bytes, self.data_length.to_le_bytes());
        put::<16, 4, HEADER_LEN>(&mut bytes, self.result.0.to_le_bytes());
        put::<20, REPLY_ARM_LEN, HEADER_LEN>(&mut bytes, self.arm);
        bytes
    }

    /// Object operations: where in the requested range the payload begins, in bytes. Only servers
    /// older than 0.8.0 send another value than 0 (protocol sheet 9.3).
    pub fn object_offset(&self) -> u64 {
        u64_at::<4, REPLY_ARM_LEN>(&self.arm)
    }

    /// The arm of a VDI operation's reply.
    pub fn vdi_arm(&self) -> VdiReply {
        VdiReply {
            reserved: u32_at::<0, REPLY_ARM_LEN>(&self.arm),
            vdi_id: u32_at::<4, REPLY_ARM_LEN>(&self.arm),
            attr_id: u32_at::<8, REPLY_ARM_LEN>(&self.arm),
            copies: u8_at::<12, REPLY_ARM_LEN>(&self.arm),
            block_size_shift: u8_at::<13, REPLY_ARM_LEN>(&self.arm),
            pad: array_at::<14, 14, REPLY_ARM_LEN>(&self.arm),
        }
    }

    /// The arm of the reply to GET_NODE_LIST and STAT_SHEEP.
    pub fn node_arm(&self) -> NodeReply {
        NodeReply {
            nr_nodes: u32_at::<0, REPLY_ARM_LEN>(&self.arm),
            store_size: u64_at::<12, REPLY_ARM_LEN>(&self.arm),
            store_free: u64_at::<20, REPLY_ARM_LEN>(&self.arm),
        }
    }

    /// The arm of the reply to GET_CLUSTER_DEFAULT.
    pub fn cluster_default_arm(&self) -> ClusterDefaultReply {
        ClusterDefaultReply {
            nr_copies: u8_at::<0, REPLY_ARM_LEN>(&self.arm),
            copy_policy: u8_at::<1, REPLY_ARM_LEN>(&self.arm),
            block_size_shift: u8_at::<2, REPLY_ARM_LEN>(&self.arm),
        }
    }

    /// The SHA-1 digest in the reply to GET_HASH.
    pub fn hash_digest(&self) -> [u8; 20] {
        array_at::<4, 20, REPLY_ARM_LEN>(&self.arm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_reply_of_a_real_server_is_understood() {
        // Protocol sheet 16.4, GET_CLUSTER_DEFAULT.
        let mut bytes = [0; HEADER_LEN];
        bytes[..24].copy_from_slice(&[
            0, 0x18, 0, 0, 1, 0, 0, 0, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x16, 0,
        ]);
        let reply = ResponseHeader::from_bytes(&bytes);
        assert_eq!(reply.opcode, Opcode::GET_CLUSTER_DEFAULT);
        assert_eq!((reply.epoch, reply.id), (1, 0x66));
        assert!(reply.result.is_success());
        let expected = ClusterDefaultReply {
            nr_copies: 1,
            copy_policy: 0,
            block_size_shift: 22,
        };
        assert_eq!(reply.cluster_default_arm(), expected);
        assert_eq!(reply.arm, expected.to_bytes());
        assert_eq!(reply.to_bytes(), bytes);
    }

    #[test]
    fn the_new_vdi_reply_of_a_real_server_is_understood() {
        // Protocol sheet 16.4, NEW_VDI of "t1".
        let mut bytes = [0; HEADER_LEN];
        bytes[..36].copy_from_slice(&[
            0, 0x11, 0, 0, 1, 0, 0, 0, 0x67, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16,
            0x5e, 0x6a, 0, 0, 0, 0, 0, 1, 0x16, 0, 0,
        ]);
        let reply = ResponseHeader::from_bytes(&bytes);
        let arm = reply.vdi_arm();
        assert_eq!(
            (arm.vdi_id, arm.copies, arm.block_size_shift),
            (0x6a5e16, 1, 22)
        );
        assert_eq!(arm.to_bytes(), reply.arm);
    }
}
