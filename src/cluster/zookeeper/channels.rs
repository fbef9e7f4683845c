//! Channels, their documents, and what is left of deleted ones.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use zookeeper_client::{Client, Error, MultiWriteResult, MultiWriter};

use super::super::coordination::{ChannelRecord, CoordinationError, Tombstone};
use super::Shared;
use super::calls::{self, newest};
use super::nodes::{self, CHANNELS, DELETED, DOCS, Deleted, Failure, LEFT, sharded};
use crate::env::Millis;

/// Folders read at the same time.
const FOLDERS_AT_ONCE: usize = 16;
/// How many times a change is tried again when somebody else was faster.
const TRIES: usize = 10;

/// All channels.
pub(super) async fn all(shared: &Shared) -> Result<Vec<ChannelRecord>, CoordinationError> {
    let all = async |client: &Client| {
        client.sync(CHANNELS).await?;
        let folders = client.list_children(CHANNELS).await?;
        let folders: Vec<Vec<ChannelRecord>> = stream::iter(folders)
            .map(|folder| folder_of(shared, client, folder))
            .buffer_unordered(FOLDERS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(folders.into_iter().flatten().collect())
    };
    slowly(shared, all).await
}

async fn folder_of(
    shared: &Shared,
    client: &Client,
    folder: String,
) -> Result<Vec<ChannelRecord>, Failure> {
    let found = calls::list(client, &format!("{CHANNELS}/{folder}")).await?;
    let base = *shared.base.lock();
    let record = |(name, data, stat): (String, _, _)| nodes::channel(&name, data, &stat, base);
    Ok(found.into_iter().map(record).collect())
}

/// A channel.
pub(super) async fn one(
    shared: &Shared,
    name: &str,
) -> Result<Option<ChannelRecord>, CoordinationError> {
    let path = sharded(CHANNELS, name);
    let found = shared
        .call(async |client| newest(&client, &path).await)
        .await?;
    Ok(found.map(|(data, stat)| nodes::channel(name, data, &stat, *shared.base.lock())))
}

/// What is left of a deleted channel.
pub(super) async fn tombstone(
    shared: &Shared,
    name: &str,
) -> Result<Option<Tombstone>, CoordinationError> {
    let path = sharded(DELETED, name);
    shared
        .call(async |client| {
            let found = newest(&client, &path).await?;
            let read = |(data, stat): (Vec<u8>, _)| Deleted::read(&data, &stat);
            found.map(read).transpose()
        })
        .await
}

/// Creates a channel.
pub(super) async fn create(
    shared: &Shared,
    name: &str,
    data: Vec<u8>,
    tombstone: Option<Tombstone>,
) -> Result<ChannelRecord, CoordinationError> {
    let (path, deleted) = (sharded(CHANNELS, name), sharded(DELETED, name));
    shared
        .call(async |client| {
            for folder in [CHANNELS, DELETED] {
                folder_for(shared, &client, folder, name).await?;
            }
            let mut writer = client.new_multi_writer();
            match tombstone {
                Some(tombstone) => {
                    let version = nodes::version(tombstone.version)?;
                    writer.add_delete(&deleted, Some(version))?;
                }
                None => {
                    // There must be none: it can be made, and unmade.
                    writer.add_create(&deleted, b"", &shared.persistent())?;
                    writer.add_delete(&deleted, None)?;
                }
            }
            writer.add_create(&path, &data, &shared.persistent())?;
            let last = if tombstone.is_some() { 1 } else { 2 };
            if let Err(error) = writer.commit().await {
                use zookeeper_client::MultiWriteError::OperationFailed;
                return Err(match error {
                    OperationFailed { index, source } if index == last => source.into(),
                    OperationFailed {
                        source: Error::NodeExists | Error::NoNode | Error::BadVersion,
                        ..
                    } => CoordinationError::Conflict.into(),
                    error => error.into(),
                });
            }
            // Not every server says in the answer to such a request what it has made.
            match client.get_data(&path).await {
                Ok((data, stat)) => Ok(nodes::channel(name, data, &stat, *shared.base.lock())),
                Err(Error::NoNode) => Err(CoordinationError::Conflict.into()),
                Err(error) => Err(error.into()),
            }
        })
        .await
}

/// Puts back a channel under its number.
pub(super) async fn restore(
    shared: &Shared,
    record: &ChannelRecord,
) -> Result<(), CoordinationError> {
    let path = sharded(CHANNELS, &record.name);
    let data = nodes::restored(record.id, &record.data);
    shared
        .call(async |client| {
            folder_for(shared, &client, CHANNELS, &record.name).await?;
            client.create(&path, &data, &shared.persistent()).await?;
            Ok(())
        })
        .await
}

/// Replaces a channel's configuration.
pub(super) async fn replace(
    shared: &Shared,
    name: &str,
    expected: u64,
    data: Vec<u8>,
) -> Result<ChannelRecord, CoordinationError> {
    let (path, version) = (sharded(CHANNELS, name), nodes::version(expected)?);
    shared
        .call(async |client| {
            // Where it keeps a number of its own, that stays: it is that of the version to replace, or this
            // fails.
            let (before, _) = newest(&client, &path).await?.ok_or(Error::NoNode)?;
            let data = match nodes::restored_id(&before) {
                Some(id) => nodes::restored(id, &data),
                None => data,
            };
            let stat = client.set_data(&path, &data, Some(version)).await?;
            Ok(nodes::channel(name, data, &stat, *shared.base.lock()))
        })
        .await
}

/// Deletes a channel and its document, and leaves a tombstone.
pub(super) async fn delete(shared: &Shared, name: &str) -> Result<(), CoordinationError> {
    let (path, doc) = (sharded(CHANNELS, name), sharded(DOCS, name));
    let deleted = sharded(DELETED, name);
    shared
        .call(async |client| {
            for _ in 0..TRIES {
                let (data, stat) = newest(&client, &path).await?.ok_or(Error::NoNode)?;
                let has_doc = client.check_stat(&doc).await?.is_some();
                let id = nodes::channel_id(&data, &stat, *shared.base.lock());
                let at = shared.clock.now().get();
                let tombstone = Deleted { id, at };
                let tombstone = serde_json::to_vec(&tombstone).map_err(Failure::unreadable)?;
                let mut writer = client.new_multi_writer();
                writer.add_delete(&path, Some(stat.version))?;
                if has_doc {
                    writer.add_delete(&doc, None)?;
                }
                // A channel is never made beside a tombstone, so there is none.
                writer.add_create(&deleted, &tombstone, &shared.persistent())?;
                writer.add_create(&nodes::left(id), &tombstone, &shared.persistent())?;
                if tried(writer).await?.is_some() {
                    return Ok(());
                }
                folder_for(shared, &client, DELETED, name).await?;
                folder_for(shared, &client, LEFT, &nodes::left_name(id)).await?;
            }
            Err(CoordinationError::Conflict.into())
        })
        .await
}

/// A channel's document.
pub(super) async fn document(
    shared: &Shared,
    name: &str,
) -> Result<Option<String>, CoordinationError> {
    let path = sharded(DOCS, name);
    shared
        .call(async |client| {
            let found = newest(&client, &path).await?;
            let text = found.map(|(data, _)| String::from_utf8(data));
            text.transpose().map_err(Failure::unreadable)
        })
        .await
}

/// Sets a channel's document, or deletes it.
pub(super) async fn set_document(
    shared: &Shared,
    name: &str,
    text: Option<String>,
) -> Result<bool, CoordinationError> {
    let (path, doc) = (sharded(CHANNELS, name), sharded(DOCS, name));
    shared
        .call(async |client| {
            for _ in 0..TRIES {
                let (_, channel) = newest(&client, &path).await?.ok_or(Error::NoNode)?;
                let before = client.check_stat(&doc).await?;
                let mut writer = client.new_multi_writer();
                // A channel of that name made anew is another one, and at another version or not
                // there in between: then the document's own check fails.
                writer.add_check_version(&path, channel.version)?;
                match (&text, &before) {
                    (None, None) => return Ok(false),
                    (None, Some(stat)) => writer.add_delete(&doc, Some(stat.version))?,
                    (Some(text), Some(stat)) => {
                        writer.add_set_data(&doc, text.as_bytes(), Some(stat.version))?;
                    }
                    (Some(text), None) => {
                        folder_for(shared, &client, DOCS, name).await?;
                        writer.add_create(&doc, text.as_bytes(), &shared.persistent())?;
                    }
                }
                if tried(writer).await?.is_some() {
                    return Ok(before.is_some());
                }
            }
            Err(CoordinationError::Conflict.into())
        })
        .await
}

/// Forgets the channels that were deleted before a time.
pub(super) async fn forget_tombstones(
    shared: &Shared,
    before: Millis,
) -> Result<usize, CoordinationError> {
    let forget = async |client: &Client| {
        let mut forgotten = 0;
        for (path, data, stat) in all_in(client, DELETED).await? {
            if Deleted::read(&data, &stat).is_ok_and(|found| found.deleted >= before) {
                continue;
            }
            match client.delete(&path, Some(stat.version)).await {
                Ok(()) => forgotten += 1,
                Err(Error::NoNode | Error::BadVersion) => {}
                Err(error) => return Err(Failure::from(error)),
            }
        }
        Ok(forgotten)
    };
    slowly(shared, forget).await
}

/// The deleted channels of which the archive may still have something.
pub(super) async fn left(shared: &Shared) -> Result<BTreeMap<u64, Millis>, CoordinationError> {
    let read = async |client: &Client| {
        client.sync(LEFT).await?;
        let found = all_in(client, LEFT).await?;
        let read = |(_, data, stat): (String, Vec<u8>, _)| {
            let found = Deleted::read(&data, &stat)?;
            Ok((found.id, found.deleted))
        };
        found.into_iter().map(read).collect()
    };
    slowly(shared, read).await
}

/// Forgets deleted channels of which nothing is left.
pub(super) async fn forget_left(shared: &Shared, ids: &[u64]) -> Result<(), CoordinationError> {
    let forget = async |client: &Client| {
        for id in ids {
            match client.delete(&nodes::left(*id), None).await {
                Ok(()) | Err(Error::NoNode) => {}
                Err(error) => return Err(Failure::from(error)),
            }
        }
        Ok(())
    };
    slowly(shared, forget).await
}

/// All nodes in the folders of a folder: their paths, and what they hold.
async fn all_in(
    client: &Client,
    folder: &str,
) -> Result<Vec<(String, Vec<u8>, zookeeper_client::Stat)>, Failure> {
    let mut all = Vec::new();
    for shard in client.list_children(folder).await? {
        let shard = format!("{folder}/{shard}");
        let found = calls::list(client, &shard).await?;
        all.extend(
            found
                .into_iter()
                .map(|(name, data, stat)| (format!("{shard}/{name}"), data, stat)),
        );
    }
    Ok(all)
}

/// Does what may take many calls.
async fn slowly<T>(
    shared: &Shared,
    work: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, CoordinationError> {
    let client = shared.client().await?;
    match tokio::time::timeout(shared.settings.patience() * 20, work(&client)).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(shared.unavailable("no answer in time")),
    }
}

/// Makes the folder that a name's node is in.
async fn folder_for(
    shared: &Shared,
    client: &Client,
    folder: &str,
    name: &str,
) -> Result<(), Failure> {
    let path = nodes::shard(folder, name);
    match client.create(&path, b"", &shared.persistent()).await {
        Ok(_) | Err(Error::NodeExists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes; `None` if somebody else came between, and it is to be tried again.
async fn tried(mut writer: MultiWriter<'_>) -> Result<Option<Vec<MultiWriteResult>>, Failure> {
    match writer.commit().await {
        Ok(done) => Ok(Some(done)),
        Err(error) => match Error::from(error) {
            Error::NoNode | Error::NodeExists | Error::BadVersion => Ok(None),
            error => Err(error.into()),
        },
    }
}
