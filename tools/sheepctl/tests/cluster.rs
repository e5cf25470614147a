// SPDX-License-Identifier: GPL-2.0

//! `sheepctl` against the development sheep: whole lives of VDIs, and gateways that misbehave.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use assert_cmd::Command;
use clap::Parser;
use predicates::prelude::*;
use serde_json::{json, Value};
use sheepdog_core::proto::arm::VdiArm;
use sheepdog_core::proto::inode::map_offset;
use sheepdog_core::proto::limits::HEADER_LEN;
use sheepdog_core::proto::{LockType, ObjectId, Opcode, RequestHeader, ResponseHeader, Vid};

/// A development sheep in this process.
struct Sheep {
    address: SocketAddr,
}

impl Sheep {
    fn start(arguments: &[&str]) -> Self {
        let fixed = ["devsheep", "--listen", "127.0.0.1:0"];
        let arguments = fixed.iter().chain(arguments);
        let args = devsheep::cli::Args::parse_from(arguments);
        let (tell, told) = channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = args.server().await.unwrap();
                tell.send(server.addresses()[0]).unwrap();
                server.run(std::future::pending()).await;
            });
        });
        let address = told.recv_timeout(Duration::from_secs(30)).unwrap();
        Self { address }
    }

    fn sheepctl(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        self.sheepctl_on(Path::new("/nonexistent"), arguments)
    }

    /// On the machine below `root`.
    fn sheepctl_on(&self, root: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
        Command::cargo_bin("sheepctl")
            .unwrap()
            .arg("--host-root")
            .arg(root)
            .args(arguments)
            .env("SHEEPDOG_GATEWAY", self.address.to_string())
            .timeout(Duration::from_secs(60))
            .assert()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.sheepctl(arguments).success();
        serde_json::from_slice(&output.get_output().stdout).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let vdis = self.json(&["vdi", "list", "--json"]);
        let name = |vdi: &Value| {
            let tag = vdi["tag"].as_str().map(|tag| format!("@{tag}"));
            vdi["name"].as_str().unwrap().to_owned() + &tag.unwrap_or_default()
        };
        vdis.as_array().unwrap().iter().map(name).collect()
    }

    fn vid(&self, vdi: &str) -> Vid {
        let info = self.json(&["vdi", "info", "--json", vdi]);
        let vid = u32::from_str_radix(info["vdi_id"].as_str().unwrap(), 16).unwrap();
        Vid::new(vid).unwrap()
    }

    /// One request by hand, which has to succeed.
    fn request(&self, request: &RequestHeader, payload: &[u8]) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream.write_all(&request.to_bytes()).unwrap();
        stream.write_all(payload).unwrap();
        let mut header = [0; HEADER_LEN];
        stream.read_exact(&mut header).unwrap();
        assert!(ResponseHeader::from_bytes(&header).result.is_success());
    }

    /// The same sheep behind a gateway that calls `meddle` with every request before it is carried
    /// out, and closes the connection in place of that when it returns false.
    fn meddled(&self, mut meddle: impl FnMut(&RequestHeader) -> bool + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sheep = self.address;
        thread::spawn(move || {
            for stream in listener.incoming() {
                // An error is the end of a client.
                let _ = relay(stream.unwrap(), sheep, &mut meddle);
            }
        });
        Self { address }
    }

    /// Writes the objects `indices` of the VDI, as a driver does.
    fn write_objects(&self, vid: Vid, indices: impl Iterator<Item = u32>) {
        for idx in indices {
            self.request(
                &RequestHeader::create_obj(ObjectId::data(vid, idx), 0, 4),
                b"data",
            );
            let offset = map_offset(idx).unwrap();
            let entry = RequestHeader::write_obj(ObjectId::inode(vid), offset, 4);
            self.request(&entry, &vid.raw().to_le_bytes());
        }
    }
}

fn relay(
    mut client: TcpStream,
    sheep: SocketAddr,
    meddle: &mut impl FnMut(&RequestHeader) -> bool,
) -> std::io::Result<()> {
    let mut sheep = TcpStream::connect(sheep)?;
    let mut header = [0; HEADER_LEN];
    loop {
        client.read_exact(&mut header)?;
        let request = RequestHeader::from_bytes(&header);
        let mut payload = vec![0; request.payload_len() as usize];
        client.read_exact(&mut payload)?;
        if !meddle(&request) {
            return Ok(());
        }
        sheep.write_all(&header)?;
        sheep.write_all(&payload)?;
        sheep.read_exact(&mut header)?;
        let mut data = vec![0; ResponseHeader::from_bytes(&header).data_length as usize];
        sheep.read_exact(&mut data)?;
        client.write_all(&header)?;
        client.write_all(&data)?;
    }
}

