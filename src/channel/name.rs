//! Names of channels.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// The name of a channel: 1 to 48 characters of `[A-Za-z0-9_-]`.
///
/// It is shown as it was first spelled, but names that differ only in case are the same name: they
/// are equal, hash and sort alike. Cloning is cheap.
// `key` is `display` in lower case, and shares its text when there is nothing to lower.
#[derive(Clone)]
pub struct ChannelName {
    display: Arc<str>,
    key: Arc<str>,
}

/// Why a text is no channel name.
///
/// Length is checked before characters, so [`Self::Characters`] means that the length is fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing is left once blanks around it are gone.
    #[error(
        "a channel name has 1 to {} characters; this one is blank",
        ChannelName::MAX_CHARS
    )]
    Blank,
    /// It has too many characters.
    #[error(
        "a channel name has 1 to {} characters; this one has {chars}",
        ChannelName::MAX_CHARS
    )]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// It holds something else than letters, digits, `_` and `-`.
    #[error("a channel name is made of A-Z, a-z, 0-9, _ and - only")]
    Characters,
}

impl ChannelName {
    /// The longest a name may be, in characters.
    pub const MAX_CHARS: usize = 48;

    /// Reads a name. Blanks around it are dropped, so that a name means the same channel whether
    /// it comes from a body or from a path.
    ///
    /// # Errors
    /// [`NameError`]: blank, too long, or with characters that no name has, in this order.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameError::Blank);
        }
        let chars = text.chars().count();
        if chars > Self::MAX_CHARS {
            return Err(NameError::TooLong { chars });
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !text.bytes().all(allowed) {
            return Err(NameError::Characters);
        }
        let display: Arc<str> = text.into();
        let key = if text.bytes().any(|b| b.is_ascii_uppercase()) {
            text.to_ascii_lowercase().into()
        } else {
            Arc::clone(&display)
        };
        Ok(Self { display, key })
    }

    /// The name as it was spelled, for showing it.
    pub fn as_str(&self) -> &str {
        &self.display
    }

    /// The name in lower case: what look-ups, placement and stored keys go by.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for ChannelName {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for ChannelName {}

impl Hash for ChannelName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Ord for ChannelName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for ChannelName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.display)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.display, f)
    }
}

impl Serialize for ChannelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.display)
    }
}

impl<'de> Deserialize<'de> for ChannelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text).unwrap()
    }

    #[test]
    fn names_are_checked_for_length_then_for_characters() {
        for good in ["a", "A-b_9", "-", &"x".repeat(48)] {
            assert_eq!(name(good).as_str(), good);
        }
        assert_eq!(name(" \torders\n").as_str(), "orders");
        assert_eq!(name(&format!(" {} ", "x".repeat(48))).as_str().len(), 48);
        for (bad, error) in [
            ("", NameError::Blank),
            (" \t\n ", NameError::Blank),
            (&"x".repeat(49), NameError::TooLong { chars: 49 }),
            (&"ä".repeat(49), NameError::TooLong { chars: 49 }),
            (&"ä".repeat(48), NameError::Characters),
            ("a b", NameError::Characters),
            ("a/b", NameError::Characters),
            ("a.b", NameError::Characters),
            ("a:b", NameError::Characters),
            ("K\u{212a}", NameError::Characters),
        ] {
            assert_eq!(ChannelName::parse(bad).unwrap_err(), error, "{bad:?}");
        }
    }

    #[test]
    fn case_shows_but_does_not_count() {
        let (upper, lower) = (name("Orders"), name("orders"));
        assert_eq!(upper.as_str(), "Orders");
        assert_eq!(upper.to_string(), "Orders");
        assert_eq!(upper.key(), "orders");
        assert_eq!(upper, lower);
        assert_eq!(upper.cmp(&lower), Ordering::Equal);
        assert_ne!(upper, name("order"));
        assert!(name("a") < name("B") && name("B") < name("c"));
        let set = HashSet::from([upper]);
        assert!(set.contains(&lower) && !set.contains(&name("other")));
    }

    #[test]
    fn stored_names_keep_their_spelling_and_are_checked() {
        let stored = serde_json::to_string(&name("Orders")).unwrap();
        assert_eq!(stored, r#""Orders""#);
        let read: ChannelName = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.as_str(), "Orders");
        assert!(serde_json::from_str::<ChannelName>(r#""a b""#).is_err());
    }
}
