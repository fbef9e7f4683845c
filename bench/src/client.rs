//! One connection to a server, with one request on it at a time.
//!
//! It is written by hand because a client that costs as much as the server would be what is
//! measured: a request is one write, and an answer, if it comes in one piece, one read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::BenchError;
use crate::wire::{ResponseReader, WireError};

/// What is read from a connection at a time.
const READ_BYTES: usize = 16 * 1024;

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Target {
    address: SocketAddr,
    host: Arc<str>,
}

/// Why a request has no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No connection came about.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The server closed the connection instead of answering.
    #[error("the connection was closed without an answer")]
    Closed,
    /// What came is no response.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// More came than was asked for.
    #[error("{bytes} bytes too many behind the response")]
    Surplus {
        /// How many bytes.
        bytes: usize,
    },
}

impl Target {
    /// The server at that address of this machine or another.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            host: address.to_string().into(),
        }
    }

    /// The server of a URL, whose path is not looked at.
    pub async fn resolve(url: &str) -> Result<Self, BenchError> {
        let error = || BenchError::Url {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| error())?;
        let authority = uri
            .authority()
            .filter(|_| uri.scheme() == Some(&Scheme::HTTP))
            .ok_or_else(error)?;
        let name = authority.host().trim_matches(['[', ']']);
        let addresses = tokio::net::lookup_host((name, authority.port_u16().unwrap_or(80))).await;
        let address = addresses
            .map_err(BenchError::io(format!("look up {name}")))?
            .next()
            .ok_or_else(error)?;
        Ok(Self {
            address,
            host: authority.as_str().into(),
        })
    }

    /// Writes a request with a body into `out`, in place of what was there.
    pub fn write_request(
        &self,
        method: &str,
        path: &str,
        body: Option<Body<'_>>,
        out: &mut Vec<u8>,
    ) {
        out.clear();
        for part in [method, " ", path, " HTTP/1.1\r\nHost: ", &self.host, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(Body { media, bytes }) = body {
            let length = bytes.len().to_string();
            for part in [
                "Content-Type: ",
                media,
                "\r\nContent-Length: ",
                &length,
                "\r\n\r\n",
            ] {
                out.extend_from_slice(part.as_bytes());
            }
            out.extend_from_slice(bytes);
        } else if method == "GET" {
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        }
    }
}

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// Its media type.
    pub media: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A connection. If the server closes it, as it may after an answer, the next request opens another.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    stream: Option<TcpStream>,
    reader: ResponseReader,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects. Of each answer's body the first `body_max` bytes are kept.
    pub async fn open(target: &Target, body_max: usize) -> Result<Self, ClientError> {
        Ok(Self {
            target: target.clone(),
            stream: Some(connect(target).await?),
            reader: ResponseReader::new(body_max),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// A connection that needs less memory and has more system calls for long answers.
    pub async fn open_small(target: &Target) -> Result<Self, ClientError> {
        let mut connection = Self::open(target, 256).await?;
        connection.buffer = vec![0; 1_024];
        Ok(connection)
    }

    /// The last answer.
    pub const fn answer(&self) -> &ResponseReader {
        &self.reader
    }

    /// Whether it is still open, as far as the last answer says.
    pub const fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Sends a request and gives back the answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<&ResponseReader, ClientError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.target).await?,
        };
        self.reader.start();
        stream
            .write_all(request)
            .await
            .map_err(ClientError::Broken)?;
        while !self.reader.is_done() {
            let count = match stream.read(&mut self.buffer).await {
                Ok(0) if self.reader.is_unbegun() => return Err(ClientError::Closed),
                Ok(0) => {
                    self.reader.finish()?;
                    break;
                }
                Ok(count) => count,
                Err(error) => return Err(ClientError::Broken(error)),
            };
            let arrived = self.buffer.get(..count).unwrap_or_default();
            let used = self.reader.read(arrived)?;
            if used < count {
                let bytes = count - used;
                return Err(ClientError::Surplus { bytes });
            }
        }
        // After an error the stream is gone, and with it what might still come.
        self.stream = self.reader.keep_alive().then_some(stream);
        Ok(&self.reader)
    }
}

