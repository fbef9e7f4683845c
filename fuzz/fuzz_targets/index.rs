//! The sealed index of a segment.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::spoke::fuzzing::fuzz_index(data));
