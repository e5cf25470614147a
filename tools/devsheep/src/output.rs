// SPDX-License-Identifier: GPL-2.0

//! What goes out on a connection: replies come in, in the order in which they are made, and bytes
//! leave when they are due. Shuffled, dripping, late and endless replies happen here.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::RngCore;
use tokio::time::Instant;

use crate::fault::Reply;
use crate::fault::Then;
use crate::fault::DRIP_INTERVAL;

/// A shuffled reply waits so long for others.
const SHUFFLE_WAIT: Duration = Duration::from_millis(20);
/// A buffer that grew beyond this for a large reply is given back.
const KEEP: usize = 4 << 20;
/// Endless bytes are made in pieces of this size.
const ENDLESS_PIECE: usize = 64 << 10;

/// A reply that comes again.
struct Repeat {
    /// After so many others.
    after: u32,
    bytes: Vec<u8>,
}

/// The output of a connection.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// The parts of `bytes` that go out one byte at a time, in order.
    drips: VecDeque<Range<usize>>,
    next_drip: Option<Instant>,
    shuffled: Vec<Reply>,
    shuffled_until: Option<Instant>,
    repeats: Vec<Repeat>,
    then: Then,
}

impl Output {
    /// Bytes that are not written yet.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Where replies without faults can be appended directly; `None` while others must know of
    /// them.
    pub fn plain(&mut self) -> Option<&mut Vec<u8>> {
        let plain = self.repeats.is_empty() && self.then == Then::GoOn;
        plain.then_some(&mut self.bytes)
    }

    /// Takes a reply. With a window of more than 1 it may wait until there are so many.
    pub fn put(&mut self, reply: Reply, window: usize, rng: &mut SmallRng) {
        if window <= 1 {
            self.release(rng);
            self.append(reply);
            return;
        }
        self.shuffled.push(reply);
        if self.shuffled.len() >= window {
            self.release(rng);
        } else if self.shuffled_until.is_none() {
            self.shuffled_until = Some(Instant::now() + SHUFFLE_WAIT);
        }
    }

    /// When [`Output::release`] is due.
    pub fn release_at(&self) -> Option<Instant> {
        self.shuffled_until
    }

    /// Lets the replies go that wait to be shuffled.
    pub fn release(&mut self, rng: &mut SmallRng) {
        self.shuffled_until = None;
        let mut replies = std::mem::take(&mut self.shuffled);
        replies.shuffle(rng);
        for reply in replies {
            self.append(reply);
        }
    }

    fn append(&mut self, reply: Reply) {
        if reply.bytes.is_empty() || self.then != Then::GoOn {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&reply.bytes);
        if reply.drips {
            self.drips.push_back(start..self.bytes.len());
        }
        self.then = reply.then;
        self.repeat();
        if let Some(after) = reply.repeat_after {
            let bytes = reply.bytes;
            self.repeats.push(Repeat { after, bytes });
        }
    }

    /// Another reply went out: appends what comes again after it.
    fn repeat(&mut self) {
        for repeat in &mut self.repeats {
            repeat.after -= 1;
            if repeat.after == 0 && self.then == Then::GoOn {
                self.bytes.extend_from_slice(&repeat.bytes);
            }
        }
        self.repeats.retain(|repeat| repeat.after > 0);
    }

    /// When the next bytes are due, if not now.
    pub fn due(&self) -> Option<Instant> {
        self.next_drip
    }

    /// That has come.
    pub fn is_due(&mut self) {
        self.next_drip = None;
    }

    /// The next bytes to write; none when everything is written.
    pub fn next(&self) -> &[u8] {
        let end = match self.drips.front() {
            Some(drip) if drip.contains(&self.written) => self.written + 1,
            Some(drip) => drip.start,
            None => self.bytes.len(),
        };
        &self.bytes[self.written..end]
    }

    /// So many of them were written.
    pub fn wrote(&mut self, count: usize, rng: &mut SmallRng) {
        if let Some(drip) = self.drips.front() {
            if drip.contains(&self.written) {
                self.next_drip = Some(Instant::now() + DRIP_INTERVAL);
            }
            if drip.end <= self.written + count {
                self.drips.pop_front();
            }
        }
        self.written += count;
        if self.len() > 0 {
            return;
        }
        self.clear();
        if self.then == Then::Endless {
            self.bytes.resize(ENDLESS_PIECE, 0);
            rng.fill_bytes(&mut self.bytes);
        }
    }

    /// Forgets what is not written.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
        self.drips.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
    }

    /// Whether the connection ends when everything is written.
    pub fn ends(&self) -> bool {
        self.then != Then::GoOn
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn rng() -> SmallRng {
        SmallRng::seed_from_u64(1)
    }

    fn reply(byte: u8) -> Reply {
        Reply::new(vec![byte; 3])
    }

    /// Everything that goes out at once.
    fn drain(output: &mut Output) -> Vec<u8> {
        let mut bytes = Vec::new();
        while output.len() > 0 && output.due().is_none() {
            let next = output.next().to_vec();
            output.wrote(next.len(), &mut rng());
            bytes.extend(next);
        }
        bytes
    }

    #[test]
    fn a_dripping_reply_goes_byte_by_byte_and_those_around_it_do_not() {
        let mut output = Output::default();
        let drip = Reply {
            drips: true,
            ..reply(2)
        };
        for reply in [reply(1), drip, reply(3)] {
            output.put(reply, 0, &mut rng());
        }
        let mut pieces = Vec::new();
        while output.len() > 0 {
            pieces.push(drain(&mut output));
            output.is_due();
        }
        let expected: [&[u8]; 4] = [&[1, 1, 1, 2], &[2], &[2], &[3, 3, 3]];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_late_reply_comes_again_after_its_number_of_others() {
        let mut output = Output::default();
        let late = Reply {
            repeat_after: Some(2),
            ..reply(1)
        };
        output.put(late, 0, &mut rng());
        assert!(output.plain().is_none());
        for byte in [2, 3, 4] {
            output.put(reply(byte), 0, &mut rng());
        }
        assert!(output.plain().is_some());
        let order: Vec<u8> = drain(&mut output).into_iter().step_by(3).collect();
        assert_eq!(order, [1, 2, 3, 1, 4]);
    }

    #[test]
    fn nothing_follows_an_endless_reply_but_its_bytes() {
        let mut output = Output::default();
        let endless = Reply {
            then: Then::Endless,
            ..reply(1)
        };
        output.put(endless, 0, &mut rng());
        output.put(reply(2), 0, &mut rng());
        assert_eq!(output.next(), [1, 1, 1]);
        for _ in 0..3 {
            output.wrote(output.len(), &mut rng());
            assert_eq!(output.next().len(), ENDLESS_PIECE);
        }
        assert!(output.ends());
    }
}
