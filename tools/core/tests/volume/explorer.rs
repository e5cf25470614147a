// SPDX-License-Identifier: GPL-2.0

//! Every way that a few requests can go: all orders of issue, execution, failure and reply.
//!
//! The guest issues three requests; at each moment the next may be issued, any received one
//! executed or failed, any reply delivered, any released waiter decided anew. States that were seen
//! are not entered again. The client may die in any of them, so what the cluster holds is checked
//! in each.

use std::collections::HashSet;
use std::hash::DefaultHasher;
use std::hash::Hasher;

use sheepdog_core::proto::SdResult;
use sheepdog_core::volume::Op;

use super::history::Cells;
use super::sheep::Fate;
use super::sheep::OWN;
use super::sheep::PARENT;
use super::shell::World;

const OBJECTS: u32 = 2;

const FATES: [Fate; 3] = [
    Fate::Works,
    Fate::Fails {
        result: SdResult::NO_SPACE.0,
        applied: false,
        stray: false,
    },
    Fate::Fails {
        result: SdResult::HALT.0,
        applied: true,
        stray: false,
    },
];

type Wish = (Op, Cells);

struct Explorer {
    wishes: Vec<Wish>,
    seen: HashSet<u64>,
    ends: u64,
}

impl Explorer {
    /// Goes on from `world`, where the first `issued` wishes were issued.
    fn explore(&mut self, mut world: World, issued: usize) {
        world.pop_all();
        let mut hasher = DefaultHasher::new();
        world.digest(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return;
        }
        world.check();
        let mut end = true;
        if let Some((op, cells)) = self.wishes.get(issued).copied() {
            let mut next = world.fork();
            next.submit(issued as u32, op, cells, issued as u32 + 1);
            self.explore(next, issued + 1);
            end = false;
        }
        for id in world.sheep.received.keys() {
            for fate in FATES {
                let mut next = world.fork();
                next.sheep.execute(*id, fate);
                self.explore(next, issued);
            }
            end = false;
        }
        for id in world.sheep.answers.keys() {
            let mut next = world.fork();
            next.deliver(*id);
            self.explore(next, issued);
            end = false;
        }
        for pick in 0..world.popped.len() {
            let mut next = world.fork();
            next.decide_popped(pick);
            self.explore(next, issued);
            end = false;
        }
        if end {
            world.check_end();
            self.ends += 1;
        }
    }
}

fn wishes() -> Vec<Wish> {
    // The same place, another place of the same object, another object.
    let places = [(0, 0, 1), (0, 1, 1), (1, 0, 1)];
    let mut wishes = Vec::new();
    for op in [Op::Read, Op::Write] {
        for (object, first, count) in places {
            let cells = Cells {
                object,
                first,
                count,
            };
            wishes.push((op, cells));
        }
    }
    wishes
}

/// Explores all triples of wishes on a VDI whose objects begin as `entry`; returns the number of
/// states and of ends.
fn explore_all(entry: u32) -> (usize, u64) {
    let (mut states, mut ends) = (0, 0);
    // Which object comes first makes no difference.
    for first in wishes().into_iter().filter(|(_, cells)| cells.object == 0) {
        for second in wishes() {
            for third in wishes() {
                let mut explorer = Explorer {
                    wishes: vec![first, second, third],
                    seen: HashSet::new(),
                    ends: 0,
                };
                let map = vec![entry; OBJECTS as usize];
                let world = World::new(u64::from(OBJECTS) << 20, map, 3);
                explorer.explore(world, 0);
                states += explorer.seen.len();
                ends += explorer.ends;
            }
        }
    }
    println!("{states} states, {ends} ends");
    (states, ends)
}

#[test]
fn three_requests_on_holes_in_every_order() {
    let (states, ends) = explore_all(0);
    assert!(states > 10_000 && ends > 144);
}

#[test]
fn three_requests_on_own_objects_in_every_order() {
    let (states, ends) = explore_all(OWN.raw());
    assert!(states > 10_000 && ends > 144);
}

#[test]
fn three_requests_on_inherited_objects_in_every_order() {
    let (states, ends) = explore_all(PARENT.raw());
    assert!(states > 10_000 && ends > 144);
}
