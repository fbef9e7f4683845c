//! The document against the grammar: the same paths, and the same methods of each.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::Value;

use super::DOCUMENT;
use crate::http::grammar::{
    ChannelRoute, Direction, Edge, InternalRoute, OnNode, Route, RouteError, parse,
};

/// Says of every route where the document has it: a method and its paths. A route that is added to
/// the grammar does not compile here until it is told where it is, and then the tests look for it.
macro_rules! documented {
    ($($route:pat => $method:ident $($path:literal)+;)+) => {
        fn place(route: &Route<'_>) -> (Method, &'static [&'static str]) {
            match route {
                $($route => (Method::$method, &[$($path),+]),)+
            }
        }

        /// All of them.
        fn places() -> BTreeSet<(String, String)> {
            let mut all = BTreeSet::new();
            $($(all.insert((stringify!($method).to_owned(), $path.to_owned()));)+)+
            all
        }
    };
}

/// What is asked of a channel.
macro_rules! channel {
    ($route:pat) => {
        Route::Channel { route: $route, .. }
    };
}

/// What is asked of a tag.
macro_rules! tag {
    ($route:pat) => {
        Route::Tag { route: $route, .. }
    };
}

/// A page of the node with parameters in its path, or something done to the hub.
macro_rules! node {
    ($route:pat) => {
        Route::OnNode($route)
    };
}

documented! {
    Route::Root => GET "/";
    Route::OpenApi => GET "/openapi.json";
    Route::Health => GET "/health";
    Route::HealthLive => GET "/health/live";
    Route::HealthMetrics => GET "/health/metrics";
    Route::Metrics => GET "/metrics";
    Route::ChannelList => GET "/channel";
    Route::ChannelCreate => POST "/channel";
    Route::Provider => POST "/provider";
    Route::ProviderBulk => POST "/provider/bulk";
    channel!(ChannelRoute::Get) => GET "/channel/{channel}";
    channel!(ChannelRoute::Put) => PUT "/channel/{channel}";
    channel!(ChannelRoute::Patch) => PATCH "/channel/{channel}";
    channel!(ChannelRoute::Delete) => DELETE "/channel/{channel}";
    channel!(ChannelRoute::Insert) => POST "/channel/{channel}";
    channel!(ChannelRoute::Bulk) => POST "/channel/{channel}/bulk";
    channel!(ChannelRoute::Status) => GET "/channel/{channel}/status";
    channel!(ChannelRoute::DocGet) => GET "/channel/{channel}/doc";
    channel!(ChannelRoute::DocPut) => PUT "/channel/{channel}/doc";
    channel!(ChannelRoute::DocDelete) => DELETE "/channel/{channel}/doc";
    channel!(ChannelRoute::TimeLinks) => GET "/channel/{channel}/time";
    channel!(ChannelRoute::TimeNow(_)) => GET "/channel/{channel}/time/{unit}";
    channel!(ChannelRoute::Period(_)) => GET
        "/channel/{channel}/{year}/{month}/{day}"
        "/channel/{channel}/{year}/{month}/{day}/{hour}"
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}"
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}";
    channel!(ChannelRoute::Seconds { direction: Direction::Next, .. }) => GET
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/next/{count}";
    channel!(ChannelRoute::Seconds { direction: Direction::Previous, .. }) => GET
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/previous/{count}";
    channel!(ChannelRoute::Millisecond(_)) => GET
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}";
    channel!(ChannelRoute::InsertAt(_)) => POST
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}";
    channel!(ChannelRoute::InsertAs(_)) => POST
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}";
    channel!(ChannelRoute::DeleteItem(_)) => DELETE
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}";
    channel!(ChannelRoute::Item(_)) => GET
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}";
    channel!(ChannelRoute::Neighbour { direction: Direction::Next, .. }) => GET
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}/next";
    channel!(ChannelRoute::Neighbour { direction: Direction::Previous, .. }) => GET
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}/previous";
    channel!(ChannelRoute::Neighbours { direction: Direction::Next, .. }) => GET
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}/next/{count}";
    channel!(ChannelRoute::Neighbours { direction: Direction::Previous, .. }) => GET
        "/channel/{channel}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}/previous/{count}";
    channel!(ChannelRoute::Edge(Edge::Latest)) => GET "/channel/{channel}/latest";
    channel!(ChannelRoute::Edge(Edge::Earliest)) => GET "/channel/{channel}/earliest";
    channel!(ChannelRoute::Edges { edge: Edge::Latest, .. }) => GET "/channel/{channel}/latest/{count}";
    channel!(ChannelRoute::Edges { edge: Edge::Earliest, .. }) => GET "/channel/{channel}/earliest/{count}";
    Route::TagList => GET "/tag";
    tag!(ChannelRoute::Get) => GET "/tag/{tag}";
    tag!(ChannelRoute::TimeLinks) => GET "/tag/{tag}/time";
    tag!(ChannelRoute::TimeNow(_)) => GET "/tag/{tag}/time/{unit}";
    tag!(ChannelRoute::Period(_)) => GET
        "/tag/{tag}/{year}/{month}/{day}"
        "/tag/{tag}/{year}/{month}/{day}/{hour}"
        "/tag/{tag}/{year}/{month}/{day}/{hour}/{minute}"
        "/tag/{tag}/{year}/{month}/{day}/{hour}/{minute}/{second}";
    tag!(ChannelRoute::Item(_)) => GET
        "/tag/{tag}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}";
    tag!(ChannelRoute::Neighbour { direction: Direction::Next, .. }) => GET
        "/tag/{tag}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}/next";
    tag!(ChannelRoute::Neighbour { direction: Direction::Previous, .. }) => GET
        "/tag/{tag}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}/previous";
    tag!(ChannelRoute::Neighbours { direction: Direction::Next, .. }) => GET
        "/tag/{tag}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}/next/{count}";
    tag!(ChannelRoute::Neighbours { direction: Direction::Previous, .. }) => GET
        "/tag/{tag}/{year}/{month}/{day}/{hour}/{minute}/{second}/{millisecond}/{hash}/previous/{count}";
    tag!(ChannelRoute::Edge(Edge::Latest)) => GET "/tag/{tag}/latest";
    tag!(ChannelRoute::Edge(Edge::Earliest)) => GET "/tag/{tag}/earliest";
    tag!(ChannelRoute::Edges { edge: Edge::Latest, .. }) => GET "/tag/{tag}/latest/{count}";
    tag!(ChannelRoute::Edges { edge: Edge::Earliest, .. }) => GET "/tag/{tag}/earliest/{count}";
    // The grammar gives no tag these.
    tag!(ChannelRoute::Put
        | ChannelRoute::Patch
        | ChannelRoute::Delete
        | ChannelRoute::Insert
        | ChannelRoute::Bulk
        | ChannelRoute::Status
        | ChannelRoute::DocGet
        | ChannelRoute::DocPut
        | ChannelRoute::DocDelete
        | ChannelRoute::InsertAt(_)
        | ChannelRoute::InsertAs(_)
        | ChannelRoute::DeleteItem(_)
        | ChannelRoute::Millisecond(_)
        | ChannelRoute::Seconds { .. }) => TRACE "no path";
    Route::Internal(InternalRoute::Index) => GET "/internal";
    Route::Internal(InternalRoute::Properties) => GET "/internal/properties";
    Route::Internal(InternalRoute::Deploy) => GET "/internal/deploy";
    Route::Internal(InternalRoute::DeployText) => GET "/internal/deploy/text";
    Route::Internal(InternalRoute::Health) => GET "/internal/health";
    Route::Internal(InternalRoute::Rings) => GET "/internal/rings";
    Route::Internal(InternalRoute::Cluster) => GET "/internal/cluster";
    Route::Internal(InternalRoute::Recovery) => GET "/internal/cluster/recover";
    Route::Internal(InternalRoute::Recover) => POST "/internal/cluster/recover";
    Route::Internal(InternalRoute::Backup) => GET "/internal/backup";
    Route::Internal(InternalRoute::Time) => GET "/internal/time";
    Route::Internal(InternalRoute::TimeLocal) => GET "/internal/time/local";
    Route::Internal(InternalRoute::TimeMillis) => GET "/internal/time/millis";
    Route::Internal(InternalRoute::TimeRemote) => GET "/internal/time/remote";
    Route::RingsOf { .. } => GET "/internal/rings/{channel}";
    node!(OnNode::Channels) => GET "/internal/channel";
    node!(OnNode::Refresh) => GET "/internal/channel/refresh";
    node!(OnNode::DeleteChannel { .. }) => DELETE
        "/internal/channel/{channel}"
        "/internal/channel/refresh";
    node!(OnNode::Stale { owner: None, .. }) => GET "/internal/channel/stale/{minutes}";
    node!(OnNode::Stale { owner: Some(_), .. }) => GET "/internal/channel/stale/{minutes}/{owner}";
    node!(OnNode::MaxItems { .. }) => PATCH "/internal/max-items/{channel}";
    node!(OnNode::Archive { channel: None }) => GET "/internal/archive";
    node!(OnNode::Archive { channel: Some(_) }) => GET "/internal/archive/{channel}";
    node!(OnNode::Traces) => GET "/internal/traces";
    node!(OnNode::Shutdown) => GET "/internal/shutdown";
    node!(OnNode::Leave) => POST "/internal/shutdown" "/shutdown";
    node!(OnNode::ResetLock) => POST "/internal/shutdown/resetLock";
    node!(OnNode::UseTime { remote: false }) => PUT "/internal/time/local";
    node!(OnNode::UseTime { remote: true }) => PUT "/internal/time/remote";
    // The document says it of all paths at once.
    Route::Preflight { .. } => OPTIONS "*";
}

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// What the document has: of each path its methods, and itself with examples in its places.
fn paths(document: &Value) -> BTreeMap<String, (BTreeSet<String>, String)> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        let methods = methods.filter(|key| *key != "parameters");
        let methods = methods.map(|method| method.to_uppercase()).collect();
        let mut example = path.clone();
        for parameter in item["parameters"].as_array().into_iter().flatten() {
            let name = parameter["$ref"].as_str().unwrap().trim_start_matches('#');
            let parameter = document.pointer(name).unwrap();
            let value = match &parameter["example"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let place = format!("{{{}}}", parameter["name"].as_str().unwrap());
            assert!(example.contains(&place), "{path} has no {place}");
            example = example.replace(&place, &value);
        }
        assert!(!example.contains('{'), "{path}: {example}");
        found.insert(path.clone(), (methods, example));
    }
    found
}

