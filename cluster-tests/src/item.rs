//! Items that say themselves which they are, and the keys that the hub gives them.

use std::fmt;

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::random;

/// The key of an item as it stands in its URL. Keys sort as their texts do: every part of the time
/// is padded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key at the end of an item's URL; `None` if it does not end in one.
    pub fn of_url(url: &str) -> Option<Self> {
        let path = url.split_once("/channel/")?.1;
        let key = path.split_once('/')?.1;
        let key = key.split('?').next()?;
        let parts: Vec<&str> = key.split('/').collect();
        let widths: [usize; 7] = [4, 2, 2, 2, 2, 2, 3];
        let timed = parts.len() == 8
            && widths.iter().zip(&parts).all(|(width, part)| {
                part.len() == *width && part.bytes().all(|b| b.is_ascii_digit())
            });
        timed.then(|| Self(key.to_owned()))
    }

    /// Its text, `YYYY/MM/DD/hh/mm/ss/SSS/suffix`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `YYYY/MM/DD`.
    pub fn day(&self) -> &str {
        &self.0[..10]
    }

    /// `YYYY/MM/DD/hh/mm/ss`.
    pub fn second(&self) -> &str {
        &self.0[..19]
    }

    /// A key for tests of the checker.
    pub fn planted(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which item it is: one of a run, of a writer, of a life of its channel. Every write has its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemName {
    /// The run of the harness.
    pub run: u64,
    /// Who wrote it.
    pub writer: u32,
    /// Which one of that writer.
    pub number: u32,
    /// How many bytes it has.
    pub size: usize,
    /// The channel.
    pub channel: String,
    /// Which life of the channel: one that is deleted and made again has a new one.
    pub life: u32,
}

const KIND: &str = "application/x-history";

impl ItemName {
    /// Its bytes: all of them follow from its name, so a wrong one shows, wherever it is.
    pub fn payload(&self) -> Bytes {
        let seed = xxh3_64_with_seed(self.to_string().as_bytes(), self.run) | 1;
        random::bytes(seed, self.size).into()
    }

    /// Its media type, which says its name, its size and its checksum: an item without a single
    /// byte says them too.
    pub fn content_type(&self, payload: &[u8]) -> String {
        format!("{KIND};item={self};sum={:016x}", xxh3_64(payload))
    }

    /// The item that a response holds, if it is whole.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(content_type: &str, payload: &[u8]) -> Result<Self, String> {
        let mut parts = content_type.split(';').map(str::trim);
        let (kind, item, sum) = (parts.next(), parts.next(), parts.next());
        let name = item.and_then(|text| text.strip_prefix("item=")?.parse_name());
        let (Some(KIND), Some(name), Some(sum)) = (kind, name, sum) else {
            return Err(format!("its media type is {content_type:?}"));
        };
        if payload.len() != name.size {
            return Err(format!("it has {} of {} bytes", payload.len(), name.size));
        }
        if sum != format!("sum={:016x}", xxh3_64(payload)) {
            return Err(format!("{name}: its bytes are not those of its checksum"));
        }
        if payload != name.payload() {
            return Err(format!("{name}: its bytes are those of another item"));
        }
        Ok(name)
    }
}

trait ParseName {
    fn parse_name(&self) -> Option<ItemName>;
}

impl ParseName for str {
    fn parse_name(&self) -> Option<ItemName> {
        let mut parts = self.split('.');
        let name = ItemName {
            run: u64::from_str_radix(parts.next()?, 16).ok()?,
            writer: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            size: parts.next()?.parse().ok()?,
            channel: parts.next()?.to_owned(),
            life: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(name)
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:x}.{}.{}.{}.{}.{}",
            self.run, self.writer, self.number, self.size, self.channel, self.life
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(size: usize) -> ItemName {
        ItemName {
            run: 0xabc,
            writer: 7,
            number: 42,
            size,
            channel: "orders-1".to_owned(),
            life: 3,
        }
    }

    #[test]
    fn an_item_says_which_it_is() {
        for size in [0, 1, 7, 8, 9, 100_000] {
            let item = name(size);
            let payload = item.payload();
            let kind = item.content_type(&payload);
            assert_eq!(ItemName::verify(&kind, &payload), Ok(item));
        }
    }

    #[test]
    fn an_item_that_is_not_whole_shows() {
        let item = name(1000);
        let payload = item.payload();
        let kind = item.content_type(&payload);
        assert!(ItemName::verify(&kind, &payload[..999]).is_err());
        let mut torn = payload.to_vec();
        torn[500..].fill(0);
        assert!(ItemName::verify(&kind, &torn).is_err());
        // A whole item under the name of another one.
        let mut other = name(1000);
        other.number += 1;
        let mixed = other.content_type(&payload);
        assert!(ItemName::verify(&mixed, &payload).is_err());
        assert!(ItemName::verify("text/plain", &payload).is_err());
    }

    #[test]
    fn keys_come_from_urls() {
        let url = "http://127.0.0.1:1/channel/a/2026/11/22/01/02/03/456/00000A?x=y";
        let key = Key::of_url(url).unwrap();
        assert_eq!(key.as_str(), "2026/11/22/01/02/03/456/00000A");
        assert_eq!(
            (key.day(), key.second()),
            ("2026/11/22", "2026/11/22/01/02/03")
        );
        assert_eq!(Key::of_url("http://127.0.0.1:1/channel/a"), None);
        assert_eq!(Key::of_url("http://h/channel/a/2026/11/22/01"), None);
    }
}
