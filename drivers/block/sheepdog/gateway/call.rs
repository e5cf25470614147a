// SPDX-License-Identifier: GPL-2.0

//! One request and its reply on a connection that carries nothing else yet: the mapping phase.

use crate::{
    proto::{
        limits::HEADER_LEN,
        ResponseHeader, //
    },
    sys::{
        errno,
        socket::Socket, //
    }, //
};
use kernel::prelude::*;

/// Sends a request with its payload and waits for the header of the reply. How long that may take
/// is a property of the socket.
///
/// # Errors
///
/// `EPROTO` if the reply is not to this request; `ETIMEDOUT`; what the socket says.
pub(crate) fn call(
    socket: &Socket,
    header: &[u8; HEADER_LEN],
    payload: &[u8],
) -> Result<ResponseHeader> {
    socket.send_bytes(header).map_err(limit)?;
    socket.send_bytes(payload).map_err(limit)?;
    let mut reply = [0; HEADER_LEN];
    socket.recv_bytes(&mut reply).map_err(limit)?;
    let reply = ResponseHeader::from_bytes(&reply);
    let sent = ResponseHeader::from_bytes(header);
    if reply.id != sent.id {
        return Err(errno::protocol());
    }
    Ok(reply)
}

/// Reads a payload of that length; all of `buffer`.
pub(crate) fn read_payload(socket: &Socket, buffer: &mut [u8]) -> Result {
    socket.recv_bytes(buffer).map_err(limit)
}

/// Reads a payload and forgets it.
pub(crate) fn discard_payload(socket: &Socket, len: u32) -> Result {
    super::receive::discard(socket, len).map_err(limit)
}

/// `EAGAIN` is how a socket says that its time limit is over.
fn limit(error: Error) -> Error {
    if error == EAGAIN {
        ETIMEDOUT
    } else {
        error
    }
}
