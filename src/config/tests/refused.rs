//! What is refused, and in which words.

use super::*;

/// The messages of what must be refused.
fn refused(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match parse(text, variables) {
        Ok(_) => unreachable!("accepted: {text} {variables:?}"),
        Err(errors) => errors.errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn bad_values_are_refused_with_key_value_and_rule() {
    let address = "but must be an IP address and a port";
    let size = "but must be a size from 1 MiB to 4 GiB";
    for (name, value, rule) in [
        ("node.fqdn", "\"a..b\"", "but must be a host name"),
        ("node.fqdn", "\"a b\"", "but must be a host name"),
        ("node.fqdn", "7", "but must be a host name"),
        ("node.data_dir", "\"\"", "but must be a path"),
        ("node.data_dir", "\"a\\u0000b\"", "but must be a path"),
        (
            "node.public_url",
            "\"hub.example.com\"",
            "but must be an http or https URL",
        ),
        (
            "node.public_url",
            "\"ftp://hub\"",
            "but must be an http or https URL",
        ),
        ("node.public_url", "\"http://me@hub\"", "without user"),
        (
            "node.public_url",
            "\"http://hub:99999\"",
            "but must be an http or https URL",
        ),
        ("node.public_url", "\"http://hub/?a=b\"", "query"),
        ("node.public_url", "\"http://hub/#a\"", "fragment"),
        (
            "node.public_url",
            "\"http://\"",
            "but must be an http or https URL",
        ),
        (
            "node.public_url",
            "\"http://:80/\"",
            "but must be an http or https URL",
        ),
        ("http.listen", "\"localhost:8080\"", address),
        ("http.listen", "\":8080\"", address),
        ("http.listen", "8080", address),
        ("http.listen", "[\"0.0.0.0:80\"]", address),
        (
            "http.head_timeout_ms",
            "0",
            "a whole number of milliseconds from 1 to 3600000",
        ),
        (
            "http.head_timeout_ms",
            "\"10\"",
            "a whole number of milliseconds",
        ),
        (
            "http.head_timeout_ms",
            "1.5",
            "a whole number of milliseconds",
        ),
        (
            "http.head_timeout_ms",
            "99999999999999999999",
            "a whole number of milliseconds",
        ),
        (
            "http.connections_max",
            "-1",
            "a whole number from 1 to 1000000",
        ),
        ("http.ops_routes", "\"true\"", "but must be true or false"),
        ("http.ops_routes", "1", "but must be true or false"),
        (
            "cluster.name",
            "\"Hub\"",
            "1 to 63 characters of a-z, 0-9 and -",
        ),
        (
            "cluster.name",
            "\"\"",
            "1 to 63 characters of a-z, 0-9 and -",
        ),
        ("ring.replicas", "4", "a whole number from 1 to 3"),
        ("ring.replicas", "0", "a whole number from 1 to 3"),
        (
            "spoke.durability",
            "\"none\"",
            "but must be \"fsync\" or \"replicated\"",
        ),
        (
            "spoke.durability",
            "\"Fsync\"",
            "but must be \"fsync\" or \"replicated\"",
        ),
        (
            "spoke.bucket_seconds",
            "7",
            "from 1 to 86400 that divides 86400",
        ),
        (
            "spoke.bucket_seconds",
            "0",
            "from 1 to 86400 that divides 86400",
        ),
        ("spoke.segment_bytes", "1048575", size),
        ("spoke.segment_bytes", "\"1023 KiB\"", size),
        ("spoke.segment_bytes", "\"256\"", size),
        ("spoke.segment_bytes", "\"MiB\"", size),
        ("spoke.segment_bytes", "\"1.5 GiB\"", size),
        ("spoke.segment_bytes", "\"-1 GiB\"", size),
        ("spoke.segment_bytes", "\"256 Mi\"", size),
        ("spoke.segment_bytes", "\"99999999999999999 TiB\"", size),
        (
            "read.stable_seconds",
            "3601",
            "a whole number of seconds from 0 to 3600",
        ),
        (
            "log.level",
            "\"loud\"",
            "\"trace\", \"debug\", \"info\", \"warn\" or \"error\"",
        ),
        (
            "log.level",
            "1979-05-27",
            "\"trace\", \"debug\", \"info\", \"warn\" or \"error\"",
        ),
        ("tls.key_file", "{ path = \"a\" }", "but must be a path"),
    ] {
        let messages = refused(&file(&[(name, value)]), &[]);
        let [message] = messages.as_slice() else {
            unreachable!("{name} = {value}: {messages:?}")
        };
        let shown = match value.as_bytes() {
            [b'[', ..] => "a list",
            [b'{', ..] => "a table",
            _ => value,
        };
        let start = format!("hub.toml:1:6: {name} is {shown}, but must be ");
        let column = name.find('.').unwrap() + 2;
        let start = start.replace(":6:", &format!(":{column}:"));
        assert!(
            message.starts_with(&start),
            "{message} does not start with {start}"
        );
        assert!(message.contains(rule), "{message} does not contain {rule}");
    }
}

#[test]
fn bad_variables_are_refused_with_name_value_and_rule() {
    for (name, value, message) in [
        (
            "HUB_HTTP_LISTEN",
            "",
            "HUB_HTTP_LISTEN is \"\", but must be an IP address",
        ),
        (
            "HUB_RING_REPLICAS",
            "three",
            "HUB_RING_REPLICAS is \"three\", but must be a whole",
        ),
        (
            "HUB_RING_REPLICAS",
            " 3",
            "HUB_RING_REPLICAS is \" 3\", but must be a whole",
        ),
        (
            "HUB_RING_REPLICAS",
            "+3",
            "HUB_RING_REPLICAS is \"+3\", but must be a whole",
        ),
        (
            "HUB_RING_LEASE_MS",
            "1__0",
            "HUB_RING_LEASE_MS is \"1__0\", but must be a whole",
        ),
        (
            "HUB_RING_LEASE_MS",
            "_500",
            "HUB_RING_LEASE_MS is \"_500\", but must be a whole",
        ),
        (
            "HUB_LOG_ACCESS",
            "yes",
            "HUB_LOG_ACCESS is \"yes\", but must be true or false",
        ),
        (
            "HUB_NODE_DATA_DIR",
            "a\u{fffd}",
            "HUB_NODE_DATA_DIR is \"a\u{fffd}\", but must be a path",
        ),
        (
            "HUB_NODE_DATA_DIR",
            "a\nb",
            "HUB_NODE_DATA_DIR is \"a…\", but must be a path",
        ),
    ] {
        let messages = refused("", &[(name, value)]);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].starts_with(message),
            "{} is not {message}",
            messages[0]
        );
    }
}

