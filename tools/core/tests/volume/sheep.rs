// SPDX-License-Identifier: GPL-2.0

//! A model of a cluster: objects made of a few cells, requests executed in any order, and every
//! rule that a client must keep checked when a request arrives (protocol sheet 7.3, 8 and 9).

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::hash::Hasher;

use sheepdog_core::proto::inode::GREF_OFFSET;
use sheepdog_core::proto::inode::MAP_OFFSET;
use sheepdog_core::proto::response::REPLY_ARM_LEN;
use sheepdog_core::proto::Flags;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::ResponseHeader;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;
use sheepdog_core::volume::WireId;

use super::abandoned::Abandoned;
use super::history::Cells;
use super::history::Content;

/// Cells in an object.
pub const CELLS: usize = 4;
/// Bytes in a cell.
pub const CELL_BYTES: u32 = (1 << 20) / CELLS as u32;

pub const OWN: Vid = Vid::truncate(0x7c2b25);
pub const PARENT: Vid = Vid::truncate(0x7c2b24);

/// What follows a request's header.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Body {
    None,
    /// The same content for every cell of the range.
    Data(Content),
    MapEntry([u8; 4]),
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    Works,
    Fails {
        result: u32,
        /// Whether it has its effect all the same.
        applied: bool,
        /// Whether the reply carries bytes.
        stray: bool,
    },
}

/// A reply, and the contents that it carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub header: [u8; 48],
    pub contents: Vec<Content>,
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct Sheep {
    pub map: Vec<u32>,
    pub objects: BTreeMap<ObjectId, [Content; CELLS]>,
    /// Requests that have arrived, by their id.
    pub received: BTreeMap<u32, (RequestHeader, Body)>,
    /// Requests that were executed, and their replies, by their id.
    pub answers: BTreeMap<u32, (RequestHeader, Answer)>,
    /// Requests of lost connections that may still be executed, by their id.
    pub abandoned: BTreeMap<u32, Abandoned>,
}

pub fn is_map_write(request: &RequestHeader) -> bool {
    request.object_arm().oid.kind() == ObjectKind::Inode && request.opcode == Opcode::WRITE_OBJ
}

pub fn map_index(request: &RequestHeader) -> usize {
    ((request.object_arm().offset - MAP_OFFSET) / 4) as usize
}

fn cells(request: &RequestHeader) -> Cells {
    let arm = request.object_arm();
    let end = arm.offset.checked_add(request.data_length);
    let inside = end.is_some_and(|end| end <= 1 << 20);
    assert!(inside && request.data_length > 0, "beyond the object");
    assert_eq!(arm.offset % CELL_BYTES, 0);
    assert_eq!(request.data_length % CELL_BYTES, 0);
    Cells {
        object: arm.oid.idx(),
        first: (arm.offset / CELL_BYTES) as usize,
        count: (request.data_length / CELL_BYTES) as usize,
    }
}

impl Sheep {
    /// A VDI whose objects are as `map` says; those that exist hold `initial`.
    pub fn new(map: Vec<u32>, initial: &[Content]) -> Self {
        let mut objects = BTreeMap::new();
        for (idx, entry) in (0..).zip(&map) {
            if *entry != 0 {
                let oid = ObjectId::data(Vid::truncate(*entry), idx);
                objects.insert(oid, [initial[idx as usize]; CELLS]);
            }
        }
        Self {
            map,
            objects,
            received: BTreeMap::new(),
            answers: BTreeMap::new(),
            abandoned: BTreeMap::new(),
        }
    }

    /// Everything that the future depends on. A live request is known by its ticket and its step.
    pub fn digest(&self, into: &mut impl Hasher) {
        let tag = |id: &u32| WireId::from_raw(*id).expect("an id").tag();
        let received: BTreeSet<_> = self.received.keys().map(tag).collect();
        let answers = self.answers.iter().map(|(id, (_, answer))| {
            let result = ResponseHeader::from_bytes(&answer.header).result.0;
            (tag(id), (result, &answer.contents))
        });
        let answers: BTreeMap<_, _> = answers.collect();
        let abandoned = self.abandoned.iter();
        let abandoned: BTreeSet<_> = abandoned.map(|(id, one)| (tag(id), one.key())).collect();
        (&self.map, &self.objects).hash(into);
        (received, answers, abandoned).hash(into);
    }

    /// Requests whose replies the client does not have.
    fn in_flight(&self) -> impl Iterator<Item = &RequestHeader> {
        let received = self.received.values().map(|(request, _)| request);
        received.chain(self.answers.values().map(|(request, _)| request))
    }

    /// A request arrives. Panics when the client breaks a rule.
    pub fn receive(&mut self, header: &[u8; 48], body: Body) {
        let request = RequestHeader::from_bytes(header);
        let arm = request.object_arm();
        assert!(request.proto_ver < 2, "a server could trim the reply");
        assert_eq!((arm.copies, arm.copy_policy), (0, 0));
        let writes = request.flags.contains(Flags::WRITE);
        assert_eq!(writes, request.opcode != Opcode::READ_OBJ, "flag WRITE");
        assert_eq!(
            writes,
            body != Body::None,
            "a payload that flag WRITE does not announce"
        );
        if is_map_write(&request) {
            self.check_map_write(&request, &body);
        } else {
            self.check_data(&request, arm.oid, &body);
        }
        self.check_abandoned(&request);
        let twin = self.in_flight().any(|other| other.id == request.id);
        assert!(!twin, "two requests with one id");
        self.received.insert(request.id, (request, body));
    }

