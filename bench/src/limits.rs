//! How many files may be open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::BenchError;

/// Files that a process needs beside its connections. The hub, which inherits the limit, holds its
/// segments open.
const SPARE: u64 = 1_024;

/// Makes sure that so many connections can be open, here and in processes started from here.
pub fn raise_open_files(connections: usize) -> Result<(), BenchError> {
    let needed = connections as u64 + SPARE;
    let limit = getrlimit(Resource::Nofile);
    if enough(limit.current, needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(needed),
        // Only root may raise this one; for others the call fails if it is too low.
        maximum: limit.maximum.map(|maximum| maximum.max(needed)),
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| BenchError::OpenFiles {
        needed,
        allowed: limit.maximum.or(limit.current).unwrap_or_default(),
    })
}

/// Whether the limit, if there is one, allows so many.
fn enough(limit: Option<u64>, needed: u64) -> bool {
    limit.is_none_or(|limit| limit >= needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_enough() {
        assert!(enough(None, 10) && enough(Some(10), 10) && !enough(Some(9), 10));
    }

    #[test]
    fn an_absurd_number_is_refused_with_advice() {
        if getrlimit(Resource::Nofile).maximum.is_none() {
            return;
        }
        let error = raise_open_files(usize::MAX / 4).unwrap_err();
        assert!(error.to_string().contains("ulimit -n"), "{error}");
    }
}
