// SPDX-License-Identifier: GPL-2.0

//! The thread that keeps a mapping connected and calls those who wait at its desk.
//!
//! What is to be done, and when, is decided by [`volume::Desk`](crate::volume::Desk); this does it:
//! connect, ask the gateway whether it has the VDI, give the connections to the links, let time pass,
//! say in the log what happens. It allocates nothing but sockets, and those from the
//! reserve: what waits for it may be what frees memory.

use super::Device;
use crate::{
    gateway::{
        call,
        read_payload,
        Errname, //
    },
    sys::{
        clock,
        errno,
        log::{
            self,
            Plain, //
        },
        memalloc::Scope,
        socket::Socket, //
    },
    volume::{
        probe,
        Errand,
        Found,
        Loss,
        Setback,
        Unfit, //
    }, //
};
use core::net::SocketAddr;
use kernel::{
    fmt,
    prelude::*,
    sync::Arc,
    time::msecs_to_jiffies, //
};

/// No attempt is given less: a limit that is nearly over must not fail what would succeed.
const SHORTEST_ATTEMPT_MS: u64 = 100;
/// With one probe per third of the reply timeout, three unanswered ones end an idle connection.
const KEEPALIVE_PROBES: u32 = 3;

/// How often it is looked, while requests wait for replies, whether replies wait for their receiver.
const LOOK_MS: u64 = 1_000;
/// A receiver that has not read for this long what is there to be read is worth a line in the log:
/// it has lost a wake-up, or gets no processor.
const UNREAD_LIMIT_MS: u32 = 5_000;

/// Why a gateway is of no use now.
enum Trouble {
    Network(Error),
    Unfit(Unfit),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Network(error)
    }
}

impl From<Unfit> for Trouble {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => f.write_fmt(fmt!("{}", Plain(Errname(*error)))),
            Self::Unfit(unfit) => f.write_fmt(fmt!("{}", Plain(unfit))),
        }
    }
}

impl Trouble {
    /// What it tells of what ran there before.
    fn setback(&self) -> Setback {
        match self {
            Self::Network(error) if *error == errno::connection_refused() => Setback::Answered,
            Self::Network(_) => Setback::Silent,
            Self::Unfit(_) => Setback::Answered,
        }
    }
}

/// Sets a connection of a link up, once it is made.
pub(super) fn prepare(socket: &Socket, reply_timeout_ms: u32) {
    let interval_s = (reply_timeout_ms / 1000 / KEEPALIVE_PROBES).max(1);
    socket.keep_alive(interval_s, KEEPALIVE_PROBES);
    // Waits last until somebody gives the connection up.
    socket.limit_waits(0);
}

/// A place for a connection of every link, so that none has to be found when memory is short.
///
/// # Errors
///
/// `ENOMEM`.
pub(super) fn places(device: &Device) -> Result<KVec<Arc<Socket>>> {
    Ok(KVec::with_capacity(device.links.len(), GFP_KERNEL)?)
}

/// The body of the thread; ends when the device is shut. `sockets` has the [`places`].
pub(super) fn run(device: &Device, mut sockets: KVec<Arc<Socket>>) {
    loop {
        match next_errand(device) {
            Errand::Connect {
                gateway,
                attempt,
                until_ms,
            } => connect(device, gateway, attempt, until_ms, &mut sockets),
            Errand::Probe { gateway } => doubt(device, gateway),
            Errand::None | Errand::Sleep(_) => {}
            Errand::End => break,
        }
    }
    // Who sat down before it was closed.
    call_all(device);
}

