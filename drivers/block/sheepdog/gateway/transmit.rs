// SPDX-License-Identifier: GPL-2.0

//! The sending half of a link.
//!
//! Whoever finds the wire free sends at once and without waiting. What does not fit is left to the
//! transmitter thread, and what comes meanwhile queues up behind it.

use super::{
    fifo::Fifo,
    frame::{
        Progress,
        Sending,
        Wire, //
    }, //
};
use crate::{
    observe::Board,
    sys::{
        blk::Operations,
        errno,
        memalloc::Scope,
        socket::{
            SendFlags,
            Socket, //
        }, //
    }, //
};
use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        CondVar,
        Mutex, //
    }, //
};

/// The queue holds one frame per tag, and one more per tag for a peer that answers a request
/// before it has all of it, so that its next step is sent while the first is still on its way out.
const FRAMES_PER_TAG: usize = 2;

struct State<T: Operations> {
    /// Nothing is sent any more.
    closed: bool,
    /// Here while nobody sends; then there is no job and the queue is empty.
    wire: Option<Wire>,
    /// For the transmitter to go on with.
    job: Option<(Wire, Sending<T>)>,
    queue: Fifo<Sending<T>>,
}

#[pin_data]
pub(super) struct Transmit<T: Operations> {
    #[pin]
    state: Mutex<State<T>>,
    /// There is a job, or the link is closed.
    #[pin]
    changed: CondVar,
}

impl<T: Operations> Transmit<T> {
    /// The sending half for that many tags. `ENOMEM`.
    pub(super) fn new(wire: Wire, queue_depth: usize) -> Result<impl PinInit<Self>> {
        let state = State {
            closed: false,
            wire: Some(wire),
            job: None,
            queue: Fifo::new(FRAMES_PER_TAG * queue_depth)?,
        };
        Ok(pin_init!(Self {
            state <- new_mutex!(state),
            changed <- new_condvar!(),
        }))
    }

    /// Sends a frame, or queues it, after `enlist` has put its request where the reply will find
    /// it. `enlist` is not called once the link is closed.
    ///
    /// # Errors
    ///
    /// `EPIPE` if the link is closed; what `enlist` says; what the socket says, after which the
    /// link is of no use.
    pub(super) fn submit(
        &self,
        socket: &Socket,
        board: &Board,
        mut sending: Sending<T>,
        enlist: impl FnOnce() -> Result,
    ) -> Result {
        let _scope = Scope::reserves();
        let mut state = self.state.lock();
        if state.closed {
            return Err(EPIPE);
        }
        enlist()?;
        let Some(mut wire) = state.wire.take() else {
            board.blocked(sending.tag());
            // A peer that makes us answer faster than it reads has not kept to the protocol.
            return state.queue.push(sending).map_err(|_| errno::protocol());
        };
        match sending.advance(socket, &mut wire, SendFlags::NOWAIT)? {
            Progress::Complete => {
                board.sent(sending.len_bytes());
                state.wire = Some(wire);
            }
            Progress::Blocked => {
                board.blocked(sending.tag());
                state.job = Some((wire, sending));
                self.changed.notify_one();
            }
        }
        Ok(())
    }

    /// The transmitter thread: sends what had to wait, until the link is closed or breaks.
    pub(super) fn run(&self, socket: &Socket, board: &Board) -> Result {
        let _scope = Scope::reserves();
        while let Some((mut wire, mut sending)) = self.wait_for_job() {
            loop {
                sending.advance(socket, &mut wire, SendFlags::NONE)?;
                board.sent_late(sending.tag(), sending.len_bytes());
                let mut state = self.state.lock();
                match state.queue.pop() {
                    Some(next) => sending = next,
                    None => {
                        state.wire = Some(wire);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn wait_for_job(&self) -> Option<(Wire, Sending<T>)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.job.take() {
                return Some(job);
            }
            // Interruptible, so that an idle thread does not count as blocked; it gets no signals.
            let _ = self.changed.wait_interruptible(&mut state);
        }
    }

    /// Lets nothing more in. When this returns nobody enlists a request any more; frames that were
    /// queued are forgotten.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let job = state.job.take();
        self.changed.notify_all();
        drop(state);
        drop(job);
        loop {
            // Letting go of a frame can end its request: not under the lock.
            let next = self.state.lock().queue.pop();
            if next.is_none() {
                return;
            }
        }
    }
}