    fn check_map_write(&self, request: &RequestHeader, body: &Body) {
        let arm = request.object_arm();
        assert_eq!(arm.oid, ObjectId::inode(OWN));
        assert!(
            (MAP_OFFSET..GREF_OFFSET).contains(&arm.offset),
            "outside the map"
        );
        assert_eq!((arm.offset % 4, request.data_length), (0, 4));
        let entry = Body::MapEntry(OWN.raw().to_le_bytes());
        assert_eq!(*body, entry, "an entry other than the own vid");
        let idx = map_index(request);
        let own = ObjectId::data(OWN, idx as u32);
        assert!(
            self.objects.contains_key(&own),
            "an entry for a missing object"
        );
        for other in self.in_flight() {
            let twin = is_map_write(other) && map_index(other) == idx;
            assert!(!twin, "two map writes of one entry in flight");
            let creates = other.opcode == Opcode::CREATE_AND_WRITE_OBJ;
            let early = creates && other.object_arm().oid == own;
            assert!(!early, "a map write before the CREATE's reply");
        }
    }

    fn check_data(&self, request: &RequestHeader, oid: ObjectId, body: &Body) {
        assert_eq!(oid.kind(), ObjectKind::Data);
        assert!(!matches!(body, Body::MapEntry(_)));
        let _ = cells(request);
        let creates = request.opcode == Opcode::CREATE_AND_WRITE_OBJ;
        if !creates {
            assert!(self.objects.contains_key(&oid), "a missing object");
        }
        if request.flags.contains(Flags::WRITE) {
            assert_eq!(oid.vid(), OWN, "a write to another VDI's object");
        }
        for other in self
            .in_flight()
            .filter(|other| other.object_arm().oid == oid)
        {
            let other_creates = other.opcode == Opcode::CREATE_AND_WRITE_OBJ;
            assert!(
                !(creates && other_creates),
                "two CREATEs of one object in flight"
            );
            let both_write =
                request.flags.contains(Flags::WRITE) && other.opcode != Opcode::READ_OBJ;
            let beside = (creates || other_creates) && both_write;
            assert!(!beside, "a write beside a CREATE of the same object");
        }
    }

    /// Executes the request `id`; its reply can be delivered from here on.
    pub fn execute(&mut self, id: u32, fate: Fate) {
        let (request, body) = self.received.remove(&id).expect("a request that arrived");
        let (result, applied, stray) = match fate {
            Fate::Works => (0, true, false),
            Fate::Fails {
                result,
                applied,
                stray,
            } => (result, applied, stray),
        };
        let mut contents = Vec::new();
        if applied {
            contents = self.apply(&request, &body);
        }
        let data_length = match fate {
            Fate::Works if request.opcode == Opcode::READ_OBJ => request.data_length,
            Fate::Fails { .. } if stray => request.data_length,
            _ => 0,
        };
        let header = ResponseHeader {
            proto_ver: 0,
            opcode: request.opcode,
            flags: 0,
            epoch: 1,
            id,
            data_length,
            result: SdResult(result),
            arm: [0; REPLY_ARM_LEN],
        };
        let header = header.to_bytes();
        self.answers
            .insert(id, (request, Answer { header, contents }));
    }

    pub fn apply(&mut self, request: &RequestHeader, body: &Body) -> Vec<Content> {
        let arm = request.object_arm();
        if is_map_write(request) {
            self.map[map_index(request)] = OWN.raw();
            return Vec::new();
        }
        let range = cells(request).iter();
        if request.opcode == Opcode::READ_OBJ {
            return self.objects[&arm.oid][range].to_vec();
        }
        if request.opcode == Opcode::CREATE_AND_WRITE_OBJ {
            let fresh = if request.flags.contains(Flags::COW) {
                self.objects[&arm.cow_oid]
            } else {
                [0; CELLS]
            };
            self.objects.insert(arm.oid, fresh);
        }
        let Body::Data(content) = body else {
            panic!("a write without data");
        };
        let object = self.objects.get_mut(&arm.oid).expect("an object");
        object[range].fill(*content);
        Vec::new()
    }

    /// The reply to the request `id` leaves the cluster, or is lost.
    pub fn take_answer(&mut self, id: u32) -> Answer {
        self.answers.remove(&id).expect("a reply").1
    }

    /// What somebody who opens the VDI now finds in a cell.
    pub fn durable(&self, object: u32, cell: usize) -> Content {
        let entry = self.map[object as usize];
        if entry == 0 {
            return 0;
        }
        let oid = ObjectId::data(Vid::truncate(entry), object);
        let contents = self.objects.get(&oid);
        contents.expect("the map names a missing object")[cell]
    }
}
