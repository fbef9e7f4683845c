//! Opening a store, whatever state its files are in.
//!
//! Sealed segments are taken at their index's word. A segment without a usable index is scanned,
//! sealed and indexed; what cannot be read in it is either where the writer was cut off, which
//! cost nothing that was promised, or damage, which is written down beside the segment and makes
//! the store say "I do not know" for that time instead of "no".

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::clockfile::{ClockFile, ClockMark};
use super::directory::Directory;
use super::files::{Files, LogFile, is_full};
use super::header::{FORMAT, HEADER_LEN, StoreId, salt};
use super::housekeeping::write_sealed;
use super::ids::{ChannelId, SegmentId, WriteId};
use super::index::{Entry, IndexMeta, SealedIndex};
use super::log::{Damage, DamageBook, Options, Shared};
use super::record::{Record, SealHead};
use super::scan::{Found, Gap, Scan, read_header};
use super::segment::{Active, Segment, State};
use crate::env::{HubClock, Millis};

/// Why a store does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The disk did not answer.
    #[error("{what}: {source}")]
    Io {
        /// Which file or step.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The segments were written by another store.
    #[error(
        "{segment} belongs to store {found:032x}, not to this node's store {expected:032x}: \
         is this another node's folder?"
    )]
    Foreign {
        /// The segment.
        segment: SegmentId,
        /// Whose it is.
        found: u128,
        /// Whose it should be.
        expected: u128,
    },
    /// The segments were written by a later version of the hub.
    #[error("{segment} has format {found}; this version reads up to {FORMAT}")]
    Format {
        /// The segment.
        segment: SegmentId,
        /// Its format.
        found: u32,
    },
    /// The setting differs from the one that the segments were written with.
    #[error(
        "spoke.bucket_seconds is {configured}, but {segment} was written with {found}: \
         it is fixed when the data folder is created"
    )]
    Width {
        /// The segment.
        segment: SegmentId,
        /// What the segment says, in seconds.
        found: i64,
        /// What the config says, in seconds.
        configured: i64,
    },
}

fn io_at(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    |source| OpenError::Io { what, source }
}

/// What opening gives besides the store: segments that could not be sealed yet.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) unsealed: Vec<Arc<Segment>>,
    pub(super) clock_file: ClockFile,
}

/// What a scan found of one log.
struct Scanned {
    entries: Vec<Entry>,
    mark: Millis,
    sequence: u64,
    cuts: Vec<(u64, u64)>,
    damage: Vec<Gap>,
    /// The log's length without what was cut off its end.
    length: u64,
    sealed: bool,
}

/// Opens the store in a folder.
pub(super) fn open(
    files: &Arc<dyn Files>,
    options: Options,
    id: StoreId,
    boot: u128,
    clock: Arc<HubClock>,
) -> Result<Opened, OpenError> {
    let (clock_file, closed) = ClockFile::open(&**files).map_err(io_at("CLOCK"))?;
    let names = files.list().map_err(io_at("the folder"))?;
    let mut recovery = Recovery {
        shared: Shared {
            directory: Directory::new(options.bucket_millis),
            open: Shared::open_cache(&options),
            files: Arc::clone(files),
            options,
            id,
            boot,
            clock,
            segments: crossbeam_skiplist::SkipMap::new(),
            damage: DamageBook::default(),
            mark: AtomicI64::new(Millis::MIN.get()),
            sequence: AtomicU64::new(0),
            full: AtomicBool::new(false),
            free: AtomicU64::new(0),
            failed: Mutex::new(None),
            intact: true,
            recent: Mutex::new(Vec::new()),
        },
        unsealed: Vec::new(),
        promises_kept: true,
    };
    let of = |ending: &str| -> BTreeSet<SegmentId> {
        let stems = names.iter().filter_map(|name| name.strip_suffix(ending));
        stems.filter_map(SegmentId::from_stem).collect()
    };
    for draft in names
        .iter()
        .filter(|name| name.strip_suffix(".tmp").is_some())
    {
        files.remove(draft).map_err(io_at(draft.as_str()))?;
    }
    let (logs, indexes, damaged) = (of(".log"), of(".idx"), of(".damage"));
    for segment in &damaged {
        recovery.known_damage(*segment)?;
    }
    for segment in &logs {
        recovery.segment(*segment, indexes.contains(segment))?;
    }
    for segment in indexes.difference(&logs) {
        recovery.lost_log(*segment)?;
    }
    Ok(recovery.finish(closed, clock_file))
}

