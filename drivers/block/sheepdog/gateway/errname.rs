// SPDX-License-Identifier: GPL-2.0

//! Errors in log lines.

use core::fmt;

use kernel::prelude::*;

/// An error as its errno is named.
pub(crate) struct Errname(pub(crate) Error);

impl fmt::Display for Errname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name().and_then(|name| name.to_str().ok()) {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0.to_errno()),
        }
    }
}
