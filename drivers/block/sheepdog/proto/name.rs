// SPDX-License-Identifier: GPL-2.0

//! Names of VDIs and the hash that gives a VDI its id (protocol sheet 6.2 and 6.3).

use core::fmt;

use super::limits::MAX_NAME_BYTES;
use super::limits::NAME_LEN;
use super::oid::Vid;

const FNV_OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Why bytes are no VDI name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// No byte at all: an empty name marks a deleted VDI.
    Empty,
    /// More than 255 bytes.
    TooLong,
    /// A zero byte, which would end the name on the wire.
    ContainsNul,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the name is empty; it needs 1 to 255 bytes",
            Self::TooLong => "the name is longer than 255 bytes",
            Self::ContainsNul => "the name contains a zero byte",
        })
    }
}

/// The name of a VDI: 1 to 255 bytes of any value but zero, kept as the wire's 256-byte field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VdiName {
    field: [u8; NAME_LEN],
    len: u8,
}

impl VdiName {
    /// The name made of `bytes`.
    ///
    /// # Errors
    ///
    /// Tells which rule of [`NameError`] the bytes break.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        let len = match u8::try_from(bytes.len()) {
            Ok(len) if bytes.len() <= MAX_NAME_BYTES => len,
            _ => return Err(NameError::TooLong),
        };
        if bytes.contains(&0) {
            return Err(NameError::ContainsNul);
        }
        let mut field = [0; NAME_LEN];
        for (to, from) in field.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(Self { field, len })
    }

    /// The name without padding.
    pub fn as_bytes(&self) -> &[u8] {
        self.field.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The name as it is sent: 256 bytes, padded with zeroes.
    pub fn as_field(&self) -> &[u8; NAME_LEN] {
        &self.field
    }
}

impl fmt::Debug for VdiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VdiName(\"{}\")", self.as_bytes().escape_ascii())
    }
}

/// The bytes before the first NUL of a name or tag field, `None` when there is no NUL: such a field
/// must not be used (protocol sheet 15, "names without NUL").
pub fn until_nul(field: &[u8]) -> Option<&[u8]> {
    let len = field.iter().position(|&byte| byte == 0)?;
    field.get(..len)
}

/// FNV-1a, 64 bits, of `bytes` (protocol sheet 6.2).
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_OFFSET_BASIS, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    })
}

/// The id at which the search for a VDI called `name` starts: 24 bits of the name's hash, and 1 in
/// place of 0 (protocol sheet 6.2).
pub fn hash_start(name: &[u8]) -> Vid {
    let vid = Vid::truncate((fnv1a(name) & 0xffff_ffff) as u32);
    if vid.is_none() {
        Vid::truncate(1)
    } else {
        vid
    }
}

#[cfg(test)]
mod tests {
    use super::hash_start;
    use super::until_nul;
    use super::NameError;
    use super::VdiName;

    #[test]
    fn names_hash_to_the_ids_seen_on_real_servers() {
        for (name, vid) in [
            ("test", 0x7c2b25),
            ("alice", 0xa03907),
            ("a", 0x01ec8c),
            ("live", 0x66058f),
            ("vm0", 0xc596d4),
            ("t1", 0x6a5e16),
            ("", 0x222325),
        ] {
            assert_eq!(hash_start(name.as_bytes()).raw(), vid, "{name:?}");
        }
    }

    #[test]
    fn a_name_has_1_to_255_bytes_without_nul() {
        assert_eq!(VdiName::new(b""), Err(NameError::Empty));
        assert_eq!(VdiName::new(&[b'x'; 256]), Err(NameError::TooLong));
        assert_eq!(VdiName::new(b"a\0b"), Err(NameError::ContainsNul));
        let name = VdiName::new(&[b'x'; 255]).unwrap();
        assert_eq!(name.as_bytes(), [b'x'; 255]);
        assert_eq!(name.as_field()[255], 0);
    }

    #[test]
    fn a_field_without_nul_is_refused() {
        assert_eq!(until_nul(b"abc\0def\0"), Some(&b"abc"[..]));
        assert_eq!(until_nul(b"\0"), Some(&b""[..]));
        assert_eq!(until_nul(b"abc"), None);
        assert_eq!(until_nul(b""), None);
    }
}
