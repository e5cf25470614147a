// SPDX-License-Identifier: GPL-2.0

//! A request that is carried out away from its connection: later, or on a thread that may wait.
//! The connection may be gone by then; the request is carried out all the same.

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::SmallRng;
use sheepdog_core::proto::RequestHeader;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::fault::reclaim;
use crate::fault::Plan;
use crate::fault::Reply;
use crate::gateway::Gateway;
use crate::sheep::Sheep;

/// A reply that was made away from the connection.
pub struct Late {
    /// The reply.
    pub reply: Reply,
    /// What the job counted for in the connection's bounds.
    pub held_bytes: usize,
}

/// A request that was read.
pub struct Job {
    /// Its header.
    pub header: RequestHeader,
    /// Its payload.
    pub payload: Bytes,
    /// What goes wrong with it.
    pub plan: Plan,
    /// The chance in that.
    pub rng: SmallRng,
    /// The connection.
    pub replies: UnboundedSender<Late>,
    /// See [`Late::held_bytes`].
    pub held_bytes: usize,
}

impl Job {
    /// Carries the request out.
    pub fn run(&self, sheep: &Sheep) -> Reply {
        let mut rng = self.rng.clone();
        make_reply(sheep, &self.header, &self.payload, &self.plan, &mut rng)
    }

    /// Gives the connection its reply.
    pub fn answer(&self, reply: Reply) {
        let late = Late {
            reply,
            held_bytes: self.held_bytes,
        };
        // The client may be gone; then nobody wants the reply.
        let _ = self.replies.send(late);
    }

    /// Carries the request out on a thread of its own and answers, as soon as the gateway runs;
    /// never if it dies before. `life` is the gateway's life in which the request was read.
    pub fn run_beside(self, sheep: Arc<Sheep>, gateway: Arc<Gateway>, life: u64) {
        let job = Arc::new(self);
        tokio::spawn(async move {
            while gateway.runs(life).await {
                let (job, sheep, gateway) = (job.clone(), sheep.clone(), gateway.clone());
                let doing = job.clone();
                // It may have stopped before a thread was free.
                let work = move || gateway.runs_now(life).then(|| doing.run(&sheep));
                match spawn_blocking(work).await {
                    Ok(None) => continue,
                    Ok(Some(reply)) => {
                        if !job.plan.delay.is_zero() {
                            sleep(job.plan.delay).await;
                        }
                        job.answer(reply);
                    }
                    Err(error) => tracing::error!(%error, "a request was not carried out"),
                }
                break;
            }
        });
    }
}

/// Carries out a request that is neither stalled nor dropped, and makes the reply: an empty one if
/// it was answered when its header came.
pub fn make_reply(
    sheep: &Sheep,
    header: &RequestHeader,
    payload: &[u8],
    plan: &Plan,
    rng: &mut SmallRng,
) -> Reply {
    for cgroup in &plan.reclaims {
        reclaim(cgroup);
    }
    let mut bytes = Vec::new();
    match plan.fail {
        None => sheep.execute(header, payload, &mut bytes),
        Some(result) => {
            if plan.apply {
                sheep.execute(header, payload, &mut Vec::new());
            }
            sheep.refuse(header, result, &mut bytes);
        }
    }
    if plan.is_early(header) {
        bytes.clear();
    }
    let mut reply = Reply::new(bytes);
    for &how in &plan.corruptions {
        reply.corrupt(how, rng);
    }
    reply
}
