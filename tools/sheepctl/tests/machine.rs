// SPDX-License-Identifier: GPL-2.0

//! `sheepctl` on machines made of files: usage, exit codes, and what it reads from the driver.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::json;

fn sheepctl(root: &Path) -> Command {
    let mut command = Command::cargo_bin("sheepctl").unwrap();
    command
        .env_remove("SHEEPDOG_GATEWAY")
        .arg("--host-root")
        .arg(root)
        .timeout(std::time::Duration::from_secs(30));
    command
}

fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A machine with one mapping that has lost its gateway, and one failed mapping.
fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let live = [
        ("gateways", "192.0.2.1:7000,[2001:db8::1]:7001\n"),
        ("vdi", "my vm\n"),
        ("connections", "4\n"),
        ("queue_depth", "128\n"),
        ("connect_timeout_ms", "10000\n"),
        ("reply_timeout_ms", "30000\n"),
        ("io_timeout_ms", "120000\n"),
        ("fence_ms", "40000\n"),
        ("read_only", "0\n"),
        ("map", ""),
        ("unmap", ""),
        ("state", "reconnecting\n"),
        ("device", "sheepa\n"),
        ("vdi_id", "7c2b25\n"),
        ("size_bytes", "10737418240\n"),
        ("object_size", "4194304\n"),
        ("memory_bytes", "66560\n"),
        ("gateway", "[2001:db8::1]:7001\n"),
        ("in_flight", "3\n"),
        ("waiting", "17\n"),
    ];
    for (file, content) in live {
        put(
            root.path(),
            &format!("sys/kernel/config/sheepdog/vm/{file}"),
            content,
        );
        let failed = match file {
            "state" => "failed\n",
            "device" | "vdi_id" | "size_bytes" | "object_size" | "memory_bytes" | "gateway"
            | "in_flight" | "waiting" => "\n",
            "vdi" => "other\n",
            _ => content,
        };
        put(
            root.path(),
            &format!("sys/kernel/config/sheepdog/zz/{file}"),
            failed,
        );
    }
    root
}

#[test]
fn wrong_usage_exits_with_einval() {
    let root = machine();
    for arguments in [
        &["map"][..],
        &["frobnicate"],
        &["map", "--connections", "17", "vm0"],
        &["map", "--queue-depth", "0", "vm0"],
        &["map", "--reply-timeout", "0", "vm0"],
        &["map", "--io-timeout", "25h", "vm0"],
        &["map", "--fence", "61m", "vm0"],
        &["info"],
        &["map", "--gateway", "::1", "vm0"],
        &["map", "--name", "a/b", "vm0"],
        &["map", ""],
        &["vdi", "create", "vm0", "10X"],
        &["vdi", "create", "vm0", "0"],
        &["vdi", "create", "vm0", "1000"],
        &["vdi", "create", "--object-size", "3M", "vm0", "1G"],
        &["vdi", "create", "--object-size", "512K", "vm0", "1G"],
        &["vdi", "create", "--copies", "32", "vm0", "1G"],
        &["vdi", "info", "@tag"],
        &["vdi", "snapshot", "vm0"],
    ] {
        let closed = closed_port();
        sheepctl(root.path())
            .env("SHEEPDOG_GATEWAY", &closed)
            .args(arguments)
            .assert()
            .code(22)
            .stdout("")
            .stderr(predicate::str::is_empty().not());
    }
}

/// An address at which nobody listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn names_that_are_too_long_say_so() {
    let root = machine();
    let name = "x".repeat(256);
    sheepctl(root.path())
        .args(["vdi", "create", &name, "1G"])
        .assert()
        .code(22)
        .stderr(predicate::str::contains("longer than 255 bytes"));
}

#[test]
fn help_and_version_succeed_and_tell_the_exit_codes() {
    let root = machine();
    sheepctl(root.path())
        .arg("--help")
        .assert()
        .success()
        .stdout(predicate::str::contains("EBUSY").and(predicate::str::contains("unmap")));
    sheepctl(root.path()).arg("--version").assert().success();
}

#[test]
fn list_shows_the_mappings() {
    let root = machine();
    sheepctl(root.path()).arg("list").assert().success().stdout(
        "DEVICE       VDI    MAPPING  STATE         WAITING  SIZE    ACCESS  GATEWAY\n\
         /dev/sheepa  my vm  vm       reconnecting  17       10 GiB  rw      [2001:db8::1]:7001\n\
         -            other  zz       failed        0        -       rw      -\n",
    );
}

