// SPDX-License-Identifier: GPL-2.0

//! One running machine. In: orders for process 1 and for QEMU. Out: one stream of events, in the
//! order in which they arrive. The machine ends when the value is dropped; logs stay.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::message::{ToGuest, ToHost};
use crate::qemu::{bound_to_runner, Machine, QEMU, SOCKETS};
use crate::qmp::Qmp;

/// How long QEMU may take to open its sockets.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Events that wait to be seen. What is beyond that waits in the machine.
const QUEUE_LENGTH: usize = 1024;

/// Something that came out of the machine.
#[derive(Debug)]
pub enum Event {
    /// A line of the console, without its end.
    Console(String),
    /// A line that a test printed.
    Output(String),
    /// A message of process 1.
    Message(ToHost),
    /// QEMU has ended, or the machine's streams have.
    Gone,
}

/// A running machine.
pub struct Vm {
    qemu: Child,
    control: UnixStream,
    console: UnixStream,
    qmp: Qmp,
    events: Receiver<Event>,
    _directory: TempDir,
}

impl Vm {
    /// Starts the machine. Its console, QEMU's messages and the command line go to files in `logs`.
    /// If `echo` is set, every byte of the console also goes to standard output as it comes.
    pub fn start(machine: &Machine<'_>, logs: &Path, echo: bool) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("vmtest-").tempdir()?;
        let listeners = SOCKETS
            .iter()
            .map(|name| UnixListener::bind(directory.path().join(name)).map_err(Into::into))
            .collect::<Result<Vec<_>>>()?;
        let arguments = machine.arguments();
        fs::write(
            logs.join("qemu-command"),
            format!("{QEMU} {}\n", arguments.join(" ")),
        )?;
        let messages = File::create(logs.join("qemu.log"))?;
        let mut qemu = bound_to_runner(Path::new(QEMU))
            .args(&arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(messages.try_clone()?)
            .stderr(messages)
            .spawn()
            .with_context(|| format!("{QEMU}: install the package qemu-system-x86"))?;
        let connected = accept_all(&listeners, &mut qemu).and_then(|streams| {
            let [console, control, output, qmp] = streams;
            Ok((console, control, output, Qmp::greet(qmp)?))
        });
        let (console, control, output, qmp) = match connected {
            Ok(streams) => streams,
            Err(error) => {
                // It may have ended by itself.
                let _ = qemu.kill();
                let _ = qemu.wait();
                let said = fs::read_to_string(logs.join("qemu.log")).unwrap_or_default();
                return Err(error.context(format!("QEMU does not start: {}", said.trim())));
            }
        };
        let (sender, events) = mpsc::sync_channel(QUEUE_LENGTH);
        let mut log = File::create(logs.join("console.log"))?;
        let bytes = Echo {
            stream: console.try_clone()?,
            echo,
        };
        read_lines(bytes, &sender, move |line| {
            // A full disk must not end the test.
            let _ = writeln!(log, "{line}");
            Some(Event::Console(line))
        });
        read_lines(output, &sender, |line| Some(Event::Output(line)));
        read_lines(control.try_clone()?, &sender, |line| {
            serde_json::from_str(&line).ok().map(Event::Message)
        });
        Ok(Self {
            qemu,
            control,
            console,
            qmp,
            events,
            _directory: directory,
        })
    }

    /// The next event, or nothing until `deadline`.
    pub fn next(&self, deadline: Instant) -> Option<Event> {
        next(&self.events, deadline)
    }

    /// Sends an order to process 1.
    pub fn send(&mut self, order: &ToGuest) -> Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.control
            .write_all(&line)
            .context("send to process 1 of the machine")
    }

    /// QEMU's control channel.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Sends a SysRq over the serial line: a break, then the key. Works as long as interrupts do.
    pub fn sysrq(&mut self, key: char) -> Result<()> {
        self.qmp
            .run("chardev-send-break", json!({ "id": "console" }))?;
        // The kernel takes the key as part of the break if it is the next thing that it reads.
        thread::sleep(Duration::from_millis(50));
        self.type_in(key.to_string().as_bytes())
    }

