//! `Accept` headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::http::negotiate::fuzz(data));
