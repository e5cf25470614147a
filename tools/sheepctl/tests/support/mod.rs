// SPDX-License-Identifier: GPL-2.0

//! A gateway that knows one recorded conversation and nothing else.
//!
//! Requests that change something must come in the recorded order and say what the recorded ones
//! said, byte for byte; they get the recorded replies. Requests that only look are answered from
//! what the recording shows at that point: objects, lookups, bitmaps, lock states. Everything that
//! a real server must not be sent, and everything that was not recorded, is a complaint, which
//! fails the test.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;

use sheepdog_core::proto::inode::{self, field};
use sheepdog_core::proto::limits::{HEADER_LEN, LOOKUP_PAYLOAD_LEN, NAME_LEN};
use sheepdog_core::proto::{InodeHeader, ObjectId, Opcode, RequestHeader, ResponseHeader};
use sheepdog_core::proto::{SdResult, Vid};
use sheepdog_traces::Entry;

/// The reply to GET_CLUSTER_DEFAULT of the recorded clusters (protocol section 16.4): clients other
/// than QEMU do not ask for it, so most recordings do not have it.
const CLUSTER_DEFAULT: [u8; 28] = {
    let mut arm = [0; 28];
    arm[0] = 1;
    arm[2] = 22;
    arm
};

/// Bytes of one vdi_state, and where its lock state stands (protocol section 2.5).
const VDI_STATE_LEN: usize = 1428;
const LOCK_STATE_AT: usize = 16;
const UNLOCKED: u8 = 1;

type Answer = (SdResult, [u8; 28], Vec<u8>);

struct Exchange {
    request: RequestHeader,
    payload: Vec<u8>,
    answer: Answer,
}

impl Exchange {
    fn changes_something(&self) -> bool {
        changes_something(self.request.opcode)
    }
}

fn changes_something(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::NEW_VDI | Opcode::DEL_VDI | Opcode::WRITE_OBJ | Opcode::CREATE_AND_WRITE_OBJ
    )
}

/// The gateway.
pub struct RecordedSheep {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    exchanges: Vec<Exchange>,
    /// The next recorded change.
    next: usize,
    /// Pieces of objects, later ones over earlier ones.
    objects: HashMap<u64, Vec<(usize, Vec<u8>)>>,
    lookups: HashMap<Vec<u8>, Answer>,
    /// Replies to requests without arguments.
    plain: HashMap<u8, Answer>,
    complaints: Vec<String>,
}

impl RecordedSheep {
    /// A gateway that stands where the recording `scenario` stands after `changes` changes.
    pub fn after(scenario: &str, changes: usize) -> Option<Self> {
        let file = sheepdog_traces::files()
            .into_iter()
            .find(|file| file.file_stem().is_some_and(|stem| stem == scenario))?;
        let mut state = State {
            exchanges: exchanges(&sheepdog_traces::load(&file).unwrap()),
            ..State::default()
        };
        state.look_around();
        for _ in 0..changes {
            state.change();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &shared);
            }
        });
        Some(Self { address, state })
    }

    /// Where it listens, as an argument.
    pub fn gateway(&self) -> String {
        self.address.to_string()
    }

    /// Number of recorded changes that have been made.
    pub fn changes(&self) -> usize {
        let state = self.state.lock().unwrap();
        let made = state.exchanges[..state.next].iter();
        made.filter(|exchange| exchange.changes_something()).count()
    }
}

impl Drop for RecordedSheep {
    fn drop(&mut self) {
        let complaints = std::mem::take(&mut self.state.lock().unwrap().complaints);
        if !thread::panicking() {
            assert_eq!(complaints, Vec::<String>::new());
        }
    }
}

