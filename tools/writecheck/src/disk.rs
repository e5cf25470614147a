// SPDX-License-Identifier: GPL-2.0

//! Where blocks are: a block device, a file, or what a test puts in its place.

use std::fs::File;
use std::io;
use std::io::Seek;
use std::io::SeekFrom;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use rustix::fs::OFlags;

/// What O_DIRECT asks of a buffer, on any device.
const ALIGNMENT: usize = 4096;

/// Something with bytes at offsets.
pub trait Disk: Send + Sync {
    /// Fills `data` from `offset` on.
    ///
    /// # Errors
    ///
    /// As the system says.
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()>;

    /// Writes `data` at `offset`; it lasts when this returns.
    ///
    /// # Errors
    ///
    /// As the system says. Then it is not known what is there.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
}

/// A device or a file.
pub struct Device(File);

impl Device {
    /// Opens it, past the page cache unless `buffered`. Returns its size in bytes too.
    ///
    /// # Errors
    ///
    /// When it cannot be opened that way.
    pub fn open(path: &Path, buffered: bool) -> Result<(Self, u64)> {
        let mut options = File::options();
        options.read(true).write(true);
        if !buffered {
            // Positive on every architecture.
            options.custom_flags(OFlags::DIRECT.bits() as i32);
        }
        let mut file = options.open(path).with_context(|| {
            format!(
                "cannot open {}; a file system without O_DIRECT needs --buffered",
                path.display()
            )
        })?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok((Self(file), size))
    }
}

impl Disk for Device {
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(data, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// Memory that O_DIRECT can use.
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// Zeroes.
    pub fn new(len: usize) -> Self {
        let memory = vec![0; len + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start, len }
    }

    /// The content.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}
