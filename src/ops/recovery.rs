//! `/internal/cluster/recover`: what an operator may do for a cluster that cannot help itself.
//!
//! Both the choices and the choice are for administrators, on their listener: looking at every
//! channel in every ring costs time that not everybody is given.

use std::collections::BTreeSet;

use http::StatusCode;
use hub_ring::Member;
use serde_json::{Value, json};

use super::health::Node;
use super::losses::{Held, Losses};
use crate::cluster::{Cluster, RecoverError};
use crate::env::Millis;
use crate::http::api::{NodeCall, Surface};
use crate::http::params;
use crate::http::reply::{self, Reply};
use crate::item::FieldError;

/// With so many members away or fewer, every way to leave some of them out is a choice.
const ALL_WAYS: usize = 3;

impl Node {
    /// Whether the caller is an administrator, and asked where administrators do.
    pub(super) fn admit(&self, call: &NodeCall<'_>) -> Result<(), Box<Reply>> {
        if call.origin.surface != Surface::Ops {
            let body = json!({
                "error": "administrators are not answered here",
                "reason": "this is the listener for everybody",
                "advice": "ask the address that ops.listen says (commands: --ops or HUB_OPS_URL)",
            });
            return Err(Box::new(reply::json(StatusCode::FORBIDDEN, &body)));
        }
        self.admin.admit(call.origin, call.headers)
    }

    /// The choices, or the one that was asked about, and what would be lost by each.
    pub(super) async fn recovery(&self, call: &NodeCall<'_>) -> Reply {
        if let Err(refusal) = self.admit(call) {
            return *refusal;
        }
        let Some(cluster) = self.membership.cluster() else {
            return not_yet();
        };
        let away = cluster.away();
        let asked = match named(call.query) {
            Ok(named) if named.is_empty() => ways(&away),
            Ok(named) => vec![named],
            Err(wrong) => return reply::bad_field(&wrong),
        };
        let mut choices = Vec::new();
        for gone in asked {
            choices.push(self.choice(cluster, gone).await);
        }
        let newest = self.view.history();
        let newest = newest.newest();
        let away: Vec<&str> = away.iter().map(Member::as_str).collect();
        let members = newest.map(|map| map.members().len());
        let body = json!({
            "node": self.facts.node,
            "member": self.view.own().as_str(),
            "ring": newest.map(hub_ring::RingMap::version),
            "members": members,
            "away": away,
            "choices": choices,
        });
        reply::json(StatusCode::OK, &body)
    }

    async fn choice(&self, cluster: &Cluster, gone: BTreeSet<Member>) -> Value {
        let planned = cluster.ring_without(&gone);
        let names: Vec<String> = gone
            .iter()
            .map(|member| member.as_str().to_owned())
            .collect();
        let members = planned.as_ref().ok().map(|map| {
            let members = map
                .members()
                .iter()
                .map(|member| member.as_str().to_owned());
            members.collect::<Vec<_>>()
        });
        json!({
            "without": names,
            "members": members,
            "refused": planned.err().map(|error| error.to_string()),
            "losses": self.losses(cluster, gone).await,
        })
    }

    /// What would be lost; `null` while the channels are not known.
    async fn losses(&self, cluster: &Cluster, gone: BTreeSet<Member>) -> Value {
        let Some(channels) = self.channels.get() else {
            return Value::Null;
        };
        let held = channels.list().into_iter().map(|channel| Held {
            name: channel.config.name.as_str().to_owned(),
            floor: channels.grace_floor(&channel).millis,
        });
        let held: Vec<Held> = held.collect();
        let (tables, now) = (self.view.tables(), self.clock.now());
        let formers = cluster.formers_away();
        // Every channel in every ring: too long for a thread that answers requests.
        let counting = tokio::task::spawn_blocking(move || {
            Losses::of(&tables, &held, &gone, &formers, now).to_json()
        });
        counting.await.unwrap_or(Value::Null)
    }

