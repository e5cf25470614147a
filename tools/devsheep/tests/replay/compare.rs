// SPDX-License-Identifier: GPL-2.0

//! Two answers to one request, field by field.

use std::fmt;
use std::fmt::Write;
use std::ops::Range;

use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;

/// An answer.
pub struct Reply {
    pub header: ResponseHeader,
    pub payload: Vec<u8>,
}

/// A request and what the development sheep answered.
pub struct Exchange {
    pub request: RequestHeader,
    pub reply: Option<Reply>,
}

/// Something that is not the same.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The operation.
    pub opcode: Opcode,
    /// The kind of object, for object requests.
    pub kind: Option<ObjectKind>,
    /// What differs: a field of the header, or `payload`.
    pub field: &'static str,
    /// Which bytes, in the object or structure, for `payload`.
    pub range: Range<usize>,
    /// What was recorded, and what came.
    pub values: (String, String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            opcode,
            kind,
            field,
            range,
            values,
        } = self;
        write!(f, "{opcode} {kind:?} {field}")?;
        if *field == "payload" {
            write!(f, " {range:?}")?;
        }
        write!(f, ": recorded {}, got {}", values.0, values.1)
    }
}

fn is_object_request(opcode: Opcode) -> bool {
    (Opcode::CREATE_AND_WRITE_OBJ..=Opcode::DISCARD_OBJ).contains(&opcode)
}

/// Runs of bytes that differ; runs that are close together count as one.
fn runs(recorded: &[u8], ours: &[u8]) -> Vec<Range<usize>> {
    let shorter = recorded.len().min(ours.len());
    if recorded[..shorter] == ours[..shorter] {
        return Vec::new();
    }
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, _) in recorded
        .iter()
        .zip(ours)
        .enumerate()
        .filter(|(_, (a, b))| a != b)
    {
        match runs.last_mut() {
            Some(last) if at < last.end + 4 => last.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// The first bytes, in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(16) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// All differences, the epoch apart: it counts changes of the membership, and here are none.
pub fn differences(exchange: &Exchange, recorded: &Reply) -> Vec<Difference> {
    let request = &exchange.request;
    let object = is_object_request(request.opcode).then(|| request.object_arm());
    let difference = |field, range, values| Difference {
        opcode: request.opcode,
        kind: object.map(|arm| arm.oid.kind()),
        field,
        range,
        values,
    };
    let Some(ours) = &exchange.reply else {
        let values = (
            "an answer".to_owned(),
            "the end of the connection".to_owned(),
        );
        return vec![difference("connection", 0..0, values)];
    };
    let (theirs, mine) = (&recorded.header, &ours.header);
    let mut found = Vec::new();
    let mut check = |field, theirs: String, mine: String| {
        if theirs != mine {
            found.push(difference(field, 0..0, (theirs, mine)));
        }
    };
    check("result", theirs.result.to_string(), mine.result.to_string());
    check(
        "proto_ver",
        theirs.proto_ver.to_string(),
        mine.proto_ver.to_string(),
    );
    check("flags", theirs.flags.to_string(), mine.flags.to_string());
    if theirs.result != mine.result {
        return found;
    }
    check(
        "data_length",
        theirs.data_length.to_string(),
        mine.data_length.to_string(),
    );
    if theirs.result.is_success() {
        check("arm", hex(&theirs.arm), hex(&mine.arm));
    }
    let base = object.map_or(0, |arm| arm.offset as usize);
    for run in runs(&recorded.payload, &ours.payload) {
        let values = (
            hex(&recorded.payload[run.clone()]),
            hex(&ours.payload[run.clone()]),
        );
        found.push(difference(
            "payload",
            base + run.start..base + run.end,
            values,
        ));
    }
    found
}
