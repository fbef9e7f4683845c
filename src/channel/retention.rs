//! How long a channel keeps its items: where it begins, as everybody who reads or stores asks it.
//!
//! Three things decide: its retention by time, counted from now; 15 minutes of grace beyond it for
//! items that are asked for by their key; and the key from which on it keeps anything at all, which
//! stands beside its configuration in coordination and only ever goes up.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::config::ChannelConfig;
use super::registry::{Channel, ChannelError, Channels, TRIES};
use crate::cluster::{ChannelRecord, CoordinationError};
use crate::env::Millis;
use crate::item::{ItemKey, Suffix};
use crate::spoke::{ChannelId, Keeps, Retention};

/// What stands beside a configuration where channels are stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beside {
    /// [`Channel::kept_from`] as its time and suffix, unless it is the lowest key there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_from: Option<(i64, String)>,
    /// [`Channel::historical_to`] in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    historical_to: Option<i64>,
}

/// A channel as it is stored.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    config: &'a ChannelConfig,
    #[serde(flatten)]
    beside: Beside,
}

impl Beside {
    fn of(kept_from: ItemKey, historical_to: Option<Millis>) -> Self {
        let (millis, suffix) = (kept_from.millis.get(), kept_from.suffix.as_str());
        Self {
            kept_from: (kept_from > ItemKey::MIN).then(|| (millis, suffix.to_owned())),
            historical_to: historical_to.map(Millis::get),
        }
    }

    fn kept_from(&self) -> Result<ItemKey, String> {
        let Some((millis, suffix)) = &self.kept_from else {
            return Ok(ItemKey::MIN);
        };
        let suffix = match suffix.as_str() {
            "" => Suffix::EMPTY,
            text => Suffix::parse(text).map_err(|error| format!("keptFrom: {error}"))?,
        };
        Ok(ItemKey::new(Millis::new(*millis), suffix))
    }
}

/// Reads a channel as it is stored.
pub(super) fn read(record: &ChannelRecord) -> Result<Channel, ChannelError> {
    let parsed = || -> Result<(ChannelConfig, ItemKey, Option<Millis>), String> {
        let config = serde_json::from_slice(&record.data);
        let beside: Result<Beside, _> = serde_json::from_slice(&record.data);
        let beside = beside.map_err(|error| error.to_string())?;
        let config: ChannelConfig = config.map_err(|error| error.to_string())?;
        // A version that did not know of it wrote the configuration alone.
        let historical_to = beside
            .historical_to
            .map(Millis::new)
            .max(config.mutable_time);
        Ok((config, beside.kept_from()?, historical_to))
    };
    let (config, kept_from, historical_to) =
        parsed().map_err(|reason| ChannelError::Unreadable {
            name: record.name.clone(),
            reason,
        })?;
    Ok(Channel {
        id: ChannelId(record.id),
        version: record.version,
        config,
        kept_from,
        historical_to,
    })
}

/// A channel as it is stored.
pub(super) fn record(channel: &Channel) -> ChannelRecord {
    ChannelRecord {
        name: channel.config.name.key().to_owned(),
        id: channel.id.0,
        version: channel.version,
        data: write(&channel.config, channel.kept_from, channel.historical_to),
    }
}

/// What is stored of a channel; `historical_to` is that of before, if there was a before.
pub(super) fn write(
    config: &ChannelConfig,
    kept_from: ItemKey,
    historical_to: Option<Millis>,
) -> Vec<u8> {
    let beside = Beside::of(kept_from, historical_to.max(config.mutable_time));
    // Strings, numbers and booleans in a struct: there is nothing in it that cannot be written.
    serde_json::to_vec(&Written { config, beside }).unwrap_or_default()
}

/// The lowest key that is listed.
pub(super) fn floor(channel: &Channel, now: Millis) -> ItemKey {
    above(channel.config.floor(now), channel.kept_from)
}

