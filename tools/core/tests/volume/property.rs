// SPDX-License-Identifier: GPL-2.0

//! Arbitrary requests, executed and answered in any order, with failures, lost connections and
//! dead clients in between. `PROPTEST_CASES` says how many streams; the default is 256.

use proptest::collection::vec;
use proptest::prelude::*;
use sheepdog_core::proto::response::REPLY_ARM_LEN;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::SdResult;
use sheepdog_core::volume::Errand;
use sheepdog_core::volume::Loss;
use sheepdog_core::volume::Op;

use super::events::event;
use super::events::Event;
use super::events::Outage;
use super::events::OBJECTS;
use super::history::Cells;
use super::outage::End;
use super::sheep::Answer;
use super::sheep::Fate;
use super::sheep::OWN;
use super::sheep::PARENT;
use super::world::Link;
use super::world::Setup;
use super::world::World;

/// More steps than any world needs in which nothing fails.
const LONGEST_END: u32 = 1_000;
/// The last object is half behind the VDI's end.
const SIZE_BYTES: u64 = (OBJECTS as u64 - 1) * (1 << 20) + (1 << 19);

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

fn ends(mut seed: usize) -> impl FnMut(u32) -> End {
    move |_| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        [End::Dropped, End::Zombie, End::Held][(seed >> 32) % 3]
    }
}

fn carry_out(world: &mut World, outage: Outage) {
    let broken = |link: &Link| *link == Link::Broken;
    match outage {
        Outage::Break { link } => {
            let link = link % world.links.len();
            if world.links[link] == Link::Usable {
                world.breaks(link);
            }
        }
        Outage::Lose(loss) => world.lose(loss),
        Outage::Release { link, seed } => {
            let link = link % world.links.len();
            if broken(&world.links[link]) {
                if world.can_lose() {
                    world.lose(Loss::Broken);
                }
                world.release(link, ends(seed));
            }
        }
        Outage::Give { pick } => {
            let held = world.held();
            if let Some(ticket) = nth(held.into_iter(), pick) {
                world.give_held(ticket);
            }
        }
        Outage::Attempt(setback) => {
            if matches!(world.errand, Errand::Connect { .. }) {
                match setback {
                    None => world.connect(),
                    Some(setback) => world.fail_to_connect(setback),
                }
                world.errand = Errand::None;
            }
        }
        Outage::Up => {
            if world.attaching {
                world.up();
            }
        }
        Outage::Close => world.close(),
    }
}

fn run(setup: Setup, map: Vec<u32>, events: Vec<Event>) {
    let tickets = setup.tickets;
    let mut world = World::new(setup, map);
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
            Event::Decide { pick } => {
                if !world.called.is_empty() {
                    world.decide_called(pick % world.called.len());
                }
            }
            Event::Serve => {
                if world.walk.is_none() {
                    world.begin_walk();
                } else if !world.walk_on() {
                    world.errand = world.desk.errand(world.now_ms);
                }
            }
            Event::Pass { ms } => world.pass_until(world.now_ms + ms),
            Event::Outage(outage) => carry_out(&mut world, outage),
            Event::Haunt { pick } => {
                if let Some(id) = nth(world.sheep.abandoned.keys().copied(), pick) {
                    world.sheep.execute_abandoned(id);
                }
            }
            Event::Crash { seed } => world.crash(fates(seed)),
        }
        world.check();
    }
    finish(&mut world);
}

/// From here on nothing fails: every request has to end.
fn finish(world: &mut World) {
    for _ in 0..LONGEST_END {
        let broken = |link: &Link| *link == Link::Broken;
        let broken = world.links.iter().position(broken);
        world.serve();
        if let Some(id) = nth(world.sheep.received.keys().copied(), 0) {
            world.sheep.execute(id, Fate::Works);
        } else if let Some(id) = nth(world.sheep.answers.keys().copied(), 0) {
            world.deliver(id);
        } else if !world.waiters.is_empty() {
            world.pop(0);
        } else if !world.called.is_empty() {
            world.decide_called(0);
        } else if let Some(ticket) = nth(world.held().into_iter(), 0) {
            world.give_held(ticket);
        } else if let Some(link) = broken {
            carry_out(world, Outage::Release { link, seed: 0 });
        } else if world.attaching {
            world.up();
        } else if matches!(world.errand, Errand::Connect { .. }) {
            world.connect();
        } else if let Errand::Sleep(until_ms) = world.errand {
            world.pass_until(until_ms);
        } else {
            return world.check_end();
        }
    }
    panic!("the world comes to no end");
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_writes_are_seen_and_stay_and_no_request_is_lost(
        map in vec(prop_oneof![Just(0), Just(OWN.raw()), Just(PARENT.raw())], OBJECTS as usize),
        (tickets, links, gateways) in (1u16..12, 1usize..4, 1u32..4),
        io_timeout_ms in prop::option::weighted(0.3, 1u32..20_000),
        places in 0usize..20,
        events in vec(event(), 1..400),
    ) {
        let size_bytes = SIZE_BYTES;
        let setup = Setup { size_bytes, tickets, links, gateways, io_timeout_ms, places };
        run(setup, map, events);
    }
}
