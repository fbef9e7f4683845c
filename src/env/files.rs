//! Small files that are replaced as a whole.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Replaces a file, or makes it: whatever happens, there is the one before or this one, whole. It is on
/// disk when this returns.
///
/// # Errors
/// What the system says.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    move_into_place(&aside, path)
}

/// Moves a file that is whole and on disk to where it belongs, in the same folder: it is on disk that it is there
/// when this returns.
///
/// # Errors
/// What the system says.
pub fn move_into_place(aside: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(aside, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
