//! The stored form of a history: it comes back as it was, it is small, and no bytes make reading it
//! panic.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers here are small"
)]
#![allow(clippy::expect_used, reason = "a test that cannot be set up must fail")]

use std::collections::BTreeMap;

use hub_ring::{
    DecodeError, EncodeError, MAX_ENCODED_BYTES, Member, Placement, RingHistory, RingMap,
};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

mod common;
use common::{hubs, named};

/// A history made of arbitrary but lawful steps.
fn any_history() -> impl Strategy<Value = RingHistory> {
    let map = (
        proptest::sample::subsequence(hubs(20), 1..=20),
        1_i64..1_000_000,
        1_u8..=3,
        1_u16..=400,
    );
    let marked =
        proptest::collection::btree_map(proptest::sample::select(hubs(24)), any::<i64>(), 0..4);
    (
        proptest::collection::vec(map, 0..8),
        any::<(bool, bool)>(),
        marked.clone(),
        marked,
        0_i64..4_000_000,
    )
        .prop_map(|(maps, open, absent, leaving, oldest_needed)| {
            build(maps, open, absent, leaving, oldest_needed)
        })
}

fn build(
    maps: Vec<(Vec<Member>, i64, u8, u16)>,
    (open, lost): (bool, bool),
    absent: BTreeMap<Member, i64>,
    leaving: BTreeMap<Member, i64>,
    oldest_needed: i64,
) -> RingHistory {
    let mut history = RingHistory::new();
    let (last, mut from) = (maps.len(), 0);
    for (i, (members, later, rf, nodes)) in maps.into_iter().enumerate() {
        from += later;
        let placement = Placement::new(rf, nodes).expect("a placement");
        if i == 0 {
            let map = RingMap::in_force(1, from, members, placement).expect("a map");
            history.announce(map).expect("announced");
            continue;
        }
        let version = i as u64 + 1;
        history
            .announce(RingMap::announced(version, members, placement).expect("a map"))
            .expect("announced");
        if !open || i + 1 < last {
            history.set_from(version, from).expect("a time");
        }
    }
    history.set_absent(absent);
    if lost {
        let gone: Vec<Member> = history.members().into_iter().cloned().collect();
        history.declare_lost(gone);
    }
    for (member, asked) in leaving {
        history.decommission(member, asked);
    }
    history.prune(oldest_needed);
    history
}

/// A stored form with its checksum made right, so that the body is what is judged.
fn sealed(body: &str) -> Vec<u8> {
    format!("hub-rings 2 {:016x}\n{body}", xxh3_64(body.as_bytes())).into_bytes()
}

