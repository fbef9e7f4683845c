//! The command line of `hub`: the server's start, and clients of a running hub.
//!
//! [`main`] is the whole program. Clients know a hub by its HTTP API alone. Results go to standard
//! output, everything else to standard error, and [`exit::Exit`] lists the exit codes.

pub mod address;
pub mod archive;
pub mod args;
pub mod backup;
pub mod channel;
pub mod client;
pub mod cluster;
pub mod columns;
pub mod error;
pub mod exit;
pub mod items;
pub mod load;
pub mod media;
pub mod operator;
pub mod output;
pub mod recover;
pub mod refusal;
pub mod retry;
pub mod ring;
pub mod serve;
pub mod tail;
pub mod upload;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tokio::runtime::Builder;

use self::args::{Cli, ClientCommand, Command, HubArgs};
pub use self::args::{ConfigArgs, ConfigCommand, ServeArgs};
use self::client::Client;
use self::error::CliError;
use self::exit::Exit;
use self::output::Output;

/// Does what the command line of the process says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. If they cannot be shown, nothing can be.
            let _ = error.print();
            let shown = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            return shown.into();
        }
    };
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Config(args) => serve::config(args.command, args.config.as_deref()),
        Command::Completions { shell } => {
            let mut out = Output::standard();
            let ended = completions(shell, &mut out);
            ended_with(ended, &mut out).into()
        }
        Command::Client(command) => run(command, &cli.hub),
    }
}

/// Runs a client command to its end, or until Ctrl-C.
fn run(command: ClientCommand, hub: &HubArgs) -> ExitCode {
    let mut out = Output::standard();
    // Two threads: one to carry on with requests while the other waits for a slow terminal.
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            out.note(format_args!("hub: cannot start: {error}"));
            return Exit::Failed.into();
        }
    };
    // On a task of its own and by leaving at once, so that nothing that blocks can hold it up.
    runtime.spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(Exit::Interrupted.code().into());
        }
    });
    let ended = runtime.block_on(dispatch(command, hub, &mut out));
    let exit = ended_with(ended, &mut out);
    // A thread may still be reading a pipe that nobody writes to.
    runtime.shutdown_background();
    exit.into()
}

/// Runs a client command.
///
/// # Errors
/// Whatever the command fails with.
pub async fn dispatch(
    command: ClientCommand,
    hub: &HubArgs,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let client = Client::new(&hub.server)?;
    match command {
        ClientCommand::Channel(command) => channel::run(command, &client, out).await,
        ClientCommand::Post(args) => items::post(args, &client, out).await,
        ClientCommand::Get(args) => items::get(args, &client, out).await,
        ClientCommand::Tail(args) => tail::run(args, &client, out).await,
        ClientCommand::Load(command) => load::run(command, client, out).await,
        ClientCommand::Cluster(args) => cluster::run(args, out).await,
        ClientCommand::Ring(args) => ring::run(args, out).await,
        ClientCommand::Archive(args) => archive::run(args, out).await,
        ClientCommand::Backup(args) => backup::run(args, out).await,
    }
}

/// Says how a command ended, on standard error if it did not do what was asked.
pub fn ended_with(ended: Result<(), CliError>, out: &mut Output<'_>) -> Exit {
    // What was written before an error is a result too.
    let flushed = out.flush();
    let Err(error) = ended.and(flushed) else {
        return Exit::Done;
    };
    let exit = error.exit();
    if exit != Exit::Done {
        out.note(format_args!("hub: {error}"));
        if let Some(advice) = error.advice() {
            out.note(format_args!("hub: {advice}"));
        }
    }
    exit
}

fn completions(shell: clap_complete::Shell, out: &mut Output<'_>) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hub", &mut script);
    out.bytes(&script)
}

#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;
