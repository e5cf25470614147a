// SPDX-License-Identifier: GPL-2.0

//! One function per parser that takes bytes from somebody else, and one for the whole server.
//!
//! Each takes arbitrary bytes and panics when something is wrong that must never be. `tools/fuzz`
//! gives them to libFuzzer; `tests/short.rs` runs them for a moment on every test run.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use devsheep::cluster::cluster_flag;
use devsheep::cluster::Cluster;
use devsheep::cluster::Format;
use devsheep::cluster::Options;
use devsheep::control;
use devsheep::fault::Faults;
use devsheep::fault::Rule;
use devsheep::sheep::Bounds;
use devsheep::sheep::Sheep;
use devsheep::store::MemoryStore;
use sheepdog_core::proto::inode;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::limits;
use sheepdog_core::proto::limits::HEADER_LEN;
use sheepdog_core::proto::name;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::VdiName;
use sheepdog_core::proto::Vid;
use sheepdog_core::volume;
use sheepdog_core::volume::probe;
use sheepdog_core::volume::Access;
use sheepdog_core::volume::Extent;
use sheepdog_core::volume::Geometry;
use sheepdog_core::volume::Identity;
use sheepdog_core::volume::Incoming;
use sheepdog_core::volume::Opening;
use sheepdog_core::volume::Outcome;
use sheepdog_core::volume::Progress;
use sheepdog_core::volume::Step;
use sheepdog_core::volume::WireId;

/// Replies and payloads of the fuzzed server are no larger, so that a run is fast.
const MAX_PAYLOAD: u32 = 1 << 20;
/// Requests that the fuzzed driver has in flight.
const TAGS: usize = 8;
/// Memory of the fuzzed server.
const MEMORY: u64 = 32 << 20;

/// Request headers, back to back.
pub fn requests(data: &[u8]) {
    for bytes in data.chunks_exact(HEADER_LEN) {
        let Some(bytes) = bytes.first_chunk() else {
            return;
        };
        let request = RequestHeader::from_bytes(bytes);
        assert_eq!(request.to_bytes(), *bytes);
        assert_eq!(request.object_arm().to_bytes(), request.arm);
        assert_eq!(request.vdi_arm().to_bytes(), request.arm);
        assert_eq!(request.cluster_arm().to_bytes(), request.arm);
        assert!(request.payload_len() <= request.data_length);
        let oid = request.object_arm().oid;
        let text = format!("{} {oid} {:?} {}", request.opcode, oid.kind(), oid.vid());
        assert!(text.is_ascii());
    }
}

/// Response headers, back to back.
pub fn responses(data: &[u8]) {
    for bytes in data.chunks_exact(HEADER_LEN) {
        let Some(bytes) = bytes.first_chunk() else {
            return;
        };
        let response = ResponseHeader::from_bytes(bytes);
        assert_eq!(response.to_bytes(), *bytes);
        assert_eq!(response.vdi_arm().to_bytes(), response.arm);
        assert!(!response.result.to_string().is_empty());
        let views = (
            response.node_arm(),
            response.cluster_default_arm(),
            response.hash_digest(),
            response.object_offset(),
        );
        assert_eq!(views.2[..], response.arm[4..24]);
    }
}

