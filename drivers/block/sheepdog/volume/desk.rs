// SPDX-License-Identifier: GPL-2.0

//! Where requests go that cannot simply be sent, and everything that depends on them.
//!
//! A request that reads or writes an object that exists, while there is a gateway and nothing is
//! feared of an old one, is decided by [`plan`](super::plan()) alone: [`Desk::is_open`] says so.
//! Everything else comes here, under the one lock of the mapping: who creates an object and who
//! waits for that ([`Creations`]), what was lost with a connection and has to be sent again, what
//! must wait because an old gateway may still live ([`Zombies`]), what the cluster could not serve
//! and is to be tried again, and the connections themselves ([`Session`]).
//!
//! The caller keeps the requests; the desk knows them by their tickets. Of each that it told to
//! [wait](Verdict::Wait) it remembers why. A creator's waiters come out of [`Waiters`]; all others
//! come out of [`Desk::pop`], as soon as they can go on, and are then decided anew. So a request is
//! either with the caller, or at the desk with a reason to leave it, and the next time at which
//! something happens by itself is known ([`Desk::errand`]).

use core::ops::DerefMut;

use super::plan;
use super::session::Errand;
use super::session::Limits;
use super::Admission;
use super::Begin;
use super::Creations;
use super::Entry;
use super::Failure;
use super::Misuse;
use super::Node;
use super::Plan;
use super::Session;
use super::Step;
use super::Waiters;
use super::Work;
use super::Zombie;
use super::Zombies;

/// The first pause before a request is sent again that the cluster could not serve; it doubles.
const FIRST_RETRY_MS: u64 = 100;
/// The longest: what a cluster is likely to take for a change of membership.
const LONGEST_RETRY_MS: u64 = 3_000;

/// What a request has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// End as a read of zeroes.
    Zeroes,
    /// Send this step.
    Send(Step),
    /// Wait at the desk, for this. The caller puts the request where it finds it by its ticket,
    /// before it drops the lock.
    Wait(Why),
    /// Fail.
    Fail(Failure),
}

/// Why a request waits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// For the creator of its object.
    Creation,
    /// For a gateway.
    Gateway,
    /// For a zombie to be dead.
    Fence,
    /// Until this time, for the cluster to be able to serve it.
    Cluster {
        /// The time.
        due_ms: u64,
    },
}

/// The place of one ticket at the desk. All its content is this room's business.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seat {
    why: Option<Why>,
    /// The next loss, by [`Session::losses`], is to be waited for first.
    until_lost: Option<u32>,
    /// When the guest's patience ends; only with a limit.
    overdue_ms: u64,
}

/// One walk over the seats. A request that sits down again behind the walker is met in the next.
#[derive(Debug)]
#[must_use]
pub struct Walk {
    next: u32,
    now_ms: u64,
    fences_fell: bool,
}

/// Everything that requests of a mapping share. Storage for each ticket comes from the caller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Desk<N, Z, S>
where
    N: DerefMut<Target = [Node]>,
    Z: DerefMut<Target = [Option<Zombie>]>,
    S: DerefMut<Target = [Seat]>,
{
    creations: Creations<N>,
    zombies: Zombies<Z>,
    seats: S,
    session: Session,
    io_timeout_ms: Option<u32>,
    /// Number of requests that wait here.
    waiting: u32,
}

impl Seat {
    /// A place for [`Desk::new`].
    pub const FREE: Self = Self {
        why: None,
        until_lost: None,
        overdue_ms: u64::MAX,
    };
}

