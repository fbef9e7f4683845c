//! Settings as TOML.

use std::fmt::Write as _;

use super::settings::{Config, SECTIONS};

const HEAD: &str = "\
# The settings of the hub, each with its default.
#
# The hub reads such a file with `hub serve --config FILE` or HUB_CONFIG. A setting that is left
# out has its default; an unknown one is refused. The environment goes before the file: listen of
# [http] is HUB_HTTP_LISTEN there. `hub config check` says what is wrong with a file, and
# `hub config print` what is in force.
#
# Sizes are a number of bytes or a text with a unit: \"256 MiB\" (1024s) or \"1GB\" (1000s).
";

impl Config {
    /// Every setting with its value, as TOML that [`Config::parse`] reads back to an equal
    /// configuration. What is not the default has the default in a comment.
    pub fn to_toml(&self) -> String {
        let default = Self::default();
        // Writing to a string cannot fail, here and below.
        let mut out = String::new();
        for section in SECTIONS.iter().filter(|s| !s.settings.is_empty()) {
            if !out.is_empty() {
                out.push('\n');
            }
            let _ = writeln!(out, "[{}]", section.name);
            for setting in section.settings {
                let (value, usual) = ((setting.show)(self), (setting.show)(&default));
                let _ = write!(out, "{} = {value}", setting.key);
                if value != usual {
                    let _ = write!(out, " # default: {usual}");
                }
                out.push('\n');
            }
        }
        out
    }

    /// The file that documents every setting, with its default: what `config/hub.toml` holds.
    pub fn reference() -> String {
        let default = Self::default();
        let mut out = HEAD.to_owned();
        for section in SECTIONS {
            out.push('\n');
            comment(&mut out, section.doc);
            let _ = writeln!(out, "[{}]", section.name);
            for setting in section.settings {
                out.push('\n');
                comment(&mut out, setting.doc);
                let _ = writeln!(out, "# Allowed: {}.", (setting.rule)());
                let _ = writeln!(out, "{} = {}", setting.key, (setting.show)(&default));
            }
        }
        out
    }
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(out, "#{line}");
    }
}
