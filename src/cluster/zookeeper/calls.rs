//! Calls to ZooKeeper, each with a time limit round it.

use std::collections::BTreeMap;

use hub_ring::Member;
use zookeeper_client::{
    Client, CreateMode, Error, MultiReadResult, MultiWriteError, MultiWriteResult, Stat,
};

use super::super::coordination::{CoordinationError, MemberRecord, VersionedRings};
use super::Shared;
use super::nodes::{self, Failure, Registered};
use crate::env::Millis;

/// Nodes read by one request.
const READ_AT_ONCE: usize = 64;

impl Shared {
    /// The client of a session that is connected, once there is one; waits no longer than a call
    /// may take, and not at all where it has been waited for so long already: calls that wait one
    /// after the other would take ever longer.
    pub(super) async fn client(&self) -> Result<Client, CoordinationError> {
        let lost = {
            let link = self.link.borrow();
            let lasts = self.clock.boot().saturating_sub(link.since);
            !link.connected && lasts > self.settings.patience()
        };
        if lost {
            return Err(self.unavailable("not connected"));
        }
        let mut link = self.link.subscribe();
        let connected = link.wait_for(|link| link.connected);
        let waited = tokio::time::timeout(self.settings.patience(), connected).await;
        if !matches!(waited, Ok(Ok(_))) {
            return Err(self.unavailable("not connected"));
        }
        let client = self.client.borrow().clone();
        client.ok_or_else(|| self.unavailable("no session"))
    }

    /// Does something with a client, within the time that a call may take.
    pub(super) async fn call<T>(
        &self,
        work: impl AsyncFnOnce(Client) -> Result<T, Failure>,
    ) -> Result<T, CoordinationError> {
        let client = self.client().await?;
        match tokio::time::timeout(self.settings.patience(), work(client)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(self.unavailable("no answer in time")),
        }
    }

    /// The error of a call that could not be made, with what is known of the connection.
    pub(super) fn unavailable(&self, what: &str) -> CoordinationError {
        let link = self.link.borrow();
        let why = if link.why.is_empty() {
            ""
        } else {
            link.why.as_str()
        };
        let between = if why.is_empty() { "" } else { ": " };
        CoordinationError::Unavailable {
            reason: format!("ZooKeeper: {what}{between}{why}"),
        }
    }

    pub(super) fn persistent(&self) -> zookeeper_client::CreateOptions<'static> {
        CreateMode::Persistent.with_acls(self.settings.acls())
    }

    pub(super) fn ephemeral(&self) -> zookeeper_client::CreateOptions<'static> {
        CreateMode::Ephemeral.with_acls(self.settings.acls())
    }
}

/// A node as it is on the leader; `None` if there is none.
pub(super) async fn newest(
    client: &Client,
    path: &str,
) -> Result<Option<(Vec<u8>, Stat)>, Failure> {
    // Requests of one session are answered in order, so the second waits for the first.
    let synced = client.sync(path);
    let read = client.get_data(path);
    synced.await?;
    match read.await {
        Ok(found) => Ok(Some(found)),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The ring history, and its node; `None` if there is none.
pub(super) async fn rings(client: &Client) -> Result<Option<(VersionedRings, Stat)>, Failure> {
    let found = newest(client, nodes::RINGS).await?;
    let read = |(data, stat): (Vec<u8>, Stat)| Ok((nodes::rings(&data, &stat)?, stat));
    found.map(read).transpose()
}

/// The ring history where it must be there.
pub(super) async fn present_rings(client: &Client) -> Result<VersionedRings, Failure> {
    let found = rings(client).await?;
    found.map_or_else(|| Err(Error::NoNode.into()), |(rings, _)| Ok(rings))
}

/// The children of a folder with what they hold; those that go meanwhile are left out.
pub(super) async fn list(
    client: &Client,
    folder: &str,
) -> Result<Vec<(String, Vec<u8>, Stat)>, Failure> {
    let names = match client.list_children(folder).await {
        Ok(names) => names,
        Err(Error::NoNode) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::with_capacity(names.len());
    for names in names.chunks(READ_AT_ONCE) {
        let mut reader = client.new_multi_reader();
        for name in names {
            reader.add_get_data(&format!("{folder}/{name}"))?;
        }
        for (name, read) in names.iter().zip(reader.commit().await?) {
            match read {
                MultiReadResult::Data { data, stat } => found.push((name.clone(), data, stat)),
                MultiReadResult::Error { err } if err != Error::NoNode => return Err(err.into()),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The members that are registered, each with the run that did it.
pub(super) async fn members(
    shared: &Shared,
    client: &Client,
) -> Result<BTreeMap<Member, (MemberRecord, String)>, Failure> {
    let base = *shared.base.lock();
    let mut members = BTreeMap::new();
    for (name, data, stat) in list(client, nodes::MEMBERS).await? {
        match (Member::new(&name), Registered::read(&data, &stat, base)) {
            (Ok(member), Ok(read)) => {
                members.insert(member, (read.record, read.run));
            }
            (Err(error), _) => tracing::warn!(node = name, %error, "a registration has no name"),
            (_, Err(error)) => {
                tracing::warn!(node = name, %error, "a registration cannot be read");
            }
        }
    }
    Ok(members)
}

/// Confirms the version of the ring history by a write; gives the leader's clock.
pub(super) async fn confirm(shared: &Shared, version: u64) -> Result<Millis, CoordinationError> {
    let version = nodes::version(version)?;
    let member = shared.wanted.lock().as_ref().map(|w| w.member.clone());
    let Some(member) = member else {
        return Err(shared.unavailable("this node is not registered"));
    };
    // What it would confirm is another run's.
    if shared.link.borrow().superseded.is_some() {
        return Err(shared.unavailable("a later run of this node has registered"));
    }
    let path = nodes::confirm(&member);
    shared
        .call(async |client| {
            for _ in 0..3 {
                let mut writer = client.new_multi_writer();
                writer.add_check_version(nodes::RINGS, version)?;
                writer.add_set_data(&path, b"", None)?;
                match writer.commit().await {
                    Ok(done) => {
                        let Some(MultiWriteResult::SetData { stat }) = done.last() else {
                            break;
                        };
                        if stat.ephemeral_owner == client.session_id().0 {
                            return Ok(Millis::new(stat.mtime));
                        }
                        // A former session's: it would go with that session.
                        match client.delete(&path, Some(stat.version)).await {
                            Ok(()) | Err(Error::NoNode | Error::BadVersion) => {}
                            Err(error) => return Err(error.into()),
                        }
                    }
                    Err(MultiWriteError::OperationFailed {
                        index: 1,
                        source: Error::NoNode,
                    }) => {}
                    Err(error) => return Err(error.into()),
                }
                match client.create(&path, b"", &shared.ephemeral()).await {
                    Ok(_) | Err(Error::NodeExists) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(CoordinationError::Conflict.into())
        })
        .await
}
