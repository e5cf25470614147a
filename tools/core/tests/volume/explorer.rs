// SPDX-License-Identifier: GPL-2.0

//! Every way that a few requests can go: all orders of everything that can happen to them.
//!
//! At each moment the guest may issue its next request, the cluster execute or fail any it has
//! received, a reply arrive, somebody who was called be decided anew, a connection be lost and taken
//! apart link by link, an attempt to connect succeed or fail, a gateway execute what was abandoned,
//! time pass until the next thing that the desk waits for. What does harm is limited by a
//! [`Budget`]. States that were seen are not entered again. The client may die in any of them, so
//! what the cluster holds is checked in each.
//!
//! Without further harm every way has to lead to an end at which nothing is left to do: one that
//! comes back to a state that it was in before is an error, and so is one that stops.

use std::collections::HashMap;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;

use sheepdog_core::proto::SdResult;
use sheepdog_core::volume::Errand;
use sheepdog_core::volume::Loss;
use sheepdog_core::volume::Op;
use sheepdog_core::volume::Setback;

use super::budget::Budget;
use super::history::Cells;
use super::outage::End;
use super::sheep::Fate;
use super::world::Link;
use super::world::World;

/// A session that lasts so long is a success, and a gateway that was heard of has no zombies.
const DELAY_MS: u64 = 5_000;

pub type Wish = (Op, Cells);

/// One event on the way. When a check fails all of them are printed, the last one first.
struct Mark(&'static str, u32, u64);

impl Drop for Mark {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after {} {} at {} ms", self.0, self.1, self.2);
        }
    }
}

pub struct Explorer {
    wishes: Vec<Wish>,
    /// States, and whether the way that is being gone has led through them.
    seen: HashMap<u64, bool>,
    ends: u64,
}

impl Explorer {
    /// Goes all ways from `world`; returns the number of states and of ends.
    pub fn run(world: World, wishes: Vec<Wish>, budget: Budget) -> (usize, u64) {
        let mut explorer = Self {
            wishes,
            seen: HashMap::new(),
            ends: 0,
        };
        explorer.explore(world, 0, budget);
        (explorer.seen.len(), explorer.ends)
    }

    /// Goes on from `world`, where the first `issued` wishes were issued.
    fn explore(&mut self, mut world: World, issued: usize, budget: Budget) {
        world.pop_all();
        if world.attaching && (budget.losses, budget.closes) == (0, 0) {
            world.up();
        }
        world.serve();
        let mut hasher = DefaultHasher::new();
        world.digest(&mut hasher);
        (issued, budget).hash(&mut hasher);
        let state = hasher.finish();
        match self.seen.insert(state, true) {
            None => {}
            Some(false) => {
                self.seen.insert(state, false);
                return;
            }
            Some(true) => panic!("the world goes round in circles"),
        }
        world.check();
        if !self.go_on(&world, issued, budget) {
            world.check_end();
            self.ends += 1;
        }
        if !world.is_quiet() || issued < self.wishes.len() {
            self.do_harm(&world, issued, budget);
        }
        self.seen.insert(state, false);
    }

