// SPDX-License-Identifier: GPL-2.0

//! One client's connection: bytes come in, are cut into requests, and replies go out.
//!
//! Without faults and with objects in memory a request is carried out on the spot, and all replies
//! to what one read brought leave in one write. Everything that takes time (a disk, a delay) runs
//! beside the connection and comes back through a channel, so that replies overtake one another as
//! they do on a real sheep. What a client can make a connection hold is bounded.

use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::SeedableRng;
use sheepdog_core::proto::limits::HEADER_LEN;
use sheepdog_core::proto::RequestHeader;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio::time::sleep_until;
use tokio::time::Instant;

use crate::fault::corrupt;
use crate::fault::Plan;
use crate::sheep::Sheep;

/// Room for a read: a few dozen small requests, or a good part of a large one.
const READ_ROOM: usize = 256 << 10;
/// Replies are written when there are so many bytes of them.
const WRITE_MARK: usize = 1 << 20;
/// An output buffer that grew beyond this for a large reply is given back.
const KEEP_OUTPUT: usize = 4 << 20;
/// Requests that run beside a connection.
const MAX_IN_FLIGHT: usize = 1024;
/// A shuffled reply waits so long for others.
const SHUFFLE_WAIT: Duration = Duration::from_millis(20);

/// A stream socket.
pub trait Transport: AsyncRead + AsyncWrite + AsFd + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + AsFd + Unpin + Send> Transport for T {}

/// A reply that was made beside the connection.
struct Late {
    reply: Vec<u8>,
    ends: bool,
    held_bytes: usize,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Close,
    Reset,
}

/// A connection.
pub struct Connection<S> {
    sheep: Arc<Sheep>,
    stream: S,
    number: u64,
    requests: u64,
    rng: SmallRng,
    input: BytesMut,
    output: Vec<u8>,
    late: (mpsc::UnboundedSender<Late>, mpsc::UnboundedReceiver<Late>),
    in_flight: usize,
    in_flight_bytes: usize,
    held: Vec<Vec<u8>>,
    held_until: Option<Instant>,
    reset: watch::Receiver<u64>,
}

