// SPDX-License-Identifier: GPL-2.0

//! One request of the block layer.
//!
//! A request has one owner, the [`Request`], which alone can read and change the driver's data in
//! it and say how it ends. A [`Hold`] keeps it from ending while its pages are in use elsewhere.
//! It ends, exactly once, when the owner and all holds have let go.

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};

use kernel::{
    bindings,
    sync::atomic::{
        ordering::Full,
        Atomic,
        Relaxed, //
    }, //
};

use super::{
    super::ffi,
    Cursor,
    Operations, //
};

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Fill the pages.
    Read,
    /// Store the pages.
    Write,
    /// Make completed writes durable.
    Flush,
    /// Anything else; not advertised, so not to be expected.
    Other,
}

/// How a request ended. In the order of the enum in `helpers.h`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    /// Done.
    Ok,
    /// `EIO`.
    Io,
    /// `ENOSPC`.
    NoSpace,
    /// `EOPNOTSUPP`.
    NotSupported,
    /// `ETIMEDOUT`.
    Timeout,
}

impl Status {
    fn raw(self) -> bindings::blk_status_t {
        // SAFETY: The function takes a number.
        unsafe { ffi::sheepdog_status(self as kernel::ffi::c_uint) }
    }
}

/// The driver's part of a request, allocated with the tag set.
pub(super) struct Pdu<D> {
    /// Owner and holds.
    refs: Atomic<i32>,
    /// How the request will end.
    status: Atomic<i32>,
    data: UnsafeCell<D>,
}

impl<D> Pdu<D> {
    pub(super) fn new(data: D) -> Self {
        Self {
            refs: Atomic::new(0),
            status: Atomic::new(0),
            data: UnsafeCell::new(data),
        }
    }
}

/// A reference to a started request that has not ended.
///
/// # Invariants
///
/// `rq` is a started request of a tag set of `T`, and this is one of the `refs` counted in it.
struct Reference<T: Operations> {
    rq: NonNull<bindings::request>,
    _operations: PhantomData<fn(T)>,
}

impl<T: Operations> Reference<T> {
    fn pdu(&self) -> &Pdu<T::RequestData> {
        // SAFETY: By the type invariant the request is alive, and `TagSet` put a `Pdu` of this
        // type behind it.
        unsafe { &*bindings::blk_mq_rq_to_pdu(self.rq.as_ptr()).cast() }
    }
}

impl<T: Operations> Drop for Reference<T> {
    fn drop(&mut self) {
        if self.pdu().refs.fetch_sub(1, Full) == 1 {
            let status = self.pdu().status.load(Relaxed) as bindings::blk_status_t;
            // SAFETY: A started request, and nobody else refers to it: the last one ends it.
            unsafe { bindings::blk_mq_end_request(self.rq.as_ptr(), status) };
        }
    }
}

/// The owner of a request; gives access to the driver's data in it.
///
/// Dropping it without a word ends the request with `EIO`: a request cannot be lost.
///
/// # Invariants
///
/// There is no other owner of this request.
pub(crate) struct Request<T: Operations>(Reference<T>);

// SAFETY: A request may be worked on and ended by any thread, and so may the driver's data.
unsafe impl<T: Operations> Send for Request<T> where T::RequestData: Send {}

impl<T: Operations> Request<T> {
    /// Starts a request.
    ///
    /// # Safety
    ///
    /// `rq` must be a request of a tag set of `T` that the block layer has just handed to the
    /// driver.
    pub(super) unsafe fn start(rq: NonNull<bindings::request>) -> Self {
        // INVARIANT: The caller promises that it is of `T`; it is started below, and no reference
        // to it existed before.
        let reference = Reference {
            rq,
            _operations: PhantomData,
        };
        reference.pdu().refs.store(1, Relaxed);
        reference
            .pdu()
            .status
            .store(i32::from(Status::Io.raw()), Relaxed);
        // SAFETY: Handed to us and not started yet.
        unsafe { bindings::blk_mq_start_request(rq.as_ptr()) };
        Self(reference)
    }

    fn raw(&self) -> &bindings::request {
        // SAFETY: Alive by the invariant of `Reference`; the fields read here do not change while
        // a request is started.
        unsafe { self.0.rq.as_ref() }
    }

    /// What it asks for.
    pub(crate) fn op(&self) -> Op {
        // `REQ_OP_BITS` low bits, see `req_op()`.
        match self.raw().cmd_flags & 0xff {
            bindings::req_op_REQ_OP_READ => Op::Read,
            bindings::req_op_REQ_OP_WRITE => Op::Write,
            bindings::req_op_REQ_OP_FLUSH => Op::Flush,
            _ => Op::Other,
        }
    }

    /// First byte on the device.
    pub(crate) fn offset_bytes(&self) -> u64 {
        self.raw().__sector << 9
    }

    /// Number of bytes.
    pub(crate) fn len_bytes(&self) -> u32 {
        self.raw().__data_len
    }

    /// Its tag, below the queue depth; no other request of the same hardware queue has it.
    pub(crate) fn tag(&self) -> u16 {
        // The block layer gives every started request a tag from 0 to queue_depth - 1.
        u16::try_from(self.raw().tag).unwrap_or(u16::MAX)
    }

    /// Index of its hardware queue.
    pub(crate) fn queue_index(&self) -> usize {
        // SAFETY: A started request belongs to a hardware queue.
        unsafe { (*self.raw().mq_hctx).queue_num as usize }
    }

    /// Fills its pages with zeroes.
    pub(crate) fn zero(&mut self) {
        // SAFETY: Alive, and its pages are ours until it ends.
        unsafe { ffi::sheepdog_rq_zero(self.0.rq.as_ptr()) };
    }

    /// A walk over its pages. The owner must not let them be read and written at once by two
    /// parties; the memory itself stays valid as long as the hold does.
    pub(crate) fn hold(&self) -> Hold<T> {
        self.0.pdu().refs.fetch_add(1, Relaxed);
        // INVARIANT: Counted above.
        Hold(Reference {
            rq: self.0.rq,
            _operations: PhantomData,
        })
    }

    /// Ends the request, at once or when the last hold goes.
    pub(crate) fn end(self, status: Status) {
        self.0.pdu().status.store(i32::from(status.raw()), Relaxed);
    }
}

impl<T: Operations> Deref for Request<T> {
    type Target = T::RequestData;

    fn deref(&self) -> &Self::Target {
        // SAFETY: Only the owner touches the data, and `&self` borrows it.
        unsafe { &*self.0.pdu().data.get() }
    }
}

impl<T: Operations> DerefMut for Request<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: Only the owner touches the data, and `&mut self` borrows it alone.
        unsafe { &mut *self.0.pdu().data.get() }
    }
}

/// Keeps a request from ending, and with it its pages.
pub(crate) struct Hold<T: Operations>(Reference<T>);

// SAFETY: Gives access to nothing but the description of the pages, which does not change, and
// any thread may end the request.
unsafe impl<T: Operations> Send for Hold<T> {}

impl<T: Operations> Hold<T> {
    /// A walk over the request's pages from the first byte on.
    pub(crate) fn cursor(&self) -> Cursor {
        // SAFETY: A live request; what the cursor yields is used only together with a hold, which
        // `Chunk::fill` asks for.
        unsafe { Cursor::new(self.0.rq.as_ptr()) }
    }
}
