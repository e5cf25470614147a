// SPDX-License-Identifier: GPL-2.0

//! Why a VDI cannot be mapped: one variant per cause, with its errno and what to do about it.

use core::fmt;

use super::BadEntry;
use super::Errno;
use super::Failure;
use super::Lie;
use crate::proto::InodeError;
use crate::proto::SdResult;

/// Why a VDI cannot be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no VDI of this name.
    NotFound,
    /// Somebody else holds the VDI's lock.
    Locked,
    /// The cluster has never been formatted.
    NotFormatted,
    /// The lookup returned an id that no VDI can have.
    BadVid(u32),
    /// The inode is not that of a VDI that this driver handles.
    Unusable(InodeError),
    /// The VDI is a snapshot, and the mapping is to be writable.
    Snapshot,
    /// The VDI has this many bytes, fewer than one sector.
    Empty(u64),
    /// The object map is damaged.
    BadMap {
        /// The object.
        idx: u32,
        /// Its entry.
        entry: BadEntry,
    },
    /// Size or kind of the VDI was different at each look.
    Changing,
    /// The cluster could not serve the request, at no attempt; the last result.
    Unavailable(SdResult),
    /// The request failed for good.
    Failed(Failure),
    /// The reply made no sense.
    Nonsense(Lie),
}

impl Refusal {
    /// The kind of error that whoever maps sees.
    pub const fn errno(self) -> Errno {
        match self {
            // A cluster that is not formatted has no VDI.
            Self::NotFound | Self::NotFormatted | Self::Unusable(InodeError::Deleted) => {
                Errno::NotFound
            }
            Self::Locked | Self::Changing => Errno::Busy,
            Self::Snapshot => Errno::ReadOnly,
            Self::Unusable(
                InodeError::StorePolicy(_)
                | InodeError::BlockSizeShift(_)
                | InodeError::TooManyObjects(_),
            )
            | Self::Empty(_) => Errno::NotSupported,
            Self::Unusable(InodeError::WrongVdi { .. } | InodeError::NameWithoutNul)
            | Self::BadVid(_)
            | Self::BadMap { .. }
            | Self::Nonsense(_)
            | Self::Failed(Failure::Rejected(_)) => Errno::Protocol,
            Self::Unavailable(_) => Errno::TimedOut,
            Self::Failed(failure) => failure.errno(),
        }
    }

    /// What the administrator can do, for the log line.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotFound | Self::Unusable(InodeError::Deleted) => {
                "check the name with \"sheepctl vdi list\", or create it"
            }
            Self::Locked => {
                "unmap it where it is in use, or clear a stale lock with \"dog vdi lock unlock\""
            }
            Self::NotFormatted => "format it with \"dog cluster format\"",
            Self::Snapshot => "clone it and map the clone",
            Self::Unusable(InodeError::StorePolicy(_)) => {
                "copy its data to a VDI created without the hyper volume option"
            }
            Self::Unusable(InodeError::BlockSizeShift(_)) => {
                "copy its data to a VDI with an object size of 1 MiB to 2 GiB"
            }
            Self::Unusable(InodeError::TooManyObjects(_)) => {
                "copy its data to a VDI with larger objects"
            }
            Self::Empty(_) => "resize it to at least one sector with \"dog vdi resize\"",
            Self::BadMap { .. }
            | Self::Unusable(InodeError::WrongVdi { .. } | InodeError::NameWithoutNul) => {
                "the inode is damaged; run \"dog vdi check\""
            }
            Self::Changing => "somebody resizes or snapshots it; try again when that is over",
            Self::Unavailable(_) => "look at the nodes of the cluster, then try again",
            Self::Failed(failure) => failure.advice(),
            Self::BadVid(_) | Self::Nonsense(_) => Failure::Nonsense.advice(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such VDI"),
            Self::Locked => f.write_str("the VDI is locked by another client"),
            Self::NotFormatted => f.write_str("the cluster is not formatted"),
            Self::BadVid(raw) => write!(f, "the lookup returned {raw:#x}, which is no VDI id"),
            Self::Unusable(error) => error.fmt(f),
            Self::Snapshot => f.write_str("the VDI is a snapshot and cannot be written"),
            Self::Empty(bytes) => write!(f, "the VDI has {bytes} bytes, less than a sector"),
            Self::BadMap { idx, entry } => write!(f, "object {idx}: {entry}"),
            Self::Changing => f.write_str("the VDI changed while it was read"),
            Self::Unavailable(result) => write!(f, "the cluster is not available: result {result}"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Nonsense(lie) => lie.fmt(f),
        }
    }
}
