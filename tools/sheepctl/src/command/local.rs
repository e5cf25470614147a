// SPDX-License-Identifier: GPL-2.0

//! `guard` and `check`.

use rustix::io::Errno;

use crate::check::{counted, look};
use crate::cli::{GuardArgs, GuardWatchArgs};
use crate::command::map::mappings;
use crate::command::Output;
use crate::failure::{Failure, Outcome};
use crate::guard::{self, watch, Guard};
use crate::host::Host;

/// What `check` ends with when it found a risk.
const RISK: u8 = 1;

pub fn guard(args: GuardArgs) -> Outcome<()> {
    Err(guard::run(&Guard {
        command: args.command,
        oom_score_adj: args.oom_score_adj,
        lock: !args.no_lock,
        library: args.lock_library,
        quiet: args.quiet,
    }))
}

pub fn guard_watch(host: &Host, args: &GuardWatchArgs) -> Outcome<()> {
    if args.detach {
        return watch::detach(&args.mark, args.lock, args.quiet);
    }
    watch::watch(host, &args.mark, args.lock, args.quiet);
    Ok(())
}

pub fn check(host: &Host, json: bool, output: &mut Output<'_>) -> Outcome<()> {
    let report = look(host, mappings(host))?;
    if json {
        output.json(&report)?;
    } else {
        output.text(&report.to_string())?;
    }
    match report.risks() {
        0 => Ok(()),
        risks => {
            let found = format!("{} found", counted(risks, "risk"));
            Err(Failure::new(Errno::PERM, found).exits_with(RISK))
        }
    }
}
