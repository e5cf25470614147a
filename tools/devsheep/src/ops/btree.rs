// SPDX-License-Identifier: GPL-2.0

//! The B-tree of hyper volumes, as far as a server has to know it: to discard one object, and to
//! find everything that a deleted volume leaves (protocol sheet 7.4). Clients build the tree.

use sheepdog_core::proto::inode;
use sheepdog_core::proto::ObjectId;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;

use crate::cluster::Cluster;

const NODE_HEADER_LEN: usize = 8;
const LEAF_ENTRY_LEN: usize = 8;
const INDIRECT_ENTRY_LEN: usize = 16;
/// Entries that fit in a node; a count beyond it is damage and is not followed.
const MAX_LEAF_ENTRIES: usize = 524_287;
const MAX_INDIRECT_ENTRIES: usize = 262_143;

/// A node: the object that holds it and where it begins there.
#[derive(Clone, Copy)]
struct Node {
    oid: ObjectId,
    offset: u64,
}

/// An entry of a leaf.
struct LeafEntry {
    /// Offset of the entry's VDI id in the leaf's object.
    offset: u64,
    idx: u32,
    owner: u32,
}

fn word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |word, &byte| (word << 8) | u32::from(byte))
}

impl Cluster {
    fn node_header(&self, node: Node) -> Result<Option<(u32, usize)>, SdResult> {
        let bytes = self.read_bytes(node.oid, node.offset, NODE_HEADER_LEN)?;
        let magic = word(&bytes) & 0xffff;
        if magic != u32::from(inode::BTREE_MAGIC) {
            return Ok(None);
        }
        Ok(Some((word(&bytes) >> 16, word(&bytes[4..]) as usize)))
    }

    fn leaves(&self, vid: Vid) -> Result<Vec<Node>, SdResult> {
        let root = Node {
            oid: ObjectId::inode(vid),
            offset: inode::MAP_OFFSET.into(),
        };
        match self.node_header(root)? {
            None => Ok(Vec::new()),
            Some((1, _)) => Ok(vec![root]),
            Some((_, count)) => {
                let len = count.min(MAX_INDIRECT_ENTRIES) * INDIRECT_ENTRY_LEN;
                let start = root.offset + NODE_HEADER_LEN as u64;
                let bytes = self.read_bytes(root.oid, start, len)?;
                let oids = bytes.chunks_exact(INDIRECT_ENTRY_LEN).map(|entry| {
                    let (low, high) = (word(&entry[8..]), word(&entry[12..]));
                    ObjectId::from_raw((u64::from(high) << 32) | u64::from(low))
                });
                Ok(oids.map(|oid| Node { oid, offset: 0 }).collect())
            }
        }
    }

    fn leaf_entries(&self, leaf: Node) -> Result<Vec<LeafEntry>, SdResult> {
        let Some((_, count)) = self.node_header(leaf)? else {
            return Ok(Vec::new());
        };
        let start = leaf.offset + NODE_HEADER_LEN as u64;
        let len = count.min(MAX_LEAF_ENTRIES) * LEAF_ENTRY_LEN;
        let bytes = self.read_bytes(leaf.oid, start, len)?;
        let offsets = (start + 4..).step_by(LEAF_ENTRY_LEN);
        let entries = bytes.chunks_exact(LEAF_ENTRY_LEN).zip(offsets);
        Ok(entries
            .map(|(entry, offset)| LeafEntry {
                offset,
                idx: word(entry),
                owner: word(&entry[4..]),
            })
            .collect())
    }

    /// Clears the entry of a data object and removes the object if the volume owns it.
    pub(super) fn discard_in_tree(&self, oid: ObjectId) -> Result<(), SdResult> {
        for leaf in self.leaves(oid.vid())? {
            let entries = self.leaf_entries(leaf)?;
            let found = entries
                .iter()
                .find(|entry| entry.idx == oid.idx() && entry.owner != 0);
            if let Some(entry) = found {
                self.store.write(leaf.oid, entry.offset, &[0; 4])?;
                if entry.owner == oid.vid().raw() {
                    self.remove_if_there(oid)?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Every object that the volume owns: data and tree nodes, but not the inode.
    pub(super) fn objects_of_tree(&self, vid: Vid) -> Result<Vec<ObjectId>, SdResult> {
        let mut oids = Vec::new();
        for leaf in self.leaves(vid)? {
            let entries = self.leaf_entries(leaf)?;
            let own = entries.iter().filter(|entry| entry.owner == vid.raw());
            oids.extend(own.map(|entry| ObjectId::data(vid, entry.idx)));
            if leaf.oid != ObjectId::inode(vid) {
                oids.push(leaf.oid);
            }
        }
        Ok(oids)
    }
}
