// SPDX-License-Identifier: GPL-2.0

//! Makes connections, one at a time, in such a way that somebody else can put an end to it.

use crate::sys::socket::Socket;
use core::net::SocketAddr;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

struct State {
    closed: bool,
    /// What is being waited on.
    socket: Option<Arc<Socket>>,
}

#[pin_data]
pub(super) struct Dialer {
    #[pin]
    state: Mutex<State>,
}

impl Dialer {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State {
                closed: false,
                socket: None,
            }),
        })
    }

    /// A new connection, whose waits last at most `timeout_ms`. It can be hung up until the next one
    /// is made or [`Self::done`].
    ///
    /// # Errors
    ///
    /// As [`Socket::connect`]; `ECONNABORTED` when it was hung up; `EINTR` when no more are wanted.
    pub(super) fn connect(&self, peer: &SocketAddr, timeout_ms: u32) -> Result<Arc<Socket>> {
        let socket = Arc::new(Socket::new(peer, timeout_ms)?, GFP_KERNEL)?;
        let mut state = self.state.lock();
        if state.closed {
            return Err(EINTR);
        }
        let before = state.socket.replace(socket.clone());
        drop(state);
        drop(before);
        socket.connect(peer)?;
        Ok(socket)
    }

    /// The connection made last is somebody else's now.
    pub(super) fn done(&self) {
        let socket = self.state.lock().socket.take();
        drop(socket);
    }

    /// Resets the connection made last, if nobody has taken it over.
    pub(super) fn hang_up(&self) {
        let socket = self.state.lock().socket.clone();
        if let Some(socket) = socket {
            socket.abort();
        }
    }

    /// As [`Self::hang_up`], and no more are made.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.hang_up();
    }
}
