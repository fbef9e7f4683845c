//! SHA-256, by which everything in a backup place is known.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sum([u8; 32]);

/// A text that is no SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSum;

impl Sum {
    /// That of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_slice(digest(&SHA256, bytes).as_ref())
    }

    /// Reads 64 hexadecimal digits in lower case.
    ///
    /// # Errors
    /// [`NoSum`].
    pub fn parse(text: &str) -> Result<Self, NoSum> {
        let mut sum = [0; 32];
        if text.len() != 64 {
            return Err(NoSum);
        }
        for (byte, digits) in sum.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let mut number = 0;
            for digit in digits {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(NoSum),
                };
                number = number << 4 | value;
            }
            *byte = number;
        }
        Ok(Self(sum))
    }

    fn from_slice(slice: &[u8]) -> Self {
        Self(slice.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|NoSum| serde::de::Error::custom("not a SHA-256"))
    }
}

/// Takes bytes as they come.
pub struct Summing(Context);

impl Summing {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes some more.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of all that came.
    pub fn finish(self) -> Sum {
        Sum::from_slice(self.0.finish().as_ref())
    }
}

impl Default for Summing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_as_they_are_written() {
        let sum = Sum::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sum.to_string(), text);
        assert_eq!(Sum::parse(text), Ok(sum));
        let mut parts = Summing::new();
        parts.update(b"a");
        parts.update(b"bc");
        assert_eq!(parts.finish(), sum);
        for wrong in ["", "ab", &text.to_uppercase(), &text.replace('b', "g")] {
            assert_eq!(Sum::parse(wrong), Err(NoSum), "{wrong}");
        }
    }
}
