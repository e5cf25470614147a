// SPDX-License-Identifier: GPL-2.0

//! Request headers: one constructor per operation that the project sends (protocol sheet 2 and 3).
//!
//! A constructor fixes everything but the `id`, which the sender chooses with
//! [`RequestHeader::with_id`]. The payload, where there is one, follows the header on the wire and
//! is none of this file's business.

use super::arm::ClusterArm;
use super::arm::LockType;
use super::arm::ObjectArm;
use super::arm::VdiArm;
use super::arm::ARM_LEN;
use super::flags::Flags;
use super::limits::HEADER_LEN;
use super::limits::LOOKUP_PAYLOAD_LEN;
use super::limits::NEW_VDI_PAYLOAD_LEN;
use super::limits::PROTO_VER_INTERNAL;
use super::limits::PROTO_VER_OBJECT;
use super::limits::PROTO_VER_PUBLIC;
use super::limits::VDI_BITMAP_LEN;
use super::oid::ObjectId;
use super::oid::Vid;
use super::opcode::Opcode;
use super::wire::array_at;
use super::wire::put;
use super::wire::u16_at;
use super::wire::u32_at;
use super::wire::u8_at;

const _: () = assert!(HEADER_LEN == 16 + ARM_LEN);

/// A request header (protocol sheet 2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// 1 or 2 for public, 0x0a for internal operations.
    pub proto_ver: u8,
    /// The operation.
    pub opcode: Opcode,
    /// Flags; WRITE says that a payload follows.
    pub flags: Flags,
    /// Clients send 0; servers overwrite it.
    pub epoch: u32,
    /// Comes back in the reply, verbatim.
    pub id: u32,
    /// Bytes of payload with flag WRITE, else the most that the reply may carry.
    pub data_length: u32,
    /// The operation's own part; see [`ObjectArm`], [`VdiArm`], [`ClusterArm`].
    pub arm: [u8; ARM_LEN],
}

impl RequestHeader {
    const fn new(proto_ver: u8, opcode: Opcode, flags: Flags, data_length: u32) -> Self {
        Self {
            proto_ver,
            opcode,
            flags,
            epoch: 0,
            id: 0,
            data_length,
            arm: [0; ARM_LEN],
        }
    }

    fn object(opcode: Opcode, flags: Flags, oid: ObjectId, offset: u32, len: u32) -> Self {
        let arm = ObjectArm {
            oid,
            offset,
            ..ObjectArm::default()
        };
        Self {
            arm: arm.to_bytes(),
            ..Self::new(PROTO_VER_OBJECT, opcode, flags, len)
        }
    }

    fn vdi(opcode: Opcode, flags: Flags, len: u32, arm: VdiArm) -> Self {
        Self {
            arm: arm.to_bytes(),
            ..Self::new(PROTO_VER_PUBLIC, opcode, flags, len)
        }
    }

    fn lookup(opcode: Opcode, snapid: u32, lock_type: LockType) -> Self {
        let arm = VdiArm {
            snapid,
            lock_type: lock_type as u32,
            ..VdiArm::default()
        };
        Self::vdi(opcode, Flags::WRITE, LOOKUP_PAYLOAD_LEN, arm)
    }

    /// READ_OBJ: `len` bytes at byte `offset` of `oid`. The caller keeps `offset + len` within the
    /// object: servers do not (protocol sheet 9).
    pub fn read_obj(oid: ObjectId, offset: u32, len: u32) -> Self {
        Self::object(Opcode::READ_OBJ, Flags::DIRECT, oid, offset, len)
    }

    /// WRITE_OBJ: a payload of `len` bytes to byte `offset` of `oid`, which exists. The caller
    /// keeps `offset + len` within the object (protocol sheet 8.1).
    pub fn write_obj(oid: ObjectId, offset: u32, len: u32) -> Self {
        let flags = Flags::WRITE.with(Flags::DIRECT);
        Self::object(Opcode::WRITE_OBJ, flags, oid, offset, len)
    }

