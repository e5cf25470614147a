// SPDX-License-Identifier: GPL-2.0

//! From a list of tests to outcomes: which run where, which share a machine, several at once. In:
//! tests, kernels, settings. Out: one outcome per test and kernel, to the collector.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::header::{Kernels, Need, Test};
use crate::host_dir::HostDir;
use crate::kernel::Kernel;
use crate::message::HOST_DIR;
use crate::outside::Events;
use crate::qemu::{Accelerator, Machine};
use crate::report::{Collector, Outcome};
use crate::session::{Order, Session, Verdict};
use crate::sheep::{Sheep, Shepherd};
use crate::vm::Vm;

/// Limit for booting: an idle host takes 4 s, one with ten busy processes per CPU took 55 s.
const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// What instruction counting makes slower, in whole times.
const COUNTED_SLOWDOWN: u32 = 5;

/// A kernel to run tests on.
pub struct Target {
    /// The kernel.
    pub kernel: Kernel,
    /// What its machines find under `/host`.
    pub host: HostDir,
    /// Whether there is a module for it.
    pub has_module: bool,
}

/// What holds for all tests of a run.
pub struct Settings {
    /// Root image.
    pub root: PathBuf,
    /// How instructions are carried out.
    pub accelerator: Accelerator,
    /// More words for the kernel's command line.
    pub append: String,
    /// Limits are multiplied by this.
    pub scale: f64,
    /// The memory of machines is multiplied by this.
    pub memory_scale: u32,
    /// Tests that are not to run, and why.
    pub skip: BTreeMap<String, String>,
    /// Program of the development sheep.
    pub devsheep: Option<PathBuf>,
    /// Somebody else's cluster, as the guest sees it.
    pub gateways: Option<String>,
    /// What can be done to it.
    pub events: Events,
    /// Where logs go.
    pub logs: PathBuf,
}

/// Tests that run in one machine, one after the other.
struct Job<'a> {
    target: &'a Target,
    tests: Vec<&'a Test>,
}

impl Job<'_> {
    /// Whether it mostly waits, so that it can run beside others.
    fn waits(&self) -> bool {
        self.tests.iter().all(|test| test.waits)
    }
}

impl Settings {
    /// A limit as it holds in this run.
    pub fn limit(&self, limit: Duration) -> Duration {
        let limit = limit.mul_f64(self.scale);
        match self.accelerator {
            Accelerator::InstructionCount => limit * COUNTED_SLOWDOWN,
            Accelerator::Kvm | Accelerator::Tcg => limit,
        }
    }

    /// Why a test cannot run here, if it cannot.
    fn obstacle(&self, target: &Target, test: &Test) -> Option<String> {
        let needs = |need| test.needs.contains(&need);
        if let Some(reason) = self.skip.get(&test.name) {
            Some(reason.clone())
        } else if needs(Need::Module) && !target.has_module {
            Some("needs the module (--module or --kernel DIR=MODULE)".into())
        } else if needs(Need::Faults) && self.gateways.is_some() {
            Some("needs control over the sheep, which an outside cluster does not give".into())
        } else if needs(Need::Events) && self.gateways.is_some() && !self.events.are_complete() {
            Some("needs commands for events of the outside cluster (--event)".into())
        } else if needs(Need::Sheep) && self.gateways.is_none() && self.devsheep.is_none() {
            Some("needs a sheep (--devsheep or --gateways)".into())
        } else {
            None
        }
    }

