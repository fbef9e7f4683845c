//! The `hub` command, as whoever operates a hub runs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::failure::{Failure, Outcome, ensure};

/// A command line, with the variables that it sees; none of this process's that are a hub's.
#[derive(Debug, Clone)]
pub struct HubCommand {
    program: PathBuf,
    variables: BTreeMap<String, String>,
}

impl HubCommand {
    /// Runs that program.
    pub(crate) fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            variables: BTreeMap::new(),
        }
    }

    /// With a variable.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "callers pass literals")]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HUB_") || name.starts_with("BACKUP_") {
                command.env_remove(&*name);
            }
        }
        command
            .args(line)
            .envs(&self.variables)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be run.
    pub async fn output(&self, line: &[&str]) -> Outcome<Output> {
        Ok(self.command(line).output().await?)
    }

    /// Begins it. It is killed when this is dropped.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be run.
    pub fn begin(&self, line: &[&str]) -> Outcome<Child> {
        let mut command = self.command(line);
        Ok(command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?)
    }

    /// Runs it to its end; gives what it printed, which is JSON.
    ///
    /// # Errors
    /// [`Failure`] unless it ends with 0.
    pub async fn json(&self, line: &[&str]) -> Outcome<Value> {
        let output = self.output(line).await?;
        let told = || {
            let (out, err) = (&output.stdout, &output.stderr);
            let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
            format!("hub {}: {}\n{out}{err}", line.join(" "), output.status)
        };
        ensure(output.status.success(), told)?;
        serde_json::from_slice(&output.stdout).map_err(|_| Failure(told()))
    }

    /// Runs it to its end, which is to be one of failure; gives what it said to the user.
    ///
    /// # Errors
    /// [`Failure`] if it ends with 0.
    pub async fn refused(&self, line: &[&str]) -> Outcome<String> {
        let output = self.output(line).await?;
        ensure(!output.status.success(), || {
            format!("hub {} was to be refused", line.join(" "))
        })?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