    /// CREATE_AND_WRITE_OBJ: makes `oid` anew, zero but for a payload of `len` bytes at byte
    /// `offset`. Replaces an object that exists (protocol sheet 8.2).
    pub fn create_obj(oid: ObjectId, offset: u32, len: u32) -> Self {
        let flags = Flags::WRITE.with(Flags::DIRECT);
        Self::object(Opcode::CREATE_AND_WRITE_OBJ, flags, oid, offset, len)
    }

    /// CREATE_AND_WRITE_OBJ with flag COW: makes `oid` as a copy of `cow_oid` with the payload of
    /// `len` bytes laid over it at byte `offset` (protocol sheet 8.3).
    pub fn create_cow(oid: ObjectId, cow_oid: ObjectId, offset: u32, len: u32) -> Self {
        let arm = ObjectArm {
            oid,
            cow_oid,
            offset,
            ..ObjectArm::default()
        };
        let flags = Flags::WRITE.with(Flags::DIRECT).with(Flags::COW);
        Self {
            arm: arm.to_bytes(),
            ..Self::new(PROTO_VER_OBJECT, Opcode::CREATE_AND_WRITE_OBJ, flags, len)
        }
    }

    /// DISCARD_OBJ: clears the map entry of `oid` and removes the object (protocol sheet 13).
    /// Only for an object that the working VDI itself owns.
    pub fn discard_obj(oid: ObjectId) -> Self {
        Self::object(Opcode::DISCARD_OBJ, Flags::NONE, oid, 0, 0)
    }

    /// NEW_VDI; the payload is one name field of 256 bytes (protocol sheet 3.3).
    pub fn new_vdi(arm: VdiArm) -> Self {
        Self::vdi(Opcode::NEW_VDI, Flags::WRITE, NEW_VDI_PAYLOAD_LEN, arm)
    }

    /// GET_VDI_INFO; the payload is a name field and a tag field, 512 bytes. Tag empty and `snapid`
    /// 0 ask for the working VDI (protocol sheet 3.4).
    pub fn get_vdi_info(snapid: u32) -> Self {
        Self::lookup(Opcode::GET_VDI_INFO, snapid, LockType::Normal)
    }

    /// LOCK_VDI; payload and meaning as [`RequestHeader::get_vdi_info`] (protocol sheet 11).
    pub fn lock_vdi(snapid: u32, lock_type: LockType) -> Self {
        Self::lookup(Opcode::LOCK_VDI, snapid, lock_type)
    }

    /// DEL_VDI; payload as [`RequestHeader::get_vdi_info`] (protocol sheet 3.5).
    pub fn del_vdi(snapid: u32) -> Self {
        Self::lookup(Opcode::DEL_VDI, snapid, LockType::Normal)
    }

    /// RELEASE_VDI of `vid`; no payload (protocol sheet 11).
    pub fn release_vdi(vid: Vid, lock_type: LockType) -> Self {
        let arm = VdiArm {
            base_vdi_id: vid.raw(),
            lock_type: lock_type as u32,
            ..VdiArm::default()
        };
        Self::vdi(Opcode::RELEASE_VDI, Flags::NONE, 0, arm)
    }

    /// READ_VDIS: the bitmap of ids in use (protocol sheet 3.1).
    pub const fn read_vdis() -> Self {
        let len = VDI_BITMAP_LEN;
        Self::new(PROTO_VER_PUBLIC, Opcode::READ_VDIS, Flags::NONE, len)
    }

    /// READ_DEL_VDIS: the bitmap of deleted ids (protocol sheet 3.2).
    pub const fn read_del_vdis() -> Self {
        Self::internal(Opcode::READ_DEL_VDIS, VDI_BITMAP_LEN)
    }

    /// GET_CLUSTER_DEFAULT (protocol sheet 3.1).
    pub const fn get_cluster_default() -> Self {
        let opcode = Opcode::GET_CLUSTER_DEFAULT;
        Self::new(PROTO_VER_PUBLIC, opcode, Flags::NONE, 0)
    }

