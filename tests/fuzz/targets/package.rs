//! Runs `strait_host::fuzz::package`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| strait_host::fuzz::package(input));
