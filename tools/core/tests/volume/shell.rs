// SPDX-License-Identifier: GPL-2.0

//! The driver's shell as a model: it holds the object map, parks and sends requests and takes
//! replies, and leaves every decision to `volume`, just as the kernel module does. Together with
//! the cluster that it talks to and the guest's memory of what it was told, it is a [`World`].

use std::collections::BTreeSet;
use std::hash::Hash;
use std::hash::Hasher;

use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::inode::HEADER_LEN;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::volume::plan;
use sheepdog_core::volume::reply;
use sheepdog_core::volume::Begin;
use sheepdog_core::volume::Creations;
use sheepdog_core::volume::Entry;
use sheepdog_core::volume::Extent;
use sheepdog_core::volume::Geometry;
use sheepdog_core::volume::Incoming;
use sheepdog_core::volume::Node;
use sheepdog_core::volume::Op;
use sheepdog_core::volume::Outcome;
use sheepdog_core::volume::Payload;
use sheepdog_core::volume::Plan;
use sheepdog_core::volume::Step;
use sheepdog_core::volume::Waiters;
use sheepdog_core::volume::WireId;

use super::history::Cells;
use super::history::Content;
use super::history::History;
use super::sheep::Answer;
use super::sheep::Body;
use super::sheep::Fate;
use super::sheep::Sheep;
use super::sheep::CELLS;
use super::sheep::CELL_BYTES;
use super::sheep::OWN;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    /// With the shell, or waiting for a creator.
    Here,
    Sent(Step, WireId),
}

#[derive(Clone, Hash, Debug)]
struct Request {
    op: Op,
    cells: Cells,
    place: Place,
    creates: bool,
    /// A write's content.
    content: Content,
    /// For each cell of a read, what was gone when it started.
    gone: Vec<BTreeSet<Content>>,
}

/// Client, cluster and history.
pub struct World {
    pub sheep: Sheep,
    history: History,
    geometry: Geometry,
    map: Vec<u32>,
    creations: Creations<Vec<Node>>,
    /// Requests by ticket.
    requests: Vec<Option<Request>>,
    /// The last id that each ticket was sent with.
    ids: Vec<WireId>,
    /// Lists that are not popped to the end.
    waiters: Vec<Waiters>,
    /// Tickets that are popped and not yet decided anew.
    pub popped: Vec<u32>,
    begun: u32,
    ended: u32,
}

/// The geometry of the VDI [`OWN`] with objects of 1 MiB.
pub fn geometry(size_bytes: u64) -> Geometry {
    let mut bytes = vec![0; HEADER_LEN];
    bytes[0] = b'v';
    bytes[field::VDI_SIZE..field::VDI_SIZE + 8].copy_from_slice(&size_bytes.to_le_bytes());
    bytes[field::BLOCK_SIZE_SHIFT] = 20;
    bytes[field::VDI_ID..field::VDI_ID + 4].copy_from_slice(&OWN.raw().to_le_bytes());
    let header = InodeHeader::from_prefix(&bytes).unwrap();
    header.geometry(OWN).unwrap().into()
}

impl World {
    /// A VDI of `size_bytes` with this object map, and a client with so many tickets.
    pub fn new(size_bytes: u64, map: Vec<u32>, tickets: u16) -> Self {
        // Contents that no write has: 0 for holes, else a number per object.
        let initial = |(idx, entry): (u32, &u32)| if *entry == 0 { 0 } else { u32::MAX - idx };
        let initial: Vec<Content> = (0..).zip(&map).map(initial).collect();
        Self {
            sheep: Sheep::new(map.clone(), &initial),
            history: History::new(initial),
            geometry: geometry(size_bytes),
            map,
            creations: Creations::new(vec![Node::IDLE; usize::from(tickets)]),
            requests: vec![None; usize::from(tickets)],
            ids: (0..tickets)
                .map(|tag| WireId::new(tag, 0).unwrap())
                .collect(),
            waiters: Vec::new(),
            popped: Vec::new(),
            begun: 0,
            ended: 0,
        }
    }

    /// The same world again.
    pub fn fork(&self) -> Self {
        assert!(self.waiters.is_empty(), "a list of waiters is not copied");
        Self {
            sheep: self.sheep.clone(),
            history: self.history.clone(),
            geometry: self.geometry,
            map: self.map.clone(),
            creations: self.creations.clone(),
            requests: self.requests.clone(),
            ids: self.ids.clone(),
            waiters: Vec::new(),
            popped: self.popped.clone(),
            ..*self
        }
    }

