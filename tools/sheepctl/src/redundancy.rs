// SPDX-License-Identifier: GPL-2.0

//! Redundancy of a VDI as people write it: `3` copies, or `4:2` for an erasure code.
//!
//! Comes in: text. Goes out: the fields `copies` and `copy_policy` of NEW_VDI (protocol sections
//! 3.3 and 6.3), which a server does not check.

use std::fmt;
use std::str::FromStr;

/// How often a VDI's data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redundancy {
    /// As the cluster was formatted.
    ClusterDefault,
    /// Whole copies, 1 to 31.
    Copies(u8),
    /// An erasure code: data strips (2, 4, 8 or 16) and parity strips (1 to 15).
    ErasureCode { data: u8, parity: u8 },
}

/// Text that is no redundancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 31 copies, or an erasure code D:P with D one of 2, 4, 8, 16 and P from 1 to 15, such as 4:2")]
pub struct RedundancyError;

impl FromStr for Redundancy {
    type Err = RedundancyError;

    fn from_str(text: &str) -> Result<Self, RedundancyError> {
        let number = |text: &str| text.parse::<u8>().map_err(|_| RedundancyError);
        match text.split_once(':') {
            None => match number(text)? {
                copies @ 1..=31 => Ok(Self::Copies(copies)),
                _ => Err(RedundancyError),
            },
            Some((data, parity)) => match (number(data)?, number(parity)?) {
                (data @ (2 | 4 | 8 | 16), parity @ 1..=15) => {
                    Ok(Self::ErasureCode { data, parity })
                }
                _ => Err(RedundancyError),
            },
        }
    }
}

impl Redundancy {
    /// What an inode's `nr_copies` and `copy_policy` mean.
    pub fn from_inode(nr_copies: u8, copy_policy: u8) -> Self {
        match copy_policy {
            0 => Self::Copies(nr_copies),
            policy => Self::ErasureCode {
                data: (policy >> 4) * 2,
                parity: policy & 0x0f,
            },
        }
    }

    /// The request field `copies`; 0 asks for the cluster's default.
    pub fn copies(self) -> u8 {
        match self {
            Self::ClusterDefault => 0,
            Self::Copies(copies) => copies,
            Self::ErasureCode { data, parity } => data + parity,
        }
    }

    /// The request field `copy_policy`: high nibble half the data strips, low nibble the parity.
    pub fn copy_policy(self) -> u8 {
        match self {
            Self::ClusterDefault | Self::Copies(_) => 0,
            Self::ErasureCode { data, parity } => ((data / 2) << 4) | parity,
        }
    }
}

impl fmt::Display for Redundancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterDefault => f.write_str("default"),
            Self::Copies(copies) => write!(f, "{copies}"),
            Self::ErasureCode { data, parity } => write!(f, "{data}:{parity}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_erasure_code_2_1_is_policy_11_with_3_copies() {
        let code: Redundancy = "2:1".parse().unwrap();
        assert_eq!((code.copies(), code.copy_policy()), (3, 0x11));
        assert_eq!(Redundancy::from_inode(3, 0x11), code);
        assert_eq!(code.to_string(), "2:1");
    }

    #[test]
    fn the_largest_codes_fit_their_bytes() {
        let code: Redundancy = "16:15".parse().unwrap();
        assert_eq!((code.copies(), code.copy_policy()), (31, 0x8f));
        assert_eq!("31".parse(), Ok(Redundancy::Copies(31)));
    }

    #[test]
    fn impossible_redundancies_are_refused() {
        for text in [
            "", "0", "32", "3:1", "2:0", "4:16", "32:2", "2:", ":1", "2:1:1", "-1",
        ] {
            assert_eq!(text.parse::<Redundancy>(), Err(RedundancyError), "{text}");
        }
    }
}
