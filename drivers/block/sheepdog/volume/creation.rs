// SPDX-License-Identifier: GPL-2.0

//! Who creates an object, and who waits for it.
//!
//! A CREATE replaces the whole object and two map writes of one entry at once lose track of the
//! old object (protocol sheet 8.2 and 7.3), so an object has at most one creator: the request that
//! sends CREATE and then the map update. Every other write to that object waits until the creator
//! has ended, whether well or not, and is then decided anew: it writes in place if the object is
//! there, and creates it otherwise. Requests for other objects are not held up.
//!
//! Tickets come in (one number per request, below the number of nodes), and out goes whether a
//! request may start or whom a creator's end releases, first come first served. The storage is the
//! caller's, one [`Node`] per ticket.
//!
//! Nothing here looks at the object map. The caller reads the entry under the lock under which it
//! calls [`Creations::begin`].

use core::fmt;
use core::ops::DerefMut;

use super::nodes::Creator;
use super::nodes::Link;
use super::nodes::Node;
use super::nodes::Nodes;
use super::nodes::Role;

/// What a request that wants to create may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Begin {
    /// It is the creator now: send the CREATE. [`Creations::finish`] must follow.
    Start,
    /// Another one creates the object; send nothing. The ticket comes out of [`Waiters::pop`].
    Wait,
}

/// What a caller did wrong. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misuse {
    /// There is no node for the ticket.
    NoSuchTicket,
    /// The ticket creates or waits already.
    InUse,
    /// The ticket creates nothing.
    NotCreating,
}

/// Those whom a creator's end has released, in the order in which they came.
///
/// Everyone has to be popped: a request that is not would never end.
#[derive(Debug)]
#[must_use]
pub struct Waiters {
    next: Link,
}

/// Who creates what and who waits for whom.
///
/// # Invariants
///
/// - Every creator is in the chain of its object's bucket, once, and is the only one of its object.
/// - Every waiter that is not released is in the list of one creator, once.
/// - Every waiter that is released is in the list of one [`Waiters`], once.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Creations<S: DerefMut<Target = [Node]>> {
    nodes: Nodes<S>,
}

impl<S: DerefMut<Target = [Node]>> Creations<S> {
    /// Nobody creates anything. Tickets are the numbers below the length of `nodes`, whatever is in
    /// them.
    pub fn new(nodes: S) -> Self {
        let nodes = Nodes::new(nodes);
        Self { nodes }
    }

    /// `ticket` wants to create the object `idx`, for a write that found its map entry to be no
    /// own one *under this lock*. Expected constant time.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSuchTicket`], or [`Misuse::InUse`] when the ticket has begun and was neither
    /// finished nor popped since.
    pub fn begin(&mut self, ticket: u32, idx: u32) -> Result<Begin, Misuse> {
        if self.nodes.role(ticket).ok_or(Misuse::NoSuchTicket)? != Role::Idle {
            return Err(Misuse::InUse);
        }
        if let Some((creator_ticket, creator)) = self.nodes.find(idx) {
            self.wait(ticket, creator_ticket, creator);
            return Ok(Begin::Wait);
        }
        self.nodes.insert(ticket, idx);
        Ok(Begin::Start)
    }

    /// The creator `ticket` has ended: its map update was answered, or it has failed. Who waited
    /// for it is released and nobody creates its object. Expected constant time, plus the number
    /// of those released.
    ///
    /// After success the map entry in memory must be own before the lock is dropped.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSuchTicket`] or [`Misuse::NotCreating`].
    pub fn finish(&mut self, ticket: u32) -> Result<Waiters, Misuse> {
        let role = self.nodes.role(ticket).ok_or(Misuse::NoSuchTicket)?;
        let Role::Creator(creator) = role else {
            return Err(Misuse::NotCreating);
        };
        self.nodes.remove(ticket, creator);
        let first = creator.waiting.map(|(first, _)| first);
        self.release(first);
        Ok(Waiters { next: first })
    }

    /// Whether nobody creates or waits, for checks when a mapping ends. Takes time in proportion to
    /// the number of tickets.
    pub fn is_idle(&self) -> bool {
        self.nodes.are_idle()
    }

    /// Puts `ticket` at the end of the creator's list.
    fn wait(&mut self, ticket: u32, creator_ticket: u32, mut creator: Creator) {
        let released = false;
        self.nodes.set_role(
            ticket,
            Role::Waiter {
                next: None,
                released,
            },
        );
        let first = match creator.waiting {
            None => ticket,
            Some((first, last)) => {
                let next = Some(ticket);
                self.nodes.set_role(last, Role::Waiter { next, released });
                first
            }
        };
        creator.waiting = Some((first, ticket));
        self.nodes.set_role(creator_ticket, Role::Creator(creator));
    }

    /// Marks all from `link` on as released.
    fn release(&mut self, mut link: Link) {
        let released = true;
        while let Some(ticket) = link {
            let Some(Role::Waiter { next, .. }) = self.nodes.role(ticket) else {
                return;
            };
            self.nodes.set_role(ticket, Role::Waiter { next, released });
            link = next;
        }
    }
}

