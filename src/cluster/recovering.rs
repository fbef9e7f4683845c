//! An operator's ring change: going on without members that are gone for good.
//!
//! The keeper makes no ring smaller than `ring.min_members`, and nobody keeps a ring whose members
//! are all gone. An operator who knows that they will not come back may: the ring is announced and
//! given its time in the same two writes. What makes that safe is the same, too: a member that is
//! left out and still works cannot confirm its ring without those that stay. Only where nobody
//! stays, nothing but the operator's word says that the members left out do not write any more.

use std::collections::{BTreeMap, BTreeSet};

use hub_ring::{Adoption, HistoryError, Member, RingError, RingHistory, RingMap};
use thiserror::Error;

use super::coordination::{CoordinationError, MemberRecord};
use super::handle::Cluster;
use super::keeping;

/// Why members are not left out of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecoverError {
    /// There is no ring to leave them out of.
    #[error("there is no ring yet")]
    NoRing,
    /// One change at a time.
    #[error("ring {version} is announced and not in force yet: ask again in some seconds")]
    UnderWay {
        /// The announced ring.
        version: u64,
    },
    /// The operator looked at another ring.
    #[error("the newest ring is {newest} by now, and not {expected}: look at the choices again")]
    OtherRing {
        /// The one that was looked at.
        expected: u64,
        /// The newest one.
        newest: u64,
    },
    /// Nobody was named.
    #[error("no member was named that is to be left out")]
    Nobody,
    /// A name that is none of the ring's.
    #[error("{member} is not a member of ring {version}")]
    NotInRing {
        /// The name.
        member: String,
        /// The newest ring.
        version: u64,
    },
    /// A member that is there is not gone for good.
    #[error("{member} is there: it is registered, or answers; stop it before it is left out")]
    Present {
        /// Who.
        member: Member,
    },
    /// Those that would stay are to be asked.
    #[error("this node is not in ring {version}: ask one that is and would stay")]
    NotAMember {
        /// The newest ring.
        version: u64,
    },
    /// Nothing is decided by a clock that is wrong.
    #[error("this node's clock is out of bounds: ask another one")]
    ClockOff,
    /// Nor by one of which nothing is known.
    #[error("this node's clock was not compared with another one yet: ask again in some seconds")]
    ClockNotCompared,
    /// Coordination holds an older history than this node.
    #[error("coordination holds an older ring history than this node, which is published again")]
    Older,
    /// The ring history was changed meanwhile.
    #[error("the ring has been changed by somebody else meanwhile: look at the choices again")]
    Changed,
    /// Coordination did not answer: whether the ring was announced is not known.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
    /// The ring cannot be made.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The history does not take it.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// The ring that leaves members out, announced without a time.
fn plan(
    history: &RingHistory,
    registered: &BTreeMap<Member, MemberRecord>,
    answers: impl Fn(&Member) -> bool,
    own: &Member,
    lost: &BTreeSet<Member>,
    now_millis: i64,
) -> Result<RingMap, RecoverError> {
    let newest = history.newest().ok_or(RecoverError::NoRing)?;
    let version = newest.version();
    if newest.from_millis().is_none_or(|from| from > now_millis) {
        return Err(RecoverError::UnderWay { version });
    }
    if lost.is_empty() {
        return Err(RecoverError::Nobody);
    }
    for member in lost {
        if !newest.contains(member) {
            let member = member.as_str().to_owned();
            return Err(RecoverError::NotInRing { member, version });
        }
        if registered.contains_key(member) || answers(member) {
            let member = member.clone();
            return Err(RecoverError::Present { member });
        }
    }
    let staying = newest
        .members()
        .iter()
        .filter(|member| !lost.contains(*member));
    let mut members: Vec<Member> = staying.cloned().collect();
    if members.is_empty() {
        // Nobody is left who could let others in.
        let joining = registered.keys();
        let joining = joining.filter(|member| !history.decommissions().contains_key(*member));
        members = joining.cloned().collect();
    }
    if !members.contains(own) {
        return Err(RecoverError::NotAMember { version });
    }
    let version = history.next_version();
    Ok(RingMap::announced(version, members, newest.placement())?)
}

/// The announced ring, with this node, of which nobody is left who may say from when it is in force:
/// that is for the members of the ring before, and an operator says that they are lost. A ring is left
/// so by a node that dies between the two writes of a recovery.
fn left_over<'a>(
    history: &'a RingHistory,
    is_there: impl Fn(&Member) -> bool,
    own: &Member,
    lost: &BTreeSet<Member>,
) -> Option<&'a RingMap> {
    let newest = history.newest()?;
    let dated = last_dated(history)?;
    let left = newest.from_millis().is_none() && newest.contains(own);
    let gone = |member| lost.contains(member) && !is_there(member);
    let nobody = !dated.contains(own) && dated.members().iter().all(gone);
    (left && nobody).then_some(newest)
}

/// The newest map that has its time.
fn last_dated(history: &RingHistory) -> Option<&RingMap> {
    let mut maps = history.maps().iter().rev();
    maps.find(|map| map.from_millis().is_some())
}

