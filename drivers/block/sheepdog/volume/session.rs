// SPDX-License-Identifier: GPL-2.0

//! The connections of a mapping as a whole: up, lost, being made anew.
//!
//! All links of a mapping go to one gateway and go down together: what one of them still carries
//! must not pass what another sends. When one is lost all are reset, and each lets go of what it
//! has. Only then a connection is made anew: to the same gateway first, because its threads drain
//! quickly what they have read, then to the next. A round of all gateways without success is
//! followed by a pause that grows.
//!
//! Losses, results of attempts and the time come in. What to do next, whether requests may be sent,
//! and how long an old gateway is to be feared go out.
//!
//! ```text
//!           lost                all released                 a gateway answers
//!   Up ─────────────► Draining ─────────────► Connecting ──────────────────────► Attaching ─┐
//!   ▲                    ▲                     │      ▲                            │        │
//!   │                    │                     ▼      │ pause over                 │ lost   │ all
//!   │                    │                    Pausing ┘                            │        │ attached
//!   │                    └─────────────────────────────────────────────────────────┘        │
//!   └───────────────────────────────────────────────────────────────────────────────────────┘
//!   close: from anywhere to Closed, for good
//! ```

/// A connection that is lost so soon after it was made counts as an attempt that failed.
const FLAP_MS: u64 = 5_000;

/// The pause after the first round of all gateways; it doubles with each round.
const FIRST_PAUSE_MS: u64 = 1_000;
/// The longest pause: a disk should not stand still much longer than its cluster.
const LONGEST_PAUSE_MS: u64 = 10_000;

/// How long what an old gateway has read may still take effect after that gateway, or the host of
/// its ended process, has been heard of again: its threads, or its peers, work it off.
/// See Documentation/failover.rst.
const SHORT_FENCE_MS: u64 = 5_000;

/// What an administrator can set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Number of gateways, 1 or more.
    pub gateways: u32,
    /// After so long without a gateway requests fail; `None`: never.
    pub io_timeout_ms: Option<u32>,
    /// How long what an old gateway has read may still take effect when nothing is known of it.
    pub fence_ms: u32,
}

/// Why connections are given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Loss {
    /// The connection ended, or the gateway does not answer.
    Broken,
    /// The gateway answers, but for a request that it does not get on with: whatever that waits
    /// for can let it go at any time.
    Stuck,
    /// The gateway says that it goes away.
    Leaving,
    /// The gateway said what no sheep says.
    Lied,
}

/// How long what an old gateway has read is to be feared: until the earlier of two times.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fear {
    /// From when its connection was reset.
    pub fence_ms: u64,
    /// The other one; far away when nothing is known of the old gateway.
    pub until_ms: u64,
}

/// Why an attempt to connect failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Setback {
    /// The host says that nobody listens there, or the sheep says that it cannot serve: whatever
    /// ran there before has ended, or works off what it has read.
    Answered,
    /// Nothing is known.
    Silent,
}

/// What a request may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// Be sent.
    Send,
    /// Wait for a gateway.
    Wait,
    /// Fail: there has been no gateway for too long.
    TimedOut,
    /// Fail: the mapping ends.
    Closed,
}

/// What is to be done for the connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Errand {
    /// Nothing, until something happens.
    None,
    /// Nothing before this time, if nothing happens.
    Sleep(u64),
    /// Connect to this gateway, then say [`Session::connected`] or [`Session::failed`].
    Connect {
        /// Its place in the list.
        gateway: u32,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// When there will have been no gateway for too long, if that is still to come: an attempt
        /// must not last longer.
        until_ms: Option<u64>,
    },
    /// Find out whether this gateway answers a new connection, then say [`Session::alive`], or
    /// reset the connections.
    Probe {
        /// Its place in the list.
        gateway: u32,
    },
    /// No more.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum State {
    Up,
    Draining,
    Connecting,
    Pausing { until_ms: u64 },
    Attaching,
    Closed,
}

