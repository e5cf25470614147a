// SPDX-License-Identifier: GPL-2.0

//! The driver's shell as a model: it holds the object map, parks and sends requests and takes
//! replies, and leaves every decision to `volume`, just as the kernel module's `request.rs` does.

use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::volume::plan;
use sheepdog_core::volume::reply;
use sheepdog_core::volume::Desk;
use sheepdog_core::volume::Entry;
use sheepdog_core::volume::Extent;
use sheepdog_core::volume::Failure;
use sheepdog_core::volume::Incoming;
use sheepdog_core::volume::Loss;
use sheepdog_core::volume::Node;
use sheepdog_core::volume::Op;
use sheepdog_core::volume::Outcome;
use sheepdog_core::volume::Payload;
use sheepdog_core::volume::Plan;
use sheepdog_core::volume::Seat;
use sheepdog_core::volume::Step;
use sheepdog_core::volume::Verdict;
use sheepdog_core::volume::WireId;
use sheepdog_core::volume::Work;
use sheepdog_core::volume::Zombie;

use super::history::Cells;
use super::history::Content;
use super::sheep::Answer;
use super::sheep::Body;
use super::sheep::CELL_BYTES;
use super::sheep::OWN;
use super::world::Link;
use super::world::Place;
use super::world::Request;
use super::world::World;

type AnyDesk = Desk<Vec<Node>, Vec<Option<Zombie>>, Vec<Seat>>;

impl World {
    fn extent(&self, cells: Cells) -> Extent {
        let offset = (u64::from(cells.object) << 20) + cells.first as u64 * u64::from(CELL_BYTES);
        let len = cells.count as u32 * CELL_BYTES;
        self.geometry
            .extent(offset, len)
            .expect("a range of the VDI")
    }

    fn entry(&self, object: u32) -> Entry {
        Entry::decode(self.map[object as usize], OWN).expect("an honest map")
    }

    /// The guest starts a request. A write puts `content` in its cells.
    pub fn submit(&mut self, ticket: u32, op: Op, cells: Cells, content: Content) {
        let mut gone = Vec::new();
        match op {
            Op::Write => self.history.start(content, cells),
            Op::Read => {
                let each = cells
                    .iter()
                    .map(|cell| self.history.gone(cells.object, cell));
                gone.extend(each);
            }
        }
        let request = Request {
            work: Work::new(op, self.extent(cells)),
            cells,
            place: Place::Called,
            since_ms: self.now_ms,
            content,
            gone,
        };
        let before = self.requests[ticket as usize].replace(request);
        assert!(before.is_none(), "a ticket used twice");
        self.begun += 1;
        self.decide(ticket);
    }

    pub fn request(&mut self, ticket: u32) -> &mut Request {
        let request = self.requests[ticket as usize].as_mut();
        request.expect("a request that has not ended")
    }

    /// The link of a ticket.
    pub fn link_of(&self, ticket: u32) -> usize {
        ticket as usize % self.links.len()
    }

    /// What a request needs first, without the desk where it is not needed.
    pub fn decide(&mut self, ticket: u32) {
        let work = self.request(ticket).work;
        let entry = self.entry(work.extent.idx);
        if self.desk.is_open() && work.is_plain() {
            match plan(work.op, entry) {
                Plan::Zeroes => return self.end_as_zeroes(ticket),
                Plan::Send(step) => return self.give(ticket, step),
                Plan::Create(_) => {}
            }
        }
        self.consult(ticket, Desk::decide);
    }

    /// Asks the desk, and does what it says.
    pub fn consult(
        &mut self,
        ticket: u32,
        question: impl FnOnce(&mut AnyDesk, u32, &mut Work, Entry, (u64, u32)) -> Verdict,
    ) {
        let Request {
            mut work, since_ms, ..
        } = *self.request(ticket);
        let entry = self.entry(work.extent.idx);
        let times = (self.now_ms, (self.now_ms - since_ms) as u32);
        let verdict = question(&mut self.desk, ticket, &mut work, entry, times);
        self.request(ticket).work = work;
        match verdict {
            Verdict::Zeroes => self.end_as_zeroes(ticket),
            Verdict::Send(step) => self.give(ticket, step),
            Verdict::Wait(_) => self.request(ticket).place = Place::Waiting,
            Verdict::Fail(failure) => self.fail(ticket, failure),
        }
    }

    /// Gives a step to the link, or to the desk again if the link takes nothing.
    fn give(&mut self, ticket: u32, step: Step) {
        self.request(ticket).work.step = Some(step);
        if self.links[self.link_of(ticket)] != Link::Usable {
            return self.consult(ticket, |desk, ticket, work, entry, times| {
                desk.turned_away(ticket, work, entry, times, false)
            });
        }
        let id = self.ids[ticket as usize].next();
        self.ids[ticket as usize] = id;
        let request = self.request(ticket);
        request.place = Place::Sent(step, id);
        let (content, extent) = (request.content, request.work.extent);
        let body = match step.payload(&self.geometry) {
            Payload::None => Body::None,
            Payload::Data => Body::Data(content),
            Payload::MapEntry(bytes) => Body::MapEntry(bytes),
        };
        let header = step.header(&self.geometry, &extent, id.raw());
        self.sheep.receive(&header, body);
    }

