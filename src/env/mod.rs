//! Clock and randomness: the only places that ask the machine for either.
//!
//! Everything else takes a [`Millis`], a [`HubClock`] or a [`Random`] as a value, so that tests
//! decide what time it is and which ids come out. `clippy.toml` refuses the global functions
//! elsewhere.

mod clock;
mod millis;
mod random;

pub use clock::{BootTime, ClockReading, ClockSource, HubClock, ManualClock, SystemClock};
pub use millis::Millis;
pub use random::{OsRandom, Random, SeededRandom};
