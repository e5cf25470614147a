// SPDX-License-Identifier: GPL-2.0

//! The command.

use std::path::PathBuf;
use std::process::exit;
use std::time::Duration;

use clap::Parser;
use mapstorm::storm::run;
use mapstorm::storm::Order;

/// Lets threads fault on, protect, map and direct-read into mappings of two files, all at once.
///
/// Ends with one line: how often each was done, and how many milliseconds the longest took. Exit
/// status 0: all content was right and no thread was stuck. 1: not. 2: it could not begin, or a thread
/// did not come back.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to make the files
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Size of each of the two files
    #[arg(long, value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..=65536))]
    mib: u64,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// How long one step of a thread may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// Seed of all chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn main() {
    let args = Args::parse();
    let order = Order {
        threads: args.threads.into(),
        file_len: args.mib << 20,
        duration: Duration::from_secs(args.seconds),
        patience: Duration::from_secs(args.patience),
        seed: args.seed,
    };
    match run(&args.directory, &order) {
        Ok(report) => {
            println!("{report}");
            exit(if report.is_good() { 0 } else { 1 })
        }
        Err(error) => {
            eprintln!("mapstorm: {error:#}");
            exit(2)
        }
    }
}
