//! Items of the past: inserting them where they belong, and deleting them.

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderValue, StatusCode};
use http_body::Body;

use super::api::Call;
use super::grammar::ITEM_READ;
use super::items::{created, payload_of};
use super::reply::{self, Reply};
use crate::channel::{Channel, HistoricalError, Place};
use crate::item::ItemKey;
use crate::spoke::Durability;

/// `POST /channel/{channel}/{Y}/{M}/{D}/{h}/{m}/{s}/{ms}`, with a hash behind it or without.
pub(super) async fn insert<B>(call: &Call<'_>, place: Place, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    call.refuse_read_only()?;
    let channel = call.channel().await?;
    let channel = channel.ok_or_else(|| reply::empty(StatusCode::NOT_FOUND))?;
    let refused = |wrong: HistoricalError| not_done(&wrong, &channel);
    let historical = &call.core.historical;
    // Before its body is read.
    historical.check(&channel, place.at).map_err(refused)?;
    let (payload, idempotency_key) = payload_of(call, &channel, body).await?;
    let inserted = historical.insert(&channel, place, &payload, idempotency_key);
    let key = inserted.await.map_err(refused)?;
    // Whatever the durability of live items: it is where nothing goes with a node.
    Ok(created(call, &key, Durability::Fsync))
}

/// `DELETE /channel/{channel}/{key}`
pub(super) async fn delete(call: &Call<'_>, key: ItemKey) -> Result<Reply, Reply> {
    call.refuse_read_only()?;
    let channel = call.channel().await?;
    let channel = channel.ok_or_else(|| reply::empty(StatusCode::NOT_FOUND))?;
    match call.core.historical.delete(&channel, &key).await {
        Ok(()) => Ok(reply::empty(StatusCode::NO_CONTENT)),
        Err(HistoricalError::NoMutableTime | HistoricalError::TooLate { .. }) => {
            let text =
                "items are immutable, but for those at or before their channel's mutableTime";
            let mut reply = reply::text(StatusCode::METHOD_NOT_ALLOWED, text);
            let allow = HeaderValue::from_static(ITEM_READ);
            reply.headers_mut().insert(ALLOW, allow);
            Err(reply)
        }
        Err(wrong) => Err(not_done(&wrong, &channel)),
    }
}

/// The answer to an insert or a deletion that was refused, or of which it is not known whether it was done.
fn not_done(wrong: &HistoricalError, channel: &Channel) -> Reply {
    let text = wrong.to_string();
    let name = channel.config.name.as_str();
    match wrong {
        HistoricalError::NoMutableTime => reply::json_text(StatusCode::FORBIDDEN, text),
        HistoricalError::TooLate { .. } | HistoricalError::GivenUp { .. } => {
            reply::json_text(StatusCode::BAD_REQUEST, text)
        }
        HistoricalError::NoArchive => {
            let reason = "items of the past are kept in the archive alone: set archive.url, or on a hub that runs alone archive.local";
            reply::unavailable(&text, reason, Some(name), &[])
        }
        HistoricalError::Store(_) | HistoricalError::Read(_) | HistoricalError::Slow => {
            let reason = format!(
                "outcome unknown; safe to do again with a hash of its own or an Idempotency-Key: {text}"
            );
            reply::unavailable("the archive did not answer", &reason, Some(name), &[])
        }
        HistoricalError::KeyReused => reply::error(
            StatusCode::UNPROCESSABLE_ENTITY,
            &text,
            Some("Idempotency-Key"),
            None,
            Some("one key, one payload"),
        ),
        HistoricalError::Inside(_) => reply::internal(&text),
    }
}
