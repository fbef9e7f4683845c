//! Clusters in their small size. Each test has a cluster of its own, and they run side by side.

#![allow(clippy::print_stdout, reason = "what was counted is worth reading")]

use std::time::Duration;

use cluster_tests::faults::Bar;
use cluster_tests::scenarios::{
    archive, everywhere, health, large, recover, restart, rivals, sequence, upkeep, zookeeper,
};

fn met(bar: &Bar) {
    println!("{bar}");
    assert!(bar.is_met(), "{bar}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_archive_has_is_read_as_what_spoke_has() {
    let size = archive::Size {
        seed: 1,
        writers: 6,
        hours: 2,
        minute: Duration::from_secs(1),
        percent: 10,
    };
    met(&archive::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hubs_answer_alike() {
    met(&everywhere::rehearse(&everywhere::Size {
        hubs: 3,
        items: 10,
        times: false,
    })
    .await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hubs_answer_alike() {
    met(&everywhere::rehearse(&everywhere::Size {
        hubs: 4,
        items: 8,
        times: false,
    })
    .await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hubs_answer_alike() {
    met(&everywhere::rehearse(&everywhere::Size {
        hubs: 5,
        items: 6,
        times: false,
    })
    .await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_items_at_once() {
    let size = large::Size {
        hubs: 4,
        clients: 8,
        item: 41 << 20,
        inflight: 64 << 20,
    };
    met(&large::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequential_writes_keep_their_order() {
    let size = sequence::Size {
        seed: 1,
        hubs: 3,
        items: 500,
        skew: 200,
        settings: 3,
    };
    met(&sequence::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_coordinators_compete() {
    let size = rivals::Size {
        seed: 1,
        hubs: 3,
        writers: 12,
        rounds: 10,
        check_every: 5,
    };
    met(&rivals::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_hub_is_healthy_when_it_has_caught_up() {
    let size = health::Size {
        seed: 1,
        writers: 12,
        items: 500,
    };
    met(&health::wiped(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_without_zookeeper_is_not_healthy() {
    let size = health::Size {
        seed: 1,
        writers: 0,
        items: 0,
    };
    match health::cut_off(&size).await {
        Ok(bar) => met(&bar),
        Err(reason) => println!("SKIPPED: {reason}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_restarts_is_not_missed() {
    let size = restart::Size {
        seed: 1,
        hubs: 4,
        writers: 12,
        kills: 2,
        away: Duration::from_secs(2),
        add: true,
    };
    met(&restart::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zookeeper_is_not_missed() {
    let size = zookeeper::Size {
        seed: 1,
        hubs: 3,
        writers: 12,
        lease: Duration::from_secs(3),
        away: Duration::from_secs(5),
    };
    met(&zookeeper::rehearse(&size).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_on_without_hubs_that_are_gone() {
    met(&recover::rehearse().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_on_where_the_whole_ring_is_gone() {
    met(&recover::alone().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_trim_channels_and_hubs_leave_one_at_a_time() {
    met(&upkeep::rehearse().await);
}
