// SPDX-License-Identifier: GPL-2.0

//! One gateway: a listening port that can die, stop and hang apart from the others.
//!
//! All gateways of a server serve the same objects. The control channel gives an [`Order`]; the
//! acceptor and the connections of the gateway look at its [`State`] and do what it says. Here is
//! also where a gateway that holds keeps the requests it has read.

use std::mem::take;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::job::Job;
use crate::sheep::Sheep;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// What a gateway does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It serves.
    Serve,
    /// It is dead: nobody listens, there are no connections.
    Close,
    /// It does not run, like a process after SIGSTOP. The system accepts connections for it, as
    /// many as the backlog takes.
    Stop,
    /// It reads requests and keeps them.
    Hold,
}

/// What the control channel tells a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Carry out what is held, then serve.
    Serve,
    /// Die.
    Close,
    /// Stop.
    Stop,
    /// Hold.
    Hold,
    /// Carry out what is held, and go on as before.
    Release,
}

/// What the acceptor, the connections and the jobs of a gateway go by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// What it does.
    pub mode: Mode,
    /// Which of its lives it is in: what was read in an earlier one died with that.
    pub life: u64,
}

/// What the system holds open for a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Open {
    listener: bool,
    connections: u64,
}

/// The place where a gateway listens. The bound socket keeps the port while nobody listens on it.
struct Port {
    _reserved: TcpSocket,
    address: SocketAddr,
}

fn socket(address: SocketAddr) -> Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Port {
    fn listen(&self) -> Result<TcpListener> {
        Ok(socket(self.address)?.listen(BACKLOG)?)
    }
}

