//! Stable reads: reports at different moments, one answer.
//!
//! The reader asks from the first key on, and as soon as it has enough reports its answer is
//! compared with the furthest one before it, and with what is acknowledged. Every answer agrees
//! with the furthest one or breaks the property, so one is enough to remember.

use hub::channel::merge::stable_bound;
use hub::item::Frontier;

use crate::config::{ANY, FAR, millis};
use crate::key::{self, Front, Key};
use crate::rules::{Property, Rule};
use crate::state::{Reader, Report, Status, has, one};
use crate::step::Step;

impl Step<'_> {
    /// A replica reports to a reader: its frontier, and then its committed items.
    pub fn report(&mut self, reader: usize, at: usize) -> Option<()> {
        let node = &self.state.nodes[at];
        let counts = node.voting || !self.config.keeps(Rule::WarmingSilent);
        let asked = (0..self.config.maps.len()).any(|map| self.config.is_replica(map, at));
        if !node.up || !counts || node.is_settling() || !asked {
            return None;
        }
        let items: Vec<(Key, u8)> = node
            .copies
            .iter()
            .filter(|copy| matches!(copy.status, Status::Committed { .. }))
            .map(|copy| (copy.key, copy.write))
            .collect();
        let report = Report {
            from: at as u8,
            front: self.reported(at),
            items,
        };
        let goes_on = self.state.reader.take().filter(|read| {
            usize::from(read.node) == reader
                && read.reports.iter().all(|r| usize::from(r.from) != at)
        });
        let node = &self.state.nodes[reader];
        let mut read = goes_on.unwrap_or(Reader {
            node: reader as u8,
            known: node.known,
            horizon: node.horizon,
            reports: Vec::new(),
        });
        if read.horizon == 0 && self.config.keeps(Rule::ReaderHorizon) {
            return None;
        }
        read.reports.push(report);
        read.reports.sort();
        if self.config.reports != ANY {
            self.state.spent.reports += 1;
        }
        self.answer(&read);
        let all = (0..self.config.maps.len())
            .fold(0, |set, map| set | self.config.maps[map].replicas)
            .count_ones() as usize;
        self.state.reader = (read.reports.len() < all).then_some(read);
        Some(())
    }

    /// Gives the answer, if there are enough reports for one.
    fn answer(&mut self, read: &Reader) {
        let Some(bound) = self.bound(read) else {
            return;
        };
        let mut items: Vec<(Key, u8)> = read
            .reports
            .iter()
            .flat_map(|report| report.items.iter().map(|item| (report.from, *item)))
            .filter(|(at, (key, _))| {
                let map = self.map_by(read.known, key::time(*key));
                *key <= bound && self.config.is_replica(map, usize::from(*at))
            })
            .map(|(_, item)| item)
            .collect();
        items.sort_unstable();
        items.dedup();
        for (w, write) in self.state.writes.clone().iter().enumerate() {
            let missing = |key: Key| key <= bound && !items.contains(&(key, w as u8));
            if write.acked.is_some_and(missing) {
                // Adopted while the read went on, it comes out below the bound.
                let adopted = has(self.state.adopted, w);
                let kind = if adopted {
                    Property::StableStays
                } else {
                    Property::NothingLost
                };
                self.state.violate(kind, one(w));
            }
        }
        let (before, known) = self.state.stable.clone();
        let both = bound.min(before);
        let within = |items: &[(Key, u8)]| -> Vec<(Key, u8)> {
            items
                .iter()
                .filter(|(key, _)| *key <= both)
                .copied()
                .collect()
        };
        let (now, then) = (within(&items), within(&known));
        for item in now
            .iter()
            .filter(|i| !then.contains(i))
            .chain(then.iter().filter(|i| !now.contains(i)))
        {
            self.state
                .violate(Property::StableStays, one(item.1.into()));
        }
        if bound > before {
            self.state.stable = (bound, items);
        }
    }

    /// Up to where the answer is stable: `None` if there are too few reports.
    fn bound(&self, read: &Reader) -> Option<Front> {
        let config = self.config;
        let horizon = if !config.keeps(Rule::ReaderHorizon) {
            FAR
        } else if config.keeps(Rule::HorizonFirst) {
            read.horizon
        } else {
            self.state.nodes[usize::from(read.node)].horizon
        };
        let dated: Vec<usize> = (0..config.maps.len())
            .filter(|map| {
                self.start_by(read.known, *map)
                    .is_some_and(|from| from < horizon)
            })
            .collect();
        let mut bound = Frontier::NOTHING;
        let mut short = false;
        for map in &dated {
            let (_, n) = config.replicas(*map);
            let frontiers: Vec<Frontier> = read
                .reports
                .iter()
                .filter(|report| config.is_replica(*map, report.from.into()))
                .map(|report| key::shipped_front(report.front))
                .collect();
            let of_map = stable_bound(hub_ring::read_quorum(n), &frontiers)?;
            if !short {
                bound = of_map;
            }
            let end = self
                .start_by(read.known, map + 1)
                .map(|end| Frontier::before(millis(end)));
            short |= end.is_some_and(|end| of_map < end) && config.keeps(Rule::OldBound);
        }
        bound = bound.min(Frontier::before(millis(horizon)));
        Some(key::small_front(&bound))
    }
}
