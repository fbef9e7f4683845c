//! Every setting of the hub, in one table.
//!
//! A row has a key, a type, a default and a kind; the comment above it says what the setting is
//! for, in the documentation of its field and in `config/hub.toml` alike. From the table come the
//! structs, the reader, the names in the environment and the file, so a new setting is a new row.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::kind::{
    Address, BASE_URL, CLUSTER_NAME, Choice, FilePath, GIB, HOST_NAME, KIB, Kind, MIB, OneOf,
    Optional, Raw, SERVERS, STORE_URL, Switch, TIB, count, days, millis, minutes, seconds, size,
};

/// A section of the file.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) settings: &'static [Setting],
}

/// A setting.
pub(super) struct Setting {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) doc: &'static [&'static str],
    /// What is allowed, to stand behind "must be".
    pub(super) rule: fn() -> String,
    /// Takes a value over; `false` if it breaks the rule.
    pub(super) read: fn(&mut Config, &Raw<'_>) -> bool,
    /// The value as TOML.
    pub(super) show: fn(&Config) -> String,
}

impl Setting {
    /// `section.key`.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// `HUB_SECTION_KEY`.
    pub(super) fn variable(&self) -> String {
        format!("HUB_{}_{}", self.section, self.key).to_ascii_uppercase()
    }
}

/// Every setting, in the order of the file.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The setting of that section and key.
pub(super) fn find(section: &str, key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.section == section && setting.key == key)
}

macro_rules! choices {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident { $( $(#[doc = $variant_doc:literal])* $variant:ident = $text:literal, )* }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[doc = $variant_doc])* $variant, )* }

        impl $name {
            /// Its name in the configuration.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }

        impl Choice for $name {
            const ALL: &'static [Self] = &[$( Self::$variant, )*];
            fn choice_name(self) -> &'static str {
                self.name()
            }
        }
    )*};
}

choices! {
    /// When a write is acknowledged.
    Durability {
        /// When it is on disk: it survives a loss of power.
        Fsync = "fsync",
        /// When the operating system has it: it survives the end of the process, and is on disk
        /// within `spoke.sync_interval_ms`.
        Replicated = "replicated",
    }

    /// How much is logged: events of this level and those above it.
    LogLevel {
        /// Every step.
        Trace = "trace",
        /// What helps to find a fault.
        Debug = "debug",
        /// What an operator wants to have read once.
        Info = "info",
        /// What may need somebody.
        Warn = "warn",
        /// What failed.
        Error = "error",
    }

    /// What a line of the log looks like.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line, for machines.
        Json = "json",
    }
}

macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $config:ident {$(
            $(#[doc = $doc:literal])*
            $key:ident: $type:ty = $default:expr, $kind:expr;
        )*}
    )*) => {
        /// The hub's settings: plain values, all of them checked.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Config {$(
            $(#[doc = $section_doc])*
            pub $section: $config,
        )*}

        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $config {$(
                $(#[doc = $doc])*
                pub $key: $type,
            )*}

            impl Default for $config {
                fn default() -> Self {
                    Self { $( $key: $default, )* }
                }
            }
        )*

        /// Every section, in the order of the file.
        pub(super) static SECTIONS: &[Section] = &[$(
            Section {
                name: stringify!($section),
                doc: &[$($section_doc),*],
                settings: &[$(
                    Setting {
                        section: stringify!($section),
                        key: stringify!($key),
                        doc: &[$($doc),*],
                        rule: || Kind::<$type>::rule(&$kind),
                        read: |config, raw| match Kind::<$type>::read(&$kind, raw) {
                            Some(value) => {
                                config.$section.$key = value;
                                true
                            }
                            None => false,
                        },
                        show: |config| Kind::<$type>::show(&$kind, &config.$section.$key),
                    },
                )*],
            },
        )*];
    };
}

const fn listen(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), port)
}

/// The longest time that a setting in milliseconds may ask for.
const HOUR_MS: u64 = 3_600_000;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
/// The largest item: its length still fits the 32 bits that formats and permits give it.
const ITEM_MAX: u64 = 2 * GIB;

