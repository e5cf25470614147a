// SPDX-License-Identifier: GPL-2.0

//! What a reply means for the request that it answers.
//!
//! The caller has matched the reply to the request by its id. Everything else in the header is a
//! claim. A claim that no server makes is a [`Lie`]: the byte stream cannot be trusted any more,
//! the connection has to be reset, and the requests on it have no answer.

use core::fmt;

use super::Extent;
use super::Failure;
use super::Step;
use crate::proto::Opcode;
use crate::proto::ResponseHeader;

/// What a reply means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Reply {
    /// What to do with the bytes that follow the header. First this, then the outcome.
    pub payload: Incoming,
    /// What to do with the request.
    pub outcome: Outcome,
}

/// What follows a reply's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// Nothing.
    None,
    /// The bytes that the guest reads, as many as the extent has.
    Data,
    /// This many bytes of no meaning, to be read and thrown away. Never more than the request sent
    /// or asked for.
    Discard(u32),
}

/// What becomes of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It has succeeded.
    Done,
    /// Send this step, for the same request.
    Next(Step),
    /// It has succeeded, and the object is the VDI's own: its entry in memory becomes
    /// [`Entry::Own`](super::Entry::Own), and then, under the same lock,
    /// [`Creations::finish`](super::Creations::finish) releases who waits for it.
    Created,
    /// It has failed. A creation that failed is finished too.
    Fail(Failure),
}

/// What no server says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// The reply is for another operation than the request's.
    Opcode {
        /// The request's operation.
        sent: Opcode,
        /// The reply's operation.
        got: Opcode,
    },
    /// A success with a payload of another length than it must have.
    Length {
        /// Bytes that it must have.
        expected: u32,
        /// Bytes that it says it has.
        got: u32,
    },
    /// A failure with a payload of more bytes than the request sent or asked for.
    TooLong {
        /// Bytes that it may have.
        limit: u32,
        /// Bytes that it says it has.
        got: u32,
    },
}

/// What `header` means for `step` on `extent` (protocol sheet 1, 3.1, 8 and 9).
///
/// A read that succeeds brings exactly the extent's bytes; with the version that this client sends
/// no server trims them (protocol sheet 9.3). A write or create that succeeds brings none. A
/// failure may bring stray bytes, up to the request's own length.
///
/// # Errors
///
/// [`Lie`] when no server answers so; nothing that follows on the connection has a meaning.
#[inline]
pub fn reply(step: Step, extent: &Extent, header: &ResponseHeader) -> Result<Reply, Lie> {
    let sent = step.opcode();
    if header.opcode != sent {
        return Err(Lie::Opcode {
            sent,
            got: header.opcode,
        });
    }
    let got = header.data_length;
    if !header.result.is_success() {
        let limit = step.data_length(extent);
        let payload = match got {
            0 => Incoming::None,
            _ if got <= limit => Incoming::Discard(got),
            _ => return Err(Lie::TooLong { limit, got }),
        };
        let outcome = Outcome::Fail(Failure::from_result(header.result));
        return Ok(Reply { payload, outcome });
    }
    let (expected, payload) = if step.receives_data() {
        (extent.len, Incoming::Data)
    } else {
        (0, Incoming::None)
    };
    if got != expected {
        return Err(Lie::Length { expected, got });
    }
    let outcome = match step {
        Step::Read { .. } | Step::Write => Outcome::Done,
        Step::Create { .. } => Outcome::Next(Step::UpdateMap),
        Step::UpdateMap => Outcome::Created,
    };
    Ok(Reply { payload, outcome })
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opcode { sent, got } => write!(f, "reply to {got} where {sent} was sent"),
            Self::Length { expected, got } => {
                write!(f, "{got} bytes of payload where {expected} were expected")
            }
            Self::TooLong { limit, got } => {
                write!(
                    f,
                    "{got} bytes of payload where at most {limit} were expected"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::tests::geometry;
    use super::*;
    use crate::proto::response::REPLY_ARM_LEN;
    use crate::proto::SdResult;

    const READ: Step = Step::Read { parent: None };
    const CREATE: Step = Step::Create { parent: None };
    const STEPS: [Step; 4] = [READ, Step::Write, CREATE, Step::UpdateMap];

    fn says(step: Step, result: SdResult, data_length: u32) -> Result<Reply, Lie> {
        let extent = geometry(64 << 20, 22).extent(4096, 512).unwrap();
        let header = ResponseHeader {
            proto_ver: 0,
            opcode: step.opcode(),
            flags: 0,
            epoch: 1,
            id: 1,
            data_length,
            result,
            arm: [0; REPLY_ARM_LEN],
        };
        reply(step, &extent, &header)
    }

    fn outcome(step: Step, result: SdResult, data_length: u32) -> (Incoming, Outcome) {
        let reply = says(step, result, data_length).unwrap();
        (reply.payload, reply.outcome)
    }

    #[test]
    fn a_read_brings_exactly_its_bytes() {
        let done = (Incoming::Data, Outcome::Done);
        assert_eq!(outcome(READ, SdResult::SUCCESS, 512), done);
        for got in [0, 511, 513, u32::MAX] {
            let lie = Lie::Length { expected: 512, got };
            assert_eq!(says(READ, SdResult::SUCCESS, got), Err(lie));
        }
    }

    #[test]
    fn a_write_is_done_a_creation_goes_on_to_the_map() {
        let after = |step| outcome(step, SdResult::SUCCESS, 0);
        assert_eq!(after(Step::Write), (Incoming::None, Outcome::Done));
        let next = Outcome::Next(Step::UpdateMap);
        assert_eq!(after(CREATE), (Incoming::None, next));
        let created = (Incoming::None, Outcome::Created);
        assert_eq!(after(Step::UpdateMap), created);
        for step in [Step::Write, CREATE, Step::UpdateMap] {
            let lie = Lie::Length {
                expected: 0,
                got: 4,
            };
            assert_eq!(says(step, SdResult::SUCCESS, 4), Err(lie));
        }
    }

    #[test]
    fn a_failure_may_bring_stray_bytes_within_the_request_s_length() {
        let failed = Outcome::Fail(Failure::Missing);
        for step in STEPS {
            let limit = if step == Step::UpdateMap { 4 } else { 512 };
            let says = |length| says(step, SdResult::NO_OBJ, length);
            let with = |payload| {
                Ok(Reply {
                    payload,
                    outcome: failed,
                })
            };
            assert_eq!(says(0), with(Incoming::None));
            assert_eq!(says(limit), with(Incoming::Discard(limit)));
            let got = limit + 1;
            assert_eq!(says(got), Err(Lie::TooLong { limit, got }));
        }
    }

    #[test]
    fn a_reply_to_another_operation_is_a_lie() {
        let extent = geometry(64 << 20, 22).extent(4096, 512).unwrap();
        for step in STEPS {
            let mut bytes = [0; 48];
            bytes[1] = 0x77;
            let header = ResponseHeader::from_bytes(&bytes);
            let lie = Lie::Opcode {
                sent: step.opcode(),
                got: Opcode(0x77),
            };
            assert_eq!(reply(step, &extent, &header), Err(lie));
        }
    }
}
