//! One life: what is asked of the store, what happens to its disk, and what is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;

use crate::env::{ManualClock, Millis, Random as _, SeededRandom};
use crate::item::{ItemKey, Suffix};
use crate::spoke::files::sim::{Call, Crash, SimFolder, Trouble};
use crate::spoke::tests::rig::{self, Rig, START, head, listen};
use crate::spoke::{
    Append, AppendError, ChannelId, Durability, ItemFlags, ItemHead, Keeps, MemoryStore, Options,
    Removal, SpokeStore, WriteId,
};

pub type Position = (ChannelId, ItemKey);
type Outcome = Receiver<Result<(), AppendError>>;

/// Something that was asked and not answered.
#[derive(Debug, Clone)]
pub enum Asked {
    Append(ItemHead, Bytes),
    Removal,
}

pub struct Life {
    pub seed: u64,
    pub random: SeededRandom,
    /// `None` only while it changes hands.
    rig: Option<Rig>,
    pub twin: MemoryStore,
    /// What may or may not have been done, until the store is opened again.
    pub unknown: Vec<(Position, Asked)>,
    /// Everything that was ever written under a key.
    pub versions: BTreeMap<Position, Vec<(ItemHead, Bytes)>>,
    /// Keys of which nobody can tell any more what they should be.
    pub tainted: BTreeSet<Position>,
    /// The latest mark that was reported.
    mark: Millis,
    writes: u128,
    trail: Vec<String>,
}

/// Says what led to a failure.
impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.trail.len().saturating_sub(25);
            eprintln!("seed {}: ... {}", self.seed, self.trail[from..].join("; "));
        }
    }
}

impl Life {
    pub fn new(durability: Durability, seed: u64) -> Self {
        let random = SeededRandom::new(seed ^ 0x11fe);
        let pick = |choices: &[u64]| choices[(random.next_u64() % choices.len() as u64) as usize];
        let options = Options {
            segment_bytes: pick(&[2000, 50_000, 1 << 22]),
            segment_items: pick(&[3, 25, 10_000]),
            bucket_millis: pick(&[1000, 10_000, 60_000]) as i64,
            open_segments: pick(&[2, 50]),
            ..rig::options(durability)
        };
        let (folder, source) = (SimFolder::new(seed), ManualClock::new(START));
        let rig = Rig::on(folder, source, options, 1, Arc::default()).unwrap();
        Self {
            seed,
            twin: MemoryStore::new(rig.clock.clone(), rig.options.dedup_millis),
            random,
            rig: Some(rig),
            unknown: Vec::new(),
            versions: BTreeMap::new(),
            tainted: BTreeSet::new(),
            mark: Millis::MIN,
            writes: 0,
            trail: Vec::new(),
        }
    }

    pub fn rig(&self) -> &Rig {
        self.rig.as_ref().unwrap()
    }

