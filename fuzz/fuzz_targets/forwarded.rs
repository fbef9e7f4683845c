//! Links of what requests say of their host.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::http::links::fuzz(data));
