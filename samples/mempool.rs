// SPDX-License-Identifier: GPL-2.0

//! `sys::mempool`: memory that may have to be waited for, but is never refused.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
        Completion, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use sys::{
    mempool::Mempool,
    thread::Thread, //
};

#[path = "../drivers/block/sheepdog/sys/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a sample is about one part")]
mod sys;

module! {
    type: Sample,
    name: "sample_mempool",
    authors: ["The sheepdog.ko developers"],
    description: "Memory pools with a reserve",
    license: "GPL",
}

struct Sample;

fn expect(holds: bool, what: &str) -> Result {
    if holds {
        return Ok(());
    }
    pr_err!("{what}\n");
    Err(EINVAL)
}

/// Counts how often it is dropped.
struct Counted(Arc<Atomic<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl kernel::Module for Sample {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        grows_while_there_is_memory()?;
        drops_its_values()?;
        sleeps_until_an_element_returns()?;
        suffices()?;
        pr_info!("ok\n");
        Ok(Self)
    }
}

/// With memory at hand the reserve is no limit.
fn grows_while_there_is_memory() -> Result {
    expect(Mempool::<u64>::new(0).is_err(), "a pool without a reserve")?;
    let pool = Mempool::new(1)?;
    let mut elements = KVec::new();
    for value in 0..16u64 {
        elements.push(pool.as_arc_borrow().take([value; 8]), GFP_KERNEL)?;
    }
    let intact = (0..)
        .zip(&elements)
        .all(|(value, element)| **element == [value; 8]);
    expect(intact, "two elements share memory")
}

/// A value ends with its element, and the pool may go first.
fn drops_its_values() -> Result {
    let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
    let pool = Mempool::only_reserve(1)?;
    drop(pool.as_arc_borrow().take(Counted(dropped.clone())));
    let element = pool.as_arc_borrow().take(Counted(dropped.clone()));
    drop(pool);
    expect(dropped.load(Relaxed) == 1, "a value outlived its element")?;
    drop(element);
    expect(dropped.load(Relaxed) == 2, "a value was not dropped")
}

/// When the allocator refuses, the reserve is all there is, and who comes late waits.
fn sleeps_until_an_element_returns() -> Result {
    const RESERVE: u32 = 4;
    let pool = Mempool::only_reserve(RESERVE)?;
    let mut elements = KVec::new();
    for value in 0..RESERVE {
        elements.push(pool.as_arc_borrow().take(value), GFP_KERNEL)?;
    }
    let started = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let got = Arc::new(Atomic::new(0u32), GFP_KERNEL)?;
    let (signal, out, from) = (started.clone(), got.clone(), pool.clone());
    let late = Thread::spawn(c"sample_late", move || {
        signal.complete_all();
        let element = from.as_arc_borrow().take(99);
        out.store(*element, Release);
    })?;
    started.wait_for_completion();
    fsleep(Delta::from_millis(300));
    let waited = got.load(Acquire) == 0;
    // In any case, or letting go of the thread would take for ever.
    drop(elements.pop());
    drop(late);
    expect(waited, "an exhausted pool gave memory")?;
    expect(
        got.load(Acquire) == 99,
        "the element did not go to who waited",
    )
}

/// A reserve for all that can be out at once is enough, whatever the allocator says.
fn suffices() -> Result {
    const THREADS: usize = 4;
    const EACH: usize = 2;
    let pool = Mempool::only_reserve((THREADS * EACH) as u32)?;
    let rounds = Arc::new(Atomic::new(0u32), GFP_KERNEL)?;
    let mut ends = KVec::new();
    for _ in 0..THREADS {
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let (signal, count, from) = (done.clone(), rounds.clone(), pool.clone());
        let thread = Thread::spawn(c"sample_taker", move || {
            for round in 0..1000u64 {
                let one = from.as_arc_borrow().take(round);
                let two = from.as_arc_borrow().take(round + 1);
                if *one + 1 == *two {
                    count.fetch_add(1, Relaxed);
                }
            }
            signal.complete_all();
        })?;
        ends.push((done, thread), GFP_KERNEL)?;
    }
    for (done, _) in &ends {
        done.wait_for_completion();
    }
    drop(ends);
    let rounds = rounds.load(Relaxed) as usize;
    expect(rounds == THREADS * 1000, "an element was in two hands")
}
