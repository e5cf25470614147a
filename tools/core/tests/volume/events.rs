// SPDX-License-Identifier: GPL-2.0

//! What can happen in an arbitrary stream of events; what does not fit the moment is passed over.

use proptest::prelude::*;
use sheepdog_core::volume::Loss;
use sheepdog_core::volume::Setback;

use super::sheep::Fate;
use super::sheep::CELLS;

/// Objects of the VDI.
pub const OBJECTS: u32 = 4;

#[derive(Clone, Debug)]
pub enum Event {
    Submit {
        write: bool,
        object: u32,
        first: usize,
        count: usize,
    },
    Execute {
        pick: usize,
        fate: Fate,
    },
    Deliver {
        pick: usize,
    },
    /// A reply that nobody asked for.
    Forge {
        ticket: u32,
        back: u32,
        opcode: u8,
    },
    Pop {
        pick: usize,
    },
    /// Somebody who was called is decided anew.
    Decide {
        pick: usize,
    },
    /// The thread of the mapping wakes up, or goes on with its walk.
    Serve,
    Pass {
        ms: u64,
    },
    /// Something happens to the connections, if it can.
    Outage(Outage),
    /// A gateway executes what was abandoned.
    Haunt {
        pick: usize,
    },
    Crash {
        seed: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Outage {
    Break {
        link: usize,
    },
    Lose(Loss),
    /// What becomes of the requests on the link comes from the seed.
    Release {
        link: usize,
        seed: usize,
    },
    Give {
        pick: usize,
    },
    Attempt(Option<Setback>),
    Up,
    Close,
}

fn fate() -> impl Strategy<Value = Fate> {
    let result = prop_oneof![1u32..0x20, 0x81u32..0x9a, 1..=u32::MAX];
    let fails = (result, any::<bool>(), any::<bool>());
    let fails = fails.prop_map(|(result, applied, stray)| Fate::Fails {
        result,
        applied,
        stray,
    });
    prop_oneof![4 => Just(Fate::Works), 1 => fails]
}

fn outage() -> impl Strategy<Value = Outage> {
    let loss = prop_oneof![
        Just(Loss::Broken),
        Just(Loss::Stuck),
        Just(Loss::Leaving),
        Just(Loss::Lied)
    ];
    let setback = prop_oneof![Just(Setback::Answered), Just(Setback::Silent)];
    let release = (any::<usize>(), any::<usize>());
    prop_oneof![
        20 => any::<usize>().prop_map(|link| Outage::Break { link }),
        20 => loss.prop_map(Outage::Lose),
        100 => release.prop_map(|(link, seed)| Outage::Release { link, seed }),
        50 => any::<usize>().prop_map(|pick| Outage::Give { pick }),
        80 => prop::option::weighted(0.3, setback).prop_map(Outage::Attempt),
        80 => Just(Outage::Up),
        1 => Just(Outage::Close),
    ]
}

pub fn event() -> impl Strategy<Value = Event> {
    let place = (0..OBJECTS, 0..CELLS, 1..=CELLS);
    let submit = (prop::bool::weighted(0.7), place).prop_map(|(write, (object, first, count))| {
        let cells = if object == OBJECTS - 1 {
            CELLS / 2
        } else {
            CELLS
        };
        let first = first % cells;
        Event::Submit {
            write,
            object,
            first,
            count: count.min(cells - first),
        }
    });
    let execute = (any::<usize>(), fate());
    let forge = (any::<u32>(), 1..5u32, 0..4u8);
    let forge = forge.prop_map(|(ticket, back, opcode)| Event::Forge {
        ticket,
        back,
        opcode,
    });
    let outage = outage().prop_map(Event::Outage);
    prop_oneof![
        30 => submit,
        30 => execute.prop_map(|(pick, fate)| Event::Execute { pick, fate }),
        30 => any::<usize>().prop_map(|pick| Event::Deliver { pick }),
        10 => any::<usize>().prop_map(|pick| Event::Pop { pick }),
        3 => forge,
        20 => any::<usize>().prop_map(|pick| Event::Decide { pick }),
        30 => Just(Event::Serve),
        10 => prop_oneof![0u64..200, 0u64..50_000].prop_map(|ms| Event::Pass { ms }),
        30 => outage,
        5 => any::<usize>().prop_map(|pick| Event::Haunt { pick }),
        1 => any::<usize>().prop_map(|seed| Event::Crash { seed }),
    ]
}
