// SPDX-License-Identifier: GPL-2.0

//! The listening sockets, and the life of the server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use tokio::net::TcpListener;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::connection::reset_on_close;
use crate::connection::Connection;
use crate::connection::Transport;
use crate::control;
use crate::sheep::Sheep;

/// How long the reply to SHUTDOWN may take to leave.
const LAST_REPLIES: Duration = Duration::from_millis(200);
/// A pause when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a control channel listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlAddress {
    /// TCP, on loopback.
    Tcp(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

/// Sockets that are bound but not served yet.
pub struct Server {
    sheep: Arc<Sheep>,
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
    control: Option<control::Listener>,
}

/// Binds TCP sockets, before it is known what they will serve.
pub async fn bind_tcp(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; choose another port with --listen, 0 for any")
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Binds a UNIX socket, in the place of one that a dead server left.
pub async fn bind_unix(path: &Path) -> Result<UnixListener> {
    let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let result = match UnixListener::bind(path) {
        Err(error) if in_use(&error) && UnixStream::connect(path).await.is_err() => {
            std::fs::remove_file(path).and_then(|()| UnixListener::bind(path))
        }
        result => result,
    };
    result.with_context(|| format!("cannot listen on {path:?}; choose another path"))
}

impl Server {
    /// A server for `sheep` on these sockets.
    pub fn new(
        sheep: Arc<Sheep>,
        tcp: Vec<TcpListener>,
        unix: Option<UnixListener>,
        control: Option<control::Listener>,
    ) -> Self {
        Self {
            sheep,
            tcp,
            unix,
            control,
        }
    }

    /// The addresses of the TCP sockets.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>> {
        self.tcp
            .iter()
            .map(|listener| Ok(listener.local_addr()?))
            .collect()
    }

    /// The address of the control channel, as it is printed.
    pub fn control_address(&self) -> Option<String> {
        self.control.as_ref().map(control::Listener::address)
    }

    /// Serves until `stop` is ready, or a client shuts the cluster down.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        for listener in self.tcp {
            tasks.spawn(accept_tcp(self.sheep.clone(), listener));
        }
        if let Some(listener) = self.unix {
            tasks.spawn(accept_unix(self.sheep.clone(), listener));
        }
        if let Some(listener) = self.control {
            tasks.spawn(listener.run(self.sheep.clone()));
        }
        tokio::select! {
            () = stop => tracing::info!("stopped by a signal"),
            () = self.sheep.stop.notified() => {
                tracing::info!("stopped by a client");
                sleep(LAST_REPLIES).await;
            }
        }
    }
}

async fn accept_tcp(sheep: Arc<Sheep>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small replies must not wait for an acknowledgement.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                tracing::debug!(%peer, "connection");
                accepted(&sheep, stream);
            }
            Err(error) => accept_failed(&error).await,
        }
    }
}

async fn accept_unix(sheep: Arc<Sheep>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => accepted(&sheep, stream),
            Err(error) => accept_failed(&error).await,
        }
    }
}

async fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    sleep(ACCEPT_PAUSE).await;
}

fn accepted<S: Transport + 'static>(sheep: &Arc<Sheep>, stream: S) {
    if sheep.faults.refuses_connections() {
        reset_on_close(&stream);
        return;
    }
    if sheep.stats.connections() >= sheep.bounds.max_connections {
        tracing::warn!("too many connections, one refused; see --max-connections");
        reset_on_close(&stream);
        return;
    }
    let sheep = sheep.clone();
    let number = sheep.stats.connected();
    tokio::spawn(async move {
        Connection::new(sheep.clone(), stream, number).run().await;
        sheep.stats.disconnected();
    });
}
