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
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        CondVar,
        Mutex, //
    }, //
};

/// The queue holds one frame per tag, and one more per tag for a peer that answers a request
/// before it has all of it, so that its next step is sent while the first is still on its way out.
const FRAMES_PER_TAG: usize = 2;

struct State<T: Operations> {
    /// The connection; `None` while there is none that is of any use: nothing is sent.
    socket: Option<Arc<Socket>>,
    /// Here while nobody sends; then there is no job and the queue is empty.
    wire: Option<Wire>,
    /// For the transmitter to go on with.
    job: Option<(Wire, Sending<T>)>,
    queue: Fifo<Sending<T>>,
    /// The thread is to end.
    ended: bool,
}

#[pin_data]
pub(super) struct Transmit<T: Operations> {
    /// Whether there is a connection that takes frames; changes under the lock of `state`.
    usable: Atomic<bool>,
    #[pin]
    state: Mutex<State<T>>,
    /// There is a job, or the thread is to end.
    #[pin]
    changed: CondVar,
    /// The wire has come back.
    #[pin]
    idle: CondVar,
}

impl<T: Operations> Transmit<T> {
    /// The sending half for that many tags, without a connection. `ENOMEM`.
    pub(super) fn new(wire: Wire, queue_depth: usize) -> Result<impl PinInit<Self>> {
        let state = State {
            socket: None,
            wire: Some(wire),
            job: None,
            queue: Fifo::new(FRAMES_PER_TAG * queue_depth)?,
            ended: false,
        };
        Ok(pin_init!(Self {
            usable: Atomic::new(false),
            state <- new_mutex!(state),
            changed <- new_condvar!(),
            idle <- new_condvar!(),
        }))
    }

    /// Frames go to this connection from now on. To be called after [`Self::close`], or first.
    pub(super) fn open(&self, socket: Arc<Socket>) {
        let mut state = self.state.lock();
        let before = state.socket.replace(socket);
        self.usable.store(true, Release);
        drop(state);
        drop(before);
    }

    /// Whether there is a connection that takes frames.
    pub(super) fn is_usable(&self) -> bool {
        self.usable.load(Acquire)
    }

    /// Sends a frame, or queues it, after `enlist` has put its request where the reply will find
    /// it. `enlist` is not called while there is no connection.
    ///
    /// # Errors
    ///
    /// `EPIPE` without a connection; what `enlist` says; what the socket says, after which nothing
    /// more is sent on it.
    pub(super) fn submit(
        &self,
        board: &Board,
        mut sending: Sending<T>,
        enlist: impl FnOnce() -> Result,
    ) -> Result {
        let _scope = Scope::reserves();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(socket) = &state.socket else {
            return Err(EPIPE);
        };
        enlist()?;
        let Some(mut wire) = state.wire.take() else {
            board.blocked(sending.tag());
            // A peer that makes us answer faster than it reads has not kept to the protocol.
            return state.queue.push(sending).map_err(|_| errno::protocol());
        };
        match sending.advance(socket, &mut wire, SendFlags::NOWAIT) {
            Ok(Progress::Complete) => {
                board.sent(sending.len_bytes());
                state.wire = Some(wire);
            }
            Ok(Progress::Blocked) => {
                board.blocked(sending.tag());
                state.job = Some((wire, sending));
                self.changed.notify_one();
            }
            Err(error) => {
                // A part of the frame may have been sent: what came after it would be taken for the
                // rest.
                let torn = state.socket.take();
                self.usable.store(false, Release);
                state.wire = Some(wire);
                drop(guard);
                drop(torn);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The transmitter thread: sends what had to wait, until it is told to end. `broken` is called
    /// when a connection fails, before anybody can take that for idle.
    pub(super) fn run(&self, board: &Board, broken: impl Fn(Error)) {
        let _scope = Scope::reserves();
        while let Some((socket, mut wire, mut sending)) = self.wait_for_job() {
            loop {
                let sent = sending.advance(&socket, &mut wire, SendFlags::NONE);
                if sent.is_ok() {
                    board.sent_late(sending.tag(), sending.len_bytes());
                }
                // Letting go of a frame can end its request: not under the lock.
                drop(sending);
                if let Err(error) = sent {
                    self.usable.store(false, Release);
                    broken(error);
                }
                let mut state = self.state.lock();
                // After an error nothing more is sent, whoever closes forgets the queue.
                let next = match sent {
                    Ok(_) => state.queue.pop(),
                    Err(_) => {
                        state.socket = None;
                        None
                    }
                };
                match next {
                    Some(next) => sending = next,
                    None => {
                        state.wire = Some(wire);
                        self.idle.notify_all();
                        break;
                    }
                }
            }
        }
    }

    fn wait_for_job(&self) -> Option<(Arc<Socket>, Wire, Sending<T>)> {
        let mut guard = self.state.lock();
        loop {
            let state = &mut *guard;
            if state.ended {
                return None;
            }
            match (&state.socket, state.job.take()) {
                (Some(socket), Some((wire, sending))) => {
                    return Some((socket.clone(), wire, sending))
                }
                (None, job) => state.job = job,
                (Some(_), None) => {}
            }
            // Interruptible, so that an idle thread does not count as blocked; it gets no signals.
            let _ = self.changed.wait_interruptible(&mut guard);
        }
    }

    /// Lets nothing more in, forgets what is queued, and waits until nobody sends: the connection,
    /// which was aborted, must not hold them up. When this returns nobody enlists a request any
    /// more, and no frame refers to one.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        let socket = state.socket.take();
        self.usable.store(false, Release);
        let job = state.job.take();
        drop(state);
        drop(socket);
        if let Some((wire, sending)) = job {
            drop(sending);
            self.state.lock().wire = Some(wire);
        }
        loop {
            // Letting go of a frame can end its request: not under the lock.
            let next = self.state.lock().queue.pop();
            if next.is_none() {
                break;
            }
        }
        let mut state = self.state.lock();
        while state.wire.is_none() {
            let _ = self.idle.wait_interruptible(&mut state);
        }
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }
}
