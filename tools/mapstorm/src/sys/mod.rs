// SPDX-License-Identifier: GPL-2.0

//! Mappings of files that many threads use at once, while their protection changes. What is in them
//! is only ever reached by atomic loads and stores and by the kernel.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;
use rustix::mm::{
    madvise, mmap, mprotect, msync, munmap, Advice, MapFlags, MprotectFlags, MsyncFlags, ProtFlags,
};

/// Bytes of a page of this machine's memory.
pub const PAGE: usize = 4096;

/// A shared mapping of the beginning of a file.
///
/// `start` is a mapping of `pages` pages that nobody unmaps but `drop`. It is readable at all times.
/// The pages from `steady` on may be without write permission; those before never are, unless the
/// whole mapping was made for reading.
pub struct Mapping {
    start: NonNull<c_void>,
    pages: usize,
    steady: usize,
}

// SAFETY: The memory is reached by atomics and by system calls only, from whichever thread.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps so many pages of the file, of which the first `steady` can be written to.
    pub fn new(file: &File, pages: usize, steady: usize) -> io::Result<Self> {
        let protection = match steady {
            0 => ProtFlags::READ,
            _ => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: With a null address the kernel chooses one where nothing is.
        let start = unsafe {
            mmap(
                null_mut(),
                pages * PAGE,
                protection,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        let mapping = Self {
            start: NonNull::new(start).ok_or(io::ErrorKind::Unsupported)?,
            pages,
            steady: steady.min(pages),
        };
        // No read-ahead: a fault is to cost one page, so that there are many.
        // SAFETY: Changes nothing in memory.
        unsafe { madvise(start, pages * PAGE, Advice::Random) }?;
        Ok(mapping)
    }

    /// Pages of it.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Pages that can be written to at all times.
    pub fn steady(&self) -> usize {
        self.steady
    }

    fn at(&self, page: usize, pages: usize) -> *mut c_void {
        assert!(page + pages <= self.pages);
        // SAFETY: Inside of the mapping, or at its end.
        unsafe { self.start.as_ptr().byte_add(page * PAGE) }
    }

    fn word(&self, page: usize) -> &AtomicU64 {
        // SAFETY: Inside of the mapping, which is as good as any memory for atomics and outlives the
        // reference; aligned to a page.
        unsafe { AtomicU64::from_ptr(self.at(page, 1).cast()) }
    }

    /// The first word of a page; faults it in.
    pub fn load(&self, page: usize) -> u64 {
        self.word(page).load(Relaxed)
    }

    /// Writes the first word of a steady page; faults it in for writing.
    pub fn store(&self, page: usize, value: u64) {
        assert!(page < self.steady);
        self.word(page).store(value, Relaxed);
    }

    /// Gives or takes the write permission of pages that are not steady.
    pub fn protect(&self, page: usize, pages: usize, writable: bool) -> Result<(), Errno> {
        assert!(page >= self.steady);
        let flags = match writable {
            true => MprotectFlags::READ | MprotectFlags::WRITE,
            false => MprotectFlags::READ,
        };
        // SAFETY: These pages are ours and stay readable; `store` does not touch them.
        unsafe { mprotect(self.at(page, pages), pages * PAGE, flags) }
    }

    /// Takes pages out of the page table, so that the next access faults.
    pub fn forget(&self, page: usize, pages: usize) -> Result<(), Errno> {
        // SAFETY: Of a shared mapping of a file no content is lost.
        unsafe { madvise(self.at(page, pages), pages * PAGE, Advice::LinuxDontNeed) }
    }

    /// Waits until pages are on the disk.
    pub fn flush(&self, page: usize, pages: usize) -> Result<(), Errno> {
        // SAFETY: Changes nothing in memory.
        unsafe { msync(self.at(page, pages), pages * PAGE, MsyncFlags::SYNC) }
    }

    /// Lets the kernel read from a file into pages of the mapping. `FAULT` if they are not writable now.
    pub fn read_into(
        &self,
        page: usize,
        pages: usize,
        file: &File,
        offset: u64,
    ) -> Result<usize, Errno> {
        // SAFETY: The kernel writes to our pages only, which are reached by atomics otherwise: there is
        // no reference to their content.
        let len = unsafe {
            libc::pread64(
                file.as_raw_fd(),
                self.at(page, pages),
                pages * PAGE,
                offset as i64,
            )
        };
        usize::try_from(len)
            .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Ours, and nobody has a reference into it, since those borrow the mapping.
        let _ = unsafe { munmap(self.start.as_ptr(), self.pages * PAGE) };
    }
}
