// SPDX-License-Identifier: GPL-2.0

//! Damage to a reply: what a broken or hostile server could send in its place.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::Rng;
use rand::RngCore;
use serde::Deserialize;
use serde::Serialize;
use sheepdog_core::proto::limits::HEADER_LEN;

const ID: usize = 8;
const DATA_LENGTH: usize = 12;
/// The fields of a reply's header before the operation's own part: where, and how long.
const FIELDS: [(usize, usize); 7] = [
    (0, 1),
    (1, 1),
    (2, 2),
    (4, 4),
    (ID, 4),
    (DATA_LENGTH, 4),
    (16, 4),
];
/// What wrong arithmetic trips over.
const BOUNDARIES: [u32; 5] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
/// Garbage is at most so long: enough for a few dozen things that look like headers.
const MAX_GARBAGE: usize = 4096;
/// A late repeat comes after at most so many other replies.
const MAX_REPEAT_AFTER: u32 = 8;

/// A way to damage a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corruption {
    /// One random bit of the header is flipped.
    BitFlip,
    /// The id is that of no request.
    WrongId,
    /// The reply is sent twice.
    Duplicate,
    /// The payload ends early, and with it the connection.
    Truncate,
    /// `data_length` says more than was asked for, and more than follows.
    Oversize,
    /// Random bytes come instead, and not a round number of them.
    Garbage,
    /// Random bytes follow, without end.
    Endless,
    /// One byte comes per [`DRIP_INTERVAL`].
    ///
    /// [`DRIP_INTERVAL`]: super::DRIP_INTERVAL
    Drip,
    /// The same with a random id comes before.
    Stray,
    /// It comes again, after some other replies.
    Late,
    /// Several fields of the header have random values, or such that arithmetic trips over.
    Header,
    /// The reply to a request with payload comes as soon as its header was read.
    Early,
    /// Any of the others, another one for each reply.
    Fuzz,
}

impl Corruption {
    /// All of them, and the names by which they are asked for.
    pub const NAMES: [(&str, Self); 13] = [
        ("bit-flip", Self::BitFlip),
        ("wrong-id", Self::WrongId),
        ("duplicate", Self::Duplicate),
        ("truncate", Self::Truncate),
        ("oversize", Self::Oversize),
        ("garbage", Self::Garbage),
        ("endless", Self::Endless),
        ("drip", Self::Drip),
        ("stray", Self::Stray),
        ("late", Self::Late),
        ("header", Self::Header),
        ("early", Self::Early),
        ("fuzz", Self::Fuzz),
    ];

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|&(_, how)| how)
    }

    /// What it means for one reply: itself, or what chance makes of [`Corruption::Fuzz`].
    pub fn choose(self, rng: &mut SmallRng) -> Self {
        let others = &Self::NAMES[..Self::NAMES.len() - 1];
        match self {
            Self::Fuzz => others.choose(rng).map_or(self, |&(_, how)| how),
            how => how,
        }
    }
}

/// What comes after a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Then {
    /// The next one.
    #[default]
    GoOn,
    /// The end of the connection: nobody could find the next header.
    Close,
    /// Random bytes without end.
    Endless,
}

/// A reply on its way out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    /// Header and payload; nothing if it was sent already.
    pub bytes: Vec<u8>,
    /// It goes out byte by byte.
    pub drips: bool,
    /// It is repeated after so many others.
    pub repeat_after: Option<u32>,
    /// What comes after it.
    pub then: Then,
}

