// SPDX-License-Identifier: GPL-2.0

//! The command line: the one source of parsing, help, completion and manual pages.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::address::Gateway;
use crate::name::{
    new_name_argument, new_tag_argument, spec_argument, vdi_argument, MappingName, Name, VdiSpec,
};
use crate::redundancy::Redundancy;
use crate::size::ByteSize;

/// Exit codes that a script may want to tell apart: errno, its name, what it means here.
pub const EXIT_CODES: [(u8, &str, &str); 12] = [
    (2, "ENOENT", "no such VDI or snapshot"),
    (
        11,
        "EAGAIN",
        "the cluster is not ready: unformatted, or nodes are missing",
    ),
    (16, "EBUSY", "in use: mapped, mounted, locked"),
    (17, "EEXIST", "the name or tag is taken"),
    (19, "ENODEV", "not mapped, or the driver is not loaded"),
    (22, "EINVAL", "wrong usage or value"),
    (28, "ENOSPC", "the cluster is full"),
    (71, "EPROTO", "a gateway's answer makes no sense"),
    (95, "EOPNOTSUPP", "a kind of VDI that is not handled"),
    (110, "ETIMEDOUT", "no answer in time"),
    (111, "ECONNREFUSED", "no sheep listens there"),
    (
        113,
        "EHOSTUNREACH",
        "the gateway cannot be reached, or its name has no address",
    ),
];

/// Shown below the help of the whole program.
fn exit_status() -> String {
    let mut text =
        "Exit status: 0 for success, else the errno that names the cause, as with rbd:\n"
            .to_owned();
    for (number, name, meaning) in EXIT_CODES {
        text.push_str(&format!("  {number:>3}  {name:<13} {meaning}\n"));
    }
    text.push_str("and others. The message on standard error says what to do.");
    text
}

/// Map Sheepdog volumes as block devices, and manage them
///
/// A Sheepdog volume (VDI) is mapped by the kernel's sheepdog driver as /dev/sheepa, /dev/sheepb and
/// so on. `map`, `unmap` and `list` speak to the driver on this machine; `vdi` and `cluster` speak
/// to a Sheepdog cluster through one of its nodes, the gateway.
#[derive(Debug, Parser)]
#[command(name = "sheepctl", version, after_help = exit_status(), max_term_width = 100)]
pub struct Cli {
    /// Root of the file system in which /sys, /proc and /dev are looked for
    #[arg(
        long,
        global = true,
        hide = true,
        default_value = "/",
        value_name = "DIR"
    )]
    pub host_root: PathBuf,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Map a VDI as a block device and print the device
    ///
    /// Loads the driver if necessary, looks the VDI up through the first gateway that answers, and
    /// returns when /dev/sheepa can be used. After a failure nothing is left behind.
    Map(MapArgs),
    /// Unmap a block device
    ///
    /// A device that is in use stays mapped, and what uses it is listed.
    Unmap(UnmapArgs),
    /// List the mappings of this machine
    ///
    /// With --json an array of objects: mapping, vdi, vdi_id, device, state, size_bytes,
    /// object_size, read_only, gateways, gateway, connections, queue_depth, connect_timeout_ms,
    /// reply_timeout_ms, io_timeout_ms, fence_ms, memory_bytes, in_flight, waiting. vdi_id, device,
    /// size_bytes, object_size and gateway are null while there is no device.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show one mapping with its settings, its gateway and what waits
    ///
    /// With --json one object with the fields of `list`.
    Info(InfoArgs),
    /// Start a daemon that disks of this machine may wait for: a sheep, or what is between
    ///
    /// Becomes COMMAND, which is not changed and need not know, as env(1) does. It and all that it
    /// starts are I/O flushers (prctl PR_SET_IO_FLUSHER): to get memory they never wait for a disk.
    /// Their memory is locked, from before the first line of the program on and after each fork, by
    /// a library that is loaded into it (LD_PRELOAD): what is mapped at the start at once, later
    /// memory when it is first used. They are the last to be killed when memory runs out. Two
    /// seconds later all of it is looked at, and what was found said on standard error.
    ///
    /// Takes CAP_SYS_RESOURCE: root has it, but in most containers. Not locked is a program that is
    /// statically linked (it is refused, see --no-lock), that has set-user-id or capabilities on its
    /// file and is started by another user than root, and a process made by clone(2) without fork(2).
    /// Nothing here keeps the daemon from needing more memory than there is, nor what it waits for
    /// itself: its store, its log and its program belong on disks that need no sheep.
    ///
    /// Exit status: that of COMMAND; 125 if it could not be guarded, 126 if it cannot be run, 127 if
    /// it is not found.
    #[command(override_usage = "sheepctl guard [OPTIONS] -- COMMAND [ARG]...")]
    Guard(GuardArgs),
    /// Look at a daemon that was started by `guard`
    #[command(hide = true)]
    GuardWatch(GuardWatchArgs),
    /// Look for what endangers the mapped disks of this machine
    ///
    /// Looks at the mappings, at all processes called sheep or devsheep, and at those that listen
    /// where a mapped disk has its gateway. Run it as root. Exit status: 0 if no risk was found, 1 if
    /// one was, else an errno.
    ///
    /// With --json one object: findings, daemons, disks. A finding has level (`risk` or `note`),
    /// kind, subject, message, remedy. Kinds: not-io-flusher, memory-not-locked,
    /// small-memory-cgroup, store-on-sheep-disk, swap, gateway-on-this-host, mapping-state,
    /// cannot-look. A daemon has pid, name, gateway_of, threads, io_flusher_threads, resident_bytes,
    /// unlocked_bytes, memory_limit_bytes.
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create, list, change and delete VDIs
    #[command(subcommand)]
    Vdi(VdiCommand),
    /// Show the cluster
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Print the completion script of a shell
    ///
    /// For bash: `sheepctl completion bash > /etc/bash_completion.d/sheepctl`.
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write all manual pages to a directory
    Man {
        /// Directory for sheepctl.1 and one page per command
        directory: Option<PathBuf>,
    },
    /// Print udev properties of a disk (used by the udev rule)
    #[command(hide = true)]
    UdevExport {
        /// Kernel name of the disk, such as sheepa
        disk: String,
    },
}