impl Cluster {
    /// Whether a member is registered, or answers.
    fn is_there(&self) -> impl Fn(&Member) -> bool {
        let registered = self.coordination.members().borrow().clone();
        move |member| registered.contains_key(member) || self.answers(member)
    }

    /// The members of the newest ring that are neither registered nor answer. While that is only
    /// announced, those of the ring in force as well.
    pub fn away(&self) -> BTreeSet<Member> {
        let history = self.view().history();
        let is_there = self.is_there();
        let maps = history.newest().into_iter().chain(last_dated(&history));
        let away = maps
            .flat_map(RingMap::members)
            .filter(|member| !is_there(member));
        away.cloned().collect()
    }

    /// The members of rings of before, and not of the newest one, that are neither registered nor
    /// answer: what they hold is not to be counted on.
    pub fn formers_away(&self) -> BTreeSet<Member> {
        let history = self.view().history();
        let is_there = self.is_there();
        let members = history.members().into_iter();
        let formers = members.filter(|&member| {
            let stays = history.newest().is_some_and(|map| map.contains(member));
            !stays && !is_there(member)
        });
        formers.cloned().collect()
    }

    /// The ring that would leave these members out.
    ///
    /// # Errors
    /// [`RecoverError`]: why it cannot be made.
    pub fn ring_without(&self, lost: &BTreeSet<Member>) -> Result<RingMap, RecoverError> {
        let history = self.view().history();
        match left_over(&history, self.is_there(), self.own(), lost) {
            Some(map) if !lost.iter().any(|member| map.contains(member)) => Ok(map.clone()),
            _ => self.plan(&history, lost),
        }
    }

    fn plan(
        &self,
        history: &RingHistory,
        lost: &BTreeSet<Member>,
    ) -> Result<RingMap, RecoverError> {
        let registered = self.coordination.members().borrow().clone();
        let now = self.clock.now().get();
        let answers = |member: &Member| self.answers(member);
        plan(history, &registered, answers, self.own(), lost, now)
    }

    /// Announces a ring without members that an operator says are gone for good, and gives it its
    /// time. `expected` is the newest ring that the operator has seen. Gives the new ring; its time
    /// may be missing if somebody else is about to set it.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub async fn recover(
        &self,
        lost: &BTreeSet<Member>,
        expected: Option<u64>,
    ) -> Result<RingMap, RecoverError> {
        if !self.clock_is_right() {
            return Err(RecoverError::ClockOff);
        }
        let found = self.coordination.rings().await?;
        match self.rings.take_up(&found.history).await {
            Ok(Adoption::Newer | Adoption::Same) => {}
            Ok(Adoption::Older) => return Err(RecoverError::Older),
            Err(error) => {
                let reason = error.to_string();
                return Err(CoordinationError::Unavailable { reason }.into());
            }
        }
        // By the rings as they are now: in one of several its clock must have been compared.
        if !self.clock_is_sure() {
            return Err(RecoverError::ClockNotCompared);
        }
        let newest = found.history.newest().map(RingMap::version);
        if let (Some(expected), Some(newest)) = (expected, newest)
            && expected != newest
        {
            return Err(RecoverError::OtherRing { expected, newest });
        }
        if let Some(map) = left_over(&found.history, self.is_there(), self.own(), lost) {
            let map = map.clone();
            tracing::warn!(
                ring = map.version(),
                "giving an announced ring its time as an operator asked: all of the one before are gone"
            );
            let made = self.date(map).await?;
            let all_out = !lost.iter().any(|member| made.contains(member));
            let version = made.version();
            return if all_out {
                Ok(made)
            } else {
                Err(RecoverError::UnderWay { version })
            };
        }
        let map = self.plan(&found.history, lost)?;
        let version = map.version();
        let mut history = RingHistory::clone(&found.history);
        history.announce(map.clone())?;
        history.declare_lost(lost.iter().cloned());
        tracing::warn!(
            ring = version,
            members = map.members().len(),
            without = ?lost,
            "announcing a ring as an operator asked, without members that are gone for good"
        );
        let coordination = &*self.coordination;
        keeping::write(self, &found, history, async |expected, history| {
            coordination.replace_rings(expected, history).await
        })
        .await?;
        let is_it = |known: &&RingMap| known.version() == version && known.same_ring(&map);
        if !self
            .view()
            .history()
            .newest()
            .is_some_and(|map| is_it(&map))
        {
            return Err(RecoverError::Changed);
        }
        self.date(map).await
    }

    /// Gives the announced ring its time, unless somebody else has; gives it as it is then known.
    async fn date(&self, map: RingMap) -> Result<RingMap, RecoverError> {
        let version = map.version();
        // By a fresh clock: the write that announced it has returned.
        let from = self.policy.from_millis(self.clock.now().get());
        keeping::complete(self, version, from).await?;
        let dated = |history: &RingHistory| {
            let made = history.map(version).cloned();
            made.filter(|map| map.from_millis().is_some())
        };
        if let Some(made) = dated(&self.view().history()) {
            return Ok(made);
        }
        // The keeper was faster, and this node has not heard of it yet.
        let found = self.coordination.rings().await?;
        Ok(dated(&found.history).unwrap_or(map))
    }
}

