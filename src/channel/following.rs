//! Following what other nodes do to channels, and telling members that cannot ask coordination.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::registry::{ChannelError, Channels};
use super::retention::{read, record};
use crate::cluster::{ChannelBook, ChannelNews, CoordinationError, KnownChannels};

/// Channels read at the same time.
const AT_ONCE: usize = 32;
/// The most news acted upon together.
const TOGETHER: usize = 1_000;
/// After how long a reading that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

impl Channels {
    /// Takes up what other nodes do to channels, for as long as this one runs. Once at the most.
    pub async fn follow(self: Arc<Self>) {
        let Some(mut news) = self.news.lock().take() else {
            return;
        };
        loop {
            let mut touched = BTreeSet::new();
            let mut relist = false;
            match news.recv().await {
                Ok(ChannelNews::Touched(name)) => {
                    touched.insert(name);
                }
                Ok(ChannelNews::Relist) | Err(RecvError::Lagged(_)) => relist = true,
                Err(RecvError::Closed) => return,
            }
            while touched.len() < TOGETHER {
                match news.try_recv() {
                    Ok(ChannelNews::Touched(name)) => {
                        touched.insert(name);
                    }
                    Ok(ChannelNews::Relist) | Err(TryRecvError::Lagged(_)) => relist = true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            relist |= !self.fetch_all(touched).await;
            while relist {
                match self.reload().await {
                    Ok(done) => relist = !done,
                    Err(error) => tracing::debug!(%error, "channels could not be read"),
                }
                if relist {
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Reads all channels again, now, and takes up what has changed.
    ///
    /// # Errors
    /// [`ChannelError`] if some could not be read.
    pub async fn refresh(self: &Arc<Self>) -> Result<(), ChannelError> {
        if self.reload().await? {
            return Ok(());
        }
        let reason = "some channels could not be read".to_owned();
        Err(CoordinationError::Unavailable { reason }.into())
    }

    /// Reads all channels, and takes up what has changed; `false` if some could not be.
    async fn reload(self: &Arc<Self>) -> Result<bool, ChannelError> {
        let found = self.coordination.channels().await?;
        let mut differ: BTreeSet<String> = self.names().into_iter().collect();
        for record in found {
            let known = self.get(&record.name);
            if known.is_some_and(|known| (known.id.0, known.version) == (record.id, record.version))
            {
                differ.remove(&record.name);
            } else {
                differ.insert(record.name);
            }
        }
        Ok(self.fetch_all(differ).await)
    }

    /// Reads these channels; `false` if coordination did not answer.
    async fn fetch_all(self: &Arc<Self>, names: BTreeSet<String>) -> bool {
        let fetched = stream::iter(names).map(async |name| match self.fetch(&name).await {
            Ok(_) => true,
            Err(ChannelError::Coordination(error)) => {
                tracing::debug!(%error, channel = name, "a channel could not be read");
                false
            }
            Err(error) => {
                tracing::error!(%error, channel = name, "a channel could not be taken up");
                true
            }
        });
        let mut fetched = fetched.buffer_unordered(AT_ONCE);
        let mut all = true;
        while let Some(done) = fetched.next().await {
            all &= done;
        }
        all
    }
}

#[async_trait]
impl ChannelBook for Channels {
    fn digest(&self) -> u64 {
        self.cache.read().digest()
    }

    fn known(&self) -> KnownChannels {
        let cache = self.cache.read();
        KnownChannels {
            channels: cache.all().map(|channel| record(channel)).collect(),
            deleted: cache.dropped(),
        }
    }

    async fn take_up(&self, known: KnownChannels) {
        let mut cache = self.cache.write();
        for (name, id) in known.deleted {
            cache.drop_up_to(&name, id);
        }
        for found in known.channels {
            match read(&found) {
                Ok(channel) => cache.put_heard(channel),
                Err(error) => tracing::warn!(%error, "a member's channel could not be taken up"),
            }
        }
    }

    fn set_rest(&self, millis: i64) {
        self.rest.store(millis, Ordering::Relaxed);
    }

    fn longest_retention(&self) -> Option<i64> {
        let now = self.clock.now();
        let cache = self.cache.read();
        let mut longest = 0;
        for channel in cache.all() {
            // By its time alone: rings are forgotten by this, and from where on a channel keeps its
            // items by number may be a moment ago.
            let floor = channel.config.grace_floor(now)?;
            longest = longest.max(now.get().saturating_sub(floor.get()));
        }
        Some(longest)
    }
}
