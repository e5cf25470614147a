// SPDX-License-Identifier: GPL-2.0

//! Links to sheep nodes: connect, send, receive, and the end of a link.
//!
//! Requests come in with a frame that says what to send; they go out again through [`Handler`],
//! each with the reply that answers it, or as lost when the link dies. A link decides nothing about
//! a VDI: what a reply means is asked of the handler, and that asks `volume`.
//!
//! Each link has two threads. The receiver reads replies, and it is the one who takes a dead link
//! apart. The transmitter sends what could not be sent at once in the context of the submitter; so
//! nobody but the transmitter ever waits for room in the socket, and the receiver never does:
//! a sheep that does not read until its replies are read gets them read.
//!
//! Lock order: the lock of a link's line, then the lock of [`transmit`]; that one is never held over a
//! blocking send.

mod call;
mod errname;
mod fifo;
mod frame;
mod link;
mod peer;
mod pulse;
mod receive;
mod transmit;

pub(crate) use call::{
    call,
    discard_payload,
    read_payload, //
};
pub(crate) use errname::Errname;
pub(crate) use frame::Frame;
pub(crate) use link::{
    Handler,
    Link,
    Refused, //
};
pub(crate) use peer::Peer;