#[cfg(test)]
mod tests {
    use hub_ring::Placement;

    use super::*;
    use crate::cluster::Incarnation;

    const NOW: i64 = 1_500_000_000_000;

    fn member(name: &str) -> Member {
        Member::new(name).unwrap()
    }

    fn members(names: &str) -> BTreeSet<Member> {
        names.split_whitespace().map(member).collect()
    }

    fn history(names: &str) -> RingHistory {
        let mut history = RingHistory::new();
        let map = RingMap::in_force(1, NOW, members(names), Placement::default());
        history.announce(map.unwrap()).unwrap();
        history
    }

    /// The members of the ring that `own` would make.
    fn asked(
        history: &RingHistory,
        registered: &str,
        own: &str,
        lost: &str,
    ) -> Result<BTreeSet<Member>, RecoverError> {
        let record = MemberRecord {
            incarnation: Incarnation(1),
            ip: None,
            peer_port: 1,
            public: String::new(),
            public_url: None,
            version: String::new(),
            state: String::new(),
            started: 0,
            ring: 0,
        };
        let registered = members(registered).into_iter();
        let registered = registered.map(|member| (member, record.clone())).collect();
        let answers = |asked: &Member| asked.as_str() == "answers";
        let own = member(own);
        let map = plan(history, &registered, answers, &own, &members(lost), NOW)?;
        assert_eq!((map.version(), map.from_millis()), (2, None));
        Ok(map.members().iter().cloned().collect())
    }

    #[test]
    fn a_ring_is_made_of_those_that_stay() {
        let three = history("a b c");
        assert_eq!(asked(&three, "a b", "a", "c").unwrap(), members("a b"));
        // However small it is, and whoever else is away.
        assert_eq!(asked(&three, "a", "a", "b c").unwrap(), members("a"));
        assert_eq!(asked(&three, "a", "a", "b").unwrap(), members("a c"));
        // Those that wait to join are let in by the keeper.
        assert_eq!(asked(&three, "a d", "a", "b c").unwrap(), members("a"));
        // Of a ring that is gone altogether nobody is left to let them in.
        let one = history("a");
        assert_eq!(asked(&one, "d e", "d", "a").unwrap(), members("d e"));
    }

    #[test]
    fn nobody_is_left_out_who_is_there() {
        let ring = history("a answers b");
        let refused = |registered, own, lost| asked(&ring, registered, own, lost).unwrap_err();
        let present = |name| RecoverError::Present {
            member: member(name),
        };
        assert_eq!(refused("a b", "a", "b"), present("b"));
        assert_eq!(refused("a", "a", "answers"), present("answers"));
        assert_eq!(refused("a", "a", "a"), present("a"));
        assert_eq!(refused("a", "a", ""), RecoverError::Nobody);
        let version = 1;
        let stranger = RecoverError::NotInRing {
            member: "d".to_owned(),
            version,
        };
        assert_eq!(refused("a", "a", "b d"), stranger);
        // One that is not in the ring could make another one beside it.
        assert_eq!(
            refused("a d", "d", "b"),
            RecoverError::NotAMember { version }
        );
        let empty = RingHistory::new();
        assert_eq!(asked(&empty, "a", "a", "b"), Err(RecoverError::NoRing));
    }

    #[test]
    fn a_ring_of_which_nobody_is_left_to_say_from_when_it_is() {
        let mut ring = history("a b");
        let left = |ring: &RingHistory, there: &str, own: &str, lost: &str| {
            let (there, own, lost) = (members(there), member(own), members(lost));
            let is_there = |member: &Member| there.contains(member);
            left_over(ring, is_there, &own, &lost).map(RingMap::version)
        };
        assert_eq!(left(&ring, "d", "d", "a b"), None);
        let next = RingMap::announced(2, members("d e"), Placement::default()).unwrap();
        ring.announce(next).unwrap();
        assert_eq!(left(&ring, "d e", "d", "a b"), Some(2));
        // One that was in the ring before completes it by itself.
        assert_eq!(left(&ring, "b d e", "d", "a b"), None);
        assert_eq!(left(&ring, "a", "a", "a b"), None);
        // One of them may only be away, for all that was said.
        assert_eq!(left(&ring, "d e", "d", "a"), None);
        assert_eq!(left(&ring, "f", "f", "a b"), None);
        ring.set_from(2, NOW + 1).unwrap();
        assert_eq!(left(&ring, "d e", "d", "a b"), None);
    }

    #[test]
    fn one_change_at_a_time() {
        let mut ring = history("a b");
        let next = RingMap::announced(2, members("a b c"), Placement::default()).unwrap();
        ring.announce(next).unwrap();
        let under_way = RecoverError::UnderWay { version: 2 };
        assert_eq!(asked(&ring, "a", "a", "b"), Err(under_way.clone()));
        ring.set_from(2, NOW + 1).unwrap();
        assert_eq!(asked(&ring, "a", "a", "b"), Err(under_way));
    }
}
