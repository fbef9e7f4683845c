//! This node's part in the cluster, as operators ask about it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hub_ring::Member;

use crate::cluster::{Cluster, MemberRecord};
use crate::peer::PeerClient;

/// This node's part in the cluster, as far as there is one yet.
#[derive(Default)]
pub struct Membership {
    cluster: OnceLock<Arc<Cluster>>,
    peers: OnceLock<Arc<PeerClient>>,
}

impl Membership {
    /// Coordination is open; the node may not be registered yet.
    pub fn has_cluster(&self, cluster: Arc<Cluster>) {
        // Set once: later ones are the same.
        let _ = self.cluster.set(cluster);
    }

    /// Other members can be asked.
    pub fn has_peers(&self, peers: Arc<PeerClient>) {
        // Set once: later ones are the same.
        let _ = self.peers.set(peers);
    }

    /// Its part in the cluster.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }

    /// Its way to the others; a hub that is alone has none.
    pub fn peers(&self) -> Option<&Arc<PeerClient>> {
        self.peers.get()
    }

    /// Who is registered, as far as this node knows.
    pub(super) fn registered(&self) -> Arc<BTreeMap<Member, MemberRecord>> {
        let cluster = self.cluster.get();
        cluster.map_or_else(Arc::default, |cluster| {
            Arc::clone(&cluster.coordination().members().borrow())
        })
    }
}
