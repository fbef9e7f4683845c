//! The rules of a configuration, in the order in which they are checked.
//!
//! The first rule that is broken is the one reported, and clients rely on which one that is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::{ConfigError, shown};
use super::update::{MAX_ITEMS_RULE, Occasion, Sent, TTL_DAYS_RULE, plain};
use super::{ChannelConfig, ConfigUpdate, Defaults, Storage};
use crate::channel::name::{ChannelName, NameError};
use crate::env::Millis;

/// The configuration of a new channel. In it, `null` says nothing.
///
/// `path_name` is the name where the request's path gives one; the one in the body then does not
/// count. `now` becomes the creation date.
///
/// # Errors
/// The first rule that the request breaks. Whether the name is taken is to be checked before this,
/// see [`name_of`].
pub fn create(
    update: &ConfigUpdate,
    path_name: Option<&str>,
    defaults: &Defaults,
    now: Millis,
) -> Result<ChannelConfig, ConfigError> {
    let blank = ChannelConfig {
        name: name_of(update, path_name)?,
        owner: String::new(),
        description: String::new(),
        ttl_days: 0,
        max_items: 0,
        keep_forever: false,
        mutable_time: None,
        tags: BTreeSet::new(),
        replication_source: String::new(),
        storage: Storage::Batch,
        protect: defaults.protect,
        allow_zero_bytes: true,
        secondary_metrics_reporting: false,
        creation_date: now,
    };
    let request = Request {
        update,
        occasion: Occasion::Create,
        ttl_days: match defaults.ttl_days {
            0 => Defaults::TTL_DAYS,
            days => days,
        },
        now,
    };
    request.apply(blank)
}

/// The configuration of an existing channel after a change. Fields not sent stay as they are, `null`
/// empties them, and the name in the update does not count.
///
/// # Errors
/// The first rule that the result would break; last of all [`ConfigError::Protected`].
pub fn merge(
    existing: &ChannelConfig,
    update: &ConfigUpdate,
    now: Millis,
) -> Result<ChannelConfig, ConfigError> {
    let request = Request {
        update,
        occasion: Occasion::Change,
        ttl_days: Defaults::TTL_DAYS,
        now,
    };
    let result = request.apply(existing.clone())?;
    if !update.local && (existing.protect || result.protect) {
        protect(existing, &result)?;
    }
    Ok(result)
}

/// What protection forbids those who are not on the hub's machine: whatever could lose items, or whose
/// they are.
fn protect(before: &ChannelConfig, after: &ChannelConfig) -> Result<(), ConfigError> {
    let refuse = |field, value: String, rule: &'static str| {
        let rule = rule.into();
        Err(ConfigError::Protected { field, value, rule })
    };
    if before.protect && !after.protect {
        return refuse("protect", "false".to_owned(), "true, once it is");
    }
    if before.storage != after.storage && after.storage != Storage::Both {
        let value = after.storage.name().to_owned();
        return refuse("storage", value, "as it is, or BOTH");
    }
    if !before.owner.is_empty() && before.owner != after.owner {
        return refuse("owner", shown(&after.owner), "as it is, once it is set");
    }
    if let Some(gone) = before.tags.difference(&after.tags).next() {
        return refuse(
            "tags",
            format!("without {gone}"),
            "all that there are, and more",
        );
    }
    if before.keep_forever && !after.keep_forever {
        return refuse("keepForever", "false".to_owned(), "true, once it is");
    }
    if !after.keep_forever {
        if after.max_items < before.max_items {
            return refuse(
                "maxItems",
                after.max_items.to_string(),
                "no less than it is",
            );
        }
        if after.ttl_days < before.ttl_days {
            return refuse("ttlDays", after.ttl_days.to_string(), "no less than it is");
        }
    }
    let source = &before.replication_source;
    if !source.is_empty() && *source != after.replication_source {
        let value = shown(&after.replication_source);
        return refuse("replicationSource", value, "as it is, once it is set");
    }
    Ok(())
}

/// The name of the channel that a request is to create: the first checks of [`create`].
///
/// For callers that must know whether the name is taken: this comes before it in the order of
/// checks, and the rest of [`create`] after it.
///
/// # Errors
/// The first of these that applies: no name, a blank or too long one, too long an owner, a name
/// with characters that no name has.
pub fn name_of(update: &ConfigUpdate, path_name: Option<&str>) -> Result<ChannelName, ConfigError> {
    let text = match (path_name, &update.name) {
        (Some(text), _) => text,
        (None, Sent::Value(Value::String(text))) => text.as_str(),
        (None, Sent::Value(other)) => {
            return Err(ConfigError::broken("name", &plain(other), "a string"));
        }
        (None, Sent::Absent | Sent::Null) => return Err(ConfigError::NameMissing),
    };
    let name = ChannelName::parse(text);
    if let Err(error @ (NameError::Blank | NameError::TooLong { .. })) = name {
        return Err(ConfigError::bad_name(text, error));
    }
    owner(update, Occasion::Create)?;
    name.map_err(|error| ConfigError::bad_name(text, error))
}

