//! The kinds of values that settings have: how each is read, shown, and described.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;
use toml::de::DeValue;

/// A value as it was given.
pub(super) enum Raw<'a> {
    /// From the environment, where everything is text.
    Environment(&'a str),
    /// From the file, where a number in quotes is not a number.
    File(&'a DeValue<'a>),
}

impl<'a> Raw<'a> {
    fn text(&self) -> Option<&'a str> {
        match self {
            Raw::Environment(text) => Some(text),
            Raw::File(value) => value.as_str(),
        }
    }

    fn whole(&self) -> Option<u64> {
        match self {
            Raw::Environment(text) => digits(text),
            Raw::File(DeValue::Integer(number)) => {
                u64::from_str_radix(number.as_str(), number.radix()).ok()
            }
            Raw::File(_) => None,
        }
    }
}

/// How values of one type are read, shown and described.
pub(super) trait Kind<T> {
    /// The value, if it keeps the rule.
    fn read(&self, raw: &Raw<'_>) -> Option<T>;
    /// The value as TOML, which [`Self::read`] takes back.
    fn show(&self, value: &T) -> String;
    /// What is allowed, to stand behind "must be".
    fn rule(&self) -> String;
}

/// A whole number, in a unit that the setting's name ends with.
pub(super) struct Whole {
    pub(super) unit: &'static str,
    low: u64,
    high: u64,
    divides: Option<u64>,
}

/// A number of things.
pub(super) const fn count(low: u64, high: u64) -> Whole {
    Whole::new("", low, high)
}

/// A time in milliseconds.
pub(super) const fn millis(low: u64, high: u64) -> Whole {
    Whole::new("milliseconds", low, high)
}

/// A time in seconds.
pub(super) const fn seconds(low: u64, high: u64) -> Whole {
    Whole::new("seconds", low, high)
}

/// A time in minutes.
pub(super) const fn minutes(low: u64, high: u64) -> Whole {
    Whole::new("minutes", low, high)
}

/// A time in days.
pub(super) const fn days(low: u64, high: u64) -> Whole {
    Whole::new("days", low, high)
}

impl Whole {
    const fn new(unit: &'static str, low: u64, high: u64) -> Self {
        Self {
            unit,
            low,
            high,
            divides: None,
        }
    }

    /// Only numbers that divide `whole` without a remainder.
    pub(super) const fn dividing(mut self, whole: u64) -> Self {
        self.divides = Some(whole);
        self
    }
}

impl<T: TryFrom<u64> + Display> Kind<T> for Whole {
    fn read(&self, raw: &Raw<'_>) -> Option<T> {
        let number = raw.whole()?;
        let in_range = (self.low..=self.high).contains(&number);
        let divides = self
            .divides
            .is_none_or(|whole| whole.checked_rem(number) == Some(0));
        (in_range && divides).then(|| T::try_from(number).ok())?
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }

    fn rule(&self) -> String {
        let of = if self.unit.is_empty() { "" } else { " of " };
        let divides = self
            .divides
            .map(|whole| format!(" that divides {whole}"))
            .unwrap_or_default();
        format!(
            "a whole number{of}{} from {} to {}{divides}",
            self.unit, self.low, self.high
        )
    }
}

const UNITS: [(&str, u64); 9] = [
    ("TiB", TIB),
    ("GiB", GIB),
    ("MiB", MIB),
    ("KiB", KIB),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// 1024 bytes.
pub(super) const KIB: u64 = 1 << 10;
/// 1024 of those.
pub(super) const MIB: u64 = 1 << 20;
/// 1024 of those.
pub(super) const GIB: u64 = 1 << 30;
/// 1024 of those.
pub(super) const TIB: u64 = 1 << 40;

/// A size in bytes: a number of them, or a text such as `"256 MiB"`.
pub(super) struct Size {
    low: u64,
    high: u64,
}

/// A size in bytes.
pub(super) const fn size(low: u64, high: u64) -> Size {
    Size { low, high }
}

impl Kind<u64> for Size {
    fn read(&self, raw: &Raw<'_>) -> Option<u64> {
        let bytes = raw.whole().or_else(|| parse_size(raw.text()?))?;
        (self.low..=self.high).contains(&bytes).then_some(bytes)
    }

    fn show(&self, value: &u64) -> String {
        match tidy_size(*value) {
            Some(tidy) => format!("\"{tidy}\""),
            None => value.to_string(),
        }
    }

    fn rule(&self) -> String {
        let plain = |bytes| tidy_size(bytes).unwrap_or_else(|| format!("{bytes} B"));
        format!(
            "a size from {} to {}: a number of bytes, or such as \"256 MiB\" or \"1GB\"",
            plain(self.low),
            plain(self.high)
        )
    }
}

/// The size as a whole number of the largest binary unit, if there is one.
fn tidy_size(bytes: u64) -> Option<String> {
    let (unit, factor) = UNITS
        .iter()
        .filter(|(unit, _)| unit.ends_with("iB"))
        .find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor))?;
    Some(format!("{} {unit}", bytes / factor))
}

fn parse_size(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    digits(number.trim_end_matches(' '))?.checked_mul(*factor)
}

