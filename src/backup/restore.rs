//! Putting a hub back: its channels under their numbers, and its archive.
//!
//! Into an empty hub only. What is being restored is noted in the new hub's coordination first, and no hub starts
//! there before it is done; whoever restores the same again goes on with it. The objects come before the
//! channels. Every copy is held against its SHA-256 before it is written.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_ring::RingHistory;
use serde::Serialize;

use super::cut::cut;
use super::document::{ChannelState, Document, Month, State, Totals, Unfit, optional_iso};
use super::error::{BackupError, Damage};
use super::object::{Found, copy_by_parts, look};
use super::pick::{Choice, Job, Wanted, choose, objects};
use super::place::{OBJECTS, Place, copy_name, moment};
use super::progress::Progress;
use super::sum::Sum;
use super::verify::wrong;
use crate::archive::store::Store;
use crate::cluster::{ChannelRecord, Coordination, CoordinationError};
use crate::env::Millis;

/// Objects, or channels, that are put back at the same time.
const AT_ONCE: usize = 8;
/// The most damaged objects that are looked for once one was found.
const DAMAGES: usize = 100;

/// The hub to restore into.
pub struct Target {
    /// What its members agree through.
    pub coordination: Arc<dyn Coordination>,
    /// Its archive.
    pub archive: Store,
    /// Where that is.
    pub archive_url: String,
}

/// How it is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreSettings {
    /// Which state.
    pub wanted: Wanted,
    /// Whether the archive is still there, and only what coordination held is put back.
    pub state_only: bool,
    /// Whether the rings are put back too, for members whose disks are intact.
    pub with_rings: bool,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The backup.
    pub backup: String,
    /// The one that has items from after it, if they were wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub later: Option<String>,
    /// How many channels.
    pub channels: u64,
    /// The objects that the archive has now, as the backup has them.
    #[serde(flatten)]
    pub totals: Totals,
    /// Those of them that were there already.
    pub found: u64,
    /// Those whose later items were left out.
    pub cut: u64,
    /// Objects that the backup names and that the archive does not have, where only what coordination held
    /// was put back: retention and roll-ups take some away.
    pub absent: u64,
    /// What the backup says it lacks, for it was damaged when it was made.
    pub left_out: Vec<String>,
    /// The time up to which items were wanted; `None` if the items of a backup were, or none.
    #[serde(with = "optional_iso", skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
    /// Every item with an earlier time is there, or where no items were put back, in the backup; `None` if nobody
    /// knows.
    #[serde(with = "optional_iso")]
    pub complete_to: Option<Millis>,
}

impl Restored {
    /// Whether items up to a time were wanted, and some of them may not be there.
    pub fn falls_short(&self) -> bool {
        let Some(until) = self.until else {
            return false;
        };
        self.complete_to.is_none_or(|to| to <= until)
    }
}

/// What is noted while it lasts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Note<'a> {
    backup: &'a str,
    later: Option<&'a str>,
    until: Option<String>,
    archive: &'a str,
    state_only: bool,
}

