//! A stand-in for a hub: it answers as a test tells it to, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::address::parse_base;
use super::args::Cli;
use super::exit::Exit;
use super::output::Output;
use super::{Command, dispatch, ended_with};

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `GET /channel`, for matching.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What to answer with.
pub type Answer = Response<Full<Bytes>>;

/// An answer of that status, with headers given as pairs.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

/// An answer of JSON.
pub fn json(status: u16, value: &serde_json::Value) -> Answer {
    let headers = [("content-type", "application/json")];
    answer(status, &headers, value.to_string())
}

type Asks = Arc<Mutex<Vec<Asked>>>;

/// The stand-in. It stops when dropped; after [`Stub::stop`], [`Stub::at`] starts one again at the
/// same address.
pub struct Stub {
    pub address: SocketAddr,
    asked: Asks,
    task: JoinHandle<()>,
}

impl Stub {
    pub async fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), script).await
    }

    pub async fn at(
        address: SocketAddr,
        script: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asks::default();
        let task = tokio::spawn(serve(listener, Arc::new(script), Arc::clone(&asked)));
        Self {
            address,
            asked,
            task,
        }
    }

    pub fn url(&self) -> Url {
        parse_base(&format!("http://{}", self.address)).unwrap()
    }

    /// What came so far, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Stops it, and returns when its port is free.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Runs a command line against it.
    pub async fn run(&self, line: &[&str]) -> Ran {
        run_at(self.url().as_str(), line, None).await
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<F>(listener: TcpListener, script: Arc<F>, asked: Asks)
where
    F: Fn(&Asked) -> Answer + Send + Sync + 'static,
{
    // Connections end with the task that owns this set, as those of a hub do that was stopped.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
            async move {
                let (head, body) = request.into_parts();
                let request = Asked {
                    method: head.method,
                    target: head.uri.to_string(),
                    headers: head.headers,
                    body: body.collect().await?.to_bytes(),
                };
                let response = script(&request);
                asked.lock().unwrap().push(request);
                Ok::<_, hyper::Error>(response)
            }
        });
        connections.spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let io = TokioIo::new(stream);
            let _ = builder.serve_connection(io, service).await;
        });
    }
}

/// What a command line did.
#[derive(Debug)]
pub struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

/// Runs a command line against the hub at `server`; `answers` is what a person types, if one is
/// there.
pub async fn run_at(server: &str, line: &[&str], answers: Option<&'static str>) -> Ran {
    let global = ["hub", "--server", server];
    let line = global.iter().chain(line);
    let cli = <Cli as clap::Parser>::try_parse_from(line).unwrap();
    let Command::Client(command) = cli.command else {
        unreachable!("{:?} is no client command", cli.command);
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let answers = answers.map(|text| Box::new(std::io::Cursor::new(text)) as Box<_>);
    let mut output = Output::new(&mut out, &mut err, answers);
    let ended = dispatch(command, &cli.hub, &mut output).await;
    let exit = ended_with(ended, &mut output);
    drop(output);
    Ran {
        exit,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}
