//! Beyond what can be explored whole, at random; the same walks on every machine.
#![allow(clippy::print_stdout, reason = "what was explored is worth reading")]

use hub_protocol_model::report::{STEPS, write_known_limits};
use hub_protocol_model::{scopes, walk};

#[test]
fn random_walks_break_nothing_and_end_decided() {
    for config in scopes::random() {
        let tally = walk::explore(&config, 0..400, STEPS).unwrap_or_else(|found| {
            panic!("{}: {:#?}", config.name, walk::shorten(&config, &found))
        });
        println!("{}: {tally}", config.name);
        // Walks that do nothing would prove nothing.
        assert!(tally.acked >= 400, "{}: {tally}", config.name);
        assert_eq!(
            tally.changes > 0,
            config.maps.len() > 1,
            "{}: {tally}",
            config.name
        );
    }
}

/// A disk that is lost while a write is undecided is the known limit. Nothing else breaks, and each
/// way in which it shows is printed.
#[test]
fn lost_disks_break_nothing_but_the_known_limit() {
    let mut said = Vec::new();
    let holds = write_known_limits(400, &mut |line| {
        println!("{line}");
        said.push(line.to_owned());
    });
    assert!(holds, "{said:#?}");
    let shows = |what: &str| said.iter().any(|line| line.contains(what));
    assert!(shows("\"a stable read never changes\" breaks"), "{said:#?}");
    assert!(shows("\"one write, one key\" breaks"), "{said:#?}");
}

#[test]
fn a_seed_gives_the_same_walks() {
    let config = scopes::announced();
    let tally = walk::explore(&config, 7..17, STEPS);
    assert_eq!(tally, walk::explore(&config, 7..17, STEPS));
    assert!(tally.is_ok());
}
