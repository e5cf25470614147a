// SPDX-License-Identifier: GPL-2.0

//! `sheepctl` against recorded conversations of real clients with a real sheep: what it changes
//! must be what they changed, and what it shows must be what they saw.

mod support;

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::{json, Value};
use support::RecordedSheep;

/// `sheepctl` on a machine without driver and mappings.
fn sheepctl(sheep: &RecordedSheep, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("sheepctl").unwrap();
    command
        .args(["--host-root", "/nonexistent"])
        .args(arguments)
        .env("SHEEPDOG_GATEWAY", sheep.gateway())
        .timeout(std::time::Duration::from_secs(60));
    command
}

fn json_of(sheep: &RecordedSheep, arguments: &[&str]) -> Value {
    let output = sheepctl(sheep, arguments).assert().success();
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

/// The sheep of `scenario`, or the end of the test when the recordings are left out on purpose.
macro_rules! recorded {
    ($scenario:literal, $changes:literal) => {
        match RecordedSheep::after($scenario, $changes) {
            Some(sheep) => sheep,
            None => return,
        }
    };
}

#[test]
fn create_sends_what_dog_sends_and_knows_a_taken_name() {
    let sheep = recorded!("01-create-dog", 0);
    sheepctl(&sheep, &["vdi", "create", "disk-a", "64M"])
        .assert()
        .success()
        .stdout("");
    sheepctl(&sheep, &["vdi", "create", "disk-a", "64M"])
        .assert()
        .code(17)
        .stderr(
            predicate::str::contains("a VDI of this name exists")
                .and(predicate::str::contains("NEW_VDI: VDI_EXIST")),
        );
    assert_eq!(sheep.changes(), 2);
}

#[test]
fn create_with_copies_or_erasure_code_sends_what_dog_sends() {
    let sheep = recorded!("24-copies-and-erasure-code", 0);
    sheepctl(&sheep, &["vdi", "create", "--copies", "2:1", "ec", "32M"])
        .assert()
        .success();
    assert_eq!(sheep.changes(), 1);
}

#[test]
fn create_with_an_object_size_sends_what_dog_sends() {
    let sheep = recorded!("16-object-sizes", 0);
    for (size, name, vdi_size) in [
        ("1M", "os20", "16M"),
        ("32M", "os25", "128M"),
        ("2G", "os31", "4G"),
    ] {
        sheepctl(&sheep, &["vdi", "create", "-o", size, name, vdi_size])
            .assert()
            .success();
    }
    assert_eq!(sheep.changes(), 3);
}

#[test]
fn list_shows_what_dog_shows() {
    let sheep = recorded!("03a-list-dog", 0);
    let vdis = json_of(&sheep, &["vdi", "list", "--json"]);
    let shown: Vec<Value> = vdis
        .as_array()
        .unwrap()
        .iter()
        .map(|vdi| {
            json!([
                vdi["name"],
                vdi["vdi_id"],
                vdi["size_bytes"],
                vdi["object_size"]
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!(["disk-a", "4344be", 64 << 20, 4 << 20]),
            json!(["disk-b", "43430b", 64 << 20, 4 << 20]),
            json!(["disk-c", "434158", 8 << 20, 4 << 20]),
            json!(["disk-d", "434d3d", 64 << 20, 8 << 20]),
            json!(["disk-p", "4361a1", 12 << 20, 4 << 20]),
        ]
    );
    sheepctl(&sheep, &["vdi", "list"])
        .assert()
        .success()
        .stdout(
            predicate::str::is_match(r"(?m)^disk-p +- +4361a1 +vdi +12 MiB +4 MiB +1 +2026-")
                .unwrap(),
        );
}

#[test]
fn info_counts_the_objects() {
    let sheep = recorded!("03a-list-dog", 0);
    let info = json_of(&sheep, &["vdi", "info", "--json", "disk-p"]);
    let expected = json!({
        "name": "disk-p", "vdi_id": "4361a1", "tag": null, "snapshot": false, "snapshot_id": 1,
        "parent_vdi_id": null, "size_bytes": 12 << 20, "object_size": 4 << 20, "redundancy": "1",
        "hyper": false, "created": info["created"], "objects": 3, "own_objects": 3,
        "inherited_objects": 0,
    });
    assert_eq!(info, expected);
}

#[test]
fn delete_empties_the_map_and_then_deletes() {
    let sheep = recorded!("09a-delete", 0);
    sheepctl(&sheep, &["vdi", "delete", "del1"])
        .assert()
        .code(22)
        .stderr(predicate::str::contains("--yes"));
    assert_eq!(sheep.changes(), 0, "nothing without a yes");
    sheepctl(&sheep, &["vdi", "delete", "--yes", "del1"])
        .assert()
        .success();
    assert_eq!(sheep.changes(), 2);
    sheepctl(&sheep, &["vdi", "create", "del1", "16M"])
        .assert()
        .success();
    sheepctl(&sheep, &["vdi", "delete", "--yes", "nosuch"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("`sheepctl vdi list`"));
}

#[test]
fn delete_of_a_snapshot_leaves_the_working_vdi() {
    let sheep = recorded!("09b-delete-snapshot-then-working", 0);
    sheepctl(&sheep, &["vdi", "delete", "--yes", "del2@s1"])
        .assert()
        .success();
    assert_eq!(sheep.changes(), 2);
    sheepctl(&sheep, &["vdi", "delete", "--yes", "del2"])
        .assert()
        .success();
    assert_eq!(sheep.changes(), 4);
}

#[test]
fn resize_writes_the_size_that_others_write_with_the_whole_header() {
    let sheep = recorded!("08a-resize", 0);
    sheepctl(&sheep, &["vdi", "resize", "rz", "32M"])
        .assert()
        .success();
    sheepctl(&sheep, &["vdi", "resize", "rz", "16M"])
        .assert()
        .code(22)
        .stderr(predicate::str::contains("--shrink"));
    sheepctl(&sheep, &["vdi", "resize", "rz", "5T"])
        .assert()
        .code(27)
        .stderr(predicate::str::contains("at most 1048576 objects"));
    sheepctl(&sheep, &["vdi", "resize", "rz", "48M"])
        .assert()
        .success();
    assert_eq!(sheep.changes(), 2);
}

#[test]
fn snapshot_and_clone_send_what_dog_sends() {
    let sheep = recorded!("05a-clone-cow", 0);
    sheepctl(&sheep, &["vdi", "snapshot", "base", "--tag", "v1"])
        .assert()
        .success();
    assert_eq!(sheep.changes(), 2);
    sheepctl(&sheep, &["vdi", "clone", "base@v1", "cln"])
        .assert()
        .success();
    assert_eq!(sheep.changes(), 3);
}

#[test]
fn only_snapshots_are_cloned() {
    let sheep = recorded!("05c-clone-dog-variants", 0);
    sheepctl(&sheep, &["vdi", "clone", "base", "cln4"])
        .assert()
        .code(22)
        .stderr(predicate::str::contains("only snapshots can be cloned"));
    sheepctl(&sheep, &["vdi", "clone", "base@nosuch", "cln4"])
        .assert()
        .code(2);
    assert_eq!(sheep.changes(), 0);
}

#[test]
fn a_taken_tag_is_refused() {
    let sheep = recorded!("05c-clone-dog-variants", 0);
    sheepctl(&sheep, &["vdi", "snapshot", "base", "--tag", "v1"])
        .assert()
        .code(17);
    assert_eq!(sheep.changes(), 0);
}

#[test]
fn unknown_names_and_tags_are_told_apart() {
    let sheep = recorded!("11-unknown-vdi", 0);
    sheepctl(&sheep, &["vdi", "info", "nosuch"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("there is no VDI of this name"));
    sheepctl(&sheep, &["vdi", "info", "base@nosuchtag"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("has no such snapshot"));
}

#[test]
fn a_lock_is_listed_and_released() {
    let sheep = recorded!("10b-lock-left-by-killed-client", 2);
    let locks = json_of(&sheep, &["vdi", "lock", "list", "--json"]);
    assert_eq!(
        locks[0],
        json!({"name": "lk2", "tag": null, "vdi_id": "a45496", "type": "normal",
               "owners": ["127.0.0.1:17000"]})
    );
    sheepctl(&sheep, &["vdi", "lock", "release", "lk2"])
        .assert()
        .success();
    sheepctl(&sheep, &["vdi", "lock", "release", "lk2"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("is not locked"));
}

#[test]
fn cluster_info_shows_what_dog_shows() {
    let sheep = recorded!("01-create-dog", 0);
    let cluster = json_of(&sheep, &["cluster", "info", "--json"]);
    assert_eq!(cluster["status"], "ok");
    assert_eq!(cluster["epoch"], 1);
    assert_eq!(cluster["store"], "plain");
    assert_eq!(cluster["object_size"], 4 << 20);
    assert_eq!(cluster["flags"], json!(["auto_vnodes", "use_lock"]));
    assert_eq!(cluster["nodes"][0]["address"], "127.0.0.1:17000");
    assert_eq!(cluster["nodes"].as_array().unwrap().len(), 1);
}

#[test]
fn an_unformatted_cluster_is_shown_as_such() {
    let sheep = recorded!("00-unformatted-cluster", 0);
    let cluster = json_of(&sheep, &["cluster", "info", "--json"]);
    assert_eq!(cluster["status"], "unformatted");
    assert_eq!(cluster["formatted"], Value::Null);
}
