//! Every metric of the hub: its name, unit and labels, and the function that records it.
//!
//! Names are `hub_<noun>_<unit>[_total]`, units are seconds and bytes, and labels come from closed
//! sets: never a channel.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

/// A batch of the store's writer is on its way to be acknowledged.
pub fn batch(items: u64, bytes: u64, spent: Duration) {
    counter!("hub_spoke_items_total").increment(items);
    counter!("hub_spoke_bytes_total").increment(bytes);
    counter!("hub_spoke_batches_total").increment(1);
    histogram!("hub_spoke_batch_seconds").record(spent);
}

/// A sync of one file took that long.
pub fn fsync(spent: Duration) {
    histogram!("hub_spoke_fsync_seconds").record(spent);
}

/// A segment's index was written.
pub fn segment_sealed() {
    counter!("hub_spoke_segments_sealed_total").increment(1);
}

/// That many segments were unlinked.
pub fn segments_expired(count: usize) {
    counter!("hub_spoke_segments_expired_total").increment(count as u64);
}

/// That many segments were unlinked, as the archive has what was in them.
pub fn segments_evicted(count: usize) {
    counter!("hub_spoke_segments_evicted_total").increment(count as u64);
}

/// A record failed its checksum.
pub fn damaged_record() {
    counter!("hub_spoke_damaged_reads_total").increment(1);
}

/// The store failed.
pub fn store_failed() {
    counter!("hub_spoke_failures_total").increment(1);
}

/// A read asked that many replicas.
pub fn read_asked(replicas: u64) {
    static KNOWN: LazyLock<(Counter, Counter)> = LazyLock::new(|| {
        let reads = counter!("hub_reads_total");
        (reads, counter!("hub_read_replicas_asked_total"))
    });
    KNOWN.0.increment(1);
    KNOWN.1.increment(replicas);
}

/// A read asked every member of a ring that is larger than any replica set.
pub fn full_fanout() {
    static KNOWN: LazyLock<Counter> = LazyLock::new(|| counter!("hub_read_full_fanouts_total"));
    KNOWN.increment(1);
}

/// Repair found that many items that this node lacked, and fetched them.
pub fn repaired(items: u64) {
    counter!("hub_repair_items_total").increment(items);
}

/// A request was answered.
pub fn request(route: &'static str, method: &'static str, status: u16, spent: Duration) {
    // Looking a metric up by its labels costs as much as the rest of a small request's accounting,
    // and there are only so many: each is looked up once.
    static KNOWN: LazyLock<RwLock<HashMap<Request, (Counter, Histogram)>>> =
        LazyLock::new(RwLock::default);
    let key = (route, method, status);
    if let Some((count, seconds)) = KNOWN.read().get(&key) {
        count.increment(1);
        seconds.record(spent);
        return;
    }
    let status = status_label(status);
    let count = counter!(
        "hub_http_requests_total", "route" => route, "method" => method, "status" => status
    );
    let seconds = histogram!("hub_http_request_seconds", "route" => route, "status" => status);
    count.increment(1);
    seconds.record(spent);
    KNOWN.write().insert(key, (count, seconds));
}

/// Route, method and status of a request.
type Request = (&'static str, &'static str, u16);

/// The statuses that the hub answers with; anything else counts as its class.
fn status_label(status: u16) -> &'static str {
    match status {
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        303 => "303",
        307 => "307",
        400 => "400",
        403 => "403",
        404 => "404",
        405 => "405",
        406 => "406",
        408 => "408",
        409 => "409",
        413 => "413",
        415 => "415",
        422 => "422",
        500 => "500",
        503 => "503",
        507 => "507",
        other => match other / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
    }
}

/// Connections that are open on a listener.
pub fn connections(listener: &'static str, open: usize) {
    gauge!("hub_http_connections_count", "kind" => listener).set(open as f64);
}

/// A connection was refused or cut off, and why.
pub fn connection_cut(result: &'static str) {
    counter!("hub_http_connections_cut_total", "result" => result).increment(1);
}

/// A question to another member has an outcome.
pub fn peer_request(kind: &'static str, result: &'static str, spent: Duration) {
    counter!("hub_peer_requests_total", "kind" => kind, "result" => result).increment(1);
    histogram!("hub_peer_request_seconds", "kind" => kind).record(spent);
}

/// A question of another member was answered, or refused.
pub fn peer_answered(kind: &'static str, result: &'static str) {
    counter!("hub_peer_answers_total", "kind" => kind, "result" => result).increment(1);
}

