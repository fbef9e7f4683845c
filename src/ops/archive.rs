//! `/internal/archive`: what the archive holds, and how far it is.
//!
//! For administrators, on their listener: each answer costs requests to the archive.

use futures_util::future::OptionFuture;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::health::Node;
use crate::archive::stats::{Count, Tally};
use crate::env::Millis;
use crate::http::api::NodeCall;
use crate::http::params;
use crate::http::reply::{self, Reply};
use crate::metric;

impl Node {
    /// What the archive holds of all channels, or of one.
    pub(super) async fn archive_page(&self, channel: Option<&str>, call: &NodeCall<'_>) -> Reply {
        if let Err(refusal) = self.admit(call) {
            return *refusal;
        }
        let (Some(channels), Some(working)) = (self.channels.get(), self.working.get()) else {
            return self.not_ready();
        };
        let Some(archiver) = &working.archiver else {
            let what_to_do = Some("set archive.url");
            let text = "this hub has no archive";
            return reply::error(StatusCode::NOT_FOUND, text, None, None, what_to_do);
        };
        let one = match channel {
            None => None,
            Some(name) => match channels.get(name) {
                Some(channel) => Some(channel),
                None => {
                    let text = format!("there is no channel {name}");
                    return reply::error(StatusCode::NOT_FOUND, &text, None, None, None);
                }
            },
        };
        let id = one.as_ref().map(|channel| channel.id);
        let wants_items = params::value(call.query, "items");
        let wants_items = wants_items.is_some_and(|wanted| wanted.eq_ignore_ascii_case("true"));
        let counting = id.filter(|_| wants_items).map(|id| archiver.items(id));
        let survey = archiver.survey(id).await;
        let items = OptionFuture::from(counting).await.transpose();
        let (survey, items) = match (survey, items) {
            (Ok(survey), Ok(items)) => (survey, items.flatten()),
            (Err(error), _) | (_, Err(error)) => {
                let text = "the archive did not answer";
                return reply::unavailable(text, &error.to_string(), None, &[]);
            }
        };
        let mut total = Tally::default();
        let mut listed = Vec::new();
        for (id, tally) in &survey.channels {
            total.add(tally);
            let known = channels.numbered(*id);
            let mut of_channel = fields(tally);
            let name = known.map(|channel| json!(channel.config.name.as_str()));
            // Of one that was deleted there may still be something.
            of_channel.insert("channel".to_owned(), name.unwrap_or(Value::Null));
            of_channel.insert("id".to_owned(), format!("{:016x}", id.0).into());
            listed.push(Value::from(of_channel));
        }
        let state = archiver.state();
        let mut body = json!({
            "node": self.facts.node,
            "archive": archiver.url(),
            "archivedTo": state.archived_to.iso(),
            "rolledUpTo": state.rolled_to.iso(),
            "complete": survey.complete,
            "total": fields(&total),
            "requests": requests(),
        });
        if let Some(body) = body.as_object_mut() {
            match one {
                None => {
                    body.insert("channels".to_owned(), listed.into());
                    body.insert("others".to_owned(), count(survey.others));
                }
                Some(channel) => {
                    body.insert("channel".to_owned(), channel.config.name.as_str().into());
                    body.insert("id".to_owned(), format!("{:016x}", channel.id.0).into());
                    body.insert("items".to_owned(), json!(items));
                }
            }
        }
        reply::json(StatusCode::OK, &body)
    }
}

fn count(count: Count) -> Value {
    json!({"objects": count.objects, "bytes": count.bytes})
}

fn fields(tally: &Tally) -> Map<String, Value> {
    let all = tally.all();
    Map::from_iter([
        ("objects".to_owned(), all.objects.into()),
        ("bytes".to_owned(), all.bytes.into()),
        ("hours".to_owned(), count(tally.hours)),
        ("minutes".to_owned(), count(tally.minutes)),
        ("singleItems".to_owned(), count(tally.items)),
        ("deletedItems".to_owned(), count(tally.gone)),
        ("oldest".to_owned(), json!(tally.oldest.map(Millis::iso))),
        ("newest".to_owned(), json!(tally.newest.map(Millis::iso))),
    ])
}

/// What this node has asked of the archive since it started, by kind.
fn requests() -> Value {
    let asked = metric::archive_asked().into_iter().map(|(kind, asked)| {
        let of_kind =
            json!({"requests": asked.requests, "failed": asked.failed, "bytes": asked.bytes});
        (kind.to_owned(), of_kind)
    });
    Value::Object(asked.collect())
}