#[test]
fn a_vdi_lives_from_create_to_delete() {
    let sheep = Sheep::start(&[]);
    sheep.sheepctl(&["vdi", "list"]).success().stdout("");
    sheep
        .sheepctl(&["vdi", "create", "vm0", "1G"])
        .success()
        .stdout("");
    sheep.sheepctl(&["vdi", "create", "vm0", "1G"]).code(17);
    sheep.sheepctl(&["vdi", "resize", "vm0", "2G"]).success();
    sheep.sheepctl(&["vdi", "resize", "vm0", "1G"]).code(22);
    sheep
        .sheepctl(&["vdi", "resize", "--shrink", "vm0", "1536M"])
        .success();
    let info = sheep.json(&["vdi", "info", "--json", "vm0"]);
    assert_eq!(
        (&info["size_bytes"], &info["objects"]),
        (&json!(1536 << 20), &json!(384))
    );
    sheep.sheepctl(&["vdi", "delete", "--yes", "vm0"]).success();
    sheep.sheepctl(&["vdi", "delete", "--yes", "vm0"]).code(2);
    assert_eq!(sheep.names(), Vec::<String>::new());
}

#[test]
fn snapshots_and_clones_share_and_outlive_each_other() {
    let sheep = Sheep::start(&[]);
    sheep
        .sheepctl(&["vdi", "create", "-o", "1M", "base", "16M"])
        .success();
    sheep.write_objects(sheep.vid("base"), 0..3);
    sheep
        .sheepctl(&["vdi", "snapshot", "base", "--tag", "t1"])
        .success();
    sheep
        .sheepctl(&["vdi", "snapshot", "base", "--tag", "t1"])
        .code(17);
    sheep.sheepctl(&["vdi", "clone", "base", "copy"]).code(22);
    sheep
        .sheepctl(&["vdi", "clone", "base@t1", "copy"])
        .success();
    assert_eq!(sheep.names(), ["base@t1", "base", "copy"]);
    let copy = sheep.json(&["vdi", "info", "--json", "copy"]);
    assert_eq!(
        (&copy["own_objects"], &copy["inherited_objects"]),
        (&json!(0), &json!(3))
    );
    assert_eq!(
        (&copy["object_size"], &copy["size_bytes"]),
        (&json!(1 << 20), &json!(16 << 20))
    );
    sheep
        .sheepctl(&["vdi", "delete", "--yes", "base@t1"])
        .success();
    sheep
        .sheepctl(&["vdi", "delete", "--yes", "base"])
        .success();
    assert_eq!(sheep.names(), ["copy"]);
    sheep
        .sheepctl(&["vdi", "delete", "--yes", "copy"])
        .success();
    assert_eq!(sheep.names(), Vec::<String>::new());
}

/// A gateway through which somebody else's snapshot comes in between, before the first `opcode`.
fn with_a_snapshot_before(sheep: &Sheep, opcode: Opcode) -> Sheep {
    let other = Sheep {
        address: sheep.address,
    };
    let mut waits = true;
    sheep.meddled(move |request| {
        if request.opcode == opcode && waits {
            waits = false;
            other
                .sheepctl(&["vdi", "snapshot", "base", "--tag", "theirs"])
                .success();
        }
        true
    })
}

#[test]
fn a_snapshot_taken_meanwhile_ends_another_one() {
    let sheep = Sheep::start(&[]);
    sheep.sheepctl(&["vdi", "create", "base", "16M"]).success();
    with_a_snapshot_before(&sheep, Opcode::WRITE_OBJ)
        .sheepctl(&["vdi", "snapshot", "base", "--tag", "mine"])
        .code(16)
        .stderr(predicate::str::contains("changed by somebody else"))
        .stderr(predicate::str::contains("may have got the tag `mine`"));
    let info = sheep.json(&["vdi", "info", "--json", "base"]);
    assert_eq!(info["snapshot_id"], 2);
}

