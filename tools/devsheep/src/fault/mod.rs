// SPDX-License-Identifier: GPL-2.0

//! What goes wrong on purpose.
//!
//! A list of [`Rule`]s is asked about every request and says what shall happen to it: a [`Plan`].
//! Chance comes from a generator that the caller seeds, so that a run can be repeated.

mod corrupt;
mod reclaim;
mod rule;

pub use corrupt::Corruption;
pub use corrupt::Reply;
pub use corrupt::Then;
pub use reclaim::reclaim;
pub use rule::Action;
pub use rule::Rule;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rand::rngs::SmallRng;
use rand::Rng;
use serde::Deserialize;
use serde::Serialize;
use sheepdog_core::proto::RequestHeader;
use sheepdog_core::proto::SdResult;

/// A dripping reply sends one byte in this time.
pub const DRIP_INTERVAL: Duration = Duration::from_secs(1);

/// All faults that are switched on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultConfig {
    /// What happens to single requests.
    pub rules: Vec<Rule>,
    /// Replies are held back until there are so many, then sent in random order; 0 or 1 is off.
    pub shuffle: usize,
    /// New connections are reset.
    pub refuse: bool,
}

impl FaultConfig {
    fn is_active(&self) -> bool {
        !self.rules.is_empty() || self.shuffle > 1
    }
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drop {
    /// The request is carried out before.
    pub apply: bool,
}

/// What shall happen to one request.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// It is answered with this result.
    pub fail: Option<SdResult>,
    /// It is carried out although it fails.
    pub apply: bool,
    /// It is neither carried out nor answered.
    pub stall: bool,
    /// Its connection is reset.
    pub drop: Option<Drop>,
    /// The reply is late by this much.
    pub delay: Duration,
    /// The reply is damaged, in this order.
    pub corruptions: Vec<Corruption>,
    /// Memory is reclaimed from these cgroups before it is carried out.
    pub reclaims: Vec<PathBuf>,
}

impl Plan {
    fn is_fault(&self) -> bool {
        *self != Self::default()
    }

    /// Whether the request `header` is answered before its payload has come.
    pub fn is_early(&self, header: &RequestHeader) -> bool {
        header.payload_len() > 0
            && self.corruptions.contains(&Corruption::Early)
            && !self.stall
            && self.drop.is_none()
    }
}

struct LiveRule {
    rule: Rule,
    left: AtomicU64,
}

impl LiveRule {
    fn new(rule: Rule) -> Self {
        let left = AtomicU64::new(rule.count.unwrap_or(u64::MAX));
        Self { rule, left }
    }

    fn fires(&self, header: &RequestHeader, index: u64, rng: &mut SmallRng) -> bool {
        let probability = self.rule.probability.clamp(0.0, 1.0);
        self.rule.matches(header, index)
            && rng.random_bool(probability)
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
    }
}

#[derive(Default)]
struct Live {
    config: FaultConfig,
    rules: Vec<Arc<LiveRule>>,
}

/// The faults of a running server; they can be changed at any time.
#[derive(Default)]
pub struct Faults {
    active: AtomicBool,
    live: RwLock<Arc<Live>>,
}

impl Faults {
    /// Faults as `config` says.
    pub fn new(config: FaultConfig) -> Self {
        let faults = Self::default();
        faults.set(config);
        faults
    }

    /// Replaces all faults. Counts begin anew.
    pub fn set(&self, config: FaultConfig) {
        let rules = config.rules.iter().cloned().map(LiveRule::new);
        let rules = rules.map(Arc::new).collect();
        self.replace(&mut self.live.write(), config, rules);
    }

    /// Switches a rule on, and leaves the others and their counts as they are.
    pub fn add(&self, rule: Rule) {
        let mut live = self.live.write();
        let mut config = live.config.clone();
        config.rules.push(rule.clone());
        let mut rules = live.rules.clone();
        rules.push(Arc::new(LiveRule::new(rule)));
        self.replace(&mut live, config, rules);
    }

    /// Switches the rules off that are like this one, and leaves the others and their counts as
    /// they are. Returns how many there were.
    pub fn remove(&self, rule: &Rule) -> usize {
        let mut live = self.live.write();
        let mut config = live.config.clone();
        config.rules.retain(|other| other != rule);
        let mut rules = live.rules.clone();
        rules.retain(|other| other.rule != *rule);
        let removed = live.rules.len() - rules.len();
        self.replace(&mut live, config, rules);
        removed
    }

