use std::path::Path;

use super::kind::{GIB, MIB};
use super::settings::{SECTIONS, Setting, all, find};
use super::*;

mod properties;
mod refused;

/// For every setting a value that is allowed and not the default, as TOML.
const SAMPLES: &[(&str, &str)] = &[
    ("node.fqdn", "\"hub-1.example.com\""),
    ("node.data_dir", "'/srv/a \"hub\"'"),
    ("node.public_url", "\"https://hub.example.com:8443/base/\""),
    ("node.read_only", "true"),
    ("http.listen", "\"[::1]:9090\""),
    ("http.head_timeout_ms", "1_500"),
    ("http.idle_timeout_ms", "1501"),
    ("http.body_timeout_ms", "1502"),
    ("http.write_timeout_ms", "1503"),
    ("http.connections_max", "16"),
    ("http.ops_routes", "false"),
    ("peer.listen", "\"127.0.0.9:9091\""),
    ("peer.connect_timeout_ms", "700"),
    ("peer.append_timeout_ms", "600"),
    ("peer.hedge_ms", "70"),
    ("peer.queue_bytes", "\"32 MiB\""),
    ("peer.stage_bytes", "\"1 MiB\""),
    ("ops.listen", "\"127.0.0.9:0\""),
    ("ops.admin_token_file", "\"token\""),
    ("cluster.name", "\"north-2\""),
    ("cluster.max_skew_ms", "250"),
    ("cluster.secret_file", "\"secret\""),
    ("zookeeper.servers", "\"zk-1:2181,zk-2:2181\""),
    ("zookeeper.session_timeout_ms", "8000"),
    ("zookeeper.auth_file", "\"auth\""),
    ("ring.replicas", "2"),
    ("ring.virtual_nodes", "128"),
    ("ring.lease_ms", "5000"),
    ("ring.grace_seconds", "60"),
    ("ring.away_ms", "9000"),
    ("ring.settle_ms", "100"),
    ("ring.min_members", "3"),
    ("ring.bootstrap_expect", "4"),
    ("spoke.durability", "\"replicated\""),
    ("spoke.sync_interval_ms", "50"),
    ("spoke.bucket_seconds", "120"),
    ("spoke.segment_bytes", "\"1 GiB\""),
    ("spoke.segment_items", "10"),
    ("spoke.accept_window_ms", "2000"),
    ("spoke.disk_reserve_bytes", "\"1GB\""),
    ("spoke.open_files", "100"),
    ("spoke.idempotency_minutes", "20"),
    ("spoke.idempotency_bytes", "1048577"),
    ("spoke.ttl_seconds", "600"),
    ("archive.url", "\"s3://bucket/folder\""),
    ("archive.local", "false"),
    ("archive.settle_seconds", "5"),
    ("archive.takeover_seconds", "30"),
    ("archive.rollup_pause_seconds", "60"),
    ("archive.sweep_minutes", "30"),
    ("archive.requests_per_second", "50"),
    ("archive.request_timeout_ms", "1000"),
    ("archive.retry_seconds", "10"),
    ("archive.cache_bytes", "1048576"),
    ("backup.url", "\"s3://elsewhere/hub\""),
    ("backup.look_minutes", "5"),
    ("channel.ttl_days", "7"),
    ("channel.protect", "true"),
    ("channel.max_items_minutes", "5"),
    ("channel.large_item_bytes", "\"1024KiB\""),
    ("read.stable_seconds", "5"),
    ("read.direction_count_limit", "500"),
    ("read.blocking_threads", "4"),
    ("limits.item_bytes", "\"100 MB\""),
    ("limits.bulk_bytes", "\"10 MB\""),
    ("limits.inflight_bytes", "\"1 TiB\""),
    ("limits.config_bytes", "\"2 MiB\""),
    ("shutdown.delay_seconds", "0"),
    ("shutdown.wait_seconds", "60"),
    ("log.level", "\"trace\""),
    ("log.format", "\"json\""),
    ("log.access", "true"),
    ("tls.certificate_file", "\"cert.pem\""),
    ("tls.key_file", "\"key.pem\""),
];

fn setting(name: &str) -> &'static Setting {
    let (section, key) = name.split_once('.').unwrap();
    find(section, key).unwrap()
}

fn file(settings: &[(&str, &str)]) -> String {
    let lines: Vec<_> = settings
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    lines.concat()
}

/// The same settings as variables; texts lose their quotes.
fn variables(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|(name, value)| {
            let bare = value.trim_matches(|c| c == '\'' || (c == '"' && !value.starts_with('\'')));
            (setting(name).variable(), bare.to_owned())
        })
        .collect()
}

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    Config::parse(Some(("hub.toml", text)), env(variables))
}

