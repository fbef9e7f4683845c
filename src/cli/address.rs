//! Which URL a text on the command line means. Nothing here does I/O.

use reqwest::Url;

use super::error::CliError;

/// Reads the address of a hub, so that it ends with `/` and paths can be put behind it.
///
/// # Errors
/// Says what is wrong with the text, in words for a person.
pub fn parse_base(text: &str) -> Result<Url, String> {
    if !is_full(text) {
        return Err(format!(
            "an address starts with http:// or https://, as in http://{}",
            if text.is_empty() {
                "localhost:8080"
            } else {
                text
            }
        ));
    }
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// The URL of the path made of these segments, each escaped where it must be.
pub fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    // Only URLs that cannot have a path refuse, and those of http and https have one.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// What `hub get` is asked for: a full URL, a path on the hub (`/channel/x/latest`), or one below
/// its channels (`x/latest`). A pasted `channel/x/latest` is taken as the path that it looks like.
///
/// # Errors
/// [`CliError::NotAnAddress`] if no URL comes of it.
pub fn resolve(base: &Url, text: &str) -> Result<Url, CliError> {
    let wrong = |reason: String| CliError::NotAnAddress {
        text: text.to_owned(),
        reason,
    };
    if is_full(text) {
        return Url::parse(text).map_err(|error| wrong(error.to_string()));
    }
    if text.is_empty() || text.contains("://") {
        return Err(wrong("it is neither a path nor an http URL".to_owned()));
    }
    let relative = match text.strip_prefix('/') {
        Some(path) => path.to_owned(),
        None if text.starts_with("channel/") => text.to_owned(),
        None => format!("channel/{text}"),
    };
    // The leading `./` keeps a colon in the first segment from being read as a scheme, and a
    // second slash from being read as another host.
    base.join(&format!("./{relative}"))
        .map_err(|error| wrong(error.to_string()))
}

/// Whether the text carries its own host.
fn is_full(text: &str) -> bool {
    let starts = |scheme: &str| {
        text.get(..scheme.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    };
    starts("http://") || starts("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Url {
        parse_base(text).unwrap()
    }

    #[test]
    fn an_address_ends_with_a_slash() {
        assert_eq!(base("http://hub:8080").as_str(), "http://hub:8080/");
        assert_eq!(base("HTTPS://hub/a").as_str(), "https://hub/a/");
        assert_eq!(base("http://hub/a/?x=1#y").as_str(), "http://hub/a/");
        for bad in ["", "hub:8080", "localhost", "ftp://hub", "http://", "/x"] {
            assert!(parse_base(bad).is_err(), "{bad} was accepted");
        }
        assert!(
            parse_base("hub:8080")
                .unwrap_err()
                .contains("http://hub:8080")
        );
    }

    #[test]
    fn targets_resolve() {
        let plain = base("http://hub:8080");
        let behind = base("http://front/events");
        for (text, at_plain, at_behind) in [
            (
                "x",
                "http://hub:8080/channel/x",
                "http://front/events/channel/x",
            ),
            (
                "x/latest?stable=false",
                "http://hub:8080/channel/x/latest?stable=false",
                "http://front/events/channel/x/latest?stable=false",
            ),
            (
                "channel/x/latest",
                "http://hub:8080/channel/x/latest",
                "http://front/events/channel/x/latest",
            ),
            (
                "/health",
                "http://hub:8080/health",
                "http://front/events/health",
            ),
            ("/", "http://hub:8080/", "http://front/events/"),
            ("http://other/a", "http://other/a", "http://other/a"),
            ("HTTP://other/a", "http://other/a", "http://other/a"),
        ] {
            assert_eq!(resolve(&plain, text).unwrap().as_str(), at_plain);
            assert_eq!(resolve(&behind, text).unwrap().as_str(), at_behind);
        }
        // Whatever it is, it stays on the hub that was named.
        for odd in ["//evil/x", "a:b/c", "a b/c"] {
            assert_eq!(
                resolve(&plain, odd).unwrap().host_str(),
                Some("hub"),
                "{odd}"
            );
        }
        for bad in ["", "ftp://hub/x", "http://"] {
            assert!(resolve(&plain, bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn segments_are_escaped() {
        let url = below(&base("http://hub/a"), &["channel", "a b?#", "2024"]);
        assert_eq!(url.as_str(), "http://hub/a/channel/a%20b%3F%23/2024");
    }
}