    /// See [`FaultConfig::shuffle`].
    pub fn shuffle(&self, window: usize) {
        let mut live = self.live.write();
        let config = FaultConfig {
            shuffle: window,
            ..live.config.clone()
        };
        let rules = live.rules.clone();
        self.replace(&mut live, config, rules);
    }

    /// See [`FaultConfig::refuse`].
    pub fn refuse(&self, refuse: bool) {
        let mut live = self.live.write();
        let config = FaultConfig {
            refuse,
            ..live.config.clone()
        };
        let rules = live.rules.clone();
        self.replace(&mut live, config, rules);
    }

    fn replace(&self, live: &mut Arc<Live>, config: FaultConfig, rules: Vec<Arc<LiveRule>>) {
        self.active.store(config.is_active(), Ordering::Relaxed);
        *live = Arc::new(Live { config, rules });
    }

    /// What is switched on.
    pub fn get(&self) -> FaultConfig {
        self.live.read().config.clone()
    }

    /// Whether [`Faults::plan`] can plan anything, or replies are shuffled.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// See [`FaultConfig::shuffle`].
    pub fn shuffle_window(&self) -> usize {
        self.live.read().config.shuffle
    }

    /// See [`FaultConfig::refuse`].
    pub fn refuses_connections(&self) -> bool {
        self.live.read().config.refuse
    }

    /// What shall happen to the request `header`, which is number `index` of its connection, from
    /// 0 on. `None` for nothing.
    pub fn plan(&self, header: &RequestHeader, index: u64, rng: &mut SmallRng) -> Option<Plan> {
        let live = self.live.read().clone();
        let mut plan = Plan::default();
        for rule in &live.rules {
            if !rule.fires(header, index, rng) {
                continue;
            }
            match &rule.rule.action {
                &Action::Fail { result, apply } => {
                    plan.fail = plan.fail.or(Some(result));
                    plan.apply |= apply;
                }
                Action::Stall => plan.stall = true,
                &Action::Drop { apply } => plan.drop = Some(Drop { apply }),
                &Action::Delay { min_ms, max_ms } => {
                    let ms = rng.random_range(min_ms..=max_ms.max(min_ms));
                    plan.delay += Duration::from_millis(ms);
                }
                Action::Corrupt { how } => plan.corruptions.push(how.choose(rng)),
                Action::Reclaim { cgroup } => plan.reclaims.push(cgroup.clone()),
            }
        }
        plan.is_fault().then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use sheepdog_core::proto::ObjectId;

    use super::*;

    fn plans(faults: &Faults, seed: u64, count: u64) -> Vec<Option<Plan>> {
        let header = RequestHeader::read_obj(ObjectId::from_raw(0), 0, 512);
        let mut rng = SmallRng::seed_from_u64(seed);
        (0..count)
            .map(|index| faults.plan(&header, index, &mut rng))
            .collect()
    }

    fn faults(rules: &[Rule]) -> Faults {
        Faults::new(FaultConfig {
            rules: rules.to_vec(),
            ..FaultConfig::default()
        })
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let faults = faults(&[Rule::fail("READ_OBJ=EIO:0.5", false).unwrap()]);
        let first = plans(&faults, 7, 100);
        assert_eq!(first, plans(&faults, 7, 100));
        assert_ne!(first, plans(&faults, 8, 100));
        let failed = first.iter().flatten().count();
        assert!((20..80).contains(&failed), "{failed} of 100 failed");
    }

    #[test]
    fn a_rule_stops_after_its_count() {
        let faults = faults(&[Rule::fail("ANY=HALT:1:3", false).unwrap()]);
        assert_eq!(plans(&faults, 1, 10).iter().flatten().count(), 3);
    }

    #[test]
    fn a_rule_waits_for_its_place_on_the_connection() {
        let rule = Rule {
            after: 4,
            ..Rule::drop("ANY", false).unwrap()
        };
        let plans = plans(&faults(&[rule]), 1, 6);
        assert!(plans[..4].iter().all(Option::is_none));
        assert!(plans[4..].iter().all(Option::is_some));
    }

    #[test]
    fn a_rule_for_inodes_leaves_data_alone() {
        let faults = faults(&[Rule::stall("READ_OBJ@inode").unwrap()]);
        assert!(plans(&faults, 1, 3).iter().all(Option::is_none));
    }
}
