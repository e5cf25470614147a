// SPDX-License-Identifier: GPL-2.0

//! A client of the Sheepdog protocol: one connection, one request at a time.
//!
//! Comes in: requests from `sheepdog-core`. Goes out: replies, or failures that name the gateway,
//! the operation and what to do. Every wait has a limit. Nothing is sent a second time: most
//! operations here are not idempotent (protocol section 3.3), and a request whose reply is lost
//! may still be executed (section 14). Nothing is sent that kills a real server (section 15):
//! requests are made by `sheepdog-core` alone, lookups always with name and tag.

pub mod cluster;
pub mod create;
pub mod delete;
pub mod inode;
pub mod lock;
pub mod lookup;
pub mod refusal;
pub mod resize;
pub mod snapshot;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sheepdog_core::proto::limits::HEADER_LEN;
use sheepdog_core::proto::{Opcode, RequestHeader, ResponseHeader, SdResult};

use crate::address::{resolve_all, Gateway};
use crate::failure::{Failure, Outcome};

/// A connection to a gateway.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    limit: Duration,
    next_id: u32,
}

/// A reply: header, and the payload that came with it, whatever the result.
#[derive(Debug)]
pub struct Reply {
    pub header: ResponseHeader,
    pub data: Vec<u8>,
}

impl Client {
    /// Connects to the first of `gateways` that answers. `limit` holds for the resolver, for each
    /// connection attempt and for each request.
    ///
    /// # Errors
    ///
    /// What the last address said; `EHOSTUNREACH` when no name resolves.
    pub fn connect(gateways: &[Gateway], limit: Duration) -> Outcome<Self> {
        let addresses = resolve_all(gateways, limit)?;
        let Some((last, others)) = addresses.split_last() else {
            return Err(Failure::new(Errno::INVAL, "no gateway was given"));
        };
        for address in others {
            // A sheep that has stopped still gets connections from its kernel. Only an answer shows
            // that it is well, whatever it says.
            let answers = Self::connect_to(*address, limit).and_then(|mut client| {
                client.call(&RequestHeader::get_cluster_default(), &[])?;
                Ok(client)
            });
            if answers.is_ok() {
                return answers;
            }
        }
        Self::connect_to(*last, limit)
    }

