// SPDX-License-Identifier: GPL-2.0

//! Counters that the control channel shows.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use serde_json::json;
use serde_json::Map;
use serde_json::Value;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::SdResult;

/// Results that are counted one by one; no known one is larger.
const RESULTS: usize = 256;

/// The counters. All of them only grow, except `connections`.
pub struct Stats {
    requests: [AtomicU64; 256],
    results: [AtomicU64; RESULTS],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    connections: AtomicU64,
    connections_total: AtomicU64,
    faults: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            requests: [const { AtomicU64::new(0) }; 256],
            results: [const { AtomicU64::new(0) }; RESULTS],
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connections_total: AtomicU64::new(0),
            faults: AtomicU64::new(0),
        }
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Stats {
    /// A request of `len` bytes, header and payload, came in.
    pub fn request(&self, opcode: Opcode, len: usize) {
        add(&self.requests[usize::from(opcode.0)], 1);
        add(&self.bytes_in, len);
    }

    /// A request was answered.
    pub fn result(&self, result: SdResult) {
        let counter = usize::try_from(result.0)
            .ok()
            .and_then(|at| self.results.get(at));
        if let Some(counter) = counter {
            add(counter, 1);
        }
    }

    /// Bytes went out.
    pub fn sent(&self, len: usize) {
        add(&self.bytes_out, len);
    }

    /// A fault was injected.
    pub fn fault(&self) {
        add(&self.faults, 1);
    }

    /// A connection was made. Returns its number, from 1 on.
    pub fn connected(&self) -> u64 {
        add(&self.connections, 1);
        self.connections_total.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A connection ended.
    pub fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections that there are.
    pub fn connections(&self) -> u64 {
        get(&self.connections)
    }

    /// All counters, by name; those that are zero are left out of the lists.
    pub fn to_json(&self) -> Value {
        let requests: Map<String, Value> = (0..=u8::MAX)
            .zip(&self.requests)
            .filter(|(_, counter)| get(counter) > 0)
            .map(|(code, counter)| (Opcode(code).to_string(), get(counter).into()))
            .collect();
        let results: Map<String, Value> = (0_u32..)
            .zip(&self.results)
            .filter(|(_, counter)| get(counter) > 0)
            .map(|(code, counter)| (SdResult(code).to_string(), get(counter).into()))
            .collect();
        json!({
            "requests": requests,
            "results": results,
            "bytes_in": get(&self.bytes_in),
            "bytes_out": get(&self.bytes_out),
            "connections": get(&self.connections),
            "connections_total": get(&self.connections_total),
            "faults": get(&self.faults),
        })
    }
}
