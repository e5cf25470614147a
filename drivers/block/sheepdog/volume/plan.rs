// SPDX-License-Identifier: GPL-2.0

//! Which operations a request needs, and the bytes that ask for them.

use super::Entry;
use super::Extent;
use super::Geometry;
use crate::proto::inode::MAP_ENTRY_LEN;
use crate::proto::limits::HEADER_LEN;
use crate::proto::ObjectId;
use crate::proto::Opcode;
use crate::proto::RequestHeader;
use crate::proto::Vid;

/// What the guest wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// To have the range's bytes.
    Read,
    /// To replace the range's bytes.
    Write,
}

/// One operation on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// READ_OBJ of the object of `parent`, or of the VDI's own.
    Read {
        /// The VDI that owns an inherited object.
        parent: Option<Vid>,
    },
    /// WRITE_OBJ to the VDI's own object.
    Write,
    /// CREATE_AND_WRITE_OBJ: makes the VDI's own object, as a copy of `parent`'s or of zeroes.
    /// Replaces one that exists as a whole; see [`Plan::Create`].
    Create {
        /// The VDI that owns the object to copy.
        parent: Option<Vid>,
    },
    /// WRITE_OBJ to one entry of the object map: the object is the VDI's own from here on.
    UpdateMap,
}

/// What a request needs first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Plan {
    /// Nothing is sent: the range reads as zeroes.
    Zeroes,
    /// Send this step.
    Send(Step),
    /// Send this step, but only when [`Creations::begin`](super::Creations::begin) says
    /// [`Begin::Start`](super::Begin::Start): two CREATEs of an object lose data.
    Create(Step),
}

/// What follows a step's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Nothing.
    None,
    /// The bytes that the guest writes, as many as the extent has.
    Data,
    /// These bytes.
    MapEntry([u8; MAP_ENTRY_LEN as usize]),
}

/// What `op` needs on an object with this map entry (protocol sheet 8.1 and 9).
///
/// The entry of a write must be current: read under the lock that also guards the
/// [`Creations`](super::Creations).
#[inline]
pub fn plan(op: Op, entry: Entry) -> Plan {
    match (op, entry) {
        (Op::Read, Entry::Hole) => Plan::Zeroes,
        (Op::Read, Entry::Own) => Plan::Send(Step::Read { parent: None }),
        (Op::Read, Entry::Inherited(vid)) => Plan::Send(Step::Read { parent: Some(vid) }),
        (Op::Write, Entry::Own) => Plan::Send(Step::Write),
        (Op::Write, Entry::Hole) => Plan::Create(Step::Create { parent: None }),
        (Op::Write, Entry::Inherited(vid)) => Plan::Create(Step::Create { parent: Some(vid) }),
    }
}

impl Step {
    /// The request header for this step on `extent`, with `id` for the reply to bring back.
    ///
    /// The range stays within its object, because an [`Extent`] does: servers do not check
    /// (protocol sheet 8.1). The server knows the number of copies.
    #[inline]
    pub fn header(self, geometry: &Geometry, extent: &Extent, id: u32) -> [u8; HEADER_LEN] {
        let own = ObjectId::data(geometry.vid(), extent.idx);
        let (offset, len) = (extent.offset, extent.len);
        let request = match self {
            Self::Read { parent: None } => RequestHeader::read_obj(own, offset, len),
            Self::Read { parent: Some(vid) } => {
                RequestHeader::read_obj(ObjectId::data(vid, extent.idx), offset, len)
            }
            Self::Write => RequestHeader::write_obj(own, offset, len),
            Self::Create { parent: None } => RequestHeader::create_obj(own, offset, len),
            Self::Create { parent: Some(vid) } => {
                let source = ObjectId::data(vid, extent.idx);
                RequestHeader::create_cow(own, source, offset, len)
            }
            Self::UpdateMap => {
                let inode = ObjectId::inode(geometry.vid());
                RequestHeader::write_obj(inode, extent.map_offset(), MAP_ENTRY_LEN)
            }
        };
        request.with_id(id).to_bytes()
    }