    /// Boots a machine.
    pub fn boot<'a>(
        &self,
        target: &Target,
        test: &Test,
        logs: &'a Path,
        echo: bool,
    ) -> Result<Session<'a>> {
        fs::create_dir_all(logs).with_context(|| format!("{}", logs.display()))?;
        let disk = (test.disk_mib > 0).then(|| logs.join("disk"));
        if let Some(disk) = &disk {
            File::create(disk)?.set_len(u64::from(test.disk_mib) << 20)?;
        }
        let machine = Machine {
            kernel: &target.kernel,
            root: &self.root,
            host: &target.host.image(),
            accelerator: self.accelerator,
            memory_mib: test.memory_mib.saturating_mul(self.memory_scale),
            cpus: test.cpus,
            disk,
            card: &test.card,
            append: &self.append,
        };
        Session::boot(
            Vm::start(&machine, logs, echo)?,
            logs,
            self.limit(BOOT_LIMIT),
        )
    }

    /// Starts a sheep if the test needs one, and returns it with the test's environment.
    pub fn surroundings(
        &self,
        target: &Target,
        test: &Test,
        logs: &Path,
    ) -> Result<(Shepherd, BTreeMap<String, String>)> {
        let mut env = BTreeMap::from([
            ("TEST".to_owned(), test.name.clone()),
            ("LIB".into(), format!("{HOST_DIR}/tests/lib.sh")),
            // Unique, since an outside cluster may serve several runs.
            (
                "VDI".into(),
                format!("vmtest-{}-{}", test.name, std::process::id()),
            ),
        ]);
        if target.has_module {
            env.insert("MODULE".into(), format!("{HOST_DIR}/sheepdog.ko"));
        }
        if !test.needs.contains(&Need::Sheep) {
            return Ok((Shepherd::None, env));
        }
        if let Some(gateways) = &self.gateways {
            env.insert("GATEWAYS".into(), gateways.clone());
            return Ok((Shepherd::Outside(self.events.clone()), env));
        }
        let program = self.devsheep.as_deref().context("no development sheep")?;
        let log = logs.join(format!("sheep-{}.log", test.name));
        let sheep = Sheep::start(program, &test.sheep, test.gateways, &log)?;
        env.insert("GATEWAYS".into(), sheep.gateways());
        Ok((Shepherd::Own(Box::new(sheep)), env))
    }
}

/// Runs tests on their kernels, `jobs` machines at once, and if there are several, beside them one
/// whose tests mostly wait.
pub fn run(
    settings: &Settings,
    targets: &[Target],
    tests: &[Test],
    jobs: usize,
    collector: &Collector,
) {
    let queue = &Mutex::new(plan(targets, tests));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(move || {
                while let Some(job) = next_job(queue, false) {
                    run_job(settings, &job, collector);
                }
            });
        }
        if jobs > 1 {
            scope.spawn(move || {
                while let Some(job) = next_job(queue, true) {
                    run_job(settings, &job, collector);
                }
            });
        }
    });
}

/// The longest job, of those that wait or of those that work; who works takes what waits when there is
/// nothing else.
fn next_job<'a>(queue: &Mutex<VecDeque<Job<'a>>>, waits: bool) -> Option<Job<'a>> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let place = queue.iter().position(|job| job.waits() == waits);
    match place {
        Some(place) => queue.remove(place),
        None if waits => None,
        None => queue.pop_front(),
    }
}

/// Jobs, those that may take longest first, so that the last machines end together.
fn plan<'a>(targets: &'a [Target], tests: &'a [Test]) -> VecDeque<Job<'a>> {
    let mut jobs: Vec<Job<'a>> = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let start = jobs.len();
        for test in tests {
            if number > 0 && test.kernels == Kernels::First {
                continue;
            }
            let shared = jobs[start..]
                .iter_mut()
                .find(|job| job.tests[0].shares_boot_with(test));
            match shared {
                Some(job) => job.tests.push(test),
                None => jobs.push(Job {
                    target,
                    tests: vec![test],
                }),
            }
        }
    }
    jobs.sort_by_key(|job| {
        std::cmp::Reverse(job.tests.iter().map(|test| test.limit).sum::<Duration>())
    });
    jobs.into()
}

fn run_job(settings: &Settings, job: &Job<'_>, collector: &Collector) {
    let mut rest = job.tests.as_slice();
    while let Some((first, _)) = rest.split_first() {
        let logs = settings
            .logs
            .join(&job.target.kernel.release)
            .join(&first.name);
        let done = run_in_one_machine(settings, job.target, rest, &logs, collector);
        rest = &rest[done..];
    }
}

