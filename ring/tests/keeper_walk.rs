//! A cluster whose members come, go, are cut off and leave at random, with the keeper deciding:
//! what must hold of its history at every moment, and where it ends when nothing happens any more.
#![allow(clippy::expect_used, reason = "a test that cannot be set up must fail")]

use std::collections::{BTreeMap, BTreeSet};

use hub_ring::keeper::{self, Absence, Announcement, Decision, KeeperPolicy, Presence, Reason};
use hub_ring::{Member, RingHistory, RingMap};
use proptest::prelude::*;

mod common;
use common::hubs;

const MEMBERS: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Start(usize),
    Stop(usize),
    /// Not registered, but working.
    CutOff(usize),
    Leave(usize),
    TakeBack(usize),
    StopAll,
    Wait(i64),
    Prune(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..MEMBERS;
    prop_oneof![
        4 => who.clone().prop_map(Step::Start),
        3 => who.clone().prop_map(Step::Stop),
        1 => who.clone().prop_map(Step::CutOff),
        1 => who.clone().prop_map(Step::Leave),
        1 => who.prop_map(Step::TakeBack),
        1 => Just(Step::StopAll),
        6 => (0..30_000_i64).prop_map(Step::Wait),
        2 => (30_000..700_000_i64).prop_map(Step::Wait),
        1 => (0..1_000_000_i64).prop_map(Step::Prune),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Registered,
    CutOff,
    Down,
}

struct Cluster {
    members: Vec<Member>,
    /// Since when each is in its state.
    states: Vec<(State, i64)>,
    history: RingHistory,
    policy: KeeperPolicy,
    now: i64,
    /// Every map ever seen, and which version was in force at times gone by.
    maps: BTreeMap<u64, RingMap>,
    in_force: BTreeMap<i64, u64>,
    needed: i64,
}

impl Cluster {
    fn new() -> Self {
        let policy = KeeperPolicy {
            bootstrap_expect: 2,
            ..KeeperPolicy::default()
        };
        Self {
            members: hubs(MEMBERS),
            states: vec![(State::Down, i64::MIN / 2); MEMBERS],
            history: RingHistory::new(),
            policy,
            now: 1_800_000_000_000,
            maps: BTreeMap::new(),
            in_force: BTreeMap::new(),
            needed: 0,
        }
    }

    fn set(&mut self, who: usize, state: State) {
        if self.states[who].0 != state {
            self.states[who] = (state, self.now);
        }
    }

    fn observed(&self) -> BTreeMap<Member, Presence> {
        let registered = self
            .members
            .iter()
            .zip(&self.states)
            .filter(|(_, (state, _))| *state == State::Registered);
        registered
            .map(|(m, (_, since))| {
                (
                    m.clone(),
                    Presence {
                        present_millis: self.now - since,
                    },
                )
            })
            .collect()
    }

    fn absences(&self) -> BTreeMap<Member, Absence> {
        let missing = self
            .members
            .iter()
            .zip(&self.states)
            .filter(|(_, (state, _))| *state != State::Registered);
        let absence = |(state, since): (State, i64)| Absence {
            away_millis: self.now.saturating_sub(since),
            answers: state == State::CutOff,
        };
        missing
            .map(|(m, &state)| (m.clone(), absence(state)))
            .collect()
    }

    /// Lets the keeper, if there is one, do all that is to be done at this moment. Answers why it
    /// does nothing more and when it looks again.
    fn keep(&mut self) -> Option<(Reason, Option<i64>)> {
        let (observed, absences) = (self.observed(), self.absences());
        observed
            .keys()
            .find(|member| keeper::may_keep(&self.history, member))?;
        loop {
            if let Some(times) =
                keeper::absent_times(&self.history, &observed, &absences, self.now, &self.policy)
            {
                assert!(self.history.set_absent(times));
            }
            let before = self.history.clone();
            match keeper::decide(&self.history, &observed, &absences, self.now, &self.policy) {
                Decision::Nothing {
                    reason,
                    look_again_millis,
                } => {
                    self.check();
                    return Some((reason, look_again_millis));
                }
                Decision::Bootstrap { map } => {
                    assert!(before.is_empty() && map.from_millis() == Some(self.now));
                    assert!(map.members().len() >= 2);
                    self.history.announce(map).expect("the first map");
                }
                Decision::Announce(announcement) => {
                    self.check_announcement(&announcement, &observed, &absences);
                    self.history.announce(announcement.map).expect("announced");
                }
                Decision::Complete {
                    version,
                    from_millis,
                } => {
                    assert!(from_millis >= self.now + 10_500);
                    self.history.set_from(version, from_millis).expect("a time");
                }
            }
            assert!(self.history.mark().knows_newer_ring_than(before.mark()));
            self.check();
        }
    }

    fn check_announcement(
        &self,
        announcement: &Announcement,
        observed: &BTreeMap<Member, Presence>,
        absences: &BTreeMap<Member, Absence>,
    ) {
        let newest = self.history.newest().expect("a map");
        let old: BTreeSet<&Member> = newest.members().iter().collect();
        let new: BTreeSet<&Member> = announcement.map.members().iter().collect();
        let left = self.history.decommissions();
        assert_ne!(old, new);
        assert!(
            newest.from_millis().is_some_and(|from| from <= self.now),
            "one change at a time"
        );
        for member in new.difference(&old) {
            assert!(
                observed.contains_key(*member)
                    && !left.contains_key(*member)
                    && announcement.joined.contains(member)
            );
        }
        let away = |member: &Member| !observed.contains_key(member) && !absences[member].answers;
        for member in old.difference(&new) {
            let long = away(member) && absences[*member].away_millis >= 10_000;
            assert!(
                long || left.contains_key(*member),
                "{member} leaves for no reason"
            );
            assert!(
                announcement
                    .removed
                    .iter()
                    .any(|(removed, _)| removed == *member)
            );
        }
        let kept: BTreeSet<&Member> = announcement.kept.iter().map(|(member, _)| member).collect();
        let odd = |member: &&&Member| away(member) || left.contains_key(**member);
        assert_eq!(kept, new.iter().filter(odd).copied().collect());
        let shrunk = !announcement.removed.is_empty();
        assert!(
            !shrunk || new.len() >= 2 || self.history.largest_ring() == 1,
            "a ring too small"
        );
        let mut away_for: Vec<i64> = old
            .iter()
            .filter(|member| away(member))
            .map(|member| absences[*member].away_millis)
            .collect();
        away_for.sort_unstable();
        away_for.reverse();
        assert!(
            away_for
                .get(old.len() / 2)
                .is_none_or(|&lasted| lasted >= 600_000),
            "fewer than half are present"
        );
    }

    /// What holds of a history at every moment.
    fn check(&mut self) {
        let maps = self.history.maps();
        for pair in maps.windows(2) {
            assert_eq!(pair[0].version() + 1, pair[1].version());
            let (older, newer) = (
                pair[0].from_millis().expect("a time"),
                pair[1].from_millis(),
            );
            assert!(newer.is_none_or(|newer| newer > older));
        }
        for map in maps {
            if let Some(known) = self.maps.insert(map.version(), map.clone()) {
                assert!(known.same_ring(map));
                assert!(known.from_millis().is_none() || known.from_millis() == map.from_millis());
            }
        }
        if let Some(map) = self.history.at(self.now) {
            self.in_force.insert(self.now, map.version());
        }
        for (&millis, &version) in self.in_force.range(self.needed..) {
            assert_eq!(
                self.history.at(millis).map(RingMap::version),
                Some(version),
                "at {millis}"
            );
        }
        let members = self.history.members();
        let slots: BTreeSet<_> = members
            .iter()
            .map(|member| self.history.node_slot(member))
            .collect();
        assert!(slots.len() == members.len() && !slots.contains(&None));
        let stored = self.history.encode().expect("encoded");
        assert_eq!(RingHistory::decode(&stored).expect("decoded"), self.history);
    }

    /// Lets time pass; the keeper acts when it said it would look again.
    fn wait(&mut self, millis: i64) {
        let end = self.now + millis;
        loop {
            let again = self.keep().and_then(|(_, again)| again);
            match again {
                Some(again) if self.now + again <= end => self.now += again,
                _ => break,
            }
        }
        self.now = end;
        self.keep();
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Start(who) => self.set(who, State::Registered),
            Step::Stop(who) => self.set(who, State::Down),
            Step::CutOff(who) => self.set(who, State::CutOff),
            Step::Leave(who) => drop(
                self.history
                    .decommission(self.members[who].clone(), self.now),
            ),
            Step::TakeBack(who) => drop(self.history.recommission(&self.members[who])),
            Step::StopAll => (0..MEMBERS).for_each(|who| self.set(who, State::Down)),
            Step::Wait(millis) => self.wait(millis),
            Step::Prune(ago) => {
                self.needed = self.needed.max(self.now - ago);
                self.history.prune(self.needed);
            }
        }
        self.keep();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_history_of_a_cluster_under_change(steps in proptest::collection::vec(step(), 1..80)) {
        let mut cluster = Cluster::new();
        for step in &steps {
            cluster.take(step);
        }
        // Nothing happens any more: the ring becomes what it should be, and stays.
        cluster.wait(2_000_000);
        let Some((reason, again)) = cluster.keep() else { return Ok(()) };
        prop_assert_eq!(again, None);
        let observed = cluster.observed();
        let allowed = |member: &&Member| !cluster.history.decommissions().contains_key(*member);
        if cluster.history.is_empty() {
            prop_assert!(observed.keys().filter(allowed).count() < 2);
            return Ok(());
        }
        let ring: BTreeSet<&Member> = cluster.history.newest().expect("a map").members().iter().collect();
        let absences = cluster.absences();
        let answering = ring.iter().filter(|member| absences.get(**member).is_some_and(|absence| absence.answers));
        let expected: BTreeSet<&Member> = observed.keys().chain(answering.copied()).filter(allowed).collect();
        match reason {
            Reason::Unchanged | Reason::OnlyUnregistered { .. } => prop_assert_eq!(ring, expected),
            Reason::MinMembers { .. } => prop_assert!(expected.is_subset(&ring) && expected.len() < 2),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