    /// An internal operation without arguments whose reply carries up to `data_length` bytes, such
    /// as GET_NODE_LIST or CLUSTER_INFO (protocol sheet 3.2).
    pub const fn internal(opcode: Opcode, data_length: u32) -> Self {
        Self::new(PROTO_VER_INTERNAL, opcode, Flags::NONE, data_length)
    }

    /// MAKE_FS; the payload is the store's name of `name_len` bytes, NUL included. Removes every
    /// VDI (protocol sheet 3.2).
    pub fn make_fs(arm: ClusterArm, name_len: u32) -> Self {
        Self {
            arm: arm.to_bytes(),
            ..Self::new(PROTO_VER_INTERNAL, Opcode::MAKE_FS, Flags::WRITE, name_len)
        }
    }

    /// The same request with this `id`.
    #[inline]
    pub const fn with_id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Bytes of payload that follow this header.
    #[inline]
    pub const fn payload_len(&self) -> u32 {
        if self.flags.contains(Flags::WRITE) {
            self.data_length
        } else {
            0
        }
    }

    /// The header as it is sent.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        put::<0, 2, HEADER_LEN>(&mut bytes, [self.proto_ver, self.opcode.0]);
        put::<2, 2, HEADER_LEN>(&mut bytes, self.flags.0.to_le_bytes());
        put::<4, 4, HEADER_LEN>(&mut bytes, self.epoch.to_le_bytes());
        put::<8, 4, HEADER_LEN>(&mut bytes, self.id.to_le_bytes());
        put::<12, 4, HEADER_LEN>(&mut bytes, self.data_length.to_le_bytes());
        put::<16, ARM_LEN, HEADER_LEN>(&mut bytes, self.arm);
        bytes
    }

    /// Reads a header. Any 48 bytes are one: the protocol has no magic and no checksum
    /// (protocol sheet 1, "Malformed header").
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        Self {
            proto_ver: u8_at::<0, HEADER_LEN>(bytes),
            opcode: Opcode(u8_at::<1, HEADER_LEN>(bytes)),
            flags: Flags(u16_at::<2, HEADER_LEN>(bytes)),
            epoch: u32_at::<4, HEADER_LEN>(bytes),
            id: u32_at::<8, HEADER_LEN>(bytes),
            data_length: u32_at::<12, HEADER_LEN>(bytes),
            arm: array_at::<16, ARM_LEN, HEADER_LEN>(bytes),
        }
    }

    /// The arm of an object request.
    pub fn object_arm(&self) -> ObjectArm {
        ObjectArm::from_bytes(&self.arm)
    }

    /// The arm of a VDI request.
    pub fn vdi_arm(&self) -> VdiArm {
        VdiArm::from_bytes(&self.arm)
    }

    /// The arm of a cluster request.
    pub fn cluster_arm(&self) -> ClusterArm {
        ClusterArm::from_bytes(&self.arm)
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectId;
    use super::RequestHeader;
    use super::Vid;

    #[test]
    fn a_cow_create_has_its_fields_where_the_protocol_puts_them() {
        let own = ObjectId::data(Vid::new(0x78d14a).unwrap(), 2);
        let parent = ObjectId::data(Vid::new(0x78d149).unwrap(), 2);
        let bytes = RequestHeader::create_cow(own, parent, 0x1000, 0x200)
            .with_id(0x0102_0304)
            .to_bytes();
        let expected = [
            &[1, 0x01, 0x0b, 0][..],
            &[0, 0, 0, 0, 4, 3, 2, 1, 0, 2, 0, 0],
            &[2, 0, 0, 0, 0x4a, 0xd1, 0x78, 0],
            &[2, 0, 0, 0, 0x49, 0xd1, 0x78, 0],
            &[0; 8],
            &[0, 0x10, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[..], expected[..]);
    }

    #[test]
    fn only_the_write_flag_makes_a_payload() {
        let oid = ObjectId::from_raw(0);
        assert_eq!(RequestHeader::read_obj(oid, 0, 512).payload_len(), 0);
        assert_eq!(RequestHeader::write_obj(oid, 0, 512).payload_len(), 512);
    }
}