/// Runs as many of the tests as one machine takes, at least one, and returns how many.
fn run_in_one_machine(
    settings: &Settings,
    target: &Target,
    tests: &[&Test],
    logs: &Path,
    collector: &Collector,
) -> usize {
    let mut session: Option<Session<'_>> = None;
    for (number, test) in tests.iter().enumerate() {
        let mut outcome = Outcome {
            test: test.name.clone(),
            kernel: target.kernel.release.clone(),
            verdict: Verdict::Pass,
            expect: test.expect,
            took: Duration::ZERO,
            cpu: Duration::ZERO,
            boot: None,
            logs: logs.to_owned(),
            tail: String::new(),
        };
        if let Some(obstacle) = settings.obstacle(target, test) {
            outcome.verdict = Verdict::Skip(obstacle);
            collector.add(outcome);
            continue;
        }
        let result = run_one(settings, target, test, logs, &mut session, &mut outcome);
        outcome.verdict = result.unwrap_or_else(|error| Verdict::NotRun(format!("{error:#}")));
        let reusable = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip(_));
        if let (false, Some(session)) = (reusable, &session) {
            outcome.tail = session.tail();
        }
        collector.add(outcome);
        if !reusable {
            return number + 1;
        }
    }
    tests.len()
}

fn run_one<'a>(
    settings: &Settings,
    target: &Target,
    test: &Test,
    logs: &'a Path,
    session: &mut Option<Session<'a>>,
    outcome: &mut Outcome,
) -> Result<Verdict> {
    if session.is_none() {
        let start = Instant::now();
        let booted = settings.boot(target, test, logs, false).or_else(|error| {
            // Emulated CPUs do not always come up; no test has begun.
            println!("{}: booting once more: {error:#}", test.name);
            for log in ["console.log", "hang.txt"] {
                // There may be none.
                let _ = fs::rename(logs.join(log), logs.join(format!("first-{log}")));
            }
            settings.boot(target, test, logs, false)
        });
        *session = Some(booted?);
        outcome.boot = Some(start.elapsed());
    }
    let session = session.as_mut().context("no machine")?;
    let (mut sheep, env) = settings.surroundings(target, test, logs)?;
    let file = test.path.file_name().unwrap_or_default();
    let order = Order {
        script: &format!("{HOST_DIR}/tests/{}", file.to_string_lossy()),
        env,
        limit: settings.limit(test.limit),
        allow: &test.allow,
        interactive: false,
        show: false,
    };
    let start = Instant::now();
    let cpu = session.cpu_time();
    let verdict = session.run(&order, &mut sheep);
    outcome.took = start.elapsed();
    outcome.cpu = session.cpu_time().saturating_sub(cpu);
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that is not there.
    fn nowhere() -> Target {
        Target {
            kernel: Kernel {
                release: "1.2".into(),
                image: "/no/kernel".into(),
                initramfs: "/no/initramfs".into(),
                modules: "/no/modules".into(),
            },
            host: HostDir::empty().unwrap(),
            has_module: false,
        }
    }

    #[test]
    fn who_waits_runs_beside_the_others_and_nothing_is_left() {
        let test = |text: &str| Test::parse(Path::new("t.sh"), text).unwrap();
        let tests = [
            test("# Test: a\n# Limit: 10\n"),
            test("# Test: b\n# Limit: 20\n# Load: low\n"),
            test("# Test: c\n# Limit: 30\n# Load: low\n"),
        ];
        let targets = [nowhere()];
        let queue = Mutex::new(plan(&targets, &tests));
        let next = |waits| next_job(&queue, waits).map(|job| job.tests[0].about.clone());
        assert_eq!(next(true).as_deref(), Some("c"));
        assert_eq!(next(false).as_deref(), Some("a"));
        assert_eq!(next(false).as_deref(), Some("b"));
        assert_eq!(next(true), None);
        assert_eq!(next(false), None);
    }

    #[test]
    fn a_test_without_a_machine_is_not_one_that_failed_as_it_was_to() {
        let directory = tempfile::tempdir().unwrap();
        let in_the_way = directory.path().join("logs");
        File::create(&in_the_way).unwrap();
        let settings = Settings {
            root: "/no/root".into(),
            accelerator: Accelerator::Tcg,
            append: String::new(),
            scale: 1.0,
            memory_scale: 1,
            skip: BTreeMap::new(),
            devsheep: None,
            gateways: None,
            events: Events::default(),
            logs: in_the_way,
        };
        let targets = [nowhere()];
        for end in ["fail", "dead", "hang"] {
            let text = format!("# Test: it ends so\n# Expect: {end}\n");
            let test = Test::parse(Path::new("ends.sh"), &text).unwrap();
            let collector = Collector::new(false);
            run(&settings, &targets, &[test], 1, &collector);
            assert!(!collector.finish(None).unwrap(), "{end}");
        }
    }
}
