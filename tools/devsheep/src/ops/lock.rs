// SPDX-License-Identifier: GPL-2.0

//! Locks (protocol sheet 11): advisory, held by the node and not by a connection, lost with the
//! server, and only on clusters that were formatted with USE_LOCK.

use sheepdog_core::proto::LockType;
use sheepdog_core::proto::SdResult;

use crate::answer::Answer;
use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::cluster_flag;
use crate::cluster::Cluster;
use crate::cluster::Lock;
use crate::cluster::Meta;

use super::lookup::Wanted;

fn lock_of(lock_type: u32) -> Option<Lock> {
    if lock_type == LockType::Normal as u32 {
        Some(Lock::Normal)
    } else if lock_type == LockType::Shared as u32 {
        Some(Lock::Shared)
    } else {
        None
    }
}

fn locks(meta: &Meta) -> bool {
    let flags = meta.format.as_ref().map_or(0, |format| format.flags);
    flags & cluster_flag::USE_LOCK != 0
}

impl Cluster {
    pub(super) fn lock_vdi(&self, request: Request<'_>) -> Outcome {
        let wanted = Wanted::from_request(&request)?;
        let mut meta = self.meta.lock();
        let found = self.find(&meta, &wanted)?;
        if !locks(&meta) {
            return found.answer(SdResult::SUCCESS);
        }
        let lock = lock_of(request.header.vdi_arm().lock_type);
        match lock {
            // The only node holds a lock at most once, of either type.
            Some(lock) if !meta.locks.contains_key(&found.vid.raw()) => {
                meta.locks.insert(found.vid.raw(), lock);
                found.answer(SdResult::SUCCESS)
            }
            _ => found.answer(SdResult::VDI_LOCKED),
        }
    }

    /// Anybody may release, and nothing about it fails.
    pub(super) fn release_vdi(&self, request: Request<'_>) -> Outcome {
        let arm = request.header.vdi_arm();
        let mut meta = self.meta.lock();
        if meta.locks.get(&arm.base_vdi_id).copied() == lock_of(arm.lock_type) {
            meta.locks.remove(&arm.base_vdi_id);
        }
        Ok(Answer::SUCCESS)
    }
}
