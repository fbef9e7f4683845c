//! `/internal/backup`: what a backup holds of what the members agree through.
//!
//! For administrators, on their listener: it is all there is, documents too, and reading it costs time.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use hub_ring::{Member, RingMap};
use serde_json::{Value, json};

use super::health::Node;
use crate::backup::{ChannelFolder, ChannelState, RingState, State};
use crate::cluster::{ChannelRecord, Coordination, CoordinationError, MemberRecord};
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
            "archiveId": self.archive_id(),
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

    /// What the archive says of itself; `None` while that is not known.
    fn archive_id(&self) -> Option<String> {
        self.working.get()?.archiver.as_ref()?.archive_id()
    }

    /// What every member held of earlier times is in the archive; `None` if one does not say. Members of the newest
    /// ring that are away hold items, too, and say nothing.
    async fn archived_to_of_all(&self) -> Option<Millis> {
        let archiver = self.working.get()?.archiver.as_ref()?;
        let own = (self.view.own().clone(), Some(archiver.state().archived_to));
        let registered = self.membership.registered();
        let others: Vec<(Member, MemberRecord)> = registered
            .iter()
            .filter(|(member, _)| **member != own.0)
            .map(|(member, record)| (member.clone(), record.clone()))
            .collect();
        let mut said: BTreeMap<Member, Option<Millis>> = stream::iter(others)
            .map(|(member, record)| async move {
                let health = self.others.health(&record, self.facts.tls).await;
                (member, archived_to(&health))
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        said.insert(own.0, own.1);
        let history = self.view.history();
        let members = history.newest().map_or(&[][..], RingMap::members);
        lowest(&said, members)
    }
}

/// The lowest of what members said; `None` if one of them, or one of the ring's, did not.
fn lowest(said: &BTreeMap<Member, Option<Millis>>, ring: &[Member]) -> Option<Millis> {
    let all_there = ring.iter().all(|member| said.contains_key(member));
    let said: Option<Vec<Millis>> = said.values().copied().collect();
    said.filter(|_| all_there)?.into_iter().min()
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

    #[test]
    fn a_member_of_the_ring_that_is_away_is_not_passed_over() {
        let member = |name: &str| Member::new(name).unwrap();
        let (a, b, c) = (member("a"), member("b"), member("c"));
        let at = |millis| Some(Millis::new(millis));
        let mut said = BTreeMap::from([(a.clone(), at(7)), (b.clone(), at(5))]);
        assert_eq!(lowest(&said, &[]), at(5));
        assert_eq!(lowest(&said, &[a.clone(), b.clone()]), at(5));
        assert_eq!(lowest(&said, &[a.clone(), b.clone(), c.clone()]), None);
        said.insert(c.clone(), None);
        assert_eq!(lowest(&said, &[a, b]), None);
        said.insert(c, at(4));
        assert_eq!(lowest(&said, &[]), at(4));
    }
}