/// Which gateways to use.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// Node of the cluster; can be given several times or as a comma-separated list
    ///
    /// A host name, an IPv4 address or an IPv6 address in brackets, with the port unless it is
    /// 7000. The first one that answers is used; a name that does not resolve is left out with a
    /// warning if others do.
    #[arg(
        short,
        long = "gateway",
        value_name = "ADDR[:PORT]",
        env = "SHEEPDOG_GATEWAY",
        value_delimiter = ',',
        default_value = "127.0.0.1:7000"
    )]
    pub gateways: Vec<Gateway>,
}

/// How to reach the cluster for one command.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(flatten)]
    pub gateway: GatewayArgs,

    /// Limit for resolving names, for connecting and for each request, such as 30s or 500ms
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct MapArgs {
    #[command(flatten)]
    pub gateway: GatewayArgs,

    /// Connections to the gateway, a hardware queue each [driver's default: 1]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub connections: Option<u32>,

    /// Requests in flight per connection [driver's default: 64]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub queue_depth: Option<u32>,

    /// Limit for connecting to one gateway, 100ms to 10m [driver's default: 10s]
    #[arg(long, value_name = "TIME", value_parser = connect_timeout)]
    pub connect_timeout: Option<Duration>,

    /// Take a gateway for dead that is silent this long while requests wait, 1s to 1h [driver's
    /// default: 30s]
    ///
    /// It is probed first. The driver then reconnects: to it, or to the next gateway.
    #[arg(long, value_name = "TIME", value_parser = reply_timeout)]
    pub reply_timeout: Option<Duration>,

    /// Fail requests when no gateway has answered for this long, up to 24h [driver's default: 0,
    /// they wait for ever]
    ///
    /// From then on new requests fail at once, with ETIMEDOUT, until a gateway answers again.
    #[arg(long, value_name = "TIME", value_parser = io_timeout)]
    pub io_timeout: Option<Duration>,

    /// After a failover, hold writes that overlap one which the old gateway may still execute for
    /// this long, up to 1h; 0 does not hold them [driver's default: 40s]
    ///
    /// Longer than any gateway may hang and then go on: an old write that is executed after a new
    /// one destroys it.
    #[arg(long, value_name = "TIME", value_parser = fence)]
    pub fence: Option<Duration>,

    /// Refuse writes
    #[arg(short, long)]
    pub read_only: bool,

    /// Name of the mapping [default: the VDI's name]
    #[arg(short, long, value_name = "MAPPING")]
    pub name: Option<MappingName>,

    /// Name of the VDI
    #[arg(value_name = "VDI", value_parser = vdi_argument())]
    pub vdi: Name,
}

