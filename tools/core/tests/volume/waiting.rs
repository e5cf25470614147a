// SPDX-License-Identifier: GPL-2.0

//! [`Creations`] against a model that is a map and a queue per object: many objects on few nodes,
//! so that they share buckets, and callers that make every mistake.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use sheepdog_core::volume::Begin;
use sheepdog_core::volume::Creations;
use sheepdog_core::volume::Misuse;
use sheepdog_core::volume::Node;
use sheepdog_core::volume::Waiters;

#[derive(Clone, Debug)]
enum Act {
    Begin { ticket: u32, idx: u32 },
    Finish { ticket: u32 },
    Pop { list: usize },
}

#[derive(Default)]
struct Model {
    /// By object: who creates it, and who waits for that.
    objects: BTreeMap<u32, (u32, VecDeque<u32>)>,
    released: Vec<VecDeque<u32>>,
}

impl Model {
    fn is_in_use(&self, ticket: u32) -> bool {
        let objects = self.objects.values();
        let waits = |queue: &VecDeque<u32>| queue.contains(&ticket);
        objects
            .into_iter()
            .any(|(creator, queue)| *creator == ticket || waits(queue))
            || self.released.iter().any(waits)
    }

    fn begin(&mut self, ticket: u32, idx: u32, tickets: u32) -> Result<Begin, Misuse> {
        if ticket >= tickets {
            return Err(Misuse::NoSuchTicket);
        }
        if self.is_in_use(ticket) {
            return Err(Misuse::InUse);
        }
        if let Some((_, queue)) = self.objects.get_mut(&idx) {
            queue.push_back(ticket);
            return Ok(Begin::Wait);
        }
        self.objects.insert(idx, (ticket, VecDeque::new()));
        Ok(Begin::Start)
    }

    fn finish(&mut self, ticket: u32, tickets: u32) -> Result<(), Misuse> {
        if ticket >= tickets {
            return Err(Misuse::NoSuchTicket);
        }
        let mut objects = self.objects.iter();
        let idx = objects.find(|(_, (creator, _))| *creator == ticket);
        let idx = *idx.ok_or(Misuse::NotCreating)?.0;
        let (_, queue) = self.objects.remove(&idx).expect("an object");
        self.released.push(queue);
        Ok(())
    }
}

fn act() -> impl Strategy<Value = Act> {
    // Few objects for much waiting, spread wide for much sharing of buckets.
    let idx = (0u32..24).prop_map(|n| n * n * 977);
    prop_oneof![
        5 => (0u32..18, idx).prop_map(|(ticket, idx)| Act::Begin { ticket, idx }),
        3 => (0u32..18).prop_map(|ticket| Act::Finish { ticket }),
        3 => any::<usize>().prop_map(|list| Act::Pop { list }),
    ]
}

proptest! {
    #[test]
    fn creations_behave_like_a_queue_per_object(
        tickets in 0u32..17,
        acts in vec(act(), 1..120),
    ) {
        let mut creations = Creations::new(vec![Node::IDLE; tickets as usize]);
        let mut lists: Vec<Waiters> = Vec::new();
        let mut model = Model::default();
        for act in acts {
            match act {
                Act::Begin { ticket, idx } => {
                    let expected = model.begin(ticket, idx, tickets);
                    prop_assert_eq!(creations.begin(ticket, idx), expected);
                }
                Act::Finish { ticket } => {
                    let expected = model.finish(ticket, tickets);
                    let got = creations.finish(ticket);
                    prop_assert_eq!(got.as_ref().err(), expected.as_ref().err());
                    lists.extend(got);
                }
                Act::Pop { list } if !lists.is_empty() => {
                    let list = list % lists.len();
                    let expected = model.released[list].pop_front();
                    prop_assert_eq!(lists[list].pop(&mut creations), expected);
                    prop_assert_eq!(lists[list].is_empty(), model.released[list].is_empty());
                }
                Act::Pop { .. } => {}
            }
            let busy = (0..tickets).any(|ticket| model.is_in_use(ticket));
            prop_assert_eq!(creations.is_idle(), !busy);
        }
    }
}
