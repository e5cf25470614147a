// SPDX-License-Identifier: GPL-2.0

//! One request on its way: plan, send, reply, end.
//!
//! At every moment a request is in one place: with the block layer, in a link's in-flight table, at
//! the desk of its device, or in the hands of the function that is deciding about it here. The type
//! [`Request`] has one owner, so it cannot be in two.
//!
//! What to do is asked of `volume`; this carries it out. Nothing here allocates or waits, but for
//! the socket's lock.

use crate::{
    device::{
        Desk,
        Device, //
    },
    gateway::{
        Frame,
        Handler,
        Refused, //
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
        clock,
        log::{
            self,
            Plain, //
        }, //
    },
    volume::{
        self,
        plan,
        Entry,
        Errno,
        Failure,
        Lie,
        Loss,
        Op,
        Outcome,
        Plan,
        Reply,
        Step,
        Verdict,
        Work, //
    }, //
};
use kernel::{
    prelude::*,
    sync::ArcBorrow, //
};

/// How many reply timeouts a frame may be without a reply while its gateway answers others, or probes: a
/// gateway retries without a limit, but one that has forgotten a request will never answer it.
const PATIENCE: u32 = 10;

/// The driver's data in each request.
pub(crate) struct State {
    work: Option<Work>,
}

impl Operations for Device {
    type RequestData = State;

    fn new_request_data() -> State {
        State { work: None }
    }

    fn queue(self: ArcBorrow<'_, Self>, mut rq: Request<Self>, _last: bool) {
        let op = match rq.op() {
            blk::Op::Read => Op::Read,
            // The block layer warns of one, and lets it pass (bio_check_ro()).
            blk::Op::Write if self.read_only => return rq.end(Status::Io),
            blk::Op::Write => Op::Write,
            // What was acknowledged is durable: the block layer waited for it.
            blk::Op::Flush => return rq.end(Status::Ok),
            blk::Op::Other => return rq.end(Status::NotSupported),
        };
        match self.geometry.extent(rq.offset_bytes(), rq.len_bytes()) {
            Ok(extent) => {
                rq.work = Some(Work::new(op, extent));
                if let Some(link) = self.links.get(rq.queue_index()) {
                    link.board().begins(rq.tag());
                }
                self.decide(rq);
            }
            // The block layer keeps to the limits that it was given.
            Err(error) => {
                pr_err!("{}: request refused: {}\n", &*self.name, Plain(error));
                rq.end(Status::Io);
            }
        }
    }

    fn late(self: ArcBorrow<'_, Self>, queue_index: usize, tag: u16) {
        // One that waits at the desk has its limit there.
        let Some(link) = self.links.get(queue_index).filter(|link| link.awaits(tag)) else {
            return;
        };
        let waited_ms = link.board().age_ms(tag);
        let sent_ms = link.board().sent_ms(tag);
        let tuning = &self.tuning;
        if tuning.io_timeout_ms != 0 && waited_ms >= tuning.io_timeout_ms {
            link.break_off(
                Loss::Stuck,
                fmt!("a request has had no reply for {waited_ms} ms (io_timeout_ms)"),
            );
        } else if sent_ms >= tuning.reply_timeout_ms.saturating_mul(PATIENCE) {
            link.break_off(
                Loss::Stuck,
                fmt!("a request has had no reply for {sent_ms} ms"),
            );
        } else if link.silent_ms() >= tuning.reply_timeout_ms {
            self.at_desk(|room| room.desk.session_mut().suspect());
            self.stir.notify_all();
        }
    }
}

