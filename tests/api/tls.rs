//! TLS: what is said on it is said of the edge in the clear, whichever HTTP is spoken.

use std::time::Duration;

use http::Version;

use crate::harness::{PATIENCE, Raw, Setup, free_address, unique};

/// More than a client and the system hold ready for a reader that pauses.
const LENGTH: usize = 32 << 20;
/// The longest that a head may take.
const HEAD: Duration = Duration::from_secs(1);
/// Longer than that, also for a hub that looks only so often.
const PAUSE: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn a_transfer_may_take_longer_than_a_head() {
    let ops = free_address();
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let setup = Setup::new();
    let file = |name: &str, text: String| {
        let path = setup.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = file("certificate.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let setup = setup
        .set("TLS_CERTIFICATE_FILE", certificate)
        .set("TLS_KEY_FILE", key)
        .set("OPS_LISTEN", ops)
        .set("HTTP_HEAD_TIMEOUT_MS", HEAD.as_millis());
    let hub = setup.start_and_ask(Some(ops)).await;
    let base = format!("https://{}", hub.address());

    let transfer = async |version| {
        let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([trusted])
            .timeout(PATIENCE);
        let client = match version {
            Version::HTTP_2 => client,
            _ => client.http1_only(),
        };
        let client = client.build().unwrap();
        let channel = format!("{base}/channel/{}", unique("secret"));
        let created = client.put(&channel).send().await.unwrap();
        assert_eq!(
            (created.status().as_u16(), created.version()),
            (201, version)
        );
        let item = client.post(&channel).body(vec![b'x'; LENGTH]);
        let item = item.send().await.unwrap();
        assert_eq!(item.status().as_u16(), 201);
        let item = item.headers()["location"].to_str().unwrap().to_owned();
        assert!(item.starts_with(&format!("{channel}/")), "{item}");

        let mut answer = client.get(&item).send().await.unwrap();
        let mut length = 0;
        while let Some(part) = answer.chunk().await.unwrap() {
            if length == 0 {
                tokio::time::sleep(PAUSE).await;
            }
            length += part.len();
        }
        assert_eq!(length, LENGTH);
        // Nor is a connection cut that waits for its next request.
        tokio::time::sleep(PAUSE).await;
        let next = client.get(&channel).send().await.unwrap();
        assert_eq!(next.status().as_u16(), 200);
    };
    tokio::join!(transfer(Version::HTTP_11), transfer(Version::HTTP_2));
    let mut raw = Raw::connect(ops).await;
    raw.send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let metrics = raw.answer().await.expect(200);
    let cut = "hub_http_connections_cut_total";
    let mut cuts = metrics.text().lines().filter(|line| line.starts_with(cut));
    assert_eq!(cuts.next(), None);
}