/// The connections of a mapping.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Session {
    limits: Limits,
    state: State,
    /// The gateway in use, or that was in use last.
    gateway: u32,
    /// The gateway of the next attempt, or of the one under way.
    candidate: u32,
    /// Attempts since the last session that lasted.
    attempts: u32,
    /// Whether the gateway that was in use last has been heard of since.
    heard: bool,
    /// Whether connections to another one were lost since, before they were all attached.
    strayed: bool,
    /// Whether it answered, and did not get on with a request.
    stuck: bool,
    /// Links that have a connection, or have not let go of one.
    attached: u32,
    /// When the session came up.
    up_ms: u64,
    /// Since when there is no gateway.
    since_ms: u64,
    /// There has been none for too long.
    failing: bool,
    /// Somebody doubts that the gateway lives.
    suspected: bool,
    /// How often the connections were lost, modulo 2^32.
    losses: u32,
}

impl Session {
    /// The session of a new mapping: `links` connections to `gateway`, to be followed by
    /// [`Session::up`].
    pub const fn new(limits: Limits, gateway: u32, links: u32, now_ms: u64) -> Self {
        Self {
            limits,
            state: State::Attaching,
            gateway,
            candidate: gateway,
            attempts: 0,
            heard: false,
            strayed: false,
            stuck: false,
            attached: links,
            up_ms: now_ms,
            since_ms: now_ms,
            failing: false,
            suspected: false,
            losses: 0,
        }
    }

    /// What a request may do now.
    #[inline]
    pub const fn admission(&self) -> Admission {
        match self.state {
            State::Up => Admission::Send,
            State::Closed => Admission::Closed,
            _ if self.failing => Admission::TimedOut,
            _ => Admission::Wait,
        }
    }

    /// The place in the list of the gateway in use, or that was in use last.
    pub const fn gateway(&self) -> u32 {
        self.gateway
    }

    /// How often the connections were lost, modulo 2^32.
    pub const fn losses(&self) -> u32 {
        self.losses
    }

    /// Attempts to connect since the connections were lost.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// For how long there has been no gateway; 0 while there is one.
    pub const fn outage_ms(&self, now_ms: u64) -> u64 {
        match self.state {
            State::Up => 0,
            _ => now_ms.saturating_sub(self.since_ms),
        }
    }

    /// When the next attempt begins, if that is in a pause.
    pub const fn pause_ms(&self, now_ms: u64) -> u64 {
        match self.state {
            State::Pausing { until_ms } => until_ms.saturating_sub(now_ms),
            _ => 0,
        }
    }

    /// A link has lost its connection. Whether that is news: then all other links are to be reset,
    /// and each says [`Session::released`] when it has let go of everything.
    pub fn lost(&mut self, loss: Loss, now_ms: u64) -> bool {
        match self.state {
            State::Up => {
                self.since_ms = now_ms;
                self.heard = false;
                if now_ms.saturating_sub(self.up_ms) >= FLAP_MS {
                    self.attempts = 0;
                }
            }
            // The outage goes on. What was decided before it may have been sent already.
            State::Attaching => {
                self.heard = false;
                self.strayed |= self.candidate != self.gateway;
            }
            _ => return false,
        }
        self.stuck |= loss == Loss::Stuck;
        self.state = State::Draining;
        self.losses = self.losses.wrapping_add(1);
        self.suspected = false;
        if self.attempts == 0 {
            self.candidate = match loss {
                Loss::Broken | Loss::Stuck => self.gateway,
                Loss::Leaving | Loss::Lied => self.after(self.gateway),
            };
        }
        true
    }

    /// A link has let go of its connection and of all requests on it.
    pub fn released(&mut self) {
        self.attached = self.attached.saturating_sub(1);
    }

    /// Somebody doubts that the gateway lives.
    pub fn suspect(&mut self) {
        self.suspected = self.state == State::Up;
    }

    /// The gateway has answered a probe.
    pub fn alive(&mut self) {
        self.suspected = false;
    }

