// SPDX-License-Identifier: GPL-2.0

//! Who owns which block. Each thread has its own ones, spread over the whole range, so that every
//! object of it is created on the way and is written by several threads.

use anyhow::bail;
use anyhow::Result;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::Rng;

/// Threads own at least so many blocks each, if there are enough.
const LEAST_BLOCKS: u64 = 64;
/// Blocks that are owned in each object, if not said otherwise: more than one, so that a CREATE that
/// comes too late has something to destroy.
const PER_OBJECT: u64 = 2;

/// The range of the disk that is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// Bytes of a block.
    pub block_len: u64,
    /// Number of the first block.
    pub first: u64,
    /// How many there are.
    pub count: u64,
}

impl Range {
    /// The blocks from `offset` on: `size` bytes, or all that the disk has.
    ///
    /// # Errors
    ///
    /// When they are not whole blocks of the disk.
    pub fn new(disk: u64, offset: u64, size: Option<u64>, block_len: u64) -> Result<Self> {
        let size = match size {
            Some(size) => size,
            None => disk.saturating_sub(offset) / block_len * block_len,
        };
        if offset % block_len != 0 || size % block_len != 0 {
            bail!("--offset and --size must be multiples of the block of {block_len} bytes");
        }
        if size == 0 || offset.checked_add(size).is_none_or(|end| end > disk) {
            bail!("{size} bytes from {offset} on do not lie within the {disk} bytes of the device");
        }
        Ok(Self {
            block_len,
            first: offset / block_len,
            count: size / block_len,
        })
    }

    /// How many blocks each thread owns if nobody says so.
    pub fn default_blocks(&self, threads: u64, object_len: u64) -> u64 {
        let objects = (self.count * self.block_len).div_ceil(object_len);
        let wanted = (objects * PER_OBJECT).div_ceil(threads);
        wanted.max(LEAST_BLOCKS).min(self.count / threads)
    }

    /// The blocks of each thread, in random order.
    ///
    /// # Errors
    ///
    /// When there are not enough.
    pub fn share(&self, threads: u64, each: u64, rng: &mut SmallRng) -> Result<Vec<Vec<u64>>> {
        let owned = threads * each;
        if each == 0 || owned > self.count {
            bail!(
                "{threads} threads with {each} blocks each need at least one each and at most the \
                 {} of the range",
                self.count
            );
        }
        // One out of each of as many stretches of equal length, give or take one.
        let start = |stretch: u64| {
            let start = u128::from(self.count) * u128::from(stretch) / u128::from(owned);
            u64::try_from(start).unwrap_or(self.count)
        };
        let mut shares = vec![Vec::new(); usize::try_from(threads)?];
        for stretch in 0..owned {
            let block = rng.random_range(start(stretch)..start(stretch + 1));
            shares[usize::try_from(stretch % threads)?].push(self.first + block);
        }
        for share in &mut shares {
            share.shuffle(rng);
        }
        Ok(shares)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn threads_own_different_blocks_in_every_object() {
        let range = Range::new(1 << 30, 4096, None, 4096).unwrap();
        let each = range.default_blocks(3, 4 << 20);
        let mut rng = SmallRng::seed_from_u64(1);
        let shares = range.share(3, each, &mut rng).unwrap();
        let all: Vec<u64> = shares.concat();
        let different: BTreeSet<u64> = all.iter().copied().collect();
        assert_eq!(different.len(), all.len());
        assert!(all.iter().all(|block| (1..1 << 18).contains(block)));
        for share in shares {
            let objects: BTreeSet<u64> = share.iter().map(|block| block / 1024).collect();
            assert!(objects.len() > 100, "one thread is in {}", objects.len());
        }
        let objects: BTreeSet<u64> = all.iter().map(|block| block / 1024).collect();
        assert_eq!(objects.len(), 256);
    }

    #[test]
    fn a_small_range_is_shared_to_the_last_block() {
        let range = Range::new(40960, 0, None, 4096).unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        let each = range.default_blocks(3, 4 << 20);
        assert_eq!(each, 3);
        assert!(range.share(3, each, &mut rng).is_ok());
        assert!(range.share(3, 4, &mut rng).is_err());
        assert!(range
            .share(11, range.default_blocks(11, 4 << 20), &mut rng)
            .is_err());
    }

    #[test]
    fn a_range_lies_within_the_disk_and_on_its_blocks() {
        assert!(Range::new(8192, 4096, Some(4096), 4096).is_ok());
        assert!(Range::new(8192, 4096, Some(8192), 4096).is_err());
        assert!(Range::new(8192, 512, None, 4096).is_err());
        assert!(Range::new(8192, 8192, None, 4096).is_err());
        assert!(Range::new(8192, u64::MAX - 4095, Some(4096), 4096).is_err());
    }
}