    fn connect_to(address: SocketAddr, limit: Duration) -> Outcome<Self> {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => Self::on(stream, address, limit),
            Err(error) => Err(Failure::from_io(&error, format!("cannot connect to {address}"))
                .advise("check that a sheep runs there, or name another one with --gateway or SHEEPDOG_GATEWAY")),
        }
    }

    fn on(stream: TcpStream, peer: SocketAddr, limit: Duration) -> Outcome<Self> {
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_write_timeout(Some(limit)));
        prepared.map_err(|error| Failure::from_io(&error, format!("cannot use {peer}")))?;
        Ok(Self {
            stream,
            peer,
            limit,
            next_id: 1,
        })
    }

    /// Sends a request and reads its reply, whatever its result.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` or a socket's errno when there is no reply; `EPROTO` when it is not a reply to
    /// this request.
    pub fn call(&mut self, request: &RequestHeader, payload: &[u8]) -> Outcome<Reply> {
        let request = request.with_id(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        assert_eq!(
            usize::try_from(request.payload_len()),
            Ok(payload.len()),
            "the header announces the payload"
        );
        self.send(&request, payload)
            .map_err(|error| self.lost(&error, request.opcode))?;
        let deadline = Instant::now() + self.limit;
        let mut bytes = [0; HEADER_LEN];
        self.receive(&mut bytes, deadline)
            .map_err(|error| self.lost(&error, request.opcode))?;
        let header = ResponseHeader::from_bytes(&bytes);
        if header.id != request.id || header.opcode != request.opcode {
            return Err(self.nonsense(request.opcode, "a reply to another request"));
        }
        if header.data_length > request.data_length {
            return Err(self.nonsense(request.opcode, "more data than was asked for"));
        }
        let mut data = vec![0; header.data_length as usize];
        self.receive(&mut data, deadline)
            .map_err(|error| self.lost(&error, request.opcode))?;
        Ok(Reply { header, data })
    }

    /// As [`Self::call`], for a request that has to succeed. `about` names what it is about, for
    /// the message.
    ///
    /// # Errors
    ///
    /// As [`Self::call`], and what [`refusal::failure`] makes of other results than SUCCESS.
    pub fn demand(
        &mut self,
        request: &RequestHeader,
        payload: &[u8],
        about: &str,
    ) -> Outcome<Reply> {
        let reply = self.call(request, payload)?;
        match reply.header.result {
            SdResult::SUCCESS => Ok(reply),
            result => Err(self.refused(request.opcode, result, about)),
        }
    }

    /// As [`Self::demand`], for a request whose reply carries exactly `data_length` bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::demand`]; `EPROTO` for another length.
    pub fn demand_data(&mut self, request: &RequestHeader, about: &str) -> Outcome<Vec<u8>> {
        let reply = self.demand(request, &[], about)?;
        if reply.header.data_length != request.data_length {
            return Err(self.nonsense(request.opcode, "less data than was asked for"));
        }
        Ok(reply.data)
    }

    /// The failure for `result`.
    pub fn refused(&self, opcode: Opcode, result: SdResult, about: &str) -> Failure {
        refusal::failure(self.peer, opcode, result, about)
    }

    /// The failure for a reply that no sheep should send.
    pub fn nonsense(&self, opcode: Opcode, what: &str) -> Failure {
        Failure::new(
            Errno::PROTO,
            format!("{}: {opcode}: the gateway sent {what}", self.peer),
        )
        .advise("check that the port is a sheep's, not another service's")
    }

    fn send(&mut self, request: &RequestHeader, payload: &[u8]) -> io::Result<()> {
        let mut frame = request.to_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    /// Fills `buffer` by `deadline`, however slowly the bytes come.
    fn receive(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The failure for a connection that broke or a reply that did not come.
    fn lost(&self, error: &io::Error, opcode: Opcode) -> Failure {
        let peer = self.peer;
        let failure = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::new(
                Errno::TIMEDOUT,
                format!("{peer}: {opcode}: no reply within {:?}", self.limit),
            ),
            io::ErrorKind::UnexpectedEof => Failure::new(
                Errno::CONNRESET,
                format!("{peer}: {opcode}: the gateway closed the connection"),
            ),
            _ => Failure::from_io(error, format!("{peer}: {opcode}")),
        };
        if changes_something(opcode) {
            failure.advise(
                "the gateway may still carry it out: look at the result before you try again",
            )
        } else {
            failure.advise("try again, or another --gateway")
        }
    }
}

/// Whether a request that was sent but not answered may leave a change behind.
fn changes_something(opcode: Opcode) -> bool {
    !matches!(
        opcode,
        Opcode::READ_OBJ
            | Opcode::GET_VDI_INFO
            | Opcode::READ_VDIS
            | Opcode::READ_DEL_VDIS
            | Opcode::GET_CLUSTER_DEFAULT
            | Opcode::CLUSTER_INFO
            | Opcode::STAT_SHEEP
            | Opcode::GET_VDI_COPIES
    )
}

#[cfg(test)]
pub mod peer;

#[cfg(test)]
mod tests {
    use super::*;
    use peer::Peer;

    fn reply_to(request: &RequestHeader, data_length: u32) -> ResponseHeader {
        ResponseHeader {
            proto_ver: 0,
            opcode: request.opcode,
            flags: 0,
            epoch: 1,
            id: request.id,
            data_length,
            result: SdResult::SUCCESS,
            arm: [0; 28],
        }
    }

    fn failure_of(
        answer: impl FnMut(&RequestHeader, &[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Failure {
        let peer = Peer::raw(answer);
        let mut client = peer.client(Duration::from_millis(300));
        let request = RequestHeader::get_cluster_default();
        client.demand(&request, &[], "the cluster").unwrap_err()
    }

    #[test]
    fn a_reply_to_another_request_is_refused() {
        let failure = failure_of(|request, _| {
            Some(
                reply_to(&request.with_id(request.id + 1), 0)
                    .to_bytes()
                    .to_vec(),
            )
        });
        assert_eq!(failure.errno(), Errno::PROTO);
    }

    #[test]
    fn more_data_than_asked_for_is_refused() {
        let failure = failure_of(|request, _| Some(reply_to(request, 1).to_bytes().to_vec()));
        assert_eq!(failure.errno(), Errno::PROTO);
        assert!(failure.to_string().contains("more data"), "{failure}");
    }

    #[test]
    fn a_silent_gateway_is_given_up() {
        let failure = failure_of(|_, _| Some(Vec::new()));
        assert_eq!(failure.errno(), Errno::TIMEDOUT);
        assert!(
            failure.to_string().contains("GET_CLUSTER_DEFAULT"),
            "{failure}"
        );
    }

    #[test]
    fn a_closed_connection_is_told() {
        let failure = failure_of(|_, _| None);
        assert_eq!(failure.errno(), Errno::CONNRESET);
    }

    #[test]
    fn a_dribbling_gateway_is_given_up_too() {
        let peer = Peer::dribbling(Duration::from_millis(50));
        let mut client = peer.client(Duration::from_millis(300));
        let start = Instant::now();
        let failure = client.call(&RequestHeader::get_cluster_default(), &[]);
        assert_eq!(failure.unwrap_err().errno(), Errno::TIMEDOUT);
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn the_next_gateway_is_tried() {
        let peer = Peer::raw(|request, _| Some(reply_to(request, 0).to_bytes().to_vec()));
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let gateways = [closed, peer.address()].map(|address| address.to_string().parse().unwrap());
        let client = Client::connect(&gateways, Duration::from_secs(2)).unwrap();
        assert_eq!(client.peer, peer.address());
        let failure = Client::connect(&gateways[..1], Duration::from_secs(2)).unwrap_err();
        assert_eq!(failure.errno(), Errno::CONNREFUSED);
    }

    #[test]
    fn a_gateway_that_takes_connections_and_does_not_answer_is_passed_over() {
        let silent = Peer::raw(|_, _| Some(Vec::new()));
        let peer = Peer::raw(|request, _| Some(reply_to(request, 0).to_bytes().to_vec()));
        let gateways = [silent.address(), peer.address()];
        let gateways = gateways.map(|address| address.to_string().parse().unwrap());
        let client = Client::connect(&gateways, Duration::from_millis(300)).unwrap();
        assert_eq!(client.peer, peer.address());
    }
}
