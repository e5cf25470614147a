// SPDX-License-Identifier: GPL-2.0

//! Deleting VDIs and snapshots (protocol section 3.5).
//!
//! A server deletes a VDI only when its object map is all zero; with live entries it says SUCCESS,
//! hides the VDI and keeps its data. So the map is zeroed first, which gives up the references to
//! the objects, then looked at again, and only then DEL_VDI is sent. The map writes keep the rules
//! of section 7.3: they change every entry in their range that is not zero already, none of them
//! touches header or reference counts, and one is sent when the one before was answered.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use sheepdog_core::proto::inode::{map_offset, MAP_ENTRY_LEN};
use sheepdog_core::proto::limits::MAX_OBJECTS;
use sheepdog_core::proto::{LockType, ObjectId, RequestHeader, Vid};

use crate::client::lookup::{about, changed_meanwhile, payload, snap_id, Lookup};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::name::VdiSpec;

/// Objects that one map write gives up at most, as `dog` has it: the server removes them in the
/// background, at its own pace.
const BATCH_OBJECTS: usize = 128;

/// Entries that one map write covers at most; the server handles each of them, zero or not.
const BATCH_ENTRIES: u32 = 4096;

impl Client {
    /// Deletes `spec`, unless it is another VDI than `confirmed` by now. The VDI's lock is held
    /// meanwhile, on clusters that use locks. `interrupted` ends it between two requests.
    ///
    /// # Errors
    ///
    /// `ENOENT` when there is none, `EBUSY` when it is locked or somebody writes to it, `EINTR`, else
    /// the failure of a request: the VDI may then be there without its data, and the failure says so.
    pub fn delete(
        &mut self,
        spec: &VdiSpec,
        confirmed: Option<Vid>,
        interrupted: &AtomicBool,
    ) -> Outcome<()> {
        let request = RequestHeader::lock_vdi(snap_id(spec), LockType::Normal);
        let reply = self.demand(&request, &payload(spec), &about(spec))?;
        let vid = self.vid_of(&request, &reply)?;
        let mut gone = 0;
        let deleted = if confirmed.is_some_and(|confirmed| confirmed != vid) {
            Err(changed_meanwhile(spec))
        } else {
            self.delete_locked(spec, vid, &mut gone, interrupted)
        };
        let released = self.call(&RequestHeader::release_vdi(vid, LockType::Normal), &[]);
        let Err(mut failure) = deleted else {
            return released.map(|_| ());
        };
        if gone > 0 {
            failure = failure.advise(format!(
                "{gone} of its objects are gone, so {} cannot be used: delete it again",
                about(spec)
            ));
        }
        if released.is_err() {
            failure = failure.advise(format!(
                "on a cluster that uses locks it stays locked: `sheepctl vdi lock release {spec}`"
            ));
        }
        Err(failure)
    }

    /// Counts in `gone` the objects whose references it gives up.
    fn delete_locked(
        &mut self,
        spec: &VdiSpec,
        vid: Vid,
        gone: &mut usize,
        interrupted: &AtomicBool,
    ) -> Outcome<()> {
        let vdi = self.read_found_vdi(vid)?;
        if vdi.is_snapshot() != spec.snapshot.is_some() {
            return Err(changed_meanwhile(spec));
        }
        if !vdi.is_hyper() {
            self.zero_map(vid, gone, interrupted)?;
            if self
                .read_map(vid, MAX_OBJECTS)?
                .iter()
                .any(|entry| *entry != 0)
            {
                return Err(changed_meanwhile(spec));
            }
        }
        if self.lookup(spec)? != Lookup::Found(vid) {
            return Err(changed_meanwhile(spec));
        }
        let request = RequestHeader::del_vdi(snap_id(spec));
        self.demand(&request, &payload(spec), &about(spec))?;
        if self.lookup(spec)? == Lookup::Found(vid) {
            return Err(Failure::new(
                Errno::BUSY,
                format!("{} is still there: somebody writes to it", about(spec)),
            )
            .advise("end its users and delete it again"));
        }
        Ok(())
    }