/// Waits until there is something to do for the connections; meanwhile calls who can go on.
fn next_errand(device: &Device) -> Errand {
    loop {
        if device.at_desk(|room| room.desk.session_mut().gives_up(clock::now_ms())) {
            pr_err!(
                "{}: no gateway for {} ms (io_timeout_ms): requests fail until one is back\n",
                &*device.name,
                device.tuning.io_timeout_ms
            );
            device.stir.notify_all();
        }
        let admission = device.at_desk(|room| room.desk.session().admission());
        call_all(device);
        let watched = watch_receivers(device);
        let mut room = device.room.lock();
        // Others may go on, or must fail, than those who were called.
        if room.desk.session().admission() != admission {
            continue;
        }
        let now_ms = clock::now_ms();
        let mut errand = room.desk.errand(now_ms);
        if watched {
            let look_ms = now_ms.saturating_add(LOOK_MS);
            errand = match errand {
                Errand::None => Errand::Sleep(look_ms),
                Errand::Sleep(until_ms) => Errand::Sleep(until_ms.min(look_ms)),
                errand => errand,
            };
        }
        match errand {
            // Interruptible, so that an idle thread does not count as blocked; it gets no signals.
            Errand::None => {
                let _ = device.stir.wait_interruptible(&mut room);
            }
            Errand::Sleep(until_ms) => {
                let left_ms = until_ms.saturating_sub(now_ms).clamp(1, 3_600_000) as u32;
                let _ = device
                    .stir
                    .wait_interruptible_timeout(&mut room, msecs_to_jiffies(left_ms));
            }
            errand => return errand,
        }
    }
}

/// Says when a receiver does not read what is there; whether any has something to wait for. Without
/// requests in flight nobody looks: [`Device::late`](crate::request) begins it.
fn watch_receivers(device: &Device) -> bool {
    let mut watched = false;
    for (index, link) in device.links.iter().enumerate() {
        if link.in_flight() == 0 {
            continue;
        }
        watched = true;
        let unread_ms = link.unread_ms();
        let said_ms = probe::said_of(unread_ms, link.said_ms(), UNREAD_LIMIT_MS);
        if said_ms > link.say(said_ms) && log::allowed() {
            pr_err!(
                "{}: link {}: a reply has been waiting for its receiver for {} ms: a lost wake-up, or \
                 no processor for {}-rx{}\n",
                &*device.peer,
                index,
                unread_ms,
                &*device.name,
                index
            );
        }
    }
    watched
}

/// Decides everybody anew who can go on, or must fail.
fn call_all(device: &Device) {
    let mut walk = device.at_desk(|room| room.desk.walk(clock::now_ms()));
    loop {
        let next = device.at_desk(|room| {
            let ticket = room.desk.pop(&mut walk)?;
            Some(room.parked.get_mut(ticket as usize).and_then(Option::take))
        });
        match next {
            Some(Some(rq)) => device.decide(rq),
            // A seat without a request: there is none.
            Some(None) => {}
            None => return,
        }
    }
}

fn connect(
    device: &Device,
    gateway: u32,
    attempt: u32,
    until_ms: Option<u64>,
    sockets: &mut KVec<Arc<Socket>>,
) {
    let started_ms = clock::now_ms();
    let mut limit_ms = u64::from(device.tuning.connect_timeout_ms);
    if let Some(until_ms) = until_ms {
        limit_ms = limit_ms.min(until_ms.saturating_sub(started_ms));
    }
    let limit_ms = limit_ms.max(SHORTEST_ATTEMPT_MS) as u32;
    let address = device.peer.gateway(gateway);
    let found = connect_all(device, address, limit_ms, sockets);
    device.dialer.done();
    match found {
        Ok(found) => {
            resume(device, gateway, attempt, sockets);
            if found == Found::Snapshot {
                pr_err!(
                    "{}: the VDI was snapshotted by another client: writes fail; unmap and map it \
                     again\n",
                    &*device.peer
                );
            }
        }
        Err(trouble) => {
            let (next_ms, waiting) = device.at_desk(|room| {
                let now_ms = clock::now_ms();
                let session = room.desk.session_mut();
                session.failed(trouble.setback(), now_ms);
                (session.pause_ms(now_ms), room.desk.waiting())
            });
            pr_warn!(
                "{}: {}: attempt {} failed: {}; next in {} s, {} requests waiting\n",
                &*device.name,
                Plain(address),
                attempt,
                trouble,
                next_ms.div_ceil(1000),
                waiting
            );
        }
    }
    sockets.clear();
}