    /// Types on the console.
    pub fn type_in(&mut self, bytes: &[u8]) -> Result<()> {
        self.console
            .write_all(bytes)
            .context("type on the machine's console")
    }

    /// How long CPUs of the host have worked for the machine; nothing once it has ended.
    pub fn cpu_time(&self) -> Duration {
        fs::read_to_string(format!("/proc/{}/stat", self.qemu.id()))
            .ok()
            .and_then(|stat| cpu_time(&stat))
            .unwrap_or_default()
    }

    /// What QEMU ended with, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.qemu.try_wait().ok().flatten()
    }

    /// The console, to type on from another thread.
    pub fn keyboard(&self) -> Result<UnixStream> {
        Ok(self.console.try_clone()?)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// User and system time in a line of `/proc/<pid>/stat` (proc_pid_stat(5)), which count in hundredths
/// of a second (USER_HZ of x86).
fn cpu_time(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may hold anything; the third field follows it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let ticks = |field: usize| rest.split(' ').nth(field - 3)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(14)? + ticks(15)?)))
}

fn next(events: &Receiver<Event>, deadline: Instant) -> Option<Event> {
    let left = deadline.saturating_duration_since(Instant::now());
    // Without a limit, recv_timeout still returns what is there, and there may always be something.
    if left.is_zero() {
        return None;
    }
    match events.recv_timeout(left) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Event::Gone),
    }
}

fn accept_all(listeners: &[UnixListener], qemu: &mut Child) -> Result<[UnixStream; 4]> {
    let deadline = Instant::now() + START_LIMIT;
    let mut streams = Vec::new();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = qemu.try_wait()? {
                bail!("it ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("it did not connect within {START_LIMIT:?}");
            }
            thread::sleep(Duration::from_millis(2));
        };
        stream.set_nonblocking(false)?;
        streams.push(stream);
    }
    Ok(streams
        .try_into()
        .unwrap_or_else(|_| unreachable!("one stream per listener")))
}

/// Copies what it reads to standard output, if told so.
struct Echo {
    stream: UnixStream,
    echo: bool,
}

impl Read for Echo {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.stream.read(buffer)?;
        if self.echo {
            let mut terminal = std::io::stdout().lock();
            terminal.write_all(&buffer[..length])?;
            terminal.flush()?;
        }
        Ok(length)
    }
}

/// Reads lines in a thread until the stream ends.
fn read_lines(
    stream: impl Read + Send + 'static,
    sender: &SyncSender<Event>,
    mut event: impl FnMut(String) -> Option<Event> + Send + 'static,
) {
    let sender = sender.clone();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match reader.read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let line = String::from_utf8_lossy(&bytes);
            if let Some(event) = event(line.trim_end_matches(['\r', '\n']).to_owned()) {
                if sender.send(event).is_err() {
                    break;
                }
            }
        }
        // The machine is given up when nobody receives.
        let _ = sender.send(Event::Gone);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_user_and_system_time() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 200 0 0 1234 66 0 0 20 0 1 0 5";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(13)));
        assert_eq!(cpu_time("7 (a) S 1"), None);
    }

    #[test]
    fn after_the_deadline_comes_nothing_even_if_something_is_there() {
        let (sender, events) = mpsc::sync_channel(1);
        sender.send(Event::Output("y".into())).unwrap();
        assert!(next(&events, Instant::now()).is_none());
        let later = Instant::now() + Duration::from_secs(60);
        assert!(matches!(next(&events, later), Some(Event::Output(_))));
        drop(sender);
        assert!(matches!(next(&events, later), Some(Event::Gone)));
    }

    #[test]
    fn lines_beyond_the_queue_are_not_read() {
        let (sender, events) = mpsc::sync_channel(QUEUE_LENGTH);
        let (mut machine, ours) = UnixStream::pair().unwrap();
        machine.set_nonblocking(true).unwrap();
        read_lines(ours, &sender, |line| Some(Event::Output(line)));
        let line = [b"y".repeat(1023), b"\n".to_vec()].concat();
        // The socket's buffer is full at some time, if nobody receives.
        let refused = (0..10_000).any(|_| {
            thread::sleep(Duration::from_micros(1));
            machine.write_all(&line).is_err()
        });
        assert!(refused);
        drop(events);
    }
}