#[test]
fn every_route_is_documented_and_nothing_else() {
    let mut documented = BTreeSet::new();
    for (path, (methods, _)) in paths(&document()) {
        documented.extend(methods.into_iter().map(|method| (method, path.clone())));
    }
    let mut routes = places();
    for (method, place) in [("OPTIONS", "*"), ("TRACE", "no path")] {
        assert!(routes.remove(&(method.to_owned(), place.to_owned())));
    }
    let missing: Vec<_> = routes.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&routes).collect();
    assert!(missing.is_empty(), "not in the document: {missing:?}");
    assert!(unknown.is_empty(), "not in the grammar: {unknown:?}");
}

#[test]
fn what_is_documented_is_parsed_as_that() {
    for (path, (methods, example)) in paths(&document()) {
        for name in &methods {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            let route = parse(&method, &example);
            let route = route.unwrap_or_else(|error| panic!("{name} {example}: {error}"));
            let (served, places) = place(&route);
            assert_eq!(served, method, "{path}");
            assert!(places.contains(&path.as_str()), "{path} is {route:?}");
        }
    }
}

#[test]
fn paths_have_the_documented_methods_and_no_others() {
    for (path, (mut expected, example)) in paths(&document()) {
        // The document says this of all paths at once.
        expected.insert("OPTIONS".to_owned());
        if expected.contains("GET") {
            expected.insert("HEAD".to_owned());
            let head = parse(&Method::HEAD, &example).unwrap();
            assert_eq!(parse(&Method::GET, &example).unwrap(), head);
        }
        let refused = parse(&Method::TRACE, &example);
        let Err(RouteError::MethodNotAllowed { allow }) = refused else {
            panic!("TRACE {path}: {refused:?}");
        };
        let allowed: BTreeSet<String> = allow.split(", ").map(str::to_owned).collect();
        assert_eq!(allowed, expected, "{path}");
        let preflight = parse(&Method::OPTIONS, &example);
        assert_eq!(preflight, Ok(Route::Preflight { allow }), "{path}");
    }
}

#[test]
fn the_document_is_of_this_version() {
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_referred_to() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    found.insert(target.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for (kind, all) in document["components"].as_object().unwrap() {
        for (name, component) in all.as_object().unwrap() {
            let of_all = component["x-every-response"] == true;
            let reference = format!("#/components/{kind}/{name}");
            let used = found.remove(&reference);
            assert_ne!(used, of_all, "{reference} is used {used}");
        }
    }
    assert!(found.is_empty(), "these lead nowhere: {found:?}");
    let mut ids = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        let operations = item.as_object().unwrap().iter();
        for (_, operation) in operations.filter(|(key, _)| *key != "parameters") {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
    }
}
