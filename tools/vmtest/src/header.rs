// SPDX-License-Identifier: GPL-2.0

//! What a test script declares about itself: comment lines `# Key: value` before the first line
//! of code. In: the text of a script. Out: a [`Test`], or an error that names the line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use regex::Regex;

/// Memory of a machine whose test does not say, in MiB.
const DEFAULT_MEMORY_MIB: u32 = 512;
/// CPUs of a machine whose test does not say.
const DEFAULT_CPUS: u32 = 2;
/// Limit of a test that does not say.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// Something that a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The module under test (`--module`).
    Module,
    /// A sheep: the development sheep or a cluster (`--gateways`).
    Sheep,
    /// The sheep can be killed, started, stopped and continued. With `--gateways` only if `--event`
    /// says how.
    Events,
    /// Control over the sheep in every respect. Never given with `--gateways`.
    Faults,
}

/// On which of the given kernels a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// On the first one only.
    First,
    /// On each of them.
    All,
}

/// How a test is to end. Anything but [`Expect::Pass`] is for tests of the runner itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Exit status 0 and nothing in the kernel log.
    Pass,
    /// Another exit status.
    Fail,
    /// Not within the limit.
    Hang,
    /// With a complaint of the kernel.
    Complaint,
    /// With the machine gone.
    Dead,
    /// With exit status 77.
    Skip,
}

/// One test script.
#[derive(Clone, Debug)]
pub struct Test {
    /// File name without `.sh`.
    pub name: String,
    /// The script on this side.
    pub path: PathBuf,
    /// The behaviour that it holds, one line.
    pub about: String,
    /// Part of the quick set.
    pub smoke: bool,
    /// Memory of the machine in MiB.
    pub memory_mib: u32,
    /// CPUs of the machine.
    pub cpus: u32,
    /// How long it may run, boot not counted.
    pub limit: Duration,
    /// What it needs.
    pub needs: Vec<Need>,
    /// Where it runs.
    pub kernels: Kernels,
    /// Size in MiB of an empty disk `/dev/vdd`; 0 for none.
    pub disk_mib: u32,
    /// QEMU's name of a second network card; empty for none.
    pub card: String,
    /// Tests with the same group and equal machines may run in one boot, one after the other.
    pub group: Option<String>,
    /// Arguments for the development sheep; `%d` stands for a directory of its own.
    pub sheep: Vec<String>,
    /// Ports on which the development sheep serves.
    pub gateways: u32,
    /// Complaints of the kernel that belong to the test.
    pub allow: Vec<Regex>,
    /// How it is to end.
    pub expect: Expect,
    /// It waits more than it works.
    pub waits: bool,
}

impl Test {
    /// Reads a script's header.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        Self::parse(path, &text).with_context(|| format!("{}", path.display()))
    }

    /// Parses the text of a script.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut test = Self {
            name,
            path: path.to_owned(),
            about: String::new(),
            smoke: false,
            memory_mib: DEFAULT_MEMORY_MIB,
            cpus: DEFAULT_CPUS,
            limit: DEFAULT_LIMIT,
            needs: Vec::new(),
            kernels: Kernels::First,
            disk_mib: 0,
            card: String::new(),
            group: None,
            sheep: Vec::new(),
            gateways: 1,
            allow: Vec::new(),
            expect: Expect::Pass,
            waits: false,
        };
        for (number, line) in text.lines().enumerate() {
            let Some(comment) = line.strip_prefix('#') else {
                break;
            };
            if let Some((key, value)) = entry(comment) {
                test.set(key, value)
                    .with_context(|| format!("line {}: {line:?}", number + 1))?;
            }
        }
        if test.about.is_empty() {
            bail!("no line `# Test: what it holds` in the header");
        }
        Ok(test)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "Test" => self.about = value.into(),
            "Set" => {
                self.smoke = match value {
                    "smoke" => true,
                    "full" => false,
                    _ => bail!("expected `smoke` or `full`"),
                }
            }
            "Memory" => self.memory_mib = number(value, 64, 16384).context("MiB")?,
            "Cpus" => self.cpus = number(value, 1, 16)?,
            "Limit" => {
                self.limit = Duration::from_secs(number(value, 1, 7200).context("seconds")?.into())
            }
            "Disk" => self.disk_mib = number(value, 1, 1 << 20).context("MiB")?,
            "Card" => {
                self.card = match value {
                    "vmxnet3" => value.into(),
                    _ => bail!("expected `vmxnet3`"),
                }
            }
            "Needs" => {
                for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
                    match word {
                        "module" => self.needs.push(Need::Module),
                        "sheep" => self.needs.push(Need::Sheep),
                        "events" => self.needs.extend([Need::Sheep, Need::Events]),
                        "faults" => self.needs.extend([Need::Sheep, Need::Faults]),
                        _ => bail!("expected words out of `module`, `sheep`, `events`, `faults`"),
                    }
                }
            }
            "Kernels" => {
                self.kernels = match value {
                    "first" => Kernels::First,
                    "all" => Kernels::All,
                    _ => bail!("expected `first` or `all`"),
                }
            }
            "Group" => self.group = Some(value.into()),
            "Sheep" => self.sheep = value.split_whitespace().map(String::from).collect(),
            "Gateways" => self.gateways = number(value, 1, 16)?,
            "Allow" => self.allow.push(Regex::new(value)?),
            "Expect" => {
                self.expect = match value {
                    "pass" => Expect::Pass,
                    "fail" => Expect::Fail,
                    "hang" => Expect::Hang,
                    "complaint" => Expect::Complaint,
                    "dead" => Expect::Dead,
                    "skip" => Expect::Skip,
                    _ => bail!("expected `pass`, `fail`, `hang`, `complaint`, `dead` or `skip`"),
                }
            }
            "Load" => {
                self.waits = match value {
                    "low" => true,
                    "full" => false,
                    _ => bail!("expected `low` or `full`"),
                }
            }
            _ => bail!(
                "unknown key; known are Test, Set, Memory, Cpus, Limit, Disk, Card, Needs, \
                 Kernels, Group, Sheep, Gateways, Allow, Expect, Load"
            ),
        }
        Ok(())
    }

    /// Whether both may run in one boot.
    pub fn shares_boot_with(&self, other: &Self) -> bool {
        self.group.is_some()
            && self.group == other.group
            && self.memory_mib == other.memory_mib
            && self.cpus == other.cpus
            && self.disk_mib == other.disk_mib
            && self.card == other.card
    }
}

