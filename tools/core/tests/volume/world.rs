// SPDX-License-Identifier: GPL-2.0

//! Client, cluster and guest together: what there is, what must hold at every moment and at the
//! end. What happens is in [`shell`](super::shell) and [`outage`](super::outage).

use std::collections::BTreeSet;
use std::hash::Hash;
use std::hash::Hasher;

use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::inode::HEADER_LEN;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::volume::Desk;
use sheepdog_core::volume::Errand;
use sheepdog_core::volume::Geometry;
use sheepdog_core::volume::Limits;
use sheepdog_core::volume::Node;
use sheepdog_core::volume::Op;
use sheepdog_core::volume::Seat;
use sheepdog_core::volume::Step;
use sheepdog_core::volume::Waiters;
use sheepdog_core::volume::Walk;
use sheepdog_core::volume::WireId;
use sheepdog_core::volume::Work;
use sheepdog_core::volume::Zombie;

use super::history::Cells;
use super::history::Content;
use super::history::History;
use super::sheep::Sheep;
use super::sheep::CELLS;
use super::sheep::OWN;

/// A session that began so long ago has lasted.
pub const START_MS: u64 = 100_000;
pub const FENCE_MS: u32 = 40_000;

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// At the desk.
    Waiting,
    /// Called, and to be decided anew.
    Called,
    /// To be given to its link; nothing of this step was sent.
    Held(Step),
    /// On its link.
    Sent(Step, WireId),
}

/// The connection of a link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// None.
    Free,
    /// Takes requests.
    Usable,
    /// Takes none any more. Its loss is told or will be, and it has not let go of its requests.
    Broken,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub work: Work,
    pub cells: Cells,
    pub place: Place,
    pub since_ms: u64,
    /// A write's content.
    pub content: Content,
    /// For each cell of a read, what was gone when it started.
    pub gone: Vec<BTreeSet<Content>>,
}

/// What a test chooses.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub size_bytes: u64,
    pub tickets: u16,
    pub links: usize,
    pub gateways: u32,
    pub io_timeout_ms: Option<u32>,
    /// Zombies that the desk can tell apart.
    pub places: usize,
}

/// Client, cluster and history.
pub struct World {
    pub sheep: Sheep,
    pub history: History,
    pub setup: Setup,
    pub geometry: Geometry,
    pub map: Vec<u32>,
    pub desk: Desk<Vec<Node>, Vec<Option<Zombie>>, Vec<Seat>>,
    /// Requests by ticket.
    pub requests: Vec<Option<Request>>,
    /// The last id that each ticket was sent with.
    pub ids: Vec<WireId>,
    /// Lists that are not popped to the end.
    pub waiters: Vec<Waiters>,
    /// A walk that has not come to its end.
    pub walk: Option<Walk>,
    /// Tickets that were called and are not yet decided anew.
    pub called: Vec<u32>,
    pub links: Vec<Link>,
    /// There are connections, and [`World::up`] is still to come.
    pub attaching: bool,
    /// The connections were given up because of a request that its gateway did not get on with.
    pub stuck: bool,
    /// The gateway that the links are connected to.
    pub gateway: u32,
    pub errand: Errand,
    pub now_ms: u64,
    pub begun: u32,
    pub ended: u32,
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

fn desk(setup: &Setup, now_ms: u64) -> Desk<Vec<Node>, Vec<Option<Zombie>>, Vec<Seat>> {
    let limits = Limits {
        gateways: setup.gateways,
        io_timeout_ms: setup.io_timeout_ms,
        fence_ms: FENCE_MS,
    };
    let tickets = usize::from(setup.tickets);
    let storage = (
        vec![Node::IDLE; tickets],
        vec![None; setup.places],
        vec![Seat::FREE; tickets],
    );
    let mut desk = Desk::new(limits, (0, setup.links as u32), storage, now_ms);
    desk.up(now_ms).expect("a session that was not lost");
    desk
}

impl World {
    /// A VDI with this object map, and a client that is connected to the first gateway.
    pub fn new(setup: Setup, map: Vec<u32>) -> Self {
        // Contents that no write has: 0 for holes, else a number per object.
        let initial = |(idx, entry): (u32, &u32)| if *entry == 0 { 0 } else { u32::MAX - idx };
        let initial: Vec<Content> = (0..).zip(&map).map(initial).collect();
        Self {
            sheep: Sheep::new(map.clone(), &initial),
            history: History::new(initial),
            setup,
            geometry: geometry(setup.size_bytes),
            map,
            desk: desk(&setup, 0),
            requests: vec![None; usize::from(setup.tickets)],
            ids: (0..setup.tickets)
                .map(|tag| WireId::new(tag, 0).unwrap())
                .collect(),
            waiters: Vec::new(),
            walk: None,
            called: Vec::new(),
            links: vec![Link::Usable; setup.links],
            attaching: false,
            stuck: false,
            gateway: 0,
            errand: Errand::None,
            now_ms: START_MS,
            begun: 0,
            ended: 0,
        }
    }