struct Recovery {
    shared: Shared,
    unsealed: Vec<Arc<Segment>>,
    /// Whether every log that was not sealed is sure to hold all that was promised.
    promises_kept: bool,
}

impl Recovery {
    fn segment(&mut self, id: SegmentId, indexed: bool) -> Result<(), OpenError> {
        let salt = salt(self.shared.id, id);
        if indexed {
            match self.indexed(id, salt) {
                Ok(meta) => {
                    let segment = Segment::new(id, salt, State::Sealed(meta));
                    self.shared.segments.insert(id, segment);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(segment = %id, %error, "an index cannot be used and is made again");
                    let name = id.index_name();
                    self.shared.files.remove(&name).map_err(io_at(name))?;
                }
            }
        }
        self.unindexed(id, salt)
    }

    /// Takes a sealed segment at its index's word.
    fn indexed(&mut self, id: SegmentId, salt: u64) -> Result<IndexMeta, String> {
        let open = |name: &str| self.shared.files.open(name).map_err(|e| e.to_string());
        let index = SealedIndex::open(open(&id.index_name())?, salt).map_err(|e| e.to_string())?;
        let meta = index.meta().clone();
        let log_len = open(&id.log_name())?.length().map_err(|e| e.to_string())?;
        if log_len < meta.log_len {
            return Err(format!("the log has {log_len} of {} bytes", meta.log_len));
        }
        for summary in index.channels() {
            self.shared.directory.add(summary.channel, id.bucket);
        }
        self.note(meta.mark, meta.sequence);
        self.remember_writes(id, &index)?;
        Ok(meta)
    }

    /// Scans, seals and indexes a log.
    fn unindexed(&mut self, id: SegmentId, salt: u64) -> Result<(), OpenError> {
        let name = id.log_name();
        let file = self.shared.files.open(&name).map_err(io_at(&*name))?;
        let length = file.length().map_err(io_at(&*name))?;
        if length < HEADER_LEN as u64 {
            // Cut off while it was created: nothing was ever in it.
            return self.shared.files.remove(&name).map_err(io_at(&*name));
        }
        self.check_header(id, &*file)?;
        // What the system kept in memory may be more than the disk has.
        file.forget_cached().map_err(io_at(&*name))?;
        let scanned = scan(&*file, salt).map_err(io_at(&*name))?;
        self.note(scanned.mark, scanned.sequence);
        for gap in &scanned.damage {
            tracing::error!(segment = %id, from = gap.from, to = gap.to, "records are damaged");
            self.shared.damage.add(Damage {
                segment: id,
                gap: *gap,
            });
        }
        self.write_damage(id, &scanned.damage)?;
        for entry in &scanned.entries {
            self.shared.directory.add(entry.channel, id.bucket);
            self.remember_write(id, entry);
        }
        let segment = self.seal(id, salt, &file, scanned).map_err(io_at(&*name))?;
        self.shared.segments.insert(id, segment);
        Ok(())
    }

    fn seal(
        &mut self,
        id: SegmentId,
        salt: u64,
        file: &Arc<dyn LogFile>,
        scanned: Scanned,
    ) -> io::Result<Arc<Segment>> {
        let head = SealHead {
            sequence: scanned.sequence,
            mark: scanned.mark,
            cuts: scanned.cuts.clone(),
        };
        // Until it is sealed it counts as active; the state is replaced just below.
        let active = Active::recovered(Arc::clone(file), scanned.length, scanned.cuts);
        active.retire();
        let segment = Segment::new(id, salt, State::Active(Arc::clone(&active)));
        let sealed = if scanned.sealed {
            file.sync().and_then(|()| {
                let (files, length) = (&*self.shared.files, scanned.length);
                let entries = scanned.entries.iter().copied();
                super::index::write_index(
                    files,
                    id,
                    salt,
                    length,
                    head.mark,
                    head.sequence,
                    entries,
                )
            })
        } else {
            file.truncate(scanned.length).and_then(|()| {
                let entries = scanned.entries.iter().copied();
                write_sealed(
                    &self.shared,
                    &segment,
                    &**file,
                    scanned.length,
                    head,
                    entries,
                )
            })
        };
        match sealed {
            Ok(meta) => segment.seal(meta),
            Err(error) if is_full(&error) => {
                // No room for an index: it stays in memory until there is.
                scanned
                    .entries
                    .into_iter()
                    .for_each(|entry| active.add(entry));
                self.unsealed.push(Arc::clone(&segment));
            }
            Err(error) => return Err(error),
        }
        Ok(segment)
    }

