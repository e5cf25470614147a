// SPDX-License-Identifier: GPL-2.0

//! Directories of debugfs, and files in them that show a table.
//!
//! Debugfs may be missing or full: then nothing is shown, and nobody is told. `kernel::debugfs`
//! cannot say which module its files belong to, so a file that is open keeps no module from being
//! unloaded, and closing it then runs into freed memory. Here it does.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use kernel::{
    bindings,
    ffi::c_void,
    prelude::*,
    seq_file::SeqFile,
    sync::Arc, //
};

use super::ffi;

/// A directory. It goes when the last file or directory in it has gone and the last reference.
///
/// # Invariants
///
/// `entry` is what `sheepdog_debugfs_dir` returned, and only `drop` removes it.
pub(crate) struct Dir {
    entry: *mut bindings::dentry,
    // Removing a directory would remove what is in it.
    _parent: Option<Arc<Dir>>,
}

// SAFETY: Debugfs locks what it changes.
unsafe impl Send for Dir {}
// SAFETY: As above.
unsafe impl Sync for Dir {}

impl Dir {
    /// Makes a directory, without a parent at the top of debugfs. `ENOMEM`.
    pub(crate) fn new(name: &CStr, parent: Option<Arc<Dir>>) -> Result<Arc<Self>> {
        let above = parent
            .as_ref()
            .map_or(core::ptr::null_mut(), |dir| dir.entry);
        // SAFETY: The name is a C string that is copied; the parent is null or, by its invariant, a
        // directory that lives.
        let entry = unsafe { ffi::sheepdog_debugfs_dir(name.as_char_ptr(), above) };
        // INVARIANT: Just made that way.
        let dir = Self {
            entry,
            _parent: parent,
        };
        Ok(Arc::new(dir, GFP_KERNEL)?)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is the only removal; every file and directory in it holds a
        // reference, so none is left.
        unsafe { ffi::sheepdog_debugfs_remove(self.entry) };
    }
}

/// What a file shows.
pub(crate) trait Table: Send + Sync + 'static {
    /// Number of items.
    fn len(&self) -> usize;

    /// Prints item `index`, or nothing. Called by several readers at once, and it may be late: keep
    /// to what can be read without a lock that anybody holds for long.
    fn show(&self, index: usize, out: &SeqFile);
}

/// A file that shows a table to root.
///
/// Dropping it removes the file and waits for those who are reading it.
///
/// # Invariants
///
/// `entry` is what `sheepdog_debugfs_file` returned for `raw`, and only `drop` removes it. `raw` and
/// `table` stay as they are until then; `raw` belongs to `show_item::<T>` and points at `table`.
///
/// # Examples
///
/// ```ignore
/// let dir = Dir::new(c"example", None)?;
/// let file = File::new(c"squares", &dir, Squares { upto: 10 })?;
/// // /sys/kernel/debug/example/squares has ten lines.
/// drop(file);
/// ```
pub(crate) struct File<T: Table> {
    entry: *mut bindings::dentry,
    raw: *mut ffi::RawTable,
    table: *mut T,
    _dir: Arc<Dir>,
}

// SAFETY: Debugfs locks what it changes, and a table is `Send` and `Sync`.
unsafe impl<T: Table> Send for File<T> {}
// SAFETY: As above.
unsafe impl<T: Table> Sync for File<T> {}

/// # Safety
///
/// `seq` must be a live file that this thread alone uses, `data` a live `T`.
unsafe extern "C" fn show_item<T: Table>(
    seq: *mut bindings::seq_file,
    data: *const c_void,
    index: u64,
) {
    // SAFETY: Required of the caller.
    let (out, table) = unsafe { (SeqFile::from_raw(seq), &*data.cast::<T>()) };
    table.show(index as usize, out);
}

impl<T: Table> File<T> {
    /// Makes a file. `ENOMEM`.
    pub(crate) fn new(name: &CStr, dir: &Arc<Dir>, table: T) -> Result<Self> {
        let len = table.len() as u64;
        let table = KBox::new(table, GFP_KERNEL)?;
        let raw = KBox::new(
            ffi::RawTable {
                len,
                show: show_item::<T>,
                data: (&raw const *table).cast(),
            },
            GFP_KERNEL,
        )?;
        let (table, raw) = (KBox::into_raw(table), KBox::into_raw(raw));
        // SAFETY: The name is copied, the directory lives since we hold a reference below, and the
        // table stays until `drop`.
        let entry = unsafe { ffi::sheepdog_debugfs_file(name.as_char_ptr(), dir.entry, raw) };
        // INVARIANT: Just made that way.
        Ok(Self {
            entry,
            raw,
            table,
            _dir: dir.clone(),
        })
    }
}

impl<T: Table> Drop for File<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is the only removal.
        unsafe { ffi::sheepdog_debugfs_remove(self.entry) };
        // SAFETY: Boxes that were turned into pointers in `new`; with the file the last reader has
        // gone.
        unsafe {
            drop(KBox::from_raw(self.raw));
            drop(KBox::from_raw(self.table));
        }
    }
}
