// SPDX-License-Identifier: GPL-2.0

//! `sys::thread`: a closure in a thread, joined when its handle goes.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use sys::thread::Thread;

#[path = "../drivers/block/sheepdog/sys/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a sample is about one part")]
mod sys;

module! {
    type: Sample,
    name: "sample_thread",
    authors: ["The sheepdog.ko developers"],
    description: "Threads that end with their handles",
    license: "GPL",
}

struct Sample;

/// Threads that are let go of as soon as they are made.
const HASTY: u32 = 200;

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
        joins()?;
        stops_before_it_runs()?;
        pr_info!("ok\n");
        Ok(Self)
    }
}

/// Letting go of a handle waits for the closure.
fn joins() -> Result {
    let started = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let ended = Arc::new(Atomic::new(0u32), GFP_KERNEL)?;
    let (signal, end) = (started.clone(), ended.clone());
    let thread = Thread::spawn(c"sample_joined", move || {
        signal.complete_all();
        fsleep(Delta::from_millis(100));
        end.store(1, Relaxed);
    })?;
    started.wait_for_completion();
    expect(ended.load(Relaxed) == 0, "it did not sleep")?;
    drop(thread);
    expect(
        ended.load(Relaxed) == 1,
        "the handle went before the thread",
    )
}

/// A thread that is let go of at once may never run. Its closure is dropped either way, once.
fn stops_before_it_runs() -> Result {
    let ran = Arc::new(Atomic::new(0u32), GFP_KERNEL)?;
    let dropped = Arc::new(Atomic::new(0u32), GFP_KERNEL)?;
    for _ in 0..HASTY {
        let (run, counted) = (ran.clone(), Counted(dropped.clone()));
        drop(Thread::spawn(c"sample_hasty", move || {
            run.fetch_add(1, Relaxed);
            drop(counted);
        })?);
    }
    let (ran, dropped) = (ran.load(Relaxed), dropped.load(Relaxed));
    pr_info!("{} of {HASTY} threads ran before they were stopped\n", ran);
    expect(ran <= HASTY, "a thread ran twice")?;
    expect(dropped == HASTY, "closures were leaked, or dropped twice")
}
