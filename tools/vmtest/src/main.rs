// SPDX-License-Identifier: GPL-2.0

//! `vmtest` boots stock kernels in QEMU and runs the project's behaviour tests in them: one script
//! per behaviour, each bounded in time, judged by its exit status and by what the kernel says. See
//! Documentation/testing.rst.

mod cache;
mod cli;
mod complaint;
mod hang;
mod header;
mod host_dir;
mod kernel;
mod message;
mod modules;
mod outside;
mod qemu;
mod qmp;
mod report;
mod session;
mod sheep;
mod single;
mod suite;
mod vm;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("vmtest: {error:#}");
            ExitCode::from(2)
        }
    }
}
