// SPDX-License-Identifier: GPL-2.0

//! A mapped VDI that the system can see: the disk, and the threads that serve it.

use super::{
    announce,
    open::Wish,
    recovery,
    Device, //
};
use crate::{
    observe::Files,
    sys::{
        blk::{
            Chunk,
            Disk,
            Limits,
            TagSet, //
        },
        clock,
        debugfs::Dir,
        memalloc::Scope,
        thread::Thread, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// Disk, threads and requests of a mapping.
///
/// The fields are dropped in this order: the disk waits for its requests, which end because the
/// threads still run or have given everything back; then the threads are joined, which `remove`
/// has told to end. The files go last: if the disk waits for ever, they say for what.
pub(crate) struct Live {
    disk: Disk<Device>,
    threads: KVec<Thread>,
    _files: Files<Device>,
    device: Arc<Device>,
}

impl Live {
    /// Starts the threads and shows the disk.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what the block layer says.
    pub(crate) fn start(device: Arc<Device>, wish: &Wish, debugfs: &Arc<Dir>) -> Result<Self> {
        let files = Files::new(&device.name, debugfs, &device)?;
        let mut threads = KVec::with_capacity(2 * device.links.len() + 2, GFP_KERNEL)?;
        // Before there are threads: they begin with a mapping that is up, and nobody has to tell them.
        // If the gateway has gone again meanwhile a receiver finds out.
        let _ = device.at_desk(|room| room.desk.up(clock::now_ms()));
        let result =
            Self::start_threads(&device, &mut threads).and_then(|()| Self::add_disk(&device, wish));
        match result {
            Ok(disk) => {
                *device.announcer.lock() = Some(disk.announcer());
                Ok(Self {
                    disk,
                    threads,
                    _files: files,
                    device,
                })
            }
            Err(error) => {
                device.shut();
                Err(error)
            }
        }
    }

    fn start_threads(device: &Arc<Device>, threads: &mut KVec<Thread>) -> Result {
        for (index, link) in device.links.iter().enumerate() {
            let (receiver, owner) = (link.clone(), device.clone());
            let name = CString::try_from_fmt(fmt!("{}-rx{}", &*device.name, index))?;
            let chunk = Chunk::new()?;
            let body = move || receiver.receive(owner.as_arc_borrow(), chunk);
            threads.push(Thread::spawn(&name, body)?, GFP_KERNEL)?;

            let transmitter = link.clone();
            let name = CString::try_from_fmt(fmt!("{}-tx{}", &*device.name, index))?;
            let body = move || transmitter.transmit();
            threads.push(Thread::spawn(&name, body)?, GFP_KERNEL)?;
        }
        let owner = device.clone();
        let name = CString::try_from_fmt(fmt!("{}-uev", &*device.name))?;
        threads.push(
            Thread::spawn(&name, move || announce::run(&owner))?,
            GFP_KERNEL,
        )?;
        let owner = device.clone();
        let name = CString::try_from_fmt(fmt!("{}-rec", &*device.name))?;
        let sockets = recovery::places(device)?;
        let body = move || recovery::run(&owner, sockets);
        threads.push(Thread::spawn(&name, body)?, GFP_KERNEL)?;
        Ok(())
    }

    fn add_disk(device: &Arc<Device>, wish: &Wish) -> Result<Disk<Device>> {
        let tuning = &wish.tuning;
        let look_ms = match tuning.io_timeout_ms {
            0 => tuning.reply_timeout_ms,
            limit => limit.min(tuning.reply_timeout_ms),
        };
        let tags = Arc::pin_init(
            TagSet::new(device.links.len() as u32, tuning.queue_depth, look_ms),
            GFP_KERNEL,
        )?;
        let limits = Limits {
            capacity_sectors: device.geometry.capacity_sectors(),
            chunk_bytes: device.geometry.object_size_bytes(),
            read_only: wish.read_only,
        };
        let name = device.name.to_str().map_err(|_| EINVAL)?;
        Disk::add(name, tags, device.clone(), &limits)
    }

    /// The mapped VDI.
    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Forbids opening the disk from now on. `EBUSY` if somebody has it open.
    pub(crate) fn claim(&self) -> Result {
        self.disk.claim()
    }

    /// Removes the disk after a successful [`Self::claim`].
    pub(crate) fn remove(self) {
        let device = self.device.clone();
        // The disk first: it has no openers, and what is in flight may still complete.
        let Self { disk, threads, .. } = self;
        drop(disk);
        device.shut();
        drop(threads);
        device.forget_disk();
    }

    /// Removes the disk whoever has it open: what is in flight fails now, what comes later at once.
    pub(crate) fn remove_by_force(self) {
        let _scope = Scope::noio();
        let device = self.device.clone();
        device.shut();
        self.disk.mark_dead();
        let Self { disk, threads, .. } = self;
        drop(disk);
        drop(threads);
        device.forget_disk();
    }
}
