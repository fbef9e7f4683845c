//! What members note for one another: which archive it is, and what is being restored.

use zookeeper_client::Error;

use super::super::coordination::{ArchiveNote, CoordinationError};
use super::Shared;
use super::calls::newest;
use super::nodes::{ARCHIVE, Failure, RESTORING};

/// Which archive the members write to.
pub(super) async fn archive(shared: &Shared) -> Result<Option<ArchiveNote>, CoordinationError> {
    shared
        .call(async |client| {
            let found = newest(&client, ARCHIVE).await?;
            let note = found.map(|(data, _)| serde_json::from_slice(&data));
            note.transpose().map_err(Failure::unreadable)
        })
        .await
}

/// Notes which archive they write to.
pub(super) async fn set_archive(
    shared: &Shared,
    note: ArchiveNote,
) -> Result<(), CoordinationError> {
    let data = serde_json::to_vec(&note);
    let data = data.map_err(|error| shared.unavailable(&error.to_string()))?;
    shared
        .call(async |client| {
            let options = shared.persistent();
            match client.create(ARCHIVE, &data, &options).await {
                Ok(_) => Ok(()),
                Err(Error::NodeExists) => {
                    client.set_data(ARCHIVE, &data, None).await?;
                    Ok(())
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
}

/// What is being restored.
pub(super) async fn restoring(shared: &Shared) -> Result<Option<String>, CoordinationError> {
    shared
        .call(async |client| {
            let found = newest(&client, RESTORING).await?;
            let text = found.map(|(data, _)| String::from_utf8(data));
            text.transpose().map_err(Failure::unreadable)
        })
        .await
}

/// Notes what is being restored, or that it is done.
pub(super) async fn set_restoring(
    shared: &Shared,
    what: Option<String>,
) -> Result<(), CoordinationError> {
    shared
        .call(async |client| {
            let done = match &what {
                Some(what) => {
                    let options = shared.persistent();
                    let created = client.create(RESTORING, what.as_bytes(), &options).await;
                    created.map(drop)
                }
                None => client.delete(RESTORING, None).await,
            };
            match done {
                Err(Error::NoNode) if what.is_none() => Ok(()),
                done => Ok(done?),
            }
        })
        .await
}