/// Restores a hub.
///
/// # Errors
/// [`BackupError`]. Where it was [`BackupError::NotEmpty`], or the backup was found damaged before anything was written,
/// nothing was changed.
pub async fn restore(
    place: &Place,
    target: &Target,
    settings: &RestoreSettings,
    progress: &Progress,
) -> Result<Restored, BackupError> {
    progress.begin("reading the backup", 0);
    let documents = documents(place, &settings.wanted).await?;
    let choice = choose(&documents, &settings.wanted, !settings.state_only);
    let choice = choice.map_err(|reason| BackupError::NoBackup {
        reason: format!("{reason} in {}", place.url()),
    })?;
    let state = place.state(choice.base).await?;
    let rings = rings(&state)?;
    let plan = Plan::of(place, &choice, settings.wanted.until()).await?;
    let until = settings.wanted.until().filter(|_| !settings.state_only);
    let mut restored = Restored {
        backup: choice.base.id.clone(),
        later: choice.later.map(|later| later.id.clone()),
        channels: state.channels.len() as u64,
        totals: Totals::default(),
        found: 0,
        cut: 0,
        absent: 0,
        left_out: left_out(&choice),
        until,
        complete_to: choice.complete_to().map(|to| match until {
            // No later one was restored.
            Some(until) => to.min(until.plus(1)),
            None => to,
        }),
    };
    if !settings.state_only {
        plan.check_copies(progress).await?;
    }
    let until = settings.wanted.until().map(Millis::iso);
    let note = Note {
        backup: &choice.base.id,
        later: choice.later.map(|later| later.id.as_str()),
        until,
        archive: &target.archive_url,
        state_only: settings.state_only,
    };
    let note = serde_json::to_string(&note).map_err(|error| BackupError::Unfit {
        what: "what is restored".to_owned(),
        unfit: Unfit(error.to_string()),
    })?;
    let goes_on = target.begin(&note).await?;
    if !settings.state_only {
        target.check_archive(&plan, goes_on).await?;
    }
    // From here on no hub starts there.
    if !goes_on {
        target.coordination.set_restoring(Some(note)).await?;
    }
    if settings.state_only {
        let compared = plan.compare(target, &mut restored, progress).await;
        if let (Err(BackupError::Refused { .. }), false) = (&compared, goes_on) {
            // Nothing was begun, and another archive is to be named.
            target.coordination.set_restoring(None).await?;
        }
        compared?;
    }
    if !settings.state_only {
        plan.copy(target, goes_on, &mut restored, progress).await?;
    }
    if settings.with_rings {
        let known = target.coordination.rings().await?;
        if known.history.is_empty() && !rings.is_empty() {
            let replaced = target
                .coordination
                .replace_rings(known.version, &rings)
                .await;
            replaced?;
        }
    }
    progress.begin("channels", state.channels.len());
    let channels = stream::iter(state.channels).map(Ok::<_, BackupError>);
    let each = channels.try_for_each_concurrent(AT_ONCE, async |channel| {
        target.channel(channel).await?;
        progress.step();
        Ok(())
    });
    each.await?;
    target.coordination.set_restoring(None).await?;
    Ok(restored)
}

/// The backups to choose among. Damaged ones that are not asked for stand in nobody's way, but the newest one
/// is: an older one in its place would be a surprise.
async fn documents(place: &Place, wanted: &Wanted) -> Result<Vec<Document>, BackupError> {
    if let Wanted::Named(id) = wanted {
        return Ok(vec![place.document(id).await?]);
    }
    let mut documents = Vec::new();
    let mut damaged = Vec::new();
    for listed in place.list().await? {
        match listed.document {
            Ok(document) => documents.push(document),
            Err(error) => damaged.push((listed.id, error)),
        }
    }
    let until = wanted.until();
    let chosen = documents
        .iter()
        .rfind(|document| until.is_none_or(|until| document.taken <= until));
    let chosen = chosen.map(|chosen| chosen.id.as_str()).unwrap_or_default();
    // Names sort as backups do, and begin with the time.
    let last = until.map(moment);
    let in_the_way = damaged.into_iter().find(|(id, _)| {
        let is_later = last
            .as_ref()
            .is_some_and(|last| id.get(..last.len()).is_some_and(|of| of > last.as_str()));
        id.as_str() > chosen && !is_later
    });
    match in_the_way {
        Some((_, error)) => Err(error),
        None => Ok(documents),
    }
}

fn rings(state: &State) -> Result<RingHistory, BackupError> {
    let wrong = |reason: String| BackupError::damaged("the rings of the backup", reason);
    let bytes = STANDARD.decode(&state.rings.history);
    let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
    if bytes.is_empty() {
        return Ok(RingHistory::new());
    }
    RingHistory::decode(&bytes).map_err(|error| wrong(error.to_string()))
}

