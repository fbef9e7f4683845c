//! The cluster's secret, and the codes made with it.
//!
//! HMAC-SHA256, from the library that TLS uses. Three codes guard an exchange: one over what a
//! request says of itself, which is checked before a byte of the body is read; one over the body,
//! chained to the first, behind the body, so that a large one is neither read nor sent twice; and
//! one over the reply, chained to the first as well, so that no other member, and no earlier reply,
//! can answer.

use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use thiserror::Error;

/// The length of a code, in bytes.
pub(super) const MAC_BYTES: usize = 32;
/// A secret has at least so many bytes.
const SECRET_MIN: usize = 16;
/// And at most so many: a file that holds more is not a secret.
const SECRET_MAX: u64 = 64 * 1024;

/// What the members of a cluster know and nobody else does.
#[derive(Clone)]
pub struct Secret(Key);

/// Why a secret cannot be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cluster.secret_file: {path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too short to be one.
    #[error("cluster.secret_file: the secret has {bytes} bytes; it needs {SECRET_MIN} or more")]
    Short {
        /// How many bytes it has.
        bytes: usize,
    },
    /// It is too long to be one.
    #[error("cluster.secret_file: the file has more than {SECRET_MAX} bytes")]
    Long,
}

impl Secret {
    /// The secret of these bytes, without the white space around them.
    ///
    /// # Errors
    /// [`SecretError::Short`].
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < SECRET_MIN {
            return Err(SecretError::Short { bytes: bytes.len() });
        }
        Ok(Self(Key::new(HMAC_SHA256, bytes)))
    }

    /// The secret in that file. Waits for the disk.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let io = |source| SecretError::Io {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(io)?.len() > SECRET_MAX {
            return Err(SecretError::Long);
        }
        Self::new(&std::fs::read(path).map_err(io)?)
    }

    /// The code of what a request says of itself.
    pub(super) fn head(&self, path: &str, head: &[u8]) -> Mac {
        let mut signer = Signer::begin(&self.0, b"hub-peer-head-1\n");
        signer.add(b"POST ");
        signer.add(path.as_bytes());
        signer.add(b"\n");
        signer.add(head);
        signer.end()
    }

    /// Makes the code of a request's body.
    pub(super) fn body(&self, head: &Mac) -> Signer {
        let mut signer = Signer::begin(&self.0, b"hub-peer-body-1\n");
        signer.add(&head.0);
        signer
    }

    /// Makes the code of the reply to a request.
    pub(super) fn reply(&self, head: &Mac, status: u16) -> Signer {
        let mut signer = Signer::begin(&self.0, b"hub-peer-reply-1\n");
        signer.add(&head.0);
        signer.add(&status.to_be_bytes());
        signer
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A code. Compared by [`Mac::is`] alone.
#[derive(Clone, Copy)]
pub(super) struct Mac([u8; MAC_BYTES]);

impl Mac {
    /// Whether these are its bytes; how long that takes says nothing about them.
    pub(super) fn is(&self, other: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, other).is_ok()
    }

    pub(super) fn bytes(&self) -> &[u8; MAC_BYTES] {
        &self.0
    }
}

/// Makes a code piece by piece.
pub(super) struct Signer(Context);

impl Signer {
    fn begin(key: &Key, purpose: &[u8]) -> Self {
        let mut context = Context::with_key(key);
        context.update(purpose);
        Self(context)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn end(self) -> Mac {
        let tag = self.0.sign();
        let mut bytes = [0; MAC_BYTES];
        for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Mac(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_and_short_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(matches!(Secret::read(&path), Err(SecretError::Io { .. })));
        std::fs::write(&path, "fifteen bytes..\n").unwrap();
        let short = Secret::read(&path).unwrap_err();
        assert!(matches!(short, SecretError::Short { bytes: 15 }), "{short}");
        std::fs::write(&path, " sixteen bytes...\n").unwrap();
        let read = Secret::read(&path).unwrap();
        let same = Secret::new(b"sixteen bytes...").unwrap();
        let mac = read.head("/x", b"head");
        assert!(same.head("/x", b"head").is(mac.bytes()));
        assert!(!same.head("/y", b"head").is(mac.bytes()));
        assert!(!same.head("/x", b"Head").is(mac.bytes()));
        assert!(!mac.is(&mac.bytes()[1..]));
        assert_eq!(format!("{read:?}"), "Secret");
    }
}
