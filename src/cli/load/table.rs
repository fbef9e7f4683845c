//! Tables: CSV files read row by row, and their rows as JSON.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::cli::error::CliError;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A row as a JSON object: a field for each column, in the order of the columns.
pub struct Row<'a> {
    /// The names of the columns.
    pub columns: &'a StringRecord,
    /// The row's values.
    pub values: &'a StringRecord,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, value) in self.columns.iter().zip(self.values) {
            map.serialize_key(column)?;
            match Cell::of(value) {
                Cell::Nothing => map.serialize_value(&())?,
                Cell::Integer(number) => map.serialize_value(&number)?,
                Cell::Decimal(number) => map.serialize_value(&number)?,
                Cell::Text(text) => map.serialize_value(text)?,
            }
        }
        map.end()
    }
}

/// What a field of a table says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell<'a> {
    Nothing,
    Integer(i64),
    Decimal(f64),
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// Nothing is an empty field, or `NA` as statistics packages write it. A number is what looks
    /// as it would in JSON, without an exponent: `007` is a text.
    fn of(text: &'a str) -> Self {
        if matches!(text, "" | "NA") {
            return Self::Nothing;
        }
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (unsigned, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let padded = whole.len() > 1 && whole.starts_with('0');
        if !digits(whole) || padded || !fraction.is_none_or(digits) {
            return Self::Text(text);
        }
        match fraction {
            None => text.parse().map_or(Self::Text(text), Self::Integer),
            Some(_) => text.parse().map_or(Self::Text(text), Self::Decimal),
        }
    }
}

/// A CSV file that is read row by row, plain or gzipped: its first bytes say which.
pub struct Table {
    path: String,
    reader: csv::Reader<Box<dyn Read + Send>>,
    columns: StringRecord,
}

impl Table {
    /// Opens a table and reads the names of its columns.
    ///
    /// # Errors
    /// [`CliError::File`] or [`CliError::Table`] if that cannot be done.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let file = File::open(path).map_err(|source| reading(path, source))?;
        Self::of(path, file)
    }

    /// Reads a table from its bytes; `path` names it in errors.
    fn of(path: &Path, bytes: impl Read + Send + 'static) -> Result<Self, CliError> {
        let mut bytes = BufReader::with_capacity(64 * 1024, bytes);
        let start = bytes.fill_buf().map_err(|source| reading(path, source))?;
        let content: Box<dyn Read + Send> = if start.starts_with(&GZIP_MAGIC) {
            Box::new(MultiGzDecoder::new(bytes))
        } else {
            Box::new(bytes)
        };
        let mut reader = csv::Reader::from_reader(content);
        let path = path.display().to_string();
        let columns = reader.headers().map_err(|error| broken(&path, &error))?;
        let columns = columns.clone();
        Ok(Self {
            path,
            reader,
            columns,
        })
    }

    /// The names of its columns.
    pub fn columns(&self) -> &StringRecord {
        &self.columns
    }

    /// Where the column of that name is.
    ///
    /// # Errors
    /// [`CliError::Table`] if there is none.
    pub fn column(&self, name: &str) -> Result<usize, CliError> {
        let found = self.columns.iter().position(|column| column == name);
        found.ok_or_else(|| CliError::Table {
            path: self.path.clone(),
            reason: format!("it has no column {name:?}"),
        })
    }

    /// Reads the next row; false at the end.
    ///
    /// # Errors
    /// [`CliError::Table`] if the row is not as long as the first, or the file is damaged.
    pub fn next(&mut self, row: &mut StringRecord) -> Result<bool, CliError> {
        let read = self.reader.read_record(row);
        read.map_err(|error| broken(&self.path, &error))
    }
}

fn reading(path: &Path, source: io::Error) -> CliError {
    CliError::File {
        action: "read",
        path: path.display().to_string(),
        source,
    }
}

fn broken(path: &str, error: &csv::Error) -> CliError {
    CliError::Table {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const TABLE: &str = "year,dep_time,carrier,tailnum,air_time,time_hour\n\
        2013,517,UA,N14228,227.5,2013-01-01T10:00:00Z\n\
        2013,,AA,007,-4,\"a \"\"b\"\", c\"\n";

    fn objects(bytes: Vec<u8>) -> Result<Vec<String>, CliError> {
        let mut table = Table::of(Path::new("t.csv"), Cursor::new(bytes))?;
        let mut values = StringRecord::new();
        let mut objects = Vec::new();
        while table.next(&mut values)? {
            let row = Row {
                columns: table.columns(),
                values: &values,
            };
            objects.push(serde_json::to_string(&row).unwrap());
        }
        Ok(objects)
    }

    fn gzipped(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn rows_become_objects_in_the_order_of_the_columns() {
        let expected = [
            r#"{"year":2013,"dep_time":517,"carrier":"UA","tailnum":"N14228","air_time":227.5,"time_hour":"2013-01-01T10:00:00Z"}"#,
            r#"{"year":2013,"dep_time":null,"carrier":"AA","tailnum":"007","air_time":-4,"time_hour":"a \"b\", c"}"#,
        ];
        assert_eq!(objects(TABLE.into()).unwrap(), expected);
        assert_eq!(objects(gzipped(TABLE)).unwrap(), expected);
        let two_members = [gzipped(&TABLE[..60]), gzipped(&TABLE[60..])].concat();
        assert_eq!(objects(two_members).unwrap(), expected);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert!(objects(b"a,b\n1\n".to_vec()).is_err());
        let mut cut = gzipped(TABLE);
        cut.truncate(cut.len() / 2);
        assert!(objects(cut).is_err());
        let table = Table::of(Path::new("t.csv"), Cursor::new("a,b\n")).unwrap();
        assert!(table.column("carrier").is_err());
    }

    #[test]
    fn cells_are_numbers_only_if_nothing_is_lost() {
        for (text, cell) in [
            ("", Cell::Nothing),
            ("NA", Cell::Nothing),
            ("0", Cell::Integer(0)),
            ("-17", Cell::Integer(-17)),
            ("0.5", Cell::Decimal(0.5)),
        ] {
            assert_eq!(Cell::of(text), cell, "{text}");
        }
        for text in [
            "007",
            "-",
            ".",
            "1.",
            ".5",
            "1e5",
            "NaN",
            "inf",
            "+1",
            "1 ",
            "0x1",
            "00",
            "99999999999999999999",
        ] {
            assert_eq!(Cell::of(text), Cell::Text(text));
        }
    }
}