#[test]
fn long_values_are_cut_in_messages() {
    let messages = refused(&format!("http.listen = '{}'", "x".repeat(10_000)), &[]);
    assert!(
        messages[0].contains("xxx…, but must be "),
        "{}",
        messages[0]
    );
    assert!(messages[0].len() < 200, "{}", messages[0]);
    let messages = refused("http.listen = \"\"\"a\nb\"\"\"", &[]);
    assert!(messages[0].contains(" is \"\"\"a…, "), "{}", messages[0]);
}

#[test]
fn unknown_names_are_refused_with_a_suggestion() {
    for (text, message) in [
        (
            "[http]\nlisetn = 1",
            "hub.toml:2:1: http.lisetn is not a setting; did you mean http.listen?",
        ),
        (
            "[http]\nidle_timeout = 1",
            "http.idle_timeout is not a setting; did you mean http.idle_timeout_ms?",
        ),
        (
            "[spoke]\nitem_bytes = 1",
            "spoke.item_bytes is not a setting; did you mean limits.item_bytes?",
        ),
        (
            "[tls]\ncolour = 1",
            "tls.colour is not a setting; section tls has certificate_file, key_file",
        ),
        (
            "[peer]\nlisten_on = 1",
            "peer.listen_on is not a setting; did you mean peer.listen?",
        ),
        (
            "[archive]\na = 1",
            "archive.a is not a setting; section archive has url, local, settle_seconds, takeover_seconds, rollup_pause_seconds, sweep_minutes, requests_per_second, request_timeout_ms, retry_seconds, cache_bytes",
        ),
        (
            "[zookeeper]\na.b = 1",
            "zookeeper.a is not a setting; section zookeeper has servers",
        ),
        (
            "[htpp]\nx = 1",
            "hub.toml:1:2: htpp is not a section; did you mean http?",
        ),
        (
            "data_dir = 'a'",
            "data_dir is not a section; did you mean node.data_dir?",
        ),
        (
            "[database]",
            "database is not a section; the sections are node, http, peer, ops",
        ),
        (
            "http = 3",
            "hub.toml:1:1: http is 3, but must be a section: [http]",
        ),
        ("[[http]]", "http is a list, but must be a section: [http]"),
        ("\"\" = 3", "hub.toml:1:1: \"\" is not a section"),
        (
            "[http]\n\"a\\nb\" = 3",
            "hub.toml:2:1: http.\"a\\nb\" is not a setting",
        ),
        (
            "[http]\nlisten.port = 3",
            "http.listen is a table, but must be an IP address",
        ),
    ] {
        let messages = refused(text, &[]);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].contains(message),
            "{} is not {message}",
            messages[0]
        );
    }
    for (variable, message) in [
        (
            "HUB_HTTP_LISTN",
            "HUB_HTTP_LISTN is not a setting; did you mean HUB_HTTP_LISTEN?",
        ),
        (
            "HUB_HTTP_PORT",
            "HUB_HTTP_PORT is not a setting; section http has HUB_HTTP_LISTEN, HUB_",
        ),
        (
            "HUB_PEER_LISTEN_ON",
            "HUB_PEER_LISTEN_ON is not a setting; did you mean HUB_PEER_LISTEN?",
        ),
        ("HUB_HTTP_", "HUB_HTTP_ is not a setting; section http has"),
        (
            "HUB_http_listen",
            "HUB_http_listen is not a setting; did you mean HUB_HTTP_LISTEN?",
        ),
    ] {
        let messages = refused("", &[(variable, "8080")]);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].starts_with(message),
            "{} is not {message}",
            messages[0]
        );
    }
}