fn exchanges(entries: &[Entry]) -> Vec<Exchange> {
    let mut open = HashMap::new();
    let mut exchanges = Vec::new();
    for entry in entries {
        match entry {
            Entry::Request(frame) => {
                let request = RequestHeader::from_bytes(&frame.header);
                open.insert((frame.conn, request.id), (request, frame));
            }
            Entry::Response(frame) => {
                let reply = ResponseHeader::from_bytes(&frame.header);
                let Some((request, asked)) = open.remove(&(frame.conn, reply.id)) else {
                    continue;
                };
                let payload = asked.payload().unwrap();
                let answer = (reply.result, reply.arm, frame.payload().unwrap());
                exchanges.push(Exchange {
                    request,
                    payload,
                    answer,
                });
            }
            _ => {}
        }
    }
    exchanges
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut header = [0; HEADER_LEN];
    while stream.read_exact(&mut header).is_ok() {
        let request = RequestHeader::from_bytes(&header);
        let mut payload = vec![0; request.payload_len() as usize];
        if stream.read_exact(&mut payload).is_err() {
            return;
        }
        let (result, arm, data) = state.lock().unwrap().answer(&request, &payload);
        let reply = ResponseHeader {
            proto_ver: 0,
            opcode: request.opcode,
            flags: 0,
            epoch: 1,
            id: request.id,
            data_length: u32::try_from(data.len()).unwrap(),
            result,
            arm,
        };
        let frame = [&reply.to_bytes()[..], &data].concat();
        if stream.write_all(&frame).is_err() {
            return;
        }
    }
}

/// The bytes `wanted` of an object.
fn assembled(pieces: &[(usize, Vec<u8>)], wanted: Range<usize>) -> Vec<u8> {
    let mut data = vec![0; wanted.len()];
    for (offset, bytes) in pieces {
        let start = wanted.start.max(*offset);
        let end = wanted.end.min(offset + bytes.len());
        if start < end {
            data[start - wanted.start..end - wanted.start]
                .copy_from_slice(&bytes[start - offset..end - offset]);
        }
    }
    data
}

impl State {
    fn complain(&mut self, request: &RequestHeader, what: &str) -> Answer {
        self.complaints.push(format!("{request:?}: {what}"));
        (SdResult::SYSTEM_ERROR, [0; 28], Vec::new())
    }

    fn answer(&mut self, request: &RequestHeader, payload: &[u8]) -> Answer {
        if !request.opcode.accepts_proto_ver(request.proto_ver) {
            return self.complain(request, "wrong protocol version");
        }
        match request.opcode {
            opcode if changes_something(opcode) => match self.differs(request, payload) {
                None => self.change(),
                Some(difference) => self.complain(request, &difference),
            },
            Opcode::GET_VDI_INFO | Opcode::LOCK_VDI => self.look_up(request, payload),
            Opcode::READ_OBJ => self.read(request),
            Opcode::RELEASE_VDI => {
                self.unlock(request.vdi_arm().base_vdi_id);
                (SdResult::SUCCESS, [0; 28], Vec::new())
            }
            Opcode::GET_CLUSTER_DEFAULT => (SdResult::SUCCESS, CLUSTER_DEFAULT, Vec::new()),
            opcode => match self.plain.get(&opcode.0) {
                Some(answer) if answer.2.len() <= request.data_length as usize => answer.clone(),
                Some(_) => self.complain(request, "the buffer is too small"),
                None => self.complain(request, "was not recorded"),
            },
        }
    }

    /// How a change differs from the one that was recorded at this point. A write may be a part of
    /// the recorded one: recorded clients write more than they have to.
    fn differs(&self, request: &RequestHeader, payload: &[u8]) -> Option<String> {
        let Some(recorded) = self.exchanges.get(self.next) else {
            return Some("nothing more was recorded".to_owned());
        };
        let expected = &recorded.request;
        if request.opcode != expected.opcode || request.payload_len() == 0 {
            return Some(format!("{} was recorded", expected.opcode));
        }
        if request.opcode == Opcode::WRITE_OBJ {
            let (ours, theirs) = (request.object_arm(), expected.object_arm());
            let part = ours.offset.checked_sub(theirs.offset).and_then(|start| {
                let start = start as usize;
                recorded.payload.get(start..start + payload.len())
            });
            let same = ours.oid == theirs.oid && part == Some(payload);
            return (!same).then(|| format!("{theirs:?} was recorded"));
        }
        let mut arm = expected.vdi_arm();
        if arm.block_size_shift == 0 && request.opcode == Opcode::NEW_VDI {
            arm.block_size_shift = CLUSTER_DEFAULT[2];
        }
        let same = request.vdi_arm() == arm && payload == recorded.payload;
        (!same).then(|| format!("{arm:?} was recorded"))
    }

