//! A load: many clients that write, read and make and delete channels, and note what they are told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;

use crate::client::{Answer, Client};
use crate::failure::{Outcome, ensure};
use crate::history::{Listing, Recorder, Standing, WriteNumber};
use crate::item::{ItemName, Key};
use crate::random::Choices;

/// What a load is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Tells its items from those of other runs.
    pub run: u64,
    /// Clients that write to channels that stay. Every third one sends idempotency keys.
    pub writers: u32,
    /// The channels that stay.
    pub channels: Vec<String>,
    /// Channels that one client each fills, deletes and makes again.
    pub doomed: Vec<String>,
    /// The largest item, in bytes.
    pub item_max: usize,
}

/// A load that runs.
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    client: Client,
    plan: Plan,
    recorder: Recorder,
    /// Held for reading by whoever talks to the hub, and for writing by whoever wants quiet.
    quiet: Arc<RwLock<()>>,
    ending: AtomicBool,
    trickling: AtomicBool,
    acked: AtomicU64,
    refusals: Mutex<BTreeMap<u16, Refusals>>,
    /// Inserts that nobody answered, or of which nothing is known.
    unanswered: Mutex<Refusals>,
    /// Lists that did not come.
    unread: Mutex<Refusals>,
    /// The longest that an insert took which was acknowledged, in microseconds.
    longest: AtomicU64,
}

/// Requests that failed in the same way.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    /// How many.
    pub count: u64,
    /// What the last one said.
    pub text: String,
}

impl Refusals {
    fn add(&mut self, text: &str) {
        self.count += 1;
        text.clone_into(&mut self.text);
    }

    fn none(&self, what: &str) -> Outcome<()> {
        let Self { count, text } = self;
        ensure(*count == 0, || format!("{count} {what}, the last: {text}"))
    }
}

/// While it exists no client talks to the hub.
pub struct Quiet {
    _guard: OwnedRwLockWriteGuard<()>,
}

/// How long a client waits when nobody listens, or a write is refused.
const BREATH: Duration = Duration::from_millis(10);
/// The longest pause between two writes of a client of a load that trickles.
const TRICKLE_MS: u64 = 4000;

impl Load {
    /// Clients begin to work. The channels that stay exist.
    pub fn begin(client: &Client, plan: Plan, seed: u64) -> Self {
        let choices = Choices::new(seed);
        let shared = Arc::new(Shared {
            client: client.clone(),
            recorder: Recorder::default(),
            quiet: Arc::default(),
            ending: AtomicBool::new(false),
            trickling: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            refusals: Mutex::default(),
            unanswered: Mutex::default(),
            unread: Mutex::default(),
            longest: AtomicU64::new(0),
            plan,
        });
        let mut clients = JoinSet::new();
        let plan = &shared.plan;
        for channel in &plan.channels {
            shared.recorder.stands(channel, Standing::Alive(0));
            let (shared, choices) = (Arc::clone(&shared), choices.fork());
            let channel = channel.clone();
            clients.spawn(async move { shared.walk(&channel, &choices).await });
        }
        for number in 0..plan.writers {
            let (shared, choices) = (Arc::clone(&shared), choices.fork());
            clients.spawn(async move { shared.write(number, &choices).await });
        }
        for (number, channel) in (plan.writers..).zip(&plan.doomed) {
            shared.recorder.stands(channel, Standing::Gone);
            let (shared, choices) = (Arc::clone(&shared), choices.fork());
            let channel = channel.clone();
            clients.spawn(async move { shared.doom(number, &channel, &choices).await });
        }
        Self { shared, clients }
    }

    /// What the clients noted.
    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// How many inserts were acknowledged.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// The inserts that the hub refused, by status.
    pub fn refusals(&self) -> BTreeMap<u16, Refusals> {
        self.shared.refusals().clone()
    }

    /// How many inserts the hub refused with that status.
    pub fn refused(&self, status: u16) -> u64 {
        let refusals = self.shared.refusals();
        refusals.get(&status).map_or(0, |refused| refused.count)
    }

    /// Fails unless every insert was acknowledged and every list came.
    ///
    /// # Errors
    /// [`Failure`] that says how many did not, and the last answer.
    pub fn untroubled(&self) -> Outcome<()> {
        for (status, refused) in self.refusals() {
            refused.none(&format!("inserts were answered {status}"))?;
        }
        self.shared.unanswered().none("inserts were not answered")?;
        self.shared.unread().none("lists did not come")
    }

