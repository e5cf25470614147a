// SPDX-License-Identifier: GPL-2.0

//! What is known of one request from its arrival to its end.

use super::Extent;
use super::Op;
use super::Step;

/// A request: what the guest wants, and how far it has come. It belongs to whoever has the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Work {
    /// What the guest wants.
    pub op: Op,
    /// Where.
    pub extent: Extent,
    /// What was sent last, if anything was.
    pub step: Option<Step>,
    /// It makes its object, and others may wait for it.
    pub(super) creates: bool,
    /// It has made its object, and the map does not say so yet.
    pub(super) created: bool,
    /// Some of what was sent for it is a zombie.
    pub(super) haunted: bool,
    /// How often the cluster could not serve it.
    pub(super) retries: u8,
}

impl Work {
    /// A request that has just come.
    #[inline]
    pub const fn new(op: Op, extent: Extent) -> Self {
        Self {
            op,
            extent,
            step: None,
            creates: false,
            created: false,
            haunted: false,
            retries: 0,
        }
    }

    /// Whether its end is of no concern to anybody else, so that [`Desk::ended`](super::Desk::ended)
    /// need not be told.
    #[inline]
    pub const fn is_plain(&self) -> bool {
        !self.creates && !self.haunted
    }
}
