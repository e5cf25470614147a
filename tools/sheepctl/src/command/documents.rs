// SPDX-License-Identifier: GPL-2.0

//! Completion scripts and manual pages, made from the command line's definition.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::command::Output;
use crate::failure::{Failure, Outcome};

pub fn completion(shell: Shell, output: &mut Output<'_>) -> Outcome<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sheepctl", &mut script);
    output.bytes(&script)
}

/// Prints sheepctl(1), or writes it and one page per command to `directory`.
pub fn man(directory: Option<&Path>, output: &mut Output<'_>) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::from_io(&error, "cannot write the manual pages");
    match directory {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), directory).map_err(failed)
        }
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page).map_err(failed)?;
            output.bytes(&page)
        }
    }
}
