//! The content type of a file, guessed from its name.

use std::path::Path;

/// What a file is taken for whose name says nothing.
pub const UNKNOWN: &str = "application/octet-stream";

const BY_EXTENSION: [(&str, &str); 26] = [
    ("avro", "application/avro"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/x-ndjson"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("ndjson", "application/x-ndjson"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("toml", "application/toml"),
    ("txt", "text/plain"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
];

/// The content type that goes with the ending of the file's name.
pub fn guess(path: &Path) -> &'static str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .and_then(|extension| {
            BY_EXTENSION
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(extension))
        })
        .map_or(UNKNOWN, |(_, media)| media)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ContentType;

    #[test]
    fn guesses_by_the_ending() {
        for (name, media) in [
            ("a.json", "application/json"),
            ("dir.d/A.JPG", "image/jpeg"),
            ("rows.csv.gz", "application/gzip"),
            ("notes.md", "text/markdown"),
            ("Makefile", UNKNOWN),
            (".json", UNKNOWN),
            ("a.", UNKNOWN),
            ("a.weird", UNKNOWN),
        ] {
            assert_eq!(guess(Path::new(name)), media, "{name}");
        }
    }

    #[test]
    fn every_guess_is_a_content_type() {
        for (_, media) in BY_EXTENSION {
            assert!(ContentType::parse(media).is_ok(), "{media}");
        }
    }
}
