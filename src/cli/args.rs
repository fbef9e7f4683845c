//! The command line: every command, argument and help text.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use reqwest::Url;

use super::address::parse_base;
use super::archive::{self, ArchiveArgs};
use super::backup::args::{self as backup, BackupArgs};
use super::exit;
use super::operator::{self, ClusterArgs, RingArgs};

/// A clustered HTTP event hub.
///
/// A hub keeps channels of immutable items, ordered by time. Post an item and get back the URL
/// that holds it; read by that URL, by time, or walk from item to item. `hub serve` is the server,
/// the other commands are its clients.
#[derive(Debug, Parser)]
#[command(name = "hub", version, max_term_width = 100, after_long_help = exit::HELP)]
pub struct Cli {
    /// Which hub the client commands talk to.
    #[command(flatten)]
    pub hub: HubArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the hub is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which hub")]
pub struct HubArgs {
    /// Where the hub serves its channels
    #[arg(long, global = true, env = "HUB_URL", value_name = "URL",
          default_value = "http://localhost:8080", value_parser = parse_base)]
    pub server: Url,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a hub
    #[command(after_long_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Check a config file, or print every setting as the hub would use it
    #[command(after_long_help = CONFIG_EXAMPLES)]
    Config(ConfigArgs),
    /// What talks to a running hub.
    #[command(flatten)]
    Client(ClientCommand),
    /// Print a script that teaches your shell to complete hub's commands
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell to write it for
        #[arg(value_parser = clap::builder::EnumValueParser::<Shell>::new())]
        shell: Shell,
    },
}

/// The commands that talk to a running hub.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// List, create, show and delete channels
    #[command(subcommand, after_long_help = CHANNEL_EXAMPLES)]
    Channel(ChannelCommand),
    /// Post a file or standard input as one item, and print the item's URL
    #[command(after_long_help = POST_EXAMPLES)]
    Post(PostArgs),
    /// Write what is at a URL to standard output, following redirects
    #[command(after_long_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// Print a channel's latest items and go on with the new ones
    ///
    /// Items come in key order, each exactly once, as soon as they are stable (their order can no
    /// longer change). While the hub is away, tail waits for it and goes on where it was. Ctrl-C
    /// ends it.
    #[command(after_long_help = TAIL_EXAMPLES)]
    Tail(TailArgs),
    /// Fill a hub with demo data
    #[command(subcommand, after_long_help = LOAD_EXAMPLES)]
    Load(LoadCommand),
    /// See how a cluster is, and help one that cannot help itself
    #[command(after_long_help = operator::CLUSTER_EXAMPLES)]
    Cluster(ClusterArgs),
    /// See which nodes hold what: the rings of a cluster
    #[command(after_long_help = operator::RING_EXAMPLES)]
    Ring(RingArgs),
    /// See what the archive takes
    #[command(after_long_help = archive::EXAMPLES)]
    Archive(ArchiveArgs),
    /// Back up a hub, and restore one
    #[command(after_long_help = backup::EXAMPLES)]
    Backup(BackupArgs),
}

/// Arguments of `hub serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The config file; without one, every setting has its default
    #[arg(long, env = "HUB_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `hub config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: ConfigCommand,
    /// The config file; without one, every setting has its default
    #[arg(long, global = true, env = "HUB_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The commands of `hub config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with the settings
    #[command(after_long_help = CONFIG_EXAMPLES)]
    Check,
    /// Print every setting with the value that the hub would use
    #[command(after_long_help = CONFIG_EXAMPLES)]
    Print,
}

