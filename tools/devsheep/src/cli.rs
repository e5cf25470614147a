// SPDX-License-Identifier: GPL-2.0

//! The command line, and the server that it describes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use sheepdog_core::proto::limits;

use crate::cluster::cluster_flag;
use crate::cluster::timestamp;
use crate::cluster::unix_time;
use crate::cluster::Cluster;
use crate::cluster::Format;
use crate::cluster::Options;
use crate::control;
use crate::fault::FaultConfig;
use crate::fault::Faults;
use crate::fault::Rule;
use crate::server::bind_tcp;
use crate::server::bind_unix;
use crate::server::ControlAddress;
use crate::server::Server;
use crate::sheep::Bounds;
use crate::sheep::Sheep;
use crate::store::DirectoryStore;
use crate::store::MemoryStore;
use crate::store::Store;

const AFTER_HELP: &str = "\
Faults: TARGET is an operation (READ_OBJ, WRITE_OBJ, LOCK_VDI, ...) or ANY, perhaps with the kind \
of object: WRITE_OBJ@inode, ANY@data. PROBABILITY is 0 to 1 (default 1), COUNT limits how often. \
All faults can be switched while the server runs, through --control; README.md of devsheep tells \
the commands.

Examples:
  devsheep --listen 127.0.0.1:7000
  devsheep --listen 127.0.0.1:0 --directory /var/tmp/sheep --use-lock
  devsheep --control 127.0.0.1:0 --delay 1-20 --shuffle 8
  devsheep --fail READ_OBJ@data=NO_OBJ:0.01 --stall WRITE_OBJ:1:3";

/// A Sheepdog server on one node, for development and tests.
///
/// Prints one line `listening on ADDRESS:PORT` per socket when it is ready (before that,
/// `control on ...` if asked for), and ends with status 0 on SIGTERM, SIGINT, or when a client
/// shuts the cluster down.
#[derive(Debug, Parser)]
#[command(name = "devsheep", version, after_help = AFTER_HELP)]
pub struct Args {
    /// Address and port to serve, IPv4 or IPv6, port 0 for any; can be given several times. Each
    /// port is a gateway that --control can close, stop and hold; all serve the same objects
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7000")]
    pub listen: Vec<SocketAddr>,

    /// Serve on this UNIX socket too
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,

    /// Address that the node list shows to clients; default: the first --listen address
    #[arg(long, value_name = "ADDR:PORT")]
    pub node_address: Option<SocketAddr>,

    /// Keep objects in this directory; default: in memory, gone when the server ends
    #[arg(long, value_name = "PATH")]
    pub directory: Option<PathBuf>,

    /// With --directory: answer before the data are on the disk
    #[arg(long, requires = "directory")]
    pub no_sync: bool,

    /// Without --directory: bytes that all objects may use, after which NO_SPACE is answered
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 30)]
    pub memory_limit: u64,

    /// Replicas that a new VDI has on paper
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=31))]
    pub copies: u8,

    /// Logarithm of the object size of a new VDI
    #[arg(long, value_name = "SHIFT", default_value_t = limits::DEFAULT_BLOCK_SIZE_SHIFT,
          value_parser = clap::value_parser!(u8).range(20..=31))]
    pub block_size_shift: u8,

    /// Format the cluster so that LOCK_VDI locks
    #[arg(long)]
    pub use_lock: bool,

    /// Format the cluster so that VDI ids are used again
    #[arg(long)]
    pub recycle_vid: bool,

    /// Start without formatting a new store: clients get WAIT_FOR_FORMAT until MAKE_FS
    #[arg(long)]
    pub unformatted: bool,

    /// Answer SUCCESS to DEL_VDI of a VDI with objects without deleting it, as upstream does
    #[arg(long)]
    pub upstream_delete: bool,

    /// Flush on FLUSH_VDI instead of refusing it
    #[arg(long)]
    pub flush: bool,

    /// Largest payload in bytes, in either direction
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20,
          value_parser = clap::value_parser!(u32).range(16 << 20..))]
    pub max_payload: u32,

    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub max_connections: u64,

    /// Threads that serve connections
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,

    /// Serve a block device of this very host: mark the process an I/O flusher and lock its
    /// memory; needs CAP_SYS_RESOURCE and CAP_IPC_LOCK
    #[arg(long)]
    pub io_flusher: bool,

    /// Control channel: ADDR:PORT on loopback, or unix:PATH
    #[arg(long, value_name = "ADDRESS", value_parser = control_address)]
    pub control: Option<ControlAddress>,

    /// Seed of all chance, so that a run can be repeated
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Answer with an error instead of doing anything: TARGET=RESULT[:PROBABILITY[:COUNT]]
    #[arg(long, value_name = "RULE", value_parser = |text: &str| Rule::fail(text, false))]
    pub fail: Vec<Rule>,

    /// Do it, and answer with an error: TARGET=RESULT[:PROBABILITY[:COUNT]]
    #[arg(long, value_name = "RULE", value_parser = |text: &str| Rule::fail(text, true))]
    pub fail_applied: Vec<Rule>,

    /// Neither do it nor answer: TARGET[:PROBABILITY[:COUNT]]
    #[arg(long, value_name = "RULE", value_parser = Rule::stall)]
    pub stall: Vec<Rule>,

    /// Reset the connection instead: TARGET[:PROBABILITY[:COUNT]]
    #[arg(long, value_name = "RULE", value_parser = |text: &str| Rule::drop(text, false))]
    pub drop: Vec<Rule>,

    /// Do it, and reset the connection instead of answering: TARGET[:PROBABILITY[:COUNT]]
    #[arg(long, value_name = "RULE", value_parser = |text: &str| Rule::drop(text, true))]
    pub drop_applied: Vec<Rule>,

    /// Reset each connection when it has made N requests
    #[arg(long, value_name = "N")]
    pub drop_after: Option<u64>,

    /// Answer late: [TARGET=]MS[-MS][:PROBABILITY[:COUNT]]
    #[arg(long, value_name = "RULE", value_parser = Rule::delay)]
    pub delay: Vec<Rule>,

    /// Damage the reply: [TARGET=]HOW[:PROBABILITY[:COUNT]], HOW one of bit-flip, wrong-id,
    /// duplicate, truncate, oversize, garbage, endless, drip, stray, late, header, early, fuzz
    #[arg(long, value_name = "RULE", value_parser = Rule::corrupt)]
    pub corrupt: Vec<Rule>,

    /// Have the thread reclaim memory before it carries a request out, as if it had run out of
    /// it: [TARGET=]CGROUP[:PROBABILITY[:COUNT]], CGROUP the directory of a memory cgroup
    #[arg(long, value_name = "RULE", value_parser = Rule::reclaim)]
    pub reclaim: Vec<Rule>,

    /// Hold replies back until there are N on a connection, then send them in random order
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shuffle: usize,
}

