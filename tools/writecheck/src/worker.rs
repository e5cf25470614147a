// SPDX-License-Identifier: GPL-2.0

//! One thread: it writes its own blocks and reads them back, one I/O at a time, so that it always
//! knows what each of them may hold.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::Rng;
use rand::SeedableRng;

use crate::disk::Buffer;
use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::ledger::Violation;
use crate::report::Counters;
use crate::stamp::Stamp;

/// What a step does, in percent of them. Hot blocks are read often too: what comes too late on one
/// can be seen only until the next write.
const HOT_WRITES: u32 = 55;
const HOT_READS: u32 = 20;
const WRITES: u32 = 15;
/// A pause after an error, since a dead disk fails a million times a second.
const AFTER_ERROR: Duration = Duration::from_millis(10);
/// At the end a block is read so often until it counts as unreadable, ...
const LAST_READS: u32 = 5;
/// ... with this pause.
const BETWEEN_LAST_READS: Duration = Duration::from_secs(1);

/// What all workers share.
pub struct Shared {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Tells this run's blocks from those of others.
    pub run: u64,
    /// Bytes of a block.
    pub block_len: usize,
    /// How long to write.
    pub duration: Duration,
    /// When it began.
    pub start: Instant,
    /// What was done.
    pub counters: Counters,
    /// Nobody needs to go on.
    pub stop: AtomicBool,
}

/// One thread's work.
pub struct Worker {
    shared: Arc<Shared>,
    number: u32,
    /// The hot ones come first.
    blocks: Vec<u64>,
    hot: usize,
    /// Of the blocks that were touched, in the order of `blocks`.
    ledgers: Vec<Ledger>,
    rng: SmallRng,
    buffer: Buffer,
    found: Sender<Violation>,
}

impl Worker {
    /// A thread that owns `blocks`, of which the first `hot` are hot.
    pub fn new(
        shared: Arc<Shared>,
        number: u32,
        blocks: Vec<u64>,
        hot: usize,
        seed: u64,
        found: Sender<Violation>,
    ) -> Self {
        Self {
            buffer: Buffer::new(shared.block_len),
            hot: hot.min(blocks.len()),
            rng: SmallRng::seed_from_u64(seed.wrapping_add(number.into())),
            shared,
            number,
            blocks,
            ledgers: Vec::new(),
            found,
        }
    }

    /// Writes and checks until the time is over.
    pub fn work(&mut self) {
        while self.shared.start.elapsed() < self.shared.duration && !self.stops() {
            self.step();
        }
    }

    fn step(&mut self) {
        let hot = self.hot.min(self.ledgers.len());
        let kind = self.rng.random_range(0..100);
        if kind < HOT_WRITES && self.hot > 0 {
            let which = self.rng.random_range(0..self.hot);
            self.write(which);
        } else if kind < HOT_WRITES + HOT_READS && hot > 0 {
            let which = self.rng.random_range(0..hot);
            self.check(which);
        } else if kind < HOT_WRITES + HOT_READS + WRITES || self.ledgers.is_empty() {
            let which = match self.eligible() {
                eligible if eligible > self.ledgers.len() => self.ledgers.len(),
                eligible => self.rng.random_range(0..eligible),
            };
            self.write(which);
        } else {
            let which = self.rng.random_range(0..self.ledgers.len());
            self.check(which);
        }
    }

    fn stops(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// How many blocks may be written by now: new ones are touched all the time, so that objects
    /// are created until the end.
    fn eligible(&self) -> usize {
        let gone = self.shared.start.elapsed().as_secs_f64() / self.shared.duration.as_secs_f64();
        let share = (self.blocks.len() as f64 * gone).ceil();
        // Small and positive.
        (share as usize).clamp(self.hot.max(1), self.blocks.len())
    }

    fn offset(&self, block: u64) -> u64 {
        block * self.shared.block_len as u64
    }

    fn read(&mut self, block: u64) -> io::Result<()> {
        let offset = self.offset(block);
        let begin = Instant::now();
        let result = self.shared.disk.read(offset, self.buffer.bytes());
        let counter = &self.shared.counters.reads;
        counter.add(begin.elapsed(), result.is_ok());
        result
    }

    fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Looks at the blocks up to `which` that were not touched yet. Returns whether it could.
    fn touch(&mut self, which: usize) -> bool {
        while self.ledgers.len() <= which {
            let block = self.blocks[self.ledgers.len()];
            if self.read(block).is_err() {
                sleep(AFTER_ERROR);
                return false;
            }
            self.ledgers.push(Ledger::new(block, self.buffer.bytes()));
        }
        true
    }

    fn write(&mut self, which: usize) {
        if !self.touch(which) {
            return;
        }
        let ledger = &mut self.ledgers[which];
        let stamp = Stamp {
            run: self.shared.run,
            block: ledger.block,
            version: ledger.begin(),
            writer: self.number,
        };
        stamp.fill(self.buffer.bytes());
        let offset = self.offset(stamp.block);
        let begin = Instant::now();
        let result = self.shared.disk.write(offset, self.buffer.bytes());
        let counter = &self.shared.counters.writes;
        counter.add(begin.elapsed(), result.is_ok());
        let now = self.now();
        let ledger = &mut self.ledgers[which];
        match result {
            Ok(()) => ledger.acknowledge(now),
            Err(_) => {
                ledger.fail();
                sleep(AFTER_ERROR);
            }
        }
    }

    /// Returns whether the block could be read.
    fn check(&mut self, which: usize) -> bool {
        if self.read(self.ledgers[which].block).is_err() {
            sleep(AFTER_ERROR);
            return false;
        }
        let now = self.now();
        let ledger = &self.ledgers[which];
        let violation = ledger.check(self.shared.run, self.buffer.bytes(), now);
        if let Some(violation) = violation {
            // Nobody may listen any more.
            let _ = self.found.send(violation);
        }
        true
    }

    /// How many blocks were read or written.
    pub fn touched(&self) -> u64 {
        self.ledgers.len() as u64
    }

    /// Reads every block that was touched. Returns how many could not be read.
    pub fn verify(&mut self) -> u64 {
        let mut unread = 0;
        for which in 0..self.ledgers.len() {
            let mut tries = 1;
            while !self.check(which) && !self.stops() {
                if tries == LAST_READS {
                    unread += 1;
                    break;
                }
                tries += 1;
                sleep(BETWEEN_LAST_READS);
            }
        }
        unread
    }
}
