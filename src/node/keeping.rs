//! What a node's store keeps: what channels keep, and of that, with an archive, only what is recent or
//! not archived yet.

use std::sync::Arc;

use crate::archive::name::MINUTE;
use crate::channel::{Archiver, Channels};
use crate::env::{HubClock, Millis};
use crate::spoke::{ChannelId, Keeps, Retention};

/// See the module.
pub(super) struct Keeping {
    pub(super) channels: Arc<Channels>,
    /// `None` without an archive.
    pub(super) archiver: Option<Arc<Archiver>>,
    pub(super) clock: Arc<HubClock>,
    /// How long what is archived stays, in milliseconds.
    pub(super) ttl: i64,
}

impl Retention for Keeping {
    fn keeps(&self, channel: ChannelId) -> Keeps {
        self.channels.keeps(channel)
    }

    fn evicts_to(&self) -> Millis {
        match &self.archiver {
            None => Millis::MIN,
            Some(archiver) => {
                let old = self.clock.now().minus(self.ttl).floor_to(MINUTE);
                archiver.state().archived_to.min(old)
            }
        }
    }
}
