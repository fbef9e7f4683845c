//! What a client sends to create or change a channel.

use serde_json::{Map, Value};

use super::error::{ConfigError, shown};

/// What `ttlDays` may be. Its end is that of the numbers it is kept as.
pub(super) const TTL_DAYS_RULE: &str = "a whole number from 0 to 9223372036854775807";
/// What `maxItems` may be.
pub(super) const MAX_ITEMS_RULE: &str = "a whole number from 0 to 5000";

/// What a client asks for, field by field: checked for the types of values, but not yet for the
/// values themselves, since what is allowed depends on the channel.
///
/// The default asks for nothing. Fields that clients cannot set (`creationDate`) and unknown ones
/// are dropped.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigUpdate {
    // Any JSON: where the name comes from the path, the one in the body is not even looked at.
    pub(super) name: Sent<Value>,
    pub(super) owner: Sent<String>,
    pub(super) description: Sent<String>,
    pub(super) ttl_days: Sent<i64>,
    pub(super) max_items: Sent<i64>,
    pub(super) keep_forever: Sent<bool>,
    pub(super) mutable_time: Sent<String>,
    pub(super) tags: Sent<Vec<String>>,
    pub(super) replication_source: Sent<String>,
    pub(super) storage: Sent<String>,
    pub(super) protect: Sent<bool>,
    pub(super) allow_zero_bytes: Sent<bool>,
    pub(super) secondary_metrics_reporting: Sent<bool>,
    /// Whether the caller is on this machine: protection holds back others.
    pub(super) local: bool,
}

impl ConfigUpdate {
    /// The same, asked for by a caller on this machine, or by another one.
    #[must_use]
    pub fn by_local(mut self, local: bool) -> Self {
        self.local = local;
        self
    }
}

/// A field of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Sent<T> {
    /// It was left out.
    #[default]
    Absent,
    /// It was `null`.
    Null,
    /// It had a value.
    Value(T),
}

/// What a request is about to do, and so what `null` means in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Create a channel: `null` says nothing.
    Create,
    /// Change one: `null` is the empty value, so no text, zero or false.
    Change,
}

impl<T: Default + Clone> Sent<T> {
    /// The value asked for, or `None` if nothing is.
    pub(super) fn get(&self, occasion: Occasion) -> Option<T> {
        match (self, occasion) {
            (Self::Value(value), _) => Some(value.clone()),
            (Self::Null, Occasion::Change) => Some(T::default()),
            (Self::Null, Occasion::Create) | (Self::Absent, _) => None,
        }
    }
}

impl ConfigUpdate {
    /// Reads the body of a request, which must be a JSON object.
    ///
    /// Numbers may come as numeric texts (`"14"`) and switches as `"true"` or `"false"` in any
    /// case, for there are clients that send them so.
    ///
    /// # Errors
    /// [`ConfigError::Malformed`] and [`ConfigError::NotAnObject`] for another body, also an empty
    /// one; [`ConfigError::Field`] for a field whose value has the wrong type.
    pub fn parse(body: &[u8]) -> Result<Self, ConfigError> {
        let value = serde_json::from_slice(body).map_err(|error| ConfigError::Malformed {
            reason: error.to_string(),
        })?;
        let Value::Object(mut fields) = value else {
            return Err(ConfigError::NotAnObject {
                value: shown(&value.to_string()),
            });
        };
        let fields = &mut fields;
        Ok(Self {
            name: take(fields, "name", "", Ok)?,
            owner: text(fields, "owner")?,
            description: text(fields, "description")?,
            ttl_days: whole(fields, "ttlDays", TTL_DAYS_RULE)?,
            max_items: whole(fields, "maxItems", MAX_ITEMS_RULE)?,
            keep_forever: switch(fields, "keepForever")?,
            mutable_time: text(fields, "mutableTime")?,
            tags: take(fields, "tags", "a list of strings", as_list)?,
            replication_source: text(fields, "replicationSource")?,
            storage: text(fields, "storage")?,
            protect: switch(fields, "protect")?,
            allow_zero_bytes: switch(fields, "allowZeroBytes")?,
            secondary_metrics_reporting: switch(fields, "secondaryMetricsReporting")?,
            local: false,
        })
    }

    /// As [`Self::parse`], but a body that is empty or blank asks for nothing. For requests that
    /// need no body.
    ///
    /// # Errors
    /// Those of [`Self::parse`].
    pub fn parse_optional(body: &[u8]) -> Result<Self, ConfigError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        Self::parse(body)
    }
}

type Fields = Map<String, Value>;

/// Takes a field out of the object. `read` gives back the value that is not of its type.
fn take<T>(
    fields: &mut Fields,
    field: &'static str,
    rule: &'static str,
    read: impl FnOnce(Value) -> Result<T, Value>,
) -> Result<Sent<T>, ConfigError> {
    match fields.remove(field) {
        None => Ok(Sent::Absent),
        Some(Value::Null) => Ok(Sent::Null),
        Some(value) => match read(value) {
            Ok(value) => Ok(Sent::Value(value)),
            Err(other) => Err(ConfigError::broken(field, &plain(&other), rule)),
        },
    }
}

fn text(fields: &mut Fields, field: &'static str) -> Result<Sent<String>, ConfigError> {
    take(fields, field, "a string", as_text)
}

fn whole(
    fields: &mut Fields,
    field: &'static str,
    rule: &'static str,
) -> Result<Sent<i64>, ConfigError> {
    take(fields, field, rule, as_whole)
}

fn switch(fields: &mut Fields, field: &'static str) -> Result<Sent<bool>, ConfigError> {
    take(fields, field, "true or false", as_switch)
}

fn as_text(value: Value) -> Result<String, Value> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(other),
    }
}

/// Gives back the first element that is no text.
fn as_list(value: Value) -> Result<Vec<String>, Value> {
    match value {
        Value::Array(elements) => elements.into_iter().map(as_text).collect(),
        other => Err(other),
    }
}

fn as_switch(value: Value) -> Result<bool, Value> {
    match &value {
        Value::Bool(on) => Ok(*on),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(value),
    }
}

/// `14`, `"14"` and, since some languages know no other numbers, `14.0`.
fn as_whole(value: Value) -> Result<i64, Value> {
    let number = match &value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().and_then(whole_float)),
        Value::String(text) => {
            let text = text.trim();
            let float = || text.parse().ok().and_then(whole_float);
            text.parse().ok().or_else(float)
        }
        _ => None,
    };
    number.ok_or(value)
}

/// The integer that this is exactly. Beyond 2^53 a float no longer says which one was meant.
fn whole_float(float: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
}

/// The value as a person would write it: texts without quotes, all else as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
