// SPDX-License-Identifier: GPL-2.0

//! The kinds of error that leave this room. The caller maps each once, to an errno or to a block
//! layer status, in its own terms.

/// The kind of an error, named after the errno that tells it to user space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errno {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
    /// ETIMEDOUT.
    TimedOut,
    /// ENOENT.
    NotFound,
    /// EBUSY.
    Busy,
    /// EROFS.
    ReadOnly,
    /// EOPNOTSUPP.
    NotSupported,
    /// EPROTO.
    Protocol,
}
