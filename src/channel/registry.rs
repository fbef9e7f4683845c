//! The channels that exist, cached on this node.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use thiserror::Error;
use tokio::sync::{Mutex, broadcast};

use super::cache::Cache;

use super::config::{ChannelConfig, ConfigError, ConfigUpdate, Defaults, create, merge, name_of};
use super::name::ChannelName;
use super::retention::{kept_after, read, write};
use crate::cluster::{ChannelNews, ChannelRecord, Coordination, CoordinationError, Tombstone};
use crate::env::{HubClock, Millis};
use crate::item::ItemKey;
use crate::spoke::ChannelId;

/// A channel as it was when it was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The number that its items go by.
    pub id: ChannelId,
    /// Counts the changes of its configuration.
    pub version: u64,
    /// Its configuration.
    pub config: ChannelConfig,
    /// Nothing below this key is in it any more, whatever its configuration says: it only ever goes
    /// up, so that no change of retention brings an item back.
    pub kept_from: ItemKey,
    /// The highest mutable time that it ever had: up to there items may be in the archive that were
    /// written past Spoke, or deleted.
    pub historical_to: Option<Millis>,
}

impl Channel {
    /// Whether a key may be that of an item which was written past Spoke, or deleted.
    pub fn is_historical(&self, key: &ItemKey) -> bool {
        self.historical_to.is_some_and(|to| key.millis <= to)
    }
}