#[test]
fn the_file_in_the_repository_is_what_the_table_renders() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/hub.toml");
    let reference = Config::reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, &reference).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == reference,
        "config/hub.toml is not up to date: run the tests with UPDATE_REFERENCE=1"
    );
    assert!(reference.lines().all(|line| line.chars().count() <= 140));
}

#[test]
fn the_reference_gives_the_defaults() {
    let loaded = parse(&Config::reference(), &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(Config::parse(None, []).unwrap(), loaded);
}

#[test]
fn every_setting_is_read_from_the_file_and_from_the_environment() {
    let sampled: Vec<&str> = SAMPLES.iter().map(|(name, _)| *name).collect();
    assert_eq!(sampled, all().map(Setting::name).collect::<Vec<_>>());
    for sample in SAMPLES {
        // The files of TLS go together only, and ZooKeeper with the cluster's secret.
        let given: Vec<_> = SAMPLES
            .iter()
            .copied()
            .filter(|other| {
                let together =
                    |names: &[&str]| names.contains(&sample.0) && names.contains(&other.0);
                other == sample
                    || together(&["tls.certificate_file", "tls.key_file"])
                    || (sample.0 == "zookeeper.servers" && other.0 == "cluster.secret_file")
            })
            .collect();
        let loaded = parse(&file(&given), &[]).unwrap();
        let changed: Vec<String> = all()
            .filter(|s| (s.show)(&loaded.config) != (s.show)(&Config::default()))
            .map(Setting::name)
            .collect();
        let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        assert_eq!(changed, names);
        let from_env = Config::parse(None, variables(&given)).unwrap();
        assert_eq!(from_env, loaded);
    }
}

#[test]
fn values_arrive_in_their_fields() {
    let config = parse(&file(SAMPLES), &[]).unwrap().config;
    assert_eq!(config.node.fqdn.as_deref(), Some("hub-1.example.com"));
    assert_eq!(config.node.data_dir, Path::new("/srv/a \"hub\""));
    assert_eq!(
        config.node.public_url.as_deref(),
        Some("https://hub.example.com:8443/base"),
        "without the slash at its end"
    );
    assert_eq!(config.http.listen.to_string(), "[::1]:9090");
    assert_eq!(config.http.head_timeout_ms, 1500);
    assert!(!config.http.ops_routes);
    assert_eq!(config.spoke.durability, Durability::Replicated);
    assert_eq!(config.spoke.segment_bytes, GIB);
    assert_eq!(config.spoke.disk_reserve_bytes, 1_000_000_000);
    assert_eq!(config.channel.large_item_bytes, MIB);
    assert_eq!(config.log.level, LogLevel::Trace);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.tls.key_file.as_deref(), Some(Path::new("key.pem")));
}

#[test]
fn names_say_the_unit_and_comments_are_there() {
    for section in SECTIONS {
        assert!(!section.doc.is_empty(), "{}", section.name);
    }
    for setting in all() {
        assert!(!setting.doc.is_empty(), "{}", setting.name());
        let rule = (setting.rule)();
        for (end, word) in [
            ("_ms", "of milliseconds"),
            ("_seconds", "of seconds"),
            ("_minutes", "of minutes"),
            ("_days", "of days"),
            ("_bytes", "a size"),
        ] {
            assert_eq!(
                setting.key.ends_with(end),
                rule.contains(word),
                "{}: {rule}",
                setting.name()
            );
        }
    }
}

#[test]
fn base_urls_are_kept_without_the_slash_at_their_end() {
    for (given, kept) in [
        ("https://hub.example.com", "https://hub.example.com"),
        ("https://hub.example.com/", "https://hub.example.com"),
        ("http://[::1]:8080/a/b/", "http://[::1]:8080/a/b"),
        ("HTTP://hub:80", "HTTP://hub:80"),
    ] {
        let loaded = parse("", &[("HUB_NODE_PUBLIC_URL", given)]).unwrap();
        assert_eq!(loaded.config.node.public_url.as_deref(), Some(kept));
    }
}

#[test]
fn a_window_within_the_skew_is_doubted_but_accepted() {
    let loaded = parse("spoke.accept_window_ms = 500", &[]).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("is not above cluster.max_skew_ms = 500"));
}

