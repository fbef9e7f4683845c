//! The lock of the node that is about to leave: one ephemeral node, which ends with the session of
//! whoever has it.

use zookeeper_client::Error;

use super::super::coordination::CoordinationError;
use super::Shared;
use super::calls::newest;
use super::nodes::SHUTDOWN;

/// How many times it is tried again when somebody else was faster.
const TRIES: usize = 10;

/// Takes the lock; gives who has it, if that is somebody else.
pub(super) async fn lock(
    shared: &Shared,
    holder: &str,
) -> Result<Option<String>, CoordinationError> {
    shared
        .call(async |client| {
            for _ in 0..TRIES {
                let options = shared.ephemeral();
                match client.create(SHUTDOWN, holder.as_bytes(), &options).await {
                    Ok(_) => return Ok(None),
                    Err(Error::NodeExists) => {}
                    Err(error) => return Err(error.into()),
                }
                match newest(&client, SHUTDOWN).await? {
                    // Taken before, perhaps by an answer that was lost.
                    Some((_, stat)) if stat.ephemeral_owner == client.session_id().0 => {
                        return Ok(None);
                    }
                    Some((name, _)) => return Ok(Some(text(&name))),
                    None => {}
                }
            }
            Err(CoordinationError::Conflict.into())
        })
        .await
}

/// Who has the lock.
pub(super) async fn holder(shared: &Shared) -> Result<Option<String>, CoordinationError> {
    shared
        .call(async |client| {
            let found = newest(&client, SHUTDOWN).await?;
            Ok(found.map(|(name, _)| text(&name)))
        })
        .await
}

/// Takes the lock away from whoever has it.
pub(super) async fn reset(shared: &Shared) -> Result<(), CoordinationError> {
    shared
        .call(async |client| match client.delete(SHUTDOWN, None).await {
            Ok(()) | Err(Error::NoNode) => Ok(()),
            Err(error) => Err(error.into()),
        })
        .await
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