    /// What is to be done now.
    pub fn errand(&mut self, now_ms: u64) -> Errand {
        match self.state {
            State::Closed => return Errand::End,
            State::Up if self.suspected => {
                return Errand::Probe {
                    gateway: self.gateway,
                }
            }
            State::Up | State::Attaching => return Errand::None,
            State::Draining if self.attached > 0 => {}
            State::Draining if self.attempts == 0 => self.state = State::Connecting,
            // It was up for a moment only: that was no success.
            State::Draining => self.next_attempt(now_ms),
            State::Pausing { until_ms } if until_ms <= now_ms => self.state = State::Connecting,
            State::Pausing { .. } | State::Connecting => {}
        }
        let until_ms = self.give_up_ms().filter(|_| !self.failing);
        match self.state {
            State::Connecting => Errand::Connect {
                gateway: self.candidate,
                attempt: self.attempts.saturating_add(1),
                until_ms,
            },
            State::Pausing { until_ms: pause } => {
                Errand::Sleep(until_ms.map_or(pause, |until_ms| until_ms.min(pause)))
            }
            _ => until_ms.map_or(Errand::None, Errand::Sleep),
        }
    }

    /// The attempt has failed.
    pub fn failed(&mut self, setback: Setback, now_ms: u64) {
        if self.state != State::Connecting {
            return;
        }
        if setback == Setback::Answered && self.candidate == self.gateway {
            self.heard = true;
        }
        self.next_attempt(now_ms);
    }

    /// The attempt has succeeded: `links` connections are there and will be attached. Whether they
    /// are still wanted.
    pub fn connected(&mut self, links: u32) -> bool {
        if self.state != State::Connecting {
            return false;
        }
        self.state = State::Attaching;
        self.attached = links;
        self.attempts = self.attempts.saturating_add(1);
        true
    }

    /// All links are attached. How long what the old gateway has read is to be feared; `None` when
    /// the connections were lost meanwhile.
    pub fn up(&mut self, now_ms: u64) -> Option<Fear> {
        if self.state != State::Attaching {
            return None;
        }
        let known = self.heard || self.candidate == self.gateway;
        let fear = Fear {
            fence_ms: u64::from(self.limits.fence_ms),
            // From now, and not from the reset: one that was stopped goes on where it stood.
            until_ms: if known && !self.strayed && !self.stuck {
                now_ms.saturating_add(SHORT_FENCE_MS)
            } else {
                u64::MAX
            },
        };
        self.state = State::Up;
        self.strayed = false;
        self.stuck = false;
        self.gateway = self.candidate;
        self.up_ms = now_ms;
        self.failing = false;
        Some(fear)
    }

    /// Whether there has been no gateway for too long since now; once per outage.
    pub fn gives_up(&mut self, now_ms: u64) -> bool {
        let late = self.give_up_ms().is_some_and(|until| until <= now_ms);
        let news = late && !self.failing && self.admission() == Admission::Wait;
        self.failing |= news;
        news
    }

