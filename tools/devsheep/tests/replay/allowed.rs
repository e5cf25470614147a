// SPDX-License-Identifier: GPL-2.0

//! What may differ between a recorded answer and the development sheep's, and why.
//!
//! Every entry has to be met at least once, or the test fails: the list cannot outlive its reasons.

use std::ops::Range;

use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::Opcode;

use crate::compare::Difference;

const INODE: Option<ObjectKind> = Some(ObjectKind::Inode);
const DATA: Option<ObjectKind> = Some(ObjectKind::Data);

/// A difference that is allowed.
struct Rule {
    /// The scenarios: those whose names begin so.
    scenarios: &'static [&'static str],
    opcode: Opcode,
    kind: Option<ObjectKind>,
    field: &'static str,
    /// For `payload`: the bytes.
    range: Range<usize>,
    /// For `result`: what was recorded, and what came. Empty for anything.
    values: (&'static str, &'static str),
    reason: &'static str,
}

const ANYWHERE: Range<usize> = 0..usize::MAX;
const EVERY: &[&str] = &[""];
const SEVERAL_NODES: &[&str] = &["10d", "18", "19", "20", "23", "24", "25"];

const fn payload(opcode: Opcode, range: Range<usize>, reason: &'static str) -> Rule {
    Rule {
        scenarios: EVERY,
        opcode,
        kind: None,
        field: "payload",
        range,
        values: ("", ""),
        reason,
    }
}

const fn result(
    scenarios: &'static [&'static str],
    opcode: Opcode,
    kind: Option<ObjectKind>,
    values: (&'static str, &'static str),
    reason: &'static str,
) -> Rule {
    Rule {
        scenarios,
        opcode,
        kind,
        field: "result",
        range: ANYWHERE,
        values,
        reason,
    }
}

const fn field(opcode: Opcode, field: &'static str, reason: &'static str) -> Rule {
    Rule {
        scenarios: SEVERAL_NODES,
        opcode,
        kind: None,
        field,
        range: ANYWHERE,
        values: ("", ""),
        reason,
    }
}

const TIMES: &str = "times of creation and snapshot are those of the replay";
const NODES: &str =
    "addresses, zones and space of the nodes are those of the test bed, the in-memory \
                     links before them are leftovers, and here is one node only";
const COHERENCE: &str = "one node has nobody to share a lock with, so nothing is invalidated, and \
                         what was refused then is carried out here";
const JOINING: &str = "one node waits for no others";
const DYING: &str = "one node has enough nodes as long as it lives";
const STRICT: &str = "a strict cluster of one node could write nothing";
const BOUNDS: &str = "upstream reads and writes beyond the end of objects (hardening)";
const MISSING: &str = "upstream takes leftover memory for a payload that is missing (hardening)";
const UNKNOWN: &str = "what VDIs of earlier scenarios were like was not recorded";