/// The commands of `hub channel`.
#[derive(Debug, Clone, Subcommand)]
pub enum ChannelCommand {
    /// Print the names of all channels, one a line
    #[command(after_long_help = LS_EXAMPLES)]
    Ls {
        /// Print the hub's answer as it is
        #[arg(long)]
        json: bool,
    },
    /// Create a channel, and print its URL
    ///
    /// Without one of --ttl-days, --max-items and --keep-forever, items are kept for 120 days.
    #[command(after_long_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// Print how a channel is configured
    #[command(after_long_help = SHOW_EXAMPLES)]
    Show {
        /// The channel
        #[arg(value_parser = parse_channel)]
        channel: String,
        /// Print the hub's answer as it is
        #[arg(long)]
        json: bool,
    },
    /// Delete a channel and all its items
    ///
    /// Asks first. Where there is no terminal to ask on, it deletes nothing unless --yes is given.
    #[command(after_long_help = RM_EXAMPLES)]
    Rm {
        /// The channel
        #[arg(value_parser = parse_channel)]
        channel: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Arguments of `hub channel create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// The new channel's name: 1 to 48 letters, digits, `_` and `-`
    #[arg(value_parser = parse_channel)]
    pub channel: String,
    /// Keep each item for that many days
    #[arg(long, value_name = "N", group = "retention")]
    pub ttl_days: Option<u32>,
    /// Keep the newest N items
    #[arg(long, value_name = "N", group = "retention")]
    pub max_items: Option<u32>,
    /// Keep every item
    #[arg(long, group = "retention")]
    pub keep_forever: bool,
    /// Who answers for it
    #[arg(long)]
    pub owner: Option<String>,
    /// What it is for
    #[arg(long)]
    pub description: Option<String>,
    /// A tag: letters, digits, `:` and `-`; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Print the hub's answer as it is
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `hub post`.
#[derive(Debug, Clone, Args)]
pub struct PostArgs {
    /// The channel
    #[arg(value_parser = parse_channel)]
    pub channel: String,
    /// The file to post; `-` or nothing is standard input
    #[arg(default_value = "-", hide_default_value = true)]
    pub file: PathBuf,
    /// The item's content type; else a file's is taken from its name's ending, and standard input
    /// has none
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Makes a repeated post safe: with the same key the hub answers with the first one's item
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print the hub's answer as it is
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `hub get`.
#[derive(Debug, Clone, Args)]
pub struct GetArgs {
    /// A full URL, CHANNEL/latest and the like, or a path on the hub that starts with `/`
    #[arg(value_name = "URL|CHANNEL/...|/PATH")]
    pub target: String,
    /// Write the body to a file
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print status and headers of each answer, redirects included, before the body
    #[arg(long, short)]
    pub include: bool,
}

/// Arguments of `hub tail`.
#[derive(Debug, Clone, Args)]
pub struct TailArgs {
    /// The channel
    #[arg(value_parser = parse_channel)]
    pub channel: String,
    /// How many of the latest items to begin with, 0 to 10000
    #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub number: u32,
    /// Go on with new items as they come (the default)
    #[arg(long, short, overrides_with = "no_follow")]
    pub follow: bool,
    /// End after the latest items
    #[arg(long, overrides_with = "follow")]
    pub no_follow: bool,
    /// Print an object a line: url, key, contentType, and body; for a body that is not UTF-8,
    /// its length as bytes instead
    #[arg(long)]
    pub json: bool,
}

/// The commands of `hub load`.
#[derive(Debug, Clone, Subcommand)]
pub enum LoadCommand {
    /// Post each row of a table of flights to the channel of its airline
    ///
    /// FILE is a CSV file, plain or gzipped, with a column `carrier`. Each row becomes a JSON
    /// object, with null for what is empty or NA, in the channel flights-CARRIER, which is created
    /// if need be and tagged `flights`. Rows of one airline are posted in file order, each after
    /// the one before; airlines are posted side by side.
    ///
    /// A row whose outcome is unknown is posted again, with an Idempotency-Key made of the file's
    /// name, its content and the row's number. A hub that knows the header stores each row once,
    /// and loading a file again while the hub remembers its keys (at least 10 minutes) adds only
    /// what was missing; after that it adds every row again. A hub that ignores the header may
    /// store a retried row twice.
    ///
    /// With --historical each row becomes an item of the time at which its flight was to leave
    /// (columns `time_hour` and `minute`), under a hash of its content, in channels that take items
    /// of the past. Rows are posted in no order, by many writers at once; loading a file again, or a
    /// file that has some of its rows, changes nothing, however much later.
    #[command(after_long_help = LOAD_EXAMPLES)]
    Flights(FlightsArgs),
}

/// Arguments of `hub load flights`.
#[derive(Debug, Clone, Args)]
pub struct FlightsArgs {
    /// The table of flights
    pub file: PathBuf,
    /// Post each row at the time of its flight, in the years that it says
    #[arg(long)]
    pub historical: bool,
    /// Read each row back afterwards, and see that it is as it was posted
    #[arg(long, requires = "historical")]
    pub verify: bool,
    /// Post on that many connections at once; without --historical, more than there are airlines
    /// make no difference
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Post the first N rows only
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// The names of the airlines, by carrier; else airlines.csv beside FILE, if there is one
    #[arg(long, value_name = "FILE")]
    pub airlines: Option<PathBuf>,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Takes any name that can be one segment of a URL's path; what the name of a channel may be, the
/// hub decides.
pub(super) fn parse_channel(text: &str) -> Result<String, String> {
    if matches!(text, "" | "." | "..") || text.contains('/') {
        return Err("a channel's name is 1 to 48 letters, digits, `_` and `-`".to_owned());
    }
    Ok(text.to_owned())
}

const SERVE_EXAMPLES: &str = "\
Examples:
  hub serve                                a hub on this machine, with every default
  hub serve --config /etc/hub/hub.toml     the settings of a file";

const CONFIG_EXAMPLES: &str = "\
Examples:
  hub config check --config hub.toml       all mistakes at once
  hub config print > hub.toml              a file to start from";

const CHANNEL_EXAMPLES: &str = "\
Examples:
  hub channel ls
  hub channel create orders --ttl-days 7 --owner shop --tag eu
  hub channel show orders --json
  hub channel rm orders --yes";

const LS_EXAMPLES: &str = "\
Examples:
  hub channel ls
  hub channel ls --json | jq -r '._links.channels[].href'";

const SHOW_EXAMPLES: &str = "\
Examples:
  hub channel show orders
  hub channel show orders --json | jq .ttlDays";

const CREATE_EXAMPLES: &str = "\
Examples:
  hub channel create orders --ttl-days 7 --owner shop --tag eu --tag sales
  hub channel create readings --max-items 1000 --description 'the newest of each sensor'
  hub channel create audit --keep-forever";

const RM_EXAMPLES: &str = "\
Examples:
  hub channel rm orders                    asks
  hub channel rm orders --yes              for scripts";

const POST_EXAMPLES: &str = "\
Examples:
  hub post orders order-17.json
  echo '{\"order\": 17}' | hub post orders --content-type application/json
  hub post orders order-17.json --idempotency-key order-17    safe to repeat";

const GET_EXAMPLES: &str = "\
Examples:
  hub get orders/latest                    the latest item
  hub get orders/latest/3                  the URLs of the latest three
  hub get -i /channel/orders/status        status, headers and body of any path
  hub get 'orders/time/minute?stable=false'
  hub get -o item.json http://localhost:8080/channel/orders/2026/11/22/01/02/03/456/000aXb";

const TAIL_EXAMPLES: &str = "\
Examples:
  hub tail orders                          the latest 10, then what comes
  hub tail orders -n 0                     only what comes
  hub tail orders -n 100 --no-follow       the latest 100
  hub tail orders --json | jq -r .url";

const LOAD_EXAMPLES: &str = "\
Examples:
  hub load flights demo/flights-2013-01.csv.gz
  hub load flights demo/flights-2013-01.csv.gz --limit 1000 --json
  hub load flights demo/flights-2013-01.csv.gz --historical --verify
  hub get flights-UA/latest";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  hub completions bash > ~/.local/share/bash-completion/completions/hub
  hub completions zsh > \"${fpath[1]}/_hub\"
  hub completions fish > ~/.config/fish/completions/hub.fish";
