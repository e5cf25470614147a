// SPDX-License-Identifier: GPL-2.0

//! One machine for one command, or for a person at the keyboard. In: the command line. Out: what
//! the command printed, and its verdict as exit status.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::termios::{cfmakeraw, tcgetattr, tcsetattr, SetArg, Termios};

use crate::cli::{MachineArgs, OneArgs};
use crate::header::{Need, Test};
use crate::session::{Order, Session, Verdict};
use crate::suite::{Settings, Target};

/// Ctrl-], as telnet has it.
const END_KEY: u8 = 0x1d;

/// A session at the keyboard has no limit that anybody would meet.
const SHELL_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Prints one line about a test.
pub fn print_declaration(test: &Test) {
    let set = if test.smoke { "smoke" } else { "full" };
    println!(
        "{:<32} {set:<5} {:>5} MiB {:>2} CPU {:>5} s  {}",
        test.name,
        test.memory_mib,
        test.cpus,
        test.limit.as_secs(),
        test.about
    );
}

/// Runs a shell command.
pub fn exec(machine: &MachineArgs, one: &OneArgs, limit: u32, script: &str) -> Result<ExitCode> {
    let scripts = tempfile::tempdir()?;
    let text = format!("# Test: a command\n{script}\n");
    let limit = Duration::from_secs(limit.into());
    let (settings, target, test) = prepare(machine, one, scripts.path(), &text)?;
    let logs = settings.logs.join("exec");
    let mut session = boot(&settings, &target, &test, &logs, false)?;
    let verdict = run(&settings, &target, &test, &logs, &mut session, limit, false)?;
    Ok(tell(&verdict, &logs, &session.tail()))
}

/// Connects the terminal with a shell.
pub fn shell(machine: &MachineArgs, one: &OneArgs) -> Result<ExitCode> {
    let scripts = tempfile::tempdir()?;
    let text = "# Test: a shell\nexec bash -i\n";
    let (settings, target, test) = prepare(machine, one, scripts.path(), text)?;
    let logs = settings.logs.join("shell");
    let mut session = boot(&settings, &target, &test, &logs, true)?;
    let terminal = RawTerminal::enter()?;
    let mut keyboard = session.keyboard()?;
    std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(length @ 1..) = std::io::stdin().read(&mut bytes) {
            if bytes[..length].contains(&END_KEY) {
                // The machine sees its console go, and ends.
                let _ = keyboard.shutdown(std::net::Shutdown::Both);
                break;
            }
            if keyboard.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
    });
    let verdict = run(
        &settings,
        &target,
        &test,
        &logs,
        &mut session,
        SHELL_LIMIT,
        true,
    );
    drop(terminal);
    println!();
    // How a person's session ends is no judgement on the machine.
    verdict.map(|_| ExitCode::SUCCESS)
}

fn prepare(
    machine: &MachineArgs,
    one: &OneArgs,
    scripts: &Path,
    text: &str,
) -> Result<(Settings, Target, Test)> {
    let path = scripts.join("command.sh");
    std::fs::write(&path, text)?;
    let settings = machine.settings()?;
    let target = machine.targets(&[scripts.to_owned()])?.into_iter().next();
    let mut test = Test::load(&path)?;
    test.memory_mib = one.memory;
    test.cpus = one.cpus;
    test.disk_mib = one.disk;
    if settings.devsheep.is_some() || settings.gateways.is_some() {
        test.needs.push(Need::Sheep);
    }
    Ok((settings, target.context("no kernel")?, test))
}

fn boot<'a>(
    settings: &Settings,
    target: &Target,
    test: &Test,
    logs: &'a Path,
    echo: bool,
) -> Result<Session<'a>> {
    let session = settings.boot(target, test, logs, echo);
    session.with_context(|| format!("no machine, logs in {}", logs.display()))
}

fn run(
    settings: &Settings,
    target: &Target,
    test: &Test,
    logs: &Path,
    session: &mut Session<'_>,
    limit: Duration,
    interactive: bool,
) -> Result<Verdict> {
    let (mut sheep, env) = settings.surroundings(target, test, logs)?;
    let order = Order {
        script: "/host/tests/command.sh",
        env,
        limit,
        allow: &[],
        interactive,
        show: true,
    };
    session.run(&order, &mut sheep)
}

fn tell(verdict: &Verdict, logs: &Path, tail: &str) -> ExitCode {
    let reason = match verdict {
        Verdict::Pass => return ExitCode::SUCCESS,
        Verdict::Skip(reason) => format!("skipped: {reason}"),
        Verdict::Fail(reason) | Verdict::Dead(reason) | Verdict::NotRun(reason) => reason.clone(),
        Verdict::Hang(reason) => format!("hang: {reason}"),
        Verdict::Complaint(line) => format!("the kernel complained: {line}"),
    };
    eprintln!(
        "vmtest: {reason}\n  logs: {}\n{}",
        logs.display(),
        tail.trim_end()
    );
    ExitCode::FAILURE
}

/// The terminal passes every key on, until this is dropped.
struct RawTerminal(Option<Termios>);

impl RawTerminal {
    fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            // Not a terminal: a script feeds the shell.
            return Ok(Self(None));
        };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).context("terminal")?;
        Ok(Self(Some(before)))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal may be gone.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
