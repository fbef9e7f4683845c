//! The configuration of a channel: what it is, how a client's wishes change it, how it is shown.
//!
//! All pure: a [`ConfigUpdate`] is what a client sent, [`create`] and [`merge`] turn it into a
//! [`ChannelConfig`] or refuse it with a [`ConfigError`], and nothing else makes one (but reading a
//! stored one back). Whether a name is taken, and whether the caller may change a protected channel,
//! is for the caller to say.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::name::ChannelName;
use crate::env::Millis;

mod error;
mod rules;
mod stored;
mod update;

pub use error::{ConfigError, ErrorKind};
pub use rules::{create, merge, name_of};
pub use update::ConfigUpdate;

const DAY_MILLIS: i64 = 86_400_000;

/// How long beyond its retention an item can still be read by its key, in milliseconds.
// Clients page with keys they were given earlier, so that a listed item must not vanish while they
// are on the way to it.
const GRACE_MILLIS: i64 = 15 * 60_000;

/// What a channel is and how long it keeps its items.
///
/// Read the fields freely; change them only through [`merge`], which keeps what is said of them
/// here. Serialized, this is the stored form: its field names are fixed, and unknown ones that a
/// later version wrote are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    clippy::struct_excessive_bools,
    reason = "four independent switches of the public API"
)]
pub struct ChannelConfig {
    /// Its name, as spelled when it was created.
    pub name: ChannelName,
    /// Who answers for it: trimmed, at most [`Self::OWNER_MAX_CHARS`] characters, not blank when
    /// [`Self::protect`] is on.
    #[serde(default)]
    pub owner: String,
    /// Free text, at most [`Self::DESCRIPTION_MAX_CHARS`] characters.
    #[serde(default)]
    pub description: String,
    /// Days after which an item is gone; 0 when items are kept by another rule.
    ///
    /// Unless [`Self::keep_forever`] is on, exactly one of this, [`Self::max_items`] and
    /// [`Self::mutable_time`] is set; with it, this and `max_items` are 0.
    pub ttl_days: u64,
    /// How many of the newest items are kept, at most [`Self::MAX_ITEMS_LIMIT`]; 0 when items are
    /// kept by another rule.
    ///
    /// It is enforced from time to time, not at each write: a channel may hold and list more items
    /// than this for some hours. What was given up then stays given up, whatever the retention
    /// becomes; [`Channel::kept_from`](super::Channel::kept_from) says where that ends.
    pub max_items: u32,
    /// Whether no item is ever removed for its age or number.
    pub keep_forever: bool,
    /// The time up to which items can be written, replaced and deleted by key; later ones are
    /// immutable. It only ever moves backwards, and needs [`Storage::Single`].
    #[serde(default, with = "stored::optional_millis")]
    pub mutable_time: Option<Millis>,
    /// At most [`Self::TAGS_MAX`], each 1 to [`Self::TAG_MAX_CHARS`] characters of `[A-Za-z0-9:-]`.
    ///
    /// [`Self::TAG_HISTORICAL`] is among them exactly when [`Self::mutable_time`] is set, and
    /// [`Self::TAG_REPLICATED`] exactly when [`Self::replication_source`] is.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// URL of the channel that this one is a copy of; empty when it is none. Not checked.
    #[serde(default)]
    pub replication_source: String,
    /// The form in which items are archived.
    pub storage: Storage,
    /// Whether others than local callers are kept from changing the channel in ways that lose data.
    #[serde(default)]
    pub protect: bool,
    /// Whether an item may be empty.
    #[serde(default = "stored::yes")]
    pub allow_zero_bytes: bool,
    /// A flag that clients set for their own use; the hub only remembers it.
    #[serde(default)]
    pub secondary_metrics_reporting: bool,
    /// When the channel was created. Never changes.
    #[serde(with = "stored::millis")]
    pub creation_date: Millis,
}

/// The form in which a channel's items are archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Storage {
    /// One object for each item.
    Single,
    /// One object for all items of a period.
    Batch,
    /// Both.
    Both,
}

impl Storage {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Single, Self::Batch, Self::Both];

    /// `SINGLE`, `BATCH` or `BOTH`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "SINGLE",
            Self::Batch => "BATCH",
            Self::Both => "BOTH",
        }
    }

    /// The form of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|storage| storage.name().eq_ignore_ascii_case(name))
    }
}

