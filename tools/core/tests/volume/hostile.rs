// SPDX-License-Identifier: GPL-2.0

//! Peers that say anything, and requests at every place of every VDI.

use proptest::prelude::*;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::inode::GREF_OFFSET;
use sheepdog_core::proto::inode::HEADER_LEN;
use sheepdog_core::proto::inode::MAP_OFFSET;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::Vid;
use sheepdog_core::volume::reply;
use sheepdog_core::volume::Access;
use sheepdog_core::volume::Ask;
use sheepdog_core::volume::Extent;
use sheepdog_core::volume::Geometry;
use sheepdog_core::volume::Incoming;
use sheepdog_core::volume::Opening;
use sheepdog_core::volume::OutOfRange;
use sheepdog_core::volume::Outcome;
use sheepdog_core::volume::Progress;
use sheepdog_core::volume::Step;
use sheepdog_core::volume::WireId;

use super::sheep::OWN;
use super::sheep::PARENT;

const STEPS: [Step; 6] = [
    Step::Read { parent: None },
    Step::Read {
        parent: Some(PARENT),
    },
    Step::Write,
    Step::Create { parent: None },
    Step::Create {
        parent: Some(PARENT),
    },
    Step::UpdateMap,
];

/// 48 bytes: anything, or something close to a reply to `step` on `extent`.
fn reply_bytes() -> impl Strategy<Value = [u8; 48]> {
    let noise = prop::array::uniform32(any::<u8>());
    let close = (0u8..4, 0u32..3, prop_oneof![0u32..600, any::<u32>()]);
    (noise, prop::bool::ANY, close).prop_map(|(noise, is_close, (opcode, result, len))| {
        let mut bytes = [0; 48];
        bytes[..32].copy_from_slice(&noise);
        bytes[32..].copy_from_slice(&noise[..16]);
        if is_close {
            bytes[1] = opcode;
            bytes[12..16].copy_from_slice(&len.to_le_bytes());
            bytes[16..20].copy_from_slice(&result.to_le_bytes());
        }
        bytes
    })
}

fn inode(size: u64, shift: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    bytes[0] = b'v';
    bytes[field::VDI_SIZE..field::VDI_SIZE + 8].copy_from_slice(&size.to_le_bytes());
    bytes[field::BLOCK_SIZE_SHIFT] = shift;
    bytes[field::VDI_ID..field::VDI_ID + 4].copy_from_slice(&OWN.raw().to_le_bytes());
    bytes
}

prop_compose! {
    fn geometry()(shift in 20u8..=31)(
        // The largest VDI has 2^20 objects.
        size in prop_oneof![
            1..=1u64 << (20 + shift),
            (1u64 << (20 + shift)) - 5000..=1 << (20 + shift),
        ],
        shift in Just(shift),
    ) -> Geometry {
        let bytes = inode(size, shift);
        let header = InodeHeader::from_prefix(&bytes).unwrap();
        header.geometry(OWN).unwrap().into()
    }
}

/// What `reply` says of 48 bytes must be bounded by the request whatever they are.
fn judge(step: Step, extent: &Extent, bytes: &[u8; 48]) {
    let header = ResponseHeader::from_bytes(bytes);
    let Ok(meaning) = reply(step, extent, &header) else {
        return;
    };
    assert_eq!(header.opcode, step.opcode());
    let success = header.result.is_success();
    let taken = match meaning.payload {
        Incoming::None => 0,
        Incoming::Data => {
            assert!(success && matches!(step, Step::Read { .. }));
            extent.len
        }
        Incoming::Discard(len) => {
            assert!(!success && len <= step.data_length(extent));
            len
        }
    };
    assert_eq!(taken, header.data_length, "the stream is out of step");
    let failed = matches!(meaning.outcome, Outcome::Fail(_));
    assert_eq!(failed, !success);
    let creates = matches!(step, Step::Create { .. });
    let next = matches!(meaning.outcome, Outcome::Next(Step::UpdateMap));
    assert_eq!(next, creates && success);
    let created = meaning.outcome == Outcome::Created;
    assert_eq!(created, step == Step::UpdateMap && success);
}

proptest! {
    // Cheap, and one reply in a hundred comes close to a true one.
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn no_reply_leads_beyond_its_request(
        step in prop::sample::select(&STEPS[..]),
        len in 1u32..600,
        bytes in reply_bytes(),
    ) {
        let extent = super::world::geometry(1 << 30).extent(4096, len).unwrap();
        judge(step, &extent, &bytes);
    }
}

