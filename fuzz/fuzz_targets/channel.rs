//! Bodies that make and change channels.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hub::channel::config::fuzz(data));
