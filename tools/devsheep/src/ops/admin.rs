// SPDX-License-Identifier: GPL-2.0

//! Lists, bitmaps and cluster operations (protocol sheet 2.5, 3.2 and 16.2).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use sheepdog_core::proto::limits;
use sheepdog_core::proto::response::ClusterDefaultReply;
use sheepdog_core::proto::response::NodeReply;
use sheepdog_core::proto::SdResult;
use sheepdog_core::proto::Vid;

use crate::answer::Answer;
use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::cluster_flag;
use crate::cluster::unix_time;
use crate::cluster::Cluster;
use crate::cluster::Format;
use crate::cluster::Lock;
use crate::cluster::Meta;

const NODE_LEN: usize = 80;
const NODE_ID_LEN: usize = 40;
const EPOCH_LOG_LEN: usize = 48;
const CLUSTER_INFO_LEN: usize = 491_568;
const VDI_STATE_LEN: usize = 1428;
const MD_INFO_LEN: usize = 263_688;
const STORE: &[u8] = b"plain";
const NR_VNODES: u16 = 128;
/// Cluster status (protocol sheet 2.4).
const STATUS_OK: u8 = 1;
const STATUS_WAIT: u8 = 2;
/// Replicas when MAKE_FS does not say (protocol sheet 3.2).
const DEFAULT_COPIES: u8 = 3;

/// Bytes of a structure, filled field by field.
struct Record(Vec<u8>);

impl Record {
    fn new(len: usize) -> Self {
        Self(vec![0; len])
    }

    fn put(mut self, at: usize, field: &[u8]) -> Self {
        self.0[at..at + field.len()].copy_from_slice(field);
        self
    }
}

fn bitmap(vids: &BTreeSet<u32>, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + limits::VDI_BITMAP_LEN as usize, 0);
    for &vid in vids {
        out[start + (vid / 8) as usize] |= 1 << (vid % 8);
    }
}

impl Cluster {
    /// node_id: where clients reach this node.
    fn node_id(&self) -> [u8; NODE_ID_LEN] {
        let mut bytes = [0; NODE_ID_LEN];
        match self.options.node.ip() {
            IpAddr::V4(ip) => bytes[12..16].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[..16].copy_from_slice(&ip.octets()),
        }
        bytes[16..18].copy_from_slice(&self.options.node.port().to_le_bytes());
        bytes
    }