/// Splits ` Key: value`. A key is one capitalised word, so that prose is left alone.
fn entry(comment: &str) -> Option<(&str, &str)> {
    let (key, value) = comment.strip_prefix(' ')?.split_once(": ")?;
    let word = key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.chars().all(|c| c.is_ascii_alphabetic());
    word.then_some((key, value.trim()))
}

fn number(value: &str, least: u32, most: u32) -> Result<u32> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => bail!("expected a number from {least} to {most}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Test> {
        Test::parse(Path::new("tests/reads-zeroes.sh"), text)
    }

    #[test]
    fn a_full_header_is_understood() {
        let test = parse(
            "#!/bin/bash\n# SPDX-License-Identifier: GPL-2.0\n# Test: holes read as zeroes\n\
             # Set: smoke\n# Memory: 192\n# Cpus: 1\n# Limit: 90\n# Needs: module, faults\n\
             # Kernels: all\n# Disk: 256\n# Card: vmxnet3\n# Group: basics\n# Sheep: --shuffle 2\n# Gateways: 2\n\
             # Allow: blocked for more\n# Expect: hang\n# Load: low\n\necho\n# Memory: 1\n",
        )
        .unwrap();
        assert_eq!(test.name, "reads-zeroes");
        assert_eq!(test.about, "holes read as zeroes");
        assert!(test.smoke);
        assert_eq!((test.memory_mib, test.cpus, test.disk_mib), (192, 1, 256));
        assert_eq!(test.card, "vmxnet3");
        assert_eq!(test.limit, Duration::from_secs(90));
        assert_eq!(test.needs, [Need::Module, Need::Sheep, Need::Faults]);
        assert_eq!(test.kernels, Kernels::All);
        assert_eq!(test.sheep, ["--shuffle", "2"]);
        assert_eq!(test.gateways, 2);
        assert_eq!(test.group.as_deref(), Some("basics"));
        assert!(test.allow[0].is_match("task dd:7 blocked for more than 30 seconds"));
        assert_eq!(test.expect, Expect::Hang);
        assert!(test.waits);
    }

    #[test]
    fn a_misspelt_key_is_an_error_and_prose_is_not() {
        let error = parse("# Test: x\n# Memroy: 192\n").unwrap_err();
        assert!(format!("{error:#}").contains("line 2"));
        assert!(parse("# Test: x\n# It holds this: always\n# and more\n").is_ok());
    }

    #[test]
    fn values_out_of_range_are_errors() {
        for line in [
            "Memory: 3",
            "Cpus: 0",
            "Limit: soon",
            "Set: quick",
            "Needs: luck",
            "Load: some",
            "Card: any",
        ] {
            assert!(parse(&format!("# Test: x\n# {line}\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn a_test_says_what_it_holds() {
        assert!(parse("#!/bin/bash\ntrue\n").is_err());
    }

    #[test]
    fn only_equal_machines_share_a_boot() {
        let a = parse("# Test: a\n# Group: g\n").unwrap();
        let b = parse("# Test: b\n# Group: g\n# Memory: 192\n").unwrap();
        let c = parse("# Test: c\n").unwrap();
        assert!(a.shares_boot_with(&a));
        assert!(!a.shares_boot_with(&b));
        let card = parse("# Test: a\n# Group: g\n# Card: vmxnet3\n").unwrap();
        assert!(!a.shares_boot_with(&card));
        assert!(!c.shares_boot_with(&c));
    }
}
