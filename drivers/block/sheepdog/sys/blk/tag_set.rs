// SPDX-License-Identifier: GPL-2.0

//! The pool of requests of a device, and what the block layer calls.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*,
    sync::ArcBorrow,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

use super::{
    request::Pdu,
    Request, //
};

/// What a driver does with requests. All functions are called in process context and may sleep.
pub(crate) trait Operations: Send + Sync + Sized + 'static {
    /// The driver's data in each request.
    type RequestData: Send;

    /// The data of one request, made when the tag set is.
    fn new_request_data() -> Self::RequestData;

    /// Takes a request. Called in the context of whoever submits, user tasks with pending signals
    /// among them; `last` says that no other follows at once.
    fn queue(self: ArcBorrow<'_, Self>, rq: Request<Self>, last: bool);

    /// The request with this tag on this hardware queue is late. It may end at any moment, also
    /// while this is called; its timer starts anew.
    fn late(self: ArcBorrow<'_, Self>, queue_index: usize, tag: u16);
}

/// Hardware queues with a fixed number of requests each.
///
/// # Invariants
///
/// `inner` is an initialised tag set whose requests have a `Pdu<T::RequestData>` behind them.
#[pin_data(PinnedDrop)]
pub(crate) struct TagSet<T: Operations> {
    #[pin]
    inner: Opaque<bindings::blk_mq_tag_set>,
    _operations: PhantomData<T>,
}

// SAFETY: The block layer locks what it changes.
unsafe impl<T: Operations> Send for TagSet<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for TagSet<T> {}

impl<T: Operations> TagSet<T> {
    /// Bytes that one request takes, with the driver's data.
    pub(crate) const REQUEST_BYTES: usize =
        core::mem::size_of::<bindings::request>() + core::mem::size_of::<Pdu<T::RequestData>>();

    /// Allocates `nr_queues` hardware queues with `queue_depth` requests each; a request that takes
    /// longer than `timeout_ms` is reported as late. `ENOMEM`, `EINVAL`.
    pub(crate) fn new(
        nr_queues: u32,
        queue_depth: u32,
        timeout_ms: u32,
    ) -> impl PinInit<Self, Error> {
        const {
            // What stands behind a request must be aligned there, see `blk_mq_rq_to_pdu()`.
            assert!(core::mem::align_of::<Pdu<T::RequestData>>() <= 8);
            assert!(core::mem::size_of::<bindings::request>() % 8 == 0);
        }
        let set = bindings::blk_mq_tag_set {
            ops: &Self::OPS,
            nr_hw_queues: nr_queues,
            nr_maps: 1,
            queue_depth,
            cmd_size: core::mem::size_of::<Pdu<T::RequestData>>() as u32,
            numa_node: bindings::NUMA_NO_NODE,
            timeout: kernel::time::msecs_to_jiffies(timeout_ms) as u32,
            // `queue` sends, hence takes the socket's lock.
            flags: bindings::BLK_MQ_F_BLOCKING,
            ..pin_init::zeroed()
        };
        try_pin_init!(Self {
            // INVARIANT: Initialised here, with the size of the Pdu.
            inner <- Opaque::try_ffi_init(move |place: *mut bindings::blk_mq_tag_set| {
                // SAFETY: The place is valid for writing.
                unsafe { place.write(set) };
                // SAFETY: It stays where it is: the struct is pinned.
                to_result(unsafe { bindings::blk_mq_alloc_tag_set(place) })
            }),
            _operations: PhantomData,
        })
    }

    pub(super) fn raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.inner.get()
    }

    const OPS: bindings::blk_mq_ops = bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq),
        timeout: Some(Self::timeout),
        init_request: Some(Self::init_request),
        exit_request: Some(Self::exit_request),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the block layer for a disk that `Disk` made.
    unsafe fn device<'a>(queue: *mut bindings::request_queue) -> ArcBorrow<'a, T> {
        // SAFETY: `Disk` put an `Arc<T>` there, which it takes back only when no request can come
        // any more.
        unsafe { kernel::sync::Arc::<T>::borrow((*queue).queuedata.cast()) }
    }

    /// # Safety
    ///
    /// Called by the block layer for a request of a tag set of `T`.
    unsafe extern "C" fn queue_rq(
        hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: The block layer passes a valid hardware queue of a disk of ours.
        let device = unsafe { Self::device((*hctx).queue) };
        // SAFETY: It passes a valid request that is not started.
        let rq = unsafe { Request::start(NonNull::new_unchecked((*bd).rq)) };
        // SAFETY: `bd` is valid during this call.
        let last = unsafe { (*bd).last };
        T::queue(device, rq, last);
        bindings::BLK_STS_OK as bindings::blk_status_t
    }

    /// # Safety
    ///
    /// Called by the block layer for a request of a tag set of `T`.
    unsafe extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY: The block layer holds a reference to the request during this call.
        let (device, queue_index, tag) = unsafe {
            (
                Self::device((*rq).q),
                (*(*rq).mq_hctx).queue_num as usize,
                (*rq).tag,
            )
        };
        if let Ok(tag) = u16::try_from(tag) {
            T::late(device, queue_index, tag);
        }
        bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER
    }

    /// # Safety
    ///
    /// Called by the block layer for a new request of a tag set of `T`.
    unsafe extern "C" fn init_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _hctx_idx: c_uint,
        _numa_node: c_int,
    ) -> c_int {
        // SAFETY: `cmd_size` bytes behind the request are ours.
        let pdu: *mut Pdu<T::RequestData> = unsafe { bindings::blk_mq_rq_to_pdu(rq) }.cast();
        // SAFETY: As above; aligned as asserted in `new`.
        unsafe { pdu.write(Pdu::new(T::new_request_data())) };
        0
    }

    /// # Safety
    ///
    /// Called by the block layer for a request, once, of a tag set of `T`.
    unsafe extern "C" fn exit_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _hctx_idx: c_uint,
    ) {
        // SAFETY: `init_request` was called for it.
        let pdu: *mut Pdu<T::RequestData> = unsafe { bindings::blk_mq_rq_to_pdu(rq) }.cast();
        // SAFETY: Initialised there, and the request is not in use any more.
        unsafe { pdu.drop_in_place() };
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised by the invariant; every disk on it holds a reference to it, so none
        // is left.
        unsafe { bindings::blk_mq_free_tag_set(self.inner.get()) };
    }
}

/// The pointer that a disk keeps for `queue_rq`.
pub(super) fn into_queuedata<T: Operations>(device: kernel::sync::Arc<T>) -> *mut c_void {
    device.into_foreign().cast()
}
