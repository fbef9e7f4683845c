//! Every rule is left out once, and the model notices: a rule that nobody misses is not checked.
#![allow(clippy::print_stdout, reason = "what was explored is worth reading")]

use hub_protocol_model::report::{left_out, notice};
use hub_protocol_model::{Property, Rule, walk};

/// What breaks without a rule, where it is looked for.
fn breaks(rule: Rule) -> Property {
    match rule {
        Rule::Yield | Rule::Named => Property::Decided,
        Rule::Wait => Property::Order,
        Rule::FromSecond => Property::OneRing,
        Rule::Question | Rule::QuestionSkew | Rule::QuestionRaises | Rule::HeldFirst => {
            Property::OneKey
        }
        _ => Property::NothingLost,
    }
}

#[test]
fn every_rule_that_is_left_out_is_missed() {
    for left_out in left_out() {
        let rule = left_out.rule;
        let found = notice(&left_out, 1).unwrap_or_else(|| panic!("{rule:?}: not noticed"));
        let (name, steps) = (left_out.config.name, found.actions.len());
        println!("{rule:?}: {} ({steps} steps, {name})", found.property);
        assert_eq!(found.property, breaks(rule), "{rule:?}");
        // With the rule, the same steps break nothing.
        let mut kept = left_out.config.clone();
        kept.without = None;
        assert_eq!(walk::replay(&kept, &found.actions).broken, None, "{rule:?}");
    }
}
