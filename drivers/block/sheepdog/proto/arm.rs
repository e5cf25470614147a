// SPDX-License-Identifier: GPL-2.0

//! Bytes 16 to 47 of a request: what they mean depends on the operation (protocol sheet 2.2).
//!
//! Each arm covers all 32 bytes, so that a header parsed and stored again is the same header.

use super::oid::ObjectId;
use super::wire::array_at;
use super::wire::put;
use super::wire::u16_at;
use super::wire::u32_at;
use super::wire::u64_at;
use super::wire::u8_at;

/// Bytes of the operation's own part of a request header.
pub const ARM_LEN: usize = 32;

/// Kind of a VDI lock (protocol sheet 2.4 and 11).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum LockType {
    /// One client alone.
    Normal = 0,
    /// Several nodes, with inode coherence between them.
    Shared = 1,
}

/// The arm of object requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObjectArm {
    /// The object.
    pub oid: ObjectId,
    /// The object to copy from; means something only with flag COW.
    pub cow_oid: ObjectId,
    /// Number of replicas; 0 lets the server look it up.
    pub copies: u8,
    /// Erasure code; 0 lets the server look it up.
    pub copy_policy: u8,
    /// Internal to servers.
    pub ec_index: u8,
    /// Zero.
    pub reserved: u8,
    /// Internal, and GET_HASH.
    pub tgt_epoch: u32,
    /// Where in the object the operation begins, in bytes.
    pub offset: u32,
    /// Zero.
    pub pad: u32,
}

impl ObjectArm {
    /// Reads the arm.
    pub fn from_bytes(bytes: &[u8; ARM_LEN]) -> Self {
        Self {
            oid: ObjectId::from_raw(u64_at::<0, ARM_LEN>(bytes)),
            cow_oid: ObjectId::from_raw(u64_at::<8, ARM_LEN>(bytes)),
            copies: u8_at::<16, ARM_LEN>(bytes),
            copy_policy: u8_at::<17, ARM_LEN>(bytes),
            ec_index: u8_at::<18, ARM_LEN>(bytes),
            reserved: u8_at::<19, ARM_LEN>(bytes),
            tgt_epoch: u32_at::<20, ARM_LEN>(bytes),
            offset: u32_at::<24, ARM_LEN>(bytes),
            pad: u32_at::<28, ARM_LEN>(bytes),
        }
    }

    /// Stores the arm.
    pub fn to_bytes(self) -> [u8; ARM_LEN] {
        let mut bytes = [0; ARM_LEN];
        put::<0, 8, ARM_LEN>(&mut bytes, self.oid.raw().to_le_bytes());
        put::<8, 8, ARM_LEN>(&mut bytes, self.cow_oid.raw().to_le_bytes());
        let small = [self.copies, self.copy_policy, self.ec_index, self.reserved];
        put::<16, 4, ARM_LEN>(&mut bytes, small);
        put::<20, 4, ARM_LEN>(&mut bytes, self.tgt_epoch.to_le_bytes());
        put::<24, 4, ARM_LEN>(&mut bytes, self.offset.to_le_bytes());
        put::<28, 4, ARM_LEN>(&mut bytes, self.pad.to_le_bytes());
        bytes
    }
}

/// The arm of VDI requests, opcodes 0x11 to 0x18 and GET_VDI_ATTR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VdiArm {
    /// Size of the VDI in bytes.
    pub vdi_size: u64,
    /// Parent of a new VDI, or VDI to release. A client sends a 24-bit id; a server may get
    /// anything.
    pub base_vdi_id: u32,
    /// Number of replicas; 0 for the cluster's default.
    pub copies: u8,
    /// Erasure code; 0 for plain replication.
    pub copy_policy: u8,
    /// 0 for a plain VDI, 1 for a hyper volume.
    pub store_policy: u8,
    /// Logarithm of the object size; 0 for the cluster's default.
    pub block_size_shift: u8,
    /// Snapshot id of a lookup; any value but 0 makes NEW_VDI a snapshot.
    pub snapid: u32,
    /// Lock type, see [`LockType`]; any value on the wire.
    pub lock_type: u32,
    /// Zero.
    pub pad: [u8; 8],
}