#[derive(Debug, Args)]
pub struct UnmapArgs {
    /// Unmap a device that is in use: its users get I/O errors, unwritten data is lost
    #[arg(short, long)]
    pub force: bool,

    /// Device, such as /dev/sheepa or /dev/sheep/VDI, or name of a VDI or mapping
    #[arg(value_name = "DEVICE|VDI|MAPPING")]
    pub target: OsString,
}

#[derive(Debug, Args)]
pub struct GuardArgs {
    /// How ready the kernel is to kill it when memory runs out, -1000 (never) to 1000 (first)
    #[arg(
        long,
        value_name = "N",
        default_value_t = -1000,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i16).range(-1000..=1000)
    )]
    pub oom_score_adj: i16,

    /// Do not lock its memory, as for a statically linked program
    ///
    /// Give its unit MemorySwapMax=0 and MemoryMin= then: it is never swapped out, but its code can
    /// be dropped and has to be read again from its file.
    #[arg(long)]
    pub no_lock: bool,

    /// Say only what is wrong
    #[arg(short, long)]
    pub quiet: bool,

    /// The library that locks memory
    #[arg(long, hide = true, value_name = "FILE")]
    pub lock_library: Option<PathBuf>,

    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct GuardWatchArgs {
    #[arg(long)]
    pub detach: bool,
    #[arg(long)]
    pub lock: bool,
    #[arg(long)]
    pub quiet: bool,
    pub mark: String,
}

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Device, such as /dev/sheepa or /dev/sheep/VDI, or name of a VDI or mapping
    #[arg(value_name = "DEVICE|VDI|MAPPING")]
    pub target: OsString,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum VdiCommand {
    /// Create a VDI
    Create {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// Copies of the data, or an erasure code as data:parity [default: the cluster's]
        #[arg(short, long, value_name = "N|D:P")]
        copies: Option<Redundancy>,

        /// Object size, a power of two from 1M to 2G [default: the cluster's]
        ///
        /// A VDI has at most 2^20 objects: 4T with objects of 4M.
        #[arg(short, long, value_name = "SIZE")]
        object_size: Option<ByteSize>,

        /// Name of the VDI
        #[arg(value_parser = new_name_argument())]
        name: Name,

        /// Size: bytes, or with K, M, G, T, P (powers of 1024)
        size: ByteSize,
    },
    /// List VDIs and snapshots
    ///
    /// With --json an array of objects: name, vdi_id, tag, snapshot, snapshot_id, parent_vdi_id,
    /// size_bytes, object_size, redundancy, hyper, created. `tag` is null without one. When some
    /// cannot be read, the others are shown, and the exit status says that the list is not complete.
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one VDI or snapshot
    ///
    /// With --json one object: the fields of `vdi list` and objects, own_objects,
    /// inherited_objects, which are null for a hyper volume.
    Info {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// Print JSON
        #[arg(long)]
        json: bool,

        /// The VDI, or one of its snapshots, by tag or by id
        #[arg(value_name = "NAME[@TAG|@#ID]", value_parser = spec_argument())]
        vdi: VdiSpec,
    },
    /// Delete a VDI or a snapshot
    ///
    /// Snapshots and clones that share data with it keep it. A VDI that is mapped on this machine,
    /// or locked, is not deleted.
    #[command(visible_alias = "rm")]
    Delete {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// Do not ask
        #[arg(short, long)]
        yes: bool,

        /// The VDI, or one of its snapshots, by tag or by id
        #[arg(value_name = "NAME[@TAG|@#ID]", value_parser = spec_argument())]
        vdi: VdiSpec,
    },
    /// Change the size of a VDI
    ///
    /// A device that is mapped keeps its size until it is mapped anew. A VDI that is mapped on this
    /// machine is not made smaller.
    Resize {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// Allow a smaller size, which cuts off the end
        #[arg(long)]
        shrink: bool,

        /// Name of the VDI
        #[arg(value_parser = vdi_argument())]
        name: Name,

        /// New size: bytes, or with K, M, G, T, P (powers of 1024)
        size: ByteSize,
    },
    /// Take a snapshot of a VDI
    ///
    /// A VDI that is mapped for writing on this machine is refused: the driver does not follow
    /// a snapshot, and its writes would fail.
    #[command(visible_alias = "snap")]
    Snapshot {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// Name of the snapshot
        #[arg(short, long, value_parser = new_tag_argument())]
        tag: Name,

        /// Name of the VDI
        #[arg(value_parser = vdi_argument())]
        name: Name,
    },
    /// Create a VDI that begins as a copy of a snapshot and shares its data
    Clone {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// The snapshot, by tag or by id
        #[arg(value_name = "NAME@TAG|NAME@#ID", value_parser = spec_argument())]
        source: VdiSpec,

        /// Name of the new VDI
        #[arg(value_name = "NEW", value_parser = new_name_argument())]
        name: Name,
    },
    /// Show and release locks, on clusters that use them
    #[command(subcommand)]
    Lock(LockCommand),
}