    /// The operation, as request and reply carry it.
    #[inline]
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Read { .. } => Opcode::READ_OBJ,
            Self::Write | Self::UpdateMap => Opcode::WRITE_OBJ,
            Self::Create { .. } => Opcode::CREATE_AND_WRITE_OBJ,
        }
    }

    /// What follows the header.
    #[inline]
    pub fn payload(self, geometry: &Geometry) -> Payload {
        match self {
            Self::Read { .. } => Payload::None,
            Self::Write | Self::Create { .. } => Payload::Data,
            Self::UpdateMap => Payload::MapEntry(geometry.vid().raw().to_le_bytes()),
        }
    }

    /// Whether a successful reply brings the guest's bytes.
    #[inline]
    pub const fn receives_data(self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// The `data_length` of the request: bytes that it sends or asks for.
    #[inline]
    pub const fn data_length(self, extent: &Extent) -> u32 {
        match self {
            Self::Read { .. } | Self::Write | Self::Create { .. } => extent.len,
            Self::UpdateMap => MAP_ENTRY_LEN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::tests::geometry;
    use super::*;
    use crate::proto::Flags;

    const PARENT: Vid = Vid::truncate(0x7c2b24);

    fn sent(step: Step) -> RequestHeader {
        let geometry = geometry(64 << 20, 22);
        let extent = geometry.extent((3 << 22) + 8192, 4096).unwrap();
        let header = RequestHeader::from_bytes(&step.header(&geometry, &extent, 77));
        assert_eq!((header.id, header.proto_ver, header.epoch), (77, 1, 0));
        assert_eq!(header.opcode, step.opcode());
        assert_eq!(header.data_length, step.data_length(&extent));
        let payload = match step.payload(&geometry) {
            Payload::None => 0,
            Payload::Data => extent.len,
            Payload::MapEntry(bytes) => bytes.len() as u32,
        };
        assert_eq!(header.payload_len(), payload);
        let arm = header.object_arm();
        assert_eq!((arm.copies, arm.copy_policy, arm.pad), (0, 0, 0));
        header
    }

    fn place(header: &RequestHeader) -> (u64, u32, u32) {
        let arm = header.object_arm();
        (arm.oid.raw(), arm.offset, header.data_length)
    }

    #[test]
    fn a_hole_reads_as_zeroes_and_is_created_by_a_write() {
        assert_eq!(plan(Op::Read, Entry::Hole), Plan::Zeroes);
        let create = Step::Create { parent: None };
        assert_eq!(plan(Op::Write, Entry::Hole), Plan::Create(create));
        let header = sent(create);
        assert_eq!(header.opcode, Opcode::CREATE_AND_WRITE_OBJ);
        assert!(!header.flags.contains(Flags::COW));
        assert_eq!(place(&header), (0x007c_2b25_0000_0003, 8192, 4096));
    }

    #[test]
    fn an_own_object_is_read_and_written_in_place() {
        let read = Step::Read { parent: None };
        assert_eq!(plan(Op::Read, Entry::Own), Plan::Send(read));
        assert_eq!(plan(Op::Write, Entry::Own), Plan::Send(Step::Write));
        for (step, opcode) in [(read, Opcode::READ_OBJ), (Step::Write, Opcode::WRITE_OBJ)] {
            let header = sent(step);
            assert_eq!(header.opcode, opcode);
            assert_eq!(place(&header), (0x007c_2b25_0000_0003, 8192, 4096));
        }
    }

    #[test]
    fn an_inherited_object_is_read_where_it_is_and_copied_by_a_write() {
        let read = Step::Read {
            parent: Some(PARENT),
        };
        let entry = Entry::Inherited(PARENT);
        assert_eq!(plan(Op::Read, entry), Plan::Send(read));
        assert_eq!(place(&sent(read)), (0x007c_2b24_0000_0003, 8192, 4096));
        let create = Step::Create {
            parent: Some(PARENT),
        };
        assert_eq!(plan(Op::Write, entry), Plan::Create(create));
        let header = sent(create);
        assert!(header.flags.contains(Flags::COW.with(Flags::WRITE)));
        assert_eq!(place(&header), (0x007c_2b25_0000_0003, 8192, 4096));
        let source = header.object_arm().cow_oid;
        assert_eq!(source, ObjectId::data(PARENT, 3));
    }

    #[test]
    fn a_map_update_is_the_own_vid_in_one_entry() {
        let header = sent(Step::UpdateMap);
        assert_eq!(header.opcode, Opcode::WRITE_OBJ);
        assert_eq!(place(&header), (0x807c_2b25_0000_0000, 4664 + 12, 4));
        let payload = Step::UpdateMap.payload(&geometry(64 << 20, 22));
        assert_eq!(payload, Payload::MapEntry([0x25, 0x2b, 0x7c, 0]));
    }
}
