// SPDX-License-Identifier: GPL-2.0

//! Pools of memory from which an allocation never fails: it waits for an element to come back.
//!
//! This is what the I/O path allocates from where it cannot do without. That nobody waits for ever
//! is a matter of numbers: an element that is out must come back without another one being taken,
//! or the reserve must hold as many as one request can need at once.
//!
//! C header: [`include/linux/mempool.h`](srctree/include/linux/mempool.h)

use core::{
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};

use kernel::{
    bindings,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

/// May reclaim, but starts no I/O. `kernel::alloc::Flags` has no such thing.
const GFP_NOIO: bindings::gfp_t =
    (1 << bindings::___GFP_DIRECT_RECLAIM_BIT) | (1 << bindings::___GFP_KSWAPD_RECLAIM_BIT);

/// Set by `mempool_alloc()` in what it asks of the allocator, and by nobody who fills a pool.
const FROM_POOL: bindings::gfp_t = 1 << bindings::___GFP_NOMEMALLOC_BIT;

/// A pool that keeps a reserve of memory for values of type `T`.
///
/// # Invariants
///
/// `raw` is a mempool whose elements are made by `kmalloc` with the size of `T`, and which is
/// destroyed only by `drop`. Every element that is out holds a reference to the pool.
///
/// # Examples
///
/// ```ignore
/// let pool = Mempool::new(2)?;
/// let first = pool.as_arc_borrow().take([0u8; 512]); // cannot fail, may sleep
/// assert_eq!(first[511], 0);
/// drop(first); // back into the reserve
/// ```
pub(crate) struct Mempool<T> {
    raw: NonNull<bindings::mempool_t>,
    _values: PhantomData<fn() -> T>,
}

// SAFETY: A mempool locks what it changes, and holds no value, only memory for one.
unsafe impl<T> Send for Mempool<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Mempool<T> {}

/// Fills a pool and adds nothing to it later.
///
/// # Safety
///
/// As for `mempool_kmalloc`: `size` is the size of an element.
unsafe extern "C" fn only_reserve(gfp: bindings::gfp_t, size: *mut c_void) -> *mut c_void {
    if gfp & FROM_POOL != 0 {
        return core::ptr::null_mut();
    }
    // SAFETY: Required of the caller.
    unsafe { bindings::mempool_kmalloc(gfp, size) }
}

impl<T> Mempool<T> {
    /// A pool that takes new memory while there is some, and else what is left of a reserve of
    /// `reserve` elements. `EINVAL` if that is none, `ENOMEM`.
    pub(crate) fn new(reserve: u32) -> Result<Arc<Self>> {
        Self::with(reserve, bindings::mempool_kmalloc)
    }

    /// A pool that hands out its reserve and nothing else, as any pool does when the system has no
    /// memory left. `EINVAL`, `ENOMEM`.
    pub(crate) fn only_reserve(reserve: u32) -> Result<Arc<Self>> {
        Self::with(reserve, only_reserve)
    }

    fn with(
        reserve: u32,
        alloc: unsafe extern "C" fn(bindings::gfp_t, *mut c_void) -> *mut c_void,
    ) -> Result<Arc<Self>> {
        const {
            // What `kmalloc` promises for every size.
            assert!(core::mem::align_of::<T>() <= 8);
            assert!(core::mem::size_of::<T>() > 0);
        }
        if reserve == 0 {
            return Err(EINVAL);
        }
        // SAFETY: Both functions take the size of an element as their data, which is what they get.
        let raw = unsafe {
            bindings::mempool_create_node_noprof(
                c_int::try_from(reserve)?,
                Some(alloc),
                Some(bindings::mempool_kfree),
                core::mem::size_of::<T>() as *mut c_void,
                bindings::GFP_KERNEL,
                bindings::NUMA_NO_NODE,
            )
        };
        // INVARIANT: Just made that way, and nothing is out.
        let pool = Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _values: PhantomData,
        };
        Ok(Arc::new(pool, GFP_KERNEL)?)
    }

    /// Puts `value` into memory of the pool. Starts no I/O and cannot fail; sleeps until an element
    /// comes back if there is no memory at all.
    pub(crate) fn take(self: ArcBorrow<'_, Self>, value: T) -> Element<T> {
        // SAFETY: A live pool; the flags allow to sleep, as this function says it may.
        let memory = unsafe { bindings::mempool_alloc_noprof(self.raw.as_ptr(), GFP_NOIO) };
        let place: *mut T = memory.cast();
        // SAFETY: With flags that allow to sleep this is never null, and by the invariant it has the
        // size of `T`, and the alignment that `with` asserts.
        let place = unsafe {
            place.write(value);
            NonNull::new_unchecked(place)
        };
        // INVARIANT: Ours, with a value in it.
        Element {
            place,
            pool: self.into(),
        }
    }
}

impl<T> Drop for Mempool<T> {
    fn drop(&mut self) {
        // SAFETY: A live pool, and by the invariant no element is out.
        unsafe { bindings::mempool_destroy(self.raw.as_ptr()) };
    }
}

/// A value in memory of a pool. Dropping it gives the memory back and wakes whoever waits for it.
///
/// # Invariants
///
/// `place` is an element of `pool` that nobody else has, with a value in it.
pub(crate) struct Element<T> {
    place: NonNull<T>,
    pool: Arc<Mempool<T>>,
}

// SAFETY: It owns its value; memory of a pool may be given back by any thread.
unsafe impl<T: Send> Send for Element<T> {}
// SAFETY: Sharing it shares the value.
unsafe impl<T: Sync> Sync for Element<T> {}

impl<T> Deref for Element<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariant there is a value, and `&self` borrows it.
        unsafe { self.place.as_ref() }
    }
}

impl<T> DerefMut for Element<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the invariant there is a value, and `&mut self` borrows it alone.
        unsafe { self.place.as_mut() }
    }
}

impl<T> Drop for Element<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the value is there and ours; the memory is not used after this.
        unsafe {
            self.place.as_ptr().drop_in_place();
            bindings::mempool_free(self.place.as_ptr().cast(), self.pool.raw.as_ptr());
        }
    }
}
