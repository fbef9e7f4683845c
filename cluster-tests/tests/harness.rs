//! The harness itself: what it starts runs, what it cuts is cut, and what it sets is set.

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use cluster_tests::address::{Block, free_address};
use cluster_tests::balancer::Balancer;
use cluster_tests::client::{Answer, Client};
use cluster_tests::failure::Outcome;
use cluster_tests::folder::Folder;
use cluster_tests::hub::{HTTP_PORT, Hub, MEMBER};
use cluster_tests::network::{Host, Lab, Network};
use cluster_tests::skew;
use cluster_tests::wait::until;
use cluster_tests::zookeeper::{PORT, ZooKeeper};
use hub::env::{ClockSource as _, Millis, SystemClock};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn zookeeper_stops_and_is_killed_and_starts_again() -> Outcome<()> {
    let block = Block::claim()?;
    let home = Folder::temporary("hub-zookeeper-")?;
    let mut server = ZooKeeper::at(Host::here(block.address(2)), home)?;
    server.start().await?;
    assert!(server.spawn().is_err(), "it runs already");
    assert!(server.wipe().is_err(), "it runs");
    server.stop().await?;
    server.start().await?;
    server.kill()?;
    server.wipe()?;
    server.start().await?;
    assert_eq!(server.casualty(), None);
    Ok(())
}

/// Whether a connection can be made from a host to a port of another one.
fn reaches(from: &Host, to: &Host, port: u16) -> bool {
    let mut shell = Command::new("/bin/bash");
    let address = to.address();
    shell.args(["-c", &format!("exec 3<>/dev/tcp/{address}/{port}")]);
    let mut command = Command::new("/usr/bin/timeout");
    let there = from.command(shell);
    command.arg("0.5").arg(there.get_program());
    command.args(there.get_args());
    command.output().is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn links_are_cut_and_healed() -> Outcome<()> {
    let mut network = match Lab::new() {
        Ok(lab) => Network::Namespaces(lab),
        Err(reason) => {
            println!("SKIPPED: {reason}");
            return Ok(());
        }
    };
    let (server, one, other) = (network.host(2)?, network.host(11)?, network.host(12)?);
    let home = Folder::temporary("hub-links-")?;
    let mut zookeeper = ZooKeeper::at(server.clone(), home)?;
    zookeeper.start().await?;
    assert!(reaches(&one, &server, PORT) && reaches(&other, &server, PORT));
    network.links()?.cut(&one, &server)?;
    assert!(!reaches(&one, &server, PORT), "the link is cut");
    assert!(reaches(&other, &server, PORT), "that one is whole");
    // The harness reaches everybody, always.
    zookeeper.ready().await?;
    network.links()?.heal()?;
    assert!(reaches(&one, &server, PORT));
    Ok(())
}

#[tokio::test]
async fn the_balancer_asks_hubs_that_are_healthy() -> Outcome<()> {
    let mut hub = Hub::new()?;
    let free = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = free.local_addr()?.port();
    drop(free);
    let balancer = Balancer::start(port, Folder::temporary("hub-balancer-")?).await?;
    let client = Client::new(&format!("http://127.0.0.1:{port}"));
    let says = async |wanted: u16| {
        until(
            &format!("the balancer says {wanted}"),
            PATIENCE,
            async || {
                let answer = client.send(reqwest::Method::GET, "/channel").await;
                matches!(answer, Ok((status, _)) if status == wanted).then_some(())
            },
        )
        .await
    };
    says(503).await?;
    balancer.serve(1, SocketAddrV4::new(hub.ip(), HTTP_PORT))?;
    hub.start().await?;
    says(200).await?;
    client.put_channel("balanced").await?;
    hub.kill()?;
    says(503).await?;
    hub.start().await?;
    says(200).await
}

#[tokio::test]
async fn a_clock_is_off_as_it_is_set() -> Outcome<()> {
    let home = Folder::temporary("hub-skew-")?;
    let file = home.path().join("faults");
    skew::set(&file, -60_000, false).await?;
    let mut hub = Hub::at(Host::here(free_address()?), home, MEMBER)?;
    hub.set(skew::VARIABLE, file.display());
    hub.start().await?;
    let client = hub.client();
    client.put_channel("late").await?;
    let answer = client.insert_bytes("late", None, None, "x".into()).await;
    let Answer::Acked(key) = answer else {
        panic!("{answer:?}");
    };
    let parts: Vec<&str> = key.as_str().split('/').collect();
    let [year, month, day, hour, minute, second, milli, _] = parts[..] else {
        panic!("{key}");
    };
    let iso = format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{milli}Z");
    let late = SystemClock.wall().get() - Millis::parse_iso(&iso).unwrap().get();
    assert!((59_000..90_000).contains(&late), "{late} ms");
    // Where the time goes from one moment to the next is seen, and not followed.
    skew::set(&file, 3_600_000, true).await
}
