// SPDX-License-Identifier: GPL-2.0

//! VDIs, their objects, snapshots and locks, through the eyes of a client.

mod common;

use common::lookup;
use common::Client;
use common::Process;
use sheepdog_core::proto::inode;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::Flags;
use sheepdog_core::proto::LockType;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;

const PAGE: u32 = 4096;

fn set_map(client: &mut Client, vid: Vid, idx: u32, owner: Vid) {
    let offset = inode::map_offset(idx).unwrap();
    let request = RequestHeader::write_obj(ObjectId::inode(vid), offset, 4);
    let result = client.result(request, &owner.raw().to_le_bytes());
    assert_eq!(result, SdResult::SUCCESS);
}

fn create(client: &mut Client, vid: Vid, idx: u32, byte: u8) {
    let request = RequestHeader::create_obj(ObjectId::data(vid, idx), 0, PAGE);
    let result = client.result(request, &[byte; PAGE as usize]);
    assert_eq!(result, SdResult::SUCCESS);
    set_map(client, vid, idx, vid);
}

fn read(client: &mut Client, oid: ObjectId) -> Result<Vec<u8>, SdResult> {
    let (header, payload) = client.call(RequestHeader::read_obj(oid, 0, PAGE), &[]);
    if header.result.is_success() {
        Ok(payload)
    } else {
        assert!(payload.is_empty());
        Err(header.result)
    }
}

fn map_entry(client: &mut Client, vid: Vid, idx: u32) -> u32 {
    let offset = inode::map_offset(idx).unwrap();
    let request = RequestHeader::read_obj(ObjectId::inode(vid), offset, 4);
    let (_, payload) = client.call(request, &[]);
    u32::from_le_bytes(payload.try_into().unwrap())
}

fn find(client: &mut Client, name: &str, tag: &str, snapid: u32) -> Result<u32, SdResult> {
    let (header, _) = client.call(RequestHeader::get_vdi_info(snapid), &lookup(name, tag));
    if header.result.is_success() {
        Ok(header.vdi_arm().vdi_id)
    } else {
        Err(header.result)
    }
}

/// A snapshot with a tag, as `dog` makes one. Returns the new working VDI.
fn snapshot(client: &mut Client, name: &str, vid: Vid, tag: &str) -> Vid {
    let mut field = [0; 256];
    field[..tag.len()].copy_from_slice(tag.as_bytes());
    let request = RequestHeader::write_obj(ObjectId::inode(vid), field::TAG as u32, 256);
    assert_eq!(client.result(request, &field), SdResult::SUCCESS);
    let (result, new) = client.new_vdi(name, vid, 1);
    assert_eq!(result, SdResult::SUCCESS);
    new
}

#[test]
fn a_new_vdi_is_found_by_name_and_only_once() {
    let process = Process::start(&[]);
    let mut client = process.client();
    let vid = client.create_vdi("test");
    assert_eq!(vid.raw(), 0x7c2b25);
    assert_eq!(find(&mut client, "test", "", 0), Ok(0x7c2b25));
    assert_eq!(find(&mut client, "other", "", 0), Err(SdResult::NO_VDI));
    assert_eq!(find(&mut client, "test", "tag", 0), Err(SdResult::NO_TAG));
    assert_eq!(client.new_vdi("test", Vid::NONE, 0).0, SdResult::VDI_EXIST);
}

#[test]
fn create_replaces_the_whole_object() {
    let process = Process::start(&[]);
    let mut client = process.client();
    let vid = client.create_vdi("test");
    let oid = ObjectId::data(vid, 0);
    create(&mut client, vid, 0, 7);
    let again = RequestHeader::create_obj(oid, 512, 0);
    assert_eq!(client.result(again, &[]), SdResult::SUCCESS);
    assert_eq!(read(&mut client, oid), Ok(vec![0; PAGE as usize]));
}

