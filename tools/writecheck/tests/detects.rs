// SPDX-License-Identifier: GPL-2.0

//! Disks that break their word in one way each, and what the checker says of them.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use writecheck::disk::Disk;
use writecheck::ledger::Kind;
use writecheck::ledger::Violation;
use writecheck::report::Report;
use writecheck::run::run;
use writecheck::run::Order;

const BLOCK: usize = 4096;
const BLOCKS: u64 = 256;

/// What a disk does to its write number N.
type Sabotage = Box<dyn Fn(u64, u64, &[u8], &mut [u8]) -> io::Result<()> + Send + Sync>;

/// A disk in memory.
struct Disc {
    memory: Mutex<Vec<u8>>,
    writes: AtomicU64,
    sabotage: Sabotage,
    begin: Instant,
    /// Reads fail after this time.
    unreadable_after: Duration,
    /// Reads never end after this time.
    silent_after: Duration,
}

fn place(offset: u64, len: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + len
}

fn error<T>() -> io::Result<T> {
    Err(io::Error::other("on purpose"))
}

impl Disk for Disc {
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        if self.begin.elapsed() >= self.silent_after {
            std::thread::sleep(Duration::from_secs(3600));
        }
        if self.begin.elapsed() >= self.unreadable_after {
            return error();
        }
        let memory = self.memory.lock().unwrap();
        data.copy_from_slice(&memory[place(offset, data.len())]);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let mut memory = self.memory.lock().unwrap();
        (self.sabotage)(number, offset, data, &mut memory)
    }
}

fn apply(offset: u64, data: &[u8], memory: &mut [u8]) {
    memory[place(offset, data.len())].copy_from_slice(data);
}

fn disc(
    sabotage: impl Fn(u64, u64, &[u8], &mut [u8]) -> io::Result<()> + Send + Sync + 'static,
) -> Disc {
    Disc {
        memory: Mutex::new(vec![0; BLOCK * BLOCKS as usize]),
        writes: AtomicU64::new(0),
        sabotage: Box::new(sabotage),
        begin: Instant::now(),
        unreadable_after: Duration::MAX,
        silent_after: Duration::MAX,
    }
}

fn honest(_: u64, offset: u64, data: &[u8], memory: &mut [u8]) -> io::Result<()> {
    apply(offset, data, memory);
    Ok(())
}

fn order() -> Order {
    let shares = [0, 1].map(|thread| (0..BLOCKS).filter(|block| block % 2 == thread).collect());
    Order {
        block_len: BLOCK,
        shares: shares.to_vec(),
        hot: 2,
        duration: Duration::from_secs(1),
        settle: Duration::ZERO,
        patience: Duration::from_secs(20),
        keep_going: false,
        run: 7,
        seed: 1,
    }
}

/// What the checker says, and the violations that it told at once.
fn check(disc: Disc, order: &Order) -> (Report, Vec<Violation>) {
    let mut told = Vec::new();
    let report = run(Arc::new(disc), order, &mut |violation| {
        told.push(violation.clone())
    });
    (report, told)
}

/// The first violation of a disk whose writes go wrong from the 100th on.
fn found(
    wrong: impl Fn(u64, &[u8], &mut [u8]) -> io::Result<()> + Send + Sync + 'static,
) -> Violation {
    let disc = disc(move |number, offset, data, memory| {
        if number >= 100 {
            wrong(offset, data, memory)
        } else {
            honest(number, offset, data, memory)
        }
    });
    let order = Order {
        duration: Duration::from_secs(20),
        ..order()
    };
    let (report, told) = check(disc, &order);
    assert!(report.seconds < 20.0);
    assert!(!report.is_well(false));
    assert_eq!(told.len(), 1, "it ends at the first violation: {report}");
    told[0].clone()
}

#[test]
fn an_honest_disk_keeps_its_word() {
    let (report, told) = check(disc(honest), &order());
    assert!(report.is_well(true), "{report}");
    assert!(told.is_empty());
    assert!(report.writes > 20 && report.reads > 5, "{report}");
    assert!(report.blocks > 4, "{report}");
    assert_eq!(report.verified, report.blocks);
}

#[test]
fn a_write_that_was_acknowledged_and_not_made_is_lost() {
    let violation = found(|_, _, _| Ok(()));
    assert_eq!(violation.kind, Kind::Lost);
    assert!(violation.found_at_s >= violation.acknowledged_at_s);
}

#[test]
fn half_a_write_is_torn() {
    let violation = found(|offset, data, memory| {
        apply(offset, &data[..BLOCK / 2], memory);
        Ok(())
    });
    assert_eq!(violation.kind, Kind::Torn, "{violation}");
}