#[test]
fn info_shows_one_mapping_and_what_its_state_means() {
    let root = machine();
    sheepctl(root.path())
        .args(["info", "/dev/sheepa"])
        .assert()
        .success()
        .stdout(
            predicate::str::contains(
                "state:            reconnecting (no connection to a gateway; requests wait)\n",
            )
            .and(predicate::str::contains(
                "gateway:          [2001:db8::1]:7001\n\
                 gateways:         192.0.2.1:7000 [2001:db8::1]:7001\n\
                 in flight:        3\n\
                 waiting:          17\n",
            ))
            .and(predicate::str::contains("io timeout:       2m\n"))
            .and(predicate::str::contains("fence:            40s\n")),
        );
    let output = sheepctl(root.path())
        .args(["info", "--json", "other"])
        .assert()
        .success();
    let shown: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(
        (&shown["mapping"], &shown["gateway"]),
        (&json!("zz"), &json!(null))
    );
    sheepctl(root.path())
        .args(["info", "sheepb"])
        .assert()
        .code(19)
        .stderr(predicate::str::contains("is not mapped"));
}

#[test]
fn list_as_json_keeps_its_schema() {
    let root = machine();
    let output = sheepctl(root.path())
        .args(["list", "--json"])
        .assert()
        .success();
    let shown: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let gateways = json!(["192.0.2.1:7000", "[2001:db8::1]:7001"]);
    assert_eq!(
        shown,
        json!([
            {
                "mapping": "vm", "vdi": "my vm", "vdi_id": "7c2b25", "device": "/dev/sheepa",
                "state": "reconnecting", "size_bytes": 10_737_418_240_u64,
                "object_size": 4_194_304, "read_only": false, "gateways": gateways,
                "gateway": "[2001:db8::1]:7001", "connections": 4, "queue_depth": 128,
                "connect_timeout_ms": 10000, "reply_timeout_ms": 30000, "io_timeout_ms": 120_000,
                "fence_ms": 40000, "memory_bytes": 66560, "in_flight": 3, "waiting": 17
            },
            {
                "mapping": "zz", "vdi": "other", "vdi_id": null, "device": null,
                "state": "failed", "size_bytes": null, "object_size": null,
                "read_only": false, "gateways": gateways, "gateway": null, "connections": 4,
                "queue_depth": 128, "connect_timeout_ms": 10000, "reply_timeout_ms": 30000,
                "io_timeout_ms": 120_000, "fence_ms": 40000, "memory_bytes": 0, "in_flight": 0,
                "waiting": 0
            }
        ])
    );
}

#[test]
fn without_the_driver_nothing_is_mapped() {
    let root = tempfile::tempdir().unwrap();
    sheepctl(root.path())
        .arg("list")
        .assert()
        .success()
        .stdout("");
    sheepctl(root.path())
        .args(["list", "--json"])
        .assert()
        .success()
        .stdout("[]\n");
    sheepctl(root.path())
        .args(["unmap", "/dev/sheepa"])
        .assert()
        .code(19)
        .stderr(predicate::str::contains("is not mapped"));
    sheepctl(root.path())
        .args(["map", "vm0"])
        .assert()
        .code(19)
        .stderr(predicate::str::contains("modprobe sheepdog"));
}

#[test]
fn a_mapped_vdi_is_neither_deleted_nor_snapshotted_nor_cut_off() {
    let root = machine();
    for arguments in [
        &["vdi", "delete", "--yes", "my vm"][..],
        &["vdi", "snapshot", "--tag", "t", "my vm"],
        &["vdi", "resize", "--shrink", "my vm", "1G"],
    ] {
        sheepctl(root.path())
            .env("SHEEPDOG_GATEWAY", "192.0.2.1")
            .args(arguments)
            .assert()
            .code(16)
            .stderr(predicate::str::contains("sheepctl unmap /dev/sheepa"));
    }
    sheepctl(root.path())
        .env("SHEEPDOG_GATEWAY", closed_port())
        .args(["vdi", "delete", "--yes", "other"])
        .assert()
        .code(111);
}

