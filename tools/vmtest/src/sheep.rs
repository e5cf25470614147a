// SPDX-License-Identifier: GPL-2.0

//! The development sheep outside the machine, one per test. In: commands of the test, such as
//! `sheep kill`. Out: what happened. Only processes that were started here are touched.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::{json, Value};

use crate::outside::Events;
use crate::qemu::bound_to_runner;

/// How long the sheep may take until it says where it listens.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to answer on its control socket.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);

/// Who carries out what a test orders.
pub enum Shepherd {
    /// Nobody.
    None,
    /// The sheep of this test.
    Own(Box<Sheep>),
    /// Somebody else's cluster, with the commands that were given for it.
    Outside(Events),
}

/// A development sheep.
pub struct Sheep {
    program: PathBuf,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
    log: PathBuf,
    child: Option<Child>,
    /// 0 stands for any, until the first start.
    ports: Vec<u16>,
}

impl Shepherd {
    /// Carries out a command of a test: exit status and text.
    pub fn command(&mut self, words: &[String]) -> (u8, String) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = match (self, words.as_slice()) {
            (_, ["ping"]) => Ok(String::new()),
            (Self::Own(sheep), ["sheep", rest @ ..]) => sheep.order(rest),
            (Self::Outside(events), ["sheep", rest @ ..]) => events.order(rest),
            (Self::None, ["sheep", ..]) => Err(anyhow::anyhow!(
                "no development sheep for this test: declare `# Needs: faults`"
            )),
            _ => Err(anyhow::anyhow!(
                "usage: host ping | host sheep kill|start|restart|stop|cont|gateways | \
                 host sheep gateway NUMBER MODE | host sheep fault COMMAND [VALUE...]"
            )),
        };
        match result {
            Ok(text) => (0, text),
            Err(error) => (1, format!("host: {error:#}\n")),
        }
    }
}

impl Sheep {
    /// Starts a sheep on `gateways` free ports of the loopback; what it prints goes to `log`. In
    /// the arguments, `%d` stands for a directory that lasts as long as the test.
    pub fn start(program: &Path, arguments: &[String], gateways: u32, log: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("vmtest-sheep-").tempdir()?;
        let place = directory.path().to_string_lossy();
        let mut sheep = Self {
            program: program.to_owned(),
            arguments: arguments
                .iter()
                .map(|word| word.replace("%d", &place))
                .collect(),
            directory,
            log: log.to_owned(),
            child: None,
            ports: vec![0; gateways as usize],
        };
        sheep.spawn()?;
        Ok(sheep)
    }

    /// The gateways as the guest sees them.
    pub fn gateways(&self) -> String {
        let ports = self.ports.iter().map(|port| format!("10.0.2.2:{port}"));
        ports.collect::<Vec<_>>().join(",")
    }

    fn order(&mut self, words: &[&str]) -> Result<String> {
        match words {
            ["kill"] => self.kill()?,
            ["start"] => self.spawn()?,
            ["restart"] => {
                self.kill()?;
                self.spawn()?;
            }
            ["stop"] => self.signal(Signal::SIGSTOP)?,
            ["cont"] => self.signal(Signal::SIGCONT)?,
            ["gateways"] => return self.control(&json!({ "cmd": "gateways" })),
            ["gateway", number, mode] => return self.control(&gateway_line(number, mode)?),
            ["fault", command] => return self.control(&control_line(command, None)?),
            ["fault", command, value @ ..] => {
                return self.control(&control_line(command, Some(&value.join(" ")))?)
            }
            _ => bail!(
                "expected kill, start, restart, stop, cont, gateways, gateway NUMBER MODE, \
                 or fault COMMAND [VALUE...]"
            ),
        }
        Ok(String::new())
    }

    /// The first start chooses free ports, later ones take the same again.
    fn spawn(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the sheep runs already");
        }
        let mut command = bound_to_runner(&self.program);
        for port in &self.ports {
            command.args(["--listen", &format!("127.0.0.1:{port}")]);
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut child = command
            .arg("--control")
            .arg(format!("unix:{}", self.control_path().display()))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .spawn()
            .with_context(|| format!("{}", self.program.display()))?;
        let stdout = child.stdout.take().context("output of the sheep")?;
        self.child = Some(child);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || watch(stdout, log, &sender));
        let mut ports = Vec::new();
        while ports.len() < self.ports.len() {
            match receiver.recv_timeout(START_LIMIT) {
                Ok(port) => ports.push(port),
                Err(error) => {
                    let what = match error {
                        RecvTimeoutError::Timeout => "did not say where it listens in time",
                        RecvTimeoutError::Disconnected => "ended as soon as it was started",
                    };
                    self.kill()?;
                    bail!(
                        "{} {what}, see {}",
                        self.program.display(),
                        self.log.display()
                    );
                }
            }
        }
        self.ports = ports;
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the sheep does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the sheep does not run")?;
        kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
        Ok(())
    }

    fn control_path(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    /// One command to the control socket, one answer back, as devsheep's README.md describes them.
    fn control(&self, line: &Value) -> Result<String> {
        let mut stream =
            UnixStream::connect(self.control_path()).context("control socket of the sheep")?;
        stream.set_read_timeout(Some(CONTROL_LIMIT))?;
        writeln!(stream, "{line}")?;
        let mut text = String::new();
        BufReader::new(stream)
            .read_line(&mut text)
            .context("answer of the sheep")?;
        let answer: Value = serde_json::from_str(&text).context("answer of the sheep")?;
        if answer["ok"] != true {
            bail!("the sheep refuses {}: {}", line["cmd"], answer["error"]);
        }
        Ok(text)
    }
}