/// What a hostile sheep says to the driver: the way of every byte that the kernel module receives.
///
/// The first bytes say what is in flight; the rest is the stream, taken apart as the receiver of the
/// driver does it. Nothing may be read beyond what the request asked for, and nothing may end a
/// request that is not in flight.
pub fn replies(data: &[u8]) {
    let Some((setup, mut stream)) = data.split_at_checked(2 * TAGS) else {
        return;
    };
    let geometry = geometry();
    let mut in_flight = setup.chunks_exact(2).zip(0..).map(|(bytes, tag)| {
        let len = (u32::from(bytes[1]) + 1) << 9;
        let extent = geometry.extent(u64::from(bytes[0]) << 18, len).ok()?;
        let parent = (bytes[1] & 1 == 1).then_some(Vid::truncate(0x7c_2b24));
        let step = match bytes[0] % 4 {
            0 => Step::Read { parent },
            1 => Step::Write,
            2 => Step::Create { parent },
            _ => Step::UpdateMap,
        };
        let id = WireId::new(tag, u32::from(bytes[1]) + 1)?;
        Some((id, step, extent))
    });
    let mut in_flight: [Option<(WireId, Step, Extent)>; TAGS] =
        std::array::from_fn(|_| in_flight.next().flatten());
    while let Some((header, rest)) = stream.split_first_chunk() {
        stream = rest;
        let header = ResponseHeader::from_bytes(header);
        let Some(id) = WireId::from_raw(header.id) else {
            return;
        };
        let Some(place) = in_flight.get_mut(usize::from(id.tag())) else {
            return;
        };
        let Some((_, step, extent)) = place.take_if(|(sent, ..)| *sent == id) else {
            return;
        };
        let Ok(reply) = volume::reply(step, &extent, &header) else {
            return;
        };
        let len = match reply.payload {
            Incoming::None => 0,
            Incoming::Data => extent.len,
            Incoming::Discard(len) => len,
        };
        assert!(len <= step.data_length(&extent));
        assert_eq!(len, header.data_length);
        let Some((_, rest)) = stream.split_at_checked(len as usize) else {
            return;
        };
        stream = rest;
        match reply.outcome {
            Outcome::Next(next) => *place = Some((id.next(), next, extent)),
            Outcome::Fail(failure) => assert!(!failure.to_string().is_empty()),
            Outcome::Done | Outcome::Created => assert!(header.result.is_success()),
        }
    }
}

/// What a hostile sheep says while a VDI is being mapped, and when the driver connects anew.
pub fn mapping(data: &[u8]) {
    let mut opening = Opening::new(Access::ReadWrite);
    let mut stream = data;
    for id in 1..64 {
        let asked = RequestHeader::from_bytes(&opening.request(id));
        let Some((header, rest)) = stream.split_first_chunk() else {
            break;
        };
        stream = rest;
        let answer = ResponseHeader::from_bytes(header);
        let Ok(incoming) = opening.incoming(&answer) else {
            break;
        };
        let len = match incoming {
            Incoming::None => 0,
            Incoming::Data => opening.answer_len(),
            Incoming::Discard(len) => len,
        };
        assert!(len <= asked.data_length && len == answer.data_length);
        let Some((payload, rest)) = stream.split_at_checked(len as usize) else {
            break;
        };
        stream = rest;
        match opening.answered(&answer, payload) {
            Progress::Ask | Progress::Wait { .. } => {}
            Progress::Open(geometry) => {
                assert!(geometry.capacity_sectors() > 0);
                break;
            }
            Progress::Refused(refusal) => {
                assert!(!refusal.to_string().is_empty() && !refusal.advice().is_empty());
                break;
            }
        }
    }
    let known = Identity::of_inode(&[1; inode::HEADER_LEN]);
    if let (Some(known), Some((header, rest))) = (known, data.split_first_chunk()) {
        let announced = probe::announced(&ResponseHeader::from_bytes(header));
        if let (Ok(()), Some(answer)) = (announced, rest.first_chunk()) {
            let _ = probe::found(&known, answer);
        }
    }
}

/// The geometry of a VDI of 64 objects of 1 MiB.
fn geometry() -> Geometry {
    let mut bytes = vec![0; inode::HEADER_LEN];
    bytes[0] = b'v';
    bytes[field::VDI_SIZE..][..8].copy_from_slice(&(64u64 << 20).to_le_bytes());
    bytes[field::BLOCK_SIZE_SHIFT] = 20;
    let vid = Vid::truncate(0x7c_2b25);
    bytes[field::VDI_ID..][..4].copy_from_slice(&vid.raw().to_le_bytes());
    let header = InodeHeader::from_prefix(&bytes).expect("a whole header");
    header.geometry(vid).expect("a plain VDI").into()
}

