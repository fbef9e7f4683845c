//! The URL grammar, and the links that are held against it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::http::grammar::fuzz(data));
