// SPDX-License-Identifier: GPL-2.0

//! Damage to a reply.

use rand::rngs::SmallRng;
use rand::Rng;
use sheepdog_core::proto::limits::HEADER_LEN;

use super::Corruption;

const ID: usize = 8;
const DATA_LENGTH: usize = 12;

/// Damages `reply`, a header and its payload. Returns whether the connection has to end after it,
/// because nobody could find the next header.
pub fn corrupt(reply: &mut Vec<u8>, how: Corruption, rng: &mut SmallRng) -> bool {
    match how {
        Corruption::BitFlip => {
            let bit = rng.random_range(0..HEADER_LEN * 8);
            reply[bit / 8] ^= 1 << (bit % 8);
        }
        Corruption::WrongId => {
            // A bit that no honest client's id counter reaches soon.
            reply[ID + 3] ^= 0x80;
        }
        Corruption::Duplicate => reply.extend_from_within(..),
        Corruption::Truncate => {
            let payload = reply.len() - HEADER_LEN;
            reply.truncate(HEADER_LEN + payload / 2);
            return true;
        }
        Corruption::Oversize => {
            let payload = reply.len() - HEADER_LEN;
            let claimed = u32::try_from(payload)
                .unwrap_or(u32::MAX)
                .saturating_add(4096);
            reply[DATA_LENGTH..DATA_LENGTH + 4].copy_from_slice(&claimed.to_le_bytes());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use sheepdog_core::proto::ResponseHeader;

    use super::*;

    fn damaged(how: Corruption) -> (Vec<u8>, bool) {
        let mut reply = vec![0; HEADER_LEN + 100];
        reply[DATA_LENGTH] = 100;
        let ends = corrupt(&mut reply, how, &mut SmallRng::seed_from_u64(1));
        (reply, ends)
    }

    fn header(reply: &[u8]) -> ResponseHeader {
        ResponseHeader::from_bytes(reply.first_chunk().unwrap())
    }

    #[test]
    fn each_kind_of_damage_is_what_it_says() {
        let (flipped, _) = damaged(Corruption::BitFlip);
        let mut honest = vec![0; HEADER_LEN];
        honest[DATA_LENGTH] = 100;
        let changed: u32 = flipped
            .iter()
            .zip(&honest)
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        assert_eq!(changed, 1);
        assert_ne!(header(&damaged(Corruption::WrongId).0).id, 0);
        assert_eq!(
            damaged(Corruption::Duplicate).0.len(),
            2 * (HEADER_LEN + 100)
        );
        assert_eq!(header(&damaged(Corruption::Oversize).0).data_length, 4196);
        let (short, ends) = damaged(Corruption::Truncate);
        assert_eq!((short.len(), ends), (HEADER_LEN + 50, true));
    }
}
