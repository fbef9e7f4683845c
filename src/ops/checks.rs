//! The checks of `/health`: what could keep the node from its work, whether it does, and why.
//!
//! Not every check that fails makes a node unready: one that has lost ZooKeeper serves for as long
//! as every member of the ring vouches for it, and one with a damaged range serves the rest.

use hub_ring::{MAX_MAPS, Member};
use serde_json::{Value, json};

use super::health::Node;
use crate::cluster::{ClusterStatus, Link};
use crate::env::Millis;
use crate::spoke::Replica;

/// An undecided item older than this is not just one that is being written.
const UNDECIDED_OLD_SECONDS: u64 = 30;
/// So many ring maps are told of, well before there is no room for another.
const MANY_MAPS: usize = 800;
/// So many names or times are listed in a sentence.
const SHOWN: usize = 5;

fn check(ok: bool, why: impl Into<String>) -> Value {
    json!({"ok": ok, "why": why.into()})
}

/// The beginning of a list, in words.
fn listed<T>(all: &[T], each: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = all.iter().take(SHOWN).map(each).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Node {
    /// All checks, by name.
    pub(super) fn checks(&self) -> Value {
        let replica = self.local.get();
        let replica = replica.as_deref();
        let (open, full, damaged) = store(replica);
        let status = self.membership.cluster().map(|cluster| cluster.status());
        json!({
            "store": open,
            "disk": full,
            "damage": damaged,
            "ring": self.ring(status.as_ref()),
            "history": history(self.view.history().maps().len()),
            "clock": self.clock_check(status.as_ref()),
            "coordination": self.coordination(status.as_ref()),
            "peers": self.peers(),
            "archive": self.archive(),
            "undecided": replica.map(|replica| undecided(replica, self.clock.now())),
            "promises": replica.map(|replica| self.promises(replica)),
        })
    }

    /// Whether what is over is in the archive; null without one.
    fn archive(&self) -> Option<Value> {
        let archiver = self.working.get()?.archiver.as_ref()?;
        let state = archiver.state();
        let mut check = match state.obstacle {
            None => check(true, "what is over is archived"),
            Some(obstacle) => check(false, obstacle),
        };
        if let Some(fields) = check.as_object_mut() {
            let to = json!(state.archived_to.iso());
            fields.insert("archivedTo".to_owned(), to);
            fields.insert("channelsBehind".to_owned(), json!(state.lagging));
            fields.insert("rolledUpTo".to_owned(), json!(state.rolled_to.iso()));
            if let Some(obstacle) = state.rollup_obstacle {
                fields.insert("rollUp".to_owned(), obstacle.into());
            }
            if let Some(advice) = state.advice {
                fields.insert("advice".to_owned(), advice.into());
            }
        }
        Some(check)
    }

    /// Why the node is not ready though it has come that far; `None` if nothing stands in the way.
    pub(super) fn obstacle(&self) -> Option<String> {
        let status = self.membership.cluster().map(|cluster| cluster.status());
        if let Some(later) = status.as_ref().and_then(|status| status.link.superseded) {
            return Some(format!(
                "a later run of this member ({}) has registered: this one stops",
                later.0
            ));
        }
        // It is opened again as soon as that is seen; until then nothing can be written.
        if let Some(reason) = self.local.get().and_then(|replica| replica.failure()) {
            return Some(format!("the store failed: {reason}"));
        }
        if self.is_within_ring() {
            return None;
        }
        let why = status.as_ref().map(|status| {
            let reasons = [
                (!status.link.connected).then(|| self.link_in_words(&status.link)),
                (!status.clock.within_bounds).then(|| "its clock is out of bounds".to_owned()),
                status.trouble.clone(),
            ];
            reasons.into_iter().flatten().collect::<Vec<_>>().join("; ")
        });
        let text = "the ring has not been confirmed in time";
        Some(match why.filter(|why| !why.is_empty()) {
            Some(why) => format!("{text}: {why}"),
            None => text.to_owned(),
        })
    }

    fn ring(&self, status: Option<&ClusterStatus>) -> Value {
        let horizon = self.view.horizon();
        if let Some(trouble) = status.and_then(|status| status.trouble.as_deref()) {
            return check(false, trouble);
        }
        if horizon == Millis::MIN {
            return check(false, "no ring has been confirmed yet");
        }
        let why = format!("the ring is known up to {horizon}");
        check(self.is_within_ring(), why)
    }

    fn clock_check(&self, status: Option<&ClusterStatus>) -> Value {
        let offset = self.clock.read().offset_millis;
        let wall = format!("the wall clock is {offset} ms from the hub's clock");
        match status
            .map(|status| status.clock)
            .filter(|clock| clock.compared_with > 0)
        {
            None => check(offset.abs() < 1000, wall),
            Some(clock) => check(
                offset.abs() < 1000 && clock.within_bounds,
                format!(
                    "it is {} ms behind the middle one of {} other clocks, {} bounds; {wall}",
                    clock.behind_millis,
                    clock.compared_with,
                    if clock.within_bounds {
                        "within"
                    } else {
                        "out of"
                    },
                ),
            ),
        }
    }

    fn coordination(&self, status: Option<&ClusterStatus>) -> Value {
        match status {
            None => check(false, "not started yet"),
            Some(status) => check(status.link.connected, self.link_in_words(&status.link)),
        }
    }

    fn link_in_words(&self, link: &Link) -> String {
        let age = self.clock.boot().saturating_sub(link.since).as_secs();
        match (link.connected, link.why.as_str()) {
            (true, _) => format!("connected for {age} s"),
            (false, "") => format!("not connected for {age} s"),
            (false, why) => format!("not connected for {age} s: {why}"),
        }
    }

    /// How many of the ring in force answer.
    fn peers(&self) -> Value {
        let history = self.view.history();
        let Some(map) = history.at(self.clock.now().get()) else {
            return check(false, "no ring is in force");
        };
        let others = map
            .members()
            .iter()
            .filter(|member| *member != self.view.own());
        let (answering, silent): (Vec<&Member>, Vec<&Member>) =
            others.partition(|member| self.is_connected(member));
        let (some, all) = (answering.len(), answering.len() + silent.len());
        let mut why = format!("{some} of {all} other members of the ring answer");
        if !silent.is_empty() {
            why = format!(
                "{why}; not: {}",
                listed(&silent, |member| member.as_str().to_owned())
            );
        }
        check(silent.is_empty(), why)
    }

    /// Whether the replica has forgotten promises that nobody could tell it.
    fn promises(&self, replica: &Replica) -> Value {
        let forgotten = replica.forgotten();
        if forgotten.is_empty() {
            return check(true, "nothing that it promised is missing");
        }
        let times = listed(&forgotten, |(from, until)| match *until {
            Millis::MAX => format!("{from} and later"),
            until => format!("{from} to {until}"),
        });
        let why = if self.life.is_ready() {
            format!("who could tell what it promised is gone, so it does not vote about: {times}")
        } else {
            format!("what it promised is still asked for: {times}")
        };
        check(false, why)
    }
}

fn store(replica: Option<&Replica>) -> (Value, Option<Value>, Option<Value>) {
    let Some(status) = replica.map(Replica::status) else {
        return (check(false, "the store is not open"), None, None);
    };
    let open = status.failed.clone().unwrap_or_else(|| "open".to_owned());
    (
        check(status.failed.is_none(), open),
        Some(check(
            !status.full,
            format!("{} bytes are free on the disk", status.free),
        )),
        Some(check(
            status.damaged == 0,
            format!("{} damaged ranges", status.damaged),
        )),
    )
}

/// Whether there is room for more rings.
fn history(maps: usize) -> Value {
    let why = format!("{maps} ring maps are remembered, of {MAX_MAPS} at the most");
    if maps < MANY_MAPS {
        return check(true, why);
    }
    let advice = "a map goes when no channel keeps items of its time any more: \
                  see why rings change so often, and whether all channels have a retention";
    check(
        false,
        format!("{why}, and no ring is made after that; {advice}"),
    )
}

fn undecided(replica: &Replica, now: Millis) -> Value {
    let (count, lowest) = replica.undecided();
    let Some(lowest) = lowest else {
        return check(true, "none");
    };
    let age = now.since(lowest.millis).as_secs();
    let why = format!("{count}, the oldest {age} s old ({})", lowest.millis);
    check(age < UNDECIDED_OLD_SECONDS, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_told_of_before_it_is_full() {
        assert_eq!(history(MANY_MAPS - 1)["ok"], true);
        assert_eq!(history(MANY_MAPS)["ok"], false);
        let why = history(900)["why"].as_str().unwrap().to_owned();
        assert!(
            why.starts_with("900 ring maps are remembered, of 1024"),
            "{why}"
        );
    }
}
