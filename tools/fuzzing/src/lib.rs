// SPDX-License-Identifier: GPL-2.0

//! One function per parser that takes bytes from somebody else, and one for the whole server.
//!
//! Each takes arbitrary bytes and panics when something is wrong that must never be. `tools/fuzz`
//! gives them to libFuzzer; `tests/short.rs` runs them for a moment on every test run.

use std::net::Ipv4Addr;

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
use sheepdog_core::proto::limits;
use sheepdog_core::proto::limits::HEADER_LEN;
use sheepdog_core::proto::name;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::VdiName;
use sheepdog_core::proto::Vid;

/// Replies and payloads of the fuzzed server are no larger, so that a run is fast.
const MAX_PAYLOAD: u32 = 1 << 20;
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
    let answer = control::answer(&sheep(), text);
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
