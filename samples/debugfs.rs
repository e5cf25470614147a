// SPDX-License-Identifier: GPL-2.0

//! `sys::debugfs`: `/sys/kernel/debug/sample_debugfs/squares`, a table that no memory holds.

use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
};
use sys::debugfs::{
    Dir,
    File,
    Table, //
};

#[path = "../drivers/block/sheepdog/sys/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a sample is about one part")]
mod sys;

module! {
    type: Sample,
    name: "sample_debugfs",
    authors: ["The sheepdog.ko developers"],
    description: "Tables in debugfs",
    license: "GPL",
}

/// More than fits into a page.
const LINES: usize = 1000;

struct Squares;

impl Table for Squares {
    fn len(&self) -> usize {
        LINES
    }

    fn show(&self, index: usize, out: &SeqFile) {
        // An item may have nothing to say.
        if index > 0 {
            seq_print!(out, "{} squared is {}\n", index, index * index);
        }
    }
}

struct Sample {
    _squares: File<Squares>,
}

impl kernel::Module for Sample {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let dir = Dir::new(c"sample_debugfs", None)?;
        // Files come and go, and the directory stays until the last has gone.
        drop(File::new(c"gone", &dir, Squares)?);
        let squares = File::new(c"squares", &dir, Squares)?;
        pr_info!("ok\n");
        Ok(Self { _squares: squares })
    }
}