#[test]
fn another_block_in_its_place_is_foreign() {
    // One block is written honestly, and its data go to the places of all others. What lies in those is
    // not taken from memory: it may be theirs, written elsewhere before, and would only be old.
    let other: Mutex<Option<(u64, Vec<u8>)>> = Mutex::new(None);
    let violation = found(move |offset, data, memory| {
        let mut other = other.lock().unwrap();
        let (from, block) = other.get_or_insert_with(|| (offset, data.to_vec()));
        let written = if *from == offset { data } else { block };
        apply(offset, written, memory);
        Ok(())
    });
    assert_eq!(violation.kind, Kind::Foreign, "{violation}");
}

#[test]
fn a_flipped_bit_is_corrupt() {
    let violation = found(|offset, data, memory| {
        apply(offset, data, memory);
        memory[usize::try_from(offset).unwrap() + 1000] ^= 1;
        Ok(())
    });
    assert_eq!(violation.kind, Kind::Corrupt, "{violation}");
}

#[test]
fn a_write_that_comes_again_later_is_lost_even_after_everything_has_ended() {
    let order = Order {
        // The zombie comes in the middle: on a busy host threads are late by a good part of a second.
        settle: Duration::from_secs(4),
        ..order()
    };
    let first: Mutex<Option<(u64, Vec<u8>)>> = Mutex::new(None);
    let disc = Arc::new(disc(move |number, offset, data, memory| {
        let mut first = first.lock().unwrap();
        match &*first {
            // The zombie: an early write of this block, kept for the end.
            None => *first = Some((offset, data.to_vec())),
            Some(_) => {}
        }
        if number == u64::MAX {
            let (offset, data) = first.clone().unwrap();
            apply(offset, &data, memory);
            return Ok(());
        }
        honest(number, offset, data, memory)
    }));
    let zombie = disc.clone();
    let wait = order.duration + order.settle / 2;
    let begin = Instant::now();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(wait);
        zombie.writes.store(u64::MAX, Ordering::Relaxed);
        zombie.write(0, &[]).unwrap();
    });
    let mut told = Vec::new();
    let report = run(disc, &order, &mut |violation| told.push(violation.clone()));
    thread.join().unwrap();
    assert_eq!((report.lost, told.len()), (1, 1), "{report}");
    assert!(begin.elapsed() >= order.duration + order.settle);
}

#[test]
fn writes_that_end_with_an_error_may_be_made_or_not_but_nothing_else() {
    let failing = |number: u64, offset: u64, data: &[u8], memory: &mut [u8]| {
        match number % 8 {
            0 => return error(),
            1 => apply(offset, data, memory),
            _ => return honest(number, offset, data, memory),
        }
        error()
    };
    let (report, _) = check(disc(failing), &order());
    assert!(report.write_errors > 2, "{report}");
    assert!(report.is_well(false), "{report}");
    assert!(!report.is_well(true));

    let half = |number: u64, offset: u64, data: &[u8], memory: &mut [u8]| {
        if number >= 100 {
            apply(offset, &data[..BLOCK / 2], memory);
            return error();
        }
        honest(number, offset, data, memory)
    };
    let (report, _) = check(disc(half), &order());
    assert_eq!(report.torn, 1, "{report}");
}

#[test]
fn it_goes_on_when_told_so() {
    let order = Order {
        keep_going: true,
        ..order()
    };
    let losing = |number: u64, offset: u64, data: &[u8], memory: &mut [u8]| {
        if number % 20 == 19 {
            return Ok(());
        }
        honest(number, offset, data, memory)
    };
    let (report, told) = check(disc(losing), &order);
    assert!(report.lost >= 2, "{report}");
    assert_eq!(told.len() as u64, report.lost);
    assert_eq!(report.verified, report.blocks);
}

#[test]
fn a_disk_that_cannot_be_read_at_the_end_has_not_kept_its_word() {
    let disc = Disc {
        unreadable_after: Duration::from_millis(400),
        ..disc(honest)
    };
    let order = Order {
        shares: vec![vec![0]],
        ..order()
    };
    let (report, _) = check(disc, &order);
    assert_eq!(report.unverified, 1, "{report}");
    assert!(!report.is_well(false));
}

#[test]
fn a_disk_that_never_answers_is_reported() {
    let disc = Disc {
        silent_after: Duration::from_millis(200),
        ..disc(honest)
    };
    let order = Order {
        patience: Duration::from_millis(200),
        ..order()
    };
    let (report, _) = check(disc, &order);
    assert_eq!(report.stuck, 2, "{report}");
    assert!(!report.is_well(false));
}

#[test]
fn the_longest_write_and_read_are_measured() {
    let slow = |number: u64, offset: u64, data: &[u8], memory: &mut [u8]| {
        if number == 50 {
            std::thread::sleep(Duration::from_millis(120));
        }
        honest(number, offset, data, memory)
    };
    let (report, _) = check(disc(slow), &order());
    assert!(report.longest_write_ms >= 120.0, "{report}");
    assert!(report.longest_read_ms > 0.0);
}
