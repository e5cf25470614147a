// SPDX-License-Identifier: GPL-2.0

//! What a gateway that was given up may still do.
//!
//! A sheep executes what it has read, at any later time, and nothing in the protocol fences it off
//! (protocol sheet 14). So a write that was under way when its connection was reset may take
//! effect long after the same write has gone to another gateway and was acknowledged. By itself
//! that does no harm, the bytes are the same; but it must not come after a *newer* write of the
//! same bytes, and a late CREATE must not come after any newer write to its object, because it
//! replaces the whole object. Two kinds must not even run beside their own double: a CREATE, because
//! the second does nothing but say that all is well (sheet 8.2), and a map write of an inherited entry,
//! because both drop the same reference (sheet 7.3).
//!
//! Each such request leaves a [`Zombie`] here. [`Zombies::blocks`] says whether another request has
//! to wait; a deadline, set when a gateway is there again, says for how long. How long that must be,
//! and what stays unprotected, is argued in Documentation/failover.rst.
//!
//! The storage is the caller's and of fixed size. When it is full everything waits that writes.

use core::ops::DerefMut;

use super::Extent;
use super::Fear;
use super::Step;

/// What a lost request may still change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    /// A range of an object.
    Write,
    /// An object as a whole.
    Create,
    /// The entry of an object in the map.
    UpdateMap,
}

/// A request that may still be executed although nobody waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Zombie {
    /// The ticket of the request that it is a double of, while that has not ended.
    owner: Option<u32>,
    kind: Kind,
    extent: Extent,
    fence: Fence,
}

/// From when on something is taken for dead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Fence {
    /// When its connection was reset.
    lost_ms: u64,
    /// Not before this: with another gateway an older double may live so long.
    least_ms: u64,
    /// `None` while there is no gateway.
    deadline_ms: Option<u64>,
}

/// All zombies of a mapping.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Zombies<S: DerefMut<Target = [Option<Zombie>]>> {
    places: S,
    /// Number of zombies.
    len: usize,
    /// One found no place, and may be anywhere.
    overflow: Option<Fence>,
}

impl Fence {
    /// Of what was lost now, and before under the fence `older`.
    fn new(lost_ms: u64, older: Option<Self>) -> Self {
        Self {
            lost_ms,
            least_ms: older.map_or(0, |older| older.deadline_ms.unwrap_or(older.least_ms)),
            deadline_ms: None,
        }
    }

    fn limit(&mut self, fear: Fear) {
        if self.deadline_ms.is_none() {
            let deadline_ms = self.lost_ms.saturating_add(fear.fence_ms);
            let deadline_ms = deadline_ms.min(fear.until_ms);
            self.deadline_ms = Some(deadline_ms.max(self.least_ms));
        }
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.deadline_ms
            .is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }
}

impl Kind {
    const fn of(step: Step) -> Option<Self> {
        match step {
            Step::Read { .. } => None,
            Step::Write => Some(Self::Write),
            Step::Create { .. } => Some(Self::Create),
            Step::UpdateMap => Some(Self::UpdateMap),
        }
    }
}

/// Whether two ranges of one object have a byte in common. Sums of two numbers below 2^32.
fn overlap(one: &Extent, other: &Extent) -> bool {
    let end = |extent: &Extent| u64::from(extent.offset) + u64::from(extent.len);
    u64::from(one.offset) < end(other) && u64::from(other.offset) < end(one)
}

impl<S: DerefMut<Target = [Option<Zombie>]>> Zombies<S> {
    /// There are none. At most as many as there are `places` are told apart.
    pub fn new(mut places: S) -> Self {
        for place in places.iter_mut() {
            *place = None;
        }
        Self {
            places,
            len: 0,
            overflow: None,
        }
    }

