// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use clap::Parser;
use rand::rngs::SmallRng;
use rand::SeedableRng;

use crate::disk::Device;
use crate::plan::Range;
use crate::run::run;
use crate::run::Order;
use crate::stamp::SECTOR;

/// Writes to a disk and checks that it holds exactly what it acknowledged.
///
/// Overwrites what is on the device. Exit status 0: nothing was lost, torn, foreign or corrupt, and
/// every block could be read at the end. 1: something was, or with --no-errors an I/O failed. 2: it
/// could not begin.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Block device or file; its content is destroyed
    #[arg(long, value_name = "PATH")]
    device: PathBuf,
    /// Where on the device to begin; K, M and G may follow, as everywhere here
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "0")]
    offset: u64,
    /// How much of it to use; default: the rest
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    size: Option<u64>,
    /// Threads, each with one I/O at a time
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// How long to write
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// How long to wait then, before all blocks are read
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    settle: Duration,
    /// Blocks of each thread that are rewritten all the time
    #[arg(long, value_name = "K", default_value_t = 2)]
    hot: usize,
    /// Blocks of each thread; default: two in each object of the range together, at least 64 each
    #[arg(long, value_name = "N")]
    blocks: Option<u64>,
    /// Size of a block, a multiple of 512
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "4096")]
    block: u64,
    /// Size of an object of the volume
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "4M")]
    object: u64,
    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail if a read or a write ended with an error
    #[arg(long)]
    no_errors: bool,
    /// Do not end at the first violation
    #[arg(long)]
    keep_going: bool,
    /// How long after its end a thread may wait for its last I/O before it counts as stuck
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    patience: Duration,
    /// Seed of all chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Use the page cache, where there is no O_DIRECT
    #[arg(long)]
    buffered: bool,
}

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.strip_suffix(['K', 'k', 'M', 'm', 'G', 'g']) {
        Some(digits) if text.ends_with(['K', 'k']) => (digits, 10),
        Some(digits) if text.ends_with(['M', 'm']) => (digits, 20),
        Some(digits) => (digits, 30),
        None => (text, 0),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected a number of bytes, as in 4096 or 64M".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected seconds, as in 30 or 0.5".into())
}

impl Args {
    fn order(&self, range: Range) -> Result<Order> {
        let threads = u64::from(self.threads);
        let default = range.default_blocks(threads, self.object.max(1));
        let each = self.blocks.unwrap_or(default);
        let mut rng = SmallRng::seed_from_u64(self.seed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        Ok(Order {
            block_len: usize::try_from(self.block)?,
            shares: range.share(threads, each, &mut rng)?,
            hot: self.hot,
            duration: self.seconds,
            settle: self.settle,
            patience: self.patience,
            keep_going: self.keep_going,
            // Enough of it to be different from run to run.
            run: now as u64,
            seed: self.seed,
        })
    }

    /// Does what the words say. Returns whether the disk kept its word.
    ///
    /// # Errors
    ///
    /// When it cannot begin, or the report cannot be written.
    pub fn run(&self) -> Result<bool> {
        if self.block == 0 || self.block % SECTOR as u64 != 0 {
            bail!("--block must be a multiple of {SECTOR}");
        }
        let (device, size) = Device::open(&self.device, self.buffered)?;
        let range = Range::new(size, self.offset, self.size, self.block)?;
        let order = self.order(range)?;
        let report = run(Arc::new(device), &order, &mut |violation| {
            eprintln!("writecheck: {violation}");
        });
        println!("{report}");
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report)? + "\n";
            std::fs::write(path, text).with_context(|| format!("{}", path.display()))?;
        }
        Ok(report.is_well(self.no_errors))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("2g"), Ok(2 << 30));
        assert!(bytes("M").is_err() && bytes("-1").is_err());
        assert!(bytes("99999999999G").is_err());
    }
}