#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// List the locks that are held
    ///
    /// With --json an array of objects: name, tag, vdi_id, type (`normal` or `shared`), owners.
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Release the lock of a VDI whose user is gone
    ///
    /// Nothing tells whether the user is gone: two users of one VDI destroy its data.
    Release {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// The VDI, or one of its snapshots, by tag or by id
        #[arg(value_name = "NAME[@TAG|@#ID]", value_parser = spec_argument())]
        vdi: VdiSpec,
    },
}

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show state, defaults and nodes
    ///
    /// With --json one object: status, epoch, formatted, redundancy, object_size, store, flags,
    /// nodes; a node has address, zone, vnodes, space_bytes.
    Info {
        #[command(flatten)]
        cluster: ClusterArgs,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const HOUR: Duration = Duration::from_secs(3600);

/// A length of time: `30s`, `500ms`, `2m`, or a plain number of seconds as with nbd-client.
fn duration(text: &str) -> Result<Duration, String> {
    let time = duration_or_zero(text)?;
    if time.is_zero() {
        return Err("the time must not be zero".to_owned());
    }
    Ok(time)
}

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "expected a time such as 30s, 500ms or 2m".to_owned()),
    }
}

fn duration_within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let time = duration_or_zero(text)?;
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    let [least, most] = [least, most].map(humantime::format_duration);
    Err(format!("the time must be from {least} to {most}"))
}

fn connect_timeout(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_millis(100), Duration::from_secs(600))
}

fn reply_timeout(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_secs(1), HOUR)
}

fn io_timeout(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, HOUR * 24)
}

fn fence(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "0", "0s", "-1", "fast", "1.5"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_drivers_limits_hold() {
        assert!(reply_timeout("1s").is_ok() && reply_timeout("1h").is_ok());
        assert!(reply_timeout("999ms").is_err() && reply_timeout("3601").is_err());
        assert_eq!(io_timeout("0"), Ok(Duration::ZERO));
        assert!(io_timeout("1ms").is_ok() && io_timeout("24h").is_ok());
        assert!(io_timeout("86401").is_err());
        assert!(fence("0s").is_ok() && fence("1h").is_ok() && fence("3601").is_err());
        assert!(connect_timeout("100ms").is_ok() && connect_timeout("10m").is_ok());
        assert!(connect_timeout("99ms").is_err() && connect_timeout("601s").is_err());
    }
}
