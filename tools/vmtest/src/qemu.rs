// SPDX-License-Identifier: GPL-2.0

//! QEMU's command line. In: what the machine is to be. Out: arguments. Decides nothing else.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::kernel::Kernel;
use crate::message::{CONTROL_PORT, OUTPUT_PORT};

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// A command that ends when the runner does, however that ends: nothing may be left running.
pub fn bound_to_runner(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// How instructions of the guest are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// By the host's CPU.
    Kvm,
    /// Translated, one host thread per CPU of the guest.
    Tcg,
    /// Translated, and the guest's clock counts instructions: one per nanosecond. One CPU.
    InstructionCount,
}

/// What the machine is to be.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    /// What it boots.
    pub kernel: &'a Kernel,
    /// Root image, read-only.
    pub root: &'a Path,
    /// Image with what the runner hands in, read-only.
    pub host: &'a Path,
    /// How it runs.
    pub accelerator: Accelerator,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// CPUs; one with instruction counting, whatever is said here.
    pub cpus: u32,
    /// An empty disk, `/dev/vdd`.
    pub disk: Option<PathBuf>,
    /// QEMU's name of a second network card; empty for none.
    pub card: &'a str,
    /// More words for the kernel's command line.
    pub append: &'a str,
}

/// Names of the sockets in the machine's directory, to which QEMU connects.
pub const SOCKETS: [&str; 4] = ["console", "control", "output", "qmp"];

/// The kernel's command line: messages from warnings on while booting (process 1 raises that),
/// addresses that mean the same in every boot, SysRq over the serial line, KFENCE on (Debian
/// has it built in but off), and no RCU stall reports just because the host is busy.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=5 panic=-1 nokaslr no_timer_check \
    sysrq_always_enabled=1 kfence.sample_interval=100 rcupdate.rcu_cpu_stall_timeout=60 \
    printk.time=1";

/// The emulated CPU. Where `rep movsb` is said to be fast the kernel copies with it, and QEMU carries it
/// out byte by byte: copying takes two to three times as long. (Where instructions are counted each
/// of these bytes counts; the figures in performance.rst are of that CPU.)
const TCG_CPU: &str = "max,-erms,-fsrm";

impl Machine<'_> {
    /// Arguments of QEMU, which is to run in the machine's directory.
    pub fn arguments(&self) -> Vec<String> {
        let mut list = Arguments::default();
        list.words("-nodefaults -no-user-config -display none -no-reboot -machine q35");
        match self.accelerator {
            Accelerator::Kvm => list.words("-accel kvm -cpu host"),
            Accelerator::Tcg => list.words(&format!("-accel tcg,thread=multi -cpu {TCG_CPU}")),
            Accelerator::InstructionCount => {
                list.words("-accel tcg,thread=single -cpu max -icount shift=0,sleep=off");
            }
        }
        let cpus = match self.accelerator {
            Accelerator::InstructionCount => 1,
            _ => self.cpus,
        };
        list.pair("-smp", cpus.to_string());
        list.pair("-m", self.memory_mib.to_string());
        list.pair("-kernel", path(&self.kernel.image));
        list.pair("-initrd", path(&self.kernel.initramfs));
        let clock = clock(self.accelerator, host_tsc_khz());
        list.pair("-append", format!("{COMMAND_LINE} {clock} {}", self.append));
        for socket in SOCKETS {
            list.pair("-chardev", format!("socket,id={socket},path={socket}"));
        }
        list.words("-serial chardev:console -mon chardev=qmp,mode=control");
        list.words("-device virtio-serial-pci");
        for (chardev, name) in [("control", CONTROL_PORT), ("output", OUTPUT_PORT)] {
            let port = format!("virtserialport,chardev={chardev},name={name}");
            list.pair("-device", port);
        }
        for (name, image) in [
            ("root", self.root),
            ("host", self.host),
            ("modules", &self.kernel.modules),
        ] {
            list.disk(name, image, "readonly=on");
        }
        if let Some(disk) = &self.disk {
            list.disk("scratch", disk, "cache=unsafe,discard=unmap");
        }
        list.words("-netdev user,id=net,net=10.0.2.0/24,ipv6-net=fec0::/64");
        list.words("-device virtio-net-pci,netdev=net,rombar=0");
        if !self.card.is_empty() {
            list.words("-netdev user,id=card,net=10.0.3.0/24,ipv6=off");
            list.pair("-device", format!("{},netdev=card,rombar=0", self.card));
        }
        list.0
    }
}

/// What the kernel is told about the time stamp counter. On a busy host it measures the frequency
/// wrong by factors, and its watchdog over the counter can spin for ever with interrupts off
/// (kernel/time/clocksource.c, watchdog_check_skew) while it waits for a CPU that does not run.
/// Emulated CPUs all read the host's counter, or count instructions, so there is nothing to watch.
fn clock(accelerator: Accelerator, host_khz: Option<u32>) -> String {
    /// One instruction is one nanosecond.
    const COUNTED_KHZ: u32 = 1_000_000;

    let khz = match accelerator {
        Accelerator::Kvm => return String::new(),
        Accelerator::Tcg => host_khz,
        Accelerator::InstructionCount => Some(COUNTED_KHZ),
    };
    match khz {
        Some(khz) => format!("tsc=reliable tsc_early_khz={khz}"),
        None => "tsc=reliable".into(),
    }
}

