// SPDX-License-Identifier: GPL-2.0

//! The inode of a VDI: where its fields stand and what an honest one looks like
//! (protocol sheet 7.1).
//!
//! The object map itself stays bytes here: 4 per object, at [`map_offset`].

use core::fmt;

use super::limits::MAX_BLOCK_SIZE_SHIFT;
use super::limits::MAX_OBJECTS;
use super::limits::MIN_BLOCK_SIZE_SHIFT;
use super::limits::NAME_LEN;
use super::name::until_nul;
use super::oid::Vid;
use super::wire::u32_at;
use super::wire::u64_at;
use super::wire::u8_at;

/// Bytes of the header, and offset of the object map.
pub const HEADER_LEN: usize = 4664;
/// Bytes of one entry of the object map.
pub const MAP_ENTRY_LEN: u32 = 4;
/// Offset of the object map in the inode.
pub const MAP_OFFSET: u32 = 4664;
/// Offset of the reference counts, which only servers write; also the number of bytes that holds
/// header and map, and the length by which a server recognises a coherence refresh
/// (protocol sheet 11).
pub const GREF_OFFSET: u32 = 4_198_968;
/// Bytes of one reference count entry.
pub const GREF_ENTRY_LEN: u32 = 8;
/// Bytes of a whole inode.
pub const INODE_LEN: u32 = 12_587_576;
/// First word of the map area of a hyper volume, a B-tree node (protocol sheet 7.4).
pub const BTREE_MAGIC: u16 = 0x6274;

const _: () = assert!(MAP_OFFSET as usize == HEADER_LEN);
const _: () = assert!(GREF_OFFSET == MAP_OFFSET + MAX_OBJECTS * MAP_ENTRY_LEN);
const _: () = assert!(INODE_LEN == GREF_OFFSET + MAX_OBJECTS * GREF_ENTRY_LEN);

/// Offsets of the header's fields (protocol sheet 7.1).
pub mod field {
    /// Name, 256 bytes; empty for a deleted VDI.
    pub const NAME: usize = 0;
    /// Tag, 256 bytes.
    pub const TAG: usize = 256;
    /// Creation time, u64: seconds << 32 | nanoseconds.
    pub const CREATE_TIME: usize = 512;
    /// Snapshot time, u64; 0 for a working VDI.
    pub const SNAP_CTIME: usize = 520;
    /// QEMU's virtual clock, u64.
    pub const VM_CLOCK_NSEC: usize = 528;
    /// Size in bytes, u64.
    pub const VDI_SIZE: usize = 536;
    /// Size of the saved VM state, u64.
    pub const VM_STATE_SIZE: usize = 544;
    /// Erasure code, u8.
    pub const COPY_POLICY: usize = 552;
    /// Kind of index, u8.
    pub const STORE_POLICY: usize = 553;
    /// Replicas, u8.
    pub const NR_COPIES: usize = 554;
    /// Logarithm of the object size, u8.
    pub const BLOCK_SIZE_SHIFT: usize = 555;
    /// Snapshot id, u32.
    pub const SNAP_ID: usize = 556;
    /// The VDI's own id, u32.
    pub const VDI_ID: usize = 560;
    /// The parent's id, u32.
    pub const PARENT_VDI_ID: usize = 564;
    /// Next B-tree node, u32.
    pub const BTREE_COUNTER: usize = 568;
}

/// The header of an inode, as bytes that somebody else owns.
#[derive(Clone, Copy)]
pub struct InodeHeader<'a>(&'a [u8; HEADER_LEN]);

impl<'a> InodeHeader<'a> {
    /// The header at the start of `bytes`, `None` when they are too few.
    pub fn from_prefix(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk::<HEADER_LEN>().map(Self)
    }

