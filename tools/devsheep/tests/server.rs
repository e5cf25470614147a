// SPDX-License-Identifier: GPL-2.0

//! The server as a process: connections, faults, the control channel, restart and end.

mod common;

use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use common::command;
use common::lookup;
use common::Client;
use common::Process;
use sheepdog_core::proto::arm::ClusterArm;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::SdResult;

const OID: ObjectId = ObjectId::from_raw(0x1234_0000_0000);
const CONTROL: [&str; 2] = ["--control", "127.0.0.1:0"];

/// An object of 4 MiB, all zeroes, of a VDI that does not exist.
fn create_object(client: &mut Client) {
    let result = client.result(RequestHeader::create_obj(OID, 0, 0), &[]);
    assert_eq!(result, SdResult::SUCCESS);
}

fn small_read() -> RequestHeader {
    RequestHeader::read_obj(OID, 0, 512)
}

#[test]
fn a_request_may_arrive_in_pieces_and_several_at_once() {
    let process = Process::start(&[]);
    let mut client = process.client();
    create_object(&mut client);
    let frame = RequestHeader::write_obj(OID, 0, 3).with_id(9).to_bytes();
    for piece in [&frame[..1], &frame[1..47], &frame[47..], b"a", b"bc"] {
        client.stream.write_all(piece).unwrap();
        sleep(Duration::from_millis(5));
    }
    assert_eq!(client.receive().unwrap().0.id, 9);
    let reads: Vec<u8> = (0..100)
        .flat_map(|id| RequestHeader::read_obj(OID, 0, 3).with_id(id).to_bytes())
        .collect();
    client.stream.write_all(&reads).unwrap();
    let ids: BTreeSet<u32> = (0..100)
        .map(|_| {
            let (header, payload) = client.receive().unwrap();
            assert_eq!(payload, b"abc");
            header.id
        })
        .collect();
    assert_eq!(ids, (0..100).collect());
}

#[test]
fn a_request_that_does_not_arrive_whole_is_not_carried_out() {
    let process = Process::start(&[]);
    let mut client = process.client();
    create_object(&mut client);
    let mut other = process.client();
    let frame = RequestHeader::write_obj(OID, 0, 100).to_bytes();
    other.stream.write_all(&frame).unwrap();
    other.stream.write_all(&[1; 99]).unwrap();
    drop(other);
    let (_, payload) = client.call(small_read(), &[]);
    assert_eq!(payload, [0; 512]);
}

#[test]
fn a_payload_beyond_the_limit_ends_the_connection_and_a_large_read_is_refused() {
    let process = Process::start(&["--max-payload", "16777216"]);
    let mut client = process.client();
    create_object(&mut client);
    let read = RequestHeader::read_obj(OID, 0, u32::MAX);
    assert_eq!(client.result(read, &[]), SdResult::INVALID_PARMS);
    client.send(RequestHeader::write_obj(OID, 0, u32::MAX), &[]);
    assert!(client.receive().is_none());
}

#[test]
fn several_ports_and_a_unix_socket_serve_the_same_objects() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let path = path.to_str().unwrap();
    let process = Process::start(&["--listen", "127.0.0.1:0", "--unix", path]);
    let mut client = process.client();
    create_object(&mut client);
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(&small_read().to_bytes()).unwrap();
    let mut reply = [0; 48 + 512];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[16..20], [0; 4]);
}

