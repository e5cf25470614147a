// SPDX-License-Identifier: GPL-2.0

//! Machines made of files, with the two sheep that were recorded in tests/proc.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::failure::Failure;
use crate::mapping::model::ModelDriver;
use crate::mapping::{status, Attribute};

/// Process id of the sheep in all machines.
const PID: u32 = 812;

/// Where it listens: inode of the socket, and the line of `/proc/net/tcp` as recorded.
const SOCKET: &str = "socket:[1277]";
const LISTENS: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
    1: 0100007F:1BD4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1277 1 00000000e9b7f8a4 100 0 0 10 0\n";

struct Machine {
    root: tempfile::TempDir,
    driver: ModelDriver,
}

impl Machine {
    /// A machine whose disk is mapped from elsewhere, and which runs a sheep.
    fn with_sheep(recorded: &str) -> Self {
        let machine = Self {
            root: tempfile::tempdir().unwrap(),
            driver: ModelDriver::with_live("vm0", "vm0", "sheepa"),
        };
        machine
            .driver
            .set("vm0", Attribute::Gateways, "192.0.2.1:7000");
        machine.put("sys/block/sheepa/dev", "252:0\n");
        machine.put("sys/block/sheepa/sheepa1/dev", "252:1\n");
        machine.put("sys/block/sheepa/sheepa1/partition", "1\n");
        machine.put("proc/net/tcp", LISTENS);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proc");
        copy(&source.join(recorded), &machine.process(""));
        fs::create_dir(machine.process("fd")).unwrap();
        symlink(SOCKET, machine.process("fd/3")).unwrap();
        symlink("/tmp/s2/lock", machine.process("fd/4")).unwrap();
        machine
    }

