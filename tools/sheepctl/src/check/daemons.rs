// SPDX-License-Identifier: GPL-2.0

//! Risks of daemons on this machine that serve a mapped disk.
//!
//! A page that is to be written to `/dev/sheepa` waits for the sheep that stores it. A sheep on the
//! same machine must therefore not wait for that page itself: neither for memory (I/O flusher), nor
//! for its own code or data to come back (locked memory), nor for its store (Documentation/reclaim.rst).

use std::net::SocketAddr;
use std::path::Path;

use rustix::io::Errno;
use serde::Serialize;

use crate::check::disks::Device;
use crate::check::{counted, Finding, Level};
use crate::host::network::{is_local, listeners, reaches};
use crate::host::process::{self, Memory, MemoryCgroup, Process};
use crate::host::Host;
use crate::mapping::status::Mapping;
use crate::size::ByteSize;

/// Programs that are looked at wherever they listen: sheepdog's daemon and the development sheep.
const NAMES: [&str; 2] = ["sheep", "devsheep"];

/// A memory cgroup that allows less than this is too small for a sheep that shall never wait: beside
/// its own memory, the pages that it writes to its store count there, and an I/O flusher that reaches
/// the limit cannot write them back to get room.
const SMALL_CGROUP: u64 = 512 << 20;

/// What starts a daemon well.
const GUARD: &str = "start it with `sheepctl guard -- COMMAND` (samples/systemd has a drop-in)";

/// One daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Daemon {
    pub pid: u32,
    pub name: String,
    /// Gateways of mapped disks that this daemon is.
    pub gateway_of: Vec<String>,
    pub threads: usize,
    /// Threads that are I/O flushers.
    pub io_flusher_threads: usize,
    /// Memory in use; null if this user may not see it.
    pub resident_bytes: Option<u64>,
    /// Memory that is not locked; null if this user may not see it.
    pub unlocked_bytes: Option<u64>,
    /// The smallest limit of its memory cgroups; null without one.
    pub memory_limit_bytes: Option<u64>,
}

/// A gateway of a mapped disk that is this machine.
struct LocalGateway {
    address: String,
    parsed: SocketAddr,
    devices: Vec<String>,
}

/// Looks at all daemons that can matter.
pub fn look(
    host: &Host,
    mappings: &[Mapping],
    devices: &[Device],
    findings: &mut Vec<Finding>,
) -> Vec<Daemon> {
    let gateways = local_gateways(host, mappings);
    let listeners = listeners(host);
    let mut daemons = Vec::new();
    for process in process::all(host) {
        let sockets = if gateways.is_empty() {
            Vec::new()
        } else {
            process.sockets()
        };
        let serves = |gateway: &&LocalGateway| {
            listeners
                .iter()
                .any(|(inode, at)| reaches(gateway.parsed, *at) && sockets.contains(inode))
        };
        let gateway_of: Vec<String> = gateways
            .iter()
            .filter(serves)
            .map(|gateway| gateway.address.clone())
            .collect();
        let name = process.name();
        let program = process.program();
        let is_sheep = NAMES.contains(&name.as_str())
            || program.is_some_and(|program| NAMES.contains(&program.as_str()));
        if is_sheep || !gateway_of.is_empty() {
            let one = One {
                host,
                process: &process,
                subject: format!("{name} (pid {})", process.pid),
                // Without a disk that could wait for it nothing is in danger yet.
                level: if devices.is_empty() {
                    Level::Note
                } else {
                    Level::Risk
                },
            };
            daemons.extend(one.look(name, gateway_of, devices, findings));
        }
    }
    gateway_notes(&gateways, &daemons, findings);
    daemons
}

fn local_gateways(host: &Host, mappings: &[Mapping]) -> Vec<LocalGateway> {
    let mut found: Vec<LocalGateway> = Vec::new();
    for mapping in mappings {
        let Some(device) = &mapping.device else {
            continue;
        };
        for address in &mapping.gateways {
            let Ok(parsed) = address.parse::<SocketAddr>() else {
                continue;
            };
            if let Some(known) = found.iter_mut().find(|known| known.parsed == parsed) {
                known.devices.push(device.clone());
            } else if is_local(host, parsed.ip()) {
                found.push(LocalGateway {
                    address: address.clone(),
                    parsed,
                    devices: vec![device.clone()],
                });
            }
        }
    }
    found
}

fn gateway_notes(gateways: &[LocalGateway], daemons: &[Daemon], findings: &mut Vec<Finding>) {
    for gateway in gateways {
        let address = &gateway.address;
        let daemon = daemons
            .iter()
            .find(|daemon| daemon.gateway_of.contains(address));
        let (level, message, remedy) = match daemon {
            Some(daemon) => (
                Level::Note,
                format!(
                    "its gateway {address} is on this machine: {} (pid {})",
                    daemon.name, daemon.pid
                ),
                "nothing while that daemon shows no risk; everything between the disk and a sheep on \
                 this machine counts, other daemons of the cluster too",
            ),
            None => (
                Level::Risk,
                format!("its gateway {address} is on this machine, and no process was found there"),
                "look again as root; if the daemon runs in a network namespace of its own, look at \
                 it there with `sheepctl check`",
            ),
        };
        findings.push(Finding {
            level,
            kind: "gateway-on-this-host",
            subject: gateway.devices.join(", "),
            message,
            remedy: remedy.to_owned(),
        });
    }
}

