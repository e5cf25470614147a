// SPDX-License-Identifier: GPL-2.0

//! The Sheepdog wire protocol, version 2: frames, opcodes, results, object ids, inode layout.
//!
//! Bytes come in and typed values go out, or the other way round. Nothing here sends, waits,
//! allocates or decides: what an answer *means* for a request is the business of `volume`.
//! Nothing here may panic, overflow or loop on bytes that a peer has sent.
//!
//! These files are `core`-only. They compile into the kernel module and, unchanged, as the crate
//! `sheepdog-core` of the user space tools. "Protocol sheet" in these pages means the project's
//! protocol fact sheet, with its section.

pub mod arm;
pub mod flags;
pub mod header;
pub mod inode;
pub mod limits;
pub mod name;
pub mod oid;
pub mod opcode;
pub mod response;
pub mod result;
mod wire;

pub use arm::LockType;
pub use flags::Flags;
pub use header::RequestHeader;
pub use inode::Geometry;
pub use inode::InodeError;
pub use inode::InodeHeader;
pub use name::NameError;
pub use name::VdiName;
pub use oid::ObjectId;
pub use oid::ObjectKind;
pub use oid::Vid;
pub use opcode::Opcode;
pub use response::ResponseHeader;
pub use result::SdResult;
