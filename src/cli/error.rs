//! How a command fails, what it says about it, and which exit code that is.

use std::io;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

use super::exit::Exit;
use super::refusal::Refusal;
use crate::backup::BackupError;

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub enum CliError {
    /// No answer came, or it broke off.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What went wrong, in the words of the network.
        reason: String,
    },
    /// The same of the listener for operators.
    #[error("cannot reach {url}: {reason}")]
    NoOperator {
        /// What was asked for.
        url: String,
        /// What went wrong, in the words of the network.
        reason: String,
    },
    /// The hub answered with an error.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// What came back is not what a hub says.
    #[error("{url} does not answer as a hub does: {reason}")]
    NotAHub {
        /// What was asked for.
        url: String,
        /// What is odd about the answer.
        reason: String,
    },
    /// The HTTP client of this machine failed, before it reached any hub.
    #[error("the HTTP client failed: {reason}")]
    Client {
        /// What went wrong.
        reason: String,
    },
    /// A text that names no URL.
    #[error("{text:?} is no address: {reason}")]
    NotAnAddress {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text that cannot be the value of a header.
    #[error("{value:?} cannot be a {header}: only visible ASCII characters can")]
    NotAHeader {
        /// The header that it was given for.
        header: &'static str,
        /// What was given.
        value: String,
    },
    /// Something that must be agreed to.
    #[error("nothing was changed")]
    NotAgreed,
    /// Not one of the choices that there are.
    #[error("{reason}")]
    NoSuchChoice {
        /// What is wrong.
        reason: String,
    },
    /// A question that must be answered, and nobody there to do so.
    #[error("not deleting channel {channel} without being sure")]
    NobodyToAsk {
        /// The channel that would have been deleted.
        channel: String,
    },
    /// The answer to the question was no.
    #[error("channel {channel} was not deleted")]
    Declined {
        /// The channel that stays.
        channel: String,
    },
    /// A file or stream of this machine failed.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// Which one.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A table that is not of the expected shape.
    #[error("{path}: {reason}")]
    Table {
        /// The file.
        path: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A load that ended before its last row.
    #[error("stopped after {posted} of {total} rows: {source}")]
    Incomplete {
        /// Rows that the hub has acknowledged.
        posted: u64,
        /// Rows that there were to post.
        total: u64,
        /// Why it went no further.
        source: Box<CliError>,
    },
    /// Something about backups.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A backup without a place.
    #[error("nobody said where the backups are")]
    NoPlace,
    /// A hub that has no archive.
    #[error("the hub has no archive: there is nothing of its items that a backup could refer to")]
    NoArchive,
    /// A hub that cannot be restored into.
    #[error("{reason}")]
    NoTarget {
        /// Why not.
        reason: String,
    },
    /// Settings that are refused.
    #[error("the configuration is refused:\n{reason}")]
    Config {
        /// What is wrong with them.
        reason: String,
    },
    /// A text that is no time.
    #[error("{text:?} is no time: write it as 2026-11-22T09:00:00Z")]
    NotATime {
        /// What was given.
        text: String,
    },
    /// A backup that lacks something.
    #[error("the backup lacks what was damaged in the archive: {names}")]
    LeftOut {
        /// The objects.
        names: String,
    },
    /// Not all items up to a time were restored.
    #[error(
        "the hub was restored, but items up to {until} were wanted, and the backups have all of them only up to \
         {complete_to}"
    )]
    FallsShort {
        /// The time that was wanted.
        until: String,
        /// Every item with an earlier time is there; `unknown` if nobody knows.
        complete_to: String,
    },
    /// The archive did not come as far as was wanted.
    #[error("the backup was made, but without what the archive did not have within {seconds} s")]
    ArchiveBehind {
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// A hub that was restored for a drill, and is not what was backed up.
    #[error("the drill failed: {reason}")]
    Drill {
        /// What is wrong.
        reason: String,
    },
    /// What was posted is not what is read.
    #[error("row {row} is not what {url} holds")]
    Differs {
        /// Where it was read.
        url: String,
        /// The row that was posted there.
        row: u64,
    },
    /// Whoever read the output left.
    #[error("nobody reads the output any more")]
    PipeClosed,
}

