//! From the configuration to the settings of each part.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hub_ring::Placement;
use hub_ring::keeper::KeeperPolicy;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{NodeError, VERSION};
use crate::archive::store::{Patience, Store};
use crate::backup::{self, Place};
use crate::channel::ArchiveSettings;
use crate::cluster::{Incarnation, MemberRecord};
use crate::config::{self, Config};
use crate::env::Millis;
use crate::http::api::{ApiSettings, Surface};
use crate::http::body::BodyLimits;
use crate::http::edge::{Edge, EdgeLimits};
use crate::http::links::Authority;
use crate::spoke::{Durability, Options};

pub(super) fn edges_of(
    config: &Config,
    public: TcpListener,
    ops: TcpListener,
    tls: Option<TlsAcceptor>,
) -> [Edge; 2] {
    let limits = edge_limits(config);
    [
        Edge {
            name: "public",
            listener: public,
            surface: if config.http.ops_routes {
                Surface::Public
            } else {
                Surface::PublicOnly
            },
            tls,
            limits: limits.clone(),
        },
        Edge {
            name: "ops",
            listener: ops,
            surface: Surface::Ops,
            tls: None,
            limits,
        },
    ]
}

pub(super) fn edge_limits(config: &Config) -> EdgeLimits {
    EdgeLimits {
        head: Duration::from_millis(config.http.head_timeout_ms),
        idle: Duration::from_millis(config.http.idle_timeout_ms),
        write: Duration::from_millis(config.http.write_timeout_ms),
        connections: config.http.connections_max,
    }
}

