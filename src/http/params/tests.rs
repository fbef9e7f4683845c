use proptest::prelude::*;

use super::*;

fn params(query: &str) -> Params {
    Params::parse(Some(query)).unwrap()
}

#[test]
fn without_a_query_there_are_the_defaults() {
    let none = Params::parse(None).unwrap();
    assert_eq!(none, params(""));
    assert_eq!(none, Params::default());
    assert!(none.stable && none.cached && !none.stable_sent);
    assert!(!none.bulk && !none.trace && !none.inclusive);
    assert_eq!(none.epoch, Epoch::Immutable);
    assert_eq!(none.location, Location::All);
    assert_eq!(none.order, Order::Ascending);
    assert_eq!(none.tag, None);
    assert_eq!(none.repeat(), "");
}

#[test]
fn only_the_text_true_is_true() {
    for (text, value) in [
        ("true", true),
        ("TRUE", true),
        ("tRuE", true),
        ("tru%65", true),
        ("false", false),
        ("", false),
        ("1", false),
        ("yes", false),
        ("true+", false),
        ("truee", false),
        ("%zz", false),
    ] {
        let all = params(&format!(
            "stable={text}&trace={text}&inclusive={text}&cached={text}&bulk={text}"
        ));
        assert_eq!(all.stable, value, "{text}");
        assert_eq!(all.trace, value, "{text}");
        assert_eq!(all.inclusive, value, "{text}");
        assert_eq!(all.cached, value, "{text}");
        assert_eq!(all.bulk, value, "{text}");
    }
    assert!(!params("stable").stable, "a name alone has an empty value");
    assert!(params("stable").stable_sent);
}

#[test]
fn the_first_of_several_values_counts() {
    assert!(!params("stable=false&stable=true").stable);
    assert!(params("stable=true&stable=false").stable);
    assert_eq!(params("epoch=ALL&epoch=nonsense").epoch, Epoch::All);
    assert_eq!(params("tag=a&tag=b").tag.as_deref(), Some("a"));
    assert_eq!(params("tag=&tag=b").tag.as_deref(), Some(""));
}

#[test]
fn bulk_and_batch_are_one() {
    assert!(params("bulk=true").bulk);
    assert!(params("batch=true").bulk);
    assert!(params("bulk=false&batch=true").bulk);
    assert!(!params("bulk=false&batch=no").bulk);
}

#[test]
fn names_are_exact_and_others_ignored() {
    let same = params("Stable=false&STABLE=false&nonsense=true&=&&epoch2=x");
    assert!(same.stable && !same.stable_sent);
    assert!(!params("st%61ble=false").stable);
}

#[test]
fn order_goes_by_its_first_letter() {
    for (text, order) in [
        ("d", Order::Descending),
        ("DESC", Order::Descending),
        ("descending", Order::Descending),
        ("dog", Order::Descending),
        ("asc", Order::Ascending),
        ("nonsense", Order::Ascending),
        ("+d", Order::Ascending),
        ("", Order::Ascending),
    ] {
        assert_eq!(params(&format!("order={text}")).order, order, "{text}");
    }
}

#[test]
fn every_epoch_and_location_has_a_name() {
    for (name, epoch) in [
        ("ALL", Epoch::All),
        ("MUTABLE", Epoch::Mutable),
        ("IMMUTABLE", Epoch::Immutable),
    ] {
        assert_eq!(params(&format!("epoch={name}")).epoch, epoch);
    }
    for (name, location) in [
        ("ALL", Location::All),
        ("CACHE", Location::Cache),
        ("CACHE_WRITE", Location::CacheWrite),
        ("CACHE_READ", Location::CacheRead),
        ("LONG_TERM", Location::LongTerm),
        ("LONG_TERM_SINGLE", Location::LongTermSingle),
        ("LONG_TERM_BATCH", Location::LongTermBatch),
    ] {
        assert_eq!(params(&format!("location={name}")).location, location);
    }
    for bad in ["all", "", "MUTABLE+", "EVER"] {
        for field in ["epoch", "location"] {
            let error = Params::parse(Some(&format!("{field}={bad}"))).unwrap_err();
            assert_eq!(error.field, field);
            assert_eq!(error.value, bad.replace('+', " "));
            assert!(error.rule.starts_with("one of ALL, "), "{}", error.rule);
        }
    }
    let error = Params::parse(Some("epoch=EVER")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "epoch is EVER, but must be one of ALL, MUTABLE, IMMUTABLE"
    );
}

#[test]
fn values_are_decoded() {
    for (sent, tag) in [
        ("a%2Bb", "a+b"),
        ("a+b", "a b"),
        ("%c3%A9", "é"),
        ("é", "é"),
        ("a=b", "a=b"),
        ("%4", "%4"),
        ("%", "%"),
        ("%%41", "%A"),
        ("%ff", "\u{fffd}"),
    ] {
        assert_eq!(params(&format!("tag={sent}")).tag.as_deref(), Some(tag));
    }
}

#[test]
fn a_query_is_repeated_as_it_came() {
    for query in [
        "stable=false&bulk=true",
        "bulk=true&stable=false&stable=true",
        "x&&y=&=z",
        "tag=a%2Fb+c&q=%zz",
        "a=!$'()*,;:@/?-._~",
    ] {
        assert_eq!(params(query).repeat(), format!("?{query}"));
    }
    assert_eq!(repeat(Some("")), "");
    assert_eq!(repeat(None), "");
}

#[test]
fn what_would_leave_a_header_or_json_is_encoded() {
    assert_eq!(
        params("a=\r\nX: \"<b>\\\u{7f}é{}").repeat(),
        "?a=%0D%0AX:%20%22%3Cb%3E%5C%7F%C3%A9%7B%7D"
    );
}

#[test]
fn stable_is_repeated_only_if_sent() {
    assert_eq!(params("epoch=ALL").repeat_stable(), "");
    assert_eq!(
        params("epoch=ALL&stable=TRUE").repeat_stable(),
        "?stable=true"
    );
    assert_eq!(params("stable=no&x").repeat_stable(), "?stable=false");
}

proptest! {
    #[test]
    fn any_query_is_repeated_safely(query in "\\PC*|[a-z=&%+\"\\\\<> \r\n\u{0}-\u{ff}]{0,60}") {
        let repeated = repeat(Some(&query));
        prop_assert!(repeated.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>".contains(&b)));
        prop_assert_eq!(Params::parse(Some(&query)), Params::parse(repeated.strip_prefix('?')));
    }

    #[test]
    fn the_known_parameters_of_any_query_mean_the_same_when_repeated(
        pairs in proptest::collection::vec(("(stable|tag|bulk|order|epoch)", "(true|ALL|\\PC{0,8}|%[0-9a-f]{1,3})"), 0..5)
    ) {
        let query = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
        let repeated = repeat(Some(&query));
        prop_assert_eq!(Params::parse(Some(&query)), Params::parse(repeated.strip_prefix('?')));
    }
}
