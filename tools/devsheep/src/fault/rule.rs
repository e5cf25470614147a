// SPDX-License-Identifier: GPL-2.0

//! One rule of the fault list, and the short form in which command line and control channel write
//! it: `TARGET=VALUE[:PROBABILITY[:COUNT]]`, where TARGET is an opcode's name or `ANY`, perhaps
//! with `@data`, `@inode` or another kind of object.

use std::path::PathBuf;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::SdResult;

use super::reclaim::RECLAIM_FILE;
use super::Corruption;

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Answers with an error, after carrying the request out if `apply`.
    Fail {
        /// The result.
        #[serde(with = "result_name")]
        result: SdResult,
        /// Whether the request is carried out.
        #[serde(default)]
        apply: bool,
    },
    /// Never carries the request out and never answers.
    Stall,
    /// Resets the connection, after carrying the request out if `apply`.
    Drop {
        /// Whether the request is carried out.
        #[serde(default)]
        apply: bool,
    },
    /// Carries the request out and answers late.
    Delay {
        /// At least by so many milliseconds.
        min_ms: u64,
        /// At most by so many milliseconds.
        max_ms: u64,
    },
    /// Damages the reply.
    Corrupt {
        /// In which way.
        how: Corruption,
    },
    /// Carries the request out after its thread has reclaimed memory.
    Reclaim {
        /// The directory of the cgroup from which it takes all that it gets.
        cgroup: PathBuf,
    },
}

/// Which requests suffer, how often, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only this opcode, by name; `None` for every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<String>,
    /// Only object requests for this kind of object; `None` for every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The chance that a matching request suffers, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// How many requests suffer at most; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many requests of a connection are spared before.
    #[serde(default)]
    pub after: u64,
    /// What happens.
    pub action: Action,
}

fn always() -> f64 {
    1.0
}

mod result_name {
    use serde::de::Error;
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;
    use sheepdog_core::proto::SdResult;

    pub(super) fn serialize<S: Serializer>(
        result: &SdResult,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(result)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SdResult, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::result(&text).map_err(D::Error::custom)
    }
}

fn result(text: &str) -> Result<SdResult> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    SdResult::from_name(text)
        .or(number.map(SdResult))
        .with_context(|| format!("no result is called {text:?}; try NO_OBJ, HALT, or 0x9a"))
}

fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Data => "data",
        ObjectKind::Inode => "inode",
        ObjectKind::VmState => "vmstate",
        ObjectKind::Attr => "attr",
        ObjectKind::BtreeNode => "btree",
        ObjectKind::Ledger => "ledger",
        ObjectKind::Unknown => "unknown",
    }
}

fn is_object_request(opcode: Opcode) -> bool {
    (Opcode::CREATE_AND_WRITE_OBJ..=Opcode::DISCARD_OBJ).contains(&opcode)
        || opcode == Opcode::GET_HASH
        || opcode == Opcode::EXIST
}

/// The parts of `TARGET[:PROBABILITY[:COUNT]]`.
struct Spec<'a> {
    subject: &'a str,
    probability: f64,
    count: Option<u64>,
}

impl<'a> Spec<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let mut parts = text.split(':');
        let subject = parts.next().unwrap_or_default();
        let probability = match parts.next() {
            None => 1.0,
            Some(text) => text
                .parse()
                .ok()
                .filter(|chance| (0.0..=1.0).contains(chance))
                .with_context(|| format!("{text:?} is no probability; use 0 to 1, as in 0.25"))?,
        };
        let count = match parts.next() {
            None => None,
            Some(text) => Some(
                text.parse()
                    .with_context(|| format!("{text:?} is no count; use a whole number"))?,
            ),
        };
        if parts.next().is_some() {
            bail!("{text:?} has too many parts; use TARGET=VALUE:PROBABILITY:COUNT");
        }
        Ok(Self {
            subject,
            probability,
            count,
        })
    }

    fn rule(&self, target: &str, action: Action) -> Result<Rule> {
        let (op, object) = match target.split_once('@') {
            Some((op, object)) => (op, Some(object.to_owned())),
            None => (target, None),
        };
        let rule = Rule {
            op: (op != "ANY").then(|| op.to_owned()),
            object,
            probability: self.probability,
            count: self.count,
            after: 0,
            action,
        };
        rule.check()?;
        Ok(rule)
    }

    fn split(&self) -> (&'a str, &'a str) {
        self.subject
            .split_once('=')
            .unwrap_or(("ANY", self.subject))
    }
}

impl Rule {
    /// `TARGET=RESULT[:PROBABILITY[:COUNT]]`: answers with that result.
    pub fn fail(text: &str, apply: bool) -> Result<Self> {
        let spec = Spec::parse(text)?;
        let (target, name) = spec.split();
        let result = result(name)?;
        spec.rule(target, Action::Fail { result, apply })
    }

    /// `TARGET[:PROBABILITY[:COUNT]]`: never answers.
    pub fn stall(text: &str) -> Result<Self> {
        let spec = Spec::parse(text)?;
        spec.rule(spec.subject, Action::Stall)
    }

