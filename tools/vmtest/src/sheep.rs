// SPDX-License-Identifier: GPL-2.0

//! The development sheep outside the machine, one per test. In: commands of the test, such as
//! `sheep kill`. Out: what happened. Only processes that were started here are touched.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// How long the sheep may take until it says where it listens.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to answer on its control socket.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);

/// A development sheep.
pub struct Sheep {
    program: PathBuf,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
    log: PathBuf,
    child: Option<Child>,
    ports: Vec<u16>,
}

impl Sheep {
    /// Starts a sheep on free ports of the loopback; what it prints goes to `log`.
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        let mut sheep = Self {
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            directory: tempfile::Builder::new().prefix("vmtest-sheep-").tempdir()?,
            log: log.to_owned(),
            child: None,
            ports: Vec::new(),
        };
        sheep.spawn()?;
        Ok(sheep)
    }

    /// The gateways as the guest sees them.
    pub fn gateways(&self) -> String {
        let ports = self.ports.iter().map(|port| format!("10.0.2.2:{port}"));
        ports.collect::<Vec<_>>().join(",")
    }

    /// Carries out a command of a test: exit status and text.
    pub fn command(sheep: &mut Option<Self>, words: &[String]) -> (u8, String) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = match (sheep, words.as_slice()) {
            (_, ["ping"]) => Ok(String::new()),
            (Some(sheep), ["sheep", rest @ ..]) => sheep.order(rest),
            (None, ["sheep", ..]) => Err(anyhow::anyhow!(
                "no development sheep for this test: declare `# Needs: faults`"
            )),
            _ => Err(anyhow::anyhow!(
                "usage: host ping | host sheep kill|start|restart|stop|cont|ctl WORDS..."
            )),
        };
        match result {
            Ok(text) => (0, text),
            Err(error) => (1, format!("host: {error:#}\n")),
        }
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
            ["ctl", words @ ..] => return self.control(&words.join(" ")),
            _ => bail!("expected kill, start, restart, stop, cont, or ctl WORDS..."),
        }
        Ok(String::new())
    }

    /// The first start chooses free ports, later ones take the same again.
    fn spawn(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the sheep runs already");
        }
        let mut command = Command::new(&self.program);
        if self.ports.is_empty() {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        for port in &self.ports {
            command.args(["--listen", &format!("127.0.0.1:{port}")]);
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut child = command
            .arg("--control")
            .arg(self.directory.path().join("control"))
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
        let wanted = self.ports.len().max(1);
        let mut ports = Vec::new();
        while ports.len() < wanted {
            match receiver.recv_timeout(START_LIMIT) {
                Ok(port) => ports.push(port),
                Err(_) => {
                    self.kill()?;
                    bail!(
                        "{} did not say `listening on` within {START_LIMIT:?}, see {}",
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

    /// One line to the control socket, one line back.
    fn control(&self, line: &str) -> Result<String> {
        let path = self.directory.path().join("control");
        let mut stream = UnixStream::connect(&path).context("control socket of the sheep")?;
        stream.set_read_timeout(Some(CONTROL_LIMIT))?;
        writeln!(stream, "{line}")?;
        let mut answer = String::new();
        BufReader::new(stream)
            .read_line(&mut answer)
            .context("answer of the sheep")?;
        Ok(answer)
    }
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
    fn a_command_without_a_sheep_says_what_to_do() {
        let words = ["sheep", "kill"].map(String::from);
        let (status, text) = Sheep::command(&mut None, &words);
        assert_eq!(status, 1);
        assert!(text.contains("Needs: faults"));
    }
}