#[test]
fn a_snapshot_refuses_data_writes_and_its_child_copies_on_write() {
    let process = Process::start(&[]);
    let mut client = process.client();
    let old = client.create_vdi("test");
    create(&mut client, old, 3, 7);
    let new = snapshot(&mut client, "test", old, "one");
    assert_eq!(find(&mut client, "test", "", 0), Ok(new.raw()));
    assert_eq!(find(&mut client, "test", "one", 0), Ok(old.raw()));
    assert_eq!(find(&mut client, "test", "", 1), Ok(old.raw()));
    assert_eq!(map_entry(&mut client, new, 3), old.raw());

    let (parent, child) = (ObjectId::data(old, 3), ObjectId::data(new, 3));
    let write = RequestHeader::write_obj(parent, 0, 1);
    assert_eq!(client.result(write, &[9]), SdResult::READONLY);
    let cow = RequestHeader::create_cow(child, parent, 0, 1);
    assert_eq!(client.result(cow, &[9]), SdResult::SUCCESS);
    set_map(&mut client, new, 3, new);
    let mut expected = vec![7; PAGE as usize];
    assert_eq!(read(&mut client, parent), Ok(expected.clone()));
    expected[0] = 9;
    assert_eq!(read(&mut client, child), Ok(expected));
}

#[test]
fn an_object_goes_when_the_last_map_forgets_it() {
    let process = Process::start(&[]);
    let mut client = process.client();
    let old = client.create_vdi("test");
    create(&mut client, old, 0, 7);
    let new = snapshot(&mut client, "test", old, "one");
    let oid = ObjectId::data(old, 0);
    set_map(&mut client, new, 0, Vid::NONE);
    set_map(&mut client, new, 0, Vid::NONE);
    assert!(
        read(&mut client, oid).is_ok(),
        "the snapshot still needs it"
    );
    let delete = RequestHeader::del_vdi(0);
    assert_eq!(
        client.result(delete, &lookup("test", "one")),
        SdResult::SUCCESS
    );
    assert_eq!(read(&mut client, oid), Err(SdResult::NO_OBJ));
}

#[test]
fn a_discarded_index_can_be_created_again_at_once() {
    let process = Process::start(&[]);
    let mut client = process.client();
    let vid = client.create_vdi("test");
    let oid = ObjectId::data(vid, 0);
    for round in 0..50 {
        create(&mut client, vid, 0, round);
        assert_eq!(read(&mut client, oid), Ok(vec![round; PAGE as usize]));
        let discard = RequestHeader::discard_obj(oid);
        assert_eq!(client.result(discard, &[]), SdResult::SUCCESS);
        assert_eq!(map_entry(&mut client, vid, 0), 0);
        assert_eq!(read(&mut client, oid), Err(SdResult::NO_OBJ));
    }
}

#[test]
fn a_working_vdi_is_no_base_for_a_clone_but_a_snapshot_is() {
    let process = Process::start(&[]);
    let mut client = process.client();
    let old = client.create_vdi("test");
    create(&mut client, old, 0, 7);
    assert_eq!(client.new_vdi("clone", old, 0).0, SdResult::INVALID_PARMS);
    let unknown = Vid::truncate(0x777);
    assert_eq!(
        client.new_vdi("clone", unknown, 0).0,
        SdResult::BASE_VDI_READ
    );
    snapshot(&mut client, "test", old, "one");
    let (result, clone) = client.new_vdi("clone", old, 0);
    assert_eq!(result, SdResult::SUCCESS);
    assert_eq!(map_entry(&mut client, clone, 0), old.raw());
}

#[test]
fn deletion_is_real_unless_it_shall_be_as_upstream_has_it() {
    for (args, gone) in [(&[][..], true), (&["--upstream-delete"][..], false)] {
        let process = Process::start(args);
        let mut client = process.client();
        let vid = client.create_vdi("test");
        create(&mut client, vid, 0, 7);
        let delete = RequestHeader::del_vdi(0);
        assert_eq!(
            client.result(delete, &lookup("test", "")),
            SdResult::SUCCESS
        );
        assert_eq!(find(&mut client, "test", "", 0).is_err(), gone);
        assert_eq!(read(&mut client, ObjectId::data(vid, 0)).is_err(), gone);
        let (_, deleted) = client.call(RequestHeader::read_del_vdis(), &[]);
        let raw = vid.raw() as usize;
        assert_eq!((deleted[raw / 8] >> (raw % 8)) & 1, 1);
        let next = client.new_vdi("test", Vid::NONE, 0);
        if gone {
            assert_eq!(next, (SdResult::SUCCESS, Vid::truncate(vid.raw() + 1)));
        } else {
            assert_eq!(next.0, SdResult::VDI_EXIST);
        }
    }
}

