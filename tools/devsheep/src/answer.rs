// SPDX-License-Identifier: GPL-2.0

//! A request as the operations see it, and what they answer.

use sheepdog_core::proto::limits::HEADER_LEN;
use sheepdog_core::proto::response::ClusterDefaultReply;
use sheepdog_core::proto::response::NodeReply;
use sheepdog_core::proto::response::VdiReply;
use sheepdog_core::proto::response::REPLY_ARM_LEN;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::SdResult;

/// A complete request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its header.
    pub header: &'a RequestHeader,
    /// The payload; empty without flag WRITE.
    pub payload: &'a [u8],
}

impl Request<'_> {
    /// Bytes that the reply may carry.
    pub fn capacity(&self) -> usize {
        usize::try_from(self.header.data_length).unwrap_or(usize::MAX)
    }
}

/// The part of a reply header that depends on the operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What became of the request.
    pub result: SdResult,
    /// Bytes 20 to 47 of the header.
    pub arm: [u8; REPLY_ARM_LEN],
}

impl Answer {
    /// Plain success.
    pub const SUCCESS: Self = Self::bare(SdResult::SUCCESS);

    /// A result and nothing else, but unlike an `Err` it keeps the payload.
    pub const fn bare(result: SdResult) -> Self {
        Self {
            result,
            arm: [0; REPLY_ARM_LEN],
        }
    }

    /// The answer of a VDI operation.
    pub fn vdi(result: SdResult, reply: VdiReply) -> Self {
        Self {
            result,
            arm: reply.to_bytes(),
        }
    }

    /// The answer of GET_NODE_LIST and STAT_SHEEP.
    pub fn node(reply: NodeReply) -> Self {
        Self {
            result: SdResult::SUCCESS,
            arm: reply.to_bytes(),
        }
    }

    /// The answer of GET_CLUSTER_DEFAULT.
    pub fn cluster_default(reply: ClusterDefaultReply) -> Self {
        Self {
            result: SdResult::SUCCESS,
            arm: reply.to_bytes(),
        }
    }
}

/// What an operation returns. With `Err` the reply carries no payload.
pub type Outcome = Result<Answer, SdResult>;

/// Appends a whole reply to `out`: a header for `request` and what `operation` appends and answers.
/// Returns the result.
pub fn append_reply(
    request: &RequestHeader,
    epoch: u32,
    out: &mut Vec<u8>,
    operation: impl FnOnce(&mut Vec<u8>) -> Outcome,
) -> SdResult {
    let start = out.len();
    let payload = start + HEADER_LEN;
    out.resize(payload, 0);
    let answer = operation(out).unwrap_or_else(|result| {
        out.truncate(payload);
        Answer::bare(result)
    });
    // A reply is bounded by the request's capacity, which is a u32.
    let data_length = u32::try_from(out.len() - payload).unwrap_or(u32::MAX);
    let header = ResponseHeader {
        proto_ver: 0,
        opcode: request.opcode,
        flags: 0,
        epoch,
        id: request.id,
        data_length,
        result: answer.result,
        arm: answer.arm,
    };
    out[start..payload].copy_from_slice(&header.to_bytes());
    answer.result
}
