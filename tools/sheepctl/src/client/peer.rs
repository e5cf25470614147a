// SPDX-License-Identifier: GPL-2.0

//! A gateway for tests that answers as a closure says, well or badly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sheepdog_core::proto::limits::HEADER_LEN;
use sheepdog_core::proto::{RequestHeader, ResponseHeader, SdResult};

use super::Client;

/// A listening gateway; its threads end with their connections.
pub struct Peer {
    address: SocketAddr,
}

impl Peer {
    /// Answers each request with the bytes that `answer` returns, and hangs up for `None`.
    pub fn raw(
        mut answer: impl FnMut(&RequestHeader, &[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        Self::serving(move |mut stream| {
            while let Some((request, payload)) = receive(&mut stream) {
                match answer(&request, &payload) {
                    Some(bytes) if stream.write_all(&bytes).is_ok() => {}
                    _ => return,
                }
            }
        })
    }

    /// Answers each request with a result, the bytes 20 to 47 of the header, and data.
    pub fn answering(
        mut answer: impl FnMut(&RequestHeader, &[u8]) -> (SdResult, [u8; 28], Vec<u8>) + Send + 'static,
    ) -> Self {
        Self::raw(move |request, payload| {
            let (result, arm, data) = answer(request, payload);
            let header = ResponseHeader {
                proto_ver: 0,
                opcode: request.opcode,
                flags: 0,
                epoch: 1,
                id: request.id,
                data_length: u32::try_from(data.len()).unwrap(),
                result,
                arm,
            };
            Some([header.to_bytes().to_vec(), data].concat())
        })
    }

    /// Sends zero bytes for ever, one per `pause`.
    pub fn dribbling(pause: Duration) -> Self {
        Self::serving(move |mut stream| {
            while stream.write_all(&[0]).is_ok() {
                thread::sleep(pause);
            }
        })
    }

    fn serving(mut serve: impl FnMut(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap());
            }
        });
        Self { address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client that is connected to it.
    pub fn client(&self, limit: Duration) -> Client {
        Client::connect(&[self.address.to_string().parse().unwrap()], limit).unwrap()
    }
}

fn receive(stream: &mut TcpStream) -> Option<(RequestHeader, Vec<u8>)> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).ok()?;
    let request = RequestHeader::from_bytes(&header);
    let mut payload = vec![0; request.payload_len() as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((request, payload))
}
