// SPDX-License-Identifier: GPL-2.0

//! Signs of life of a link: what tells a slow peer from a dead one.
//!
//! The receiver notes when something arrived and whose reply it is reading; the timer of the block
//! layer looks. All is relaxed: a look that comes a moment too early is repeated.

use crate::sys::clock;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// No reply is being read.
const NOBODY: u32 = u32::MAX;

pub(super) struct Pulse {
    /// When something last arrived, in ticks.
    heard: Atomic<usize>,
    /// The tag of the request whose payload is being read.
    reading: Atomic<u32>,
    /// Since when something has been unread, in ticks, or 0.
    unread: Atomic<usize>,
    /// For how long it had been unread when that was last said, or 0.
    said: Atomic<u32>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            heard: Atomic::new(clock::now()),
            reading: Atomic::new(NOBODY),
            unread: Atomic::new(0),
            said: Atomic::new(0),
        }
    }

    /// Something has arrived.
    #[inline]
    pub(super) fn beat(&self) {
        self.heard.store(clock::now(), Relaxed);
    }

    /// The payload for this tag is about to be read.
    #[inline]
    pub(super) fn reads_for(&self, tag: u16) {
        self.reading.store(u32::from(tag), Relaxed);
    }

    /// It has been read.
    #[inline]
    pub(super) fn has_read(&self) {
        self.reading.store(NOBODY, Relaxed);
    }

    /// Whether the payload for this tag is being read.
    pub(super) fn is_reading_for(&self, tag: u16) -> bool {
        self.reading.load(Relaxed) == u32::from(tag)
    }

    /// For how long nothing has arrived.
    pub(super) fn silent_ms(&self) -> u32 {
        clock::ms_since(self.heard.load(Relaxed))
    }

    /// Something is there to be read: for how long, while nothing was read.
    pub(super) fn unread_ms(&self) -> u32 {
        let since = self.unread.load(Relaxed);
        // What was read since is progress: then this is something newer.
        if since == 0 || clock::ms_since(since) > self.silent_ms() {
            self.unread.store(clock::now().max(1), Relaxed);
            return 0;
        }
        clock::ms_since(since)
    }

    /// Notes that so many ms of it have been said; what had been noted.
    pub(super) fn say(&self, said_ms: u32) -> u32 {
        self.said.xchg(said_ms, Relaxed)
    }

    /// For how long it had been unread when that was last said.
    pub(super) fn said_ms(&self) -> u32 {
        self.said.load(Relaxed)
    }

    /// Nothing is there to be read.
    pub(super) fn has_nothing(&self) {
        self.unread.store(0, Relaxed);
    }
}
