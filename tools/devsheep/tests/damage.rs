// SPDX-License-Identifier: GPL-2.0

//! Replies of a broken or hostile server, as a client meets them.

mod common;

use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use common::Client;
use common::Process;
use devsheep::fault::Corruption;
use devsheep::fault::DRIP_INTERVAL;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::SdResult;

const OID: ObjectId = ObjectId::from_raw(0x1234_0000_0000);
/// What was sent arrives within this time.
const A_WHILE: Duration = Duration::from_millis(150);
/// The id of the first read.
const FIRST: u32 = 100;
/// Bytes of the reply to [`read`].
const REPLY: usize = 48 + 8;

fn read() -> RequestHeader {
    RequestHeader::read_obj(OID, 0, 8)
}

/// A server that damages replies as told, and a client of it; the object begins with 1 to 8.
fn start(args: &[&str]) -> (Process, Client) {
    let process = Process::start(args);
    let mut client = process.client();
    let create = RequestHeader::create_obj(OID, 0, 8);
    let result = client.result(create, &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(result, SdResult::SUCCESS);
    (process, client)
}

/// Everything that the client gets for so many reads, until the server closes the connection.
fn bytes_for(mut client: Client, reads: u32) -> Vec<u8> {
    let frames = (0..reads).flat_map(|id| read().with_id(FIRST + id).to_bytes());
    let frames: Vec<u8> = frames.collect();
    client.stream.write_all(&frames).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    client.stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn id(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[8..12].try_into().unwrap())
}

#[test]
fn garbage_comes_in_the_place_of_a_reply() {
    let (_process, client) = start(&["--corrupt", "READ_OBJ=garbage:1:1"]);
    let bytes = bytes_for(client, 2);
    let garbage = bytes.len() - REPLY;
    assert!((1..=4096).contains(&garbage), "{garbage}");
    assert_ne!(bytes[..8], bytes[garbage..garbage + 8]);
    assert_eq!(id(&bytes[garbage..]), FIRST + 1);
    assert!(bytes.ends_with(&[1, 2, 3, 4, 5, 6, 7, 8]));
}

#[test]
fn an_endless_reply_never_ends_and_the_server_serves_others() {
    let (process, mut client) = start(&["--corrupt", "READ_OBJ=endless:1:1"]);
    client.send(read(), &[]);
    let (header, payload) = client.receive().unwrap();
    assert_eq!((header.data_length, payload[7]), (8, 8));
    let mut rest = vec![0; 16 << 20];
    client.stream.read_exact(&mut rest).unwrap();
    assert!(rest[..1 << 20].iter().any(|&byte| byte != rest[0]));
    process.client().call(read(), &[]);
    drop(client);
    process.client().call(read(), &[]);
}

#[test]
fn a_dripping_reply_takes_a_second_for_each_byte() {
    let (process, mut client) = start(&["--corrupt", "READ_OBJ=drip:1:1"]);
    let begin = Instant::now();
    client.send(read(), &[]);
    for byte in 0..3 {
        let count = client.stream.read(&mut [0; REPLY]).unwrap();
        assert_eq!(count, 1);
        assert!(begin.elapsed() >= DRIP_INTERVAL * byte);
    }
    process.client().call(read(), &[]);
}

#[test]
fn a_stray_reply_comes_before_the_right_one() {
    let (_process, client) = start(&["--corrupt", "READ_OBJ=stray:1:1"]);
    let bytes = bytes_for(client, 1);
    assert_eq!(bytes.len(), 2 * REPLY);
    assert_eq!(id(&bytes[REPLY..]), FIRST);
    assert_ne!(id(&bytes), FIRST);
}

#[test]
fn a_late_reply_comes_again_after_others() {
    let (_process, client) = start(&["--corrupt", "READ_OBJ=late:1:1"]);
    let bytes = bytes_for(client, 10);
    let mut ids: Vec<u32> = bytes.chunks(REPLY).map(id).collect();
    let again = ids.iter().rposition(|&id| id == FIRST).unwrap();
    assert!((2..=9).contains(&again), "{ids:?}");
    ids.remove(again);
    assert_eq!(ids, (FIRST..FIRST + 10).collect::<Vec<u32>>());
}

#[test]
fn header_fields_are_replaced_and_the_seed_says_by_what() {
    let replies = |seed: &str| {
        let (_process, client) = start(&["--corrupt", "READ_OBJ=header", "--seed", seed]);
        bytes_for(client, 20)
    };
    let first = replies("3");
    assert_eq!(first.len(), 20 * REPLY);
    let (_process, client) = start(&[]);
    let honest = bytes_for(client, 20);
    for (wrong, right) in first.chunks(REPLY).zip(honest.chunks(REPLY)) {
        assert_ne!(wrong[..20], right[..20]);
        assert_eq!(wrong[20..], right[20..]);
    }
    assert_eq!(replies("3"), first);
    assert_ne!(replies("4"), first);
}

#[test]
fn an_early_reply_comes_before_the_payload_which_is_written_all_the_same() {
    let (_process, mut client) = start(&["--corrupt", "WRITE_OBJ=early"]);
    for (id, payload) in [(77, b"abc"), (78, b"def")] {
        let frame = RequestHeader::write_obj(OID, 0, 3).with_id(id).to_bytes();
        client.stream.write_all(&frame).unwrap();
        let (header, rest) = client.receive().unwrap();
        assert_eq!((header.id, header.result), (id, SdResult::SUCCESS));
        assert!(rest.is_empty());
        client.stream.write_all(payload).unwrap();
        assert_eq!(client.call(read(), &[]).1[..3], payload[..]);
    }
}

#[test]
fn an_early_reply_comes_once_even_if_the_gateway_begins_to_hold() {
    let (process, mut client) = start(&[
        "--control",
        "127.0.0.1:0",
        "--corrupt",
        "WRITE_OBJ=early:1:1",
    ]);
    let frame = RequestHeader::write_obj(OID, 0, 3).with_id(77).to_bytes();
    client.stream.write_all(&frame).unwrap();
    client.receive().unwrap();
    process.control(r#"{"cmd":"gateway","index":0,"mode":"hold"}"#);
    client.stream.write_all(b"abc").unwrap();
    sleep(A_WHILE);
    process.control(r#"{"cmd":"gateway","index":0,"mode":"serve"}"#);
    assert_eq!(client.call(read(), &[]).1[..3], *b"abc");
}

#[test]
fn fuzzed_replies_are_damaged_in_many_ways_and_alike_with_the_same_seed() {
    // The beginning of each reply; what comes in its place is at least one byte.
    let conversation = |seed: &str| -> Vec<Vec<u8>> {
        let (process, _client) = start(&["--corrupt", "READ_OBJ=fuzz", "--seed", seed]);
        let replies = (0..16).map(|_| {
            let mut client = process.client();
            client.send(read(), &[]);
            let mut start = [0; REPLY];
            let count = client.stream.read(&mut start).unwrap();
            start[..count].to_vec()
        });
        replies.collect()
    };
    let first = conversation("1");
    let lengths: BTreeSet<usize> = first.iter().map(Vec::len).collect();
    assert!(lengths.len() >= 3, "{lengths:?}");
    assert_eq!(conversation("1"), first);
    assert_ne!(conversation("2"), first);
}

#[test]
fn the_help_and_the_control_channel_know_every_kind() {
    let output = common::command(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let process = Process::start(&["--control", "127.0.0.1:0"]);
    for (name, _) in Corruption::NAMES {
        assert!(help.contains(name), "{name}");
        let short = format!(r#"{{"cmd":"corrupt","spec":"READ_OBJ={name}"}}"#);
        let long =
            format!(r#"{{"cmd":"add","rule":{{"action":{{"corrupt":{{"how":"{name}"}}}}}}}}"#);
        for line in [short, long] {
            let answer = process.control(&line);
            assert_eq!(answer["ok"], true, "{line}: {answer}");
        }
    }
}
