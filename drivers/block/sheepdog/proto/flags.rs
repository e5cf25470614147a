// SPDX-License-Identifier: GPL-2.0

//! Request flags: a bit mask, whatever the name "mutually exclusive" of older headers says
//! (protocol sheet 4).

use core::ops::BitOr;

/// The flags of a request, bytes 2 and 3 of its header. Unknown bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Flags(pub u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// A payload of `data_length` bytes follows the header. The only flag that changes framing.
    pub const WRITE: Self = Self(0x01);
    /// On CREATE: the object starts as a copy of `cow_oid`.
    pub const COW: Self = Self(0x02);
    /// Without effect in current servers.
    pub const CACHE: Self = Self(0x04);
    /// Without effect in current servers; older ones bypass their object cache.
    pub const DIRECT: Self = Self(0x08);
    /// The reply carries data although WRITE is set.
    pub const PIGGYBACK: Self = Self(0x10);
    /// The sender takes part in shared-lock coherence (protocol sheet 11).
    pub const TGT: Self = Self(0x20);
    /// Internal to servers.
    pub const FWD: Self = Self(0x40);
    /// Internal to servers.
    pub const RECOVERY: Self = Self(0x80);
    /// GET_VDI_ATTR: create the attribute.
    pub const ATTR_CREAT: Self = Self(0x100);
    /// GET_VDI_ATTR: fail if the attribute exists.
    pub const ATTR_EXCL: Self = Self(0x200);
    /// GET_VDI_ATTR: delete the attribute.
    pub const ATTR_DEL: Self = Self(0x400);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}
