// SPDX-License-Identifier: GPL-2.0

//! A running `devsheep` and a client to talk to it.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use sheepdog_core::proto::arm::VdiArm;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::VdiName;
use sheepdog_core::proto::Vid;

/// Nothing takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A `devsheep` process; killed when the test is done with it.
pub struct Process {
    child: Child,
    /// Where the gateways listen on 127.0.0.1, in the order of their numbers.
    pub addresses: Vec<String>,
    control: Option<String>,
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devsheep"));
    command.args(args).env("DEVSHEEP_LOG", "error");
    command
}

impl Process {
    /// Starts one on a free port, after those in `args`, and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        let listen = args.iter().filter(|&&arg| arg == "--listen").count() + 1;
        let mut child = command(args)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut control = None;
        let mut addresses = Vec::new();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("control on ") {
                control = Some(address.to_owned());
            } else if let Some(address) = line.strip_prefix("listening on 127") {
                addresses.push(format!("127{address}"));
            }
            if addresses.len() == listen {
                return Self {
                    child,
                    addresses,
                    control,
                };
            }
        }
        panic!("devsheep ended before it was ready: {:?}", child.wait());
    }

    /// A client of gateway 0.
    pub fn client(&self) -> Client {
        self.client_of(0)
    }

    pub fn client_of(&self, gateway: usize) -> Client {
        let stream = TcpStream::connect(&self.addresses[gateway]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, next_id: 1 }
    }

    /// Sends a line to the control channel and returns the answer.
    pub fn control(&self, line: &str) -> Value {
        let address = self.control.as_deref().expect("started with --control");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "devsheep does not end");
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection.
pub struct Client {
    pub stream: TcpStream,
    next_id: u32,
}

/// What came back.
pub type Reply = (ResponseHeader, Vec<u8>);

impl Client {
    /// Sends a request with an id of its own, which it returns.
    pub fn send(&mut self, header: RequestHeader, payload: &[u8]) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let mut frame = header.with_id(id).to_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).unwrap();
        id
    }

    /// The next reply; `None` at the end of the connection.
    pub fn receive(&mut self) -> Option<Reply> {
        let mut header = [0; 48];
        self.stream.read_exact(&mut header).ok()?;
        let header = ResponseHeader::from_bytes(&header);
        let mut payload = vec![0; header.data_length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some((header, payload))
    }

    /// Sends a request and waits for its reply.
    pub fn call(&mut self, header: RequestHeader, payload: &[u8]) -> Reply {
        let id = self.send(header, payload);
        let reply = self.receive().expect("a reply");
        assert_eq!((reply.0.id, reply.0.opcode), (id, header.opcode));
        reply
    }

    pub fn result(&mut self, header: RequestHeader, payload: &[u8]) -> SdResult {
        self.call(header, payload).0.result
    }

    /// NEW_VDI; the result and the new id.
    pub fn new_vdi(&mut self, name: &str, base: Vid, snapid: u32) -> (SdResult, Vid) {
        let arm = VdiArm {
            vdi_size: 64 << 20,
            base_vdi_id: base.raw(),
            snapid,
            ..VdiArm::default()
        };
        let name = VdiName::new(name.as_bytes()).unwrap();
        let (header, _) = self.call(RequestHeader::new_vdi(arm), name.as_field());
        (header.result, Vid::truncate(header.vdi_arm().vdi_id))
    }

    /// A fresh VDI.
    pub fn create_vdi(&mut self, name: &str) -> Vid {
        let (result, vid) = self.new_vdi(name, Vid::NONE, 0);
        assert_eq!(result, SdResult::SUCCESS);
        vid
    }
}

/// The payload of a lookup.
pub fn lookup(name: &str, tag: &str) -> Vec<u8> {
    let mut payload = vec![0; 512];
    payload[..name.len()].copy_from_slice(name.as_bytes());
    payload[256..256 + tag.len()].copy_from_slice(tag.as_bytes());
    payload
}