impl VdiArm {
    /// Reads the arm.
    pub fn from_bytes(bytes: &[u8; ARM_LEN]) -> Self {
        Self {
            vdi_size: u64_at::<0, ARM_LEN>(bytes),
            base_vdi_id: u32_at::<8, ARM_LEN>(bytes),
            copies: u8_at::<12, ARM_LEN>(bytes),
            copy_policy: u8_at::<13, ARM_LEN>(bytes),
            store_policy: u8_at::<14, ARM_LEN>(bytes),
            block_size_shift: u8_at::<15, ARM_LEN>(bytes),
            snapid: u32_at::<16, ARM_LEN>(bytes),
            lock_type: u32_at::<20, ARM_LEN>(bytes),
            pad: array_at::<24, 8, ARM_LEN>(bytes),
        }
    }

    /// Stores the arm.
    pub fn to_bytes(self) -> [u8; ARM_LEN] {
        let mut bytes = [0; ARM_LEN];
        put::<0, 8, ARM_LEN>(&mut bytes, self.vdi_size.to_le_bytes());
        put::<8, 4, ARM_LEN>(&mut bytes, self.base_vdi_id.to_le_bytes());
        let small = [
            self.copies,
            self.copy_policy,
            self.store_policy,
            self.block_size_shift,
        ];
        put::<12, 4, ARM_LEN>(&mut bytes, small);
        put::<16, 4, ARM_LEN>(&mut bytes, self.snapid.to_le_bytes());
        put::<20, 4, ARM_LEN>(&mut bytes, self.lock_type.to_le_bytes());
        put::<24, 8, ARM_LEN>(&mut bytes, self.pad);
        bytes
    }
}

/// The arm of cluster requests: MAKE_FS, STAT_CLUSTER, ALTER_CLUSTER_COPY.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClusterArm {
    /// Unused.
    pub oid: u64,
    /// Creation time of the cluster, seconds << 32 | nanoseconds.
    pub ctime: u64,
    /// Default number of replicas.
    pub copies: u8,
    /// Default erasure code.
    pub copy_policy: u8,
    /// Cluster flags (protocol sheet 2.4).
    pub cluster_flags: u16,
    /// Internal.
    pub tag: u32,
    /// STAT_CLUSTER: nodes for which each record has room.
    pub nodes_nr: u32,
    /// Default object size.
    pub block_size_shift: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

impl ClusterArm {
    /// Reads the arm.
    pub fn from_bytes(bytes: &[u8; ARM_LEN]) -> Self {
        Self {
            oid: u64_at::<0, ARM_LEN>(bytes),
            ctime: u64_at::<8, ARM_LEN>(bytes),
            copies: u8_at::<16, ARM_LEN>(bytes),
            copy_policy: u8_at::<17, ARM_LEN>(bytes),
            cluster_flags: u16_at::<18, ARM_LEN>(bytes),
            tag: u32_at::<20, ARM_LEN>(bytes),
            nodes_nr: u32_at::<24, ARM_LEN>(bytes),
            block_size_shift: u8_at::<28, ARM_LEN>(bytes),
            reserved: array_at::<29, 3, ARM_LEN>(bytes),
        }
    }

    /// Stores the arm.
    pub fn to_bytes(self) -> [u8; ARM_LEN] {
        let mut bytes = [0; ARM_LEN];
        put::<0, 8, ARM_LEN>(&mut bytes, self.oid.to_le_bytes());
        put::<8, 8, ARM_LEN>(&mut bytes, self.ctime.to_le_bytes());
        put::<16, 2, ARM_LEN>(&mut bytes, [self.copies, self.copy_policy]);
        put::<18, 2, ARM_LEN>(&mut bytes, self.cluster_flags.to_le_bytes());
        put::<20, 4, ARM_LEN>(&mut bytes, self.tag.to_le_bytes());
        put::<24, 4, ARM_LEN>(&mut bytes, self.nodes_nr.to_le_bytes());
        put::<28, 1, ARM_LEN>(&mut bytes, [self.block_size_shift]);
        put::<29, 3, ARM_LEN>(&mut bytes, self.reserved);
        bytes
    }
}
