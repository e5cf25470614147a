// SPDX-License-Identifier: GPL-2.0

//! Copies between a chunk and a buffer.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use core::mem::MaybeUninit;

use kernel::{
    bindings,
    ffi::{
        c_uint,
        c_ulong, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    }, //
};

use super::Chunk;

impl Chunk {
    /// Copies what the chunk describes into `buffer`; how many bytes, as many as fit.
    pub(crate) fn copy_to(&mut self, buffer: &mut [u8]) -> usize {
        let mut raw = self.iter(bindings::ITER_SOURCE);
        // SAFETY: Just set up as a source, over memory that by the invariant of the chunk is valid.
        unsafe { IovIterSource::from_raw(&mut raw) }.copy_from_iter(buffer)
    }

    /// Copies `buffer` into what the chunk describes; how many bytes, as many as fit.
    pub(crate) fn copy_from(&mut self, buffer: &[u8]) -> usize {
        let mut raw = self.iter(bindings::ITER_DEST);
        // SAFETY: As above, as a destination.
        unsafe { IovIterDest::from_raw(&mut raw) }.copy_to_iter(buffer)
    }

    fn iter(&mut self, direction: c_uint) -> bindings::iov_iter {
        let len = self.len();
        let (bvecs, nr) = self.raw();
        let mut iter = MaybeUninit::uninit();
        // SAFETY: By the invariant of the chunk `nr` entries describe `len` bytes; the function sets
        // up the whole of `iter`.
        unsafe {
            bindings::iov_iter_bvec(iter.as_mut_ptr(), direction, bvecs, nr as c_ulong, len);
            iter.assume_init()
        }
    }
}