    /// The mapping ends.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    fn give_up_ms(&self) -> Option<u64> {
        let timeout = self.limits.io_timeout_ms?;
        Some(self.since_ms.saturating_add(u64::from(timeout)))
    }

    /// The next gateway, after a pause when all have had their turn.
    fn next_attempt(&mut self, now_ms: u64) {
        if self.state == State::Connecting {
            self.attempts = self.attempts.saturating_add(1);
        }
        self.candidate = self.after(self.candidate);
        let round = self.attempts / self.limits.gateways.max(1);
        self.state = if self.attempts % self.limits.gateways.max(1) == 0 {
            let doublings = round.saturating_sub(1).min(16);
            let pause = FIRST_PAUSE_MS.saturating_mul(1 << doublings);
            State::Pausing {
                until_ms: now_ms.saturating_add(pause.min(LONGEST_PAUSE_MS)),
            }
        } else {
            State::Connecting
        };
    }

    const fn after(&self, gateway: u32) -> u32 {
        let next = gateway.saturating_add(1);
        if next < self.limits.gateways {
            next
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(gateways: u32, io_timeout_ms: Option<u32>) -> Session {
        let limits = Limits {
            gateways,
            io_timeout_ms,
            fence_ms: 40_000,
        };
        let mut session = Session::new(limits, 0, 2, 0);
        assert_eq!(session.up(0), Some(short(0)));
        session
    }

    /// Of a gateway that was heard of.
    fn short(now_ms: u64) -> Fear {
        Fear {
            fence_ms: 40_000,
            until_ms: now_ms + SHORT_FENCE_MS,
        }
    }

    /// Of one of which nothing is known.
    const LONG: Fear = Fear {
        fence_ms: 40_000,
        until_ms: u64::MAX,
    };

    /// Loses the connections at `now` and lets the links go.
    fn lose(session: &mut Session, loss: Loss, now: u64) {
        assert!(session.lost(loss, now));
        assert!(!session.lost(loss, now));
        assert_eq!(session.admission(), Admission::Wait);
        session.released();
        assert!(!matches!(session.errand(now), Errand::Connect { .. }));
        session.released();
    }

    fn connect(gateway: u32, attempt: u32) -> Errand {
        Errand::Connect {
            gateway,
            attempt,
            until_ms: None,
        }
    }

    #[test]
    fn the_same_gateway_is_tried_first_then_the_next_then_there_is_a_pause() {
        let mut session = session(3, None);
        lose(&mut session, Loss::Broken, 10_000);
        for (gateway, attempt) in [(0, 1), (1, 2), (2, 3)] {
            assert_eq!(session.errand(10_000), connect(gateway, attempt));
            session.failed(Setback::Silent, 10_000);
        }
        assert_eq!(session.errand(10_000), Errand::Sleep(11_000));
        assert_eq!(session.pause_ms(10_400), 600);
        assert_eq!(session.errand(11_000), connect(0, 4));
        assert!(session.connected(2));
        assert_eq!(session.up(11_000), Some(short(11_000)));
        assert_eq!(session.admission(), Admission::Send);
    }

    #[test]
    fn pauses_double_up_to_ten_seconds() {
        let mut session = session(1, None);
        lose(&mut session, Loss::Broken, 10_000);
        let mut now = 10_000;
        for pause in [1000, 2000, 4000, 8000, 10_000, 10_000] {
            assert!(matches!(session.errand(now), Errand::Connect { .. }));
            session.failed(Setback::Silent, now);
            assert_eq!(session.errand(now), Errand::Sleep(now + pause));
            now += pause;
        }
    }

    #[test]
    fn a_gateway_that_leaves_or_lies_is_not_the_first_to_be_asked() {
        for loss in [Loss::Leaving, Loss::Lied] {
            let mut session = session(2, None);
            lose(&mut session, loss, 10_000);
            assert_eq!(session.errand(10_000), connect(1, 1));
            assert!(session.connected(2));
            // Nothing is known of the old one.
            assert_eq!(session.up(10_000), Some(LONG));
            assert_eq!(session.gateway(), 1);
        }
    }

    #[test]
    fn an_old_gateway_that_was_heard_of_is_feared_for_less_time() {
        for (setback, fear) in [(Setback::Answered, short(10_200)), (Setback::Silent, LONG)] {
            let mut session = session(2, None);
            lose(&mut session, Loss::Broken, 10_000);
            assert_eq!(session.errand(10_000), connect(0, 1));
            session.failed(setback, 10_100);
            assert_eq!(session.errand(10_100), connect(1, 2));
            assert!(session.connected(2));
            assert_eq!(session.up(10_200), Some(fear));
        }
    }

    #[test]
    fn a_gateway_that_was_lost_before_it_was_up_is_feared_for_long() {
        let mut session = session(2, None);
        lose(&mut session, Loss::Leaving, 10_000);
        assert_eq!(session.errand(10_000), connect(1, 1));
        assert!(session.connected(2));
        lose(&mut session, Loss::Leaving, 10_100);
        assert_eq!(session.errand(10_100), connect(0, 2));
        assert!(session.connected(2));
        assert_eq!(session.up(10_200), Some(LONG));
    }

    #[test]
    fn a_gateway_that_did_not_get_on_is_feared_for_long_though_it_answers() {
        let mut session = session(2, None);
        lose(&mut session, Loss::Stuck, 10_000);
        assert_eq!(session.errand(10_000), connect(0, 1));
        assert!(session.connected(2));
        // Lost again, for another reason: what it has of the first time it still has.
        lose(&mut session, Loss::Broken, 10_100);
        assert_eq!(session.errand(10_100), connect(1, 2));
        session.failed(Setback::Silent, 10_100);
        assert_eq!(session.errand(11_100), connect(0, 3));
        assert!(session.connected(2));
        assert_eq!(session.up(11_100), Some(LONG));
        // That was that.
        lose(&mut session, Loss::Broken, 20_000);
        assert_eq!(session.errand(20_000), connect(0, 1));
        assert!(session.connected(2));
        assert_eq!(session.up(20_000), Some(short(20_000)));
    }

    #[test]
    fn a_connection_that_does_not_last_is_no_success() {
        let mut session = session(2, None);
        lose(&mut session, Loss::Broken, 10_000);
        assert_eq!(session.errand(10_000), connect(0, 1));
        assert!(session.connected(2));
        assert!(session.up(10_000).is_some());
        lose(&mut session, Loss::Broken, 10_100);
        assert_eq!(session.errand(10_100), connect(1, 2));
        assert!(session.connected(2));
        // Lost before it was up.
        lose(&mut session, Loss::Broken, 10_200);
        assert_eq!(session.up(10_200), None);
        assert_eq!(session.errand(10_200), Errand::Sleep(11_200));
        assert_eq!(session.errand(11_200), connect(0, 3));
        assert!(session.connected(2));
        assert!(session.up(11_300).is_some());
        // This one has lasted.
        lose(&mut session, Loss::Broken, 20_000);
        assert_eq!(session.errand(20_000), connect(0, 1));
        // Lost before it was up, however long the last one was up.
        assert!(session.connected(2));
        lose(&mut session, Loss::Broken, 20_000);
        assert_eq!(session.errand(20_000), connect(1, 2));
    }

    #[test]
    fn requests_fail_after_the_limit_and_go_on_with_the_first_success() {
        let mut session = session(1, Some(3000));
        lose(&mut session, Loss::Broken, 10_000);
        let Errand::Connect { until_ms, .. } = session.errand(10_000) else {
            panic!("no attempt");
        };
        assert_eq!(until_ms, Some(13_000));
        session.failed(Setback::Silent, 12_500);
        assert_eq!(session.errand(12_500), Errand::Sleep(13_000));
        assert!(!session.gives_up(12_999));
        assert!(session.gives_up(13_000));
        assert!(!session.gives_up(13_001));
        assert_eq!(session.admission(), Admission::TimedOut);
        assert_eq!(session.errand(13_000), Errand::Sleep(13_500));
        assert_eq!(session.errand(13_500), connect(0, 2));
        assert!(session.connected(2));
        assert!(session.up(13_600).is_some());
        assert_eq!(session.admission(), Admission::Send);
        assert!(!session.gives_up(99_000));
    }

    #[test]
    fn without_a_limit_requests_wait_for_ever() {
        let mut session = session(1, None);
        lose(&mut session, Loss::Broken, 10_000);
        assert!(!session.gives_up(u64::MAX));
        assert_eq!(session.admission(), Admission::Wait);
    }

    #[test]
    fn a_suspicion_is_followed_by_a_probe_and_ends_with_an_answer_or_the_connections() {
        let mut session = session(2, None);
        assert_eq!(session.errand(0), Errand::None);
        session.suspect();
        assert_eq!(session.errand(0), Errand::Probe { gateway: 0 });
        session.alive();
        assert_eq!(session.errand(0), Errand::None);
        session.suspect();
        lose(&mut session, Loss::Broken, 10_000);
        session.suspect();
        assert_eq!(session.errand(10_000), connect(0, 1));
        assert!(session.connected(2) && session.up(10_000).is_some());
        assert_eq!(session.errand(10_000), Errand::None);
    }

    #[test]
    fn a_closed_session_stays_closed() {
        let mut session = session(2, Some(1000));
        lose(&mut session, Loss::Broken, 10_000);
        assert_eq!(
            session.errand(10_000),
            Errand::Connect {
                gateway: 0,
                attempt: 1,
                until_ms: Some(11_000)
            }
        );
        session.close();
        assert!(!session.connected(2));
        session.failed(Setback::Silent, 10_000);
        assert_eq!(session.up(10_000), None);
        assert!(!session.lost(Loss::Broken, 10_000) && !session.gives_up(99_000));
        assert_eq!(session.errand(10_000), Errand::End);
        assert_eq!(session.admission(), Admission::Closed);
    }
}
