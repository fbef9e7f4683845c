//! `/internal/rings`: the rings as this node knows them.

use hub_ring::Member;
use serde_json::{Map, Value, json};

use crate::cluster::RingView;
use crate::env::Millis;

/// The whole history, oldest ring first. A ring without `from` is announced and not in force yet.
pub(super) fn history(view: &RingView, now: Millis, grace_seconds: u64, node: &str) -> Value {
    let history = view.history();
    let iso = |millis: i64| Millis::new(millis).iso();
    let rings: Vec<Value> = history
        .maps()
        .iter()
        .map(|map| {
            let members: Vec<&str> = map.members().iter().map(Member::as_str).collect();
            json!({
                "version": map.version(),
                "from": map.from_millis().map(iso),
                "until": history.until_millis(map.version()).map(iso),
                "members": members,
            })
        })
        .collect();
    let absent: Map<String, Value> = history
        .absent()
        .iter()
        .map(|(member, since)| {
            let away = now.since(Millis::new(*since)).as_secs();
            let left = grace_seconds.saturating_sub(away);
            let entry = json!({"since": iso(*since), "graceLeftSeconds": left});
            (member.as_str().to_owned(), entry)
        })
        .collect();
    json!({"rings": rings, "absent": absent, "horizon": view.horizon().iso(), "node": node})
}

/// The replica set of a channel now, the coordinator first; `None` while no ring is known.
pub(super) fn of_channel(view: &RingView, channel: &str, now: Millis, node: &str) -> Option<Value> {
    let tables = view.tables();
    let ring = tables.at(now.get())?;
    let replicas = view.replica_set(&channel.to_ascii_lowercase(), now);
    let replicas: Vec<&str> = replicas.iter().map(Member::as_str).collect();
    Some(json!({
        "channel": channel,
        "at": now.iso(),
        "version": ring.version(),
        "replicas": replicas,
        "node": node,
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use hub_ring::{Placement, RingHistory, RingMap};

    use super::*;

    const NOW: i64 = 1_500_000_000_000;

    fn member(name: &str) -> Member {
        Member::new(name).unwrap()
    }

    fn view() -> Arc<RingView> {
        let placement = Placement::default();
        let mut history = RingHistory::new();
        let one = RingMap::in_force(1, NOW, [member("a"), member("b")], placement).unwrap();
        history.announce(one).unwrap();
        let all = [member("a"), member("b"), member("c")];
        history
            .announce(RingMap::announced(2, all, placement).unwrap())
            .unwrap();
        history.set_absent(BTreeMap::from([(member("b"), NOW + 1_000)]));
        let view = RingView::new(member("a"));
        view.adopt(Arc::new(history));
        view
    }

    #[test]
    fn a_history_with_an_announcement_and_somebody_away() {
        let said = history(&view(), Millis::new(NOW + 61_000), 600, "a:8080");
        assert_eq!(
            said["rings"],
            json!([
                {"version": 1, "from": "2017-07-14T02:40:00.000Z", "until": null, "members": ["a", "b"]},
                {"version": 2, "from": null, "until": null, "members": ["a", "b", "c"]},
            ])
        );
        assert_eq!(
            said["absent"],
            json!({"b": {"since": "2017-07-14T02:40:01.000Z", "graceLeftSeconds": 540}})
        );
        assert_eq!(said["node"], "a:8080");
    }

    #[test]
    fn the_replicas_of_a_channel_however_it_is_spelt() {
        let view = view();
        let said = of_channel(&view, "Orders", Millis::new(NOW + 1), "a:8080").unwrap();
        assert_eq!(said["version"], 1);
        assert_eq!(said["replicas"].as_array().unwrap().len(), 2);
        let other = of_channel(&view, "orders", Millis::new(NOW + 1), "a:8080").unwrap();
        assert_eq!(said["replicas"], other["replicas"]);
        assert_eq!(
            of_channel(&view, "orders", Millis::new(NOW - 1), "a:8080"),
            None
        );
    }
}
