//! A small disk of its own, that can be filled.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tempfile::TempDir;

use crate::failure::{Failure, Outcome};

/// What a small disk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4 in an image file, behind a loop device.
    Ext4,
    /// Memory with a limit.
    Tmpfs,
}

impl Kind {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "loop-mounted ext4",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// A filesystem of its own; it is unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
    /// What it is made of.
    pub kind: Kind,
}

impl SmallDisk {
    /// Mounts a filesystem of that size: ext4, or else tmpfs.
    ///
    /// # Errors
    /// [`Failure`] that says why this machine does not allow either: mounting needs root.
    pub fn mount(bytes: u64) -> Outcome<Self> {
        Self::mount_as(Kind::Ext4, bytes).or_else(|first| {
            Self::mount_as(Kind::Tmpfs, bytes)
                .map_err(|second| Failure(format!("no small disk: {first}; {second}")))
        })
    }

    /// Mounts a filesystem of that kind and size.
    ///
    /// # Errors
    /// As [`Self::mount`].
    pub fn mount_as(kind: Kind, bytes: u64) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("hub-disk-").tempdir()?;
        let (image, point) = (folder.path().join("image"), folder.path().join("disk"));
        std::fs::create_dir(&point)?;
        match kind {
            Kind::Ext4 => {
                File::create(&image)?.set_len(bytes)?;
                // No blocks kept back for root, who these tests run as.
                run(Command::new("mkfs.ext4")
                    .args(["-q", "-F", "-m", "0"])
                    .arg(&image))?;
                run(Command::new("mount")
                    .args(["-o", "loop"])
                    .args([&image, &point]))?;
            }
            Kind::Tmpfs => {
                let size = format!("size={bytes}");
                let mut command = Command::new("mount");
                command.args(["-t", "tmpfs", "-o", &size, "none"]);
                run(command.arg(&point))?;
            }
        }
        Ok(Self { folder, kind })
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// The bytes that are free on it.
    ///
    /// # Errors
    /// What the system says.
    pub fn free(&self) -> Outcome<u64> {
        let stat = statvfs(self.path()).map_err(std::io::Error::from)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// How many bytes it has in all.
    ///
    /// # Errors
    /// What the system says.
    pub fn size(&self) -> Outcome<u64> {
        let stat = statvfs(self.path()).map_err(std::io::Error::from)?;
        Ok(stat.f_blocks * stat.f_frsize)
    }

    /// Takes that much of it and keeps it until [`Self::shrink_ballast`]: room that is sure to come
    /// back, whatever else the disk is filled with.
    ///
    /// # Errors
    /// What the system says.
    pub fn load_ballast(&self, bytes: u64) -> Outcome<()> {
        let file = File::create(self.ballast_path())?;
        fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(std::io::Error::from)?;
        Ok(())
    }

    /// Gives back that much of the ballast, or what is left of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn shrink_ballast(&self, bytes: u64) -> Outcome<()> {
        let file = OpenOptions::new().write(true).open(self.ballast_path())?;
        let length = file.metadata()?.len();
        Ok(file.set_len(length.saturating_sub(bytes))?)
    }

    /// Takes so much of it that about `left` bytes stay free.
    ///
    /// # Errors
    /// What the system says.
    pub fn fill_to(&self, left: u64) -> Outcome<()> {
        let file = self.filler()?;
        let length = file.metadata()?.len();
        let take = self.free()?.saturating_sub(left);
        if take > 0 {
            fallocate(&file, FallocateFlags::empty(), length, take)
                .map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    /// Takes all of it, to the last byte.
    ///
    /// # Errors
    /// What the system says, but for "full".
    pub fn fill_up(&self) -> Outcome<()> {
        // Somebody else may be faster.
        let _ = self.fill_to(0);
        let mut file = self.filler()?;
        for step in [256 * 1024, 4096, 1] {
            let bytes = vec![1; step];
            while file.write_all(&bytes).is_ok() {}
        }
        Ok(())
    }

    /// Gives back what was taken.
    ///
    /// # Errors
    /// What the system says.
    pub fn give_back(&self) -> Outcome<()> {
        Ok(std::fs::remove_file(self.filler_path())?)
    }

    fn filler_path(&self) -> PathBuf {
        self.path().join("filler")
    }

    fn ballast_path(&self) -> PathBuf {
        self.path().join("ballast")
    }

    fn filler(&self) -> Outcome<File> {
        let mut options = OpenOptions::new();
        Ok(options.create(true).append(true).open(self.filler_path())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a hub that a failed test left behind may still be at it.
        let unmounted = run(Command::new("umount").arg("-l").arg(self.path()));
        if let Err(error) = unmounted {
            let _ = writeln!(
                std::io::stderr(),
                "{} stays mounted: {error}",
                self.path().display()
            );
        }
    }
}

fn run(command: &mut Command) -> Outcome<()> {
    let name = Path::new(command.get_program()).display().to_string();
    let done = command
        .output()
        .map_err(|error| Failure(format!("{name}: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    Err(Failure(format!("{name}: {}", text.trim())))
}
