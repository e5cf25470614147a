// SPDX-License-Identifier: GPL-2.0

//! What the modelled gateways have read from connections that were given up, and may still execute
//! (protocol sheet 14), for as long as Documentation/failover.rst takes them to.

use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::RequestHeader;

use super::sheep::is_map_write;
use super::sheep::map_index;
use super::sheep::Body;
use super::sheep::Sheep;
use super::sheep::OWN;
use super::world::FENCE_MS;

/// How long a gateway needs after it was heard of again.
const SHORT_FENCE_MS: u64 = 5_000;

/// A request that nobody waits for.
#[derive(Clone, Debug)]
pub struct Abandoned {
    request: RequestHeader,
    body: Body,
    gateway: u32,
    lost_ms: u64,
    /// When the gateway was heard of after the loss.
    heard_ms: Option<u64>,
    /// It does not get on with this, though it may be heard of.
    stuck: bool,
}

impl Abandoned {
    /// What tells it from others of its ticket.
    pub fn key(&self) -> (u8, Body, u32, u64, Option<u64>, bool) {
        let (opcode, body) = (self.request.opcode.0, self.body.clone());
        let (heard_ms, stuck) = (self.heard_ms, self.stuck);
        (opcode, body, self.gateway, self.lost_ms, heard_ms, stuck)
    }

    fn is_dead(&self, now_ms: u64) -> bool {
        let works_off = |heard_ms| !self.stuck && now_ms - heard_ms >= SHORT_FENCE_MS;
        now_ms - self.lost_ms >= u64::from(FENCE_MS) || self.heard_ms.is_some_and(works_off)
    }
}

impl Sheep {
    /// The connection of the request `id` is reset after `gateway` has read it.
    pub fn abandon(&mut self, id: u32, gateway: u32, lost_ms: u64, stuck: bool) {
        let (request, body) = self.received.remove(&id).expect("a request that arrived");
        if request.opcode != Opcode::READ_OBJ {
            let abandoned = Abandoned {
                request,
                body,
                gateway,
                lost_ms,
                heard_ms: None,
                stuck,
            };
            self.abandoned.insert(id, abandoned);
        }
    }

    /// A gateway, or the host of its ended process, gives a sign of life.
    pub fn hear(&mut self, gateway: u32, now_ms: u64) {
        for abandoned in self.abandoned.values_mut() {
            if abandoned.gateway == gateway {
                abandoned.heard_ms.get_or_insert(now_ms);
            }
        }
        self.bury(now_ms);
    }

    /// Nothing that old is executed any more.
    pub fn bury(&mut self, now_ms: u64) {
        self.abandoned
            .retain(|_, abandoned| !abandoned.is_dead(now_ms));
    }

    /// A gateway executes what nobody waits for.
    pub fn execute_abandoned(&mut self, id: u32) {
        let abandoned = self.abandoned.remove(&id).expect("an abandoned request");
        self.apply(&abandoned.request, &abandoned.body);
    }

    /// Number of requests that may be executed.
    pub fn pending(&self) -> usize {
        self.received.len() + self.abandoned.len()
    }

    /// One of them is executed, or never will be; nobody waits for the reply.
    pub fn settle(&mut self, pick: usize, executed: bool) {
        let mut ids = self.received.keys().chain(self.abandoned.keys());
        let id = *ids.nth(pick).expect("a pick in range");
        match (self.received.remove(&id), executed) {
            (Some((request, body)), true) => drop(self.apply(&request, &body)),
            (None, true) => self.execute_abandoned(id),
            (_, false) => drop(self.abandoned.remove(&id)),
        }
    }

    /// Panics when a request that arrives must not run beside one that was abandoned.
    pub fn check_abandoned(&self, request: &RequestHeader) {
        for other in self.abandoned.values() {
            if is_map_write(request) {
                let idx = map_index(request);
                let twin = is_map_write(&other.request) && map_index(&other.request) == idx;
                let entry = self.map[idx];
                let refers = entry != 0 && entry != OWN.raw();
                assert!(
                    !(twin && refers),
                    "a map write of an inherited entry while an abandoned one may run"
                );
            } else if request.opcode != Opcode::READ_OBJ && !is_map_write(&other.request) {
                let oid = |request: &RequestHeader| -> ObjectId { request.object_arm().oid };
                let create = Opcode::CREATE_AND_WRITE_OBJ;
                let creates = [request.opcode, other.request.opcode].contains(&create);
                // Not beside its own double, either: a CREATE that finds the temporary file of
                // another one is answered and does nothing (protocol sheet 8.2).
                let beside = oid(request) == oid(&other.request);
                assert!(
                    !(creates && beside),
                    "a write while an abandoned CREATE of its object may run, or the reverse"
                );
            }
        }
    }
}