    /// Makes a choice.
    pub(super) async fn recover(&self, call: &NodeCall<'_>) -> Reply {
        if let Err(refusal) = self.admit(call) {
            return *refusal;
        }
        let Some(cluster) = self.membership.cluster() else {
            return not_yet();
        };
        let (gone, expected) = match (named(call.query), expected(call.query)) {
            (Ok(gone), Ok(expected)) => (gone, expected),
            (Err(wrong), _) | (_, Err(wrong)) => return reply::bad_field(&wrong),
        };
        tracing::warn!(peer = %call.origin.peer, without = ?gone, "an operator asks for a ring");
        let losses = self.losses(cluster, gone.clone()).await;
        match cluster.recover(&gone, expected).await {
            Ok(map) => {
                let members: Vec<&str> = map.members().iter().map(Member::as_str).collect();
                let body = json!({
                    "version": map.version(),
                    "from": map.from_millis().map(|from| Millis::new(from).iso()),
                    "members": members,
                    "losses": losses,
                });
                reply::json(StatusCode::OK, &body)
            }
            Err(error @ RecoverError::Coordination(_)) => {
                let what = "the ring may have been announced: ask again, and see the ring";
                reply::unavailable(what, &error.to_string(), None, &[])
            }
            Err(error) => {
                let body = json!({
                    "error": "the ring stays as it is",
                    "reason": error.to_string(),
                });
                reply::json(StatusCode::CONFLICT, &body)
            }
        }
    }
}

fn not_yet() -> Reply {
    reply::unavailable("this node is not ready", "it has not joined yet", None, &[])
}

/// The members that `without` names, with commas between them.
fn named(query: Option<&str>) -> Result<BTreeSet<Member>, FieldError> {
    let text = params::value(query, "without").unwrap_or_default();
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let members = names.map(|name| {
        Member::new(name).map_err(|error| FieldError {
            field: "without",
            value: name.to_owned(),
            rule: format!("the names of members with commas between them ({error})"),
        })
    });
    members.collect()
}

/// The ring that the operator has looked at.
fn expected(query: Option<&str>) -> Result<Option<u64>, FieldError> {
    let Some(text) = params::value(query, "ring") else {
        return Ok(None);
    };
    let wrong = |_| FieldError {
        field: "ring",
        value: text.clone().into_owned(),
        rule: "the version of the newest ring".to_owned(),
    };
    text.parse().map(Some).map_err(wrong)
}

/// The ways to leave out some of those that are away, the most first.
fn ways(away: &BTreeSet<Member>) -> Vec<BTreeSet<Member>> {
    let all: Vec<&Member> = away.iter().collect();
    let mut ways: Vec<BTreeSet<Member>> = if all.len() > ALL_WAYS {
        let singles = all.iter().map(|&member| BTreeSet::from([member.clone()]));
        singles.chain([away.clone()]).collect()
    } else {
        let chosen = |bits: usize| {
            let members = all.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            members.map(|(_, &member)| member.clone()).collect()
        };
        (1..1 << all.len()).map(chosen).collect()
    };
    ways.sort_by_key(|way: &BTreeSet<Member>| std::cmp::Reverse(way.len()));
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &str) -> BTreeSet<Member> {
        names
            .split_whitespace()
            .map(|name| Member::new(name).unwrap())
            .collect()
    }

    #[test]
    fn every_way_to_leave_out_a_few_and_not_of_many() {
        assert!(ways(&members("")).is_empty());
        assert_eq!(ways(&members("a")), [members("a")]);
        assert_eq!(
            ways(&members("a b")),
            [members("a b"), members("a"), members("b")]
        );
        assert_eq!(ways(&members("a b c")).len(), 7);
        let many = ways(&members("a b c d"));
        assert_eq!((many.len(), &many[0]), (5, &members("a b c d")));
    }

    #[test]
    fn what_a_query_says() {
        assert_eq!(named(Some("x=1&without=b,%20a,")).unwrap(), members("a b"));
        assert_eq!(named(None).unwrap(), members(""));
        assert_eq!(named(Some("without=a/b")).unwrap_err().field, "without");
        assert_eq!(expected(Some("ring=7")), Ok(Some(7)));
        assert_eq!(expected(Some("")), Ok(None));
        assert_eq!(expected(Some("ring=x")).unwrap_err().field, "ring");
    }
}