impl CliError {
    /// The exit code that says this.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } | Self::NoOperator { .. } => Exit::Unreachable,
            Self::NotAgreed
            | Self::NoPlace
            | Self::Config { .. }
            | Self::NotATime { .. }
            | Self::NotAnAddress { .. }
            | Self::NotAHeader { .. }
            | Self::NobodyToAsk { .. } => Exit::Usage,
            Self::Refused(_)
            | Self::NoSuchChoice { .. }
            | Self::NotAHub { .. }
            | Self::Client { .. }
            | Self::Declined { .. }
            | Self::File { .. }
            | Self::Backup(_)
            | Self::NoArchive
            | Self::NoTarget { .. }
            | Self::LeftOut { .. }
            | Self::FallsShort { .. }
            | Self::ArchiveBehind { .. }
            | Self::Drill { .. }
            | Self::Differs { .. }
            | Self::Table { .. } => Exit::Failed,
            Self::Incomplete { source, .. } => source.exit(),
            Self::PipeClosed => Exit::Done,
        }
    }

    /// What the user can do next.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } => Some(
                "start a hub with `hub serve`, or name another with --server URL or HUB_URL"
                    .to_owned(),
            ),
            Self::NoOperator { .. } => Some(
                "operators are answered at the hub's ops.listen, by default on its own machine \
                 only; name another address with --ops URL or HUB_OPS_URL"
                    .to_owned(),
            ),
            Self::Refused(refusal) => refusal.advice(),
            Self::NotAHub { .. } => {
                Some("check that --server or HUB_URL is the address of a hub".to_owned())
            }
            Self::NotAnAddress { .. } => {
                Some("give a full URL, a path as /channel/x/latest, or x/latest".to_owned())
            }
            Self::NotAgreed => Some("say --yes to do it".to_owned()),
            Self::NoPlace => Some(
                "name it with --place URL or HUB_BACKUP_URL, as in s3://elsewhere/hub".to_owned(),
            ),
            Self::NoArchive => Some("set archive.url, or name it with --archive URL".to_owned()),
            Self::NoSuchChoice { .. } => {
                Some("`hub cluster recover` lists the choices that there are".to_owned())
            }
            Self::NobodyToAsk { .. } => {
                Some("say --yes to delete it without a question".to_owned())
            }
            Self::Incomplete { source, .. } => Some(match source.advice() {
                Some(advice) => format!("{advice}; then load the file again"),
                None => "load the file again".to_owned(),
            }),
            Self::Client { .. }
            | Self::NotAHeader { .. }
            | Self::Declined { .. }
            | Self::File { .. }
            | Self::Table { .. }
            | Self::Backup(_)
            | Self::NoTarget { .. }
            | Self::Config { .. }
            | Self::NotATime { .. }
            | Self::LeftOut { .. }
            | Self::FallsShort { .. }
            | Self::ArchiveBehind { .. }
            | Self::Drill { .. }
            | Self::Differs { .. }
            | Self::PipeClosed => None,
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoOperator { .. } => true,
            Self::Refused(refusal) => matches!(
                refusal.status,
                StatusCode::REQUEST_TIMEOUT
                    | StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            _ => false,
        }
    }

    /// How long the hub asked to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// Whether the hub answered with that status.
    pub fn is_status(&self, status: StatusCode) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == status)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn refused(status: u16) -> CliError {
        CliError::Refused(Box::new(Refusal::new(
            Method::GET,
            "http://hub/channel/x",
            StatusCode::from_u16(status).unwrap(),
            None,
            b"",
        )))
    }

    fn unreachable() -> CliError {
        CliError::Unreachable {
            url: "http://hub/".to_owned(),
            reason: "connection refused".to_owned(),
        }
    }

    #[test]
    fn errors_have_their_exit_codes() {
        assert_eq!(unreachable().exit(), Exit::Unreachable);
        for status in [400, 404, 409, 503, 507] {
            assert_eq!(refused(status).exit(), Exit::Failed);
        }
        let nobody = CliError::NobodyToAsk {
            channel: "x".to_owned(),
        };
        assert_eq!(nobody.exit(), Exit::Usage);
        assert_eq!(CliError::PipeClosed.exit(), Exit::Done);
        let incomplete = CliError::Incomplete {
            posted: 1,
            total: 2,
            source: Box::new(unreachable()),
        };
        assert_eq!(incomplete.exit(), Exit::Unreachable);
        assert!(incomplete.advice().unwrap().contains("load the file again"));
    }

    #[test]
    fn only_passing_trouble_is_tried_again() {
        assert!(unreachable().may_pass());
        assert!(refused(503).may_pass());
        for status in [400, 403, 404, 413, 422, 500, 507] {
            assert!(!refused(status).may_pass(), "{status}");
        }
    }
}
