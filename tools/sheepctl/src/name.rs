// SPDX-License-Identifier: GPL-2.0

//! Names of VDIs, tags of snapshots, names of mappings.
//!
//! Comes in: bytes of the command line (Sheepdog's names are bytes, not text). Goes out: names
//! that fit their field of 256 bytes with its closing NUL (protocol sections 6.3 and 15). Empty
//! VDI names are refused: a server accepts them but shows them as deleted.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use sheepdog_core::proto::limits::{MAX_NAME_BYTES, NAME_LEN};
use sheepdog_core::proto::{self, VdiName};

/// Why something is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{0}")]
    Name(proto::NameError),
    #[error(
        "a mapping's name is a directory's name: UTF-8 text without `/`, and neither `.` nor `..`"
    )]
    NotAFileName,
    #[error("the tag is empty: leave out the `@` to name the VDI itself")]
    EmptyTag,
    #[error("`@` divides a VDI's name from a snapshot's tag, so neither can hold one")]
    HoldsAt,
    #[error("`#` and a number names a snapshot by its id, so it cannot be a tag")]
    LooksLikeAnId,
    #[error("`{0}` is a snapshot, and only a VDI will do; a VDI whose name holds an `@` is written with one more at its end: `{0}@`")]
    Snapshot(String),
}

/// A VDI's name or a snapshot's tag: 1 to 255 bytes without NUL.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Box<VdiName>);

impl Name {
    /// Checks `bytes`.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule they break.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        let name = VdiName::new(bytes).map_err(NameError::Name)?;
        Ok(Self(Box::new(name)))
    }

    /// The bytes, without NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The name as it stands in a wire field: padded with NUL bytes.
    pub fn as_field(&self) -> &[u8; NAME_LEN] {
        self.0.as_field()
    }
}

/// Reads from the command line the name of a VDI that is to be made. It can be any bytes but `@`: what
/// is made has to have a place in [`VdiSpec`].
pub fn new_name_argument() -> impl TypedValueParser<Value = Name> {
    OsStringValueParser::new().try_map(|argument| new_name(argument.as_bytes()))
}

/// As [`new_name_argument`], for the tag of a snapshot.
pub fn new_tag_argument() -> impl TypedValueParser<Value = Name> {
    OsStringValueParser::new().try_map(|argument| match number(argument.as_bytes()) {
        Some(_) => Err(NameError::LooksLikeAnId),
        None => new_name(argument.as_bytes()),
    })
}

fn new_name(bytes: &[u8]) -> Result<Name, NameError> {
    if bytes.contains(&b'@') {
        return Err(NameError::HoldsAt);
    }
    Name::new(bytes)
}

/// Reads the name of a VDI that is there from the command line, where a snapshot will not do.
pub fn vdi_argument() -> impl TypedValueParser<Value = Name> {
    OsStringValueParser::new().try_map(|argument| {
        let spec = VdiSpec::new(argument.as_bytes())?;
        match spec.snapshot {
            None => Ok(spec.name),
            Some(_) => Err(NameError::Snapshot(printable(argument.as_bytes()))),
        }
    })
}

/// Reads a VDI or snapshot from the command line.
pub fn spec_argument() -> impl TypedValueParser<Value = VdiSpec> {
    OsStringValueParser::new().try_map(|argument| VdiSpec::new(argument.as_bytes()))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.as_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `bytes` as text: what is not UTF-8 or would move a terminal's cursor is shown as `\xNN`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    text.push_str(&format!("\\x{byte:02x}"));
                }
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// One of the snapshots of a VDI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    Tag(Name),
    /// Its number, from 1, which a snapshot without a tag has as well.
    Id(u32),
}

impl Snapshot {
    /// Digits after a `#` are a number.
    fn new(bytes: &[u8]) -> Result<Self, NameError> {
        match number(bytes) {
            Some(id) => Ok(Self::Id(id)),
            None => Name::new(bytes).map(Self::Tag),
        }
    }
}

/// The number in `#NUMBER`.
fn number(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"#")?;
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| all_digits)?;
    text.parse().ok().filter(|id| *id != 0)
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Id(id) => write!(f, "#{id}"),
        }
    }
}

/// A VDI, or one of its snapshots: `NAME`, `NAME@TAG`, or `NAME@#NUMBER`.
///
/// The last `@` divides. A name that itself holds an `@` is written with one more at its end:
/// `a@b@` is the VDI `a@b`. Behind a name without one an `@` alone is refused: a script whose tag
/// is empty must not get the VDI in place of its snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VdiSpec {
    pub name: Name,
    pub snapshot: Option<Snapshot>,
}