const RULES: &[Rule] = &[
    Rule {
        kind: INODE,
        ..payload(Opcode::READ_OBJ, 512..528, TIMES)
    },
    Rule {
        kind: Some(ObjectKind::Attr),
        ..payload(Opcode::READ_OBJ, 512..520, TIMES)
    },
    Rule {
        scenarios: &["06f"],
        kind: INODE,
        ..payload(
            Opcode::READ_OBJ,
            4664..4668,
            "a client whose frames were not recorded wrote",
        )
    },
    Rule {
        scenarios: &["20"],
        kind: DATA,
        ..payload(Opcode::READ_OBJ, ANYWHERE, COHERENCE)
    },
    payload(Opcode::GET_NODE_LIST, ANYWHERE, NODES),
    payload(Opcode::CLUSTER_INFO, 2..16, NODES),
    Rule {
        scenarios: &["25"],
        ..payload(Opcode::CLUSTER_INFO, 2..18, STRICT)
    },
    Rule {
        scenarios: &["25"],
        ..payload(Opcode::STAT_CLUSTER, 30..31, STRICT)
    },
    payload(Opcode::CLUSTER_INFO, 48..491_568, NODES),
    payload(
        Opcode::STAT_CLUSTER,
        0..24,
        "the cluster was formatted for the replay, in epoch 1",
    ),
    payload(Opcode::STAT_CLUSTER, 48..usize::MAX, NODES),
    payload(Opcode::GET_VDI_COPIES, ANYWHERE, UNKNOWN),
    payload(Opcode::STAT, ANYWHERE, "no counters are kept for STAT"),
    field(Opcode::GET_NODE_LIST, "data_length", NODES),
    field(Opcode::GET_NODE_LIST, "arm", NODES),
    field(Opcode::STAT_CLUSTER, "data_length", NODES),
    Rule {
        scenarios: &["03b"],
        ..field(Opcode::STAT_SHEEP, "arm", "space is that of the store")
    },
    Rule {
        scenarios: &["18a"],
        ..field(
            Opcode::GET_HASH,
            "arm",
            "the hash of an inode covers its times",
        )
    },
    result(
        &["07c"],
        Opcode::READ_OBJ,
        DATA,
        ("NO_OBJ", "SUCCESS"),
        "upstream reclaims in the background and can take the object that was created again",
    ),
    result(
        &["13c"],
        Opcode::READ_OBJ,
        DATA,
        ("SUCCESS", "INVALID_PARMS"),
        BOUNDS,
    ),
    result(
        &["13c"],
        Opcode::READ_OBJ,
        INODE,
        ("SUCCESS", "INVALID_PARMS"),
        BOUNDS,
    ),
    result(
        &["13c"],
        Opcode::WRITE_OBJ,
        DATA,
        ("SUCCESS", "INVALID_PARMS"),
        BOUNDS,
    ),
    result(
        &["13c"],
        Opcode::CREATE_AND_WRITE_OBJ,
        DATA,
        ("SUCCESS", "INVALID_PARMS"),
        BOUNDS,
    ),
    result(
        &["13c"],
        Opcode::GET_VDI_INFO,
        None,
        ("NO_VDI", "INVALID_PARMS"),
        MISSING,
    ),
    result(
        &["13g"],
        Opcode::WRITE_OBJ,
        DATA,
        ("SUCCESS", "INVALID_PARMS"),
        MISSING,
    ),
    result(
        &["13f"],
        Opcode::NEW_VDI,
        None,
        ("SUCCESS", "INVALID_PARMS"),
        "upstream reads on behind a name that does not end (hardening)",
    ),
    result(
        &["18a"],
        Opcode::EXIST,
        None,
        ("NO_OBJ", "SUCCESS"),
        "EXIST asks one node, and the only one has every object",
    ),
    result(
        &["20"],
        Opcode::LOCK_VDI,
        None,
        ("SUCCESS", "VDI_LOCKED"),
        COHERENCE,
    ),
    result(
        &["20"],
        Opcode::READ_OBJ,
        DATA,
        ("INODE_INVALIDATED", "SUCCESS"),
        COHERENCE,
    ),
    result(
        &["20"],
        Opcode::READ_OBJ,
        INODE,
        ("INODE_INVALIDATED", "SUCCESS"),
        COHERENCE,
    ),
    result(
        &["20"],
        Opcode::WRITE_OBJ,
        DATA,
        ("INODE_INVALIDATED", "SUCCESS"),
        COHERENCE,
    ),
    result(
        &["23b"],
        Opcode::LOCK_VDI,
        None,
        ("WAIT_FOR_JOIN", ""),
        JOINING,
    ),
    result(
        &["23b"],
        Opcode::LOCK_VDI,
        None,
        ("SUCCESS", "VDI_LOCKED"),
        "the lock that was refused then is held here",
    ),
    result(
        &["23b"],
        Opcode::GET_VDI_INFO,
        None,
        ("WAIT_FOR_JOIN", "SUCCESS"),
        JOINING,
    ),
    result(
        &["23b"],
        Opcode::READ_OBJ,
        DATA,
        ("WAIT_FOR_JOIN", "NO_OBJ"),
        JOINING,
    ),
    result(
        &["23b"],
        Opcode::WRITE_OBJ,
        DATA,
        ("WAIT_FOR_JOIN", "NO_OBJ"),
        JOINING,
    ),
    result(
        &["23b"],
        Opcode::STAT_CLUSTER,
        None,
        ("WAIT_FOR_JOIN", "SUCCESS"),
        JOINING,
    ),
    result(
        &["23b"],
        Opcode::STAT_CLUSTER,
        None,
        ("BUFFER_SMALL", "SUCCESS"),
        "one node needs less room than three",
    ),
    result(&["25"], Opcode::WRITE_OBJ, DATA, ("HALT", "SUCCESS"), DYING),
    result(
        &["25"],
        Opcode::CREATE_AND_WRITE_OBJ,
        DATA,
        ("HALT", "SUCCESS"),
        DYING,
    ),
    result(
        &["25"],
        Opcode::NEW_VDI,
        None,
        ("VDI_WRITE", "SUCCESS"),
        DYING,
    ),
];

/// The list, and which entries were met.
pub struct Allowed {
    met: Vec<bool>,
}

fn is(expected: &str, value: &str) -> bool {
    expected.is_empty() || expected == value
}

impl Rule {
    fn permits(&self, scenario: &str, difference: &Difference) -> bool {
        let range = &difference.range;
        self.scenarios
            .iter()
            .any(|start| scenario.starts_with(start))
            && self.opcode == difference.opcode
            && (self.kind.is_none() || self.kind == difference.kind)
            && self.field == difference.field
            && (self.range.start <= range.start && range.end <= self.range.end)
            && is(self.values.0, &difference.values.0)
            && is(self.values.1, &difference.values.1)
    }
}

impl Allowed {
    pub fn new() -> Self {
        Self {
            met: vec![false; RULES.len()],
        }
    }

    /// Whether a difference is on the list.
    pub fn permits(&mut self, scenario: &str, difference: &Difference) -> bool {
        let position = RULES
            .iter()
            .position(|rule| rule.permits(scenario, difference));
        if let Some(at) = position {
            self.met[at] = true;
        }
        position.is_some()
    }

    /// The entries that were not met.
    pub fn unused(&self) -> Vec<String> {
        let unmet = RULES.iter().zip(&self.met).filter(|(_, met)| !**met);
        unmet
            .map(|(rule, _)| {
                format!(
                    "{:?} {} {}: {}",
                    rule.scenarios, rule.opcode, rule.field, rule.reason
                )
            })
            .collect()
    }
}