#[test]
fn a_snapshot_that_took_the_vdi_back_says_where_the_data_is() {
    let sheep = Sheep::start(&[]);
    sheep.sheepctl(&["vdi", "create", "base", "16M"]).success();
    let base = sheep.vid("base");
    let holder = Vid::new(base.raw() + 1).unwrap();
    with_a_snapshot_before(&sheep, Opcode::NEW_VDI)
        .sheepctl(&["vdi", "snapshot", "base", "--tag", "mine"])
        .code(16)
        .stderr(predicate::str::contains(format!(
            "went back to what snapshot 1 (id {base}) holds"
        )))
        .stderr(predicate::str::contains(format!(
            "is in base@#2 (id {holder})"
        )));
    let info = sheep.json(&["vdi", "info", "--json", "base"]);
    assert_eq!(info["parent_vdi_id"], json!(base.to_string()));
}

#[test]
fn delete_gives_up_every_object_even_beyond_the_end() {
    let sheep = Sheep::start(&["--upstream-delete"]);
    sheep
        .sheepctl(&["vdi", "create", "-o", "1M", "vm0", "8G"])
        .success();
    let objects = (0..150).chain((1000..8000).step_by(500)).chain([8191]);
    sheep.write_objects(sheep.vid("vm0"), objects);
    sheep
        .sheepctl(&["vdi", "resize", "--shrink", "vm0", "1G"])
        .success();
    sheep.sheepctl(&["vdi", "delete", "--yes", "vm0"]).success();
    sheep.sheepctl(&["vdi", "info", "vm0"]).code(2);
}

#[test]
fn a_delete_that_fails_midway_says_that_data_is_gone() {
    let sheep = Sheep::start(&["--use-lock"]);
    sheep
        .sheepctl(&["vdi", "create", "-o", "1M", "vm0", "1G"])
        .success();
    sheep.write_objects(sheep.vid("vm0"), 0..300);
    let mut writes = 0;
    let breaking = sheep.meddled(move |request| {
        writes += u32::from(request.opcode == Opcode::WRITE_OBJ);
        writes < 2
    });
    breaking
        .sheepctl(&["vdi", "delete", "--yes", "vm0"])
        .code(104)
        .stderr(predicate::str::contains("256 of its objects are gone"))
        .stderr(predicate::str::contains(
            "before you delete again, a few minutes",
        ))
        .stderr(predicate::str::contains("sheepctl vdi lock release vm0"));
    sheep.sheepctl(&["vdi", "lock", "release", "vm0"]).success();
    sheep.sheepctl(&["vdi", "delete", "--yes", "vm0"]).success();
}

#[test]
fn an_interrupted_delete_releases_the_lock_and_says_that_data_is_gone() {
    let sheep = Sheep::start(&["--use-lock"]);
    sheep
        .sheepctl(&["vdi", "create", "-o", "1M", "vm0", "1G"])
        .success();
    sheep.write_objects(sheep.vid("vm0"), 0..300);
    let (tell, told) = channel();
    let (go_on, goes_on) = channel();
    let slow = sheep.meddled(move |request| {
        if request.opcode == Opcode::WRITE_OBJ {
            tell.send(()).unwrap();
            goes_on.recv().unwrap();
        }
        true
    });
    let child = Process::new(assert_cmd::cargo::cargo_bin("sheepctl"))
        .args(["--host-root", "/nonexistent"])
        .args(["vdi", "delete", "--yes", "vm0"])
        .env("SHEEPDOG_GATEWAY", slow.address.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    told.recv_timeout(Duration::from_secs(30)).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    go_on.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("128 of its objects are gone"), "{said}");
    assert_eq!(sheep.json(&["vdi", "lock", "list", "--json"]), json!([]));
}

/// A machine that has the VDI `vm0` of `gateway` mapped.
fn machine_with_vm0_of(gateway: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let mapping = root.path().join("sys/kernel/config/sheepdog/vm0");
    fs::create_dir_all(&mapping).unwrap();
    for (file, content) in [
        ("gateways", gateway),
        ("vdi", "vm0"),
        ("connections", "1"),
        ("queue_depth", "64"),
        ("connect_timeout_ms", "10000"),
        ("io_timeout_ms", "0"),
        ("read_only", "0"),
        ("state", "live"),
        ("device", "sheepa"),
        ("vdi_id", ""),
        ("size_bytes", ""),
        ("object_size", ""),
        ("memory_bytes", ""),
        ("in_flight", ""),
    ] {
        fs::write(mapping.join(file), content).unwrap();
    }
    root
}

#[test]
fn a_vdi_that_is_mapped_through_another_gateway_is_not_deleted() {
    let sheep = Sheep::start(&[]);
    sheep.sheepctl(&["vdi", "create", "vm0", "16M"]).success();
    let root = machine_with_vm0_of(&sheep.address.to_string());
    sheep
        .meddled(|_| true)
        .sheepctl_on(root.path(), &["vdi", "delete", "--yes", "vm0"])
        .code(16)
        .stderr(predicate::str::contains("sheepctl unmap /dev/sheepa"));
    assert_eq!(sheep.names(), ["vm0"]);
}

