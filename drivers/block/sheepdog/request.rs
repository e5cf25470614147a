// SPDX-License-Identifier: GPL-2.0

//! One request on its way: plan, send, reply, end.
//!
//! At every moment a request is in one place: with the block layer, in a link's in-flight table, in
//! the list of those who wait for an object to be created, or in the hands of the function that is
//! deciding about it here. The type [`Request`] has one owner, so it cannot be in two.
//!
//! What to do is asked of `volume`; this carries it out. Nothing here allocates or waits, but for
//! the socket's lock.

use crate::{
    device::Device,
    gateway::{
        Frame,
        Handler, //
    },
    observe::WatchedLink,
    proto::{
        RequestHeader,
        ResponseHeader, //
    },
    sys::{
        blk,
        blk::{
            Operations,
            Request,
            Status, //
        },
        log::{
            self,
            Plain, //
        }, //
    },
    volume::{
        self,
        plan,
        Begin,
        Errno,
        Extent,
        Failure,
        Lie,
        Op,
        Outcome,
        Plan,
        Reply,
        Step,
        WireId, //
    }, //
};
use kernel::{
    prelude::*,
    sync::ArcBorrow, //
};

/// How many time limits a single request may wait while others on its link get their replies: the
/// queue may be long and the wire slow, but not for ever.
const PATIENCE: u32 = 10;

/// The driver's data in each request.
pub(crate) struct State {
    work: Option<Work>,
    /// What was sent last.
    step: Option<Step>,
    /// It makes its object, and others may wait for it.
    creates: bool,
    /// Of the last id; goes on from request to request, so that a late reply finds another one.
    generation: u32,
}

#[derive(Clone, Copy)]
struct Work {
    op: Op,
    extent: Extent,
}

impl Operations for Device {
    type RequestData = State;

    fn new_request_data() -> State {
        State {
            work: None,
            step: None,
            creates: false,
            generation: 0,
        }
    }

    fn queue(self: ArcBorrow<'_, Self>, mut rq: Request<Self>, _last: bool) {
        let op = match rq.op() {
            blk::Op::Read => Op::Read,
            blk::Op::Write => Op::Write,
            // What was acknowledged is durable: the block layer waited for it.
            blk::Op::Flush => return rq.end(Status::Ok),
            blk::Op::Other => return rq.end(Status::NotSupported),
        };
        match self.geometry.extent(rq.offset_bytes(), rq.len_bytes()) {
            Ok(extent) => {
                rq.work = Some(Work { op, extent });
                rq.step = None;
                rq.creates = false;
                if let Some(link) = self.links.get(rq.queue_index()) {
                    link.board().begins(rq.tag());
                }
                self.decide(rq, Work { op, extent });
            }
            // The block layer keeps to the limits that it was given.
            Err(error) => {
                pr_err!("{}: request refused: {}\n", &*self.name, Plain(error));
                rq.end(Status::Io);
            }
        }
    }

    fn late(self: ArcBorrow<'_, Self>, queue_index: usize, tag: u16) {
        // One that waits for another is late because that is late.
        let Some(link) = self.links.get(queue_index).filter(|link| link.awaits(tag)) else {
            return;
        };
        let waited_ms = link.board().age_ms(tag);
        if link.silent_ms() >= self.io_timeout_ms {
            link.break_off(fmt!("no reply for {} ms", link.silent_ms()));
        } else if waited_ms >= self.io_timeout_ms.saturating_mul(PATIENCE) {
            link.break_off(fmt!("a request has had no reply for {waited_ms} ms"));
        }
    }
}

impl Handler for Device {
    fn classify(rq: &Request<Self>, header: &ResponseHeader) -> Result<Reply, Lie> {
        match (rq.step, rq.work) {
            (Some(step), Some(work)) => volume::reply(step, &work.extent, header),
            // Not sent, so no reply is the right one.
            _ => Err(Lie::Opcode {
                sent: crate::proto::Opcode(0),
                got: header.opcode,
            }),
        }
    }

    fn replied(
        self: ArcBorrow<'_, Self>,
        rq: Request<Self>,
        header: &ResponseHeader,
        outcome: Outcome,
    ) {
        match outcome {
            Outcome::Done => self.finish(rq, Status::Ok),
            Outcome::Next(step) => self.send(rq, step),
            Outcome::Created => self.end(rq, Status::Ok, true),
            Outcome::Fail(failure) => {
                self.log_failure(&rq, header, failure);
                self.end(rq, status(failure), false);
            }
        }
    }

    fn lost(self: ArcBorrow<'_, Self>, rq: Request<Self>) {
        self.end(rq, status(Failure::Disconnected), false);
    }

    fn link_down(self: ArcBorrow<'_, Self>) {
        if self.set_dead() {
            pr_err!(
                "{}: {} requests fail, and all that follow; {}\n",
                &*self.name,
                self.in_flight(),
                Failure::Disconnected.advice()
            );
        }
        // The links go together: what one of them may still carry must not pass what another sends.
        self.shut();
    }
}

