//! Being registered, in whatever session there is.
//!
//! The number of a run follows the czxid of its first registration, and it takes it along when it
//! registers again in another session: peers are to hear of a new run only when there is one.

use hub_ring::Member;
use zookeeper_client::{Client, Error};

use super::super::coordination::{CoordinationError, Incarnation, MemberRecord};
use super::nodes::{self, Failure, Registered};
use super::{Shared, Wanted};

/// How many times a registration is tried when others come between.
const TRIES: usize = 10;

/// Registers what is wanted, if anything is, in the client's session.
///
/// A registration left by an earlier run (a node that restarted at once) is taken over; one of a
/// later run is not: this run has been superseded, for good. Its own of a former session is replaced,
/// so that its late expiry takes nothing away.
pub(super) async fn register(shared: &Shared, client: &Client) -> Result<(), Failure> {
    let wanted = shared.wanted.lock().clone();
    let Some(Wanted { member, record }) = wanted else {
        return Ok(());
    };
    if shared.link.borrow().superseded.is_some() {
        // Even when the later run has gone: peers that have heard of it answer this one no more.
        return Ok(());
    }
    let path = nodes::member(&member);
    let known = *shared.registered.borrow();
    let data = encode(shared, &record, known)?;
    for _ in 0..TRIES {
        match client.create(&path, &data, &shared.ephemeral()).await {
            Ok((stat, _)) => {
                registered(shared, &member, known, stat.czxid);
                return Ok(());
            }
            Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
        let (found, stat) = match client.get_data(&path).await {
            Ok(found) => found,
            Err(Error::NoNode) => continue,
            Err(error) => return Err(error.into()),
        };
        if stat.ephemeral_owner == client.session_id().0 {
            // Ours, by an answer that was lost or a record that has changed since.
            client.set_data(&path, &data, Some(stat.version)).await?;
            registered(shared, &member, known, stat.czxid);
            return Ok(());
        }
        if let (Ok(found), Some(own)) =
            (Registered::read(&found, &stat, *shared.base.lock()), known)
            && found.run != run(shared)
            && found.record.incarnation > own
        {
            superseded(shared, &member, found.record.incarnation);
            return Ok(());
        }
        match client.delete(&path, Some(stat.version)).await {
            Ok(()) => tracing::info!(%member, "took over the registration of a former session"),
            Err(Error::NoNode | Error::BadVersion) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CoordinationError::Conflict.into())
}

/// Whether the registration that others see is the one that is wanted.
pub(super) fn stands(shared: &Shared, found: Option<&str>) -> bool {
    let wanted = shared.wanted.lock().is_some() && shared.link.borrow().superseded.is_none();
    !wanted || found == Some(run(shared).as_str())
}

/// Takes the registration back, if it is this session's.
pub(super) async fn withdraw(shared: &Shared) -> Result<(), CoordinationError> {
    let wanted = shared.wanted.lock().take();
    let Some(Wanted { member, .. }) = wanted else {
        return Ok(());
    };
    if !shared.link.borrow().connected {
        // It goes with the session.
        return Ok(());
    }
    shared
        .call(async |client| {
            for path in [nodes::member(&member), nodes::confirm(&member)] {
                match client.check_stat(&path).await? {
                    Some(stat) if stat.ephemeral_owner == client.session_id().0 => {}
                    _ => continue,
                }
                match client.delete(&path, None).await {
                    Ok(()) | Err(Error::NoNode) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })
        .await
}

fn run(shared: &Shared) -> String {
    format!("{:032x}", shared.settings.run)
}

fn encode(
    shared: &Shared,
    record: &MemberRecord,
    known: Option<Incarnation>,
) -> Result<Vec<u8>, Failure> {
    let mut record = record.clone();
    record.incarnation = known.unwrap_or(Incarnation(0));
    let run = run(shared);
    serde_json::to_vec(&Registered { run, record }).map_err(Failure::unreadable)
}

fn registered(shared: &Shared, member: &Member, known: Option<Incarnation>, czxid: i64) {
    let incarnation = known.unwrap_or(Incarnation(shared.base.lock().number(czxid)));
    tracing::info!(%member, incarnation = incarnation.0, "registered");
    shared.registered.send_replace(Some(incarnation));
}

fn superseded(shared: &Shared, member: &Member, by: Incarnation) {
    let news = shared.link.send_if_modified(|link| {
        let news = link.superseded != Some(by);
        link.superseded = Some(by);
        news
    });
    if news {
        tracing::error!(
            %member,
            incarnation = by.0,
            "another process has registered under this node's name: this one must stop"
        );
    }
}
