// SPDX-License-Identifier: GPL-2.0

//! Results as people and machines read them. In: one result after the other, from any thread. Out:
//! a line for each, at the end `N passed, N failed, N skipped` and, if asked for, a JUnit file.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::header::Expect;
use crate::session::Verdict;

/// How one test ended on one kernel.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Name of the test.
    pub test: String,
    /// Release of the kernel.
    pub kernel: String,
    /// What was seen.
    pub verdict: Verdict,
    /// How it was to end.
    pub expect: Expect,
    /// Time for the test alone.
    pub took: Duration,
    /// How long CPUs of the host have worked for the machine meanwhile.
    pub cpu: Duration,
    /// Time until the machine was up; nothing if it was up before.
    pub boot: Option<Duration>,
    /// Where the logs are.
    pub logs: PathBuf,
    /// The last lines that were seen, for a failure.
    pub tail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Pass,
    Fail,
    Skip,
}

impl Outcome {
    fn class(&self) -> Class {
        let met = match self.verdict {
            Verdict::Skip(_) if self.expect != Expect::Skip => return Class::Skip,
            Verdict::Skip(_) => self.expect == Expect::Skip,
            Verdict::Pass => self.expect == Expect::Pass,
            Verdict::Fail(_) => self.expect == Expect::Fail,
            Verdict::Hang(_) => self.expect == Expect::Hang,
            Verdict::Complaint(_) => self.expect == Expect::Complaint,
            Verdict::Dead(_) => self.expect == Expect::Dead,
            Verdict::NotRun(_) => false,
        };
        if met {
            Class::Pass
        } else {
            Class::Fail
        }
    }

    fn reason(&self) -> String {
        match &self.verdict {
            Verdict::Pass if self.expect == Expect::Pass => String::new(),
            Verdict::Pass => format!("passed, but was to end as {:?}", self.expect),
            Verdict::Skip(reason) => reason.clone(),
            Verdict::Fail(reason) => reason.clone(),
            Verdict::Hang(reason) => format!("hang: {reason}"),
            Verdict::Complaint(line) => format!("the kernel complained: {line}"),
            Verdict::Dead(reason) => reason.clone(),
            Verdict::NotRun(reason) => format!("not run: {reason}"),
        }
    }

    fn line(&self, with_kernel: bool) -> String {
        let word = match self.class() {
            Class::Pass => "PASS",
            Class::Fail => "FAIL",
            Class::Skip => "SKIP",
        };
        let mut line = format!("{word} {}", self.test);
        if with_kernel {
            line = format!("{line} [{}]", self.kernel);
        }
        if self.class() != Class::Skip {
            let (took, cpu) = (self.took.as_secs_f64(), self.cpu.as_secs_f64());
            line = format!("{line} {took:.1} s, CPU {cpu:.1} s");
        }
        if let Some(boot) = self.boot {
            line = format!("{line} (boot {:.1} s)", boot.as_secs_f64());
        }
        let reason = self.reason();
        if !reason.is_empty() {
            line = format!("{line}: {reason}");
        }
        if self.class() == Class::Fail {
            line = format!("{line}\n  logs: {}\n{}", self.logs.display(), self.tail);
        }
        line.trim_end().to_owned()
    }
}