    fn check_header(&mut self, id: SegmentId, file: &dyn LogFile) -> Result<(), OpenError> {
        let Some(header) = read_header(file).map_err(io_at(id.log_name()))? else {
            // Its records name the segment in their own checksums: nothing is lost with it.
            tracing::warn!(segment = %id, "a segment's header is damaged");
            self.promises_kept = false;
            return Ok(());
        };
        if header.store != self.shared.id {
            return Err(OpenError::Foreign {
                segment: id,
                found: header.store.0,
                expected: self.shared.id.0,
            });
        }
        if header.format > FORMAT {
            return Err(OpenError::Format {
                segment: id,
                found: header.format,
            });
        }
        if header.width != self.shared.options.bucket_millis {
            return Err(OpenError::Width {
                segment: id,
                found: header.width / 1000,
                configured: self.shared.options.bucket_millis / 1000,
            });
        }
        self.promises_kept &= header.synced || header.boot == self.shared.boot;
        Ok(())
    }

    fn note(&self, mark: Millis, sequence: u64) {
        self.shared.mark.fetch_max(mark.get(), Ordering::Relaxed);
        self.shared.sequence.fetch_max(sequence, Ordering::Relaxed);
    }

    fn remember_writes(&self, id: SegmentId, index: &SealedIndex) -> Result<(), String> {
        if index.meta().keyed == 0 || !self.in_dedup_window(id) {
            return Ok(());
        }
        index
            .each(|entry| self.remember_write(id, entry))
            .map_err(|error| error.to_string())
    }

    fn remember_write(&self, id: SegmentId, entry: &Entry) {
        if entry.flags.keyed && !entry.removed && self.in_dedup_window(id) {
            let write: (ChannelId, _, WriteId, _) =
                (entry.channel, entry.key, entry.write_id, entry.flags);
            self.shared.recent.lock().push(write);
        }
    }

    fn in_dedup_window(&self, id: SegmentId) -> bool {
        let end = self.shared.directory.end(id.bucket);
        end >= self
            .shared
            .clock
            .now()
            .minus(self.shared.options.dedup_millis)
    }

    fn known_damage(&self, id: SegmentId) -> Result<(), OpenError> {
        let name = id.damage_name();
        let file = self.shared.files.open(&name).map_err(io_at(&*name))?;
        let length = file.length().map_err(io_at(&*name))? as usize;
        let bytes = super::files::read_exact(&*file, 0, length).map_err(io_at(&*name))?;
        // A note that cannot be read still says that something is damaged.
        let note: DamageNote = serde_json::from_slice(&bytes).unwrap_or_default();
        for gap in note.gaps() {
            self.shared.damage.add(Damage { segment: id, gap });
        }
        Ok(())
    }

    fn write_damage(&self, id: SegmentId, gaps: &[Gap]) -> Result<(), OpenError> {
        if gaps.is_empty() {
            return Ok(());
        }
        let name = id.damage_name();
        let note = serde_json::to_vec_pretty(&DamageNote::new(gaps)).unwrap_or_default();
        let write = || {
            let _ = self.shared.files.remove(&name);
            let file = self.shared.files.create(&name)?;
            file.write_at(&[IoSlice::new(&note)], 0)?;
            file.sync()?;
            self.shared.files.sync_folder()
        };
        match write() {
            // Without the note the damage is found again at the next start, unless an index was
            // written; on a full disk none can be.
            Err(error) if !is_full(&error) => Err(io_at(&*name)(error)),
            _ => Ok(()),
        }
    }

    /// An index whose log is gone: all of its items are lost.
    fn lost_log(&self, id: SegmentId) -> Result<(), OpenError> {
        tracing::error!(segment = %id, "a segment's log is gone, its index is still there");
        let gap = Gap {
            from: 0,
            to: 0,
            channel: None,
        };
        self.shared.damage.add(Damage { segment: id, gap });
        self.write_damage(id, &[gap])
    }

