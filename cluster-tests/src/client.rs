//! A client of a hub, which tells what is known from what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::item::{ItemName, Key};

/// What came of an insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 201: it is stored under that key.
    Acked(Key),
    /// The hub says that it was not stored; with the status and the reason.
    Refused(u16, String),
    /// Nobody listened: it was not sent.
    Unreachable,
    /// Nothing is known.
    Unknown(String),
}

/// What came of reading an item by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A whole item.
    Item(ItemName),
    /// Something that is no whole item.
    Torn(String),
    /// 404.
    Missing,
    /// Another status, or no answer.
    Unavailable(String),
}

/// A client.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    bases: Arc<[String]>,
    /// The number of requests that were sent.
    sent: Arc<AtomicUsize>,
}

impl Client {
    /// A client of the hub at that URL.
    pub fn new(base: &str) -> Self {
        Self::of(vec![base.to_owned()])
    }

    /// A client of the hubs at those URLs, which asks them by turns.
    pub fn of(bases: Vec<String>) -> Self {
        Self::patient(bases, Duration::from_secs(30))
    }

    /// As [`Self::of`], for a client that waits no longer than that for an answer.
    pub fn patient(bases: Vec<String>, patience: Duration) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .timeout(patience)
            .build();
        Self {
            http: http.expect("a client without special wishes"),
            bases: bases.into(),
            sent: Arc::default(),
        }
    }

    /// How it is asked: the request without a body.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let turn = self.sent.fetch_add(1, Ordering::Relaxed);
        let base = &self.bases[turn % self.bases.len()];
        self.http.request(method, format!("{base}{path}"))
    }

    /// Sends a request without a body; gives status and body.
    ///
    /// # Errors
    /// [`Failure`] if there is no answer.
    pub async fn send(&self, method: Method, path: &str) -> Outcome<(u16, Bytes)> {
        let answer = self.request(method, path).send().await;
        read(answer.map_err(|error| unanswered(path, &error))?).await
    }

    /// Makes a channel that keeps its items for good, or finds it made.
    ///
    /// # Errors
    /// [`Failure`] unless the answer is 201.
    pub async fn put_channel(&self, name: &str) -> Outcome<()> {
        let path = format!("/channel/{name}");
        let request = self.request(Method::PUT, &path);
        let request = request.header(CONTENT_TYPE, "application/json");
        let answer = request.body(r#"{"keepForever": true}"#).send().await;
        let (status, body) = read(answer.map_err(|error| unanswered(&path, &error))?).await?;
        if status == 201 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(Failure(format!("PUT {path}: {status} {body}")))
    }

    /// Inserts an item, under an idempotency key if one is given.
    pub async fn insert(&self, item: &ItemName, idempotency_key: Option<&str>) -> Answer {
        let payload = item.payload();
        let kind = item.content_type(&payload);
        self.insert_bytes(&item.channel, Some(&kind), idempotency_key, payload)
            .await
    }

    /// Inserts bytes.
    pub async fn insert_bytes(
        &self,
        channel: &str,
        content_type: Option<&str>,
        idempotency_key: Option<&str>,
        payload: Bytes,
    ) -> Answer {
        let mut request = self.request(Method::POST, &format!("/channel/{channel}"));
        if let Some(kind) = content_type {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = match request.body(payload).send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Answer::Unreachable,
            Err(error) => return Answer::Unknown(chain(&error)),
        };
        let status = answer.status().as_u16();
        if status == 201 {
            let location = answer.headers().get(LOCATION);
            let key = location.and_then(|url| Key::of_url(url.to_str().ok()?));
            // The Location is all that a client needs; the rest of the answer may be cut off.
            return key.map_or_else(
                || Answer::Unknown(format!("201 with Location {location:?}")),
                Answer::Acked,
            );
        }
        let text = answer.text().await.unwrap_or_default();
        let not_stored = match status {
            503 => !text.contains("outcome unknown"),
            400..=499 | 507 => true,
            _ => false,
        };
        if not_stored {
            Answer::Refused(status, text)
        } else {
            Answer::Unknown(format!("{status} {text}"))
        }
    }

    /// Reads an item by its key.
    pub async fn item(&self, channel: &str, key: &Key) -> Content {
        let path = format!("/channel/{channel}/{key}");
        let answer = match self.request(Method::GET, &path).send().await {
            Ok(answer) => answer,
            Err(error) => return Content::Unavailable(chain(&error)),
        };
        match answer.status().as_u16() {
            200 => {}
            404 => return Content::Missing,
            status => {
                let text = answer.text().await.unwrap_or_default();
                return Content::Unavailable(format!("{status} {text}"));
            }
        }
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = kind.to_owned();
        match answer.bytes().await {
            Ok(payload) => {
                ItemName::verify(&kind, &payload).map_or_else(Content::Torn, Content::Item)
            }
            Err(error) => Content::Unavailable(chain(&error)),
        }
    }

    /// The keys of a list, and whether the list says that a next one exists. 404 is an empty list
    /// where `missing_is_empty`: `latest/n` of a channel without items.
    ///
    /// # Errors
    /// [`Failure`] if the list does not come whole.
    pub async fn list(&self, path: &str, missing_is_empty: bool) -> Outcome<(Vec<Key>, bool)> {
        let (status, body) = self.send(Method::GET, path).await?;
        match status {
            200 => {}
            404 if missing_is_empty => return Ok((Vec::new(), false)),
            _ => {
                let body = String::from_utf8_lossy(&body).into_owned();
                return Err(Failure(format!("GET {path}: {status} {body}")));
            }
        }
        let broken = |what: &str| Failure(format!("GET {path}: {what}"));
        let list: Value =
            serde_json::from_slice(&body).map_err(|error| broken(&error.to_string()))?;
        let links = &list["_links"];
        let uris = links["uris"].as_array().ok_or_else(|| broken("no uris"))?;
        let keys = uris.iter().map(|uri| Key::of_url(uri.as_str()?));
        let keys: Option<Vec<Key>> = keys.collect();
        let keys = keys.ok_or_else(|| broken("a URI that is no item's"))?;
        Ok((keys, links.get("next").is_some()))
    }

    /// The key that `latest`, `earliest`, `next` or `previous` leads to; `None` if it answers 404.
    ///
    /// # Errors
    /// [`Failure`] at any other answer.
    pub async fn redirect(&self, path: &str) -> Outcome<Option<Key>> {
        let answer = self.request(Method::GET, path).send().await;
        let answer = answer.map_err(|error| unanswered(path, &error))?;
        let status = answer.status().as_u16();
        let location = answer.headers().get(LOCATION);
        let key = location.and_then(|url| Key::of_url(url.to_str().ok()?));
        match (status, key) {
            (303, Some(key)) => Ok(Some(key)),
            (404, _) => Ok(None),
            _ => Err(Failure(format!("GET {path}: {status}"))),
        }
    }

    /// Status and body of `/health`.
    ///
    /// # Errors
    /// [`Failure`] if it does not answer with JSON.
    pub async fn health(&self) -> Outcome<(u16, Value)> {
        let request = self.request(Method::GET, "/health");
        let answer = request.timeout(Duration::from_secs(5)).send().await;
        let (status, body) = read(answer.map_err(|error| unanswered("/health", &error))?).await?;
        let body = serde_json::from_slice(&body);
        let body = body.map_err(|error| Failure(format!("/health: {error}")))?;
        Ok((status, body))
    }
}

async fn read(answer: Response) -> Outcome<(u16, Bytes)> {
    let status = answer.status().as_u16();
    let path = answer.url().path().to_owned();
    let body = answer.bytes().await;
    let body = body.map_err(|error| unanswered(&path, &error))?;
    Ok((status, body))
}

fn unanswered(path: &str, error: &reqwest::Error) -> Failure {
    Failure(format!("{path}: {}", chain(error)))
}

/// An error with all of its causes.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
