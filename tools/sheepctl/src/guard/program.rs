// SPDX-License-Identifier: GPL-2.0

//! Whether a program will load a library that it does not know.
//!
//! Comes in: a command's name. Goes out: [`Loading`]. A program that cannot be looked at is left to
//! exec(2), which has the better error.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What LD_PRELOAD does with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loading {
    /// It is loaded with the libraries it names: dynamically linked, a script, or not known.
    Possible,
    /// Never, because the program is this.
    Impossible(&'static str),
}

/// Where the dynamic loader is named: the program header of this type (elf(5), PT_INTERP).
const PT_INTERP: u32 = 3;

/// Enough of a file for all program headers of a usual program.
const HEAD_BYTES: u64 = 4096;

/// Looks at the program that exec(2) would run for `name`.
pub fn loading(name: &OsStr) -> Loading {
    let mut head = Vec::new();
    let read = find(name).and_then(|path| {
        let file = File::open(path).ok()?;
        file.take(HEAD_BYTES).read_to_end(&mut head).ok()
    });
    match read {
        Some(_) => of_head(&head),
        None => Loading::Possible,
    }
}

/// As execvp(3): a name without a slash is looked for in PATH.
fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(name.into());
    }
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file));
    found
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn of_head(head: &[u8]) -> Loading {
    if !head.starts_with(b"\x7fELF") {
        return Loading::Possible;
    }
    // e_ident[EI_CLASS]: 2 is 64 bits; [EI_DATA]: 1 is little endian, the other is not of this machine.
    if head.get(4..6) != Some(&[2, 1]) {
        return Loading::Impossible("for another kind of processor than the library");
    }
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = head.get(at..at + bytes)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |n, byte| (n << 8) | usize::from(*byte)),
        )
    };
    let headers = || -> Option<bool> {
        let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let mut has_loader = false;
        for index in 0..count {
            has_loader |= number(start.checked_add(index * size)?, 4)? == PT_INTERP as usize;
        }
        Some(has_loader)
    };
    match headers() {
        Some(false) => Loading::Impossible("statically linked"),
        _ => Loading::Possible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a program with program headers of these types.
    fn elf(types: &[u32]) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(64, 0);
        head[32] = 64;
        head[54] = 56;
        head[56] = u8::try_from(types.len()).unwrap();
        for kind in types {
            head.extend(kind.to_le_bytes());
            head.resize(head.len() + 52, 0);
        }
        head
    }

    #[test]
    fn a_program_that_names_a_loader_loads_libraries() {
        assert_eq!(of_head(&elf(&[6, PT_INTERP, 1])), Loading::Possible);
        assert_eq!(loading(OsStr::new("sh")), Loading::Possible);
        assert_eq!(of_head(b"#!/bin/sh\n"), Loading::Possible);
    }

    #[test]
    fn a_program_without_loader_does_not() {
        assert_eq!(
            of_head(&elf(&[6, 1])),
            Loading::Impossible("statically linked")
        );
        assert!(matches!(
            of_head(b"\x7fELF\x01\x01"),
            Loading::Impossible(_)
        ));
    }

    #[test]
    fn what_cannot_be_read_is_left_to_exec() {
        assert_eq!(loading(OsStr::new("/no/such/program")), Loading::Possible);
        let mut torn = elf(&[1]);
        torn.truncate(60);
        assert_eq!(of_head(&torn), Loading::Possible);
        torn.truncate(6);
        assert_eq!(of_head(&torn), Loading::Possible);
    }
}