    /// sd_node: this node, the only one.
    fn node(&self) -> Result<Vec<u8>, SdResult> {
        let zone = match self.options.node.ip() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
        };
        let record = Record::new(NODE_LEN)
            .put(24, &self.node_id())
            .put(64, &NR_VNODES.to_le_bytes())
            .put(68, &zone.octets())
            .put(72, &self.store.space()?.free.to_le_bytes());
        Ok(record.0)
    }

    /// A fixed reply, as long as the request has room for it.
    pub(super) fn fixed(&self, request: Request<'_>, out: &mut Vec<u8>, content: &[u8]) -> Outcome {
        if request.capacity() < content.len() {
            return Err(SdResult::BUFFER_SMALL);
        }
        out.extend_from_slice(content);
        Ok(Answer::SUCCESS)
    }

    pub(super) fn read_vdis(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        if request.header.data_length != limits::VDI_BITMAP_LEN {
            return Err(SdResult::INVALID_PARMS);
        }
        bitmap(&self.meta.lock().in_use, out);
        Ok(Answer::SUCCESS)
    }

    pub(super) fn read_del_vdis(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        if request.header.data_length != limits::VDI_BITMAP_LEN {
            return Err(SdResult::INVALID_PARMS);
        }
        match &self.meta.lock().format {
            Some(format) => bitmap(&format.deleted, out),
            None => bitmap(&BTreeSet::new(), out),
        }
        Ok(Answer::SUCCESS)
    }

    fn vdi_state(&self, meta: &Meta, vid: Vid) -> Vec<u8> {
        let deleted = meta
            .format
            .as_ref()
            .is_some_and(|format| format.deleted.contains(&vid.raw()));
        let shape = self.shape(vid);
        let shape = shape.map_or([0; 3], |shape| {
            [shape.copies, shape.copy_policy, shape.block_size_shift]
        });
        let parent = self.load(vid).ok();
        let parent = parent.and_then(|found| Some(found.header().ok()?.parent_vdi_id()));
        let record = Record::new(VDI_STATE_LEN)
            .put(0, &vid.raw().to_le_bytes())
            .put(4, &[shape[0]])
            .put(5, &[u8::from(self.is_snapshot(vid)), u8::from(deleted)])
            .put(7, &shape[1..])
            .put(12, &parent.unwrap_or(0).to_le_bytes());
        // Lock states and participant states: protocol sheet 2.4.
        match meta.locks.get(&vid.raw()) {
            None => record.put(16, &1_u32.to_le_bytes()),
            Some(Lock::Normal) => record
                .put(16, &2_u32.to_le_bytes())
                .put(20, &self.node_id()),
            Some(Lock::Shared) => record
                .put(16, &3_u32.to_le_bytes())
                .put(60, &1_u32.to_le_bytes())
                .put(64, &2_u32.to_le_bytes())
                .put(188, &self.node_id()),
        }
        .0
    }

    pub(super) fn get_vdi_copies(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        let meta = self.meta.lock();
        if request.capacity() < meta.in_use.len() * VDI_STATE_LEN {
            return Err(SdResult::BUFFER_SMALL);
        }
        for &vid in &meta.in_use {
            out.extend(self.vdi_state(&meta, Vid::truncate(vid)));
        }
        Ok(Answer::SUCCESS)
    }

    pub(super) fn get_cluster_default(&self) -> Outcome {
        let meta = self.meta.lock();
        let reply = meta.format.as_ref().map(|format| ClusterDefaultReply {
            nr_copies: format.copies,
            copy_policy: format.copy_policy,
            block_size_shift: format.block_size_shift,
        });
        Ok(Answer::cluster_default(reply.unwrap_or_default()))
    }

    pub(super) fn get_node_list(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        self.fixed(request, out, &self.node()?)?;
        Ok(Answer::node(NodeReply {
            nr_nodes: 1,
            ..NodeReply::default()
        }))
    }

    pub(super) fn stat_sheep(&self) -> Outcome {
        let space = self.store.space()?;
        Ok(Answer::node(NodeReply {
            nr_nodes: 0,
            store_size: space.size,
            store_free: space.free,
        }))
    }

    pub(super) fn cluster_info(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        let record = Record::new(CLUSTER_INFO_LEN).put(0, &[limits::PROTO_VER_INTERNAL]);
        let record = match &self.meta.lock().format {
            Some(format) => record
                .put(2, &1_i16.to_le_bytes())
                .put(4, &self.epoch().to_le_bytes())
                .put(8, &format.ctime.to_le_bytes())
                .put(16, &format.flags.to_le_bytes())
                .put(18, &[format.copies, format.copy_policy, STATUS_OK])
                .put(21, &[format.block_size_shift])
                .put(25, STORE)
                .put(48, &self.node()?),
            // No nodes either, as long as nobody has formatted it.
            None => record
                .put(16, &cluster_flag::AUTO_VNODES.to_le_bytes())
                .put(20, &[STATUS_WAIT]),
        };
        self.fixed(request, out, &record.0)
    }

    /// One epoch_log, with room for `nodes_nr` nodes.
    fn epoch_log(&self, format: &Format, epoch: u32, nodes_nr: u32) -> Result<Vec<u8>, SdResult> {
        let mut record = Record::new(EPOCH_LOG_LEN).put(16, &epoch.to_le_bytes());
        if epoch == self.epoch() {
            record = record
                .put(0, &format.ctime.to_le_bytes())
                .put(25, &[format.copies, format.copy_policy])
                .put(30, &format.flags.to_le_bytes())
                .put(32, STORE);
        }
        if nodes_nr > 0 {
            let at = format.epochs.get(epoch as usize - 1).copied();
            record = record
                .put(8, &at.unwrap_or(0).to_le_bytes())
                .put(20, &1_u32.to_le_bytes());
            record.0.extend(self.node()?);
            let spare = (nodes_nr as usize - 1) * NODE_LEN;
            record.0.resize(record.0.len() + spare, 0);
        }
        Ok(record.0)
    }

    pub(super) fn stat_cluster(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        let meta = self.meta.lock();
        let Some(format) = &meta.format else {
            return Err(SdResult::WAIT_FOR_FORMAT);
        };
        let nodes_nr = request.header.cluster_arm().nodes_nr;
        let record_len = EPOCH_LOG_LEN as u64 + u64::from(nodes_nr) * NODE_LEN as u64;
        let room = request.capacity() as u64 / record_len;
        let newest = self.epoch();
        let oldest = newest.saturating_sub(u32::try_from(room).unwrap_or(u32::MAX));
        for epoch in (oldest + 1..=newest).rev() {
            out.extend(self.epoch_log(format, epoch, nodes_nr)?);
        }
        Ok(Answer::SUCCESS)
    }

    pub(super) fn make_fs(&self, request: Request<'_>) -> Outcome {
        let store = request.payload.split(|&byte| byte == 0).next();
        if !matches!(store, Some(b"plain" | b"tree")) {
            return Err(SdResult::NO_STORE);
        }
        let arm = request.header.cluster_arm();
        let mut meta = self.meta.lock();
        self.wipe(&mut meta)?;
        let format = Format {
            ctime: arm.ctime,
            flags: arm.cluster_flags,
            copies: match arm.copies {
                0 => DEFAULT_COPIES,
                copies => copies,
            },
            copy_policy: arm.copy_policy,
            block_size_shift: match arm.block_size_shift {
                0 => limits::DEFAULT_BLOCK_SIZE_SHIFT,
                shift => shift,
            },
            epochs: vec![unix_time()],
            deleted: BTreeSet::new(),
        };
        self.adopt(&mut meta, format);
        self.save(&meta)?;
        Ok(Answer::SUCCESS)
    }

    pub(super) fn alter_cluster_copy(&self, request: Request<'_>) -> Outcome {
        let arm = request.header.cluster_arm();
        if arm.copies == 0 || arm.copies > limits::MAX_COPIES || arm.copy_policy != 0 {
            return Err(SdResult::INVALID_PARMS);
        }
        let mut meta = self.meta.lock();
        if let Some(mut format) = meta.format.clone() {
            format.copies = arm.copies;
            self.adopt(&mut meta, format);
        }
        self.save(&meta)?;
        Ok(Answer::SUCCESS)
    }

    /// The arm is vdi_state (protocol sheet 2.2): new_vid, copies and copy_policy.
    pub(super) fn alter_vdi_copy(&self, request: Request<'_>) -> Outcome {
        let arm = &request.header.arm;
        let vid = Vid::new(u32::from_le_bytes([arm[4], arm[5], arm[6], arm[7]]));
        let (copies, copy_policy) = (arm[8], arm[10]);
        let known = vid.and_then(|vid| Some((vid, self.shape(vid)?)));
        match known {
            Some((vid, mut shape)) if copy_policy == 0 && copies != 0 => {
                shape.copies = copies;
                self.set_shape(vid, shape);
                Ok(Answer::SUCCESS)
            }
            _ => Err(SdResult::INVALID_PARMS),
        }
    }

    pub(super) fn md_info(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        if request.capacity() != MD_INFO_LEN {
            return Err(SdResult::INVALID_PARMS);
        }
        let space = self.store.space()?;
        let used = space.size.saturating_sub(space.free);
        let record = Record::new(MD_INFO_LEN)
            .put(8, &space.free.to_le_bytes())
            .put(16, &used.to_le_bytes())
            .put(24, b"store")
            .put(MD_INFO_LEN - 8, &1_i32.to_le_bytes());
        self.fixed(request, out, &record.0)
    }
}