#[test]
fn a_vdi_of_the_same_name_in_another_cluster_is_not_in_the_way() {
    let sheep = Sheep::start(&[]);
    let root = machine_with_vm0_of("192.0.2.1:7000");
    sheep.sheepctl(&["vdi", "create", "vm0", "16M"]).success();
    sheep
        .sheepctl_on(root.path(), &["vdi", "snapshot", "--tag", "t", "vm0"])
        .success();
    sheep
        .sheepctl_on(root.path(), &["vdi", "delete", "--yes", "vm0"])
        .success();
}

#[test]
fn a_list_shows_what_can_be_read_and_says_that_it_is_not_all() {
    let sheep = Sheep::start(&["--fail", "READ_OBJ@inode=SYSTEM_ERROR:1:1"]);
    sheep.sheepctl(&["vdi", "create", "a", "16M"]).success();
    sheep.sheepctl(&["vdi", "create", "b", "16M"]).success();
    let one = predicate::str::is_match(r"\A.*\n[ab] .*\n\z").unwrap();
    sheep
        .sheepctl(&["vdi", "list"])
        .code(5)
        .stdout(one.clone())
        .stderr(predicate::str::contains("SYSTEM_ERROR"))
        .stderr(predicate::str::contains("the list is not complete"));
    let mut reads = 0;
    sheep
        .meddled(move |request| {
            reads += u32::from(request.opcode == Opcode::READ_OBJ);
            reads < 2
        })
        .sheepctl(&["vdi", "list"])
        .code(104)
        .stdout(one)
        .stderr(predicate::str::contains("the list is not complete"));
}

#[test]
fn a_locked_vdi_is_not_deleted() {
    let sheep = Sheep::start(&["--use-lock"]);
    sheep.sheepctl(&["vdi", "create", "vm0", "1G"]).success();
    let mut name = vec![0; 512];
    name[..3].copy_from_slice(b"vm0");
    sheep.request(&RequestHeader::lock_vdi(0, LockType::Normal), &name);
    sheep
        .sheepctl(&["vdi", "delete", "--yes", "vm0"])
        .code(16)
        .stderr(predicate::str::contains("sheepctl vdi lock"));
    let locks = sheep.json(&["vdi", "lock", "list", "--json"]);
    assert_eq!(
        (&locks[0]["name"], &locks[0]["type"]),
        (&json!("vm0"), &json!("normal"))
    );
    sheep.sheepctl(&["vdi", "lock", "release", "vm0"]).success();
    sheep.sheepctl(&["vdi", "delete", "--yes", "vm0"]).success();
    assert_eq!(sheep.json(&["vdi", "lock", "list", "--json"]), json!([]));
}

#[test]
fn an_empty_tag_does_not_mean_the_vdi() {
    let sheep = Sheep::start(&[]);
    sheep.sheepctl(&["vdi", "create", "web", "16M"]).success();
    for arguments in [
        &["vdi", "delete", "--yes", "web@"][..],
        &["vdi", "info", "web@"],
        &["vdi", "lock", "release", "web@"],
    ] {
        sheep
            .sheepctl(arguments)
            .code(22)
            .stderr(predicate::str::contains("the tag is empty"));
    }
    assert_eq!(sheep.names(), ["web"]);
}

#[test]
fn one_name_means_one_vdi_in_all_commands() {
    let sheep = Sheep::start(&[]);
    sheep.sheepctl(&["vdi", "create", "web", "16M"]).success();
    sheep
        .sheepctl(&["vdi", "snapshot", "web", "--tag", "daily"])
        .success();
    for arguments in [
        &["vdi", "create", "web@daily", "16M"][..],
        &["vdi", "clone", "web@daily", "web@copy"],
        &["vdi", "snapshot", "web", "--tag", "a@b"],
    ] {
        sheep
            .sheepctl(arguments)
            .code(22)
            .stderr(predicate::str::contains("neither can hold one"));
    }
    for arguments in [
        &["vdi", "resize", "web@daily", "32M"][..],
        &["vdi", "snapshot", "web@daily", "--tag", "t"],
        &["map", "web@daily"],
    ] {
        sheep
            .sheepctl(arguments)
            .code(22)
            .stderr(predicate::str::contains("`web@daily` is a snapshot"));
    }
    assert_eq!(sheep.names(), ["web@daily", "web"]);
}

