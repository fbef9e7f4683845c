//! What a client accepts, and what it therefore gets.
//!
//! Weights and parameters of `Accept` are ignored: an entry is listed or not. Entries that cannot
//! be read are skipped. So a header in which no entry can be read accepts nothing, while one that
//! is blank says nothing and accepts everything, as if it had not been sent.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::item::ContentType;

/// What an item is that was posted without a type.
const UNTYPED: &str = "application/octet-stream";

/// What the answer to a list query looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListFormat {
    /// Links to the items.
    Json,
    /// The items, one part each.
    Multipart,
    /// The items, one entry each.
    Zip,
    /// None of these is acceptable.
    NotAcceptable,
}

/// Whether an item of the `stored` type may be sent.
pub fn accepts(headers: &HeaderMap, stored: Option<&ContentType>) -> bool {
    let essence = stored.map_or(UNTYPED, ContentType::essence);
    compatible(headers, essence)
}

/// The format of the answer to a list query, `bulk` being the query's parameter.
pub fn list_format(headers: &HeaderMap, bulk: bool) -> ListFormat {
    if !["application/json", "multipart/*", "application/zip"]
        .iter()
        .any(|offered| compatible(headers, offered))
    {
        return ListFormat::NotAcceptable;
    }
    if !bulk {
        return ListFormat::Json;
    }
    // For zip it must be the whole header, so that browsers, which list much, get multipart.
    let mut entries = entries(headers);
    match (entries.next(), entries.next()) {
        (Some(only), None) if only.eq_ignore_ascii_case(b"application/zip") => ListFormat::Zip,
        _ => ListFormat::Multipart,
    }
}

/// Whether the client lists HTML by name, as browsers do, rather than by a wildcard.
///
/// What Java's HTTP client sends by itself lists HTML, too, and beside it `*`, which is no media range
/// and no browser sends: it takes anything, and is there for data.
pub fn wants_html(headers: &HeaderMap) -> bool {
    let is_html = |(kind, subtype): (&str, &str)| {
        kind.eq_ignore_ascii_case("text") && subtype.eq_ignore_ascii_case("html")
    };
    let is_star = |entry: &[u8]| entry.split(|byte| *byte == b';').next() == Some(b"*");
    entries(headers).filter_map(media_range).any(is_html) && !entries(headers).any(is_star)
}

/// Whether no type is listed, or one that goes with `offered`.
fn compatible(headers: &HeaderMap, offered: &str) -> bool {
    let (kind, subtype) = offered.split_once('/').unwrap_or((offered, "*"));
    let mut listed = entries(headers).peekable();
    listed.peek().is_none()
        || listed.filter_map(media_range).any(|(range, subrange)| {
            let same = |a: &str, b: &str| a == "*" || b == "*" || a.eq_ignore_ascii_case(b);
            range == "*" || kind == "*" || (same(range, kind) && same(subrange, subtype))
        })
}

