// SPDX-License-Identifier: GPL-2.0

//! Keeps a configfs directory from being removed while it is in use.
//!
//! C header: [`include/linux/configfs.h`](srctree/include/linux/configfs.h)

use core::ptr::null_mut;

use kernel::{
    bindings,
    configfs::{
        Group,
        HasGroup, //
    },
    error::to_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The handle of a directory by which its own attributes can pin it.
///
/// # Invariants
///
/// The pointer is null or that of a group of configfs.
pub(crate) struct Directory(Atomic<*mut bindings::config_group>);

impl Directory {
    /// Not bound yet.
    pub(crate) fn new() -> Self {
        Self(Atomic::new(null_mut()))
    }

    /// Binds the handle to the directory it is for.
    pub(crate) fn bind<Data>(&self, group: Pin<&mut Group<Data>>) {
        let group: *const Group<Data> = &*group;
        // SAFETY: A valid group.
        let raw = unsafe { <Group<Data> as HasGroup<Data>>::group(group) };
        // INVARIANT: That of a group.
        self.0.store(raw.cast_mut(), Relaxed);
    }

    /// Makes rmdir(2) fail with `EBUSY` until [`Self::unpin`].
    ///
    /// To be called while an attribute of this directory is being written: then the directory, and
    /// with it the subsystem, cannot go away meanwhile, which is what makes the `_unlocked` variant
    /// the right one. `ENOENT` if the directory is just being removed.
    pub(crate) fn pin(&self) -> Result {
        let group = self.0.load(Relaxed);
        if group.is_null() {
            return Err(ENOENT);
        }
        // SAFETY: By the invariant a group; it exists since one of its attributes is being written.
        // Passing its own subsystem says that no lock of the subsystem is needed.
        to_result(unsafe {
            let parent = (*group).cg_item.ci_group;
            if parent.is_null() {
                return Err(ENOENT);
            }
            bindings::configfs_depend_item_unlocked((*parent).cg_subsys, &mut (*group).cg_item)
        })
    }

    /// Takes one [`Self::pin`] back.
    pub(crate) fn unpin(&self) {
        let group = self.0.load(Relaxed);
        if !group.is_null() {
            // SAFETY: Pinned, hence still there.
            unsafe { bindings::configfs_undepend_item(&mut (*group).cg_item) };
        }
    }
}
