// SPDX-License-Identifier: GPL-2.0

//! TCP connections of the kernel to a peer, for the I/O path.
//!
//! C header: [`include/linux/net.h`](srctree/include/linux/net.h)

use core::{
    net::SocketAddr,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use super::{
    blk::Chunk,
    errno,
    ffi,
    memalloc::Scope, //
};

/// A TCP socket. Dropping it resets the connection.
///
/// # Invariants
///
/// `raw` is a socket made by `sheepdog_sock_create` that nobody else releases.
pub(crate) struct Socket {
    raw: NonNull<bindings::socket>,
    ipv6: bool,
    /// Whether [`SendFlags::SPLICE`] is heeded.
    splices: Atomic<bool>,
}

// SAFETY: The network stack locks what it changes.
unsafe impl Send for Socket {}
// SAFETY: As above; one thread may send while another receives and a third aborts.
unsafe impl Sync for Socket {}

/// How [`Socket::send`] treats the pages.
#[derive(Clone, Copy)]
pub(crate) struct SendFlags(kernel::ffi::c_uint);

impl SendFlags {
    /// Copy, wait for room, nothing follows.
    pub(crate) const NONE: Self = Self(0);
    /// Fail with `EAGAIN` instead of waiting for room.
    pub(crate) const NOWAIT: Self = Self(ffi::SEND_NOWAIT);
    /// More bytes follow at once: do not send a short segment.
    pub(crate) const MORE: Self = Self(ffi::SEND_MORE);
    /// Let the stack keep references to the pages instead of copying them. Not heeded where a peer on
    /// this host would get the pages themselves: it could read, when the connection has been reset and
    /// [`Socket::is_drained`], what was written to them later.
    pub(crate) const SPLICE: Self = Self(ffi::SEND_SPLICE);

    /// Both.
    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Socket {
    /// Makes a socket for peers of the family of `peer`, each of whose waits lasts at most `timeout_ms`.
    /// To be called from a thread of ours: the socket is charged to the memory cgroup of the task that
    /// makes it.
    pub(crate) fn new(peer: &SocketAddr, timeout_ms: u32) -> Result<Self> {
        let ipv6 = peer.is_ipv6();
        // SAFETY: The helper has no requirements.
        let raw = from_err_ptr(unsafe { ffi::sheepdog_sock_create(ipv6) })?;
        // INVARIANT: Just made, and ours.
        let socket = Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            ipv6,
            splices: Atomic::new(false),
        };
        socket.limit_waits(timeout_ms);
        Ok(socket)
    }

    /// Limits each wait for a connection, for room or for data, those that begin from now on; 0 is no
    /// limit. Not while somebody else may call [`Self::abort`] on a socket that is not connected yet.
    pub(crate) fn limit_waits(&self, timeout_ms: u32) {
        // SAFETY: A live socket.
        unsafe { ffi::sheepdog_sock_set_timeouts(self.raw.as_ptr(), timeout_ms) };
    }

    /// Connects. `ETIMEDOUT`, `ECONNREFUSED`, `EHOSTUNREACH` and what else connect(2) says;
    /// `ECONNABORTED` or `ETIMEDOUT` after [`Self::abort`].
    pub(crate) fn connect(&self, peer: &SocketAddr) -> Result {
        let mut address = [0; 16];
        let mut scope_id = 0;
        match (peer, self.ipv6) {
            (SocketAddr::V4(peer), false) => address[..4].copy_from_slice(&peer.ip().octets()),
            (SocketAddr::V6(peer), true) => {
                address = peer.ip().octets();
                scope_id = peer.scope_id();
            }
            _ => return Err(EINVAL),
        }
        // SAFETY: A live socket of that family, and an address of 16 bytes.
        kernel::error::to_result(unsafe {
            ffi::sheepdog_sock_connect(
                self.raw.as_ptr(),
                self.ipv6,
                address.as_ptr(),
                peer.port(),
                scope_id,
            )
        })?;
        // SAFETY: A live socket.
        let leaves_host = unsafe { ffi::sheepdog_sock_leaves_host(self.raw.as_ptr()) };
        self.splices.store(leaves_host, Relaxed);
        Ok(())
    }

    /// Lets the network find out that the peer has gone, while nothing is under way: probes when
    /// nothing was heard for `interval_s` seconds, at most `count` of them without an answer. Then
    /// waits end with `ETIMEDOUT`.
    pub(crate) fn keep_alive(&self, interval_s: u32, count: u32) {
        // SAFETY: A live socket.
        unsafe { ffi::sheepdog_sock_keepalive(self.raw.as_ptr(), interval_s, count) };
    }

    /// Whether nothing that was sent is referred to any more by the network stack of this host. To
    /// be asked after [`Self::abort`], when nobody sends.
    pub(crate) fn is_drained(&self) -> bool {
        // SAFETY: A live socket.
        unsafe { ffi::sheepdog_sock_is_drained(self.raw.as_ptr()) }
    }

    /// Whether the peer of a connected socket is on this host.
    pub(crate) fn is_local(&self) -> bool {
        // SAFETY: A live socket.
        unsafe { ffi::sheepdog_sock_is_local(self.raw.as_ptr()) }
    }

    /// Whether something has arrived that nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        // SAFETY: A live socket; an unlocked look at whether a list is empty.
        unsafe { ffi::sheepdog_sock_has_unread(self.raw.as_ptr()) }
    }

    /// For how long nothing that was sent was acknowledged, although TCP tried again; else 0.
    pub(crate) fn unacknowledged_ms(&self) -> u32 {
        // SAFETY: A live socket; an unlocked look at numbers.
        unsafe { ffi::sheepdog_sock_unacknowledged_ms(self.raw.as_ptr()) }
    }

    /// Sends what `chunk` describes from byte `skip` on; how many bytes went.
    pub(crate) fn send(&self, chunk: &mut Chunk, skip: usize, flags: SendFlags) -> Result<usize> {
        let len = chunk.len().checked_sub(skip).ok_or(EINVAL)?;
        let (bvecs, nr) = chunk.raw();
        let flags = if self.splices.load(Relaxed) {
            flags.0
        } else {
            flags.0 & !ffi::SEND_SPLICE
        };
        // SAFETY: A live socket; the chunk describes `skip + len` valid bytes.
        to_len(unsafe { ffi::sheepdog_sock_send(self.raw.as_ptr(), bvecs, nr, skip, len, flags) })
    }

    /// Receives exactly what `chunk` describes. `ECONNRESET` if the peer closed before that.
    pub(crate) fn recv(&self, chunk: &mut Chunk) -> Result {
        let len = chunk.len();
        let (bvecs, nr) = chunk.raw();
        // SAFETY: A live socket; the chunk describes `len` valid bytes.
        let got = to_len(unsafe { ffi::sheepdog_sock_recv(self.raw.as_ptr(), bvecs, nr, len) })?;
        complete(got, len)
    }

    /// Sends all of `bytes`, copied.
    pub(crate) fn send_bytes(&self, mut bytes: &[u8]) -> Result {
        while !bytes.is_empty() {
            // SAFETY: A live socket and a valid buffer.
            let sent = to_len(unsafe {
                ffi::sheepdog_sock_send_buf(self.raw.as_ptr(), bytes.as_ptr().cast(), bytes.len())
            })?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Fills `buffer`. `ECONNRESET` if the peer closed before that.
    pub(crate) fn recv_bytes(&self, buffer: &mut [u8]) -> Result {
        let len = buffer.len();
        // SAFETY: A live socket and a valid buffer.
        let got = to_len(unsafe {
            ffi::sheepdog_sock_recv_buf(self.raw.as_ptr(), buffer.as_mut_ptr().cast(), len)
        })?;
        complete(got, len)
    }

    /// Resets the connection and wakes whoever waits on it, now and later, with an error. The peer
    /// drops what it has not read. Any thread may call it, any number of times.
    pub(crate) fn abort(&self) {
        // SAFETY: A live socket.
        unsafe { ffi::sheepdog_sock_abort(self.raw.as_ptr()) };
    }
}

/// While it lives, packets that were received into the emergency reserve reach the sockets of the
/// driver. To be made before the first of them, by a thread of ours, and to be dropped after the
/// last.
///
/// # Invariants
///
/// `raw` was made by `sheepdog_reserve_create` and nobody else releases it.
pub(crate) struct Reserve {
    raw: NonNull<bindings::socket>,
}

// SAFETY: Nothing is done with it but to release it, which any thread may do.
unsafe impl Send for Reserve {}
// SAFETY: A shared reference can do nothing.
unsafe impl Sync for Reserve {}

impl Reserve {
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The helper has no requirements.
        let raw = from_err_ptr(unsafe { ffi::sheepdog_reserve_create() })?;
        // INVARIANT: Just made, and ours.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // SAFETY: Ours by the invariant.
        unsafe { ffi::sheepdog_reserve_release(self.raw.as_ptr()) };
    }
}

/// Whether sockets are to be made by a thread of ours; a parameter of the module can say no, for
/// tests.
pub(crate) fn made_by_our_threads() -> bool {
    // SAFETY: The function takes a number.
    unsafe { ffi::sheepdog_protects(ffi::PROTECT_CGROUP) }
}

fn to_len(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| match i32::try_from(ret) {
        // A time limit of the socket.
        Ok(errno) if Error::from_errno(errno) == EAGAIN => EAGAIN,
        Ok(errno) => Error::from_errno(errno),
        Err(_) => EIO,
    })
}

fn complete(got: usize, wanted: usize) -> Result {
    if got == wanted {
        Ok(())
    } else {
        Err(errno::connection_reset())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Closing sends, hence allocates.
        let _scope = Scope::noio();
        // SAFETY: A live socket that is ours.
        unsafe { ffi::sheepdog_sock_release(self.raw.as_ptr()) };
    }
}
