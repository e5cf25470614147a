// SPDX-License-Identifier: GPL-2.0

//! `sys::slots`: a value is taken by whoever presents its id, once.

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
use sys::{
    slots::Slots,
    thread::Thread, //
};

#[path = "../drivers/block/sheepdog/sys/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a sample is about one part")]
mod sys;

module! {
    type: Sample,
    name: "sample_slots",
    authors: ["The sheepdog.ko developers"],
    description: "A table whose ids are its keys",
    license: "GPL",
}

struct Sample;

/// Slots over which the threads fight.
const SLOTS: usize = 4;
/// Values that the two threads hand over.
const ROUNDS: u32 = 5_000;
/// How long a thread waits that finds nothing to do.
const PAUSE: Delta = Delta::from_micros(1);

/// Prints what went wrong and makes an error of it.
fn expect(holds: bool, what: &str) -> Result {
    if holds {
        return Ok(());
    }
    pr_err!("{what}\n");
    Err(EINVAL)
}

impl kernel::Module for Sample {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        rules()?;
        drops()?;
        two_threads()?;
        pr_info!("ok\n");
        Ok(Self)
    }
}

/// What one thread sees.
fn rules() -> Result {
    let slots = Slots::new(SLOTS)?;
    expect(slots.put(1, 77, 'a').is_ok(), "a free slot refused a value")?;
    expect(slots.count() == 1 && slots.id(1) == Some(77), "miscounted")?;
    expect(
        slots.put(1, 78, 'b') == Err('b'),
        "a full slot took a value",
    )?;
    expect(slots.put(2, 0, 'c') == Err('c'), "a reserved id was taken")?;
    expect(slots.put(SLOTS, 9, 'd') == Err('d'), "a slot too many")?;
    expect(slots.take(1, 78).is_none(), "a wrong id opened a slot")?;
    expect(slots.take(2, 77).is_none(), "an empty slot had a value")?;
    expect(slots.take(1, 77) == Some('a'), "the id opened nothing")?;
    expect(slots.take(1, 77).is_none(), "a value was taken twice")?;
    expect(slots.put(1, 78, 'e').is_ok(), "an emptied slot is not free")?;
    expect(slots.take_any(1) == Some('e'), "nothing in a full slot")?;
    expect(slots.count() == 0, "something is left")
}

/// What is left in a table ends with it.
fn drops() -> Result {
    let value = Arc::new((), GFP_KERNEL)?;
    let slots = Slots::new(SLOTS)?;
    expect(
        slots.put(0, 5, value.clone()).is_ok(),
        "a free slot refused",
    )?;
    drop(slots);
    expect(
        Arc::into_unique_or_drop(value).is_some(),
        "the value outlived its table",
    )
}

/// One thread puts, one takes, with ids that the other does not know until they are there; a third
/// tries ids that are wrong. No value gets lost or comes twice.
fn two_threads() -> Result {
    let slots = Arc::new(Slots::<u32>::new(SLOTS)?, GFP_KERNEL)?;
    let sum = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
    let taken = Arc::pin_init(Completion::new(), GFP_KERNEL)?;

    let (from, total, done) = (slots.clone(), sum.clone(), taken.clone());
    let taker = Thread::spawn(c"sample_take", move || {
        let (mut left, mut index) = (ROUNDS, 0);
        while left > 0 {
            let Some(value) = from.take_any(index % SLOTS) else {
                index += 1;
                fsleep(PAUSE);
                continue;
            };
            total.store(total.load(Relaxed) + u64::from(value), Relaxed);
            left -= 1;
        }
        done.complete_all();
    })?;

    let mut forged = 0;
    for value in 0..ROUNDS {
        let (index, id) = (value as usize % SLOTS, value + 2);
        while slots.put(index, id, value).is_err() {
            fsleep(PAUSE);
        }
        forged += usize::from(slots.take(index, id + 1).is_some());
    }
    taken.wait_for_completion();
    drop(taker);
    expect(forged == 0, "a wrong id opened a slot")?;
    expect(slots.count() == 0, "values are left")?;
    let expected = u64::from(ROUNDS) * u64::from(ROUNDS - 1) / 2;
    expect(
        sum.load(Relaxed) == expected,
        "values got lost or came twice",
    )
}
