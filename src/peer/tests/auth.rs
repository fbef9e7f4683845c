//! Whatever is not for this member, from a member, and new, is refused.

use super::body::Outgoing;
use super::kind::Kind;
use super::*;
use crate::cluster::PeerError;
use crate::env::{Random as _, SeededRandom};
use crate::peer::identity::{HEAD, HEAD_MAC, REPLY_LENGTH};
use crate::spoke::peers::Peers as _;

/// A request as it goes over the wire, to be changed by a test.
struct Raw {
    path: &'static str,
    head: String,
    code: String,
    body: Vec<u8>,
}

impl Raw {
    fn new(from: &PeerIdentity, to: &str, kind: Kind, counter: u64) -> Self {
        let frame = wire::encode_append(append(1, Bytes::from_static(b"payload")));
        let outgoing = Outgoing::new([frame]);
        let (head, code, mac) = from.introduce(kind, &member(to), [8; 16], counter, outgoing.len());
        let mut signed = outgoing.signed(from.secret().body(&mac));
        Self {
            path: kind.path(),
            head,
            code,
            body: signed.whole().unwrap().to_vec(),
        }
    }

    /// The status of the answer, and whether it is an authentic one.
    async fn send(&self, node: &Node) -> (u16, bool) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let reply = client
            .post(format!("http://{}{}", node.address, self.path))
            .header(HEAD, &self.head)
            .header(HEAD_MAC, &self.code)
            .body(self.body.clone())
            .send()
            .await
            .unwrap();
        let authentic = reply.headers().contains_key(REPLY_LENGTH);
        (reply.status().as_u16(), authentic)
    }
}

/// An identity that knows which run of `b` is there.
fn knowing(identity: Arc<PeerIdentity>, run: u64) -> Arc<PeerIdentity> {
    identity.heard_of(&member("b"), Incarnation(run));
    identity
}

#[tokio::test]
async fn a_request_is_taken_once_and_only_as_it_was_sent() {
    let node = Node::start("b", 5).await;
    let a = knowing(identity("a", 3), 5);
    let good = Raw::new(&a, "b", Kind::Append, 1);
    assert_eq!(good.send(&node).await, (200, true));
    assert_eq!(node.service.appended.lock().len(), 1);
    assert_eq!(good.send(&node).await, (409, true), "sent again");
    // Appends that were overtaken are too late.
    let first = Raw::new(&a, "b", Kind::Append, 10);
    let second = Raw::new(&a, "b", Kind::Append, 11);
    assert_eq!(second.send(&node).await, (200, true));
    assert_eq!(first.send(&node).await, (409, true), "overtaken");

    let mut counter = 100;
    let mut changed = |change: fn(&mut Raw)| {
        counter += 1;
        let mut raw = Raw::new(&a, "b", Kind::Append, counter);
        change(&mut raw);
        raw
    };
    for (raw, expected) in [
        (changed(|raw| raw.body[20] ^= 1), (400, true)),
        (
            changed(|raw| *raw.body.last_mut().unwrap() ^= 1),
            (400, true),
        ),
        (changed(|raw| raw.body.truncate(10)), (400, true)),
        (changed(|raw| raw.body.push(1)), (400, true)),
        (changed(|raw| raw.path = Kind::Stage.path()), (401, false)),
        (changed(|raw| raw.path = "/channel/c"), (404, false)),
        (changed(|raw| raw.head.insert(0, 'A')), (401, false)),
        (changed(|raw| raw.head = "%".to_owned()), (401, false)),
        (changed(|raw| raw.head = "A".repeat(9_000)), (401, false)),
        (changed(|raw| raw.code.clear()), (401, false)),
        (changed(|raw| raw.code = "AAAA".repeat(11)), (401, false)),
    ] {
        assert_eq!(raw.send(&node).await, expected, "{} {}", raw.path, raw.head);
    }
    assert_eq!(node.service.appended.lock().len(), 2);
}

#[tokio::test]
async fn who_is_not_who_it_should_be_is_refused() {
    let node = Node::start("b", 5).await;
    let secret = b"another secret of sixteen bytes";
    let raw = |from: Arc<PeerIdentity>, to| Raw::new(&from, to, Kind::Append, 1);
    let stranger = knowing(identity_of("test", "a", 3, secret), 5);
    assert_eq!(raw(stranger, "b").send(&node).await, (401, false));
    let elsewhere = knowing(identity_of("other", "a", 3, SECRET), 5);
    assert_eq!(raw(elsewhere, "b").send(&node).await, (403, true));
    let astray = identity("a", 3);
    astray.heard_of(&member("x"), Incarnation(5));
    assert_eq!(raw(astray, "x").send(&node).await, (421, true));
    for run in [4, 6] {
        let other_run = knowing(identity("a", 3), run);
        assert_eq!(raw(other_run, "b").send(&node).await, (421, true));
    }
    // Whoever does not say which run is meant may only ask which one it is.
    let unknowing = identity("a", 3);
    assert_eq!(
        raw(Arc::clone(&unknowing), "b").send(&node).await,
        (421, true)
    );
    let ping = Raw::new(&unknowing, "b", Kind::Ping, 2);
    assert_eq!(ping.send(&node).await, (200, true));
    // A run of the sender older than one that was heard of, here by the registry.
    node.identity.heard_of(&member("a"), Incarnation(9));
    let old = knowing(identity("a", 8), 5);
    assert_eq!(raw(old, "b").send(&node).await, (403, true));
    let itself = knowing(identity("b", 5), 5);
    let itself = Raw {
        body: Vec::new(),
        ..raw(itself, "b")
    };
    assert_ne!(itself.send(&node).await.0, 200);
    let newer = knowing(identity("a", 10), 5);
    assert_eq!(raw(newer, "b").send(&node).await, (200, true));
    assert_eq!(node.service.appended.lock().len(), 1);
}

