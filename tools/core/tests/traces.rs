// SPDX-License-Identifier: GPL-2.0

//! The recorded conversations, read with the project's own types: every header comes back byte for
//! byte, and every field is what the recorder saw.

use serde_json::Value;
use sheepdog_core::proto::inode;
use sheepdog_core::proto::name::until_nul;
use sheepdog_core::proto::Flags;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_traces::Entry;
use sheepdog_traces::Frame;

/// Compares `ours` with the recorder's number `key`, if it wrote one.
fn same(frame: &Frame, key: &str, ours: u64) {
    if let Some(recorded) = frame.number(key) {
        assert_eq!(ours, recorded, "{key} of {}", frame.json);
    }
}

/// The same for what the recorder writes in hexadecimal.
fn same_hex(frame: &Frame, key: &str, ours: u64) {
    if let Some(recorded) = frame.hex_number(key) {
        assert_eq!(ours, recorded, "{key} of {}", frame.json);
    }
}

fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Data => "data",
        ObjectKind::Inode => "inode",
        ObjectKind::VmState => "vmstate",
        ObjectKind::Attr => "attr",
        ObjectKind::BtreeNode => "btree",
        ObjectKind::Ledger => "ledger",
        ObjectKind::Unknown => "unknown",
    }
}

fn flag_bit(name: &str) -> Flags {
    match name {
        "WRITE" => Flags::WRITE,
        "COW" => Flags::COW,
        "CACHE" => Flags::CACHE,
        "DIRECT" => Flags::DIRECT,
        "TGT" => Flags::TGT,
        "CREAT/WILDCARD" => Flags::ATTR_CREAT,
        "DEL" => Flags::ATTR_DEL,
        other => panic!("a flag that no recording had: {other}"),
    }
}

fn check_request(frame: &Frame) {
    let request = RequestHeader::from_bytes(&frame.header);
    assert_eq!(request.to_bytes(), frame.header);
    same(frame, "proto_ver", request.proto_ver.into());
    same(frame, "opcode", request.opcode.0.into());
    same(frame, "flags", request.flags.0.into());
    same(frame, "epoch", request.epoch.into());
    same(frame, "id", request.id.into());
    same(frame, "data_length", request.data_length.into());
    assert_eq!(request.opcode.to_string(), frame.text("op").unwrap());
    let payload_len = usize::try_from(request.payload_len()).unwrap();
    assert_eq!(payload_len, frame.payload_len(), "{}", frame.json);
    let named = frame.json["flag_names"].as_array().unwrap();
    let flags = named.iter().fold(Flags::NONE, |flags, name| {
        flags | flag_bit(name.as_str().unwrap())
    });
    assert_eq!(flags, request.flags);

    if frame.json.get("oid").is_some() {
        let arm = request.object_arm();
        same_hex(frame, "oid", arm.oid.raw());
        same_hex(frame, "cow_oid", arm.cow_oid.raw());
        same_hex(frame, "oid_vid", arm.oid.vid().raw().into());
        same(frame, "oid_idx", arm.oid.idx().into());
        same(frame, "copies", arm.copies.into());
        same(frame, "copy_policy", arm.copy_policy.into());
        same(frame, "ec_index", arm.ec_index.into());
        same(frame, "tgt_epoch", arm.tgt_epoch.into());
        same(frame, "offset", arm.offset.into());
        assert_eq!(kind_name(arm.oid.kind()), frame.text("oid_kind").unwrap());
    } else if frame.json.get("base_vdi_id").is_some() {
        let arm = request.vdi_arm();
        same(frame, "vdi_size", arm.vdi_size);
        same_hex(frame, "base_vdi_id", arm.base_vdi_id.into());
        same(frame, "copies", arm.copies.into());
        same(frame, "copy_policy", arm.copy_policy.into());
        same(frame, "store_policy", arm.store_policy.into());
        same(frame, "block_size_shift", arm.block_size_shift.into());
        same(frame, "snapid", arm.snapid.into());
        same(frame, "type", arm.lock_type.into());
    } else if frame.json.get("nodes_nr").is_some() || frame.json.get("ctime").is_some() {
        let arm = request.cluster_arm();
        same(frame, "nodes_nr", arm.nodes_nr.into());
        same(frame, "ctime", arm.ctime);
        same(frame, "copies", arm.copies.into());
        same(frame, "copy_policy", arm.copy_policy.into());
        same(frame, "cluster_flags", arm.cluster_flags.into());
        same(frame, "block_size_shift", arm.block_size_shift.into());
    }
}

