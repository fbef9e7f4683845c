//! Every state of the small sizes. The counts are pinned: a rule that changes changes them, and a
//! model that suddenly explores less is not one that holds.
#![allow(clippy::print_stdout, reason = "what was explored is worth reading")]

use hub_protocol_model::{check, scopes};

/// Far more than any of them reaches: one that reaches this is not explored whole.
const AT_MOST: usize = 20_000_000;

fn explore(sizes: Vec<scopes::Whole>) {
    for size in sizes {
        let found = check::explore(&size.config, AT_MOST);
        println!(
            "{}: {} states, {} reached",
            size.config.name, found.unique, found.reached
        );
        for (limit, actions) in &found.limits {
            println!("  {limit}, after {} steps:", actions.len());
            for action in actions {
                println!("    {action}");
            }
        }
        assert_eq!(found.broken, [], "{}", size.config.name);
        assert!(
            found.limits.is_empty() || size.config.wipes > 0,
            "{:?}",
            found.limits
        );
        assert!(found.whole, "{}", size.config.name);
        assert_eq!(found.unique, size.states, "{}", size.config.name);
    }
}

#[test]
fn the_small_sizes_hold_in_every_state() {
    explore(scopes::small());
}

#[test]
#[ignore = "takes minutes: make rehearse runs the same sizes by the program's --full"]
fn the_full_sizes_hold_in_every_state() {
    explore(scopes::full());
}
