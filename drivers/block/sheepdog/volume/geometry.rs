// SPDX-License-Identifier: GPL-2.0

//! Size and shape of a mapped VDI, and which part of which object a range of the disk is.

use core::fmt;

use crate::proto;
use crate::proto::inode::map_offset;
use crate::proto::Vid;

/// Bytes of a sector as the block layer counts them.
const SECTOR_SHIFT: u32 = 9;

/// Size and shape of a VDI (protocol sheet 6.3). Its numbers fit together, because
/// [`proto::InodeHeader::geometry`] has checked them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    inode: proto::Geometry,
}

/// A range within one object.
///
/// Only [`Geometry::extent`] makes one, so it neither crosses the object's nor the VDI's end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    /// Index of the object, below [`Geometry::objects`].
    pub idx: u32,
    /// Where in the object the range begins, in bytes.
    pub offset: u32,
    /// Bytes in the range, at least 1.
    pub len: u32,
    /// Where in the inode the object's map entry stands, in bytes.
    map_offset: u32,
}

/// Why a range is no [`Extent`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutOfRange {
    /// It has no bytes.
    Empty,
    /// It ends behind the end of the VDI.
    PastEnd,
    /// It begins in one object and ends in another.
    CrossesObject,
}

impl From<proto::Geometry> for Geometry {
    fn from(inode: proto::Geometry) -> Self {
        Self { inode }
    }
}

impl Geometry {
    /// The VDI's id.
    #[inline]
    pub const fn vid(&self) -> Vid {
        self.inode.vid()
    }

    /// Size of an object in bytes: a power of two, 2^20 to 2^31.
    #[inline]
    pub const fn object_size_bytes(&self) -> u64 {
        1 << self.inode.block_size_shift()
    }

    /// Number of objects, at most 2^20. The last may lie in part behind the VDI's end.
    #[inline]
    pub const fn objects(&self) -> u32 {
        self.inode.object_count()
    }

    /// Size of the VDI in bytes; need not be a multiple of anything.
    #[inline]
    pub const fn size_bytes(&self) -> u64 {
        self.inode.size_bytes()
    }

    /// Size of the disk in sectors of 512 bytes, rounded down (protocol sheet 6.3).
    #[inline]
    pub const fn capacity_sectors(&self) -> u64 {
        self.size_bytes() >> SECTOR_SHIFT
    }

    /// Bytes of the inode from its start to the end of the object map's part that matters.
    #[inline]
    pub const fn inode_bytes(&self) -> u32 {
        self.inode.inode_bytes()
    }

    /// The `len_bytes` bytes at byte `offset_bytes` of the VDI as a range within one object.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is empty, ends behind the VDI's end, or needs more than one
    /// object. Nothing is cut off: half a request is never taken for a whole one.
    #[inline]
    pub fn extent(&self, offset_bytes: u64, len_bytes: u32) -> Result<Extent, OutOfRange> {
        if len_bytes == 0 {
            return Err(OutOfRange::Empty);
        }
        match offset_bytes.checked_add(u64::from(len_bytes)) {
            Some(end) if end <= self.size_bytes() => {}
            _ => return Err(OutOfRange::PastEnd),
        }
        let shift = self.inode.block_size_shift();
        // Below the VDI's end, hence an index below `objects()`, hence below 2^20.
        let idx = u32::try_from(offset_bytes >> shift).map_err(|_| OutOfRange::PastEnd)?;
        let map_offset = map_offset(idx).ok_or(OutOfRange::PastEnd)?;
        let within = offset_bytes & (self.object_size_bytes() - 1);
        let offset = u32::try_from(within).map_err(|_| OutOfRange::PastEnd)?;
        // A sum of two numbers below 2^32.
        if u64::from(offset) + u64::from(len_bytes) > self.object_size_bytes() {
            return Err(OutOfRange::CrossesObject);
        }
        Ok(Extent {
            idx,
            offset,
            len: len_bytes,
            map_offset,
        })
    }
}

impl Extent {
    /// Where in the inode the object's map entry stands, in bytes.
    #[inline]
    pub(super) const fn map_offset(&self) -> u32 {
        self.map_offset
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the range is empty",
            Self::PastEnd => "the range ends behind the end of the VDI",
            Self::CrossesObject => "the range needs more than one object",
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::proto::inode::field;
    use crate::proto::inode::HEADER_LEN;
    use crate::proto::inode::MAP_OFFSET;
    use crate::proto::InodeHeader;

    /// The inode header of an honest working VDI 7c2b25.
    pub(in super::super) fn inode(size: u64, shift: u8) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..4].copy_from_slice(b"test");
        bytes[field::VDI_SIZE..field::VDI_SIZE + 8].copy_from_slice(&size.to_le_bytes());
        bytes[field::BLOCK_SIZE_SHIFT] = shift;
        bytes[field::VDI_ID..field::VDI_ID + 4].copy_from_slice(&0x7c2b25_u32.to_le_bytes());
        bytes
    }

    pub(in super::super) fn geometry(size: u64, shift: u8) -> Geometry {
        let bytes = inode(size, shift);
        let header = InodeHeader::from_prefix(&bytes).unwrap();
        header.geometry(Vid::truncate(0x7c2b25)).unwrap().into()
    }

    #[test]
    fn the_disk_ends_at_the_last_whole_sector() {
        let odd = geometry((4 << 20) + 1023, 22);
        assert_eq!(odd.capacity_sectors(), (4 << 11) + 1);
        assert_eq!(odd.objects(), 2);
        assert_eq!(geometry(511, 22).capacity_sectors(), 0);
    }

    #[test]
    fn an_extent_knows_its_object_and_the_place_of_its_map_entry() {
        let geometry = geometry(10 << 30, 22);
        let extent = geometry.extent((7 << 22) + 4096, 512).unwrap();
        assert_eq!((extent.idx, extent.offset, extent.len), (7, 4096, 512));
        assert_eq!(extent.map_offset(), MAP_OFFSET + 28);
    }

    #[test]
    fn an_extent_ends_where_its_object_ends() {
        let geometry = geometry(4 << 31, 31);
        let whole = geometry.extent(1 << 31, 1 << 31).unwrap();
        assert_eq!((whole.idx, whole.offset, whole.len), (1, 0, 1 << 31));
        let last = geometry.extent((1 << 31) - 1, 1).unwrap();
        assert_eq!((last.idx, last.offset), (0, (1 << 31) - 1));
        let crossing = geometry.extent((1 << 31) - 1, 2);
        assert_eq!(crossing, Err(OutOfRange::CrossesObject));
        let endless = geometry.extent(0, u32::MAX);
        assert_eq!(endless, Err(OutOfRange::CrossesObject));
    }

    #[test]
    fn an_extent_ends_where_the_vdi_ends() {
        let geometry = geometry((5 << 20) + 700, 20);
        assert!(geometry.extent(5 << 20, 700).is_ok());
        for (offset, len) in [(5 << 20, 701), ((5 << 20) + 700, 1), (u64::MAX, 1)] {
            assert_eq!(geometry.extent(offset, len), Err(OutOfRange::PastEnd));
        }
        assert_eq!(geometry.extent(0, 0), Err(OutOfRange::Empty));
    }
}
