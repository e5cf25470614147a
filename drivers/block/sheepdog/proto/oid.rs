// SPDX-License-Identifier: GPL-2.0

//! VDI ids and object ids (protocol sheet 6.1).

use core::fmt;

use super::limits::NR_VIDS;

const KIND_SHIFT: u32 = 56;
const VID_SHIFT: u32 = 32;
const VID_MASK: u32 = NR_VIDS - 1;

/// A VDI id: 24 bits. 0 means "none" where the protocol allows none, and is never the id of a VDI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Vid(u32);

impl Vid {
    /// No VDI: a hole in an object map, or a VDI without a parent.
    pub const NONE: Self = Self(0);

    /// The id `raw`, `None` when it does not fit in 24 bits.
    #[inline]
    pub const fn new(raw: u32) -> Option<Self> {
        if raw <= VID_MASK {
            Some(Self(raw))
        } else {
            None
        }
    }

    /// The low 24 bits of `raw`.
    #[inline]
    pub const fn truncate(raw: u32) -> Self {
        Self(raw & VID_MASK)
    }

    /// The number, below 2^24.
    #[inline]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Whether this is [`Vid::NONE`].
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Six hexadecimal digits, as `dog` and the project's logs print them.
impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.0)
    }
}

impl fmt::Debug for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vid({:06x})", self.0)
    }
}

/// What an object holds, from the top byte of its id (protocol sheet 6.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectKind {
    /// One object's worth of a VDI's data.
    Data,
    /// The inode of a VDI, also called VDI object.
    Inode,
    /// Saved state of a virtual machine.
    VmState,
    /// An attribute of a VDI.
    Attr,
    /// A node of a hyper volume's B-tree.
    BtreeNode,
    /// The reference counts of a data object.
    Ledger,
    /// More than one kind bit, or a bit that the protocol leaves zero.
    Unknown,
}

/// The id of an object: kind, VDI id and index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct ObjectId(u64);

impl ObjectId {
    const INODE_BIT: u64 = 1 << 63;
    const VMSTATE_BIT: u64 = 1 << 62;
    const ATTR_BIT: u64 = 1 << 61;
    const BTREE_BIT: u64 = 1 << 60;
    const LEDGER_BIT: u64 = 1 << 59;

    /// The id with exactly these bits.
    #[inline]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    const fn build(kind: u64, vid: Vid, idx: u32) -> Self {
        Self(kind | ((vid.0 as u64) << VID_SHIFT) | idx as u64)
    }

    /// Data object `idx` of the VDI `vid`.
    #[inline]
    pub const fn data(vid: Vid, idx: u32) -> Self {
        Self::build(0, vid, idx)
    }

    /// The inode of the VDI `vid`.
    #[inline]
    pub const fn inode(vid: Vid) -> Self {
        Self::build(Self::INODE_BIT, vid, 0)
    }

    /// VM state object `idx` of the VDI `vid`.
    #[inline]
    pub const fn vmstate(vid: Vid, idx: u32) -> Self {
        Self::build(Self::VMSTATE_BIT, vid, idx)
    }

    /// Attribute `attr_id` of the VDI `vid` (which is a name's hash, not a VDI's own id:
    /// protocol sheet 3.2, GET_VDI_ATTR).
    #[inline]
    pub const fn attr(vid: Vid, attr_id: u32) -> Self {
        Self::build(Self::ATTR_BIT, vid, attr_id)
    }

    /// B-tree node `n` of the hyper volume `vid` (protocol sheet 7.4).
    #[inline]
    pub const fn btree_node(vid: Vid, n: u32) -> Self {
        Self::build(Self::BTREE_BIT, vid, n)
    }

    /// The ledger that counts this data object (protocol sheet 7.3).
    #[inline]
    pub const fn ledger(self) -> Self {
        Self(self.0 | Self::LEDGER_BIT)
    }

    /// All 64 bits.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The VDI id in the id: the low 24 bits of the upper half.
    #[inline]
    pub const fn vid(self) -> Vid {
        Vid(((self.0 >> VID_SHIFT) as u32) & VID_MASK)
    }

    /// The index in the id: the lower half.
    #[inline]
    pub const fn idx(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// What the object holds.
    #[inline]
    pub const fn kind(self) -> ObjectKind {
        match self.0 >> KIND_SHIFT {
            0x00 => ObjectKind::Data,
            0x08 => ObjectKind::Ledger,
            0x10 => ObjectKind::BtreeNode,
            0x20 => ObjectKind::Attr,
            0x40 => ObjectKind::VmState,
            0x80 => ObjectKind::Inode,
            _ => ObjectKind::Unknown,
        }
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({:016x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectId;
    use super::ObjectKind;
    use super::Vid;

    #[test]
    fn the_fields_of_an_id_stand_where_the_protocol_puts_them() {
        let vid = Vid::new(0x6e6107).unwrap();
        assert_eq!(ObjectId::data(vid, 6).raw(), 0x006e_6107_0000_0006);
        assert_eq!(ObjectId::inode(vid).raw(), 0x806e_6107_0000_0000);
        assert_eq!(ObjectId::vmstate(vid, 1).raw(), 0x406e_6107_0000_0001);
        assert_eq!(ObjectId::attr(vid, 2).raw(), 0x206e_6107_0000_0002);
        assert_eq!(ObjectId::btree_node(vid, 3).raw(), 0x106e_6107_0000_0003);
        let ledger = ObjectId::data(vid, 4).ledger();
        assert_eq!(ledger.raw(), 0x086e_6107_0000_0004);
        assert_eq!((ledger.vid(), ledger.idx()), (vid, 4));
    }

    #[test]
    fn a_kind_needs_exactly_one_bit() {
        assert_eq!(ObjectId::from_raw(0).kind(), ObjectKind::Data);
        assert_eq!(ObjectId::from_raw(0xc0 << 56).kind(), ObjectKind::Unknown);
        assert_eq!(ObjectId::from_raw(0x01 << 56).kind(), ObjectKind::Unknown);
    }

    #[test]
    fn a_vid_has_24_bits() {
        assert_eq!(Vid::new(0x1_00_00_00), None);
        assert_eq!(Vid::truncate(0xff12_3456).raw(), 0x12_3456);
        assert_eq!(Vid::new(0x1ec8c).unwrap().to_string(), "01ec8c");
    }
}