/// Collects outcomes and prints each when it comes.
pub struct Collector {
    with_kernel: bool,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Collector {
    /// `with_kernel`: name the kernel in each line, since there are several.
    pub fn new(with_kernel: bool) -> Self {
        Self {
            with_kernel,
            outcomes: Mutex::default(),
        }
    }

    /// Takes one outcome.
    pub fn add(&self, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{}", outcome.line(self.with_kernel));
        outcomes.push(outcome);
    }

    /// Prints the last line and writes the JUnit file. Returns whether all is well: no failure,
    /// and something passed.
    pub fn finish(self, junit_file: Option<&Path>) -> Result<bool> {
        let outcomes = self
            .outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = junit_file {
            let file =
                std::fs::File::create(path).with_context(|| format!("{}", path.display()))?;
            junit(&outcomes).serialize(file)?;
        }
        let (line, well) = summary(&outcomes);
        println!("{line}");
        Ok(well)
    }
}

fn summary(outcomes: &[Outcome]) -> (String, bool) {
    let count = |class| outcomes.iter().filter(|one| one.class() == class).count();
    let (passed, failed, skipped) = (count(Class::Pass), count(Class::Fail), count(Class::Skip));
    let mut line = format!("{passed} passed, {failed} failed");
    if skipped > 0 {
        line = format!("{line}, {skipped} skipped");
    }
    (line, failed == 0 && passed > 0)
}

fn junit(outcomes: &[Outcome]) -> Report {
    let mut report = Report::new("vmtest");
    let mut kernels: Vec<&str> = outcomes.iter().map(|one| one.kernel.as_str()).collect();
    kernels.sort_unstable();
    kernels.dedup();
    for kernel in kernels {
        let mut suite = TestSuite::new(kernel);
        for outcome in outcomes.iter().filter(|one| one.kernel == kernel) {
            let mut status = match outcome.class() {
                Class::Pass => TestCaseStatus::success(),
                Class::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
                Class::Skip => TestCaseStatus::skipped(),
            };
            status.set_message(outcome.reason());
            let mut case = TestCase::new(outcome.test.as_str(), status);
            case.set_time(outcome.took);
            case.set_system_out(outcome.tail.as_str());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict, expect: Expect) -> Outcome {
        Outcome {
            test: "a-test".into(),
            kernel: "1.2".into(),
            verdict,
            expect,
            took: Duration::from_millis(1250),
            cpu: Duration::from_secs(2),
            boot: None,
            logs: "/logs".into(),
            tail: "  the end\n".into(),
        }
    }

    #[test]
    fn a_failure_names_its_reason_and_logs() {
        let line = outcome(Verdict::Fail("exit status 1: no".into()), Expect::Pass).line(false);
        assert_eq!(
            line,
            "FAIL a-test 1.2 s, CPU 2.0 s: exit status 1: no\n  logs: /logs\n  the end"
        );
    }

    #[test]
    fn skipped_is_not_passed() {
        let skip = outcome(Verdict::Skip("no sheep".into()), Expect::Pass);
        assert_eq!(
            summary(&[skip]),
            ("0 passed, 0 failed, 1 skipped".into(), false)
        );
        let pass = outcome(Verdict::Pass, Expect::Pass);
        assert_eq!(summary(&[pass]), ("1 passed, 0 failed".into(), true));
    }

    #[test]
    fn a_test_of_the_runner_has_to_end_as_it_says() {
        let hang = outcome(Verdict::Hang("x".into()), Expect::Hang);
        assert_eq!(hang.class(), Class::Pass);
        let passed = outcome(Verdict::Pass, Expect::Hang);
        assert_eq!(passed.class(), Class::Fail);
        assert!(passed.line(false).contains("was to end as Hang"));
    }

    #[test]
    fn a_test_that_was_not_run_ends_as_no_test_is_to() {
        for expect in [
            Expect::Pass,
            Expect::Fail,
            Expect::Hang,
            Expect::Complaint,
            Expect::Dead,
            Expect::Skip,
        ] {
            let not_run = outcome(Verdict::NotRun("no QEMU".into()), expect);
            assert_eq!(not_run.class(), Class::Fail, "{expect:?}");
            assert!(not_run.line(false).contains("not run: no QEMU"));
        }
    }

    #[test]
    fn the_junit_file_counts_the_same() {
        let outcomes = [
            outcome(Verdict::Pass, Expect::Pass),
            outcome(Verdict::Complaint("WARNING: x".into()), Expect::Pass),
            outcome(Verdict::Skip("y".into()), Expect::Pass),
        ];
        let xml = junit(&outcomes).to_string().unwrap();
        assert!(xml.contains("tests=\"3\" failures=\"1\""), "{xml}");
        assert!(xml.contains("WARNING: x"));
    }
}
