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
use devsheep::server::Server;
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

/// Says where the server listens, all at once: whoever reads it may stop at the line it needs.
fn announce(args: &Args, server: &Server) -> Result<()> {
    let mut lines = Vec::new();
    lines.extend(
        server
            .control_address()
            .map(|address| format!("control on {address}\n")),
    );
    lines.extend(
        args.unix
            .iter()
            .map(|path| format!("listening on unix:{}\n", path.display())),
    );
    let addresses = server.addresses();
    lines.extend(
        addresses
            .iter()
            .map(|address| format!("listening on {address}\n")),
    );
    let mut out = std::io::stdout();
    out.write_all(lines.concat().as_bytes())?;
    out.flush()?;
    Ok(())
}

async fn serve(args: &Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = args.server().await?;
    announce(args, &server)?;
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
