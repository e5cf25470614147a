// SPDX-License-Identifier: GPL-2.0

//! Runs scripts in a machine and judges them. In: a running [`Vm`]. Out: a [`Verdict`] per
//! script. A complaint of the kernel outweighs what the script says; every wait has a limit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use regex::Regex;

use crate::complaint::is_complaint;
use crate::hang;
use crate::message::{end_marker, ToGuest, ToHost};
use crate::sheep::Shepherd;
use crate::vm::{Event, Vm};

/// Exit status of a script that cannot run here (as automake has it).
const SKIPPED: i32 = 77;

/// How long the end markers may take to come through after a script has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// How long to listen on after the machine has died, for the rest of the kernel's last words.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Status 0, no complaint, nothing left behind.
    Pass,
    /// The reason that it gave.
    Skip(String),
    /// Another status, or something left behind.
    Fail(String),
    /// Not within its limit.
    Hang(String),
    /// The kernel complained.
    Complaint(String),
    /// The machine went away.
    Dead(String),
    /// The runner could not run it: no machine, no sheep, no place for logs.
    NotRun(String),
}

/// What one script is to get.
pub struct Order<'a> {
    /// Path in the guest.
    pub script: &'a str,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// How long it may take.
    pub limit: Duration,
    /// Complaints of the kernel that do not count.
    pub allow: &'a [Regex],
    /// Whether it gets the console as its terminal.
    pub interactive: bool,
    /// Whether what it prints goes to standard output too.
    pub show: bool,
}

/// A machine, and what was seen of it.
pub struct Session<'a> {
    vm: Vm,
    logs: &'a Path,
    output: File,
    console_tail: Tail,
    output_tail: Tail,
    complaint: Option<String>,
    runs: u32,
}

/// The last lines of a stream.
#[derive(Default)]
pub struct Tail(std::collections::VecDeque<String>);

impl Tail {
    /// How many lines are kept.
    const LINES: usize = 15;

