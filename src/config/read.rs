//! Reading settings from a file and the environment.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors, Origin, excerpt};
use super::kind::Raw;
use super::settings::{Config, SECTIONS, Section, Setting, all, find};
use super::{COMMAND_LINE_VARIABLES, Loaded, check, suggest};

/// A configuration in the making, with all that was found wrong so far.
#[derive(Default)]
pub(super) struct Reader {
    config: Config,
    warnings: Vec<String>,
    errors: Vec<ConfigError>,
    /// Names of settings whose values are not known, since what was given is refused.
    refused: Vec<String>,
    /// A file was named but its settings are not known.
    unread: bool,
}

impl Reader {
    /// Notes that the file cannot be read.
    pub(super) fn unreadable(&mut self, file: String, source: std::io::Error) {
        self.unread = true;
        self.errors.push(ConfigError::Unreadable { file, source });
    }

    /// Takes over what the file `source` says.
    pub(super) fn file(&mut self, source: &str, bytes: &[u8]) {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let sound =
                    String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or(&[]));
                self.unread = true;
                self.errors.push(ConfigError::Syntax {
                    origin: Document::new(source, &sound).origin(sound.len()),
                    message: "not UTF-8".to_owned(),
                });
                return;
            }
        };
        let document = Document::new(source, text);
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                self.unread = true;
                self.errors.push(ConfigError::Syntax {
                    origin: document.origin(error.span().map_or(0, |span| span.start)),
                    message: format!("not TOML: {}", excerpt(error.message())),
                });
                return;
            }
        };
        let mut entries: Vec<_> = table.iter().collect();
        // A table is sorted by key; a person reads messages in the order of the file.
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            self.file_section(&document, name, value);
        }
    }

    fn file_section(
        &mut self,
        document: &Document<'_>,
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let origin = document.origin(name.span().start);
        let written = document.written(name);
        let name = name.get_ref();
        let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
            let meant = match suggest::section(name) {
                Some(near) => Some(near.to_owned()),
                None => suggest::anywhere(name).map(Setting::name),
            };
            return self.errors.push(ConfigError::Unknown {
                origin,
                name: written,
                what: "section",
                help: help(meant, || {
                    let names: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
                    format!("the sections are {}", names.join(", "))
                }),
            });
        };
        let Some(table) = value.get_ref().as_table() else {
            self.refused
                .extend(section.settings.iter().map(Setting::name));
            return self.errors.push(ConfigError::Value {
                origin,
                name: section.name.to_owned(),
                value: document.value(value),
                rule: format!("a section: [{}]", section.name),
            });
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let origin = document.origin(key.span().start);
            let written = document.written(key);
            let key = key.get_ref();
            let Some(setting) = find(section.name, key) else {
                self.errors.push(ConfigError::Unknown {
                    origin,
                    name: format!("{}.{written}", section.name),
                    what: "setting",
                    help: help(
                        suggest::setting(section.name, key).map(Setting::name),
                        || list(section, |setting| setting.key.to_owned()),
                    ),
                });
                continue;
            };
            if !(setting.read)(&mut self.config, &Raw::File(value.get_ref())) {
                self.refuse(setting, origin, setting.name(), document.value(value));
            }
        }
    }

    /// Takes over what the environment says, which goes before the file.
    pub(super) fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        // Sorted, so that the same environment gives the same messages.
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        let mut injected = Vec::new();
        for (variable, value) in &variables {
            let Some(rest) = variable.strip_prefix("HUB_") else {
                continue;
            };
            if COMMAND_LINE_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            let setting = all().find(|setting| setting.variable() == *variable);
            if let Some(setting) = setting {
                if !(setting.read)(&mut self.config, &Raw::Environment(value)) {
                    let value = format!("\"{}\"", excerpt(value));
                    self.refuse(setting, Origin::Environment, variable.clone(), value);
                }
                continue;
            }
            if is_service_link(rest, value) {
                injected.push(variable.as_str());
                continue;
            }
            self.unknown_variable(variable, rest);
        }
        if !injected.is_empty() {
            self.warnings.push(format!(
                "not settings, but made by Kubernetes for a Service, and ignored: {}",
                injected.join(", ")
            ));
        }
    }

    /// A variable that names no setting: an error if it begins like one, since it would be missed,
    /// and else a warning, since others may use the prefix too.
    fn unknown_variable(&mut self, variable: &str, rest: &str) {
        let section = rest.split_once('_').and_then(|(section, key)| {
            let name = section.to_ascii_lowercase();
            let known = SECTIONS.iter().find(|known| known.name == name)?;
            Some((known, key))
        });
        if let Some((section, key)) = section {
            let meant = suggest::setting(section.name, key).map(Setting::variable);
            self.errors.push(ConfigError::Unknown {
                origin: Origin::Environment,
                name: excerpt(variable),
                what: "setting",
                help: help(meant, || list(section, Setting::variable)),
            });
        } else {
            let meant = suggest::variable(rest).map(Setting::variable);
            let help = help(meant, || "it is ignored".to_owned());
            let name = excerpt(variable);
            self.warnings
                .push(format!("{name} is not a setting; {help}"));
        }
    }

    /// The configuration, if nothing is wrong with it.
    pub(super) fn finish(mut self) -> Result<Loaded, ConfigErrors> {
        for clash in check::clashes(&self.config) {
            // Values that nobody gave prove nothing.
            let known = |name: &&str| !self.refused.iter().any(|refused| refused == name);
            if self.unread || !clash.settings.iter().all(known) {
                continue;
            }
            let [first, second] = clash.settings;
            self.errors.push(ConfigError::Conflict {
                first,
                first_value: self.shown(first),
                second,
                second_value: self.shown(second),
                rule: clash.rule,
            });
        }
        if !self.errors.is_empty() {
            return Err(ConfigErrors {
                errors: self.errors,
            });
        }
        self.warnings.extend(check::doubts(&self.config));
        Ok(Loaded {
            config: self.config,
            warnings: self.warnings,
        })
    }

    fn shown(&self, name: &str) -> String {
        name.split_once('.')
            .and_then(|(section, key)| find(section, key))
            .map(|setting| (setting.show)(&self.config))
            .unwrap_or_default()
    }

    fn refuse(&mut self, setting: &Setting, origin: Origin, name: String, value: String) {
        self.refused.push(setting.name());
        self.errors.push(ConfigError::Value {
            origin,
            name,
            value,
            rule: (setting.rule)(),
        });
    }
}