    /// `TARGET[:PROBABILITY[:COUNT]]`: resets the connection.
    pub fn drop(text: &str, apply: bool) -> Result<Self> {
        let spec = Spec::parse(text)?;
        spec.rule(spec.subject, Action::Drop { apply })
    }

    /// `[TARGET=]MS[-MS][:PROBABILITY[:COUNT]]`: answers late.
    pub fn delay(text: &str) -> Result<Self> {
        let spec = Spec::parse(text)?;
        let (target, range) = spec.split();
        let (min, max) = range.split_once('-').unwrap_or((range, range));
        let ms = |text: &str| {
            let context = || format!("{text:?} is no delay; use milliseconds, as in 5 or 1-20");
            text.parse::<u64>().with_context(context)
        };
        let (min_ms, max_ms) = (ms(min)?, ms(max)?);
        spec.rule(target, Action::Delay { min_ms, max_ms })
    }

    /// `[TARGET=]HOW[:PROBABILITY[:COUNT]]`: damages the reply.
    pub fn corrupt(text: &str) -> Result<Self> {
        let spec = Spec::parse(text)?;
        let (target, how) = spec.split();
        let how = Corruption::from_name(how).with_context(|| {
            let names = Corruption::NAMES.map(|(name, _)| name);
            format!("{how:?} is no damage; use one of {}", names.join(", "))
        })?;
        spec.rule(target, Action::Corrupt { how })
    }

    /// `[TARGET=]CGROUP[:PROBABILITY[:COUNT]]`: reclaims memory first.
    pub fn reclaim(text: &str) -> Result<Self> {
        let spec = Spec::parse(text)?;
        let (target, cgroup) = spec.split();
        let cgroup = cgroup.into();
        spec.rule(target, Action::Reclaim { cgroup })
    }

    /// Whether the names in the rule exist.
    ///
    /// # Errors
    ///
    /// Says which does not.
    pub fn check(&self) -> Result<()> {
        if let Some(op) = &self.op {
            let known = (0..=u8::MAX).any(|code| Opcode(code).name() == Some(op));
            if !known {
                bail!("no operation is called {op:?}; try READ_OBJ, WRITE_OBJ or ANY");
            }
        }
        if let Some(object) = &self.object {
            let kinds = ["data", "inode", "vmstate", "attr", "btree", "ledger"];
            if !kinds.contains(&object.as_str()) {
                bail!(
                    "no object is of kind {object:?}; use one of {}",
                    kinds.join(", ")
                );
            }
        }
        if !(0.0..=1.0).contains(&self.probability) {
            bail!("{} is no probability; use 0 to 1", self.probability);
        }
        if let Action::Reclaim { cgroup } = &self.action {
            if !cgroup.join(RECLAIM_FILE).exists() {
                bail!(
                    "there is no {RECLAIM_FILE} in {cgroup:?}; use the directory of a memory \
                     cgroup, as in /sys/fs/cgroup/files"
                );
            }
        }
        Ok(())
    }

    /// Whether the rule is about this request, number `index` of its connection.
    pub fn matches(&self, header: &RequestHeader, index: u64) -> bool {
        let op = self.op.as_deref();
        let object = self.object.as_deref();
        index >= self.after
            && op.is_none_or(|op| header.opcode.name() == Some(op))
            && object.is_none_or(|object| {
                is_object_request(header.opcode)
                    && kind_name(header.object_arm().oid.kind()) == object
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_says_what_the_long_form_says() {
        let rule = Rule::fail("WRITE_OBJ@inode=NO_SPACE:0.25:3", true).unwrap();
        let text = r#"{"op":"WRITE_OBJ","object":"inode","probability":0.25,"count":3,
            "action":{"fail":{"result":"NO_SPACE","apply":true}}}"#;
        assert_eq!(serde_json::from_str::<Rule>(text).unwrap(), rule);
        let delay = Rule::delay("1-20").unwrap();
        assert_eq!(delay.op, None);
        assert_eq!(
            delay.action,
            Action::Delay {
                min_ms: 1,
                max_ms: 20
            }
        );
    }

    #[test]
    fn a_mistake_is_named_together_with_what_would_be_right() {
        let message = |result: Result<Rule>| result.unwrap_err().to_string();
        assert!(message(Rule::fail("REED_OBJ=EIO", false)).contains("READ_OBJ"));
        assert!(message(Rule::fail("READ_OBJ=NOPE", false)).contains("NO_OBJ"));
        assert!(message(Rule::fail("READ_OBJ=EIO:2", false)).contains("0 to 1"));
        assert!(message(Rule::stall("READ_OBJ@dat")).contains("data"));
        assert!(message(Rule::delay("soon")).contains("milliseconds"));
        assert!(message(Rule::corrupt("ANY=badly")).contains("bit-flip"));
        assert!(message(Rule::reclaim("WRITE_OBJ=/dev/null")).contains("cgroup"));
    }

    #[test]
    fn results_without_a_name_are_given_by_number() {
        let rule = Rule::fail("ANY=0x9a", false).unwrap();
        let action = Action::Fail {
            result: SdResult(0x9a),
            apply: false,
        };
        assert_eq!(rule.action, action);
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule);
    }
}
