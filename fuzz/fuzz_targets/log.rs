//! The log of a segment, whatever has happened to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::spoke::fuzzing::fuzz_log(data));
