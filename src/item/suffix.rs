//! The tie-breaker of a key within its millisecond.
//!
//! The hub writes six characters: a four-character counter within the millisecond and the
//! two-character slot of the node that stamped it, all base 62 in ASCII order. So suffixes of one
//! node sort in the order they were stamped, and two nodes never write the same one; a node counts for
//! all channels together ([`super::Stamps`]).
//!
//! The items of a bulk insert share these six characters, and each adds its number in six digits:
//! `0000Ab000000`, `0000Ab000001`. Inside the hub all of them are one record, whose suffix says how
//! many they are: `0000Ab!000002`. `!` sorts before every digit and letter, so the record stands
//! where its items do, before the first of them, and no client can name it.

use std::fmt;

use thiserror::Error;

/// The digits of base 62 in ASCII order, so that numbers of equal length sort as their texts do.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const COUNTER_CHARS: usize = 4;
const COUNTER_END: u32 = 62 * 62 * 62 * 62;
/// The characters of a suffix that was stamped: the counter, and the slot.
const STAMP_CHARS: usize = COUNTER_CHARS + 2;
/// The digits of an item's number in its bulk insert, and of their count.
const NUMBER_DIGITS: usize = 6;
/// What stands between a stamp and a count.
const BULK_MARK: u8 = b'!';

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
        if text.as_bytes().contains(&BULK_MARK) {
            return Err(SuffixError::Character);
        }
        Self::from_ascii(text.as_bytes()).ok_or(SuffixError::Character)
    }

    /// The suffix with these bytes, the empty one and those of bulk records included; `None` if it is
    /// none.
    pub(super) fn from_ascii(ascii: &[u8]) -> Option<Self> {
        let plain = |ascii: &[u8]| ascii.iter().all(u8::is_ascii_alphanumeric);
        let is_bulk = || {
            let (stamp, count) = ascii.split_at_checked(STAMP_CHARS)?;
            let count = count.strip_prefix(&[BULK_MARK])?;
            Some(plain(stamp) && number(count).is_some())
        };
        if ascii.len() > Self::MAX_LEN || !(plain(ascii) || is_bulk() == Some(true)) {
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

    /// The most items that one bulk insert may have.
    pub const BULK_MAX: u32 = 999_999;

    /// The suffix of the record of a bulk insert of `count` items, stamped like this; `None` if this
    /// is no stamp, or `count` is more than [`Self::BULK_MAX`]. That of none stands before all others.
    pub(super) fn bulk(&self, count: u32) -> Option<Self> {
        let stamp = self.as_bytes();
        if count > Self::BULK_MAX || stamp.len() != STAMP_CHARS {
            return None;
        }
        let mut ascii = [BULK_MARK; STAMP_CHARS + 1 + NUMBER_DIGITS];
        ascii[..STAMP_CHARS].copy_from_slice(stamp);
        ascii[STAMP_CHARS + 1..].copy_from_slice(&digits(count));
        Self::from_ascii(&ascii)
    }

    /// How many items the record of that suffix has; `None` if it is no bulk insert's.
    pub fn bulk_count(&self) -> Option<u32> {
        let (_, rest) = self.as_bytes().split_at_checked(STAMP_CHARS)?;
        number(rest.strip_prefix(&[BULK_MARK])?).filter(|count| *count > 0)
    }

    /// The suffix of the item of that number, counted from 0, of a bulk insert's record.
    pub(super) fn bulk_item(&self, at: u32) -> Option<Self> {
        (at < self.bulk_count()?).then_some(())?;
        let stamp = self.as_bytes().get(..STAMP_CHARS)?;
        let mut ascii = [0; STAMP_CHARS + NUMBER_DIGITS];
        ascii[..STAMP_CHARS].copy_from_slice(stamp);
        ascii[STAMP_CHARS..].copy_from_slice(&digits(at));
        Self::from_ascii(&ascii)
    }

    /// If it looks like that of an item of a bulk insert: its number, and the stamp.
    pub(super) fn in_bulk(&self) -> Option<(u32, Self)> {
        let (stamp, at) = self.as_bytes().split_at_checked(STAMP_CHARS)?;
        Some((number(at)?, Self::from_ascii(stamp)?))
    }

    /// The stamp alone, without what is behind it; the suffix itself if it is no longer than one.
    pub(super) fn stamp(&self) -> Self {
        let stamp = self.as_bytes().get(..STAMP_CHARS);
        stamp.and_then(Self::from_ascii).unwrap_or(*self)
    }

    /// The lowest suffix above this one; `None` above the last of a millisecond.
    pub(super) fn successor(mut self) -> Option<Self> {
        // Behind a stamp the record of a bulk insert comes first.
        if let Some(first) = self.bulk(0) {
            return Some(first);
        }
        if let Some((stamp, mark)) = self.as_bytes().split_at_checked(STAMP_CHARS)
            && let Some(count) = mark.strip_prefix(&[BULK_MARK]).and_then(number)
        {
            let mut stamp = Self::from_ascii(stamp)?;
            return stamp.bulk(count + 1).or_else(|| {
                *stamp.bytes.get_mut(STAMP_CHARS)? = b'0';
                stamp.len += 1;
                Some(stamp)
            });
        }
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
        let counter = self.counter();
        let same = Self::stamped(counter, slot);
        if same > *self {
            return Some(same);
        }
        Self::of_counter(counter + 1, slot)
    }

    /// The counter that it begins with.
    pub(super) fn counter(&self) -> u32 {
        let digits = self.bytes.iter().take(COUNTER_CHARS);
        digits.fold(0, |sum, byte| sum * 62 + digit(*byte))
    }

    /// The one that `slot` writes at that counter; `None` past the last one.
    pub(super) fn of_counter(counter: u32, slot: NodeSlot) -> Option<Self> {
        (counter < COUNTER_END).then(|| Self::stamped(counter, slot))
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

/// A number below a million in six digits.
fn digits(number: u32) -> [u8; NUMBER_DIGITS] {
    let mut rest = number;
    let mut digits = [b'0'; NUMBER_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// The number that six digits stand for.
fn number(ascii: &[u8]) -> Option<u32> {
    let is_number = ascii.len() == NUMBER_DIGITS && ascii.iter().all(u8::is_ascii_digit);
    let digits = || ascii.iter().map(|digit| u32::from(digit - b'0'));
    is_number.then(|| digits().fold(0, |sum, digit| sum * 10 + digit))
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
