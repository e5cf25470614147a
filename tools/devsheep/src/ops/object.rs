// SPDX-License-Identifier: GPL-2.0

//! Object operations (protocol sheet 8, 9 and 13).
//!
//! Stricter than upstream where upstream would read or write stray memory: ranges must lie within
//! the object, and an operation that writes must bring its payload (protocol sheet 16.3, 7).

use sha1::Digest;
use sha1::Sha1;
use sheepdog_core::proto::arm::ObjectArm;
use sheepdog_core::proto::response::hash_arm;
use sheepdog_core::proto::Flags;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::ObjectKind;
use sheepdog_core::proto::SdResult;

use crate::answer::Answer;
use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::Cluster;
use crate::store::NewObject;
use crate::store::Piece;

/// Objects are hashed in pieces of this size.
const HASH_CHUNK: usize = 1 << 20;

impl Cluster {
    pub(super) fn read_obj(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        let arm = request.header.object_arm();
        let start = out.len();
        let len = request.capacity();
        let result = self.store.read(arm.oid, arm.offset.into(), len, out);
        match result.map_err(SdResult::from) {
            Ok(()) => Ok(Answer::SUCCESS),
            // Upstream sends stray memory along (protocol sheet 1, "Response payload vs result").
            Err(SdResult::NO_OBJ) if self.is_erasure_coded(arm.oid) => {
                out.resize(start + len, 0);
                Ok(Answer::bare(SdResult::NO_OBJ))
            }
            Err(result) => Err(result),
        }
    }

    fn is_erasure_coded(&self, oid: ObjectId) -> bool {
        let shape = self.shape(oid.vid());
        oid.kind() == ObjectKind::Data && shape.is_some_and(|shape| shape.copy_policy != 0)
    }

    /// What has to hold before anything is written.
    fn check_write(&self, request: Request<'_>, arm: &ObjectArm) -> Result<(), SdResult> {
        if !request.header.flags.contains(Flags::WRITE) {
            return Err(SdResult::INVALID_PARMS);
        }
        if arm.oid.kind() == ObjectKind::Data && self.is_snapshot(arm.oid.vid()) {
            return Err(SdResult::READONLY);
        }
        if self.is_halted() {
            return Err(SdResult::HALT);
        }
        Ok(())
    }

    pub(super) fn write_obj(&self, request: Request<'_>) -> Outcome {
        let arm = request.header.object_arm();
        self.check_write(request, &arm)?;
        if arm.oid.kind() == ObjectKind::Inode {
            self.write_inode(arm.oid, arm.offset, request.payload)?;
        } else {
            self.store
                .write(arm.oid, arm.offset.into(), request.payload)?;
        }
        Ok(Answer::SUCCESS)
    }

    pub(super) fn create_obj(&self, request: Request<'_>) -> Outcome {
        let arm = request.header.object_arm();
        self.check_write(request, &arm)?;
        let size = self.new_object_size(arm.oid);
        let whole = arm.offset == 0 && request.payload.len() as u64 == size;
        let cow = request.header.flags.contains(Flags::COW) && !whole;
        let piece = Piece {
            offset: arm.offset.into(),
            data: request.payload,
        };
        let object = NewObject {
            size,
            base: cow.then_some(arm.cow_oid),
            pieces: &[piece],
        };
        self.store.create(arm.oid, object)?;
        Ok(Answer::SUCCESS)
    }

    pub(super) fn remove_obj(&self, request: Request<'_>) -> Outcome {
        self.store.remove(request.header.object_arm().oid)?;
        Ok(Answer::SUCCESS)
    }

    pub(super) fn exist(&self, request: Request<'_>) -> Outcome {
        let oid = request.header.object_arm().oid;
        self.store.size_of(oid)?.ok_or(SdResult::NO_OBJ)?;
        Ok(Answer::SUCCESS)
    }

    /// The ids of the payload that are not there (protocol sheet 3.2).
    pub(super) fn oids_exist(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        let start = out.len();
        for raw in request.payload.chunks(8) {
            let bytes = raw.try_into().map_err(|_| SdResult::INVALID_PARMS)?;
            let oid = ObjectId::from_raw(u64::from_le_bytes(bytes));
            if self.store.size_of(oid)?.is_none() {
                out.extend_from_slice(raw);
            }
        }
        if out.len() == start {
            Ok(Answer::SUCCESS)
        } else {
            Ok(Answer::bare(SdResult::NO_OBJ))
        }
    }

    pub(super) fn get_hash(&self, request: Request<'_>) -> Outcome {
        let oid = request.header.object_arm().oid;
        let size = self.store.size_of(oid)?.ok_or(SdResult::NO_OBJ)?;
        let mut digest = Sha1::new();
        let mut at = 0;
        while at < size {
            let len = usize::try_from(size - at).map_or(HASH_CHUNK, |rest| rest.min(HASH_CHUNK));
            digest.update(self.read_bytes(oid, at, len)?);
            at += len as u64;
        }
        Ok(Answer {
            result: SdResult::SUCCESS,
            arm: hash_arm(digest.finalize().into()),
        })
    }
}
