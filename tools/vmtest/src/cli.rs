// SPDX-License-Identifier: GPL-2.0

//! The command line, and what its options come to. In: words. Out: kernels, settings, tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use clap::{Args, Parser, Subcommand};
use regex::Regex;

use crate::header::Test;
use crate::host_dir::{Contents, HostDir};
use crate::kernel::Kernel;
use crate::outside;
use crate::qemu::{self, Accelerator};
use crate::report::Collector;
use crate::sheep::outside_gateways;
use crate::single;
use crate::suite::{self, Settings, Target};

/// Boots stock kernels in QEMU and runs tests in them.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run tests, and print a line for each and their number at the end
    Run(RunArgs),
    /// List tests with what they declare
    List(SelectArgs),
    /// Boot one machine and run a shell command in it
    Exec(ExecArgs),
    /// Boot one machine and talk to it; Ctrl-] ends it
    Shell(ShellArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// Machines that run at once, beside one more if there are several, whose tests mostly wait; one, with
    /// the events of a cluster that all of them use
    #[arg(short, long, default_value_t = 2)]
    jobs: usize,
    /// Tests that are skipped: lines `NAME REASON`. A name that no test has is an error
    #[arg(long, value_name = "FILE")]
    skip: Option<PathBuf>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SelectArgs {
    /// Directory of tests; may be given several times
    #[arg(long, value_name = "DIR", default_values = ["tools/tests", "tools/vmtest/selftest"])]
    tests: Vec<PathBuf>,
    /// Only tests whose name matches this regular expression
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,
    /// Only the tests of the quick set
    #[arg(long)]
    smoke: bool,
}

#[derive(Debug, Args)]
struct ExecArgs {
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    one: OneArgs,
    /// How long the command may take, in seconds
    #[arg(long, default_value_t = 300)]
    limit: u32,
    /// Shell command; several words are joined with spaces
    #[arg(required = true, trailing_var_arg = true)]
    script: Vec<String>,
}

#[derive(Debug, Args)]
struct ShellArgs {
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    one: OneArgs,
}

/// What a test declares in its header.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Memory of the machine in MiB
    #[arg(long, default_value_t = 512)]
    pub memory: u32,
    /// CPUs of the machine
    #[arg(long, default_value_t = 2)]
    pub cpus: u32,
    /// Size in MiB of an empty disk, /dev/vdd
    #[arg(long, default_value_t = 0)]
    pub disk: u32,
}

/// What machines are made of.
#[derive(Debug, Args)]
pub struct MachineArgs {
    /// Kernel: a directory with `vmlinuz` and `lib/modules/<release>`; with `=FILE`, the module
    /// for it. May be given several times
    #[arg(long, required = true, value_name = "DIR[=MODULE]")]
    kernel: Vec<String>,
    /// The module under test, for kernels that were given without one
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Root image (`tools/build/run --with vm-root` makes and binds it)
    #[arg(long, value_name = "IMAGE")]
    root: PathBuf,
    /// Where prepared kernels are kept
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/vmtest-cache")]
    cache: PathBuf,
    /// Program to be found in the machine's PATH. May be given several times
    #[arg(long, value_name = "FILE")]
    program: Vec<PathBuf>,
    /// Other file to be found under /host. May be given several times
    #[arg(long, value_name = "FILE=NAME", value_parser = file_and_name)]
    file: Vec<(PathBuf, String)>,
    /// Program of the development sheep; one runs outside the machine for each test that needs it
    #[arg(long, value_name = "FILE")]
    devsheep: Option<PathBuf>,
    /// Somebody else's cluster instead: address:port,... Tests that need control over the sheep
    /// are skipped
    #[arg(long, value_name = "LIST")]
    gateways: Option<String>,
    /// How something is done to that cluster's first gateway: kill, start, stop (as SIGSTOP), cont. A
    /// shell command on this host. With all four given, tests that need no more of it run, too
    #[arg(long, value_name = "NAME=COMMAND", value_parser = outside::event, requires = "gateways")]
    event: Vec<(String, String)>,
    /// Let the machine's clock count instructions, on one CPU: times repeat exactly
    #[arg(long)]
    icount: bool,
    /// Words to add to the kernel's command line
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
    /// Multiply the memory of all machines by this, for a kernel that needs more for itself
    #[arg(long, value_name = "FACTOR", default_value_t = 1)]
    memory_scale: u32,
    /// Multiply all limits by this, for a slow host
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
    /// Where logs go; what was there is overwritten
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/vmtest-logs")]
    logs: PathBuf,
}

fn file_and_name(word: &str) -> Result<(PathBuf, String), String> {
    match word.rsplit_once('=') {
        Some((file, name)) if !name.is_empty() && !name.starts_with('/') => {
            Ok((file.into(), name.into()))
        }
        _ => Err("expected FILE=NAME, the name below /host".into()),
    }
}

