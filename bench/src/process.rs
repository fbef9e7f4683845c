//! What the system knows about processes.

use std::fs;
use std::time::{Duration, Instant};

use crate::clock;

/// The processor time that was used up to some moment.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    at: Instant,
    /// By everything on the machine.
    machine: Duration,
    /// By some processes.
    ours: Duration,
}

impl Usage {
    /// Up to now, and how much of it these processes used; `None` if there is no telling.
    pub fn of(pids: &[u32]) -> Option<Self> {
        let ours: Option<Duration> = pids.iter().map(|&pid| cpu(pid)).sum();
        let stat = fs::read_to_string("/proc/stat").ok()?;
        Some(Self {
            at: clock::now(),
            machine: machine_of(&stat, rustix::param::clock_ticks_per_second())?,
            ours: ours?,
        })
    }

    /// How many cores others kept busy since then, on average.
    pub fn others_since(&self, earlier: &Self) -> f64 {
        let machine = self.machine.saturating_sub(earlier.machine);
        let others = machine.saturating_sub(self.ours.saturating_sub(earlier.ours));
        let elapsed = self.at.saturating_duration_since(earlier.at);
        others.as_secs_f64() / elapsed.as_secs_f64().max(0.001)
    }
}

/// The processor time that it has used, by all of its threads; `None` if there is no telling.
pub fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    cpu_of(&stat, rustix::param::clock_ticks_per_second())
}

/// The memory that it holds, in bytes; `None` if there is no telling.
pub fn memory(pid: u32) -> Option<u64> {
    memory_of(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn cpu_of(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    // The program's name stands in parentheses and may hold blanks and parentheses itself.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(of_ticks(user + system, ticks_per_second))
}

fn machine_of(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let fields = stat.strip_prefix("cpu ")?.lines().next()?;
    let ticks: Vec<u64> = fields
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, waiting for a disk, interrupts (2), what the hypervisor took.
    let [user, nice, system, _, _, hard, soft, stolen] = *ticks.first_chunk()?;
    let busy = user + nice + system + hard + soft + stolen;
    Some(of_ticks(busy, ticks_per_second))
}

fn of_ticks(ticks: u64, ticks_per_second: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64)
}

fn memory_of(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_user_and_system() {
        let stat = "42 (a ) (b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 9 20 0 3 0 100";
        assert_eq!(cpu_of(stat, 100), Some(Duration::from_secs(3)));
        assert_eq!(cpu_of("42 (a) S 1", 100), None);
        assert_eq!(cpu_of("", 100), None);
    }

    #[test]
    fn the_machine_is_busy_when_it_is_neither_idle_nor_waiting() {
        let stat = "cpu  100 10 20 9000 800 1 2 67 0 0\ncpu0 50 5 10 4500 400 1 1 33 0 0\n";
        assert_eq!(machine_of(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(machine_of("cpu  1 2 3\n", 100), None);
        assert_eq!(machine_of("intr 1", 100), None);
    }

    #[test]
    fn others_are_what_is_not_ours() {
        let at = clock::now();
        let usage = |after: u64, machine: u64, ours: u64| Usage {
            at: at + Duration::from_secs(after),
            machine: Duration::from_secs(machine),
            ours: Duration::from_secs(ours),
        };
        let others = usage(10, 117, 62).others_since(&usage(0, 100, 50));
        assert!((others - 0.5).abs() < 1e-9, "{others}");
        assert!(Usage::of(&[std::process::id()]).is_some());
        assert!(Usage::of(&[u32::MAX]).is_none());
    }

    #[test]
    fn memory_is_what_is_resident() {
        let status = "Name:\thub\nVmPeak:\t  900 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(memory_of(status), Some(12_288));
        assert_eq!(memory_of("Name:\tkthread\n"), None);
    }
}
