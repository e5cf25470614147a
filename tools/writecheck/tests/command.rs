// SPDX-License-Identifier: GPL-2.0

//! The command, on a file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

const SIZE: u64 = 16 << 20;

/// An empty disk.
fn disk() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    File::create(&path).unwrap().set_len(SIZE).unwrap();
    (directory, path)
}

fn command(disk: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_writecheck"));
    command
        .args(["--buffered", "--threads", "2", "--object", "1M", "--device"])
        .arg(disk)
        .arg("--json")
        .arg(disk.with_extension("json"))
        .args(args);
    command
}

fn report(disk: &Path) -> Value {
    let text = std::fs::read_to_string(disk.with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_file_keeps_its_word_and_only_the_range_is_written() {
    let (_directory, disk) = disk();
    let args = ["--seconds", "2", "--offset", "1M", "--size", "8M"];
    let output = command(&disk, &args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report = report(&disk);
    for field in ["lost", "torn", "foreign", "corrupt", "write_errors"] {
        assert_eq!(report[field], 0, "{field}");
    }
    assert!(report["writes"].as_u64().unwrap() > 50, "{report}");
    assert!(report["longest_write_ms"].as_f64().unwrap() > 0.0);
    let bytes = std::fs::read(&disk).unwrap();
    let written = |range: std::ops::Range<usize>| bytes[range].iter().any(|&byte| byte != 0);
    assert!(!written(0..1 << 20) && !written(9 << 20..16 << 20));
    for object in 1..9 {
        assert!(written(object << 20..(object + 1) << 20), "object {object}");
    }
}

#[test]
fn somebody_who_tampers_is_found_and_the_block_is_named() {
    let (_directory, disk) = disk();
    let file = File::options().write(true).open(&disk).unwrap();
    let mut child = command(&disk, &["--seconds", "30"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let zeroes = vec![0; SIZE as usize / 2];
    while child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(100));
        file.write_all_at(&zeroes, 0).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = report(&disk);
    let bad = ["lost", "torn", "foreign", "corrupt"].map(|field| report[field].as_u64().unwrap());
    assert_eq!(bad.iter().sum::<u64>(), 1, "{report}");
    let block = report["violations"][0]["block"].as_u64().unwrap();
    assert!(stderr(&output).contains(&format!("block {block} at byte {}", block * 4096)));
    assert!(report["seconds"].as_f64().unwrap() < 30.0);
}

#[test]
fn mistakes_are_named() {
    let (_directory, disk) = disk();
    for (args, expected) in [
        (&["--block", "1000"][..], "multiple of 512"),
        (&["--offset", "100"], "multiples of the block"),
        (&["--size", "1G"], "do not lie within"),
        (&["--blocks", "9999"], "at most the 4096"),
        (&["--size", "much"], "64M"),
    ] {
        let output = command(&disk, args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    let output = command(Path::new("/nonexistent"), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nonexistent"));
}
