// SPDX-License-Identifier: GPL-2.0

//! What a cluster is made of (CLUSTER_INFO, protocol sections 2.4 and 2.5).
//!
//! The whole 491 568 bytes are always asked for: a server crashes over less.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;
use sheepdog_core::proto::{Opcode, RequestHeader};

use crate::client::inode::time_text;
use crate::client::Client;
use crate::failure::Outcome;
use crate::name::printable;
use crate::redundancy::Redundancy;

/// Bytes of the structure: a head of 48 bytes and 6144 nodes.
const CLUSTER_INFO_LEN: u32 = 491_568;
const HEAD_LEN: usize = 48;
const NODE_LEN: usize = 80;

/// Names of the cluster flags, from bit 0.
const FLAGS: [&str; 6] = [
    "strict",
    "diskmode",
    "auto_vnodes",
    "use_lock",
    "recycle_vid",
    "avoid_diskfull",
];

/// A cluster. The field names are the documented JSON schema of `sheepctl cluster info --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// `ok`, `waiting`, `shutdown`, `killed`, `unformatted`.
    pub status: String,
    /// Counts the changes of membership.
    pub epoch: u32,
    /// When it was formatted, RFC 3339 in UTC; null for a cluster that is not.
    pub formatted: Option<String>,
    /// Redundancy of new VDIs: a number of copies, or `D:P`.
    pub redundancy: String,
    /// Object size of new VDIs in bytes.
    pub object_size: Option<u64>,
    /// Name of the storage back end.
    pub store: String,
    /// Cluster flags that are set.
    pub flags: Vec<String>,
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// `address:port`
    pub address: String,
    /// Failure domain: replicas of an object are in different zones.
    pub zone: u32,
    /// Share of the data, in virtual nodes; 0 for a pure gateway.
    pub vnodes: u16,
    /// Bytes of storage.
    pub space_bytes: u64,
}

impl Client {
    /// Asks for the cluster's make-up.
    ///
    /// # Errors
    ///
    /// `EPROTO` for an answer that is none, else the failure of CLUSTER_INFO.
    pub fn cluster(&mut self) -> Outcome<Cluster> {
        let request = RequestHeader::internal(Opcode::CLUSTER_INFO, CLUSTER_INFO_LEN);
        let data = self.demand_data(&request, "the cluster")?;
        parse(&data).ok_or_else(|| self.nonsense(request.opcode, "an impossible cluster"))
    }
}

fn parse(data: &[u8]) -> Option<Cluster> {
    let head: &[u8; HEAD_LEN] = data.first_chunk()?;
    let nr_nodes = usize::from(u16::from_le_bytes([head[2], head[3]]));
    let ctime = u64::from_le_bytes(head[8..16].try_into().ok()?);
    let flags = u16::from_le_bytes([head[16], head[17]]);
    let nodes = data[HEAD_LEN..].get(..nr_nodes.checked_mul(NODE_LEN)?)?;
    let status = match head[20] {
        _ if ctime == 0 => "unformatted",
        1 => "ok",
        2 => "waiting",
        3 => "shutdown",
        4 => "killed",
        _ => return None,
    };
    Some(Cluster {
        status: status.to_owned(),
        epoch: u32::from_le_bytes(head[4..8].try_into().ok()?),
        formatted: (ctime != 0).then(|| time_text(ctime)),
        redundancy: Redundancy::from_inode(head[18], head[19]).to_string(),
        object_size: 1_u64.checked_shl(head[21].into()).filter(|size| *size > 1),
        store: printable(head[25..41].split(|byte| *byte == 0).next()?),
        flags: (0..)
            .zip(FLAGS)
            .filter(|(bit, _)| flags & (1 << bit) != 0)
            .map(|(_, name)| name.to_owned())
            .collect(),
        nodes: nodes
            .chunks_exact(NODE_LEN)
            .filter_map(parse_node)
            .collect(),
    })
}

fn parse_node(bytes: &[u8]) -> Option<Node> {
    let bytes: &[u8; NODE_LEN] = bytes.try_into().ok()?;
    Some(Node {
        address: node_address(bytes[24..64].try_into().ok()?).to_string(),
        vnodes: u16::from_le_bytes([bytes[64], bytes[65]]),
        zone: u32::from_le_bytes(bytes[68..72].try_into().ok()?),
        space_bytes: u64::from_le_bytes(bytes[72..80].try_into().ok()?),
    })
}

/// The address in a node id: 16 bytes, of which an IPv4 address uses the last four, and a port.
pub fn node_address(node_id: &[u8; 40]) -> SocketAddr {
    let port = u16::from_le_bytes([node_id[16], node_id[17]]);
    let address = match node_id[..16] {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] if a != 0 => {
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&node_id[..16]);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    };
    SocketAddr::new(address, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_addresses_are_ipv4_in_the_last_bytes_or_ipv6() {
        let mut node_id = [0; 40];
        node_id[12..18].copy_from_slice(&[127, 0, 0, 1, 0x58, 0x1b]);
        assert_eq!(node_address(&node_id).to_string(), "127.0.0.1:7000");
        node_id[..16].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        assert_eq!(node_address(&node_id).to_string(), "[::1]:7000");
    }

    #[test]
    fn a_cluster_with_more_nodes_than_room_is_refused() {
        let mut data = vec![0; CLUSTER_INFO_LEN as usize];
        data[8] = 1;
        data[20] = 1;
        data[2..4].copy_from_slice(&6144_u16.to_le_bytes());
        assert_eq!(parse(&data).unwrap().nodes.len(), 6144);
        data[2..4].copy_from_slice(&6145_u16.to_le_bytes());
        assert_eq!(parse(&data), None);
    }
}