fn help(meant: Option<String>, otherwise: impl FnOnce() -> String) -> String {
    match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => otherwise(),
    }
}

fn list(section: &Section, name: fn(&Setting) -> String) -> String {
    if section.settings.is_empty() {
        return format!("section {} has none in this version", section.name);
    }
    let names: Vec<String> = section.settings.iter().map(name).collect();
    format!("section {} has {}", section.name, names.join(", "))
}

/// Whether the variable is one of those that Kubernetes sets in every pod for every Service: for a
/// Service named `hub` they begin with `HUB_`, and for one named `hub-peer` even with a section.
fn is_service_link(rest: &str, value: &str) -> bool {
    // `_` before it, so that an empty prefix needs no case of its own.
    let name = format!("_{rest}");
    let port = |tail: &str| {
        let (number, tail) = tail.split_once('_').unwrap_or((tail, ""));
        let protocol = tail.split('_').next().unwrap_or_default();
        !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && ["TCP", "UDP", "SCTP"].contains(&protocol)
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT") && value.contains("://")
        || name
            .match_indices("_PORT_")
            .any(|(at, found)| name.get(at + found.len()..).is_some_and(port))
}

/// A file's text, with what turns an offset into a line.
struct Document<'a> {
    source: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Document<'a> {
    fn new(source: &'a str, text: &'a str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            source,
            text,
            line_starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    fn origin(&self, offset: usize) -> Origin {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied();
        let before = self.text.get(start.unwrap_or(0)..offset);
        Origin::File {
            source: self.source.to_owned(),
            line,
            column: before.map_or(1, |before| before.chars().count() + 1),
        }
    }

    /// What is written there, short enough for a message.
    fn written<T>(&self, part: &Spanned<T>) -> String {
        excerpt(self.text.get(part.span()).unwrap_or_default())
    }

    /// The value, short enough for a message.
    fn value(&self, value: &Spanned<DeValue<'_>>) -> String {
        match value.get_ref() {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            _ => self.written(value),
        }
    }
}
