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
    /// For how long it had been unread when that was last said, in ms, or 0.
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

    /// Whether it is to be said that something has been unread for `unread_ms`: from `limit_ms` on, and again each
    /// time it is twice as long.
    pub(super) fn is_to_be_said(&self, unread_ms: u32, limit_ms: u32) -> bool {
        let said_ms = self.said.load(Relaxed);
        if unread_ms < limit_ms {
            self.said.store(0, Relaxed);
            return false;
        }
        if unread_ms < said_ms.saturating_mul(2) {
            return false;
        }
        self.said.store(unread_ms, Relaxed);
        true
    }

    /// Nothing is there to be read.
    pub(super) fn has_nothing(&self) {
        self.unread.store(0, Relaxed);
    }
}
