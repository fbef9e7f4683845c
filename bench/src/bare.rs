//! The server to compare with: hyper, and nothing behind it.
//!
//! It answers with as many bytes and headers as the hub does, so that what the hub takes longer is
//! the hub's own doing: its routes, its checks, its disk. GET is answered with an item, everything
//! else as an insert, whatever the path.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    CONTENT_TYPE, LINK, LOCATION, SERVER,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;

use crate::args::BareArgs;
use crate::error::BenchError;
use crate::random::Random;

const ITEM: &str = "http://127.0.0.1:8080/channel/bench-000/2024/05/01/09/15/00/123/0a1B2c";
const INSERTED: &str = "{\"timestamp\":\"2024-05-01T09:15:00.123Z\",\"_links\":{\
    \"channel\":{\"href\":\"http://127.0.0.1:8080/channel/bench-000\"},\
    \"self\":{\"href\":\
    \"http://127.0.0.1:8080/channel/bench-000/2024/05/01/09/15/00/123/0a1B2c\"}}}";
const PREVIOUS: &str = "<http://127.0.0.1:8080/channel/bench-000/2024/05/01/09/15/00/123/0a1B2c\
    /previous>;rel=\"previous\"";
const NEXT: &str = "<http://127.0.0.1:8080/channel/bench-000/2024/05/01/09/15/00/123/0a1B2c\
    /next>;rel=\"next\"";

/// Serves until the process ends.
pub fn run(args: &BareArgs) -> Result<(), BenchError> {
    let mut builder = runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        builder.worker_threads(threads.get());
    }
    let runtime = builder
        .enable_all()
        .build()
        .map_err(BenchError::io("start threads"))?;
    let item = Bytes::from(Random::new(1).bytes(args.item_bytes));
    runtime.block_on(serve(args.listen, item))
}

async fn serve(listen: SocketAddr, item: Bytes) -> Result<(), BenchError> {
    let cannot = || BenchError::io(format!("listen at {listen}"));
    let listener = TcpListener::bind(listen).await.map_err(cannot())?;
    let address = listener.local_addr().map_err(cannot())?;
    println!("listening at http://{address}");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, item.clone()));
            }
            // Out of files, most likely: what is open goes on.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, item: Bytes) {
    // Without it answers would only be later, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let item = item.clone();
        async move { Ok::<_, Infallible>(answer(request, item).await) }
    });
    // A client that breaks off is no fault of the server.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, item: Bytes) -> Response<Full<Bytes>> {
    if request.method() == Method::GET {
        let length = HeaderValue::from(item.len());
        let mut response = Response::new(Full::new(item));
        item_headers(response.headers_mut(), length);
        return response;
    }
    let Ok(body) = request.into_body().collect().await else {
        return status(StatusCode::BAD_REQUEST);
    };
    // The body is there as one piece, as a store would want it.
    std::hint::black_box(body.to_bytes());
    let mut response = status(StatusCode::CREATED);
    *response.body_mut() = Full::from(INSERTED);
    insert_headers(response.headers_mut());
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn insert_headers(headers: &mut HeaderMap) {
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(LOCATION, HeaderValue::from_static(ITEM));
    headers.insert("hub-durability", HeaderValue::from_static("fsync"));
    common_headers(headers);
}

fn item_headers(headers: &mut HeaderMap, length: HeaderValue) {
    headers.reserve(10);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(
        "creation-date",
        HeaderValue::from_static("2024-05-01T09:15:00.123Z"),
    );
    headers.insert("x-item-length", length);
    headers.append(LINK, HeaderValue::from_static(PREVIOUS));
    headers.append(LINK, HeaderValue::from_static(NEXT));
    common_headers(headers);
}

fn common_headers(headers: &mut HeaderMap) {
    headers.insert(SERVER, HeaderValue::from_static("Hub/0.1.0"));
    headers.insert(
        "hub-node",
        HeaderValue::from_static("hub-1.example.com:8080"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("origin, content-type, accept, authorization"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS, HEAD"),
    );
}
