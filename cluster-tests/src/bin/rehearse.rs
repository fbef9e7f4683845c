//! The faults in their full size: `rehearse [kill|scale|disk|idle|pause|stop|damage|all]`.
//!
//! Prints a line for each bar, and ends with 0 only if all of them were met.

#![allow(clippy::print_stdout, reason = "what was measured is what it is for")]

use std::process::ExitCode;
use std::time::Duration;

use cluster_tests::disk::Kind;
use cluster_tests::faults::{Bar, damage, full_disk, idle, kill, pause, scale, stop};
use cluster_tests::latency::millis;

const MIB: u64 = 1024 * 1024;
const NAMES: [&str; 7] = ["kill", "disk", "scale", "idle", "pause", "stop", "damage"];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let known = |name: &String| name == "all" || NAMES.contains(&name.as_str());
    if asked.is_empty() || !asked.iter().all(known) {
        println!("usage: rehearse [{}|all]...", NAMES.join("|"));
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
    for name in NAMES {
        if asked.iter().any(|asked| asked == name || asked == "all") {
            for bar in full_size(name).await {
                println!("{bar}");
                met &= bar.is_met();
            }
        }
    }
    met
}

async fn full_size(name: &str) -> Vec<Bar> {
    match name {
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