settings! {
    /// Who this node is and where it keeps its data.
    node: NodeConfig {
        /// The fully qualified domain name of this node, by which it is known to others.
        /// Empty: the host's name.
        fqdn: Option<String> = None, Optional(HOST_NAME);
        /// The folder of all that the node stores. A path that is not absolute starts at the
        /// working directory.
        data_dir: PathBuf = PathBuf::from("data"), FilePath;
        /// The URL by which clients reach the hub, which they are told as app.url. Links follow the
        /// request that asks for them.
        public_url: Option<String> = None, Optional(BASE_URL);
        /// Whether nothing may be changed through this node: writes of every kind are refused.
        read_only: bool = false, Switch;
    }

    /// The listener for clients.
    http: HttpConfig {
        /// Where clients connect.
        listen: SocketAddr = listen(Ipv4Addr::UNSPECIFIED, 8080), Address;
        /// A request's head must have arrived this long after its first byte, so that slow senders
        /// do not hold connections.
        head_timeout_ms: u64 = 10_000, millis(1, HOUR_MS);
        /// A connection without a request is closed after this time. Longer than load balancers
        /// keep theirs, so that it is they who close first.
        idle_timeout_ms: u64 = 75_000, millis(1, HOUR_MS);
        /// The longest pause between two parts of a request's body, and what a body as a whole may
        /// take beyond its time at 16 KiB a second; then the answer is 408.
        body_timeout_ms: u64 = 30_000, millis(1, HOUR_MS);
        /// The longest time that a client may take no bytes of a response; then the connection is
        /// closed.
        write_timeout_ms: u64 = 30_000, millis(1, HOUR_MS);
        /// Open connections at most; further ones wait to be accepted. Each needs a file handle.
        connections_max: usize = 20_000, count(1, 1_000_000);
        /// Whether /health, /metrics and /internal answer here too, and not only at ops.listen. What
        /// changes a ring is done there alone.
        ops_routes: bool = true, Switch;
    }

    /// The traffic between the nodes of a cluster. A hub that is alone has none.
    peer: PeerConfig {
        /// Where the other nodes connect. A network that only nodes reach.
        listen: SocketAddr = listen(Ipv4Addr::UNSPECIFIED, 8081), Address;
        /// How long a connection to another node may take to come about.
        connect_timeout_ms: u64 = 1_000, millis(1, HOUR_MS);
        /// A replica that has not answered an append for so long is asked again, and the client's
        /// write goes to the next coordinator.
        append_timeout_ms: u64 = 500, millis(1, HOUR_MS);
        /// A read that has not been answered for so long is asked of another replica as well.
        hedge_ms: u64 = 50, millis(1, HOUR_MS);
        /// What may wait for one other node; beyond it, what waits for that node is refused.
        queue_bytes: u64 = 64 * MIB, size(MIB, TIB);
        /// Items of more than this are sent ahead of their append, so that small ones do not wait
        /// for them.
        stage_bytes: u64 = 256 * KIB, size(KIB, 64 * MIB);
    }

    /// The listener for operators: health and metrics.
    ops: OpsConfig {
        /// Where operators connect. Not a public address.
        listen: SocketAddr = listen(Ipv4Addr::LOCALHOST, 8082), Address;
        /// A file with the token that operators send as "Authorization: Bearer" to change something.
        /// Empty: only callers on the same machine may.
        admin_token_file: Option<PathBuf> = None, Optional(FilePath);
    }

    /// What the nodes of one cluster must agree on.
    cluster: ClusterConfig {
        /// The cluster's name.
        name: String = "hub".to_owned(), CLUSTER_NAME;
        /// How far apart the clocks of any two nodes may be. The order of items relies on it, so a
        /// node that is further off takes no part in writing.
        max_skew_ms: u64 = 500, millis(1, 60_000);
        /// A file with the secret by which nodes know each other: 16 bytes or more, the same on
        /// every node. Required in a cluster.
        secret_file: Option<PathBuf> = None, Optional(FilePath);
    }

    /// Where the nodes of a cluster coordinate.
    zookeeper: ZookeeperConfig {
        /// The ZooKeeper servers. Empty: this hub is alone, and coordinates with itself.
        servers: Option<String> = None, Optional(SERVERS);
        /// A node that ZooKeeper has not heard of for so long counts as gone.
        session_timeout_ms: u64 = 6_000, millis(500, HOUR_MS);
        /// A file with "user:password" for ZooKeeper's digest authentication; what the hub creates
        /// is then that user's alone. Empty: none.
        auth_file: Option<PathBuf> = None, Optional(FilePath);
    }

    /// How channels are spread over the nodes. The same on every node.
    ring: RingConfig {
        /// Copies of each item in Spoke; as many as there are nodes, if there are fewer.
        replicas: usize = 3, count(1, 3);
        /// Points of each node on the ring: more of them spread the channels more evenly.
        virtual_nodes: usize = 256, count(1, 4_096);
        /// How long a node may go on accepting items after it last confirmed the ring.
        lease_ms: u64 = 10_000, millis(100, HOUR_MS);
        /// A node that is away for less than this changes no ring: it restarts.
        grace_seconds: u64 = 600, seconds(0, DAY);
        /// Several nodes that are away, or one without which channels cannot be written, are left
        /// out of the ring after this time.
        away_ms: u64 = 10_000, millis(1, HOUR_MS);
        /// Changes that come within this time become one new ring.
        settle_ms: u64 = 2_000, millis(0, HOUR_MS);
        /// A smaller ring is made by an operator only; 1 for a hub that never had more nodes.
        min_members: usize = 2, count(1, 1_000);
        /// The first ring of a new cluster waits for so many nodes.
        bootstrap_expect: usize = 1, count(1, 1_000);
    }

    /// The short-term store on this node's disk.
    spoke: SpokeConfig {
        /// When a write is acknowledged: once it is on disk, or once the operating system has it.
        durability: Durability = Durability::Fsync, OneOf;
        /// How often data goes to disk with durability "replicated": what a loss of power on all
        /// nodes at once can cost.
        sync_interval_ms: u64 = 100, millis(1, 60_000);
        /// The time that one segment holds. Fixed when the data folder is created.
        bucket_seconds: u64 = 60, seconds(1, DAY).dividing(DAY);
        /// A segment is sealed at this size, so that rebuilding an index stays quick.
        segment_bytes: u64 = 256 * MIB, size(MIB, 4 * GIB);
        /// A segment is sealed at this number of items, which bounds the memory of its index.
        segment_items: usize = 1_000_000, count(1, 100_000_000);
        /// An item whose key is further than this behind the clock is refused. Keep it above
        /// cluster.max_skew_ms, or nodes within the bounds refuse each other's items.
        accept_window_ms: u64 = 1_000, millis(1, 60_000);
        /// Writes are refused with 507 while less than this is free on the disk, so that the node
        /// can still work and expire.
        disk_reserve_bytes: u64 = 256 * MIB, size(MIB, 1_024 * TIB);
        /// Segment files held open at most.
        open_files: usize = 512, count(16, 1_000_000);
        /// How long the answer to a write with an Idempotency-Key is remembered.
        idempotency_minutes: u64 = 10, minutes(1, 1_440);
        /// The memory for that. When it is full, new writes with such a key are refused; none is
        /// forgotten early.
        idempotency_bytes: u64 = 128 * MIB, size(MIB, TIB);
        /// How long items stay on this node's disk once the archive has them. Without an archive they
        /// stay for as long as their channel keeps them.
        ttl_seconds: u64 = 3600, seconds(10, 30 * DAY);
    }

    /// The long-term store.
    archive: ArchiveConfig {
        /// Where it is. Credentials and endpoints come from the environment, under the names that each
        /// cloud's own tools read (AWS_ACCESS_KEY_ID, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME
        /// and so on). Empty: there is none, unless `local` says otherwise.
        url: Option<String> = None, Optional(STORE_URL);
        /// Whether a hub that runs alone, without ZooKeeper, archives to a folder of its data where no
        /// `url` is set. Without an archive items stay in Spoke for as long as their channel keeps them.
        local: bool = true, Switch;
        /// How long a minute is over before it is archived.
        settle_seconds: u64 = 10, seconds(1, HOUR);
        /// How long after that a minute that its node has not archived is archived by another.
        takeover_seconds: u64 = 60, seconds(1, DAY);
        /// Once an hour is over its minutes are put together into one object. They are removed that much
        /// later: whoever has listed them before has read them by then.
        rollup_pause_seconds: u64 = 300, seconds(1, DAY);
        /// How often it is looked for objects that no channel keeps any more, which are removed; those of a
        /// deleted channel once they were found so twice.
        sweep_minutes: u64 = 60, minutes(1, 1_440);
        /// The most requests in a second that archiving makes, from each node.
        requests_per_second: usize = 500, count(1, 1_000_000);
        /// How long a request to it may take.
        request_timeout_ms: u64 = 30_000, millis(100, HOUR_MS);
        /// How long a request is tried again, before what it was for is tried again from its beginning.
        retry_seconds: u64 = 60, seconds(0, HOUR);
        /// The memory for what was read of it: indexes, and items that were read lately or stand next to
        /// them.
        cache_bytes: u64 = 64 * MIB, size(0, TIB);
    }

    /// The backups, which `hub backup create` makes.
    backup: BackupConfig {
        /// Where they are: another bucket, or another place altogether. Nodes look there for metrics and do nothing
        /// else with it. It is opened by the variables of archive.url, or by ones of its own, with BACKUP_ before their
        /// names (BACKUP_AWS_ACCESS_KEY_ID and so on). Empty: nobody looks.
        url: Option<String> = None, Optional(STORE_URL);
        /// How often they are looked at.
        look_minutes: u64 = 10, minutes(1, 1_440);
    }

    /// What channels are given that do not say otherwise.
    channel: ChannelConfig {
        /// How long a channel keeps its items, if it was created without any retention.
        ttl_days: u64 = 120, days(1, 36_500);
        /// Whether channels are protected: new ones are unless they say otherwise, and none can be
        /// deleted but by a caller on the same machine.
        protect: bool = false, Switch;
        /// How often the items of channels that keep a number of them are counted, and the older
        /// ones given up.
        max_items_minutes: u64 = 60, minutes(1, 720);
        /// A single item of at least this size counts as a large item.
        large_item_bytes: u64 = 40 * MIB, size(KIB, ITEM_MAX);
    }

    /// Reading items.
    read: ReadConfig {
        /// Stable reads leave out the items of the last so many seconds. 0: only those that can
        /// still change.
        stable_seconds: u64 = 0, seconds(0, HOUR);
        /// The most items that one query may ask for. Where a bulk insert leads lists all of its items.
        direction_count_limit: usize = 10_000, count(1, 1_000_000);
        /// Threads for reads that wait for the disk.
        blocking_threads: usize = 16, count(1, 1_024);
    }

    /// What one node takes on.
    limits: LimitsConfig {
        /// The largest item; larger ones are answered with 413.
        item_bytes: u64 = 256 * MIB, size(1, ITEM_MAX);
        /// The largest bulk insert; larger ones are answered with 413. It is stored as one record, so
        /// `item_bytes` bounds it as well.
        bulk_bytes: u64 = 120 * MIB, size(1, ITEM_MAX);
        /// The bodies that the node holds at any one time; beyond it the answer is 503, to be
        /// tried again. What it holds of other nodes' requests, of answers to them, of items read
        /// from them, and of what lists read ahead, has this bound too, each by itself.
        inflight_bytes: u64 = 512 * MIB, size(1, TIB);
        /// The largest body that is JSON or Markdown for the hub itself, such as a channel's
        /// configuration. A document has no more than 1,000,000 bytes, whatever this is.
        config_bytes: u64 = MIB, size(KIB, 64 * MIB);
    }

    /// How the node stops.
    shutdown: ShutdownConfig {
        /// How long the node goes on serving once /health says that it is leaving, so that load
        /// balancers notice.
        delay_seconds: u64 = 15, seconds(0, HOUR);
        /// How long it then waits for what is in flight.
        wait_seconds: u64 = 180, seconds(0, HOUR);
    }

    /// What is logged.
    log: LogConfig {
        /// Events of this level and above.
        level: LogLevel = LogLevel::Info, OneOf;
        /// Lines for people or for machines.
        format: LogFormat = LogFormat::Text, OneOf;
        /// Whether each request is logged.
        access: bool = false, Switch;
    }

    /// TLS for the listener for clients. Set both files or neither; without them it speaks plain
    /// HTTP.
    tls: TlsConfig {
        /// The certificate and its chain, in PEM.
        certificate_file: Option<PathBuf> = None, Optional(FilePath);
        /// The certificate's private key, in PEM.
        key_file: Option<PathBuf> = None, Optional(FilePath);
    }
}
