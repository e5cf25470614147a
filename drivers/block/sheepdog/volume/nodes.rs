// SPDX-License-Identifier: GPL-2.0

//! Where [`Creations`](super::Creations) keeps its state: one node per ticket, in storage that the
//! caller provides, found by ticket or by object. Nothing is ever allocated.
//!
//! A node is at once the place of one ticket and a bucket of the hash table over object indexes.
//! Creators whose objects share a bucket are chained from node to node.

use core::ops::DerefMut;

/// The ticket of a node, `None` for the end of a list.
pub(super) type Link = Option<u32>;

/// Multiplier of the hash over object indexes: 2^32 divided by the golden ratio, odd.
const HASH: u32 = 0x9e37_79b1;

/// Storage for one ticket. All its content is this room's business.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// As a bucket: the first creator whose object hashes here.
    bucket: Link,
    /// As a ticket: what its request does.
    role: Role,
}

/// What the request of a ticket does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Role {
    /// Nothing to do with creation.
    Idle,
    /// Creates an object.
    Creator(Creator),
    /// Waits for a creator, or was released and not yet popped.
    Waiter {
        /// Who comes after it.
        next: Link,
        released: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Creator {
    /// The object.
    pub(super) idx: u32,
    /// The next creator in the same bucket.
    chain: Link,
    /// The first and the last that wait for this one; both or none.
    pub(super) waiting: Option<(u32, u32)>,
}

/// All nodes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Nodes<S: DerefMut<Target = [Node]>>(S);

impl Node {
    /// A node for [`Creations::new`](super::Creations::new).
    pub const IDLE: Self = Self {
        bucket: None,
        role: Role::Idle,
    };
}

impl Default for Node {
    fn default() -> Self {
        Self::IDLE
    }
}

impl<S: DerefMut<Target = [Node]>> Nodes<S> {
    /// All are idle, whatever was in them.
    pub(super) fn new(mut nodes: S) -> Self {
        for node in nodes.iter_mut() {
            *node = Node::IDLE;
        }
        Self(nodes)
    }

    /// Whether no ticket has a role.
    pub(super) fn are_idle(&self) -> bool {
        self.0.iter().all(|node| node.role == Role::Idle)
    }

    /// The role of a ticket, `None` when there is no such ticket.
    pub(super) fn role(&self, ticket: u32) -> Option<Role> {
        let node = self.0.get(usize::try_from(ticket).ok()?)?;
        Some(node.role)
    }

    /// The same, when it is a creator's.
    fn creator(&self, ticket: u32) -> Option<Creator> {
        match self.role(ticket) {
            Some(Role::Creator(creator)) => Some(creator),
            _ => None,
        }
    }

    /// Gives a ticket a role. A creator's object and chain must stay what they are.
    pub(super) fn set_role(&mut self, ticket: u32, role: Role) {
        let node = usize::try_from(ticket).ok();
        if let Some(node) = node.and_then(|at| self.0.get_mut(at)) {
            node.role = role;
        }
    }

    /// The creator of the object `idx` and its ticket.
    pub(super) fn find(&self, idx: u32) -> Option<(u32, Creator)> {
        let mut link = self.first(self.bucket(idx)?);
        while let Some(ticket) = link {
            let creator = self.creator(ticket)?;
            if creator.idx == idx {
                return Some((ticket, creator));
            }
            link = creator.chain;
        }
        None
    }

    /// Makes `ticket`, which is idle, the creator of the object `idx`, which has none.
    pub(super) fn insert(&mut self, ticket: u32, idx: u32) {
        let Some(bucket) = self.bucket(idx) else {
            return;
        };
        let creator = Creator {
            idx,
            chain: self.first(bucket),
            waiting: None,
        };
        self.set_role(ticket, Role::Creator(creator));
        self.set_first(bucket, Some(ticket));
    }

    /// Makes `ticket` idle, which is this creator.
    pub(super) fn remove(&mut self, ticket: u32, creator: Creator) {
        self.set_role(ticket, Role::Idle);
        let Some(bucket) = self.bucket(creator.idx) else {
            return;
        };
        let mut link = self.first(bucket);
        if link == Some(ticket) {
            self.set_first(bucket, creator.chain);
            return;
        }
        while let Some(before) = link {
            let Some(mut other) = self.creator(before) else {
                return;
            };
            link = other.chain;
            if link == Some(ticket) {
                other.chain = creator.chain;
                self.set_role(before, Role::Creator(other));
                return;
            }
        }
    }

    /// The bucket of the object `idx`, `None` when there are no nodes.
    fn bucket(&self, idx: u32) -> Option<usize> {
        let hash = u64::from(idx.wrapping_mul(HASH));
        let len = u64::from(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        // Both factors are below 2^32, so the product fits and the quotient is below `len`.
        let bucket = (hash * len) >> 32;
        usize::try_from(bucket).ok().filter(|at| *at < self.0.len())
    }

    fn first(&self, bucket: usize) -> Link {
        self.0.get(bucket).and_then(|node| node.bucket)
    }

    fn set_first(&mut self, bucket: usize, first: Link) {
        if let Some(node) = self.0.get_mut(bucket) {
            node.bucket = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_in_one_bucket_are_found_whoever_leaves_it_first() {
        for leaves in 0..4u32 {
            let mut nodes = Nodes::new(vec![Node::IDLE; 4]);
            let in_bucket = |idx: &u32| nodes.bucket(*idx) == Some(2);
            let objects: Vec<u32> = (0..).filter(in_bucket).take(4).collect();
            for (ticket, idx) in (0..).zip(&objects) {
                nodes.insert(ticket, *idx);
            }
            let (ticket, creator) = nodes.find(objects[leaves as usize]).unwrap();
            assert_eq!(ticket, leaves);
            nodes.remove(ticket, creator);
            for (ticket, idx) in (0..).zip(&objects) {
                let found = nodes.find(*idx).map(|(ticket, _)| ticket);
                assert_eq!(found, Some(ticket).filter(|ticket| *ticket != leaves));
            }
        }
    }
}
