//! The hub's settings: what there is, where it is read from, and what is refused.
//!
//! `settings.rs` holds the one table that all else follows from. A setting comes from the
//! environment (`HUB_HTTP_LISTEN`), else from a TOML file (`listen` in `[http]`), else it has its
//! default. What is unknown or out of its range is refused, everything at once; so a [`Config`]
//! that was loaded keeps every rule of the table. One that code puts together itself need not.
//!
//! Settings are values. Clocks, stores and clients are made from them elsewhere.

mod check;
mod error;
mod kind;
mod read;
mod render;
mod settings;
mod suggest;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::{ConfigError, ConfigErrors, Origin};
pub use settings::{
    ArchiveConfig, BackupConfig, ChannelConfig, ClusterConfig, Config, Durability, HttpConfig,
    LimitsConfig, LogConfig, LogFormat, LogLevel, NodeConfig, OpsConfig, PeerConfig, ReadConfig,
    RingConfig, ShutdownConfig, SpokeConfig, TlsConfig, ZookeeperConfig,
};

/// Variables that the command line reads; they look like settings and are none.
pub const COMMAND_LINE_VARIABLES: &[&str] =
    &["HUB_URL", "HUB_CONFIG", "HUB_OPS_URL", "HUB_ADMIN_TOKEN"];

/// A configuration that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What is odd about them but not refused, each a line for the log.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the settings from `file`, if one is named, and from the environment, which goes
    /// before it. [`environment`] gives that of this process.
    ///
    /// # Errors
    /// [`ConfigErrors`] with all that is wrong: the file cannot be read or is not TOML, there are
    /// unknown sections or keys, or values break their rules or do not go together.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigErrors> {
        let mut reader = read::Reader::default();
        if let Some(path) = file {
            let name = path.display().to_string();
            match std::fs::read(path) {
                Ok(bytes) => reader.file(&name, &bytes),
                Err(error) => reader.unreadable(name, error),
            }
        }
        reader.environment(env);
        reader.finish()
    }

    /// Reads the settings from a text, given with the name that messages call it by, and from the
    /// environment, which goes before it.
    ///
    /// # Errors
    /// As [`Config::load`], but that there is no file to be read.
    pub fn parse(
        text: Option<(&str, &str)>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigErrors> {
        let mut reader = read::Reader::default();
        if let Some((source, text)) = text {
            reader.file(source, text.as_bytes());
        }
        reader.environment(env);
        reader.finish()
    }
}

/// The variables of this process that [`Config::load`] looks at. Bytes that are not UTF-8 come as
/// replacement characters, which no setting accepts.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            (name, value.to_string_lossy().into_owned())
        })
        .filter(|(name, _)| name.starts_with("HUB_"))
        .collect()
}

/// The variables of this process by which clouds' own tools find their credentials.
pub fn cloud_environment() -> Vec<(String, String)> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let clouds = ["AWS_", "GOOGLE_", "AZURE_"];
    variables
        .filter(|(name, _)| clouds.iter().any(|cloud| name.starts_with(cloud)))
        .collect()
}

/// Reads arbitrary bytes as a file and as an environment: up to the first zero byte, if there is
/// one, they are the file, and what follows (without one, everything) is a variable a line, with
/// and without `HUB_` before its name.
///
/// # Panics
/// If something is accepted that, printed and read again, is not the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let split = data.iter().position(|byte| *byte == 0);
    let file = data.get(..split.unwrap_or(data.len())).unwrap_or_default();
    let rest = split.map_or(Some(data), |at| data.get(at + 1..));
    let lines = String::from_utf8_lossy(rest.unwrap_or_default());
    let variables: Vec<(String, String)> = lines
        .lines()
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .flat_map(|(name, value)| {
            [
                (name.to_owned(), value.to_owned()),
                (format!("HUB_{name}"), value.to_owned()),
            ]
        })
        .collect();
    for (file, variables) in [
        (Some(file), Vec::new()),
        (None, variables.clone()),
        (Some(file), variables),
    ] {
        let mut reader = read::Reader::default();
        if let Some(file) = file {
            reader.file("fuzz.toml", file);
        }
        reader.environment(variables);
        match reader.finish() {
            Ok(loaded) => {
                let printed = loaded.config.to_toml();
                let again = Config::parse(Some(("printed.toml", &printed)), []);
                assert_eq!(again.map(|again| again.config).ok(), Some(loaded.config));
            }
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    }
}