fn left_out(choice: &Choice<'_>) -> Vec<String> {
    let both = choice.later.into_iter().chain([choice.base]);
    let mut names: Vec<String> = both.flat_map(|backup| backup.left_out.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// What is put back, month by month.
struct Plan<'a> {
    place: &'a Place,
    /// Each folder, as the backup has it and as a later one has it.
    months: Vec<(Option<Month>, Option<Month>)>,
    until: Option<Millis>,
}

impl<'a> Plan<'a> {
    async fn of(
        place: &'a Place,
        choice: &Choice<'_>,
        until: Option<Millis>,
    ) -> Result<Self, BackupError> {
        let mut later: HashMap<String, Month> = HashMap::new();
        if let Some(document) = choice.later {
            let months = place.months(document).await?.into_iter();
            later = months.map(|month| (month.folder.clone(), month)).collect();
        }
        let base = place.months(choice.base).await?;
        // A channel that was made later is none of this state.
        let known = place.state(choice.base).await?;
        let known: Vec<_> = known.channels.iter().map(|channel| channel.id).collect();
        let mut months: Vec<_> = base
            .into_iter()
            .map(|month| {
                let same = later.remove(&month.folder);
                (Some(month), same)
            })
            .collect();
        let new = later.into_values();
        let new = new.filter(|month| month.channel().is_some_and(|id| known.contains(&id)));
        months.extend(new.map(|month| (None, Some(month))));
        Ok(Self {
            place,
            months,
            until,
        })
    }

    /// What of a month is put back.
    async fn jobs(
        &self,
        (base, later): &(Option<Month>, Option<Month>),
    ) -> Result<Vec<Job>, BackupError> {
        let of = async |month: &Option<Month>| match month {
            Some(month) => self.place.objects(month).await,
            None => Ok(Vec::new()),
        };
        Ok(objects(of(base).await?, of(later).await?, self.until))
    }

    /// Whether every copy is there and as long as it should be; their bytes are looked at when they are copied.
    async fn check_copies(&self, progress: &Progress) -> Result<(), BackupError> {
        progress.begin("looking for copies", self.months.len());
        let copies: HashMap<Sum, u64> = self.place.sums(OBJECTS).await?;
        let mut damages = Vec::new();
        for month in &self.months {
            for Job { held, .. } in self.jobs(month).await? {
                let reason = match copies.get(&held.sha256) {
                    Some(size) if *size == held.size => continue,
                    Some(_) => "it is not as long as it was",
                    None => "it is missing",
                };
                damages.push(Damage {
                    name: format!("{} ({})", copy_name(held.sha256), held.name),
                    reason: reason.to_owned(),
                });
            }
            progress.step();
        }
        if damages.is_empty() {
            return Ok(());
        }
        Err(BackupError::Damaged(damages))
    }

    /// Holds an archive that is still there against what the backup has.
    async fn compare(
        &self,
        target: &Target,
        restored: &mut Restored,
        progress: &Progress,
    ) -> Result<(), BackupError> {
        progress.begin("months", self.months.len());
        let (mut there, mut example) = (0u64, None);
        // Month by month: one question for each, and not for each object.
        let listing = stream::iter(&self.months)
            .map(async |month| self.missing(target, month, true).await)
            .buffered(AT_ONCE);
        let mut listing = std::pin::pin!(listing);
        while let Some(jobs) = listing.try_next().await? {
            for (Job { held, .. }, known) in jobs {
                if known.is_some() {
                    there += 1;
                    restored.totals.add(held.totals());
                } else {
                    restored.absent += 1;
                    example = example.or(Some(held.name));
                }
            }
            progress.step();
        }
        if let (0, Some(name)) = (there, example) {
            return Err(BackupError::Refused {
                reason: format!(
                    "nothing of what the backup names is in the archive {}, for one {name}: it is not the \
                     archive of that hub; a backup with items brings its own",
                    target.archive_url
                ),
            });
        }
        restored.found = there;
        Ok(())
    }

    /// What of a month is put back, and how long what is there of it already is.
    async fn missing(
        &self,
        target: &Target,
        month: &(Option<Month>, Option<Month>),
        goes_on: bool,
    ) -> Result<Vec<(Job, Option<u64>)>, BackupError> {
        let jobs = self.jobs(month).await?;
        if !goes_on {
            return Ok(jobs.into_iter().map(|job| (job, None)).collect());
        }
        let folder = month.0.as_ref().or(month.1.as_ref());
        let folder = folder.map_or("", |month| month.folder.as_str());
        let there = target.archive.entries(folder).await;
        let there = there.map_err(BackupError::Archive)?.into_iter();
        let there: HashMap<String, u64> = there.map(|entry| (entry.name, entry.size)).collect();
        let known = |job: Job| {
            let known = there.get(&job.held.name).copied();
            (job, known)
        };
        Ok(jobs.into_iter().map(known).collect())
    }

    async fn copy(
        &self,
        target: &Target,
        goes_on: bool,
        restored: &mut Restored,
        progress: &Progress,
    ) -> Result<(), BackupError> {
        let months = self.months.iter().flat_map(|(base, later)| [base, later]);
        let most = months.flatten().map(|month| month.totals.objects);
        progress.begin("objects", usize::try_from(most.sum::<u64>()).unwrap_or(0));
        let listing = stream::iter(&self.months)
            .map(async |month| self.missing(target, month, goes_on).await)
            .buffered(AT_ONCE);
        let jobs = listing.map_ok(|jobs| stream::iter(jobs.into_iter().map(Ok::<_, BackupError>)));
        let done = jobs.try_flatten().map(async |job| {
            let (job, known) = job?;
            let whole = known.is_some_and(|size| job.cut.is_some() || size == job.held.size);
            if whole {
                return Ok((job, Put::Before));
            }
            let put = self.put(target, &job, known.is_some(), progress).await?;
            Ok::<_, BackupError>((job, put))
        });
        let mut done = std::pin::pin!(done.buffer_unordered(AT_ONCE));
        let mut damages = Vec::new();
        while let Some((job, put)) = done.try_next().await? {
            progress.step();
            match put {
                Put::Damaged(reason) => {
                    damages.push(Damage {
                        name: format!("{} ({})", copy_name(job.held.sha256), job.held.name),
                        reason,
                    });
                    if damages.len() >= DAMAGES {
                        break;
                    }
                    continue;
                }
                Put::Before => restored.found += 1,
                Put::Now => {}
            }
            restored.totals.add(job.held.totals());
            restored.cut += u64::from(job.cut.is_some());
        }
        if damages.is_empty() {
            return Ok(());
        }
        Err(BackupError::Damaged(damages))
    }

    /// Puts an object into the new archive, once its copy is known to be what was written.
    async fn put(
        &self,
        target: &Target,
        job: &Job,
        instead: bool,
        progress: &Progress,
    ) -> Result<Put, BackupError> {
        let (held, copy) = (&job.held, copy_name(job.held.sha256));
        let store = self.place.store();
        let found = look(store, &copy, &held.name, held.size).await;
        let found = found.map_err(BackupError::Place)?;
        progress.read(held.size);
        if let Some(reason) = wrong(held, &found) {
            return Ok(Put::Damaged(reason));
        }
        let bytes = match found {
            Found::Whole(_, bytes) => bytes,
            Found::Damaged(..) | Found::Missing => None,
        };
        if let Some(until) = job.cut {
            cut((store, &copy), bytes, (&target.archive, &held.name), until).await?;
            return Ok(Put::Now);
        }
        let put = match bytes {
            Some(bytes) if instead => target.archive.replace(&held.name, bytes).await,
            Some(bytes) => target.archive.create(&held.name, bytes).await.map(drop),
            None => {
                let from = (store, copy.as_str(), BackupError::Place as fn(_) -> _);
                let to = (
                    &target.archive,
                    held.name.as_str(),
                    BackupError::Archive as fn(_) -> _,
                );
                let sum = copy_by_parts(from, to, held.sha256).await?;
                return Ok(match sum {
                    Some(sum) if sum == held.sha256 => Put::Now,
                    _ => Put::Damaged("it was changed meanwhile".to_owned()),
                });
            }
        };
        put.map_err(BackupError::Archive)?;
        Ok(Put::Now)
    }
}

/// What became of an object.
enum Put {
    Now,
    Before,
    Damaged(String),
}

impl Target {
    /// Looks whether the hub is empty; says whether the same is being restored already.
    async fn begin(&self, note: &str) -> Result<bool, BackupError> {
        let not_empty = |reason: String| BackupError::NotEmpty { reason };
        match self.coordination.restoring().await? {
            Some(other) if other == note => return Ok(true),
            Some(other) => {
                return Err(not_empty(format!(
                    "something else is being restored there, and is not done: {other}; \
                     restore that to its end, or begin with an empty hub and archive"
                )));
            }
            None => {}
        }
        let channels = self.coordination.channels().await?;
        if let Some(first) = channels.first() {
            let (count, name) = (channels.len(), &first.name);
            return Err(not_empty(format!(
                "the hub has {count} channels, for one {name}"
            )));
        }
        let members = self.coordination.members().borrow().len();
        if members > 0 {
            return Err(not_empty(format!(
                "{members} members of the hub are running: stop them"
            )));
        }
        if !self.coordination.rings().await?.history.is_empty() {
            return Err(not_empty("the hub has run before: it has rings".to_owned()));
        }
        Ok(false)
    }

    /// Looks whether the archive has nothing, or nothing else than what is being restored.
    async fn check_archive(&self, plan: &Plan<'_>, goes_on: bool) -> Result<(), BackupError> {
        let not_empty = |name: &str| BackupError::NotEmpty {
            reason: format!(
                "the archive {} is not empty: it has {name}",
                self.archive_url
            ),
        };
        if !goes_on {
            let names = self.archive.names("", "", 1).await;
            let names = names.map_err(BackupError::Archive)?.names;
            return match names.first() {
                Some(name) => Err(not_empty(name)),
                None => Ok(()),
            };
        }
        let mut wanted = std::collections::HashSet::new();
        for month in &plan.months {
            wanted.extend(plan.jobs(month).await?.into_iter().map(|job| job.held.name));
        }
        let names = self.archive.all_names("").await;
        let names = names.map_err(BackupError::Archive)?;
        match names.iter().find(|name| !wanted.contains(*name)) {
            Some(name) => Err(not_empty(name)),
            None => Ok(()),
        }
    }

    /// Puts back a channel and its document, unless it is there.
    async fn channel(&self, channel: ChannelState) -> Result<(), BackupError> {
        let data = serde_json::to_vec(&channel.data).map_err(|error| BackupError::Unfit {
            what: format!("channel {}", channel.name),
            unfit: Unfit(error.to_string()),
        })?;
        let record = ChannelRecord {
            name: channel.name.clone(),
            id: channel.id.0.0,
            version: 0,
            data,
        };
        match self.coordination.restore_channel(record).await {
            Ok(()) => {}
            Err(CoordinationError::Exists) => {
                let there = self.coordination.channel(&channel.name).await?;
                if there.is_none_or(|there| there.id != channel.id.0.0) {
                    return Err(BackupError::NotEmpty {
                        reason: format!("the hub has another channel {}", channel.name),
                    });
                }
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(text) = channel.document {
            let set = self.coordination.set_document(&channel.name, Some(text));
            set.await?;
        }
        Ok(())
    }
}
