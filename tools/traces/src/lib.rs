// SPDX-License-Identifier: GPL-2.0

//! Reads the conversations that were recorded between real clients and a real sheep.
//!
//! The recordings are JSON lines, one file per scenario, and no part of this repository: tests
//! find them in the directory that `SHEEPDOG_TRACES` names, or in `../shared/traces` next to the
//! clone. A file comes in, a list of [`Entry`] goes out, in the order in which things happened.
//! Nothing here interprets a header: that is what the tests are about.

use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::anyhow;
use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use base64::prelude::BASE64_STANDARD;
use base64::Engine;
use serde_json::Value;

/// Bytes of a header.
pub const HEADER_LEN: usize = 48;

/// One recorded frame: a header and the payload that followed it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Number of the connection within the file.
    pub conn: u64,
    /// The header as it stood on the wire.
    pub header: [u8; HEADER_LEN],
    /// The header decoded by the recorder, payload and reading aids included.
    pub json: Value,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The first line of a file: scenario and set-up.
    Meta(Value),
    /// What the person who drove the scenario did or saw.
    Note(String),
    /// A connection came into being, to the node with this index.
    Open {
        /// The connection.
        conn: u64,
        /// The node.
        node: u64,
    },
    /// A connection ended, by FIN or by RST, as the client or the server wished.
    Close {
        /// The connection.
        conn: u64,
        /// Whether the client ended it.
        by_client: bool,
        /// Whether it was an RST.
        reset: bool,
    },
    /// Another event, such as a refused connection.
    Event(Value),
    /// Bytes of a frame that never became complete.
    Partial {
        /// The connection.
        conn: u64,
        /// The bytes, as far as they were recorded.
        json: Value,
    },
    /// A complete request.
    Request(Frame),
    /// A complete response.
    Response(Frame),
}

impl Frame {
    /// The number called `key`.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.json.get(key)?.as_u64()
    }

    /// The text called `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.json.get(key)?.as_str()
    }

    /// The hexadecimal number called `key`, which the recorder writes without `0x`.
    pub fn hex_number(&self, key: &str) -> Option<u64> {
        u64::from_str_radix(self.text(key)?, 16).ok()
    }

    /// The number that `hdr` holds at bytes 12 to 15; the payload is that long when there is one.
    pub fn payload_len(&self) -> usize {
        self.number("data_len")
            .and_then(|len| usize::try_from(len).ok())
            .unwrap_or(0)
    }

    /// The payload, rebuilt.
    pub fn payload(&self) -> Result<Vec<u8>> {
        let len = self.payload_len();
        if let Some(text) = self.text("data_b64") {
            return Ok(BASE64_STANDARD.decode(text)?);
        }
        let mut bytes = vec![0; len];
        let Some(pieces) = self.json.get("data_sparse") else {
            return Ok(bytes);
        };
        for piece in pieces.as_array().context("data_sparse is no list")? {
            let (offset, content) = match piece.as_array().map(Vec::as_slice) {
                Some([offset, Value::String(text)]) => (offset, BASE64_STANDARD.decode(text)?),
                Some([offset, run, Value::String(byte)]) => {
                    let run = usize::try_from(run.as_u64().context("run length")?)?;
                    (offset, vec![u8::from_str_radix(byte, 16)?; run])
                }
                _ => bail!("unknown piece {piece} in data_sparse"),
            };
            let offset = usize::try_from(offset.as_u64().context("piece offset")?)?;
            bytes
                .get_mut(offset..offset + content.len())
                .context("a piece lies outside the payload")?
                .copy_from_slice(&content);
        }
        Ok(bytes)
    }
}

fn decode_header(text: &str) -> Result<[u8; HEADER_LEN]> {
    let mut header = [0; HEADER_LEN];
    if text.len() != 2 * HEADER_LEN {
        bail!("a header of {} hex digits", text.len());
    }
    for (at, byte) in header.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16)?;
    }
    Ok(header)
}

fn entry(json: Value) -> Result<Entry> {
    let text = |key: &str| json.get(key).and_then(Value::as_str);
    let conn = json.get("conn").and_then(Value::as_u64);
    let frame = || -> Result<Frame> {
        Ok(Frame {
            conn: conn.context("a frame without conn")?,
            header: decode_header(text("hdr").context("a frame without hdr")?)?,
            json: json.clone(),
        })
    };
    Ok(match text("dir") {
        Some("meta") => Entry::Meta(json),
        Some("note") => Entry::Note(text("text").unwrap_or_default().to_owned()),
        Some("req") => Entry::Request(frame()?),
        Some("rsp") => Entry::Response(frame()?),
        Some("partial") => Entry::Partial {
            conn: conn.context("a partial frame without conn")?,
            json,
        },
        Some("event") => match (text("event"), conn) {
            (Some("open"), Some(conn)) => Entry::Open {
                conn,
                node: json.get("node").and_then(Value::as_u64).unwrap_or(0),
            },
            (Some(how @ ("eof" | "reset")), Some(conn)) => Entry::Close {
                conn,
                by_client: text("side") == Some("client"),
                reset: how == "reset",
            },
            _ => Entry::Event(json),
        },
        _ => bail!("a line of unknown kind: {json}"),
    })
}

/// Reads one scenario.
pub fn load(path: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"))?;
    text.lines()
        .enumerate()
        .map(|(at, line)| {
            serde_json::from_str(line)
                .map_err(|error| anyhow!(error))
                .and_then(entry)
                .with_context(|| format!("{path:?}, line {}", at + 1))
        })
        .collect()
}

/// The scenario's files, sorted by name.
///
/// # Panics
///
/// When there are none, with a message that says how to name their directory: a test that silently
/// checks nothing would be worse. `SHEEPDOG_TRACES=skip` is the deliberate way not to check.
pub fn files() -> Vec<PathBuf> {
    let directory = match env::var("SHEEPDOG_TRACES") {
        Ok(value) if value == "skip" => {
            eprintln!("SHEEPDOG_TRACES=skip: the recorded conversations are not checked");
            return Vec::new();
        }
        Ok(value) => PathBuf::from(value),
        Err(_) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces"),
    };
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .collect();
    assert!(
        !files.is_empty(),
        "no recorded conversations (*.jsonl) in {directory:?}: set SHEEPDOG_TRACES to their \
         directory, or to `skip`",
    );
    files.sort();
    files
}
