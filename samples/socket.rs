// SPDX-License-Identifier: GPL-2.0

//! `sys::socket` and `sys::pages`: TCP from the kernel. Module parameters cannot hold an address,
//! so what to do is written to attributes of `/sys/kernel/config/sample_socket/`, as
//! `address:port`:
//!
//! `echo` sends bytes to a peer that sends them back; `silent` waits for one that sends nothing, and
//! resets the connection; `limit` connects to one that does not answer.

use core::net::{
    Ipv4Addr,
    Ipv6Addr,
    SocketAddr, //
};

use kernel::{
    bindings,
    configfs::{
        self,
        AttributeOperations, //
    },
    configfs_attrs,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        Completion,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use sys::{
    blk::Chunk,
    clock,
    errno,
    log::Plain,
    pages::RecordPages,
    socket::{
        SendFlags,
        Socket, //
    },
    thread::Thread, //
};

#[path = "../drivers/block/sheepdog/sys/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a sample is about one part")]
mod sys;

module! {
    type: Sample,
    name: "sample_socket",
    authors: ["The sheepdog.ko developers"],
    description: "TCP connections of the kernel",
    license: "GPL",
}

/// Limit for connecting, and for each wait.
const TIMEOUT_MS: u32 = 2000;
/// Limit for a peer that does not answer.
const SHORT_TIMEOUT_MS: u32 = 500;
/// How long a receiver is left waiting.
const SILENCE_MS: u32 = 300;
/// Bytes of a record; no divisor of a page.
const RECORD_LEN: usize = 48;
const RECORDS: usize = 100;

#[pin_data]
struct Sample {
    #[pin]
    subsystem: configfs::Subsystem<Root>,
}

struct Root {}

impl kernel::InPlaceModule for Sample {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let item_type = configfs_attrs! {
            container: configfs::Subsystem<Root>,
            data: Root,
            attributes: [
                echo: 0,
                silent: 1,
                limit: 2,
            ],
        };
        try_pin_init!(Self {
            subsystem <- configfs::Subsystem::new(c"sample_socket", item_type, Ok(Root {})),
        })
        .pin_chain(|_| {
            refused()?;
            pr_info!("ok\n");
            Ok(())
        })
    }
}

/// Runs `work` in a thread of ours, where sockets are to be made, and waits for it.
fn in_thread<R: Send + Unpin + 'static>(
    work: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let place = Arc::pin_init(new_mutex!(None), GFP_KERNEL)?;
    let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let (result, signal) = (place.clone(), done.clone());
    let thread = Thread::spawn(c"sample_socket", move || {
        *result.lock() = Some(work());
        signal.complete_all();
    })?;
    done.wait_for_completion();
    drop(thread);
    let result: Option<Result<R>> = Mutex::lock(&place).take();
    result.ok_or(EINTR)?
}

fn connected(peer: SocketAddr, timeout_ms: u32) -> Result<Socket> {
    in_thread(move || {
        let socket = Socket::new(&peer, timeout_ms)?;
        socket.connect(&peer)?;
        Ok(socket)
    })
}

/// Not all that a socket says has a name in `kernel::error::code` of all kernels.
fn is(error: Error, code: u32) -> bool {
    i64::from(error.to_errno()) == -i64::from(code)
}

/// Nobody listens on port 1 of this machine, in either family.
fn refused() -> Result {
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let peer = SocketAddr::new(ip, 1);
        match connected(peer, TIMEOUT_MS).err() {
            Some(error) if is(error, bindings::ECONNREFUSED) => {}
            error => {
                pr_err!("{}: {:?}, expected ECONNREFUSED\n", Plain(peer), error);
                return Err(EINVAL);
            }
        }
    }
    Ok(())
}

