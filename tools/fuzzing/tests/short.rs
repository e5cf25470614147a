// SPDX-License-Identifier: GPL-2.0

//! A moment of fuzzing without a fuzzer: random bytes, and recorded frames that are damaged at
//! random. The seed is fixed, so that a failure is found again.

use std::time::Duration;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::Rng;
use rand::RngCore;
use rand::SeedableRng;
use sheepdog_core::proto::inode;
use sheepdog_fuzzing::control_lines;
use sheepdog_fuzzing::conversation;
use sheepdog_fuzzing::inodes;
use sheepdog_fuzzing::mapping;
use sheepdog_fuzzing::replies;
use sheepdog_fuzzing::requests;
use sheepdog_fuzzing::responses;
use sheepdog_traces::Entry;

/// Each test stops after so many inputs, or when its time is up.
const ROUNDS: usize = 4000;
const TIME: Duration = Duration::from_secs(8);
/// Every test makes at least so many, or it proves nothing.
const MIN_ROUNDS: usize = 50;
/// Frames of a conversation.
const FRAMES: usize = 12;
/// Numbers that are more often wrong than others.
const EDGES: [u32; 9] = [
    0,
    1,
    4664,
    4_198_968,
    12_587_576,
    1 << 20,
    1 << 22,
    1 << 31,
    u32::MAX,
];

/// Recorded requests and responses, payloads included where they are small.
fn corpus(want_requests: bool) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for path in sheepdog_traces::files() {
        for entry in sheepdog_traces::load(&path).unwrap() {
            let frame = match entry {
                Entry::Request(frame) if want_requests => frame,
                Entry::Response(frame) if !want_requests => frame,
                _ => continue,
            };
            let mut bytes = frame.header.to_vec();
            if frame.payload_len() <= 1 << 17 {
                bytes.extend(frame.payload().unwrap());
            }
            frames.push(bytes);
        }
    }
    if frames.is_empty() {
        frames.push(vec![0; 48]);
    }
    frames
}

/// Changes a few bytes or numbers of `bytes`, or its length.
fn damage(bytes: &mut Vec<u8>, rng: &mut SmallRng) {
    for _ in 0..rng.random_range(0..4) {
        if bytes.len() < 48 {
            return;
        }
        let head = rng.random_bool(0.8);
        let end = if head { 48 } else { bytes.len() };
        match rng.random_range(0..5) {
            0 => {
                let bit = rng.random_range(0..end * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            1 => bytes[rng.random_range(0..end)] = rng.random(),
            2 => {
                let at = rng.random_range(0..end / 4) * 4;
                let edge = EDGES.choose(rng).copied().unwrap_or(0);
                bytes[at..at + 4].copy_from_slice(&edge.to_le_bytes());
            }
            3 => bytes.truncate(rng.random_range(48..=bytes.len())),
            _ => bytes[1] = rng.random_range(0..0xd0),
        }
    }
}

fn random_bytes(rng: &mut SmallRng, max: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..max)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Calls `body` with inputs that `input` makes, in debug builds and others alike.
fn run(body: fn(&[u8]), mut input: impl FnMut(&mut SmallRng) -> Vec<u8>) {
    let mut rng = SmallRng::seed_from_u64(0x5eed);
    let begin = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS && (rounds < MIN_ROUNDS || begin.elapsed() < TIME) {
        body(&input(&mut rng));
        rounds += 1;
    }
    assert!(rounds >= MIN_ROUNDS);
}

fn damaged(frames: &[Vec<u8>], rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = frames.choose(rng).cloned().unwrap_or_default();
    damage(&mut bytes, rng);
    bytes
}

#[test]
fn request_headers() {
    let frames = corpus(true);
    run(requests, |rng| match rng.random_bool(0.3) {
        true => random_bytes(rng, 500),
        false => damaged(&frames, rng),
    });
}

#[test]
fn response_headers() {
    let frames = corpus(false);
    run(responses, |rng| match rng.random_bool(0.3) {
        true => random_bytes(rng, 500),
        false => damaged(&frames, rng),
    });
}

#[test]
fn replies_to_the_driver() {
    let frames = corpus(false);
    run(replies, |rng| {
        let mut bytes = random_bytes(rng, 17);
        bytes.resize(16, 0);
        for tag in 0..rng.random_range(1..8u32) {
            let mut frame = damaged(&frames, rng);
            let generation = u32::from(bytes[2 * tag as usize + 1]) + 1;
            if let Some(id) = frame.get_mut(8..12) {
                id.copy_from_slice(&((generation << 10) | tag).to_le_bytes());
            }
            bytes.extend(frame);
        }
        bytes
    });
}

#[test]
fn answers_while_mapping() {
    let frames = corpus(false);
    run(mapping, |rng| {
        let count = rng.random_range(1..4);
        (0..count).flat_map(|_| damaged(&frames, rng)).collect()
    });
}

#[test]
fn inode_headers() {
    run(inodes, |rng| {
        let mut bytes = random_bytes(rng, inode::HEADER_LEN + 100);
        if rng.random_bool(0.7) {
            bytes.resize(inode::HEADER_LEN, 0);
            bytes[..256].fill(0);
            bytes[0] = b'v';
            bytes[inode::field::STORE_POLICY] = 0;
            bytes[inode::field::BLOCK_SIZE_SHIFT] = rng.random_range(18..34);
            bytes[inode::field::VDI_ID + 3] = 0;
            let zeroes = rng.random_range(0..8);
            bytes[inode::field::VDI_SIZE + 8 - zeroes..inode::field::VDI_SIZE + 8].fill(0);
        }
        bytes
    });
}

#[test]
fn conversations() {
    let frames = corpus(true);
    run(conversation, |rng| {
        let count = rng.random_range(1..FRAMES);
        // Neighbours belong together: what one creates the next one uses.
        let first = rng.random_range(0..frames.len());
        let mut bytes = Vec::new();
        for at in first..first + count {
            let mut frame = frames[at % frames.len()].clone();
            damage(&mut frame, rng);
            bytes.extend(frame);
        }
        bytes
    });
}

#[test]
fn control_channel() {
    let words = [
        "READ_OBJ",
        "ANY",
        "@inode",
        "@",
        "=",
        ":",
        "NO_OBJ",
        "0x9a",
        "0.5",
        "-1",
        "1e9",
        "5-3",
        "{\"cmd\":\"",
        "fail",
        "\",\"spec\":\"",
        "\"}",
        "{\"cmd\":\"stats\"}",
        "bit-flip",
        "\u{fe}",
        "{\"cmd\":\"set\",\"faults\":{\"rules\":[]}}",
        "18446744073709551616",
    ];
    run(control_lines, |rng| {
        let count = rng.random_range(0..7);
        let text: String = (0..count)
            .filter_map(|_| words.choose(rng))
            .copied()
            .collect();
        text.into_bytes()
    });
}