    /// Whether there are none, so that nothing has to wait.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0 && self.overflow.is_none()
    }

    /// Number of zombies.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The request of `ticket` has lost its connection, reset at `lost_ms`, after `step` was sent,
    /// in part or as a whole. Whether it left a zombie: a read leaves none.
    pub fn add(&mut self, ticket: u32, step: Step, extent: &Extent, lost_ms: u64) -> bool {
        let Some(kind) = Kind::of(step) else {
            return false;
        };
        let mut free = None;
        for place in self.places.iter_mut() {
            match place {
                // The same request was lost before.
                Some(known) if known.owner == Some(ticket) && known.kind == kind => {
                    known.fence = Fence::new(lost_ms, Some(known.fence));
                    return true;
                }
                Some(_) => {}
                None if free.is_none() => free = Some(place),
                None => {}
            }
        }
        match free {
            Some(place) => {
                *place = Some(Zombie {
                    owner: Some(ticket),
                    kind,
                    extent: *extent,
                    fence: Fence::new(lost_ms, None),
                });
                self.len += 1;
            }
            None => self.overflow = Some(Fence::new(lost_ms, self.overflow)),
        }
        true
    }

    /// The request of `ticket` has ended; the ticket will be another request's. Its zombies stay.
    pub fn disown(&mut self, ticket: u32) {
        for zombie in self.places.iter_mut().flatten() {
            if zombie.owner == Some(ticket) {
                zombie.owner = None;
            }
        }
    }

    /// Whether `step` on `extent`, for the request of `ticket`, has to wait until a zombie is dead.
    ///
    /// A CREATE waits even for its own double. `inherited` says whether the map entry of the object
    /// is another VDI's: then a map write does, too.
    pub fn blocks(&self, ticket: u32, step: Step, extent: &Extent, inherited: bool) -> bool {
        let Some(kind) = Kind::of(step) else {
            return false;
        };
        if self.is_empty() {
            return false;
        }
        if kind == Kind::UpdateMap && !inherited {
            // 0 or own becomes own: doing it twice at once is harmless (protocol sheet 7.3).
            return false;
        }
        if self.overflow.is_some() {
            return true;
        }
        self.places.iter().flatten().any(|zombie| {
            if zombie.extent.idx != extent.idx {
                return false;
            }
            let others = zombie.owner != Some(ticket);
            match (zombie.kind, kind) {
                (Kind::UpdateMap, Kind::UpdateMap) => true,
                (Kind::UpdateMap, _) | (_, Kind::UpdateMap) => false,
                // Beside its double it would be answered before the object is there: it does
                // nothing when it finds the other's temporary file (protocol sheet 8.2).
                (Kind::Create, Kind::Create) => true,
                (Kind::Write, Kind::Write) => others && overlap(&zombie.extent, extent),
                (Kind::Create, _) | (_, Kind::Create) => others,
            }
        })
    }

    /// There is a gateway again: those that are not yet limited are taken for dead when they are not
    /// to be feared any more, but not before doubles of theirs that were limited earlier.
    pub fn limit(&mut self, fear: Fear) {
        for zombie in self.places.iter_mut().flatten() {
            zombie.fence.limit(fear);
        }
        if let Some(overflow) = &mut self.overflow {
            overflow.limit(fear);
        }
    }

    /// Forgets those whose deadline has come; whether there were any.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let mut any = false;
        for place in self.places.iter_mut() {
            if place.is_some_and(|zombie| zombie.fence.is_over(now_ms)) {
                *place = None;
                self.len = self.len.saturating_sub(1);
                any = true;
            }
        }
        if self.overflow.is_some_and(|all| all.is_over(now_ms)) {
            self.overflow = None;
            any = true;
        }
        any
    }

    /// When the next one is taken for dead, if that is known.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let each = self.places.iter().flatten();
        let each = each.filter_map(|zombie| zombie.fence.deadline_ms);
        each.chain(self.overflow.and_then(|all| all.deadline_ms))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::tests::geometry;
    use super::*;

    const CREATE: Step = Step::Create { parent: None };
    const READ: Step = Step::Read { parent: None };

    fn fear(fence_ms: u64) -> Fear {
        Fear {
            fence_ms,
            until_ms: u64::MAX,
        }
    }

    fn zombies(places: usize) -> Zombies<Vec<Option<Zombie>>> {
        Zombies::new(vec![None; places])
    }

    fn at(offset: u64, len: u32) -> Extent {
        geometry(64 << 20, 22).extent(offset, len).unwrap()
    }

    #[test]
    fn a_lost_write_holds_up_what_overlaps_but_not_itself_and_not_the_rest() {
        let mut zombies = zombies(4);
        assert!(zombies.add(1, Step::Write, &at(4096, 4096), 1000));
        let blocks = |ticket, extent: Extent| zombies.blocks(ticket, Step::Write, &extent, false);
        assert!(!blocks(1, at(4096, 4096)));
        assert!(blocks(2, at(4096, 4096)));
        assert!(blocks(2, at(8191, 1)));
        assert!(blocks(2, at(0, 4097)));
        assert!(!blocks(2, at(0, 4096)));
        assert!(!blocks(2, at(8192, 4096)));
        assert!(!blocks(2, at((4 << 20) + 4096, 4096)));
        assert!(!zombies.blocks(2, READ, &at(4096, 4096), false));
    }

    #[test]
    fn a_lost_create_holds_up_all_that_writes_to_its_object_and_itself() {
        let mut zombies = zombies(4);
        assert!(zombies.add(1, CREATE, &at(0, 4096), 1000));
        let extent = at(1 << 20, 512);
        for (ticket, step, blocked) in [
            (1, Step::Write, false),
            (1, CREATE, true),
            (2, Step::Write, true),
            (2, CREATE, true),
        ] {
            assert_eq!(zombies.blocks(ticket, step, &extent, false), blocked);
        }
        assert!(!zombies.blocks(2, Step::Write, &at(4 << 20, 512), false));
    }

    #[test]
    fn a_lost_map_write_holds_up_another_of_an_inherited_entry_even_its_own() {
        let mut zombies = zombies(4);
        assert!(zombies.add(1, Step::UpdateMap, &at(0, 4096), 1000));
        for ticket in [1, 2] {
            assert!(zombies.blocks(ticket, Step::UpdateMap, &at(8192, 512), true));
            assert!(!zombies.blocks(ticket, Step::UpdateMap, &at(8192, 512), false));
        }
        assert!(!zombies.blocks(2, Step::Write, &at(0, 4096), true));
    }

    #[test]
    fn a_read_leaves_nothing() {
        let mut zombies = zombies(4);
        assert!(!zombies.add(1, READ, &at(0, 4096), 1000));
        assert!(zombies.is_empty());
    }

    #[test]
    fn the_next_request_of_a_ticket_is_another_one() {
        let mut zombies = zombies(4);
        let extent = at(0, 4096);
        zombies.add(1, Step::Write, &extent, 1000);
        zombies.disown(1);
        assert!(zombies.blocks(1, Step::Write, &extent, false));
    }

    #[test]
    fn a_zombie_dies_a_fence_after_its_loss_and_not_without_a_gateway() {
        let mut zombies = zombies(4);
        let extent = at(0, 4096);
        zombies.add(1, Step::Write, &extent, 1000);
        assert!(!zombies.expire(u64::MAX));
        zombies.limit(fear(500));
        assert_eq!(zombies.next_deadline_ms(), Some(1500));
        // Lost once more: it lives again, and longer.
        zombies.add(1, Step::Write, &extent, 2000);
        assert_eq!((zombies.len(), zombies.next_deadline_ms()), (1, None));
        zombies.limit(fear(500));
        assert!(!zombies.expire(2499) && zombies.blocks(2, Step::Write, &extent, false));
        assert!(zombies.expire(2500) && zombies.is_empty());
        assert!(!zombies.blocks(2, Step::Write, &extent, false));
    }

    #[test]
    fn a_zombie_of_a_gateway_that_answers_again_dies_at_the_earlier_of_two_times() {
        for (until_ms, deadline_ms) in [(20_000, 20_000), (60_000, 41_000)] {
            let mut zombies = zombies(4);
            zombies.add(1, Step::Write, &at(0, 4096), 1000);
            zombies.limit(Fear {
                fence_ms: 40_000,
                until_ms,
            });
            assert_eq!(zombies.next_deadline_ms(), Some(deadline_ms));
        }
    }

    #[test]
    fn a_double_with_another_gateway_lives_no_less_for_being_lost_again() {
        for places in [0, 1] {
            let mut zombies = zombies(places);
            let extent = at(0, 4096);
            zombies.add(1, Step::Write, &extent, 1000);
            zombies.limit(fear(40_000));
            zombies.add(1, Step::Write, &extent, 2000);
            assert!(!zombies.expire(41_000));
            zombies.add(1, Step::Write, &extent, 2500);
            zombies.limit(fear(5000));
            assert!(!zombies.expire(40_999) && zombies.blocks(2, Step::Write, &extent, false));
            assert!(zombies.expire(41_000) && zombies.is_empty());
        }
    }

    #[test]
    fn when_there_is_no_place_everything_that_writes_waits() {
        let mut zombies = zombies(1);
        zombies.add(1, Step::Write, &at(0, 512), 1000);
        zombies.add(2, Step::Write, &at(4096, 512), 1100);
        zombies.limit(fear(100));
        let far = at(8 << 20, 512);
        assert!(zombies.blocks(3, Step::Write, &far, false));
        assert!(!zombies.blocks(3, READ, &far, false));
        assert!(zombies.expire(1100));
        assert!(zombies.blocks(3, Step::Write, &far, false));
        assert!(zombies.expire(1200) && zombies.is_empty());
    }
}
