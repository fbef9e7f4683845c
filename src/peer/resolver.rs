//! From a member's name to an address, for members that have not registered theirs.
//!
//! DNS is asked in the background alone: a question to a member never waits for it. What was found
//! is kept for a while, and dropped at once when it turns out to lead nowhere, for a process that
//! was moved has a new address.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use moka::sync::Cache;
use thiserror::Error;

/// How long one try of a name server may take.
const TRY: Duration = Duration::from_secs(1);
/// Names kept at the most.
const NAMES_MAX: u64 = 10_000;

/// Why there is no resolver.
#[derive(Debug, Error)]
pub enum ResolverError {
    /// The system's settings cannot be read.
    #[error("{path}: {reason}")]
    Settings {
        /// Where they are.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// Finds addresses by DNS, and keeps them.
pub struct PeerResolver {
    dns: TokioResolver,
    kept: Cache<String, IpAddr>,
    asked: AtomicU64,
}

impl PeerResolver {
    /// One that asks the name servers which a file such as `/etc/resolv.conf` names. What is found
    /// is kept for `keep`.
    ///
    /// # Errors
    /// [`ResolverError`].
    pub fn of_file(path: &Path, keep: Duration) -> Result<Self, ResolverError> {
        let broken = |reason: String| ResolverError::Settings {
            path: path.display().to_string(),
            reason,
        };
        let text = std::fs::read(path).map_err(|e| broken(e.to_string()))?;
        let (config, options) = parse_resolv_conf(text).map_err(|e| broken(e.to_string()))?;
        Self::new(config, options, keep).map_err(broken)
    }

    /// One that asks that name server.
    ///
    /// # Errors
    /// [`ResolverError`].
    pub fn of_server(server: SocketAddr, keep: Duration) -> Result<Self, ResolverError> {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
        Self::new(config, ResolverOpts::default(), keep).map_err(|reason| ResolverError::Settings {
            path: server.to_string(),
            reason,
        })
    }

    fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        keep: Duration,
    ) -> Result<Self, String> {
        // What is kept is kept here, where it can be dropped.
        options.cache_size = 0;
        options.timeout = TRY;
        options.attempts = 2;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options);
        Ok(Self {
            dns: builder.build().map_err(|e| e.to_string())?,
            kept: Cache::builder()
                .max_capacity(NAMES_MAX)
                .time_to_live(keep)
                .build(),
            asked: AtomicU64::new(0),
        })
    }

    /// The address of a name: as kept, or as DNS says now.
    pub(super) async fn find(&self, name: &str) -> Result<IpAddr, String> {
        if let Some(kept) = self.kept.get(name) {
            return Ok(kept);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        // The dot keeps search domains out of it: names of members are complete.
        let found = self.dns.lookup_ip(format!("{name}.")).await;
        let found = found
            .map_err(|error| error.to_string())
            .and_then(|ips| ips.iter().next().ok_or("it has no address".to_owned()));
        match found {
            Ok(ip) => {
                crate::metric::dns_lookup("found");
                self.kept.insert(name.to_owned(), ip);
                Ok(ip)
            }
            Err(reason) => {
                crate::metric::dns_lookup("failed");
                Err(format!("no address for {name}: {reason}"))
            }
        }
    }

    /// How often DNS was asked.
    pub fn lookups(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// What is kept of a name leads nowhere.
    pub(super) fn forget(&self, name: &str) {
        self.kept.invalidate(name);
    }
}
