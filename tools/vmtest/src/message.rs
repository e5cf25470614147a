// SPDX-License-Identifier: GPL-2.0

//! What the runner and process 1 of the virtual machine say to each other: one JSON object per
//! line over the virtio port [`CONTROL_PORT`]. What a test prints travels apart from that, as it
//! is, over [`OUTPUT_PORT`]. Compiled into both binaries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Name of the virtio port that carries the messages.
pub const CONTROL_PORT: &str = "vmtest.control";

/// Name of the virtio port that carries what tests print.
pub const OUTPUT_PORT: &str = "vmtest.output";

/// Where the guest finds what the runner handed in: module, tools, tests.
pub const HOST_DIR: &str = "/host";

/// Written to the kernel log when a test has ended; when the runner sees it on the console, it
/// has seen everything that the kernel said before.
pub fn end_marker(id: u32) -> String {
    format!("vmtest: test {id} ended")
}

/// From the runner to the guest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToGuest {
    /// Run a script with bash.
    Run {
        /// Number of this run; comes back in [`ToHost::Done`].
        id: u32,
        /// Path in the guest.
        script: String,
        /// Environment beside PATH and the like.
        env: BTreeMap<String, String>,
        /// Talk on the console as an interactive shell, instead of over the output port.
        interactive: bool,
    },
    /// Tell what can be told of a machine that hangs.
    Dump,
    /// The answer to [`ToHost::Ask`].
    Answer {
        /// The number that came with the question.
        id: u32,
        /// Exit status for the asking command.
        status: u8,
        /// What the asking command prints.
        text: String,
    },
}

/// From the guest to the runner.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHost {
    /// The machine is up and waits for [`ToGuest::Run`].
    Ready,
    /// A script has ended.
    Done {
        /// The number that came with the order.
        id: u32,
        /// Exit status, 128 + signal for a signal.
        status: i32,
        /// What the script left behind and should not have.
        leftover: Option<String>,
    },
    /// A test asks the runner for something, such as `sheep kill`.
    Ask {
        /// Comes back in the answer.
        id: u32,
        /// The words of the command.
        words: Vec<String>,
    },
    /// The answer to [`ToGuest::Dump`], in pieces.
    Dump {
        /// Where the text is from, e.g. a path.
        title: String,
        /// The text.
        text: String,
    },
    /// All of a dump has been sent.
    DumpEnd,
}
