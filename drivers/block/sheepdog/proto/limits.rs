// SPDX-License-Identifier: GPL-2.0

//! The numbers that bound the protocol, in one place (protocol sheet 15, 6 and 7).

/// Bytes in a request or response header (protocol sheet 1, "Framing").
pub const HEADER_LEN: usize = 48;

/// TCP port on which a sheep listens unless told otherwise (protocol sheet 1).
pub const DEFAULT_PORT: u16 = 7000;

/// Version that requests with opcodes below [`FIRST_INTERNAL_OPCODE`] carry. A server accepts 0, 1
/// and 2; with 0 or 1 no server has ever trimmed a read reply (protocol sheet 9.3).
pub const PROTO_VER_OBJECT: u8 = 0x01;

/// Version of the VDI operations, as `dog` sends it (protocol sheet 3.1).
pub const PROTO_VER_PUBLIC: u8 = 0x02;

/// Version that requests with opcodes from [`FIRST_INTERNAL_OPCODE`] must carry exactly
/// (protocol sheet 1, "Bad proto_ver").
pub const PROTO_VER_INTERNAL: u8 = 0x0a;

/// Opcodes from here on are internal or administrative (protocol sheet 3.2).
pub const FIRST_INTERNAL_OPCODE: u8 = 0x80;

/// Bytes of a name, tag or attribute key field, terminating NUL included (protocol sheet 6.3).
pub const NAME_LEN: usize = 256;

/// Usable bytes of a name, tag or attribute key (protocol sheet 6.3).
pub const MAX_NAME_BYTES: usize = NAME_LEN - 1;

/// Payload bytes of NEW_VDI: one name field (protocol sheet 3.3).
pub const NEW_VDI_PAYLOAD_LEN: u32 = 256;

/// Payload bytes that every lookup should send: name field and tag field. The shorter form with a
/// name alone crashes upstream servers under some conditions (protocol sheet 3.4).
pub const LOOKUP_PAYLOAD_LEN: u32 = 512;

/// Bytes of the VDI bitmaps that READ_VDIS and READ_DEL_VDIS return: 2^24 bits
/// (protocol sheet 3.1).
pub const VDI_BITMAP_LEN: u32 = 2_097_152;

/// Number of VDI ids, id 0 included, which is never used (protocol sheet 6.2).
pub const NR_VIDS: u32 = 1 << 24;

/// Smallest `block_size_shift` that clients use: 1 MiB objects (protocol sheet 6.3).
pub const MIN_BLOCK_SIZE_SHIFT: u8 = 20;

/// Largest `block_size_shift` that clients use: 2 GiB objects (protocol sheet 6.3).
pub const MAX_BLOCK_SIZE_SHIFT: u8 = 31;

/// `block_size_shift` of a cluster that was not told otherwise: 4 MiB objects
/// (protocol sheet 6.3).
pub const DEFAULT_BLOCK_SIZE_SHIFT: u8 = 22;

/// Entries in the object map of a plain VDI, hence its largest number of objects
/// (protocol sheet 6.3).
pub const MAX_OBJECTS: u32 = 1 << 20;

/// Largest number of replicas (protocol sheet 15).
pub const MAX_COPIES: u8 = 31;

/// Bytes of a B-tree node object of a hyper volume (protocol sheet 6.1).
pub const BTREE_NODE_LEN: u32 = 4_194_304;

/// Bytes of a ledger object (protocol sheet 6.1).
pub const LEDGER_LEN: u32 = 4_194_304;

/// Bytes of a VDI attribute object (protocol sheet 2.5).
pub const ATTR_LEN: u32 = 66_320;

/// A payload that a cluster operation broadcasts must stay below this many bytes: larger ones
/// abort upstream servers (protocol sheet 15).
pub const MAX_BROADCAST_PAYLOAD: u32 = 131_072 - 96;
