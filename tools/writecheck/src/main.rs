// SPDX-License-Identifier: GPL-2.0

//! The command.

use std::process::ExitCode;

use clap::Parser;
use writecheck::cli::Args;

fn main() -> ExitCode {
    match Args::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("writecheck: {error:#}");
            ExitCode::from(2)
        }
    }
}
