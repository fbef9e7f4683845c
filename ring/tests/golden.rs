//! Placement, pinned.
//!
//! THESE TABLES ARE NEVER EDITED. Two builds that place one channel differently look for each
//! other's items in the wrong place, which loses data. A test that fails here says that the change
//! which made it fail must not be made; another placement rule is another `Placement`, beside the
//! one that is pinned.
#![allow(clippy::expect_used, reason = "a test that cannot be set up must fail")]

use hub_ring::{Member, Placement, Ring, Slot};
use xxhash_rust::xxh3::xxh3_64;

mod common;
use common::{hubs, named, ring};

/// The sizes of the rings of `hub-1.example.com`, `hub-2.example.com` and so on.
const RINGS: [usize; 7] = [1, 2, 3, 4, 5, 9, 25];

/// A channel, its slot, and its replica set in each of the rings: the numbers of the hubs, in
/// order.
const CHANNELS: [(&str, usize, [&str; 7]); 24] = [
    (
        "a",
        14_769,
        ["1", "1 2", "3 1 2", "3 4 1", "3 5 4", "3 6 5", "16 3 6"],
    ),
    (
        "events",
        6269,
        ["1", "1 2", "3 1 2", "3 4 1", "3 4 1", "3 4 9", "18 24 20"],
    ),
    (
        "orders",
        10_787,
        ["1", "1 2", "1 3 2", "1 4 3", "1 4 5", "8 7 1", "12 18 22"],
    ),
    (
        "payments",
        10_096,
        ["1", "2 1", "2 3 1", "2 3 1", "2 3 1", "8 2 7", "8 15 18"],
    ),
    (
        "user-signups",
        7044,
        ["1", "1 2", "1 3 2", "1 4 3", "1 4 5", "7 1 4", "7 1 12"],
    ),
    (
        "clickstream",
        12_632,
        ["1", "2 1", "2 3 1", "4 2 3", "4 5 2", "4 5 6", "4 11 12"],
    ),
    (
        "audit_log",
        8020,
        ["1", "2 1", "2 3 1", "2 3 1", "2 5 3", "7 2 5", "18 14 10"],
    ),
    (
        "metrics.cpu",
        7609,
        ["1", "1 2", "3 1 2", "3 1 4", "3 1 4", "3 1 6", "19 3 1"],
    ),
    (
        "z",
        5417,
        ["1", "2 1", "2 3 1", "2 3 4", "2 3 4", "2 3 9", "24 20 2"],
    ),
    (
        "channel-0",
        6698,
        ["1", "2 1", "2 3 1", "4 2 3", "4 2 5", "6 4 7", "13 6 16"],
    ),
    (
        "channel-1",
        2222,
        ["1", "2 1", "2 1 3", "2 1 4", "2 1 5", "2 1 6", "15 2 1"],
    ),
    (
        "channel-2",
        4737,
        ["1", "1 2", "1 2 3", "1 2 3", "1 2 5", "8 1 2", "17 25 13"],
    ),
    (
        "channel-3",
        4604,
        ["1", "2 1", "3 2 1", "3 2 1", "3 5 2", "3 6 5", "15 3 18"],
    ),
    (
        "test_channel_1",
        13_238,
        ["1", "2 1", "2 1 3", "2 4 1", "2 4 1", "7 2 8", "7 2 18"],
    ),
    (
        "load_test_1",
        3145,
        ["1", "2 1", "2 3 1", "4 2 3", "4 5 2", "4 9 5", "4 18 9"],
    ),
    (
        "stumptown",
        3253,
        ["1", "2 1", "2 3 1", "2 4 3", "5 2 4", "5 9 7", "11 10 5"],
    ),
    (
        "replication",
        11_571,
        ["1", "2 1", "2 3 1", "2 3 4", "2 3 4", "2 9 3", "13 14 20"],
    ),
    (
        "2026",
        13_627,
        ["1", "2 1", "2 1 3", "4 1 3", "4 1 3", "2 6 4", "22 13 18"],
    ),
    (
        "a-very-long-channel-name-with-48-characters-in-it",
        6571,
        ["1", "2 1", "3 2 1", "3 2 1", "3 2 5", "3 2 5", "3 11 2"],
    ),
    (
        "tag-all",
        6077,
        ["1", "1 2", "2 1 3", "4 1 2", "5 1 2", "5 9 8", "22 18 20"],
    ),
    (
        "x_y_z",
        3598,
        ["1", "1 2", "1 3 2", "4 1 3", "4 1 5", "4 1 5", "19 4 1"],
    ),
    (
        "hub",
        951,
        ["1", "2 1", "3 2 1", "4 3 2", "4 3 5", "8 9 4", "10 13 8"],
    ),
    (
        "heartbeat",
        1206,
        ["1", "1 2", "3 1 2", "3 1 4", "5 3 1", "5 3 1", "5 16 19"],
    ),
    (
        "deadletters",
        13_493,
        ["1", "2 1", "3 2 1", "3 2 4", "3 2 4", "3 7 2", "10 3 25"],
    ),
];