/// The frequency of the host's time stamp counter, if it is an x86 with a constant one.
fn host_tsc_khz() -> Option<u32> {
    tsc_khz(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

/// BogoMIPS are twice the counter's MHz (arch/x86/kernel/tsc.c, lpj_fine; init/calibrate.c).
fn tsc_khz(cpuinfo: &str) -> Option<u32> {
    let value = |key: &str| {
        let entry = cpuinfo.lines().find(|line| line.starts_with(key))?;
        Some(entry.split_once(':')?.1.trim())
    };
    let constant = value("flags")?
        .split(' ')
        .any(|flag| flag == "constant_tsc");
    let (whole, hundredths) = value("bogomips")?.split_once('.')?;
    let hundredths: u32 = format!("{whole}{hundredths}").parse().ok()?;
    constant.then(|| hundredths.saturating_mul(5))
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn words(&mut self, words: &str) {
        self.0.extend(words.split_whitespace().map(String::from));
    }

    fn pair(&mut self, option: &str, value: String) {
        self.0.extend([option.to_owned(), value]);
    }

    fn disk(&mut self, name: &str, image: &Path, how: &str) {
        let file = path(image);
        self.pair(
            "-drive",
            format!("if=none,id={name},format=raw,file={file},{how}"),
        );
        self.pair(
            "-device",
            format!("virtio-blk-pci,drive={name},serial={name}"),
        );
    }
}

/// A comma ends a value in QEMU's options, unless doubled.
fn path(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Whether KVM runs code here. That /dev/kvm can be opened proves nothing: some virtual machines
/// offer one that only takes specially built guests. So a guest of two instructions has to end
/// QEMU through its debug port, within the limit.
pub fn kvm_works() -> Result<bool> {
    /// The exit status that QEMU makes of [`CODE`]: `(0x10 << 1) | 1`.
    const STATUS: i32 = 33;
    /// At the reset vector: `mov $0x10, %al; out %al, $0xf4; hlt`.
    const CODE: [u8; 5] = [0xb0, 0x10, 0xe6, 0xf4, 0xf4];
    const RESET_VECTOR: u64 = 0xfff0;
    const LIMIT: Duration = Duration::from_secs(5);

    if File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
        return Ok(false);
    }
    let mut firmware = tempfile::NamedTempFile::new().context("file for the KVM probe")?;
    firmware.as_file().set_len(0x1_0000)?;
    firmware.as_file().write_all_at(&CODE, RESET_VECTOR)?;
    firmware.flush()?;
    let mut qemu = Command::new(QEMU)
        .args("-accel kvm -cpu host -nodefaults -no-user-config -display none -m 64".split(' '))
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-bios"])
        .arg(firmware.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{QEMU}: install the package qemu-system-x86"))?;
    let start = Instant::now();
    loop {
        if let Some(status) = qemu.try_wait()? {
            return Ok(status.code() == Some(STATUS));
        }
        if start.elapsed() > LIMIT {
            qemu.kill()?;
            qemu.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Checks that QEMU is there, before the first test fails for the lack of it.
pub fn check() -> Result<()> {
    match Command::new(QEMU).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("{QEMU} --version: {}", output.status),
        Err(error) => bail!("{QEMU}: {error}; install the package qemu-system-x86"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(accelerator: Accelerator) -> String {
        let kernel = Kernel {
            release: "1.2".into(),
            image: "/k/kernel".into(),
            initramfs: "/k/initramfs".into(),
            modules: "/k/modules".into(),
        };
        Machine {
            kernel: &kernel,
            root: Path::new("/a,b/root"),
            host: Path::new("/h"),
            accelerator,
            memory_mib: 192,
            cpus: 4,
            disk: None,
            card: "vmxnet3",
            append: "quiet",
        }
        .arguments()
        .join(" ")
    }

    #[test]
    fn instruction_counting_has_one_cpu() {
        let counted = arguments(Accelerator::InstructionCount);
        assert!(counted.contains("-icount shift=0,sleep=off -smp 1 "));
        assert!(arguments(Accelerator::Tcg).contains("-smp 4 -m 192 "));
    }

    #[test]
    fn the_kernel_is_told_the_frequency_of_its_counter() {
        assert!(arguments(Accelerator::InstructionCount).contains(" tsc_early_khz=1000000 "));
        let info = "flags\t\t: fpu constant_tsc lm\nbogomips\t: 5192.27\n";
        assert_eq!(tsc_khz(info), Some(2_596_135));
        assert_eq!(tsc_khz("flags : fpu\nbogomips : 5192.27\n"), None);
        assert_eq!(tsc_khz("BogoMIPS : 50.00\n"), None);
        assert_eq!(clock(Accelerator::Tcg, None), "tsc=reliable");
    }

    #[test]
    fn a_second_card_has_a_network_of_its_own() {
        let both = arguments(Accelerator::Tcg);
        assert!(both.contains(" -device virtio-net-pci,netdev=net,"));
        assert!(both.contains(" -device vmxnet3,netdev=card,"));
    }

    #[test]
    fn a_comma_in_a_path_does_not_end_the_value() {
        assert!(arguments(Accelerator::Tcg).contains("file=/a,,b/root,readonly=on"));
    }
}
