//! A connection on which anything can be sent.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Answer, soon};

/// A connection on which bytes are sent as they are.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
    sent: String,
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
            sent: String::new(),
        }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// Sends bytes, if the hub still takes any.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let text = String::from_utf8_lossy(bytes.as_ref());
        self.sent = text.chars().take(200).collect();
        soon("bytes are taken", self.stream.write_all(bytes.as_ref())).await
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Takes more bytes in; whether there were any.
    async fn more(&mut self) -> std::io::Result<bool> {
        let reading = self.stream.read_buf(&mut self.read);
        Ok(soon("bytes come", reading).await? > 0)
    }

    /// At most that many bytes as they come; none at the end.
    pub async fn some(&mut self, most: usize) -> std::io::Result<Vec<u8>> {
        if self.read.is_empty() {
            self.more().await?;
        }
        let most = most.min(self.read.len());
        Ok(self.read.drain(..most).collect())
    }

    /// Whether anything has come, without waiting for it.
    pub fn has_any(&mut self) -> bool {
        self.stream.try_read_buf(&mut self.read).is_ok() || !self.read.is_empty()
    }

    /// Reads until the hub closes the connection; what came before that.
    pub async fn until_closed(&mut self) -> Vec<u8> {
        while let Ok(true) = self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// The head of the next answer; its body comes after it.
    pub async fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let more = self.more().await.unwrap();
            let sent = &self.sent;
            assert!(more, "closed without an answer to {sent}: {:?}", self.read);
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap();
        let status = first.split(' ').nth(1).unwrap();
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
        }
        Answer {
            status: status.parse().unwrap(),
            headers,
            body: Bytes::new(),
            about: format!("{:?}", self.sent),
        }
    }

    /// The next answer, whole.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let status = StatusCode::from_u16(answer.status).unwrap();
        if status.is_informational() || matches!(answer.status, 204 | 304) {
            return answer;
        }
        let body = if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks().await
        } else if let Some(length) = answer.header("content-length") {
            self.exactly(length.parse().unwrap()).await
        } else {
            self.until_closed().await
        };
        answer.body = body.into();
        answer
    }

    /// The next answer to HEAD: it has no body, whatever its length says.
    pub async fn answer_to_head(&mut self) -> Answer {
        self.head().await
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await.unwrap(), "cut off");
        }
        self.read.drain(..count).collect()
    }

    async fn line(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.read.windows(2).position(|w| w == b"\r\n") {
                break at;
            }
            assert!(self.more().await.unwrap(), "cut off");
        };
        let line = self.exactly(end + 2).await;
        String::from_utf8(line).unwrap().trim().to_owned()
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line().await, 16).unwrap();
            body.extend(self.exactly(size).await);
            assert_eq!(self.line().await, "");
            if size == 0 {
                return body;
            }
        }
    }
}
