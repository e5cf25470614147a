// SPDX-License-Identifier: GPL-2.0

//! Every payload is rebuilt bit for bit: its SHA-256 is the recorded one.

use sha2::Digest;
use sha2::Sha256;
use sheepdog_traces::Entry;

#[test]
fn every_payload_has_the_recorded_digest() {
    for path in sheepdog_traces::files() {
        for entry in sheepdog_traces::load(&path).unwrap() {
            let (Entry::Request(frame) | Entry::Response(frame)) = entry else {
                continue;
            };
            let Some(expected) = frame.text("data_sha256") else {
                assert_eq!(frame.payload_len(), 0, "{path:?}");
                continue;
            };
            let payload = frame.payload().unwrap();
            assert_eq!(payload.len(), frame.payload_len(), "{path:?}");
            let digest = format!("{:x}", Sha256::digest(&payload));
            assert_eq!(digest, expected, "{path:?}");
        }
    }
}