    /// The name without padding, `None` without a terminating NUL.
    pub fn name(&self) -> Option<&'a [u8]> {
        until_nul(self.0.get(field::NAME..field::NAME + NAME_LEN)?)
    }

    /// The tag without padding, `None` without a terminating NUL.
    pub fn tag(&self) -> Option<&'a [u8]> {
        until_nul(self.0.get(field::TAG..field::TAG + NAME_LEN)?)
    }

    /// Creation time: seconds << 32 | nanoseconds.
    pub fn create_time(&self) -> u64 {
        u64_at::<{ field::CREATE_TIME }, HEADER_LEN>(self.0)
    }

    /// Snapshot time, in the same form; 0 for a working VDI.
    pub fn snap_ctime(&self) -> u64 {
        u64_at::<{ field::SNAP_CTIME }, HEADER_LEN>(self.0)
    }

    /// QEMU's virtual clock in nanoseconds.
    pub fn vm_clock_nsec(&self) -> u64 {
        u64_at::<{ field::VM_CLOCK_NSEC }, HEADER_LEN>(self.0)
    }

    /// Size of the VDI in bytes.
    pub fn vdi_size(&self) -> u64 {
        u64_at::<{ field::VDI_SIZE }, HEADER_LEN>(self.0)
    }

    /// Size of the saved VM state in bytes.
    pub fn vm_state_size(&self) -> u64 {
        u64_at::<{ field::VM_STATE_SIZE }, HEADER_LEN>(self.0)
    }

    /// Erasure code; 0 for replication.
    pub fn copy_policy(&self) -> u8 {
        u8_at::<{ field::COPY_POLICY }, HEADER_LEN>(self.0)
    }

    /// 0 for a plain VDI, 1 for a hyper volume.
    pub fn store_policy(&self) -> u8 {
        u8_at::<{ field::STORE_POLICY }, HEADER_LEN>(self.0)
    }

    /// Number of replicas.
    pub fn nr_copies(&self) -> u8 {
        u8_at::<{ field::NR_COPIES }, HEADER_LEN>(self.0)
    }

    /// Logarithm of the object size.
    pub fn block_size_shift(&self) -> u8 {
        u8_at::<{ field::BLOCK_SIZE_SHIFT }, HEADER_LEN>(self.0)
    }

    /// Snapshot id; the working VDI has the highest of its name.
    pub fn snap_id(&self) -> u32 {
        u32_at::<{ field::SNAP_ID }, HEADER_LEN>(self.0)
    }

    /// The VDI's own id as stored: 24 bits in an honest inode.
    pub fn vdi_id(&self) -> u32 {
        u32_at::<{ field::VDI_ID }, HEADER_LEN>(self.0)
    }

    /// The parent's id as stored; 0 for none.
    pub fn parent_vdi_id(&self) -> u32 {
        u32_at::<{ field::PARENT_VDI_ID }, HEADER_LEN>(self.0)
    }

    /// Next B-tree node number of a hyper volume.
    pub fn btree_counter(&self) -> u32 {
        u32_at::<{ field::BTREE_COUNTER }, HEADER_LEN>(self.0)
    }

    /// Whether the VDI is a snapshot: its data objects refuse writes.
    pub fn is_snapshot(&self) -> bool {
        self.snap_ctime() != 0
    }

    /// Checks what a block device relies on and returns it.
    ///
    /// # Errors
    ///
    /// The first rule that the inode breaks, see [`InodeError`].
    pub fn geometry(&self, expected: Vid) -> Result<Geometry, InodeError> {
        if self.vdi_id() != expected.raw() {
            return Err(InodeError::WrongVdi {
                expected: expected.raw(),
                found: self.vdi_id(),
            });
        }
        match self.name() {
            None => return Err(InodeError::NameWithoutNul),
            Some([]) => return Err(InodeError::Deleted),
            Some(_) => {}
        }
        if self.store_policy() != 0 {
            return Err(InodeError::StorePolicy(self.store_policy()));
        }
        let shift = self.block_size_shift();
        let Some(objects) = object_count(self.vdi_size(), shift) else {
            return Err(InodeError::BlockSizeShift(shift));
        };
        match u32::try_from(objects) {
            Ok(object_count) if object_count <= MAX_OBJECTS => Ok(Geometry {
                vid: expected,
                size_bytes: self.vdi_size(),
                block_size_shift: shift,
                object_count,
            }),
            _ => Err(InodeError::TooManyObjects(objects)),
        }
    }
}

/// What a block device needs to know of a plain VDI; only [`InodeHeader::geometry`] makes one, so
/// its numbers fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    vid: Vid,
    size_bytes: u64,
    block_size_shift: u8,
    object_count: u32,
}

impl Geometry {
    /// The VDI's id.
    pub const fn vid(&self) -> Vid {
        self.vid
    }

    /// Size in bytes; any number, also one that is no multiple of 512.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Logarithm of the object size, 20 to 31.
    pub const fn block_size_shift(&self) -> u8 {
        self.block_size_shift
    }

    /// Object size in bytes, 1 MiB to 2 GiB.
    pub const fn object_size(&self) -> u32 {
        1 << self.block_size_shift
    }

    /// Number of map entries that matter, at most 2^20.
    pub const fn object_count(&self) -> u32 {
        self.object_count
    }

    /// Bytes of the inode that hold header and the map entries that matter.
    pub const fn inode_bytes(&self) -> u32 {
        MAP_OFFSET + self.object_count * MAP_ENTRY_LEN
    }
}

/// Why an inode cannot be used as a block device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InodeError {
    /// The inode names another VDI than the one that was asked for.
    WrongVdi {
        /// The id that was asked for.
        expected: u32,
        /// The id in the inode.
        found: u32,
    },
    /// The name field has no end.
    NameWithoutNul,
    /// The name is empty: the VDI was deleted.
    Deleted,
    /// Not a plain VDI: 1 is a hyper volume, whose map area is a B-tree.
    StorePolicy(u8),
    /// An object size outside 1 MiB to 2 GiB.
    BlockSizeShift(u8),
    /// More objects than the map has entries.
    TooManyObjects(u64),
}