    /// A step that took its time arrives at the link.
    pub fn give_held(&mut self, ticket: u32) {
        let Place::Held(step) = self.request(ticket).place else {
            panic!("nothing is held");
        };
        self.give(ticket, step);
    }

    /// The reply to the request `id` arrives.
    pub fn deliver(&mut self, id: u32) {
        let answer = self.sheep.take_answer(id);
        assert!(self.arrive(&answer), "nobody takes the reply");
    }

    /// Some reply arrives; whether it was for a request in flight.
    pub fn arrive(&mut self, answer: &Answer) -> bool {
        let header = ResponseHeader::from_bytes(&answer.header);
        let Some(id) = WireId::from_raw(header.id) else {
            return false;
        };
        let ticket = u32::from(id.tag());
        let (step, extent) = match self.requests.get(ticket as usize) {
            Some(Some(request)) => match request.place {
                Place::Sent(step, sent) if sent == id => (step, request.work.extent),
                _ => return false,
            },
            _ => return false,
        };
        let meaning = reply(step, &extent, &header).expect("an honest reply");
        let taken = match meaning.payload {
            Incoming::None => 0,
            Incoming::Data => extent.len,
            Incoming::Discard(len) => len,
        };
        assert_eq!(taken, header.data_length, "the stream is out of step");
        match meaning.outcome {
            Outcome::Done => match step {
                Step::Read { .. } => self.end_read(ticket, &answer.contents),
                _ => self.end_write(ticket, true),
            },
            Outcome::Next(_) => self.consult(ticket, Desk::created),
            Outcome::Created => {
                self.map[extent.idx as usize] = OWN.raw();
                self.end_write(ticket, true);
            }
            Outcome::Fail(Failure::Unavailable(_)) => self.consult(ticket, Desk::postpone),
            Outcome::Fail(Failure::Leaving(_)) => {
                self.lose(Loss::Leaving);
                self.consult(ticket, Desk::lost);
            }
            Outcome::Fail(failure) => self.fail(ticket, failure),
        }
        true
    }

    fn fail(&mut self, ticket: u32, failure: Failure) {
        match failure {
            Failure::Nonsense => panic!("the desk takes the shell for broken"),
            Failure::Timeout => assert!(self.setup.io_timeout_ms.is_some(), "it has no limit"),
            _ => {}
        }
        match self.request(ticket).work.op {
            Op::Read => drop(self.take(ticket)),
            Op::Write => self.end_write(ticket, false),
        }
    }

    /// One waiter of one list comes out and is decided anew.
    pub fn pop(&mut self, pick: usize) {
        if self.waiters.is_empty() {
            return;
        }
        let list = pick % self.waiters.len();
        let waiters = &mut self.waiters[list];
        let ticket = self.desk.pop_waiter(waiters).expect("a waiter");
        if waiters.is_empty() {
            let _ = self.waiters.remove(list);
        }
        self.decide(ticket);
    }

    /// All waiters come out, to be decided anew later.
    pub fn pop_all(&mut self) {
        for mut waiters in std::mem::take(&mut self.waiters) {
            while let Some(ticket) = self.desk.pop_waiter(&mut waiters) {
                self.call(ticket);
            }
        }
    }

    /// A ticket that came out of the desk.
    pub fn call(&mut self, ticket: u32) {
        let place = &mut self.request(ticket).place;
        assert_eq!(*place, Place::Waiting, "called without waiting");
        *place = Place::Called;
        self.called.push(ticket);
    }

    /// A called ticket is decided anew.
    pub fn decide_called(&mut self, pick: usize) {
        let ticket = self.called.remove(pick);
        self.decide(ticket);
    }

    /// The request has ended. Who waited for it is released, under the same lock.
    fn take(&mut self, ticket: u32) -> Request {
        self.ended += 1;
        let request = self.requests[ticket as usize].take();
        let request = request.expect("a request that has not ended");
        if !request.work.is_plain() {
            let waiters = self.desk.ended(ticket, &request.work);
            self.waiters
                .extend(waiters.filter(|waiters| !waiters.is_empty()));
        }
        request
    }

    fn end_as_zeroes(&mut self, ticket: u32) {
        let count = self.request(ticket).cells.count;
        self.end_read(ticket, &vec![0; count]);
    }

    fn end_read(&mut self, ticket: u32, contents: &[Content]) {
        let request = self.take(ticket);
        let object = request.cells.object;
        assert_eq!(contents.len(), request.cells.count);
        for ((cell, gone), seen) in request.cells.iter().zip(&request.gone).zip(contents) {
            let allowed = self.history.allows(gone, object, cell, *seen);
            assert!(allowed, "a read of object {object} cell {cell} sees {seen}");
        }
    }

    fn end_write(&mut self, ticket: u32, acknowledged: bool) {
        let request = self.take(ticket);
        if acknowledged {
            let entry = self.sheep.map[request.cells.object as usize];
            assert_eq!(entry, OWN.raw(), "acknowledged before the map says so");
        }
        self.history.end(request.content, acknowledged);
    }
}
