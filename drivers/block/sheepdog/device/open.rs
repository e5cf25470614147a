// SPDX-License-Identifier: GPL-2.0

//! From a name and a list of gateways to a [`Device`]: connect, look up, read the inode.
//!
//! What to ask and what the answers mean is decided by [`volume::Opening`]; this does the asking.

use super::{
    attempt::Attempt,
    recovery,
    Device,
    Tuning,
    Volume, //
};
use crate::{
    gateway::{
        call,
        discard_payload,
        read_payload,
        Errname,
        Peer, //
    },
    proto::{
        inode::MAP_OFFSET,
        limits::LOOKUP_PAYLOAD_LEN,
        VdiName, //
    },
    sys::{
        errno,
        log::Plain,
        socket::{
            Reserve,
            Socket, //
        }, //
    },
    volume::{
        check_map,
        Access,
        Ask,
        Errno,
        Geometry,
        Identity,
        Incoming,
        Opening,
        Progress,
        Refusal, //
    }, //
};
use core::net::SocketAddr;
use kernel::{
    cpu::nr_cpu_ids,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        atomic::Atomic,
        Arc, //
    }, //
};

/// What is to be mapped, and how.
pub(crate) struct Wish {
    /// Name of the disk to be.
    pub(crate) disk: CString,
    /// Where to connect, in this order.
    pub(crate) gateways: KVec<SocketAddr>,
    /// Which VDI.
    pub(crate) vdi: VdiName,
    /// For reading only.
    pub(crate) read_only: bool,
    /// Number of connections, 1 or more.
    pub(crate) connections: u32,
    /// Time limits and queue depth.
    pub(crate) tuning: Tuning,
}

impl Wish {
    /// A copy. `ENOMEM`.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let mut gateways = KVec::new();
        gateways.extend_from_slice(&self.gateways, GFP_KERNEL)?;
        Ok(Self {
            disk: CString::try_from(&*self.disk)?,
            gateways,
            vdi: self.vdi,
            ..*self
        })
    }
}

/// Why a gateway was of no help.
enum Trouble {
    /// Another gateway may do better.
    Gateway(Error),
    /// No gateway will do better.
    Final(Error),
}

/// The map as it was read.
struct Image {
    geometry: Geometry,
    inode: KVVec<u8>,
}

/// Opens the VDI through the first gateway that works.
///
/// # Errors
///
/// See the configfs attribute `map`. Each gateway that did not help leaves a log line.
pub(crate) fn open(wish: &Wish, attempt: &Attempt<Arc<Device>>) -> Result<Arc<Device>> {
    let mut last = EINVAL;
    let mut reserve = Some(Reserve::new()?);
    let peer = Peer::new(&wish.disk, &wish.gateways)?;
    for place in 0..peer.len() {
        peer.turn_to(place);
        let gateway = peer.address();
        match open_through(wish, &peer, &mut reserve, attempt) {
            Ok(device) => return Ok(device),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Gateway(error)) => {
                if attempt.cancelled() {
                    return Err(EINTR);
                }
                let advice = match error {
                    ENOMEM => "there is no memory for a connection",
                    _ => "is a sheep running there?",
                };
                pr_err!(
                    "{}: {}: {}; {}\n",
                    &*wish.disk,
                    Plain(gateway),
                    Plain(Errname(error)),
                    advice
                );
                last = error;
            }
        }
    }
    Err(last)
}

fn open_through(
    wish: &Wish,
    peer: &Arc<Peer>,
    reserve: &mut Option<Reserve>,
    attempt: &Attempt<Arc<Device>>,
) -> Result<Arc<Device>, Trouble> {
    let gateway = peer.address();
    let timeout_ms = wish.tuning.connect_timeout_ms;
    let socket = attempt
        .connect(gateway, timeout_ms)
        .map_err(Trouble::Gateway)?;
    let image = read_inode(wish, gateway, &socket, attempt)?;
    let map = build_map(&image).map_err(|refusal| refused(wish, gateway, refusal))?;
    let map = map.map_err(Trouble::Final)?;

    // The block layer makes no more hardware queues than there are CPUs.
    let connections = wish.connections.min(nr_cpu_ids());
    if connections < wish.connections {
        pr_info!(
            "{}: {} connections, one per CPU\n",
            &*wish.disk,
            connections
        );
    }
    let identity = Identity::of_inode(&image.inode).ok_or(Trouble::Final(EINVAL))?;
    let volume = Volume {
        geometry: image.geometry,
        identity,
        map,
    };
    if socket.is_local() {
        pr_warn!(
            "{}: the gateway is on this host: start it with sheepctl guard, or memory pressure can \
             stop the machine; see sheepctl check\n",
            &**peer
        );
    }
    let mut sockets = KVec::with_capacity(connections as usize, GFP_KERNEL)
        .map_err(|error| Trouble::Final(error.into()))?;
    let mut socket = Some(socket);
    for _ in 0..connections {
        let socket = match socket.take() {
            Some(socket) => socket,
            None => attempt
                .connect(gateway, timeout_ms)
                .map_err(Trouble::Gateway)?,
        };
        recovery::prepare(&socket, wish.tuning.reply_timeout_ms);
        sockets
            .push(socket, GFP_KERNEL)
            .map_err(|error| Trouble::Final(error.into()))?;
    }
    let name = CString::try_from(&*wish.disk).map_err(|error| Trouble::Final(error.into()))?;
    let reserve = reserve.take().ok_or(Trouble::Final(EINVAL))?;
    let tuning = (wish.tuning, wish.read_only);
    Device::new(name, volume, peer.clone(), (sockets, reserve), tuning).map_err(Trouble::Final)
}