#[test]
fn a_vdi_of_others_whose_name_holds_an_at_is_written_with_one_more() {
    let sheep = Sheep::start(&[]);
    let mut name = [0; 256];
    name[..3].copy_from_slice(b"a@b");
    let arm = VdiArm {
        vdi_size: 16 << 20,
        ..VdiArm::default()
    };
    sheep.request(&RequestHeader::new_vdi(arm), &name);
    sheep.sheepctl(&["vdi", "resize", "a@b@", "32M"]).success();
    sheep
        .sheepctl(&["vdi", "snapshot", "a@b@", "--tag", "t"])
        .success();
    sheep
        .sheepctl(&["vdi", "clone", "a@b@", "copy"])
        .code(22)
        .stderr(predicate::str::contains("clone a@b@TAG"));
    sheep.sheepctl(&["vdi", "clone", "a@b@t", "copy"]).success();
    sheep
        .sheepctl(&["vdi", "delete", "--yes", "a@b@"])
        .success();
    assert_eq!(sheep.names(), ["a@b@t", "copy"]);
}

#[test]
fn a_snapshot_without_a_tag_is_named_by_its_id() {
    let sheep = Sheep::start(&[]);
    sheep.sheepctl(&["vdi", "create", "base", "16M"]).success();
    let base = sheep.vid("base");
    let mut name = [0; 256];
    name[..4].copy_from_slice(b"base");
    let arm = VdiArm {
        vdi_size: 16 << 20,
        base_vdi_id: base.raw(),
        snapid: 1,
        ..VdiArm::default()
    };
    sheep.request(&RequestHeader::new_vdi(arm), &name);
    let untagged = predicate::str::is_match(r"(?m)^base +#1 .* snapshot .*$").unwrap();
    sheep.sheepctl(&["vdi", "list"]).success().stdout(untagged);
    assert_eq!(sheep.vid("base@#1"), base);
    sheep
        .sheepctl(&["vdi", "clone", "base@#1", "copy"])
        .success();
    sheep.sheepctl(&["vdi", "info", "base@#2"]).code(2);
    sheep
        .sheepctl(&["vdi", "delete", "--yes", "base@#2"])
        .code(2);
    sheep
        .sheepctl(&["vdi", "delete", "--yes", "base@#1"])
        .success();
    sheep.sheepctl(&["vdi", "info", "base@#1"]).code(2);
    assert_eq!(sheep.names(), ["base", "copy"]);
    sheep
        .sheepctl(&["vdi", "snapshot", "base", "--tag", "#3"])
        .code(22)
        .stderr(predicate::str::contains("cannot be a tag"));
}

#[test]
fn an_unformatted_cluster_is_told() {
    let sheep = Sheep::start(&["--unformatted"]);
    sheep
        .sheepctl(&["vdi", "create", "vm0", "1G"])
        .code(11)
        .stderr(predicate::str::contains("not formatted"));
    assert_eq!(
        sheep.json(&["cluster", "info", "--json"])["status"],
        "unformatted"
    );
}

#[test]
fn refusals_have_their_exit_codes() {
    for (result, code) in [
        ("NO_SPACE", 28),
        ("VDI_WRITE", 5),
        ("WAIT_FOR_JOIN", 11),
        ("HALT", 11),
    ] {
        let sheep = Sheep::start(&["--fail", &format!("NEW_VDI={result}")]);
        sheep
            .sheepctl(&["vdi", "create", "vm0", "1G"])
            .code(code)
            .stderr(predicate::str::contains(result));
    }
}

#[test]
fn an_operation_without_answer_ends_and_says_that_it_may_still_happen() {
    let sheep = Sheep::start(&["--stall", "NEW_VDI"]);
    sheep
        .sheepctl(&["vdi", "create", "--timeout", "300ms", "vm0", "1G"])
        .code(110)
        .stderr(predicate::str::contains("NEW_VDI: no reply within 300ms"))
        .stderr(predicate::str::contains(
            "look at the result before you try again",
        ));
    let sheep = Sheep::start(&["--drop", "NEW_VDI"]);
    sheep.sheepctl(&["vdi", "create", "vm0", "1G"]).code(104);
}

#[test]
fn damaged_replies_are_refused() {
    for (how, code) in [("wrong-id", 71), ("oversize", 71)] {
        let sheep = Sheep::start(&["--corrupt", &format!("READ_VDIS={how}")]);
        let listing = sheep.sheepctl(&["vdi", "list", "--timeout", "2s"]);
        listing.code(code).stdout("");
    }
}
