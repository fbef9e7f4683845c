//! What a backup says of itself, and of the hub and the objects that it is of.
//!
//! A backup is one small document, which is there once everything that it names is. It names two parts: what coordination
//! held, and the lists of the archive's objects, one for each month of a channel. A part is known by the
//! SHA-256 of its bytes, so a list that did not change is the same part in the next backup.
//! `docs/backup.md` describes all of it field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sum::Sum;
use crate::env::Millis;
use crate::spoke::ChannelId;

/// What a document says it is.
const FORMAT: &str = "hub-backup";
/// The version of the format.
pub const VERSION: u32 = 1;
/// How hard zstd tries on parts.
const LEVEL: i32 = 3;
/// The largest part that is written and read, in bytes before it is compressed.
#[cfg(not(test))]
pub(super) const PART_MAX: usize = 1 << 30;
/// One that a test can make.
#[cfg(test)]
pub(super) const PART_MAX: usize = 1 << 20;

/// A time as ISO 8601.
mod iso {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::env::Millis;

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference"
    )]
    pub(super) fn serialize<S: Serializer>(time: &Millis, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&time.iso())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Millis, D::Error> {
        let text = String::deserialize(from)?;
        Millis::parse_iso(&text).map_err(D::Error::custom)
    }
}

/// A time as ISO 8601, or null.
pub(super) mod optional_iso {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error as _};

    use crate::env::Millis;

    #[allow(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference"
    )]
    pub(in crate::backup) fn serialize<S: Serializer>(
        time: &Option<Millis>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Millis::iso).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Millis>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let time = text.map(|text| Millis::parse_iso(&text));
        time.transpose().map_err(D::Error::custom)
    }
}

/// A part, by which it is found and held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartRef {
    /// Of its bytes as they are stored.
    pub sha256: Sum,
    /// How many those are.
    pub size: u64,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Objects.
    pub objects: u64,
    /// Items in them; those with a minute's object and one of their own count twice.
    pub items: u64,
    /// Bytes of the objects.
    pub bytes: u64,
}

impl Totals {
    /// Counts some more.
    pub fn add(&mut self, more: Self) {
        self.objects += more.objects;
        self.items += more.items;
        self.bytes += more.bytes;
    }
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    format: String,
    version: u32,
    /// Its name: the time when it was begun, and some random digits.
    pub id: String,
    /// When the hub said what it is, by the hub's clock.
    #[serde(with = "iso")]
    pub taken: Millis,
    /// When it was done, by the clock of whoever made it.
    #[serde(with = "iso")]
    pub ended: Millis,
    /// The hub's version.
    pub hub: String,
    /// The cluster's name.
    pub cluster: String,
    /// The archive whose objects they are.
    pub archive: String,
    /// Every item with an earlier time is in it; `None` if a member did not say how far it had archived.
    #[serde(with = "optional_iso")]
    pub archived_to: Option<Millis>,
    /// Whether the objects were copied.
    pub with_items: bool,
    /// How many channels there are.
    pub channels: u64,
    /// All of the objects.
    #[serde(flatten)]
    pub totals: Totals,
    /// The time of the newest item.
    #[serde(with = "optional_iso")]
    pub newest: Option<Millis>,
    /// What the backups before did not have.
    pub added: Totals,
    /// Objects that were damaged in the archive, and are left out.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// The part that is a [`State`].
    pub state: PartRef,
    /// The part that is a list of [`Month`]s.
    pub months: PartRef,
}

/// What comes before anything else of a document is read.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// What is put into a document.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) taken: Millis,
    pub(super) ended: Millis,
    pub(super) hub: String,
    pub(super) cluster: String,
    pub(super) archive: String,
    pub(super) archived_to: Option<Millis>,
    pub(super) with_items: bool,
    pub(super) channels: u64,
    pub(super) totals: Totals,
    pub(super) newest: Option<Millis>,
    pub(super) added: Totals,
    pub(super) left_out: Vec<String>,
    pub(super) state: PartRef,
    pub(super) months: PartRef,
}

/// What is wrong with a document or a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

