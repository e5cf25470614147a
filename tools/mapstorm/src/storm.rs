// SPDX-License-Identifier: GPL-2.0

//! The storm: what threads do, and who watches them.

use std::fmt;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::BufWriter;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use rand::rngs::SmallRng;
use rand::Rng;
use rand::SeedableRng;
use rustix::fs::fadvise;
use rustix::fs::Advice;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::sys::Mapping;
use crate::sys::PAGE;

/// Pages that a step is about, at most.
const MOST_PAGES: usize = 4;

/// What a thread does in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads or writes pages of a mapping, after they were taken out of the page table.
    Fault,
    /// Changes the protection of pages: a writer of `mmap_lock`.
    Protect,
    /// Reads from the disk into pages of a mapping, past the page cache.
    Direct,
    /// Maps and unmaps a file: a writer of `mmap_lock`, with faults in between.
    Map,
    /// Waits until pages of a mapping are on the disk.
    Flush,
    /// Takes pages of the files out of the page cache.
    Drop,
}

const KINDS: [Kind; 6] = [
    Kind::Fault,
    Kind::Protect,
    Kind::Direct,
    Kind::Map,
    Kind::Flush,
    Kind::Drop,
];
/// How often each is chosen, of a hundred.
const WEIGHTS: [u32; 6] = [40, 20, 25, 8, 2, 5];

