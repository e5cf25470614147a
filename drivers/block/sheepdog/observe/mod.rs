// SPDX-License-Identifier: GPL-2.0

//! What can be seen of a mapping from outside: which requests wait for what and for how long, and
//! what its links have carried. See Documentation/debugging-a-hang.rst.
//!
//! The rooms above note on a link's [`Board`] what they do, with plain stores; whoever reads the
//! files of [`Files`] sees it. Nothing here may hold anybody up: no lock is taken, and no request is
//! ever touched. A reader can catch a request while it changes, or two requests one after the other
//! in one line: lines are for people, nobody decides by them.

mod board;
mod files;
mod record;

pub(crate) use board::Board;
pub(crate) use files::{
    Files,
    Watched,
    WatchedLink, //
};