impl fmt::Display for InodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WrongVdi { expected, found } => {
                write!(
                    f,
                    "inode of VDI {found:06x} where {expected:06x} was expected"
                )
            }
            Self::NameWithoutNul => f.write_str("inode with a name that does not end"),
            Self::Deleted => f.write_str("the VDI was deleted"),
            Self::StorePolicy(1) => {
                f.write_str("the VDI is a hyper volume (store policy 1), which is not supported")
            }
            Self::StorePolicy(policy) => write!(f, "store policy {policy} is not supported"),
            Self::BlockSizeShift(shift) => {
                write!(f, "object size 2^{shift} is outside 2^20 to 2^31 bytes")
            }
            Self::TooManyObjects(count) => {
                write!(f, "{count} objects, but a VDI has at most {MAX_OBJECTS}")
            }
        }
    }
}

/// Number of objects in `vdi_size` bytes, `None` when `shift` is outside 20 to 31.
pub const fn object_count(vdi_size: u64, shift: u8) -> Option<u64> {
    if shift < MIN_BLOCK_SIZE_SHIFT || shift > MAX_BLOCK_SIZE_SHIFT {
        return None;
    }
    Some(vdi_size.div_ceil(1 << shift))
}

/// Offset in the inode of the map entry `idx`, `None` when there is no such entry.
pub const fn map_offset(idx: u32) -> Option<u32> {
    if idx < MAX_OBJECTS {
        Some(MAP_OFFSET + idx * MAP_ENTRY_LEN)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u64, shift: u8) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..4].copy_from_slice(b"test");
        bytes[field::VDI_SIZE..field::VDI_SIZE + 8].copy_from_slice(&size.to_le_bytes());
        bytes[field::BLOCK_SIZE_SHIFT] = shift;
        bytes[field::VDI_ID..field::VDI_ID + 4].copy_from_slice(&0x7c2b25_u32.to_le_bytes());
        bytes
    }

    fn geometry(bytes: &[u8]) -> Result<Geometry, InodeError> {
        let vid = Vid::new(0x7c2b25).unwrap();
        InodeHeader::from_prefix(bytes).unwrap().geometry(vid)
    }

    #[test]
    fn a_plain_vdi_has_a_geometry() {
        let geometry = geometry(&header((10 << 30) + 1, 22)).unwrap();
        assert_eq!(geometry.object_size(), 4 << 20);
        assert_eq!(geometry.object_count(), 2561);
        assert_eq!(geometry.inode_bytes(), 4664 + 4 * 2561);
    }

    #[test]
    fn the_largest_vdi_of_each_object_size_fits_and_one_byte_more_does_not() {
        for shift in 20..=31 {
            let max = u64::from(MAX_OBJECTS) << shift;
            assert_eq!(
                geometry(&header(max, shift)).unwrap().object_count(),
                MAX_OBJECTS
            );
            let error = InodeError::TooManyObjects(u64::from(MAX_OBJECTS) + 1);
            assert_eq!(geometry(&header(max + 1, shift)), Err(error));
        }
        assert!(geometry(&header(u64::MAX, 31)).is_err());
    }

    #[test]
    fn what_is_no_plain_vdi_is_refused() {
        for shift in [0, 19, 32, 255] {
            let error = InodeError::BlockSizeShift(shift);
            assert_eq!(geometry(&header(1 << 30, shift)), Err(error));
        }
        let mut hyper = header(1 << 30, 22);
        hyper[field::STORE_POLICY] = 1;
        assert_eq!(geometry(&hyper), Err(InodeError::StorePolicy(1)));
        let mut deleted = header(1 << 30, 22);
        deleted[..4].fill(0);
        assert_eq!(geometry(&deleted), Err(InodeError::Deleted));
        let mut endless = header(1 << 30, 22);
        endless[..256].fill(b'x');
        assert_eq!(geometry(&endless), Err(InodeError::NameWithoutNul));
        let mut other = header(1 << 30, 22);
        other[field::VDI_ID] = 0;
        assert!(matches!(geometry(&other), Err(InodeError::WrongVdi { .. })));
        assert!(InodeHeader::from_prefix(&other[..HEADER_LEN - 1]).is_none());
    }

    #[test]
    fn map_entries_stand_between_header_and_reference_counts() {
        assert_eq!(map_offset(0), Some(4664));
        assert_eq!(map_offset(MAX_OBJECTS - 1), Some(GREF_OFFSET - 4));
        assert_eq!(map_offset(MAX_OBJECTS), None);
    }
}
