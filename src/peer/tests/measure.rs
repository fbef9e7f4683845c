//! What the protocol costs on the loopback: run with
//! `cargo test --release --lib peer::tests::measure -- --ignored --nocapture`.

use super::client::Http;
use super::*;
use crate::spoke::peers::Peers as _;

const FOR: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: make rehearse runs it; docs/adr/0009-peer-protocol.md has numbers"]
async fn http_1_and_2() {
    for http in [Http::One, Http::Two] {
        let node = Node::start("b", 5).await;
        *node.service.payload.lock() = Bytes::from(vec![7; 1_000]);
        let members: Members = Arc::new([node.entry()].into());
        let (_sender, members) = watch::channel(members);
        let client =
            PeerClient::start_with(identity("a", 3), settings(), None, members, http).unwrap();
        until("connected", || is_connected(&client, &member("b"))).await;
        for callers in [1, 8, 64, 256] {
            for what in ["append", "get"] {
                let (rate, median, late) = rate(&client, what, callers).await;
                println!(
                    "{http:?} {what} x {callers}: {rate:.0}/s, p50 {median:.0?}, p99 {late:.0?}"
                );
            }
            let batches = std::mem::take(&mut *node.service.batches.lock());
            let appends = batches.iter().sum::<usize>() as f64;
            println!("  {:.1} appends a batch", appends / batches.len() as f64);
        }
        let payload = Bytes::from(vec![1; 64 << 20]);
        let began = Instant::now();
        for number in 0..8 {
            let id = WriteId(number);
            client
                .stage(&member("b"), id, payload.clone())
                .await
                .unwrap();
        }
        let took = began.elapsed().as_secs_f64();
        println!("{http:?} stage: {:.0} MiB/s", 512.0 / took);
    }
}

/// How many questions a second, and how long the middle one and one in a hundred took.
async fn rate(client: &Arc<PeerClient>, what: &str, callers: u64) -> (f64, Duration, Duration) {
    let began = Instant::now();
    let mut asking = Vec::new();
    for caller in 0..callers {
        let (client, is_get) = (Arc::clone(client), what == "get");
        asking.push(tokio::spawn(async move {
            let payload = Bytes::from(vec![7; 1_000]);
            let mut spent = Vec::new();
            while began.elapsed() < FOR {
                let from = Instant::now();
                if is_get {
                    client
                        .get(&member("b"), channel(), key(caller))
                        .await
                        .unwrap();
                } else {
                    let append = append(caller, payload.clone());
                    client.append(&member("b"), append).await.unwrap();
                }
                spent.push(from.elapsed());
            }
            spent
        }));
    }
    let mut spent = Vec::new();
    for asking in asking {
        spent.extend(asking.await.unwrap());
    }
    spent.sort();
    let at = |share: usize| spent[spent.len() * share / 100];
    (spent.len() as f64 / FOR.as_secs_f64(), at(50), at(99))
}
