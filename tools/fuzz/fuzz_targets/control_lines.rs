// SPDX-License-Identifier: GPL-2.0

//! See `sheepdog_fuzzing::control_lines`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sheepdog_fuzzing::control_lines(data));
