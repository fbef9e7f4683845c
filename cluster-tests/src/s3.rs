//! A server that speaks S3: moto, in memory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;

use crate::address::free_address;
use crate::client::Client;
use crate::failure::{Failure, Outcome, ensure};
use crate::folder::Folder;
use crate::process::Process;
use crate::wait::until;

/// The longest that it may take to start, once it is installed.
const PATIENCE: Duration = Duration::from_mins(1);
const PORT: u16 = 5000;

/// The server, with nothing in it. What it holds is gone when it is dropped.
#[derive(Debug)]
pub struct S3 {
    process: Process,
    url: String,
    _folder: Folder,
}

impl S3 {
    /// Starts one at an address of its own.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be run.
    pub async fn start() -> Outcome<Self> {
        let folder = Folder::temporary("hub-s3-")?;
        let address = free_address()?.to_string();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/s3.sh");
        // What is not installed yet takes its own time.
        let installed = Command::new(&script).arg("install").status()?;
        ensure(installed.success(), || {
            format!("tools/s3.sh install: {installed}")
        })?;
        let mut command = Command::new(&script);
        command.args(["serve", &address, &PORT.to_string()]);
        let log = folder.path().join("s3.log");
        let server = Self {
            process: Process::spawn("S3", &command, &log)?,
            url: format!("http://{address}:{PORT}"),
            _folder: folder,
        };
        let client = Client::new(&server.url);
        let answers = until("the S3 server answers", PATIENCE, async || {
            client.send(Method::GET, "/moto-api/").await.ok()
        });
        answers
            .await
            .map_err(|error| server.process.explained(&error))?;
        Ok(server)
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// [`Failure`] if it is not made.
    pub async fn bucket(&self, name: &str) -> Outcome<()> {
        let client = Client::new(&self.url);
        let (status, body) = client.send(Method::PUT, &format!("/{name}")).await?;
        ensure(status == 200, || {
            let body = String::from_utf8_lossy(&body);
            format!("bucket {name}: {status} {body}")
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The variables by which a hub finds it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT", self.url.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "tests"),
            ("AWS_SECRET_ACCESS_KEY", "tests"),
            ("AWS_REGION", "us-east-1"),
        ];
        variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// Stops it from answering, until it is resumed.
    ///
    /// # Errors
    /// [`Failure`] if it does not run.
    pub fn pause(&self) -> Outcome<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it have only the time of the processors that nobody else wants: where what others have is measured, it stands
    /// for a server on a machine of its own.
    ///
    /// # Errors
    /// [`Failure`] if it does not run.
    pub fn give_way(&self) -> Outcome<()> {
        let pid = i32::try_from(self.process.pid()).map_err(|error| Failure(error.to_string()))?;
        let set = rustix::process::setpriority_process(rustix::process::Pid::from_raw(pid), 19);
        set.map_err(|error| Failure(format!("the priority of the S3 server: {error}")))
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// [`Failure`] if it does not run.
    pub fn resume(&self) -> Outcome<()> {
        self.process.signal(Signal::CONT)
    }

    /// Why it does not run any more, if so.
    pub fn casualty(&mut self) -> Option<Failure> {
        let status = self.process.ended()?;
        let error = Failure(format!("S3 ended with {status}"));
        Some(self.process.explained(&error))
    }
}