/// An inode's header, and names.
pub fn inodes(data: &[u8]) {
    if let Some(field) = name::until_nul(data) {
        assert!(field.len() < data.len());
        assert!(!name::hash_start(field).is_none());
    }
    if let Ok(name) = VdiName::new(data) {
        assert_eq!(name.as_bytes(), data);
    }
    let Some(header) = InodeHeader::from_prefix(data) else {
        assert!(data.len() < inode::HEADER_LEN);
        return;
    };
    let vid = Vid::truncate(header.vdi_id());
    match header.geometry(vid) {
        Ok(geometry) => {
            let capacity = u64::from(geometry.object_count()) << geometry.block_size_shift();
            assert!(capacity >= geometry.size_bytes());
            assert!(geometry.inode_bytes() <= inode::GREF_OFFSET);
            assert!(geometry.object_count() <= limits::MAX_OBJECTS);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Texts of faults and lines of the control channel.
pub fn control_lines(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for rule in [
        Rule::fail(text, false),
        Rule::stall(text),
        Rule::drop(text, true),
        Rule::delay(text),
        Rule::corrupt(text),
    ] {
        match rule {
            Ok(rule) => assert!(rule.check().is_ok()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    // Without gateways there is nothing to wait for.
    let sheep = sheep();
    let answer = pin!(control::answer(&sheep, &[], text));
    let Poll::Ready(answer) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the control channel waits for something");
    };
    assert!(answer["ok"].is_boolean());
}

fn sheep() -> std::sync::Arc<Sheep> {
    let format = Format {
        ctime: 1,
        flags: cluster_flag::USE_LOCK,
        copies: 1,
        copy_policy: 0,
        block_size_shift: limits::MIN_BLOCK_SIZE_SHIFT,
        epochs: vec![1],
        deleted: Default::default(),
    };
    let options = Options {
        upstream_delete: false,
        flush: false,
        node: (Ipv4Addr::LOCALHOST, 7000).into(),
    };
    let store = Box::new(MemoryStore::new(MEMORY));
    let cluster = Cluster::open(store, options, Some(format)).expect("an empty store opens");
    let bounds = Bounds {
        max_payload: MAX_PAYLOAD,
        max_connections: 1,
    };
    Sheep::new(cluster, Faults::default(), bounds, 1)
}

/// A whole conversation: requests with their payloads, as on a connection. The server answers each
/// one with exactly one frame.
pub fn conversation(mut data: &[u8]) {
    let sheep = sheep();
    let mut out = Vec::new();
    while let Some((bytes, rest)) = data.split_first_chunk::<HEADER_LEN>() {
        let mut request = RequestHeader::from_bytes(bytes);
        // A payload that is not there is cut short, instead of ending the conversation.
        let available = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        if request.payload_len() > available {
            request.data_length = available;
        }
        let len = request.payload_len() as usize;
        out.clear();
        // Nothing is served after a shutdown, which would make the rest of the bytes worthless.
        if request.opcode != Opcode::SHUTDOWN && request.opcode != Opcode::KILL_NODE {
            sheep.execute(&request, &rest[..len], &mut out);
            check_reply(&request, &out);
        }
        data = &rest[len..];
    }
}

fn check_reply(request: &RequestHeader, out: &[u8]) {
    let (bytes, payload) = out
        .split_first_chunk::<HEADER_LEN>()
        .expect("a reply has a header");
    let reply = ResponseHeader::from_bytes(bytes);
    assert_eq!((reply.id, reply.opcode), (request.id, request.opcode));
    assert_eq!(reply.data_length as usize, payload.len());
    assert!(
        reply.data_length <= request.data_length.max(limits::ATTR_LEN),
        "{} got {} bytes",
        request.opcode,
        reply.data_length
    );
}
