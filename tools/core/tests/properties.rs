// SPDX-License-Identifier: GPL-2.0

//! What holds for any bytes and any values, not only for those that somebody thought of.

use proptest::array::uniform32;
use proptest::collection::vec;
use proptest::prelude::*;
use sheepdog_core::proto::arm::ClusterArm;
use sheepdog_core::proto::arm::ObjectArm;
use sheepdog_core::proto::arm::VdiArm;
use sheepdog_core::proto::inode;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::limits;
use sheepdog_core::proto::name;
use sheepdog_core::proto::InodeHeader;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::VdiName;
use sheepdog_core::proto::Vid;

fn header_bytes() -> impl Strategy<Value = [u8; 48]> {
    (uniform32(any::<u8>()), any::<[u8; 16]>()).prop_map(|(front, back)| {
        let mut bytes = [0; 48];
        bytes[..32].copy_from_slice(&front);
        bytes[32..].copy_from_slice(&back);
        bytes
    })
}

proptest! {
    #[test]
    fn any_48_bytes_are_a_request_header_and_come_back_the_same(bytes in header_bytes()) {
        let request = RequestHeader::from_bytes(&bytes);
        prop_assert_eq!(request.to_bytes(), bytes);
        prop_assert_eq!(request.object_arm().to_bytes(), request.arm);
        prop_assert_eq!(request.vdi_arm().to_bytes(), request.arm);
        prop_assert_eq!(request.cluster_arm().to_bytes(), request.arm);
    }

    #[test]
    fn any_48_bytes_are_a_response_header_and_come_back_the_same(bytes in header_bytes()) {
        let response = ResponseHeader::from_bytes(&bytes);
        prop_assert_eq!(response.to_bytes(), bytes);
        prop_assert_eq!(response.vdi_arm().to_bytes(), response.arm);
    }

    #[test]
    fn an_arm_survives_its_bytes(arm in uniform32(any::<u8>())) {
        prop_assert_eq!(ObjectArm::from_bytes(&arm).to_bytes(), arm);
        prop_assert_eq!(VdiArm::from_bytes(&arm).to_bytes(), arm);
        prop_assert_eq!(ClusterArm::from_bytes(&arm).to_bytes(), arm);
    }

    #[test]
    fn an_object_id_is_made_of_kind_vid_and_index(raw in 0_u32..1 << 24, idx: u32) {
        let vid = Vid::new(raw).unwrap();
        for (oid, kind) in [
            (ObjectId::data(vid, idx), ObjectKind::Data),
            (ObjectId::vmstate(vid, idx), ObjectKind::VmState),
            (ObjectId::attr(vid, idx), ObjectKind::Attr),
            (ObjectId::btree_node(vid, idx), ObjectKind::BtreeNode),
            (ObjectId::data(vid, idx).ledger(), ObjectKind::Ledger),
        ] {
            prop_assert_eq!((oid.kind(), oid.vid(), oid.idx()), (kind, vid, idx));
            prop_assert_eq!(ObjectId::from_raw(oid.raw()), oid);
        }
        prop_assert_eq!(ObjectId::inode(vid).kind(), ObjectKind::Inode);
        prop_assert_eq!(ObjectId::inode(vid).vid(), vid);
    }

    #[test]
    fn every_name_hashes_to_a_usable_vid(bytes in vec(any::<u8>(), 0..300)) {
        let vid = name::hash_start(&bytes);
        prop_assert!(vid.raw() >= 1 && vid.raw() < limits::NR_VIDS);
        match VdiName::new(&bytes) {
            Ok(name) => {
                prop_assert_eq!(name.as_bytes(), &bytes[..]);
                prop_assert_eq!(name::until_nul(name.as_field()), Some(&bytes[..]));
            }
            Err(_) => prop_assert!(
                bytes.is_empty() || bytes.len() > 255 || bytes.contains(&0)
            ),
        }
    }

    #[test]
    fn an_inode_has_a_sound_geometry_or_an_error(
        size in prop_oneof![any::<u64>(), 0_u64..1 << 44],
        shift in prop_oneof![any::<u8>(), 20_u8..=31],
        policy in prop_oneof![9 => Just(0_u8), 1 => any::<u8>()],
        raw in 1_u32..1 << 24,
        noise in vec((0_usize..inode::HEADER_LEN, any::<u8>()), 0..4),
    ) {
        let mut bytes = vec![0; inode::HEADER_LEN];
        bytes[0] = b'v';
        bytes[field::VDI_SIZE..][..8].copy_from_slice(&size.to_le_bytes());
        bytes[field::BLOCK_SIZE_SHIFT] = shift;
        bytes[field::STORE_POLICY] = policy;
        bytes[field::VDI_ID..][..4].copy_from_slice(&raw.to_le_bytes());
        for (at, byte) in noise {
            bytes[at] = byte;
        }
        let header = InodeHeader::from_prefix(&bytes).unwrap();
        if let Ok(geometry) = header.geometry(Vid::new(raw).unwrap()) {
            let capacity = u64::from(geometry.object_count()) * u64::from(geometry.object_size());
            prop_assert!(capacity >= geometry.size_bytes());
            prop_assert!(capacity - geometry.size_bytes() < u64::from(geometry.object_size()));
            prop_assert!(geometry.object_count() <= limits::MAX_OBJECTS);
            prop_assert!(geometry.inode_bytes() <= inode::GREF_OFFSET);
            prop_assert_eq!(header.store_policy(), 0);
        }
    }
}
