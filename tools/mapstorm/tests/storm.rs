// SPDX-License-Identifier: GPL-2.0

//! A short storm over files of this machine, and one that is not waited for.

use std::time::Duration;

use mapstorm::storm::run;
use mapstorm::storm::Kind;
use mapstorm::storm::Order;

fn order() -> Order {
    Order {
        threads: 4,
        file_len: 1 << 20,
        duration: Duration::from_millis(500),
        patience: Duration::from_secs(60),
        seed: 1,
    }
}

#[test]
fn does_everything_and_leaves_nothing() {
    // Not in /tmp, which may be a tmpfs, without direct I/O.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let report = run(directory.path(), &order()).unwrap();
    assert!(report.is_good(), "{report}");
    for kind in [Kind::Fault, Kind::Protect, Kind::Direct, Kind::Map] {
        assert!(report.steps(kind) > 0, "{report}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn refuses_files_that_are_too_small() {
    let directory = tempfile::tempdir().unwrap();
    let order = Order {
        file_len: 4096,
        ..order()
    };
    assert!(run(directory.path(), &order).is_err());
}
