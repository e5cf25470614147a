// SPDX-License-Identifier: GPL-2.0

//! Operation codes (protocol sheet 3).
//!
//! An [`Opcode`] holds any byte, known or not: the server has to answer unknown ones and a client
//! has to print them.

use core::fmt;

use super::limits::FIRST_INTERNAL_OPCODE;
use super::limits::PROTO_VER_INTERNAL;

/// An operation code as it stands in byte 1 of a header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Opcode(pub u8);

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl Opcode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The protocol's name of this operation, `None` for a code that the protocol sheet
            /// does not name.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

opcodes! {
    /// Create an object, or replace it as a whole, and write to it (protocol sheet 8.2).
    CREATE_AND_WRITE_OBJ = 0x01;
    /// Read a range of one object (protocol sheet 9).
    READ_OBJ = 0x02;
    /// Write a range of an object that exists (protocol sheet 8).
    WRITE_OBJ = 0x03;
    /// Remove an object, without any check (protocol sheet 3.1). Clients never use it.
    REMOVE_OBJ = 0x04;
    /// Clear one map entry and remove the object (protocol sheet 13).
    DISCARD_OBJ = 0x05;
    /// Create, clone, snapshot or roll back a VDI (protocol sheet 3.3).
    NEW_VDI = 0x11;
    /// Look a VDI up and lock it (protocol sheet 11).
    LOCK_VDI = 0x12;
    /// Release a lock (protocol sheet 11).
    RELEASE_VDI = 0x13;
    /// Look a VDI up (protocol sheet 3.4).
    GET_VDI_INFO = 0x14;
    /// Read the bitmap of VDI ids in use (protocol sheet 3.1).
    READ_VDIS = 0x15;
    /// Flush; always refused with INVALID_PARMS (protocol sheet 8.6).
    FLUSH_VDI = 0x16;
    /// Delete a VDI (protocol sheet 3.5).
    DEL_VDI = 0x17;
    /// Copies, copy policy and object size that a new VDI gets (protocol sheet 3.1).
    GET_CLUSTER_DEFAULT = 0x18;

    /// List the nodes of the cluster (protocol sheet 3.2).
    GET_NODE_LIST = 0x82;
    /// Format the cluster: removes every VDI (protocol sheet 3.2).
    MAKE_FS = 0x84;
    /// Shut the whole cluster down (protocol sheet 3.2).
    SHUTDOWN = 0x85;
    /// Space of one node (protocol sheet 3.2).
    STAT_SHEEP = 0x86;
    /// Epoch history and state of the cluster (protocol sheet 3.2).
    STAT_CLUSTER = 0x87;
    /// Look up, create or delete an attribute of a VDI (protocol sheet 3.2).
    GET_VDI_ATTR = 0x89;
    /// Start a cluster without its missing nodes (protocol sheet 3.2).
    FORCE_RECOVER = 0x8a;
    /// Names of the storage back ends (protocol sheet 3.2).
    GET_STORE_LIST = 0x90;
    /// Internal (protocol sheet 3.2).
    CLEANUP = 0x94;
    /// Progress of recovery (protocol sheet 3.2).
    STAT_RECOVERY = 0x97;
    /// Stop one node (protocol sheet 3.2).
    KILL_NODE = 0x9a;
    /// List of a peer's objects, internal (protocol sheet 3.2).
    GET_OBJ_LIST = 0xa1;
    /// An old epoch's nodes, internal (protocol sheet 3.2).
    GET_EPOCH = 0xa2;
    /// Replica operation, internal (protocol sheet 3.2).
    CREATE_AND_WRITE_PEER = 0xa3;
    /// Replica operation, internal (protocol sheet 3.2).
    READ_PEER = 0xa4;
    /// Replica operation, internal (protocol sheet 3.2).
    WRITE_PEER = 0xa5;
    /// Replica operation, internal (protocol sheet 3.2).
    REMOVE_PEER = 0xa6;
    /// Enable recovery (protocol sheet 3.2).
    ENABLE_RECOVER = 0xa8;
    /// Disable recovery (protocol sheet 3.2).
    DISABLE_RECOVER = 0xa9;
    /// State of every VDI: copies, parents, locks (protocol sheet 2.5, vdi_state).
    GET_VDI_COPIES = 0xab;
    /// Without effect (protocol sheet 3.2).
    DELETE_CACHE = 0xb0;
    /// Disks of one node (protocol sheet 3.2).
    MD_INFO = 0xb1;
    /// Add disks to a node (protocol sheet 3.2).
    MD_PLUG = 0xb2;
    /// Remove disks from a node (protocol sheet 3.2).
    MD_UNPLUG = 0xb3;
    /// SHA-1 of a stored object (protocol sheet 3.2).
    GET_HASH = 0xb4;
    /// Recompute node weights (protocol sheet 3.2).
    REWEIGHT = 0xb5;
    /// Counters of one node (protocol sheet 3.2).
    STAT = 0xb8;
    /// Log level of one node (protocol sheet 3.2).
    GET_LOGLEVEL = 0xb9;
    /// Log level of one node (protocol sheet 3.2).
    SET_LOGLEVEL = 0xba;
    /// Does this node hold an object (protocol sheet 3.2).
    EXIST = 0xbd;
    /// Everything about the cluster in one structure (protocol sheet 2.5, cluster_info).
    CLUSTER_INFO = 0xbe;
    /// Change the default number of copies (protocol sheet 3.2).
    ALTER_CLUSTER_COPY = 0xbf;
    /// Change the number of copies of a VDI (protocol sheet 3.2).
    ALTER_VDI_COPY = 0xc0;
    /// Drop a reference, internal (protocol sheet 3.2).
    DECREF_OBJ = 0xc1;
    /// Replica operation, internal (protocol sheet 3.2).
    DECREF_PEER = 0xc2;
    /// Copy a replica from another node (protocol sheet 3.2).
    REPAIR_REPLICA = 0xc5;
    /// Which of these objects are missing on this node (protocol sheet 3.2).
    OIDS_EXIST = 0xc6;
    /// Internal (protocol sheet 3.2).
    VDI_STATE_CHECKPOINT_CTL = 0xc7;
    /// Internal (protocol sheet 3.2).
    INODE_COHERENCE = 0xc8;
    /// Read the bitmap of deleted VDI ids (protocol sheet 3.2).
    READ_DEL_VDIS = 0xc9;
    /// Recovery throttling (protocol sheet 3.2).
    GET_RECOVERY = 0xca;
    /// Recovery throttling (protocol sheet 3.2).
    SET_RECOVERY = 0xcb;
    /// Number of virtual nodes (protocol sheet 3.2).
    SET_VNODES = 0xcc;
    /// Number of virtual nodes (protocol sheet 3.2).
    GET_VNODES = 0xcd;
}

impl Opcode {
    /// Whether a request with this opcode must carry the internal protocol version
    /// (protocol sheet 1, "Bad proto_ver").
    pub const fn is_internal(self) -> bool {
        self.0 >= FIRST_INTERNAL_OPCODE
    }

    /// Whether a server serves this opcode at `proto_ver` (protocol sheet 1, "Bad proto_ver").
    pub const fn accepts_proto_ver(self, proto_ver: u8) -> bool {
        if self.is_internal() {
            proto_ver == PROTO_VER_INTERNAL
        } else {
            proto_ver <= 2
        }
    }
}

/// The name, or the number in hexadecimal for a code without one.
impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "0x{:02x}", self.0),
        }
    }
}
