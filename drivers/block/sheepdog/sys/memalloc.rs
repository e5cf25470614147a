// SPDX-License-Identifier: GPL-2.0

//! Allocation scopes of the current task.
//!
//! C header: [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use core::marker::PhantomData;

use kernel::types::NotThreadSafe;

use super::ffi;

/// The flags of the current task, `PF_MEMALLOC` and others, for samples/memalloc.rs to look at.
#[cfg(sheepdog_samples)]
pub(crate) fn task_flags() -> u32 {
    // SAFETY: The current task is alive; it alone changes these flags.
    unsafe { (*kernel::current!().as_ptr()).flags }
}

/// While it lives, allocations of this task start no I/O: `GFP_KERNEL` means `GFP_NOIO`.
///
/// # Examples
///
/// ```ignore
/// let _scope = memalloc::Scope::noio();
/// let buffer = KVec::<u8>::with_capacity(512, GFP_KERNEL)?; // does not write pages back
/// ```
#[must_use = "the scope ends where the value is dropped"]
pub(crate) struct Scope {
    saved: kernel::ffi::c_uint,
    // The flags belong to the task that entered.
    _task: PhantomData<NotThreadSafe>,
}

impl Scope {
    /// No I/O. For connecting, receiving and teardown.
    pub(crate) fn noio() -> Self {
        Self::enter(false)
    }

    /// No I/O, no reclaim, and the emergency reserve may be used. For sending: what is sent frees
    /// memory.
    pub(crate) fn reserves() -> Self {
        Self::enter(true)
    }

    fn enter(reserves: bool) -> Self {
        Self {
            // SAFETY: Changes flags of the current task only; `drop` puts them back.
            saved: unsafe { ffi::sheepdog_memalloc_enter(reserves) },
            _task: PhantomData,
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // SAFETY: `saved` is what the matching enter returned, in this same task: the type is
        // neither `Send` nor `Sync`.
        unsafe { ffi::sheepdog_memalloc_leave(self.saved) };
    }
}
