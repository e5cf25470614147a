// SPDX-License-Identifier: GPL-2.0

//! The loop of process 1: orders from the runner in, reports out. One script runs at a time; when
//! it has ended, everything that it left running is killed, and the module must be removable.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{bail, Context, Result};
use nix::errno::Errno;
use nix::kmod::{delete_module, DeleteModuleFlags};
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitStatus};
use nix::unistd::Pid;

use crate::message::{end_marker, ToGuest, ToHost, CONTROL_PORT, HOST_DIR, OUTPUT_PORT};
use crate::{dump, question, setup};

/// The module under test; it has to be gone, or go at once, when a test has ended.
const MODULE: &std::ffi::CStr = c"sheepdog";

/// Exit status and text.
pub type Answer = (u8, String);

/// The way to the runner, shared by all threads.
#[derive(Clone)]
pub struct Runner {
    port: Arc<Mutex<File>>,
    /// Who waits for an answer, by the number of the question.
    waiting: Arc<Mutex<HashMap<u32, mpsc::Sender<Answer>>>>,
}

impl Runner {
    /// Sends one message. The runner going away ends the machine, so an error is only logged.
    pub fn send(&self, message: &ToHost) {
        let mut line = serde_json::to_vec(message).unwrap_or_default();
        line.push(b'\n');
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = port.write_all(&line) {
            setup::kernel_log(&format!("vmtest-guest: cannot reach the runner: {error}"));
        }
    }

    /// Sends a question and waits for its answer.
    pub fn ask(&self, id: u32, words: Vec<String>) -> Answer {
        let (sender, receiver) = mpsc::channel();
        let waiting = &self.waiting;
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, sender);
        self.send(&ToHost::Ask { id, words });
        receiver
            .recv()
            .unwrap_or((1, "the runner went away\n".into()))
    }

    fn answer(&self, id: u32, status: u8, text: String) {
        let sender = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        if let Some(sender) = sender {
            // The asking command may have been killed meanwhile.
            let _ = sender.send((status, text));
        }
    }
}

/// Finds a virtio port by the name that QEMU's command line gave it.
fn open_port(name: &str) -> Result<File> {
    for entry in fs::read_dir("/sys/class/virtio-ports").context("list the virtio ports")? {
        let entry = entry?;
        let found = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if found.trim_end() == name {
            let device = std::path::Path::new("/dev").join(entry.file_name());
            return OpenOptions::new()
                .read(true)
                .write(true)
                .open(&device)
                .with_context(|| format!("open {}", device.display()));
        }
    }
    bail!("no virtio port {name}")
}

/// Takes orders until the machine ends.
pub fn serve() -> Result<Infallible> {
    let control = open_port(CONTROL_PORT)?;
    let output = open_port(OUTPUT_PORT)?;
    let runner = Runner {
        port: Arc::new(Mutex::new(control.try_clone()?)),
        waiting: Arc::default(),
    };
    question::listen(runner.clone())?;
    runner.send(&ToHost::Ready);
    for line in BufReader::new(control).lines() {
        let line = line.context("read from the runner")?;
        match serde_json::from_str(&line).with_context(|| format!("order {line:?}"))? {
            ToGuest::Run {
                id,
                script,
                env,
                interactive,
            } => {
                let runner = runner.clone();
                let output = output.try_clone()?;
                thread::spawn(move || {
                    let status = run(id, &script, &env, interactive, output);
                    let status = status.unwrap_or_else(|error| {
                        setup::kernel_log(&format!("vmtest-guest: {script}: {error:#}"));
                        127
                    });
                    let leftover = remove_module().or_else(lockdep_is_off);
                    setup::kernel_log(&end_marker(id));
                    runner.send(&ToHost::Done {
                        id,
                        status,
                        leftover,
                    });
                });
            }
            ToGuest::Dump => {
                let runner = runner.clone();
                thread::spawn(move || dump::send(&runner));
            }
            ToGuest::Answer { id, status, text } => runner.answer(id, status, text),
        }
    }
    bail!("the runner closed the control port")
}

/// Runs one script and returns its exit status, when nothing of it is left: no process, no file in /tmp.
fn run(
    id: u32,
    script: &str,
    env: &BTreeMap<String, String>,
    interactive: bool,
    mut output: File,
) -> Result<i32> {
    let mut command = Command::new("/usr/bin/setsid");
    if interactive {
        command.args(["--ctty", "--wait"]);
    }
    command
        .args(["/bin/bash", script])
        .current_dir("/root")
        .env_clear()
        .env("HOME", "/root")
        .env("TERM", "linux")
        .env(
            "PATH",
            format!("{HOST_DIR}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        )
        .envs(env);
    let mut pump = None;
    if interactive {
        let console = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/ttyS0")?;
        command
            .stdin(console.try_clone()?)
            .stdout(console.try_clone()?)
            .stderr(console);
    } else {
        let (reader, writer) = nix::unistd::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        pump = Some(thread::spawn(move || {
            // A lost port shows as a missing end marker on the other side.
            let _ = pump_output(&mut File::from(reader), &mut output);
            let _ = output.write_all(format!("\n{}\n", end_marker(id)).as_bytes());
        }));
    }
    let child = command.spawn().with_context(|| format!("run {script}"))?;
    // The write end of the pipe must not stay open here.
    drop(command);
    let script = Pid::from_raw(i32::try_from(child.id())?);
    let status = loop {
        match waitpid(None, None).context("wait for the script")? {
            WaitStatus::Exited(pid, status) if pid == script => break status,
            WaitStatus::Signaled(pid, signal, _) if pid == script => break 128 + signal as i32,
            _ => {}
        }
    };
    // Everything but process 1 and the kernel's own threads.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while waitpid(None, None) != Err(Errno::ECHILD) {}
    if let Some(pump) = pump {
        let _ = pump.join();
    }
    clear_scratch();
    Ok(status)
}

/// The next test in this machine finds no files of this one in /tmp.
fn clear_scratch() {
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        if let Err(error) = removed {
            setup::kernel_log(&format!("vmtest-guest: {}: {error}", path.display()));
        }
    }
}

/// Copies with plain reads and writes: what `io::copy` chooses between a pipe and a character
/// device, splice, loses data on a virtio port.
fn pump_output(from: &mut File, to: &mut File) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length])?,
        }
    }
}

/// Whether a kernel that has lockdep no longer watches locks: it stops with its first report, and when
/// its tables are full. What it would have found since then is not known.
fn lockdep_is_off() -> Option<String> {
    let state = fs::read_to_string("/proc/lockdep_stats").ok()?;
    let on = state
        .lines()
        .filter_map(|line| line.trim().strip_prefix("debug_locks:"))
        .any(|value| value.trim() == "1");
    (!on).then(|| "lockdep was off at the end of the test (/proc/lockdep_stats)".into())
}

/// Removes the module, if it is loaded. Returns what prevents that.
fn remove_module() -> Option<String> {
    match delete_module(MODULE, DeleteModuleFlags::O_NONBLOCK) {
        Ok(()) | Err(Errno::ENOENT) => None,
        Err(error) => Some(format!(
            "rmmod sheepdog after the test: {error}; the test must unmap what it maps"
        )),
    }
}
