//! The arguments of `hub backup`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::operator::OpsArgs;

/// Arguments of `hub backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Where the backups are.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: BackupCommand,
}

/// Where the backups are.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// Where the backups are: s3://bucket/folder, gs://..., az://... or file:///folder
    ///
    /// Credentials and endpoints come from the environment, under the names that each cloud's own tools read
    /// (AWS_ACCESS_KEY_ID and so on). Where any of these is set with BACKUP_ before its name, only those count
    /// for this place: it may be with another provider than the archive.
    #[arg(long, global = true, env = "HUB_BACKUP_URL", value_name = "URL")]
    pub place: Option<String>,
    /// Print the outcome as one JSON object
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands of `hub backup`.
#[derive(Debug, Clone, Subcommand)]
pub enum BackupCommand {
    /// Make a backup of a running hub
    ///
    /// It has the channels, the rings, and the SHA-256 of every object of the archive; with --with-items
    /// copies of the objects, too. What an earlier backup has is neither read nor copied again.
    #[command(after_long_help = EXAMPLES)]
    Create(CreateArgs),
    /// Print the backups that there are, oldest first
    #[command(after_long_help = EXAMPLES)]
    List,
    /// Read backups from one end to the other, and hold them against all their checksums
    #[command(after_long_help = EXAMPLES)]
    Verify(VerifyArgs),
    /// Remove old backups, and what only they have
    ///
    /// The newest backup always stays, and so does the newest one with items.
    #[command(after_long_help = EXAMPLES)]
    Prune(PruneArgs),
    /// Put back a hub, into an empty one that does not run
    ///
    /// The new hub is the one that the config file and the environment describe, as for `hub serve`: its
    /// ZooKeeper, or its data folder, and its archive. Neither may hold anything. Where a restore was
    /// interrupted, the same command goes on with it; no hub starts there before it is done.
    #[command(after_long_help = EXAMPLES)]
    Restore(RestoreArgs),
    /// Restore a backup into a hub that is thrown away, and ask that for every item
    ///
    /// Says how long it took until it served, and how much would be lost by now.
    #[command(after_long_help = EXAMPLES)]
    Drill(DrillArgs),
}

/// Arguments of `hub backup create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Who is asked for the channels.
    #[command(flatten)]
    pub ops: OpsArgs,
    /// Copy the objects, and not only their names and checksums
    #[arg(long)]
    pub with_items: bool,
    /// Wait so long at the most until the archive has every item from before this began
    ///
    /// If it has not by then the backup is made of what there is, and the command ends with 1.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub wait: u64,
    /// Where the archive is, if it is not to be reached as the hub reaches it
    #[arg(long, value_name = "URL")]
    pub archive: Option<String>,
    /// Leave out objects that are damaged in the archive; else there is no backup
    #[arg(long)]
    pub skip_damaged: bool,
}

/// Arguments of `hub backup verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The backup; else the newest one
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub backup: Option<String>,
    /// All of them; what they share is read once
    #[arg(long)]
    pub all: bool,
    /// Remove the copies that are found damaged, so that the next backup copies the objects anew
    ///
    /// Backups share copies, and a copy that is there is not made again. The archive must still have the objects; no
    /// list and no backup is removed.
    #[arg(long)]
    pub remove_damaged: bool,
}

/// Arguments of `hub backup prune`.
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// Keep backups for that many days
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub keep_days: u32,
}

/// Which state is wanted.
#[derive(Debug, Clone, Args)]
pub struct WantedArgs {
    /// The hub as it was then, as 2026-11-22T09:00:00Z: the channels of the newest backup from then or before, and
    /// their items up to that time, also from a later backup
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    pub until: Option<String>,
    /// That backup; else the newest one
    #[arg(long, value_name = "ID")]
    pub backup: Option<String>,
}

/// Arguments of `hub backup restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Which state.
    #[command(flatten)]
    pub wanted: WantedArgs,
    /// The config file of the new hub; without one, every setting has its default
    #[arg(long, env = "HUB_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The archive is still there: put back the channels only
    #[arg(long)]
    pub state_only: bool,
    /// Put back the rings, too: for members of the same names whose disks are intact
    #[arg(long)]
    pub with_rings: bool,
}

/// Arguments of `hub backup drill`.
#[derive(Debug, Clone, Args)]
pub struct DrillArgs {
    /// Which state.
    #[command(flatten)]
    pub wanted: WantedArgs,
    /// The folder in which it makes one of its own; it needs room for the whole archive
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// The examples of `hub backup --help`.
pub const EXAMPLES: &str = "\
Examples:
  hub backup create --with-items --wait 300    from cron, on a machine that reaches ops.listen
  hub backup list
  hub backup verify                            reads the newest one from end to end
  hub backup prune --keep-days 30
  hub backup drill                             tries whether it would help
  hub backup restore --config /etc/hub/hub.toml
  hub backup restore --config /etc/hub/hub.toml --until 2026-11-22T09:00:00Z
Each of them with --place s3://elsewhere/hub, or HUB_BACKUP_URL in the environment.";