    pub fn below(&self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    fn say(&mut self, what: impl fmt::Display) {
        self.trail.push(what.to_string());
    }

    pub fn step(&mut self) {
        match self.below(100) {
            0..45 => self.burst(),
            45..52 => self.remove_some(),
            52..62 => self.look(),
            62..72 => self.pass(),
            72..77 => self.expire(),
            77..82 => self.trouble(),
            82..85 => self.squeeze(),
            85..89 => self.stop_soon(),
            89..92 => self.close(),
            92..96 => self.end(Crash::Kill),
            _ => self.end(Crash::PowerLoss),
        }
        self.mark = self.mark.max(self.rig().store.mark());
        if self.rig().store.failure().is_some() || self.rig().folder.stopped() {
            self.refused();
            let crash = [Crash::Kill, Crash::PowerLoss][self.below(2) as usize];
            self.end(crash);
        }
        self.check();
    }

    pub fn finish(&mut self) {
        self.rig().folder.heal();
        self.close();
        self.check_all();
    }

    fn channel(&self) -> ChannelId {
        ChannelId(1 + self.below(4))
    }

    /// A key near now, mostly; now and then a late one, or one that exists.
    fn key(&self, channel: ChannelId) -> ItemKey {
        let width = self.rig().options.bucket_millis as u64;
        let back = match self.below(12) {
            0 => self.below(6 * width),
            1 | 2 => self.below(2 * width),
            _ => self.below(20),
        };
        let suffix = format!(
            "{:02}{}",
            self.below(6),
            ["", "z", "0"][self.below(3) as usize]
        );
        let millis = self.rig().clock.now().minus(back as i64);
        let new = ItemKey::new(millis, Suffix::parse(&suffix).unwrap());
        match self.below(15) {
            0 => self.some_key(channel).unwrap_or(new),
            _ => new,
        }
    }

    /// A key of the channel that was used before.
    pub fn some_key(&self, channel: ChannelId) -> Option<ItemKey> {
        let from = (channel, ItemKey::MIN);
        let to = (ChannelId(channel.0 + 1), ItemKey::MIN);
        let used = self.versions.range(from..to).count() as u64;
        let nth = self.below(used.max(1)) as usize;
        self.versions
            .range(from..to)
            .nth(nth)
            .map(|((_, key), _)| *key)
    }

    fn payload(&self) -> Bytes {
        let length = match self.below(40) {
            0..8 => self.below(3),
            8..35 => self.below(400),
            35..39 => self.below(9000),
            _ => self.below(120_000),
        };
        let (first, step) = (self.below(256), self.below(7));
        (0..length).map(|at| (first + at * step) as u8).collect()
    }

    /// Some appends at once, which the writer takes in as many batches as it likes.
    fn burst(&mut self) {
        let count = 1 + self.below(6) * self.below(3);
        let asked: Vec<_> = (0..count).map(|_| self.append()).collect();
        for (position, asked, outcome) in asked {
            let outcome = outcome.recv().unwrap();
            self.learn(position, asked, &outcome);
        }
        self.say(format!("{count} appends"));
    }

    fn append(&mut self) -> (Position, Asked, Outcome) {
        let channel = self.channel();
        let (key, payload) = (self.key(channel), self.payload());
        self.writes += 1;
        let flags = ItemFlags {
            pending: self.below(4) == 0,
            keyed: self.below(4) == 0,
        };
        let head = head(key, self.writes, flags, &payload);
        let (done, outcome) = listen();
        let append = Append::new(channel, &head, payload.clone(), done).unwrap();
        let versions = self.versions.entry((channel, key)).or_default();
        versions.push((head.clone(), payload.clone()));
        self.rig().store.append(append);
        ((channel, key), Asked::Append(head, payload), outcome)
    }

    fn remove_some(&mut self) {
        let channel = self.channel();
        let Some(key) = self.some_key(channel) else {
            return;
        };
        let (done, outcome) = listen();
        self.rig().store.remove(Removal {
            channel,
            key,
            write_id: WriteId(9),
            done,
        });
        let outcome = outcome.recv().unwrap();
        self.learn((channel, key), Asked::Removal, &outcome);
        self.say(format!("removal of {key:?}: {outcome:?}"));
    }

    fn learn(&mut self, position: Position, asked: Asked, outcome: &Result<(), AppendError>) {
        match outcome {
            Ok(()) => self.apply(position, asked),
            Err(AppendError::Failed { .. }) => self.unknown.push((position, asked)),
            Err(AppendError::Full) => {}
            Err(other) => panic!("{position:?}: {other}"),
        }
    }

    /// The twin does what the store did.
    pub fn apply(&self, (channel, key): Position, asked: Asked) {
        let (done, outcome) = listen();
        match asked {
            Asked::Append(head, payload) => {
                let append = Append::new(channel, &head, payload, done).unwrap();
                self.twin.append(append);
            }
            Asked::Removal => self.twin.remove(Removal {
                channel,
                key,
                write_id: WriteId(9),
                done,
            }),
        }
        outcome.recv().unwrap().unwrap();
    }

    fn pass(&mut self) {
        let width = self.rig().options.bucket_millis as u64;
        let millis = match self.below(3) {
            0 => self.below(50),
            1 => self.below(width),
            _ => self.below(5 * width),
        };
        self.rig().pass(millis as i64);
        self.say(format!("{millis} ms pass"));
    }

    fn expire(&mut self) {
        let channel = self.channel();
        let keeps = match self.below(5) {
            0 => Keeps::All,
            1 => Keeps::Nothing,
            _ => {
                let back = self.below(10 * self.rig().options.bucket_millis as u64);
                let first = self.rig().clock.now().minus(back as i64);
                Keeps::From(ItemKey::first_of(first))
            }
        };
        self.rig().script.set(channel, keeps);
        let gone = self.rig().store.expire();
        self.say(format!(
            "{channel:?} keeps {keeps:?}: {gone} segments expire"
        ));
        self.after_expiry();
        // What is gone is gone: the channel's later items are kept again.
        self.rig().script.set(channel, Keeps::All);
    }

    fn trouble(&mut self) {
        let calls = [
            Call::Write,
            Call::Sync,
            Call::Truncate,
            Call::Create,
            Call::Rename,
        ];
        let call = calls[self.below(calls.len() as u64) as usize];
        let trouble = match self.below(4) {
            0 => Trouble::Error,
            1 => Trouble::Short(self.below(2000) as usize),
            _ => Trouble::NoSpace(self.below(2000) as usize),
        };
        let after = self.below(4);
        let ending = ["log", "log", "idx.tmp", "CLOCK", ""][self.below(5) as usize];
        self.rig().folder.fail(call, ending, after, trouble);
        self.say(format!("{call:?} {ending} after {after}: {trouble:?}"));
    }

    /// The disk fills up, and has room again.
    fn squeeze(&mut self) {
        let free = self.below(20_000);
        self.rig().folder.set_room(free, 1 << 30);
        self.say(format!("{free} bytes left"));
        for _ in 0..=self.below(4) {
            self.burst();
            if self.below(2) == 0 {
                self.pass();
            }
        }
        self.rig().folder.set_room(1 << 40, 1 << 41);
        self.rig().settle();
    }

    fn stop_soon(&mut self) {
        let nth = 1 + self.below(25);
        self.rig().folder.stop_at(nth);
        self.say(format!("stops at the {nth}th change"));
    }

    /// A store that has failed says so, and takes nothing.
    fn refused(&mut self) {
        if self.rig().store.failure().is_some() {
            let (position, asked, outcome) = self.append();
            let outcome = outcome.recv().unwrap();
            assert!(
                matches!(outcome, Err(AppendError::Failed { .. })),
                "{outcome:?}"
            );
            self.learn(position, asked, &outcome);
        }
    }

    /// The process ends, and the next one begins.
    fn end(&mut self, crash: Crash) {
        let rig = self.rig.take().unwrap();
        let failed = rig.store.failure().is_some();
        let seed = self.random.next_u64();
        let folder = rig.folder.crash(crash, seed);
        let boot = rig.boot + u128::from(crash == Crash::PowerLoss);
        folder.set_room(1 << 40, 1 << 41);
        // What was queued has been answered: nothing is asked while the store ends.
        self.rig = Some(rig.again(folder, boot));
        drop(rig);
        self.say(format!("{crash:?}"));
        self.after_end(crash, failed);
        self.mark = self.rig().store.mark();
    }

    fn after_end(&mut self, crash: Crash, failed: bool) {
        let status = self.rig().store.status();
        assert_eq!(status.damaged, 0, "seed {}", self.seed);
        assert_eq!(status.failed, None, "seed {}", self.seed);
        let may_lose =
            crash == Crash::PowerLoss && self.rig().options.durability == Durability::Replicated;
        // A store that failed without fsync may have lost what the page cache had.
        let may_lose = may_lose || failed && self.rig().options.durability != Durability::Fsync;
        if may_lose {
            let lost = self.rebuild();
            assert!(
                !lost || !status.intact,
                "lost and intact, seed {}",
                self.seed
            );
        } else {
            self.resolve();
            let mark = self.rig().store.mark();
            assert!(
                mark >= self.mark,
                "{mark} is below {}, seed {}",
                self.mark,
                self.seed
            );
            assert!(failed || status.intact, "not intact, seed {}", self.seed);
        }
        if !status.intact {
            self.rig().made_whole().unwrap();
            assert!(self.rig().store.status().intact);
        }
        self.check_recent();
        self.check_all();
    }

    fn close(&mut self) {
        let now = self.rig().clock.now();
        self.rig().store.close(now);
        self.say("closed");
        let was_clean = self.rig().store.failure().is_none() && !self.rig().folder.stopped();
        // Nothing later was promised, and that may be on disk even if the store could not be sure.
        self.mark = now;
        // A power loss is as good as a kill to a store that was closed in order.
        let crash = [Crash::Kill, Crash::PowerLoss][self.below(2) as usize];
        if was_clean && crash == Crash::PowerLoss {
            let seed = self.random.next_u64();
            let rig = self.rig.take().unwrap();
            let (folder, boot) = (rig.folder.crash(crash, seed), rig.boot + 1);
            self.rig = Some(rig.again(folder, boot));
            self.after_end(Crash::Kill, false);
        } else {
            self.end(crash);
        }
        if was_clean {
            assert_eq!(self.rig().store.mark(), now, "seed {}", self.seed);
        }
        self.mark = self.rig().store.mark();
    }
}