    /// Explores what `change` makes of a copy of `world`.
    fn follow(
        &mut self,
        world: &World,
        (issued, budget): (usize, Budget),
        (name, number): (&'static str, u32),
        change: impl FnOnce(&mut World),
    ) {
        let _mark = Mark(name, number, world.now_ms);
        let mut next = world.fork();
        change(&mut next);
        self.explore(next, issued, budget);
    }

    /// All that happens sooner or later; whether there is anything.
    fn go_on(&mut self, world: &World, issued: usize, budget: Budget) -> bool {
        let now = (issued, budget);
        let mut any = false;
        if let Some((op, cells)) = self.wishes.get(issued).copied() {
            self.follow(
                world,
                (issued + 1, budget),
                ("submit", issued as u32),
                |next| {
                    next.submit(issued as u32, op, cells, issued as u32 + 1);
                },
            );
            any = true;
        }
        for id in world.sheep.received.keys() {
            self.follow(world, now, ("execute", *id), |next| {
                next.sheep.execute(*id, Fate::Works)
            });
            any = true;
        }
        for id in world.sheep.answers.keys() {
            self.follow(world, now, ("deliver", *id), |next| next.deliver(*id));
            any = true;
        }
        for pick in 0..world.called.len() {
            self.follow(world, now, ("decide", world.called[pick]), |next| {
                next.decide_called(pick)
            });
            any = true;
        }
        for id in world.sheep.abandoned.keys() {
            self.follow(world, now, ("execute abandoned", *id), |next| {
                next.sheep.execute_abandoned(*id)
            });
            any = true;
        }
        for ticket in world.held() {
            self.follow(world, now, ("give", ticket), |next| next.give_held(ticket));
            any = true;
        }
        self.connections(world, now) || any
    }

    /// What happens to the connections by itself.
    fn connections(&mut self, world: &World, now: (usize, Budget)) -> bool {
        let mut any = false;
        if world.attaching {
            self.follow(world, now, ("up", 0), World::up);
            any = true;
        }
        for link in 0..world.links.len() {
            if world.links[link] == Link::Broken {
                if world.can_lose() {
                    self.follow(world, now, ("tell", 0), |next| next.lose(Loss::Broken));
                } else {
                    self.release(world, now, link);
                }
                any = true;
            }
        }
        match world.errand {
            Errand::Connect { .. } => {
                self.follow(world, now, ("connect", 0), World::connect);
                any = true;
            }
            Errand::Sleep(until_ms) => {
                self.follow(world, now, ("pass", 0), |next| next.pass_until(until_ms));
                any = true;
            }
            Errand::None | Errand::Probe { .. } | Errand::End => {}
        }
        any
    }

    /// Takes a link apart, with every end for every request on it.
    fn release(&mut self, world: &World, now: (usize, Budget), link: usize) {
        const ENDS: [End; 3] = [End::Dropped, End::Held, End::Zombie];
        let tickets = world.unexecuted(link);
        for choice in 0..ENDS.len().pow(tickets.len() as u32) {
            let end = |ticket| {
                let place = tickets.iter().position(|one| *one == ticket);
                let digits = ENDS.len().pow(place.expect("on the link") as u32);
                ENDS[choice / digits % ENDS.len()]
            };
            self.follow(world, now, ("release", choice as u32), |next| {
                next.release(link, end)
            });
        }
    }

    /// All that may go wrong.
    fn do_harm(&mut self, world: &World, issued: usize, budget: Budget) {
        if world.can_lose() {
            if let Some(losses) = budget.losses.checked_sub(1) {
                let rest = Budget { losses, ..budget };
                for loss in [Loss::Broken, Loss::Stuck] {
                    self.follow(world, (issued, rest), ("lose", loss as u32), |next| {
                        next.lose(loss)
                    });
                }
                if let Some(breaks) = budget.breaks.checked_sub(1) {
                    for link in 0..world.links.len() {
                        if world.links[link] == Link::Usable {
                            let rest = Budget { breaks, ..rest };
                            self.follow(world, (issued, rest), ("break", link as u32), |next| {
                                next.breaks(link)
                            });
                        }
                    }
                }
            }
        }
        if let (Errand::Connect { .. }, Some(setbacks)) =
            (world.errand, budget.setbacks.checked_sub(1))
        {
            let rest = Budget { setbacks, ..budget };
            for setback in [Setback::Answered, Setback::Silent] {
                self.follow(
                    world,
                    (issued, rest),
                    ("fail to connect", setback as u32),
                    |next| next.fail_to_connect(setback),
                );
            }
        }
        if let Some(delays) = budget.delays.checked_sub(1) {
            let rest = Budget { delays, ..budget };
            let then_ms = world.now_ms + DELAY_MS;
            self.follow(world, (issued, rest), ("delay", 0), |next| {
                next.pass_until(then_ms);
            });
        }
        if let Some(closes) = budget.closes.checked_sub(1) {
            let rest = Budget { closes, ..budget };
            self.follow(world, (issued, rest), ("close", 0), World::close);
        }
        for (result, rest) in [
            (SdResult::NO_SPACE, budget.after_failure()),
            (SdResult::HALT, budget.after_wait()),
            (SdResult::SHUTDOWN, budget.after_leave()),
        ] {
            let Some(rest) = rest else {
                continue;
            };
            for id in world.sheep.received.keys() {
                for applied in [false, true] {
                    let fate = Fate::Fails {
                        result: result.0,
                        applied,
                        stray: false,
                    };
                    self.follow(world, (issued, rest), ("fail", *id), |next| {
                        next.sheep.execute(*id, fate)
                    });
                }
            }
        }
    }
}
