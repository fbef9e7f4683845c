//! Clock and randomness, the only places that ask the machine for either, and small files.
//!
//! Everything else takes a [`Millis`], a [`HubClock`] or a [`Random`] as a value, so that tests
//! decide what time it is and which ids come out. `clippy.toml` refuses the global functions
//! elsewhere.

mod clock;
#[cfg(feature = "faults")]
pub mod faults;
mod files;
mod millis;
mod random;

use std::sync::Arc;

pub use clock::{BootTime, ClockReading, ClockSource, HubClock, ManualClock, SystemClock};
pub use files::{move_into_place, replace_file};
pub use millis::Millis;
pub use random::{OsRandom, Random, SeededRandom};

/// The clocks that a node goes by: the machine's own, and with the feature `faults` as far off as a
/// test asks for.
pub fn clock_source() -> Arc<dyn ClockSource> {
    #[cfg(feature = "faults")]
    return faults::clock_source();
    #[cfg(not(feature = "faults"))]
    return Arc::new(SystemClock);
}