fn body(history: &RingHistory) -> String {
    let bytes = history.encode().expect("encoded");
    let text = String::from_utf8(bytes).expect("text");
    text.split_once('\n').expect("a first line").1.to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_stored_comes_back(history in any_history()) {
        let bytes = history.encode().expect("encoded");
        prop_assert_eq!(RingHistory::decode(&bytes).expect("decoded"), history);
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(RingHistory::decode(&bytes).is_err());
    }

    #[test]
    fn damaged_bytes_are_refused(history in any_history(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut bytes = history.encode().expect("encoded");
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        // The hexadecimal digits of the checksum read the same in either case.
        let read = RingHistory::decode(&bytes);
        prop_assert!(read.is_err() || (at < 28 && read.expect("decoded") == history));
    }

    #[test]
    fn cut_bytes_are_refused(history in any_history(), at in any::<prop::sample::Index>()) {
        let bytes = history.encode().expect("encoded");
        prop_assert!(RingHistory::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    /// Past the checksum, whatever JSON says must either break a rule or make a lawful history.
    #[test]
    fn a_changed_body_breaks_a_rule_or_is_a_history(
        history in any_history(), at in any::<prop::sample::Index>(), with in "[0-9a-zA-Z,:{}\\[\\]\"=/-]{0,3}",
    ) {
        let mut body = body(&history);
        let at = at.index(body.len());
        body.replace_range(at..(at + with.len()).min(body.len()), &with);
        if let Ok(read) = RingHistory::decode(&sealed(&body)) {
            let again = read.encode().expect("encoded");
            prop_assert_eq!(RingHistory::decode(&again).expect("decoded"), read);
        }
    }

    #[test]
    fn any_body_is_answered(text in "\\PC{0,200}") {
        prop_assert!(RingHistory::decode(&sealed(&text)).is_err());
    }
}

const MAPS: &str = "{\"revision\":6,\"largest_ring\":3,\"members\":[\"a\",\"b\",\"c\",\"d\"],\"maps\":[\
        {\"version\":1,\"from\":1000,\"rf\":3,\"vnodes\":256,\"members\":\"Aw==\"},\
        {\"version\":2,\"from\":2000,\"rf\":3,\"vnodes\":256,\"members\":\"Bw==\"},\
        {\"version\":3,\"from\":null,\"rf\":3,\"vnodes\":256,\"members\":\"BQ==\"}],\
        \"absent\":[[1,2500]],\"decommissioned\":[[3,2600]],";
const SLOTS: &str = "\"node_slots\":[\"00\",\"01\",\"02\",null]}";

fn name(name: &str) -> Member {
    Member::new(name).expect("a name")
}

/// What those maps stand for.
fn known() -> RingHistory {
    let map = |version, members: &[&str]| {
        let members = members.iter().map(|n| name(n));
        RingMap::announced(version, members, Placement::default()).expect("a map")
    };
    let mut history = RingHistory::new();
    let first =
        RingMap::in_force(1, 1_000, [name("a"), name("b")], Placement::default()).expect("a map");
    history.announce(first).expect("announced");
    history
        .announce(map(2, &["a", "b", "c"]))
        .expect("announced");
    history.set_from(2, 2_000).expect("a time");
    history.set_absent([(name("b"), 2_500)].into());
    history.decommission(name("d"), 2_600);
    history.announce(map(3, &["a", "c"])).expect("announced");
    history
}

/// The stored form is written by one build and read by the next: these bytes must be read for ever.
#[test]
fn the_stored_form_of_format_1() {
    let stored = format!("hub-rings 1 c7fc70b9b808491d\n{MAPS}{SLOTS}");
    assert_eq!(
        String::from_utf8(known().encode().expect("encoded")).expect("text"),
        stored
    );
    assert_eq!(
        RingHistory::decode(stored.as_bytes()).expect("decoded"),
        known()
    );
}

/// The same with a member that is lost; what has none is written in format 1, for builds that know
/// no other.
#[test]
fn the_stored_form_of_format_2() {
    let mut history = known();
    assert!(history.declare_lost([name("b")]));
    let maps = MAPS.replace("\"revision\":6", "\"revision\":7");
    let stored = format!("hub-rings 2 f49a6c866211899b\n{maps}\"lost\":[[1,3]],{SLOTS}");
    assert_eq!(
        String::from_utf8(history.encode().expect("encoded")).expect("text"),
        stored
    );
    assert_eq!(
        RingHistory::decode(stored.as_bytes()).expect("decoded"),
        history
    );
}

#[test]
fn the_first_line_says_what_is_wrong() {
    let decode = |bytes: &[u8]| RingHistory::decode(bytes).expect_err("refused");
    for other in [
        &b""[..],
        b"\n",
        b"{}",
        b"hub-rings\n{}",
        b"hub-rings x 0\n{}",
        b"hub-rings 1\n{}",
        b"\xff\n",
    ] {
        assert!(
            matches!(decode(other), DecodeError::NotAHistory),
            "{other:?}"
        );
    }
    // A newer build may put anything behind the number.
    let newer = decode(b"hub-rings 3 something else\n...");
    assert!(matches!(
        newer,
        DecodeError::UnknownFormat { found: 3, known: 2 }
    ));
    assert!(matches!(
        decode(b"hub-rings 1 00\n{}"),
        DecodeError::Checksum { expected: 0, .. }
    ));
    let large = vec![b' '; MAX_ENCODED_BYTES + 1];
    assert!(matches!(decode(&large), DecodeError::TooLarge { .. }));
}

fn history_of_one() -> RingHistory {
    let mut history = RingHistory::new();
    let map = RingMap::in_force(1, 100, hubs(2), Placement::default()).expect("a map");
    history.announce(map).expect("announced");
    history
}

#[test]
fn a_body_that_breaks_a_rule_is_refused() {
    let mut history = RingHistory::new();
    let placement = Placement::default();
    history
        .announce(RingMap::in_force(1, 100, hubs(2), placement).expect("a map"))
        .expect("announced");
    history
        .announce(RingMap::announced(2, hubs(3), placement).expect("a map"))
        .expect("announced");
    history.set_from(2, 200).expect("a time");
    history.set_absent([(hubs(1)[0].clone(), 5)].into());
    let good = body(&history);
    assert!(RingHistory::decode(&sealed(&good)).is_ok());
    for (find, replace) in [
        ("\"hub-1.", "\"HUB-1."),
        ("\"hub-1.", "\"hub-3."),
        ("\"hub-1.", "\"hub 1."),
        ("\"version\":2", "\"version\":3"),
        ("\"version\":1", "\"version\":0"),
        ("\"from\":200", "\"from\":100"),
        ("\"from\":100", "\"from\":null"),
        ("\"revision\":4", "\"revision\":18446744073709551615"),
        ("\"rf\":3", "\"rf\":4"),
        ("\"vnodes\":256", "\"vnodes\":0"),
        ("\"members\":\"Bw==\"", "\"members\":\"AA==\""),
        ("\"members\":\"Bw==\"", "\"members\":\"Dw==\""),
        ("\"members\":\"Bw==\"", "\"members\":\"BwA=\""),
        ("\"members\":\"Bw==\"", "\"members\":\"Bw=\""),
        ("\"members\":\"Bw==\"", "\"members\":\"Aw==\""),
        ("\"largest_ring\":3", "\"largest_ring\":2"),
        ("[[0,5]]", "[[3,5]]"),
        ("[[0,5]]", "[[0,5],[0,6]]"),
        ("[\"00\",", "[\"01\","),
        ("[\"00\",", "[null,"),
        ("[\"00\",", "[\"0\","),
        ("[\"00\",", "["),
    ] {
        let bad = good.replacen(find, replace, 1);
        assert_ne!(bad, good, "{find} is not there");
        let error = RingHistory::decode(&sealed(&bad)).expect_err(replace);
        assert!(
            matches!(error, DecodeError::Invalid { .. }),
            "{replace}: {error}"
        );
    }
    let last =
        body(&history_of_one()).replacen("\"version\":1", "\"version\":18446744073709551615", 1);
    assert!(matches!(
        RingHistory::decode(&sealed(&last)),
        Err(DecodeError::Invalid { .. })
    ));
    let unknown = good.replacen("{\"revision\"", "{\"later\":1,\"revision\"", 1);
    assert!(matches!(
        RingHistory::decode(&sealed(&unknown)),
        Err(DecodeError::Json { .. })
    ));
}

#[test]
fn a_thousand_members_and_sixty_rings_take_less_than_200_kib() {
    let members = named(
        1_000,
        "hub-hot-",
        ".hub-headless.production-europe.svc.cluster.local",
    );
    let mut history = RingHistory::new();
    let map = |skip: usize| {
        members
            .iter()
            .enumerate()
            .filter(move |(i, _)| i % 61 != skip)
            .map(|(_, m)| m.clone())
    };
    let first =
        RingMap::in_force(1, 1_800_000_000_000, map(0), Placement::default()).expect("a map");
    history.announce(first).expect("announced");
    for version in 2..=60 {
        let next = RingMap::announced(version, map(version as usize), Placement::default())
            .expect("a map");
        history.announce(next).expect("announced");
        history
            .set_from(version, 1_800_000_000_000 + version as i64 * 60_000)
            .expect("a time");
    }
    history.set_absent(
        members
            .iter()
            .map(|member| (member.clone(), 1_800_000_000_000))
            .collect(),
    );
    let bytes = history.encode().expect("encoded");
    assert!(bytes.len() < 200 * 1024, "{} bytes", bytes.len());
    assert_eq!(RingHistory::decode(&bytes).expect("decoded"), history);
}

#[test]
fn a_history_that_cannot_be_stored_is_not_written() {
    let mut history = RingHistory::new();
    let all = named(3_844, &"x".repeat(249), "");
    history
        .announce(RingMap::in_force(1, 0, all, Placement::default()).expect("a map"))
        .expect("announced");
    assert!(matches!(
        history.encode(),
        Err(EncodeError::TooLarge { .. })
    ));
}