/// A request, and what it meets.
struct Request<'a> {
    update: &'a ConfigUpdate,
    occasion: Occasion,
    /// Days to keep items when no retention is left.
    ttl_days: u64,
    now: Millis,
}

impl Request<'_> {
    /// What becomes of a configuration.
    fn apply(&self, mut config: ChannelConfig) -> Result<ChannelConfig, ConfigError> {
        let (update, occasion) = (self.update, self.occasion);
        if let Some(owner) = owner(update, occasion)? {
            config.owner = owner;
        }
        self.retain(&mut config)?;
        if let Some(description) = update.description.get(occasion) {
            check_description(&description)?;
            config.description = description;
        }
        if let Some(source) = update.replication_source.get(occasion) {
            let source = source.trim();
            if !source.is_empty() {
                let rule = "\"\": this hub does not copy channels of other hubs yet";
                return Err(ConfigError::broken("replicationSource", source, rule));
            }
            config.replication_source = String::new();
        }
        self.tag(&mut config)?;
        config.storage = self.storage(&config)?;
        if let Some(protect) = update.protect.get(occasion) {
            config.protect = protect;
        }
        if config.protect && config.owner.is_empty() {
            let rule = "set when protect is true";
            return Err(ConfigError::broken("owner", &config.owner, rule));
        }
        if let Some(allow) = update.allow_zero_bytes.get(occasion) {
            config.allow_zero_bytes = allow;
        }
        if let Some(report) = update.secondary_metrics_reporting.get(occasion) {
            config.secondary_metrics_reporting = report;
        }
        Ok(config)
    }

    /// Settles how long items are kept: by age, by number, by a mutable time, or for ever.
    fn retain(&self, config: &mut ChannelConfig) -> Result<(), ConfigError> {
        let (update, occasion) = (self.update, self.occasion);
        if let Some(keep) = update.keep_forever.get(occasion) {
            config.keep_forever = keep;
        }
        let kept = |days: u64| i64::try_from(days).unwrap_or(i64::MAX);
        let (ttl_days, max_items) = if config.keep_forever {
            (0, 0)
        } else {
            (
                (update.ttl_days.get(occasion)).unwrap_or(kept(config.ttl_days)),
                (update.max_items.get(occasion)).unwrap_or(config.max_items.into()),
            )
        };
        let mutable_text = (update.mutable_time.get(occasion))
            .unwrap_or_else(|| config.mutable_time.map(Millis::iso).unwrap_or_default());
        let mutable_text = mutable_text.trim();
        only_one(ttl_days, max_items, mutable_text)?;

        config.mutable_time = self.mutable_time(mutable_text, config.mutable_time)?;
        // A storage that does not exist is refused here too, as one that is not SINGLE.
        if config.mutable_time.is_some() && self.storage(config) != Ok(Storage::Single) {
            let sent = update.storage.get(occasion);
            let storage = sent.as_deref().unwrap_or(config.storage.name());
            let rule = "SINGLE when mutableTime is set";
            return Err(ConfigError::broken("storage", storage, rule));
        }
        config.max_items = u32::try_from(max_items)
            .ok()
            .filter(|max_items| *max_items <= ChannelConfig::MAX_ITEMS_LIMIT)
            .ok_or_else(|| {
                ConfigError::broken("maxItems", &max_items.to_string(), MAX_ITEMS_RULE)
            })?;
        config.ttl_days = u64::try_from(ttl_days)
            .map_err(|_| ConfigError::broken("ttlDays", &ttl_days.to_string(), TTL_DAYS_RULE))?;
        let nothing =
            config.ttl_days == 0 && config.max_items == 0 && config.mutable_time.is_none();
        if nothing && !config.keep_forever {
            config.ttl_days = self.ttl_days;
        }
        Ok(())
    }

    /// The mutable time that a text stands for; a blank one for none.
    fn mutable_time(
        &self,
        text: &str,
        before: Option<Millis>,
    ) -> Result<Option<Millis>, ConfigError> {
        if text.is_empty() {
            return Ok(None);
        }
        let refuse = |rule: String| Err(ConfigError::broken("mutableTime", text, rule));
        let Ok(time) = Millis::parse_iso(text) else {
            return refuse("an ISO 8601 date with optional time and offset, or \"\"".to_owned());
        };
        // One that stays as it is passes, even where this clock is behind the one that set it.
        if before == Some(time) {
            return Ok(before);
        }
        if time > self.now {
            return refuse(format!("no later than now, {}", self.now));
        }
        match before {
            Some(before) if time > before => refuse(format!(
                "no later than it is, {before}: it only moves backwards"
            )),
            _ => Ok(Some(time)),
        }
    }

    /// Takes over the tags sent, and adds and removes those that follow from other fields.
    fn tag(&self, config: &mut ChannelConfig) -> Result<(), ConfigError> {
        match &self.update.tags {
            Sent::Value(tags) => {
                for tag in tags {
                    check_tag(tag)?;
                }
                config.tags = tags.iter().cloned().collect();
            }
            Sent::Null if self.occasion == Occasion::Change => {
                return Err(ConfigError::broken("tags", "null", "a list of strings"));
            }
            Sent::Null | Sent::Absent => {}
        }
        for (tag, on) in [
            (ChannelConfig::TAG_HISTORICAL, config.mutable_time.is_some()),
            (
                ChannelConfig::TAG_REPLICATED,
                !config.replication_source.is_empty(),
            ),
        ] {
            if on {
                config.tags.insert(tag.to_owned());
            } else {
                config.tags.remove(tag);
            }
        }
        if config.tags.len() > ChannelConfig::TAGS_MAX {
            let value = format!("{} tags", config.tags.len());
            let rule = "at most 20, with historical and replicated where the hub adds them";
            return Err(ConfigError::broken("tags", &value, rule));
        }
        Ok(())
    }

    /// The storage asked for. A blank one, and none for a new channel, is the one that goes with
    /// the retention.
    fn storage(&self, config: &ChannelConfig) -> Result<Storage, ConfigError> {
        let fitting = match config.mutable_time {
            Some(_) => Storage::Single,
            None => Storage::Batch,
        };
        match self.update.storage.get(self.occasion) {
            Some(text) if text.trim().is_empty() => Ok(fitting),
            Some(text) => Storage::from_name(&text)
                .ok_or_else(|| ConfigError::broken("storage", &text, "SINGLE, BATCH or BOTH")),
            None if self.occasion == Occasion::Create => Ok(fitting),
            None => Ok(config.storage),
        }
    }
}