impl Reply {
    /// One that has no fault.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Damages it.
    pub fn corrupt(&mut self, how: Corruption, rng: &mut SmallRng) {
        let Some(payload) = self.bytes.len().checked_sub(HEADER_LEN) else {
            // Sent already, or garbage.
            return;
        };
        let bytes = &mut self.bytes;
        match how {
            Corruption::BitFlip => {
                let bit = rng.random_range(0..HEADER_LEN * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Corruption::WrongId => {
                // A bit that no honest client's id counter reaches soon.
                bytes[ID + 3] ^= 0x80;
            }
            Corruption::Duplicate => bytes.extend_from_within(..),
            Corruption::Truncate => {
                bytes.truncate(HEADER_LEN + payload / 2);
                self.then = Then::Close;
            }
            Corruption::Oversize => {
                let claimed = u32::try_from(payload).unwrap_or(u32::MAX);
                put(bytes, DATA_LENGTH, claimed.saturating_add(4096));
            }
            Corruption::Garbage => {
                bytes.resize(rng.random_range(1..=MAX_GARBAGE), 0);
                rng.fill_bytes(bytes);
            }
            Corruption::Endless => self.then = Then::Endless,
            Corruption::Drip => self.drips = true,
            Corruption::Stray => {
                bytes.extend_from_within(..);
                put(bytes, ID, rng.random());
            }
            Corruption::Late => self.repeat_after = Some(rng.random_range(1..=MAX_REPEAT_AFTER)),
            Corruption::Header => {
                let count = rng.random_range(2..=FIELDS.len());
                for &(at, len) in FIELDS.choose_multiple(rng, count) {
                    let random = rng.random();
                    let boundary = BOUNDARIES.choose(rng).copied();
                    let value = boundary.filter(|_| rng.random()).unwrap_or(random);
                    bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
                }
            }
            // Decided before there is a reply.
            Corruption::Early | Corruption::Fuzz => {}
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use sheepdog_core::proto::ResponseHeader;

    use super::*;

    const WHOLE: usize = HEADER_LEN + 100;

    fn honest() -> Vec<u8> {
        let mut reply = vec![0; WHOLE];
        reply[DATA_LENGTH] = 100;
        reply
    }

    fn damaged(how: Corruption, seed: u64) -> Reply {
        let mut reply = Reply::new(honest());
        reply.corrupt(how, &mut SmallRng::seed_from_u64(seed));
        reply
    }

    fn header(reply: &Reply) -> ResponseHeader {
        ResponseHeader::from_bytes(reply.bytes.first_chunk().unwrap())
    }

    #[test]
    fn each_kind_of_damage_is_what_it_says() {
        let flipped = damaged(Corruption::BitFlip, 1);
        let pairs = flipped.bytes.iter().zip(honest());
        let changed: u32 = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(changed, 1);
        assert_ne!(header(&damaged(Corruption::WrongId, 1)).id, 0);
        assert_eq!(damaged(Corruption::Duplicate, 1).bytes.len(), 2 * WHOLE);
        let oversize = damaged(Corruption::Oversize, 1);
        assert_eq!(header(&oversize).data_length, 4196);
        let short = damaged(Corruption::Truncate, 1);
        assert_eq!(
            (short.bytes.len(), short.then),
            (HEADER_LEN + 50, Then::Close)
        );
        let endless = damaged(Corruption::Endless, 1);
        assert_eq!((&endless.bytes, endless.then), (&honest(), Then::Endless));
        assert!(damaged(Corruption::Drip, 1).drips);
    }

    #[test]
    fn garbage_has_any_content_and_length() {
        let lengths: Vec<usize> = (0..50)
            .map(|seed| damaged(Corruption::Garbage, seed).bytes.len())
            .collect();
        assert!(lengths.iter().all(|len| (1..=MAX_GARBAGE).contains(len)));
        assert!(lengths.iter().any(|len| len % 4 != 0));
        assert_ne!(
            damaged(Corruption::Garbage, 1).bytes[..20],
            damaged(Corruption::Garbage, 2).bytes[..20]
        );
    }

    #[test]
    fn a_stray_reply_comes_before_the_right_one() {
        let stray = damaged(Corruption::Stray, 1);
        assert_ne!(header(&stray).id, 0);
        assert_eq!(stray.bytes[WHOLE..], honest());
    }

    #[test]
    fn header_fields_become_random_or_boundaries_and_the_rest_stays() {
        let replies: Vec<Reply> = (0..100)
            .map(|seed| damaged(Corruption::Header, seed))
            .collect();
        assert!(replies
            .iter()
            .all(|reply| reply.bytes[20..] == honest()[20..]));
        let ids: Vec<u32> = replies.iter().map(|reply| header(reply).id).collect();
        let found = |value| ids.contains(&value);
        assert!(BOUNDARIES.into_iter().all(found), "{ids:?}");
        assert!(ids.iter().any(|id| !BOUNDARIES.contains(id)));
    }

    #[test]
    fn fuzz_becomes_every_other_kind() {
        let mut rng = SmallRng::seed_from_u64(1);
        let chosen: Vec<Corruption> = (0..300)
            .map(|_| Corruption::Fuzz.choose(&mut rng))
            .collect();
        for (name, how) in Corruption::NAMES {
            assert_eq!(chosen.contains(&how), how != Corruption::Fuzz, "{name}");
        }
        assert_eq!(Corruption::Late.choose(&mut rng), Corruption::Late);
    }

    #[test]
    fn a_reply_can_be_damaged_in_every_order() {
        for (_, first) in Corruption::NAMES {
            for (_, second) in Corruption::NAMES {
                for seed in 0..50 {
                    let mut rng = SmallRng::seed_from_u64(seed);
                    let mut reply = Reply::new(honest());
                    reply.corrupt(first, &mut rng);
                    reply.corrupt(second, &mut rng);
                }
            }
        }
    }
}
