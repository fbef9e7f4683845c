//! The channels as this node last heard of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::registry::Channel;
use crate::item::ItemKey;
use crate::spoke::ChannelId;

#[derive(Default)]
pub(super) struct Cache {
    by_name: HashMap<Arc<str>, Arc<Channel>>,
    by_id: HashMap<ChannelId, Arc<Channel>>,
    /// For channels that keep a number of items: the lowest key that is kept, as last counted.
    counted: HashMap<ChannelId, ItemKey>,
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
            if known.id != channel.id {
                self.counted.remove(&known.id);
                self.by_id.remove(&known.id);
            }
        }
        let channel = Arc::new(channel);
        if channel.config.max_items == 0 {
            self.counted.remove(&channel.id);
        }
        self.by_id.insert(channel.id, Arc::clone(&channel));
        let name = channel.config.name.key().into();
        self.by_name.insert(name, Arc::clone(&channel));
        channel
    }

    /// Forgets the channel of that name.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(channel) = self.by_name.remove(name) {
            self.by_id.remove(&channel.id);
            self.counted.remove(&channel.id);
        }
    }

    /// The lowest key that a channel keeps by number, as last counted.
    pub(super) fn lowest_counted(&self, id: ChannelId) -> Option<ItemKey> {
        self.counted.get(&id).copied()
    }

    /// Takes up what was counted; of no consequence if the channel is gone.
    pub(super) fn set_counted(&mut self, id: ChannelId, lowest: ItemKey) {
        if self.by_id.contains_key(&id) {
            self.counted.insert(id, lowest);
        }
    }
}
