//! Faults that a test asks this process for. Only with the feature `faults`, which no release has.
//!
//! The variable [`VARIABLE`] names a file with a line `name = number` for each fault. It is read
//! before the process looks at its clock for the first time, and every [`POLL`] from then on. What
//! is in force is written into a file beside it, with [`SEEN`] at the end of its name: a test waits
//! for that, and so learns of a program that was built without the feature as well.
//!
//! | name | what it does |
//! | --- | --- |
//! | `clock_offset_ms` | the wall clock is ahead by so much, or behind |

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::{BootTime, ClockSource, Millis, SystemClock};

#[cfg(not(debug_assertions))]
compile_error!(
    "the feature `faults` is for tests: build it with the profile `dev` or `rehearse`, never `release`"
);

/// Names the file of faults.
pub const VARIABLE: &str = "FAULTS_FILE";
/// How long a minute of the archive is, in milliseconds; it divides a minute. Read once.
const MINUTE_VARIABLE: &str = "FAULTS_MINUTE_MS";
/// Stands at the end of the name of the file that says what is in force.
pub const SEEN: &str = ".seen";
/// How often the file is read.
const POLL: Duration = Duration::from_millis(10);

/// The machine's clocks, the wall clock off by what a test asks for.
#[derive(Debug, Default)]
struct FaultyClock {
    offset_millis: AtomicI64,
}

impl ClockSource for FaultyClock {
    fn wall(&self) -> Millis {
        let offset = self.offset_millis.load(Ordering::Relaxed);
        Millis::new(SystemClock.wall().get() + offset)
    }

    fn boot(&self) -> BootTime {
        SystemClock.boot()
    }
}

/// How long a minute of the archive is, in milliseconds.
pub(crate) fn minute_millis() -> i64 {
    static MINUTE: LazyLock<i64> = LazyLock::new(|| {
        let given = std::env::var(MINUTE_VARIABLE).ok();
        let given = given.and_then(|text| text.parse().ok());
        given
            .filter(|millis| 60_000 % millis == 0 && *millis >= 1000)
            .unwrap_or(60_000)
    });
    *MINUTE
}

/// The machine's clocks, with the faults of the file if there is to be one.
pub(super) fn clock_source() -> Arc<dyn ClockSource> {
    let Some(file) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return Arc::new(SystemClock);
    };
    let clock = Arc::new(FaultyClock::default());
    let mut known = String::new();
    look(&file, &mut known, &clock);
    let followed = Arc::clone(&clock);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(POLL);
            look(&file, &mut known, &followed);
        }
    });
    clock
}

/// Reads the file, and follows it if it has changed. One that is not there asks for nothing.
fn look(file: &Path, known: &mut String, clock: &FaultyClock) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    if text == *known {
        return;
    }
    let offset = number(&text, "clock_offset_ms").unwrap_or(0);
    clock.offset_millis.store(offset, Ordering::Relaxed);
    let mut seen = file.as_os_str().to_owned();
    seen.push(SEEN);
    // A test that waits for it says so if it does not come.
    let _ = std::fs::write(seen, &text);
    *known = text;
}

/// The number that a line `name = number` gives.
fn number(text: &str, name: &str) -> Option<i64> {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_off_as_the_file_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("faults");
        let clock = FaultyClock::default();
        let mut known = String::new();
        look(&file, &mut known, &clock);
        assert_eq!(clock.offset_millis.load(Ordering::Relaxed), 0);

        let asked = "clock_offset_ms = -86400000\n";
        std::fs::write(&file, asked).unwrap();
        look(&file, &mut known, &clock);
        let behind = SystemClock.wall().get() - clock.wall().get();
        assert!((86_399_000..=86_400_000).contains(&behind), "{behind}");
        let seen = std::fs::read_to_string(folder.path().join("faults.seen"));
        assert_eq!(seen.unwrap(), asked);

        std::fs::write(&file, "").unwrap();
        look(&file, &mut known, &clock);
        assert_eq!(clock.offset_millis.load(Ordering::Relaxed), 0);
    }
}
