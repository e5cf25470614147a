// SPDX-License-Identifier: GPL-2.0

//! What on this machine endangers its mapped disks: `sheepctl check`.
//!
//! Comes in: the mappings, and everything that the kernel tells about processes, swap and networks.
//! Goes out: a [`Report`], whose field names and kinds are the documented JSON schema. It only looks:
//! nothing is read from a disk of the driver, which may wait for its cluster.

mod daemons;
mod disks;

use std::fmt;

use rustix::io::Errno;
use serde::Serialize;

use crate::failure::Outcome;
use crate::host::Host;
use crate::mapping::status::Mapping;

pub use daemons::Daemon;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Disks can hang or lose data.
    Risk,
    /// Worth knowing; nothing has to be done.
    Note,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// A word for programs, see the help of the command.
    pub kind: &'static str,
    /// What it is about: `/dev/sheepa`, `sheep (pid 812)`.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// The daemons that were looked at.
    pub daemons: Vec<Daemon>,
    /// The disks that were looked at.
    pub disks: Vec<String>,
}

/// Looks at everything. Without the right to look at the mappings, that is a finding.
///
/// # Errors
///
/// Why there are no `mappings`, if that is another reason.
pub fn look(host: &Host, mappings: Outcome<Vec<Mapping>>) -> Outcome<Report> {
    let mut findings = Vec::new();
    let mappings = &match mappings {
        Err(failure) if failure.errno() == Errno::ACCESS => {
            findings.push(Finding {
                level: Level::Risk,
                kind: "cannot-look",
                subject: "mappings".to_owned(),
                message: "this user may not see what is mapped".to_owned(),
                remedy: "run `sheepctl check` as root".to_owned(),
            });
            Vec::new()
        }
        mappings => mappings?,
    };
    disks::states(mappings, &mut findings);
    let devices = disks::devices(host, mappings);
    disks::swap(host, &devices, &mut findings);
    let daemons = daemons::look(host, mappings, &devices, &mut findings);
    Ok(Report {
        findings,
        daemons,
        disks: mappings.iter().filter_map(|m| m.device.clone()).collect(),
    })
}

impl Report {
    pub fn risks(&self) -> usize {
        let is_risk = |finding: &&Finding| finding.level == Level::Risk;
        self.findings.iter().filter(is_risk).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let level = match finding.level {
                Level::Risk => "risk",
                Level::Note => "note",
            };
            writeln!(f, "{level}: {}: {}", finding.subject, finding.message)?;
            writeln!(f, "      {}", finding.remedy)?;
        }
        if self.risks() == 0 {
            writeln!(
                f,
                "no risk found, looked at {} and {}",
                counted(self.disks.len(), "disk"),
                counted(self.daemons.len(), "daemon")
            )?;
        }
        Ok(())
    }
}

/// `1 disk`, `2 disks`.
pub fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests;
