//! What ends a scenario early.

use std::fmt;

/// A scenario did not go as it must; the text is for a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl Failure {
    /// A failure with that text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The outcome of a step.
pub type Outcome<T> = Result<T, Failure>;

/// Fails with that text unless the condition holds.
///
/// # Errors
/// The [`Failure`].
pub fn ensure(holds: bool, text: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(Failure(text())) }
}