impl Handler for Device {
    fn classify(rq: &Request<Self>, header: &ResponseHeader) -> Result<Reply, Lie> {
        match rq.work.and_then(|work| Some((work.step?, work.extent))) {
            Some((step, extent)) => volume::reply(step, &extent, header),
            // Not sent, so no reply is the right one.
            None => Err(Lie::Opcode {
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
            Outcome::Done => self.end(rq, Status::Ok, false),
            Outcome::Next(_) => self.consult(rq, Desk::created),
            Outcome::Created => self.end(rq, Status::Ok, true),
            Outcome::Fail(failure) => {
                self.log_failure(&rq, header, failure);
                match failure {
                    Failure::Unavailable(_) => self.consult(rq, Desk::postpone),
                    Failure::Leaving(_) => {
                        self.connections_lost(Loss::Leaving);
                        // Refused before it was begun (protocol sheet 1): nothing of it lives on.
                        self.consult(rq, |desk, ticket, work, entry, times| {
                            work.step = None;
                            desk.decide(ticket, work, entry, times)
                        });
                    }
                    _ => self.end(rq, status(failure), false),
                }
            }
        }
    }

    fn link_down(self: ArcBorrow<'_, Self>, loss: Loss) {
        self.connections_lost(loss);
    }

    fn lost(self: ArcBorrow<'_, Self>, rq: Request<Self>) {
        self.consult(rq, Desk::lost);
    }

    fn link_released(self: ArcBorrow<'_, Self>) {
        self.at_desk(|room| room.desk.session_mut().released());
        self.stir.notify_all();
    }
}

impl Device {
    /// Does the first thing that a request needs, now.
    pub(crate) fn decide(&self, mut rq: Request<Self>) {
        let Some(work) = rq.work else {
            return self.finish(rq, Status::Io);
        };
        let Ok(entry) = self.entry(work.extent.idx) else {
            return self.finish(rq, Status::Io);
        };
        // In this order: see `is_open`. A request that was here before can need more than a plan.
        if self.is_open() && work.is_plain() {
            match plan(work.op, entry) {
                Plan::Zeroes => {
                    rq.zero();
                    return self.finish(rq, Status::Ok);
                }
                Plan::Send(step) => return self.send(rq, step),
                Plan::Create(_) => {}
            }
        }
        self.consult(rq, Desk::decide);
    }

    /// Asks the desk about a request, and does what it says.
    fn consult(
        &self,
        mut rq: Request<Self>,
        question: impl FnOnce(&mut Desk, u32, &mut Work, Entry, (u64, u32)) -> Verdict,
    ) {
        let (Some(mut work), Some(link)) = (rq.work, self.links.get(rq.queue_index())) else {
            return self.finish(rq, Status::Io);
        };
        let (ticket, tag) = (self.ticket(&rq), rq.tag());
        let times = (clock::now_ms(), link.board().age_ms(tag));
        let last = work.step;
        let decided = self.at_desk(|room| {
            // Under the lock: the object may have been made just now.
            let Ok(entry) = self.entry(work.extent.idx) else {
                return Some((rq, Verdict::Fail(Failure::Nonsense)));
            };
            let verdict = question(&mut room.desk, ticket, &mut work, entry, times);
            rq.work = Some(work);
            if let Verdict::Wait(why) = verdict {
                let step = last.unwrap_or(match work.op {
                    Op::Read => Step::Read { parent: None },
                    Op::Write => Step::Write,
                });
                link.board().waits(tag, why, step, &work.extent);
                // A ticket is a tag, so the place is there and free.
                if let Some(place) = room.parked.get_mut(ticket as usize) {
                    *place = Some(rq);
                    return None;
                }
            }
            Some((rq, verdict))
        });
        let Some((mut rq, verdict)) = decided else {
            // Somebody has to be called, perhaps sooner than was known.
            return self.stir.notify_all();
        };
        match verdict {
            Verdict::Zeroes => {
                rq.zero();
                self.end(rq, Status::Ok, false);
            }
            Verdict::Send(step) => self.send(rq, step),
            Verdict::Fail(failure) => self.end(rq, status(failure), false),
            // There is no such place.
            Verdict::Wait(_) => self.end(rq, Status::Io, false),
        }
    }

    /// Sends one step of a request.
    fn send(&self, mut rq: Request<Self>, step: Step) {
        let (Some(mut work), Some(link)) = (rq.work, self.links.get(rq.queue_index())) else {
            return self.end(rq, Status::Io, false);
        };
        let Some(id) = link.next_id(rq.tag()) else {
            return self.end(rq, Status::Io, false);
        };
        work.step = Some(step);
        rq.work = Some(work);
        link.board().sends(rq.tag(), step, &work.extent);
        let header = step.header(&self.geometry, &work.extent, id.raw());
        let payload = step.payload(&self.geometry);
        let frame = Frame::new(id, &header, &payload, work.extent.len);
        match link.submit(rq, frame) {
            Ok(()) => {}
            Err(Refused::NotConnected(rq)) => {
                self.consult(rq, |desk, ticket, work, entry, times| {
                    desk.turned_away(ticket, work, entry, times, link.is_usable())
                });
            }
            // A broken table deserves no second try.
            Err(Refused::Occupied(rq)) => self.end(rq, Status::Io, false),
        }
    }

    /// The connections are of no more use: all links are reset, none may pass another.
    fn connections_lost(&self, loss: Loss) {
        let waiting = self.in_flight();
        let news = self.at_desk(|room| room.desk.session_mut().lost(loss, clock::now_ms()));
        for link in &self.links {
            link.reset(loss);
        }
        if news {
            // It may be asking this gateway whether it lives.
            self.hang_up();
            pr_warn!(
                "{}: connections lost; {} requests wait\n",
                &*self.name,
                waiting
            );
        }
        self.stir.notify_all();
    }

    /// Ends a request. If it was to make its object, those who wait for that go on.
    fn end(&self, rq: Request<Self>, status: Status, created: bool) {
        let Some(work) = rq.work.filter(|work| !work.is_plain()) else {
            return self.finish(rq, status);
        };
        let ticket = self.ticket(&rq);
        let waiters = self.at_desk(|room| {
            if created {
                self.set_own(work.extent.idx);
            }
            room.desk.ended(ticket, &work)
        });
        // Only now: its tag, and so its ticket, can be used again at once.
        self.finish(rq, status);
        let Some(mut waiters) = waiters else {
            return;
        };
        loop {
            let next = self.at_desk(|room| {
                let ticket = room.desk.pop_waiter(&mut waiters)?;
                room.parked.get_mut(ticket as usize)?.take()
            });
            // Without a gateway `decide` lets them wait or fail, and makes no object: this does
            // not recurse more than once.
            match next {
                Some(rq) => self.decide(rq),
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
            .saturating_mul(self.tuning.queue_depth)
            .saturating_add(u32::from(rq.tag()))
    }

    fn log_failure(&self, rq: &Request<Self>, header: &ResponseHeader, failure: Failure) {
        let Some((step, extent)) = rq.work.and_then(|work| Some((work.step?, work.extent))) else {
            return;
        };
        if log::allowed() {
            let sent = step.header(&self.geometry, &extent, header.id);
            let oid = RequestHeader::from_bytes(&sent).object_arm().oid;
            pr_err!(
                "{}: {} {}: result {}; {}\n",
                &*self.peer,
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
