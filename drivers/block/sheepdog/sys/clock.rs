// SPDX-License-Identifier: GPL-2.0

//! Time: the tick counter, a point in time that costs one load, and milliseconds.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use kernel::{
    bindings,
    time::Jiffies, //
};

use super::ffi;

/// Ticks since some point before boot. One is 1 to 10 ms; they wrap.
#[inline]
pub(crate) fn now() -> Jiffies {
    // SAFETY: The counter is always there. It changes under our hands, hence volatile; it is a word,
    // so it is never read in halves.
    unsafe { (&raw const bindings::jiffies).read_volatile() }
}

/// Milliseconds since `then`. Nonsense after half the range of the counter, which 64 bits have none
/// of; 0 if `then` is still to come.
pub(crate) fn ms_since(then: Jiffies) -> u32 {
    let ticks = now().wrapping_sub(then);
    if ticks > Jiffies::MAX / 2 {
        return 0;
    }
    // SAFETY: A calculation.
    unsafe { ffi::sheepdog_jiffies_to_ms(ticks) }
}

/// Milliseconds since boot, without those of suspension.
pub(crate) fn now_ms() -> u64 {
    // SAFETY: Reads a clock.
    unsafe { ffi::sheepdog_now_ms() }
}
