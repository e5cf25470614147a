// SPDX-License-Identifier: GPL-2.0

//! A fixed table in which a value is left under an id and taken out by whoever presents that id.
//!
//! This is how an in-flight table is shared between a sender and a receiver without a lock: the id
//! of a slot is the key to it.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit, //
};

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    }, //
};

/// No value in the slot.
const FREE: u32 = 0;
/// Somebody is putting a value in or taking it out.
const BUSY: u32 = 1;

/// # Invariants
///
/// The value is initialised exactly while `id` is neither `FREE` nor `BUSY`. Only the one who
/// changed `id` from something else to `BUSY` touches the value, until it stores another id.
struct Slot<V> {
    id: Atomic<u32>,
    value: UnsafeCell<MaybeUninit<V>>,
}

/// A table of `len` slots.
///
/// # Examples
///
/// ```ignore
/// let slots = Slots::new(4)?;
/// assert!(slots.put(2, 0x402, "hello").is_ok());
/// assert!(slots.take(2, 0x802).is_none()); // not that id
/// assert_eq!(slots.take(2, 0x402), Some("hello"));
/// assert!(slots.take(2, 0x402).is_none()); // taken once
/// ```
pub(crate) struct Slots<V> {
    slots: KVVec<Slot<V>>,
}

// SAFETY: A value moves through the table from one thread to another and is never shared.
unsafe impl<V: Send> Sync for Slots<V> {}

impl<V> Slots<V> {
    /// Allocates the table. `ENOMEM`.
    pub(crate) fn new(len: usize) -> Result<Self> {
        let mut slots = KVVec::with_capacity(len, GFP_KERNEL)?;
        for _ in 0..len {
            // INVARIANT: Free, nothing initialised.
            slots.push(
                Slot {
                    id: Atomic::new(FREE),
                    value: UnsafeCell::new(MaybeUninit::uninit()),
                },
                GFP_KERNEL,
            )?;
        }
        Ok(Self { slots })
    }

    /// Number of slots.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that the table takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.len() * core::mem::size_of::<Slot<V>>()
    }

    /// Leaves `value` in slot `index` under `id`. Gives it back if the slot is not free, does not
    /// exist, or the id is one of the two that are reserved (0 and 1).
    pub(crate) fn put(&self, index: usize, id: u32, value: V) -> Result<(), V> {
        let Some(slot) = self.slots.get(index) else {
            return Err(value);
        };
        if id == FREE || id == BUSY || slot.id.cmpxchg(FREE, BUSY, Acquire).is_err() {
            return Err(value);
        }
        // SAFETY: We changed the id from FREE to BUSY, so by the invariant the place is ours, and
        // there is nothing in it that would have to be dropped.
        unsafe { (*slot.value.get()).write(value) };
        // INVARIANT: The value is initialised.
        slot.id.store(id, Release);
        Ok(())
    }

    /// Takes the value out of slot `index` if it was left there under `id`.
    pub(crate) fn take(&self, index: usize, id: u32) -> Option<V> {
        let slot = self.slots.get(index)?;
        if id == FREE || id == BUSY || slot.id.cmpxchg(id, BUSY, Acquire).is_err() {
            return None;
        }
        // SAFETY: We changed the id from one that marks an initialised value to BUSY, so by the
        // invariant the place is ours and the value is there; the FREE below forgets the original.
        let value = unsafe { (*slot.value.get()).assume_init_read() };
        // INVARIANT: The value has been moved out.
        slot.id.store(FREE, Release);
        Some(value)
    }

    /// Takes whatever is in slot `index`. Somebody who puts or takes at this moment wins.
    pub(crate) fn take_any(&self, index: usize) -> Option<V> {
        let id = self.slots.get(index)?.id.load(Relaxed);
        self.take(index, id)
    }

    /// Whether something is in slot `index` at this moment.
    pub(crate) fn occupied(&self, index: usize) -> bool {
        self.id(index).is_some()
    }

    /// The id under which something is in slot `index` at this moment.
    pub(crate) fn id(&self, index: usize) -> Option<u32> {
        let id = self.slots.get(index)?.id.load(Relaxed);
        (id != FREE && id != BUSY).then_some(id)
    }

    /// Number of values in the table at this moment.
    pub(crate) fn count(&self) -> usize {
        (0..self.len())
            .filter(|&index| self.occupied(index))
            .count()
    }
}

impl<V> Drop for Slots<V> {
    fn drop(&mut self) {
        for index in 0..self.len() {
            drop(self.take_any(index));
        }
    }
}
