//! Who has been there for how long, as this node has seen it.

use std::collections::{BTreeMap, BTreeSet};

use hub_ring::Member;
use hub_ring::keeper::{Absence, Presence};

use crate::env::BootTime;

/// Since when members have been registered or away, by the boot-time clock.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    present: BTreeMap<Member, BootTime>,
    away: BTreeMap<Member, BootTime>,
    answering: BTreeSet<Member>,
}

impl Sightings {
    /// Takes up who is registered now, and who of the rings' members answers over the peer link. A
    /// member that answers is not away, however long it has not been registered.
    pub(super) fn update<'a>(
        &mut self,
        registered: impl IntoIterator<Item = &'a Member>,
        expected: impl IntoIterator<Item = &'a Member>,
        answers: impl Fn(&Member) -> bool,
        now: BootTime,
    ) {
        let registered: BTreeSet<&Member> = registered.into_iter().collect();
        self.present.retain(|member, _| registered.contains(member));
        for &member in &registered {
            self.present.entry(member.clone()).or_insert(now);
        }
        let missing: BTreeSet<&Member> = expected
            .into_iter()
            .filter(|member| !registered.contains(member))
            .collect();
        self.away.retain(|member, _| missing.contains(member));
        self.answering.clear();
        for member in missing {
            if answers(member) {
                self.answering.insert(member.clone());
                self.away.insert(member.clone(), now);
            } else {
                self.away.entry(member.clone()).or_insert(now);
            }
        }
    }

    /// Those that are registered.
    pub(super) fn observed(&self, now: BootTime) -> BTreeMap<Member, Presence> {
        let presence = |(member, since): (&Member, &BootTime)| {
            let present_millis = millis(now.saturating_sub(*since));
            (member.clone(), Presence { present_millis })
        };
        self.present.iter().map(presence).collect()
    }

    /// Those that are not.
    pub(super) fn absences(&self, now: BootTime) -> BTreeMap<Member, Absence> {
        let absence = |(member, since): (&Member, &BootTime)| {
            let absence = Absence {
                away_millis: millis(now.saturating_sub(*since)),
                answers: self.answering.contains(member),
            };
            (member.clone(), absence)
        };
        self.away.iter().map(absence).collect()
    }
}

fn millis(time: BootTime) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_begin_when_somebody_comes_or_goes() {
        let [a, b] = ["a", "b"].map(|name| Member::new(name).unwrap());
        let at = Duration::from_secs;
        let mut sightings = Sightings::default();
        let nobody = |_: &Member| false;
        sightings.update([&a, &b], [&a, &b], nobody, at(1));
        sightings.update([&a], [&a, &b], nobody, at(5));
        sightings.update([&a], [&a, &b], nobody, at(7));
        assert_eq!(sightings.observed(at(9))[&a].present_millis, 8_000);
        let away = sightings.absences(at(9))[&b];
        assert_eq!((away.away_millis, away.answers), (4_000, false));
        // It answers: it is away only from when it does not any more.
        sightings.update([&a], [&a, &b], |_| true, at(9));
        assert!(sightings.absences(at(9))[&b].answers);
        sightings.update([&a], [&a, &b], nobody, at(10));
        assert_eq!(sightings.absences(at(10))[&b].away_millis, 1_000);
        sightings.update([&a, &b], [&a, &b], nobody, at(11));
        assert!(sightings.absences(at(11)).is_empty());
        assert_eq!(sightings.observed(at(12))[&b].present_millis, 1_000);
    }
}