#[test]
fn a_socket_takes_the_place_of_a_dead_one_and_of_no_other_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    drop(UnixListener::bind(&path).unwrap());
    let path = path.to_str().unwrap();
    drop(Process::start(&["--unix", path]));
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, "precious").unwrap();
    for args in [["--unix", path], ["--control", &format!("unix:{path}")]] {
        let mut child = command(&["--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut greeting = [0; 1];
        let count = child.stdout.take().unwrap().read(&mut greeting).unwrap();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(count, 0, "{args:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("the file there is no socket"), "{said}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
    }
}

#[test]
fn faults_are_switched_on_and_off_while_the_server_runs() {
    let process = Process::start(&CONTROL);
    let mut client = process.client();
    create_object(&mut client);
    let answer = process.control(r#"{"cmd":"fail","spec":"READ_OBJ@data=HALT:1:2"}"#);
    assert_eq!(answer["ok"], true);
    assert_eq!(client.result(small_read(), &[]), SdResult::HALT);
    assert_eq!(client.result(small_read(), &[]), SdResult::HALT);
    assert_eq!(client.result(small_read(), &[]), SdResult::SUCCESS);
    process.control(r#"{"cmd":"fail","spec":"ANY=WAIT_FOR_JOIN"}"#);
    assert_eq!(client.result(small_read(), &[]), SdResult::WAIT_FOR_JOIN);
    process.control(r#"{"cmd":"clear"}"#);
    assert_eq!(client.result(small_read(), &[]), SdResult::SUCCESS);
    let stats = process.control(r#"{"cmd":"stats"}"#);
    assert_eq!(stats["stats"]["requests"]["READ_OBJ"], 5);
    assert_eq!(stats["stats"]["results"]["HALT"], 2);
    assert_eq!(stats["stats"]["faults"], 3);
    let wrong = process.control(r#"{"cmd":"fail","spec":"READ_OBJ=NOPE"}"#);
    assert_eq!(wrong["ok"], false);
    assert!(wrong["error"].as_str().unwrap().contains("NOPE"));
    assert_eq!(process.control("nonsense")["ok"], false);
}

#[test]
fn a_cluster_waits_for_a_time_and_other_faults_stay_with_their_counts() {
    let process = Process::start(&CONTROL);
    let mut client = process.client();
    create_object(&mut client);
    process.control(r#"{"cmd":"fail","spec":"READ_OBJ@data=HALT:1:2"}"#);
    process.control(r#"{"cmd":"fail","spec":"GET_VDI_INFO=WAIT_FOR_JOIN"}"#);
    assert_eq!(client.result(small_read(), &[]), SdResult::HALT);
    let info = RequestHeader::get_vdi_info(0);
    let found = |client: &mut Client| client.result(info, &lookup("test", ""));
    assert_eq!(found(&mut client), SdResult::WAIT_FOR_JOIN);
    let clear = r#"{"cmd":"clear","spec":"fail GET_VDI_INFO=WAIT_FOR_JOIN"}"#;
    assert_eq!(process.control(clear)["removed"], 1);
    assert_eq!(found(&mut client), SdResult::NO_VDI);
    assert_eq!(client.result(small_read(), &[]), SdResult::HALT);
    assert_eq!(client.result(small_read(), &[]), SdResult::SUCCESS);
    for (spec, expected) in [
        ("fail GET_VDI_INFO=WAIT_FOR_JOIN", "no such rule"),
        ("fail", "no result"),
        ("shuffle 3", "no rule comes"),
    ] {
        let answer = process.control(&format!(r#"{{"cmd":"clear","spec":"{spec}"}}"#));
        assert!(answer["error"].as_str().unwrap().contains(expected));
    }
    let rules = &process.control(r#"{"cmd":"faults"}"#)["faults"]["rules"];
    assert_eq!(rules.as_array().unwrap().len(), 1);
}

#[test]
fn an_applied_failure_is_carried_out_and_a_plain_one_is_not() {
    for (switch, expected) in [("--fail", 0), ("--fail-applied", 5)] {
        let process = Process::start(&[switch, "WRITE_OBJ=NO_SPACE"]);
        let mut client = process.client();
        create_object(&mut client);
        let write = RequestHeader::write_obj(OID, 0, 1);
        assert_eq!(client.result(write, &[5]), SdResult::NO_SPACE);
        assert_eq!(client.call(small_read(), &[]).1[0], expected);
    }
}

#[test]
fn a_stalled_request_is_overtaken_by_others() {
    let process = Process::start(&["--stall", "READ_OBJ:1:1"]);
    let mut client = process.client();
    create_object(&mut client);
    client.send(small_read(), &[]);
    client.call(small_read(), &[]);
}

#[test]
fn a_delayed_reply_is_late_and_overtaken() {
    let process = Process::start(&["--delay", "READ_OBJ=200:1:1"]);
    let mut client = process.client();
    create_object(&mut client);
    let begin = Instant::now();
    let slow = client.send(small_read(), &[]);
    let fast = client.send(small_read(), &[]);
    assert_eq!(client.receive().unwrap().0.id, fast);
    assert_eq!(client.receive().unwrap().0.id, slow);
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[test]
fn shuffled_replies_all_arrive_and_the_same_seed_shuffles_alike() {
    let order = |seed: &str| -> Vec<u32> {
        let process = Process::start(&["--shuffle", "8", "--seed", seed]);
        let mut client = process.client();
        create_object(&mut client);
        let reads: Vec<u8> = (100..132)
            .flat_map(|id| small_read().with_id(id).to_bytes())
            .collect();
        client.stream.write_all(&reads).unwrap();
        (0..32).map(|_| client.receive().unwrap().0.id).collect()
    };
    let first = order("5");
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (100..132).collect::<Vec<u32>>());
    assert_ne!(first, sorted);
    assert_eq!(order("5"), first);
}

#[test]
fn dropped_connections_are_reset_after_their_number_of_requests() {
    let process = Process::start(&["--drop-after", "3"]);
    let mut client = process.client();
    create_object(&mut client);
    client.call(small_read(), &[]);
    client.call(small_read(), &[]);
    client.send(small_read(), &[]);
    let error = client.stream.read_exact(&mut [0; 48]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(
        process.client().result(small_read(), &[]),
        SdResult::SUCCESS
    );
}

#[test]
fn damaged_replies_are_damaged_as_told() {
    let damaged = |how: &str| {
        let process = Process::start(&["--corrupt", &format!("READ_OBJ={how}:1:1")]);
        let mut client = process.client();
        create_object(&mut client);
        let id = client.send(small_read(), &[]);
        let mut header = [0; 48];
        client.stream.read_exact(&mut header).unwrap();
        let length = u32::from_le_bytes(header[12..16].try_into().unwrap());
        let same_id = header[8..12] == id.to_le_bytes();
        let mut rest = vec![0; 512];
        let whole = client.stream.read_exact(&mut rest).is_ok();
        let again = how == "duplicate" && client.receive().unwrap().0.id == id;
        (length, same_id, whole, again)
    };
    assert_eq!(damaged("wrong-id"), (512, false, true, false));
    assert_eq!(damaged("duplicate"), (512, true, true, true));
    assert_eq!(damaged("oversize"), (512 + 4096, true, true, false));
    assert_eq!(damaged("truncate"), (512, true, false, false));
}

#[test]
fn connections_are_cut_and_refused_on_command() {
    let process = Process::start(&CONTROL);
    let mut client = process.client();
    create_object(&mut client);
    process.control(r#"{"cmd":"disconnect"}"#);
    assert!(client.receive().is_none());
    process.control(r#"{"cmd":"refuse","on":true}"#);
    let mut refused = process.client();
    assert!(refused.stream.read_exact(&mut [0; 1]).is_err());
    process.control(r#"{"cmd":"refuse","on":false}"#);
    assert_eq!(
        process.client().result(small_read(), &[]),
        SdResult::SUCCESS
    );
}

#[test]
fn a_directory_keeps_what_was_answered_when_the_server_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["--directory", directory.path().to_str().unwrap()];
    let process = Process::start(&args);
    let mut client = process.client();
    let vid = client.create_vdi("test");
    let oid = ObjectId::data(vid, 1);
    let create = RequestHeader::create_obj(oid, 4096, 3);
    assert_eq!(client.result(create, b"abc"), SdResult::SUCCESS);
    let write = RequestHeader::write_obj(oid, 4097, 1);
    assert_eq!(client.result(write, b"X"), SdResult::SUCCESS);
    let gone = client.create_vdi("gone");
    let delete = RequestHeader::del_vdi(0);
    assert_eq!(
        client.result(delete, &lookup("gone", "")),
        SdResult::SUCCESS
    );

    let second = command(&args)
        .args(["--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another devsheep"));
    process.kill();
    let leftover = directory.path().join("objects").join("0.tmp");
    std::fs::write(&leftover, b"left by a crash").unwrap();

    let process = Process::start(&args);
    let mut client = process.client();
    assert!(!leftover.exists());
    let (header, payload) = client.call(RequestHeader::read_obj(oid, 4096, 4), &[]);
    assert_eq!(
        (header.result, &payload[..]),
        (SdResult::SUCCESS, &b"aXc\0"[..])
    );
    let (found, _) = client.call(RequestHeader::get_vdi_info(0), &lookup("test", ""));
    assert_eq!(found.vdi_arm().vdi_id, vid.raw());
    let (_, deleted) = client.call(RequestHeader::read_del_vdis(), &[]);
    assert_ne!(deleted[gone.raw() as usize / 8], 0);
}

#[test]
fn an_unformatted_cluster_waits_for_its_format() {
    let process = Process::start(&["--unformatted"]);
    let mut client = process.client();
    assert_eq!(client.result(small_read(), &[]), SdResult::WAIT_FOR_FORMAT);
    let (default, _) = client.call(RequestHeader::get_cluster_default(), &[]);
    assert_eq!((default.result, default.epoch), (SdResult::SUCCESS, 0));
    assert_eq!(default.cluster_default_arm().block_size_shift, 0);
    let arm = ClusterArm {
        copies: 2,
        ..ClusterArm::default()
    };
    let unknown = RequestHeader::make_fs(arm, 4);
    assert_eq!(client.result(unknown, b"foo\0"), SdResult::NO_STORE);
    assert_eq!(
        client.result(RequestHeader::make_fs(arm, 6), b"plain\0"),
        SdResult::SUCCESS
    );
    let (default, _) = client.call(RequestHeader::get_cluster_default(), &[]);
    assert_eq!(default.epoch, 1);
    let default = default.cluster_default_arm();
    assert_eq!((default.nr_copies, default.block_size_shift), (2, 22));
    create_object(&mut client);
}

#[test]
fn the_server_ends_with_success_on_sigterm_and_on_shutdown() {
    let mut process = Process::start(&[]);
    let pid = process.pid().to_string();
    // The shell's own kill: a build root need not have the program.
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill \"$1\"", "sh", &pid]);
    assert!(kill.status().unwrap().success());
    assert_eq!(process.wait().code(), Some(0));

    let mut process = Process::start(&[]);
    let mut client = process.client();
    let shutdown = RequestHeader::internal(Opcode::SHUTDOWN, 0);
    assert_eq!(client.result(shutdown, &[]), SdResult::SUCCESS);
    assert_eq!(client.result(small_read(), &[]), SdResult::SHUTDOWN);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn an_io_flusher_is_one_or_says_what_is_missing() {
    let mut child = command(&["--io-flusher", "--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0];
    let ready = child.stdout.take().unwrap().read(&mut byte).unwrap() == 1;
    if ready {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let locked = status
            .lines()
            .find(|line| line.starts_with("VmLck:"))
            .unwrap();
        assert!(!locked.contains(" 0 kB"), "{locked}");
        child.kill().unwrap();
        child.wait().unwrap();
    } else {
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("CAP_"), "{message}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    for (args, expected) in [
        (&["--control", "192.0.2.1:0"][..], "loopback"),
        (&["--fail", "READ_OBJ=NOPE"], "NO_OBJ"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--no-sync"], "--directory"),
    ] {
        let output = command(args).output().unwrap();
        assert!(!output.status.success());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn memory_is_reclaimed_before_a_request_is_carried_out() {
    let cgroup = tempfile::tempdir().unwrap();
    let file = cgroup.path().join("memory.reclaim");
    let read = || std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    let rule = format!("READ_OBJ={}:1:1", cgroup.path().display());
    let process = Process::start(&["--reclaim", &rule]);
    let mut client = process.client();
    create_object(&mut client);
    assert_eq!(read(), "");
    assert_eq!(client.result(small_read(), &[]), SdResult::SUCCESS);
    assert_eq!(read(), "1G");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(client.result(small_read(), &[]), SdResult::SUCCESS);
    assert!(!file.exists());
}
