//! A cluster to try things on: `hub-cluster [--nodes N] [--port PORT] [--dir FOLDER]`.
//!
//! A real ZooKeeper, hubs at 127.0.0.11 and on, and HAProxy before them on localhost, with all that
//! they log and store in one folder. Ctrl-C stops all of it; the next start finds its data again.
//! It reads the language of [`cluster_tests::script`] from the terminal.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to whoever runs it"
)]

use std::io::BufRead as _;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cluster_tests::address::Block;
use cluster_tests::balancer::{Balancer, SLOTS};
use cluster_tests::client::Client;
use cluster_tests::cluster::Cluster;
use cluster_tests::failure::{Failure, Outcome};
use cluster_tests::folder::Folder;
use cluster_tests::hub::HTTP_PORT;
use cluster_tests::network::Network;
use cluster_tests::script::PATIENCE;
use cluster_tests::wait::until;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// How often processes are looked at, whether they still run.
const LOOK: Duration = Duration::from_millis(200);

struct Arguments {
    nodes: u8,
    port: u16,
    folder: PathBuf,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: hub-cluster [--nodes 1..{SLOTS}] [--port PORT] [--dir FOLDER]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ran = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(error) => Err(error.into()),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hub-cluster: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Arguments> {
    let mut arguments = Arguments {
        nodes: 4,
        port: 8080,
        folder: PathBuf::from("cluster-data"),
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next()?;
        match name.as_str() {
            "--nodes" => {
                let nodes = value.parse().ok();
                arguments.nodes = nodes.filter(|nodes| (1..=SLOTS).contains(nodes))?;
            }
            "--port" => arguments.port = value.parse().ok()?,
            "--dir" => arguments.folder = value.into(),
            _ => return None,
        }
    }
    Some(arguments)
}

/// What ends the whole of it.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Ends {
    fn new() -> Outcome<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

async fn run(arguments: &Arguments) -> Outcome<()> {
    let mut ends = Ends::new()?;
    let block = Block::take(0, 0)
        .map_err(|failure| Failure(format!("another cluster runs on this machine ({failure})")))?;
    let home = Folder::lasting(&arguments.folder)?;
    let folder = home.path().display().to_string();
    println!("Logs and data are in {folder}. Ctrl-C stops everything.");
    let balancing = home.within("haproxy")?;
    let url = format!("http://localhost:{}", arguments.port);
    let mut cluster = Cluster::of(arguments.nodes, Network::Loopback(block), home)?
        .with("HUB_NODE_PUBLIC_URL", format!("{url}/"));
    let balancer = tokio::select! {
        started = start(&mut cluster, arguments.port, balancing) => started?,
        () = ends.came() => return Ok(()),
    };
    greet(&cluster, &url);
    let outcome = serve(&mut cluster, balancer, &mut ends).await;
    println!("\nStopping. Ctrl-C once more ends it at once.");
    tokio::select! {
        stopped = cluster.play("stop all") => outcome.and(stopped)?,
        // What still runs is killed with the cluster.
        () = ends.came() => return outcome,
    }
    // It comes last: the hubs say goodbye to it.
    cluster.zookeeper().stop().await
}

/// Starts everything, and waits until all hubs are ready.
async fn start(cluster: &mut Cluster, port: u16, balancing: Folder) -> Outcome<Balancer> {
    // What is wrong with the port is known at once.
    let balancer = Balancer::start(port, balancing).await?;
    cluster.play("start zk; wait until zk ready").await?;
    println!("ZooKeeper runs on {}", cluster.zookeeper().address());
    for number in cluster.numbers() {
        balance(cluster, &balancer, number)?;
    }
    cluster.play("start all").await?;
    for number in cluster.numbers() {
        let wait = format!("wait until {number} ready, within 120 s");
        cluster.play(&wait).await?;
        println!("hub {number} is ready at {}", cluster.hub(number)?.url());
    }
    // It asks the hubs now and then, and has to have heard that they are.
    let client = Client::new(&format!("http://127.0.0.1:{port}"));
    until("HAProxy serves", PATIENCE, async || {
        matches!(client.health().await, Ok((200, _))).then_some(())
    })
    .await?;
    Ok(balancer)
}

fn balance(cluster: &Cluster, balancer: &Balancer, number: u8) -> Outcome<()> {
    let address = cluster.hub(number)?.ip();
    balancer.serve(number, SocketAddrV4::new(address, HTTP_PORT))
}

fn greet(cluster: &Cluster, url: &str) {
    let hubs = cluster.numbers().len();
    println!(
        "
{hubs} hubs behind {url}. In another shell:

  curl -X PUT {url}/channel/hello               # a channel
  curl {url}/channel/hello -d 'first item'      # an item
  curl -L {url}/channel/hello/latest            # the newest item
  make demo                                                 # a month of real flights

Or break something, here: kill 2, start 2, pause 3, resume 3, stop 1, add, wait until all ready
"
    );
}

/// Does what is typed, until something ends it.
async fn serve(cluster: &mut Cluster, mut balancer: Balancer, ends: &mut Ends) -> Outcome<()> {
    let mut lines = typed();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = ends.came() => return Ok(()),
            Some(line) = lines.recv() => {
                tokio::select! {
                    played = obey(cluster, &balancer, &line) => match played {
                        Ok(()) => println!("done: {line}"),
                        Err(failure) => println!("{failure}"),
                    },
                    () = ends.came() => return Ok(()),
                }
            }
            _ = looks.tick() => {
                if let Some(failure) = balancer.ended() {
                    return Err(failure);
                }
                for casualty in cluster.casualties() {
                    println!("{casualty}");
                }
            }
        }
    }
}

/// Does the steps of a line. A hub that is added is started.
async fn obey(cluster: &mut Cluster, balancer: &Balancer, line: &str) -> Outcome<()> {
    let before = cluster.numbers();
    cluster.play(line).await?;
    for number in cluster.numbers() {
        if !before.contains(&number) {
            balance(cluster, balancer, number)?;
            cluster.play(&format!("start {number}")).await?;
        }
    }
    Ok(())
}

/// The lines that are typed into the terminal.
fn typed() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let line = line.trim().to_owned();
            if !line.is_empty() && sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
