//! The faults in their full size: `rehearse [kill|disk|...|cluster|all|speed]`, where `cluster` stands for
//! all those of clusters.
//!
//! `drill` and `historical` load the table of flights that `HUB_FLIGHTS` names, which has 336,776 rows, or the demo's month
//! as often as it takes for as many (`historical`: as it is).
//!
//! Prints a line for each bar, and ends with 0 only if all of them were met.

#![allow(clippy::print_stdout, reason = "what was measured is what it is for")]

use std::process::ExitCode;
use std::time::Duration;

use cluster_tests::disk::Kind;
use cluster_tests::faults::{
    Bar, bulk, damage, drill, full_disk, historical, idle, kill, pause, scale, stop,
};
use cluster_tests::latency::millis;
use cluster_tests::scenarios::{
    archive, archiving, everywhere, health, large, recover, restart, rivals, sequence, speed,
    upkeep, zookeeper,
};

const MIB: u64 = 1024 * 1024;
const NAMES: [&str; 10] = [
    "bulk",
    "kill",
    "disk",
    "scale",
    "idle",
    "pause",
    "stop",
    "drill",
    "historical",
    "damage",
];
/// Those of clusters.
const CLUSTERS: [&str; 11] = [
    "archive",
    "archiving",
    "everywhere",
    "large",
    "sequence",
    "rivals",
    "health",
    "restart",
    "zookeeper",
    "recover",
    "upkeep",
];
/// What is measured and not put under faults; it runs when it is named alone.
const SPEED: &str = "speed";

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let known = |name: &String| {
        let name = name.as_str();
        ["all", "cluster", SPEED].contains(&name)
            || NAMES.contains(&name)
            || CLUSTERS.contains(&name)
    };
    if asked.is_empty() || !asked.iter().all(known) {
        let (alone, clusters) = (NAMES.join("|"), CLUSTERS.join("|"));
        println!("usage: rehearse [{alone}|{clusters}|cluster|all|{SPEED}]...");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let met = match runtime {
        Ok(runtime) => runtime.block_on(rehearse(&asked)),
        Err(error) => {
            println!("FAIL: {error}");
            false
        }
    };
    ExitCode::from(u8::from(!met))
}

async fn rehearse(asked: &[String]) -> bool {
    let mut met = true;
    let is_asked = |names: &[&str]| asked.iter().any(|asked| names.contains(&asked.as_str()));
    for name in NAMES {
        if is_asked(&[name, "all"]) {
            met &= all_met(&full_size(name).await);
        }
    }
    for name in CLUSTERS {
        if is_asked(&[name, "cluster", "all"]) {
            met &= all_met(&cluster_size(name).await);
        }
    }
    if is_asked(&[SPEED]) {
        let size = speed::Size {
            rounds: 5,
            seconds: Duration::from_secs(5),
        };
        met &= all_met(&speed::rehearse(&size).await);
    }
    met
}

fn all_met(bars: &[Bar]) -> bool {
    for bar in bars {
        println!("{bar}");
    }
    bars.iter().all(Bar::is_met)
}

async fn full_size(name: &str) -> Vec<Bar> {
    match name {
        "bulk" => vec![
            bulk::rehearse(&bulk::Size {
                items: 10_000,
                inserts: 10,
                singles: (20_000, 64),
                ratio_min: Some(20.0),
                memory_max: 40 * MIB,
                tagged: 1000,
            })
            .await,
        ],
        "kill" => vec![kill_full().await],
        "disk" => disk_full().await,
        "scale" => vec![scale_full().await],
        "idle" => vec![
            idle::rehearse(&idle::Size {
                connections: 10_000,
                open_files: 1024,
                requests: 4000,
                slow: 100,
            })
            .await,
        ],
        "pause" => vec![
            pause::rehearse(&pause::Size {
                seed: seed(),
                writers: 64,
                pauses: [1, 3, 8, 12, 20].map(Duration::from_secs).to_vec(),
            })
            .await,
        ],
        "stop" => vec![
            stop::rehearse(&stop::Size {
                seed: seed(),
                writers: 64,
                rounds: 10,
                times: true,
            })
            .await,
        ],
        "drill" => vec![
            drill::rehearse(&drill::Size {
                // The flights of a year.
                rows: 336_776,
                table: std::env::var_os("HUB_FLIGHTS").map(Into::into),
                longest: Some(Duration::from_mins(10)),
            })
            .await,
        ],
        "historical" => vec![
            historical::rehearse(&historical::Size {
                // Those of the year, or the demo's month.
                rows: match std::env::var_os("HUB_FLIGHTS") {
                    Some(_) => 336_776,
                    None => 27_004,
                },
                table: std::env::var_os("HUB_FLIGHTS").map(Into::into),
                s3: false,
            })
            .await,
            historical::rehearse(&historical::Size {
                rows: 5000,
                table: None,
                s3: true,
            })
            .await,
        ],
        _ => vec![damage::rehearse(seed()).await],
    }
}

