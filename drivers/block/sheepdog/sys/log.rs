// SPDX-License-Identifier: GPL-2.0

//! Log lines: their rate limit, and what they show.

use super::ffi;

/// Whether one more line may be printed of the kind that a peer or a load can cause by the
/// thousand: ten in five seconds over all devices. The kernel says how many were left out.
pub(crate) fn allowed() -> bool {
    // SAFETY: The function takes nothing and may be called from any context.
    unsafe { ffi::sheepdog_log_allowed() }
}

/// Lets the kernel's format macros show what implements `core`'s trait instead of the kernel's:
/// the types of `proto` and `volume`, which do not know the kernel, and those of `core` itself.
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: core::fmt::Display> kernel::fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}
