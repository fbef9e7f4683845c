//! What one member may ask another.

use std::time::Duration;

/// A kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Whether it is there, and which run of it.
    Ping,
    Append,
    Stage,
    Settle,
    Write,
    Report,
    Get,
    Digests,
    Inventory,
    Fetch,
    Vouch,
    History,
    Channels,
}

impl Kind {
    pub(super) const ALL: [Self; 13] = [
        Self::Ping,
        Self::Append,
        Self::Stage,
        Self::Settle,
        Self::Write,
        Self::Report,
        Self::Get,
        Self::Digests,
        Self::Inventory,
        Self::Fetch,
        Self::Vouch,
        Self::History,
        Self::Channels,
    ];

    /// Its name in metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Append => "append",
            Self::Stage => "stage",
            Self::Settle => "settle",
            Self::Write => "write",
            Self::Report => "report",
            Self::Get => "get",
            Self::Digests => "digests",
            Self::Inventory => "inventory",
            Self::Fetch => "fetch",
            Self::Vouch => "vouch",
            Self::History => "history",
            Self::Channels => "channels",
        }
    }

    /// Where it is asked.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Ping => "/peer/1/ping",
            Self::Append => "/peer/1/append",
            Self::Stage => "/peer/1/stage",
            Self::Settle => "/peer/1/settle",
            Self::Write => "/peer/1/write",
            Self::Report => "/peer/1/report",
            Self::Get => "/peer/1/get",
            Self::Digests => "/peer/1/digests",
            Self::Inventory => "/peer/1/inventory",
            Self::Fetch => "/peer/1/fetch",
            Self::Vouch => "/peer/1/vouch",
            Self::History => "/peer/1/history",
            Self::Channels => "/peer/1/channels",
        }
    }

    /// The kind that is asked there.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.path() == path)
    }

    /// Whether something may be different after it.
    pub(super) const fn changes(self) -> bool {
        matches!(
            self,
            Self::Append | Self::Stage | Self::Settle | Self::Write
        )
    }

    /// Whether a request of this kind carries items' payloads.
    pub(super) const fn carries_payload(self) -> bool {
        matches!(self, Self::Append | Self::Stage | Self::Write)
    }

    /// Whether a reply may carry items' payloads, or all channels there are.
    pub(super) const fn fetches_much(self) -> bool {
        matches!(self, Self::Get | Self::Fetch | Self::Channels)
    }

    /// How long an answer may take that takes no time of its own to carry.
    pub(super) const fn patience(self) -> Duration {
        Duration::from_millis(match self {
            // Appends and writes: by the settings, and by what the request says.
            Self::Ping | Self::Append | Self::Write => 500,
            Self::Vouch => 1_000,
            Self::Settle | Self::Report => 2_000,
            Self::Get | Self::History | Self::Stage => 5_000,
            Self::Channels | Self::Digests | Self::Inventory | Self::Fetch => 15_000,
        })
    }
}
