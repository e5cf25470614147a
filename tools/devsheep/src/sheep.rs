// SPDX-License-Identifier: GPL-2.0

//! What all connections of a server share.

use std::sync::Arc;

use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::SdResult;
use tokio::sync::watch;
use tokio::sync::Notify;

use crate::answer::append_reply;
use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::Cluster;
use crate::fault::Faults;
use crate::stats::Stats;

/// Bounds on what a client can make the server hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a payload, in either direction.
    pub max_payload: u32,
    /// Connections at a time.
    pub max_connections: u64,
}

/// The shared part.
pub struct Sheep {
    /// The cluster.
    pub cluster: Cluster,
    /// Counters.
    pub stats: Stats,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// Bounds.
    pub bounds: Bounds,
    /// Seed of all chance.
    pub seed: u64,
    /// Woken when the server shall end.
    pub stop: Notify,
    /// Changes when all connections shall be reset.
    pub reset: watch::Sender<u64>,
}

impl Sheep {
    /// Everything that a server needs but its sockets.
    pub fn new(cluster: Cluster, faults: Faults, bounds: Bounds, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            stats: Stats::default(),
            faults,
            bounds,
            seed,
            stop: Notify::new(),
            reset: watch::Sender::new(0),
        })
    }

    /// Resets every connection that there is.
    pub fn reset_connections(&self) {
        self.reset.send_modify(|generation| *generation += 1);
    }

    /// Carries a request out and appends the reply to `out`.
    pub fn execute(&self, header: &RequestHeader, payload: &[u8], out: &mut Vec<u8>) {
        self.reply(header, out, |out| {
            if header.data_length > self.bounds.max_payload {
                return Err(SdResult::INVALID_PARMS);
            }
            self.cluster.serve(Request { header, payload }, out)
        });
        if header.opcode == Opcode::SHUTDOWN || header.opcode == Opcode::KILL_NODE {
            self.stop_if_asked();
        }
    }

    /// Appends an error reply to `out`.
    pub fn refuse(&self, header: &RequestHeader, result: SdResult, out: &mut Vec<u8>) {
        self.reply(header, out, |_| Err(result));
    }

    /// Appends a reply to a request that is still to be carried out, and counts nothing.
    pub fn promise(&self, header: &RequestHeader, result: SdResult, out: &mut Vec<u8>) {
        append_reply(header, self.cluster.epoch(), out, |_| Err(result));
    }

    fn reply(
        &self,
        header: &RequestHeader,
        out: &mut Vec<u8>,
        operation: impl FnOnce(&mut Vec<u8>) -> Outcome,
    ) {
        let result = append_reply(header, self.cluster.epoch(), out, operation);
        self.stats.result(result);
    }

    fn stop_if_asked(&self) {
        use crate::cluster::Status;
        if matches!(self.cluster.status(), Status::ShuttingDown | Status::Killed) {
            self.stop.notify_one();
        }
    }
}
