// SPDX-License-Identifier: GPL-2.0

//! `sheepctl`: maps Sheepdog volumes through the kernel's sheepdog driver, and manages them in
//! their cluster.
//!
//! Comes in: a command line. Goes out: the result on standard output, or what happened and what to
//! do on standard error, with an errno as the exit code. `mapping` and `host` know this machine,
//! `client` knows the cluster, `check` and `guard` what a sheep on this machine has to be, `command`
//! joins them. It never sends a request twice, and never one that can harm a server.

mod address;
mod check;
mod cli;
mod client;
mod command;
mod failure;
mod guard;
mod host;
mod mapping;
mod name;
mod redundancy;
mod size;
mod table;

use std::process::ExitCode;

use clap::Parser;
use rustix::io::Errno;

use cli::Cli;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return answer_of_parser(&answer),
    };
    match command::run(cli, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sheepctl: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints help and version, or what is wrong with the command line.
fn answer_of_parser(answer: &clap::Error) -> ExitCode {
    let printed = answer.print();
    if answer.use_stderr() || printed.is_err() {
        return ExitCode::from(Errno::INVAL.raw_os_error() as u8);
    }
    ExitCode::SUCCESS
}
