//! Backups: what a hub is put back from when everything else is lost.
//!
//! A backup has what coordination held (channels with their numbers and what stands beside them, the rings) and the
//! SHA-256 of every object of the archive, and copies of them if that is wanted. [`create`] makes one, [`verify`] reads it from
//! one end to the other, [`prune`] removes old ones, and [`restore`] puts a hub back as it was at a time; [`items_of`] says what a
//! hub must give back then. What is chosen and kept is decided by pure functions ([`pick`], [`expired`]).
//! `docs/backup.md` describes what is stored, and how to go about it.

mod create;
mod cut;
mod document;
mod error;
mod expect;
mod lock;
mod object;
mod pick;
mod place;
mod progress;
mod prune;
mod restore;
mod sum;
mod verify;
mod watch;

pub use create::{CreateSettings, Told, create};
pub use document::{
    ChannelFolder, ChannelState, Document, Held, Month, PartRef, RingState, State, Totals, Unfit,
};
pub use error::{BackupError, Damage};
pub use expect::{Expected, items_of};
pub use pick::{Choice, Job, Wanted, choose, objects};
pub use place::{Listed, Place, copy_name, environment, new_id, variables};
pub use progress::{Progress, Reached};
pub use prune::{Pruned, expired, prune};
pub use restore::{RestoreSettings, Restored, Target, restore};
pub use sum::{NoSum, Sum};
pub use verify::{Verified, remove_damaged, verify};
pub use watch::{Standing, look_at, watch};

#[cfg(test)]
mod tests;
