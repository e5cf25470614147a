// SPDX-License-Identifier: GPL-2.0

//! `sys::memalloc`: what the allocator may do for a task, for as long as a scope lasts.

use kernel::{
    bindings,
    prelude::*, //
};
use sys::memalloc::{
    task_flags,
    Scope, //
};

#[path = "../drivers/block/sheepdog/sys/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a sample is about one part")]
mod sys;

module! {
    type: Sample,
    name: "sample_memalloc",
    authors: ["The sheepdog.ko developers"],
    description: "Allocation scopes",
    license: "GPL",
}

struct Sample;

/// The flags of the current task that scopes change.
fn flags() -> u32 {
    task_flags() & (bindings::PF_MEMALLOC | bindings::PF_MEMALLOC_NOIO)
}

fn expect(wanted: u32, place: &str) -> Result {
    let got = flags();
    if got == wanted {
        return Ok(());
    }
    pr_err!("{place}: the task has flags {got:#x}, expected {wanted:#x}\n");
    Err(EINVAL)
}

impl kernel::Module for Sample {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let noio = bindings::PF_MEMALLOC_NOIO;
        let reserves = noio | bindings::PF_MEMALLOC;

        expect(0, "before any scope")?;
        {
            let _outer = Scope::noio();
            expect(noio, "in a no-I/O scope")?;
            // GFP_KERNEL means GFP_NOIO here.
            let buffer = KVec::<u8>::with_capacity(1 << 16, GFP_KERNEL)?;
            drop(buffer);
            {
                let _inner = Scope::reserves();
                expect(reserves, "in a scope with reserves")?;
                let _same = Scope::noio();
                expect(reserves, "a narrower scope in it takes nothing away")?;
            }
            expect(noio, "back in the outer scope")?;
        }
        expect(0, "after all scopes")?;
        {
            let _scope = Scope::reserves();
            expect(reserves, "in a scope with reserves of its own")?;
        }
        expect(0, "after that")?;
        pr_info!("ok\n");
        Ok(Self)
    }
}
