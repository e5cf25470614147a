// SPDX-License-Identifier: GPL-2.0

//! What the guest did and was told, and which contents of the disk that allows.
//!
//! A write takes effect somewhere between its start and its end, if it is acknowledged; one that
//! failed may have. So a content is *gone* once a write that was acknowledged has started after
//! the content's own write had ended. Who starts to read then must not see it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// What a cell of the disk can hold: the number of the write that put it there, or what stood there
/// at first.
pub type Content = u32;

/// A part of one object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cells {
    pub object: u32,
    pub first: usize,
    pub count: usize,
}

impl Cells {
    pub fn contains(&self, object: u32, cell: usize) -> bool {
        object == self.object && (self.first..self.first + self.count).contains(&cell)
    }

    pub fn iter(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.count
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum End {
    Pending,
    Acknowledged,
    Failed,
}

#[derive(Clone, Hash, Debug)]
struct Write {
    cells: Cells,
    end: End,
    /// Writes that had ended when this one started.
    after: BTreeSet<Content>,
}

/// All writes so far.
#[derive(Clone, Hash, Debug)]
pub struct History {
    /// What the cells of each object held at first.
    initial: Vec<Content>,
    writes: BTreeMap<Content, Write>,
}

impl History {
    pub fn new(initial: Vec<Content>) -> Self {
        let writes = BTreeMap::new();
        Self { initial, writes }
    }

    pub fn start(&mut self, write: Content, cells: Cells) {
        let ended = self.writes.iter().filter(|(_, w)| w.end != End::Pending);
        let after = ended.map(|(number, _)| *number).collect();
        let end = End::Pending;
        let write = self.writes.insert(write, Write { cells, end, after });
        assert!(write.is_none(), "a write has started twice");
    }

    pub fn end(&mut self, write: Content, acknowledged: bool) {
        let write = self.writes.get_mut(&write).expect("a write that started");
        assert_eq!(write.end, End::Pending, "a write has ended twice");
        write.end = if acknowledged {
            End::Acknowledged
        } else {
            End::Failed
        };
    }

    /// The contents of a cell that are gone by now.
    pub fn gone(&self, object: u32, cell: usize) -> BTreeSet<Content> {
        let mut gone = BTreeSet::new();
        for write in self.writes.values() {
            if write.end == End::Acknowledged && write.cells.contains(object, cell) {
                gone.insert(self.initial[object as usize]);
                gone.extend(&write.after);
            }
        }
        gone
    }

    /// Whether somebody who started to look when `gone` was gone may see `seen`.
    pub fn allows(
        &self,
        gone: &BTreeSet<Content>,
        object: u32,
        cell: usize,
        seen: Content,
    ) -> bool {
        let written = match self.writes.get(&seen) {
            Some(write) => write.cells.contains(object, cell),
            None => seen == self.initial[object as usize],
        };
        written && !gone.contains(&seen)
    }
}