    fn finish(mut self, closed: Option<ClockMark>, clock_file: ClockFile) -> Opened {
        let sequence = self.shared.sequence.load(Ordering::Relaxed);
        let clean = closed.filter(|closed| closed.clean && closed.sequence >= sequence);
        match (clean, closed) {
            (Some(clean), _) => {
                self.shared.mark.store(clean.mark.get(), Ordering::Relaxed);
                self.note(clean.mark, clean.sequence);
            }
            (None, Some(closed)) => self.note(closed.mark, closed.sequence),
            (None, None) => {}
        }
        self.shared.intact =
            (clean.is_some() || self.promises_kept) && self.shared.damage.count() == 0;
        super::housekeeping::look_at_disk(&self.shared);
        Opened {
            shared: Arc::new(self.shared),
            unsealed: self.unsealed,
            clock_file,
        }
    }
}

/// Scans a whole log.
fn scan(file: &dyn LogFile, salt: u64) -> io::Result<Scanned> {
    let mut scan = Scan::new(file, salt)?;
    let mut out = Scanned {
        entries: Vec::new(),
        mark: Millis::MIN,
        sequence: 0,
        cuts: Vec::new(),
        damage: Vec::new(),
        length: scan.length(),
        sealed: false,
    };
    let mut gaps = Vec::new();
    let mut synced = 0;
    while let Some(found) = scan.next()? {
        let (offset, frame, record) = match found {
            Found::Gap(gap) => {
                gaps.push(gap);
                continue;
            }
            Found::Record {
                offset,
                frame,
                record,
            } => (offset, frame, record),
        };
        let entry = |key, flags, removed, write_id| Entry {
            channel: frame.channel,
            key,
            offset,
            body_len: frame.body_len,
            flags,
            removed,
            write_id,
        };
        match record {
            Record::Item(head) => {
                let entry = entry(head.key, head.flags, false, head.write_id);
                out.entries.push(entry);
            }
            Record::Removal { key, write_id } => {
                out.entries.push(entry(
                    key,
                    super::record::ItemFlags::default(),
                    true,
                    write_id,
                ));
            }
            Record::Batch(batch) => {
                synced = synced.max(batch.synced);
                out.mark = out.mark.max(batch.mark);
                out.sequence = out.sequence.max(batch.sequence);
            }
            Record::Seal(seal) => {
                out.sealed = true;
                synced = synced.max(offset);
                out.mark = out.mark.max(seal.mark);
                out.sequence = out.sequence.max(seal.sequence);
                out.cuts = seal.cuts;
                out.length = offset + frame.record_len();
            }
            Record::CommitMark(_) | Record::Named { .. } => {}
        }
    }
    for gap in gaps {
        let known = out
            .cuts
            .iter()
            .any(|(from, to)| *from <= gap.from && gap.to <= *to);
        if known || (out.sealed && gap.from >= out.length) {
            continue;
        }
        if gap.from < synced {
            out.damage.push(gap);
        } else if gap.to == scan.length() {
            out.length = gap.from;
        } else {
            out.cuts.push((gap.from, gap.to));
        }
    }
    // Of several records of one key the last one stands, and a removal stands for good.
    out.entries
        .sort_by_key(|e| (e.position(), e.removed, e.offset));
    out.entries.reverse();
    out.entries.dedup_by_key(|e| e.position());
    out.entries.reverse();
    Ok(out)
}

/// The text of a `.damage` file. Deleting the file accepts the loss.
#[derive(Debug, Default, Serialize, Deserialize)]
struct DamageNote {
    note: String,
    damaged: Vec<DamagedRange>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DamagedRange {
    from: u64,
    to: u64,
    channel: Option<ChannelId>,
}

impl DamageNote {
    fn new(gaps: &[Gap]) -> Self {
        let damaged = gaps.iter().map(|gap| DamagedRange {
            from: gap.from,
            to: gap.to,
            channel: gap.channel,
        });
        Self {
            note: "These bytes of the segment's log cannot be read. Until they are back, queries of \
                   this time are answered with 503. To accept the loss, stop the hub and delete this \
                   file."
                .to_owned(),
            damaged: damaged.collect(),
        }
    }

    fn gaps(&self) -> Vec<Gap> {
        let gaps: Vec<Gap> = self
            .damaged
            .iter()
            .map(|range| Gap {
                from: range.from,
                to: range.to,
                channel: range.channel,
            })
            .collect();
        if gaps.is_empty() {
            let (from, to) = (0, 0);
            return vec![Gap {
                from,
                to,
                channel: None,
            }];
        }
        gaps
    }
}