    fn push(&mut self, line: String) {
        if self.0.len() == Self::LINES {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    /// The last line that is not blank.
    fn last(&self) -> Option<&str> {
        self.latest(|line| !line.trim().is_empty())
    }

    /// What a test says of its failure (`fail` in tools/tests/lib.sh), whatever is printed on its way out
    /// after that; its last line if it says nothing.
    fn failure(&self) -> Option<&str> {
        self.latest(|line| line.starts_with("FAILED: "))
            .or_else(|| self.last())
    }

    fn latest(&self, wanted: impl Fn(&str) -> bool) -> Option<&str> {
        let mut lines = self.0.iter().rev().map(String::as_str);
        lines.find(|line| wanted(line))
    }

    fn text(&self) -> String {
        self.0
            .iter()
            .fold(String::new(), |text, line| text + "    " + line + "\n")
    }
}

impl<'a> Session<'a> {
    /// Waits until the machine is up. The error says why it is not.
    pub fn boot(vm: Vm, logs: &'a Path, limit: Duration) -> Result<Self> {
        let output = File::create(logs.join("output.log")).context("output.log")?;
        let mut session = Self {
            vm,
            logs,
            output,
            console_tail: Tail::default(),
            output_tail: Tail::default(),
            complaint: None,
            runs: 0,
        };
        let deadline = Instant::now() + limit;
        loop {
            match session.vm.next(deadline) {
                Some(Event::Message(ToHost::Ready)) => return Ok(session),
                Some(Event::Console(line)) => session.console(line, &[]),
                Some(Event::Gone) => bail!(session.last_words("it boots")),
                Some(_) => {}
                None => {
                    let what = format!("the machine is not up after {} s", limit.as_secs());
                    bail!(session.diagnose(what));
                }
            }
        }
    }

    /// Runs a script to its end or its limit.
    pub fn run(&mut self, order: &Order<'_>, shepherd: &mut Shepherd) -> Result<Verdict> {
        self.runs += 1;
        let id = self.runs;
        self.complaint = None;
        self.vm.send(&ToGuest::Run {
            id,
            script: order.script.into(),
            env: order.env.clone(),
            interactive: order.interactive,
        })?;
        let marker = end_marker(id);
        let mut deadline = Instant::now() + order.limit;
        let mut ended = None;
        // Both streams, and the message, have to come to their end.
        let mut console_open = true;
        let mut output_open = !order.interactive;
        while ended.is_none() || console_open || output_open {
            match self.vm.next(deadline) {
                Some(Event::Console(line)) => {
                    console_open &= !line.ends_with(&marker);
                    self.console(line, order.allow);
                }
                Some(Event::Output(line)) if line == marker => output_open = false,
                Some(Event::Output(line)) => self.printed(line, order.show)?,
                Some(Event::Message(ToHost::Ask { id, words })) => {
                    let (status, text) = shepherd.command(&words);
                    self.vm.send(&ToGuest::Answer { id, status, text })?;
                }
                Some(Event::Message(ToHost::Done {
                    status, leftover, ..
                })) => {
                    ended = Some((status, leftover));
                    deadline = Instant::now() + DRAIN_LIMIT;
                }
                Some(Event::Message(_)) => {}
                Some(Event::Gone) => return Ok(Verdict::Dead(self.last_words("the test ran"))),
                None => {
                    let what = match ended {
                        None => format!("no end within {} s", order.limit.as_secs()),
                        Some(_) => "the machine does not settle after the test".into(),
                    };
                    return Ok(Verdict::Hang(self.diagnose(what)));
                }
            }
        }
        Ok(self.judge(ended.unwrap_or((0, None))))
    }

    fn judge(&self, (status, leftover): (i32, Option<String>)) -> Verdict {
        let nothing = "(it printed nothing)";
        match (&self.complaint, status, leftover) {
            (Some(complaint), _, _) => Verdict::Complaint(complaint.clone()),
            (None, 0, None) => Verdict::Pass,
            (None, 0, Some(leftover)) => Verdict::Fail(leftover),
            (None, SKIPPED, _) => Verdict::Skip(self.output_tail.last().unwrap_or(nothing).into()),
            (None, status, _) => {
                let said = self.output_tail.failure().unwrap_or(nothing);
                Verdict::Fail(format!("exit status {status}: {said}"))
            }
        }
    }

    /// How long CPUs of the host have worked for the machine.
    pub fn cpu_time(&self) -> Duration {
        self.vm.cpu_time()
    }

    /// Types on the console from another thread.
    pub fn keyboard(&self) -> Result<std::os::unix::net::UnixStream> {
        self.vm.keyboard()
    }

    /// The last lines of the console and of the test, for a report.
    pub fn tail(&self) -> String {
        format!(
            "  last lines of the test:\n{}  last lines of the console:\n{}",
            self.output_tail.text(),
            self.console_tail.text()
        )
    }

    fn console(&mut self, line: String, allow: &[Regex]) {
        if self.complaint.is_none()
            && is_complaint(&line)
            && !allow.iter().any(|pattern| pattern.is_match(&line))
        {
            self.complaint = Some(line.clone());
        }
        self.console_tail.push(line);
    }

    fn printed(&mut self, line: String, show: bool) -> Result<()> {
        writeln!(self.output, "{line}").context("output.log")?;
        if show {
            println!("{line}");
        }
        self.output_tail.push(line);
        Ok(())
    }

    /// The machine has gone: reads what is still to be read, and returns the reason.
    fn last_words(&mut self, when: &str) -> String {
        let deadline = Instant::now() + LAST_WORDS;
        while let Some(event) = self.vm.next(deadline) {
            match event {
                Event::Console(line) => self.console(line, &[]),
                Event::Gone if self.vm.ended().is_some() => break,
                _ => {}
            }
        }
        let status = self.vm.ended().map(|status| format!(" ({status})"));
        let mut reason = format!(
            "the machine went away while {when}{}",
            status.unwrap_or_default()
        );
        if let Some(complaint) = &self.complaint {
            reason = format!("{reason}: {complaint}");
        }
        reason
    }

    /// Writes down what a hanging machine can still tell, and returns the reason with a summary.
    fn diagnose(&mut self, what: String) -> String {
        let mut lines = Vec::new();
        let summary = hang::diagnose(&mut self.vm, self.logs, |event| match event {
            Event::Console(line) => lines.push(line),
            Event::Output(_) | Event::Message(_) | Event::Gone => {}
        });
        for line in lines {
            // What SysRq prints is no complaint, what the kernel says by itself is one.
            self.console(line, &[]);
        }
        let complaint = match &self.complaint {
            Some(complaint) => format!("; the kernel said: {complaint}"),
            None => String::new(),
        };
        format!("{what}{complaint}; {summary}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(lines: &[&str]) -> Tail {
        let mut tail = Tail::default();
        lines.iter().for_each(|line| tail.push((*line).into()));
        tail
    }

    #[test]
    fn a_failure_is_what_the_test_says_or_its_last_line() {
        let said = ["FAILED: one", "FAILED: too few", "rmmod: in use", " "];
        assert_eq!(tail(&said).failure(), Some("FAILED: too few"));
        assert_eq!(tail(&said[2..]).failure(), Some("rmmod: in use"));
        assert_eq!(tail(&said).last(), Some("rmmod: in use"));
        assert_eq!(tail(&said[3..]).failure(), None);
    }
}
