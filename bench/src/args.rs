//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// What the hub costs beside a bare HTTP server, measured from outside over HTTP.
#[derive(Debug, Parser)]
#[command(name = "hub-bench", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the bare server: hyper, which answers as the hub does and keeps nothing
    Bare(BareArgs),
    /// Put a running server under load, and say how fast it answered. It is left with channels
    /// bench-000, bench-001, and so on
    Load(LoadArgs),
    /// Start a bare server and hubs, measure them in turn, and print them side by side
    Compare(CompareArgs),
    /// Hold many idle connections, and check that all of them are still answered afterwards
    Idle(IdleArgs),
    /// Become a server that ends when its parent does.
    #[command(hide = true)]
    Guarded(GuardedArgs),
}

/// Arguments of `bare`.
#[derive(Debug, Args)]
pub struct BareArgs {
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)))]
    pub listen: SocketAddr,
    /// Threads that serve; one for each core if not given
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// How long the item is that each GET is answered with
    #[arg(long, value_name = "BYTES", default_value_t = 1_024)]
    pub item_bytes: usize,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// POST /channel/{c}: items into channels
    Insert,
    /// GET of one item by its key: inserts some first, and then asks for them at random
    Get,
}

/// Arguments of `load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// What to ask for
    pub mode: Mode,
    /// The server, a hub or a bare one
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The server that the items of `get` are inserted through, if not the one that is asked
    #[arg(long, value_name = "URL")]
    pub through: Option<String>,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
    /// How long to go before that, unmeasured
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub warmup: Duration,
    /// Items to insert before `get`
    #[arg(long, value_name = "N", default_value = "10000")]
    pub items: NonZeroUsize,
    /// Who asks.
    #[command(flatten)]
    pub clients: ClientArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How requests are made.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Connections, each with one request at a time
    #[arg(long, value_name = "N", default_value = "64")]
    pub connections: NonZeroUsize,
    /// Threads that the connections share; half of the cores if not given
    #[arg(long, value_name = "N")]
    pub client_threads: Option<NonZeroUsize>,
    /// How long an item is; its bytes are random
    #[arg(long, value_name = "BYTES", default_value_t = 1_024)]
    pub item_bytes: usize,
    /// Channels that items go to in turn
    #[arg(long, value_name = "N", default_value = "16")]
    pub channels: NonZeroUsize,
}

/// When the hub acknowledges a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// When it is on disk
    Fsync,
    /// When the operating system has it
    Replicated,
}

impl Durability {
    /// Its name in the hub's configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Replicated => "replicated",
        }
    }
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The hub's program and its data.
    #[command(flatten)]
    pub hub: HubArgs,
    /// The durabilities to measure inserts with
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "fsync,replicated"
    )]
    pub durability: Vec<Durability>,
    /// How often each is measured; the table has the medians [default: 5, quick: 2]
    #[arg(long, value_name = "N")]
    pub rounds: Option<NonZeroUsize>,
    /// How long each measurement takes [default: 5, quick: 0.8]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<Duration>,
    /// How long to go before each, unmeasured [default: 1, quick: 0.2]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub warmup: Option<Duration>,
    /// Items to read by key [default: 10000, quick: 1000]
    #[arg(long, value_name = "N")]
    pub items: Option<NonZeroUsize>,
    /// Sizes of the channels of which one second is queried, in items; 0 for none
    /// [default: 10000,1000000, quick: 1000,10000]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub query_items: Option<Vec<u64>>,
    /// Items in the second that is queried
    #[arg(long, value_name = "N", default_value = "100")]
    pub query_second_items: NonZeroUsize,
    /// How long an item of these channels is
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub query_item_bytes: usize,
    /// Who asks.
    #[command(flatten)]
    pub clients: ClientArgs,
    /// Small numbers, for a look and for tests: some 20 seconds in all
    #[arg(long)]
    pub quick: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print tables in Markdown
    #[arg(long)]
    pub markdown: bool,
}

/// The hub to start.
#[derive(Debug, Clone, Args)]
pub struct HubArgs {
    /// The hub's program
    #[arg(long, value_name = "FILE", default_value = "target/release/hub")]
    pub hub: PathBuf,
    /// The folder in which the data goes, and is removed from at the end; the system's folder for
    /// temporary files if not given. It should be on the disk that is to be measured
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

/// Arguments of `idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// The hub's program and its data.
    #[command(flatten)]
    pub hub: HubArgs,
    /// A server that runs already, in place of starting a hub
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The process of that server, whose memory is reported
    #[arg(long, value_name = "PID", requires = "url")]
    pub pid: Option<u32>,
    /// Connections to hold
    #[arg(long, value_name = "N", default_value = "10000")]
    pub connections: NonZeroUsize,
    /// How long to hold them
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub seconds: Duration,
    /// What each asks for before and after
    #[arg(long, value_name = "PATH", default_value = "/health")]
    pub path: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `guarded`.
#[derive(Debug, Args)]
pub struct GuardedArgs {
    /// Whose child this is
    #[arg(long)]
    pub parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let rule = || "must be a number of seconds from 0 to 86400".to_owned();
    let seconds: f64 = text.parse().map_err(|_| rule())?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(rule())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_have_fractions_and_bounds() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        for text in ["", "-1", "NaN", "inf", "86401", "5s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
