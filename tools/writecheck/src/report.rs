// SPDX-License-Identifier: GPL-2.0

//! What comes of a run: counters that all threads add to, and the report that is made of them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use crate::ledger::Kind;
use crate::ledger::Violation;

/// A report shows so many violations and counts the others.
const SHOWN: usize = 100;

/// One kind of I/O.
#[derive(Default)]
pub struct Counter {
    done: AtomicU64,
    errors: AtomicU64,
    longest_us: AtomicU64,
}

impl Counter {
    /// One has ended after `took`.
    pub fn add(&self, took: Duration, well: bool) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_us.fetch_max(us, Ordering::Relaxed);
        let counter = if well { &self.done } else { &self.errors };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn longest_ms(&self) -> f64 {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed)).as_secs_f64() * 1000.0
    }
}

/// What threads count.
#[derive(Default)]
pub struct Counters {
    /// Writes.
    pub writes: Counter,
    /// Reads.
    pub reads: Counter,
}

/// What a run found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Acknowledged writes.
    pub writes: u64,
    /// Reads that returned data.
    pub reads: u64,
    /// Writes that ended with an error.
    pub write_errors: u64,
    /// Reads that ended with an error.
    pub read_errors: u64,
    /// The longest time that a write took, in milliseconds.
    pub longest_write_ms: f64,
    /// The longest time that a read took, in milliseconds.
    pub longest_read_ms: f64,
    /// See [`Kind::Lost`].
    pub lost: u64,
    /// See [`Kind::Torn`].
    pub torn: u64,
    /// See [`Kind::Foreign`].
    pub foreign: u64,
    /// See [`Kind::Corrupt`].
    pub corrupt: u64,
    /// Threads whose I/O did not end.
    pub stuck: u64,
    /// Blocks that were read or written.
    pub blocks: u64,
    /// Blocks that were compared at the end.
    pub verified: u64,
    /// Blocks that could not be read at the end.
    pub unverified: u64,
    /// How long all of it took.
    pub seconds: f64,
    /// The first violations.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Counts a violation.
    pub fn violation(&mut self, violation: Violation) {
        match violation.kind {
            Kind::Lost => self.lost += 1,
            Kind::Torn => self.torn += 1,
            Kind::Foreign => self.foreign += 1,
            Kind::Corrupt => self.corrupt += 1,
        }
        if self.violations.len() < SHOWN {
            self.violations.push(violation);
        }
    }

    /// Takes over what was counted.
    pub fn count(&mut self, counters: &Counters) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.writes = get(&counters.writes.done);
        self.reads = get(&counters.reads.done);
        self.write_errors = get(&counters.writes.errors);
        self.read_errors = get(&counters.reads.errors);
        self.longest_write_ms = counters.writes.longest_ms();
        self.longest_read_ms = counters.reads.longest_ms();
    }

    /// Whether the disk kept its word, and with `no_errors` nothing ended with an error.
    pub fn is_well(&self, no_errors: bool) -> bool {
        let broken = [self.lost, self.torn, self.foreign, self.corrupt];
        let missing = [self.stuck, self.unverified];
        let errors = [self.write_errors, self.read_errors];
        let none = |counts: &[u64]| counts.iter().all(|&count| count == 0);
        none(&broken) && none(&missing) && (!no_errors || none(&errors))
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} writes, {} reads, {} write errors, {} read errors; the longest write took {:.0} ms, \
             the longest read {:.0} ms; {} lost, {} torn, {} foreign, {} corrupt, {} stuck, {} of \
             {} blocks verified",
            self.writes,
            self.reads,
            self.write_errors,
            self.read_errors,
            self.longest_write_ms,
            self.longest_read_ms,
            self.lost,
            self.torn,
            self.foreign,
            self.corrupt,
            self.stuck,
            self.verified,
            self.blocks
        )
    }
}