/// The lowest key that can be read by its key.
pub(super) fn grace_floor(channel: &Channel, now: Millis) -> ItemKey {
    above(channel.config.grace_floor(now), channel.kept_from)
}

fn above(by_time: Option<Millis>, kept_from: ItemKey) -> ItemKey {
    by_time.map_or(kept_from, |time| ItemKey::first_of(time).max(kept_from))
}

/// From where on a channel keeps anything once its configuration is another one.
///
/// Where the new retention reaches further back than the old one, what that had given up stays
/// given up: some replicas have it no more. What is older than the channel is left out of this, unless
/// it had a mutable time: only then it ever had such items, and else there is nothing to come back.
pub(super) fn kept_after(existing: &Channel, config: &ChannelConfig, now: Millis) -> ItemKey {
    let before = existing.config.floor(now);
    let relaxed = before > config.floor(now) && config.mutable_time.is_none();
    match before {
        Some(floor)
            if relaxed && (floor > config.creation_date || existing.historical_to.is_some()) =>
        {
            existing.kept_from.max(ItemKey::first_of(floor))
        }
        _ => existing.kept_from,
    }
}

impl Channels {
    /// The lowest key of a channel that is listed: what lies below is past its retention.
    pub fn floor(&self, channel: &Channel) -> ItemKey {
        floor(channel, self.clock.now())
    }

    /// The lowest key of a channel that can still be read by its key.
    pub fn grace_floor(&self, channel: &Channel) -> ItemKey {
        grace_floor(channel, self.clock.now())
    }

    /// Says for how long the answer to a write is remembered (milliseconds): what is younger stays in
    /// the store, though it was given up.
    pub fn set_remembered(&self, millis: i64) {
        self.remembered.store(millis, Ordering::Relaxed);
    }

    /// Keeps nothing of a channel below a key any more, on all nodes and for as long as it exists;
    /// gives the channel as it is then.
    ///
    /// The key was counted by the configuration that `counted` has. If another number of items is
    /// to be kept by now, or another channel has the name, nothing is changed.
    ///
    /// # Errors
    /// [`ChannelError`]; [`CoordinationError::Conflict`] if it is to be counted again.
    pub(super) async fn keep_from(
        self: &Arc<Self>,
        counted: &Channel,
        lowest: ItemKey,
    ) -> Result<Arc<Channel>, ChannelError> {
        let (id, max_items) = (counted.id, counted.config.max_items);
        let name = counted.config.name.as_str().to_owned();
        let turn = async move |channels: Arc<Self>, key: String| {
            for _ in 0..TRIES {
                let existing = channels.ask(&key).await?;
                let Some(existing) = existing.filter(|existing| existing.id == id) else {
                    return Err(ChannelError::Missing { name });
                };
                if existing.kept_from >= lowest {
                    return Ok(existing);
                }
                if existing.config.max_items != max_items {
                    break;
                }
                let data = write(&existing.config, lowest, existing.historical_to);
                let coordination = &channels.coordination;
                let replaced = coordination.replace_channel(&key, existing.version, data);
                match replaced.await {
                    Ok(record) => return channels.keep(&record),
                    Err(CoordinationError::Conflict | CoordinationError::Missing) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(CoordinationError::Conflict.into())
        };
        let key = counted.config.name.key().to_owned();
        self.in_turn(key, turn).await
    }
}

impl Retention for Channels {
    fn keeps(&self, id: ChannelId) -> Keeps {
        let Some(channel) = self.numbered(id) else {
            return Keeps::Nothing;
        };
        // What is past retention stays readable by key for the grace, a record for as long as one of
        // its items does, and for as long as a client may ask once more what came of its write.
        let now = self.clock.now();
        let remembered = now.minus(self.remembered.load(Ordering::Relaxed));
        let floor = grace_floor(&channel, now).record_floor();
        let floor = floor.min(ItemKey::first_of(remembered));
        if floor == ItemKey::MIN {
            Keeps::All
        } else {
            Keeps::From(floor)
        }
    }
}

#[cfg(test)]
mod tests;