/// The owner asked for, if any.
fn owner(update: &ConfigUpdate, occasion: Occasion) -> Result<Option<String>, ConfigError> {
    let Some(text) = update.owner.get(occasion) else {
        return Ok(None);
    };
    let owner = text.trim();
    if owner.chars().count() > ChannelConfig::OWNER_MAX_CHARS {
        return Err(ConfigError::broken(
            "owner",
            owner,
            "at most 48 characters long",
        ));
    }
    Ok(Some(owner.to_owned()))
}

/// Checks that at most one kind of retention is asked for.
fn only_one(ttl_days: i64, max_items: i64, mutable_time: &str) -> Result<(), ConfigError> {
    let mut set = Vec::new();
    if ttl_days > 0 {
        set.push(("ttlDays", ttl_days.to_string()));
    }
    if max_items > 0 {
        set.push(("maxItems", max_items.to_string()));
    }
    if !mutable_time.is_empty() {
        set.push(("mutableTime", shown(mutable_time)));
    }
    if set.len() < 2 {
        return Ok(());
    }
    let (fields, values): (Vec<_>, Vec<_>) = set.into_iter().unzip();
    Err(ConfigError::Retention {
        fields: fields.join(", "),
        values: values.join(", "),
    })
}

fn check_description(text: &str) -> Result<(), ConfigError> {
    if text.chars().count() > ChannelConfig::DESCRIPTION_MAX_CHARS {
        let rule = "at most 1024 characters long";
        return Err(ConfigError::broken("description", text, rule));
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), ConfigError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b':' || b == b'-';
    // Characters are bytes where all are allowed, and where not it is refused anyway.
    if (1..=ChannelConfig::TAG_MAX_CHARS).contains(&tag.len()) && tag.bytes().all(allowed) {
        return Ok(());
    }
    let rule = "1 to 48 characters each, of A-Z, a-z, 0-9, : and -";
    Err(ConfigError::broken("tags", tag, rule))
}