async fn connect(target: &Target) -> Result<TcpStream, ClientError> {
    let stream = TcpStream::connect(target.address)
        .await
        .map_err(ClientError::Connect)?;
    stream.set_nodelay(true).map_err(ClientError::Connect)?;
    Ok(stream)
}

/// Sends one request that must be answered with `status`, on a connection that may be used before
/// and after.
pub async fn ask(
    connection: &mut Connection,
    request: &[u8],
    status: u16,
) -> Result<(), BenchError> {
    let line = || first_line(request);
    let answer = connection.exchange(request).await;
    let answer = answer.map_err(|source| BenchError::Request {
        request: line(),
        source,
    })?;
    if answer.status() == status {
        return Ok(());
    }
    Err(BenchError::Answer {
        request: line(),
        reason: describe(answer),
    })
}

/// `404 no such channel`.
pub fn describe(answer: &ResponseReader) -> String {
    let body = String::from_utf8_lossy(answer.body());
    let body: String = body.chars().take(200).collect();
    format!("{} {body}", answer.status()).trim_end().to_owned()
}

/// `GET /channel/c HTTP/1.1`.
pub fn first_line(request: &[u8]) -> String {
    let line = request.split(|&byte| byte == b'\r').next();
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each connection's requests with these texts, one read each, and then
    /// closes it.
    async fn scripted(answers: Vec<Vec<&'static str>>) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answers in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut request = [0; 1_024];
                    assert_ne!(stream.read(&mut request).await.unwrap(), 0);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Target::at(address)
    }

    #[tokio::test]
    async fn requests_are_written_whole() {
        let target = Target::resolve("http://127.0.0.1:8080/path").await.unwrap();
        let mut out = b"before".to_vec();
        target.write_request("GET", "/a", None, &mut out);
        assert_eq!(out, b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
        target.write_request("PUT", "/a", None, &mut out);
        assert!(out.ends_with(b":8080\r\nContent-Length: 0\r\n\r\n"));
        let body = Body {
            media: "text/plain",
            bytes: b"abc",
        };
        target.write_request("POST", "/a", Some(body), &mut out);
        assert!(out.ends_with(b"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"));
        assert_eq!(first_line(&out), "POST /a HTTP/1.1");
        for url in ["https://h", "localhost:80", "/a", "http://", ""] {
            assert!(Target::resolve(url).await.is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_closed_connection_is_opened_again() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let last = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbye";
        let target = scripted(vec![vec![ok, last], vec![ok]]).await;
        let mut connection = Connection::open(&target, 10).await.unwrap();
        for body in [&b"ok"[..], b"bye", b"ok"] {
            assert_eq!(connection.exchange(b"GET").await.unwrap().body(), body);
        }
        let error = connection.exchange(b"GET").await.unwrap_err();
        assert!(
            matches!(error, ClientError::Closed | ClientError::Broken(_)),
            "{error}"
        );
    }

    #[tokio::test]
    async fn an_answer_must_be_whole_and_alone() {
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut";
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nlong";
        let target = scripted(vec![vec![cut], vec![long]]).await;
        let mut connection = Connection::open(&target, 10).await.unwrap();
        let error = connection.exchange(b"GET").await.unwrap_err();
        assert!(
            matches!(error, ClientError::Wire(WireError::Truncated)),
            "{error}"
        );
        let error = connection.exchange(b"GET").await.unwrap_err();
        assert!(
            matches!(error, ClientError::Surplus { bytes: 3 }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn another_status_is_an_error_that_says_what_came() {
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno such";
        let target = scripted(vec![vec![answer]]).await;
        let mut connection = Connection::open_small(&target).await.unwrap();
        let error = ask(&mut connection, b"GET /a HTTP/1.1\r\n\r\n", 200)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "GET /a HTTP/1.1: 404 no such");
    }
}
