//! Asking the hub that a channel is replicated from.

use std::time::Duration;

use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long its answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A client of other hubs.
#[derive(Debug, Default)]
pub struct Sources {
    // Made when first needed: it reads the machine's certificates, which most hubs never need.
    client: OnceCell<reqwest::Client>,
}

impl Sources {
    /// The `replicationSourceLatest` of a channel's status: the newest item of `source`, the URL of
    /// a channel, or where to ask for it and why it is not known.
    pub async fn latest(&self, source: &str) -> Value {
        let query = format!("{}/latest", source.trim_end_matches('/'));
        match self.newest(&query).await {
            Ok(Some(item)) => json!({"href": item}),
            Ok(None) => json!({"href": query, "message": "channel is empty"}),
            Err(why) => json!({"href": query, "message": why}),
        }
    }

    async fn newest(&self, query: &str) -> Result<Option<String>, String> {
        let unreachable = |error: reqwest::Error| {
            tracing::debug!(%error, "a replication source did not answer");
            "the replication source did not answer".to_owned()
        };
        let client = self.client.get_or_try_init(async || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .timeout(PATIENCE)
                .build()
        });
        let client = client.await.map_err(unreachable)?;
        let answer = client.head(query).send().await.map_err(unreachable)?;
        match answer.status().as_u16() {
            303 => {
                let location = answer.headers().get(http::header::LOCATION);
                let location = location.and_then(|value| value.to_str().ok());
                let item = location.and_then(|text| answer.url().join(text).ok());
                item.map(|url| Some(url.to_string()))
                    .ok_or_else(|| "the replication source answered without a location".to_owned())
            }
            404 => Ok(None),
            status => Err(format!("the replication source answered {status}")),
        }
    }
}
