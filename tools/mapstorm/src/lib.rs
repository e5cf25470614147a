// SPDX-License-Identifier: GPL-2.0

//! Threads of one process that all need its `mmap_lock` at once: they fault on mappings of files,
//! change protections, map and unmap, and read from the disk directly into such mappings. A block
//! driver whose completions needed that lock, or anything else of the user's memory, would stand
//! still. In: a directory of a file system on the disk. Out: how much was done, how long the longest
//! step of each kind took, whether the content was right.

pub mod storm;
mod sys;
