//! What is wrong with a configuration.

use std::fmt;

use thiserror::Error;

/// Everything that is wrong with a configuration, one line each when printed.
#[derive(Debug, Error)]
#[error("{}", lines(.errors))]
pub struct ConfigErrors {
    /// At least one: those of the file in its order, then those of the environment, then those
    /// between settings.
    pub errors: Vec<ConfigError>,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// Its path.
        file: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}{message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// A section or key that the hub does not have. Its value is not repeated: it may be a secret
    /// that was put in the wrong place.
    #[error("{origin}{name} is not a {what}; {help}")]
    Unknown {
        /// Where.
        origin: Origin,
        /// The key with its section, or the variable.
        name: String,
        /// `section` or `setting`.
        what: &'static str,
        /// What was probably meant, or what there is.
        help: String,
    },
    /// A value that its setting does not allow.
    #[error("{origin}{name} is {value}, but must be {rule}")]
    Value {
        /// Where.
        origin: Origin,
        /// The key with its section, or the variable.
        name: String,
        /// The value, cut if it is long.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// Two values that are allowed, but not together.
    #[error("{first} = {first_value} with {second} = {second_value}: {rule}")]
    Conflict {
        /// One setting.
        first: &'static str,
        /// Its value.
        first_value: String,
        /// The other setting.
        second: &'static str,
        /// Its value.
        second_value: String,
        /// What is allowed.
        rule: &'static str,
    },
}

/// Where a key or value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file. Lines and columns count from 1, columns in characters.
    File {
        /// The file's name.
        source: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In the environment.
    Environment,
}

/// What stands before a message: `hub.toml:3:1: `, or nothing where a variable names itself.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                source,
                line,
                column,
            } => write!(f, "{source}:{line}:{column}: "),
            Self::Environment => Ok(()),
        }
    }
}

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A text from outside, fit for a message: on one line and not too long.
pub(super) fn excerpt(text: &str) -> String {
    const MAX: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    let mut out = String::new();
    for c in line.chars().take(MAX) {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if line.chars().nth(MAX).is_some() || line.len() < text.trim_end().len() {
        out.push('…');
    }
    out
}