/// A gateway.
pub struct Gateway {
    /// `None` for a UNIX socket, which takes no orders.
    port: Option<Port>,
    state: watch::Sender<State>,
    open: watch::Sender<Open>,
    /// Bound and not yet taken by the acceptor.
    listener: Mutex<Option<TcpListener>>,
    /// Requests that were read and shall be carried out later. The mode changes under this lock
    /// where it decides whether a request is kept.
    held: Mutex<Vec<Job>>,
    released: AtomicU64,
    /// One order at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Gateway {
    fn new(port: Option<Port>, listener: Option<TcpListener>) -> Arc<Self> {
        let state = State {
            mode: Mode::Serve,
            life: 0,
        };
        Arc::new(Self {
            port,
            state: watch::Sender::new(state),
            open: watch::Sender::default(),
            listener: Mutex::new(listener),
            held: Mutex::default(),
            released: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// A gateway on a port of its own; port 0 is any.
    ///
    /// # Errors
    ///
    /// When nothing can listen there.
    pub fn bind(address: SocketAddr) -> Result<Arc<Self>> {
        let reserved = socket(address)?;
        let port = Port {
            address: reserved.local_addr()?,
            _reserved: reserved,
        };
        let listener = port.listen()?;
        Ok(Self::new(Some(port), Some(listener)))
    }

    /// What serves a socket that is not a port: always in mode [`Mode::Serve`].
    pub fn without_port() -> Arc<Self> {
        Self::new(None, None)
    }

    /// Where it listens, even while it does not.
    pub fn address(&self) -> Option<SocketAddr> {
        self.port.as_ref().map(|port| port.address)
    }

    /// What it does now.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Tells when that changes.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The listening socket that an order has made, for the acceptor.
    pub fn take_listener(&self) -> Option<TcpListener> {
        let listener = self.listener.lock().take();
        self.set_listening(listener.is_some());
        listener
    }

    /// The acceptor has closed the listening socket.
    pub fn listener_closed(&self) {
        self.set_listening(false);
    }

    fn set_listening(&self, listening: bool) {
        self.open.send_modify(|open| open.listener = listening);
    }

    /// A connection was accepted; it lasts as long as what this returns.
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.open.send_modify(|open| open.connections += 1);
        Connected(self.clone())
    }

    /// Keeps a request for later. Gives it back when the gateway does not hold any more.
    pub fn hold(&self, job: Job) -> Option<Job> {
        let mut held = self.held.lock();
        match self.state().mode {
            Mode::Serve => return Some(job),
            // A request that was read before the gateway stopped is carried out when it goes on.
            Mode::Hold | Mode::Stop => held.push(job),
            Mode::Close => {}
        }
        None
    }

    /// Waits until requests that were read in `life` may be carried out. Never is `false`.
    pub async fn runs(&self, life: u64) -> bool {
        let mut state = self.subscribe();
        let goes_on = |state: &State| state.life != life || state.mode != Mode::Stop;
        // The sender is in `self`.
        let state = state.wait_for(goes_on).await.map(|state| *state);
        state.is_ok_and(|state| state.life == life && state.mode != Mode::Close)
    }

    /// Whether they may be now.
    pub fn runs_now(&self, life: u64) -> bool {
        let state = self.state();
        state.life == life && matches!(state.mode, Mode::Serve | Mode::Hold)
    }

    /// What the control channel shows.
    pub fn to_json(&self, index: usize) -> Value {
        json!({
            "index": index,
            "address": self.address().map(|address| address.to_string()),
            "mode": self.state().mode,
            "connections": self.open.borrow().connections,
            "held": self.held.lock().len(),
            "released": self.released.load(Ordering::Relaxed),
        })
    }

    /// Carries an order out. It is in force when this returns.
    ///
    /// # Errors
    ///
    /// When the gateway was closed and nothing can listen on its port any more, or when there is
    /// nothing to release because it does not hold.
    pub async fn obey(self: &Arc<Self>, order: Order, sheep: &Arc<Sheep>) -> Result<()> {
        let _turn = self.turn.lock().await;
        let before = self.state().mode;
        match order {
            Order::Close => self.close().await,
            Order::Release if before == Mode::Hold => self.carry_out_held(sheep).await,
            Order::Release => bail!("the gateway does not hold; `hold` comes before `release`"),
            Order::Serve => {
                self.listen()?;
                self.serve(sheep).await;
            }
            Order::Stop => {
                self.listen()?;
                self.enter(Mode::Stop);
            }
            Order::Hold => {
                self.listen()?;
                self.enter(Mode::Hold);
            }
        }
        Ok(())
    }

    fn enter(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    fn listen(&self) -> Result<()> {
        if let (Some(port), Mode::Close) = (&self.port, self.state().mode) {
            let listener = port
                .listen()
                .with_context(|| format!("cannot listen on {} again", port.address))?;
            *self.listener.lock() = Some(listener);
        }
        Ok(())
    }

    async fn close(&self) {
        self.state.send_modify(|state| {
            state.mode = Mode::Close;
            state.life += 1;
        });
        // One that no acceptor has taken yet.
        drop(self.listener.lock().take());
        let closed = |open: &Open| *open == Open::default();
        // The sender is in `self`.
        let _ = self.open.subscribe().wait_for(closed).await;
        self.held.lock().clear();
    }

    async fn serve(self: &Arc<Self>, sheep: &Arc<Sheep>) {
        // Nothing is read until what was read before is done.
        if self.state().mode == Mode::Hold {
            self.enter(Mode::Stop);
        }
        loop {
            self.carry_out_held(sheep).await;
            let held = self.held.lock();
            if held.is_empty() {
                self.enter(Mode::Serve);
                return;
            }
        }
    }

    /// In the order in which they were read.
    async fn carry_out_held(&self, sheep: &Arc<Sheep>) {
        let jobs = take(&mut *self.held.lock());
        let count = jobs.len() as u64;
        let sheep = sheep.clone();
        let work = move || {
            for job in jobs {
                let reply = job.run(&sheep);
                job.answer(reply);
            }
        };
        if let Err(error) = spawn_blocking(work).await {
            tracing::error!(%error, "held requests");
        }
        self.released.fetch_add(count, Ordering::Relaxed);
    }
}

/// Stands for a connection of a gateway.
pub struct Connected(Arc<Gateway>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| open.connections -= 1);
    }
}
