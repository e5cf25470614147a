// SPDX-License-Identifier: GPL-2.0

//! The control channel: faults are switched and counters are read while the server runs.
//!
//! One JSON object per line comes in, one per line goes out: `{"ok":true,…}` or
//! `{"ok":false,"error":"…"}`. README.md lists the commands.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;
use serde_json::json;
use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::UnixListener;

use crate::fault::FaultConfig;
use crate::fault::Rule;
use crate::gateway::Gateway;
use crate::gateway::Order;
use crate::server::bind_unix;
use crate::server::ControlAddress;
use crate::sheep::Sheep;

/// No command is longer.
const MAX_LINE: u64 = 1 << 20;

/// A command.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Ping,
    Stats,
    Faults,
    Set { faults: FaultConfig },
    Add { rule: Rule },
    Clear { spec: Option<String> },
    Fail { spec: String },
    FailApplied { spec: String },
    Stall { spec: String },
    Drop { spec: String },
    DropApplied { spec: String },
    Delay { spec: String },
    Corrupt { spec: String },
    Reclaim { spec: String },
    Shuffle { window: usize },
    Refuse { on: bool },
    Disconnect,
    Gateways,
    Gateway { index: usize, mode: Order },
    Shutdown,
}

fn set(sheep: &Sheep, faults: FaultConfig) -> Result<Value> {
    for rule in &faults.rules {
        rule.check()?;
    }
    sheep.faults.set(faults);
    Ok(json!({}))
}

fn add(sheep: &Sheep, rule: Rule) -> Result<Value> {
    rule.check()?;
    sheep.faults.add(rule);
    Ok(json!({}))
}

/// The rule that a command adds.
fn rule(command: &str, spec: &str) -> Result<Rule> {
    match command {
        "fail" => Rule::fail(spec, false),
        "fail_applied" => Rule::fail(spec, true),
        "stall" => Rule::stall(spec),
        "drop" => Rule::drop(spec, false),
        "drop_applied" => Rule::drop(spec, true),
        "delay" => Rule::delay(spec),
        "corrupt" => Rule::corrupt(spec),
        "reclaim" => Rule::reclaim(spec),
        _ => bail!(
            "no rule comes from {command:?}; use the command that added it, as in `fail ANY=HALT`"
        ),
    }
}

/// Switches the rules off that the command and the text in `spec` added.
fn remove(sheep: &Sheep, spec: &str) -> Result<Value> {
    let (command, text) = spec.split_once(' ').unwrap_or((spec, ""));
    let removed = sheep.faults.remove(&rule(command, text)?);
    if removed == 0 {
        bail!("no such rule is switched on; the command `faults` shows those that are");
    }
    Ok(json!({ "removed": removed }))
}

async fn order(
    sheep: &Arc<Sheep>,
    gateways: &[Arc<Gateway>],
    index: usize,
    mode: Order,
) -> Result<Value> {
    let gateway = gateways.get(index).with_context(|| {
        let count = gateways.len();
        format!("there is no gateway {index}; there are {count}, counted from 0")
    })?;
    gateway.obey(mode, sheep).await?;
    tracing::debug!(index, ?mode, "gateway");
    Ok(json!({}))
}

fn list(gateways: &[Arc<Gateway>]) -> Value {
    let gateways = gateways.iter().enumerate();
    gateways
        .map(|(index, gateway)| gateway.to_json(index))
        .collect()
}