impl Cli {
    /// Does what the words say. 0: all is well, 1: a test failed or nothing ran.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::List(select) => {
                for test in select.tests()? {
                    single::print_declaration(&test);
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::Run(args) => {
                let tests = args.select.tests()?;
                if tests.is_empty() {
                    bail!("no test in {:?} is selected", args.select.tests);
                }
                let targets = args.machine.targets(&args.select.tests)?;
                let mut settings = args.machine.settings()?;
                if let Some(file) = &args.skip {
                    settings.skip = skip_list(file, &args.select)
                        .with_context(|| format!("{}", file.display()))?;
                }
                let collector = Collector::new(targets.len() > 1);
                let jobs = match args.machine.event.is_empty() {
                    true => args.jobs.max(1),
                    false => 1,
                };
                suite::run(&settings, &targets, &tests, jobs, &collector);
                let well = collector.finish(args.junit.as_deref())?;
                Ok(ExitCode::from(u8::from(!well)))
            }
            Command::Exec(args) => {
                let script = args.script.join(" ");
                single::exec(&args.machine, &args.one, args.limit, &script)
            }
            Command::Shell(args) => single::shell(&args.machine, &args.one),
        }
    }
}

/// Reads a list of tests to be skipped.
fn skip_list(file: &Path, select: &SelectArgs) -> Result<BTreeMap<String, String>> {
    let every = SelectArgs {
        tests: select.tests.clone(),
        filter: None,
        smoke: false,
    }
    .tests()?;
    let mut list = BTreeMap::new();
    for line in std::fs::read_to_string(file)?.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, reason)) = line.split_once(char::is_whitespace) else {
            bail!("{line}: expected `NAME REASON`");
        };
        if !every.iter().any(|test| test.name == name) {
            bail!("there is no test {name}");
        }
        list.insert(name.to_owned(), reason.trim().to_owned());
    }
    Ok(list)
}

impl SelectArgs {
    fn tests(&self) -> Result<Vec<Test>> {
        let mut tests = Vec::new();
        for directory in &self.tests {
            self.tests_in(directory, &mut tests)
                .with_context(|| format!("tests in {}", directory.display()))?;
        }
        tests.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = tests.windows(2).find(|pair| pair[0].name == pair[1].name) {
            bail!("two tests have the name {}", pair[0].name);
        }
        Ok(tests)
    }

    fn tests_in(&self, directory: &Path, tests: &mut Vec<Test>) -> Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let is_test = path.extension().is_some_and(|end| end == "sh")
                && path.file_name().is_some_and(|name| name != "lib.sh");
            if !is_test {
                continue;
            }
            let test = Test::load(&path)?;
            let named = |filter: &Regex| filter.is_match(&test.name);
            if self.filter.as_ref().is_none_or(named) && (test.smoke || !self.smoke) {
                tests.push(test);
            }
        }
        Ok(())
    }
}

impl MachineArgs {
    /// The kernels, prepared, each with its module and everything else that machines are to find.
    pub fn targets(&self, tests: &[PathBuf]) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        for word in &self.kernel {
            let (directory, module) = match word.split_once('=') {
                Some((directory, module)) => (directory, Some(PathBuf::from(module))),
                None => (word.as_str(), self.module.clone()),
            };
            let contents = Contents {
                module,
                programs: self.program.clone(),
                files: self.file.clone(),
                tests: tests.to_vec(),
            };
            targets.push(Target {
                kernel: Kernel::prepare(Path::new(directory), &self.cache)?,
                has_module: contents.module.is_some(),
                host: HostDir::make(&contents)?,
            });
        }
        Ok(targets)
    }

    /// What holds for all machines.
    pub fn settings(&self) -> Result<Settings> {
        qemu::check()?;
        if !self.root.is_file() {
            bail!(
                "root image {}: no such file; tools/build/run --with vm-root makes it",
                self.root.display()
            );
        }
        let accelerator = if self.icount {
            Accelerator::InstructionCount
        } else if qemu::kvm_works()? {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        };
        let gateways = self.gateways.as_deref().map(outside_gateways);
        Ok(Settings {
            root: self.root.canonicalize()?,
            accelerator,
            append: self.append.clone(),
            scale: self.scale,
            memory_scale: self.memory_scale,
            skip: BTreeMap::new(),
            devsheep: self.devsheep.clone(),
            gateways: gateways.transpose()?,
            events: self.event.iter().cloned().collect(),
            logs: std::path::absolute(&self.logs)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_skipped_tests_names_tests_that_exist() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("reads.sh"), "# Test: it reads\n").unwrap();
        let select = SelectArgs {
            tests: vec![directory.path().to_owned()],
            filter: None,
            smoke: false,
        };
        let file = directory.path().join("skipped");
        std::fs::write(&file, "# why\n\nreads  takes an hour\n").unwrap();
        assert_eq!(skip_list(&file, &select).unwrap()["reads"], "takes an hour");
        std::fs::write(&file, "writes takes an hour\n").unwrap();
        assert!(skip_list(&file, &select).is_err());
        std::fs::write(&file, "reads\n").unwrap();
        assert!(skip_list(&file, &select).is_err());
    }
}
