//! What requests are being served, which took longest, and which were served last.
//!
//! For an operator who wants to know what a node is busy with. It costs each request two short
//! copies into places that hardly anybody else wants at the same time, and the node a fixed amount
//! of memory, whatever is asked of it: texts are cut off, and of very many requests at a time some
//! are left out.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::env::{BootTime, Millis};

/// How many requests are shown that took longest, and how many that were served last.
const SHOWN: usize = 100;
/// How many requests that are being served can be shown.
const ACTIVE: usize = 256;
/// How many places are tried for one.
const TRIES: usize = 8;
/// The most bytes of a path that are kept, and of a request's id.
const PATH: usize = 160;
const ID: usize = 32;

/// A text of a fixed size, cut off at its end.
#[derive(Debug, Clone, Copy)]
struct Text<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Text<N> {
    fn of(text: &str) -> Self {
        let end = text.floor_char_boundary(N.min(usize::from(u8::MAX)));
        let mut bytes = [0; N];
        if let (Some(to), Some(from)) = (bytes.get_mut(..end), text.as_bytes().get(..end)) {
            to.copy_from_slice(from);
        }
        Self {
            bytes,
            len: u8::try_from(end).unwrap_or(0),
        }
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// A request that has begun.
#[derive(Debug, Clone, Copy)]
struct Begun {
    id: Text<ID>,
    method: &'static str,
    path: Text<PATH>,
    route: &'static str,
    /// By the hub's clock.
    start: Millis,
    /// By the boot-time clock.
    since: BootTime,
}

/// A request that was answered, or given up by its client.
#[derive(Debug, Clone, Copy)]
struct Ended {
    begun: Begun,
    micros: u64,
    /// `None`: the client went before it was answered.
    status: Option<u16>,
}

/// A request, as whoever serves it knows it.
#[derive(Debug, Clone, Copy)]
pub struct Traced<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its method.
    pub method: &'static str,
    /// Its path, without query: that may hold secrets.
    pub path: &'a str,
    /// The name of its route in metrics.
    pub route: &'static str,
    /// When it began, by the hub's clock.
    pub start: Millis,
    /// When it began, by the boot-time clock.
    pub since: BootTime,
}

/// The requests of a node.
pub struct Traces {
    active: Box<[Mutex<Option<Begun>>]>,
    recent: Box<[Mutex<Option<Ended>>]>,
    slowest: Mutex<Vec<Ended>>,
    /// What a request must exceed to be among the slowest.
    bar: AtomicU64,
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            active: (0..ACTIVE).map(|_| Mutex::new(None)).collect(),
            recent: (0..SHOWN).map(|_| Mutex::new(None)).collect(),
            slowest: Mutex::new(Vec::with_capacity(SHOWN)),
            bar: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }
}

/// A request that is being served, until this is ended or dropped.
pub struct Active<'t, F: Fn() -> BootTime> {
    traces: &'t Traces,
    begun: Begun,
    place: Option<usize>,
    now: F,
    status: Option<u16>,
}

impl<F: Fn() -> BootTime> Active<'_, F> {
    /// It was answered.
    pub fn ended(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl<F: Fn() -> BootTime> Drop for Active<'_, F> {
    fn drop(&mut self) {
        if let Some(place) = self.place.and_then(|place| self.traces.active.get(place)) {
            *place.lock() = None;
        }
        let spent = (self.now)().saturating_sub(self.begun.since);
        self.traces.end(&Ended {
            begun: self.begun,
            micros: u64::try_from(spent.as_micros()).unwrap_or(u64::MAX),
            status: self.status,
        });
    }
}