impl VdiSpec {
    /// Divides `bytes` into name and tag.
    ///
    /// # Errors
    ///
    /// [`NameError`] for the name or the tag.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        let (name, snapshot) = match bytes.iter().rposition(|byte| *byte == b'@') {
            None => (bytes, None),
            Some(at) if at + 1 == bytes.len() => {
                if !bytes[..at].contains(&b'@') {
                    return Err(NameError::EmptyTag);
                }
                (&bytes[..at], None)
            }
            Some(at) => (&bytes[..at], Some(Snapshot::new(&bytes[at + 1..])?)),
        };
        Ok(Self {
            name: Name::new(name)?,
            snapshot,
        })
    }
}

impl fmt::Display for VdiSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.snapshot {
            Some(snapshot) => write!(f, "{}@{snapshot}", self.name),
            None if self.name.as_bytes().contains(&b'@') => write!(f, "{}@", self.name),
            None => self.name.fmt(f),
        }
    }
}

/// The name of a mapping: a directory below the driver's configfs directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappingName(String);

impl FromStr for MappingName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        VdiName::new(text.as_bytes()).map_err(NameError::Name)?;
        if text.contains('/') || text == "." || text == ".." {
            return Err(NameError::NotAFileName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl MappingName {
    /// The `attempt`-th name (from 1) to try for a mapping of `vdi` when the user gave none: the
    /// VDI's name with every byte but letters, digits and `._-` replaced by `_`, numbered from 2.
    pub fn for_vdi(vdi: &Name, attempt: u32) -> Self {
        let mut text: String = vdi
            .as_bytes()
            .iter()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(*byte),
                _ => '_',
            })
            .collect();
        if text.starts_with('.') {
            text.replace_range(..1, "_");
        }
        if attempt > 1 {
            let suffix = format!("-{attempt}");
            text.truncate(MAX_NAME_BYTES - suffix.len());
            text.push_str(&suffix);
        }
        Self(text)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MappingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_text_are_shown_escaped() {
        assert_eq!(
            printable(b"vm\xff\n\xc3\xa4\x1b[0m"),
            "vm\\xff\\x0a\u{e4}\\x1b[0m"
        );
    }

    #[test]
    fn the_last_at_divides_name_and_tag() {
        let read = |text: &str| {
            let spec = VdiSpec::new(text.as_bytes()).unwrap();
            (
                spec.name.to_string(),
                spec.snapshot.map(|it| it.to_string()),
            )
        };
        assert_eq!(read("vm0"), ("vm0".into(), None));
        assert_eq!(read("vm0@t1"), ("vm0".into(), Some("t1".into())));
        assert_eq!(read("a@b@t1"), ("a@b".into(), Some("t1".into())));
        assert_eq!(read("a@b@"), ("a@b".into(), None));
        assert_eq!(
            VdiSpec::new(b"@t1"),
            Err(NameError::Name(proto::NameError::Empty))
        );
        for same in ["vm0", "vm0@t1", "a@b@t1", "a@b@", "vm0@#7"] {
            assert_eq!(VdiSpec::new(same.as_bytes()).unwrap().to_string(), same);
        }
        for empty in ["vm0@", "@"] {
            let refused = VdiSpec::new(empty.as_bytes());
            assert_eq!(refused, Err(NameError::EmptyTag), "{empty}");
        }
    }

    #[test]
    fn a_number_after_a_hash_is_a_snapshots_id() {
        let read = |text: &str| VdiSpec::new(text.as_bytes()).unwrap().snapshot.unwrap();
        assert_eq!(read("vm0@#7"), Snapshot::Id(7));
        for tag in ["7", "#", "#0", "#x", "#+7", "#4294967296", "##7"] {
            let name = Name::new(tag.as_bytes()).unwrap();
            assert_eq!(read(&format!("vm0@{tag}")), Snapshot::Tag(name), "{tag}");
        }
    }

    #[test]
    fn mapping_names_are_file_names() {
        for bad in [".", "..", "a/b"] {
            assert_eq!(
                bad.parse::<MappingName>(),
                Err(NameError::NotAFileName),
                "{bad}"
            );
        }
        assert_eq!("vm0".parse::<MappingName>().unwrap().as_str(), "vm0");
    }

    #[test]
    fn every_vdi_has_a_usable_mapping_name() {
        let name =
            |bytes: &[u8], attempt| MappingName::for_vdi(&Name::new(bytes).unwrap(), attempt);
        assert_eq!(name(b"vm0", 1).as_str(), "vm0");
        assert_eq!(name(b"vm0", 2).as_str(), "vm0-2");
        assert_eq!(name(b"..", 1).as_str(), "_.");
        assert_eq!(name(b"a/b c\xff", 1).as_str(), "a_b_c_");
        let longest = name(&[b'a'; 255], 12);
        assert_eq!(longest.as_str().len(), 255);
        assert!(longest.as_str().ends_with("a-12"));
        assert!(longest.as_str().parse::<MappingName>().is_ok());
    }
}
