//! A stand-in for the hub: the little of it that the benchmark asks for, kept in memory.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What makes the test program this server.
pub const ARGUMENTS: [&str; 4] = ["stub_hub", "--exact", "--ignored", "--nocapture"];

/// The items of each second, and how long each item is; by path.
#[derive(Default)]
struct Store {
    seconds: HashMap<String, Vec<String>>,
    items: HashMap<String, usize>,
    next: u64,
}

/// Serves where the environment says, until the process ends. Without a word there it does nothing,
/// so that all ignored tests can be run.
pub fn serve() {
    let Ok(listen) = std::env::var("HUB_HTTP_LISTEN") else {
        return;
    };
    let listen: SocketAddr = listen.parse().unwrap();
    let fault: Arc<str> = std::env::var("STUB_FAULT").unwrap_or_default().into();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.unwrap();
        println!("listening at http://{}", listener.local_addr().unwrap());
        let store = Arc::new(Mutex::new(Store::default()));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (store, fault) = (Arc::clone(&store), Arc::clone(&fault));
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let (store, fault) = (Arc::clone(&store), Arc::clone(&fault));
                    async move { Ok::<_, Infallible>(answer(request, &store, &fault).await) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let limit = if &*fault == "idle" { 250 } else { 600_000 };
                let _ = tokio::time::timeout(Duration::from_millis(limit), connection).await;
            });
        }
    });
}

async fn answer(
    request: Request<Incoming>,
    store: &Mutex<Store>,
    fault: &str,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = parts.uri.path().to_owned();
    let mut store = store.lock().unwrap();
    if parts.method == Method::PUT {
        return reply(201, "", "{}");
    }
    if parts.method == Method::POST {
        if fault == "insert" && path == "/channel/bench-003" {
            return reply(503, "", "on purpose");
        }
        if let Some(channel) = path.strip_suffix("/bulk") {
            let media = parts.headers["content-type"].to_str().unwrap();
            let (_, boundary) = media.split_once("boundary=").unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            let items = body.matches(&format!("--{boundary}\r\n")).count();
            for _ in 0..items {
                store.insert(channel, 0);
            }
            return reply(201, "", "{}");
        }
        let location = format!("http://stub{}", store.insert(&path, body.len()));
        return reply(201, &location, "{}");
    }
    if path == "/health" {
        return reply(200, "", "{\"healthy\": true}");
    }
    if let Some(&length) = store.items.get(&path) {
        return reply(200, "", vec![b'x'; length]);
    }
    match store.seconds.get(&path) {
        Some(uris) => {
            let list = serde_json::json!({"_links": {"uris": uris}});
            reply(200, "", list.to_string())
        }
        None => reply(404, "", ""),
    }
}

impl Store {
    /// Adds an item and gives back its path, which has as many parts as a real one.
    #[expect(
        clippy::disallowed_methods,
        reason = "a stand-in for a server has a clock"
    )]
    fn insert(&mut self, channel: &str, length: usize) -> String {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let second = format!("{channel}/2024/05/01/09/15/{}", now.as_secs());
        self.next += 1;
        let item = format!("{second}/{:03}/{:06}", now.subsec_millis(), self.next);
        self.seconds.entry(second).or_default().push(item.clone());
        self.items.insert(item.clone(), length);
        item
    }
}

fn reply(status: u16, location: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    if !location.is_empty() {
        response = response.header("location", location);
    }
    response.body(Full::new(body.into())).unwrap()
}
