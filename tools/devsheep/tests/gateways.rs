// SPDX-License-Identifier: GPL-2.0

//! Gateways that die, stop and hang apart from one another, all on the same objects.

mod common;

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use common::Client;
use common::Process;
use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::SdResult;

const OID: ObjectId = ObjectId::from_raw(0x1234_0000_0000);
/// A gateway that does something does it within this time.
const A_WHILE: Duration = Duration::from_millis(150);

/// Two gateways, and an object of zeroes.
fn start(args: &[&str]) -> Process {
    let control = ["--control", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let process = Process::start(&[&control, args].concat());
    let create = RequestHeader::create_obj(OID, 0, 0);
    assert_eq!(process.client().result(create, &[]), SdResult::SUCCESS);
    process
}

fn write(offset: u32) -> RequestHeader {
    RequestHeader::write_obj(OID, offset, 1)
}

/// The byte of the object at an offset, as gateway 1 has it.
fn byte(process: &Process, offset: u32) -> u8 {
    let read = RequestHeader::read_obj(OID, offset, 1);
    process.client_of(1).call(read, &[]).1[0]
}

fn set(process: &Process, index: usize, mode: &str) -> Value {
    process.control(&format!(
        r#"{{"cmd":"gateway","index":{index},"mode":"{mode}"}}"#
    ))
}

fn enter(process: &Process, index: usize, mode: &str) {
    let answer = set(process, index, mode);
    assert_eq!(answer["ok"], true, "{answer}");
}

fn shown(process: &Process, index: usize, what: &str) -> Value {
    process.control(r#"{"cmd":"gateways"}"#)["gateways"][index][what].clone()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + common::PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it takes too long: {what}");
        sleep(Duration::from_millis(10));
    }
}

fn is_silent(client: &mut Client) -> bool {
    client.stream.set_read_timeout(Some(A_WHILE)).unwrap();
    let silent = client.stream.read_exact(&mut [0; 48]).is_err();
    client
        .stream
        .set_read_timeout(Some(common::PATIENCE))
        .unwrap();
    silent
}

/// Ends a connection with an RST.
fn abort(client: Client) {
    set_socket_linger(&client.stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_closed_gateway_refuses_connections_until_it_serves_again_on_its_port() {
    let process = start(&[]);
    let mut client = process.client();
    let mut other = process.client_of(1);
    client.call(write(0), &[1]);
    assert_eq!(shown(&process, 0, "connections"), 1);
    enter(&process, 0, "close");
    let error = client.stream.read_exact(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let error = TcpStream::connect(&process.addresses[0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(shown(&process, 0, "mode"), "close");
    assert_eq!(shown(&process, 0, "connections"), 0);
    other.call(write(0), &[2]);
    enter(&process, 0, "serve");
    let read = RequestHeader::read_obj(OID, 0, 1);
    assert_eq!(process.client().call(read, &[]).1, [2]);
    assert_eq!(shown(&process, 0, "address"), process.addresses[0].as_str());
}

#[test]
fn a_stopped_gateway_takes_connections_but_neither_reads_nor_answers_until_it_goes_on() {
    let process = start(&[]);
    let mut client = process.client();
    client.call(write(9), &[9]);
    enter(&process, 0, "stop");
    client.send(write(0), &[1]);
    let mut late = process.client();
    late.send(write(1), &[2]);
    assert!(is_silent(&mut client) && is_silent(&mut late));
    assert_eq!((byte(&process, 0), byte(&process, 1)), (0, 0));
    let gateways = process.control(r#"{"cmd":"gateways"}"#);
    assert_eq!(gateways["gateways"][0]["connections"], 1, "{gateways}");
    enter(&process, 0, "serve");
    assert!(client.receive().is_some() && late.receive().is_some());
    assert_eq!((byte(&process, 0), byte(&process, 1)), (1, 2));
}

#[test]
fn a_stopped_gateway_sends_no_reply_that_was_under_way() {
    let process = start(&["--delay", "WRITE_OBJ=700"]);
    let mut client = process.client();
    client.send(write(0), &[1]);
    wait_until("the write", || byte(&process, 0) == 1);
    enter(&process, 0, "stop");
    sleep(Duration::from_millis(700));
    assert!(is_silent(&mut client));
    enter(&process, 0, "serve");
    assert!(client.receive().is_some());
}

#[test]
fn what_a_stopped_gateway_has_not_read_is_carried_out_after_a_fin_and_not_after_an_rst() {
    let process = start(&[]);
    let clients = [(); 3].map(|()| process.client());
    let [mut finished, mut aborted, mut half] = clients;
    for client in [&mut finished, &mut aborted, &mut half] {
        client.call(write(9), &[9]);
    }
    enter(&process, 0, "stop");
    finished.send(write(0), &[1]);
    aborted.send(write(1), &[2]);
    half.send(write(2), &[3]);
    drop(finished);
    abort(aborted);
    half.stream.shutdown(Shutdown::Write).unwrap();
    sleep(A_WHILE);
    enter(&process, 0, "serve");
    wait_until("the write before the FIN", || byte(&process, 0) == 1);
    wait_until("all connections end", || {
        shown(&process, 0, "connections") == 0
    });
    assert_eq!(byte(&process, 1), 0);
    assert_eq!(byte(&process, 2), 3);
    assert!(half.receive().is_some(), "it can still read its reply");
}

#[test]
fn everything_sent_before_a_fin_is_carried_out_although_nobody_reads_the_replies() {
    let process = start(&[]);
    let mut client = process.client();
    client.call(write(9), &[9]);
    enter(&process, 0, "stop");
    for _ in 0..16 {
        client.send(RequestHeader::read_obj(OID, 0, 1 << 20), &[]);
    }
    client.send(write(0), &[1]);
    drop(client);
    enter(&process, 0, "serve");
    wait_until("the last request", || byte(&process, 0) == 1);
}

#[test]
fn a_holding_gateway_carries_out_what_it_has_read_in_order_although_the_clients_are_gone() {
    let process = start(&[]);
    enter(&process, 0, "hold");
    for value in 1..=50 {
        let mut client = process.client();
        client.send(write(0), &[value]);
        let held = u64::from(value);
        wait_until("the request is read", || shown(&process, 0, "held") == held);
        if value % 2 == 0 {
            abort(client);
        }
    }
    let mut client = process.client();
    let id = client.send(write(1), &[7]);
    assert!(is_silent(&mut client));
    assert_eq!((byte(&process, 0), byte(&process, 1)), (0, 0));
    process.client_of(1).call(write(0), &[200]);
    enter(&process, 0, "serve");
    assert_eq!((byte(&process, 0), byte(&process, 1)), (50, 7));
    assert_eq!(client.receive().unwrap().0.id, id);
    assert_eq!(shown(&process, 0, "held"), 0);
    client.call(write(0), &[8]);
}

#[test]
fn a_released_gateway_holds_on() {
    let process = start(&[]);
    let mut client = process.client();
    assert_eq!(set(&process, 0, "release")["ok"], false);
    enter(&process, 0, "hold");
    client.send(write(0), &[1]);
    wait_until("the request is read", || shown(&process, 0, "held") == 1);
    enter(&process, 0, "release");
    assert!(client.receive().is_some());
    client.send(write(1), &[1]);
    wait_until("the request is read", || shown(&process, 0, "held") == 1);
    assert_eq!((byte(&process, 0), byte(&process, 1)), (1, 0));
    assert_eq!(shown(&process, 0, "released"), 1);
    assert_eq!(shown(&process, 0, "mode"), "hold");
}

#[test]
fn what_a_gateway_held_dies_with_it() {
    let process = start(&[]);
    enter(&process, 0, "hold");
    let mut client = process.client();
    client.send(write(0), &[1]);
    wait_until("the request is read", || shown(&process, 0, "held") == 1);
    enter(&process, 0, "stop");
    client.send(write(1), &[1]);
    enter(&process, 0, "close");
    assert_eq!(shown(&process, 0, "held"), 0);
    enter(&process, 0, "serve");
    sleep(A_WHILE);
    assert_eq!((byte(&process, 0), byte(&process, 1)), (0, 0));
}

#[test]
fn a_stopped_gateway_is_reset_by_close_and_by_disconnect() {
    let process = start(&[]);
    for how in ["gateway", "disconnect"] {
        enter(&process, 0, "serve");
        let mut client = process.client();
        client.call(write(0), &[1]);
        enter(&process, 0, "stop");
        if how == "gateway" {
            enter(&process, 0, "close");
        } else {
            process.control(r#"{"cmd":"disconnect"}"#);
        }
        let error = client.stream.read_exact(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_a_gateway_from_closing() {
    let process = start(&[]);
    let mut client = process.client();
    for _ in 0..64 {
        client.send(RequestHeader::read_obj(OID, 0, 4 << 20), &[]);
    }
    sleep(A_WHILE);
    enter(&process, 0, "close");
}

#[test]
fn a_gateway_with_a_disk_stops_and_dies_too() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(&["--directory", directory.path().to_str().unwrap()]);
    let mut client = process.client();
    client.call(write(0), &[1]);
    enter(&process, 0, "hold");
    client.send(write(0), &[2]);
    wait_until("the request is read", || shown(&process, 0, "held") == 1);
    enter(&process, 0, "stop");
    client.send(write(0), &[3]);
    assert!(is_silent(&mut client));
    assert_eq!(byte(&process, 0), 1);
    enter(&process, 0, "serve");
    assert!(client.receive().is_some() && client.receive().is_some());
    assert_eq!(byte(&process, 0), 3);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let process = start(&[]);
    let answer = set(&process, 2, "stop");
    assert_eq!(answer["ok"], false);
    assert!(answer["error"].as_str().unwrap().contains("there are 2"));
    assert_eq!(set(&process, 0, "sleep")["ok"], false);
}

#[test]
fn a_request_that_begins_before_the_stop_ends_after_it() {
    let process = start(&[]);
    let mut client = process.client();
    let frame = RequestHeader::write_obj(OID, 0, 3).with_id(7).to_bytes();
    client.stream.write_all(&frame[..20]).unwrap();
    sleep(A_WHILE);
    enter(&process, 0, "stop");
    client.stream.write_all(&frame[20..]).unwrap();
    client.stream.write_all(b"abc").unwrap();
    assert!(is_silent(&mut client));
    enter(&process, 0, "serve");
    assert_eq!(client.receive().unwrap().0.id, 7);
    assert_eq!(byte(&process, 2), b'c');
}