/// A batch of appends goes to another member.
pub fn peer_batch(appends: usize) {
    counter!("hub_peer_batches_total").increment(1);
    counter!("hub_peer_appends_total").increment(appends as u64);
}

/// How another member stands: 2 connected, 1 suspect, 0 down.
pub fn peer_state(peer: &str, state: u8) {
    gauge!("hub_peer_state", "peer" => peer.to_owned()).set(f64::from(state));
}

/// The bytes that wait for another member, or for its answer.
pub fn peer_queue_bytes(peer: &str, bytes: u64) {
    gauge!("hub_peer_queue_bytes", "peer" => peer.to_owned()).set(bytes as f64);
}

/// DNS was asked for the address of another member.
pub fn dns_lookup(result: &'static str) {
    counter!("hub_dns_lookups_total", "result" => result).increment(1);
}

/// What is looked at when the metrics are scraped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// The items in the store.
    pub items: u64,
    /// The bytes of its files.
    pub bytes: u64,
    /// Its segments.
    pub segments: u64,
    /// The bytes that its disk has left.
    pub free: u64,
    /// Damaged ranges of bytes.
    pub damaged: u64,
    /// How far the oldest undecided item is behind the clock, in seconds; 0 without one.
    pub frontier_lag: f64,
    /// Items whose write is not decided.
    pub undecided: u64,
    /// The channels that exist.
    pub channels: u64,
    /// Wall time minus the hub's clock, in seconds.
    pub clock_offset: f64,
    /// The bytes of bodies in flight.
    pub inflight_bytes: u64,
    /// The bytes of items held for answers.
    pub answer_bytes: u64,
    /// How long ago the oldest thing may have come that is not in the archive, in seconds; `None` without
    /// an archive.
    pub archive_lag: Option<f64>,
    /// Whether the node is ready.
    pub ready: bool,
}

/// What the archive was asked by a kind of request, since the process started.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchiveAsked {
    /// How many times.
    pub requests: u64,
    /// How many of these failed.
    pub failed: u64,
    /// The bytes of objects that were sent or came.
    pub bytes: u64,
}

static ARCHIVE_ASKED: Mutex<BTreeMap<&'static str, ArchiveAsked>> = Mutex::new(BTreeMap::new());

/// What the archive was asked since the process started, by kind.
pub fn archive_asked() -> BTreeMap<&'static str, ArchiveAsked> {
    ARCHIVE_ASKED.lock().clone()
}

/// The archive's store was asked for something, with so many requests.
pub fn archive_request(
    kind: &'static str,
    result: &'static str,
    requests: u64,
    took: Duration,
    bytes: u64,
) {
    counter!("hub_archive_requests_total", "kind" => kind, "result" => result).increment(requests);
    {
        let mut asked = ARCHIVE_ASKED.lock();
        let asked = asked.entry(kind).or_default();
        asked.requests += requests;
        asked.bytes += bytes;
        if result != "ok" {
            asked.failed += requests;
        }
    }
    counter!("hub_archive_bytes_total", "kind" => kind).increment(bytes);
    histogram!("hub_archive_request_seconds", "kind" => kind).record(took);
}

/// A channel's minute was not archived.
pub fn archive_failed() {
    counter!("hub_archive_failures_total").increment(1);
}

/// The minutes of an hour were put together into one object.
pub fn archive_rolled_up() {
    counter!("hub_archive_rollups_total").increment(1);
}

/// Objects were removed from the archive that nobody keeps.
pub fn archive_expired(kind: &'static str, objects: usize) {
    counter!("hub_archive_expired_objects_total", "kind" => kind).increment(objects as u64);
}

/// An archived object has an item that a stable read does not give.
pub fn archive_surplus() {
    counter!("hub_archive_surplus_total").increment(1);
}

/// An archived object that a client's answer needs is damaged, or missing.
pub fn archive_unreadable(what: &'static str) {
    counter!("hub_archive_unreadable_total", "what" => what).increment(1);
}

/// Something of the archive was wanted that may have been kept in memory.
pub fn archive_kept(kind: &'static str, kept: bool) {
    let result = if kept { "hit" } else { "miss" };
    counter!("hub_archive_cache_total", "kind" => kind, "result" => result).increment(1);
}

