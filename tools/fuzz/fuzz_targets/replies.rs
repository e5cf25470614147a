// SPDX-License-Identifier: GPL-2.0

//! See `sheepdog_fuzzing::replies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sheepdog_fuzzing::replies(data));
