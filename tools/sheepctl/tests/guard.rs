// SPDX-License-Identifier: GPL-2.0

//! `sheepctl guard` with real programs, as far as this machine permits.
//!
//! The kernel makes I/O flushers only for CAP_SYS_RESOURCE, which build containers often lack. What
//! needs it counts as ignored then; the VM test guards-a-daemon has it always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};

const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_RESOURCE: u32 = 24;

fn has(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| (set >> capability) & 1 == 1)
}

/// Where cargo leaves the library for the tests of another package: beside this program.
fn library() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.with_file_name("libsheepdog_memlock.so")
}

fn run(command: &mut Command) -> Output {
    command.env_remove("SHEEPCTL_GUARD").output().unwrap()
}

fn guard(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheepctl"));
    command.arg("guard").arg("--lock-library").arg(library());
    run(command.args(arguments))
}

/// A bash script with the library in it, and its output. `$$` in the mark is the shell's own id.
fn locked_bash(mark: &str, script: &str) -> Output {
    let start = format!(
        "export SHEEPCTL_GUARD={mark}; LD_PRELOAD={} exec bash -c \"$1\"",
        library().display()
    );
    run(Command::new("bash").args(["-c", &start, "bash", script]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check(holds: bool, what: &str, output: &Output) -> Result<(), Failed> {
    if holds {
        return Ok(());
    }
    Err(format!(
        "{what}: {:?}, standard output `{}`, standard error `{}`",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
    .into())
}

fn ends_with(output: &Output, code: i32, words: &[&str]) -> Result<(), Failed> {
    let said = text(&output.stderr);
    let has_words = words.iter().all(|word| said.contains(word));
    let what = format!("expected exit status {code} and {words:?}");
    check(
        output.status.code() == Some(code) && has_words,
        &what,
        output,
    )
}

/// KiB that a `VmLck:` line tells.
fn locked_kib(output: &Output) -> u64 {
    let out = text(&output.stdout);
    let line = out.lines().find_map(|line| line.strip_prefix("VmLck:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}

/// Reads its own status without another program.
const TELL: &str =
    "while read -r line; do case $line in VmLck*) echo \"$line\";; esac; done </proc/self/status";

fn the_library_locks_what_it_is_loaded_into() -> Result<(), Failed> {
    let output = locked_bash("$$-1", TELL);
    check(
        locked_kib(&output) > 1000,
        "expected locked memory",
        &output,
    )
}

fn a_child_of_a_fork_is_locked_too() -> Result<(), Failed> {
    let output = locked_bash("$$-1", &format!("( {TELL} ); true"));
    check(
        locked_kib(&output) > 1000,
        "expected locked memory",
        &output,
    )
}

fn without_the_mark_the_library_does_nothing() -> Result<(), Failed> {
    let mut command = Command::new("bash");
    let output = run(command.args(["-c", TELL]).env("LD_PRELOAD", library()));
    check(locked_kib(&output) == 0, "expected nothing locked", &output)
}

fn a_program_that_cannot_be_locked_does_not_start() -> Result<(), Failed> {
    let script = format!("ulimit -l 64; exec setpriv --bounding-set=-ipc_lock bash -c 'export SHEEPCTL_GUARD=$$-1; LD_PRELOAD={} exec echo started'", library().display());
    let output = run(Command::new("bash").args(["-c", &script]));
    ends_with(&output, 125, &["cannot be locked", "CAP_IPC_LOCK"])?;
    check(output.stdout.is_empty(), "expected no output", &output)
}

fn a_missing_capability_is_named() -> Result<(), Failed> {
    let script = "exec setpriv --bounding-set=-sys_resource \"$@\"";
    let mut command = Command::new("bash");
    command.args([
        "-c",
        script,
        "bash",
        env!("CARGO_BIN_EXE_sheepctl"),
        "guard",
    ]);
    command.arg("--lock-library").arg(library());
    let output = run(command.args(["--", "echo", "started"]));
    ends_with(
        &output,
        125,
        &[
            "PR_SET_IO_FLUSHER",
            "CAP_SYS_RESOURCE is missing",
            "--cap-add SYS_RESOURCE",
        ],
    )?;
    check(output.stdout.is_empty(), "expected no output", &output)
}

const STATIC_PROGRAM: &str = "/bin/busybox";

fn a_statically_linked_program_is_refused() -> Result<(), Failed> {
    let output = guard(&["--", STATIC_PROGRAM, "echo", "started"]);
    ends_with(&output, 125, &["statically linked", "--no-lock"])
}

fn a_missing_library_is_named() -> Result<(), Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheepctl"));
    command.args(["guard", "--lock-library", "/nonexistent.so", "--", "true"]);
    ends_with(
        &run(&mut command),
        125,
        &["/nonexistent.so", "make install"],
    )
}

fn no_command_is_wrong_usage() -> Result<(), Failed> {
    ends_with(&guard(&[]), 22, &["COMMAND"])
}

fn the_exit_status_is_the_commands() -> Result<(), Failed> {
    ends_with(&guard(&["--", "bash", "-c", "exit 7"]), 7, &[])?;
    ends_with(
        &guard(&["--", "no-such-program"]),
        127,
        &["no-such-program"],
    )?;
    ends_with(&guard(&["--", "/etc/passwd"]), 126, &["/etc/passwd"])
}

fn threads_are_io_flushers_and_memory_is_locked() -> Result<(), Failed> {
    let script = format!("{TELL}; cat /proc/self/oom_score_adj; sleep 4 & wait");
    let output = guard(&["--oom-score-adj", "-500", "--", "bash", "-c", &script]);
    ends_with(
        &output,
        0,
        &[
            "guard: bash (pid ",
            "1 thread, all I/O flushers",
            "are locked",
        ],
    )?;
    check(
        !text(&output.stderr).contains("WRONG"),
        "expected no complaint",
        &output,
    )?;
    check(
        text(&output.stdout).contains("-500\n"),
        "expected -500",
        &output,
    )?;
    check(
        locked_kib(&output) > 1000,
        "expected locked memory",
        &output,
    )
}

fn main() {
    let arguments = Arguments::from_args();
    let can_guard = has(CAP_SYS_RESOURCE);
    let can_lock = has(CAP_IPC_LOCK);
    let test = |name: &str, possible: bool, test: fn() -> Result<(), Failed>| {
        Trial::test(name, test).with_ignored_flag(!possible)
    };
    let has_static = Path::new(STATIC_PROGRAM).exists();
    let tests = vec![
        test(
            "the_library_locks_what_it_is_loaded_into",
            can_lock,
            the_library_locks_what_it_is_loaded_into,
        ),
        test(
            "a_child_of_a_fork_is_locked_too",
            can_lock,
            a_child_of_a_fork_is_locked_too,
        ),
        test(
            "without_the_mark_the_library_does_nothing",
            true,
            without_the_mark_the_library_does_nothing,
        ),
        test(
            "a_program_that_cannot_be_locked_does_not_start",
            can_lock,
            a_program_that_cannot_be_locked_does_not_start,
        ),
        test(
            "a_missing_capability_is_named",
            can_lock,
            a_missing_capability_is_named,
        ),
        test(
            "a_statically_linked_program_is_refused",
            has_static,
            a_statically_linked_program_is_refused,
        ),
        test(
            "a_missing_library_is_named",
            true,
            a_missing_library_is_named,
        ),
        test("no_command_is_wrong_usage", true, no_command_is_wrong_usage),
        test(
            "the_exit_status_is_the_commands",
            can_guard,
            the_exit_status_is_the_commands,
        ),
        test(
            "threads_are_io_flushers_and_memory_is_locked",
            can_guard,
            threads_are_io_flushers_and_memory_is_locked,
        ),
    ];
    if !can_guard {
        eprintln!("no CAP_SYS_RESOURCE here: what needs it is ignored");
    }
    libtest_mimic::run(&arguments, tests).exit();
}
