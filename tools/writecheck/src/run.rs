// SPDX-License-Identifier: GPL-2.0

//! Lets workers run, waits, lets them verify, and collects what they find. No wait is without a
//! limit: a disk that never answers is a result too.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::disk::Disk;
use crate::ledger::Violation;
use crate::report::Counters;
use crate::report::Report;
use crate::worker::Shared;
use crate::worker::Worker;

/// What to do.
#[derive(Clone, Debug)]
pub struct Order {
    /// Bytes of a block.
    pub block_len: usize,
    /// The blocks of each thread, in the order in which they are first written.
    pub shares: Vec<Vec<u64>>,
    /// How many of them are hot.
    pub hot: usize,
    /// How long to write.
    pub duration: Duration,
    /// How long to wait before every block is read once more.
    pub settle: Duration,
    /// How long an I/O may take before its thread counts as stuck.
    pub patience: Duration,
    /// Violations do not end the run.
    pub keep_going: bool,
    /// Tells this run's blocks from those of others.
    pub run: u64,
    /// Seed of all chance.
    pub seed: u64,
}

/// What workers tell.
enum Event {
    Worked(Worker),
    Verified { blocks: u64, unread: u64 },
}

/// A run under way.
struct Run<'a> {
    order: &'a Order,
    shared: Arc<Shared>,
    report: Report,
    found: Receiver<Violation>,
    events: (Sender<Event>, Receiver<Event>),
}

/// How often it is looked for violations and ends.
const TICK: Duration = Duration::from_millis(20);

impl Run<'_> {
    /// Takes what was found. Returns whether to go on.
    fn look(&mut self, tell: &mut dyn FnMut(&Violation)) -> bool {
        while let Ok(violation) = self.found.try_recv() {
            tell(&violation);
            self.report.violation(violation);
            if !self.order.keep_going {
                self.shared.stop.store(true, Ordering::Relaxed);
                return false;
            }
        }
        true
    }

    /// Collects an event of each of `count` workers. The others are stuck. `None` ends the run.
    fn collect(
        &mut self,
        count: usize,
        limit: Duration,
        tell: &mut dyn FnMut(&Violation),
    ) -> Option<Vec<Event>> {
        let deadline = Instant::now() + limit;
        let mut events = Vec::new();
        while events.len() < count && Instant::now() < deadline {
            match self.events.1.recv_timeout(TICK) {
                Ok(event) => events.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if !self.look(tell) {
                return None;
            }
        }
        self.report.stuck += (count - events.len()) as u64;
        self.look(tell).then_some(events)
    }

    fn settle(&mut self, tell: &mut dyn FnMut(&Violation)) -> bool {
        let deadline = Instant::now() + self.order.settle;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            thread::sleep(left.min(TICK));
            if !self.look(tell) {
                return false;
            }
        }
        true
    }

    fn verify(&mut self, mut worker: Worker) {
        let events = self.events.0.clone();
        thread::spawn(move || {
            let unread = worker.verify();
            let blocks = worker.touched() - unread;
            // Nobody may wait for it any more.
            let _ = events.send(Event::Verified { blocks, unread });
        });
    }

    fn go(&mut self, found: &Sender<Violation>, tell: &mut dyn FnMut(&Violation)) -> Option<()> {
        let order = self.order;
        let count = order.shares.len();
        for (number, share) in (0_u32..).zip(&order.shares) {
            let shared = self.shared.clone();
            let (blocks, found) = (share.clone(), found.clone());
            let mut worker = Worker::new(shared, number, blocks, order.hot, order.seed, found);
            let events = self.events.0.clone();
            thread::spawn(move || {
                worker.work();
                // Nobody may wait for it any more.
                let _ = events.send(Event::Worked(worker));
            });
        }
        let worked = self.collect(count, order.duration + order.patience, tell)?;
        if !self.settle(tell) {
            return None;
        }
        let count = worked.len();
        let mut blocks = 0;
        for event in worked {
            if let Event::Worked(worker) = event {
                self.report.blocks += worker.touched();
                blocks = blocks.max(worker.touched());
                self.verify(worker);
            }
        }
        let limit = order
            .patience
            .max(Duration::from_millis(10) * u32::try_from(blocks).ok()?);
        for event in self.collect(count, limit, tell)? {
            if let Event::Verified { blocks, unread } = event {
                self.report.verified += blocks;
                self.report.unverified += unread;
            }
        }
        Some(())
    }
}

/// Does what `order` says; `tell` hears of each violation at once.
pub fn run(disk: Arc<dyn Disk>, order: &Order, tell: &mut dyn FnMut(&Violation)) -> Report {
    let start = Instant::now();
    let (sender, found) = channel();
    let shared = Arc::new(Shared {
        disk,
        run: order.run,
        block_len: order.block_len,
        duration: order.duration,
        start,
        counters: Counters::default(),
        stop: AtomicBool::new(false),
    });
    let mut run = Run {
        order,
        shared,
        report: Report::default(),
        found,
        events: channel(),
    };
    // `None` says that a violation has ended it, which the report says too.
    let _ = run.go(&sender, tell);
    run.shared.stop.store(true, Ordering::Relaxed);
    run.report.count(&run.shared.counters);
    run.report.seconds = start.elapsed().as_secs_f64();
    run.report
}
