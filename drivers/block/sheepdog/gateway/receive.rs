// SPDX-License-Identifier: GPL-2.0

//! The receiving half of a link: reads replies and hands them over, one after the other.
//!
//! Everything that arrives is a claim of the peer. A reply that answers no request of ours, or that
//! answers one with lengths that make no sense, ends the link: from there on nothing in the stream
//! can be trusted. Reading never waits for anything but the socket.

use core::fmt;

use super::{
    errname::Errname,
    link::Handler,
    pulse::Pulse, //
};
use crate::{
    observe::Board,
    proto::{
        limits::HEADER_LEN,
        ResponseHeader, //
    },
    sys::{
        blk::{
            Chunk,
            Request, //
        },
        slots::Slots,
        socket::Socket, //
    },
    volume::{
        Incoming,
        Lie,
        Loss,
        WireId, //
    }, //
};
use kernel::{
    prelude::*,
    sync::ArcBorrow, //
};

/// Why a link came to its end.
pub(super) enum End {
    /// The connection is gone.
    Socket(Error),
    /// A reply to a request that is not in flight.
    Unasked(u32),
    /// A reply that cannot be true.
    Lie(Lie),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => write!(f, "connection lost: {}", Errname(*error)),
            Self::Unasked(id) => write!(f, "reply to a request that was not sent (id {id:#x})"),
            Self::Lie(lie) => write!(f, "reply makes no sense: {lie}"),
        }
    }
}

impl End {
    /// What it means for the connections of the mapping.
    pub(super) fn loss(&self) -> Loss {
        match self {
            Self::Socket(_) => Loss::Broken,
            Self::Unasked(_) | Self::Lie(_) => Loss::Lied,
        }
    }
}

/// Reads replies until the connection is of no more use. Why, and the request whose reply came in
/// part.
pub(super) fn run<T: Handler>(
    socket: &Socket,
    board: &Board,
    pulse: &Pulse,
    in_flight: &Slots<Request<T>>,
    handler: ArcBorrow<'_, T>,
    chunk: &mut Chunk,
) -> (End, Option<Request<T>>) {
    loop {
        if let Err(end) = next(socket, board, pulse, in_flight, handler, chunk) {
            return end;
        }
    }
}

fn next<T: Handler>(
    socket: &Socket,
    board: &Board,
    pulse: &Pulse,
    in_flight: &Slots<Request<T>>,
    handler: ArcBorrow<'_, T>,
    chunk: &mut Chunk,
) -> Result<(), (End, Option<Request<T>>)> {
    let mut header = [0; HEADER_LEN];
    if let Err(error) = socket.recv_bytes(&mut header) {
        return Err((End::Socket(error), None));
    }
    pulse.beat();
    let header = ResponseHeader::from_bytes(&header);
    let unasked = End::Unasked(header.id);
    let tag = match WireId::from_raw(header.id) {
        Some(id) => id.tag(),
        None => return Err((unasked, None)),
    };
    // From here on the request is ours alone: nobody can end it while its pages are filled.
    let Some(rq) = in_flight.take(usize::from(tag), header.id) else {
        return Err((unasked, None));
    };
    pulse.reads_for(tag);
    let read = match T::classify(&rq, &header) {
        Ok(reply) => match reply.payload {
            Incoming::None => Ok(()),
            Incoming::Data => fill(socket, pulse, &rq, chunk),
            Incoming::Discard(len) => discard(socket, len),
        }
        .map(|()| reply.outcome)
        .map_err(End::Socket),
        Err(lie) => Err(End::Lie(lie)),
    };
    pulse.has_read();
    match read {
        Ok(outcome) => {
            let len_bytes = HEADER_LEN.saturating_add(header.data_length as usize);
            board.received(len_bytes, !header.result.is_success());
            handler.replied(rq, &header, outcome);
        }
        Err(end) => return Err((end, Some(rq))),
    }
    Ok(())
}

/// Reads the data of a reply straight into the pages of its request.
fn fill<T: Handler>(socket: &Socket, pulse: &Pulse, rq: &Request<T>, chunk: &mut Chunk) -> Result {
    let hold = rq.hold();
    let mut cursor = hold.cursor();
    loop {
        chunk.clear();
        chunk.fill(&mut cursor, &hold);
        if chunk.len() == 0 {
            return Ok(());
        }
        socket.recv(chunk)?;
        pulse.beat();
    }
}

/// Reads and forgets the payload of an error reply.
pub(super) fn discard(socket: &Socket, len: u32) -> Result {
    let mut buffer = [0; 256];
    let mut left = len as usize;
    while left > 0 {
        let part = left.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..part) else {
            return Err(EINVAL);
        };
        socket.recv_bytes(buffer)?;
        left -= part;
    }
    Ok(())
}