/// Where runs count their seeds from: `HUB_REHEARSE_SEED`, or 1.
fn seed() -> u64 {
    let given = std::env::var("HUB_REHEARSE_SEED");
    given.ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

async fn kill_full() -> Bar {
    let size = kill::Size {
        seed: seed(),
        runs: 100,
        writers: 64,
        items: 1000,
        item_max: MIB as usize,
        expiry_every: 10,
    };
    kill::rehearse(&size, |run| {
        let restarts: Vec<String> = run.restarts.iter().map(|time| millis(*time)).collect();
        println!(
            "  seed {}: {}; kills {}; restarts {}",
            run.seed,
            run.verdict,
            run.kills.join(" "),
            restarts.join(" "),
        );
    })
    .await
}

async fn disk_full() -> Vec<Bar> {
    let mut bars = Vec::new();
    for kind in [Kind::Ext4, Kind::Tmpfs] {
        let size = full_disk::Size {
            seed: seed(),
            disk: 256 * MIB,
            writers: 64,
            rounds: 5,
            kind: Some(kind),
        };
        match full_disk::rehearse(&size).await {
            Ok(bar) => bars.push(bar),
            // What was not tried was not met.
            Err(reason) => {
                let mut bar = Bar::new("disk");
                bar.wrong.push(format!("skipped: {reason}"));
                bars.push(bar);
            }
        }
    }
    bars
}

async fn scale_full() -> Bar {
    let size = scale::Size {
        seed: seed(),
        channels: vec![10_000, 1_000_000, 10_000_000],
        rate: 116,
        requests: 500,
        memory_max: 300_000_000,
        times: Some(scale::Times {
            open_max: Duration::from_secs(5),
            ratio_max: 3.0,
        }),
    };
    scale::rehearse(&size, |text| println!("  {text}")).await
}

async fn cluster_size(name: &str) -> Vec<Bar> {
    match name {
        "archive" => {
            let size = archive::Size {
                seed: seed(),
                writers: 24,
                hours: 24,
                minute: Duration::from_secs(1),
                percent: 10,
            };
            vec![archive::rehearse(&size).await]
        }
        "archiving" => {
            let size = archiving::Size {
                rounds: 5,
                seconds: Duration::from_secs(20),
                minute: Duration::from_secs(1),
            };
            vec![archiving::rehearse(&size).await]
        }
        "everywhere" => {
            let mut bars = Vec::new();
            for hubs in [3, 4, 5] {
                bars.push(
                    everywhere::rehearse(&everywhere::Size {
                        hubs,
                        items: 100,
                        times: true,
                    })
                    .await,
                );
            }
            bars
        }
        "large" => {
            let size = large::Size {
                hubs: 5,
                clients: 64,
                item: 41 * MIB as usize,
                inflight: 128 * MIB,
            };
            vec![large::rehearse(&size).await]
        }
        "sequence" => {
            let size = sequence::Size {
                seed: seed(),
                hubs: 5,
                items: 10_000,
                skew: 200,
                settings: 20,
            };
            vec![sequence::rehearse(&size).await]
        }
        "rivals" => {
            let size = rivals::Size {
                seed: seed(),
                hubs: 5,
                writers: 32,
                rounds: 200,
                check_every: 10,
            };
            vec![rivals::rehearse(&size).await]
        }
        "health" => {
            let size = health::Size {
                seed: seed(),
                writers: 64,
                items: 50_000,
            };
            let cut_off = health::cut_off(&size).await;
            vec![
                health::wiped(&size).await,
                cut_off.unwrap_or_else(|reason| Bar::of("cut-off", Err(reason))),
            ]
        }
        "restart" => {
            let size = restart::Size {
                seed: seed(),
                hubs: 5,
                writers: 64,
                kills: 20,
                away: Duration::from_secs(15),
                add: true,
            };
            vec![restart::rehearse(&size).await]
        }
        "recover" => vec![recover::rehearse().await, recover::alone().await],
        "upkeep" => vec![upkeep::rehearse().await],
        _ => {
            let size = zookeeper::Size {
                seed: seed(),
                hubs: 5,
                writers: 64,
                lease: Duration::from_secs(10),
                away: Duration::from_mins(5),
            };
            vec![zookeeper::rehearse(&size).await]
        }
    }
}
