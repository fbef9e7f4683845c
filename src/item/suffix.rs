//! The tie-breaker of a key within its millisecond.
//!
//! The hub writes six characters: a four-character counter within the millisecond and the
//! two-character slot of the node that stamped it, all base 62 in ASCII order. So suffixes of one
//! node sort in the order they were stamped, and two nodes never write the same one.

use std::fmt;

use thiserror::Error;

/// The digits of base 62 in ASCII order, so that numbers of equal length sort as their texts do.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const COUNTER_CHARS: usize = 4;
const COUNTER_END: u32 = 62 * 62 * 62 * 62;

/// 1 to 31 characters of `[0-9A-Za-z]`, ordered by their ASCII bytes.
///
/// The empty suffix exists too, as the position before every item of a millisecond; no item has it.
// Unused bytes are zero and zero sorts before every character, so the derived order (bytes, then
// length) is the order of the texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suffix {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

/// Why a text is no suffix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SuffixError {
    /// It has no characters, or too many.
    #[error("a key's hash has 1 to {max} characters; this one has {len}")]
    Length {
        /// How many it has.
        len: usize,
        /// How many are allowed.
        max: usize,
    },
    /// It holds something else than letters and digits.
    #[error("a key's hash is made of 0-9, A-Z and a-z only")]
    Character,
}

/// The two characters that tell one node's suffixes from another's; 3,844 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeSlot(u16);

impl NodeSlot {
    /// How many there are.
    pub const COUNT: u16 = 62 * 62;

    /// The slot of that number; `None` from [`Self::COUNT`] on.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }
}

impl Suffix {
    /// The longest a suffix may be.
    pub const MAX_LEN: usize = 31;
    /// The position before every suffix.
    pub const EMPTY: Self = Self {
        bytes: [0; Self::MAX_LEN],
        len: 0,
    };

    /// Reads the text of a suffix.
    ///
    /// # Errors
    /// [`SuffixError`] if it is not 1 to 31 letters and digits.
    pub fn parse(text: &str) -> Result<Self, SuffixError> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(SuffixError::Length {
                len: text.chars().count(),
                max: Self::MAX_LEN,
            });
        }
        Self::from_ascii(text.as_bytes()).ok_or(SuffixError::Character)
    }

    /// The suffix with these bytes, the empty one included; `None` if it is none.
    pub(super) fn from_ascii(ascii: &[u8]) -> Option<Self> {
        if ascii.len() > Self::MAX_LEN || !ascii.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let mut suffix = Self::EMPTY;
        suffix.bytes.get_mut(..ascii.len())?.copy_from_slice(ascii);
        suffix.len = u8::try_from(ascii.len()).ok()?;
        Some(suffix)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Its text's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether it is the position before every suffix.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest suffix above this one; `None` above the last of a millisecond.
    pub(super) fn successor(mut self) -> Option<Self> {
        if let Some(next) = self.bytes.get_mut(usize::from(self.len)) {
            *next = b'0';
            self.len += 1;
            return Some(self);
        }
        // Of full length: count the last character up, dropping those that are at the end.
        while let Some(last) = usize::from(self.len).checked_sub(1) {
            let byte = self.bytes.get_mut(last)?;
            if *byte != b'z' {
                *byte = digit_char(digit(*byte) + 1);
                return Some(self);
            }
            *byte = 0;
            self.len -= 1;
        }
        None
    }

    /// The first suffix that `slot` writes in a millisecond.
    pub(super) fn first(slot: NodeSlot) -> Self {
        Self::stamped(0, slot)
    }

    /// The lowest suffix of `slot` above this one; `None` when the millisecond has no more.
    pub(super) fn next_of(&self, slot: NodeSlot) -> Option<Self> {
        let counter = self
            .bytes
            .iter()
            .take(COUNTER_CHARS)
            .fold(0, |sum, byte| sum * 62 + digit(*byte));
        let same = Self::stamped(counter, slot);
        if same > *self {
            return Some(same);
        }
        (counter + 1 < COUNTER_END).then(|| Self::stamped(counter + 1, slot))
    }

    fn stamped(counter: u32, slot: NodeSlot) -> Self {
        let mut suffix = Self::EMPTY;
        let mut rest = counter;
        for byte in suffix.bytes.iter_mut().take(COUNTER_CHARS).rev() {
            *byte = digit_char(rest % 62);
            rest /= 62;
        }
        let slot = u32::from(slot.0);
        suffix.bytes[COUNTER_CHARS] = digit_char(slot / 62);
        suffix.bytes[COUNTER_CHARS + 1] = digit_char(slot % 62);
        suffix.len = (COUNTER_CHARS + 2) as u8;
        suffix
    }
}

fn digit_char(value: u32) -> u8 {
    DIGITS.get(value as usize).copied().unwrap_or(b'0')
}

/// The value of a character; of the filler behind a short suffix, 0.
fn digit(byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'Z' => u32::from(byte - b'A') + 10,
        b'a'..=b'z' => u32::from(byte - b'a') + 36,
        _ => 0,
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