fn read_inode(
    wish: &Wish,
    gateway: &SocketAddr,
    socket: &Socket,
    attempt: &Attempt<Arc<Device>>,
) -> Result<Image, Trouble> {
    let access = if wish.read_only {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let mut opening = Opening::new(access);
    let mut lookup = [0; LOOKUP_PAYLOAD_LEN as usize];
    lookup[..wish.vdi.as_field().len()].copy_from_slice(wish.vdi.as_field());
    let mut inode = KVVec::new();
    let mut id = 0u32;
    loop {
        id = id.wrapping_add(1);
        let ask = opening.ask();
        let payload: &[u8] = match ask {
            Ask::Lookup => &lookup,
            Ask::Header | Ask::Inode | Ask::Check => &[],
        };
        let answer = call(socket, &opening.request(id), payload).map_err(Trouble::Gateway)?;
        let incoming = opening
            .incoming(&answer)
            .map_err(|refusal| refused(wish, gateway, refusal))?;
        let mut received = KVVec::new();
        match incoming {
            Incoming::None => {}
            Incoming::Discard(len) => discard_payload(socket, len).map_err(Trouble::Gateway)?,
            Incoming::Data => {
                received = KVVec::from_elem(0, opening.answer_len() as usize, GFP_KERNEL)
                    .map_err(|error| Trouble::Final(error.into()))?;
                read_payload(socket, &mut received).map_err(Trouble::Gateway)?;
            }
        }
        match opening.answered(&answer, &received) {
            Progress::Ask => {}
            Progress::Wait { ms } => attempt.sleep(ms).map_err(Trouble::Final)?,
            Progress::Open(geometry) => return Ok(Image { geometry, inode }),
            Progress::Refused(refusal) => return Err(refused(wish, gateway, refusal)),
        }
        if ask == Ask::Inode {
            inode = received;
        }
    }
}

/// The object map out of the inode: 4 bytes per object.
fn build_map(image: &Image) -> Result<Result<KVVec<Atomic<u32>>>, Refusal> {
    let entries = || {
        let bytes = image.inode.get(MAP_OFFSET as usize..).unwrap_or_default();
        bytes.chunks_exact(4).map(|entry| match entry {
            [a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]),
            _ => 0,
        })
    };
    check_map(image.geometry.vid(), entries())?;
    let build = || -> Result<KVVec<Atomic<u32>>> {
        let mut map = KVVec::with_capacity(image.geometry.objects() as usize, GFP_KERNEL)?;
        for entry in entries() {
            map.push(Atomic::new(entry), GFP_KERNEL)?;
        }
        Ok(map)
    };
    Ok(build())
}

/// Says why the VDI cannot be mapped.
fn refused(wish: &Wish, gateway: &SocketAddr, refusal: Refusal) -> Trouble {
    pr_err!(
        "{}: {}: VDI {}: {}; {}\n",
        &*wish.disk,
        Plain(gateway),
        BStr::from_bytes(wish.vdi.as_bytes()),
        Plain(refusal),
        refusal.advice()
    );
    Trouble::Final(match refusal.errno() {
        Errno::Io => EIO,
        Errno::NoSpace => ENOSPC,
        Errno::TimedOut => ETIMEDOUT,
        Errno::NotFound => ENOENT,
        Errno::Busy => EBUSY,
        Errno::ReadOnly => EROFS,
        Errno::NotSupported => errno::not_supported(),
        Errno::Protocol => errno::protocol(),
    })
}
