//! Why a configuration is refused.

use std::borrow::Cow;

use thiserror::Error;

use crate::channel::name::{ChannelName, NameError};

/// The longest part of a refused value that is repeated to the client, in characters.
const SHOWN_CHARS: usize = 100;

/// Why a channel cannot be configured as asked.
///
/// Its text is for a person; [`Self::field`], [`Self::value`] and [`Self::rule`] say the same to a
/// program. Values are cut short where they are long.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The body is not JSON.
    #[error("Expected a JSON object: {reason}")]
    Malformed {
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The body is JSON, but no object.
    #[error("Expected a JSON object, not {value}")]
    NotAnObject {
        /// What it is.
        value: String,
    },
    /// There is no name, neither in the body nor in the path.
    #[error("name is required")]
    NameMissing,
    /// A field breaks its rule.
    #[error("{field} must be {rule}")]
    Field {
        /// The field's name in JSON.
        field: &'static str,
        /// What it was to be.
        value: String,
        /// What it must be.
        rule: Cow<'static, str>,
    },
    /// More than one rule of retention would be in force.
    #[error("Only one of ttlDays, maxItems and mutableTime can be defined")]
    Retention {
        /// The fields in conflict, separated by commas.
        fields: String,
        /// Their values, in the same order.
        values: String,
    },
    /// There is a channel of that name already.
    #[error("channel {name} already exists")]
    NameTaken {
        /// The name, in the spelling of the channel that exists.
        name: ChannelName,
    },
    /// The channel is protected, and the change is one that protection forbids.
    #[error("{field} of a protected channel cannot be changed: {rule}")]
    Protected {
        /// The field's name in JSON.
        field: &'static str,
        /// What it was to become.
        value: String,
        /// What protection allows.
        rule: Cow<'static, str>,
    },
}

/// What a client can do about a [`ConfigError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Send something else: the request is wrong in itself.
    Invalid,
    /// Take another name, or change what is there.
    Conflict,
    /// Nothing, from where it calls.
    Forbidden,
}

impl ConfigError {
    /// What kind of answer it calls for.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. }
            | Self::NotAnObject { .. }
            | Self::NameMissing
            | Self::Field { .. }
            | Self::Retention { .. } => ErrorKind::Invalid,
            Self::NameTaken { .. } => ErrorKind::Conflict,
            Self::Protected { .. } => ErrorKind::Forbidden,
        }
    }

    /// The message for a person.
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// The field that it is about, if it is about one; several of them separated by commas.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Malformed { .. } | Self::NotAnObject { .. } => None,
            Self::NameMissing | Self::NameTaken { .. } => Some("name"),
            Self::Field { field, .. } | Self::Protected { field, .. } => Some(field),
            Self::Retention { fields, .. } => Some(fields),
        }
    }

    /// The value that is refused, cut short if it is long; `None` if there is none.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Malformed { .. } | Self::NameMissing => None,
            Self::NotAnObject { value }
            | Self::Field { value, .. }
            | Self::Protected { value, .. } => Some(value),
            Self::Retention { values, .. } => Some(values),
            Self::NameTaken { name } => Some(name.as_str()),
        }
    }

    /// What is allowed instead.
    pub fn rule(&self) -> &str {
        match self {
            Self::Malformed { .. } | Self::NotAnObject { .. } => "a JSON object",
            Self::NameMissing => NAME_LENGTH,
            Self::Field { rule, .. } | Self::Protected { rule, .. } => rule,
            Self::Retention { .. } => {
                "at most one: in the same request, send 0 for the others, or \"\" for mutableTime"
            }
            Self::NameTaken { .. } => "unique among channels, in any case",
        }
    }

    /// A field that breaks its rule.
    pub(super) fn broken(
        field: &'static str,
        value: &str,
        rule: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Field {
            field,
            value: shown(value),
            rule: rule.into(),
        }
    }

    /// A name that is none.
    pub(super) fn bad_name(text: &str, error: NameError) -> Self {
        let rule = match error {
            NameError::Blank | NameError::TooLong { .. } => NAME_LENGTH,
            NameError::Characters => "made of A-Z, a-z, 0-9, _ and - only",
        };
        Self::broken("name", text, rule)
    }
}

const NAME_LENGTH: &str = "1 to 48 characters long";

/// The value, or its beginning and its length: nobody wants a megabyte of it back.
pub(super) fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        None => value.to_owned(),
        Some((end, _)) => format!(
            "{}… ({} characters)",
            value.get(..end).unwrap_or_default(),
            value.chars().count()
        ),
    }
}
