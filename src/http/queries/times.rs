//! Links about time, and runs of seconds.

use http::StatusCode;
use serde_json::{Map, json};

use super::capped;
use super::lists::{push_link, trace};
use crate::env::Millis;
use crate::http::api::Call;
use crate::http::grammar::Direction;
use crate::http::links::{ChannelLinks, Link};
use crate::http::params::{Order, Params};
use crate::http::reply::{self, JSON, Reply};
use crate::item::{TimePath, Unit};

/// `GET /channel/{channel}/{time to the second}/{next|previous}/{count}`: a run of seconds.
pub(in crate::http) async fn seconds(
    call: &Call<'_>,
    from: TimePath,
    direction: Direction,
    count: i64,
) -> Result<Reply, Reply> {
    let params = call.params()?;
    let count = capped(call, count) as i64;
    let stable = stable_or_nearly(call).await;
    let mut seconds: Vec<TimePath> = match direction {
        Direction::Next => (0..count)
            .map(|step| from.moved(step))
            .take_while(|second| second.start() < stable)
            .collect(),
        Direction::Previous => {
            let last = from.min(TimePath::of(Unit::Second, stable));
            (1..=count).rev().map(|step| last.moved(-step)).collect()
        }
    };
    seconds.dedup();
    let links = call.links();
    let repeat = params.repeat();
    let run = |from, direction| Link::Seconds {
        from,
        direction,
        count,
    };
    let mut body = String::with_capacity(128 + seconds.len() * 64);
    body.push_str("{\"_links\":{\"self\":{\"href\":\"");
    links.push(&mut body, run(from, direction));
    body.push_str(repeat);
    body.push_str("\"}");
    if let (Some(first), Some(last)) = (seconds.first(), seconds.last()) {
        if seconds.len() as i64 == count {
            let next = run(last.next(), Direction::Next);
            push_link(&mut body, "next", &links, next, repeat);
        }
        let previous = run(*first, Direction::Previous);
        push_link(&mut body, "previous", &links, previous, repeat);
    }
    if params.order == Order::Descending {
        seconds.reverse();
    }
    body.push_str(",\"uris\":[");
    for (at, second) in seconds.iter().enumerate() {
        body.push_str(if at == 0 { "\"" } else { ",\"" });
        links.push(&mut body, Link::Period(*second));
        body.push('"');
    }
    body.push_str("]}");
    body.push_str(&trace(call, &params, from.start(), &seconds, false));
    body.push('}');
    Ok(reply::with_body(StatusCode::OK, JSON, body))
}

/// `GET /channel/{channel}/{time to the millisecond}`: the second around it.
pub(in crate::http) fn millisecond(call: &Call<'_>, second: TimePath) -> Reply {
    let location = call.links().url(Link::Period(second)) + &call.repeat();
    reply::redirect(StatusCode::SEE_OTHER, &location)
}

/// `GET /channel/{channel}/time`
pub(in crate::http) async fn time_links(call: &Call<'_>) -> Result<Reply, Reply> {
    let params = call.params()?;
    let channel = call.known_channel().await?;
    let stable = call.core.reads.stable_time(&channel).await;
    let stable =
        stable.map_err(|wrong| reply::query_error(&wrong, channel.config.name.as_str()))?;
    Ok(times_shown(call, &call.links(), &params, stable))
}

/// The links to the current periods; `links` are those of the channel, or the tag, that was asked.
pub(in crate::http) fn times_shown(
    call: &Call<'_>,
    links: &ChannelLinks,
    params: &Params,
    stable: Millis,
) -> Reply {
    let now = call.api.clock.now();
    let repeat = params.repeat_stable();
    let at = if params.stable { stable } else { now };
    let mut sides = Map::new();
    let own = links.url(Link::Time) + repeat;
    sides.insert("self".to_owned(), json!({"href": own}));
    for unit in Unit::ALL {
        let side = json!({
            "href": links.url(Link::Period(TimePath::of(unit, at))) + repeat,
            "template": links.url(Link::TimeTemplate(unit)),
            "redirect": links.url(Link::TimeNow(unit)) + repeat,
        });
        sides.insert(unit.name().to_owned(), side);
    }
    let moment = |at: Millis| json!({"iso8601": at.iso(), "millis": at.get()});
    let body = json!({"_links": sides, "now": moment(now), "stable": moment(stable)});
    reply::json(StatusCode::OK, &body)
}

/// `GET /channel/{channel}/time/{unit}`
pub(in crate::http) async fn time_now(call: &Call<'_>, unit: Unit) -> Result<Reply, Reply> {
    let params = call.params()?;
    let at = if params.stable {
        stable_or_nearly(call).await
    } else {
        call.api.clock.now()
    };
    let location = call.links().url(Link::Period(TimePath::of(unit, at))) + &call.repeat();
    Ok(reply::redirect(StatusCode::SEE_OTHER, &location))
}

/// The stable time of a channel; of one that does not exist or cannot answer, about what an idle
/// one's would be.
async fn stable_or_nearly(call: &Call<'_>) -> Millis {
    let now = call.api.clock.now();
    let Ok(Some(channel)) = call.channel().await else {
        return now.minus(Unit::Second.millis());
    };
    let stable = call.core.reads.stable_time(&channel).await;
    stable.unwrap_or_else(|_| now.minus(Unit::Second.millis()))
}
