//! The fuzz targets, on stable: what fuzzers have found so far, and a minute of random input.
//!
//! `FUZZ_SECONDS` sets how long each of the nine targets is fed random input (10).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;
use std::time::Duration;

use hub::env::{ClockSource as _, Random as _, SeededRandom, SystemClock};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// Feeds a target its corpus, then mutations of it for a while. A failure shows the input.
fn feed(target: &str, run: fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        run(input);
    }
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(10);
    let started = SystemClock.boot();
    let mut seed = started.as_nanos() as u64;
    while SystemClock.boot().saturating_sub(started) < Duration::from_secs(seconds) {
        seed += 1;
        let input = mutated(&corpus, seed);
        let ran = std::panic::catch_unwind(|| run(&input));
        assert!(ran.is_ok(), "{target} failed at seed {seed}: {input:02x?}");
    }
}

/// An input made of the corpus: parts replaced, cut out, repeated, or all of it random.
fn mutated(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let random = SeededRandom::new(seed);
    let below = |end: usize| random.next_u64() as usize % end.max(1);
    let mut input = corpus[below(corpus.len())].clone();
    if below(8) == 0 {
        input = (0..below(256)).map(|_| random.next_u64() as u8).collect();
    }
    for _ in 0..=below(6) {
        let at = below(input.len() + 1);
        let end = (at + below(24)).min(input.len());
        match below(5) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.next_u64() as u8;
                }
            }
            1 => {
                input.drain(at..end);
            }
            2 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            3 => {
                let other = &corpus[below(corpus.len())];
                let from = below(other.len() + 1);
                let to = (from + below(64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => input.insert(at, b"/?=&%.:\"'[]\n\0-09azAZ"[below(20)]),
        }
    }
    input
}

#[test]
fn path() {
    feed("path", hub::http::grammar::fuzz);
}

#[test]
fn config() {
    feed("config", hub::config::fuzz);
}

#[test]
fn log() {
    feed("log", hub::spoke::fuzzing::fuzz_log);
}

#[test]
fn index() {
    feed("index", hub::spoke::fuzzing::fuzz_index);
}

#[test]
fn object() {
    feed("object", hub::archive::object::fuzz);
}

#[test]
fn multipart() {
    feed("multipart", hub::http::multipart::fuzz);
}

#[test]
fn forwarded() {
    feed("forwarded", hub::http::links::fuzz);
}

#[test]
fn accept() {
    feed("accept", hub::http::negotiate::fuzz);
}

#[test]
fn channel() {
    feed("channel", hub::channel::config::fuzz);
}
