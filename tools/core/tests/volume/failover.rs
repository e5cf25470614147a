// SPDX-License-Identifier: GPL-2.0

//! All ways of two or three requests, with all that can happen to their connections.

use sheepdog_core::volume::Op;

use super::budget::Budget;
use super::explorer::Explorer;
use super::explorer::Wish;
use super::history::Cells;
use super::sheep::OWN;
use super::sheep::PARENT;
use super::world::Setup;
use super::world::World;

const OBJECTS: u32 = 2;
const ENTRIES: [u32; 3] = [0, OWN.raw(), PARENT.raw()];

/// Two requests, each on a link of its own.
const TWO: Setup = Setup {
    size_bytes: (OBJECTS as u64) << 20,
    tickets: 2,
    links: 2,
    gateways: 2,
    io_timeout_ms: None,
    places: 8,
};
/// Three requests on one link.
const THREE: Setup = Setup {
    tickets: 3,
    links: 1,
    ..TWO
};
/// Less than any pause.
const IO_TIMEOUT_MS: u32 = 500;

const HERE: (u32, usize) = (0, 0);
const BESIDE: (u32, usize) = (0, 1);
const ELSEWHERE: (u32, usize) = (1, 0);

fn wish(op: Op, (object, first): (u32, usize)) -> Wish {
    let count = 1;
    let cells = Cells {
        object,
        first,
        count,
    };
    (op, cells)
}

/// Everything that the guest can wish at these places.
fn wishes(places: &[(u32, usize)]) -> impl Iterator<Item = Wish> + '_ {
    let ops = [Op::Read, Op::Write].into_iter();
    ops.flat_map(|op| places.iter().map(move |place| wish(op, *place)))
}

/// All pairs of wishes; the first begins `HERE`, because it makes no difference which place that is.
fn pairs(places: &[(u32, usize)]) -> Vec<Vec<Wish>> {
    let pairs = wishes(&[HERE]).flat_map(|one| wishes(places).map(move |two| vec![one, two]));
    pairs.collect()
}

/// All triples.
fn triples(places: &[(u32, usize)]) -> Vec<Vec<Wish>> {
    let more = |pair: Vec<Wish>| wishes(places).map(move |three| [&pair[..], &[three]].concat());
    pairs(places).into_iter().flat_map(more).collect()
}

/// Explores each of `cases` on a VDI whose objects begin as `entry`; returns the number of states.
fn explore(setup: Setup, entry: u32, cases: &[Vec<Wish>], budget: Budget) -> usize {
    let (mut states, mut ends) = (0, 0);
    for wishes in cases {
        let world = World::new(setup, vec![entry; OBJECTS as usize]);
        let (more_states, more_ends) = Explorer::run(world, wishes.clone(), budget);
        states += more_states;
        ends += more_ends;
    }
    println!("{states} states, {ends} ends");
    assert!(ends > cases.len() as u64);
    states
}

fn explore_all(setup: Setup, cases: &[Vec<Wish>], budget: Budget) -> usize {
    let each = ENTRIES.into_iter();
    each.map(|entry| explore(setup, entry, cases, budget)).sum()
}

const LOSSES: Budget = Budget {
    losses: 2,
    setbacks: 1,
    ..Budget::NONE
};

#[test]
fn two_requests_on_holes_and_two_losses() {
    assert!(explore(TWO, 0, &pairs(&[HERE, BESIDE]), LOSSES) > 50_000);
}

#[test]
fn two_requests_on_own_objects_and_two_losses() {
    assert!(explore(TWO, OWN.raw(), &pairs(&[HERE, BESIDE]), LOSSES) > 50_000);
}

#[test]
fn two_requests_on_inherited_objects_and_two_losses() {
    let cases = pairs(&[HERE, BESIDE]);
    assert!(explore(TWO, PARENT.raw(), &cases, LOSSES) > 50_000);
}

#[test]
fn two_requests_on_two_objects_and_a_loss() {
    let budget = Budget {
        losses: 1,
        setbacks: 1,
        ..Budget::NONE
    };
    assert!(explore_all(TWO, &pairs(&[ELSEWHERE]), budget) > 10_000);
}

#[test]
fn two_writes_and_losses_far_apart() {
    let budget = Budget {
        delays: 1,
        ..LOSSES
    };
    let cases = [vec![wish(Op::Write, HERE); 2]];
    assert!(explore_all(TWO, &cases, budget) > 100_000);
}

#[test]
fn a_desk_with_one_place_for_zombies() {
    for places in [0, 1] {
        let setup = Setup { places, ..TWO };
        let budget = Budget {
            losses: 1,
            delays: 1,
            ..Budget::NONE
        };
        assert!(explore_all(setup, &pairs(&[HERE, ELSEWHERE]), budget) > 10_000);
    }
}

#[test]
fn three_requests_and_a_loss() {
    let budget = Budget {
        losses: 1,
        ..Budget::NONE
    };
    assert!(explore_all(THREE, &triples(&[HERE, BESIDE]), budget) > 10_000);
}

#[test]
fn a_link_that_breaks_before_its_loss_is_told() {
    let budget = Budget {
        losses: 1,
        breaks: 1,
        ..Budget::NONE
    };
    assert!(explore_all(TWO, &pairs(&[HERE, BESIDE]), budget) > 10_000);
}

#[test]
fn a_mapping_that_ends_at_any_moment() {
    let budget = Budget {
        losses: 1,
        setbacks: 1,
        closes: 1,
        ..Budget::NONE
    };
    assert!(explore_all(TWO, &pairs(&[HERE, BESIDE]), budget) > 10_000);
}

#[test]
fn no_gateway_for_too_long() {
    let setup = Setup {
        io_timeout_ms: Some(IO_TIMEOUT_MS),
        ..TWO
    };
    let budget = Budget {
        losses: 1,
        setbacks: 2,
        delays: 1,
        ..Budget::NONE
    };
    assert!(explore_all(setup, &pairs(&[HERE, BESIDE]), budget) > 10_000);
}

#[test]
fn a_cluster_that_cannot_serve_for_a_while_and_a_loss() {
    let budget = Budget {
        losses: 1,
        waits: 1,
        failures: 1,
        ..Budget::NONE
    };
    assert!(explore_all(TWO, &pairs(&[HERE, BESIDE]), budget) > 10_000);
}

#[test]
fn a_gateway_that_says_that_it_leaves() {
    let budget = Budget {
        losses: 1,
        leaves: 1,
        waits: 1,
        ..Budget::NONE
    };
    assert!(explore_all(TWO, &pairs(&[HERE, BESIDE]), budget) > 10_000);
}

#[test]
fn three_requests_in_every_order() {
    let budget = Budget {
        failures: 1,
        waits: 1,
        ..Budget::NONE
    };
    let cases = triples(&[HERE, BESIDE, ELSEWHERE]);
    assert!(explore_all(THREE, &cases, budget) > 30_000);
}
