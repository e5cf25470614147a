// SPDX-License-Identifier: GPL-2.0

//! Errors that `kernel::error::code` of 7.2 does not name yet.
//!
//! C header: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)

use kernel::{
    bindings,
    error::Error, //
};

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name() -> Error {
            Error::from_errno(-(bindings::$code as kernel::ffi::c_int))
        }
    )*};
}

errors! {
    /// `ECONNREFUSED`: nobody listens there.
    connection_refused = ECONNREFUSED;
    /// `ECONNRESET`: the peer closed or reset the connection.
    connection_reset = ECONNRESET;
    /// `ENAMETOOLONG`.
    name_too_long = ENAMETOOLONG;
    /// `EOPNOTSUPP`.
    not_supported = EOPNOTSUPP;
    /// `EPROTO`: the peer does not keep to the protocol.
    protocol = EPROTO;
}