    /// Makes the next recorded change.
    fn change(&mut self) -> Answer {
        let exchange = &self.exchanges[self.next];
        let answer = exchange.answer.clone();
        let payload = exchange.payload.clone();
        match exchange.request.opcode {
            Opcode::WRITE_OBJ => {
                let arm = exchange.request.object_arm();
                let pieces = self.objects.entry(arm.oid.raw()).or_default();
                pieces.push((arm.offset as usize, payload));
            }
            Opcode::DEL_VDI => {
                self.lookups.remove(&payload);
            }
            Opcode::NEW_VDI if answer.0.is_success() => {
                let arm = exchange.request.vdi_arm();
                if arm.snapid != 0 {
                    self.add_working_vdi(arm.base_vdi_id, answer.1);
                }
                let working = [payload, vec![0; 256]].concat();
                self.lookups.insert(working, answer.clone());
            }
            _ => {}
        }
        self.next += 1;
        self.look_around();
        answer
    }

    /// The inode that a snapshot of `base` makes, which recorded clients do not all read.
    fn add_working_vdi(&mut self, base: u32, arm: [u8; 28]) {
        let vid = u32::from_le_bytes(*arm[4..].first_chunk().unwrap());
        let oid = |vid| ObjectId::inode(Vid::new(vid).unwrap()).raw();
        let pieces = self.objects.get(&oid(base)).cloned().unwrap_or_default();
        let mut header = assembled(&pieces, 0..inode::HEADER_LEN);
        let snap_id = InodeHeader::from_prefix(&header).unwrap().snap_id() + 1;
        header[field::TAG..][..NAME_LEN].fill(0);
        header[field::SNAP_ID..][..4].copy_from_slice(&snap_id.to_le_bytes());
        header[field::VDI_ID..][..4].copy_from_slice(&vid.to_le_bytes());
        self.objects.entry(oid(vid)).or_default().push((0, header));
    }

    /// Learns from what was read up to the next change.
    fn look_around(&mut self) {
        while let Some(exchange) = self.exchanges.get(self.next) {
            if exchange.changes_something() {
                return;
            }
            self.next += 1;
            let arm = exchange.request.object_arm();
            let answer = exchange.answer.clone();
            match exchange.request.opcode {
                Opcode::READ_OBJ if answer.0.is_success() => {
                    let pieces = self.objects.entry(arm.oid.raw()).or_default();
                    pieces.push((arm.offset as usize, answer.2));
                }
                Opcode::GET_VDI_INFO | Opcode::LOCK_VDI
                    if exchange.payload.len() == 512
                        && exchange.request.vdi_arm().snapid == 0
                        && answer.0 != SdResult::VDI_LOCKED =>
                {
                    self.lookups.insert(exchange.payload.clone(), answer);
                }
                opcode if exchange.payload.is_empty() => {
                    self.plain.insert(opcode.0, answer);
                }
                _ => {}
            }
        }
    }

    fn look_up(&mut self, request: &RequestHeader, payload: &[u8]) -> Answer {
        if request.data_length != LOOKUP_PAYLOAD_LEN {
            return self.complain(request, "can crash a server");
        }
        if let Some(answer) = self.lookups.get(payload) {
            return answer.clone();
        }
        let working = [&payload[..256], &[0; 256]].concat();
        let known = self
            .lookups
            .get(&working)
            .is_some_and(|answer| answer.0.is_success());
        let result = if known {
            SdResult::NO_TAG
        } else {
            SdResult::NO_VDI
        };
        (result, [0; 28], Vec::new())
    }

    fn read(&mut self, request: &RequestHeader) -> Answer {
        let arm = request.object_arm();
        let Some(pieces) = self.objects.get(&arm.oid.raw()) else {
            return (SdResult::NO_OBJ, [0; 28], Vec::new());
        };
        let wanted = arm.offset as usize..(arm.offset + request.data_length) as usize;
        (SdResult::SUCCESS, [0; 28], assembled(pieces, wanted))
    }

    fn unlock(&mut self, vid: u32) {
        let Some(states) = self.plain.get_mut(&Opcode::GET_VDI_COPIES.0) else {
            return;
        };
        for state in states.2.chunks_exact_mut(VDI_STATE_LEN) {
            if state[..4] == vid.to_le_bytes() {
                state[LOCK_STATE_AT] = UNLOCKED;
            }
        }
    }
}
