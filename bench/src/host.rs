//! The machine that a number was measured on.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::thread;

use serde::Serialize;

use crate::clock;
use crate::error::BenchError;
use crate::histogram::Histogram;
use crate::random::Random;
use crate::summary::{milliseconds, three_digits};

/// How often data is sent to the disk to see how long that takes.
const SYNCS: usize = 100;
/// How much each time.
const SYNC_BYTES: usize = 4 * 1_024;

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// Cores that the benchmark and the servers share.
    pub cores: usize,
    /// What the processor calls itself.
    pub cpu: String,
    /// The kernel's version.
    pub kernel: String,
    /// The kind of file system that the data is on.
    pub filesystem: String,
    /// How long fdatasync takes after 4 KiB were appended: half of 100 times not longer than this,
    /// in milliseconds, as all that follow.
    pub fdatasync_p50_ms: f64,
    /// 99 of the 100 not longer than this.
    pub fdatasync_p99_ms: f64,
    /// None longer than this.
    pub fdatasync_max_ms: f64,
}

impl Host {
    /// Looks at the machine, and at the disk that `folder` is on.
    pub fn look(folder: &Path) -> Result<Self, BenchError> {
        let syncs =
            sync_times(folder).map_err(BenchError::io(format!("write to {}", folder.display())))?;
        let cpuinfo = read("/proc/cpuinfo");
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Ok(Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu_model(&cpuinfo).to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            filesystem: filesystem_of(&read("/proc/self/mounts"), &real).to_owned(),
            fdatasync_p50_ms: milliseconds(syncs.percentile(500)),
            fdatasync_p99_ms: milliseconds(syncs.percentile(990)),
            fdatasync_max_ms: milliseconds(syncs.max()),
        })
    }

    /// The same in a sentence or two.
    pub fn sentence(&self) -> String {
        let memory = ["tmpfs", "ramfs"].contains(&self.filesystem.as_str());
        let warning = if memory {
            ". THIS IS MEMORY, NOT A DISK: fsync costs nothing here; choose a folder (--data-dir)"
        } else {
            ""
        };
        format!(
            "Machine: {} cores, {}, Linux {}. Data on {}: fdatasync of 4 KiB takes {} ms (p50), \
             {} ms (p99){warning}.",
            self.cores,
            self.cpu,
            self.kernel,
            self.filesystem,
            three_digits(self.fdatasync_p50_ms),
            three_digits(self.fdatasync_p99_ms),
        )
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn sync_times(folder: &Path) -> std::io::Result<Histogram> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let block = Random::new(1).bytes(SYNC_BYTES);
    let mut times = Histogram::default();
    for _ in 0..SYNCS {
        file.write_all(&block)?;
        let begin = clock::now();
        file.sync_data()?;
        times.record(begin.elapsed());
    }
    Ok(times)
}

/// The processor's name; `unknown` where the system does not tell.
fn cpu_model(cpuinfo: &str) -> &str {
    let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields
        .filter(|(name, _)| matches!(name.trim(), "model name" | "Model" | "Hardware"))
        .map(|(_, value)| value.trim())
        .find(|value| !value.is_empty())
        .unwrap_or("unknown")
}

/// The kind of file system that a path is on: that of the longest mount point above it, and the
/// last one of several there.
fn filesystem_of<'a>(mounts: &'a str, path: &Path) -> &'a str {
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(point), Some(kind)) = (fields.next(), fields.next()) {
            // Blanks in the table are written as octal numbers.
            let point = point.replace("\\040", " ");
            if path.starts_with(&point) && point.len() >= best.0 {
                best = (point.len(), kind);
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts() {
        let mounts = "rootfs / rootfs rw 0 0\n/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n\
                      /dev/b /tmp/my\\040disk xfs rw 0 0\n";
        for (path, kind) in [
            ("/home", "ext4"),
            ("/tmp/x", "tmpfs"),
            ("/tmpx", "ext4"),
            ("/tmp/my disk/a", "xfs"),
        ] {
            assert_eq!(filesystem_of(mounts, Path::new(path)), kind, "{path}");
        }
        assert_eq!(filesystem_of("", Path::new("/")), "unknown");
    }

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(
            cpu_model("processor\t: 0\nmodel name\t: X: 9000\n"),
            "X: 9000"
        );
        assert_eq!(cpu_model("processor : 0\n"), "unknown");
    }

    #[test]
    fn the_machine_can_be_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::look(folder.path()).unwrap();
        assert!(host.cores > 0 && host.fdatasync_p50_ms <= host.fdatasync_max_ms);
        assert!(
            host.sentence().starts_with("Machine: "),
            "{}",
            host.sentence()
        );
        let memory = Host {
            filesystem: "tmpfs".to_owned(),
            ..host
        };
        assert!(memory.sentence().contains("NOT A DISK"));
    }
}