    /// Everything that the future depends on.
    pub fn digest(&self, into: &mut impl Hasher) {
        self.sheep.map.hash(into);
        self.sheep.objects.hash(into);
        for (id, (_, body)) in &self.sheep.received {
            (id, body).hash(into);
        }
        for (id, (_, answer)) in &self.sheep.answers {
            (id, answer.header, &answer.contents).hash(into);
        }
        self.history.hash(into);
        self.map.hash(into);
        self.creations.hash(into);
        self.requests.hash(into);
        self.ids.hash(into);
        self.popped.hash(into);
        (self.begun, self.ended).hash(into);
    }

    pub fn is_free(&self, ticket: u32) -> bool {
        self.requests[ticket as usize].is_none()
    }

    /// Whether the shell has nothing to do until the cluster moves.
    pub fn is_settled(&self) -> bool {
        self.waiters.is_empty() && self.popped.is_empty()
    }

    fn extent(&self, cells: Cells) -> Extent {
        let offset = (u64::from(cells.object) << 20) + cells.first as u64 * u64::from(CELL_BYTES);
        let len = cells.count as u32 * CELL_BYTES;
        self.geometry
            .extent(offset, len)
            .expect("a range of the VDI")
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
            op,
            cells,
            place: Place::Here,
            creates: false,
            content,
            gone,
        };
        let before = self.requests[ticket as usize].replace(request);
        assert!(before.is_none(), "a ticket used twice");
        self.begun += 1;
        self.decide(ticket);
    }

    fn request(&mut self, ticket: u32) -> &mut Request {
        let request = self.requests[ticket as usize].as_mut();
        request.expect("a request that has not ended")
    }

    fn decide(&mut self, ticket: u32) {
        let Request { op, cells, .. } = *self.request(ticket);
        let raw = self.map[cells.object as usize];
        match plan(op, Entry::decode(raw, OWN).expect("an honest map")) {
            Plan::Zeroes => self.end_read(ticket, &vec![0; cells.count]),
            Plan::Send(step) => self.send(ticket, step),
            Plan::Create(step) => match self.creations.begin(ticket, cells.object) {
                Ok(Begin::Start) => {
                    self.request(ticket).creates = true;
                    self.send(ticket, step);
                }
                Ok(Begin::Wait) => self.request(ticket).place = Place::Here,
                Err(misuse) => panic!("{misuse}"),
            },
        }
    }

    fn send(&mut self, ticket: u32, step: Step) {
        let id = self.ids[ticket as usize].next();
        self.ids[ticket as usize] = id;
        let request = self.request(ticket);
        request.place = Place::Sent(step, id);
        let Request { content, cells, .. } = *request;
        let body = match step.payload(&self.geometry) {
            Payload::None => Body::None,
            Payload::Data => Body::Data(content),
            Payload::MapEntry(bytes) => Body::MapEntry(bytes),
        };
        let header = step.header(&self.geometry, &self.extent(cells), id.raw());
        self.sheep.receive(&header, body);
    }

    /// The reply to the request `id` arrives.
    pub fn deliver(&mut self, id: u32) {
        let (_, answer) = self.sheep.answers.remove(&id).expect("a reply");
        assert!(self.arrive(&answer), "nobody takes the reply");
    }

    /// Some reply arrives; whether it was for a request in flight.
    pub fn arrive(&mut self, answer: &Answer) -> bool {
        let header = ResponseHeader::from_bytes(&answer.header);
        let Some(id) = WireId::from_raw(header.id) else {
            return false;
        };
        let ticket = u32::from(id.tag());
        let (step, cells) = match self.requests.get(ticket as usize) {
            Some(Some(request)) => match request.place {
                Place::Sent(step, sent) if sent == id => (step, request.cells),
                _ => return false,
            },
            _ => return false,
        };
        let meaning = reply(step, &self.extent(cells), &header).expect("an honest reply");
        let taken = match meaning.payload {
            Incoming::None => 0,
            Incoming::Data => self.extent(cells).len,
            Incoming::Discard(len) => len,
        };
        assert_eq!(taken, header.data_length, "the stream is out of step");
        match meaning.outcome {
            Outcome::Done => match step {
                Step::Read { .. } => self.end_read(ticket, &answer.contents),
                _ => self.end_write(ticket, true),
            },
            Outcome::Next(step) => self.send(ticket, step),
            Outcome::Created => {
                self.map[cells.object as usize] = OWN.raw();
                self.finish(ticket);
                self.end_write(ticket, true);
            }
            Outcome::Fail(_) => self.fail(ticket),
        }
        true
    }

    fn fail(&mut self, ticket: u32) {
        if self.request(ticket).creates {
            self.finish(ticket);
        }
        match self.request(ticket).op {
            Op::Read => drop(self.take(ticket)),
            Op::Write => self.end_write(ticket, false),
        }
    }

    fn finish(&mut self, ticket: u32) {
        let waiters = self.creations.finish(ticket).expect("a creator");
        if !waiters.is_empty() {
            self.waiters.push(waiters);
        }
    }

    /// One waiter of one list comes out and is decided anew.
    pub fn pop(&mut self, pick: usize) {
        if self.waiters.is_empty() {
            return;
        }
        let list = pick % self.waiters.len();
        let waiters = &mut self.waiters[list];
        let ticket = waiters.pop(&mut self.creations).expect("a waiter");
        if waiters.is_empty() {
            let _ = self.waiters.remove(list);
        }
        self.decide(ticket);
    }

    /// All waiters come out, to be decided anew later.
    pub fn pop_all(&mut self) {
        for mut waiters in std::mem::take(&mut self.waiters) {
            while let Some(ticket) = waiters.pop(&mut self.creations) {
                self.popped.push(ticket);
            }
        }
    }

    /// A popped ticket is decided anew.
    pub fn decide_popped(&mut self, pick: usize) {
        let ticket = self.popped.remove(pick);
        self.decide(ticket);
    }

    fn take(&mut self, ticket: u32) -> Request {
        self.ended += 1;
        let request = self.requests[ticket as usize].take();
        request.expect("a request that has not ended")
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

    /// What must hold at every moment: who opens the VDI now finds all that was acknowledged.
    pub fn check(&self) {
        for object in 0..self.geometry.objects() {
            for cell in 0..CELLS {
                let seen = self.sheep.durable(object, cell);
                let gone = self.history.gone(object, cell);
                let allowed = self.history.allows(&gone, object, cell, seen);
                assert!(allowed, "object {object} cell {cell} holds {seen} for good");
            }
        }
    }

    /// Nothing is left to do.
    pub fn check_end(&self) {
        self.check();
        assert_eq!(self.begun, self.ended, "requests are lost");
        assert!(self.creations.is_idle());
        for (ours, theirs) in self.map.iter().zip(&self.sheep.map) {
            // A map write that failed may have had its effect.
            let known = ours == theirs || *theirs == OWN.raw();
            assert!(known, "the map in memory is ahead of the cluster's");
        }
    }

    /// The connection ends: the cluster executes some of what it has received, in some order, and
    /// every request on the connection fails.
    pub fn disconnect(&mut self, fates: impl FnMut(usize) -> (usize, bool)) {
        self.settle(fates);
        for ticket in 0..self.requests.len() as u32 {
            let sent = |request: &Request| matches!(request.place, Place::Sent(..));
            if self.requests[ticket as usize].as_ref().is_some_and(sent) {
                self.fail(ticket);
            }
        }
    }

    /// The client dies, and another one opens the VDI.
    pub fn crash(&mut self, fates: impl FnMut(usize) -> (usize, bool)) {
        self.settle(fates);
        for ticket in 0..self.requests.len() {
            if let Some(request) = self.requests[ticket].take() {
                self.ended += 1;
                if request.op == Op::Write {
                    self.history.end(request.content, false);
                }
            }
        }
        self.waiters.clear();
        self.popped.clear();
        self.map = self.sheep.map.clone();
        self.creations = Creations::new(vec![Node::IDLE; self.requests.len()]);
    }

    /// `fates` is asked which of so many requests is next, and whether it is executed.
    fn settle(&mut self, mut fates: impl FnMut(usize) -> (usize, bool)) {
        while !self.sheep.received.is_empty() {
            let (pick, executed) = fates(self.sheep.received.len());
            let id = *self
                .sheep
                .received
                .keys()
                .nth(pick)
                .expect("a pick in range");
            if executed {
                self.sheep.execute(id, Fate::Works);
            } else {
                self.sheep.received.remove(&id);
            }
        }
        self.sheep.answers.clear();
    }

    /// An id that `ticket` was sent with `back` sends ago, or will be in a long time.
    pub fn old_id(&self, ticket: u32, back: u32) -> WireId {
        let generation = self.ids[ticket as usize].generation().wrapping_sub(back);
        WireId::new(ticket as u16, generation).unwrap()
    }
}
