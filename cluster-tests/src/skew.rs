//! Clocks that are off: a hub that was built with the feature `faults` follows a file.

use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::wait::until;

/// Names the file to the hub.
pub const VARIABLE: &str = "FAULTS_FILE";
/// The hub looks many times a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sets the wall clock of the hub that follows that file so many milliseconds ahead, or back. One
/// that runs has taken it over when this returns.
///
/// # Errors
/// [`Failure`] if it does not.
pub async fn set(file: &Path, millis: i64, runs: bool) -> Outcome<()> {
    let text = format!("clock_offset_ms = {millis}\n");
    // The hub must not read a half of it.
    let whole = file.with_extension("new");
    std::fs::write(&whole, &text)?;
    std::fs::rename(&whole, file)?;
    if !runs {
        return Ok(());
    }
    let seen = file.with_extension("seen");
    let followed = until("the hub sees its faults", PATIENCE, async || {
        let seen = std::fs::read_to_string(&seen).unwrap_or_default();
        (seen == text).then_some(())
    });
    followed.await.map_err(|failure| {
        Failure(format!(
            "{failure}; is it built with its feature faults? cargo build --package hub --features faults"
        ))
    })
}