#[test]
fn what_may_be_a_secret_is_not_repeated() {
    let messages = refused(
        "[ops]\nadmin_token = \"hunter2\"",
        &[
            ("HUB_OPS_ADMIN_TOKEN", "hunter2"),
            ("HUB_PASSWORD", "hunter2"),
        ],
    );
    assert_eq!(messages.len(), 2);
    for message in messages {
        assert!(!message.contains("hunter2"), "{message}");
    }
    let loaded = parse("", &[("HUB_PASSWORD", "hunter2")]).unwrap();
    assert_eq!(
        loaded.warnings,
        ["HUB_PASSWORD is not a setting; it is ignored"]
    );
}

#[test]
fn everything_is_refused_at_once_and_in_order() {
    let text = "\
        [ring]\nreplicas = 9\n\
        [http]\nunknown_thing = 1\nlisten = 'x'\n\
        [nonsense]\n\
        [limits]\nitem_bytes = '1 GiB'\n";
    let messages = refused(
        text,
        &[("HUB_LOG_LEVEL", "loud"), ("HUB_LOG_COLOUR", "red")],
    );
    let starts = [
        "hub.toml:2:1: ring.replicas is 9, ",
        "hub.toml:4:1: http.unknown_thing is not ",
        "hub.toml:5:1: http.listen is 'x', ",
        "hub.toml:6:2: nonsense is not ",
        "HUB_LOG_COLOUR is not ",
        "HUB_LOG_LEVEL is \"loud\", ",
        "limits.item_bytes = \"1 GiB\" with limits.inflight_bytes = \"512 MiB\": ",
    ];
    assert_eq!(messages.len(), starts.len(), "{messages:#?}");
    for (message, start) in messages.iter().zip(starts) {
        assert!(
            message.starts_with(start),
            "{message} does not start with {start}"
        );
    }
    let printed = parse(text, &[]).unwrap_err().to_string();
    assert_eq!(printed.lines().count(), 5, "{printed}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (text, message) in [
        (
            "[tls]\ncertificate_file = 'a'",
            "tls.certificate_file = \"a\" with tls.key_file = \"\": both must be set, or neither",
        ),
        (
            "[tls]\nkey_file = 'a'",
            "tls.certificate_file = \"\" with tls.key_file = \"a\": both must be set, or neither",
        ),
        (
            "[limits]\ninflight_bytes = 1000",
            "limits.item_bytes = \"256 MiB\" with limits.inflight_bytes = 1000: the largest item",
        ),
        (
            "[http]\nlisten = '0.0.0.0:8082'",
            "http.listen = \"0.0.0.0:8082\" with ops.listen = \"127.0.0.1:8082\": the two listeners",
        ),
    ] {
        let messages = refused(text, &[]);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].starts_with(message),
            "{} is not {message}",
            messages[0]
        );
    }
    // A value that was refused already is no proof of a second mistake.
    let messages = refused("[tls]\ncertificate_file = 'a'\nkey_file = 3", &[]);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(
        refused(
            "limits = 3\nhttp = 3",
            &[("HUB_OPS_LISTEN", "0.0.0.0:8080")]
        )
        .len(),
        2
    );
}

#[test]
fn what_is_no_toml_is_refused_with_line_and_column() {
    for (text, start) in [
        ("[http]\nlisten 3", "hub.toml:2:8: not TOML: "),
        ("[http\n", "hub.toml:1:6: not TOML: "),
        ("[http]\nlisten = \"a\n", "hub.toml:2:12: not TOML: "),
        ("[http]\n[http]", "hub.toml:2:2: not TOML: duplicate key"),
        (
            "[http]\nlisten = 'a'\nlisten = 'b'",
            "hub.toml:3:1: not TOML: duplicate key",
        ),
        (
            "# höhe\n\n[node]\nfqdn = 'é' é",
            "hub.toml:4:12: not TOML: ",
        ),
    ] {
        let messages = refused(
            text,
            &[("HUB_LOG_LEVEL", "loud"), ("HUB_TLS_KEY_FILE", "a")],
        );
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(
            messages[0].starts_with(start),
            "{} is not at {start}",
            messages[0]
        );
        assert!(messages[1].starts_with("HUB_LOG_LEVEL"), "{}", messages[1]);
    }
    let deep = format!("a = {}", "[".repeat(100_000));
    assert_eq!(refused(&deep, &[]).len(), 1);
}
