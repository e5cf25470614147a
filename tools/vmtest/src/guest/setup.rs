// SPDX-License-Identifier: GPL-2.0

//! Turns a freshly switched root into a machine that tests can use: file systems, network, limits
//! of the kernel's own hang detection. In: nothing. Out: an error that names the step that failed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use nix::mount::{mount, MsFlags};
use nix::sys::mman::{mlockall, MlockAllFlags};

/// Seconds after which the kernel reports a task that waits without a break. Short, so that the
/// report is in the log before a test's own limit ends it; long enough for an emulated CPU.
const HUNG_TASK_SECONDS: &str = "30";

/// Seconds without a schedule after which the kernel reports a lockup is twice this. Emulated CPUs
/// of a busy host stand still for seconds.
const WATCHDOG_SECONDS: &str = "30";

/// The network as QEMU's user networking lays it out: the host's loopback is 10.0.2.2 and fec0::2.
const NETWORK: &str = "\
link set lo up
link set eth0 up
address add 10.0.2.15/24 dev eth0
route add default via 10.0.2.2
address add fec0::15/64 dev eth0 nodad
route add ::/0 via fec0::2
";

const MOUNTS: &[(&str, &str, &str)] = &[
    ("sysfs", "/sys", ""),
    ("tmpfs", "/run", "mode=755"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("devpts", "/dev/pts", "mode=620,ptmxmode=666"),
    ("debugfs", "/sys/kernel/debug", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

/// Writes a line to the kernel log; it appears on the console.
pub fn kernel_log(text: &str) {
    // One write is one record, which appears when its line has ended. Nothing can be done about a
    // kernel log that cannot be written.
    let _ = fs::write("/dev/kmsg", format!("{text}\n"));
}

/// Sets the machine up.
pub fn machine() -> Result<()> {
    // Locks what is in use, when it comes into use: locking whole thread stacks would take a fifth
    // of a small machine.
    let on_fault = MlockAllFlags::from_bits_retain(nix::libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)
        .context("mlockall")?;
    for (kind, target, options) in MOUNTS {
        fs::create_dir_all(target).with_context(|| format!("mkdir {target}"))?;
        mount(
            Some(*kind),
            *target,
            Some(*kind),
            MsFlags::empty(),
            Some(*options),
        )
        .with_context(|| format!("mount {kind} on {target}"))?;
    }
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ] {
        symlink(target, link).with_context(|| format!("link {link}"))?;
    }
    fs::create_dir_all("/usr/local/bin").context("mkdir /usr/local/bin")?;
    symlink("/host/bin/vmtest-guest", "/usr/local/bin/host").context("link host")?;
    for (path, value) in [
        ("/proc/sys/kernel/hung_task_timeout_secs", HUNG_TASK_SECONDS),
        ("/proc/sys/kernel/watchdog_thresh", WATCHDOG_SECONDS),
        ("/proc/sys/kernel/sysrq", "1"),
        // Everything but debug messages to the console, which the runner watches.
        ("/proc/sys/kernel/printk", "7 4 1 7"),
    ] {
        fs::write(path, value).with_context(|| format!("write {path}"))?;
    }
    network()
}

fn network() -> Result<()> {
    let mut ip = Command::new("/usr/sbin/ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run ip")?;
    let mut input = ip.stdin.take().context("input of ip")?;
    input.write_all(NETWORK.as_bytes()).context("feed ip")?;
    drop(input);
    let ended = ip.wait_with_output().context("wait for ip")?;
    if !ended.status.success() {
        bail!("ip -batch: {}", String::from_utf8_lossy(&ended.stderr));
    }
    Ok(())
}
