// SPDX-License-Identifier: GPL-2.0

//! One attempt to map: the work is done by a thread of ours, and whoever asked for it waits and
//! can change their mind.
//!
//! A thread of ours, because sockets belong to the memory cgroup of the task that makes them, and
//! because a signal must not tear a frame apart.

use crate::sys::{
    socket::{
        self,
        Socket, //
    },
    thread::Thread, //
};
use core::net::SocketAddr;
use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex, //
    }, //
};

struct State<R> {
    cancelled: bool,
    /// What the work is waiting on right now.
    socket: Option<Arc<Socket>>,
    result: Option<Result<R>>,
}

/// The connection between the one who works and the one who waits.
#[pin_data]
pub(crate) struct Attempt<R: Send + Unpin + 'static> {
    #[pin]
    state: Mutex<State<R>>,
    #[pin]
    changed: CondVar,
}

impl<R: Send + Unpin + 'static> Attempt<R> {
    /// Runs `work` in a thread and waits for its result. A signal to the waiter cancels the work:
    /// its connections are reset.
    ///
    /// # Errors
    ///
    /// What `work` returns; `EINTR`; `ENOMEM`.
    pub(crate) fn run(
        name: &CStr,
        work: impl FnOnce(&Attempt<R>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let attempt = Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(State { cancelled: false, socket: None, result: None }),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )?;
        if !socket::made_by_our_threads() {
            return work(&attempt);
        }
        let shared = attempt.clone();
        let thread = Thread::spawn(name, move || {
            let result = work(&shared);
            let mut state = shared.state.lock();
            state.socket = None;
            state.result = Some(result);
            shared.changed.notify_all();
        })?;
        let result = attempt.wait();
        drop(thread);
        result
    }

    fn wait(&self) -> Result<R> {
        let mut state = self.state.lock();
        loop {
            if let Some(result) = state.result.take() {
                return match result {
                    Err(_) if state.cancelled => Err(EINTR),
                    result => result,
                };
            }
            if state.cancelled {
                // What the work waits on has been aborted, so this does not take long.
                self.changed.wait(&mut state);
            } else if self.changed.wait_interruptible(&mut state) {
                state.cancelled = true;
                if let Some(socket) = &state.socket {
                    socket.abort();
                }
                self.changed.notify_all();
            }
        }
    }

    /// Makes a connection that a cancellation resets.
    pub(crate) fn connect(&self, peer: &SocketAddr, timeout_ms: u32) -> Result<Arc<Socket>> {
        let socket = Arc::new(Socket::new(peer, timeout_ms)?, GFP_KERNEL)?;
        let mut state = self.state.lock();
        if state.cancelled {
            return Err(EINTR);
        }
        state.socket = Some(socket.clone());
        drop(state);
        socket.connect(peer)?;
        Ok(socket)
    }

    /// Whether the waiter has changed their mind.
    pub(crate) fn cancelled(&self) -> bool {
        self.state.lock().cancelled
    }

    /// Lets time pass. `EINTR` if the attempt is cancelled.
    pub(crate) fn sleep(&self, ms: u32) -> Result {
        let mut left = kernel::time::msecs_to_jiffies(ms);
        let mut state = self.state.lock();
        loop {
            if state.cancelled {
                return Err(EINTR);
            }
            match self.changed.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Timeout => return Ok(()),
                CondVarTimeoutResult::Woken { jiffies }
                | CondVarTimeoutResult::Signal { jiffies } => left = jiffies,
            }
        }
    }
}
