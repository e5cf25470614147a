// SPDX-License-Identifier: GPL-2.0

//! The development sheep's command.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;
use devsheep::cli::Args;
use devsheep::flusher::become_io_flusher;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;
use tokio::signal::unix::signal;
use tokio::signal::unix::SignalKind;
use tracing_subscriber::EnvFilter;

/// Threads that wait for a disk: enough to keep one busy, few enough to lock their stacks.
const DISK_THREADS: usize = 16;
/// How long disk operations may take to finish when the server ends.
const LAST_WRITES: Duration = Duration::from_secs(10);

fn runtime(args: &Args) -> Result<Runtime> {
    let mut builder = if args.threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder
        .worker_threads(args.threads.into())
        .max_blocking_threads(DISK_THREADS)
        .enable_all()
        .build()
        .context("cannot start threads")
}

async fn serve(args: &Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = args.server().await?;
    let mut out = std::io::stdout();
    if let Some(address) = server.control_address() {
        writeln!(out, "control on {address}")?;
    }
    if let Some(path) = &args.unix {
        writeln!(out, "listening on unix:{}", path.display())?;
    }
    for address in server.addresses()? {
        writeln!(out, "listening on {address}")?;
    }
    out.flush()?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.run(stop).await;
    Ok(())
}

fn run(args: &Args) -> Result<()> {
    if args.io_flusher {
        become_io_flusher()?;
    }
    let runtime = runtime(args)?;
    let result = runtime.block_on(serve(args));
    runtime.shutdown_timeout(LAST_WRITES);
    result
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("DEVSHEEP_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("devsheep: {error:#}");
            ExitCode::FAILURE
        }
    }
}
