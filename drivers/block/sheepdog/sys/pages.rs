// SPDX-License-Identifier: GPL-2.0

//! A table of small records in pages of their own, which the network stack may keep references to.

use core::ptr;

use kernel::{
    bindings,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*, //
};

/// `COUNT` fixed-size places for records of `SIZE` bytes, none of which crosses a page.
///
/// The memory comes from the page allocator, not from slab, so that `MSG_SPLICE_PAGES` takes it.
pub(crate) struct RecordPages<const SIZE: usize> {
    pages: KVec<Page>,
    count: usize,
}

impl<const SIZE: usize> RecordPages<SIZE> {
    const PER_PAGE: usize = PAGE_SIZE / SIZE;

    /// Allocates `count` places. `ENOMEM`.
    pub(crate) fn new(count: usize) -> Result<Self> {
        const { assert!(SIZE > 0 && SIZE <= PAGE_SIZE) };
        let nr_pages = count.div_ceil(Self::PER_PAGE);
        let mut pages = KVec::with_capacity(nr_pages, GFP_KERNEL)?;
        for _ in 0..nr_pages {
            pages.push(Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?, GFP_KERNEL)?;
        }
        Ok(Self { pages, count })
    }

    /// Bytes that the table holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.pages.len() * PAGE_SIZE
    }

    /// Writes `record` into place `index`. `EINVAL` if there is no such place.
    ///
    /// The network stack may still read what was there before: overwriting it is harmless once
    /// the peer has received it, and that is the caller's concern, not one of memory safety.
    pub(crate) fn write(&mut self, index: usize, record: &[u8; SIZE]) -> Result {
        let (page, offset) = self.place(index)?;
        // SAFETY: `record` is valid for SIZE bytes; the place lies within the page; `&mut self`
        // keeps other writers away, and readers of the network stack read bytes without type.
        unsafe { page.write_raw(record.as_ptr(), offset, SIZE) }
    }

    /// Describes the first `len` bytes of place `index` for the network stack.
    pub(super) fn bvec(&self, index: usize, len: usize) -> Result<bindings::bio_vec> {
        let (page, offset) = self.place(index)?;
        if len > SIZE {
            return Err(EINVAL);
        }
        Ok(bindings::bio_vec {
            bv_page: page.as_ptr(),
            bv_len: u32::try_from(len)?,
            bv_offset: u32::try_from(offset)?,
        })
    }

    fn place(&self, index: usize) -> Result<(&Page, usize)> {
        if index >= self.count {
            return Err(EINVAL);
        }
        let page = self.pages.get(index / Self::PER_PAGE).ok_or(EINVAL)?;
        Ok((page, index % Self::PER_PAGE * SIZE))
    }
}

/// An empty `bio_vec`.
pub(super) const NO_BVEC: bindings::bio_vec = bindings::bio_vec {
    bv_page: ptr::null_mut(),
    bv_len: 0,
    bv_offset: 0,
};