pub(super) fn tls_acceptor(config: &Config) -> Result<Option<TlsAcceptor>, NodeError> {
    let (Some(certificate), Some(key)) = (&config.tls.certificate_file, &config.tls.key_file)
    else {
        return Ok(None);
    };
    let wrong = |what: String| NodeError::Tls { reason: what };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(format!("{}: {error}", certificate.display())))?;
    let key_der = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| wrong(format!("{}: {error}", key.display())))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|error| wrong(error.to_string()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

/// The archive's store, if there is one, and what it is called. `folder` is where a hub that runs alone
/// has it otherwise.
pub(super) fn archive_store(
    config: &Config,
    folder: &Path,
) -> Result<Option<(Store, String)>, NodeError> {
    let Some(url) = &config.archive.url else {
        if config.zookeeper.servers.is_some() || !config.archive.local {
            return Ok(None);
        }
        return Ok(Some((Store::in_folder(folder)?, "local".to_owned())));
    };
    let variables = crate::config::cloud_environment();
    let store = Store::of_url(url, &variables, patience(config))?;
    Ok(Some((store, url.clone())))
}

/// The archive's URL, if there is one: also that of the folder where a hub that runs alone has it.
pub(super) fn archive_url(config: &Config, folder: &Path) -> Option<String> {
    if config.archive.url.is_some() {
        return config.archive.url.clone();
    }
    if config.zookeeper.servers.is_some() || !config.archive.local {
        return None;
    }
    let folder = std::path::absolute(folder).ok()?;
    url::Url::from_directory_path(folder).ok().map(String::from)
}

/// Where the hub's backups are, if that is set.
pub(super) fn backup_place(config: &Config) -> Result<Option<Place>, NodeError> {
    let Some(url) = &config.backup.url else {
        return Ok(None);
    };
    let place = Place::open(url, &backup::environment(), patience(config))?;
    Ok(Some(place))
}

/// How patient requests to object stores are.
fn patience(config: &Config) -> Patience {
    Patience {
        request: Duration::from_millis(config.archive.request_timeout_ms),
        retry: Duration::from_secs(config.archive.retry_seconds),
    }
}

/// The numbers that archiving goes by.
pub(super) fn archive_settings(config: &Config, mark: PathBuf, url: String) -> ArchiveSettings {
    // Before that what a stable read gives may not reach to a minute's end.
    let unstable = config.spoke.accept_window_ms + config.cluster.max_skew_ms;
    let unstable = unstable + config.read.stable_seconds * 1000;
    let settle = (config.archive.settle_seconds * 1000).max(2 * unstable);
    ArchiveSettings {
        settle: i64::try_from(settle).unwrap_or(i64::MAX),
        takeover: i64::try_from(config.archive.takeover_seconds * 1000).unwrap_or(i64::MAX),
        requests_per_second: u32::try_from(config.archive.requests_per_second)
            .ok()
            .and_then(NonZeroU32::new),
        rolled: mark.with_file_name("rolled-up"),
        mark,
        rollup_pause: Duration::from_secs(config.archive.rollup_pause_seconds),
        deleted_pause: Duration::from_secs(config.archive.sweep_minutes * 30),
        large_item: config.channel.large_item_bytes,
        url,
    }
}

/// The least of a refused body that is read on, in bytes.
const DRAIN_MIN: u64 = 64 << 20;

pub(super) fn api_settings(config: &Config, node: &str, own: Authority) -> ApiSettings {
    let patience = Duration::from_millis(config.http.body_timeout_ms);
    ApiSettings {
        version: VERSION,
        node: node.to_owned(),
        own,
        durability: durability(config),
        item_limits: BodyLimits {
            bytes: config.limits.item_bytes,
            patience,
        },
        bulk_limits: BodyLimits {
            bytes: config.limits.bulk_bytes.min(config.limits.item_bytes),
            patience,
        },
        drain_bytes: (2 * config.limits.item_bytes).max(DRAIN_MIN),
        config_limits: BodyLimits {
            bytes: config.limits.config_bytes,
            patience,
        },
        large_item_bytes: config.channel.large_item_bytes,
        count_limit: config.read.direction_count_limit,
        read_only: config.node.read_only,
        protect: config.channel.protect,
        access_log: config.log.access,
    }
}

/// What this node says of itself to the others; `public` is `host:port` of its listener for clients.
pub(super) fn member_record(config: &Config, now: Millis, public: &str) -> MemberRecord {
    MemberRecord {
        incarnation: Incarnation(0),
        ip: None,
        peer_port: config.peer.listen.port(),
        public: public.to_owned(),
        public_url: config.node.public_url.clone(),
        version: VERSION.to_owned(),
        state: String::new(),
        started: now.get(),
        ring: 0,
    }
}

/// The keeper's numbers.
pub(super) fn policy(config: &Config) -> KeeperPolicy {
    let ring = &config.ring;
    let virtual_nodes = u16::try_from(ring.virtual_nodes).unwrap_or(u16::MAX);
    let replicas = u8::try_from(ring.replicas).unwrap_or(u8::MAX);
    KeeperPolicy {
        grace_millis: millis(ring.grace_seconds.saturating_mul(1000)),
        away_millis: millis(ring.away_ms),
        settle_millis: millis(ring.settle_ms),
        lease_millis: millis(ring.lease_ms),
        max_skew_millis: millis(config.cluster.max_skew_ms),
        min_members: ring.min_members,
        bootstrap_expect: ring.bootstrap_expect,
        placement: Placement::new(replicas, virtual_nodes).unwrap_or_default(),
        ..KeeperPolicy::default()
    }
}

pub(super) fn store_options(config: &Config) -> Options {
    let spoke = &config.spoke;
    Options {
        durability: durability(config),
        bucket_millis: millis(spoke.bucket_seconds.saturating_mul(1000)),
        segment_bytes: spoke.segment_bytes,
        segment_items: spoke.segment_items as u64,
        sync_interval_millis: spoke.sync_interval_ms,
        // Until then an item of the bucket may still be accepted.
        late_millis: millis(spoke.accept_window_ms + config.cluster.max_skew_ms),
        reserve_bytes: spoke.disk_reserve_bytes,
        open_segments: spoke.open_files as u64,
        dedup_millis: millis(spoke.idempotency_minutes.saturating_mul(60_000)),
        has_peers: config.zookeeper.servers.is_some(),
    }
}

pub(super) fn durability(config: &Config) -> Durability {
    match config.spoke.durability {
        config::Durability::Fsync => Durability::Fsync,
        config::Durability::Replicated => Durability::Replicated,
    }
}

/// The settings that clients read, under the names that they know them by.
pub(super) fn properties(config: &Config) -> Vec<(&'static str, String)> {
    let url = config.node.public_url.as_ref();
    // What clients take for a cluster, and for a hub that is alone.
    let kind = match config.zookeeper.servers {
        Some(_) => "aws",
        None => "test",
    };
    vec![
        ("app.name", "hub".to_owned()),
        ("app.environment", config.cluster.name.clone()),
        (
            "app.url",
            url.map(|url| format!("{url}/")).unwrap_or_default(),
        ),
        ("app.stable_seconds", config.read.stable_seconds.to_string()),
        (
            "app.maxPayloadSizeMB",
            ((config.limits.bulk_bytes / 3) >> 20).to_string(),
        ),
        (
            "app.large.payload.MB",
            (config.channel.large_item_bytes >> 20).to_string(),
        ),
        (
            "app.directionCountLimit",
            config.read.direction_count_limit.to_string(),
        ),
        (
            "app.shutdown_delay_seconds",
            config.shutdown.delay_seconds.to_string(),
        ),
        (
            "app.shutdown_wait_seconds",
            config.shutdown.wait_seconds.to_string(),
        ),
        ("hub.protect.channels", config.channel.protect.to_string()),
        ("hub.read.only", config.node.read_only.to_string()),
        ("hub.type", kind.to_owned()),
    ]
}

pub(super) fn millis(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