    /// The same world again.
    pub fn fork(&self) -> Self {
        assert!(self.waiters.is_empty(), "a list of waiters is not copied");
        assert!(self.walk.is_none(), "a walk is not copied");
        Self {
            sheep: self.sheep.clone(),
            history: self.history.clone(),
            map: self.map.clone(),
            desk: self.desk.clone(),
            requests: self.requests.clone(),
            ids: self.ids.clone(),
            waiters: Vec::new(),
            walk: None,
            called: self.called.clone(),
            links: self.links.clone(),
            ..*self
        }
    }

    /// Everything that the future depends on. Ids are left out: how often a request was sent makes
    /// no difference.
    pub fn digest(&self, into: &mut impl Hasher) {
        self.sheep.digest(into);
        self.history.hash(into);
        self.map.hash(into);
        self.desk.hash(into);
        for request in self.requests.iter().flatten() {
            request.work.hash(into);
            match request.place {
                Place::Sent(step, _) => (2, Some(step)).hash(into),
                Place::Held(step) => (1, Some(step)).hash(into),
                Place::Waiting | Place::Called => (0, None::<Step>).hash(into),
            }
            request.gone.hash(into);
            if self.setup.io_timeout_ms.is_some() {
                request.since_ms.hash(into);
            }
        }
        (&self.called, &self.links).hash(into);
        (self.attaching, self.stuck, self.gateway).hash(into);
        (self.now_ms, self.begun, self.ended).hash(into);
    }

    pub fn is_free(&self, ticket: u32) -> bool {
        self.requests[ticket as usize].is_none()
    }

    /// Whether the guest waits for nothing.
    pub fn is_quiet(&self) -> bool {
        self.begun == self.ended
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
        assert!(self.desk.is_idle(), "somebody is left at the desk");
        assert!(self.waiters.is_empty() && self.called.is_empty());
        match self.errand {
            Errand::None => assert!(self.desk.is_open(), "the desk stays closed"),
            Errand::End => assert!(self.links.iter().all(|link| *link == Link::Free)),
            errand => panic!("{errand:?} is left to do"),
        }
        for (ours, theirs) in self.map.iter().zip(&self.sheep.map) {
            // A map write that failed may have had its effect.
            let known = ours == theirs || *theirs == OWN.raw();
            assert!(known, "the map in memory is ahead of the cluster's");
        }
    }

    /// The client dies, and another one opens the VDI when nothing is left of the first: `fates` is
    /// asked which of so many requests is next, and whether it is executed.
    pub fn crash(&mut self, mut fates: impl FnMut(usize) -> (usize, bool)) {
        while self.sheep.pending() > 0 {
            let (pick, executed) = fates(self.sheep.pending());
            self.sheep.settle(pick, executed);
        }
        self.sheep.answers.clear();
        for ticket in 0..self.requests.len() {
            if let Some(request) = self.requests[ticket].take() {
                self.ended += 1;
                if request.work.op == Op::Write {
                    self.history.end(request.content, false);
                }
            }
        }
        self.waiters.clear();
        self.walk = None;
        self.called.clear();
        self.map = self.sheep.map.clone();
        self.desk = desk(&self.setup, self.now_ms);
        self.links.fill(Link::Usable);
        self.attaching = false;
        self.gateway = 0;
    }

    /// An id that `ticket` was sent with `back` sends ago, or will be in a long time.
    pub fn old_id(&self, ticket: u32, back: u32) -> WireId {
        let generation = self.ids[ticket as usize].generation().wrapping_sub(back);
        WireId::new(ticket as u16, generation).unwrap()
    }
}
