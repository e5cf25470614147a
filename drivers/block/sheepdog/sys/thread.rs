// SPDX-License-Identifier: GPL-2.0

//! Kernel threads that run a closure and are joined when their handle goes.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    str::CStr, //
};

use super::{
    ffi,
    memalloc, //
};

/// A thread that runs a closure once, in a no-I/O scope. It gets no signals.
///
/// Dropping the handle waits for the closure to return; whoever owns it makes sure that it will.
///
/// # Invariants
///
/// `task` is a thread made by `sheepdog_thread_create`, of which this holds a reference, and
/// `body` is the boxed closure it was given, which nobody frees but the thread, or `drop` with
/// `free` if the thread never ran.
///
/// # Examples
///
/// ```ignore
/// let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
/// let signal = done.clone();
/// let thread = Thread::spawn(c"sheepdog_example", move || signal.complete_all())?;
/// done.wait_for_completion();
/// drop(thread);
/// ```
pub(crate) struct Thread {
    task: NonNull<bindings::task_struct>,
    body: *mut c_void,
    free: unsafe fn(*mut c_void),
}

// SAFETY: The handle gives no access to the closure, and `kthread_stop` may be called by any task.
unsafe impl Send for Thread {}
// SAFETY: A shared handle can do nothing.
unsafe impl Sync for Thread {}

/// # Safety
///
/// `data` must be a `KBox<F>` turned into a pointer, and the caller its owner.
unsafe fn free<F>(data: *mut c_void) {
    // SAFETY: Required of the caller.
    drop(unsafe { KBox::<F>::from_raw(data.cast()) });
}

/// # Safety
///
/// `data` must be a `KBox<F>` turned into a pointer, left to this thread.
unsafe extern "C" fn run<F: FnOnce() + Send + 'static>(data: *mut c_void) -> c_int {
    // SAFETY: Required of the caller.
    let body = unsafe { KBox::<F>::from_raw(data.cast()) };
    let _scope = memalloc::Scope::noio();
    KBox::into_inner(body)();
    0
}

impl Thread {
    /// Starts a thread; `name` is cut at 15 bytes in `ps`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EAGAIN` if there are too many threads, and sometimes for want of memory; `EINTR` if
    /// the caller was killed meanwhile.
    pub(crate) fn spawn<F: FnOnce() + Send + 'static>(name: &CStr, body: F) -> Result<Self> {
        let body: *mut c_void = KBox::into_raw(KBox::new(body, GFP_KERNEL)?).cast();
        // SAFETY: `run::<F>` accepts exactly this pointer; the name is copied.
        let task = unsafe { ffi::sheepdog_thread_create(run::<F>, body, name.as_char_ptr()) };
        let task = match from_err_ptr(task) {
            Ok(task) => task,
            Err(error) => {
                // SAFETY: No thread was made, so the box is still ours.
                unsafe { free::<F>(body) };
                if error != EINTR {
                    pr_err!(
                        "no thread {}: {:?}; too little memory, or too many threads \
                         (kernel.threads-max, kernel.pid_max)\n",
                        name,
                        error
                    );
                }
                return Err(error);
            }
        };
        // SAFETY: A fresh thread that we hold a reference to; it sleeps until this.
        unsafe { bindings::wake_up_process(task) };
        // INVARIANT: Just made that way.
        Ok(Self {
            // SAFETY: `from_err_ptr` rules out errors; `kthread_create` does not return null.
            task: unsafe { NonNull::new_unchecked(task) },
            body,
            free: free::<F>,
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we hold a reference, which this call gives up.
        let ret = unsafe { ffi::sheepdog_thread_stop(self.task.as_ptr()) };
        if ret != 0 {
            // SAFETY: The thread returns 0 when it ran; else it was stopped before its body
            // started, and the box is ours.
            unsafe { (self.free)(self.body) };
        }
    }
}
