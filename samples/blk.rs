// SPDX-License-Identifier: GPL-2.0

//! `sys::blk`: a disk in memory, `/dev/sampleblk`, with three sectors that are not like the others.
//!
//! What it counts is in `/sys/kernel/debug/sample_blk/counters`.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
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
use sys::{
    blk::{
        Chunk,
        Disk,
        Hold,
        Limits,
        Op,
        Operations,
        Request,
        Status,
        TagSet, //
    },
    debugfs,
    thread::Thread, //
};

#[path = "../drivers/block/sheepdog/sys/mod.rs"]
#[expect(dead_code, reason = "a sample is about one part")]
mod sys;

module! {
    type: Sample,
    name: "sample_blk",
    authors: ["The sheepdog.ko developers"],
    description: "A disk in memory",
    license: "GPL",
}

/// Size of the disk.
const DISK_BYTES: usize = 4 << 20;
const DEPTH: u32 = 8;
/// A request that takes longer is late.
const LATE_MS: u32 = 1000;
/// What begins here ends with EIO.
const BAD_BYTE: u64 = 1 << 20;
/// What begins here is done at once and ends after this long, when the hold on it goes.
const HELD_BYTE: u64 = 2 << 20;
const HELD_MS: i64 = 3500;
/// What begins here is let go of without a word, which is an error, too.
const DROPPED_BYTE: u64 = 3 << 20;

/// The driver's part of a request.
struct Use {
    /// How often the block layer has used this request.
    count: u32,
}

struct State {
    data: KVVec<u8>,
    chunk: Chunk,
    /// The request that ends late.
    held: Option<Hold<Ram>>,
    stop: bool,
}

#[pin_data]
struct Ram {
    #[pin]
    state: Mutex<State>,
    #[pin]
    changed: CondVar,
    requests: Atomic<u32>,
    reused: Atomic<u32>,
    late: Atomic<u32>,
}

impl Ram {
    fn new() -> Result<Arc<Self>> {
        let state = State {
            data: KVVec::from_elem(0, DISK_BYTES, GFP_KERNEL)?,
            chunk: Chunk::new()?,
            held: None,
            stop: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(state),
                changed <- new_condvar!(),
                requests: Atomic::new(0),
                reused: Atomic::new(0),
                late: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Moves the data of a request, a chunk at a time. `EIO` beyond the end of the disk.
    fn transfer(&self, rq: &Request<Self>) -> Result {
        let mut guard = self.state.lock();
        let State { data, chunk, .. } = &mut *guard;
        let hold = rq.hold();
        let mut cursor = hold.cursor();
        let mut at = usize::try_from(rq.offset_bytes())?;
        loop {
            chunk.clear();
            chunk.fill(&mut cursor, &hold);
            if chunk.len() == 0 {
                return Ok(());
            }
            let end = at.checked_add(chunk.len()).ok_or(EIO)?;
            let place = data.get_mut(at..end).ok_or(EIO)?;
            let copied = match rq.op() {
                Op::Read => chunk.copy_from(place),
                _ => chunk.copy_to(place),
            };
            if copied != chunk.len() {
                return Err(EIO);
            }
            at = end;
        }
    }

    /// Lets go of what is held, after a while, until it is told to stop.
    fn keep(&self) {
        let mut state = self.state.lock();
        while !state.stop {
            if state.held.is_none() {
                let _ = self.changed.wait_interruptible(&mut state);
                continue;
            }
            drop(state);
            fsleep(Delta::from_millis(HELD_MS));
            state = self.state.lock();
            let held = state.held.take();
            drop(state);
            // This ends the request.
            drop(held);
            state = self.state.lock();
        }
    }
}

impl Operations for Ram {
    type RequestData = Use;

    fn new_request_data() -> Use {
        Use { count: 0 }
    }

    fn queue(self: ArcBorrow<'_, Self>, mut rq: Request<Self>, _last: bool) {
        self.requests.fetch_add(1, Relaxed);
        rq.count += 1;
        if rq.count > 1 {
            self.reused.fetch_add(1, Relaxed);
        }
        match rq.op() {
            Op::Read | Op::Write => {}
            Op::Flush => return rq.end(Status::Ok),
            Op::Other => return rq.end(Status::NotSupported),
        }
        match rq.offset_bytes() {
            BAD_BYTE => return rq.end(Status::Io),
            DROPPED_BYTE => return drop(rq),
            HELD_BYTE => {
                let mut state = self.state.lock();
                state.held = Some(rq.hold());
                self.changed.notify_one();
            }
            _ => {}
        }
        let status = match self.transfer(&rq) {
            Ok(()) => Status::Ok,
            Err(_) => Status::Io,
        };
        rq.end(status);
    }

    fn late(self: ArcBorrow<'_, Self>, _queue_index: usize, _tag: u16) {
        self.late.fetch_add(1, Relaxed);
    }
}

struct Counters(Arc<Ram>);

impl debugfs::Table for Counters {
    fn len(&self) -> usize {
        1
    }

    fn show(&self, _index: usize, out: &SeqFile) {
        seq_print!(
            out,
            "requests {} reused {} late {}\n",
            self.0.requests.load(Relaxed),
            self.0.reused.load(Relaxed),
            self.0.late.load(Relaxed)
        );
    }
}

struct Sample {
    disk: Option<Disk<Ram>>,
    keeper: Option<Thread>,
    ram: Arc<Ram>,
    _counters: debugfs::File<Counters>,
}

impl kernel::Module for Sample {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let ram = Ram::new()?;
        let dir = debugfs::Dir::new(c"sample_blk", None)?;
        let counters = debugfs::File::new(c"counters", &dir, Counters(ram.clone()))?;
        let keeper = ram.clone();
        let mut sample = Self {
            disk: None,
            keeper: Some(Thread::spawn(c"sample_keeper", move || keeper.keep())?),
            ram,
            _counters: counters,
        };
        let tags = Arc::pin_init(TagSet::new(1, DEPTH, LATE_MS), GFP_KERNEL)?;
        let limits = Limits {
            capacity_sectors: DISK_BYTES as u64 >> 9,
            chunk_bytes: 1 << 20,
            read_only: false,
        };
        sample.disk = Some(Disk::add("sampleblk", tags, sample.ram.clone(), &limits)?);
        // The block layer has looked for partitions by now.
        if sample.ram.requests.load(Relaxed) == 0 {
            pr_err!("no request came for the partition table\n");
            return Err(EIO);
        }
        pr_info!("ok\n");
        Ok(sample)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Waits for what is held, so the keeper goes after it.
        drop(self.disk.take());
        self.ram.state.lock().stop = true;
        self.ram.changed.notify_all();
        drop(self.keeper.take());
    }
}