    fn zero_map(&mut self, vid: Vid, gone: &mut usize, interrupted: &AtomicBool) -> Outcome<()> {
        let map = self.read_map(vid, MAX_OBJECTS)?;
        for batch in zero_batches(&map) {
            let Some(offset) = map_offset(batch.start) else {
                break;
            };
            if interrupted.load(Ordering::Relaxed) {
                return Err(Failure::new(Errno::INTR, "interrupted"));
            }
            let entries = &map[batch.start as usize..batch.end as usize];
            // A write without answer may be carried out, so its objects count before it is sent.
            *gone += entries.iter().filter(|entry| **entry != 0).count();
            let zeros = vec![0; (batch.len() as u32 * MAP_ENTRY_LEN) as usize];
            let request =
                RequestHeader::write_obj(ObjectId::inode(vid), offset, zeros.len() as u32);
            self.demand(&request, &zeros, &format!("object map of VDI {vid}"))
                .map_err(explain_lost_write)?;
        }
        Ok(())
    }
}

/// Two map writes at once drop a reference twice (protocol section 7.3), so a write whose end is not
/// known asks for more care than other requests.
fn explain_lost_write(failure: Failure) -> Failure {
    match failure.errno() {
        Errno::TIMEDOUT | Errno::CONNRESET | Errno::PIPE => failure.advise(
            "wait until the cluster has carried it out before you delete again, a few minutes if \
             its nodes are busy: both at once can destroy objects that other VDIs share",
        ),
        _ => failure,
    }
}

/// The ranges of `map` to overwrite with zeroes: each begins and ends with an entry that is set.
fn zero_batches(map: &[u32]) -> Vec<Range<u32>> {
    let mut batches: Vec<Range<u32>> = Vec::new();
    let mut objects = 0;
    let set = map.iter().zip(0..).filter(|(entry, _)| **entry != 0);
    for (_, idx) in set {
        match batches.last_mut() {
            Some(batch) if objects < BATCH_OBJECTS && idx - batch.start < BATCH_ENTRIES => {
                batch.end = idx + 1;
                objects += 1;
            }
            _ => {
                batches.push(idx..idx + 1);
                objects = 1;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::peer::Peer;
    use sheepdog_core::proto::{Opcode, SdResult};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn another_vdi_than_the_confirmed_one_is_not_deleted() {
        let (tell, told) = channel();
        let peer = Peer::answering(move |request, _| {
            tell.send(request.opcode).unwrap();
            let mut arm = [0; 28];
            arm[4] = 2;
            (SdResult::SUCCESS, arm, Vec::new())
        });
        let spec = VdiSpec::new(b"vm0").unwrap();
        let failure = peer
            .client(Duration::from_secs(30))
            .delete(&spec, Vid::new(1), &AtomicBool::new(false))
            .unwrap_err();
        assert_eq!(failure.errno(), Errno::BUSY);
        let requests: Vec<Opcode> = told.try_iter().collect();
        assert_eq!(requests, [Opcode::LOCK_VDI, Opcode::RELEASE_VDI]);
    }

    #[test]
    fn an_empty_map_needs_no_write() {
        assert_eq!(zero_batches(&[0; 100]), []);
    }

    #[test]
    fn a_batch_gives_up_128_objects() {
        let map = vec![7; 300];
        assert_eq!(zero_batches(&map), [0..128, 128..256, 256..300]);
    }

    #[test]
    fn holes_between_objects_are_part_of_a_batch_but_not_around_it() {
        let mut map = vec![0; 10_000];
        for idx in [10, 20, 4000, 4200, 9999] {
            map[idx] = 7;
        }
        assert_eq!(zero_batches(&map), [10..4001, 4200..4201, 9999..10_000]);
    }

    #[test]
    fn every_set_entry_is_in_exactly_one_batch() {
        let mut state = 1_u32;
        let map: Vec<u32> = (0..MAX_OBJECTS)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                u32::from(state >> 24 < 20)
            })
            .collect();
        let batches = zero_batches(&map);
        assert!(batches.windows(2).all(|pair| pair[0].end <= pair[1].start));
        let mut zeroed = map.clone();
        for batch in &batches {
            let range = batch.start as usize..batch.end as usize;
            let objects = map[range.clone()]
                .iter()
                .filter(|entry| **entry != 0)
                .count();
            assert!(objects <= BATCH_OBJECTS && batch.len() as u32 <= BATCH_ENTRIES);
            zeroed[range].fill(0);
        }
        assert!(zeroed.iter().all(|entry| *entry == 0));
    }
}
