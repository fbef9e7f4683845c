//! The channels as this node last heard of them.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::registry::Channel;
use crate::spoke::ChannelId;

/// Deleted channels remembered, at the most.
const DROPPED: usize = 10_000;

#[derive(Default)]
pub(super) struct Cache {
    by_name: HashMap<Arc<str>, Arc<Channel>>,
    by_id: HashMap<ChannelId, Arc<Channel>>,
    /// The numbers of channels that went, so that nobody who has not heard brings them back.
    dropped: HashMap<Arc<str>, ChannelId>,
    /// The sum of what tells each channel from any other.
    digest: u64,
}

/// What tells a channel, in its version, from any other.
fn print(channel: &Channel) -> u64 {
    let mut bytes = channel.config.name.key().as_bytes().to_vec();
    bytes.push(0);
    bytes.extend(channel.id.0.to_be_bytes());
    bytes.extend(channel.version.to_be_bytes());
    xxh3_64(&bytes)
}

impl Cache {
    /// The channel of that name, which is in lower case.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<Channel>> {
        self.by_name.get(name)
    }

    /// The channel with that number.
    pub(super) fn numbered(&self, id: ChannelId) -> Option<&Arc<Channel>> {
        self.by_id.get(&id)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Channel>> {
        self.by_name.values()
    }

    /// Takes a channel up, unless a later one, or a later version of it, is known; gives the one
    /// that stands.
    pub(super) fn put(&mut self, channel: Channel) -> Arc<Channel> {
        let key = channel.config.name.key();
        if let Some(known) = self.by_name.get(key) {
            if (known.id, known.version) > (channel.id, channel.version) {
                return Arc::clone(known);
            }
            self.digest = self.digest.wrapping_sub(print(known));
            if known.id != channel.id {
                self.by_id.remove(&known.id);
            }
        }
        let channel = Arc::new(channel);
        self.digest = self.digest.wrapping_add(print(&channel));
        self.by_id.insert(channel.id, Arc::clone(&channel));
        let name: Arc<str> = channel.config.name.key().into();
        self.dropped.remove(&name);
        self.by_name.insert(name, Arc::clone(&channel));
        channel
    }

    /// Takes a channel up that another node knows, unless it is known to be gone: coordination alone
    /// can say that it is there after all.
    pub(super) fn put_heard(&mut self, channel: Channel) {
        let dropped = self.dropped.get(channel.config.name.key());
        if dropped.is_none_or(|&dropped| channel.id > dropped) {
            self.put(channel);
        }
    }

    /// Forgets the channel of that name, which is gone.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some((name, channel)) = self.by_name.remove_entry(name) {
            self.digest = self.digest.wrapping_sub(print(&channel));
            self.by_id.remove(&channel.id);
            self.remember(name, channel.id);
        }
    }

    /// Forgets the channel of that name if its number is not above `id`.
    pub(super) fn drop_up_to(&mut self, name: &str, id: u64) {
        let id = ChannelId(id);
        match self.by_name.get(name) {
            Some(known) if known.id > id => {}
            Some(_) => self.remove(name),
            None => {
                let known = self.dropped.get(name);
                if known.is_none_or(|&known| known < id) {
                    self.remember(name.into(), id);
                }
            }
        }
    }

    fn remember(&mut self, name: Arc<str>, id: ChannelId) {
        if self.dropped.len() >= DROPPED {
            // Numbers grow, so those of half of them are the later ones.
            let mut ids: Vec<ChannelId> = self.dropped.values().copied().collect();
            let (_, &mut middle, _) = ids.select_nth_unstable(DROPPED / 2);
            self.dropped.retain(|_, id| *id > middle);
        }
        self.dropped.insert(name, id);
    }

    /// The channels that went, with their numbers.
    pub(super) fn dropped(&self) -> Vec<(String, u64)> {
        let dropped = self.dropped.iter();
        dropped.map(|(name, id)| (name.to_string(), id.0)).collect()
    }

    /// What tells whether two nodes know the same channels.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }
}
