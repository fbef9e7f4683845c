use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};

use super::*;
use crate::env::{ManualClock, Millis};

/// Has a page that panics, and one of every other route about the node.
struct Pages;

#[async_trait]
impl Operations for Pages {
    async fn answer(&self, call: NodeCall<'_>) -> Option<Reply> {
        match call.route {
            Route::Metrics => panic!("this page cannot be made"),
            Route::Health | Route::Internal(_) | Route::RingsOf { .. } => {
                Some(reply::empty(StatusCode::OK))
            }
            _ => None,
        }
    }

    fn health(&self) -> (bool, String) {
        (false, "starting".to_owned())
    }
}

fn api() -> Arc<Api> {
    let own = Authority::parse("hub:1").unwrap();
    let limits = BodyLimits {
        bytes: 1,
        patience: Duration::from_secs(1),
    };
    let settings = ApiSettings {
        version: "1",
        node: "hub:1".to_owned(),
        own,
        durability: Durability::Fsync,
        item_limits: limits.clone(),
        bulk_limits: limits.clone(),
        drain_bytes: 1024,
        config_limits: limits,
        large_item_bytes: 1,
        count_limit: 1,
        read_only: false,
        protect: false,
        access_log: false,
    };
    let clock = HubClock::start(ManualClock::new(Millis::new(1_500_000_000_000)));
    Api::new(
        settings,
        Arc::new(clock),
        Budgets::new(1024),
        Arc::default(),
        Arc::new(Pages),
        Arc::default(),
        1,
    )
}

async fn ask(surface: Surface, method: Method, path: &str) -> Reply {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    let origin = Origin {
        peer: ([127, 0, 0, 1], 1).into(),
        scheme: Scheme::Http,
        surface,
    };
    api().handle(request, origin).await
}

#[tokio::test]
async fn a_panic_is_answered_as_everything_is() {
    let reply = ask(Surface::Public, Method::GET, "/metrics").await;
    assert_eq!(reply.status(), StatusCode::INTERNAL_SERVER_ERROR);
    for name in ["server", "hub-node", "x-request-id"] {
        assert!(reply.headers().contains_key(name), "{name}");
    }
    // What went wrong is in the log, and not told.
    assert!(reply.extensions().get::<Fault>().is_none());
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "500 Internal error");
}

#[tokio::test]
async fn a_path_is_on_a_listener_for_every_method_or_for_none() {
    let there = |status: StatusCode| status != StatusCode::NOT_FOUND;
    for (path, of_node) in [
        ("/health", true),
        ("/%68ealth", true),
        ("/internal/time", true),
        ("/", false),
        ("/channel", false),
        ("/channel/x", false),
        ("/channel/x/2015/13/01", false),
        ("/channel/health", false),
    ] {
        for method in [Method::GET, Method::OPTIONS, Method::TRACE] {
            for (surface, served) in [
                (Surface::Public, true),
                (Surface::PublicOnly, !of_node),
                (Surface::Ops, of_node),
            ] {
                let reply = ask(surface, method.clone(), path).await;
                assert_eq!(there(reply.status()), served, "{method} {path} {surface:?}");
            }
        }
    }
}
