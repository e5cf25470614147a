// SPDX-License-Identifier: GPL-2.0

//! What one link notes down: a record per tag, and counters.
//!
//! All stores are relaxed, and each has one writer at a time. A record is written by whoever owns
//! the request, and a tag has one owner; the block layer hands it from one to the next. What is
//! counted on sending is written by whoever has the wire, what is counted on receiving by the
//! receiver. So a counter needs no atomic addition, and a request costs three stores on its way out,
//! one on its way back, and one per counter.

use super::record::{
    Place,
    Record,
    NOTHING, //
};
use crate::{
    sys::clock,
    volume::{
        Extent,
        Step,
        Why, //
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// All words of a tag in one cache line.
#[repr(C, align(32))]
struct Tag {
    /// A packed [`Record`].
    record: Atomic<u64>,
    /// When the block layer handed the request over, in ticks.
    since: Atomic<usize>,
    /// When its last frame was sent, or was to be, in ticks.
    sent: Atomic<usize>,
}

/// Two numbers that one side of a link counts, apart from those of the other side.
#[repr(C, align(64))]
struct Counters {
    frames: Atomic<u64>,
    bytes: Atomic<u64>,
}

impl Counters {
    fn new() -> Self {
        Self {
            frames: Atomic::new(0),
            bytes: Atomic::new(0),
        }
    }

    /// To be called by one task at a time.
    fn count(&self, bytes: usize) {
        self.frames
            .store(self.frames.load(Relaxed).wrapping_add(1), Relaxed);
        self.bytes
            .store(self.bytes.load(Relaxed).wrapping_add(bytes as u64), Relaxed);
    }
}

/// The notes of one link.
pub(crate) struct Board {
    tags: KVVec<Tag>,
    sent: Counters,
    received: Counters,
    errors: Atomic<u64>,
}

/// What a link has carried.
pub(super) struct Carried {
    pub(super) sent_frames: u64,
    pub(super) sent_bytes: u64,
    pub(super) replies: u64,
    pub(super) received_bytes: u64,
    pub(super) errors: u64,
}

impl Board {
    /// A board for that many tags. `ENOMEM`.
    pub(crate) fn new(queue_depth: usize) -> Result<Self> {
        let mut tags = KVVec::with_capacity(queue_depth, GFP_KERNEL)?;
        for _ in 0..queue_depth {
            let tag = Tag {
                record: Atomic::new(NOTHING),
                since: Atomic::new(0),
                sent: Atomic::new(0),
            };
            tags.push(tag, GFP_KERNEL)?;
        }
        Ok(Self {
            tags,
            sent: Counters::new(),
            received: Counters::new(),
            errors: Atomic::new(0),
        })
    }

    /// Bytes that the records take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.tags.len() * core::mem::size_of::<Tag>()
    }

    /// The block layer has handed over a request with this tag.
    #[inline]
    pub(crate) fn begins(&self, tag: u16) {
        if let Some(tag) = self.tag(tag) {
            tag.since.store(clock::now(), Relaxed);
        }
    }

    /// Its next step is about to be sent.
    #[inline]
    pub(crate) fn sends(&self, tag: u16, step: Step, extent: &Extent) {
        if let Some(tag) = self.tag(tag) {
            tag.sent.store(clock::now(), Relaxed);
        }
        self.note(tag, Record::new(Place::Sent, step, extent));
    }

    /// It waits for something else than a reply; `step` is what was sent last.
    pub(crate) fn waits(&self, tag: u16, why: Why, step: Step, extent: &Extent) {
        let place = match why {
            Why::Creation => Place::Creation,
            Why::Gateway => Place::Gateway,
            Why::Fence => Place::Fence,
            Why::Cluster { .. } => Place::Cluster,
        };
        self.note(tag, Record::new(place, step, extent));
    }

    /// It is about to end.
    #[inline]
    pub(crate) fn ends(&self, tag: u16) {
        if let Some(tag) = self.tag(tag) {
            tag.record.store(NOTHING, Relaxed);
        }
    }

    /// The socket has no room for its frame now. To be called before anybody can go on with it.
    pub(crate) fn blocked(&self, tag: u16) {
        self.moves(tag, Place::Sent, Place::Sending);
    }

    /// A frame of so many bytes has been sent. By whoever has the wire.
    #[inline]
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.count(bytes);
    }

    /// As [`Self::sent`], for one that had been blocked.
    pub(crate) fn sent_late(&self, tag: u16, bytes: usize) {
        self.moves(tag, Place::Sending, Place::Sent);
        self.sent.count(bytes);
    }

    /// A reply of so many bytes has come. By the receiver.
    #[inline]
    pub(crate) fn received(&self, bytes: usize, is_error: bool) {
        self.received.count(bytes);
        if is_error {
            self.errors
                .store(self.errors.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// For how long the block layer has been waiting for the request with this tag.
    pub(crate) fn age_ms(&self, tag: u16) -> u32 {
        self.tag(tag)
            .map_or(0, |tag| clock::ms_since(tag.since.load(Relaxed)))
    }

    /// For how long the last frame with this tag has been on its way.
    pub(crate) fn sent_ms(&self, tag: u16) -> u32 {
        self.tag(tag)
            .map_or(0, |tag| clock::ms_since(tag.sent.load(Relaxed)))
    }

    /// The request with this tag, and the ticks at which it came.
    pub(super) fn read(&self, tag: u16) -> Option<(Record, usize)> {
        let tag = self.tag(tag)?;
        let record = Record::unpack(tag.record.load(Relaxed))?;
        Some((record, tag.since.load(Relaxed)))
    }

    /// What the link has carried until now.
    pub(super) fn carried(&self) -> Carried {
        Carried {
            sent_frames: self.sent.frames.load(Relaxed),
            sent_bytes: self.sent.bytes.load(Relaxed),
            replies: self.received.frames.load(Relaxed),
            received_bytes: self.received.bytes.load(Relaxed),
            errors: self.errors.load(Relaxed),
        }
    }

    #[inline]
    fn tag(&self, tag: u16) -> Option<&Tag> {
        self.tags.get(usize::from(tag))
    }

    #[inline]
    fn note(&self, tag: u16, record: Record) {
        if let Some(tag) = self.tag(tag) {
            tag.record.store(record.pack(), Relaxed);
        }
    }

    /// Whoever sends does not own the request: a peer can answer before it has read all of it, and
    /// then the owner goes on meanwhile. Hence the comparison: what the owner noted stays.
    fn moves(&self, tag: u16, from: Place, to: Place) {
        let Some(tag) = self.tag(tag) else {
            return;
        };
        let word = tag.record.load(Relaxed);
        if let Some(record) = Record::unpack(word).filter(|record| record.place == from) {
            let moved = Record {
                place: to,
                ..record
            };
            let _ = tag.record.cmpxchg(word, moved.pack(), Relaxed);
        }
    }
}
