// SPDX-License-Identifier: GPL-2.0

//! What a block is filled with: every sector says which block and version it belongs to, so that
//! any mixture can be told apart. And what a block that was read holds.
//!
//! A sector is 64 words, little endian: magic, run, block, version, writer and place of the sector
//! in its block, random words, and a checksum over all words before it.

use rand::rngs::SmallRng;
use rand::RngCore;
use rand::SeedableRng;

/// Bytes of the smallest part that a disk keeps whole.
pub const SECTOR: usize = 512;
const MAGIC: u64 = u64::from_le_bytes(*b"WRCHECK1");
const WORD: usize = 8;
const SUM: usize = SECTOR - WORD;

/// What is written into a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Tells runs of the program apart.
    pub run: u64,
    /// Number of the block on the disk.
    pub block: u64,
    /// Grows with every write of the block; 1 is the first.
    pub version: u64,
    /// The thread that owns the block.
    pub writer: u32,
}

/// What a block holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// One version of this block, whole.
    Version(u64),
    /// Sectors of several versions of this block; 0 is a sector of zeroes.
    Torn(Vec<u64>),
    /// Something of another block, or of another run.
    Foreign(Stamp),
    /// Nothing that was ever written.
    Other,
}

fn checksum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(WORD).map(word);
    // FNV, by words; the rotation lets high bits count too.
    words.fold(0xcbf2_9ce4_8422_2325, |sum, word| {
        ((sum ^ word).wrapping_mul(0x0100_0000_01b3)).rotate_left(23)
    })
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

impl Stamp {
    /// Fills a block.
    pub fn fill(&self, block: &mut [u8]) {
        let seed = [self.run, self.block, self.version];
        let seed = seed.map(u64::to_le_bytes).concat();
        let mut rng = SmallRng::seed_from_u64(checksum(&seed));
        for (place, sector) in (0_u32..).zip(block.chunks_exact_mut(SECTOR)) {
            rng.fill_bytes(sector);
            let owner = (u64::from(self.writer) << 32) | u64::from(place);
            let words = [MAGIC, self.run, self.block, self.version, owner];
            for (at, value) in sector.chunks_exact_mut(WORD).zip(words) {
                at.copy_from_slice(&value.to_le_bytes());
            }
            let sum = checksum(&sector[..SUM]);
            sector[SUM..].copy_from_slice(&sum.to_le_bytes());
        }
    }

    /// What the sector at `place` of a block says it is; `None` when it is damaged or says nothing.
    fn read(sector: &[u8], place: u32) -> Option<Self> {
        let at = |index: usize| word(&sector[index * WORD..(index + 1) * WORD]);
        let owner = at(4);
        let whole = at(0) == MAGIC
            && word(&sector[SUM..]) == checksum(&sector[..SUM])
            && owner & u64::from(u32::MAX) == u64::from(place);
        whole.then(|| Self {
            run: at(1),
            block: at(2),
            version: at(3),
            writer: u32::try_from(owner >> 32).unwrap_or(u32::MAX),
        })
    }
}

/// What this block, number `block` of `run`, holds.
pub fn content(run: u64, block: u64, bytes: &[u8]) -> Content {
    let mut versions = Vec::new();
    for (place, sector) in (0_u32..).zip(bytes.chunks_exact(SECTOR)) {
        match Stamp::read(sector, place) {
            Some(stamp) if (stamp.run, stamp.block) == (run, block) => versions.push(stamp.version),
            Some(stamp) => return Content::Foreign(stamp),
            None if sector.iter().all(|&byte| byte == 0) => versions.push(0),
            None => return Content::Other,
        }
    }
    match versions.first() {
        Some(&0) if versions.iter().all(|&version| version == 0) => Content::Other,
        Some(first) if versions.iter().all(|version| version == first) => Content::Version(*first),
        _ => Content::Torn(versions),
    }
}

/// A digest of a block that holds something else.
pub fn digest(bytes: &[u8]) -> u64 {
    checksum(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        run: 1,
        block: 2,
        version: 3,
        writer: 4,
    };

    fn block(stamp: Stamp) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        stamp.fill(&mut bytes);
        bytes
    }

    #[test]
    fn a_block_tells_which_version_it_is() {
        assert_eq!(content(1, 2, &block(STAMP)), Content::Version(3));
        let newer = Stamp {
            version: 4,
            ..STAMP
        };
        let differing = block(STAMP)
            .iter()
            .zip(block(newer))
            .filter(|(a, b)| *a != b)
            .count();
        assert!(differing > 3000, "{differing} bytes differ");
    }

    #[test]
    fn a_mixture_of_versions_is_torn() {
        let mut bytes = block(STAMP);
        let newer = block(Stamp {
            version: 4,
            ..STAMP
        });
        bytes[..1024].copy_from_slice(&newer[..1024]);
        assert_eq!(
            content(1, 2, &bytes),
            Content::Torn(vec![4, 4, 3, 3, 3, 3, 3, 3])
        );
        bytes[..1024].fill(0);
        assert_eq!(
            content(1, 2, &bytes),
            Content::Torn(vec![0, 0, 3, 3, 3, 3, 3, 3])
        );
    }

    #[test]
    fn another_block_or_another_run_is_foreign() {
        assert_eq!(content(1, 7, &block(STAMP)), Content::Foreign(STAMP));
        assert_eq!(content(9, 2, &block(STAMP)), Content::Foreign(STAMP));
    }

    #[test]
    fn a_changed_bit_or_a_moved_sector_is_nothing_that_was_written() {
        for at in [0, 9, 100, 511, 4095] {
            let mut bytes = block(STAMP);
            bytes[at] ^= 1;
            assert_eq!(content(1, 2, &bytes), Content::Other, "byte {at}");
        }
        let mut bytes = block(STAMP);
        bytes.copy_within(512..1024, 0);
        assert_eq!(content(1, 2, &bytes), Content::Other);
        assert_eq!(content(1, 2, &[0; 4096]), Content::Other);
    }
}