/// The newest backup with items, as a look at its place found it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backup {
    /// When it was done, in seconds since 1970.
    pub ended: f64,
    /// It has every item before that time, in seconds since 1970; `None` if nobody knows.
    pub complete_to: Option<f64>,
    /// Its objects.
    pub objects: u64,
    /// The items in them.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that it lacks, for they were damaged in the archive.
    pub left_out: u64,
}

/// The place of the backups was looked at: how many there are, how many of the newest cannot be read, and the
/// newest with items that can. What nobody knows is not a number: nothing is said of a backup that is gone.
pub fn backups(count: usize, damaged: usize, newest: Option<&Backup>) {
    gauge!("hub_backup_place_seen").set(1.0);
    gauge!("hub_backup_backups_count").set(count as f64);
    gauge!("hub_backup_damaged_count").set(damaged as f64);
    gauge!("hub_backup_with_items").set(if newest.is_some() { 1.0 } else { 0.0 });
    let said = |what: fn(&Backup) -> Option<f64>| newest.and_then(what).unwrap_or(f64::NAN);
    let ended = said(|newest| Some(newest.ended));
    gauge!("hub_backup_last_success_timestamp_seconds").set(ended);
    let complete_to = said(|newest| newest.complete_to);
    gauge!("hub_backup_complete_to_timestamp_seconds").set(complete_to);
    gauge!("hub_backup_objects").set(said(|newest| Some(newest.objects as f64)));
    gauge!("hub_backup_items").set(said(|newest| Some(newest.items as f64)));
    gauge!("hub_backup_bytes").set(said(|newest| Some(newest.bytes as f64)));
    gauge!("hub_backup_left_out_objects").set(said(|newest| Some(newest.left_out as f64)));
}

/// It did not answer.
pub fn backups_not_seen() {
    gauge!("hub_backup_place_seen").set(0.0);
}

/// Sets the gauges.
pub fn levels(levels: &Levels) {
    gauge!("hub_spoke_stored_items").set(levels.items as f64);
    gauge!("hub_spoke_stored_bytes").set(levels.bytes as f64);
    gauge!("hub_spoke_segments_count").set(levels.segments as f64);
    gauge!("hub_spoke_disk_free_bytes").set(levels.free as f64);
    gauge!("hub_spoke_damaged_ranges").set(levels.damaged as f64);
    gauge!("hub_frontier_lag_seconds").set(levels.frontier_lag);
    gauge!("hub_undecided_items").set(levels.undecided as f64);
    gauge!("hub_channels_count").set(levels.channels as f64);
    gauge!("hub_clock_offset_seconds").set(levels.clock_offset);
    gauge!("hub_inflight_bytes").set(levels.inflight_bytes as f64);
    gauge!("hub_answer_bytes").set(levels.answer_bytes as f64);
    if let Some(lag) = levels.archive_lag {
        gauge!("hub_archive_lag_seconds").set(lag);
    }
    gauge!("hub_node_ready").set(f64::from(u8::from(levels.ready)));
}

