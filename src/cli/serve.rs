//! `hub serve` and `hub config`: the server's side of the command line.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{ConfigCommand, ServeArgs};
use crate::cli::exit::Exit;
use crate::config::{self, Config, ConfigErrors};
use crate::metric;
use crate::node::{self, Stop};
use crate::ops::logging::{self, say};

/// Runs a hub until it is told to stop.
pub fn run(args: &ServeArgs) -> ExitCode {
    let config = match load(args.config.as_deref()) {
        Ok(config) => config,
        Err(errors) => {
            say(&format!("hub: the configuration is refused:\n{errors}"));
            return Exit::Usage.into();
        }
    };
    allow_open_files();
    let host = node::host_name();
    logging::start(&config.log, config.node.fqdn.as_deref().unwrap_or(&host));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Reads that wait for the disk, and a few more for starting, stopping and coordination.
        .max_blocking_threads(config.read.blocking_threads + 8)
        .thread_name("hub")
        .build();
    let ran = match runtime {
        Ok(runtime) => {
            let ran = runtime.block_on(serve(config));
            // Whatever still waits for a disk or a peer must not hold the process.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            ran
        }
        Err(error) => Err(error.to_string()),
    };
    match ran {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            say(&format!("hub: {error}"));
            Exit::Failed.into()
        }
    }
}

/// Raises the limit of open files as far as the system lets it: each connection takes one.
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Whatever the limit is then, connections that pass it are not accepted, and the log says so.
    let _ = setrlimit(Resource::Nofile, raised);
}

async fn serve(config: Config) -> Result<(), String> {
    let buckets = Matcher::Suffix("_seconds".to_owned());
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(buckets, metric::SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| error.to_string())?;
    node::describe_metrics();
    let (stop, stopping) = watch::channel(Stop::No);
    let signals = tokio::spawn(listen_for_signals(stop));
    let ran = node::run(config, metrics, stopping).await;
    signals.abort();
    ran.map_err(|error| error.to_string())
}

/// SIGTERM drains; SIGINT, which comes from somebody at a keyboard, does not wait for load
/// balancers; a second one of either ends the process at once.
async fn listen_for_signals(stop: watch::Sender<Stop>) {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::warn!("signals cannot be listened for: only kill -9 will end the hub");
        return;
    };
    let first = tokio::select! {
        _ = term.recv() => Stop::Drain,
        _ = int.recv() => Stop::Now,
    };
    // The node may have ended by itself.
    let _ = stop.send(first);
    let exit = tokio::select! {
        _ = term.recv() => Exit::Terminated,
        _ = int.recv() => Exit::Interrupted,
    };
    say("hub: stopped at once; the next start recovers the store");
    std::process::exit(exit.code().into());
}

/// Checks or prints the configuration.
pub fn config(command: ConfigCommand, file: Option<&Path>) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(errors) => {
            say(&format!("hub: the configuration is refused:\n{errors}"));
            return Exit::Usage.into();
        }
    };
    let text = match command {
        ConfigCommand::Check => "the configuration is fine\n".to_owned(),
        ConfigCommand::Print => config.to_toml(),
    };
    // A reader that has left does not want it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Exit::Done.into()
}

fn load(file: Option<&Path>) -> Result<Config, ConfigErrors> {
    let loaded = Config::load(file, config::environment())?;
    for warning in &loaded.warnings {
        say(&format!("hub: {warning}"));
    }
    Ok(loaded.config)
}
