// SPDX-License-Identifier: GPL-2.0

//! A disk: its limits, its name, its end.

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::c_void,
    prelude::*,
    sync::Arc,
    types::ForeignOwnable, //
};

use super::{
    super::ffi,
    tag_set::into_queuedata,
    Operations,
    TagSet, //
};

/// Geometry of a disk.
pub(crate) struct Limits {
    /// Size in sectors of 512 bytes.
    pub(crate) capacity_sectors: u64,
    /// No request crosses a multiple of this many bytes; a power of two. Also the best size and
    /// alignment for I/O.
    pub(crate) chunk_bytes: u64,
    /// No writes.
    pub(crate) read_only: bool,
}

/// A disk that the system can see.
///
/// Dropping it removes the disk and waits for its requests: make sure they can end.
///
/// # Invariants
///
/// `raw` is a live disk with an `Arc<T>` as queue data.
pub(crate) struct Disk<T: Operations> {
    raw: NonNull<bindings::gendisk>,
    queuedata: *mut c_void,
    _tags: Arc<TagSet<T>>,
}

// SAFETY: The block layer locks what it changes, and `T` is `Send` and `Sync`.
unsafe impl<T: Operations> Send for Disk<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for Disk<T> {}

impl<T: Operations> Disk<T> {
    /// Largest request, bytes; what a chunk allows if that is less.
    const MAX_REQUEST_BYTES: u64 = 4 << 20;
    /// Sheep store objects in files: writes of whole 4 KiB blocks need no read.
    const PHYSICAL_BLOCK_BYTES: u32 = 4096;

    /// Makes a disk and shows it to the system, which reads its partition table at once.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the name is too long; `ENOMEM`; what the block layer says of the limits.
    pub(crate) fn add(
        name: &str,
        tags: Arc<TagSet<T>>,
        device: Arc<T>,
        limits: &Limits,
    ) -> Result<Self> {
        let max_sectors = u32::try_from(limits.chunk_bytes.min(Self::MAX_REQUEST_BYTES) >> 9)?;
        let mut lim = bindings::queue_limits {
            logical_block_size: 512,
            physical_block_size: Self::PHYSICAL_BLOCK_BYTES,
            io_min: Self::PHYSICAL_BLOCK_BYTES,
            io_opt: u32::try_from(limits.chunk_bytes)?,
            chunk_sectors: u32::try_from(limits.chunk_bytes >> 9)?,
            max_hw_sectors: max_sectors,
            max_segments: u16::MAX,
            max_segment_size: u32::MAX,
            seg_boundary_mask: usize::MAX,
            ..pin_init::zeroed()
        };
        let queuedata = into_queuedata(device);
        // SAFETY: The tag set is initialised and outlives the disk; `lim` is valid.
        let raw = unsafe { ffi::sheepdog_disk_alloc(tags.raw(), &mut lim, queuedata) };
        let raw = match from_err_ptr(raw) {
            Ok(raw) => raw,
            Err(error) => {
                // SAFETY: No disk was made, so the reference is still ours.
                drop(unsafe { Arc::<T>::from_foreign(queuedata.cast()) });
                return Err(error);
            }
        };
        let added = Self::name_and_add(raw, name, limits);
        if let Err(error) = added {
            // SAFETY: Made above and not added; then nobody but us uses the queue data.
            unsafe { bindings::put_disk(raw) };
            // SAFETY: As above.
            drop(unsafe { Arc::<T>::from_foreign(queuedata.cast()) });
            return Err(error);
        }
        // INVARIANT: Added, with that queue data.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(EINVAL)?,
            queuedata,
            _tags: tags,
        })
    }

    fn name_and_add(raw: *mut bindings::gendisk, name: &str, limits: &Limits) -> Result {
        // SAFETY: A fresh disk that only we know.
        let disk_name = unsafe { &mut (*raw).disk_name };
        if name.len() >= disk_name.len() {
            return Err(EINVAL);
        }
        for (place, byte) in disk_name.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        // SAFETY: As above.
        unsafe { bindings::set_capacity(raw, limits.capacity_sectors) };
        // SAFETY: As above.
        unsafe { bindings::set_disk_ro(raw, limits.read_only) };
        // SAFETY: Named and sized; no parent device, no groups.
        to_result(unsafe {
            bindings::device_add_disk(core::ptr::null_mut(), raw, core::ptr::null_mut())
        })
    }

    /// Forbids opening the disk from now on. `EBUSY` if somebody has it open.
    pub(crate) fn claim(&self) -> Result {
        // SAFETY: A live disk.
        to_result(unsafe { ffi::sheepdog_disk_claim(self.raw.as_ptr()) })
    }

    /// Somebody who can tell of changes of the disk.
    pub(crate) fn announcer(&self) -> Announcer {
        // SAFETY: A live disk; the helper takes a reference.
        unsafe { ffi::sheepdog_disk_get(self.raw.as_ptr()) };
        // INVARIANT: Taken above.
        Announcer { raw: self.raw }
    }

    /// Tells file systems on the disk that it is gone: they stop writing to it.
    pub(crate) fn mark_dead(&self) {
        // SAFETY: A live disk.
        unsafe { bindings::blk_mark_disk_dead(self.raw.as_ptr()) };
    }
}

/// Somebody who can tell of changes of a disk, also when that has been removed: then nobody hears.
///
/// # Invariants
///
/// `raw` is a disk of which this holds a reference.
pub(crate) struct Announcer {
    raw: NonNull<bindings::gendisk>,
}

// SAFETY: A reference that any thread may use and give up.
unsafe impl Send for Announcer {}
// SAFETY: As above; the kernel locks what it changes.
unsafe impl Sync for Announcer {}

impl Announcer {
    /// Sends a change event with the variable `NAME=value`. Allocates; does nothing if it cannot.
    pub(crate) fn announce(&self, variable: &CStr) {
        // SAFETY: A disk that is kept by our reference; the text is copied.
        unsafe { ffi::sheepdog_disk_announce(self.raw.as_ptr(), variable.as_char_ptr()) };
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        // SAFETY: Our reference.
        unsafe { ffi::sheepdog_disk_put(self.raw.as_ptr()) };
    }
}

impl<T: Operations> Drop for Disk<T> {
    fn drop(&mut self) {
        // SAFETY: A live disk by the invariant. This waits for the requests that are in flight
        // and lets no more in.
        unsafe { bindings::del_gendisk(self.raw.as_ptr()) };
        // SAFETY: Our reference.
        unsafe { bindings::put_disk(self.raw.as_ptr()) };
        // SAFETY: Put there by `add`, and after `del_gendisk` no callback can use it.
        drop(unsafe { Arc::<T>::from_foreign(self.queuedata.cast()) });
    }
}
