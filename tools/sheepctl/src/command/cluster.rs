// SPDX-License-Identifier: GPL-2.0

//! `cluster info`.

use crate::cli::ClusterCommand;
use crate::client::cluster::Cluster;
use crate::command::{connect, Output};
use crate::failure::Outcome;
use crate::size::ByteSize;
use crate::table::{columns, pairs};

pub fn run(command: ClusterCommand, output: &mut Output<'_>) -> Outcome<()> {
    let ClusterCommand::Info { cluster, json } = command;
    let cluster = connect(&cluster)?.cluster()?;
    if json {
        return output.json(&cluster);
    }
    output.text(&shown(cluster))
}

fn shown(cluster: Cluster) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let object_size = cluster.object_size.map(|size| ByteSize(size).to_string());
    let head = pairs([
        ("status", cluster.status),
        ("epoch", cluster.epoch.to_string()),
        ("formatted", or_dash(cluster.formatted)),
        ("default copies", cluster.redundancy),
        ("default object size", or_dash(object_size)),
        ("store", cluster.store),
        ("flags", cluster.flags.join(" ")),
    ]);
    let rows = cluster.nodes.into_iter().map(|node| {
        vec![
            node.address,
            node.zone.to_string(),
            node.vnodes.to_string(),
            ByteSize(node.space_bytes).to_string(),
        ]
    });
    let nodes = columns(&["NODE", "ZONE", "VNODES", "SPACE"], rows);
    format!("{head}\n{nodes}")
}
