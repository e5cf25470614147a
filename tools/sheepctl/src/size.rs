// SPDX-License-Identifier: GPL-2.0

//! Sizes as people write them: `4M`, `10GiB`, `1048576`. Suffixes are powers of 1024.
//!
//! Comes in: text of the command line. Goes out: bytes, or text for tables. No limits of Sheepdog
//! are known here.

use std::fmt;
use std::str::FromStr;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Suffix letters with the power of two they stand for, smallest first.
const SUFFIXES: [(char, u32); 6] = [
    ('K', 10),
    ('M', 20),
    ('G', 30),
    ('T', 40),
    ('P', 50),
    ('E', 60),
];

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("expected a number of bytes, or a number with K, M, G, T, P or E (powers of 1024), such as 512M or 10G")]
    Syntax,
    #[error("larger than 2^64 bytes")]
    TooLarge,
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        if number.is_empty() {
            return Err(SizeError::Syntax);
        }
        let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
        let shift = suffix_shift(suffix).ok_or(SizeError::Syntax)?;
        number
            .checked_mul(1 << shift)
            .map(ByteSize)
            .ok_or(SizeError::TooLarge)
    }
}

/// The power of two that `suffix` (`""`, `B`, `m`, `MB`, `MiB`) stands for.
fn suffix_shift(suffix: &str) -> Option<u32> {
    let mut letters = suffix.chars();
    let Some(first) = letters.next() else {
        return Some(0);
    };
    let first = first.to_ascii_uppercase();
    if first == 'B' && letters.as_str().is_empty() {
        return Some(0);
    }
    let (_, shift) = SUFFIXES.iter().find(|(letter, _)| *letter == first)?;
    matches!(letters.as_str(), "" | "B" | "iB").then_some(*shift)
}

impl fmt::Display for ByteSize {
    /// At most two decimals, in the largest unit that the size fills: `4 MiB`, `1.5 GiB`, `512 B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SUFFIXES
            .iter()
            .rev()
            .find(|(_, shift)| self.0 >= 1 << shift);
        let Some((letter, shift)) = unit else {
            return write!(f, "{} B", self.0);
        };
        let whole = self.0 >> shift;
        let rest = self.0 & ((1 << shift) - 1);
        let hundredths = (u128::from(rest) * 100) >> shift;
        match (hundredths / 10, hundredths % 10) {
            (0, 0) => write!(f, "{whole} {letter}iB"),
            (tenths, 0) => write!(f, "{whole}.{tenths} {letter}iB"),
            (tenths, last) => write!(f, "{whole}.{tenths}{last} {letter}iB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("4k", 4096),
            ("4M", 4 << 20),
            ("4MB", 4 << 20),
            ("4MiB", 4 << 20),
            ("10G", 10 << 30),
            ("2T", 2 << 40),
            ("15E", 15 << 60),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "M", "-1", "1.5G", "4X", "4Mi", "4M ", " 4M", "4MBB", "4BB", "0x10",
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(SizeError::Syntax), "{text}");
        }
    }

    #[test]
    fn too_large_sizes_are_refused() {
        for text in ["16E", "18446744073709551616", "99999999999999999999G"] {
            assert_eq!(text.parse::<ByteSize>(), Err(SizeError::TooLarge), "{text}");
        }
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1 << 20, "1 MiB"),
            (3 << 29, "1.5 GiB"),
            ((1 << 30) + (1 << 24), "1.01 GiB"),
            ((5 << 20) + 1, "5 MiB"),
            (u64::MAX, "15.99 EiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
