//! Where a command's results, remarks and questions go: the one place that writes to the terminal.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};

use serde::Serialize;

use super::error::CliError;

/// Results go to one stream, remarks and questions to another, answers come from a third.
pub struct Output<'a> {
    out: Box<dyn Write + 'a>,
    err: Box<dyn Write + 'a>,
    answers: Option<Box<dyn BufRead + 'a>>,
    standard: bool,
}

impl Output<'static> {
    /// The streams of the process. Questions are asked only if standard input is a terminal.
    pub fn standard() -> Self {
        Self {
            out: Box::new(BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            answers: io::stdin()
                .is_terminal()
                .then(|| Box::new(BufReader::new(io::stdin())) as Box<dyn BufRead>),
            standard: true,
        }
    }
}

impl<'a> Output<'a> {
    /// Any streams; `answers` is `None` where there is nobody to ask.
    pub fn new(
        out: impl Write + 'a,
        err: impl Write + 'a,
        answers: Option<Box<dyn BufRead + 'a>>,
    ) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            answers,
            standard: false,
        }
    }

    /// Whether these are the streams of the process.
    pub fn is_standard(&self) -> bool {
        self.standard
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// As every writing function here: [`CliError::PipeClosed`] if the reader is gone,
    /// [`CliError::File`] if the stream failed.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes).map_err(writing)
    }

    /// Writes a line.
    pub fn line(&mut self, line: impl Display) -> Result<(), CliError> {
        writeln!(self.out, "{line}").map_err(writing)
    }

    /// Writes a value as one line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(|error| writing(error.into()))?;
        self.line(text)
    }

    /// Hands on what was written so far.
    pub fn flush(&mut self) -> Result<(), CliError> {
        self.out.flush().map_err(writing)
    }

    /// Writes a remark for a person. Nobody may be there to see it, so it cannot fail.
    pub fn note(&mut self, line: impl Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// Asks a question that `y` or `yes` says yes to and anything else no; `None` if there is
    /// nobody to ask.
    pub fn ask(&mut self, question: impl Display) -> Result<Option<bool>, CliError> {
        let Some(answers) = &mut self.answers else {
            return Ok(None);
        };
        let _ = write!(self.err, "{question} [y/N] ");
        let _ = self.err.flush();
        let mut answer = String::new();
        answers
            .read_line(&mut answer)
            .map_err(|source| CliError::File {
                action: "read",
                path: "standard input".to_owned(),
                source,
            })?;
        let answer = answer.trim().to_ascii_lowercase();
        Ok(Some(answer == "y" || answer == "yes"))
    }
}

/// What a failed write means.
fn writing(source: io::Error) -> CliError {
    if source.kind() == io::ErrorKind::BrokenPipe {
        return CliError::PipeClosed;
    }
    CliError::File {
        action: "write",
        path: "standard output".to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn ask(answer: &'static str) -> (Option<bool>, String) {
        let mut err = Vec::new();
        let answers: Box<dyn BufRead> = Box::new(Cursor::new(answer));
        let said = Output::new(io::sink(), &mut err, Some(answers))
            .ask("sure?")
            .unwrap();
        (said, String::from_utf8(err).unwrap())
    }

    #[test]
    fn only_yes_is_yes() {
        assert_eq!(ask("y\n"), (Some(true), "sure? [y/N] ".to_owned()));
        assert_eq!(ask(" YES \n").0, Some(true));
        for no in ["\n", "", "n\n", "yeah\n"] {
            assert_eq!(ask(no).0, Some(false), "{no:?}");
        }
        let mut nobody = Output::new(io::sink(), io::sink(), None);
        assert_eq!(nobody.ask("sure?").unwrap(), None);
    }

    #[test]
    fn a_reader_that_left_is_told_from_a_failure() {
        struct Failing(io::ErrorKind);
        impl Write for Failing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let write = |kind| Output::new(Failing(kind), io::sink(), None).line("x");
        assert!(matches!(
            write(io::ErrorKind::BrokenPipe),
            Err(CliError::PipeClosed)
        ));
        assert!(matches!(
            write(io::ErrorKind::StorageFull),
            Err(CliError::File { .. })
        ));
    }
}
