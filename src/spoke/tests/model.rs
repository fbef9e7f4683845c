//! Long random lives of a store, compared with its twin in memory after every step.
//!
//! `HUB_SPOKE_LIVES` sets how many; a failure names the seed, and `HUB_SPOKE_SEED` runs that one
//! alone. (The store's threads are real, so a seed decides what is asked and what the disk does,
//! not every interleaving.)

mod checks;
mod life;

use self::life::Life;
use crate::spoke::Durability;

const STEPS: u64 = 40;

fn lives(durability: Durability, default: u64) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("HUB_SPOKE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HUB_SPOKE_LIVES").unwrap_or(default),
    };
    for seed in seeds {
        let mut life = Life::new(durability, seed);
        for _ in 0..STEPS {
            life.step();
        }
        life.finish();
    }
}

#[test]
fn a_life_with_fsync() {
    lives(Durability::Fsync, 30);
}

#[test]
fn a_life_without_fsync() {
    lives(Durability::Replicated, 20);
}
