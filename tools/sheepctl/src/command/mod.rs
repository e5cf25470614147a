// SPDX-License-Identifier: GPL-2.0

//! The commands: from parsed arguments to text on standard output.
//!
//! Everything that a command prints goes through [`Output`], so that a reader which goes away
//! (`sheepctl vdi list | head -1`) ends the program quietly instead of with a panic.

mod cluster;
mod documents;
mod local;
mod map;
mod vdi;

use std::io::{self, Write};
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::ClusterArgs;
use crate::cli::{Cli, Command};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::host::Host;

/// Where a command's result goes.
pub struct Output<'a>(&'a mut dyn Write);

impl Output<'_> {
    fn text(&mut self, text: &str) -> Outcome<()> {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self.0.write_all(bytes).and_then(|()| self.0.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::from_io(&error, "cannot write the result"))
            }
            _ => Ok(()),
        }
    }

    fn json(&mut self, value: &impl Serialize) -> Outcome<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(rustix::io::Errno::IO, error.to_string()))?;
        self.text(&format!("{text}\n"))
    }
}

/// Runs one command.
///
/// # Errors
///
/// What went wrong, with the exit code.
pub fn run(cli: Cli, output: &mut dyn Write) -> Outcome<()> {
    let host = Host::new(cli.host_root);
    let mut output = Output(output);
    match cli.command {
        Command::Map(args) => map::map(&host, args, &mut output),
        Command::Unmap(args) => map::unmap(&host, &args),
        Command::List(args) => map::list(&host, &args, &mut output),
        Command::Info(args) => map::info(&host, &args, &mut output),
        Command::Guard(args) => local::guard(args),
        Command::GuardWatch(args) => local::guard_watch(&host, &args),
        Command::Check { json } => local::check(&host, json, &mut output),
        Command::Vdi(command) => vdi::run(&host, command, &mut output),
        Command::Cluster(command) => cluster::run(command, &mut output),
        Command::Completion { shell } => documents::completion(shell, &mut output),
        Command::Man { directory } => documents::man(directory.as_deref(), &mut output),
        Command::UdevExport { disk } => map::udev_export(&host, &disk, &mut output),
    }
}

fn connect(args: &ClusterArgs) -> Outcome<Client> {
    Client::connect(&args.gateway.gateways, args.timeout)
}

/// From here on ctrl-C does not end the process but sets a flag, so that a command can clear up.
fn catch_interrupts() -> Outcome<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| Failure::from_io(&error, "cannot catch signals"))?;
    }
    Ok(interrupted)
}