/// Decimal digits, with underscores between them as TOML allows, so that a number can be carried
/// over from the file.
fn digits(text: &str) -> Option<u64> {
    if text
        .split('_')
        .any(|part| part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// `true` or `false`.
pub(super) struct Switch;

impl Kind<bool> for Switch {
    fn read(&self, raw: &Raw<'_>) -> Option<bool> {
        match raw {
            Raw::Environment(text) => text.parse().ok(),
            Raw::File(value) => value.as_bool(),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn rule(&self) -> String {
        "true or false".to_owned()
    }
}

/// An enumeration whose values have names.
pub(super) trait Choice: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// The name in the configuration.
    fn choice_name(self) -> &'static str;
}

/// One of a few names.
pub(super) struct OneOf;

impl<T: Choice> Kind<T> for OneOf {
    fn read(&self, raw: &Raw<'_>) -> Option<T> {
        let text = raw.text()?;
        T::ALL
            .iter()
            .copied()
            .find(|choice| choice.choice_name() == text)
    }

    fn show(&self, value: &T) -> String {
        quoted(value.choice_name())
    }

    fn rule(&self) -> String {
        let names: Vec<String> = T::ALL
            .iter()
            .map(|choice| quoted(choice.choice_name()))
            .collect();
        match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

/// Where to listen.
pub(super) struct Address;

impl Kind<SocketAddr> for Address {
    fn read(&self, raw: &Raw<'_>) -> Option<SocketAddr> {
        raw.text()?.parse().ok()
    }

    fn show(&self, value: &SocketAddr) -> String {
        quoted(&value.to_string())
    }

    fn rule(&self) -> String {
        "an IP address and a port, such as \"0.0.0.0:8080\" or \"[::1]:8080\"".to_owned()
    }
}

/// The path of a file or folder.
pub(super) struct FilePath;

impl Kind<PathBuf> for FilePath {
    fn read(&self, raw: &Raw<'_>) -> Option<PathBuf> {
        let text = raw.text()?;
        // The replacement character stands for bytes of the environment that were not UTF-8: the
        // path that was meant is no longer known.
        let odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        (!text.is_empty() && !text.contains(odd)).then(|| PathBuf::from(text))
    }

    fn show(&self, value: &PathBuf) -> String {
        quoted(&value.to_string_lossy())
    }

    fn rule(&self) -> String {
        "a path in UTF-8 without control characters".to_owned()
    }
}

/// A text that a function checks.
pub(super) struct Text {
    /// The text as it is kept; `None` if it breaks the rule.
    pub(super) check: fn(&str) -> Option<String>,
    /// The rule.
    pub(super) rule: &'static str,
}

impl Kind<String> for Text {
    fn read(&self, raw: &Raw<'_>) -> Option<String> {
        (self.check)(raw.text()?)
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }

    fn rule(&self) -> String {
        self.rule.to_owned()
    }
}

/// The name of a cluster, which becomes a part of paths and of metrics.
pub(super) const CLUSTER_NAME: Text = Text {
    check: |text| {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=63).contains(&text.len()) && text.bytes().all(ok)).then(|| text.to_owned())
    },
    rule: "1 to 63 characters of a-z, 0-9 and -",
};

/// A host name or IPv4 address.
pub(super) const HOST_NAME: Text = Text {
    check: |text| {
        let character = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(character);
        (text.len() <= 253 && text.split('.').all(label)).then(|| text.to_owned())
    },
    rule: "a host name: labels of letters, digits, - and _ with dots between them",
};

/// Servers to connect to, with commas between them.
pub(super) const SERVERS: Text = Text {
    check: |text| {
        let server = |server: &str| {
            let (host, port) = server.rsplit_once(':')?;
            let port: u16 = port.parse().ok()?;
            let uri: Uri = format!("http://{host}:{port}/").parse().ok()?;
            (port > 0 && uri.host() == Some(host) && !host.is_empty()).then_some(())
        };
        let servers: Vec<&str> = text.split(',').map(str::trim).collect();
        let all = servers.iter().all(|text| server(text).is_some());
        all.then(|| servers.join(","))
    },
    rule: "servers as host:port with commas between them, such as \"zk1:2181,zk2:2181\"",
};

/// The base of links, kept without the slash at its end.
pub(super) const BASE_URL: Text = Text {
    check: |text| {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        // What the parser takes as an authority may still hold a user's name or an absurd port.
        let host = match uri.port_u16() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        let ok = matches!(uri.scheme_str(), Some("http" | "https"))
            && !authority.host().is_empty()
            && authority.as_str() == host
            && !text.contains(['?', '#']);
        ok.then(|| text.trim_end_matches('/').to_owned())
    },
    rule: "an http or https URL without user, query and fragment, such as \
           \"https://hub.example.com\"",
};

/// Where an object store is, kept without the slash at its end.
pub(super) const STORE_URL: Text = Text {
    check: |text| {
        let schemes = ["s3://", "gs://", "az://", "file:///"];
        let rest = schemes
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))?;
        let ok = !rest.is_empty() && !rest.starts_with('/') && !text.contains(['?', '#', '@']);
        ok.then(|| text.trim_end_matches('/').to_owned())
    },
    rule: "s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, az://CONTAINER/FOLDER or file:///FOLDER",
};

/// A kind whose empty text means that there is no value.
pub(super) struct Optional<K>(pub(super) K);

impl<T, K: Kind<T>> Kind<Option<T>> for Optional<K> {
    fn read(&self, raw: &Raw<'_>) -> Option<Option<T>> {
        if raw.text() == Some("") {
            return Some(None);
        }
        self.0.read(raw).map(Some)
    }

    fn show(&self, value: &Option<T>) -> String {
        match value {
            Some(value) => self.0.show(value),
            None => quoted(""),
        }
    }

    fn rule(&self) -> String {
        format!("{}; or \"\"", self.0.rule())
    }
}

/// A text as TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
