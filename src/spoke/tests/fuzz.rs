//! The fuzzers' functions, on bytes from a seed: some now, more with `HUB_SPOKE_FUZZ`.

use crate::env::{Random as _, SeededRandom};
use crate::spoke::fuzzing::{fuzz_index, fuzz_log};

fn rounds() -> u64 {
    let more = std::env::var("HUB_SPOKE_FUZZ").ok();
    more.and_then(|text| text.parse().ok()).unwrap_or(500)
}

/// Bytes of any length, with some that mean something to the formats.
fn bytes(random: &SeededRandom, round: u64) -> Vec<u8> {
    let length = match round % 4 {
        0 => random.next_u64() % 12,
        1 | 2 => random.next_u64() % 60,
        _ => random.next_u64() % 3000,
    };
    let mut out: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
    if round.is_multiple_of(5) {
        for _ in 0..length / 50 {
            let at = (random.next_u64() % length.max(5)) as usize;
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&crate::spoke::record::MAGIC);
            }
        }
    }
    // A script of few changes keeps most of the file as it is.
    out.insert(0, (round % 16) as u8);
    out
}

#[test]
fn no_bytes_make_a_log_that_panics_or_loses_an_intact_record() {
    let random = SeededRandom::new(11);
    for round in 0..rounds() {
        fuzz_log(&bytes(&random, round));
    }
}

#[test]
fn no_bytes_make_an_index_that_panics_or_denies_an_item() {
    let random = SeededRandom::new(12);
    for round in 0..rounds() {
        fuzz_index(&bytes(&random, round));
    }
}

/// An index that holds together and names offsets beyond any file.
#[test]
fn wild_offsets_are_damage() {
    for offset in [0, 1, 95, 4096, u64::MAX - 40, u64::MAX] {
        for length in [0, 1, 1 << 20, u32::MAX] {
            // Forge; channel 1, no flags, offset, length, a key of the first minute.
            let mut data = vec![0, 1, 0];
            data.extend_from_slice(&offset.to_le_bytes());
            data.extend_from_slice(&length.to_le_bytes());
            let key = super::rig::key(0, "000007").to_bytes();
            data.push(key.len() as u8);
            data.extend_from_slice(&key);
            fuzz_index(&data);
        }
    }
}
