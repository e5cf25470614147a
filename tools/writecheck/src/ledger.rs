// SPDX-License-Identifier: GPL-2.0

//! What one block may hold: the last version that was acknowledged, or one of those whose write
//! ended with an error after that. In: what was written, what was read. Out: violations.

use std::time::Duration;

use serde::Serialize;

use crate::stamp::content;
use crate::stamp::digest;
use crate::stamp::Content;

/// A way in which a disk breaks its word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An older version than the acknowledged one, or what was there before the first write.
    Lost,
    /// Sectors of several versions.
    Torn,
    /// Something of another block, or of an earlier run.
    Foreign,
    /// Something that was never written.
    Corrupt,
}

/// A block that holds what it must not.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// What is wrong.
    pub kind: Kind,
    /// Number of the block on the disk.
    pub block: u64,
    /// Its offset in bytes.
    pub offset: u64,
    /// The version that was acknowledged last; 0 is what was there before.
    pub acknowledged: u64,
    /// When, in seconds since the start.
    pub acknowledged_at_s: f64,
    /// Versions after that whose write ended with an error.
    pub uncertain: Vec<u64>,
    /// What was found.
    pub found: String,
    /// When, in seconds since the start.
    pub found_at_s: f64,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = format!("{:?}", self.kind).to_uppercase();
        write!(
            f,
            "{name}: block {} at byte {}: version {} was acknowledged at {:.3} s",
            self.block, self.offset, self.acknowledged, self.acknowledged_at_s
        )?;
        if !self.uncertain.is_empty() {
            write!(f, ", writes of {:?} ended with errors", self.uncertain)?;
        }
        write!(f, "; {:.3} s: {}", self.found_at_s, self.found)
    }
}

/// What is known of one block.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Number of the block on the disk.
    pub block: u64,
    before: u64,
    written: u64,
    acknowledged: u64,
    acknowledged_at: Duration,
    uncertain: Vec<u64>,
}

impl Ledger {
    /// A block that holds `bytes` before it is written for the first time.
    pub fn new(block: u64, bytes: &[u8]) -> Self {
        Self {
            block,
            before: digest(bytes),
            written: 0,
            acknowledged: 0,
            acknowledged_at: Duration::ZERO,
            uncertain: Vec::new(),
        }
    }

    /// The version of the write that begins now.
    pub fn begin(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    /// That write was acknowledged.
    pub fn acknowledge(&mut self, at: Duration) {
        self.acknowledged = self.written;
        self.acknowledged_at = at;
        self.uncertain.clear();
    }

    /// That write ended with an error: it may be there or not, now or later.
    pub fn fail(&mut self) {
        self.uncertain.push(self.written);
    }

    /// Whether the block may hold `bytes`, read at a time when no write of it was under way.
    pub fn check(&self, run: u64, bytes: &[u8], at: Duration) -> Option<Violation> {
        let is_before = || digest(bytes) == self.before;
        let (kind, found) = match content(run, self.block, bytes) {
            Content::Version(version) if version == self.acknowledged => return None,
            Content::Version(version) if self.uncertain.contains(&version) => return None,
            Content::Version(version) if version > self.written => (
                Kind::Corrupt,
                format!("it is version {version}, never written"),
            ),
            Content::Version(version) => (Kind::Lost, format!("it is version {version}")),
            _ if is_before() && self.acknowledged == 0 => return None,
            _ if is_before() => (Kind::Lost, "it is what was there before the test".into()),
            Content::Torn(versions) => (
                Kind::Torn,
                format!("its sectors have versions {versions:?}"),
            ),
            Content::Foreign(stamp) if stamp.run == run => (
                Kind::Foreign,
                format!("it is block {}, version {}", stamp.block, stamp.version),
            ),
            Content::Foreign(_) => (Kind::Foreign, "it is from another run".into()),
            Content::Other if bytes.iter().all(|&byte| byte == 0) => {
                (Kind::Lost, "it is all zeroes".into())
            }
            Content::Other => (Kind::Corrupt, "it is nothing that was ever written".into()),
        };
        Some(Violation {
            kind,
            block: self.block,
            offset: self.block * bytes.len() as u64,
            acknowledged: self.acknowledged,
            acknowledged_at_s: self.acknowledged_at.as_secs_f64(),
            uncertain: self.uncertain.clone(),
            found,
            found_at_s: at.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    const RUN: u64 = 5;
    const NOW: Duration = Duration::from_secs(1);

    fn block(version: u64) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let stamp = Stamp {
            run: RUN,
            block: 2,
            version,
            writer: 0,
        };
        stamp.fill(&mut bytes);
        bytes
    }

    fn kind(ledger: &Ledger, bytes: &[u8]) -> Option<Kind> {
        ledger
            .check(RUN, bytes, NOW)
            .map(|violation| violation.kind)
    }

    /// A block whose version 2 was acknowledged.
    fn written() -> Ledger {
        let mut ledger = Ledger::new(2, &[7; 4096]);
        for version in 1..=2 {
            assert_eq!(ledger.begin(), version);
            ledger.acknowledge(NOW);
        }
        ledger
    }

    #[test]
    fn only_the_acknowledged_version_may_be_there() {
        let ledger = written();
        assert_eq!(kind(&ledger, &block(2)), None);
        assert_eq!(kind(&ledger, &block(1)), Some(Kind::Lost));
        assert_eq!(kind(&ledger, &[7; 4096]), Some(Kind::Lost));
        assert_eq!(kind(&ledger, &[0; 4096]), Some(Kind::Lost));
        assert_eq!(kind(&ledger, &block(3)), Some(Kind::Corrupt));
        assert_eq!(kind(&ledger, &[9; 4096]), Some(Kind::Corrupt));
    }

    #[test]
    fn a_write_that_ended_with_an_error_may_be_there_until_the_next_acknowledged_one() {
        let mut ledger = written();
        for _ in 3..=4 {
            ledger.begin();
            ledger.fail();
        }
        for version in 2..=4 {
            assert_eq!(kind(&ledger, &block(version)), None);
        }
        assert_eq!(kind(&ledger, &block(1)), Some(Kind::Lost));
        ledger.begin();
        ledger.acknowledge(NOW);
        assert_eq!(kind(&ledger, &block(4)), Some(Kind::Lost));
        assert_eq!(kind(&ledger, &block(5)), None);
    }

    #[test]
    fn what_was_there_before_may_be_there_until_the_first_acknowledged_write() {
        let mut ledger = Ledger::new(2, &[7; 4096]);
        assert_eq!(kind(&ledger, &[7; 4096]), None);
        assert_eq!(kind(&ledger, &[8; 4096]), Some(Kind::Corrupt));
        ledger.begin();
        ledger.fail();
        assert_eq!(kind(&ledger, &[7; 4096]), None);
        assert_eq!(kind(&ledger, &block(1)), None);
    }

    #[test]
    fn a_violation_says_block_versions_and_times() {
        let text = written()
            .check(RUN, &block(1), NOW * 3)
            .unwrap()
            .to_string();
        assert_eq!(
            text,
            "LOST: block 2 at byte 8192: version 2 was acknowledged at 1.000 s; 3.000 s: it is \
             version 1"
        );
    }
}