    /// The longest that an insert took which was acknowledged, since this was last asked.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.shared.longest.swap(0, Ordering::Relaxed))
    }

    /// Waits until every client has its answer, and keeps them from asking again.
    pub async fn quiet(&self) -> Quiet {
        Quiet {
            _guard: Arc::clone(&self.shared.quiet).write_owned().await,
        }
    }

    /// From now on clients write now and then, or again as fast as they can.
    pub fn trickle(&self, trickling: bool) {
        self.shared.trickling.store(trickling, Ordering::Relaxed);
    }

    /// The clients go home, each after what it is at.
    pub async fn end(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
    }
}

impl Shared {
    fn ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<u16, Refusals>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> MutexGuard<'_, Refusals> {
        let unanswered = self.unanswered.lock();
        unanswered.unwrap_or_else(PoisonError::into_inner)
    }

    fn unread(&self) -> MutexGuard<'_, Refusals> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn breathe(&self, choices: &Choices) {
        if self.trickling.load(Ordering::Relaxed) {
            let pause = Duration::from_millis(choices.between(1, TRICKLE_MS));
            let until = crate::wait::now() + pause;
            while crate::wait::now() < until && !self.ending() {
                tokio::time::sleep(pause.min(Duration::from_millis(50))).await;
            }
        }
    }

    /// Writes items one after the other, each begun when the one before it was answered.
    async fn write(&self, writer: u32, choices: &Choices) {
        let channels = &self.plan.channels;
        let channel = &channels[writer as usize % channels.len()];
        let keyed = writer.is_multiple_of(3);
        let mut last: Option<(WriteNumber, ItemName)> = None;
        for number in 0.. {
            self.breathe(choices).await;
            if self.ending() {
                return;
            }
            let item = self.item(writer, number, channel, 0, choices);
            if !keyed {
                self.insert(&item).await;
                continue;
            }
            // Now and then a write that was answered is sent again: it must be the same item.
            if let Some((write, item)) = &last
                && choices.percent(10)
            {
                self.attempt(*write, item, true).await;
            }
            let write = self.recorder.begin(item.clone());
            while self.recorder.key(write).is_none() && !self.ending() {
                if !matches!(self.attempt(write, &item, true).await, Answer::Acked(_)) {
                    tokio::time::sleep(BREATH).await;
                }
            }
            last = Some((write, item));
        }
    }

    fn item(
        &self,
        writer: u32,
        number: u32,
        channel: &str,
        life: u32,
        choices: &Choices,
    ) -> ItemName {
        ItemName {
            run: self.plan.run,
            writer,
            number,
            size: size(choices).min(self.plan.item_max),
            channel: channel.to_owned(),
            life,
        }
    }

    /// Inserts an item that is not tried again, and gives whether it was acknowledged.
    async fn insert(&self, item: &ItemName) -> bool {
        let write = self.recorder.begin(item.clone());
        let answer = self.attempt(write, item, false).await;
        let acked = matches!(answer, Answer::Acked(_));
        if !acked {
            tokio::time::sleep(BREATH).await;
        }
        acked
    }

    async fn attempt(&self, write: WriteNumber, item: &ItemName, keyed: bool) -> Answer {
        let _talking = self.quiet.read().await;
        let key = keyed.then(|| item.to_string());
        let trying = self.recorder.trying(write);
        let began = crate::wait::now();
        let answer = self.client.insert(item, key.as_deref()).await;
        trying.ended(&answer);
        match &answer {
            Answer::Acked(_) => {
                let took = began.elapsed().as_micros() as u64;
                self.longest.fetch_max(took, Ordering::Relaxed);
                self.acked.fetch_add(1, Ordering::Relaxed);
            }
            Answer::Refused(status, text) => {
                self.refusals().entry(*status).or_default().add(text);
            }
            Answer::Unreachable => self.unanswered().add("nobody listens"),
            Answer::Unknown(text) => self.unanswered().add(text),
        }
        answer
    }

    /// Fills a channel, deletes it, and makes it again.
    async fn doom(&self, writer: u32, channel: &str, choices: &Choices) {
        let mut number = 0;
        for life in 0.. {
            self.recorder.stands(channel, Standing::Unsure(life));
            while !self.put(channel).await {
                if self.ending() {
                    return;
                }
            }
            self.recorder.stands(channel, Standing::Alive(life));
            for _ in 0..choices.between(5, 60) {
                self.breathe(choices).await;
                if self.ending() {
                    return;
                }
                let item = self.item(writer, number, channel, life, choices);
                self.insert(&item).await;
                number += 1;
            }
            while !self.delete(channel, life).await {
                if self.ending() {
                    return;
                }
            }
        }
    }

    async fn put(&self, channel: &str) -> bool {
        let _talking = self.quiet.read().await;
        let put = self.client.put_channel(channel).await.is_ok();
        if !put {
            tokio::time::sleep(BREATH).await;
        }
        put
    }

    /// Deletes a channel; gives whether it is sure to be gone.
    async fn delete(&self, channel: &str, life: u32) -> bool {
        let _talking = self.quiet.read().await;
        self.recorder.stands(channel, Standing::Unsure(life));
        let path = format!("/channel/{channel}");
        let deleted = self.client.send(reqwest::Method::DELETE, &path).await;
        let gone = matches!(deleted, Ok((202 | 404, _)));
        if gone {
            self.recorder.stands(channel, Standing::Gone);
        } else {
            tokio::time::sleep(BREATH).await;
        }
        gone
    }

    /// Walks along a channel's stable items as they come, and lists seconds that are over.
    async fn walk(&self, channel: &str, choices: &Choices) {
        let mut walked: Vec<Key> = Vec::new();
        // Up to where what was walked is written down: all of it again each time would take gigabytes.
        let mut noted = 0;
        while !self.ending() {
            tokio::time::sleep(BREATH).await;
            let _talking = self.quiet.read().await;
            let page = choices.between(1, 500);
            let path = match walked.last() {
                Some(last) => format!("/channel/{channel}/{last}/next/{page}"),
                None => format!("/channel/{channel}/earliest/{page}"),
            };
            match self.client.list(&path, true).await {
                Ok((keys, _)) => walked.extend(keys),
                Err(failure) => self.unread().add(&failure.0),
            }
            let Some(last) = walked.last() else { continue };
            if choices.percent(20) {
                let back = choices.between(0, walked.len().min(300) as u64 - 1) as usize;
                let second = walked[walked.len() - 1 - back].second().to_owned();
                let listed = self
                    .client
                    .list(&format!("/channel/{channel}/{second}"), false)
                    .await;
                if let Ok((keys, over)) = listed {
                    let complete_to = if over {
                        // Nothing can come into it any more.
                        format!("{second}~")
                    } else {
                        keys.last().map_or_else(String::new, Key::to_string)
                    };
                    self.listed(channel, &second, complete_to, keys);
                }
            }
            let to = last.to_string();
            if choices.percent(2) && noted < walked.len() {
                self.walked(channel, &walked, &mut noted, to);
            }
        }
        if let Some(last) = walked.last() {
            let to = last.to_string();
            self.walked(channel, &walked, &mut noted, to);
        }
    }

    /// Writes down what was walked since the last time, and that there was nothing else in between.
    fn walked(&self, channel: &str, walked: &[Key], noted: &mut usize, to: String) {
        let last = noted.checked_sub(1).and_then(|last| walked.get(last));
        // Right behind that key.
        let from = last.map_or_else(String::new, |last| format!("{last}\0"));
        self.listed(channel, &from, to, walked[*noted..].to_vec());
        *noted = walked.len();
    }

    fn listed(&self, channel: &str, from: &str, to: String, keys: Vec<Key>) {
        self.recorder.listed(Listing {
            channel: channel.to_owned(),
            life: 0,
            from: from.to_owned(),
            to,
            keys,
        });
    }
}

/// The size of an item: most are small, some have none at all, a few are large.
fn size(choices: &Choices) -> usize {
    let (low, high) = match choices.between(0, 99) {
        0..5 => (0, 0),
        5..45 => (1, 256),
        45..75 => (257, 4 * 1024),
        75..90 => (4 * 1024, 64 * 1024),
        90..98 => (64 * 1024, 256 * 1024),
        98 => (256 * 1024, 1024 * 1024),
        _ => (1024 * 1024, 1024 * 1024),
    };
    choices.between(low, high) as usize
}