impl Traces {
    /// A request begins; `now` is the boot-time clock.
    pub fn begin<F: Fn() -> BootTime>(&self, request: Traced<'_>, now: F) -> Active<'_, F> {
        let begun = Begun {
            id: Text::of(request.id),
            method: request.method,
            path: Text::of(request.path),
            route: request.route,
            start: request.start,
            since: request.since,
        };
        let first = self.begun.fetch_add(1, Ordering::Relaxed) as usize;
        let place = (0..TRIES).map(|next| first.wrapping_add(next) % ACTIVE);
        let place = place.into_iter().find(|place| {
            let Some(mut free) = self.active.get(*place).and_then(Mutex::try_lock) else {
                return false;
            };
            let is_free = free.is_none();
            if is_free {
                *free = Some(begun);
            }
            is_free
        });
        Active {
            traces: self,
            begun,
            place,
            now,
            status: None,
        }
    }

    fn end(&self, ended: &Ended) {
        let turn = self.ended.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(place) = self.recent.get(turn % SHOWN) {
            *place.lock() = Some(*ended);
        }
        if ended.micros <= self.bar.load(Ordering::Relaxed) {
            return;
        }
        let mut slowest = self.slowest.lock();
        if slowest.len() == SHOWN {
            slowest.pop();
        }
        let at = slowest.partition_point(|other| other.micros >= ended.micros);
        slowest.insert(at, *ended);
        if slowest.len() == SHOWN {
            let last = slowest.last().map_or(0, |last| last.micros);
            self.bar.store(last, Ordering::Relaxed);
        }
    }

    /// Those being served, the oldest first, as far as there was a place for them.
    pub fn active(&self, now: BootTime) -> Vec<Value> {
        let mut active: Vec<Begun> = self.active.iter().filter_map(|p| *p.lock()).collect();
        active.sort_by_key(|begun| begun.since);
        let shown = |begun: &Begun| {
            let millis = now.saturating_sub(begun.since).as_secs_f64() * 1000.0;
            begun.shown(millis, vec!["being served".to_owned()])
        };
        active.iter().map(shown).collect()
    }

    /// Those that took longest since the node started, the slowest first.
    pub fn slowest(&self) -> Vec<Value> {
        let slowest = self.slowest.lock().clone();
        slowest.iter().map(Ended::shown).collect()
    }

    /// Those that ended last, the latest first.
    pub fn recent(&self) -> Vec<Value> {
        let mut recent: Vec<Ended> = self.recent.iter().filter_map(|p| *p.lock()).collect();
        recent.sort_by_key(|ended| std::cmp::Reverse(ended.at()));
        recent.iter().map(Ended::shown).collect()
    }
}

impl Begun {
    fn shown(&self, millis: f64, mut steps: Vec<String>) -> Value {
        steps.insert(0, format!("route {}", self.route));
        json!({
            "first": format!("{} {}", self.method, self.path.as_str()),
            "id": self.id.as_str(),
            "start": self.start.iso(),
            "millis": millis,
            "trace": steps,
        })
    }
}

impl Ended {
    /// When it ended, by the boot-time clock.
    fn at(&self) -> BootTime {
        self.begun.since + BootTime::from_micros(self.micros)
    }

    fn shown(&self) -> Value {
        let outcome = match self.status {
            Some(status) => format!("status {status}"),
            None => "the client went before it was answered".to_owned(),
        };
        self.begun.shown(self.micros as f64 / 1000.0, vec![outcome])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: u64) -> BootTime {
        BootTime::from_micros(micros)
    }

    fn request(path: &str, since: u64) -> Traced<'_> {
        Traced {
            id: "x",
            method: "GET",
            path,
            route: "item",
            start: Millis::new(1_500_000_000_000),
            since: at(since),
        }
    }

    #[test]
    fn a_request_is_shown_while_it_is_served_and_afterwards() {
        let traces = Traces::default();
        let active = traces.begin(request("/a", 1_000), || at(4_000));
        let shown = traces.active(at(2_500));
        assert_eq!(shown.len(), 1);
        assert_eq!(
            (&shown[0]["first"], &shown[0]["millis"]),
            (&json!("GET /a"), &json!(1.5))
        );
        assert!(traces.recent().is_empty() && traces.slowest().is_empty());
        active.ended(404);
        assert!(traces.active(at(5_000)).is_empty());
        // A client that goes takes its request along.
        drop(traces.begin(request("/b", 2_000), || at(2_500)));
        let (recent, slowest) = (traces.recent(), traces.slowest());
        let firsts = |list: &[Value]| -> Vec<Value> {
            list.iter().map(|shown| shown["first"].clone()).collect()
        };
        assert_eq!(firsts(&recent), [json!("GET /a"), json!("GET /b")]);
        assert_eq!(firsts(&slowest), [json!("GET /a"), json!("GET /b")]);
        assert_eq!(recent[0]["trace"], json!(["route item", "status 404"]));
        assert_eq!(
            (&recent[0]["id"], &recent[0]["millis"]),
            (&json!("x"), &json!(3.0))
        );
    }

    #[test]
    fn however_many_there_are_the_memory_is_the_same() {
        let traces = Traces::default();
        let path = format!("/{}", "ä".repeat(500));
        let many: Vec<_> = (0..3 * ACTIVE as u64)
            .map(|n| traces.begin(request(&path, n), || at(10_000)))
            .collect();
        assert_eq!(traces.active(at(10_000)).len(), ACTIVE);
        drop(many);
        assert!(traces.active(at(10_000)).is_empty());
        assert_eq!(
            (traces.recent().len(), traces.slowest().len()),
            (SHOWN, SHOWN)
        );
        let first = traces.recent()[0]["first"].as_str().unwrap().to_owned();
        assert!(first.len() <= PATH + 4 && first.ends_with('ä'), "{first}");
    }

    proptest! {
        #[test]
        fn the_slowest_are_the_slowest(spent in proptest::collection::vec(1u64..500, 0..400)) {
            let traces = Traces::default();
            for &micros in &spent {
                traces.begin(request("/", 0), || at(micros)).ended(200);
            }
            let mut sorted = spent.clone();
            sorted.sort_unstable_by_key(|micros| std::cmp::Reverse(*micros));
            sorted.truncate(SHOWN);
            let found: Vec<u64> = traces.slowest().iter()
                .map(|shown| (shown["millis"].as_f64().unwrap() * 1000.0).round() as u64)
                .collect();
            prop_assert_eq!(found, sorted);
        }
    }
}