/// Sends records and loose bytes, and expects them back.
fn echo(peer: SocketAddr) -> Result {
    let socket = connected(peer, TIMEOUT_MS)?;
    let mut records = RecordPages::<RECORD_LEN>::new(RECORDS)?;
    let mut expected = KVVec::new();
    let mut chunk = Chunk::new()?;
    for index in 0..RECORDS {
        let record = [index as u8; RECORD_LEN];
        records.write(index, &record)?;
        expected.extend_from_slice(&record, GFP_KERNEL)?;
        chunk.clear();
        chunk.push_record(&records, index, RECORD_LEN)?;
        let mut flags = SendFlags::MORE;
        if index % 2 == 0 && chunk.spliceable() {
            flags = flags.with(SendFlags::SPLICE);
        }
        let mut sent = 0;
        while sent < RECORD_LEN {
            sent += socket.send(&mut chunk, sent, flags)?;
        }
    }
    if records.write(RECORDS, &[0; RECORD_LEN]) != Err(EINVAL) {
        pr_err!("a record was written behind the last one\n");
        return Err(EINVAL);
    }
    let end = b"and that is all\n";
    socket.send_bytes(end)?;
    expected.extend_from_slice(end, GFP_KERNEL)?;

    let mut received = KVVec::from_elem(0, expected.len(), GFP_KERNEL)?;
    socket.recv_bytes(&mut received)?;
    if received[..] != expected[..] {
        pr_err!("{}: not the bytes that were sent came back\n", Plain(peer));
        return Err(errno::protocol());
    }
    Ok(())
}

/// A reset wakes who waits for data.
fn silent(peer: SocketAddr) -> Result {
    let socket = Arc::new(connected(peer, TIMEOUT_MS)?, GFP_KERNEL)?;
    socket.limit_waits(0);
    let place = Arc::pin_init(new_mutex!(None), GFP_KERNEL)?;
    let started = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let (result, signal, receiver) = (place.clone(), started.clone(), socket.clone());
    let thread = Thread::spawn(c"sample_receiver", move || {
        signal.complete_all();
        let received = receiver.recv_bytes(&mut [0]);
        *result.lock() = Some(received);
    })?;
    started.wait_for_completion();
    fsleep(Delta::from_millis(i64::from(SILENCE_MS)));
    let early: Option<Result> = *Mutex::lock(&place);
    socket.abort();
    drop(thread);
    let result: Option<Result> = *Mutex::lock(&place);
    match (early, result) {
        (None, Some(Err(error))) if is(error, bindings::ECONNABORTED) => {}
        _ => {
            pr_err!(
                "received {:?} before the reset, {:?} after it\n",
                early,
                result
            );
            return Err(errno::protocol());
        }
    }
    if socket.send_bytes(b"x").is_ok() {
        pr_err!("a connection that was reset takes data\n");
        return Err(errno::protocol());
    }
    Ok(())
}

/// Connecting takes no longer than it may.
fn limit(peer: SocketAddr) -> Result {
    let started = clock::now();
    let result = connected(peer, SHORT_TIMEOUT_MS).map(|_| ());
    let took_ms = clock::ms_since(started);
    match result {
        Err(error) if error == ETIMEDOUT && took_ms >= SHORT_TIMEOUT_MS * 9 / 10 => Ok(()),
        result => {
            pr_err!(
                "{}: {:?} after {} ms, expected ETIMEDOUT after {}\n",
                Plain(peer),
                result,
                took_ms,
                SHORT_TIMEOUT_MS
            );
            Err(result.err().unwrap_or_else(errno::protocol))
        }
    }
}

macro_rules! attribute {
    ($id:literal, $action:ident) => {
        #[vtable]
        impl AttributeOperations<$id> for Root {
            type Data = Root;

            fn show(_root: &Root, _page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
                Err(EACCES)
            }

            fn store(_root: &Root, text: &[u8]) -> Result {
                let peer = core::str::from_utf8(text.trim_ascii())
                    .ok()
                    .and_then(|text| text.parse().ok());
                let Some(peer) = peer else {
                    pr_err!("write address:port, as in 127.0.0.1:7 or [::1]:7\n");
                    return Err(EINVAL);
                };
                $action(peer).inspect_err(|error| {
                    pr_err!("{} {}: {:?}\n", stringify!($action), Plain(peer), error)
                })
            }
        }
    };
}

attribute!(0, echo);
attribute!(1, silent);
attribute!(2, limit);