/// Makes a connection for each link, and asks on the first whether the VDI is there; all of that in
/// about `limit_ms`.
fn connect_all(
    device: &Device,
    address: &SocketAddr,
    limit_ms: u32,
    sockets: &mut KVec<Arc<Socket>>,
) -> Result<Found, Trouble> {
    let _scope = Scope::reserves();
    let end_ms = clock::now_ms().saturating_add(limit_ms.into());
    let left_ms = || {
        let left_ms = end_ms.saturating_sub(clock::now_ms());
        left_ms.max(SHORTEST_ATTEMPT_MS) as u32
    };
    let socket = device.dialer.connect(address, left_ms())?;
    socket.limit_waits(left_ms());
    let found = ask(device, &socket)?;
    prepare(&socket, device.tuning.reply_timeout_ms);
    sockets
        .push_within_capacity(socket)
        .map_err(|_| Trouble::Network(ENOMEM))?;
    for _ in 1..device.links.len() {
        let socket = device.dialer.connect(address, left_ms())?;
        prepare(&socket, device.tuning.reply_timeout_ms);
        sockets
            .push_within_capacity(socket)
            .map_err(|_| Trouble::Network(ENOMEM))?;
    }
    Ok(found)
}

/// Asks a gateway whether it has the VDI.
fn ask(device: &Device, socket: &Socket) -> Result<Found, Trouble> {
    let header = call(socket, &probe::request(&device.geometry, 1), &[])?;
    probe::announced(&header)?;
    let mut answer = [0; probe::ANSWER_LEN];
    read_payload(socket, &mut answer)?;
    Ok(probe::found(&device.identity, &answer)?)
}

/// Gives the connections to the links and sends what has waited.
fn resume(device: &Device, gateway: u32, attempt: u32, sockets: &mut KVec<Arc<Socket>>) {
    let links = device.links.len() as u32;
    if !device.at_desk(|room| room.desk.session_mut().connected(links)) {
        return;
    }
    device.peer.turn_to(gateway);
    for (link, socket) in device.links.iter().zip(sockets.iter()) {
        link.attach(socket.clone());
    }
    let (outage_ms, waiting, up) = device.at_desk(|room| {
        let now_ms = clock::now_ms();
        let outage_ms = room.desk.session().outage_ms(now_ms);
        let up = room.desk.up(now_ms);
        (outage_ms, room.desk.waiting(), up)
    });
    device.stir.notify_all();
    if up.is_none() {
        // One of them was lost while the others were still to come: those were not reset with it.
        for link in &device.links {
            link.reset(Loss::Broken);
        }
    } else {
        pr_info!(
            "{}: connected again after {} ms, attempt {}; {} requests go on\n",
            &*device.peer,
            outage_ms,
            attempt,
            waiting
        );
    }
}

/// Gives the connections up, all as ever, if one carries nothing while others can be made. A firewall has forgotten
/// it, or TCP of this host finds no memory to send again what was lost: it wants some for that, in interrupts, and
/// not from the reserve. A new connection has nothing to send again.
fn replace_dead_connections(device: &Device) {
    let limit_ms = device.tuning.reply_timeout_ms;
    let dead = device.links.iter().find_map(|link| {
        let dead_ms = probe::dead_for(link.silent_ms(), link.unacknowledged_ms(), limit_ms)?;
        Some((link, dead_ms))
    });
    if let Some((link, dead_ms)) = dead {
        link.break_off(
            Loss::Broken,
            fmt!("nothing sent was acknowledged for {dead_ms} ms, though the gateway answers"),
        );
    }
}

/// Finds out whether a silent gateway still answers, and gives it up if not.
fn doubt(device: &Device, gateway: u32) {
    let address = device.peer.gateway(gateway);
    let asked = {
        let _scope = Scope::reserves();
        device
            .dialer
            .connect(address, device.tuning.connect_timeout_ms)
            .map_err(Trouble::from)
            .and_then(|socket| ask(device, &socket))
    };
    device.dialer.done();
    let (loss, trouble) = match asked {
        // That it cannot serve now is an answer, too.
        Ok(_) | Err(Trouble::Unfit(Unfit::Result(_))) => {
            device.at_desk(|room| room.desk.session_mut().alive());
            return replace_dead_connections(device);
        }
        Err(trouble @ Trouble::Network(_)) => (Loss::Broken, trouble),
        Err(trouble @ Trouble::Unfit(_)) => (Loss::Lied, trouble),
    };
    device.at_desk(|room| room.desk.session_mut().alive());
    if let Some(link) = device.links.first() {
        link.break_off(
            loss,
            fmt!(
                "nothing received for {} ms, and no reply to a probe: {}",
                link.silent_ms(),
                trouble
            ),
        );
    }
}