proptest! {
    #[test]
    fn every_request_stays_within_its_object_and_its_map_entry(
        geometry in geometry(),
        step in prop::sample::select(&STEPS[..]),
        place in any::<prop::sample::Index>(),
        len in prop_oneof![0u32..70_000, any::<u32>()],
    ) {
        let size = geometry.size_bytes();
        // A place near an end of an object half of the time.
        let offset = place.index(usize::MAX) as u64 % (size + 2);
        let near_end = if len % 2 == 0 { 0 } else { geometry.object_size_bytes() - 512 };
        let offset = offset | near_end;
        let extent = match geometry.extent(offset, len) {
            Ok(extent) => extent,
            Err(OutOfRange::Empty) => {
                prop_assert_eq!(len, 0);
                return Ok(());
            }
            Err(OutOfRange::PastEnd) => {
                prop_assert!(offset + u64::from(len) > size);
                return Ok(());
            }
            Err(OutOfRange::CrossesObject) => {
                let object = geometry.object_size_bytes();
                prop_assert!(offset % object + u64::from(len) > object);
                return Ok(());
            }
        };
        let object = geometry.object_size_bytes();
        prop_assert!(extent.idx < geometry.objects());
        prop_assert_eq!(u64::from(extent.idx) * object + u64::from(extent.offset), offset);
        prop_assert_eq!(extent.len, len);
        let header = RequestHeader::from_bytes(&step.header(&geometry, &extent, 1));
        let arm = header.object_arm();
        let end = u64::from(arm.offset) + u64::from(header.data_length);
        match arm.oid.kind() {
            ObjectKind::Data => {
                prop_assert_eq!(arm.oid.idx(), extent.idx);
                prop_assert!(end <= object);
            }
            ObjectKind::Inode => {
                prop_assert_eq!(arm.offset, MAP_OFFSET + 4 * extent.idx);
                prop_assert!(end <= u64::from(GREF_OFFSET));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn an_id_is_never_zero_and_never_its_own_next(tag in 0u16..1024, generation in any::<u32>()) {
        let id = WireId::new(tag, generation).unwrap();
        prop_assert!(id.raw() != 0 && id.generation() != 0);
        prop_assert!(id.next() != id && id.next().tag() == tag);
        prop_assert_eq!(WireId::from_raw(id.raw()), Some(id));
    }

    /// Whatever is answered, mapping ends after a bounded number of questions, and what it accepts
    /// is what a disk can be made of.
    #[test]
    fn no_answer_maps_what_is_no_disk(
        answers in prop::collection::vec((reply_bytes(), any::<bool>(), 0u8..8), 1..60),
        size in any::<u64>(),
        shift in 15u8..40,
        writable in any::<bool>(),
    ) {
        let access = if writable { Access::ReadWrite } else { Access::ReadOnly };
        let mut opening = Opening::new(access);
        let mut questions = 0;
        for (mut bytes, honest, change) in answers.into_iter().cycle() {
            questions += 1;
            prop_assert!(questions < 60, "mapping does not end");
            let ask = opening.ask();
            let asked = RequestHeader::from_bytes(&opening.request(7));
            let mut payload = inode(size, shift);
            if honest || questions > 50 {
                bytes[1] = asked.opcode.0;
                bytes[12..16].copy_from_slice(&opening.answer_len().to_le_bytes());
                bytes[16..20].fill(0);
                bytes[24..28].copy_from_slice(&OWN.raw().to_le_bytes());
                if change == 0 {
                    payload[field::SNAP_CTIME] = 1;
                }
            }
            if ask == Ask::Check {
                payload.drain(..field::CREATE_TIME);
                payload.truncate(56);
            }
            let answer = ResponseHeader::from_bytes(&bytes);
            let payload = match opening.incoming(&answer) {
                Ok(Incoming::Data) => &payload[..],
                Ok(Incoming::None) => &[],
                Ok(Incoming::Discard(len)) => {
                    prop_assert!(len <= asked.data_length);
                    &[]
                }
                Err(refusal) => {
                    prop_assert!(!refusal.to_string().is_empty());
                    return Ok(());
                }
            };
            match opening.answered(&answer, payload) {
                Progress::Ask => {}
                Progress::Wait { ms } => prop_assert!((1..=1000).contains(&ms)),
                Progress::Open(geometry) => {
                    prop_assert_eq!(geometry.size_bytes(), size);
                    prop_assert!(size >= 512 && (20..=31).contains(&shift));
                    prop_assert!(geometry.objects() <= 1 << 20);
                    prop_assert_eq!(geometry.vid(), Vid::truncate(OWN.raw()));
                    return Ok(());
                }
                Progress::Refused(refusal) => {
                    prop_assert!(!refusal.advice().is_empty());
                    return Ok(());
                }
            }
        }
    }
}