impl Waiters {
    /// The ticket that has waited longest, `None` when all are out. `creations` must be the one
    /// that made this list, else nothing comes out; the lock may have been dropped in between.
    ///
    /// The ticket is free again: its request is decided anew, from its map entry on, and may
    /// [begin](Creations::begin) at once.
    pub fn pop<S>(&mut self, creations: &mut Creations<S>) -> Option<u32>
    where
        S: DerefMut<Target = [Node]>,
    {
        let ticket = self.next?;
        let Some(Role::Waiter {
            next,
            released: true,
        }) = creations.nodes.role(ticket)
        else {
            return None;
        };
        creations.nodes.set_role(ticket, Role::Idle);
        self.next = next;
        Some(ticket)
    }

    /// Whether all are out.
    pub const fn is_empty(&self) -> bool {
        self.next.is_none()
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchTicket => "no such ticket",
            Self::InUse => "the ticket creates or waits already",
            Self::NotCreating => "the ticket creates nothing",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creations(nodes: usize) -> Creations<Vec<Node>> {
        Creations::new(vec![Node::IDLE; nodes])
    }

    fn pop_all(waiters: &mut Waiters, creations: &mut Creations<Vec<Node>>) -> Vec<u32> {
        core::iter::from_fn(|| waiters.pop(creations)).collect()
    }

    #[test]
    fn one_creates_the_others_wait_and_come_out_in_order() {
        let mut creations = creations(8);
        assert_eq!(creations.begin(3, 42), Ok(Begin::Start));
        for ticket in [5, 0, 7] {
            assert_eq!(creations.begin(ticket, 42), Ok(Begin::Wait));
        }
        let mut waiters = creations.finish(3).unwrap();
        assert_eq!(pop_all(&mut waiters, &mut creations), [5, 0, 7]);
        assert!(waiters.is_empty() && creations.is_idle());
    }

    #[test]
    fn other_objects_are_not_held_up_wherever_they_hash() {
        let mut creations = creations(4);
        for ticket in 0..4 {
            assert_eq!(creations.begin(ticket, 1000 + ticket), Ok(Begin::Start));
        }
        for ticket in [2, 0, 3, 1] {
            assert!(creations.finish(ticket).unwrap().is_empty());
        }
        assert!(creations.is_idle());
    }

    #[test]
    fn the_first_released_creates_again_and_the_rest_wait_for_it() {
        let mut creations = creations(4);
        for ticket in 0..4 {
            let _ = creations.begin(ticket, 9).unwrap();
        }
        let mut waiters = creations.finish(0).unwrap();
        let mut begun = Vec::new();
        while let Some(ticket) = waiters.pop(&mut creations) {
            begun.push(creations.begin(ticket, 9).unwrap());
        }
        assert_eq!(begun, [Begin::Start, Begin::Wait, Begin::Wait]);
        let mut waiters = creations.finish(1).unwrap();
        assert_eq!(pop_all(&mut waiters, &mut creations), [2, 3]);
    }

    #[test]
    fn a_newcomer_between_two_pops_disturbs_nothing() {
        let mut creations = creations(4);
        for ticket in 0..3 {
            let _ = creations.begin(ticket, 9).unwrap();
        }
        let mut waiters = creations.finish(0).unwrap();
        assert_eq!(waiters.pop(&mut creations), Some(1));
        assert_eq!(creations.begin(0, 9), Ok(Begin::Start));
        assert_eq!(creations.begin(1, 9), Ok(Begin::Wait));
        assert_eq!(waiters.pop(&mut creations), Some(2));
        assert_eq!(waiters.pop(&mut creations), None);
        let mut waiters = creations.finish(0).unwrap();
        assert_eq!(pop_all(&mut waiters, &mut creations), [1]);
    }

    #[test]
    fn misuse_is_told_and_changes_nothing() {
        let mut creations = creations(3);
        assert_eq!(creations.begin(3, 0), Err(Misuse::NoSuchTicket));
        assert_eq!(creations.begin(u32::MAX, 0), Err(Misuse::NoSuchTicket));
        assert_eq!(creations.finish(0).err(), Some(Misuse::NotCreating));
        assert_eq!(creations.finish(3).err(), Some(Misuse::NoSuchTicket));
        let _ = creations.begin(0, 5).unwrap();
        let _ = creations.begin(1, 5).unwrap();
        for ticket in [0, 1] {
            assert_eq!(creations.begin(ticket, 6), Err(Misuse::InUse));
        }
        assert_eq!(creations.finish(1).err(), Some(Misuse::NotCreating));
        let mut waiters = creations.finish(0).unwrap();
        assert_eq!(creations.begin(1, 5), Err(Misuse::InUse));
        assert_eq!(creations.finish(0).err(), Some(Misuse::NotCreating));
        let mut other = Creations::new(vec![Node::IDLE; 3]);
        let _ = other.begin(2, 5).unwrap();
        let _ = other.begin(1, 5).unwrap();
        assert_eq!(waiters.pop(&mut other), None);
        assert_eq!(pop_all(&mut waiters, &mut creations), [1]);
        let mut none = Creations::new(Vec::new());
        assert_eq!(none.begin(0, 0), Err(Misuse::NoSuchTicket));
    }
}
