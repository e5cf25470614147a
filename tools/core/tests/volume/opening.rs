// SPDX-License-Identifier: GPL-2.0

//! Mapping a VDI that is what it should be, is not, or changes while it is read.

use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::inode::HEADER_LEN;
use sheepdog_core::proto::response::VdiReply;
use sheepdog_core::proto::response::REPLY_ARM_LEN;
use sheepdog_core::proto::Flags;
use sheepdog_core::proto::InodeError;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;
use sheepdog_core::volume::check_map;
use sheepdog_core::volume::Access;
use sheepdog_core::volume::BadEntry;
use sheepdog_core::volume::Errno;
use sheepdog_core::volume::Failure;
use sheepdog_core::volume::Geometry;
use sheepdog_core::volume::Incoming;
use sheepdog_core::volume::Opening;
use sheepdog_core::volume::Progress;
use sheepdog_core::volume::Refusal;

use super::sheep::OWN;

const SIZE: u64 = (10 << 30) + 512;

/// A cluster with one VDI, whose inode lives through what a test does to it.
struct Cluster {
    vid: u32,
    inode: Vec<u8>,
    lookup: SdResult,
    read: SdResult,
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self {
            vid: OWN.raw(),
            inode: vec![0; HEADER_LEN + 4 * 2561],
            lookup: SdResult::SUCCESS,
            read: SdResult::SUCCESS,
        };
        cluster.inode[0] = b'v';
        cluster.put(field::VDI_SIZE, &SIZE.to_le_bytes());
        cluster.put(field::BLOCK_SIZE_SHIFT, &[22]);
        cluster.put(field::VDI_ID, &OWN.raw().to_le_bytes());
        cluster
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.inode[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn answer(&self, header: &[u8; 48]) -> (ResponseHeader, Vec<u8>) {
        let request = RequestHeader::from_bytes(header);
        let mut answer = ResponseHeader {
            proto_ver: 0,
            opcode: request.opcode,
            flags: 0,
            epoch: 1,
            id: request.id,
            data_length: 0,
            result: self.lookup,
            arm: [0; REPLY_ARM_LEN],
        };
        if request.opcode == Opcode::GET_VDI_INFO {
            assert!(request.flags.contains(Flags::WRITE));
            assert_eq!(request.data_length, 512);
            let arm = VdiReply {
                vdi_id: self.vid,
                ..VdiReply::default()
            };
            answer.arm = arm.to_bytes();
            return (answer, Vec::new());
        }
        assert_eq!(request.opcode, Opcode::READ_OBJ);
        let arm = request.object_arm();
        assert_eq!(arm.oid, ObjectId::inode(Vid::truncate(self.vid)));
        answer.result = self.read;
        if !answer.result.is_success() {
            return (answer, Vec::new());
        }
        let start = arm.offset as usize;
        let end = start + request.data_length as usize;
        answer.data_length = request.data_length;
        (answer, self.inode[start..end].to_vec())
    }
}

/// Maps; before question number n (from 0) `meddle` may change the cluster. Returns the outcome,
/// the number of questions, and of waits.
fn map(
    access: Access,
    cluster: &mut Cluster,
    mut meddle: impl FnMut(u32, &mut Cluster),
) -> (Result<Geometry, Refusal>, u32, u32) {
    let mut opening = Opening::new(access);
    let mut waits = 0;
    for question in 0..100 {
        meddle(question, cluster);
        let (answer, payload) = cluster.answer(&opening.request(question));
        match opening.incoming(&answer) {
            Ok(Incoming::Data) => assert_eq!(payload.len() as u32, opening.answer_len()),
            Ok(Incoming::None) => assert!(payload.is_empty()),
            other => panic!("{other:?}"),
        }
        match opening.answered(&answer, &payload) {
            Progress::Ask => {}
            Progress::Wait { .. } => waits += 1,
            Progress::Open(geometry) => return (Ok(geometry), question + 1, waits),
            Progress::Refused(refusal) => return (Err(refusal), question + 1, waits),
        }
    }
    panic!("mapping does not end");
}

fn refused(cluster: &mut Cluster) -> Refusal {
    let (outcome, _, waits) = map(Access::ReadWrite, cluster, |_, _| {});
    assert_eq!(waits, 0, "waited for what does not change");
    outcome.expect_err("refused")
}

#[test]
fn four_questions_map_a_vdi() {
    let (outcome, questions, waits) = map(Access::ReadWrite, &mut Cluster::new(), |_, _| {});
    let geometry = outcome.unwrap();
    assert_eq!((questions, waits), (4, 0));
    assert_eq!((geometry.vid(), geometry.size_bytes()), (OWN, SIZE));
    assert_eq!(
        (geometry.objects(), geometry.inode_bytes()),
        (2561, 4664 + 4 * 2561)
    );
}

#[test]
fn a_snapshot_at_any_moment_leads_to_the_new_working_vdi() {
    for moment in 1..4 {
        let mut cluster = Cluster::new();
        let (outcome, questions, waits) = map(Access::ReadWrite, &mut cluster, |question, it| {
            if question == moment {
                it.put(field::SNAP_CTIME, &7u64.to_le_bytes());
            }
            if question == moment + 1 {
                it.put(field::SNAP_CTIME, &[0; 8]);
                it.put(field::VDI_ID, &(OWN.raw() + 1).to_le_bytes());
                it.vid = OWN.raw() + 1;
            }
        });
        assert_eq!(
            outcome.unwrap().vid().raw(),
            OWN.raw() + 1,
            "moment {moment}"
        );
        assert_eq!((questions, waits), (moment + 5, 1));
    }
}

#[test]
fn a_resize_between_the_looks_is_not_half_seen() {
    for moment in 2..4 {
        let mut cluster = Cluster::new();
        let (outcome, questions, waits) = map(Access::ReadWrite, &mut cluster, |question, it| {
            if question == moment {
                it.put(field::VDI_SIZE, &(SIZE - 512).to_le_bytes());
            }
        });
        let geometry = outcome.unwrap();
        assert_eq!(
            (geometry.size_bytes(), geometry.objects()),
            (SIZE - 512, 2560)
        );
        assert_eq!((questions, waits), (moment + 5, 1));
    }
}

#[test]
fn a_vdi_that_never_keeps_still_is_refused_in_the_end() {
    let mut cluster = Cluster::new();
    let (outcome, _, waits) = map(Access::ReadWrite, &mut cluster, |question, it| {
        it.put(field::CREATE_TIME, &question.to_le_bytes());
    });
    assert_eq!(outcome, Err(Refusal::Changing));
    assert_eq!(waits, 10);
}

#[test]
fn a_snapshot_is_mapped_for_reading_only() {
    let mut cluster = Cluster::new();
    cluster.put(field::SNAP_CTIME, &7u64.to_le_bytes());
    let (outcome, ..) = map(Access::ReadWrite, &mut cluster, |_, _| {});
    assert_eq!(outcome, Err(Refusal::Snapshot));
    assert_eq!(Refusal::Snapshot.errno(), Errno::ReadOnly);
    let (outcome, ..) = map(Access::ReadOnly, &mut cluster, |_, _| {});
    assert!(outcome.is_ok());
}

#[test]
fn what_a_lookup_says_is_told_apart() {
    for (result, refusal, errno) in [
        (SdResult::NO_VDI, Refusal::NotFound, Errno::NotFound),
        (SdResult::VDI_LOCKED, Refusal::Locked, Errno::Busy),
        (
            SdResult::WAIT_FOR_FORMAT,
            Refusal::NotFormatted,
            Errno::NotFound,
        ),
        (
            SdResult::VER_MISMATCH,
            Refusal::Failed(Failure::Rejected(SdResult::VER_MISMATCH)),
            Errno::Protocol,
        ),
        (SdResult::EIO, Refusal::Failed(Failure::Disk), Errno::Io),
    ] {
        let mut cluster = Cluster::new();
        cluster.lookup = result;
        assert_eq!(refused(&mut cluster), refusal);
        assert_eq!(refusal.errno(), errno);
    }
    for vid in [0, 0x0100_0000, u32::MAX] {
        let mut cluster = Cluster::new();
        cluster.vid = vid;
        assert_eq!(refused(&mut cluster), Refusal::BadVid(vid));
    }
}

#[test]
fn a_cluster_that_is_not_ready_is_waited_for_but_not_for_ever() {
    let mut cluster = Cluster::new();
    cluster.lookup = SdResult::WAIT_FOR_JOIN;
    let (outcome, _, waits) = map(Access::ReadWrite, &mut cluster, |question, it| {
        if question == 3 {
            it.lookup = SdResult::SUCCESS;
        }
    });
    assert!(outcome.is_ok());
    assert_eq!(waits, 3);
    cluster.lookup = SdResult::HALT;
    let (outcome, questions, _) = map(Access::ReadWrite, &mut cluster, |_, _| {});
    assert_eq!(outcome, Err(Refusal::Unavailable(SdResult::HALT)));
    assert_eq!(questions, 11);
    cluster.lookup = SdResult::SUCCESS;
    cluster.read = SdResult::NO_OBJ;
    let (outcome, ..) = map(Access::ReadWrite, &mut cluster, |_, _| {});
    assert_eq!(outcome, Err(Refusal::Failed(Failure::Missing)));
}

#[test]
fn an_inode_that_is_no_disk_s_is_refused() {
    let refusal = |at: usize, bytes: &[u8]| {
        let mut cluster = Cluster::new();
        cluster.put(at, bytes);
        let refusal = refused(&mut cluster);
        assert!(!refusal.to_string().is_empty() && !refusal.advice().is_empty());
        refusal
    };
    let unusable = Refusal::Unusable;
    assert_eq!(refusal(field::NAME, &[0]), unusable(InodeError::Deleted));
    let hyper = unusable(InodeError::StorePolicy(1));
    assert_eq!(refusal(field::STORE_POLICY, &[1]), hyper);
    assert_eq!(hyper.errno(), Errno::NotSupported);
    let shift = unusable(InodeError::BlockSizeShift(32));
    assert_eq!(refusal(field::BLOCK_SIZE_SHIFT, &[32]), shift);
    let huge = (1u64 << 42) + 1;
    let many = unusable(InodeError::TooManyObjects((1 << 20) + 1));
    assert_eq!(refusal(field::VDI_SIZE, &huge.to_le_bytes()), many);
    let empty = refusal(field::VDI_SIZE, &511u64.to_le_bytes());
    assert_eq!(empty, Refusal::Empty(511));
    let other = refusal(field::VDI_ID, &[0]);
    assert!(matches!(
        other,
        Refusal::Unusable(InodeError::WrongVdi { .. })
    ));
    assert_eq!(other.errno(), Errno::Protocol);
}

#[test]
fn an_erasure_coded_vdi_is_an_ordinary_one() {
    let mut cluster = Cluster::new();
    cluster.put(field::COPY_POLICY, &[0x22]);
    assert!(map(Access::ReadWrite, &mut cluster, |_, _| {}).0.is_ok());
}

#[test]
fn a_damaged_map_is_refused_with_the_place_of_the_damage() {
    let sound = [0, OWN.raw(), OWN.raw() - 1];
    assert_eq!(check_map(OWN, sound), Ok(()));
    let entry = BadEntry { raw: 0x0100_0001 };
    let damaged = [0, OWN.raw(), 0x0100_0001, u32::MAX];
    assert_eq!(
        check_map(OWN, damaged),
        Err(Refusal::BadMap { idx: 2, entry })
    );
}