impl<N, Z, S> Desk<N, Z, S>
where
    N: DerefMut<Target = [Node]>,
    Z: DerefMut<Target = [Option<Zombie>]>,
    S: DerefMut<Target = [Seat]>,
{
    /// The desk of a new mapping whose `links` connections to `gateway` are attached; nothing is
    /// admitted before [`Desk::up`]. Tickets are the numbers below the length of `nodes` and of
    /// `seats`.
    pub fn new(
        limits: Limits,
        (gateway, links): (u32, u32),
        (nodes, zombies, mut seats): (N, Z, S),
        now_ms: u64,
    ) -> Self {
        for seat in seats.iter_mut() {
            *seat = Seat::FREE;
        }
        Self {
            creations: Creations::new(nodes),
            zombies: Zombies::new(zombies),
            seats,
            session: Session::new(limits, gateway, links, now_ms),
            io_timeout_ms: limits.io_timeout_ms,
            waiting: 0,
        }
    }

    /// Whether requests for objects that exist need no decision of the desk.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.session.admission() == Admission::Send && self.zombies.is_empty()
    }

    /// The connections.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The same, for what happens to them. What [`Desk`] does with them itself is not to be done
    /// there: `up`, `close` and `errand`.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Number of requests that wait here.
    pub const fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Number of zombies that are not dead yet.
    pub const fn zombies(&self) -> usize {
        self.zombies.len()
    }

    /// Whether nobody waits or creates. Takes time in proportion to the number of tickets.
    pub fn is_idle(&self) -> bool {
        self.waiting == 0 && self.creations.is_idle()
    }

    /// What the request of `ticket` has to do. `entry` is its object's, read under this lock;
    /// `age_ms` is how long the guest has been waiting for it.
    pub fn decide(
        &mut self,
        ticket: u32,
        work: &mut Work,
        entry: Entry,
        (now_ms, age_ms): (u64, u32),
    ) -> Verdict {
        if self.is_overdue(age_ms) {
            return Verdict::Fail(Failure::Timeout);
        }
        let overdue_ms = self.overdue_ms((now_ms, age_ms));
        match self.session.admission() {
            Admission::Send => {}
            Admission::Wait => return self.wait(ticket, Why::Gateway, overdue_ms),
            Admission::TimedOut => return Verdict::Fail(Failure::Timeout),
            Admission::Closed => return Verdict::Fail(Failure::Disconnected),
        }
        let planned = if work.created {
            Plan::Send(Step::UpdateMap)
        } else {
            plan(work.op, entry)
        };
        let step = match planned {
            Plan::Zeroes => return Verdict::Zeroes,
            Plan::Send(step) | Plan::Create(step) => step,
        };
        let inherited = matches!(entry, Entry::Inherited(_));
        if self.zombies.blocks(ticket, step, &work.extent, inherited) {
            return self.wait(ticket, Why::Fence, overdue_ms);
        }
        if matches!(planned, Plan::Send(_)) || work.creates {
            return Verdict::Send(step);
        }
        match self.creations.begin(ticket, work.extent.idx) {
            Ok(Begin::Start) => {
                work.creates = true;
                Verdict::Send(step)
            }
            Ok(Begin::Wait) => self.wait(ticket, Why::Creation, overdue_ms),
            Err(Misuse::NoSuchTicket | Misuse::InUse | Misuse::NotCreating) => {
                Verdict::Fail(Failure::Nonsense)
            }
        }
    }

    /// The reply to the request's CREATE has come: the map entry is next.
    pub fn created(
        &mut self,
        ticket: u32,
        work: &mut Work,
        entry: Entry,
        (now_ms, age_ms): (u64, u32),
    ) -> Verdict {
        work.created = true;
        self.decide(ticket, work, entry, (now_ms, age_ms))
    }

    /// The request's connection has gone before the reply to its last step came.
    /// [`Session::lost`] was told before.
    pub fn lost(
        &mut self,
        ticket: u32,
        work: &mut Work,
        entry: Entry,
        (now_ms, age_ms): (u64, u32),
    ) -> Verdict {
        if let Some(step) = work.step.take() {
            work.haunted |= self.zombies.add(ticket, step, &work.extent, now_ms);
        }
        self.decide(ticket, work, entry, (now_ms, age_ms))
    }

    /// The request could not be given to its link, so nothing of it was sent. `usable` says whether
    /// the link takes requests again by now, looked at under this lock. If it does not, its loss is
    /// still to be told, and the request waits for what comes after that.
    pub fn turned_away(
        &mut self,
        ticket: u32,
        work: &mut Work,
        entry: Entry,
        times: (u64, u32),
        usable: bool,
    ) -> Verdict {
        work.step = None;
        if usable || self.session.admission() != Admission::Send || self.is_overdue(times.1) {
            return self.decide(ticket, work, entry, times);
        }
        let losses = self.session.losses();
        let overdue_ms = self.overdue_ms(times);
        let verdict = self.wait(ticket, Why::Gateway, overdue_ms);
        if let Some(seat) = self.seat(ticket) {
            seat.until_lost = Some(losses);
        }
        verdict
    }

    /// The cluster could not serve the request now ([`Failure::is_passing`]): it is sent again
    /// later.
    pub fn postpone(
        &mut self,
        ticket: u32,
        work: &mut Work,
        entry: Entry,
        (now_ms, age_ms): (u64, u32),
    ) -> Verdict {
        // Not to be sent before its time, and everything else as if it was decided now.
        match self.session.admission() {
            Admission::Send if !self.is_overdue(age_ms) => {}
            _ => return self.decide(ticket, work, entry, (now_ms, age_ms)),
        }
        let pause = FIRST_RETRY_MS << work.retries.min(16);
        work.retries = work.retries.saturating_add(1);
        let due_ms = now_ms.saturating_add(pause.min(LONGEST_RETRY_MS));
        let overdue_ms = self.overdue_ms((now_ms, age_ms));
        self.wait(ticket, Why::Cluster { due_ms }, overdue_ms)
    }

    /// A request that is not [plain](Work::is_plain) has ended. If it created an object, that
    /// comes into the map in memory before this, under this lock; who waited for it comes out of
    /// the list.
    pub fn ended(&mut self, ticket: u32, work: &Work) -> Option<Waiters> {
        if work.haunted {
            self.zombies.disown(ticket);
        }
        if work.creates {
            self.creations.finish(ticket).ok()
        } else {
            None
        }
    }

    /// The ticket that has waited longest for a creator. To be decided anew.
    pub fn pop_waiter(&mut self, waiters: &mut Waiters) -> Option<u32> {
        let ticket = waiters.pop(&mut self.creations)?;
        self.stand_up(ticket);
        Some(ticket)
    }

    /// All links are attached. `None` if the connections were lost meanwhile; otherwise everybody
    /// who waited for a gateway is to be called with [`Desk::pop`].
    pub fn up(&mut self, now_ms: u64) -> Option<()> {
        let fear = self.session.up(now_ms)?;
        self.zombies.limit(fear);
        Some(())
    }

    /// The mapping ends. Everybody who waits is to be called with [`Desk::pop`], and will fail.
    pub fn close(&mut self) {
        self.session.close();
    }

    /// What is to be done for the connections, and when somebody has to be called.
    ///
    /// [`Errand::Sleep`] ends at the first time at which [`Desk::walk`] can find somebody.
    pub fn errand(&mut self, now_ms: u64) -> Errand {
        let errand = self.session.errand(now_ms);
        let until = match errand {
            Errand::None => None,
            Errand::Sleep(until) => Some(until),
            _ => return errand,
        };
        let seats = self.seats.iter().filter_map(|seat| match seat.why? {
            Why::Creation => None,
            Why::Cluster { due_ms } => Some(due_ms.min(seat.overdue_ms)),
            Why::Gateway | Why::Fence => Some(seat.overdue_ms),
        });
        let times = seats.chain(self.zombies.next_deadline_ms()).chain(until);
        match times.min() {
            None | Some(u64::MAX) => Errand::None,
            Some(until) => Errand::Sleep(until),
        }
    }

    /// Begins to call those who can go on now.
    pub fn walk(&mut self, now_ms: u64) -> Walk {
        let fences_fell = self.zombies.expire(now_ms);
        Walk {
            next: 0,
            now_ms,
            fences_fell,
        }
    }

    /// The next who can go on, or must fail. To be decided anew. The lock may be dropped between
    /// two calls.
    pub fn pop(&mut self, walk: &mut Walk) -> Option<u32> {
        let (admission, losses) = (self.session.admission(), self.session.losses());
        loop {
            let ticket = walk.next;
            let seat = self.seats.get(usize::try_from(ticket).ok()?)?;
            walk.next = ticket.checked_add(1)?;
            let goes = match seat.why {
                None | Some(Why::Creation) => false,
                Some(_) if seat.overdue_ms <= walk.now_ms => true,
                Some(Why::Gateway) => match admission {
                    Admission::Send => seat.until_lost != Some(losses),
                    Admission::Wait => false,
                    Admission::TimedOut | Admission::Closed => true,
                },
                // Without a gateway, too, or nobody would call it when there is one: then it waits
                // for that.
                Some(Why::Fence) => match admission {
                    Admission::Send | Admission::Wait => walk.fences_fell,
                    Admission::TimedOut | Admission::Closed => true,
                },
                Some(Why::Cluster { due_ms }) => match admission {
                    Admission::Send | Admission::Wait => due_ms <= walk.now_ms,
                    Admission::TimedOut | Admission::Closed => true,
                },
            };
            if goes {
                self.stand_up(ticket);
                return Some(ticket);
            }
        }
    }

    fn is_overdue(&self, age_ms: u32) -> bool {
        self.io_timeout_ms.is_some_and(|limit| age_ms >= limit)
    }

    /// When the guest's patience ends, `u64::MAX` for never.
    fn overdue_ms(&self, (now_ms, age_ms): (u64, u32)) -> u64 {
        self.io_timeout_ms.map_or(u64::MAX, |limit| {
            now_ms.saturating_add(u64::from(limit.saturating_sub(age_ms)))
        })
    }

    fn wait(&mut self, ticket: u32, why: Why, overdue_ms: u64) -> Verdict {
        let Some(seat) = self.seat(ticket) else {
            return Verdict::Fail(Failure::Nonsense);
        };
        *seat = Seat {
            why: Some(why),
            until_lost: None,
            overdue_ms,
        };
        self.waiting = self.waiting.saturating_add(1);
        Verdict::Wait(why)
    }

    fn stand_up(&mut self, ticket: u32) {
        if let Some(seat) = self.seat(ticket) {
            *seat = Seat::FREE;
            self.waiting = self.waiting.saturating_sub(1);
        }
    }

    fn seat(&mut self, ticket: u32) -> Option<&mut Seat> {
        self.seats.get_mut(usize::try_from(ticket).ok()?)
    }
}