fn control_address(text: &str) -> Result<ControlAddress, String> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(ControlAddress::Unix(path.into())),
        None => text
            .parse()
            .map(ControlAddress::Tcp)
            .map_err(|_| "use ADDR:PORT, as in 127.0.0.1:0, or unix:PATH".to_owned()),
    }
}

impl Args {
    fn faults(&self) -> Result<FaultConfig> {
        let lists = [
            &self.fail,
            &self.fail_applied,
            &self.stall,
            &self.drop,
            &self.drop_applied,
            &self.delay,
            &self.corrupt,
            &self.reclaim,
        ];
        let mut rules: Vec<Rule> = lists.into_iter().flatten().cloned().collect();
        if let Some(after) = self.drop_after {
            rules.push(Rule {
                after,
                ..Rule::drop("ANY", false)?
            });
        }
        Ok(FaultConfig {
            rules,
            shuffle: self.shuffle,
            refuse: false,
        })
    }

    fn format(&self) -> Option<Format> {
        let mut flags = cluster_flag::AUTO_VNODES;
        if self.use_lock {
            flags |= cluster_flag::USE_LOCK;
        }
        if self.recycle_vid {
            flags |= cluster_flag::RECYCLE_VID;
        }
        (!self.unformatted).then(|| Format {
            ctime: timestamp(),
            flags,
            copies: self.copies,
            copy_policy: 0,
            block_size_shift: self.block_size_shift,
            epochs: vec![unix_time()],
            deleted: BTreeSet::new(),
        })
    }

    fn store(&self) -> Result<Box<dyn Store>> {
        Ok(match &self.directory {
            Some(directory) => Box::new(DirectoryStore::open(directory, !self.no_sync)?),
            None => Box::new(MemoryStore::new(self.memory_limit)),
        })
    }

    /// Opens the store and binds the sockets.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used; the message says what to change.
    pub async fn server(&self) -> Result<Server> {
        let gateways = bind_tcp(&self.listen)?;
        let unix = match &self.unix {
            Some(path) => Some(bind_unix(path).await?),
            None => None,
        };
        let control = match &self.control {
            Some(address) => Some(control::Listener::bind(address).await?),
            None => None,
        };
        let node = match self.node_address {
            Some(address) => address,
            None => {
                let first = gateways.first().and_then(|gateway| gateway.address());
                let default = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), limits::DEFAULT_PORT);
                let mut address = first.unwrap_or(default);
                if address.ip().is_unspecified() {
                    address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
                }
                address
            }
        };
        let options = Options {
            upstream_delete: self.upstream_delete,
            flush: self.flush,
            node,
        };
        let cluster = Cluster::open(self.store()?, options, self.format())?;
        let bounds = Bounds {
            max_payload: self.max_payload,
            max_connections: self.max_connections,
        };
        let faults = Faults::new(self.faults()?);
        let sheep = Sheep::new(cluster, faults, bounds, self.seed);
        Ok(Server::new(sheep, gateways, unix, control))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_fault_switch_becomes_a_rule() {
        let args = Args::parse_from([
            "devsheep",
            "--fail",
            "READ_OBJ=NO_OBJ:0.5",
            "--fail-applied",
            "ANY=HALT",
            "--stall",
            "WRITE_OBJ",
            "--drop",
            "ANY:0.1",
            "--drop-applied",
            "ANY:0.1",
            "--drop-after",
            "9",
            "--delay",
            "5-10",
            "--corrupt",
            "wrong-id",
            "--shuffle",
            "4",
        ]);
        let faults = args.faults().unwrap();
        assert_eq!((faults.rules.len(), faults.shuffle), (8, 4));
        assert_eq!(faults.rules[7].after, 9);
    }
}