/// A command of the control channel; its value is a number, a switch, JSON, or a rule.
fn control_line(command: &str, value: Option<&str>) -> Result<Value> {
    let long = |text: &str| -> Result<Value> {
        serde_json::from_str(text).with_context(|| format!("{command}: expected JSON"))
    };
    Ok(match (command, value) {
        (_, None) => json!({ "cmd": command }),
        ("shuffle", Some(window)) => {
            let window: u32 = window.parse().context("shuffle: expected a number")?;
            json!({ "cmd": command, "window": window })
        }
        ("refuse", Some(switch)) => json!({ "cmd": command, "on": switch == "on" }),
        ("set", Some(text)) => json!({ "cmd": command, "faults": long(text)? }),
        ("add", Some(text)) => json!({ "cmd": command, "rule": long(text)? }),
        (_, Some(rule)) => json!({ "cmd": command, "spec": rule }),
    })
}

fn gateway_line(number: &str, mode: &str) -> Result<Value> {
    let index: u32 = number
        .parse()
        .context("gateway: expected its number, 0 for the first")?;
    Ok(json!({ "cmd": "gateway", "index": index, "mode": mode }))
}

impl Drop for Sheep {
    fn drop(&mut self) {
        // A sheep that a test has killed is gone already.
        let _ = self.kill();
    }
}

/// Sends on each port of a line `listening on ADDRESS:PORT`, and keeps all lines.
fn watch(stdout: impl std::io::Read, mut log: std::fs::File, sender: &mpsc::Sender<u16>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        // The log is for people; the test goes on without it.
        let _ = writeln!(log, "{line}");
        if let Some(port) = port(&line) {
            // Nobody listens after the start.
            let _ = sender.send(port);
        }
    }
}

fn port(line: &str) -> Option<u16> {
    let (_, address) = line.split_once("listening on ")?;
    address.trim().rsplit_once(':')?.1.parse().ok()
}

/// The gateways of somebody else's cluster as the guest sees them: the host's loopback has other
/// addresses there.
pub fn outside_gateways(gateways: &str) -> Result<String> {
    let seen = gateways.split(',').map(|gateway| {
        let (address, port) = gateway
            .trim()
            .rsplit_once(':')
            .filter(|(address, port)| !address.is_empty() && port.parse::<u16>().is_ok())
            .with_context(|| format!("gateway {gateway:?}: expected address:port"))?;
        let address = match address {
            "localhost" => "10.0.2.2",
            "[::1]" => "[fec0::2]",
            local if local.starts_with("127.") => "10.0.2.2",
            other => other,
        };
        Ok(format!("{address}:{port}"))
    });
    Ok(seen.collect::<Result<Vec<_>>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_loopback_has_another_address_in_the_guest() {
        assert_eq!(
            outside_gateways("127.0.0.1:7000,[::1]:7001, 192.0.2.1:7002").unwrap(),
            "10.0.2.2:7000,[fec0::2]:7001,192.0.2.1:7002"
        );
        assert!(outside_gateways("127.0.0.1").is_err());
        assert!(outside_gateways("a:b").is_err());
    }

    #[test]
    fn the_port_is_read_from_the_greeting() {
        assert_eq!(port("listening on 127.0.0.1:40123"), Some(40123));
        assert_eq!(
            port("2026 INFO devsheep: listening on [::1]:7000"),
            Some(7000)
        );
        assert_eq!(port("bye"), None);
    }

    #[test]
    fn a_fault_command_becomes_a_line_of_the_control_channel() {
        let line = |command, value| control_line(command, value).unwrap().to_string();
        assert_eq!(line("clear", None), r#"{"cmd":"clear"}"#);
        assert_eq!(
            line("stall", Some("WRITE_OBJ:1:3")),
            r#"{"cmd":"stall","spec":"WRITE_OBJ:1:3"}"#
        );
        assert_eq!(
            line("shuffle", Some("8")),
            r#"{"cmd":"shuffle","window":8}"#
        );
        assert_eq!(line("refuse", Some("on")), r#"{"cmd":"refuse","on":true}"#);
        assert!(control_line("shuffle", Some("many")).is_err());
        assert_eq!(
            line("set", Some(r#"{"rules":[]}"#)),
            r#"{"cmd":"set","faults":{"rules":[]}}"#
        );
        assert_eq!(
            line("add", Some(r#"{"action":"stall"}"#)),
            r#"{"cmd":"add","rule":{"action":"stall"}}"#
        );
        assert!(control_line("set", Some("nothing")).is_err());
    }

    #[test]
    fn an_order_to_a_gateway_becomes_a_line_of_the_control_channel() {
        let line = gateway_line("1", "stop").unwrap();
        assert_eq!(
            line.to_string(),
            r#"{"cmd":"gateway","index":1,"mode":"stop"}"#
        );
        assert!(gateway_line("first", "stop").is_err());
    }

    #[test]
    fn a_command_without_a_sheep_says_what_to_do() {
        let words = ["sheep", "kill"].map(String::from);
        let (status, text) = Shepherd::None.command(&words);
        assert_eq!(status, 1);
        assert!(text.contains("Needs: faults"));
    }
}
