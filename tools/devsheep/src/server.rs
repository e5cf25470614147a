// SPDX-License-Identifier: GPL-2.0

//! The listening sockets, and the life of the server.

use std::fs;
use std::future::pending;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::connection::reset_on_close;
use crate::connection::Connection;
use crate::connection::Transport;
use crate::control;
use crate::gateway::Gateway;
use crate::gateway::Mode;
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
    gateways: Vec<Arc<Gateway>>,
    unix: Option<UnixListener>,
    control: Option<control::Listener>,
}

/// Binds TCP sockets, before it is known what they will serve.
pub fn bind_tcp(addresses: &[SocketAddr]) -> Result<Vec<Arc<Gateway>>> {
    let mut gateways = Vec::new();
    for &address in addresses {
        let gateway = Gateway::bind(address).with_context(|| {
            format!("cannot listen on {address}; choose another port with --listen, 0 for any")
        })?;
        gateways.push(gateway);
    }
    Ok(gateways)
}

/// Binds a UNIX socket, in the place of one that a dead server left. A file that is no socket stays.
pub async fn bind_unix(path: &Path) -> Result<UnixListener> {
    let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let result = match UnixListener::bind(path) {
        Err(error) if in_use(&error) && UnixStream::connect(path).await.is_err() => {
            remove_socket(path).and_then(|()| UnixListener::bind(path))
        }
        result => result,
    };
    result.with_context(|| format!("cannot listen on {path:?}; choose another path"))
}

fn remove_socket(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("the file there is no socket"));
    }
    fs::remove_file(path)
}

impl Server {
    /// A server for `sheep` on these sockets.
    pub fn new(
        sheep: Arc<Sheep>,
        gateways: Vec<Arc<Gateway>>,
        unix: Option<UnixListener>,
        control: Option<control::Listener>,
    ) -> Self {
        Self {
            sheep,
            gateways,
            unix,
            control,
        }
    }

    /// The addresses of the gateways.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.gateways.iter().map(|gateway| gateway.address());
        addresses.flatten().collect()
    }

    /// The address of the control channel, as it is printed.
    pub fn control_address(&self) -> Option<String> {
        self.control.as_ref().map(control::Listener::address)
    }

    /// Serves until `stop` is ready, or a client shuts the cluster down.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        for gateway in &self.gateways {
            tasks.spawn(accept_tcp(self.sheep.clone(), gateway.clone()));
        }
        if let Some(listener) = self.unix {
            tasks.spawn(accept_unix(self.sheep.clone(), listener));
        }
        if let Some(listener) = self.control {
            tasks.spawn(listener.run(self.sheep.clone(), self.gateways));
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

async fn accept_tcp(sheep: Arc<Sheep>, gateway: Arc<Gateway>) {
    let mut state = gateway.subscribe();
    let mut listener = None;
    loop {
        let mode = state.borrow_and_update().mode;
        if mode == Mode::Close {
            listener = None;
            gateway.listener_closed();
        } else if listener.is_none() {
            listener = gateway.take_listener();
        }
        let runs = matches!(mode, Mode::Serve | Mode::Hold);
        let accept = async {
            match &listener {
                Some(listener) if runs => listener.accept().await,
                _ => pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            result = accept => match result {
                Ok((stream, peer)) => {
                    // Small replies must not wait for an acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot set TCP_NODELAY");
                    }
                    tracing::debug!(%peer, "connection");
                    accepted(&sheep, &gateway, stream);
                }
                Err(error) => accept_failed(&error).await,
            }
        }
    }
}

async fn accept_unix(sheep: Arc<Sheep>, listener: UnixListener) {
    let gateway = Gateway::without_port();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => accepted(&sheep, &gateway, stream),
            Err(error) => accept_failed(&error).await,
        }
    }
}

async fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    sleep(ACCEPT_PAUSE).await;
}

fn accepted<S: Transport + 'static>(sheep: &Arc<Sheep>, gateway: &Arc<Gateway>, stream: S) {
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
    let connection = Connection::new(sheep.clone(), gateway.clone(), stream, number);
    tokio::spawn(async move {
        connection.run().await;
        sheep.stats.disconnected();
    });
}
