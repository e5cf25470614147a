// SPDX-License-Identifier: GPL-2.0

//! One hardware queue's way to the gateway: a connection at a time, and what it carries.

use core::net::SocketAddr;

use super::{
    errname::Errname,
    frame::{
        Frame,
        Sending,
        Wire, //
    },
    peer::Peer,
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
            Chunk,
            Operations,
            Request, //
        },
        clock,
        log::Plain,
        slots::Slots,
        socket::Socket, //
    },
    volume::{
        Lie,
        Loss,
        Outcome,
        Reply,
        WireId, //
    }, //
};
use kernel::{
    fmt,
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        CondVar,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// How long packets of an aborted connection may stay with a device of this host. One whose cable is
/// out drops them at once; what holds them longer is a traffic shaper.
const DRAIN_LIMIT_MS: u64 = 30_000;

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

    /// The connection of a link is lost. What was on it comes back through [`Self::lost`].
    fn link_down(self: ArcBorrow<'_, Self>, loss: Loss);

    /// The connection was lost before the request had its reply. Nothing of this host refers to the
    /// request's pages any more.
    fn lost(self: ArcBorrow<'_, Self>, rq: Request<Self>);

    /// The link has let go of its connection and can be given another.
    fn link_released(self: ArcBorrow<'_, Self>);
}

/// The last id that was sent with each tag of a link. It belongs to the tag and not to the request: with
/// an I/O scheduler, a tag goes from one request structure to another.
struct Ids(KVVec<Atomic<u32>>);

impl Ids {
    fn new(queue_depth: usize) -> Result<Self> {
        let mut last = KVVec::with_capacity(queue_depth, GFP_KERNEL)?;
        for _ in 0..queue_depth {
            last.push(Atomic::new(0), GFP_KERNEL)?;
        }
        Ok(Self(last))
    }

    fn memory_bytes(&self) -> usize {
        self.0.len() * core::mem::size_of::<Atomic<u32>>()
    }

    /// An id with this tag that has not been sent for 2^22 - 1 frames. To be called by whoever has the
    /// tag: the block layer hands it from one owner to the next.
    #[inline]
    fn next(&self, tag: u16) -> Option<WireId> {
        let last = self.0.get(usize::from(tag))?;
        let id = match WireId::from_raw(last.load(Relaxed)) {
            Some(id) => id.next(),
            None => WireId::new(tag, 1)?,
        };
        last.store(id.raw(), Relaxed);
        Some(id)
    }
}

/// What became of a request that was to be sent.
pub(crate) enum Refused<T: Operations> {
    /// There is no connection.
    NotConnected(Request<T>),
    /// Another request has its place, which cannot be.
    Occupied(Request<T>),
}

/// The connection of a link.
struct Line {
    socket: Option<Arc<Socket>>,
    /// Why it was given up, when it was.
    loss: Option<Loss>,
    /// There will be no other.
    ended: bool,
}

/// A link. It is given a connection, carries requests over it until that is lost, gives back what
/// was on it, lets go of it, and waits for another.
#[pin_data]
pub(crate) struct Link<T: Operations> {
    peer: Arc<Peer>,
    /// Requests whose replies are awaited, by tag, under the id of their frame.
    in_flight: Slots<Request<T>>,
    ids: Ids,
    pulse: Pulse,
    board: Board,
    memory_bytes: usize,
    #[pin]
    transmit: Transmit<T>,
    #[pin]
    line: Mutex<Line>,
    /// There is a connection, or there will be none.
    #[pin]
    changed: CondVar,
}

impl<T: Handler> Link<T> {
    /// A link for `queue_depth` requests, without a connection. `ENOMEM`.
    pub(crate) fn new(peer: Arc<Peer>, queue_depth: usize) -> Result<Arc<Self>> {
        let in_flight = Slots::new(queue_depth)?;
        let ids = Ids::new(queue_depth)?;
        let wire = Wire::new(queue_depth)?;
        let board = Board::new(queue_depth)?;
        let memory_bytes = in_flight
            .memory_bytes()
            .saturating_add(ids.memory_bytes())
            .saturating_add(wire.memory_bytes())
            .saturating_add(board.memory_bytes());
        let transmit = Transmit::new(wire, queue_depth)?;
        let line = Line {
            socket: None,
            loss: None,
            ended: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                peer,
                in_flight,
                ids,
                pulse: Pulse::new(),
                board,
                memory_bytes,
                transmit <- transmit,
                line <- new_mutex!(line),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Gives the link a connection. To be called when it is new, or has said
    /// [`Handler::link_released`]. Resets the connection if the link has ended.
    pub(crate) fn attach(&self, socket: Arc<Socket>) {
        let mut line = self.line.lock();
        if line.ended {
            drop(line);
            return socket.abort();
        }
        self.pulse.beat();
        line.loss = None;
        line.socket = Some(socket.clone());
        // Under the lock, so that the receiver cannot have taken the connection apart before: who
        // sent on it after that would never be given back.
        self.transmit.open(socket);
        drop(line);
        self.changed.notify_all();
    }

    /// The id for the next frame of the request that has this tag. `None` if there is no such tag.
    #[inline]
    pub(crate) fn next_id(&self, tag: u16) -> Option<WireId> {
        self.ids.next(tag)
    }

    /// Sends the frame for a request and keeps the request until its reply comes or the connection
    /// is lost. Or gives it back, and then nothing of it was sent.
    pub(crate) fn submit(&self, rq: Request<T>, frame: Frame) -> Result<(), Refused<T>> {
        let tag = usize::from(rq.tag());
        let id = frame.id.raw();
        let sending = Sending::new(rq.hold(), frame);
        let mut rq = Some(rq);
        let sent = self.transmit.submit(&self.board, sending, || {
            if let Some(request) = rq.take() {
                // The slot is free: no other request has this tag.
                if let Err(request) = self.in_flight.put(tag, id, request) {
                    rq = Some(request);
                    return Err(EBUSY);
                }
            }
            Ok(())
        });
        match (sent, rq) {
            (Err(EBUSY), Some(rq)) => Err(Refused::Occupied(rq)),
            (_, Some(rq)) => Err(Refused::NotConnected(rq)),
            (Ok(()), None) => Ok(()),
            (Err(error), None) => {
                // The receiver has the request now, and gives it back as lost.
                self.break_off(Loss::Broken, fmt!("cannot send: {}", Plain(Errname(error))));
                Ok(())
            }
        }
    }

    /// Resets the connection, once, and says why. The receiver does the rest.
    pub(crate) fn break_off(&self, loss: Loss, why: fmt::Arguments<'_>) {
        if let (Some(socket), news) = self.give_up(loss) {
            if news {
                pr_err!("{}: {}; connection given up\n", &*self.peer, why);
            }
            socket.abort();
        }
    }

    /// Resets the connection without a word.
    pub(crate) fn reset(&self, loss: Loss) {
        if let (Some(socket), _) = self.give_up(loss) {
            socket.abort();
        }
    }

    /// The connection, if there is one, and whether it was thought to be good.
    fn give_up(&self, loss: Loss) -> (Option<Arc<Socket>>, bool) {
        let mut line = self.line.lock();
        let news = line.loss.is_none();
        if news {
            line.loss = Some(loss);
        }
        (line.socket.clone(), news)
    }

    /// Resets the connection; there will be no other, and the threads end.
    pub(crate) fn end(&self) {
        self.line.lock().ended = true;
        self.reset(Loss::Broken);
        self.transmit.end();
        self.changed.notify_all();
    }

    /// Whether the request with this tag waits for a reply, or for the rest of it.
    pub(crate) fn awaits(&self, tag: u16) -> bool {
        self.in_flight.occupied(usize::from(tag)) || self.pulse.is_reading_for(tag)
    }

    /// Whether there is a connection that takes requests.
    pub(crate) fn is_usable(&self) -> bool {
        self.transmit.is_usable()
    }

    /// For how long nothing has arrived.
    pub(crate) fn silent_ms(&self) -> u32 {
        self.pulse.silent_ms()
    }

    /// For how long something has been there for the receiver to read, at least, while it read
    /// nothing; 0 if that is not so. To be asked again and again.
    pub(crate) fn unread_ms(&self) -> u32 {
        let socket = self.line.lock().socket.clone();
        match socket {
            Some(socket) if socket.has_unread() => self.pulse.unread_ms(),
            _ => {
                self.pulse.has_nothing();
                0
            }
        }
    }

    /// For how long it had been unread when that was last said, see [`Link::say`].
    pub(crate) fn said_ms(&self) -> u32 {
        self.pulse.said_ms()
    }

    /// Notes what is said of it by now; what had been noted.
    pub(crate) fn say(&self, said_ms: u32) -> u32 {
        self.pulse.say(said_ms)
    }

    /// For how long the peer's host has acknowledged nothing of what was sent, again and again; else 0.
    pub(crate) fn unacknowledged_ms(&self) -> u32 {
        let socket = self.line.lock().socket.clone();
        socket.map_or(0, |socket| socket.unacknowledged_ms())
    }

    /// Number of requests that wait for a reply.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.count()
    }

    /// Bytes that the tables of the link take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The transmitter thread.
    pub(crate) fn transmit(&self) {
        self.transmit.run(&self.board, |error| {
            self.break_off(Loss::Broken, fmt!("cannot send: {}", Plain(Errname(error))));
        });
    }

    /// The receiver thread: hands replies over until the connection is lost, then takes the link
    /// apart and waits for another connection, until the link ends.
    pub(crate) fn receive(&self, handler: ArcBorrow<'_, T>, mut chunk: Chunk) {
        while let Some(socket) = self.wait_for_connection() {
            let (end, torn) = receive::run(
                &socket,
                &self.board,
                &self.pulse,
                &self.in_flight,
                handler,
                &mut chunk,
            );
            self.break_off(end.loss(), fmt!("{}", Plain(&end)));
            let loss = self.line.lock().loss.unwrap_or(Loss::Broken);
            handler.link_down(loss);
            self.transmit.close();
            self.drain(&socket);
            // Nothing is put into the table any more.
            if let Some(rq) = torn {
                handler.lost(rq);
            }
            for tag in 0..self.in_flight.len() {
                if let Some(rq) = self.in_flight.take_any(tag) {
                    handler.lost(rq);
                }
            }
            let line = self.line.lock().socket.take();
            drop(line);
            drop(socket);
            handler.link_released();
        }
    }

    fn wait_for_connection(&self) -> Option<Arc<Socket>> {
        let mut line = self.line.lock();
        loop {
            if let Some(socket) = &line.socket {
                return Some(socket.clone());
            }
            if line.ended {
                return None;
            }
            // Interruptible, so that an idle thread does not count as blocked; it gets no signals.
            let _ = self.changed.wait_interruptible(&mut line);
        }
    }

    /// Waits until no packet refers to the pages of the requests that were on the connection: they
    /// may be given to somebody else as soon as the requests end.
    fn drain(&self, socket: &Socket) {
        let started = clock::now_ms();
        while !socket.is_drained() {
            if clock::now_ms().saturating_sub(started) >= DRAIN_LIMIT_MS {
                pr_warn!(
                    "{}: packets of the lost connection are still queued at a network device; \
                     going on\n",
                    &*self.peer
                );
                return;
            }
            fsleep(Delta::from_millis(2));
        }
    }
}

impl<T: Handler> WatchedLink for Link<T> {
    fn gateway(&self) -> &SocketAddr {
        self.peer.address()
    }

    fn is_broken(&self) -> bool {
        !self.is_usable()
    }

    fn awaited_id(&self, tag: u16) -> Option<u32> {
        self.in_flight.id(usize::from(tag))
    }

    fn board(&self) -> &Board {
        &self.board
    }
}