async fn run(sheep: &Arc<Sheep>, gateways: &[Arc<Gateway>], command: Command) -> Result<Value> {
    match command {
        Command::Ping => Ok(json!({})),
        Command::Stats => Ok(json!({ "stats": sheep.stats.to_json() })),
        Command::Faults => Ok(json!({ "faults": sheep.faults.get() })),
        Command::Set { faults } => set(sheep, faults),
        Command::Add { rule } => add(sheep, rule),
        Command::Clear { spec: None } => set(sheep, FaultConfig::default()),
        Command::Clear { spec: Some(spec) } => remove(sheep, &spec),
        Command::Fail { spec } => add(sheep, rule("fail", &spec)?),
        Command::FailApplied { spec } => add(sheep, rule("fail_applied", &spec)?),
        Command::Stall { spec } => add(sheep, rule("stall", &spec)?),
        Command::Drop { spec } => add(sheep, rule("drop", &spec)?),
        Command::DropApplied { spec } => add(sheep, rule("drop_applied", &spec)?),
        Command::Delay { spec } => add(sheep, rule("delay", &spec)?),
        Command::Corrupt { spec } => add(sheep, rule("corrupt", &spec)?),
        Command::Reclaim { spec } => add(sheep, rule("reclaim", &spec)?),
        Command::Shuffle { window } => {
            sheep.faults.shuffle(window);
            Ok(json!({}))
        }
        Command::Refuse { on } => {
            sheep.faults.refuse(on);
            Ok(json!({}))
        }
        Command::Disconnect => {
            sheep.reset_connections();
            Ok(json!({}))
        }
        Command::Gateways => Ok(json!({ "gateways": list(gateways) })),
        Command::Gateway { index, mode } => order(sheep, gateways, index, mode).await,
        Command::Shutdown => {
            sheep.stop.notify_one();
            Ok(json!({}))
        }
    }
}

/// Answers one line.
pub async fn answer(sheep: &Arc<Sheep>, gateways: &[Arc<Gateway>], line: &str) -> Value {
    let parsed = serde_json::from_str(line).context("no command; see devsheep's README.md");
    let result = match parsed {
        Ok(command) => run(sheep, gateways, command).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(mut answer) => {
            answer["ok"] = true.into();
            answer
        }
        Err(error) => json!({ "ok": false, "error": format!("{error:#}") }),
    }
}

async fn serve(
    sheep: Arc<Sheep>,
    gateways: Arc<[Arc<Gateway>]>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader.take(MAX_LINE));
    let mut line = String::new();
    while reader.read_line(&mut line).await? > 0 {
        let mut text = answer(&sheep, &gateways, &line).await.to_string();
        text.push('\n');
        writer.write_all(text.as_bytes()).await?;
        line.clear();
        reader.get_mut().set_limit(MAX_LINE);
    }
    Ok(())
}

/// A bound control channel.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener, SocketAddr),
    /// UNIX socket, and its path.
    Unix(UnixListener, String),
}

impl Listener {
    /// Binds it.
    ///
    /// # Errors
    ///
    /// When the address cannot be used or is not on loopback: whoever reaches the control channel
    /// can stop the server.
    pub async fn bind(address: &ControlAddress) -> Result<Self> {
        match address {
            ControlAddress::Tcp(address) => {
                if !address.ip().is_loopback() {
                    bail!("the control channel must be on loopback: use 127.0.0.1, not {address}");
                }
                let listener = TcpListener::bind(address).await;
                let listener = listener.with_context(|| {
                    format!("cannot listen on {address}; choose another port, 0 for any")
                })?;
                let address = listener.local_addr()?;
                Ok(Self::Tcp(listener, address))
            }
            ControlAddress::Unix(path) => {
                let listener = bind_unix(path).await?;
                Ok(Self::Unix(listener, format!("unix:{}", path.display())))
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(_, address) => address.to_string(),
            Self::Unix(_, path) => path.clone(),
        }
    }

    pub(crate) async fn run(self, sheep: Arc<Sheep>, gateways: Vec<Arc<Gateway>>) {
        let gateways: Arc<[Arc<Gateway>]> = gateways.into();
        loop {
            let (sheep, gateways) = (sheep.clone(), gateways.clone());
            match &self {
                Self::Tcp(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(sheep, gateways, stream))),
                    Err(error) => tracing::warn!(%error, "control channel"),
                },
                Self::Unix(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(sheep, gateways, stream))),
                    Err(error) => tracing::warn!(%error, "control channel"),
                },
            }
        }
    }
}
