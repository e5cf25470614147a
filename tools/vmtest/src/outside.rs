// SPDX-License-Identifier: GPL-2.0

//! Somebody else's cluster: what a test may do to it is what the caller has given a command for. In:
//! orders of the test, such as `sheep kill`. Out: what the command said.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

/// What can be done to a sheep from outside. A test with `# Needs: events` uses these alone.
pub const EVENTS: [&str; 4] = ["kill", "start", "stop", "cont"];

/// How long a command may take: a node may be restarted over a network.
const LIMIT: Duration = Duration::from_secs(120);

/// Shell commands by the event that they bring about.
#[derive(Clone, Debug, Default)]
pub struct Events(BTreeMap<String, String>);

/// An event and its command, from `NAME=COMMAND`.
pub fn event(word: &str) -> Result<(String, String), String> {
    match word.split_once('=') {
        Some((name, command)) if EVENTS.contains(&name) && !command.trim().is_empty() => {
            Ok((name.into(), command.into()))
        }
        _ => Err(format!(
            "expected NAME=COMMAND, NAME one of {}",
            EVENTS.join(", ")
        )),
    }
}

impl FromIterator<(String, String)> for Events {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(events: I) -> Self {
        Self(events.into_iter().collect())
    }
}

impl Events {
    /// Whether every event has a command.
    pub fn are_complete(&self) -> bool {
        EVENTS.iter().all(|name| self.0.contains_key(*name))
    }

    /// Brings an event about; `restart` is two of them.
    pub fn order(&self, words: &[&str]) -> Result<String> {
        match words {
            ["restart"] => Ok(self.run("kill")? + &self.run("start")?),
            [name] if EVENTS.contains(name) => self.run(name),
            _ => bail!("only {} can be done to this cluster", EVENTS.join(", ")),
        }
    }

    fn run(&self, name: &str) -> Result<String> {
        let command = self.0.get(name).with_context(|| {
            format!("no command for {name:?}: give one with --event {name}=...")
        })?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| command.clone())?;
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                bail!("{command:?} took more than {} s", LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if !status.success() {
            bail!("{command:?}: {status}");
        }
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_known_name_and_a_command() {
        assert_eq!(
            event("kill=ssh node1 kill 7"),
            Ok(("kill".into(), "ssh node1 kill 7".into()))
        );
        for word in ["kill", "kill=", "kill= ", "explode=now", "=x"] {
            assert!(event(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn events_run_their_commands_and_tell_when_those_fail() {
        let events =
            |words: &[&str]| -> Events { words.iter().map(|word| event(word).unwrap()).collect() };
        let all = events(&["kill=true", "start=true", "stop=exit 3", "cont=true"]);
        assert!(all.are_complete());
        assert!(!events(&["kill=true"]).are_complete());
        assert!(all.order(&["kill"]).is_ok() && all.order(&["restart"]).is_ok());
        assert!(all.order(&["stop"]).unwrap_err().to_string().contains('3'));
        assert!(all.order(&["fault", "clear"]).is_err());
        let error = events(&["kill=true"]).order(&["restart"]).unwrap_err();
        assert!(error.to_string().contains("--event start="));
    }
}
