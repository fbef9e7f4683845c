//! Which store it is.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, ObjectStoreScheme, RetryConfig};
use thiserror::Error;

use super::Store;

/// Why there is no store to ask.
#[derive(Debug, Error)]
pub enum OpenError {
    /// What is set is no URL of a store.
    #[error("archive.url = {url:?}: {reason}")]
    Url {
        /// What is set.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder cannot be made.
    #[error("the archive's folder {folder}: {source}")]
    Folder {
        /// The folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How patient requests are.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long one may take.
    pub request: Duration,
    /// How long it is tried again.
    pub retry: Duration,
}

impl Store {
    /// The store in a folder of this machine.
    ///
    /// # Errors
    /// [`OpenError::Folder`].
    pub fn in_folder(folder: &FilePath) -> Result<Self, OpenError> {
        let wrong = |source| OpenError::Folder {
            folder: folder.display().to_string(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(wrong)?;
        let opened = LocalFileSystem::new_with_prefix(folder);
        let opened = opened.map_err(|error| wrong(std::io::Error::other(error)))?;
        let opened = opened.with_automatic_cleanup(true).with_fsync(true);
        Ok(Self {
            folder: Some(folder.into()),
            ..Self::on_this_machine(Arc::new(opened))
        })
    }

    /// The store of that URL: `s3://bucket/folder`, `gs://…`, `az://…`, or `file:///folder`. Credentials
    /// and endpoints come from variables like those of the environment, under the names that each
    /// cloud's own tools read: `AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`
    /// and so on.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn of_url(
        text: &str,
        variables: &[(String, String)],
        patience: Patience,
    ) -> Result<Self, OpenError> {
        let wrong = |reason: String| OpenError::Url {
            url: text.to_owned(),
            reason,
        };
        let url = text
            .parse()
            .map_err(|error: url::ParseError| wrong(error.to_string()))?;
        let (scheme, root) =
            ObjectStoreScheme::parse(&url).map_err(|error| wrong(error.to_string()))?;
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 10,
            retry_timeout: patience.retry,
        };
        let client = ClientOptions::new()
            .with_timeout(patience.request)
            .with_connect_timeout(patience.request.min(Duration::from_secs(5)));
        let unfit = |error: object_store::Error| wrong(error.to_string());
        // A store that is listed page by page is both.
        macro_rules! cloud {
            ($builder:expr) => {{
                // First, for what the variables say of the client comes on top.
                let mut builder = $builder.with_client_options(client);
                builder = builder.with_url(text).with_retry(retry);
                for (name, value) in variables {
                    if let Ok(key) = name.to_ascii_lowercase().parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                let store = Arc::new(builder.build().map_err(unfit)?);
                Self {
                    inner: Arc::clone(&store) as Arc<dyn object_store::ObjectStore>,
                    pages: Some(store),
                    root,
                    // Azure knows no ranges that are counted from the end.
                    has_tails: !matches!(scheme, ObjectStoreScheme::MicrosoftAzure),
                    folder: None,
                    deletes: match scheme {
                        ObjectStoreScheme::AmazonS3 => 1000,
                        ObjectStoreScheme::MicrosoftAzure => 256,
                        _ => 1,
                    },
                    pace: None,
                    guard: None,
                }
            }};
        }
        Ok(match scheme {
            ObjectStoreScheme::AmazonS3 => cloud!(AmazonS3Builder::new()),
            ObjectStoreScheme::GoogleCloudStorage => cloud!(GoogleCloudStorageBuilder::new()),
            ObjectStoreScheme::MicrosoftAzure => cloud!(MicrosoftAzureBuilder::new()),
            ObjectStoreScheme::Local => {
                let folder = url.to_file_path();
                let folder =
                    folder.map_err(|()| wrong("it names no folder of this machine".to_owned()))?;
                return Self::in_folder(&folder);
            }
            _ => return Err(wrong("the schemes are s3, gs, az and file".to_owned())),
        })
    }
}
