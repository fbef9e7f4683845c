//! The configuration, as a file and as an environment.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::config::fuzz(data));
