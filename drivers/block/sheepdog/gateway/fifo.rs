// SPDX-License-Identifier: GPL-2.0

//! A queue of fixed capacity: nothing is allocated once it is made.

use kernel::prelude::*;

pub(super) struct Fifo<T> {
    places: KVVec<Option<T>>,
    first: usize,
    len: usize,
}

impl<T> Fifo<T> {
    /// A queue for at most `capacity` values. `ENOMEM`.
    pub(super) fn new(capacity: usize) -> Result<Self> {
        let mut places = KVVec::with_capacity(capacity, GFP_KERNEL)?;
        for _ in 0..capacity {
            places.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            places,
            first: 0,
            len: 0,
        })
    }

    /// Appends a value; gives it back if the queue is full.
    pub(super) fn push(&mut self, value: T) -> Result<(), T> {
        let capacity = self.places.len();
        if self.len == capacity {
            return Err(value);
        }
        let at = (self.first + self.len) % capacity;
        match self.places.get_mut(at) {
            Some(place) => *place = Some(value),
            None => return Err(value),
        }
        self.len += 1;
        Ok(())
    }

    /// Takes the oldest value.
    pub(super) fn pop(&mut self) -> Option<T> {
        let value = self.places.get_mut(self.first)?.take()?;
        self.first = (self.first + 1) % self.places.len();
        self.len -= 1;
        Some(value)
    }
}
