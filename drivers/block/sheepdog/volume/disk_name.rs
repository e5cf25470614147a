// SPDX-License-Identifier: GPL-2.0

//! Names of disks: sheepa to sheepz, sheepaa to sheepzz, and so on, as sd(4) counts.

use core::fmt;

/// The name of the disk with this index, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskName(pub u16);

const PREFIX: &str = "sheep";

impl fmt::Display for DiskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A number in base 26 without a zero; 26^4 is more than a u16 holds.
        let mut letters = [0; 4];
        let mut rest = u32::from(self.0) + 1;
        let mut used = 0;
        for letter in letters.iter_mut() {
            if rest == 0 {
                break;
            }
            rest -= 1;
            *letter = b'a' + (rest % 26) as u8;
            rest /= 26;
            used += 1;
        }
        f.write_str(PREFIX)?;
        for letter in letters.iter().take(used).rev() {
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::DiskName;
    use std::format;

    #[test]
    fn names_count_as_sd_does() {
        for (index, name) in [
            (0, "sheepa"),
            (25, "sheepz"),
            (26, "sheepaa"),
            (27, "sheepab"),
            (701, "sheepzz"),
            (702, "sheepaaa"),
            (18277, "sheepzzz"),
            (18278, "sheepaaaa"),
        ] {
            assert_eq!(format!("{}", DiskName(index)), name);
        }
    }
}