fn check_response(frame: &Frame) {
    let response = ResponseHeader::from_bytes(&frame.header);
    assert_eq!(response.to_bytes(), frame.header);
    assert_eq!((response.proto_ver, response.flags), (0, 0));
    same(frame, "opcode", response.opcode.0.into());
    same(frame, "epoch", response.epoch.into());
    same(frame, "id", response.id.into());
    same(frame, "data_length", response.data_length.into());
    same(frame, "result", response.result.0.into());
    assert_eq!(
        response.result.to_string(),
        frame.text("result_name").unwrap()
    );
    let payload_len = usize::try_from(response.data_length).unwrap();
    assert_eq!(payload_len, frame.payload_len(), "{}", frame.json);

    if frame.json.get("vdi_id").is_some() {
        let arm = response.vdi_arm();
        same_hex(frame, "vdi_id", arm.vdi_id.into());
        same(frame, "attr_id", arm.attr_id.into());
        same(frame, "copies", arm.copies.into());
        same(frame, "block_size_shift", arm.block_size_shift.into());
    } else if frame.json.get("nr_copies").is_some() {
        let arm = response.cluster_default_arm();
        same(frame, "nr_copies", arm.nr_copies.into());
        same(frame, "copy_policy", arm.copy_policy.into());
        same(frame, "block_size_shift", arm.block_size_shift.into());
    } else if frame.json.get("nr_nodes").is_some() {
        let arm = response.node_arm();
        same(frame, "nr_nodes", arm.nr_nodes.into());
        same(frame, "store_size", arm.store_size);
        same(frame, "store_free", arm.store_free);
    }
}

fn check_inode_header(header: &InodeHeader<'_>, recorded: &Value) {
    let numbers = [
        ("create_time", header.create_time()),
        ("snap_ctime", header.snap_ctime()),
        ("vm_clock_nsec", header.vm_clock_nsec()),
        ("vdi_size", header.vdi_size()),
        ("vm_state_size", header.vm_state_size()),
        ("copy_policy", header.copy_policy().into()),
        ("store_policy", header.store_policy().into()),
        ("nr_copies", header.nr_copies().into()),
        ("block_size_shift", header.block_size_shift().into()),
        ("snap_id", header.snap_id().into()),
        ("btree_counter", header.btree_counter().into()),
    ];
    for (key, ours) in numbers {
        if let Some(value) = recorded[key].as_u64() {
            assert_eq!(ours, value, "{key} of {recorded}");
        }
    }
    for (key, ours) in [
        ("vdi_id", header.vdi_id()),
        ("parent_vdi_id", header.parent_vdi_id()),
    ] {
        if let Some(text) = recorded[key].as_str() {
            assert_eq!(
                u32::from_str_radix(text, 16),
                Ok(ours),
                "{key} of {recorded}"
            );
        }
    }
    for (key, ours) in [("name", header.name()), ("tag", header.tag())] {
        if let Some(text) = recorded[key].as_str() {
            assert_eq!(ours, Some(text.as_bytes()), "{key} of {recorded}");
        }
    }
}

/// Compares an inode payload with the recorder's reading of it. Returns how many map entries were
/// compared.
fn check_inode(frame: &Frame, payload: &[u8], offset: usize) -> usize {
    let aid = &frame.json["inode"];
    if offset == 0 && !aid["header"].is_null() {
        if let Some(header) = InodeHeader::from_prefix(payload) {
            check_inode_header(&header, &aid["header"]);
        }
    }
    let Some(map) = aid["data_vdi_id"].as_object() else {
        return 0;
    };
    let entries = map.iter().filter_map(|(idx, vid)| {
        let idx: u32 = idx.parse().ok()?;
        Some((idx, u32::from_str_radix(vid.as_str()?, 16).ok()?))
    });
    let mut compared = 0;
    for (idx, vid) in entries {
        let at = usize::try_from(inode::map_offset(idx).unwrap()).unwrap() - offset;
        let ours = u32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
        assert_eq!(ours, vid, "entry {idx} of {}", frame.json);
        compared += 1;
    }
    compared
}

#[test]
fn every_header_is_understood_and_comes_back_byte_for_byte() {
    for path in sheepdog_traces::files() {
        for entry in sheepdog_traces::load(&path).unwrap() {
            match entry {
                Entry::Request(frame) => check_request(&frame),
                Entry::Response(frame) => check_response(&frame),
                _ => {}
            }
        }
    }
}

#[test]
fn every_inode_payload_is_understood() {
    let files = sheepdog_traces::files();
    let mut headers = 0;
    let mut entries = 0;
    for path in &files {
        for entry in sheepdog_traces::load(path).unwrap() {
            let (Entry::Request(frame) | Entry::Response(frame)) = entry else {
                continue;
            };
            if frame.json.get("inode").is_none() {
                continue;
            }
            let offset = frame.number("req_offset").or(frame.number("offset"));
            let offset = usize::try_from(offset.unwrap()).unwrap();
            headers += usize::from(!frame.json["inode"]["header"].is_null());
            entries += check_inode(&frame, &frame.payload().unwrap(), offset);
        }
    }
    if !files.is_empty() {
        assert!(
            headers > 100 && entries > 100,
            "{headers} headers, {entries} entries"
        );
    }
}

#[test]
fn the_name_in_a_lookup_is_found_where_the_recorder_found_it() {
    for path in sheepdog_traces::files() {
        for entry in sheepdog_traces::load(&path).unwrap() {
            let Entry::Request(frame) = entry else {
                continue;
            };
            let opcode = RequestHeader::from_bytes(&frame.header).opcode;
            let lookup = opcode == Opcode::GET_VDI_INFO || opcode == Opcode::NEW_VDI;
            let (true, Some(name)) = (lookup, frame.text("name")) else {
                continue;
            };
            let payload = frame.payload().unwrap();
            let field = &payload[..payload.len().min(256)];
            if let Some(ours) = until_nul(field) {
                assert_eq!(String::from_utf8_lossy(ours), name, "{}", frame.json);
            }
        }
    }
}
