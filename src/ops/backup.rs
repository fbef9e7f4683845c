//! `/internal/backup`: what a backup holds of what the members agree through.
//!
//! For administrators, on their listener: it is all there is, documents too, and reading it costs time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use hub_ring::RingMap;
use serde_json::{Value, json};

use super::health::Node;
use crate::backup::{ChannelFolder, ChannelState, RingState, State};
use crate::cluster::{ChannelRecord, Coordination, CoordinationError};
use crate::env::Millis;
use crate::http::api::NodeCall;
use crate::http::params;
use crate::http::reply::{self, Reply};
use crate::spoke::ChannelId;

/// So many documents, or nodes, are asked for at a time.
const AT_ONCE: usize = 16;

impl Node {
    /// What the hub is, and how far its archive is; with what it agrees through, unless `state=false`.
    pub(super) async fn backup(&self, call: &NodeCall<'_>) -> Reply {
        if let Err(refusal) = self.admit(call) {
            return *refusal;
        }
        let Some(cluster) = self.membership.cluster() else {
            return self.not_ready();
        };
        // First: what is archived by then is in it.
        let now = self.clock.now();
        let archived_to = self.archived_to_of_all().await;
        let mut body = json!({
            "now": now.iso(),
            "hub": self.facts.version,
            "cluster": self.facts.cluster,
            "archive": self.facts.archive,
            "archivedTo": archived_to.map(Millis::iso),
        });
        let wanted = params::value(call.query, "state");
        if wanted.is_none_or(|wanted| !wanted.eq_ignore_ascii_case("false")) {
            let state = state(&**cluster.coordination()).await;
            let state = state.map_err(|error| error.to_string());
            let state = state
                .and_then(|state| serde_json::to_value(state).map_err(|error| error.to_string()));
            match (state, body.as_object_mut()) {
                (Ok(state), Some(body)) => drop(body.insert("state".to_owned(), state)),
                (Err(reason), _) => {
                    let text = "the channels could not be read";
                    return reply::unavailable(text, &reason, None, &[]);
                }
                (Ok(_), None) => {}
            }
        }
        reply::json(StatusCode::OK, &body)
    }

    /// What every member held of earlier times is in the archive; `None` if one does not say.
    async fn archived_to_of_all(&self) -> Option<Millis> {
        let archiver = self.working.get()?.archiver.as_ref()?;
        let own = archiver.state().archived_to;
        let others: Vec<Option<Millis>> =
            stream::iter(self.other_nodes())
                .map(|record| async move {
                    archived_to(&self.others.health(&record, self.facts.tls).await)
                })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
        others
            .into_iter()
            .try_fold(own, |lowest, other| Some(lowest.min(other?)))
    }
}

/// What a member's health says of its archiving.
fn archived_to(health: &Value) -> Option<Millis> {
    let text = health["checks"]["archive"]["archivedTo"].as_str()?;
    Millis::parse_iso(text).ok()
}

async fn state(coordination: &dyn Coordination) -> Result<State, CoordinationError> {
    let rings = coordination.rings().await?.history;
    let unreadable = |reason: String| CoordinationError::Unavailable { reason };
    let history = if rings.is_empty() {
        Vec::new()
    } else {
        rings
            .encode()
            .map_err(|error| unreadable(error.to_string()))?
    };
    let records = stream::iter(coordination.channels().await?);
    let channels = records.map(async |record: ChannelRecord| {
        let data = serde_json::from_slice(&record.data);
        let data = data.map_err(|error| unreadable(format!("{}: {error}", record.name)))?;
        let document = coordination.document(&record.name).await?;
        Ok::<_, CoordinationError>(ChannelState {
            name: record.name,
            id: ChannelFolder(ChannelId(record.id)),
            data,
            document,
        })
    });
    let mut channels: Vec<_> = channels.buffered(AT_ONCE).try_collect().await?;
    channels.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(State {
        channels,
        rings: RingState {
            newest: rings.newest().map_or(0, RingMap::version),
            history: STANDARD.encode(history),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_does_not_say_is_not_passed_over() {
        let said = |archive: Value| archived_to(&json!({"checks": {"archive": archive}}));
        let at = "2026-11-22T01:02:00.000Z";
        assert_eq!(said(json!({"archivedTo": at})), Millis::parse_iso(at).ok());
        assert_eq!(said(Value::Null), None);
        assert_eq!(archived_to(&json!({"healthy": false})), None);
    }
}
