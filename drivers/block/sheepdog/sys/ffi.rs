// SPDX-License-Identifier: GPL-2.0

//! Declarations of the C helpers in this directory.
//!
//! C header: [`helpers.h`](helpers.h)

use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_ulong,
        c_void, //
    }, //
};

pub(super) const SEND_NOWAIT: c_uint = 1;
pub(super) const SEND_MORE: c_uint = 2;
pub(super) const SEND_SPLICE: c_uint = 4;
pub(super) const PROTECT_CGROUP: c_uint = 8;

/// `struct sheepdog_cursor`.
#[repr(C)]
pub(super) struct RawCursor {
    pub(super) bio: *mut bindings::bio,
    pub(super) iter: bindings::bvec_iter,
}

/// `struct sheepdog_table`.
#[repr(C)]
pub(super) struct RawTable {
    pub(super) len: u64,
    pub(super) show: unsafe extern "C" fn(*mut bindings::seq_file, *const c_void, u64),
    pub(super) data: *const c_void,
}

// Without lockdep some structures of the kernel have members of size zero. C and bindgen agree on
// them; with lockdep there is nothing to expect, hence `allow`.
#[allow(improper_ctypes)]
extern "C" {
    pub(super) fn sheepdog_disk_alloc(
        set: *mut bindings::blk_mq_tag_set,
        lim: *mut bindings::queue_limits,
        queuedata: *mut c_void,
    ) -> *mut bindings::gendisk;
    pub(super) fn sheepdog_disk_claim(disk: *mut bindings::gendisk) -> c_int;
    pub(super) fn sheepdog_disk_get(disk: *mut bindings::gendisk) -> *mut bindings::gendisk;
    pub(super) fn sheepdog_disk_put(disk: *mut bindings::gendisk);
    pub(super) fn sheepdog_disk_announce(disk: *mut bindings::gendisk, variable: *const c_char);
    pub(super) fn sheepdog_status(status: c_uint) -> bindings::blk_status_t;
    pub(super) fn sheepdog_rq_zero(rq: *mut bindings::request);
    pub(super) fn sheepdog_cursor_init(cursor: *mut RawCursor, rq: *mut bindings::request);
    pub(super) fn sheepdog_cursor_fill(
        cursor: *mut RawCursor,
        bvecs: *mut bindings::bio_vec,
        max: c_uint,
        bytes: *mut usize,
    ) -> c_uint;
    pub(super) fn sheepdog_bvecs_spliceable(bvecs: *const bindings::bio_vec, nr: c_uint) -> bool;

    pub(super) fn sheepdog_sock_create(ipv6: bool) -> *mut bindings::socket;
    pub(super) fn sheepdog_sock_connect(
        sock: *mut bindings::socket,
        ipv6: bool,
        address: *const u8,
        port: u16,
        scope_id: u32,
    ) -> c_int;
    pub(super) fn sheepdog_sock_set_timeouts(sock: *mut bindings::socket, timeout_ms: c_uint);
    pub(super) fn sheepdog_sock_keepalive(
        sock: *mut bindings::socket,
        interval_s: c_uint,
        count: c_uint,
    );
    pub(super) fn sheepdog_sock_is_drained(sock: *mut bindings::socket) -> bool;
    pub(super) fn sheepdog_sock_is_local(sock: *mut bindings::socket) -> bool;
    pub(super) fn sheepdog_sock_leaves_host(sock: *mut bindings::socket) -> bool;
    pub(super) fn sheepdog_sock_has_unread(sock: *mut bindings::socket) -> bool;
    pub(super) fn sheepdog_sock_unacknowledged_ms(sock: *mut bindings::socket) -> c_uint;
    pub(super) fn sheepdog_reserve_create() -> *mut bindings::socket;
    pub(super) fn sheepdog_reserve_release(sock: *mut bindings::socket);
    pub(super) fn sheepdog_protects(protection: c_uint) -> bool;
    pub(super) fn sheepdog_sock_send(
        sock: *mut bindings::socket,
        bvecs: *mut bindings::bio_vec,
        nr: c_uint,
        skip: usize,
        len: usize,
        flags: c_uint,
    ) -> isize;
    pub(super) fn sheepdog_sock_recv(
        sock: *mut bindings::socket,
        bvecs: *mut bindings::bio_vec,
        nr: c_uint,
        len: usize,
    ) -> isize;
    pub(super) fn sheepdog_sock_send_buf(
        sock: *mut bindings::socket,
        buf: *const c_void,
        len: usize,
    ) -> isize;
    pub(super) fn sheepdog_sock_recv_buf(
        sock: *mut bindings::socket,
        buf: *mut c_void,
        len: usize,
    ) -> isize;
    pub(super) fn sheepdog_sock_abort(sock: *mut bindings::socket);
    pub(super) fn sheepdog_sock_release(sock: *mut bindings::socket);

    pub(super) fn sheepdog_debugfs_dir(
        name: *const c_char,
        parent: *mut bindings::dentry,
    ) -> *mut bindings::dentry;
    pub(super) fn sheepdog_debugfs_file(
        name: *const c_char,
        parent: *mut bindings::dentry,
        table: *const RawTable,
    ) -> *mut bindings::dentry;
    pub(super) fn sheepdog_debugfs_remove(entry: *mut bindings::dentry);

    pub(super) fn sheepdog_memalloc_enter(reserves: bool) -> c_uint;
    pub(super) fn sheepdog_memalloc_leave(saved: c_uint);
    pub(super) fn sheepdog_thread_create(
        body: unsafe extern "C" fn(*mut c_void) -> c_int,
        data: *mut c_void,
        name: *const c_char,
    ) -> *mut bindings::task_struct;
    pub(super) fn sheepdog_thread_stop(task: *mut bindings::task_struct) -> c_int;
    pub(super) fn sheepdog_log_allowed() -> bool;
    pub(super) fn sheepdog_jiffies_to_ms(ticks: c_ulong) -> c_uint;
    pub(super) fn sheepdog_now_ms() -> u64;
}
