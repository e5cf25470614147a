// SPDX-License-Identifier: GPL-2.0

//! One entry of a VDI's object map (protocol sheet 7.2).

use core::fmt;

use crate::proto::Vid;

/// What the object map says about an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Never written; reads as zeroes.
    Hole,
    /// The VDI's own object, writable in place.
    Own,
    /// The object of this other VDI, a snapshot, which must not be written.
    Inherited(Vid),
}

/// An entry that names no VDI: bits 24 to 31 are not zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadEntry {
    /// The entry as stored.
    pub raw: u32,
}

impl Entry {
    /// Reads the entry `raw` (a little-endian number on the wire) in the map of the VDI `own`.
    ///
    /// # Errors
    ///
    /// [`BadEntry`] when `raw` is no VDI id. The map is damaged; nothing of this object may be read
    /// or written.
    #[inline]
    pub fn decode(raw: u32, own: Vid) -> Result<Self, BadEntry> {
        match Vid::new(raw) {
            None => Err(BadEntry { raw }),
            Some(vid) if vid.is_none() => Ok(Self::Hole),
            Some(vid) if vid == own => Ok(Self::Own),
            Some(vid) => Ok(Self::Inherited(vid)),
        }
    }
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object map entry {:08x} is no VDI id", self.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::BadEntry;
    use super::Entry;
    use super::Vid;

    #[test]
    fn an_entry_is_a_hole_or_own_or_inherited_or_damaged() {
        let own = Vid::truncate(0x7c2b25);
        let decode = |raw| Entry::decode(raw, own);
        assert_eq!(decode(0), Ok(Entry::Hole));
        assert_eq!(decode(0x7c2b25), Ok(Entry::Own));
        let other = Vid::truncate(0x7c2b24);
        assert_eq!(decode(0x7c2b24), Ok(Entry::Inherited(other)));
        for raw in [0x0100_0000, 0x017c_2b25, u32::MAX] {
            assert_eq!(decode(raw), Err(BadEntry { raw }));
        }
    }
}
