//! A cluster: a real ZooKeeper and real hubs, each at an address of its own.
//!
//! What is done to it is written in the language of [`crate::script`]. Clusters of tests that run
//! at the same time share neither ports nor folders, and no two of them meet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hub::env::{OsRandom, Random as _};

use crate::address::Block;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::folder::Folder;
use crate::hub::{Hub, PEER_PORT};
use crate::network::{Host, Lab, Network};
use crate::rings::Rings;
use crate::script::{self, Condition, Node, Step, Who};
use crate::skew;
use crate::wait::{now, until};
use crate::zookeeper::ZooKeeper;

/// ZooKeeper's address ends so; that of hub `i` in 10 + `i`.
const ZOOKEEPER: u8 = 2;
/// See [`ZOOKEEPER`].
const HUBS: u8 = 10;
/// The most hubs that there are addresses for.
pub const HUBS_MAX: u8 = 200;

/// A cluster.
pub struct Cluster {
    hubs: BTreeMap<u8, Hub>,
    zookeeper: ZooKeeper,
    network: Network,
    settings: BTreeMap<String, String>,
    secret: PathBuf,
    began: Instant,
    /// The steps that were done, for whoever reads of a failure.
    played: Vec<String>,
    /// The last to go.
    home: Folder,
}

impl Cluster {
    /// A cluster of so many hubs on loopback addresses; nothing runs yet.
    ///
    /// # Errors
    /// [`Failure`] if something that it needs is not installed.
    pub fn new(size: u8) -> Outcome<Self> {
        let network = Network::Loopback(Block::claim()?);
        Self::of(size, network, Folder::temporary("hub-cluster-")?)
    }

    /// A cluster of so many hubs in network namespaces, whose links can be cut.
    ///
    /// # Errors
    /// [`Failure`] if something that it needs is not installed, or not allowed.
    pub fn with_links(size: u8) -> Outcome<Self> {
        let network = Network::Namespaces(Lab::new()?);
        Self::of(size, network, Folder::temporary("hub-cluster-")?)
    }

    /// A cluster of so many hubs on that network, with all that it keeps in that folder.
    ///
    /// # Errors
    /// [`Failure`] if something that it needs is not installed.
    pub fn of(size: u8, mut network: Network, home: Folder) -> Outcome<Self> {
        let secret = home.path().join("secret");
        if !secret.exists() {
            let random = OsRandom;
            let text = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
            std::fs::write(&secret, text)?;
        }
        let host = network.host(ZOOKEEPER)?;
        let zookeeper = ZooKeeper::at(host, home.within("zookeeper")?)?;
        let mut cluster = Self {
            hubs: BTreeMap::new(),
            zookeeper,
            network,
            settings: BTreeMap::new(),
            secret,
            began: now(),
            played: Vec::new(),
            home,
        };
        cluster.set("HUB_RING_BOOTSTRAP_EXPECT", size);
        for _ in 0..size {
            cluster.add()?;
        }
        Ok(cluster)
    }