impl Kind {
    fn choose(chance: &mut SmallRng) -> Self {
        let mut number = chance.random_range(0..WEIGHTS.iter().sum());
        for (kind, weight) in KINDS.into_iter().zip(WEIGHTS) {
            if number < weight {
                return kind;
            }
            number -= weight;
        }
        Kind::Fault
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Order {
    /// Threads.
    pub threads: usize,
    /// Bytes of each of the two files.
    pub file_len: u64,
    /// How long.
    pub duration: Duration,
    /// How long one step may take.
    pub patience: Duration,
    /// Seed of all chance.
    pub seed: u64,
}

/// What came of it.
#[derive(Default)]
pub struct Report {
    steps: [AtomicU64; KINDS.len()],
    longest_ms: [AtomicU64; KINDS.len()],
    /// Direct reads into pages that were not writable just then.
    refused: AtomicU64,
    /// Pages whose content was not what was written.
    wrong: AtomicU64,
    /// A thread that met an error which does not belong to this.
    failed: AtomicBool,
}

impl Report {
    /// Whether all was as it should be.
    pub fn is_good(&self) -> bool {
        self.wrong.load(Relaxed) == 0 && !self.failed.load(Relaxed)
    }

    /// How often something of this kind was done.
    pub fn steps(&self, kind: Kind) -> u64 {
        self.steps[kind as usize].load(Relaxed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut longest_ms = 0;
        for kind in KINDS {
            let took_ms = self.longest_ms[kind as usize].load(Relaxed);
            longest_ms = longest_ms.max(took_ms);
            let name = format!("{kind:?}").to_lowercase();
            write!(f, "{name}={} {name}_ms={took_ms} ", self.steps(kind))?;
        }
        write!(
            f,
            "refused={} wrong={} longest_ms={longest_ms}",
            self.refused.load(Relaxed),
            self.wrong.load(Relaxed)
        )
    }
}

/// What threads share.
struct Storm {
    order: Order,
    /// Content that stays: each page says which it is.
    source: File,
    /// The same file, past the page cache.
    direct: File,
    /// What is written to.
    target: File,
    constant: Mapping,
    mapped: Mapping,
    report: Report,
    began: Instant,
    over: AtomicBool,
}

/// One thread as the watcher sees it: milliseconds since the beginning when its step began plus one,
/// and the step's kind; 0 for the beginning between steps.
#[derive(Default)]
struct Watch {
    since_ms: AtomicU64,
    kind: AtomicU64,
}

/// The word that page `page` of the source begins with.
fn stamp(page: usize) -> u64 {
    (page as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn write_source(path: &Path, pages: usize) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for page in 0..pages {
        for _ in 0..PAGE / 8 {
            file.write_all(&stamp(page).to_ne_bytes())?;
        }
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

fn open(path: &Path, flags: OFlags) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .with_context(|| format!("{}", path.display()))
}

impl Storm {
    fn new(directory: &Path, order: &Order) -> Result<Self> {
        let pages = (order.file_len / PAGE as u64) as usize;
        if pages < 16 * MOST_PAGES {
            bail!("files of {} bytes are too small", order.file_len);
        }
        let path = directory.join("mapstorm-source");
        write_source(&path, pages)?;
        let source = open(&path, OFlags::empty())?;
        let direct = open(&path, OFlags::DIRECT)?;
        let target = open(&directory.join("mapstorm-target"), OFlags::empty())?;
        target.set_len(order.file_len)?;
        Ok(Self {
            constant: Mapping::new(&source, pages, 0)?,
            mapped: Mapping::new(&target, pages, pages / 2)?,
            order: order.clone(),
            source,
            direct,
            target,
            report: Report::default(),
            began: Instant::now(),
            over: AtomicBool::new(false),
        })
    }

    fn step(&self, kind: Kind, chance: &mut SmallRng) -> Result<(), Errno> {
        let count = chance.random_range(1..=MOST_PAGES);
        let pages = self.mapped.pages();
        let page = chance.random_range(0..=pages - count);
        match kind {
            Kind::Fault => {
                let steady = self.mapped.steady() - count;
                let write_at = chance.random_range(0..=steady);
                self.constant.forget(page, count)?;
                self.mapped.forget(write_at, count)?;
                for page in page..page + count {
                    self.check(&self.constant, page);
                    self.mapped.load(page);
                }
                for page in write_at..write_at + count {
                    self.mapped.store(page, chance.random());
                }
            }
            Kind::Protect => {
                let page = chance.random_range(self.mapped.steady()..=pages - count);
                self.mapped.protect(page, count, chance.random_bool(0.7))?;
            }
            Kind::Direct => {
                let from = chance.random_range(0..=pages - count) as u64 * PAGE as u64;
                match self.mapped.read_into(page, count, &self.direct, from) {
                    Err(Errno::FAULT) => {
                        self.report.refused.fetch_add(1, Relaxed);
                    }
                    other => {
                        other?;
                    }
                }
            }
            Kind::Map => {
                let mapping = Mapping::new(&self.source, pages, 0)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                for page in page..page + count {
                    self.check(&mapping, page);
                }
            }
            Kind::Flush => self.mapped.flush(page, count)?,
            Kind::Drop => {
                let (at, len) = (page as u64 * PAGE as u64, (count * PAGE) as u64);
                for file in [&self.source, &self.target] {
                    fadvise(file, at, len.try_into().ok(), Advice::DontNeed)?;
                }
            }
        }
        Ok(())
    }

    fn check(&self, mapping: &Mapping, page: usize) {
        let found = mapping.load(page);
        if found != stamp(page) {
            self.report.wrong.fetch_add(1, Relaxed);
            eprintln!(
                "mapstorm: page {page}: {found:016x}, not {:016x}",
                stamp(page)
            );
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn work(&self, watch: &Watch, mut chance: SmallRng) {
        while !self.over.load(Relaxed) {
            let kind = Kind::choose(&mut chance);
            let started_ms = self.now_ms();
            watch.kind.store(kind as u64, Relaxed);
            watch.since_ms.store(started_ms + 1, Relaxed);
            let result = self.step(kind, &mut chance);
            watch.since_ms.store(0, Relaxed);
            self.report.steps[kind as usize].fetch_add(1, Relaxed);
            self.report.longest_ms[kind as usize].fetch_max(self.now_ms() - started_ms, Relaxed);
            if let Err(error) = result {
                eprintln!("mapstorm: {kind:?}: {error}");
                self.report.failed.store(true, Relaxed);
                self.over.store(true, Relaxed);
            }
        }
    }

    /// The first thread that is in one step for too long: its number, the step, for how long.
    fn stuck(&self, watches: &[Watch]) -> Option<(usize, Kind, Duration)> {
        watches.iter().enumerate().find_map(|(number, watch)| {
            let since_ms = watch.since_ms.load(Relaxed).checked_sub(1)?;
            let age = Duration::from_millis(self.now_ms().saturating_sub(since_ms));
            (age > self.order.patience).then(|| {
                (
                    number,
                    KINDS[watch.kind.load(Relaxed) as usize % KINDS.len()],
                    age,
                )
            })
        })
    }
}

/// Prints where in the kernel each thread is, as far as this user may see that.
fn show_stacks() {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return;
    };
    for thread in threads.flatten() {
        if let Ok(stack) = std::fs::read_to_string(thread.path().join("stack")) {
            eprintln!("{}:\n{stack}", thread.path().display());
        }
    }
}

/// Makes two files in a directory, lets the storm go over them, and removes them.
///
/// # Errors
///
/// A thread that does not come back from a step; that the files cannot be made. Then the process
/// should end, and may not be able to.
pub fn run(directory: &Path, order: &Order) -> Result<Report> {
    let storm = Arc::new(Storm::new(directory, order)?);
    let watches: Arc<[Watch]> = (0..order.threads).map(|_| Watch::default()).collect();
    let threads: Vec<_> = (0..order.threads)
        .map(|number| {
            let (storm, watches) = (storm.clone(), watches.clone());
            let chance = SmallRng::seed_from_u64(order.seed.wrapping_add(number as u64));
            thread::spawn(move || storm.work(&watches[number], chance))
        })
        .collect();
    while !threads.iter().all(|thread| thread.is_finished()) {
        thread::sleep(Duration::from_millis(100));
        if storm.began.elapsed() >= order.duration {
            storm.over.store(true, Relaxed);
        }
        if let Some((number, kind, age)) = storm.stuck(&watches) {
            show_stacks();
            bail!(
                "thread {number} is stuck in {kind:?} for {} s",
                age.as_secs()
            );
        }
    }
    for thread in threads {
        if thread.join().is_err() {
            bail!("a thread panicked");
        }
    }
    for name in ["mapstorm-source", "mapstorm-target"] {
        std::fs::remove_file(directory.join(name))?;
    }
    let Ok(storm) = Arc::try_unwrap(storm).map_err(|_| ()) else {
        bail!("a thread still has the storm");
    };
    Ok(storm.report)
}
