// SPDX-License-Identifier: GPL-2.0

//! Result codes of replies (protocol sheet 5).
//!
//! An [`SdResult`] holds any number, since a peer can send any. What a code means for a request is
//! decided in `volume`, not here.

use core::fmt;

/// The `result` of a reply, bytes 16 to 19 of its header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct SdResult(pub u32);

macro_rules! results {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SdResult {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// The protocol's name of this result, `None` for a code without one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// The result called `name`, `None` when there is no such.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

results! {
    /// The operation was done, and is durable on all replicas if it was a write.
    SUCCESS = 0x00;
    /// Unknown error.
    UNKNOWN = 0x01;
    /// No such object.
    NO_OBJ = 0x02;
    /// Disk error.
    EIO = 0x03;
    /// A VDI of this name exists.
    VDI_EXIST = 0x04;
    /// Bad length, unknown operation, or FLUSH_VDI.
    INVALID_PARMS = 0x05;
    /// The server is in a state it does not expect.
    SYSTEM_ERROR = 0x06;
    /// The VDI is locked.
    VDI_LOCKED = 0x07;
    /// No such VDI.
    NO_VDI = 0x08;
    /// Not emitted by current servers.
    NO_BASE_VDI = 0x09;
    /// Not emitted by current servers.
    VDI_READ = 0x0a;
    /// NEW_VDI could not write an inode.
    VDI_WRITE = 0x0b;
    /// NEW_VDI could not read the base's inode.
    BASE_VDI_READ = 0x0c;
    /// NEW_VDI could not write the base's inode.
    BASE_VDI_WRITE = 0x0d;
    /// The VDI exists but has no such snapshot.
    NO_TAG = 0x0e;
    /// Not emitted by current servers.
    STARTUP = 0x0f;
    /// Not emitted by current servers.
    VDI_NOT_LOCKED = 0x10;
    /// The cluster is shutting down.
    SHUTDOWN = 0x11;
    /// The server is out of memory.
    NO_MEM = 0x12;
    /// All VDI ids are taken.
    FULL_VDI = 0x13;
    /// Protocol version not supported.
    VER_MISMATCH = 0x14;
    /// A replica's disk is full.
    NO_SPACE = 0x15;
    /// The cluster is not formatted.
    WAIT_FOR_FORMAT = 0x16;
    /// The gateway waits for other nodes.
    WAIT_FOR_JOIN = 0x17;
    /// Not emitted by current servers.
    JOIN_FAILED = 0x18;
    /// Too few nodes to write.
    HALT = 0x19;
    /// The object belongs to a snapshot.
    READONLY = 0x1a;
    /// `INCOMPLETE` in tgt's private table; nothing in servers.
    TGT_INCOMPLETE = 0x1b;
    /// `COLLECTING_CINFO` in tgt's private table; nothing in servers.
    TGT_COLLECTING_CINFO = 0x1c;
    /// Shared-lock coherence: the inode has to be read again.
    INODE_INVALIDATED = 0x1d;
    /// Between servers: the request's epoch is older than the server's.
    OLD_NODE_VER = 0x81;
    /// Between servers: the request's epoch is newer than the server's.
    NEW_NODE_VER = 0x82;
    /// Not emitted by current servers.
    NOT_FORMATTED = 0x83;
    /// Not emitted by current servers.
    INVALID_CTIME = 0x84;
    /// Not emitted by current servers.
    INVALID_EPOCH = 0x85;
    /// Between servers: a peer does not answer.
    NETWORK_ERROR = 0x86;
    /// Not emitted by current servers.
    NO_CACHE = 0x87;
    /// The reply does not fit in the length that the request gave.
    BUFFER_SMALL = 0x88;
    /// The cluster has to be started by force.
    FORCE_RECOVER = 0x89;
    /// No such storage back end.
    NO_STORE = 0x8a;
    /// Not supported.
    NO_SUPPORT = 0x8b;
    /// A node is recovering.
    NODE_IN_RECOVERY = 0x8c;
    /// The node was killed.
    KILLED = 0x8d;
    /// Not emitted by current servers.
    OID_EXIST = 0x8e;
    /// Try again.
    AGAIN = 0x8f;
    /// Recovery: the object is stale.
    STALE_OBJ = 0x90;
    /// The cluster driver failed; the outcome is unknown.
    CLUSTER_ERROR = 0x91;
    /// Not emitted on block operations.
    VDI_NOT_EMPTY = 0x92;
    /// Not emitted on block operations.
    NOT_FOUND = 0x93;
    /// Not emitted on block operations.
    INCOMPLETE = 0x94;
    /// The node still gathers lock state.
    COLLECTING_CINFO = 0x95;
    /// Administrative.
    GATEWAY_MODE = 0x97;
    /// Administrative.
    INVALID_VNODES_STRATEGY = 0x98;
    /// Internal.
    NO_CHECKPOINT_ENTRY = 0x99;
}

impl SdResult {
    /// Whether the operation succeeded.
    #[inline]
    pub const fn is_success(self) -> bool {
        self.0 == Self::SUCCESS.0
    }
}

/// The name, or the number in hexadecimal for a code without one.
impl fmt::Display for SdResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "0x{:02x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SdResult;

    #[test]
    fn a_result_prints_its_name_or_its_number() {
        assert_eq!(SdResult(0x02).to_string(), "NO_OBJ");
        assert_eq!(SdResult(0x9a).to_string(), "0x9a");
        assert_eq!(SdResult(u32::MAX).to_string(), "0xffffffff");
    }

    #[test]
    fn names_and_numbers_agree_both_ways() {
        for code in 0..=0x100 {
            if let Some(name) = SdResult(code).name() {
                assert_eq!(SdResult::from_name(name), Some(SdResult(code)));
            }
        }
        assert_eq!(SdResult::from_name("no such result"), None);
    }
}
