// SPDX-License-Identifier: GPL-2.0

//! The `id` that a request carries and its reply brings back.
//!
//! A sheep can answer late, twice, or a question nobody asked. The tag says which request a reply
//! is for; the generation says whether it is for *this* use of the tag. Whoever sends advances the
//! generation with each send, so that a late or forged reply ends nothing.

/// Bits that hold the tag.
const TAG_BITS: u32 = 10;
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
/// Adds one generation to a raw id.
const GENERATION_STEP: u32 = 1 << TAG_BITS;

/// A request's id on one connection: the tag in bits 0 to 9, a generation from 1 to 2^22 - 1 above
/// it. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct WireId(u32);

impl WireId {
    /// Number of tags.
    pub const TAGS: u16 = 1 << TAG_BITS;

    /// The id of `tag` in `generation`, which counts modulo 2^22 and skips 0. `None` when `tag` is
    /// not below [`WireId::TAGS`].
    pub const fn new(tag: u16, generation: u32) -> Option<Self> {
        if tag >= Self::TAGS {
            return None;
        }
        // Bits above 2^22 fall off.
        let id = Self((generation << TAG_BITS) | tag as u32);
        Some(if id.generation() == 0 { id.next() } else { id })
    }

    /// The id in a reply; `None` for one that was never sent, because its generation is 0.
    #[inline]
    pub const fn from_raw(raw: u32) -> Option<Self> {
        if raw >> TAG_BITS == 0 {
            None
        } else {
            Some(Self(raw))
        }
    }

    /// The same tag in the next generation.
    #[inline]
    pub const fn next(self) -> Self {
        let next = self.0.wrapping_add(GENERATION_STEP);
        if next >> TAG_BITS == 0 {
            Self(next | GENERATION_STEP)
        } else {
            Self(next)
        }
    }

    /// The tag, below [`WireId::TAGS`].
    #[inline]
    pub const fn tag(self) -> u16 {
        (self.0 & TAG_MASK) as u16
    }

    /// The generation, 1 to 2^22 - 1.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.0 >> TAG_BITS
    }

    /// The number as it is sent.
    #[inline]
    pub const fn raw(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::WireId;

    #[test]
    fn an_id_keeps_its_tag_through_all_generations() {
        for tag in [0, 1, 511, 1023] {
            let first = WireId::new(tag, 1).unwrap();
            let mut id = first;
            for generation in 1..1 << 22 {
                assert_eq!((id.tag(), id.generation()), (tag, generation));
                assert_eq!(WireId::from_raw(id.raw()), Some(id));
                id = id.next();
            }
            assert_eq!(id, first);
        }
    }

    #[test]
    fn what_was_never_sent_is_no_id() {
        for raw in 0..1024 {
            assert_eq!(WireId::from_raw(raw), None);
        }
        assert_eq!(WireId::new(1024, 1), None);
        assert_eq!(WireId::new(3, 0), WireId::new(3, 1));
        assert_eq!(WireId::new(3, 1 << 22), WireId::new(3, 1));
        assert_eq!(
            WireId::new(3, u32::MAX).unwrap().generation(),
            (1 << 22) - 1
        );
    }
}
