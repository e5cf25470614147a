// SPDX-License-Identifier: GPL-2.0

//! The meaning of a VDI: which request a range needs, what a reply says, who waits for whom.
//!
//! A range of the disk and the object map come in ([`Geometry`], [`Entry`]); the operation to send
//! goes out ([`plan`], [`Step`]). A reply comes in; what to do with its payload and with the
//! request goes out ([`reply`], [`Outcome`]). [`Creations`] keeps the order that new objects need,
//! [`Opening`] decides how a VDI becomes a disk.
//!
//! Everything the driver decides is decided here, and nothing is done here: no I/O, no
//! allocation, no lock, no clock. The caller moves bytes and holds its lock where a method takes
//! `&mut self`. Nothing here may panic, overflow, or loop on what a peer has sent, and nothing may
//! believe it: a reply can say anything.
//!
//! # How a request goes
//!
//! ```text
//! geometry.extent(offset, len)                     which object, where in it
//! take the lock
//!     Entry::decode(map[idx], vid)                 what the object is
//!     plan(op, entry)
//!         Zeroes                                   end a read with zeroes, nothing is sent
//!         Send(step)                               send it
//!         Create(step)  creations.begin(ticket, idx)
//!             Start                                send it
//!             Wait                                 park the request, someone will pop it
//! drop the lock
//! step.header(), step.payload()                    the bytes to send
//! reply(step, extent, header)                      when its reply has come
//!     Done                                         end the request
//!     Next(step)                                   send this one too, same ticket
//!     Created                                      map[idx] = own vid; end the request
//!     Fail(failure)                                end the request with failure.errno()
//! take the lock; creations.finish(ticket)          when a creator has ended, either way
//!     waiters.pop()                                each is decided anew, from Entry::decode on
//! ```
//!
//! An entry that is not [`Entry::Own`] must be read under the same lock as the
//! [`Creations::begin`] that follows from it. Otherwise a creation can end in between, and a second
//! CREATE replaces an object that holds acknowledged data (protocol sheet 8.2).

pub mod creation;
pub mod desk;
pub mod disk_name;
pub mod entry;
pub mod errno;
pub mod failure;
pub mod geometry;
pub mod id;
mod nodes;
pub mod open;
pub mod plan;
pub mod probe;
pub mod refusal;
pub mod reply;
pub mod session;
pub mod work;
pub mod zombies;

pub use creation::Begin;
pub use creation::Creations;
pub use creation::Misuse;
pub use creation::Waiters;
pub use desk::Desk;
pub use desk::Seat;
pub use desk::Verdict;
pub use desk::Walk;
pub use desk::Why;
pub use disk_name::DiskName;
pub use entry::BadEntry;
pub use entry::Entry;
pub use errno::Errno;
pub use failure::Failure;
pub use geometry::Extent;
pub use geometry::Geometry;
pub use geometry::OutOfRange;
pub use id::WireId;
pub use nodes::Node;
pub use open::check_map;
pub use open::Access;
pub use open::Ask;
pub use open::Opening;
pub use open::Progress;
pub use plan::plan;
pub use plan::Op;
pub use plan::Payload;
pub use plan::Plan;
pub use plan::Step;
pub use probe::Found;
pub use probe::Identity;
pub use probe::Unfit;
pub use refusal::Refusal;
pub use reply::reply;
pub use reply::Incoming;
pub use reply::Lie;
pub use reply::Outcome;
pub use reply::Reply;
pub use session::Admission;
pub use session::Errand;
pub use session::Fear;
pub use session::Limits;
pub use session::Loss;
pub use session::Session;
pub use session::Setback;
pub use work::Work;
pub use zombies::Zombie;
pub use zombies::Zombies;
