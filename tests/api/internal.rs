//! What a hub says of itself to operators: the internal pages, health with its checks, and who may
//! change something.

use http::Method;
use serde_json::json;

use crate::harness::{Hub, Raw, Setup, free_address, unique};

#[tokio::test]
async fn the_cluster_of_a_hub_that_is_alone() {
    let hub = Hub::alone().await;
    let node = hub.get("/internal/deploy").await.expect(200).json()[0].clone();
    let page = hub.get("/internal/cluster").await.expect(200).json();
    assert_eq!(page["spokeCluster"], json!([{"server": node}]));
    assert_eq!(
        page["decommissioned"],
        json!({"withinSpokeTTL": [], "doNotStart": []})
    );
    let own = page["_links"]["self"]["href"].as_str().unwrap();
    assert!(own.ends_with("/internal/cluster"), "{own}");

    let name = page["member"].as_str().unwrap();
    let members = page["members"].as_array().unwrap();
    assert_eq!(members.len(), 1);
    let member = &members[0];
    assert_eq!(member["member"], name);
    assert_eq!(
        (&member["link"], &member["self"]),
        (&json!("self"), &json!(true))
    );
    assert_eq!(
        (&member["registered"], &member["inRing"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&member["state"], &page["state"]),
        (&json!("ready"), &json!("ready"))
    );
    assert_eq!(member["version"], crate::harness::VERSION);
    assert_eq!(member["public"], node);

    assert_eq!(page["ring"]["members"], json!([name]));
    assert!(page["ring"]["from"].is_string() && page["announced"].is_null());
    assert!(page["horizon"].is_string() && page["withinRing"] == true);
    assert_eq!(page["coordination"]["connected"], true);
    assert_eq!(page["clock"]["withinBounds"], true);
    assert_eq!(page["queueBytes"], 0);
    assert!(page["undecided"]["count"].is_u64() && page["trouble"].is_null());
}

#[tokio::test]
async fn health_says_of_every_check_whether_it_is_well_and_why() {
    let hub = Hub::shared().await;
    let health = hub.get("/health").await.expect(200).json();
    assert_eq!(
        (&health["healthy"], &health["description"]),
        (&json!(true), &json!("OK"))
    );
    let checks = health["checks"].as_object().unwrap();
    for name in [
        "store",
        "disk",
        "damage",
        "ring",
        "history",
        "clock",
        "coordination",
        "peers",
        "undecided",
        "promises",
    ] {
        let check = &checks[name];
        assert_eq!(check["ok"], true, "{name}: {check}");
        assert!(!check["why"].as_str().unwrap().is_empty(), "{name}");
    }
    // The same account, by the page that asks every node.
    let node = hub.get("/internal/deploy").await.expect(200).json()[0].clone();
    let all = hub.get("/internal/health").await.expect(200).json();
    let own = &all[format!("http://{}/health", node.as_str().unwrap())];
    assert_eq!(own["description"], "OK");
    assert_eq!(own["checks"]["peers"], checks["peers"]);
}

#[tokio::test]
async fn the_replicas_of_a_channel_at_a_time() {
    let hub = Hub::alone().await;
    let path = format!("/internal/rings/{}", unique("anything"));
    let now = hub.get(&path).await.expect(200).json();
    let member = hub.get("/internal/cluster").await.json()["member"].clone();
    assert_eq!(now["replicas"], json!([member]));
    let at = now["at"].as_str().unwrap();
    let then = hub.get(&format!("{path}?at={at}")).await.expect(200).json();
    assert_eq!(then["at"], at);
    assert_eq!(then["replicas"], now["replicas"]);
    let before = hub.get(&format!("{path}?at=2001-01-01T00:00:00Z")).await;
    assert!(before.expect(404).json()["error"].is_string());
    let bad = hub
        .get(&format!("{path}?at=yesterday"))
        .await
        .expect(400)
        .json();
    assert_eq!(
        (&bad["field"], &bad["value"]),
        (&json!("at"), &json!("yesterday"))
    );
}

#[tokio::test]
async fn only_administrators_change_something_and_only_on_their_listener() {
    let ops = free_address();
    let setup = Setup::new().set("OPS_LISTEN", ops);
    let token = setup.folder().join("token");
    std::fs::write(&token, "0123456789abcdef0123\n").unwrap();
    let setup = setup.set("OPS_ADMIN_TOKEN_FILE", token.display());
    let hub = setup.start().await;
    let path = "/internal/cluster/recover?without=nobody";
    let asked = async |headers: &str| {
        let mut raw = Raw::connect(ops).await;
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{headers}\r\n"
        ))
        .await;
        raw.answer().await
    };
    for refused in [
        "Authorization: Bearer wrong\r\n",
        "X-Forwarded-For: 10.0.0.1\r\n",
        "Origin: http://evil.example\r\n",
    ] {
        let body = asked(refused).await.expect(403).json();
        assert!(body["reason"].is_string(), "{body}");
        assert!(body["advice"].as_str().unwrap().contains("HUB_ADMIN_TOKEN"));
    }
    // Whoever may ask is told what is wrong with the question.
    for admitted in ["", "Authorization: Bearer 0123456789abcdef0123\r\n"] {
        let body = asked(admitted).await.expect(409).json();
        assert!(body["error"].is_string(), "{body}");
    }
    let elsewhere = hub.ask(Method::POST, path).send().await.expect(403).json();
    assert!(elsewhere["advice"].as_str().unwrap().contains("ops.listen"));
    hub.get("/internal/cluster/recover").await.expect(403);
    let mut raw = Raw::connect(ops).await;
    raw.send("GET /internal/cluster/recover HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let choices = raw.answer().await.expect(200).json();
    assert_eq!(
        (&choices["away"], &choices["choices"]),
        (&json!([]), &json!([]))
    );
}

#[tokio::test]
async fn a_hub_does_not_start_with_a_token_that_is_none() {
    let setup = Setup::new();
    let token = setup.folder().join("token");
    std::fs::write(&token, "short").unwrap();
    let (status, log) = setup
        .set("OPS_ADMIN_TOKEN_FILE", token.display())
        .run_to_its_end();
    assert!(!status.success());
    assert!(log.contains("ops.admin_token_file"), "{log}");
}
