// SPDX-License-Identifier: GPL-2.0

//! One connection to a gateway, as a hardware queue sees it.

use core::{
    fmt,
    net::SocketAddr, //
};

use super::{
    errname::Errname,
    frame::{
        Frame,
        Sending,
        Wire, //
    },
    pulse::Pulse,
    receive,
    transmit::Transmit, //
};
use crate::{
    observe::{
        Board,
        WatchedLink, //
    },
    proto::ResponseHeader,
    sys::{
        blk::{
            Operations,
            Request, //
        },
        log::Plain,
        slots::Slots,
        socket::Socket, //
    },
    volume::{
        Lie,
        Outcome,
        Reply, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        ArcBorrow, //
    }, //
};

/// Whose requests a link carries.
pub(crate) trait Handler: Operations {
    /// What this reply means for the request.
    fn classify(rq: &Request<Self>, header: &ResponseHeader) -> Result<Reply, Lie>;

    /// The request has its reply, and its pages the data.
    fn replied(
        self: ArcBorrow<'_, Self>,
        rq: Request<Self>,
        header: &ResponseHeader,
        outcome: Outcome,
    );

    /// The link died before the request had its reply.
    fn lost(self: ArcBorrow<'_, Self>, rq: Request<Self>);

    /// A link has died and is about to give its requests back.
    fn link_down(self: ArcBorrow<'_, Self>);
}

/// A link: connected when it is made, of no more use once it is broken.
#[pin_data]
pub(crate) struct Link<T: Operations> {
    /// Disk and gateway, for log lines.
    label: CString,
    gateway: SocketAddr,
    socket: Arc<Socket>,
    /// Requests whose replies are awaited, by tag, under the id of their frame.
    in_flight: Slots<Request<T>>,
    broken: Atomic<bool>,
    pulse: Pulse,
    board: Board,
    memory_bytes: usize,
    #[pin]
    transmit: Transmit<T>,
}

impl<T: Handler> Link<T> {
    /// A link over a connected socket for `queue_depth` requests. `ENOMEM`.
    pub(crate) fn new(
        disk: &str,
        peer: &SocketAddr,
        socket: Arc<Socket>,
        queue_depth: usize,
    ) -> Result<Arc<Self>> {
        let label = CString::try_from_fmt(fmt!("{disk}: {}", Plain(peer)))?;
        let in_flight = Slots::new(queue_depth)?;
        let wire = Wire::new(queue_depth)?;
        let board = Board::new(queue_depth)?;
        let memory_bytes = in_flight
            .memory_bytes()
            .saturating_add(wire.memory_bytes())
            .saturating_add(board.memory_bytes());
        let gateway = *peer;
        let transmit = Transmit::new(wire, queue_depth)?;
        Arc::pin_init(
            pin_init!(Self {
                label,
                gateway,
                socket,
                in_flight,
                broken: Atomic::new(false),
                pulse: Pulse::new(),
                board,
                memory_bytes,
                transmit <- transmit,
            }),
            GFP_KERNEL,
        )
    }

    /// Sends the frame for a request and keeps the request until its reply comes or the link dies.
    /// Gives it back if the link is dead already.
    pub(crate) fn submit(&self, rq: Request<T>, frame: Frame) -> Result<(), Request<T>> {
        let tag = usize::from(rq.tag());
        let id = frame.id.raw();
        let sending = Sending::new(rq.hold(), frame);
        let mut rq = Some(rq);
        let (socket, board) = (&self.socket, &self.board);
        let sent = self.transmit.submit(socket, board, sending, || {
            if let Some(request) = rq.take() {
                // The slot is free: no other request has this tag. If it is not, the request comes
                // back and is failed, which is what a broken table deserves.
                if let Err(request) = self.in_flight.put(tag, id, request) {
                    rq = Some(request);
                    return Err(EBUSY);
                }
            }
            Ok(())
        });
        match (sent, rq) {
            (_, Some(rq)) => Err(rq),
            (Ok(()), None) => Ok(()),
            (Err(error), None) => {
                // The receiver has the request now, and gives it back as lost.
                self.break_off(fmt!("cannot send: {}", Plain(Errname(error))));
                Ok(())
            }
        }
    }

    /// Resets the connection, once, and says why. The receiver does the rest.
    pub(crate) fn break_off(&self, why: fmt::Arguments<'_>) {
        if !self.broken.xchg(true, Full) {
            pr_err!("{}: {}; connection given up\n", &*self.label, why);
        }
        self.socket.abort();
    }

    /// Resets the connection without a word.
    pub(crate) fn shut(&self) {
        self.broken.store(true, Relaxed);
        self.socket.abort();
    }

    /// Whether the request with this tag waits for a reply, or for the rest of it.
    pub(crate) fn awaits(&self, tag: u16) -> bool {
        self.in_flight.occupied(usize::from(tag)) || self.pulse.is_reading_for(tag)
    }

    /// For how long nothing has arrived.
    pub(crate) fn silent_ms(&self) -> u32 {
        self.pulse.silent_ms()
    }

    /// Number of requests that wait for a reply.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.count()
    }

    /// Bytes that the tables of the link take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Disk and gateway, for log lines.
    pub(crate) fn label(&self) -> &CString {
        &self.label
    }

    /// The transmitter thread.
    pub(crate) fn transmit(&self) {
        if let Err(error) = self.transmit.run(&self.socket, &self.board) {
            self.break_off(fmt!("cannot send: {}", Plain(Errname(error))));
        }
    }

    /// The receiver thread: hands replies over until the link dies, then gives back what is left.
    pub(crate) fn receive(&self, handler: ArcBorrow<'_, T>) {
        let end = receive::run(
            &self.socket,
            &self.board,
            &self.pulse,
            &self.in_flight,
            handler,
        );
        self.break_off(fmt!("{}", Plain(end)));
        handler.link_down();
        self.transmit.close();
        // Nothing is put into the table any more.
        for tag in 0..self.in_flight.len() {
            if let Some(rq) = self.in_flight.take_any(tag) {
                handler.lost(rq);
            }
        }
    }
}

impl<T: Handler> WatchedLink for Link<T> {
    fn gateway(&self) -> &SocketAddr {
        &self.gateway
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    fn awaited_id(&self, tag: u16) -> Option<u32> {
        self.in_flight.id(usize::from(tag))
    }

    fn board(&self) -> &Board {
        &self.board
    }
}