    /// A setting of all hubs, for their next start.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.set(name, value);
        self
    }

    /// A setting of all hubs, those still to come included, for their next start.
    #[allow(clippy::needless_pass_by_value, reason = "callers pass literals")]
    pub fn set(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        for hub in self.hubs.values_mut() {
            hub.set(name, &value);
        }
        self.settings.insert(name.to_owned(), value);
    }

    /// A further hub, which is not started; gives its number.
    ///
    /// # Errors
    /// [`Failure`] if there is no place for it.
    pub fn add(&mut self) -> Outcome<u8> {
        let number = self.hubs.keys().next_back().map_or(1, |last| last + 1);
        if number > HUBS_MAX {
            return Err(Failure(format!("no more than {HUBS_MAX} hubs")));
        }
        let host = self.network.host(HUBS + number)?;
        let address = host.address();
        let home = self.home.within(&format!("hub-{number}"))?;
        let faults = home.path().join("faults");
        let mut hub = Hub::at(host, home, &fqdn(number))?;
        hub.set("HUB_PEER_LISTEN", format!("{address}:{PEER_PORT}"));
        hub.set("HUB_ZOOKEEPER_SERVERS", self.zookeeper.address());
        hub.set("HUB_CLUSTER_SECRET_FILE", self.secret.display());
        hub.set(skew::VARIABLE, faults.display());
        for (name, value) in &self.settings {
            hub.set(name, value);
        }
        self.hubs.insert(number, hub);
        Ok(number)
    }

    /// The folder of everything that it keeps.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// The folder stays, for somebody to look at; gives where.
    pub fn keep(&mut self) -> &Path {
        self.home.keep()
    }

    /// The steps that were done, each with its time.
    pub fn played(&self) -> &[String] {
        &self.played
    }

    /// How the log of each hub ends.
    pub fn log_ends(&self, lines: usize) -> String {
        let mut text = String::new();
        for (number, hub) in &self.hubs {
            let log = std::fs::read_to_string(hub.log()).unwrap_or_default();
            let all: Vec<&str> = log.lines().collect();
            let end = all[all.len().saturating_sub(lines)..].join("\n  ");
            text.extend(["hub ", &number.to_string(), ":\n  ", &end, "\n"]);
        }
        text
    }

    /// The numbers of all hubs.
    pub fn numbers(&self) -> Vec<u8> {
        self.hubs.keys().copied().collect()
    }

    /// The hub with that number.
    ///
    /// # Errors
    /// [`Failure`] if there is none.
    pub fn hub(&self, number: u8) -> Outcome<&Hub> {
        let hub = self.hubs.get(&number);
        hub.ok_or_else(|| Failure(format!("there is no hub {number}")))
    }

    fn hub_mut(&mut self, number: u8) -> Outcome<&mut Hub> {
        let hub = self.hubs.get_mut(&number);
        hub.ok_or_else(|| Failure(format!("there is no hub {number}")))
    }

    /// The ZooKeeper of it.
    pub fn zookeeper(&mut self) -> &mut ZooKeeper {
        &mut self.zookeeper
    }

    /// A client that asks these hubs by turns.
    pub fn client_of(&self, numbers: &[u8]) -> Client {
        let hubs = numbers.iter().filter_map(|number| self.hubs.get(number));
        Client::of(hubs.map(Hub::url).collect())
    }

    /// A client that asks all hubs by turns.
    pub fn client(&self) -> Client {
        self.client_of(&self.numbers())
    }

    /// The processes that have ended by themselves since the last look, and how.
    pub fn casualties(&mut self) -> Vec<Failure> {
        let server = self.zookeeper.casualty();
        let hubs = self.hubs.iter_mut();
        let hubs = hubs.filter_map(|(number, hub)| {
            let Failure(text) = hub.casualty()?;
            Some(Failure(format!("hub {number}: {text}")))
        });
        server.into_iter().chain(hubs).collect()
    }

    /// Does these steps, one after the other.
    ///
    /// # Errors
    /// [`Failure`] of the first step that cannot be done, with those before it.
    pub async fn play(&mut self, text: &str) -> Outcome<()> {
        for step in script::parse(text)? {
            let at = self.began.elapsed().as_secs_f64();
            self.played.push(format!("{at:7.3} s  {step}"));
            if let Err(failure) = self.take(&step).await {
                return Err(Failure(format!("{step}: {failure}")));
            }
        }
        Ok(())
    }

    async fn take(&mut self, step: &Step) -> Outcome<()> {
        match step {
            Step::Start(who) => self.each(who, Of::All, |node| match node {
                Process::Hub(hub) => hub.spawn(),
                Process::ZooKeeper(server) => server.spawn(),
            }),
            Step::Kill(who) => self.each(who, Of::Running, |node| match node {
                Process::Hub(hub) => hub.kill(),
                Process::ZooKeeper(server) => server.kill(),
            }),
            Step::Pause(who) => self.each(who, Of::Running, |node| match node {
                Process::Hub(hub) => hub.pause(),
                Process::ZooKeeper(server) => server.pause(true),
            }),
            Step::Resume(who) => self.each(who, Of::Running, |node| match node {
                Process::Hub(hub) => hub.resume(),
                Process::ZooKeeper(server) => server.pause(false),
            }),
            Step::Wipe(who) => self.each(who, Of::All, |node| match node {
                Process::Hub(hub) => hub.wipe(),
                Process::ZooKeeper(server) => server.wipe(),
            }),
            Step::Stop(who) => self.stop(who).await,
            Step::Cut(ones, others) => {
                let (ones, others) = (self.hosts(ones)?, self.hosts(others)?);
                let links = self.network.links()?;
                let mut pairs = ones
                    .iter()
                    .flat_map(|one| others.iter().map(move |o| (one, o)));
                pairs.try_for_each(|(one, other)| links.cut(one, other))
            }
            Step::Heal => self.network.links()?.heal(),
            Step::Skew(who, millis) => {
                for node in self.nodes(who, Of::All) {
                    let Node::Hub(number) = node else {
                        return Err(Failure::new("only hubs have a clock of their own"));
                    };
                    let hub = self.hub(number)?;
                    let file = self.home.path().join(format!("hub-{number}/faults"));
                    skew::set(&file, *millis, hub.runs()).await?;
                }
                Ok(())
            }
            Step::Add => self.add().map(drop),
            Step::Wait(who, condition, within) => self.wait(who, condition, *within).await,
        }
    }

    fn nodes(&self, who: &Who, of: Of) -> Vec<Node> {
        match who {
            Who::These(nodes) => nodes.clone(),
            Who::All => {
                let wanted = |hub: &Hub| of == Of::All || hub.runs();
                let hubs = self.hubs.iter().filter(|(_, hub)| wanted(hub));
                hubs.map(|(number, _)| Node::Hub(*number)).collect()
            }
        }
    }

    fn hosts(&self, who: &Who) -> Outcome<Vec<Host>> {
        let nodes = self.nodes(who, Of::All).into_iter();
        nodes
            .map(|node| match node {
                Node::Hub(number) => Ok(self.hub(number)?.host().clone()),
                Node::ZooKeeper => Ok(self.zookeeper.host().clone()),
            })
            .collect()
    }

    fn each(
        &mut self,
        who: &Who,
        of: Of,
        mut act: impl FnMut(Process<'_>) -> Outcome<()>,
    ) -> Outcome<()> {
        for node in self.nodes(who, of) {
            act(match node {
                Node::Hub(number) => Process::Hub(self.hub_mut(number)?),
                Node::ZooKeeper => Process::ZooKeeper(&mut self.zookeeper),
            })?;
        }
        Ok(())
    }

    /// Asks all of them to stop at the same time.
    async fn stop(&mut self, who: &Who) -> Outcome<()> {
        let nodes = self.nodes(who, Of::Running);
        let stopping = self
            .hubs
            .iter_mut()
            .filter(|(number, _)| nodes.contains(&Node::Hub(**number)));
        let mut outcome = Ok(());
        // Each has its signal at once; then each is waited for.
        let hubs: Vec<&mut Hub> = stopping.map(|(_, hub)| hub).collect();
        for hub in &hubs {
            hub.ask_to_stop()?;
        }
        for hub in hubs {
            outcome = outcome.and(hub.stopped().await);
        }
        if nodes.contains(&Node::ZooKeeper) {
            outcome = outcome.and(self.zookeeper.stop().await);
        }
        outcome
    }

    async fn wait(&mut self, who: &Who, condition: &Condition, within: Duration) -> Outcome<()> {
        for node in self.nodes(who, Of::Running) {
            match (node, condition) {
                (Node::ZooKeeper, Condition::Ready) => self.zookeeper.ready().await?,
                (Node::ZooKeeper, _) => {
                    return Err(Failure::new("of ZooKeeper only ready can be asked"));
                }
                (Node::Hub(number), condition) => {
                    self.wait_for(number, condition, within).await?;
                }
            }
        }
        Ok(())
    }

    async fn wait_for(
        &mut self,
        number: u8,
        condition: &Condition,
        within: Duration,
    ) -> Outcome<()> {
        let hub = self.hub_mut(number)?;
        let (client, log) = (hub.client(), hub.log());
        let what = format!("hub {number} is {condition}");
        let mut last = String::new();
        let waited = until(&what, within, async || {
            if let Some(casualty) = hub.casualty() {
                return Some(Err(casualty));
            }
            let holds = match condition {
                Condition::Ready | Condition::NotReady => {
                    let health = client.health().await;
                    let ready = matches!(health, Ok((200, _)));
                    last = match health {
                        Ok((status, body)) => format!("{status} {body}"),
                        Err(failure) => failure.0,
                    };
                    ready == (*condition == Condition::Ready)
                }
                Condition::Ring(_) | Condition::Rings(_) => match Rings::of(&client).await {
                    Ok(rings) => {
                        let holds = rings.meet(condition);
                        last = rings.to_string();
                        holds
                    }
                    Err(failure) => {
                        last = failure.0;
                        false
                    }
                },
            };
            holds.then_some(Ok(()))
        });
        let outcome = match waited.await {
            Ok(outcome) => outcome,
            Err(failure) => Err(Failure(format!("{failure}; the last answer: {last}"))),
        };
        outcome.map_err(|failure| crate::process::explained(&failure, &log))
    }
}

/// The name of the hub with that number.
pub fn fqdn(number: u8) -> String {
    format!("hub-{number}.local")
}

/// Which hubs `all` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    All,
    Running,
}

enum Process<'a> {
    Hub(&'a mut Hub),
    ZooKeeper(&'a mut ZooKeeper),
}