/// The entries of all `Accept` headers that are not blank.
fn entries(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(ACCEPT)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// The type and subtype of an entry, `*` where there is no subtype; `None` if it is none.
fn media_range(entry: &[u8]) -> Option<(&str, &str)> {
    let essence = entry.split(|byte| *byte == b';').next()?;
    let essence = std::str::from_utf8(essence).ok()?;
    let (kind, subtype) = essence.split_once('/').unwrap_or((essence, ""));
    let (kind, subtype) = (kind.trim(), subtype.trim());
    let subtype = if subtype.is_empty() { "*" } else { subtype };
    (is_token(kind) && is_token(subtype)).then_some((kind, subtype))
}

/// Whether a text is a token of HTTP.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Reads any bytes as `Accept` headers, a line each, and the last line as what is stored.
///
/// # Panics
/// If what accepts everything refuses something: that is what a fuzzer looks for.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let mut lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let stored = lines.pop().unwrap_or_default();
    let stored = ContentType::parse(&String::from_utf8_lossy(stored)).ok();
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = http::HeaderValue::from_bytes(line) {
            headers.append(ACCEPT, value);
        }
    }
    let (_, _) = (wants_html(&headers), list_format(&headers, false));
    let (_, _) = (
        list_format(&headers, true),
        accepts(&headers, stored.as_ref()),
    );
    headers.append(ACCEPT, http::HeaderValue::from_static("*/*"));
    assert!(accepts(&headers, stored.as_ref()), "{headers:?}");
    assert_ne!(list_format(&headers, true), ListFormat::NotAcceptable);
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(accept: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn item_accepted(accept: &[&str], stored: &str) -> bool {
        let stored = ContentType::parse(stored).unwrap();
        accepts(&headers(accept), Some(&stored))
    }

    #[test]
    fn what_is_listed_is_accepted() {
        for (accept, stored) in [
            ("text/plain", "text/plain"),
            ("TEXT/Plain", "text/plain"),
            ("text/plain", "Text/PLAIN"),
            ("text/plain;charset=utf-8;q=0", "text/plain;charset=latin1"),
            ("text/html, text/plain", "text/plain"),
            ("text/html,text/plain ; q=0.1", "text/plain"),
            (" text / plain ", "text/plain"),
            ("*", "a/b"),
            ("*/*", "a/b"),
            ("*;q=.2", "a/b"),
            ("*/b", "a/c"),
            ("text/*", "text/plain"),
            ("text", "text/plain"),
            ("text/", "text/plain"),
            ("a/b", "*/*"),
            ("a/b", "a/*"),
            ("text/plain;;=", "text/plain"),
            ("x y, /, text/plain, ;", "text/plain"),
            (
                "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
                "application/x-any",
            ),
            ("application/vnd.x+json", "application/vnd.x+json"),
        ] {
            assert!(item_accepted(&[accept], stored), "{accept:?} of {stored:?}");
        }
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        for (accept, stored) in [
            ("text/html", "text/plain"),
            ("text/plain", "image/plain"),
            ("image/*", "text/plain"),
            ("plain", "text/plain"),
            ("/plain", "text/plain"),
            ("text plain", "text/plain"),
            ("text/plain/x", "text/plain"),
            ("text/html, image/gif", "application/json"),
            ("text/pla", "text/plain"),
            ("é/*, te\u{e9}xt", "text/plain"),
            ("nonsense here", "text/plain"),
            // Unreadable entries do not even count where a wildcard would take anything.
            ("*/a b", "text/plain"),
            ("a b/c", "*/*"),
            ("/c", "*/*"),
            (";", "text/plain"),
        ] {
            assert!(
                !item_accepted(&[accept], stored),
                "{accept:?} of {stored:?}"
            );
        }
    }

    #[test]
    fn no_accept_and_a_blank_one_accept_everything() {
        for accept in [&[][..], &[""], &["  "], &[", ,"], &["", ""]] {
            assert!(item_accepted(accept, "a/b"), "{accept:?}");
            assert_eq!(list_format(&headers(accept), false), ListFormat::Json);
            assert_eq!(list_format(&headers(accept), true), ListFormat::Multipart);
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        assert!(item_accepted(&["text/html", "text/plain"], "text/plain"));
        assert!(item_accepted(&["", "text/plain"], "text/plain"));
        assert!(!item_accepted(&["", "text/html"], "text/plain"));
        assert_eq!(
            list_format(&headers(&["application/zip", "text/html"]), true),
            ListFormat::Multipart
        );
    }

    #[test]
    fn an_item_without_type_is_bytes() {
        let accepted = |accept| accepts(&headers(&[accept]), None);
        assert!(accepted("application/octet-stream"));
        assert!(accepted("application/*"));
        assert!(!accepted("text/plain"));
    }

    #[test]
    fn lists_have_the_format_that_is_accepted() {
        use ListFormat::{Json, Multipart, NotAcceptable, Zip};
        for (accept, plain, bulk) in [
            ("application/json", Json, Multipart),
            ("*/*", Json, Multipart),
            ("application/*", Json, Multipart),
            ("multipart/mixed", Json, Multipart),
            ("multipart/*", Json, Multipart),
            ("application/zip", Json, Zip),
            (" Application/ZIP ", Json, Zip),
            ("application/zip;q=1", Json, Multipart),
            ("application/zip, */*", Json, Multipart),
            ("text/html, */*;q=0.8", Json, Multipart),
            ("text/plain", NotAcceptable, NotAcceptable),
            ("application/xml, image/*", NotAcceptable, NotAcceptable),
            ("non sense", NotAcceptable, NotAcceptable),
        ] {
            let headers = headers(&[accept]);
            assert_eq!(list_format(&headers, false), plain, "{accept}");
            assert_eq!(list_format(&headers, true), bulk, "{accept}, bulk");
        }
    }

    #[test]
    fn html_is_wanted_by_name() {
        let wants = |accept: &[&str]| wants_html(&headers(accept));
        assert!(wants(&["text/html"]));
        assert!(wants(&[
            "image/png",
            "application/xhtml+xml, TEXT/html;q=0.1"
        ]));
        assert!(!wants(&[]));
        assert!(!wants(&["*/*, text/*, text/htm"]));
        // What Java sends by itself.
        let java = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
        assert!(!wants(&[java]));
        assert_eq!(list_format(&headers(&[java]), false), ListFormat::Json);
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in proptest::collection::vec(prop_oneof![Just(b','), Just(b'/'), Just(b';'), Just(b'*'), 32u8..127, 128u8..=255], 0..40)) {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, HeaderValue::from_bytes(&bytes).unwrap());
            let untyped = accepts(&headers, None);
            let _ = wants_html(&headers);
            let _ = list_format(&headers, true);
            // One more entry never takes anything away from a list that has one.
            headers.append(ACCEPT, HeaderValue::from_static(UNTYPED));
            prop_assert!(accepts(&headers, None));
            headers.append(ACCEPT, HeaderValue::from_static("x/y"));
            prop_assert!(accepts(&headers, None) || !untyped);
        }
    }
}
