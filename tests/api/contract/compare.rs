//! What an answer is, held against what was expected of it.

use serde_json::Value;

use super::row::Expected;
use super::world::World;
use crate::harness::{Answer, VERSION};

/// Stands for anything; alone, for anything but nothing.
const ANY: &str = "…";
/// Stands for any number.
const NUMBER: &str = "#";

/// So many characters of a text are shown.
pub const SHOWN: usize = 500;

/// What every answer has, and what none has.
pub fn common(world: &World, answer: &Answer, wrong: &mut Vec<String>) {
    let server = format!("Hub/{VERSION}");
    let node = world.filled("{node}");
    for (name, value) in [
        ("server", server.as_str()),
        ("hub-node", &node),
        ("access-control-allow-origin", "*"),
        (
            "access-control-allow-headers",
            "origin, content-type, accept, authorization",
        ),
        (
            "access-control-allow-methods",
            "GET, POST, PUT, DELETE, OPTIONS, HEAD",
        ),
    ] {
        header(answer, name, &[value], wrong);
    }
    for name in ["cache-control", "etag", "last-modified"] {
        header(answer, name, &[], wrong);
    }
}

/// Adds what is not as expected.
pub fn one(world: &World, expected: &Expected, answer: &Answer, wrong: &mut Vec<String>) {
    match expected {
        Expected::Header(name, value) => header(answer, name, &[&world.filled(value)], wrong),
        Expected::NoHeader(name) => header(answer, name, &[], wrong),
        Expected::Headers(name, values) => {
            let values: Vec<String> = values.iter().map(|value| world.filled(value)).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            header(answer, name, &values, wrong);
        }
        Expected::Text(text) => {
            let (text, is) = (world.filled(text), answer.text_lossy());
            if !matches(&text, &is) {
                let text: String = text.chars().take(SHOWN).collect();
                wrong.push(format!("body: not {text:?}"));
            }
        }
        Expected::Json(text) => {
            let text = world.filled(text);
            let expected: Value = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("a row expects what is no JSON: {error}: {text}"));
            if let Some(is) = body(answer, wrong) {
                differences("body", &expected, &is, wrong);
            }
        }
        Expected::Keys(of, names) => {
            let Some(is) = body(answer, wrong) else {
                return;
            };
            let is = if of.is_empty() { &is } else { &is[*of] };
            let mut is: Vec<&str> = match is {
                Value::Object(fields) => fields.keys().map(String::as_str).collect(),
                _ => Vec::new(),
            };
            let mut names: Vec<&str> = names.split_whitespace().collect();
            is.sort_unstable();
            names.sort_unstable();
            if is != names {
                wrong.push(format!("fields of {of:?}: {is:?} and not {names:?}"));
            }
        }
        Expected::Lists(items, query) => {
            let url = |item| world.filled(&format!("{{{item}.url}}{query}"));
            let expected: Vec<Value> = items.split_whitespace().map(url).map(Value::from).collect();
            if let Some(is) = body(answer, wrong) {
                differences("uris", &expected.into(), &is["_links"]["uris"], wrong);
            }
        }
    }
}

/// The values of a header: as many as these, each as it is expected.
fn header(answer: &Answer, name: &str, values: &[&str], wrong: &mut Vec<String>) {
    let is = answer.headers_of(name);
    let same = is.len() == values.len() && values.iter().zip(&is).all(|(v, is)| matches(v, is));
    if !same {
        wrong.push(format!("header {name}: {is:?} and not {values:?}"));
    }
}

/// The body as JSON, under exactly JSON's name.
fn body(answer: &Answer, wrong: &mut Vec<String>) -> Option<Value> {
    header(answer, "content-type", &["application/json"], wrong);
    let parsed = serde_json::from_slice(&answer.body);
    parsed
        .map_err(|error| wrong.push(format!("body: no JSON: {error}")))
        .ok()
}

/// Whether a text is one of those that a pattern stands for.
fn matches(pattern: &str, text: &str) -> bool {
    if pattern == ANY {
        return !text.is_empty();
    }
    let Some((start, rest)) = pattern.split_once(ANY) else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split(ANY).collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, behind)) = text.split_once(part) else {
            return false;
        };
        text = behind;
    }
    text.ends_with(end)
}

fn differences(at: &str, expected: &Value, is: &Value, wrong: &mut Vec<String>) {
    match (expected, is) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, field) in fields {
                differences(&format!("{at}.{name}"), field, &is[name], wrong);
            }
        }
        (Value::Array(some), Value::Array(all))
            if some.first().is_some_and(|first| first == ANY) =>
        {
            for one in &some[1..] {
                let mut unlike = Vec::new();
                let found = all.iter().any(|is| {
                    unlike.clear();
                    differences(at, one, is, &mut unlike);
                    unlike.is_empty()
                });
                if !found {
                    wrong.push(format!("{at}: no {one} in {is}"));
                }
            }
        }
        (Value::Array(some), Value::Array(all)) if some.len() == all.len() => {
            for (number, (one, is)) in some.iter().zip(all).enumerate() {
                differences(&format!("{at}[{number}]"), one, is, wrong);
            }
        }
        (Value::String(pattern), Value::String(text)) if matches(pattern, text) => {}
        (Value::String(pattern), is) if pattern == ANY && !is.is_null() && is != "" => {}
        (Value::String(pattern), Value::Number(_)) if pattern == NUMBER => {}
        (expected, is) if expected == is => {}
        (expected, is) => wrong.push(format!("{at}: {is} and not {expected}")),
    }
}

#[test]
fn patterns_stand_for_texts() {
    for (pattern, text, is) in [
        ("", "", true),
        ("a", "a", true),
        ("a", "ab", false),
        ("…", "", false),
        ("…", "a", true),
        ("a…", "a", true),
        ("a…", "ab", true),
        ("a…", "ba", false),
        ("…b", "ab", true),
        ("a…b…c", "a-b-c", true),
        ("a…b…c", "a-c-b", false),
        ("ab…ba", "aba", false),
    ] {
        assert_eq!(matches(pattern, text), is, "{pattern} {text}");
    }
}

#[test]
fn json_may_have_more_than_was_expected() {
    for (expected, is, count) in [
        (r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#, 0),
        (r#"{"a": 1, "b": 2}"#, r#"{"a": 2}"#, 2),
        (r#"{"a": null}"#, "{}", 0),
        (r#"{"a": null}"#, r#"{"a": 1}"#, 1),
        (r#"{"a": "…"}"#, r#"{"a": []}"#, 0),
        (r#"{"a": "…"}"#, "{}", 1),
        (r#"{"a": "…"}"#, r#"{"a": ""}"#, 1),
        (r##"{"a": "#"}"##, r#"{"a": 1}"#, 0),
        (r##"{"a": "#"}"##, r#"{"a": "1"}"#, 1),
        ("[1, 2]", "[1, 2]", 0),
        ("[1, 2]", "[2, 1]", 2),
        ("[1]", "[1, 2]", 1),
        (r#"["…", {"a": 2}]"#, r#"[{"a": 1}, {"a": 2, "b": 3}]"#, 0),
        (r#"["…", 3]"#, "[1, 2]", 1),
        ("[]", "[1]", 1),
    ] {
        let parse = |text| serde_json::from_str(text).unwrap();
        let mut wrong = Vec::new();
        differences("", &parse(expected), &parse(is), &mut wrong);
        assert_eq!(wrong.len(), count, "{expected} {is}: {wrong:?}");
    }
}