/// What a new channel gets where its creator says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// Days that items are kept when no retention is given; 0 counts as [`Self::TTL_DAYS`].
    pub ttl_days: u64,
    /// Whether it is protected, so that it needs an owner.
    pub protect: bool,
}

impl Defaults {
    /// Days that items are kept when no retention is given and none is configured. Also what a
    /// channel falls back to when an update takes its retention away.
    pub const TTL_DAYS: u64 = 120;
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            ttl_days: Self::TTL_DAYS,
            protect: false,
        }
    }
}

impl ChannelConfig {
    /// The longest an owner may be, in characters.
    pub const OWNER_MAX_CHARS: usize = 48;
    /// The longest a description may be, in characters.
    pub const DESCRIPTION_MAX_CHARS: usize = 1024;
    /// The largest [`Self::max_items`].
    pub const MAX_ITEMS_LIMIT: u32 = 5000;
    /// The most tags a channel may have, those that the hub adds included.
    pub const TAGS_MAX: usize = 20;
    /// The longest a tag may be, in characters.
    pub const TAG_MAX_CHARS: usize = 48;
    /// The tag of channels with a [`Self::mutable_time`].
    pub const TAG_HISTORICAL: &'static str = "historical";
    /// The tag of channels with a [`Self::replication_source`].
    pub const TAG_REPLICATED: &'static str = "replicated";

    /// The time below which items are no longer listed; `None` when they are kept by their number,
    /// or for ever.
    pub fn floor(&self, now: Millis) -> Option<Millis> {
        (self.ttl_days > 0).then(|| {
            let days = i64::try_from(self.ttl_days).unwrap_or(i64::MAX);
            now.minus(days.saturating_mul(DAY_MILLIS))
        })
    }

    /// The time below which an item is not even found by its key: 15 minutes before
    /// [`Self::floor`].
    pub fn grace_floor(&self, now: Millis) -> Option<Millis> {
        self.floor(now).map(|floor| floor.minus(GRACE_MILLIS))
    }

    /// The channel as clients see it, without links.
    ///
    /// Sent back unchanged as an update, it changes nothing.
    pub fn to_json(&self) -> Map<String, Value> {
        let mutable_time = self.mutable_time.map(Millis::iso).unwrap_or_default();
        [
            ("name", json!(self.name)),
            ("allowZeroBytes", json!(self.allow_zero_bytes)),
            (
                "secondaryMetricsReporting",
                json!(self.secondary_metrics_reporting),
            ),
            ("creationDate", json!(self.creation_date.iso())),
            ("description", json!(self.description)),
            ("maxItems", json!(self.max_items)),
            ("mutableTime", json!(mutable_time)),
            ("owner", json!(self.owner)),
            ("protect", json!(self.protect)),
            ("replicationSource", json!(self.replication_source)),
            ("storage", json!(self.storage.name())),
            ("tags", json!(self.tags)),
            ("ttlDays", json!(self.ttl_days)),
            ("keepForever", json!(self.keep_forever)),
        ]
        .into_iter()
        .map(|(field, value)| (field.to_owned(), value))
        .collect()
    }
}

/// Reads any bytes as what clients send to make a channel, and then to change it: two bodies with a line
/// end between them.
///
/// # Panics
/// If what is made breaks a rule of its own: that is what a fuzzer looks for.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let at = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (first, second) = data.split_at(at);
    let (Ok(first), second) = (
        ConfigUpdate::parse(first),
        ConfigUpdate::parse_optional(second),
    ) else {
        return;
    };
    let now = Millis::new(1_790_000_000_000);
    let Ok(made) = create(&first, Some("fuzzed"), &Defaults::default(), now) else {
        return;
    };
    // Sent again it changes nothing.
    let again = merge(&made, &ConfigUpdate::default(), now);
    assert_eq!(again.as_ref(), Ok(&made));
    let Ok(second) = second else { return };
    for second in [second.clone().by_local(true), second] {
        if let Ok(changed) = merge(&made, &second, now) {
            assert!(changed.tags.len() <= ChannelConfig::TAGS_MAX);
            assert_eq!(changed.creation_date, made.creation_date);
        }
    }
}

#[cfg(test)]
mod tests;
