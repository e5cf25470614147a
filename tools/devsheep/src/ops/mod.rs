// SPDX-License-Identifier: GPL-2.0

//! What the server does for each opcode.
//!
//! A complete request comes in, an [`Outcome`] and appended payload go out. Nothing here knows of
//! connections, ids or faults.

mod admin;
mod attribute;
mod btree;
mod create_vdi;
mod delete_vdi;
mod lock;
mod lookup;
mod map;
mod object;

use sheepdog_core::proto::Opcode;
use sheepdog_core::proto::SdResult;

use crate::answer::Answer;
use crate::answer::Outcome;
use crate::answer::Request;
use crate::cluster::Cluster;
use crate::cluster::Status;

/// Opcodes that are served whatever the state of the cluster (protocol sheet 3, class "F").
const FORCED: [Opcode; 19] = [
    Opcode::READ_VDIS,
    Opcode::GET_CLUSTER_DEFAULT,
    Opcode::GET_NODE_LIST,
    Opcode::MAKE_FS,
    Opcode::SHUTDOWN,
    Opcode::STAT_CLUSTER,
    Opcode::FORCE_RECOVER,
    Opcode::GET_STORE_LIST,
    Opcode::CLEANUP,
    Opcode::KILL_NODE,
    Opcode::GET_VDI_COPIES,
    Opcode::GET_LOGLEVEL,
    Opcode::SET_LOGLEVEL,
    Opcode::EXIST,
    Opcode::CLUSTER_INFO,
    Opcode::OIDS_EXIST,
    Opcode::READ_DEL_VDIS,
    Opcode::GET_RECOVERY,
    Opcode::SET_RECOVERY,
];

impl Cluster {
    /// Serves one request: version, then status, then the operation itself (protocol sheet 1,
    /// "Order of checks"). The reply's payload is appended to `out`.
    pub fn serve(&self, request: Request<'_>, out: &mut Vec<u8>) -> Outcome {
        let opcode = request.header.opcode;
        if !opcode.accepts_proto_ver(request.header.proto_ver) {
            return Err(SdResult::VER_MISMATCH);
        }
        if opcode.name().is_none() {
            return Err(SdResult::INVALID_PARMS);
        }
        match self.status() {
            Status::Running => {}
            Status::ShuttingDown => return Err(SdResult::SHUTDOWN),
            Status::Killed => return Err(SdResult::KILLED),
            Status::Unformatted if FORCED.contains(&opcode) => {}
            Status::Unformatted => return Err(SdResult::WAIT_FOR_FORMAT),
        }
        match opcode {
            Opcode::READ_OBJ => self.read_obj(request, out),
            Opcode::WRITE_OBJ => self.write_obj(request),
            Opcode::CREATE_AND_WRITE_OBJ => self.create_obj(request),
            Opcode::REMOVE_OBJ => self.remove_obj(request),
            Opcode::DISCARD_OBJ => self.discard_obj(request),
            Opcode::EXIST => self.exist(request),
            Opcode::OIDS_EXIST => self.oids_exist(request, out),
            Opcode::GET_HASH => self.get_hash(request),

            Opcode::NEW_VDI => self.new_vdi(request),
            Opcode::GET_VDI_INFO => self.get_vdi_info(request),
            Opcode::LOCK_VDI => self.lock_vdi(request),
            Opcode::RELEASE_VDI => self.release_vdi(request),
            Opcode::DEL_VDI => self.del_vdi(request),
            Opcode::GET_VDI_ATTR => self.get_vdi_attr(request),
            Opcode::FLUSH_VDI => self.flush_vdi(),

            Opcode::READ_VDIS => self.read_vdis(request, out),
            Opcode::READ_DEL_VDIS => self.read_del_vdis(request, out),
            Opcode::GET_VDI_COPIES => self.get_vdi_copies(request, out),
            Opcode::GET_CLUSTER_DEFAULT => self.get_cluster_default(),
            Opcode::GET_NODE_LIST => self.get_node_list(request, out),
            Opcode::CLUSTER_INFO => self.cluster_info(request, out),
            Opcode::STAT_CLUSTER => self.stat_cluster(request, out),
            Opcode::STAT_SHEEP => self.stat_sheep(),
            Opcode::MAKE_FS => self.make_fs(request),
            Opcode::ALTER_CLUSTER_COPY => self.alter_cluster_copy(request),
            Opcode::ALTER_VDI_COPY => self.alter_vdi_copy(request),
            Opcode::SHUTDOWN => self.stop(Status::ShuttingDown),
            Opcode::KILL_NODE => self.stop(Status::Killed),
            Opcode::GET_STORE_LIST => self.fixed(request, out, b"tree plain \0"),
            Opcode::STAT_RECOVERY => self.fixed(request, out, &[0; 24]),
            Opcode::STAT => self.fixed(request, out, &[0; 120]),
            Opcode::GET_RECOVERY => self.fixed(request, out, &[0; 24]),
            Opcode::GET_LOGLEVEL => self.fixed(request, out, &6_i32.to_le_bytes()),
            Opcode::GET_VNODES => self.fixed(request, out, &128_i32.to_le_bytes()),
            Opcode::MD_INFO => self.md_info(request, out),
            Opcode::FORCE_RECOVER => Err(SdResult::FORCE_RECOVER),
            Opcode::CLEANUP
            | Opcode::ENABLE_RECOVER
            | Opcode::DISABLE_RECOVER
            | Opcode::DELETE_CACHE
            | Opcode::REWEIGHT
            | Opcode::SET_LOGLEVEL
            | Opcode::SET_RECOVERY => Ok(Answer::SUCCESS),
            _ => Err(SdResult::INVALID_PARMS),
        }
    }

    fn flush_vdi(&self) -> Outcome {
        if !self.options.flush {
            return Err(SdResult::INVALID_PARMS);
        }
        self.store.flush()?;
        Ok(Answer::SUCCESS)
    }

    fn stop(&self, status: Status) -> Outcome {
        self.set_status(status);
        Ok(Answer::SUCCESS)
    }
}
