//! "Did you mean": the setting that an unknown name was probably meant to be.

use super::settings::{SECTIONS, Setting, all, find};

/// Ends of keys that say the unit; people forget them, or take another one.
const UNITS: [&str; 9] = [
    "_ms", "_millis", "_seconds", "_secs", "_minutes", "_days", "_bytes", "_mb", "_mib",
];

/// The section that is meant by `name`.
pub(super) fn section(name: &str) -> Option<&'static str> {
    let name = plain(name);
    nearest(&name, SECTIONS.iter().map(|section| section.name))
}

/// The setting that is meant by `key` in `section`.
pub(super) fn setting(section: &str, key: &str) -> Option<&'static Setting> {
    let key = plain(key);
    if key.is_empty() {
        return None;
    }
    let here = || all().filter(|setting| setting.section == section);
    let longer = format!("{key}_");
    here()
        .find(|setting| setting.key == key || stem(setting.key) == stem(&key))
        .or_else(|| here().find(|setting| setting.key.starts_with(&longer)))
        .or_else(|| anywhere(&key))
        .or_else(|| {
            let near = nearest(stem(&key), here().map(|setting| stem(setting.key)))?;
            here().find(|setting| stem(setting.key) == near)
        })
}

/// The setting of that key, in whatever section.
pub(super) fn anywhere(key: &str) -> Option<&'static Setting> {
    let key = plain(key);
    all().find(|setting| setting.key == key)
}

/// The setting that is meant by a variable whose section is unknown; `rest` is what follows
/// `HUB_`.
pub(super) fn variable(rest: &str) -> Option<&'static Setting> {
    let (near, key) = rest.split_once('_').unwrap_or((rest, ""));
    section(near)
        .and_then(|section| find(section, &plain(key)).or_else(|| setting(section, key)))
        .or_else(|| anywhere(rest))
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

fn stem(key: &str) -> &str {
    UNITS
        .iter()
        .find_map(|unit| key.strip_suffix(unit))
        .unwrap_or(key)
}

/// The candidate that is a slip of the hand away from `word`, if there is one.
fn nearest(word: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let allowed = (word.len() / 3).clamp(1, 3);
    candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed)
        .map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many bytes must be inserted, dropped, replaced or swapped with their neighbour to get from
/// `a` to `b` (optimal string alignment).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut row = last.clone();
    for (i, x) in a.iter().enumerate() {
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let mut least = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row[j + 1] = least;
        }
        before.clone_from(&last);
        last.clone_from(&row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_slips() {
        for (a, b, expected) in [
            ("listen", "listen", 0),
            ("lisetn", "listen", 1),
            ("listn", "listen", 1),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }

    #[test]
    fn finds_what_was_meant() {
        for (section, key, meant) in [
            ("http", "lisetn", Some("http.listen")),
            ("http", "idle_timeout", Some("http.idle_timeout_ms")),
            ("http", "idle_timeout_seconds", Some("http.idle_timeout_ms")),
            ("http", "item_bytes", Some("limits.item_bytes")),
            ("http", "idel_timeout", Some("http.idle_timeout_ms")),
            ("node", "data-dir", Some("node.data_dir")),
            ("spoke", "Durability", Some("spoke.durability")),
            ("http", "threads", None),
            ("http", "", None),
            ("peer", "secret", None),
        ] {
            let found = setting(section, key).map(Setting::name);
            assert_eq!(found.as_deref(), meant, "{section}.{key}");
        }
        assert_eq!(section("htpp"), Some("http"));
        assert_eq!(section("Spokes"), Some("spoke"));
        assert_eq!(section("database"), None);
        let meant = |rest| variable(rest).map(Setting::variable);
        assert_eq!(meant("HTPP_LISTEN").as_deref(), Some("HUB_HTTP_LISTEN"));
        assert_eq!(meant("DATA_DIR").as_deref(), Some("HUB_NODE_DATA_DIR"));
        assert_eq!(meant("SERVICE_HOST"), None);
    }
}
