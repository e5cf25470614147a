// SPDX-License-Identifier: GPL-2.0

//! What may go wrong on one way of the [`explorer`](super::explorer).

/// How often things may go wrong.
#[derive(Clone, Copy, Hash, Debug)]
pub struct Budget {
    /// Connections are lost.
    pub losses: u8,
    /// A link takes no more requests some time before that is told; costs a loss, too.
    pub breaks: u8,
    /// Attempts to connect fail.
    pub setbacks: u8,
    /// Requests fail.
    pub failures: u8,
    /// The cluster cannot serve now.
    pub waits: u8,
    /// The gateway goes away, and says so; costs a loss, too.
    pub leaves: u8,
    /// The mapping ends.
    pub closes: u8,
    /// Everything takes longer than a session must last.
    pub delays: u8,
}

impl Budget {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        losses: 0,
        breaks: 0,
        setbacks: 0,
        failures: 0,
        waits: 0,
        leaves: 0,
        closes: 0,
        delays: 0,
    };

    pub fn after_failure(self) -> Option<Self> {
        let failures = self.failures.checked_sub(1)?;
        Some(Self { failures, ..self })
    }

    pub fn after_wait(self) -> Option<Self> {
        let waits = self.waits.checked_sub(1)?;
        Some(Self { waits, ..self })
    }

    pub fn after_leave(self) -> Option<Self> {
        let (leaves, losses) = (self.leaves.checked_sub(1)?, self.losses.checked_sub(1)?);
        Some(Self {
            leaves,
            losses,
            ..self
        })
    }
}
