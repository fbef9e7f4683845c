//! The faults in their small size. Each test has hubs of its own, and they run side by side.

#![allow(clippy::print_stdout, reason = "what was counted is worth reading")]

use std::time::Duration;

use cluster_tests::faults::{
    Bar, bulk, damage, drill, full_disk, historical, idle, kill, pause, scale, stop,
};

fn met(bar: &Bar) {
    println!("{bar}");
    assert!(bar.is_met(), "{bar}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_items_at_once() {
    let size = bulk::Size {
        items: 2000,
        inserts: 5,
        singles: (200, 8),
        ratio_min: None,
        memory_max: 40 * 1024 * 1024,
        tagged: 60,
    };
    met(&bulk::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_lost_and_its_backup() {
    let size = drill::Size {
        rows: 2000,
        table: None,
        longest: None,
    };
    met(&drill::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flights_of_the_past() {
    for (rows, s3) in [(1500, false), (400, true)] {
        let table = None;
        met(&historical::rehearse(&historical::Size { rows, table, s3 }).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments() {
    let size = kill::Size {
        seed: 1,
        runs: 3,
        writers: 64,
        items: 1000,
        item_max: 1024 * 1024,
        expiry_every: 0,
    };
    met(&kill::rehearse(&size, |run| println!("{run:?}")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_segments_expire() {
    let size = kill::Size {
        seed: 100,
        runs: 1,
        writers: 64,
        items: 1000,
        item_max: 1024 * 1024,
        expiry_every: 1,
    };
    met(&kill::rehearse(&size, |run| println!("{run:?}")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    let size = full_disk::Size {
        seed: 1,
        disk: 96 * 1024 * 1024,
        writers: 16,
        rounds: 1,
        kind: None,
    };
    match full_disk::rehearse(&size).await {
        Ok(bar) => met(&bar),
        Err(reason) => println!("SKIPPED: {reason}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_items() {
    let size = scale::Size {
        seed: 1,
        channels: vec![1_000, 10_000, 100_000],
        rate: 116,
        requests: 50,
        memory_max: 300_000_000,
        times: None,
    };
    met(&scale::rehearse(&size, |text| println!("{text}")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_and_slow_connections() {
    let size = idle::Size {
        connections: 500,
        open_files: 256,
        requests: 200,
        slow: 10,
    };
    met(&idle::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause() {
    let size = pause::Size {
        seed: 1,
        writers: 16,
        pauses: vec![Duration::from_secs(2)],
    };
    met(&pause::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_under_load() {
    let size = stop::Size {
        seed: 1,
        writers: 32,
        rounds: 2,
        times: false,
    };
    met(&stop::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_byte() {
    met(&damage::rehearse(1).await);
}
