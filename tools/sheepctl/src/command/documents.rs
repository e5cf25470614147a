// SPDX-License-Identifier: GPL-2.0

//! Completion scripts and manual pages, made from the command line's definition.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::roff::{bold, roman, Roff};
use clap_mangen::Man;

use crate::cli::{Cli, EXIT_CODES};
use crate::command::Output;
use crate::failure::{Failure, Outcome};

const ENVIRONMENT: [(&str, &str); 1] = [(
    "SHEEPDOG_GATEWAY",
    "Gateways to use without --gateway, separated by commas.",
)];

const FILES: [(&str, &str); 5] = [
    ("/dev/sheepa, /dev/sheepb, …", "Mapped devices."),
    (
        "/dev/sheep/VDI, /dev/sheep/VDI-partN",
        "Links to them and to their partitions, made by udev.",
    ),
    (
        "/dev/sheep/by-mapping/MAPPING/disk, /dev/sheep/by-mapping/MAPPING/partN",
        "The same, under names that are unique on a machine.",
    ),
    (
        "/run/sheepctl/",
        "Locks, by which commands of root that work with one VDI wait for each other.",
    ),
    (
        "/sys/kernel/config/sheepdog/",
        "The driver's directory, with one directory per mapping.",
    ),
];

const EXAMPLES: [(&str, &str); 4] = [
    (
        "sheepctl vdi create -g 192.0.2.1 vm0 10G",
        "Create a VDI of 10 GiB.",
    ),
    (
        "sheepctl map -g 192.0.2.1 -g 192.0.2.2 vm0",
        "Map it, through the first of two nodes that answers. Prints /dev/sheepa.",
    ),
    ("sheepctl list --json", "Show the mappings to a program."),
    ("sheepctl unmap /dev/sheep/vm0", "Unmap it."),
];

pub fn completion(shell: Shell, output: &mut Output<'_>) -> Outcome<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sheepctl", &mut script);
    output.bytes(&script)
}

/// Prints sheepctl(1), or writes it and one page per command to `directory`.
pub fn man(directory: Option<&Path>, output: &mut Output<'_>) -> Outcome<()> {
    let failed = |error: io::Error| Failure::from_io(&error, "cannot write the manual pages");
    let page = main_page().map_err(failed)?;
    let Some(directory) = directory else {
        return output.bytes(&page);
    };
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .and_then(|()| std::fs::write(directory.join("sheepctl.1"), page))
        .map_err(failed)
}

/// sheepctl(1), with the sections that belong to all commands.
fn main_page() -> io::Result<Vec<u8>> {
    let man = Man::new(Cli::command().disable_help_subcommand(true));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    let mut sections = Roff::new();
    sections.control("SH", ["EXIT STATUS"]);
    sections.text([roman(
        "0 for success, else the errno that names the cause best, as with rbd(8):",
    )]);
    for (number, name, meaning) in EXIT_CODES {
        let number = number.to_string();
        definition(&mut sections, &format!("{number} ({name})"), meaning);
    }
    list(&mut sections, "ENVIRONMENT", &ENVIRONMENT);
    list(&mut sections, "FILES", &FILES);
    list(&mut sections, "EXAMPLES", &EXAMPLES);
    sections.to_writer(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn list(page: &mut Roff, title: &str, items: &[(&str, &str)]) {
    page.control("SH", [title]);
    for (term, meaning) in items {
        definition(page, term, meaning);
    }
}

fn definition(page: &mut Roff, term: &str, meaning: &str) {
    page.control("TP", []);
    page.text([bold(term)]);
    page.text([roman(meaning)]);
}
