//! Bodies of bulk inserts, in pieces of any length.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::http::multipart::fuzz(data));
