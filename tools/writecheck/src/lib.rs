// SPDX-License-Identifier: GPL-2.0

//! Writes to a disk, above all while gateways die under it, and checks that each block holds exactly
//! the version that was acknowledged last. See README.md beside this crate.
//!
//! Rooms, from the disk upwards: `disk` reads and writes blocks, `stamp` fills a block and tells
//! what one holds, `ledger` knows what a block may hold, `plan` says who owns which block, `worker`
//! writes and checks its own, `run` lets workers run to an end, `report` is what comes of it.

pub mod cli;
pub mod disk;
pub mod ledger;
pub mod plan;
pub mod report;
pub mod run;
pub mod stamp;
pub mod worker;
