// SPDX-License-Identifier: GPL-2.0

//! Why a request failed: one variant per cause, with its errno and a word for the log.

use core::fmt;

use super::Errno;
use crate::proto::SdResult;

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The object map names an object that the cluster does not have. Never to be taken for a
    /// hole (protocol sheet 5).
    Missing,
    /// A sheep could not read or write its disk.
    Disk,
    /// A sheep's disk is full.
    NoSpace,
    /// The VDI became a snapshot while it was mapped.
    ReadOnly,
    /// The cluster cannot serve the request now, but will: what the guest gave may be sent again.
    Unavailable(SdResult),
    /// The gateway goes away; another one, or the same one later, will serve the request.
    Leaving(SdResult),
    /// The sheep does not take the request as one it knows.
    Rejected(SdResult),
    /// Any other result.
    Other(SdResult),
    /// No reply within the limit.
    Timeout,
    /// The mapping ended before the reply.
    Disconnected,
    /// The reply made no sense; see [`Lie`](super::Lie).
    Nonsense,
}

impl Failure {
    /// What a result other than SUCCESS means for a request (protocol sheet 5).
    pub const fn from_result(result: SdResult) -> Self {
        match result {
            SdResult::NO_OBJ => Self::Missing,
            SdResult::EIO => Self::Disk,
            SdResult::NO_SPACE => Self::NoSpace,
            SdResult::READONLY => Self::ReadOnly,
            SdResult::SHUTDOWN | SdResult::KILLED => Self::Leaving(result),
            SdResult::STARTUP
            | SdResult::NO_MEM
            | SdResult::WAIT_FOR_FORMAT
            | SdResult::WAIT_FOR_JOIN
            | SdResult::HALT
            | SdResult::TGT_INCOMPLETE
            | SdResult::TGT_COLLECTING_CINFO
            | SdResult::NETWORK_ERROR
            | SdResult::AGAIN
            | SdResult::CLUSTER_ERROR
            | SdResult::COLLECTING_CINFO => Self::Unavailable(result),
            SdResult::INVALID_PARMS | SdResult::VER_MISMATCH => Self::Rejected(result),
            _ => Self::Other(result),
        }
    }

    /// The kind of error that the guest sees.
    pub const fn errno(self) -> Errno {
        match self {
            Self::NoSpace => Errno::NoSpace,
            Self::Timeout => Errno::TimedOut,
            Self::Missing
            | Self::Disk
            | Self::ReadOnly
            | Self::Unavailable(_)
            | Self::Leaving(_)
            | Self::Rejected(_)
            | Self::Other(_)
            | Self::Disconnected
            | Self::Nonsense => Errno::Io,
        }
    }

    /// What the administrator can do, for the log line.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Missing => "the object map and the cluster disagree; run \"dog vdi check\"",
            Self::Disk => "look at the disks of the sheep and at their logs",
            Self::NoSpace => "add space or nodes to the cluster",
            Self::ReadOnly => "the VDI was snapshotted by another client; unmap and map it again",
            Self::Unavailable(_) | Self::Leaving(_) => {
                "the cluster is not able to serve this now; look at its nodes, then try again"
            }
            Self::Rejected(_) => "the sheep and this driver do not understand each other",
            Self::Other(_) => "look at the log of the sheep",
            Self::Timeout => "the sheep is too slow or hangs; look at it, or raise io_timeout_ms (0: wait for ever)",
            Self::Disconnected => "the VDI was unmapped",
            Self::Nonsense => "the peer is not a sheep, or is broken; check the gateway address",
        }
    }
}

/// The result's name, or what happened where there is no result.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = match *self {
            Self::Missing => SdResult::NO_OBJ,
            Self::Disk => SdResult::EIO,
            Self::NoSpace => SdResult::NO_SPACE,
            Self::ReadOnly => SdResult::READONLY,
            Self::Unavailable(result)
            | Self::Leaving(result)
            | Self::Rejected(result)
            | Self::Other(result) => result,
            Self::Timeout => return f.write_str("no reply within the limit"),
            Self::Disconnected => return f.write_str("unmapped"),
            Self::Nonsense => return f.write_str("the reply makes no sense"),
        };
        write!(f, "result {result}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for code in [
            0x0f, 0x12, 0x16, 0x17, 0x19, 0x1b, 0x1c, 0x86, 0x8f, 0x91, 0x95,
        ] {
            let result = SdResult(code);
            let failure = Failure::from_result(result);
            assert_eq!(failure, Failure::Unavailable(result), "{code:#x}");
        }
        for code in [0x11, 0x8d] {
            let result = SdResult(code);
            assert_eq!(Failure::from_result(result), Failure::Leaving(result));
        }
        for code in [
            0x01,
            0x02,
            0x03,
            0x05,
            0x06,
            0x14,
            0x15,
            0x1a,
            0x8e,
            0xff,
            u32::MAX,
        ] {
            let failure = Failure::from_result(SdResult(code));
            assert!(!matches!(failure, Failure::Unavailable(_)), "{code:#x}");
        }
    }

    #[test]
    fn a_full_cluster_is_no_io_error() {
        let failure = Failure::from_result(SdResult::NO_SPACE);
        assert_eq!(failure.errno(), Errno::NoSpace);
        assert_eq!(failure.to_string(), "result NO_SPACE");
    }

    #[test]
    fn every_result_prints_as_itself() {
        for code in 1..0x200 {
            let result = SdResult(code);
            let failure = Failure::from_result(result);
            assert_eq!(failure.to_string(), format!("result {result}"));
        }
    }
}
