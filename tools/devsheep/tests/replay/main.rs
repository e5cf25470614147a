// SPDX-License-Identifier: GPL-2.0

//! The requests of recorded conversations get the recorded answers from the development sheep.
//!
//! Each scenario is replayed over real connections, opened and closed as recorded, to a server
//! that holds what the scenario found. Requests are sent one at a time in the recorded order, so
//! that the outcome is certain; answers are matched by connection, id and opcode. What may differ,
//! and why, is the list in `allowed.rs`.

mod allowed;
mod compare;
mod seed;

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use devsheep::cluster::cluster_flag;
use devsheep::cluster::Cluster;
use devsheep::cluster::Format;
use devsheep::cluster::Options;
use devsheep::fault::Faults;
use devsheep::server::bind_tcp;
use devsheep::server::Server;
use devsheep::sheep::Bounds;
use devsheep::sheep::Sheep;
use devsheep::store::MemoryStore;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_traces::Entry;
use sheepdog_traces::Frame;
use tokio::runtime::Runtime;

use crate::allowed::Allowed;
use crate::compare::Exchange;
use crate::compare::Reply;
use crate::seed::Seed;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
struct Sheepfold {
    _runtime: Runtime,
    address: SocketAddr,
}

/// What the first line of a recording says about its cluster.
fn format(meta: &str, entries: &[Entry]) -> Option<Format> {
    let unformatted = entries.iter().any(|entry| match entry {
        Entry::Response(frame) => frame.text("result_name") == Some("WAIT_FOR_FORMAT"),
        _ => false,
    });
    if unformatted {
        return None;
    }
    let copies = meta
        .split("copies=")
        .nth(1)
        .and_then(|text| text.chars().next());
    let copies = copies.and_then(|digit| digit.to_digit(10)).unwrap_or(1);
    let mut flags = cluster_flag::AUTO_VNODES;
    if meta.contains("lock on") {
        flags |= cluster_flag::USE_LOCK;
    }
    Some(Format {
        ctime: 1 << 32,
        flags,
        copies: u8::try_from(copies).unwrap(),
        copy_policy: 0,
        block_size_shift: 22,
        epochs: vec![1],
        deleted: BTreeSet::new(),
    })
}

impl Sheepfold {
    fn start(format: Option<Format>, seed: &Seed) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let address = runtime.block_on(async {
            let gateways = bind_tcp(&["127.0.0.1:0".parse().unwrap()]).unwrap();
            let node = gateways[0].address().unwrap();
            let options = Options {
                upstream_delete: true,
                flush: false,
                node,
            };
            let store = Box::new(MemoryStore::new(8 << 30));
            let cluster = Cluster::open(store, options, format).unwrap();
            seed.plant(&cluster);
            let bounds = Bounds {
                max_payload: 64 << 20,
                max_connections: 1000,
            };
            let sheep = Sheep::new(cluster, Faults::default(), bounds, 1);
            let server = Server::new(sheep, gateways, None, None);
            tokio::spawn(server.run(std::future::pending()));
            node
        });
        Self {
            _runtime: runtime,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// Sends a request and waits for its answer; `None` when the server ends the connection instead.
fn ask(stream: &mut TcpStream, frame: &Frame) -> Option<Reply> {
    stream.write_all(&frame.header).ok()?;
    stream.write_all(&frame.payload().unwrap()).ok()?;
    let mut header = [0; 48];
    stream.read_exact(&mut header).ok()?;
    let header = ResponseHeader::from_bytes(&header);
    let mut payload = vec![0; header.data_length as usize];
    stream.read_exact(&mut payload).ok()?;
    Some(Reply { header, payload })
}

/// Replays one scenario; returns what differs and is not allowed to.
fn replay(path: &Path, allowed: &mut Allowed) -> Vec<String> {
    let entries = sheepdog_traces::load(path).unwrap();
    let scenario = path.file_stem().unwrap().to_string_lossy().into_owned();
    let Some(Entry::Meta(meta)) = entries.first() else {
        panic!("{scenario} does not begin with a meta line");
    };
    let format = format(&meta.to_string(), &entries);
    let sheepfold = Sheepfold::start(format, &Seed::learn(&entries));
    let mut streams = HashMap::new();
    let mut answers: HashMap<(u64, u32, u8), VecDeque<Exchange>> = HashMap::new();
    let mut wrong = Vec::new();
    for entry in &entries {
        match entry {
            Entry::Open { conn, .. } => drop(streams.insert(*conn, sheepfold.connect())),
            Entry::Close { conn, .. } => drop(streams.remove(conn)),
            Entry::Request(frame) => {
                let request = RequestHeader::from_bytes(&frame.header);
                let stream = streams
                    .entry(frame.conn)
                    .or_insert_with(|| sheepfold.connect());
                let exchange = Exchange {
                    request,
                    reply: ask(stream, frame),
                };
                let key = (frame.conn, request.id, request.opcode.0);
                answers.entry(key).or_default().push_back(exchange);
            }
            Entry::Response(frame) => {
                let recorded = ResponseHeader::from_bytes(&frame.header);
                let key = (frame.conn, recorded.id, recorded.opcode.0);
                let exchange = answers.get_mut(&key).and_then(VecDeque::pop_front);
                let exchange = exchange.expect("every recorded answer has its request");
                let recorded = Reply {
                    header: recorded,
                    payload: frame.payload().unwrap(),
                };
                let differences = compare::differences(&exchange, &recorded);
                let at = frame.json["t_ms"].to_string();
                for difference in differences {
                    if !allowed.permits(&scenario, &difference) {
                        wrong.push(format!("{scenario} at {at} ms: {difference}"));
                    }
                }
            }
            _ => {}
        }
    }
    wrong
}

#[test]
fn recorded_requests_get_the_recorded_answers() {
    let mut allowed = Allowed::new();
    let mut wrong = Vec::new();
    let files = sheepdog_traces::files();
    for path in &files {
        wrong.extend(replay(path, &mut allowed));
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    if !files.is_empty() {
        assert_eq!(
            allowed.unused(),
            Vec::<String>::new(),
            "allowed, but never met"
        );
    }
}
