//! The replica of this node, which comes and goes with its store.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::spoke::Replica;

/// The replica of this node, while its store is open.
#[derive(Default)]
pub struct LocalReplica {
    replica: ArcSwapOption<Replica>,
}

impl LocalReplica {
    /// The replica; `None` while the store is being opened, or has been closed.
    pub fn get(&self) -> Option<Arc<Replica>> {
        self.replica.load_full()
    }

    /// The store is open.
    pub fn set(&self, replica: Arc<Replica>) {
        self.replica.store(Some(replica));
    }

    /// The store is not open any more; gives what it was.
    pub fn take(&self) -> Option<Arc<Replica>> {
        self.replica.swap(None)
    }
}
