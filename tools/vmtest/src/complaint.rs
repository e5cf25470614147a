// SPDX-License-Identifier: GPL-2.0

//! Tells from a line of the console whether the kernel complains. In: one line. Out: yes or no.
//! Only lines with the kernel's time stamp count, since programs write to the console too.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

/// What the kernel prints when something is wrong with it, as opposed to with its surroundings.
/// Sources: include/asm-generic/bug.h, kernel/locking/lockdep.c, kernel/hung_task.c,
/// kernel/watchdog.c, kernel/rcu/tree_stall.h, mm/kfence/report.c, mm/kasan/report.c, lib/ubsan.c,
/// lib/list_debug.c, lib/refcount.c, mm/kmemleak.c, mm/slub.c, rust/kernel (panic).
const PATTERNS: &[&str] = &[
    r"WARNING: ",
    r"BUG: ",
    r"\bBUG \S+ \(",
    r"kernel BUG at ",
    r"Oops\b",
    r"general protection fault",
    r"unable to handle ",
    r"Kernel panic",
    r"rust_kernel: panicked",
    r"KASAN: ",
    r"KFENCE: ",
    r"UBSAN: ",
    r"kmemleak: \d+ new suspected",
    r"INFO: task .* blocked for more than",
    r"INFO: possible ",
    r"INFO: trying to register non-static key",
    r"rcu: INFO: .*detected ",
    r"soft lockup",
    r"hard LOCKUP",
    r"circular locking dependency",
    r"inconsistent lock state",
    r"suspicious RCU usage",
    r"refcount_t: ",
    r"list_(add|del) corruption",
    r"sleeping function called from invalid context",
    r"scheduling while atomic",
    r"turning off the locking correctness validator",
    r"ODEBUG: ",
];

static COMPLAINTS: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(PATTERNS).expect("the patterns above are valid"));
static STAMP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\[ *\d+\.\d+\]").expect("a valid pattern"));

/// Whether a line of the console is the kernel complaining.
pub fn is_complaint(line: &str) -> bool {
    STAMP
        .find(line)
        .is_some_and(|stamp| COMPLAINTS.is_match(&line[stamp.end()..]))
}

#[cfg(test)]
mod tests {
    use super::is_complaint;

    #[test]
    fn complaints_of_the_kernel_are_seen() {
        for line in [
            "[   12.345678] WARNING: CPU: 1 PID: 77 at net/core/stream.c:217 foo+0x1/0x2",
            "[   12.345678] BUG: KFENCE: use-after-free read in foo+0x1/0x2",
            "[  1.2] INFO: task dd:77 blocked for more than 30 seconds.",
            "[    0.100000] BUG: unable to handle page fault for address: 0000000000001000",
            "[    0.1] Oops: Oops: 0002 [#1] SMP NOPTI",
            "[    0.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[    0.1] watchdog: BUG: soft lockup - CPU#0 stuck for 61s! [a:7]",
            "[    0.1] WARNING: possible circular locking dependency detected",
            "[    0.1] Kernel panic - not syncing: Attempted to kill init!",
            "[    0.1] refcount_t: underflow; use-after-free.",
            "[    0.1] rust_kernel: panicked at a.rs:1:2:",
            "[    0.1] turning off the locking correctness validator.",
            "[    0.1] BUG: KASAN: slab-use-after-free in foo+0x1/0x2 [sheepdog]",
            "[    0.1] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        ] {
            assert!(is_complaint(line), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_and_programs_are_left_alone() {
        for line in [
            "WARNING: a program says so",
            "[    1.0] sheepa: 10.0.2.2:7000: READ_OBJ 8000abcd00000001: result NO_OBJ",
            "[    1.0] clocksource: timekeeping watchdog on CPU1: Marking clocksource unstable",
            "[    1.0] sheepdog: loading out-of-tree module taints kernel.",
            "[    1.0] hung_task_timeout_secs is 30",
            "",
        ] {
            assert!(!is_complaint(line), "{line}");
        }
    }
}
