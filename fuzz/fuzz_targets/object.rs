//! Objects of the archive, and their indexes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::archive::object::fuzz(data));