#[test]
fn commands_that_use_one_vdi_wait_for_each_other() {
    let root = machine();
    put(root.path(), "run/sheepctl/my_vm", "");
    for arguments in [
        &["map", "-g", "192.0.2.1", "my vm"][..],
        &["vdi", "snapshot", "--tag", "t", "my vm"],
        &["vdi", "resize", "--shrink", "my vm", "1G"],
    ] {
        let lock = fs::File::open(root.path().join("run/sheepctl/my_vm")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let mut child = Process::new(assert_cmd::cargo::cargo_bin("sheepctl"))
            .arg("--host-root")
            .arg(root.path())
            .args(arguments)
            .env("SHEEPDOG_GATEWAY", "192.0.2.1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        assert!(said.contains("waiting for another sheepctl"), "{said}");
        drop(lock);
        assert_eq!(child.wait().unwrap().code(), Some(16), "{arguments:?}");
    }
}

#[test]
fn map_refuses_a_second_writer_before_it_touches_the_driver() {
    let root = machine();
    sheepctl(root.path())
        .args(["map", "--gateway", "192.0.2.1", "my vm"])
        .assert()
        .code(16)
        .stderr(predicate::str::contains("already mapped, as /dev/sheepa"));
    assert_eq!(
        fs::read_dir(root.path().join("sys/kernel/config/sheepdog"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn unmap_writes_to_the_mapping_that_is_meant() {
    let root = machine();
    let directory = root.path().join("sys/kernel/config/sheepdog/vm");
    // A directory of files cannot be removed as the driver's can, so only the first half is seen.
    sheepctl(root.path())
        .args(["unmap", "--force", "/dev/sheepa"])
        .assert()
        .code(39)
        .stderr(predicate::str::contains("cannot remove the mapping `vm`"));
    assert_eq!(
        fs::read_to_string(directory.join("unmap")).unwrap(),
        "force"
    );
}

#[test]
fn the_udev_helper_knows_the_disks_of_mappings_only() {
    let root = machine();
    sheepctl(root.path())
        .args(["udev-export", "sheepa"])
        .assert()
        .success()
        .stdout("SHEEPDOG_MAPPING=vm\nSHEEPDOG_VDI_ENC=my\\x20vm\n");
    sheepctl(root.path())
        .args(["udev-export", "sheepb"])
        .assert()
        .code(19)
        .stdout("");
}

#[test]
fn check_tells_risks_and_its_exit_status_says_so() {
    let nowhere = tempfile::tempdir().unwrap();
    sheepctl(nowhere.path())
        .arg("check")
        .assert()
        .success()
        .stdout("no risk found, looked at 0 disks and 0 daemons\n");
    let root = machine();
    sheepctl(root.path())
        .arg("check")
        .assert()
        .code(1)
        .stdout(predicate::str::contains(
            "risk: /dev/sheepa: no gateway answers, 17 requests wait\n",
        ))
        .stderr("sheepctl: 2 risks found\n");
    let output = sheepctl(root.path())
        .args(["check", "--json"])
        .assert()
        .code(1);
    let shown: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(shown["disks"], json!(["/dev/sheepa"]));
    assert_eq!(shown["daemons"], json!([]));
    let finding = &shown["findings"][0];
    assert_eq!(
        (&finding["level"], &finding["kind"], &finding["subject"]),
        (
            &json!("risk"),
            &json!("mapping-state"),
            &json!("/dev/sheepa")
        )
    );
}

#[test]
fn every_shell_gets_a_completion_script() {
    let root = machine();
    for shell in ["bash", "zsh", "fish"] {
        sheepctl(root.path())
            .args(["completion", shell])
            .assert()
            .success()
            .stdout(predicate::str::contains("unmap"));
    }
}

#[test]
fn every_command_gets_a_manual_page() {
    let root = machine();
    let pages = root.path().join("man1");
    sheepctl(root.path())
        .arg("man")
        .arg(&pages)
        .assert()
        .success();
    for page in [
        "sheepctl.1",
        "sheepctl-map.1",
        "sheepctl-guard.1",
        "sheepctl-vdi-create.1",
    ] {
        assert!(pages.join(page).exists(), "{page}");
    }
    for hidden in ["sheepctl-udev-export.1", "sheepctl-guard-watch.1"] {
        assert!(!pages.join(hidden).exists(), "{hidden}");
    }
    let main = fs::read_to_string(pages.join("sheepctl.1")).unwrap();
    for section in ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
        assert!(
            main.contains(&format!(".SH \"{section}\""))
                || main.contains(&format!(".SH {section}")),
            "{section}"
        );
    }
    let printed = sheepctl(root.path()).arg("man").assert().success();
    assert_eq!(String::from_utf8_lossy(&printed.get_output().stdout), main);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let root = machine();
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("sheepctl"))
        .arg("--host-root")
        .arg(root.path())
        .args(["completion", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
