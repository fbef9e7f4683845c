//! The hub's clock: wall time at start, carried on by the boot-time clock.
//!
//! Keys and frontiers are promises about time, so the clock they use must not jump. It starts as
//! the wall clock and from then on follows the machine's boot-time clock, which neither steps nor
//! stops in a suspend, corrected towards wall time by at most [`MAX_SLEW`]. A step of the wall
//! clock is therefore reported ([`ClockReading::offset_millis`]), not followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
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
///
/// Reading it waits for nobody: it is a straight line through the last anchor, which is moved
/// along that line, and given another slope, every so often.
pub struct HubClock {
    source: Arc<dyn ClockSource>,
    anchor: ArcSwap<Anchor>,
    moving: Mutex<()>,
}

/// How far the anchor is left behind, in nanoseconds.
const ANCHOR_AGE: i64 = 10_000_000;
const NANOS_PER_MILLI: i64 = 1_000_000;

/// A point that the clock goes through, and how fast it goes from there. Times are nanoseconds,
/// which in 64 bits last until 2262.
#[derive(Debug)]
struct Anchor {
    /// The boot-time clock.
    boot: i64,
    /// The hub's clock.
    hub: i64,
    /// What is to be made up from here on; never faster than [`MAX_SLEW`] allows.
    correction: i64,
    /// The latest time that was read. Two threads may read by different anchors; this keeps the
    /// later reading from being the lower one. It goes along as long as the line does.
    latest: Arc<AtomicI64>,
}

impl Anchor {
    fn new(wall: Millis, boot: i64) -> Self {
        let hub = wall.get().saturating_mul(NANOS_PER_MILLI);
        Self {
            boot,
            hub,
            correction: 0,
            latest: Arc::new(AtomicI64::new(hub)),
        }
    }

    /// What the hub's clock shows when the boot-time clock shows `boot`.
    fn at(&self, boot: i64) -> i64 {
        let elapsed = boot.saturating_sub(self.boot).max(0);
        let allowed = elapsed / MAX_SLEW;
        let made_up = self.correction.clamp(-allowed, allowed);
        self.hub.saturating_add(elapsed).saturating_add(made_up)
    }

    /// The anchor moved along its line, aimed at the wall clock from there on.
    fn moved(&self, wall: Millis, boot: i64) -> Self {
        let hub = self.at(boot);
        Self {
            boot: boot.max(self.boot),
            hub,
            correction: wall
                .get()
                .saturating_mul(NANOS_PER_MILLI)
                .saturating_sub(hub),
            latest: Arc::clone(&self.latest),
        }
    }
}

impl HubClock {
    /// Starts from the wall clock as it is now.
    pub fn start(source: Arc<dyn ClockSource>) -> Self {
        let anchor = Anchor::new(source.wall(), nanos(source.boot()));
        Self {
            source,
            anchor: ArcSwap::from_pointee(anchor),
            moving: Mutex::new(()),
        }
    }

    /// Sets the clock to the wall clock again. Only while nothing is promised by it: before a node
    /// serves, or when it has stopped promising because its clock was out of bounds.
    pub fn set_to_wall(&self) {
        let _moving = self.moving.lock();
        let anchor = Anchor::new(self.source.wall(), nanos(self.source.boot()));
        self.anchor.store(Arc::new(anchor));
    }

    /// The hub's time.
    pub fn now(&self) -> Millis {
        let boot = nanos(self.source.boot());
        let anchor = self.anchor.load();
        let now = anchor.at(boot);
        if boot.saturating_sub(anchor.boot) > ANCHOR_AGE
            && let Some(_moving) = self.moving.try_lock()
        {
            // Somebody may have moved it meanwhile; then it is moved once more, which does no harm.
            let anchor = self.anchor.load();
            let moved = anchor.moved(self.source.wall(), boot);
            self.anchor.store(Arc::new(moved));
        }
        let latest = anchor.latest.fetch_max(now, Ordering::AcqRel);
        Millis::new(now.max(latest).div_euclid(NANOS_PER_MILLI))
    }

    /// The hub's time, with its distance from the wall clock.
    pub fn read(&self) -> ClockReading {
        let now = self.now();
        ClockReading {
            now,
            offset_millis: self.source.wall().get() - now.get(),
        }
    }

    /// Time since the machine booted, for measuring how long something took or has lasted.
    pub fn boot(&self) -> BootTime {
        self.source.boot()
    }
}

fn nanos(boot: BootTime) -> i64 {
    i64::try_from(boot.as_nanos()).unwrap_or(i64::MAX)
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
        // Here the step is noticed.
        source.advance(20);
        assert_eq!(clock.now(), Millis::new(1_000_520));
        source.advance(10_000);
        // Ten seconds passed, and at most a twentieth of them was made up.
        assert_eq!(clock.now(), Millis::new(1_011_020));
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

    /// The boot-time clock moves 700 ns with each look at it.
    struct Busy(AtomicI64);

    impl ClockSource for Busy {
        fn wall(&self) -> Millis {
            Millis::new(1_000_000 + self.0.load(Ordering::SeqCst) / NANOS_PER_MILLI)
        }

        fn boot(&self) -> BootTime {
            let nanos = self.0.fetch_add(700, Ordering::SeqCst);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
        }
    }

    #[test]
    fn loses_no_time_however_often_it_is_read() {
        let source = Arc::new(Busy(AtomicI64::new(0)));
        let clock = HubClock::start(source);
        for _ in 0..1_000_000 {
            clock.now();
        }
        assert!(clock.read().offset_millis.abs() <= 1);
    }

    #[test]
    fn threads_agree_on_the_order_of_their_readings() {
        let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
        let latest = Arc::new(Mutex::new(Millis::MIN));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (clock, latest) = (Arc::clone(&clock), Arc::clone(&latest));
                std::thread::spawn(move || {
                    for _ in 0..100_000 {
                        let mut latest = latest.lock();
                        let now = clock.now();
                        assert!(now >= *latest);
                        *latest = now;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