/// Says what every metric means, for scrapers that show it.
pub fn describe(version: &'static str) {
    gauge!("hub_build_info", "version" => version).set(1.0);
    describe_gauge!("hub_build_info", "always 1, with the version");
    describe_counter!("hub_http_requests_total", "requests answered");
    describe_histogram!(
        "hub_http_request_seconds",
        "from a request's head to its response's head"
    );
    describe_gauge!("hub_http_connections_count", "open connections");
    describe_counter!(
        "hub_http_connections_cut_total",
        "connections refused or cut off"
    );
    describe_counter!("hub_reads_total", "keys and ranges asked of replicas");
    describe_counter!(
        "hub_read_replicas_asked_total",
        "replicas asked for them; none is asked that is not in a replica set of the time asked about"
    );
    describe_counter!(
        "hub_read_full_fanouts_total",
        "reads that asked every member of a ring with more members than the replica sets concerned"
    );
    counter!("hub_read_full_fanouts_total").absolute(0);
    describe_counter!(
        "hub_repair_items_total",
        "items fetched that other replicas held and this node did not"
    );
    describe_counter!("hub_spoke_items_total", "items stored");
    describe_counter!("hub_spoke_bytes_total", "bytes of items stored");
    describe_counter!("hub_spoke_batches_total", "batches written");
    describe_histogram!(
        "hub_spoke_batch_seconds",
        "from a batch's first write to its last sync"
    );
    describe_histogram!("hub_spoke_fsync_seconds", "syncs of one file");
    describe_counter!("hub_spoke_segments_sealed_total", "segments sealed");
    describe_counter!(
        "hub_spoke_segments_expired_total",
        "segments unlinked because nobody keeps what is in them"
    );
    describe_counter!(
        "hub_spoke_segments_evicted_total",
        "segments unlinked because the archive has what is in them"
    );
    describe_counter!("hub_spoke_damaged_reads_total", "reads of a damaged record");
    describe_counter!("hub_spoke_failures_total", "failures of the store");
    describe_gauge!("hub_spoke_stored_items", "items held");
    describe_gauge!("hub_spoke_stored_bytes", "bytes of the store's files");
    describe_gauge!("hub_spoke_segments_count", "segments held");
    describe_gauge!("hub_spoke_disk_free_bytes", "bytes that the disk has left");
    describe_gauge!("hub_spoke_damaged_ranges", "damaged ranges of segments");
    describe_gauge!(
        "hub_frontier_lag_seconds",
        "age of the oldest undecided item"
    );
    describe_gauge!("hub_undecided_items", "items whose write is not decided");
    describe_gauge!("hub_channels_count", "channels");
    describe_gauge!(
        "hub_clock_offset_seconds",
        "wall time minus the hub's clock"
    );
    describe_gauge!("hub_inflight_bytes", "bytes of bodies in flight");
    describe_gauge!(
        "hub_answer_bytes",
        "bytes of items held for answers: of other members, or read ahead"
    );
    describe_counter!(
        "hub_archive_surplus_total",
        "archived objects with an item that no replica lists"
    );
    describe_counter!(
        "hub_archive_unreadable_total",
        "reads that an archived object kept from being answered, as it is damaged or missing"
    );
    describe_counter!(
        "hub_archive_failures_total",
        "minutes of channels that were to be archived, or hours that were to be put together, and were not, each try"
    );
    describe_counter!(
        "hub_archive_rollups_total",
        "hours of channels whose minutes were put together"
    );
    describe_counter!(
        "hub_archive_expired_objects_total",
        "objects removed: expired, or of deleted channels"
    );
    describe_counter!(
        "hub_archive_requests_total",
        "requests to the archive's store"
    );
    describe_counter!(
        "hub_archive_bytes_total",
        "bytes of objects written and read"
    );
    describe_histogram!(
        "hub_archive_request_seconds",
        "requests to the archive's store"
    );
    describe_counter!(
        "hub_archive_cache_total",
        "indexes and blocks of archived objects that were in memory when they were wanted, or not"
    );
    describe_gauge!(
        "hub_archive_lag_seconds",
        "age of what is not known to be in the archive"
    );
    describe_gauge!(
        "hub_backup_place_seen",
        "1 if the place of the backups answered when it was last looked at"
    );
    describe_gauge!("hub_backup_backups_count", "backups that there are");
    describe_gauge!(
        "hub_backup_damaged_count",
        "backups that cannot be read, among those newer than the newest with items that can"
    );
    describe_gauge!(
        "hub_backup_with_items",
        "1 if there is a backup with items that can be read"
    );
    describe_gauge!(
        "hub_backup_last_success_timestamp_seconds",
        "when the newest backup with items was done, in seconds since 1970"
    );
    describe_gauge!(
        "hub_backup_complete_to_timestamp_seconds",
        "it has every item before that time, in seconds since 1970; NaN if nobody knows"
    );
    describe_gauge!(
        "hub_backup_objects",
        "objects in the newest backup with items"
    );
    describe_gauge!("hub_backup_items", "items in them");
    describe_gauge!("hub_backup_bytes", "bytes of them");
    describe_gauge!(
        "hub_backup_left_out_objects",
        "objects that it lacks, for they were damaged in the archive"
    );
    describe_gauge!("hub_node_ready", "1 while the node can serve");
    describe_counter!("hub_peer_requests_total", "questions to other members");
    describe_histogram!(
        "hub_peer_request_seconds",
        "from a question to another member to its answer"
    );
    describe_counter!(
        "hub_peer_answers_total",
        "questions of other members answered"
    );
    describe_counter!("hub_peer_batches_total", "batches of appends to others");
    describe_counter!("hub_peer_appends_total", "appends in these batches");
    describe_gauge!("hub_peer_state", "2 connected, 1 suspect, 0 down");
    describe_gauge!(
        "hub_peer_queue_bytes",
        "bytes that wait for a member or its answer"
    );
    describe_counter!("hub_dns_lookups_total", "DNS look-ups of other members");
}

/// The buckets of every histogram of durations, in seconds: 50 µs to 10 s.
pub const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];