#[tokio::test]
async fn garbage_is_refused() {
    let node = Node::start("b", 5).await;
    let a = knowing(identity("a", 3), 5);
    let random = SeededRandom::new(1);
    let mut counter = 0;
    for kind in Kind::ALL {
        for round in 0..20_usize {
            let mut garbage = vec![0; round * 7];
            garbage.fill_with(|| random.next_u64() as u8);
            if round % 2 == 0 && !garbage.is_empty() {
                // As far as frames go it is proper.
                let length = garbage.len() as u32 - 5;
                garbage[0] = wire::VERSION;
                garbage[1..5].copy_from_slice(&length.to_be_bytes());
            }
            counter += 1;
            let (head, code, mac) =
                a.introduce(kind, &member("b"), [8; 16], counter, garbage.len());
            let mut signer = a.secret().body(&mac);
            signer.add(&garbage);
            garbage.extend_from_slice(signer.end().bytes());
            let raw = Raw {
                path: kind.path(),
                head,
                code,
                body: garbage,
            };
            let (status, authentic) = raw.send(&node).await;
            // Some of it may even mean something.
            assert!(
                authentic && (status == 200 || status / 100 == 4),
                "{kind:?} {status}"
            );
        }
    }
    node.end().await;
}

#[tokio::test]
async fn an_answer_of_somebody_else_is_no_answer() {
    let (b, c) = (Node::start("b", 5).await, Node::start("c", 5).await);
    // The registry says that c is where b is.
    let astray = record(Incarnation(5), Some(b.address.ip()), b.address.port());
    let (client, sender) = client_of(identity("a", 3), [(member("c"), astray)]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!is_connected(&client, &member("c")));
    let error = client
        .append(&member("c"), append(1, Bytes::new()))
        .await
        .unwrap_err();
    assert!(error.is_harmless(), "{error}");
    let seen = client.snapshot().remove(0);
    assert!(seen.last_error.unwrap().contains("this is b"));
    sender.send_replace(Arc::new([c.entry()].into()));
    until("c is found", || is_connected(&client, &member("c"))).await;

    // A stranger answers whatever it likes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let reply = "HTTP/1.1 200 OK\r\nhub-peer-length: 1\r\ncontent-length: 33\r\n\r\n";
            let _ = stream.write_all(reply.as_bytes()).await;
            let _ = stream.write_all(&[1; 33]).await;
        }
    });
    let astray = record(Incarnation(5), Some(address.ip()), address.port());
    let (client, _sender) = client_of(identity("a", 3), [(member("c"), astray)]);
    let error = crate::cluster::RingPeers::vouch(&*client, &member("c"))
        .await
        .unwrap_err();
    assert!(matches!(error, PeerError::NotConnected { .. }), "{error}");
    let seen = client.snapshot().remove(0);
    assert!(seen.last_error.unwrap().contains("Forged"));
}

#[tokio::test]
async fn a_member_that_registers_again_is_asked_again_at_once() {
    let (client, node) = pair().await;
    node.identity.set_incarnation(Incarnation(6));
    let answer = client.append(&member("b"), append(1, Bytes::new())).await;
    assert_eq!(answer, Ok(AppendAnswer::Duplicate(key(1))));
    assert_eq!(client.snapshot()[0].incarnation, Some(Incarnation(6)));
}

#[tokio::test]
async fn an_old_run_is_not_believed() {
    let (client, node) = pair().await;
    // Somebody has registered under its name since.
    let (b, mut newer) = node.entry();
    newer.incarnation = Incarnation(9);
    let (client_of_newer, _members) = client_of(identity("a", 4), [(b.clone(), newer)]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!is_connected(&client_of_newer, &b));
    let seen = client_of_newer.snapshot().remove(0);
    assert_eq!(seen.incarnation, Some(Incarnation(9)));
    assert!(seen.last_error.unwrap().contains("a newer one is known"));
    // And it has heard of a newer run of the one that asks.
    let error = client
        .append(&b, append(1, Bytes::new()))
        .await
        .unwrap_err();
    assert!(matches!(error, PeerError::Refused { .. }), "{error}");
    until("turned away", || !is_connected(&client, &b)).await;
}
