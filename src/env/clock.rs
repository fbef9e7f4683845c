//! The hub's clock: wall time at start, carried on by the boot-time clock.
//!
//! Keys and frontiers are promises about time, so the clock they use must not jump. It starts as
//! the wall clock and from then on follows the machine's boot-time clock, which neither steps nor
//! stops in a suspend, corrected towards wall time by at most [`MAX_SLEW`]. A step of the wall
//! clock is therefore reported ([`ClockReading::offset_millis`]), not followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use super::Millis;

/// The share of the elapsed time by which the clock may be corrected: 5 %.
const MAX_SLEW: i64 = 20; // one part in twenty

/// Time since the machine booted: monotonic, and it counts while the machine sleeps.
pub type BootTime = Duration;

/// Where the two raw clocks are read.
pub trait ClockSource: Send + Sync {
    /// The wall clock, which may be stepped by whoever runs the machine.
    fn wall(&self) -> Millis;
    /// The boot-time clock, which is not.
    fn boot(&self) -> BootTime;
}

/// The machine's own clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl ClockSource for SystemClock {
    fn wall(&self) -> Millis {
        let t = clock_gettime(ClockId::Realtime);
        Millis::new(t.tv_sec * 1000 + t.tv_nsec / 1_000_000)
    }

    fn boot(&self) -> BootTime {
        let t = clock_gettime(ClockId::Boottime);
        Duration::new(
            u64::try_from(t.tv_sec).unwrap_or(0),
            u32::try_from(t.tv_nsec).unwrap_or(0),
        )
    }
}

/// Clocks that a test moves by hand.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicI64,
    boot: AtomicI64,
}

impl ManualClock {
    /// Both clocks stand still until moved; the wall clock shows `wall`.
    pub fn new(wall: Millis) -> Arc<Self> {
        Arc::new(Self {
            wall: AtomicI64::new(wall.get()),
            boot: AtomicI64::new(0),
        })
    }

    /// Time passes: both clocks move on.
    pub fn advance(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::SeqCst);
        self.boot.fetch_add(millis, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn step_wall(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::SeqCst);
    }
}

impl ClockSource for ManualClock {
    fn wall(&self) -> Millis {
        Millis::new(self.wall.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootTime {
        Duration::from_millis(u64::try_from(self.boot.load(Ordering::SeqCst)).unwrap_or(0))
    }
}

/// What the clock says, and how far the wall clock is from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The hub's time.
    pub now: Millis,
    /// Wall time minus the hub's time, in milliseconds: not small means that the wall clock was
    /// stepped since the hub started.
    pub offset_millis: i64,
}

/// The clock that every key, frontier and time limit of this process uses. It never runs back.
pub struct HubClock {
    source: Arc<dyn ClockSource>,
    state: Mutex<Slewed>,
}

#[derive(Debug, Clone, Copy)]
struct Slewed {
    boot: BootTime,
    micros: i64,
}

impl Slewed {
    /// Where the clock stands after the raw clocks were read as `wall` and `boot`.
    fn advance(self, wall: Millis, boot: BootTime) -> Self {
        let elapsed = i64::try_from(boot.saturating_sub(self.boot).as_micros()).unwrap_or(0);
        let carried = self.micros + elapsed;
        let allowed = elapsed / MAX_SLEW;
        let correction = (wall.get() * 1000 - carried).clamp(-allowed, allowed);
        Self {
            boot,
            micros: carried + correction,
        }
    }
}

impl HubClock {
    /// Starts from the wall clock as it is now.
    pub fn start(source: Arc<dyn ClockSource>) -> Self {
        let state = Slewed {
            boot: source.boot(),
            micros: source.wall().get() * 1000,
        };
        Self {
            source,
            state: Mutex::new(state),
        }
    }

    /// Sets the clock to the wall clock again. Only while nothing is promised by it: before a node
    /// serves, or when it has stopped promising because its clock was out of bounds.
    pub fn set_to_wall(&self) {
        let mut state = self.state.lock();
        *state = Slewed {
            boot: self.source.boot(),
            micros: self.source.wall().get() * 1000,
        };
    }

    /// The hub's time.
    pub fn now(&self) -> Millis {
        self.read().now
    }

    /// The hub's time, with its distance from the wall clock.
    pub fn read(&self) -> ClockReading {
        let mut state = self.state.lock();
        let wall = self.source.wall();
        *state = state.advance(wall, self.source.boot());
        let now = Millis::new(state.micros.div_euclid(1000));
        ClockReading {
            now,
            offset_millis: wall.get() - now.get(),
        }
    }

    /// Time since the machine booted, for measuring how long something took or has lasted.
    pub fn boot(&self) -> BootTime {
        self.source.boot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_time_and_ignores_a_step() {
        let source = ManualClock::new(Millis::new(1_000_000));
        let clock = HubClock::start(source.clone());
        source.advance(500);
        assert_eq!(clock.now(), Millis::new(1_000_500));
        source.step_wall(3_600_000);
        assert_eq!(clock.read().now, Millis::new(1_000_500));
        assert_eq!(clock.read().offset_millis, 3_600_000);
        source.advance(10_000);
        // Ten seconds passed, and at most a twentieth of them was made up.
        assert_eq!(clock.now(), Millis::new(1_011_000));
    }

    #[test]
    fn never_runs_back() {
        let source = ManualClock::new(Millis::new(1_000_000));
        let clock = HubClock::start(source.clone());
        source.step_wall(-900_000);
        let mut last = clock.now();
        for _ in 0..100 {
            source.advance(7);
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        // Slower than time by a twentieth, but moving.
        assert_eq!(last, Millis::new(1_000_000 + 700 - 35));
    }
}
