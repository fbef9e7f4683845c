//! Where the items of a list come from, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::channel::{Channel, Query, Reads, Walk, WalkError};
use crate::item::ItemKey;
use crate::spoke::Direction;

/// Items, in the order of their list.
pub(in crate::http) enum Source {
    /// These.
    Known(std::vec::IntoIter<(Arc<Channel>, ItemKey)>),
    /// Those of a channel, page by page.
    Pages(Pages),
    /// A walk along several channels.
    Walk(Box<Walk>),
}

/// A query's answer, page by page.
pub(in crate::http) struct Pages {
    pub(in crate::http) reads: Arc<Reads>,
    pub(in crate::http) channel: Arc<Channel>,
    pub(in crate::http) query: Query,
    pub(in crate::http) keys: VecDeque<ItemKey>,
    pub(in crate::http) more: bool,
}

impl Source {
    /// These items of one channel.
    pub(in crate::http) fn of(channel: &Arc<Channel>, keys: Vec<ItemKey>) -> Self {
        let items: Vec<_> = keys
            .into_iter()
            .map(|key| (Arc::clone(channel), key))
            .collect();
        Self::Known(items.into_iter())
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// Why the list cannot go on.
    pub(in crate::http) async fn next(
        &mut self,
    ) -> Result<Option<(Arc<Channel>, ItemKey)>, WalkError> {
        match self {
            Self::Known(items) => Ok(items.next()),
            Self::Pages(pages) => pages.next().await,
            Self::Walk(walk) => walk.next().await,
        }
    }
}

impl Pages {
    async fn next(&mut self) -> Result<Option<(Arc<Channel>, ItemKey)>, WalkError> {
        while self.keys.is_empty() && self.more {
            let page = self.reads.page(&self.channel, &self.query).await;
            let page = page.map_err(|error| WalkError {
                channel: self.channel.config.name.as_str().to_owned(),
                error,
            })?;
            self.more = page.more && !page.keys.is_empty();
            self.keys = page.keys.into();
            self.behind_last();
        }
        let key = self.keys.pop_front();
        Ok(key.map(|key| (Arc::clone(&self.channel), key)))
    }

    /// The next page begins behind the last key of this one.
    pub(in crate::http) fn behind_last(&mut self) {
        if let Some(last) = self.keys.back() {
            match self.query.direction {
                Direction::Ascending => self.query.from = last.successor(),
                Direction::Descending => {
                    self.query.to = Some(*last);
                    // What was listed is stable, and so is what lies below it.
                    self.query.whole = self.query.stable;
                }
            }
        }
    }
}
