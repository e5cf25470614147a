// SPDX-License-Identifier: GPL-2.0

//! What a result other than SUCCESS means for the user (protocol section 5).
//!
//! Comes in: the result of one operation. Goes out: a failure with the errno that names the cause
//! best and, where there is something to do, advice.

use std::net::SocketAddr;

use rustix::io::Errno;
use sheepdog_core::proto::{Opcode, SdResult};

use crate::failure::Failure;

/// The failure for `result`. `about` names what the operation was about, such as "VDI `vm0`".
pub fn failure(peer: SocketAddr, opcode: Opcode, result: SdResult, about: &str) -> Failure {
    let (errno, text, advice) = meaning(result);
    let failure = Failure::new(
        errno,
        format!("{about}: {text} ({peer}: {opcode}: {result})"),
    );
    match advice {
        "" => failure,
        advice => failure.advise(advice),
    }
}

const RETRY: &str = "try again in a moment";
const NODES: &str = "`sheepctl cluster info` shows the nodes; start those that are missing";

/// Errno, meaning and advice.
fn meaning(result: SdResult) -> (Errno, &'static str, &'static str) {
    match result {
        SdResult::NO_OBJ => (
            Errno::IO,
            "an object is missing",
            "`dog vdi check` finds out which; the VDI may just have been deleted",
        ),
        SdResult::VDI_EXIST => (
            Errno::EXIST,
            "a VDI of this name exists",
            "choose another name, or delete that one with `sheepctl vdi delete`",
        ),
        SdResult::VDI_LOCKED => (
            Errno::BUSY,
            "the VDI is locked, so somebody uses it",
            "`sheepctl vdi lock list` shows the owner; `sheepctl vdi lock release` removes a lock whose owner is gone",
        ),
        SdResult::NO_VDI => (
            Errno::NOENT,
            "there is no VDI of this name",
            "`sheepctl vdi list` shows which there are",
        ),
        SdResult::NO_TAG => (
            Errno::NOENT,
            "the VDI has no such snapshot",
            "`sheepctl vdi list` shows which there are",
        ),
        SdResult::VDI_WRITE | SdResult::BASE_VDI_WRITE => (
            Errno::IO,
            "the cluster could not write the VDI's inode",
            NODES,
        ),
        SdResult::BASE_VDI_READ => (Errno::IO, "the cluster could not read the base VDI", NODES),
        SdResult::HALT => (
            Errno::AGAIN,
            "the cluster has too few nodes for the number of copies and takes no writes",
            NODES,
        ),
        SdResult::WAIT_FOR_JOIN => (
            Errno::AGAIN,
            "the cluster waits for nodes that have been part of it",
            NODES,
        ),
        SdResult::WAIT_FOR_FORMAT => (
            Errno::AGAIN,
            "the cluster is not formatted",
            "format it once, with `dog cluster format`",
        ),
        SdResult::NO_SPACE => (
            Errno::NOSPC,
            "a disk of the cluster is full",
            "delete VDIs, or add disks or nodes",
        ),
        SdResult::FULL_VDI => (
            Errno::NOSPC,
            "all 16 million VDI ids are used",
            "",
        ),
        SdResult::SHUTDOWN => (Errno::AGAIN, "the cluster is shutting down", "start it again"),
        SdResult::KILLED => (
            Errno::AGAIN,
            "the node was killed",
            "name another node with --gateway",
        ),
        SdResult::READONLY => (
            Errno::ROFS,
            "the object belongs to a snapshot, which cannot be written",
            "",
        ),
        SdResult::VER_MISMATCH => (
            Errno::PROTO,
            "the gateway speaks another version of the protocol",
            "sheepdog 0.7 and later is supported",
        ),
        SdResult::STARTUP
        | SdResult::NO_MEM
        | SdResult::AGAIN
        | SdResult::NODE_IN_RECOVERY
        | SdResult::COLLECTING_CINFO
        | SdResult::TGT_COLLECTING_CINFO
        | SdResult::NETWORK_ERROR => (Errno::AGAIN, "the cluster is busy", RETRY),
        SdResult::CLUSTER_ERROR => (
            Errno::IO,
            "the nodes lost touch with each other; the operation may have been carried out",
            "look at the result before you try again",
        ),
        SdResult::INVALID_PARMS => (Errno::INVAL, "the gateway refuses the request", ""),
        SdResult::NO_SUPPORT => (Errno::OPNOTSUPP, "the gateway does not support it", ""),
        _ => (
            Errno::IO,
            "the gateway failed",
            "the sheep's own log has the reason",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(result: SdResult) -> Failure {
        let peer = "127.0.0.1:7000".parse().unwrap();
        failure(peer, Opcode::GET_VDI_INFO, result, "VDI `vm0`")
    }

    #[test]
    fn a_refusal_names_everything_and_advises() {
        assert_eq!(
            of(SdResult::NO_VDI).to_string(),
            "VDI `vm0`: there is no VDI of this name (127.0.0.1:7000: GET_VDI_INFO: NO_VDI)\n  \
             `sheepctl vdi list` shows which there are"
        );
    }

    #[test]
    fn causes_have_the_errno_that_names_them() {
        for (result, errno) in [
            (SdResult::NO_VDI, Errno::NOENT),
            (SdResult::NO_TAG, Errno::NOENT),
            (SdResult::VDI_EXIST, Errno::EXIST),
            (SdResult::VDI_LOCKED, Errno::BUSY),
            (SdResult::NO_SPACE, Errno::NOSPC),
            (SdResult::WAIT_FOR_FORMAT, Errno::AGAIN),
            (SdResult::SYSTEM_ERROR, Errno::IO),
            (SdResult(0xdead_beef), Errno::IO),
        ] {
            assert_eq!(of(result).errno(), errno, "{result}");
        }
    }
}
