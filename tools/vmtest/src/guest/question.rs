// SPDX-License-Identifier: GPL-2.0

//! Questions of a test script to the runner. `host WORDS...` in the guest sends the words through
//! process 1, prints the answer, and exits with the status that the runner chose.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result};

use crate::agent::Runner;

/// Where process 1 takes questions.
const HOST_SOCKET: &str = "/run/vmtest.sock";

/// The side of the `host` command.
pub fn ask(words: &[String]) -> ExitCode {
    match exchange(words) {
        Ok((status, text)) => {
            print!("{text}");
            ExitCode::from(status)
        }
        Err(error) => {
            eprintln!("host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn exchange(words: &[String]) -> Result<(u8, String)> {
    let mut stream = UnixStream::connect(HOST_SOCKET)
        .with_context(|| format!("{HOST_SOCKET}: works only inside a test machine"))?;
    writeln!(stream, "{}", serde_json::to_string(words)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).context("answer of process 1")
}

/// The side of process 1: one thread per question.
pub fn listen(runner: Runner) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let listener =
        UnixListener::bind(HOST_SOCKET).with_context(|| format!("bind {HOST_SOCKET}"))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let runner = runner.clone();
            thread::spawn(move || {
                // An asking command that goes away needs no answer.
                let _ = forward(&runner, stream, NUMBER.fetch_add(1, Ordering::Relaxed));
            });
        }
    });
    Ok(())
}

fn forward(runner: &Runner, mut stream: UnixStream, id: u32) -> Result<()> {
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    let answer = runner.ask(id, serde_json::from_str(&line)?);
    writeln!(stream, "{}", serde_json::to_string(&answer)?)?;
    Ok(())
}