/// The numbers of the hubs in a replica set.
fn numbers(ring: &Ring, channel: &str) -> String {
    let number = |member: &Member| member.as_str()[4..].split('.').next().map(str::to_owned);
    let numbers: Vec<String> = ring
        .replica_set(channel)
        .iter()
        .filter_map(number)
        .collect();
    numbers.join(" ")
}

#[test]
fn channels_are_placed_where_they_have_always_been() {
    let rings = RINGS.map(|count| ring(&hubs(count), 3));
    for (channel, slot, sets) in CHANNELS {
        assert_eq!(Slot::of(channel).index(), slot, "{channel}");
        for (ring, expected) in rings.iter().zip(sets) {
            assert_eq!(
                numbers(ring, channel),
                expected,
                "{channel}, {} members",
                ring.members().len()
            );
        }
    }
}

/// The hash of a whole table: for each slot in order, the names of its members in order, each ended
/// by a zero.
fn table_hash(ring: &Ring) -> u64 {
    let mut bytes = Vec::new();
    for slot in Slot::all() {
        for member in ring.replica_set_of(slot).iter() {
            bytes.extend_from_slice(member.as_str().as_bytes());
            bytes.push(0);
        }
    }
    xxh3_64(&bytes)
}

/// Members, replicas, virtual nodes, and the hash of the table.
const TABLES: [(usize, u8, u16, u64); 16] = [
    (1, 3, 256, 0xbe09_02e4_0d61_36a4),
    (2, 3, 256, 0x8635_b77f_ae5b_ce9b),
    (3, 3, 256, 0x4429_a8e2_66dd_5250),
    (4, 3, 256, 0xc765_a096_f617_3160),
    (5, 3, 256, 0x4218_5789_a29d_1682),
    (9, 3, 256, 0xfc1c_470d_7c6b_947d),
    (25, 3, 256, 0x18ef_2ed2_5b68_5828),
    (60, 3, 256, 0xce54_d51c_2885_61bd),
    (200, 3, 256, 0x7cf0_12fe_5a1a_c2a8),
    (3, 2, 256, 0x9b71_01eb_aa46_8b51),
    (5, 2, 256, 0x20fe_009a_56a2_4dfe),
    (25, 2, 256, 0x4f09_48b0_7ecb_7afd),
    (5, 1, 256, 0x8247_fe46_689a_6e05),
    (25, 1, 256, 0x7808_4b56_854f_f856),
    (5, 3, 64, 0xda08_1e01_e6a1_ac31),
    (25, 3, 1000, 0x5adb_6a86_698f_5c4e),
];

#[test]
fn whole_tables_are_what_they_have_always_been() {
    for (count, replicas, virtual_nodes, expected) in TABLES {
        let placement = Placement::new(replicas, virtual_nodes).expect("a placement");
        let ring = Ring::new(hubs(count), placement).expect("a ring");
        let found = table_hash(&ring);
        assert_eq!(
            found, expected,
            "{count} members, {replicas} replicas, {virtual_nodes} nodes: {found:#018x}"
        );
    }
}

#[test]
fn members_are_hashed_by_their_whole_names() {
    let found = [
        table_hash(&ring(&named(3, "10.0.0.", ":8081"), 3)),
        table_hash(&ring(&named(7, "h", ""), 3)),
        table_hash(&ring(
            &named(12, "hub_", ".hub-headless.prod.svc.cluster.local"),
            2,
        )),
    ];
    assert_eq!(
        found,
        [
            0x86eb_b10e_d040_ea26,
            0xc25f_313a_8066_5a83,
            0x6275_4a2a_5baa_2443,
        ],
        "{found:#018x?}"
    );
}
