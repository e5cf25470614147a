// SPDX-License-Identifier: GPL-2.0

//! The connections of the modelled driver: lost, let go of, made anew, as the kernel module's
//! `recovery.rs` and `link.rs` do it.

use sheepdog_core::volume::Admission;
use sheepdog_core::volume::Desk;
use sheepdog_core::volume::Errand;
use sheepdog_core::volume::Loss;
use sheepdog_core::volume::Setback;

use super::world::Link;
use super::world::Place;
use super::world::Request;
use super::world::World;

/// What becomes of a request that was given to a link and not executed when the link is taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Nobody executes it: it was sent in part, or the reset discarded it.
    Dropped,
    /// The gateway has read it, and may execute it.
    Zombie,
    /// It came too late for the connection: nothing of it was sent. The shell still has it.
    Held,
}

/// How long an attempt takes that nobody answers.
const SILENCE_MS: u64 = 3_000;

impl World {
    /// A link takes no more requests, and nobody was told why yet.
    pub fn breaks(&mut self, link: usize) {
        assert_eq!(self.links[link], Link::Usable);
        self.links[link] = Link::Broken;
    }

    /// A loss is told.
    pub fn lose(&mut self, loss: Loss) {
        if self.desk.session_mut().lost(loss, self.now_ms) {
            self.attaching = false;
            self.stuck = loss == Loss::Stuck;
            self.break_all();
        }
    }

    /// The mapping ends by force.
    pub fn close(&mut self) {
        self.desk.close();
        self.attaching = false;
        self.break_all();
    }

    fn break_all(&mut self) {
        for link in &mut self.links {
            if *link == Link::Usable {
                *link = Link::Broken;
            }
        }
    }

    /// Requests on a link that were not executed, by ticket.
    pub fn unexecuted(&self, link: usize) -> Vec<u32> {
        let tickets = self.on_link(link);
        let received = &self.sheep.received;
        let executes = |(ticket, id)| received.contains_key(&id).then_some(ticket);
        tickets.into_iter().filter_map(executes).collect()
    }

    /// Tickets and ids of requests on a link.
    fn on_link(&self, link: usize) -> Vec<(u32, u32)> {
        let tickets = 0..self.requests.len() as u32;
        let sent = |ticket: u32| match self.requests[ticket as usize].as_ref()?.place {
            Place::Sent(_, id) if self.link_of(ticket) == link => Some((ticket, id.raw())),
            _ => None,
        };
        tickets.filter_map(sent).collect()
    }

    /// A link whose loss was told is taken apart: what is on it is lost, then it is released.
    pub fn release(&mut self, link: usize, mut end: impl FnMut(u32) -> End) {
        assert_eq!(self.links[link], Link::Broken);
        for (ticket, id) in self.on_link(link) {
            if self.sheep.received.contains_key(&id) {
                match end(ticket) {
                    End::Dropped => drop(self.sheep.received.remove(&id)),
                    End::Zombie => {
                        self.sheep
                            .abandon(id, self.gateway, self.now_ms, self.stuck);
                    }
                    End::Held => {
                        self.sheep.received.remove(&id);
                        let request = self.request(ticket);
                        if let Place::Sent(step, _) = request.place {
                            request.place = Place::Held(step);
                        }
                        continue;
                    }
                }
            } else {
                let _ = self.sheep.take_answer(id);
            }
            self.consult(ticket, Desk::lost);
        }
        self.links[link] = Link::Free;
        self.desk.session_mut().released();
    }

    /// Tickets of requests that are to be given to their link.
    pub fn held(&self) -> Vec<u32> {
        let places = (0..).zip(&self.requests);
        let held = |(ticket, request): (u32, &Option<Request>)| match request.as_ref()?.place {
            Place::Held(_) => Some(ticket),
            _ => None,
        };
        places.filter_map(held).collect()
    }

    /// The attempt that the errand asks for succeeds.
    pub fn connect(&mut self) {
        let Errand::Connect { gateway, .. } = self.errand else {
            panic!("nobody wants to connect");
        };
        let links = self.links.len() as u32;
        self.sheep.hear(gateway, self.now_ms);
        if self.desk.session_mut().connected(links) {
            let free = self.links.iter().all(|link| *link == Link::Free);
            assert!(free, "a new connection beside an old one");
            self.gateway = gateway;
            self.links.fill(Link::Usable);
            self.attaching = true;
        }
    }

    /// The attempt that the errand asks for fails.
    pub fn fail_to_connect(&mut self, setback: Setback) {
        let Errand::Connect {
            gateway, until_ms, ..
        } = self.errand
        else {
            panic!("nobody wants to connect");
        };
        match setback {
            Setback::Answered => self.sheep.hear(gateway, self.now_ms),
            Setback::Silent => {
                let end_ms = self.now_ms + SILENCE_MS;
                self.pass_until(until_ms.map_or(end_ms, |until_ms| until_ms.min(end_ms)));
            }
        }
        self.desk.session_mut().failed(setback, self.now_ms);
    }

    /// All links have their connection.
    pub fn up(&mut self) {
        assert!(self.attaching);
        self.attaching = false;
        assert!(self.desk.up(self.now_ms).is_some());
    }

    /// Whether connections can be lost: those that there are were not told to be.
    pub fn can_lose(&self) -> bool {
        self.attaching || self.desk.session().admission() == Admission::Send
    }

    /// Time goes on.
    pub fn pass_until(&mut self, then_ms: u64) {
        self.now_ms = self.now_ms.max(then_ms);
        self.sheep.bury(self.now_ms);
    }

    /// What the thread of the mapping does when it is woken, whatever for.
    pub fn serve(&mut self) {
        while self.walk_on() {}
        self.begin_walk();
        while self.walk_on() {}
        self.errand = self.desk.errand(self.now_ms);
    }

    /// A walk has to be gone to its end: the next does not call whom it would have called.
    pub fn begin_walk(&mut self) {
        assert!(self.walk.is_none(), "a walk is given up");
        self.desk.session_mut().gives_up(self.now_ms);
        self.walk = Some(self.desk.walk(self.now_ms));
    }

    /// Calls one of those who can go on; whether there was one.
    pub fn walk_on(&mut self) -> bool {
        let walk = self.walk.as_mut();
        let Some(ticket) = walk.and_then(|walk| self.desk.pop(walk)) else {
            self.walk = None;
            return false;
        };
        self.call(ticket);
        true
    }
}
