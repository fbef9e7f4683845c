//! Requests to a hub, and what may come of them.
//!
//! Nothing stands between this client and the hub: no proxy of the environment, no redirect that
//! is followed unasked, no coding that is undone on the way. Every wait has a limit. Nothing is
//! retried here; [`CliError::may_pass`] says what may be.

use std::error::Error as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method};
use reqwest::{Request, Response, Url};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::address::below;
use super::error::CliError;
use super::refusal::Refusal;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the hub may be silent where it is its turn to speak.
pub const SILENCE: Duration = Duration::from_secs(30);
/// How much of an error's body is read.
const REFUSAL_BYTES: usize = 64 * 1024;
/// How many redirects in a row are believed.
const REDIRECTS: usize = 10;

/// A hub, seen from outside.
#[derive(Debug)]
pub struct Client {
    base: Url,
    plain: reqwest::Client,
    // Made when first needed: it reads the machine's certificates, which a small image lacks and
    // plain HTTP does without.
    secure: OnceCell<reqwest::Client>,
}

impl Client {
    /// A client of the hub at `base`, which ends with `/`.
    ///
    /// # Errors
    /// [`CliError::Client`] if the machine cannot do HTTP at all.
    pub fn new(base: &Url) -> Result<Self, CliError> {
        Ok(Self {
            base: base.clone(),
            plain: built(reqwest::Client::builder().tls_certs_only([]))?,
            secure: OnceCell::new(),
        })
    }

    /// The address of the hub.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The URL of a path on the hub, each segment escaped where it must be.
    pub fn url(&self, segments: &[&str]) -> Url {
        below(&self.base, segments)
    }

    /// Sends a request and takes whatever answer comes.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] if none comes.
    pub async fn send(&self, request: Request) -> Result<Response, CliError> {
        let url = request.url().clone();
        match timeout(SILENCE, self.send_unhurried(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(silent(&url)),
        }
    }

    /// As [`Self::send`], for a body that may take any time: it is for the caller to stop waiting.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] if no answer comes.
    pub async fn send_unhurried(&self, request: Request) -> Result<Response, CliError> {
        let url = request.url().clone();
        let client = self.client(&url).await?;
        client
            .execute(request)
            .await
            .map_err(|error| unreachable(&url, &error))
    }

    /// Sends a request and takes only an answer of success.
    ///
    /// # Errors
    /// [`CliError::Refused`] for any other answer, [`CliError::Unreachable`] for none.
    pub async fn ask(&self, request: Request) -> Result<Response, CliError> {
        let method = request.method().clone();
        let response = self.send(request).await?;
        accepted(method, response).await
    }

    /// GETs a URL and goes where its redirects point; `each` sees every answer on the way, the
    /// last one included.
    ///
    /// # Errors
    /// As [`Self::ask`], and whatever `each` fails with.
    pub async fn follow(
        &self,
        url: Url,
        mut each: impl FnMut(&Response) -> Result<(), CliError>,
    ) -> Result<Response, CliError> {
        let mut at = url;
        for _ in 0..=REDIRECTS {
            let response = self.send(Request::new(Method::GET, at.clone())).await?;
            each(&response)?;
            let target = response
                .status()
                .is_redirection()
                .then(|| response.headers().get(LOCATION))
                .flatten();
            let Some(target) = target else {
                return accepted(Method::GET, response).await;
            };
            let target = String::from_utf8_lossy(target.as_bytes());
            at = at.join(&target).map_err(|error| CliError::NotAHub {
                url: at.to_string(),
                reason: format!("it redirects to {target:?}, which is no address ({error})"),
            })?;
        }
        Err(CliError::NotAHub {
            url: at.to_string(),
            reason: format!("more than {REDIRECTS} redirects in a row"),
        })
    }

    /// GETs JSON.
    ///
    /// # Errors
    /// As [`Self::ask`]; [`CliError::NotAHub`] if the answer is of another shape.
    pub async fn get_json<T: DeserializeOwned>(&self, url: Url) -> Result<T, CliError> {
        let mut request = Request::new(Method::GET, url);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        read_json(self.ask(request).await?).await
    }

    async fn client(&self, url: &Url) -> Result<&reqwest::Client, CliError> {
        if url.scheme() != "https" {
            return Ok(&self.plain);
        }
        self.secure
            .get_or_try_init(|| async { built(reqwest::Client::builder()) })
            .await
    }
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, CliError> {
    builder
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("hub-cli/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .build()
        .map_err(|error| CliError::Client {
            reason: innermost(&error),
        })
}

/// A text as the value of a header.
///
/// # Errors
/// [`CliError::NotAHeader`] if it cannot be one.
pub fn header_value(header: &'static str, value: &str) -> Result<HeaderValue, CliError> {
    HeaderValue::from_str(value)
        .ok()
        .filter(|value| value.to_str().is_ok())
        .ok_or_else(|| CliError::NotAHeader {
            header,
            value: value.to_owned(),
        })
}

/// The answer if it is one of success.
///
/// # Errors
/// [`CliError::Refused`] if it is not.
pub async fn accepted(method: Method, response: Response) -> Result<Response, CliError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let url = response.url().to_string();
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let body = read_start(response).await;
    Err(CliError::Refused(Box::new(Refusal::new(
        method,
        url,
        status,
        retry_after,
        &body,
    ))))
}

/// The next bytes of a body; `None` at its end.
///
/// # Errors
/// [`CliError::Unreachable`] if it breaks off.
pub async fn next_chunk(response: &mut Response) -> Result<Option<Bytes>, CliError> {
    let chunk = timeout(SILENCE, response.chunk()).await;
    match chunk {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(unreachable(response.url(), &error)),
        Err(_) => Err(silent(response.url())),
    }
}

/// The whole of a body.
///
/// # Errors
/// [`CliError::Unreachable`] if it breaks off.
pub async fn read_body(mut response: Response) -> Result<Bytes, CliError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = next_chunk(&mut response).await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// A body of JSON.
///
/// # Errors
/// As [`read_body`]; [`CliError::NotAHub`] if it is of another shape.
pub async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, CliError> {
    let url = response.url().to_string();
    let body = read_body(response).await?;
    serde_json::from_slice(&body).map_err(|error| CliError::NotAHub {
        url,
        reason: error.to_string(),
    })
}

/// The first bytes of a body, as many as there are before it ends or breaks off.
async fn read_start(mut response: Response) -> Bytes {
    let mut body = BytesMut::new();
    while body.len() < REFUSAL_BYTES {
        match next_chunk(&mut response).await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(REFUSAL_BYTES);
    body.freeze()
}

/// The hub did not answer in time.
pub fn silent(url: &Url) -> CliError {
    CliError::Unreachable {
        url: url.to_string(),
        reason: format!("no answer within {} s", SILENCE.as_secs()),
    }
}

fn unreachable(url: &Url, error: &reqwest::Error) -> CliError {
    let reason = if error.is_timeout() && error.is_connect() {
        format!("no connection within {} s", CONNECT.as_secs())
    } else {
        innermost(error)
    };
    CliError::Unreachable {
        url: url.to_string(),
        reason,
    }
}

/// What is at the bottom of an error: the outer layers only name the library.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = None;
    while let Some(error) = cause {
        text = Some(error.to_string());
        cause = error.source();
    }
    text.unwrap_or_else(|| error.to_string())
}
