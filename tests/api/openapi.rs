//! The API's own description of itself, held to what a hub answers: every documented operation is
//! called, and every documented answer of it is had, but for those that a client cannot bring about.

mod calls;
mod document;
mod hubs;

use std::collections::BTreeSet;
use std::sync::Mutex;

use document::{Document, Form};
use http::Method;

use crate::harness::{Answer, Ask, Hub, soon};

/// Answers that a client cannot bring about on a hub that works: an operation (`*` for all), a
/// status, a body (`*` for all), and why.
const OUT_OF_REACH: &[(&str, u16, &str, &str)] = &[
    ("*", 500, "text as application/json", "a fault inside"),
    (
        "*",
        503,
        "*",
        "replicas that are away, or a node that is not ready yet: see startup.rs and cluster-tests",
    ),
    (
        "*",
        507,
        "*",
        "a disk that is nearly full: see cluster-tests",
    ),
    (
        "putChannel",
        409,
        "*",
        "others that change the same channel at the same instant",
    ),
    ("patchChannel", 409, "*", "as before"),
    ("deleteChannel", 409, "*", "as before"),
    ("putDocument", 409, "*", "as before"),
    ("deleteDocument", 409, "*", "as before"),
    ("provide", 409, "*", "as before"),
    ("provideBulk", 409, "*", "as before"),
    (
        "recover",
        200,
        "*",
        "members of a cluster that are gone: see cluster-tests",
    ),
    ("timeRemote", 200, "*", "a second node: see cluster-tests"),
    (
        "refreshChannels",
        400,
        "*",
        "coordination that is away: see cluster-tests",
    ),
    (
        "deleteProtected",
        409,
        "*",
        "others that change the same channel at the same instant",
    ),
    ("deleteRefresh", 409, "*", "as before"),
];

/// Of those an operation and a status that there is for another reason, too: a hub that is alone says
/// that it is in the form in which it would tell of a fault inside.
const WITHIN_REACH: &[(&str, u16)] = &[("timeRemote", 500)];

/// What has been seen of the document.
struct Run {
    document: Document,
    seen: Mutex<BTreeSet<(String, u16, Form)>>,
}

/// A request for a documented operation.
struct Asked<'r> {
    run: &'r Run,
    id: &'r str,
    ask: Ask,
}

impl Run {
    async fn of(hub: &Hub) -> Self {
        Self {
            document: Document::of(hub).await,
            seen: Mutex::default(),
        }
    }

    /// Begins a request; `target` has the segments for the path's names, and perhaps a query.
    #[track_caller]
    fn ask<'r>(&'r self, hub: &Hub, id: &'r str, target: &str) -> Asked<'r> {
        let ask = self.document.operation(id).ask(hub, target);
        Asked { run: self, id, ask }
    }

    /// Holds an answer to the document.
    #[track_caller]
    fn saw(&self, id: &str, answer: &Answer) {
        let form = self.document.check(id, answer);
        let form = form.unwrap_or_else(|wrong| {
            let text = String::from_utf8_lossy(&answer.body);
            let text: String = text.chars().take(1000).collect();
            let (about, status) = (&answer.about, answer.status);
            panic!(
                "{about}: {id} answered {status}, undocumented: {wrong}: {:?} {text}",
                answer.headers
            )
        });
        let seen = (id.to_owned(), answer.status, form);
        self.seen.lock().unwrap().insert(seen);
    }

    /// Every documented answer was had, or cannot be.
    fn is_complete(&self) {
        let seen = self.seen.lock().unwrap();
        let excused = |(id, status, form): &&(String, u16, Form)| {
            let out = OUT_OF_REACH.iter().any(|(excused, of, as_form, _)| {
                (*excused == "*" || excused == id)
                    && of == status
                    && (*as_form == "*" || as_form == form)
            });
            out && !WITHIN_REACH.contains(&(id, *status))
        };
        let all = self.document.all();
        let (_, due): (Vec<_>, Vec<_>) = all.iter().partition(excused);
        let missing: Vec<_> = due
            .into_iter()
            .filter(|answer| !seen.contains(answer))
            .collect();
        assert!(missing.is_empty(), "documented, and not seen: {missing:#?}");
        let reached: Vec<_> = seen.iter().filter(excused).collect();
        assert!(reached.is_empty(), "within reach after all: {reached:#?}");
        for (id, status, ..) in OUT_OF_REACH {
            let known = all
                .iter()
                .any(|(of, is, _)| (*id == "*" || id == of) && status == is);
            assert!(known, "{id} has no {status} any more");
        }
    }
}

impl Asked<'_> {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.ask = self.ask.header(name, value);
        self
    }

    fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.ask = self.ask.body(body);
        self
    }

    /// The answer, which has that status and is as the document says.
    async fn expect(self, status: u16) -> Answer {
        let answer = self.ask.send().await.expect(status);
        self.run.saw(self.id, &answer);
        answer
    }
}

#[tokio::test]
async fn every_documented_answer_is_had_and_is_as_documented() {
    // One that is alone: what is acknowledged is stable then.
    let hub = Hub::alone().await;
    let run = Run::of(&hub).await;
    hubs::of_the_node(&run, &hub).await;
    calls::of_configurations(&run, &hub).await;
    calls::of_documents(&run, &hub).await;
    calls::of_inserts(&run, &hub).await;
    calls::of_the_past(&run, &hub).await;
    calls::of_queries(&run, &hub).await;
    calls::of_tags(&run, &hub).await;
    hubs::of_upkeep(&run, &hub).await;
    hubs::of_a_hub_that_leaves(&run).await;
    hubs::of_a_limited_hub(&run).await;
    hubs::of_a_read_only_hub(&run).await;
    run.is_complete();
}

