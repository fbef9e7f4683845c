//! The name of a member.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name a member may have, in bytes: the longest domain name that DNS knows.
pub const MAX_NAME_BYTES: usize = 253;

/// One hub process, named by its fully qualified domain name.
///
/// The name is the identity of the process: it is what the ring hashes, so two spellings of one
/// name would be two members. Names are therefore lower-cased when they are made, and hold nothing
/// but `a-z`, `0-9`, `.`, `-`, `_` and `:` (the colon so that `host:port` can name the processes of
/// one machine). Members order by the bytes of their names. A clone is cheap: the name is shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(Arc<str>);

/// Why a string does not name a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The name has no characters.
    #[error("a member's name must not be empty")]
    Empty,
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("a member's name has {bytes} bytes, more than the {limit} allowed")]
    TooLong {
        /// The length of the name that was refused, in bytes.
        bytes: usize,
        /// [`MAX_NAME_BYTES`].
        limit: usize,
    },
    /// The name holds a character outside `a-z 0-9 . - _ :`.
    #[error(
        "a member's name must not hold {found:?} (at byte {at}): a-z, 0-9, '.', '-', '_' and ':' may"
    )]
    Character {
        /// The character that was refused.
        found: char,
        /// Where it starts in the name, in bytes.
        at: usize,
    },
}

impl Member {
    /// Makes a member of a name; upper-case ASCII letters are lower-cased.
    ///
    /// # Errors
    ///
    /// [`MemberError`] if the name is empty, too long, or holds another character than those
    /// allowed.
    pub fn new(name: &str) -> Result<Self, MemberError> {
        if name.is_empty() {
            return Err(MemberError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(MemberError::TooLong {
                bytes: name.len(),
                limit: MAX_NAME_BYTES,
            });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if let Some((at, found)) = name.char_indices().find(|&(_, c)| !allowed(c)) {
            return Err(MemberError::Character { found, at });
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    /// The name, lower-cased.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(name: &str) -> Result<Self, MemberError> {
        Self::new(name)
    }
}

impl AsRef<str> for Member {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Member {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_cased() {
        let member = Member::new("Hub-1.Example.COM:8080").unwrap();
        assert_eq!(member.as_str(), "hub-1.example.com:8080");
        assert_eq!(member, "hub-1.example.com:8080".parse().unwrap());
    }

    #[test]
    fn names_that_are_refused() {
        assert_eq!(Member::new(""), Err(MemberError::Empty));
        assert!(Member::new(&"a".repeat(253)).is_ok());
        assert_eq!(
            Member::new(&"a".repeat(254)),
            Err(MemberError::TooLong {
                bytes: 254,
                limit: 253
            })
        );
        assert_eq!(
            Member::new("hub 1"),
            Err(MemberError::Character { found: ' ', at: 3 })
        );
        // A letter that lower-cases outside ASCII must not slip in as another name.
        assert_eq!(
            Member::new("hub-\u{212a}"),
            Err(MemberError::Character {
                found: '\u{212a}',
                at: 4
            })
        );
        for bad in ["a/b", "a\0b", "a\nb", "ä", "a,b", "a+b"] {
            assert!(
                matches!(Member::new(bad), Err(MemberError::Character { .. })),
                "{bad:?}"
            );
        }
    }
}
