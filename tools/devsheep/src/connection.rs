// SPDX-License-Identifier: GPL-2.0

//! One client's connection: bytes come in, are cut into requests, and replies go out.
//!
//! Without faults and with objects in memory a request is carried out on the spot, and all replies
//! to what one read brought leave in one write. Everything that takes time (a disk, a delay) runs
//! beside the connection and comes back through a channel, so that replies overtake one another as
//! they do on a real sheep. What a client can make a connection hold is bounded. While its gateway
//! is stopped, a connection does nothing.

use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use rand::rngs::SmallRng;
use rand::SeedableRng;
use sheepdog_core::proto::limits::HEADER_LEN;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::SdResult;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio::time::Instant;

use crate::fault::Plan;
use crate::fault::Reply;
use crate::gateway::Connected;
use crate::gateway::Gateway;
use crate::gateway::Mode;
use crate::gateway::State;
use crate::job::make_reply;
use crate::job::Job;
use crate::job::Late;
use crate::output::Output;
use crate::sheep::Sheep;

/// Room for a read: a few dozen small requests, or a good part of a large one.
const READ_ROOM: usize = 256 << 10;
/// Replies are written when there are so many bytes of them.
const WRITE_MARK: usize = 1 << 20;
/// Requests that run beside a connection.
const MAX_IN_FLIGHT: usize = 1024;

/// A stream socket.
pub trait Transport: AsyncRead + AsyncWrite + AsFd + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + AsFd + Unpin + Send> Transport for T {}

/// Whether a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    output: Output,
    /// What was planned for the request that the input begins with.
    plan: Option<Plan>,
    late: (mpsc::UnboundedSender<Late>, mpsc::UnboundedReceiver<Late>),
    in_flight: usize,
    in_flight_bytes: usize,
    reset: watch::Receiver<u64>,
    gateway: Arc<Gateway>,
    state: watch::Receiver<State>,
    /// The gateway's state as the connection last saw it.
    seen: State,
    /// The client reads no replies any more, but what it sent is carried out.
    deaf: bool,
    _connected: Connected,
}

impl<S: Transport> Connection<S> {
    /// A connection that a client has just made.
    pub fn new(sheep: Arc<Sheep>, gateway: Arc<Gateway>, stream: S, number: u64) -> Self {
        let state = gateway.subscribe();
        Self {
            seen: gateway.state(),
            state,
            deaf: false,
            _connected: gateway.connected(),
            gateway,
            rng: SmallRng::seed_from_u64(sheep.seed.wrapping_add(number)),
            reset: sheep.reset.subscribe(),
            sheep,
            stream,
            number,
            requests: 0,
            input: BytesMut::new(),
            output: Output::default(),
            plan: None,
            late: mpsc::unbounded_channel(),
            in_flight: 0,
            in_flight_bytes: 0,
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
            let mut next = self.gateway_runs().await;
            if next == Next::GoOn {
                next = self.process_input();
            }
            let written = self.write_output().await?;
            if next != Next::GoOn || written != Next::GoOn {
                return Ok(next.max(written));
            }
            if self.has_request() && self.has_room() {
                continue;
            }
            let next = self.wait().await?;
            if next != Next::GoOn {
                let written = self.write_output().await?;
                return Ok(next.max(written));
            }
        }
    }

