// SPDX-License-Identifier: GPL-2.0

//! VDI locks (protocol section 11).
//!
//! A lock belongs to the node through which it was taken, not to a client, and stays when the
//! client is gone. Anybody can release it; whether that is right only people can know.

use std::net::SocketAddr;

use rustix::io::Errno;
use sheepdog_core::proto::{LockType, Opcode, RequestHeader, SdResult, Vid};

use crate::client::cluster::node_address;
use crate::client::inode::Vdi;
use crate::client::lookup::about;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::name::VdiSpec;

/// Bytes of one vdi_state (protocol section 2.5).
const STATE_LEN: usize = 1428;
const NODE_ID_LEN: usize = 40;
const MAX_PARTICIPANTS: usize = 31;

/// States asked for at first; doubled while the gateway says that it has more.
const FIRST_STATES: usize = 512;

/// States asked for at most: 92 MiB of them.
const MAX_STATES: usize = 1 << 16;

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub vid: Vid,
    pub kind: LockType,
    /// Nodes through which it is held.
    pub owners: Vec<SocketAddr>,
}

impl Client {
    /// All locks that are held, with their VDIs. Locks of deleted VDIs are left out.
    ///
    /// # Errors
    ///
    /// The failure of a request.
    pub fn locks(&mut self) -> Outcome<Vec<(Lock, Vdi)>> {
        let mut locks = Vec::new();
        for lock in self.held_locks()? {
            if let Some(vdi) = self.read_vdi(lock.vid)? {
                locks.push((lock, vdi));
            }
        }
        Ok(locks)
    }

    /// Releases all locks of `spec`: of that snapshot, or of the working VDI.
    ///
    /// # Errors
    ///
    /// `ENOENT` when there is no such VDI or it is not locked, `EBUSY` when another node shares the
    /// lock, else the failure of a request.
    pub fn release(&mut self, spec: &VdiSpec) -> Outcome<()> {
        let vid = self.find(spec)?;
        let is_meant = |lock: &Lock| lock.vid == vid;
        let Some(lock) = self.held_locks()?.into_iter().find(is_meant) else {
            return Err(
                Failure::new(Errno::NOENT, format!("{} is not locked", about(spec)))
                    .advise("`sheepctl vdi lock list` shows the locks"),
            );
        };
        let request = RequestHeader::release_vdi(vid, lock.kind);
        self.demand(&request, &[], &about(spec))?;
        match self.held_locks()?.into_iter().find(is_meant) {
            None => Ok(()),
            Some(lock) => {
                let owners: Vec<String> = lock.owners.iter().map(SocketAddr::to_string).collect();
                Err(Failure::new(
                    Errno::BUSY,
                    format!(
                        "{} is still locked through {}",
                        about(spec),
                        owners.join(", ")
                    ),
                )
                .advise("release it once more with --gateway naming that node"))
            }
        }
    }

    fn held_locks(&mut self) -> Outcome<Vec<Lock>> {
        let mut states = FIRST_STATES;
        loop {
            let length = (states * STATE_LEN) as u32;
            let request = RequestHeader::internal(Opcode::GET_VDI_COPIES, length);
            let reply = self.call(&request, &[])?;
            match reply.header.result {
                SdResult::SUCCESS => return Ok(parse(&reply.data)),
                SdResult::BUFFER_SMALL if states < MAX_STATES => states *= 2,
                result => return Err(self.refused(request.opcode, result, "locks")),
            }
        }
    }
}

fn parse(data: &[u8]) -> Vec<Lock> {
    data.chunks_exact(STATE_LEN)
        .filter_map(parse_state)
        .collect()
}

/// The lock in one vdi_state, `None` for one that is not held.
fn parse_state(state: &[u8]) -> Option<Lock> {
    let number = |at: usize| Some(u32::from_le_bytes(*state.get(at..)?.first_chunk()?));
    let owner = |at: usize| {
        let node_id: &[u8; NODE_ID_LEN] = state.get(at..)?.first_chunk()?;
        Some(node_address(node_id))
    };
    let (kind, owners) = match number(16)? {
        2 => (LockType::Normal, vec![owner(20)?]),
        3 => {
            let participants = usize::try_from(number(60)?).ok()?.min(MAX_PARTICIPANTS);
            let owners = (0..participants).filter_map(|n| owner(188 + n * NODE_ID_LEN));
            (LockType::Shared, owners.collect())
        }
        _ => return None,
    };
    Some(Lock {
        vid: Vid::new(number(0)?)?,
        kind,
        owners,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::peer::Peer;
    use std::time::Duration;

    fn state(vid: u32, lock_state: u32, participants: u32) -> Vec<u8> {
        let mut state = vec![0; STATE_LEN];
        state[..4].copy_from_slice(&vid.to_le_bytes());
        state[16..20].copy_from_slice(&lock_state.to_le_bytes());
        state[32..38].copy_from_slice(&[127, 0, 0, 1, 0x58, 0x1b]);
        state[60..64].copy_from_slice(&participants.to_le_bytes());
        state[200..206].copy_from_slice(&[127, 0, 0, 2, 0x58, 0x1b]);
        state
    }

    #[test]
    fn only_held_locks_are_listed() {
        let data = [state(1, 1, 0), state(2, 2, 0), state(3, 3, 1)].concat();
        let owned = |vid, kind, owner: &str| Lock {
            vid: Vid::new(vid).unwrap(),
            kind,
            owners: vec![owner.parse().unwrap()],
        };
        assert_eq!(
            parse(&data),
            [
                owned(2, LockType::Normal, "127.0.0.1:7000"),
                owned(3, LockType::Shared, "127.0.0.2:7000"),
            ]
        );
    }

    #[test]
    fn an_impossible_number_of_participants_is_bounded() {
        assert_eq!(
            parse(&state(3, 3, u32::MAX))[0].owners.len(),
            MAX_PARTICIPANTS
        );
    }

    #[test]
    fn the_buffer_grows_until_all_states_fit() {
        let peer = Peer::answering(|request, _| {
            if request.data_length < 2000 * STATE_LEN as u32 {
                return (SdResult::BUFFER_SMALL, [0; 28], Vec::new());
            }
            (SdResult::SUCCESS, [0; 28], state(2, 2, 0))
        });
        let locks = peer.client(Duration::from_secs(2)).held_locks().unwrap();
        assert_eq!(locks.len(), 1);
    }
}
