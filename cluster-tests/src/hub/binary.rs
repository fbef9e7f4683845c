//! Where the hub program is.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// The hub program: `HUB_BIN`, or the one in the target folder that this program is of.
pub(super) fn binary() -> Outcome<PathBuf> {
    if let Some(named) = std::env::var_os("HUB_BIN") {
        let named = PathBuf::from(named);
        if named.is_file() {
            // Processes have a working directory of their own.
            return Ok(named.canonicalize()?);
        }
        return Err(Failure(format!("HUB_BIN is {}: no file", named.display())));
    }
    let own = std::env::current_exe()?;
    // target/PROFILE/rehearse, or target/PROFILE/deps/TEST-HASH
    let folders = own.ancestors().skip(1).take(3);
    let mut found = folders.clone().map(|folder| folder.join("hub"));
    if let Some(found) = found.find(|path| path.is_file()) {
        return Ok(found);
    }
    let target = folders.last().unwrap_or(Path::new("target"));
    let profiles = ["rehearse", "release", "debug"].iter();
    let mut found = profiles.map(|profile| target.join(profile).join("hub"));
    found.find(|path| path.is_file()).ok_or_else(|| {
        Failure(format!(
            "there is no hub program under {}: `make test` builds it first; \
             or run `cargo build`, or set HUB_BIN",
            target.display()
        ))
    })
}