impl<S: Transport> Connection<S> {
    /// A connection that a client has just made.
    pub fn new(sheep: Arc<Sheep>, stream: S, number: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(sheep.seed.wrapping_add(number)),
            reset: sheep.reset.subscribe(),
            sheep,
            stream,
            number,
            requests: 0,
            input: BytesMut::new(),
            output: Vec::new(),
            late: mpsc::unbounded_channel(),
            in_flight: 0,
            in_flight_bytes: 0,
            held: Vec::new(),
            held_until: None,
        }
    }

    /// Serves the client until either side ends the connection.
    pub async fn run(mut self) {
        let number = self.number;
        let next = match self.serve().await {
            Ok(next) => next,
            Err(error) => {
                tracing::debug!(number, %error, "connection lost");
                Next::Close
            }
        };
        if next == Next::Reset {
            reset_on_close(&self.stream);
        }
        tracing::debug!(number, requests = self.requests, "connection ends");
    }

    async fn serve(&mut self) -> io::Result<Next> {
        loop {
            let next = self.process_input();
            self.write_output().await?;
            if next != Next::GoOn {
                return Ok(next);
            }
            if self.has_request() && self.has_room() {
                continue;
            }
            let next = self.wait().await?;
            if next != Next::GoOn {
                self.write_output().await?;
                return Ok(next);
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> io::Result<Next> {
        self.make_read_room();
        let may_read = self.has_room();
        let held_until = self.held_until;
        let released = async move {
            match held_until {
                Some(instant) => sleep_until(instant).await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some(late) = self.late.1.recv() => {
                self.in_flight -= 1;
                self.in_flight_bytes -= late.held_bytes;
                self.deliver(late.reply);
                Ok(if late.ends { Next::Close } else { Next::GoOn })
            }
            count = self.stream.read_buf(&mut self.input), if may_read => {
                Ok(if count? == 0 { Next::Close } else { Next::GoOn })
            }
            () = released => {
                self.release_held();
                Ok(Next::GoOn)
            }
            _ = self.reset.changed() => Ok(Next::Reset),
        }
    }

    fn has_room(&self) -> bool {
        let max_bytes = self.sheep.bounds.max_payload as usize;
        self.in_flight < MAX_IN_FLIGHT && self.in_flight_bytes <= max_bytes
    }

    fn next_header(&self) -> Option<RequestHeader> {
        let bytes = self.input.first_chunk::<HEADER_LEN>()?;
        Some(RequestHeader::from_bytes(bytes))
    }

    /// Bytes of the request that the input begins with.
    fn next_len(&self) -> Option<usize> {
        Some(HEADER_LEN + self.next_header()?.payload_len() as usize)
    }

    fn has_request(&self) -> bool {
        self.next_len().is_some_and(|len| self.input.len() >= len)
    }

    /// Makes room to read: for the rest of a request that has begun, else for some small ones.
    fn make_read_room(&mut self) {
        let max = HEADER_LEN + self.sheep.bounds.max_payload as usize;
        let missing = match self.next_len() {
            Some(len) => len.min(max).saturating_sub(self.input.len()),
            None => 0,
        };
        if self.input.capacity() - self.input.len() < missing.max(HEADER_LEN) {
            // Grows with what arrives, not with what a header claims.
            self.input
                .reserve(missing.clamp(HEADER_LEN, 4 * READ_ROOM).max(READ_ROOM));
        }
    }

    /// Carries out the requests that have arrived completely, as long as there is room for more
    /// replies.
    fn process_input(&mut self) -> Next {
        while self.output.len() < WRITE_MARK && self.has_room() {
            let Some(header) = self.next_header() else {
                break;
            };
            if header.payload_len() > self.sheep.bounds.max_payload {
                tracing::warn!(
                    number = self.number,
                    opcode = %header.opcode,
                    len = header.payload_len(),
                    "payload too large, connection closed; see --max-payload"
                );
                return Next::Close;
            }
            let len = HEADER_LEN + header.payload_len() as usize;
            if self.input.len() < len {
                break;
            }
            self.sheep.stats.request(header.opcode, len);
            let index = self.requests;
            self.requests += 1;
            if !self.sheep.faults.is_active() && !self.sheep.cluster.store.waits_for_disk() {
                let payload = &self.input[HEADER_LEN..len];
                self.sheep.execute(&header, payload, &mut self.output);
                self.input.advance(len);
                continue;
            }
            let mut frame = self.input.split_to(len);
            frame.advance(HEADER_LEN);
            let next = self.process_slowly(header, frame.freeze(), index);
            if next != Next::GoOn {
                return next;
            }
        }
        Next::GoOn
    }

    /// Carries a request out with faults, or with a disk that takes time.
    fn process_slowly(&mut self, header: RequestHeader, payload: Bytes, index: u64) -> Next {
        let plan = self.sheep.faults.plan(&header, index, &mut self.rng);
        if let Some(plan) = &plan {
            self.sheep.stats.fault();
            tracing::debug!(number = self.number, opcode = %header.opcode, ?plan, "fault");
        }
        let plan = plan.unwrap_or_default();
        if let Some(drop) = plan.drop {
            if drop.apply {
                self.sheep.execute(&header, &payload, &mut Vec::new());
            }
            return Next::Reset;
        }
        if plan.stall {
            return Next::GoOn;
        }
        if self.sheep.cluster.store.waits_for_disk() || !plan.delay.is_zero() {
            self.run_beside(header, payload, plan);
            return Next::GoOn;
        }
        let (reply, ends) = make_reply(&self.sheep, &header, &payload, &plan, &mut self.rng);
        self.deliver(reply);
        if ends {
            Next::Close
        } else {
            Next::GoOn
        }
    }

    fn run_beside(&mut self, header: RequestHeader, payload: Bytes, plan: Plan) {
        let held_bytes = header.data_length.min(self.sheep.bounds.max_payload) as usize;
        self.in_flight += 1;
        self.in_flight_bytes += held_bytes;
        let sheep = self.sheep.clone();
        let sender = self.late.0.clone();
        let mut rng = SmallRng::from_rng(&mut self.rng);
        tokio::spawn(async move {
            let delay = plan.delay;
            let work = move || make_reply(&sheep, &header, &payload, &plan, &mut rng);
            let Ok((reply, ends)) = tokio::task::spawn_blocking(work).await else {
                return;
            };
            if !delay.is_zero() {
                sleep(delay).await;
            }
            let late = Late {
                reply,
                ends,
                held_bytes,
            };
            // The client may be gone; then nobody wants the reply.
            let _ = sender.send(late);
        });
    }

    /// Puts a reply into the output, or among those that wait to be shuffled.
    fn deliver(&mut self, reply: Vec<u8>) {
        let window = self.sheep.faults.shuffle_window();
        if window <= 1 {
            self.release_held();
            self.output.extend_from_slice(&reply);
            return;
        }
        self.held.push(reply);
        if self.held.len() >= window {
            self.release_held();
        } else if self.held_until.is_none() {
            self.held_until = Some(Instant::now() + SHUFFLE_WAIT);
        }
    }

    fn release_held(&mut self) {
        self.held_until = None;
        self.held.shuffle(&mut self.rng);
        for reply in self.held.drain(..) {
            self.output.extend_from_slice(&reply);
        }
    }

    async fn write_output(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.stream.write_all(&self.output).await?;
        self.sheep.stats.sent(self.output.len());
        self.output.clear();
        if self.output.capacity() > KEEP_OUTPUT {
            self.output = Vec::new();
        }
        Ok(())
    }
}

/// Makes the reply to a request that is neither stalled nor dropped. Returns whether the connection
/// has to end after it.
fn make_reply(
    sheep: &Sheep,
    header: &RequestHeader,
    payload: &[u8],
    plan: &Plan,
    rng: &mut SmallRng,
) -> (Vec<u8>, bool) {
    let mut reply = Vec::new();
    match plan.fail {
        None => sheep.execute(header, payload, &mut reply),
        Some(result) => {
            if plan.apply {
                sheep.execute(header, payload, &mut Vec::new());
            }
            sheep.refuse(header, result, &mut reply);
        }
    }
    let mut ends = false;
    for &how in &plan.corruptions {
        ends |= corrupt(&mut reply, how, rng);
    }
    (reply, ends)
}

/// Makes the close of this socket an RST.
pub fn reset_on_close(stream: &impl AsFd) {
    let result = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    if let Err(error) = result {
        tracing::debug!(%error, "cannot reset a connection");
    }
}