#[test]
fn the_environment_goes_before_the_file() {
    let text = "[http]\nlisten = '0.0.0.0:1'\n[tls]\ncertificate_file = 'a'\nkey_file = 'b'";
    let overrides = [
        ("HUB_HTTP_LISTEN", "0.0.0.0:2"),
        ("HUB_TLS_CERTIFICATE_FILE", ""),
        ("HUB_TLS_KEY_FILE", ""),
        ("HUB_SPOKE_SEGMENT_BYTES", "1_048_576"),
        ("HUB_SPOKE_IDEMPOTENCY_BYTES", "2 MiB"),
        ("hub_http_listen", "0.0.0.0:3"),
        ("HTTP_LISTEN", "0.0.0.0:4"),
    ];
    let loaded = parse(text, &overrides).unwrap();
    assert_eq!(loaded.config.http.listen.port(), 2);
    assert_eq!(loaded.config.tls, TlsConfig::default());
    assert_eq!(loaded.config.spoke.segment_bytes, MIB);
    assert_eq!(loaded.config.spoke.idempotency_bytes, 2 * MIB);
    assert_eq!(loaded.warnings, Vec::<String>::new());
    // A bad value in the file stays an error, or it would surface when the variable goes.
    assert!(parse("http.listen = 3", &overrides).is_err());
}

#[test]
fn variables_of_kubernetes_and_of_the_command_line_are_no_settings() {
    let injected = [
        ("HUB_HTTP_PORT", "tcp://10.0.0.7:8080"),
        ("HUB_PEER_PORT_8081_TCP", "tcp://10.0.0.8:8081"),
        ("HUB_PEER_SERVICE_HOST", "10.0.0.8"),
        ("HUB_PORT", "tcp://10.0.0.7:8080"),
        ("HUB_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
        ("HUB_PORT_8080_TCP_ADDR", "10.0.0.7"),
        ("HUB_PORT_8080_TCP_PORT", "8080"),
        ("HUB_PORT_8080_TCP_PROTO", "tcp"),
        ("HUB_SERVICE_HOST", "10.0.0.7"),
        ("HUB_SERVICE_PORT", "8080"),
        ("HUB_SERVICE_PORT_HTTP", "8080"),
    ];
    let loaded = parse("", &injected).unwrap();
    assert_eq!(loaded.config, Config::default());
    let [warning] = loaded.warnings.as_slice() else {
        unreachable!("{:?}", loaded.warnings)
    };
    for (name, _) in injected {
        assert!(warning.contains(name), "{name} is not in {warning}");
    }

    let others = parse("", &[("HUB_COLOUR", "red"), ("HUB_HTPP_LISTEN", "x")]).unwrap();
    assert_eq!(
        others.warnings,
        [
            "HUB_COLOUR is not a setting; it is ignored",
            "HUB_HTPP_LISTEN is not a setting; did you mean HUB_HTTP_LISTEN?",
        ]
    );

    let own = COMMAND_LINE_VARIABLES
        .iter()
        .map(|name| (*name, "http://localhost:8080"))
        .collect::<Vec<_>>();
    assert_eq!(parse("", &own).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn files_are_read_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.toml");
    let missing = Config::load(Some(&path), env(&[("HUB_LOG_LEVEL", "loud")])).unwrap_err();
    assert_eq!(missing.errors.len(), 2);
    let message = missing.errors[0].to_string();
    assert!(
        message.starts_with(&format!("cannot read {}: ", path.display())),
        "{message}"
    );
    let no_file = Config::load(Some(folder.path()), []).unwrap_err();
    assert!(matches!(
        no_file.errors[..],
        [ConfigError::Unreadable { .. }]
    ));

    std::fs::write(&path, "\u{feff}[ring]\nreplicas = 2\n").unwrap();
    let loaded = Config::load(Some(&path), []).unwrap();
    assert_eq!(loaded.config.ring.replicas, 2);

    std::fs::write(&path, b"[ring]\nreplicas = 2 # \xff\n").unwrap();
    let message = Config::load(Some(&path), []).unwrap_err().to_string();
    assert_eq!(message, format!("{}:2:16: not UTF-8", path.display()));

    assert_eq!(Config::load(None, []).unwrap().config, Config::default());
}

#[test]
fn what_is_printed_is_what_was_read() {
    let config = parse(&file(SAMPLES), &[]).unwrap().config;
    let printed = config.to_toml();
    assert_eq!(parse(&printed, &[]).unwrap().config, config);
    assert!(
        printed.contains("\nreplicas = 2 # default: 3\n"),
        "{printed}"
    );
    assert!(
        printed.contains("\nidempotency_bytes = 1048577 # default: \"128 MiB\"\n"),
        "{printed}"
    );
    let default = Config::default().to_toml();
    assert_eq!(parse(&default, &[]).unwrap().config, Config::default());
    assert!(!default.contains('#'), "{default}");
}