#[test]
fn recycled_ids_come_back_when_nobody_of_the_family_is_left() {
    let process = Process::start(&["--recycle-vid"]);
    let mut client = process.client();
    let old = client.create_vdi("test");
    assert_eq!(old.raw(), 1);
    let new = snapshot(&mut client, "test", old, "one");
    let delete = RequestHeader::del_vdi(0);
    assert_eq!(
        client.result(delete, &lookup("test", "")),
        SdResult::SUCCESS
    );
    assert_eq!(client.create_vdi("other").raw(), new.raw() + 1);
    assert_eq!(
        client.result(delete, &lookup("test", "one")),
        SdResult::SUCCESS
    );
    assert_eq!(client.create_vdi("third").raw(), 1);
}

#[test]
fn a_lock_excludes_everybody_until_anybody_releases_it() {
    let process = Process::start(&["--use-lock"]);
    let mut client = process.client();
    let vid = client.create_vdi("test");
    let lock = RequestHeader::lock_vdi(0, LockType::Normal);
    assert_eq!(client.result(lock, &lookup("test", "")), SdResult::SUCCESS);
    let mut other = process.client();
    let (refused, _) = other.call(lock, &lookup("test", ""));
    assert_eq!(refused.result, SdResult::VDI_LOCKED);
    assert_eq!(refused.vdi_arm().vdi_id, vid.raw());
    let release = RequestHeader::release_vdi(vid, LockType::Normal);
    assert_eq!(other.result(release, &[]), SdResult::SUCCESS);
    assert_eq!(other.result(lock, &lookup("test", "")), SdResult::SUCCESS);
}

#[test]
fn what_upstream_would_take_from_stray_memory_is_refused() {
    let process = Process::start(&[]);
    let mut client = process.client();
    let vid = client.create_vdi("test");
    create(&mut client, vid, 0, 7);
    let oid = ObjectId::data(vid, 0);
    let end = 4 << 20;
    for (offset, len) in [(end, 1), (end - 1, 2), (u32::MAX, 1)] {
        let data = vec![0; len as usize];
        let invalid = SdResult::INVALID_PARMS;
        assert_eq!(
            client.result(RequestHeader::read_obj(oid, offset, len), &[]),
            invalid
        );
        assert_eq!(
            client.result(RequestHeader::write_obj(oid, offset, len), &data),
            invalid
        );
        assert_eq!(
            client.result(RequestHeader::create_obj(oid, offset, len), &data),
            invalid
        );
    }
    let mut bare = RequestHeader::write_obj(oid, 0, 512);
    bare.flags = Flags::NONE;
    assert_eq!(client.result(bare, &[]), SdResult::INVALID_PARMS);
    let info = RequestHeader::internal(Opcode::CLUSTER_INFO, 0);
    assert_eq!(client.result(info, &[]), SdResult::BUFFER_SMALL);
    let unknown = RequestHeader::internal(Opcode(0xff), 0);
    assert_eq!(client.result(unknown, &[]), SdResult::INVALID_PARMS);
    assert_eq!(read(&mut client, oid), Ok(vec![7; PAGE as usize]));
}

#[test]
fn a_full_store_says_so() {
    let process = Process::start(&["--memory-limit", "1000000"]);
    let mut client = process.client();
    let vid = client.create_vdi("test");
    let request = RequestHeader::create_obj(ObjectId::data(vid, 0), 0, 1 << 20);
    assert_eq!(
        client.result(request, &vec![1; 1 << 20]),
        SdResult::NO_SPACE
    );
    assert_eq!(
        read(&mut client, ObjectId::data(vid, 0)),
        Err(SdResult::NO_OBJ)
    );
}