impl Device {
    /// Does the first thing that a request needs, now.
    fn decide(&self, mut rq: Request<Self>, work: Work) {
        if self.is_dead() {
            return self.finish(rq, status(Failure::Disconnected));
        }
        let Ok(entry) = self.entry(work.extent.idx) else {
            return self.finish(rq, Status::Io);
        };
        match plan(work.op, entry) {
            Plan::Zeroes => {
                rq.zero();
                self.finish(rq, Status::Ok);
            }
            Plan::Send(step) => self.send(rq, step),
            Plan::Create(_) => self.create(rq, work),
        }
    }

    /// Makes the object, or waits for whoever is making it.
    fn create(&self, mut rq: Request<Self>, work: Work) {
        let ticket = self.ticket(&rq);
        let mut creating = self.creating.lock();
        // The object may have been made before the lock was taken.
        let step = match self
            .entry(work.extent.idx)
            .map(|entry| plan(work.op, entry))
        {
            Ok(Plan::Create(step)) => step,
            Ok(Plan::Send(step)) => {
                drop(creating);
                return self.send(rq, step);
            }
            _ => {
                drop(creating);
                return self.finish(rq, Status::Io);
            }
        };
        match creating.table.begin(ticket, work.extent.idx) {
            Ok(Begin::Start) => {
                drop(creating);
                rq.creates = true;
                self.send(rq, step);
            }
            Ok(Begin::Wait) => {
                // A ticket is a tag, so the place is there and free.
                if let Some(link) = self.links.get(rq.queue_index()) {
                    link.board().waits(rq.tag(), &work.extent);
                }
                if let Some(place) = creating.waiting.get_mut(ticket as usize) {
                    *place = Some(rq);
                }
            }
            Err(misuse) => {
                drop(creating);
                pr_err!("{}: ticket {}: {}\n", &*self.name, ticket, Plain(misuse));
                self.finish(rq, Status::Io);
            }
        }
    }

    /// Sends one step of a request.
    fn send(&self, mut rq: Request<Self>, step: Step) {
        let (Some(work), Some(link)) = (rq.work, self.links.get(rq.queue_index())) else {
            return self.end(rq, Status::Io, false);
        };
        let Some(id) = WireId::new(rq.tag(), rq.generation.wrapping_add(1)) else {
            return self.end(rq, Status::Io, false);
        };
        rq.generation = id.generation();
        rq.step = Some(step);
        link.board().sends(rq.tag(), step, &work.extent);
        let header = step.header(&self.geometry, &work.extent, id.raw());
        let payload = step.payload(&self.geometry);
        let frame = Frame::new(id, &header, &payload, work.extent.len);
        if let Err(rq) = link.submit(rq, frame) {
            self.end(rq, status(Failure::Disconnected), false);
        }
    }

    /// Ends a request. If it was to make its object, those who wait for that go on.
    fn end(&self, mut rq: Request<Self>, status: Status, created: bool) {
        if !rq.creates {
            return self.finish(rq, status);
        }
        rq.creates = false;
        let ticket = self.ticket(&rq);
        let mut creating = self.creating.lock();
        if let (true, Some(work)) = (created, rq.work) {
            self.set_own(work.extent.idx);
        }
        let waiters = creating.table.finish(ticket);
        drop(creating);
        // Only now: its tag, and so its ticket, can be used again at once.
        self.finish(rq, status);
        let Ok(mut waiters) = waiters else {
            return;
        };
        loop {
            let mut creating = self.creating.lock();
            let next = waiters
                .pop(&mut creating.table)
                .and_then(|ticket| creating.waiting.get_mut(ticket as usize)?.take());
            drop(creating);
            // On a dead device `decide` fails the request and makes no object: this does not
            // recurse more than once.
            match next.map(|rq| (rq.work, rq)) {
                Some((Some(work), rq)) => self.decide(rq, work),
                Some((None, rq)) => self.finish(rq, Status::Io),
                None => return,
            }
        }
    }

    /// Ends a request, and with it what is noted of it.
    fn finish(&self, rq: Request<Self>, status: Status) {
        if let Some(link) = self.links.get(rq.queue_index()) {
            link.board().ends(rq.tag());
        }
        rq.end(status);
    }

    /// The number of a request among all of the device.
    fn ticket(&self, rq: &Request<Self>) -> u32 {
        let queue_index = u32::try_from(rq.queue_index()).unwrap_or(u32::MAX);
        queue_index
            .saturating_mul(self.queue_depth)
            .saturating_add(u32::from(rq.tag()))
    }

    fn log_failure(&self, rq: &Request<Self>, header: &ResponseHeader, failure: Failure) {
        let (Some(step), Some(work), Some(link)) =
            (rq.step, rq.work, self.links.get(rq.queue_index()))
        else {
            return;
        };
        if log::allowed() {
            let sent = step.header(&self.geometry, &work.extent, header.id);
            let oid = RequestHeader::from_bytes(&sent).object_arm().oid;
            pr_err!(
                "{}: {} {}: result {}; {}\n",
                &**link.label(),
                Plain(step.opcode()),
                Plain(oid),
                Plain(header.result),
                failure.advice()
            );
        }
    }
}

/// What the block layer is told.
fn status(failure: Failure) -> Status {
    match failure.errno() {
        Errno::NoSpace => Status::NoSpace,
        Errno::TimedOut => Status::Timeout,
        Errno::NotSupported => Status::NotSupported,
        Errno::Io | Errno::NotFound | Errno::Busy | Errno::ReadOnly | Errno::Protocol => Status::Io,
    }
}
