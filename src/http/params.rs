//! What the query string of a request asks for.
//!
//! Queries are read leniently: a boolean is true only if its text is `true` in any case, the first
//! of several values counts, and what is not known is ignored. Only an unknown `epoch` or
//! `location` is an error.

use std::borrow::Cow;

use super::grammar::hex_byte;
use super::links::{is_path, push_encoded};
use crate::item::FieldError;

/// Which items a query sees, of a channel that takes historical ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Epoch {
    /// Historical and live ones.
    All,
    /// Historical ones.
    Mutable,
    /// Live ones.
    #[default]
    Immutable,
}

impl Epoch {
    const NAMES: [(&'static str, Self); 3] = [
        ("ALL", Self::All),
        ("MUTABLE", Self::Mutable),
        ("IMMUTABLE", Self::Immutable),
    ];
}

/// Which storage tier a query consults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Location {
    /// All of them.
    #[default]
    All,
    /// The nodes.
    Cache,
    /// The nodes' write cache.
    CacheWrite,
    /// The nodes' read cache.
    CacheRead,
    /// The archive.
    LongTerm,
    /// The archive's single items.
    LongTermSingle,
    /// The archive's batches.
    LongTermBatch,
}

impl Location {
    const NAMES: [(&'static str, Self); 7] = [
        ("ALL", Self::All),
        ("CACHE", Self::Cache),
        ("CACHE_WRITE", Self::CacheWrite),
        ("CACHE_READ", Self::CacheRead),
        ("LONG_TERM", Self::LongTerm),
        ("LONG_TERM_SINGLE", Self::LongTermSingle),
        ("LONG_TERM_BATCH", Self::LongTermBatch),
    ];
}

/// In which order a list shows its items; it never changes which those are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Oldest first.
    #[default]
    Ascending,
    /// Newest first.
    Descending,
}

/// The parameters that queries have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each independent parameter of the contract"
)]
pub struct Params {
    /// `stable`: only what can no longer change; the default.
    pub stable: bool,
    /// Whether `stable` was in the query at all.
    pub stable_sent: bool,
    /// `epoch`
    pub epoch: Epoch,
    /// `location`
    pub location: Location,
    /// `order`
    pub order: Order,
    /// `bulk` or its older name `batch`: the contents instead of links.
    pub bulk: bool,
    /// `trace`: with diagnostics.
    pub trace: bool,
    /// `tag`: over all channels that have it. As sent, unchecked, perhaps empty.
    pub tag: Option<String>,
    /// `inclusive`: the start position is listed too.
    pub inclusive: bool,
    /// `cached`: a channel's configuration may be slightly out of date; the default.
    pub cached: bool,
    repeat: String,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            stable: true,
            stable_sent: false,
            epoch: Epoch::default(),
            location: Location::default(),
            order: Order::default(),
            bulk: false,
            trace: false,
            tag: None,
            inclusive: false,
            cached: true,
            repeat: String::new(),
        }
    }
}

/// The first value of each known parameter.
#[derive(Default)]
struct Sent<'q> {
    stable: Option<Cow<'q, str>>,
    epoch: Option<Cow<'q, str>>,
    location: Option<Cow<'q, str>>,
    order: Option<Cow<'q, str>>,
    bulk: Option<Cow<'q, str>>,
    batch: Option<Cow<'q, str>>,
    trace: Option<Cow<'q, str>>,
    tag: Option<Cow<'q, str>>,
    inclusive: Option<Cow<'q, str>>,
    cached: Option<Cow<'q, str>>,
}

impl<'q> Sent<'q> {
    fn read(query: &'q str) -> Self {
        let mut sent = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match &*decode(name) {
                "stable" => &mut sent.stable,
                "epoch" => &mut sent.epoch,
                "location" => &mut sent.location,
                "order" => &mut sent.order,
                "bulk" => &mut sent.bulk,
                "batch" => &mut sent.batch,
                "trace" => &mut sent.trace,
                "tag" => &mut sent.tag,
                "inclusive" => &mut sent.inclusive,
                "cached" => &mut sent.cached,
                _ => continue,
            };
            if slot.is_none() {
                *slot = Some(decode(value));
            }
        }
        sent
    }
}

impl Params {
    /// Reads a query string, which is given without its `?`.
    ///
    /// # Errors
    /// [`FieldError`] if `epoch` or `location` has a value that does not exist.
    pub fn parse(query: Option<&str>) -> Result<Self, FieldError> {
        let Some(query) = query else {
            return Ok(Self::default());
        };
        let sent = Sent::read(query);
        Ok(Self {
            stable: sent.stable.as_deref().is_none_or(is_true),
            stable_sent: sent.stable.is_some(),
            epoch: one_of("epoch", sent.epoch, &Epoch::NAMES)?,
            location: one_of("location", sent.location, &Location::NAMES)?,
            order: match sent.order {
                Some(text) if text.starts_with(['d', 'D']) => Order::Descending,
                _ => Order::Ascending,
            },
            bulk: [sent.bulk, sent.batch].iter().flatten().any(|v| is_true(v)),
            trace: sent.trace.as_deref().is_some_and(is_true),
            tag: sent.tag.map(Cow::into_owned),
            inclusive: sent.inclusive.as_deref().is_some_and(is_true),
            cached: sent.cached.as_deref().is_none_or(is_true),
            repeat: repeat(Some(query)),
        })
    }

    /// The whole query once more, for links and redirects that keep it: [`repeat`].
    pub fn repeat(&self) -> &str {
        &self.repeat
    }

    /// `stable` alone once more, for links that keep nothing else: with its `?`, or empty if it
    /// was not sent.
    pub fn repeat_stable(&self) -> &'static str {
        match (self.stable_sent, self.stable) {
            (false, _) => "",
            (true, true) => "?stable=true",
            (true, false) => "?stable=false",
        }
    }
}

/// A query string as links and redirects repeat it: with its `?`, or empty if there is none.
///
/// It is what the client sent, to the byte, except that characters which may not stand in a URL
/// unencoded are encoded: so it can go between quotes into JSON, and into any header.
pub fn repeat(query: Option<&str>) -> String {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return String::new();
    };
    let mut out = String::with_capacity(1 + query.len());
    out.push('?');
    push_encoded(&mut out, query, |b| is_path(b) || b == b'?' || b == b'%');
    out
}

/// The first value of a parameter.
pub fn value<'q>(query: Option<&'q str>, name: &str) -> Option<Cow<'q, str>> {
    let mut pairs = query?
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(found, _)| decode(found) == name)?;
    Some(decode(value))
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// The value of that name; the default if none was sent.
fn one_of<T: Copy + Default>(
    field: &'static str,
    sent: Option<Cow<'_, str>>,
    names: &[(&'static str, T)],
) -> Result<T, FieldError> {
    let Some(sent) = sent else {
        return Ok(T::default());
    };
    let known = names.iter().find(|(name, _)| *name == sent);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        FieldError {
            field,
            value: sent.into_owned(),
            rule: format!("one of {}", all.join(", ")),
        }
    })
}

/// Undoes the encoding of forms. What is no encoding stands for itself, bytes that are no UTF-8
/// become the replacement character: a query is never wrong for its spelling.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let encoded = after
            .split_first_chunk()
            .filter(|_| byte == b'%')
            .and_then(|(pair, after)| Some((hex_byte(*pair)?, after)));
        if let Some((decoded, after)) = encoded {
            bytes.push(decoded);
            rest = after;
        } else {
            bytes.push(if byte == b'+' { b' ' } else { byte });
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
