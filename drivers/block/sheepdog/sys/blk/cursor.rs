// SPDX-License-Identifier: GPL-2.0

//! Walks over the pages of a request, a chunk at a time, for the socket to send or fill.

use kernel::{
    bindings,
    prelude::*, //
};

use super::{
    super::{
        ffi,
        pages::{
            RecordPages,
            NO_BVEC, //
        }, //
    },
    Hold,
    Operations, //
};

/// A place in the pages of one request.
///
/// # Invariants
///
/// `raw` was set up by `sheepdog_cursor_init` for a request.
pub(crate) struct Cursor {
    raw: ffi::RawCursor,
}

// SAFETY: A position; it is followed only by `Chunk::fill`, with a hold on the request.
unsafe impl Send for Cursor {}

impl Cursor {
    /// # Safety
    ///
    /// `rq` must be alive, and the cursor may be used only while it is.
    pub(super) unsafe fn new(rq: *mut bindings::request) -> Self {
        let mut raw = ffi::RawCursor {
            bio: core::ptr::null_mut(),
            iter: pin_init::zeroed(),
        };
        // SAFETY: The caller promises a live request.
        unsafe { ffi::sheepdog_cursor_init(&mut raw, rq) };
        // INVARIANT: Just set up.
        Self { raw }
    }
}

/// A description of bytes in memory: an optional record first, then pages of a request.
///
/// # Invariants
///
/// The first `nr` entries describe `len` bytes of pages that are valid while the request is held
/// that they were filled from, or the record pages they were pushed from are.
pub(crate) struct Chunk {
    bvecs: KVec<bindings::bio_vec>,
    nr: usize,
    len: usize,
}

// SAFETY: Page pointers mean the same in every thread.
unsafe impl Send for Chunk {}

impl Chunk {
    /// Most segments that one chunk describes; a request with more takes more chunks.
    pub(crate) const SEGMENTS: usize = 64;

    /// Allocates an empty chunk. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let bvecs = KVec::from_elem(NO_BVEC, Self::SEGMENTS, GFP_KERNEL)?;
        // INVARIANT: It describes nothing.
        Ok(Self {
            bvecs,
            nr: 0,
            len: 0,
        })
    }

    /// Makes it empty.
    pub(crate) fn clear(&mut self) {
        // INVARIANT: It describes nothing.
        self.nr = 0;
        self.len = 0;
    }

    /// Bytes described.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds the first `len` bytes of a record. `EINVAL` if there is no such record.
    pub(crate) fn push_record<const SIZE: usize>(
        &mut self,
        records: &RecordPages<SIZE>,
        index: usize,
        len: usize,
    ) -> Result {
        let bvec = records.bvec(index, len)?;
        *self.bvecs.get_mut(self.nr).ok_or(EINVAL)? = bvec;
        // INVARIANT: One entry more, of `len` bytes.
        self.nr += 1;
        self.len += len;
        Ok(())
    }

    /// Adds as many of the next pages of the request as there is room for.
    pub(crate) fn fill<T: Operations>(&mut self, cursor: &mut Cursor, _hold: &Hold<T>) {
        let room = self.bvecs.get_mut(self.nr..).unwrap_or_default();
        let mut bytes = 0;
        // SAFETY: The cursor is set up by its invariant and its request held; `room` is as long
        // as said.
        let nr = unsafe {
            ffi::sheepdog_cursor_fill(
                &mut cursor.raw,
                room.as_mut_ptr(),
                room.len() as u32,
                &mut bytes,
            )
        };
        // INVARIANT: The helper described `bytes` bytes in `nr` entries.
        self.nr += nr as usize;
        self.len += bytes;
    }

    /// Whether the network stack may keep references to the pages.
    pub(crate) fn spliceable(&self) -> bool {
        // SAFETY: By the invariant `nr` entries are there and valid.
        unsafe { ffi::sheepdog_bvecs_spliceable(self.bvecs.as_ptr(), self.nr as u32) }
    }

    /// The entries, for the socket.
    pub(in super::super) fn raw(&mut self) -> (*mut bindings::bio_vec, u32) {
        (self.bvecs.as_mut_ptr(), self.nr as u32)
    }
}