/// An operation's path on some channel and at some time.
fn example(run: &Run, id: &str) -> String {
    let operation = run.document.operation(id);
    let places: Vec<&str> = operation
        .path
        .split('/')
        .filter_map(|segment| match segment {
            "{channel}" => Some("nowhere"),
            "{tag}" | "{owner}" => Some("nobody"),
            "{unit}" => Some("day"),
            "{count}" => Some("1"),
            "{hash}" => Some("abc"),
            "{year}" => Some("2024"),
            segment => segment.starts_with('{').then_some("11"),
        })
        .collect();
    operation.path(&places.join("/"))
}

#[tokio::test]
async fn an_answer_that_is_not_as_documented_is_seen() {
    let hub = Hub::shared().await;
    let document = Document::of(&hub).await;
    let health = hub.get("/health").await.expect(200);
    assert_eq!(
        document.check("health", &health).as_deref(),
        Ok("application/json")
    );
    let missing = hub.get("/channel/nowhere/latest").await.expect(404);
    let form = document.check("latestItem", &missing);
    assert_eq!(form.as_deref(), Ok("text as application/json"));
    let item = hub.insert(&hub.channel("seen").await, "x").await;
    let item = hub.get(&item).await.expect(200);
    document.check("getItem", &item).unwrap();

    let altered = |answer: &Answer, alter: &dyn Fn(&mut Answer)| {
        let mut answer = answer.clone();
        alter(&mut answer);
        answer
    };
    let field = |name: &'static str, value: serde_json::Value| {
        let mut body = health.json();
        body[name] = value;
        altered(&health, &move |answer| {
            answer.body = body.to_string().into();
        })
    };
    let put = |answer: &Answer, name: &'static str, value: &'static str| {
        altered(answer, &|answer| {
            answer.headers.insert(name, value.parse().unwrap());
        })
    };
    let drop = |answer: &Answer, name: &str| {
        altered(answer, &|answer| {
            answer.headers.remove(name);
        })
    };
    for (id, answer, why) in [
        (
            "health",
            altered(&health, &|answer| answer.status = 201),
            "has no 201",
        ),
        ("health", field("healthy", "yes".into()), "/healthy"),
        ("health", field("undocumented", 1.into()), "undocumented"),
        ("health", field("startTime", "today".into()), "/startTime"),
        (
            "health",
            put(&health, "content-type", "text/plain"),
            "the type text/plain",
        ),
        ("health", drop(&health, "content-type"), "without a type"),
        ("health", drop(&health, "hub-node"), "no Hub-Node"),
        (
            "health",
            put(&health, "location", "x"),
            "location, which is not documented",
        ),
        (
            "latestItem",
            put(&missing, "content-type", "text/csv"),
            "none of",
        ),
        (
            "getItem",
            put(&item, "creation-date", "today"),
            "Creation-Date",
        ),
        ("getItem", drop(&item, "link"), "no Link"),
        (
            "putDocument",
            altered(&item, &|answer| answer.status = 404),
            "link, which",
        ),
    ] {
        let wrong = document.check(id, &answer).unwrap_err();
        assert!(wrong.contains(why), "{why}: {wrong}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body_and_other_methods_are_named() {
    let hub = Hub::shared().await;
    let run = Run::of(&hub).await;
    for operation in &run.document.operations {
        let path = example(&run, &operation.id);
        let refused = hub.ask(Method::TRACE, &path).send().await;
        let refused = refused.expect_empty(405);
        let allow = refused.header("allow").unwrap().to_owned();
        let options = hub.ask(Method::OPTIONS, &path).send().await;
        assert_eq!(options.expect_empty(200).header("allow"), Some(&*allow));
        let mut methods: BTreeSet<String> = run
            .document
            .operations
            .iter()
            .filter(|other| other.path == operation.path)
            .map(|other| other.method.to_string())
            .collect();
        methods.insert("OPTIONS".to_owned());
        if operation.method == Method::GET {
            methods.insert("HEAD".to_owned());
            let get = hub.get(&path).await;
            let head = hub.ask(Method::HEAD, &path).send().await;
            let head = head.expect_empty(get.status);
            assert_eq!(
                head.header("content-type"),
                get.header("content-type"),
                "{path}"
            );
        }
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        let allowed: BTreeSet<String> = allow.split(", ").map(str::to_owned).collect();
        assert_eq!(allowed, methods, "{path}");
        if path != "/" {
            let slashed = hub.ask(operation.method.clone(), &format!("{path}/?a=b"));
            let slashed = slashed.send().await.expect_empty(307);
            assert_eq!(slashed.location(), hub.url(&format!("{path}?a=b")));
        }
    }
}

#[tokio::test]
async fn the_document_is_served_before_the_node_is_ready() {
    let hub = crate::harness::Setup::new().start_only().await;
    let early = hub.get("/openapi.json").await.expect(200);
    assert_eq!(early.json()["info"]["version"], crate::harness::VERSION);
    let mut raw = hub.raw().await;
    raw.send("HEAD /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let head = soon("an answer", raw.answer_to_head()).await.expect(200);
    let length = early.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
}
