//! `/internal/cluster`: the cluster as this node sees it.

use std::collections::{BTreeMap, BTreeSet};

use hub_ring::{Member, RingHistory, RingMap};
use serde_json::{Map, Value, json};

use super::health::Node;
use crate::cluster::{Cluster, MemberRecord};
use crate::env::Millis;
use crate::http::links::BaseUri;
use crate::peer::PeerSnapshot;

/// A time as JSON; `null` for one that nothing was ever said about.
fn iso(at: Millis) -> Option<String> {
    (at > Millis::MIN).then(|| at.iso())
}

fn ring(map: &RingMap) -> Value {
    let members: Vec<&str> = map.members().iter().map(Member::as_str).collect();
    json!({
        "version": map.version(),
        "from": map.from_millis().map(|from| Millis::new(from).iso()),
        "members": members,
    })
}

impl Node {
    /// The whole page.
    pub(super) fn cluster_page(&self, base: &BaseUri) -> Value {
        let now = self.clock.now();
        let history = self.view.history();
        let registered = self.membership.registered();
        let in_force = history.at(now.get());
        let announced = history
            .newest()
            .filter(|newest| in_force.is_none_or(|map| map.version() != newest.version()));
        let links = self.links();
        let queued: u64 = links.values().map(|link| link.queue_bytes).sum();
        let all: BTreeSet<&Member> = registered
            .keys()
            .chain(history.members())
            .chain([self.view.own()])
            .collect();
        let members: Vec<Value> = all
            .into_iter()
            .map(|member| {
                let link = links.get(member.as_str());
                self.member(member, registered.get(member), link, &history)
            })
            .collect();
        let mut body = json!({
            "spokeCluster": self.nodes().iter().map(|node| json!({"server": node})).collect::<Vec<_>>(),
            "decommissioned": decommissioned(&history, &registered),
            "node": self.facts.node,
            "member": self.view.own().as_str(),
            "state": self.life.phase().name(),
            "members": members,
            "ring": in_force.map(ring),
            "announced": announced.map(ring),
            "horizon": iso(self.view.horizon()),
            "withinRing": self.is_within_ring(),
            "undecided": self.undecided(now),
            "queueBytes": queued,
            "_links": {
                "self": {"href": base.join("internal/cluster")},
                "rings": {"href": base.join("internal/rings")},
                "health": {"href": base.join("internal/health")},
                "recover": {"href": base.join("internal/cluster/recover")},
            },
        });
        if let (Some(cluster), Some(fields)) = (self.membership.cluster(), body.as_object_mut()) {
            fields.extend(self.standing(cluster));
        }
        body
    }

    fn links(&self) -> BTreeMap<String, PeerSnapshot> {
        let peers = self.membership.peers();
        let links = peers.map(|peers| peers.snapshot()).unwrap_or_default();
        let named = |link: PeerSnapshot| (link.member.clone(), link);
        links.into_iter().map(named).collect()
    }

    /// What this node says of its own part in the cluster.
    fn standing(&self, cluster: &Cluster) -> Map<String, Value> {
        let status = cluster.status();
        let age = self.clock.boot().saturating_sub(status.link.since);
        let lasts = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let fields = [
            (
                "coordination",
                json!({
                    "connected": status.link.connected,
                    "since": self.clock.now().minus(lasts).iso(),
                    "why": status.link.why,
                    "superseded": status.link.superseded.map(|later| later.0),
                }),
            ),
            (
                "clock",
                json!({
                    "comparedWith": status.clock.compared_with,
                    "behindMillis": status.clock.behind_millis,
                    "withinBounds": status.clock.within_bounds,
                    "wallOffsetMillis": self.clock.read().offset_millis,
                }),
            ),
            ("incarnation", json!(cluster.incarnation().0)),
            // Only the keeper says something; on the others it is null.
            ("keeper", json!(status.keeper)),
            ("trouble", json!(status.trouble)),
        ];
        let named = |(name, value): (&str, Value)| (name.to_owned(), value);
        fields.map(named).into_iter().collect()
    }

    fn member(
        &self,
        member: &Member,
        record: Option<&MemberRecord>,
        link: Option<&PeerSnapshot>,
        history: &RingHistory,
    ) -> Value {
        let now = self.clock.now();
        let is_own = member == self.view.own();
        let newest = history.newest();
        let in_force = history.at(now.get());
        let absent = history.absent().get(member).map(|since| {
            let since = Millis::new(*since);
            let left = self
                .facts
                .grace_seconds
                .saturating_sub(now.since(since).as_secs());
            json!({"since": since.iso(), "graceLeftSeconds": left})
        });
        let state = if is_own {
            Some(self.life.phase().name().to_owned())
        } else {
            record
                .map(|record| record.state.clone())
                .filter(|state| !state.is_empty())
        };
        let link_state = if is_own {
            json!("self")
        } else {
            json!(link.map(|link| link.state))
        };
        let incarnation = record
            .map(|record| record.incarnation)
            .or(link.and_then(|link| link.incarnation));
        json!({
            "member": member.as_str(),
            "self": is_own,
            "registered": record.is_some(),
            "state": state,
            "inRing": in_force.is_some_and(|map| map.contains(member)),
            "inNewestRing": newest.is_some_and(|map| map.contains(member)),
            "decommissioned": history.decommissions().contains_key(member),
            "absent": absent,
            "link": link_state,
            "linkForMillis": link.map(|link| link.for_millis),
            "incarnation": incarnation.map(|run| run.0),
            "version": record.map(|record| record.version.as_str()),
            "public": record.map(|record| record.public.as_str()),
            "publicUrl": record.and_then(|record| record.public_url.as_deref()),
            "started": record.map(|record| Millis::new(record.started).iso()),
            "address": link.and_then(|link| link.address),
            "roundTripMillis": link.and_then(|link| link.round_trip_millis),
            "clockOffsetMillis": link.and_then(|link| link.clock_offset_millis),
            "ringVersion": link.map(|link| link.ring_version),
            "queueBytes": link.map(|link| link.queue_bytes),
            "lastError": link.and_then(|link| link.last_error.as_deref()),
        })
    }

    /// The items of this node that are not decided; `null` while its store is not open.
    fn undecided(&self, now: Millis) -> Value {
        let Some(replica) = self.local.get() else {
            return Value::Null;
        };
        let (count, lowest) = replica.undecided();
        json!({
            "count": count,
            "oldest": lowest.map(|key| key.millis.iso()),
            "oldestSeconds": lowest.map(|key| now.since(key.millis).as_secs()),
        })
    }
}

/// Those that asked to leave: who still serves what it holds, and who is gone.
fn decommissioned(history: &RingHistory, registered: &BTreeMap<Member, MemberRecord>) -> Value {
    let (there, gone): (Vec<&Member>, Vec<&Member>) = history
        .decommissions()
        .keys()
        .partition(|member| registered.contains_key(*member));
    let names = |members: &[&Member]| {
        let names = members.iter().map(|member| member.as_str().to_owned());
        names.collect::<Vec<_>>()
    };
    json!({"withinSpokeTTL": names(&there), "doNotStart": names(&gone)})
}