/// One daemon while it is looked at.
struct One<'a> {
    host: &'a Host,
    process: &'a Process,
    subject: String,
    level: Level,
}

impl One<'_> {
    /// `None` when it has ended.
    fn look(
        &self,
        name: String,
        gateway_of: Vec<String>,
        devices: &[Device],
        findings: &mut Vec<Finding>,
    ) -> Option<Daemon> {
        let threads = self.process.threads();
        if threads.all == 0 {
            return None;
        }
        if threads.io_flushers < threads.all {
            findings.push(self.finding(
                "not-io-flusher",
                format!(
                    "{} of {} no I/O flusher: to get memory it may wait for a disk that waits for it",
                    threads.all - threads.io_flushers,
                    counted(threads.all, "thread"),
                ),
                GUARD,
            ));
        }
        let cgroup = self.process.memory_cgroup(self.host);
        let memory = self.memory(cgroup, findings);
        self.limit(cgroup, memory, findings);
        self.store(devices, findings);
        Some(Daemon {
            pid: self.process.pid,
            name,
            gateway_of,
            threads: threads.all,
            io_flusher_threads: threads.io_flushers,
            resident_bytes: memory.map(|memory| memory.resident),
            unlocked_bytes: memory.map(|memory| memory.unlocked),
            memory_limit_bytes: cgroup.limit,
        })
    }

    fn finding(&self, kind: &'static str, message: String, remedy: &str) -> Finding {
        Finding {
            level: self.level,
            kind,
            subject: self.subject.clone(),
            message,
            remedy: remedy.to_owned(),
        }
    }

    fn memory(&self, cgroup: MemoryCgroup, findings: &mut Vec<Finding>) -> Option<Memory> {
        match self.process.memory() {
            Ok(memory) => {
                if !memory.is_locked() && cgroup.never_swapped {
                    let mut finding = self.finding(
                        "memory-not-locked",
                        format!(
                            "{} of its memory are not locked, but its cgroup is never swapped out",
                            ByteSize(memory.unlocked)
                        ),
                        "nothing, if its program and libraries are on disks that need no sheep: their \
                         pages can be dropped and read again",
                    );
                    finding.level = Level::Note;
                    findings.push(finding);
                } else if !memory.is_locked() {
                    findings.push(self.finding(
                        "memory-not-locked",
                        format!(
                            "{} of its memory are not locked: what is paged out it has to wait for",
                            ByteSize(memory.unlocked)
                        ),
                        GUARD,
                    ));
                }
                Some(memory)
            }
            Err(error) => {
                if Errno::from_io_error(&error) == Some(Errno::ACCESS) {
                    findings.push(self.finding(
                        "cannot-look",
                        "this user may not see whether its memory is locked".to_owned(),
                        "run `sheepctl check` as root",
                    ));
                }
                None
            }
        }
    }

    fn limit(&self, cgroup: MemoryCgroup, memory: Option<Memory>, findings: &mut Vec<Finding>) {
        let Some(limit) = cgroup.limit else {
            return;
        };
        let resident = memory.map_or(0, |memory| memory.resident);
        if limit < SMALL_CGROUP || limit / 2 < resident {
            findings.push(self.finding(
                "small-memory-cgroup",
                format!(
                    "its memory cgroup allows {}, and it uses {}: at the limit an I/O flusher gets \
                     no memory",
                    ByteSize(limit),
                    ByteSize(resident)
                ),
                "raise MemoryMax= and MemoryHigh= of its unit and of the slices above it, or remove \
                 them",
            ));
        }
    }

    fn store(&self, devices: &[Device], findings: &mut Vec<Finding>) {
        let on_disk = |path: &Path| -> Option<&Device> {
            if let Ok(name) = path.strip_prefix("/dev") {
                return devices
                    .iter()
                    .find(|device| Path::new(&device.name) == name);
            }
            let (numbers, source) = self.process.file_system_of(path)?;
            devices.iter().find(|device| {
                device.numbers == numbers || source.strip_prefix("/dev/") == Some(&device.name)
            })
        };
        let found = self
            .process
            .paths()
            .into_iter()
            .find_map(|path| on_disk(&path).map(|device| (path, device)));
        if let Some((path, device)) = found {
            findings.push(self.finding(
                "store-on-sheep-disk",
                format!(
                    "it works with {}, which is on /dev/{}: its own writes wait for a sheep",
                    path.display(),
                    device.disk
                ),
                "keep the store of a sheep on disks that need no sheep",
            ));
        }
    }
}