    /// Looks at the gateway's state, and waits while it is stopped.
    async fn gateway_runs(&mut self) -> Next {
        loop {
            let state = *self.state.borrow_and_update();
            if state.life != self.seen.life || state.mode == Mode::Close {
                return Next::Reset;
            }
            let was_stopped = self.seen.mode == Mode::Stop;
            self.seen = state;
            if state.mode != Mode::Stop {
                // What a client left unread before its RST is dropped, as upstream does, which asks
                // epoll first (protocol sheet 1, "Client disconnect"). After a FIN it is read.
                return if was_stopped && is_reset(&self.stream) {
                    Next::Close
                } else {
                    Next::GoOn
                };
            }
            tokio::select! {
                _ = self.reset.changed() => return Next::Reset,
                _ = self.state.changed() => {}
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> io::Result<Next> {
        self.make_read_room();
        let may_read = self.has_room();
        let release_at = self.output.release_at();
        // A gateway that was stopped reads nothing more: its state comes first.
        tokio::select! {
            biased;
            _ = self.reset.changed() => Ok(Next::Reset),
            // The loop around this looks at it.
            _ = self.state.changed() => Ok(Next::GoOn),
            Some(late) = self.late.1.recv() => {
                self.in_flight -= 1;
                self.in_flight_bytes -= late.held_bytes;
                self.deliver(late.reply);
                Ok(Next::GoOn)
            }
            () = until(release_at) => {
                self.output.release(&mut self.rng);
                Ok(Next::GoOn)
            }
            count = self.stream.read_buf(&mut self.input), if may_read => {
                Ok(if count? == 0 { Next::Close } else { Next::GoOn })
            }
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
        while self.output.len() < WRITE_MARK && self.has_room() && self.gateway_is_as_seen() {
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
            self.plan_ahead(&header);
            let len = HEADER_LEN + header.payload_len() as usize;
            if self.input.len() < len {
                break;
            }
            let plan = self.plan.take();
            self.sheep.stats.request(header.opcode, len);
            self.requests += 1;
            if self.seen.mode == Mode::Hold {
                let mut frame = self.input.split_to(len);
                frame.advance(HEADER_LEN);
                self.hold(header, frame.freeze(), plan.unwrap_or_default());
                continue;
            }
            if plan.is_none() && !self.sheep.cluster.store.waits_for_disk() {
                if let Some(output) = self.output.plain() {
                    let payload = &self.input[HEADER_LEN..len];
                    self.sheep.execute(&header, payload, output);
                    self.input.advance(len);
                    continue;
                }
            }
            let mut frame = self.input.split_to(len);
            frame.advance(HEADER_LEN);
            let next = self.process_slowly(header, frame.freeze(), plan.unwrap_or_default());
            if next != Next::GoOn {
                return next;
            }
        }
        Next::GoOn
    }

    /// Decides what goes wrong with the request that the input begins with, once its header is
    /// there: it may be answered before its payload is.
    fn plan_ahead(&mut self, header: &RequestHeader) {
        let holds = self.seen.mode == Mode::Hold;
        if self.plan.is_some() || holds || !self.sheep.faults.is_active() {
            return;
        }
        let faults = &self.sheep.faults;
        let plan = faults.plan(header, self.requests, &mut self.rng);
        if let Some(plan) = &plan {
            self.sheep.stats.fault();
            tracing::debug!(number = self.number, opcode = %header.opcode, ?plan, "fault");
        }
        let plan = plan.unwrap_or_default();
        if plan.is_early(header) {
            let mut bytes = Vec::new();
            let result = plan.fail.unwrap_or(SdResult::SUCCESS);
            self.sheep.promise(header, result, &mut bytes);
            self.deliver(Reply::new(bytes));
        }
        self.plan = Some(plan);
    }

    /// Carries a request out with faults, or with a disk that takes time.
    fn process_slowly(&mut self, header: RequestHeader, payload: Bytes, plan: Plan) -> Next {
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
            let job = self.job(header, payload, plan);
            self.run_beside(job);
            return Next::GoOn;
        }
        let reply = make_reply(&self.sheep, &header, &payload, &plan, &mut self.rng);
        self.deliver(reply);
        Next::GoOn
    }

    /// A request that is carried out away from the connection.
    fn job(&mut self, header: RequestHeader, payload: Bytes, plan: Plan) -> Job {
        let held_bytes = header.data_length.min(self.sheep.bounds.max_payload) as usize;
        self.in_flight += 1;
        self.in_flight_bytes += held_bytes;
        Job {
            header,
            payload,
            plan,
            rng: SmallRng::from_rng(&mut self.rng),
            replies: self.late.0.clone(),
            held_bytes,
        }
    }

    fn run_beside(&self, job: Job) {
        job.run_beside(self.sheep.clone(), self.gateway.clone(), self.seen.life);
    }

    /// Leaves a request with the gateway, unless that has just gone on.
    fn hold(&mut self, header: RequestHeader, payload: Bytes, plan: Plan) {
        let job = self.job(header, payload, plan);
        if let Some(job) = self.gateway.hold(job) {
            self.run_beside(job);
        }
    }

    fn gateway_is_as_seen(&self) -> bool {
        !self.state.has_changed().unwrap_or(true)
    }

    fn deliver(&mut self, reply: Reply) {
        let window = self.sheep.faults.shuffle_window();
        self.output.put(reply, window, &mut self.rng);
    }

    /// Writes the output, as far as the gateway runs.
    async fn write_output(&mut self) -> io::Result<Next> {
        while self.output.len() > 0 && !self.deaf {
            let next = self.gateway_runs().await;
            if next != Next::GoOn {
                return Ok(next);
            }
            let due = self.output.due();
            tokio::select! {
                biased;
                _ = self.reset.changed() => return Ok(Next::Reset),
                _ = self.state.changed() => {}
                () = until(due), if due.is_some() => self.output.is_due(),
                count = self.stream.write(self.output.next()), if due.is_none() => match count {
                    Ok(count) => {
                        self.output.wrote(count, &mut self.rng);
                        self.sheep.stats.sent(count);
                    }
                    // The client has closed the connection after its last request. That and
                    // whatever was sent before is still carried out (protocol sheet 1, "Client
                    // disconnect").
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.deaf = true,
                    Err(error) => return Err(error),
                },
            }
        }
        self.output.clear();
        Ok(if self.output.ends() {
            Next::Close
        } else {
            Next::GoOn
        })
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

/// Whether the peer has ended the connection with an RST.
fn is_reset(stream: &impl AsFd) -> bool {
    matches!(
        rustix::net::sockopt::socket_error(stream),
        Ok(Err(rustix::io::Errno::CONNRESET))
    )
}

/// Makes the close of this socket an RST.
pub fn reset_on_close(stream: &impl AsFd) {
    let result = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    if let Err(error) = result {
        tracing::debug!(%error, "cannot reset a connection");
    }
}
