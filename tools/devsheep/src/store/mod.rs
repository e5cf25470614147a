// SPDX-License-Identifier: GPL-2.0

//! Where objects are kept: bytes by object id, of a size that is fixed when an object is created.
//!
//! A store knows nothing of VDIs, snapshots or requests. Every operation is atomic towards the
//! others on the same object; a CREATE that fails leaves what was there.

mod directory;
mod memory;

pub use directory::DirectoryStore;
pub use memory::MemoryStore;

use std::io;

use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::SdResult;

/// Why a store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("no such object")]
    NoObject,
    /// The range does not lie within the object.
    #[error("the range lies outside the object")]
    OutOfBounds,
    /// The store, or its file system, is full.
    #[error("no space")]
    NoSpace,
    /// The file system failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoObject,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}

/// The result code that a client gets (protocol sheet 5).
impl From<StoreError> for SdResult {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoObject => Self::NO_OBJ,
            StoreError::OutOfBounds => Self::INVALID_PARMS,
            StoreError::NoSpace => Self::NO_SPACE,
            StoreError::Io(error) => {
                tracing::error!(%error, "the store failed; the client gets EIO");
                Self::EIO
            }
        }
    }
}

/// Shorthand for what a store returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Bytes and their place in an object.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Offset in bytes.
    pub offset: u64,
    /// Content.
    pub data: &'a [u8],
}

/// How a new object looks.
#[derive(Clone, Copy, Debug)]
pub struct NewObject<'a> {
    /// Its size in bytes.
    pub size: u64,
    /// The object that it starts as a copy of; zeroes without one.
    pub base: Option<ObjectId>,
    /// What is laid over that.
    pub pieces: &'a [Piece<'a>],
}

/// Space in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// In total.
    pub size: u64,
    /// Not used.
    pub free: u64,
}

/// A place for objects.
pub trait Store: Send + Sync {
    /// Size of an object in bytes, `None` when there is no such object.
    fn size_of(&self, oid: ObjectId) -> Result<Option<u64>>;

    /// Appends `len` bytes at `offset` to `out`. On an error `out` may have grown by less.
    fn read(&self, oid: ObjectId, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<()>;

    /// Writes within an object that exists.
    fn write(&self, oid: ObjectId, offset: u64, data: &[u8]) -> Result<()>;

    /// Makes an object, in place of one that exists.
    fn create(&self, oid: ObjectId, object: NewObject<'_>) -> Result<()>;

    /// Removes an object.
    fn remove(&self, oid: ObjectId) -> Result<()>;

    /// The ids of all objects, in no order.
    fn list(&self) -> Result<Vec<ObjectId>>;

    /// Removes every object.
    fn clear(&self) -> Result<()>;

    /// Space of the store.
    fn space(&self) -> Result<Space>;

    /// Keeps a note that is not an object, in place of the previous one.
    fn save_note(&self, note: &[u8]) -> Result<()>;

    /// The note that was kept, `None` when there is none.
    fn load_note(&self) -> Result<Option<Vec<u8>>>;

    /// Makes everything durable that is not so already.
    fn flush(&self) -> Result<()>;

    /// Whether operations wait for a disk, so that they need a thread of their own.
    fn waits_for_disk(&self) -> bool;
}

/// The end of a range, when it lies within `size`.
pub(crate) fn range_end(offset: u64, len: usize, size: u64) -> Result<u64> {
    u64::try_from(len)
        .ok()
        .and_then(|len| offset.checked_add(len))
        .filter(|&end| end <= size)
        .ok_or(StoreError::OutOfBounds)
}