impl Unfit {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Document {
    pub(super) fn new(draft: Draft) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            id: draft.id,
            taken: draft.taken,
            ended: draft.ended,
            hub: draft.hub,
            cluster: draft.cluster,
            archive: draft.archive,
            archived_to: draft.archived_to,
            with_items: draft.with_items,
            channels: draft.channels,
            totals: draft.totals,
            newest: draft.newest,
            added: draft.added,
            left_out: draft.left_out,
            state: draft.state,
            months: draft.months,
        }
    }

    /// The document as it is stored: its JSON on one line, and the SHA-256 of that line on the next.
    ///
    /// # Errors
    /// [`Unfit`]: never, in truth.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unfit> {
        let mut bytes = serde_json::to_vec(self).map_err(|error| Unfit::new(error.to_string()))?;
        bytes.push(b'\n');
        let sum = Sum::of(&bytes);
        bytes.extend_from_slice(format!("{sum}\n").as_bytes());
        Ok(bytes)
    }

    /// Reads one that is stored under that id.
    ///
    /// # Errors
    /// [`Unfit`] if it is not what was written.
    pub fn parse(bytes: &[u8], id: &str) -> Result<Self, Unfit> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (json, sum) = end
            .and_then(|end| bytes.split_at_checked(end + 1))
            .ok_or_else(|| Unfit::new("it is cut off"))?;
        if sum != format!("{}\n", Sum::of(json)).as_bytes() {
            return Err(Unfit::new("its checksum does not go with it"));
        }
        let wrong = |error: serde_json::Error| Unfit::new(error.to_string());
        let head: Head = serde_json::from_slice(json).map_err(wrong)?;
        if head.format != FORMAT || head.version != VERSION {
            return Err(Unfit::new(format!(
                "it is {} {}, and this hub knows {FORMAT} {VERSION}",
                head.format, head.version
            )));
        }
        let document: Self = serde_json::from_slice(json).map_err(wrong)?;
        if document.id != id {
            let text = format!("it says that it is backup {}", document.id);
            return Err(Unfit::new(text));
        }
        Ok(document)
    }

    /// Every item with an earlier time is in it; `None` if nobody knows.
    pub fn complete_to(&self) -> Option<Millis> {
        self.archived_to.map(|to| to.min(self.taken))
    }
}

/// What coordination held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The channels, in the order of their names.
    pub channels: Vec<ChannelState>,
    /// The rings.
    pub rings: RingState,
}

/// A channel, as coordination holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// The name in lower case.
    pub name: String,
    /// Its number, as 16 hexadecimal digits: its folder in the archive.
    pub id: ChannelFolder,
    /// Its configuration and what stands beside it, as it is stored.
    pub data: Value,
    /// Its document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// The ring history, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RingState {
    /// The version of the newest ring; 0 for none.
    pub newest: u64,
    /// The stored form of the history, in base64.
    pub history: String,
}

/// A channel's number, written as its folder is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelFolder(pub ChannelId);

impl ChannelFolder {
    /// Reads the name of a folder.
    pub fn parse(text: &str) -> Option<Self> {
        let id = ChannelId(u64::from_str_radix(text, 16).ok()?);
        // Another spelling is another folder.
        (Self(id).name() == text).then_some(Self(id))
    }

    /// The folder's name.
    pub fn name(self) -> String {
        crate::archive::name::channel_of(self.0)
    }
}

impl Serialize for ChannelFolder {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for ChannelFolder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a channel's number"))
    }
}

/// What a month of a channel has in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    /// Its folder, `000000000000001f/2026-11`.
    pub folder: String,
    /// How much is in it.
    #[serde(flatten)]
    pub totals: Totals,
    /// The part that is the list of its objects.
    pub list: PartRef,
}

impl Month {
    /// The channel.
    pub fn channel(&self) -> Option<ChannelFolder> {
        ChannelFolder::parse(self.folder.split('/').next()?)
    }
}

/// An object of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Its length, in bytes.
    pub size: u64,
    /// The items in it.
    pub items: u64,
    /// The time of its newest item; `None` if it has none.
    pub newest: Option<Millis>,
    /// The SHA-256 of its bytes.
    pub sha256: Sum,
    /// What the store said of this version of it.
    pub mark: String,
}

impl Held {
    /// What it counts for.
    pub fn totals(&self) -> Totals {
        Totals {
            objects: 1,
            items: self.items,
            bytes: self.size,
        }
    }

    /// A line of a list: the fields with tabs between them.
    fn line(&self) -> String {
        let newest = self.newest.map_or(String::new(), |at| at.get().to_string());
        let Self {
            name,
            size,
            items,
            sha256,
            mark,
            ..
        } = self;
        format!("{name}\t{size}\t{items}\t{newest}\t{sha256}\t{mark}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let held = Self {
            name: next()?.to_owned(),
            size: next()?.parse().ok()?,
            items: next()?.parse().ok()?,
            newest: match next()? {
                "" => None,
                text => Some(Millis::new(text.parse().ok()?)),
            },
            sha256: Sum::parse(next()?).ok()?,
            mark: next()?.to_owned(),
        };
        fields.next().is_none().then_some(held)
    }
}

/// The list of some objects, as it is before it is compressed.
pub fn list_to_bytes(objects: &[Held]) -> Vec<u8> {
    let lines: String = objects.iter().map(Held::line).collect();
    lines.into_bytes()
}

/// Reads the list of a folder's objects.
///
/// # Errors
/// [`Unfit`].
pub fn list_of_bytes(bytes: &[u8], folder: &str) -> Result<Vec<Held>, Unfit> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unfit::new("it is no text"))?;
    let mut objects: Vec<Held> = Vec::new();
    for line in text.lines() {
        let held = Held::parse(line).ok_or_else(|| Unfit::new("a line of it makes no sense"))?;
        let within = held.name.strip_prefix(folder);
        if within.is_none_or(|rest| !rest.starts_with('/')) {
            return Err(Unfit::new(format!("{} is not of {folder}", held.name)));
        }
        if objects.last().is_some_and(|last| last.name >= held.name) {
            return Err(Unfit::new("its lines are out of order"));
        }
        objects.push(held);
    }
    Ok(objects)
}

