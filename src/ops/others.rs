//! Asking other nodes over HTTP, at the addresses that clients use.

use std::time::Duration;

use http::StatusCode;
use http::header::HOST;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::MemberRecord;

/// How long a node may take to answer, however far it gets.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take to read all channels again.
const READING: Duration = Duration::from_mins(1);
/// The longest answer that is taken.
const ANSWER_MAX: usize = 256 * 1024;

/// How other nodes are asked over HTTP.
#[derive(Debug, Default)]
pub struct Others {
    // Made when first asked: most nodes never are.
    client: OnceCell<reqwest::Client>,
}

impl Others {
    /// What a node says of its health, or why it says nothing.
    pub(super) async fn health(&self, record: &MemberRecord, tls: bool) -> Value {
        let said = self.ask(record, tls, "/health", PATIENCE).await;
        let said = said.and_then(|(status, body)| {
            serde_json::from_slice(&body)
                .ok()
                .filter(Value::is_object)
                .ok_or_else(|| format!("it answered {status}, without saying how it is"))
        });
        said.unwrap_or_else(|reason| unreachable(&reason))
    }

    /// Has a node read all channels again; why not, if it has not.
    pub(super) async fn refresh(&self, record: &MemberRecord, tls: bool) -> Result<(), String> {
        let path = "/internal/channel/refresh?all=false";
        let (status, body) = self.ask(record, tls, path, READING).await?;
        if status == StatusCode::OK {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        Err(format!("it answered {status}: {said}"))
    }

    /// Asks a node for a path; gives the status and the body, or why there is none.
    async fn ask(
        &self,
        record: &MemberRecord,
        tls: bool,
        path: &str,
        patience: Duration,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let asked = tokio::time::timeout(patience, self.ask_for(record, tls, path)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())))
    }

    async fn ask_for(
        &self,
        record: &MemberRecord,
        tls: bool,
        path: &str,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let client = self.client.get_or_try_init(|| async { client(tls) });
        let client = client.await.map_err(|error| innermost(&error))?;
        let request = client
            .get(url(record, tls, path))
            .header(HOST, &record.public);
        let mut answer = request.send().await.map_err(|error| innermost(&error))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| innermost(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                return Err(format!("it answered with more than {ANSWER_MAX} bytes"));
            }
        }
        Ok((status, body))
    }
}

/// Where a node is asked for a path: the address that it registered, so that no name has to be looked
/// up; over TLS its name, which its certificate is for.
fn url(record: &MemberRecord, tls: bool, path: &str) -> String {
    let public = &record.public;
    if tls {
        return format!("https://{public}{path}");
    }
    let port = public.rsplit_once(':').map_or("80", |(_, port)| port);
    match record.ip {
        Some(std::net::IpAddr::V6(ip)) => format!("http://[{ip}]:{port}{path}"),
        Some(std::net::IpAddr::V4(ip)) => format!("http://{ip}:{port}{path}"),
        None => format!("http://{public}{path}"),
    }
}

fn client(tls: bool) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder();
    // Without TLS no certificates are read, which a small image lacks.
    let builder = if tls {
        builder
    } else {
        builder.tls_certs_only([])
    };
    builder
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(PATIENCE)
        .build()
}

fn unreachable(reason: &str) -> Value {
    json!({"healthy": false, "description": format!("this node could not be asked: {reason}")})
}

/// What is at the bottom of an error: the outer layers only name the library.
fn innermost(error: &reqwest::Error) -> String {
    let mut found: &dyn std::error::Error = error;
    while let Some(source) = found.source() {
        found = source;
    }
    found.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::cluster::Incarnation;

    fn record(public: &str, ip: Option<&str>) -> MemberRecord {
        MemberRecord {
            incarnation: Incarnation(1),
            ip: ip.map(|ip| ip.parse().unwrap()),
            peer_port: 1,
            public: public.to_owned(),
            public_url: None,
            version: String::new(),
            state: String::new(),
            started: 0,
            ring: 0,
        }
    }

    #[test]
    fn a_node_is_asked_where_it_says_it_is() {
        let with_ip = record("hub-1:8080", Some("10.0.0.1"));
        assert_eq!(
            url(&with_ip, false, "/health"),
            "http://10.0.0.1:8080/health"
        );
        assert_eq!(url(&with_ip, true, "/health"), "https://hub-1:8080/health");
        let six = record("hub-1:8080", Some("fd00::1"));
        assert_eq!(url(&six, false, "/health"), "http://[fd00::1]:8080/health");
        assert_eq!(
            url(&record("hub-1:80", None), false, "/health"),
            "http://hub-1:80/health"
        );
    }

    #[tokio::test]
    async fn whatever_comes_back_is_an_account_of_health() {
        let others = Others::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = record(&format!("no-such-name:{port}"), Some("127.0.0.1"));
        for (answer, healthy, says) in [
            (
                "200 OK\r\nContent-Length: 16\r\n\r\n{\"healthy\":true}",
                true,
                "",
            ),
            (
                "503 No\r\nContent-Length: 38\r\n\r\n{\"healthy\":false,\"description\":\"away\"}",
                false,
                "away",
            ),
            ("404 No\r\nContent-Length: 0\r\n\r\n", false, "404"),
        ] {
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let reply = format!(
                    "HTTP/1.1 {}",
                    answer.replacen("\r\n", "\r\nConnection: close\r\n", 1)
                );
                stream.write_all(reply.as_bytes()).await.unwrap();
                String::from_utf8(head[..length].to_vec()).unwrap()
            };
            let (found, head) = tokio::join!(others.health(&asked, false), serve);
            assert!(head.to_lowercase().contains("host: no-such-name"), "{head}");
            assert_eq!(found["healthy"], healthy, "{found}");
            let said = found["description"].as_str().unwrap_or_default();
            assert!(said.contains(says), "{said}");
        }
        drop(listener);
        let gone = others.health(&asked, false).await;
        assert_eq!(gone["healthy"], false);
    }
}
