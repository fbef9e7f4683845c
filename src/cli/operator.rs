//! The arguments of the commands for operators, and how their hub is asked.

use clap::{Args, Subcommand};
use reqwest::Url;
use serde_json::Value;

use super::address::parse_base;
use super::args::parse_channel;
use super::client::Client;
use super::error::CliError;

/// Where operators are answered.
#[derive(Debug, Clone, Args)]
pub struct OpsArgs {
    /// Where the hub answers operators
    #[arg(long, global = true, env = "HUB_OPS_URL", value_name = "URL",
          default_value = "http://127.0.0.1:8082", value_parser = parse_base)]
    pub ops: Url,
}

/// Arguments of `hub cluster`.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Who is asked.
    #[command(flatten)]
    pub ops: OpsArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// The commands of `hub cluster`.
#[derive(Debug, Clone, Subcommand)]
pub enum ClusterCommand {
    /// Print how every member is, and what the cluster is waiting for
    #[command(after_long_help = CLUSTER_EXAMPLES)]
    Status {
        /// Print the hub's answers as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Go on without members that are gone for good
    ///
    /// Prints what there is to choose, and what would be lost by each choice. A member that is only
    /// away brings everything back when it starts again: leave one out only if its disk is lost.
    ///
    /// Where fewer than a read quorum of a channel's replicas stays, inserts with an
    /// Idempotency-Key are refused until the keys from before are forgotten (10 minutes): nobody
    /// knows whether they were used. Items that wait for a member to be decided go on waiting.
    #[command(after_long_help = CLUSTER_EXAMPLES)]
    Recover {
        /// A member that is gone for good; may be given several times
        #[arg(long, value_name = "MEMBER")]
        without: Vec<String>,
        /// Make the ring without them
        #[arg(long, short)]
        yes: bool,
        /// Print the hub's answer as it is
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `hub ring`.
#[derive(Debug, Clone, Args)]
pub struct RingArgs {
    /// Who is asked.
    #[command(flatten)]
    pub ops: OpsArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: RingCommand,
}

/// The commands of `hub ring`.
#[derive(Debug, Clone, Subcommand)]
pub enum RingCommand {
    /// Print the ring in force, and the one that is announced
    #[command(after_long_help = RING_EXAMPLES)]
    Show {
        /// Print the hub's answer as it is
        #[arg(long)]
        json: bool,
    },
    /// Print every ring that is still needed, oldest first, and what changed
    #[command(after_long_help = RING_EXAMPLES)]
    History {
        /// Print the hub's answer as it is
        #[arg(long)]
        json: bool,
    },
    /// Print the members that hold a channel's items, the coordinator first
    #[command(after_long_help = RING_EXAMPLES)]
    Where {
        /// The channel; it need not exist
        #[arg(value_parser = parse_channel)]
        channel: String,
        /// The time of the items, as 2026-11-22T09:00:00Z; else now
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// Print the hub's answer as it is
        #[arg(long)]
        json: bool,
    },
}

/// The examples of `hub cluster --help`.
pub const CLUSTER_EXAMPLES: &str = "\
Examples:
  hub cluster status
  hub cluster status --ops http://hub-2:8082 --json
  hub cluster recover                         the choices, and what each would lose
  hub cluster recover --without hub-3 --yes   go on without hub-3";

/// The examples of `hub ring --help`.
pub const RING_EXAMPLES: &str = "\
Examples:
  hub ring show
  hub ring history
  hub ring where orders
  hub ring where orders --at 2026-11-22T09:00:00Z";

/// Names the right address in the advice, where nobody answered.
pub fn at_ops(error: CliError) -> CliError {
    match error {
        CliError::Unreachable { url, reason } => CliError::NoOperator { url, reason },
        other => other,
    }
}

/// GETs what operators are told.
///
/// # Errors
/// As [`Client::get_json`].
pub async fn get(client: &Client, url: Url) -> Result<Value, CliError> {
    client.get_json(url).await.map_err(at_ops)
}

/// A text of an answer; `-` where there is none.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The texts of a list.
pub fn texts(value: &Value) -> Vec<&str> {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(Value::as_str).collect()
}
