//! The keeper's lock, and writing the ring history.
//!
//! The lock is one ephemeral node. Whoever does not get it waits until that goes and tries again:
//! there is no queue in which a node that may not keep could stand in the way of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hub_ring::{Member, RingHistory};
use tokio::sync::oneshot;
use zookeeper_client::{Client, Error, MultiWriteResult};

use super::super::coordination::{CoordinationError, KeeperLock, MemberRecord, VersionedRings};
use super::Shared;
use super::calls;
use super::nodes::{self, Failure};

/// The lock, held by a session.
struct Held {
    shared: Arc<Shared>,
    client: Client,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The request is sent by the call. In another session's hands the lock is safe from it: this
        // one is over then, and the request is refused.
        drop(self.client.delete(nodes::KEEPER, None));
    }
}

/// Waits for the lock.
pub(super) async fn lock(shared: &Arc<Shared>) -> Result<Box<dyn KeeperLock>, CoordinationError> {
    let (answer, answered) = oneshot::channel();
    let shared = Arc::clone(shared);
    // In a task of its own: a lock that was asked for is had in the end, and if nobody waits for it
    // any more, it has to be given back.
    tokio::spawn(async move {
        let mut answer = answer;
        let locked = contend(&shared, &mut answer).await;
        // A lock that nobody takes is dropped here.
        let _ = answer.send(locked);
    });
    let held = answered.await.unwrap_or(Err(CoordinationError::Conflict))?;
    Ok(Box::new(held))
}

async fn contend(
    shared: &Arc<Shared>,
    answer: &mut oneshot::Sender<Result<Held, CoordinationError>>,
) -> Result<Held, CoordinationError> {
    let member = shared.wanted.lock().as_ref().map(|w| w.member.clone());
    let name = member.map_or_else(String::new, |member| member.to_string());
    loop {
        let client = shared.client().await?;
        let held = |client| Held {
            shared: Arc::clone(shared),
            client,
        };
        let failed = |error: Error| CoordinationError::from(Failure::from(error));
        // To its end: only the answer says whose it is.
        match client
            .create(nodes::KEEPER, name.as_bytes(), &shared.ephemeral())
            .await
        {
            Ok(_) => return Ok(held(client)),
            Err(Error::NodeExists) => {}
            Err(error) => return Err(failed(error)),
        }
        let (stat, watcher) = client
            .check_and_watch_stat(nodes::KEEPER)
            .await
            .map_err(failed)?;
        match stat {
            None => continue,
            // By an answer that was lost.
            Some(stat) if stat.ephemeral_owner == client.session_id().0 => {
                return Ok(held(client));
            }
            Some(_) => {}
        }
        // The client would keep its session open for as long as somebody else has the lock.
        drop(client);
        tokio::select! {
            _ = watcher.changed() => {}
            () = answer.closed() => return Err(CoordinationError::Conflict),
        }
    }
}

#[async_trait]
impl KeeperLock for Held {
    async fn observe(
        &self,
    ) -> Result<(BTreeMap<Member, MemberRecord>, VersionedRings), CoordinationError> {
        let reading = async {
            let lock = calls::newest(&self.client, nodes::KEEPER).await?;
            let own = self.client.session_id().0;
            if lock.is_none_or(|(_, stat)| stat.ephemeral_owner != own) {
                return Err(Failure::from(CoordinationError::Conflict));
            }
            let members = calls::members(&self.shared, &self.client).await?;
            let rings = calls::present_rings(&self.client).await?;
            let members = members
                .into_iter()
                .map(|(member, (record, _))| (member, record))
                .collect();
            Ok((members, rings))
        };
        match tokio::time::timeout(self.shared.settings.patience(), reading).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(self.shared.unavailable("no answer in time")),
        }
    }

    async fn replace_rings(
        &self,
        expected: u64,
        history: &RingHistory,
    ) -> Result<u64, CoordinationError> {
        replace_rings(&self.shared, Some(&self.client), expected, history).await
    }
}

/// Replaces the ring history if its version is the expected one and, where the session of a lock is
/// given, that holds it.
pub(super) async fn replace_rings(
    shared: &Shared,
    lock: Option<&Client>,
    expected: u64,
    history: &RingHistory,
) -> Result<u64, CoordinationError> {
    let bytes = history.encode().map_err(Failure::unreadable)?;
    let version = nodes::version(expected)?;
    let client = match lock {
        Some(client) => client.clone(),
        None => shared.client().await?,
    };
    let writing = async {
        let mut writer = client.new_multi_writer();
        if lock.is_some() {
            // Nobody writes to the node of a lock, so it is this session's if it has a node at all.
            writer.add_check_version(nodes::KEEPER, 0)?;
        }
        writer.add_set_data(nodes::RINGS, &bytes, Some(version))?;
        let done = writer.commit().await;
        let done = done.map_err(|error| match Error::from(error) {
            // The lock is gone.
            Error::NoNode => Failure::from(CoordinationError::Conflict),
            error => error.into(),
        })?;
        match done.last() {
            Some(MultiWriteResult::SetData { stat }) => Ok(nodes::number(stat.version.into())),
            _ => Err(Failure::unreadable("an answer without a version")),
        }
    };
    let version = match tokio::time::timeout(shared.settings.patience(), writing).await {
        Ok(written) => written?,
        Err(_) => return Err(shared.unavailable("no answer in time")),
    };
    let history = Arc::new(history.clone());
    // The watch tells it as well, a little later.
    shared.rings.send_if_modified(|known| {
        let news = version > known.version;
        if news {
            *known = VersionedRings { version, history };
        }
        news
    });
    Ok(version)
}
