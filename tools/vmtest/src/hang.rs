// SPDX-License-Identifier: GPL-2.0

//! Finds out what a machine hangs in. In: a machine that missed its limit. Out: `hang.txt` in its
//! logs, SysRq reports on its console, and one line of summary. Takes [`LIMIT`] at most per step
//! and never fails: what cannot be found out is written down as such.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::message::{ToGuest, ToHost};
use crate::vm::{Event, Vm};

/// Limit for process 1's report, and for each SysRq report.
const LIMIT: Duration = Duration::from_secs(8);

/// A SysRq report has ended when the console has been silent for so long.
const SILENCE: Duration = Duration::from_millis(1500);

/// Blocked tasks, what each CPU runs, memory.
const KEYS: [char; 3] = ['w', 'l', 'm'];

/// Asks process 1, QEMU, and the kernel, in this order. Everything that the machine says meanwhile
/// goes to `seen`, too.
pub fn diagnose(vm: &mut Vm, logs: &Path, mut seen: impl FnMut(Event)) -> String {
    let mut report = String::new();
    let answers = ask_process_1(vm, &mut report, &mut seen);
    ask_qemu(vm, &mut report);
    let mut heard = 0;
    for key in KEYS {
        let _ = writeln!(report, "\n=== SysRq-{key}, over the serial line");
        if let Err(error) = vm.sysrq(key) {
            let _ = writeln!(report, "({error:#})");
            continue;
        }
        let deadline = Instant::now() + LIMIT;
        while let Some(event) = vm.next(deadline.min(Instant::now() + SILENCE)) {
            match &event {
                Event::Console(line) => {
                    heard += 1;
                    let _ = writeln!(report, "{line}");
                }
                Event::Gone => break,
                Event::Output(_) | Event::Message(_) => {}
            }
            seen(event);
        }
    }
    let file = logs.join("hang.txt");
    if let Err(error) = fs::write(&file, report) {
        return format!("cannot write {}: {error}", file.display());
    }
    format!(
        "process 1 {}, the kernel {} SysRq, see {}",
        if answers {
            "answers"
        } else {
            "does not answer"
        },
        if heard > 0 {
            "answers"
        } else {
            "does not answer"
        },
        file.display()
    )
}

/// Returns whether process 1 answered.
fn ask_process_1(vm: &mut Vm, report: &mut String, seen: &mut impl FnMut(Event)) -> bool {
    let _ = writeln!(report, "=== process 1");
    if let Err(error) = vm.send(&ToGuest::Dump) {
        let _ = writeln!(report, "({error:#})");
        return false;
    }
    let deadline = Instant::now() + LIMIT;
    while let Some(event) = vm.next(deadline) {
        match event {
            Event::Message(ToHost::Dump { title, text }) => {
                let _ = writeln!(report, "\n--- {title}\n{}", text.trim_end());
            }
            Event::Message(ToHost::DumpEnd) => return true,
            Event::Gone => break,
            other => seen(other),
        }
    }
    let _ = writeln!(report, "(no end of its report within {LIMIT:?})");
    false
}

/// The registers twice, to tell a CPU that spins from one that stands still. There is no address
/// randomisation, so addresses are those of the kernel's symbol table.
fn ask_qemu(vm: &mut Vm, report: &mut String) {
    for command in ["info status", "info registers -a", "info registers -a"] {
        let _ = writeln!(report, "\n=== QEMU: {command}");
        let _ = match vm.qmp().human(command) {
            Ok(text) => writeln!(report, "{}", text.trim_end()),
            Err(error) => writeln!(report, "({error:#})"),
        };
    }
}
