//! The only place that asks what time it is: a benchmark measures the real one.

use std::time::Instant;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "no test decides what time it is here: real time is the result"
)]
pub fn now() -> Instant {
    Instant::now()
}