    fn process(&self, file: &str) -> std::path::PathBuf {
        self.root.path().join(format!("proc/{PID}")).join(file)
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn report(&self) -> Report {
        look(&Host::new(self.root.path()), status::all(&self.driver)).unwrap()
    }

    fn kinds(&self, level: Level) -> Vec<&'static str> {
        let mut findings = self.report().findings;
        findings.retain(|finding| finding.level == level);
        findings.iter().map(|finding| finding.kind).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_guarded_sheep_is_no_risk() {
    let machine = Machine::with_sheep("guarded");
    let report = machine.report();
    assert_eq!(report.findings, []);
    let daemon = &report.daemons[0];
    assert_eq!((daemon.pid, daemon.name.as_str()), (PID, "devsheep"));
    assert_eq!((daemon.threads, daemon.io_flusher_threads), (3, 3));
    assert_eq!(daemon.unlocked_bytes, Some(11 << 10));
    assert_eq!(
        report.to_string(),
        "no risk found, looked at 1 disk and 1 daemon\n"
    );
}

#[test]
fn an_unguarded_sheep_is_a_risk() {
    let machine = Machine::with_sheep("plain");
    assert_eq!(
        machine.kinds(Level::Risk),
        ["not-io-flusher", "memory-not-locked"]
    );
    let shown = machine.report().to_string();
    for words in [
        "risk: devsheep (pid 812): 3 of 3 threads no I/O flusher",
        "4.31 MiB of its memory are not locked",
        "sheepctl guard -- COMMAND",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn one_thread_that_is_no_flusher_is_a_risk() {
    let machine = Machine::with_sheep("guarded");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proc/plain/task/131/stat");
    fs::copy(other, machine.process("task/136/stat")).unwrap();
    assert_eq!(machine.kinds(Level::Risk), ["not-io-flusher"]);
    assert!(machine.report().to_string().contains("1 of 3 threads"));
}

#[test]
fn without_a_disk_nothing_can_wait() {
    let machine = Machine::with_sheep("plain");
    machine.driver.set("vm0", Attribute::Device, "");
    assert_eq!(machine.kinds(Level::Risk), [""; 0]);
    assert_eq!(
        machine.kinds(Level::Note),
        ["not-io-flusher", "memory-not-locked"]
    );
}

#[test]
fn whatever_listens_at_the_gateway_is_looked_at() {
    let machine = Machine::with_sheep("plain");
    machine.put(&format!("proc/{PID}/comm"), "haproxy\n");
    assert_eq!(machine.report().daemons, []);
    let gateways = "192.0.2.1:7000,127.0.0.1:7124";
    machine.driver.set("vm0", Attribute::Gateways, gateways);
    let report = machine.report();
    assert_eq!(report.daemons[0].gateway_of, ["127.0.0.1:7124"]);
    assert_eq!(machine.kinds(Level::Note), ["gateway-on-this-host"]);
    assert_eq!(report.risks(), 2);
}

#[test]
fn a_local_gateway_without_process_is_a_risk() {
    let machine = Machine::with_sheep("guarded");
    machine
        .driver
        .set("vm0", Attribute::Gateways, "127.0.0.1:7001");
    assert_eq!(machine.kinds(Level::Risk), ["gateway-on-this-host"]);
}

#[test]
fn a_small_cgroup_is_a_risk() {
    let machine = Machine::with_sheep("guarded");
    machine.put(&format!("proc/{PID}/cgroup"), "0::/a.slice/sheep.service\n");
    machine.put("sys/fs/cgroup/a.slice/memory.max", "1073741824\n");
    assert_eq!(machine.report().findings, []);
    machine.put(
        "sys/fs/cgroup/a.slice/sheep.service/memory.high",
        "268435456\n",
    );
    assert_eq!(machine.kinds(Level::Risk), ["small-memory-cgroup"]);
}

#[test]
fn memory_that_is_never_swapped_is_a_note() {
    let machine = Machine::with_sheep("plain");
    machine.put(&format!("proc/{PID}/cgroup"), "0::/sheep.service\n");
    machine.put("sys/fs/cgroup/sheep.service/memory.swap.max", "0\n");
    assert_eq!(machine.kinds(Level::Risk), ["not-io-flusher"]);
    assert_eq!(machine.kinds(Level::Note), ["memory-not-locked"]);
}

#[test]
fn a_store_on_the_disk_is_a_risk() {
    let machine = Machine::with_sheep("guarded");
    machine.put(
        &format!("proc/{PID}/mountinfo"),
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 20 253:3 / /tmp/s2 rw - xfs /dev/mapper/a rw\n",
    );
    assert_eq!(machine.report().findings, []);
    // A volume made of a partition of the disk.
    machine.put("sys/block/sheepa/sheepa1/holders/dm-3/x", "");
    machine.put("sys/block/dm-3/dev", "253:3\n");
    assert_eq!(machine.kinds(Level::Risk), ["store-on-sheep-disk"]);
}

#[test]
fn swap_on_the_disk_is_a_risk() {
    let machine = Machine::with_sheep("guarded");
    let table = "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n";
    machine.put("proc/swaps", table);
    assert_eq!(machine.report().findings, []);
    machine.put(
        "proc/swaps",
        &format!("{table}/dev/sheepa1 partition 1 0 -3\n"),
    );
    assert_eq!(machine.kinds(Level::Risk), ["swap"]);
    assert!(machine
        .report()
        .to_string()
        .contains("swapoff /dev/sheepa1"));
}

#[test]
fn a_mapping_without_gateway_is_a_risk() {
    let machine = Machine::with_sheep("guarded");
    for state in ["reconnecting", "failing", "failed"] {
        machine.driver.set("vm0", Attribute::State, state);
        assert_eq!(machine.kinds(Level::Risk), ["mapping-state"], "{state}");
    }
    machine.driver.set("vm0", Attribute::State, "removing");
    assert_eq!(machine.kinds(Level::Note), ["mapping-state"]);
}

#[test]
fn mappings_that_cannot_be_looked_at_are_a_risk() {
    let machine = Machine::with_sheep("guarded");
    let denied = |errno| {
        look(
            &Host::new(machine.root.path()),
            Err(Failure::new(errno, "x")),
        )
    };
    let report = denied(Errno::ACCESS).unwrap();
    assert_eq!(
        (report.findings[0].kind, report.risks()),
        ("cannot-look", 1)
    );
    assert_eq!(denied(Errno::IO).unwrap_err().errno(), Errno::IO);
}