/// Why a channel was not changed.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The configuration is not allowed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no such channel.
    #[error("there is no channel {name}")]
    Missing {
        /// The name that was asked for.
        name: String,
    },
    /// Coordination did not answer: whether it was changed is not known.
    #[error("the channel could not be read or written: {0}")]
    Coordination(#[from] CoordinationError),
    /// What is stored of the channel makes no sense.
    #[error("the stored configuration of channel {name} cannot be read: {reason}")]
    Unreadable {
        /// The channel.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The channels.
///
/// The cache is only ever changed in the order in which coordination was asked about a name: an
/// answer that was overtaken would bring a deleted channel back, or an earlier retention.
pub struct Channels {
    pub(super) coordination: Arc<dyn Coordination>,
    pub(super) clock: Arc<HubClock>,
    defaults: Defaults,
    pub(super) cache: RwLock<Cache>,
    /// What has become of channels since before they were read, until it is followed.
    pub(super) news: parking_lot::Mutex<Option<broadcast::Receiver<ChannelNews>>>,
    /// For how long the name of a deleted channel rests (milliseconds).
    pub(super) rest: AtomicI64,
    /// For how long the answer to a write is remembered (milliseconds), which takes its record.
    pub(super) remembered: AtomicI64,
    turns: [Arc<Mutex<()>>; TURNS],
    hashing: RandomState,
}

/// Names share this many turns, so that few wait for another's.
const TURNS: usize = 64;

/// How long a turn is waited for: as long as one call to coordination may take.
const TURN: Duration = Duration::from_secs(5);

/// For how long the name of a deleted channel rests, if nothing else is set: a lease of 10 s and
/// two clocks.
const REST: i64 = 11_000;

/// How many times a change is tried again when somebody else was faster.
pub(super) const TRIES: usize = 20;
/// How many times a name's rest is waited for that is deleted again and again.
const RESTS: usize = 3;

impl Channels {
    /// Reads all channels.
    ///
    /// # Errors
    /// [`ChannelError`]: a node that does not know which channels exist would take their items for
    /// those of deleted ones.
    pub async fn load(
        coordination: Arc<dyn Coordination>,
        clock: Arc<HubClock>,
        defaults: Defaults,
    ) -> Result<Arc<Self>, ChannelError> {
        // Before they are read: what changes after that is told.
        let news = coordination.watch_channels();
        let mut cache = Cache::default();
        for record in coordination.channels().await? {
            cache.put(read(&record)?);
        }
        Ok(Arc::new(Self {
            coordination,
            clock,
            defaults,
            cache: RwLock::new(cache),
            news: parking_lot::Mutex::new(Some(news)),
            rest: AtomicI64::new(REST),
            remembered: AtomicI64::new(0),
            turns: std::array::from_fn(|_| Arc::default()),
            hashing: RandomState::new(),
        }))
    }

    /// A channel by its name, in any case; `None` if there is none, or the name is no name.
    pub fn get(&self, name: &str) -> Option<Arc<Channel>> {
        let cache = self.cache.read();
        if let Some(channel) = cache.named(name) {
            return Some(Arc::clone(channel));
        }
        // Only a name that is not in its stored form needs a copy of itself.
        cache.named(&key_of(name)).cloned()
    }

    /// A channel as coordination has it, and not as it is cached here.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn fetch(self: &Arc<Self>, name: &str) -> Result<Option<Arc<Channel>>, ChannelError> {
        if !is_name(name) {
            return Ok(None);
        }
        let key = key_of(name);
        let turn = async move |channels: Arc<Self>, key: String| channels.ask(&key).await;
        self.in_turn(key, turn).await
    }

    /// Whether no later channel of that name is known than this one.
    pub fn is_current(&self, channel: &crate::spoke::peers::ChannelRef) -> bool {
        let cache = self.cache.read();
        let known = cache.named(&channel.name);
        known.is_some_and(|known| known.id <= channel.id)
    }

    /// Whether that very channel, or a later one of its name, is known.
    pub fn knows(&self, channel: &crate::spoke::peers::ChannelRef) -> bool {
        let cache = self.cache.read();
        let known = cache.named(&channel.name);
        known.is_some_and(|known| known.id >= channel.id)
    }

    /// The channel with that number.
    pub fn numbered(&self, id: ChannelId) -> Option<Arc<Channel>> {
        self.cache.read().numbered(id).cloned()
    }

    /// All channels, sorted by name.
    pub fn list(&self) -> Vec<Arc<Channel>> {
        let mut channels: Vec<_> = self.cache.read().all().cloned().collect();
        channels.sort_by(|a, b| a.config.name.cmp(&b.config.name));
        channels
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cache.read().all().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Creates a channel; its name is in the update.
    ///
    /// # Errors
    /// [`ChannelError`]; in particular [`ConfigError::NameTaken`].
    pub async fn create(
        self: &Arc<Self>,
        update: &ConfigUpdate,
    ) -> Result<Arc<Channel>, ChannelError> {
        let name = name_of(update, None)?;
        for _ in 0..RESTS {
            self.wait_for_rest(name.key(), update, None).await?;
            let (key, name, update) = (name.key().to_owned(), name.clone(), update.clone());
            let turn = async move |channels: Arc<Self>, key: String| {
                if let Some(taken) = channels.ask(&key).await? {
                    let name = taken.config.name.clone();
                    return Err(ConfigError::NameTaken { name }.into());
                }
                match channels.create_new(&update, None).await {
                    Err(ChannelError::Coordination(CoordinationError::Exists)) => {
                        let taken = channels.ask(&key).await?;
                        let name = taken.map_or(name, |taken| taken.config.name.clone());
                        Err(ConfigError::NameTaken { name }.into())
                    }
                    other => other,
                }
            };
            if let Some(created) = self.in_turn(key, turn).await? {
                return Ok(created);
            }
        }
        Err(CoordinationError::Conflict.into())
    }

    /// Creates the channel of that name, or changes it.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn put(
        self: &Arc<Self>,
        name: &str,
        update: &ConfigUpdate,
    ) -> Result<Arc<Channel>, ChannelError> {
        let name = name_of(update, Some(name))?;
        let mut is_known = self.get(name.key()).is_some();
        for _ in 0..RESTS {
            if !is_known {
                self.wait_for_rest(name.key(), update, Some(name.as_str()))
                    .await?;
            }
            // One that another node has deleted is still known here, for a moment.
            is_known = false;
            let (key, name, update) = (name.key().to_owned(), name.clone(), update.clone());
            let turn = async move |channels: Arc<Self>, key: String| {
                for _ in 0..TRIES {
                    let changed = match channels.ask(&key).await? {
                        Some(existing) => channels.replace(&existing, &update).await.map(Some),
                        None => channels.create_new(&update, Some(name.as_str())).await,
                    };
                    match changed {
                        Err(ChannelError::Coordination(
                            CoordinationError::Exists
                            | CoordinationError::Conflict
                            | CoordinationError::Missing,
                        )) => {}
                        other => return other,
                    }
                }
                Err(CoordinationError::Conflict.into())
            };
            if let Some(channel) = self.in_turn(key, turn).await? {
                return Ok(channel);
            }
        }
        Err(CoordinationError::Conflict.into())
    }

    /// Changes the channel of that name.
    ///
    /// # Errors
    /// [`ChannelError`]; in particular [`ChannelError::Missing`].
    pub async fn patch(
        self: &Arc<Self>,
        name: &str,
        update: &ConfigUpdate,
    ) -> Result<Arc<Channel>, ChannelError> {
        let (key, name, update) = (key_of(name), name.to_owned(), update.clone());
        let turn = async move |channels: Arc<Self>, key: String| {
            for _ in 0..TRIES {
                let Some(existing) = channels.ask(&key).await? else {
                    break;
                };
                match channels.replace(&existing, &update).await {
                    Err(ChannelError::Coordination(
                        CoordinationError::Conflict | CoordinationError::Missing,
                    )) => {}
                    other => return other,
                }
            }
            Err(ChannelError::Missing { name })
        };
        self.in_turn(key, turn).await
    }

    /// Deletes a channel. Its items go with their segments.
    ///
    /// # Errors
    /// [`ChannelError`]; in particular [`ChannelError::Missing`].
    pub async fn delete(self: &Arc<Self>, name: &str) -> Result<(), ChannelError> {
        let (key, name) = (key_of(name), name.to_owned());
        // What is no name is none of a path of coordination's either.
        if !is_name(&name) {
            return Err(ChannelError::Missing { name });
        }
        let turn = async move |channels: Arc<Self>, key: String| {
            let deleted = channels.coordination.delete_channel(&key).await;
            if matches!(deleted, Ok(()) | Err(CoordinationError::Missing)) {
                channels.cache.write().remove(&key);
            }
            deleted.map_err(|error| match error {
                CoordinationError::Missing => ChannelError::Missing { name },
                other => other.into(),
            })
        };
        self.in_turn(key, turn).await
    }

    /// A channel's document; `None` if it has none, or there is no such channel.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn document(&self, name: &str) -> Result<Option<String>, ChannelError> {
        let key = key_of(name);
        Ok(self.coordination.document(&key).await?)
    }

    /// Sets a channel's document, or deletes it; says whether there was one.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn set_document(
        &self,
        name: &str,
        text: Option<String>,
    ) -> Result<bool, ChannelError> {
        let key = key_of(name);
        let set = self.coordination.set_document(&key, text).await;
        set.map_err(|error| match error {
            CoordinationError::Missing => ChannelError::Missing {
                name: name.to_owned(),
            },
            other => other.into(),
        })
    }

    /// Does something about a name once what was begun before is done, and to its end even if whoever
    /// asked for it has gone: coordination may have done its part by then.
    pub(super) async fn in_turn<T, F>(
        self: &Arc<Self>,
        key: String,
        work: impl FnOnce(Arc<Self>, String) -> F,
    ) -> Result<T, ChannelError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChannelError>> + Send + 'static,
    {
        let place = self.hashing.hash_one(&key) as usize % TURNS;
        let turn = Arc::clone(self.turns.get(place).unwrap_or(&self.turns[0]));
        let work = work(Arc::clone(self), key);
        let done = tokio::spawn(async move {
            // Where coordination does not answer, those behind would wait without end.
            let Ok(_turn) = tokio::time::timeout(TURN, turn.lock()).await else {
                let reason = "others wait for an answer about a channel".to_owned();
                return Err(CoordinationError::Unavailable { reason }.into());
            };
            work.await
        });
        done.await.unwrap_or_else(|error| {
            let reason = error.to_string();
            Err(CoordinationError::Unavailable { reason }.into())
        })
    }

    /// Asks coordination for a channel and takes up the answer. Only in the name's turn.
    pub(super) async fn ask(&self, key: &str) -> Result<Option<Arc<Channel>>, ChannelError> {
        match self.coordination.channel(key).await? {
            Some(record) => self.keep(&record).map(Some),
            None => {
                self.cache.write().remove(key);
                Ok(None)
            }
        }
    }

    /// Creates a channel; `None` if its name has to rest first.
    async fn create_new(
        &self,
        update: &ConfigUpdate,
        name: Option<&str>,
    ) -> Result<Option<Arc<Channel>>, ChannelError> {
        let config = create(update, name, &self.defaults, self.clock.now())?;
        let data = write(&config, ItemKey::MIN, None);
        let key = config.name.key().to_owned();
        let tombstone = self.coordination.tombstone(&key).await?;
        if tombstone.is_some_and(|tombstone| self.rests_for(tombstone) > 0) {
            return Ok(None);
        }
        let created = self.coordination.create_channel(&key, data, tombstone);
        self.keep(&created.await?).map(Some)
    }

    /// Waits until the name may be used again, if its channel was deleted lately; what would be refused
    /// then does not wait. Not in the name's turn: others share that.
    async fn wait_for_rest(
        &self,
        key: &str,
        update: &ConfigUpdate,
        name: Option<&str>,
    ) -> Result<(), ChannelError> {
        let Some(tombstone) = self.coordination.tombstone(key).await? else {
            return Ok(());
        };
        let rests = self.rests_for(tombstone);
        if rests > 0 {
            create(update, name, &self.defaults, self.clock.now())?;
            tokio::time::sleep(Duration::from_millis(u64::try_from(rests).unwrap_or(0))).await;
        }
        Ok(())
    }

    /// How much longer a name rests (milliseconds).
    fn rests_for(&self, tombstone: Tombstone) -> i64 {
        let rest = self.rest.load(Ordering::Relaxed);
        let until = tombstone.deleted.get().saturating_add(rest);
        // However wrong the clock that the channel was deleted by.
        until.saturating_sub(self.clock.now().get()).clamp(0, rest)
    }

    /// The names of all channels, in lower case.
    pub(super) fn names(&self) -> Vec<String> {
        let cache = self.cache.read();
        let name = |channel: &Arc<Channel>| channel.config.name.key().to_owned();
        cache.all().map(name).collect()
    }

    async fn replace(
        &self,
        existing: &Channel,
        update: &ConfigUpdate,
    ) -> Result<Arc<Channel>, ChannelError> {
        let now = self.clock.now();
        let config = merge(&existing.config, update, now)?;
        if config == existing.config {
            return Ok(Arc::new(existing.clone()));
        }
        let kept_from = kept_after(existing, &config, now);
        let data = write(&config, kept_from, existing.historical_to);
        let key = config.name.key().to_owned();
        let replaced = self
            .coordination
            .replace_channel(&key, existing.version, data);
        self.keep(&replaced.await?)
    }

    /// Takes up a channel as coordination has it. Only in the name's turn.
    pub(super) fn keep(&self, record: &ChannelRecord) -> Result<Arc<Channel>, ChannelError> {
        let channel = read(record)?;
        Ok(self.cache.write().put(channel))
    }
}

/// The form of a name that channels are stored and looked up by.
fn key_of(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

/// Whether a text could be the name of a channel.
pub fn is_name(text: &str) -> bool {
    ChannelName::parse(text).is_ok()
}

#[cfg(test)]
mod tests;
