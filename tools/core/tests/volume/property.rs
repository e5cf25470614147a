// SPDX-License-Identifier: GPL-2.0

//! Arbitrary requests, executed and answered in any order, with failures, lost connections and
//! dead clients in between. `PROPTEST_CASES` says how many streams; the default is 256.

use proptest::collection::vec;
use proptest::prelude::*;
use sheepdog_core::proto::response::REPLY_ARM_LEN;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::SdResult;
use sheepdog_core::volume::Op;

use super::history::Cells;
use super::sheep::Answer;
use super::sheep::Fate;
use super::sheep::CELLS;
use super::sheep::OWN;
use super::sheep::PARENT;
use super::shell::World;

const OBJECTS: u32 = 4;
/// The last object is half behind the VDI's end.
const SIZE_BYTES: u64 = (OBJECTS as u64 - 1) * (1 << 20) + (1 << 19);

#[derive(Clone, Debug)]
enum Event {
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
    /// Which of the requests under way are executed, and in which order, comes from the seed.
    Disconnect {
        seed: usize,
    },
    Crash {
        seed: usize,
    },
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

fn event() -> impl Strategy<Value = Event> {
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
    prop_oneof![
        30 => submit,
        30 => execute.prop_map(|(pick, fate)| Event::Execute { pick, fate }),
        30 => any::<usize>().prop_map(|pick| Event::Deliver { pick }),
        10 => any::<usize>().prop_map(|pick| Event::Pop { pick }),
        3 => forge,
        1 => any::<usize>().prop_map(|seed| Event::Disconnect { seed }),
        1 => any::<usize>().prop_map(|seed| Event::Crash { seed }),
    ]
}

fn nth<T: Copy>(mut keys: impl ExactSizeIterator<Item = T>, pick: usize) -> Option<T> {
    match keys.len() {
        0 => None,
        len => keys.nth(pick % len),
    }
}

fn fates(mut seed: usize) -> impl FnMut(usize) -> (usize, bool) {
    move |len| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        ((seed >> 32) % len, seed >> 63 == 0)
    }
}

fn forged(world: &World, ticket: u32, back: u32, opcode: u8) -> Answer {
    let header = ResponseHeader {
        proto_ver: 0,
        opcode: Opcode(opcode),
        flags: 0,
        epoch: 1,
        id: world.old_id(ticket, back).raw(),
        data_length: 0,
        result: SdResult::SUCCESS,
        arm: [0; REPLY_ARM_LEN],
    };
    Answer {
        header: header.to_bytes(),
        contents: Vec::new(),
    }
}

fn run(map: Vec<u32>, tickets: u16, events: Vec<Event>) {
    let mut world = World::new(SIZE_BYTES, map, tickets);
    let mut content = 0;
    for event in events {
        match event {
            Event::Submit {
                write,
                object,
                first,
                count,
            } => {
                let cells = Cells {
                    object,
                    first,
                    count,
                };
                let free = (0..u32::from(tickets)).find(|ticket| world.is_free(*ticket));
                if let Some(ticket) = free {
                    content += 1;
                    let op = if write { Op::Write } else { Op::Read };
                    world.submit(ticket, op, cells, content);
                }
            }
            Event::Execute { pick, fate } => {
                if let Some(id) = nth(world.sheep.received.keys().copied(), pick) {
                    world.sheep.execute(id, fate);
                }
            }
            Event::Deliver { pick } => {
                if let Some(id) = nth(world.sheep.answers.keys().copied(), pick) {
                    world.deliver(id);
                }
            }
            Event::Forge {
                ticket,
                back,
                opcode,
            } => {
                let answer = forged(&world, ticket % u32::from(tickets), back, opcode);
                assert!(!world.arrive(&answer), "a forged reply was believed");
            }
            Event::Pop { pick } => world.pop(pick),
            Event::Disconnect { seed } => world.disconnect(fates(seed)),
            Event::Crash { seed } => world.crash(fates(seed)),
        }
        world.check();
    }
    finish(&mut world);
}

/// From here on nothing fails: every request has to end.
fn finish(world: &mut World) {
    loop {
        if let Some(id) = nth(world.sheep.received.keys().copied(), 0) {
            world.sheep.execute(id, Fate::Works);
        } else if let Some(id) = nth(world.sheep.answers.keys().copied(), 0) {
            world.deliver(id);
        } else if !world.is_settled() {
            world.pop(0);
        } else {
            break;
        }
    }
    world.check_end();
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_writes_are_seen_and_stay_and_no_request_is_lost(
        map in vec(prop_oneof![Just(0), Just(OWN.raw()), Just(PARENT.raw())], OBJECTS as usize),
        tickets in 1u16..12,
        events in vec(event(), 1..250),
    ) {
        run(map, tickets, events);
    }
}
