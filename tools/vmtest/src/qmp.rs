// SPDX-License-Identifier: GPL-2.0

//! QEMU's control channel (QMP), as much of it as the runner needs. In: commands. Out: their
//! results, within a limit. Events are skipped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use serde_json::{json, Value};

/// Limit for one command.
const LIMIT: Duration = Duration::from_secs(5);

/// A connection that has been greeted.
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qmp {
    /// Takes the connection that QEMU made.
    pub fn greet(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let mut qmp = Self {
            reader: BufReader::new(stream.try_clone()?),
            writer: stream,
        };
        qmp.read().context("QEMU's greeting")?;
        qmp.run("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns its result.
    pub fn run(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let order = json!({ "execute": command, "arguments": arguments });
        writeln!(self.writer, "{order}").with_context(|| format!("QMP {command}"))?;
        loop {
            let mut answer = self.read().with_context(|| format!("QMP {command}"))?;
            if answer.get("return").is_some() {
                return Ok(answer["return"].take());
            }
            if let Some(error) = answer.get("error") {
                bail!("QMP {command}: {error}");
            }
        }
    }

    /// Runs a command of the human monitor and returns what it prints.
    pub fn human(&mut self, line: &str) -> Result<String> {
        let printed = self.run("human-monitor-command", json!({ "command-line": line }))?;
        Ok(printed.as_str().unwrap_or_default().replace('\r', ""))
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("QEMU closed the connection");
        }
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_answers(answers: &'static str) -> Result<Qmp> {
        let (ours, mut qemus) = UnixStream::pair()?;
        qemus.write_all(answers.as_bytes())?;
        Qmp::greet(ours)
    }

    #[test]
    fn events_between_are_skipped() {
        let answers =
            "{\"QMP\":{}}\n{\"return\":{}}\n{\"event\":\"STOP\"}\n{\"return\":\"a\\r\\n\"}\n";
        assert!(with_answers(answers).is_ok());
    }

    #[test]
    fn a_refused_command_is_an_error() {
        let error = with_answers("{\"QMP\":{}}\n{\"error\":{\"desc\":\"no\"}}\n").err();
        assert!(format!("{:#}", error.unwrap()).contains("no"));
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        assert!(with_answers("").is_err());
    }
}