/// Compresses a part.
///
/// # Errors
/// [`Unfit`], for want of memory, or if it is longer than what [`unpack`] reads.
pub fn pack(bytes: &[u8]) -> Result<Vec<u8>, Unfit> {
    if bytes.len() > PART_MAX {
        return Err(Unfit::new(format!(
            "it has {} bytes, and could not be read again: {PART_MAX} are the most",
            bytes.len()
        )));
    }
    zstd::bulk::compress(bytes, LEVEL).map_err(|error| Unfit::new(error.to_string()))
}

/// Undoes it, once the part is known to be what was written.
///
/// # Errors
/// [`Unfit`].
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Unfit> {
    let said = zstd::zstd_safe::get_frame_content_size(bytes);
    let size = said
        .ok()
        .flatten()
        .and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|size| *size <= PART_MAX);
    let size = size.ok_or_else(|| Unfit::new("it is no frame"))?;
    zstd::bulk::decompress(bytes, size).map_err(|error| Unfit::new(error.to_string()))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A backup of that name.
    pub(in crate::backup) fn document_of(id: &str, taken: Millis, with_items: bool) -> Document {
        Document {
            id: id.to_owned(),
            taken,
            archived_to: Some(taken),
            with_items,
            ..document()
        }
    }

    fn document() -> Document {
        let part = PartRef {
            sha256: Sum::of(b"x"),
            size: 7,
        };
        Document::new(Draft {
            id: "20261122T010203456Z-0a1b".to_owned(),
            taken: Millis::new(1_795_000_000_000),
            ended: Millis::new(1_795_000_001_000),
            hub: "0.1.0".to_owned(),
            cluster: "hub".to_owned(),
            archive: "s3://bucket/hub".to_owned(),
            archived_to: Some(Millis::new(1_794_999_960_000)),
            with_items: true,
            channels: 1,
            totals: Totals {
                objects: 1,
                items: 2,
                bytes: 3,
            },
            newest: None,
            added: Totals::default(),
            left_out: Vec::new(),
            state: part,
            months: part,
        })
    }

    #[test]
    fn a_document_is_read_as_it_was_written_and_no_other_way() {
        let document = document();
        let bytes = document.to_bytes().unwrap();
        assert_eq!(Document::parse(&bytes, &document.id), Ok(document.clone()));
        assert!(Document::parse(&bytes, "another").is_err());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Document::parse(&changed, &document.id).is_err(), "{at}");
            assert!(Document::parse(&bytes[..at], &document.id).is_err(), "{at}");
        }
    }

    #[test]
    fn a_document_of_another_version_is_told() {
        let document = document();
        let mut json = serde_json::to_value(&document).unwrap();
        json["version"] = 2.into();
        json["later"] = "?".into();
        let mut bytes = serde_json::to_vec(&json).unwrap();
        bytes.push(b'\n');
        let sum = Sum::of(&bytes);
        bytes.extend_from_slice(format!("{sum}\n").as_bytes());
        let told = Document::parse(&bytes, &document.id).unwrap_err();
        assert!(told.0.contains("hub-backup 2"), "{told}");
    }

    #[test]
    fn a_part_that_could_not_be_read_is_not_written() {
        let bytes = vec![b'x'; PART_MAX + 1];
        let most = &bytes[1..];
        assert_eq!(unpack(&pack(most).unwrap()).unwrap(), most);
        let refused = pack(&bytes).unwrap_err();
        assert!(refused.0.contains("1048577 bytes"), "{refused}");
    }

    fn held() -> impl Strategy<Value = Held> {
        let name = "[0-9]{2}/[0-9]{4}\\.minute";
        let newest = proptest::option::of(any::<i64>().prop_map(Millis::new));
        (name, any::<u64>(), any::<u64>(), newest, "[!-~]{0,20}").prop_map(
            |(name, size, items, newest, mark)| Held {
                sha256: Sum::of(name.as_bytes()),
                name: format!("000000000000001f/2026-11/{name}"),
                size,
                items,
                newest,
                mark,
            },
        )
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(objects in proptest::collection::vec(held(), 0..20)) {
            let mut objects = objects;
            objects.sort_by(|a, b| a.name.cmp(&b.name));
            objects.dedup_by(|a, b| a.name == b.name);
            let folder = "000000000000001f/2026-11";
            let packed = pack(&list_to_bytes(&objects)).unwrap();
            prop_assert_eq!(list_of_bytes(&unpack(&packed).unwrap(), folder), Ok(objects.clone()));
            let elsewhere = list_of_bytes(&list_to_bytes(&objects), "000000000000001f/2026-1");
            prop_assert!(objects.is_empty() || elsewhere.is_err());
            objects.reverse();
            let reversed = list_of_bytes(&list_to_bytes(&objects), folder);
            prop_assert_eq!(reversed.is_ok(), objects.len() < 2);
        }
    }
}
