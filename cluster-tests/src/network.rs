//! Where processes are on the network: side by side on this machine's loopback addresses, or each in
//! a network namespace of its own, so that the links between them can be cut.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::address::Block;
use crate::failure::{Failure, Outcome};
use crate::process::{program, search_path};

/// A place for a process.
#[derive(Debug, Clone)]
pub struct Host {
    address: Ipv4Addr,
    namespace: Option<String>,
}

impl Host {
    /// In the network of the harness itself.
    pub const fn here(address: Ipv4Addr) -> Self {
        Self {
            address,
            namespace: None,
        }
    }

    /// Its address.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// That command, run there.
    pub fn command(&self, command: Command) -> Command {
        let Some(namespace) = &self.namespace else {
            return command;
        };
        let mut there = Command::new("ip");
        there.args(["netns", "exec", namespace]);
        there.arg(command.get_program()).args(command.get_args());
        there
    }
}

/// A network for a cluster.
#[derive(Debug)]
pub enum Network {
    /// Loopback addresses: no rights are needed, and no link can be cut.
    Loopback(Block),
    /// A namespace for each host.
    Namespaces(Lab),
}

impl Network {
    /// The host whose address ends so.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be made.
    pub fn host(&mut self, last: u8) -> Outcome<Host> {
        match self {
            Self::Loopback(block) => Ok(Host::here(block.address(last))),
            Self::Namespaces(lab) => lab.host(last),
        }
    }

    /// The links of this network.
    ///
    /// # Errors
    /// [`Failure`] if it has none that could be cut.
    pub fn links(&self) -> Outcome<&Lab> {
        match self {
            Self::Loopback(_) => Err(Failure::new(
                "links can be cut in a network of namespaces only",
            )),
            Self::Namespaces(lab) => Ok(lab),
        }
    }
}

/// Hosts in namespaces, all on one bridge, which is in a namespace as well: what this machine's
/// firewall does with bridges is of no concern. The harness reaches them all, always.
#[derive(Debug)]
pub struct Lab {
    name: String,
    subnet: [u8; 3],
    hosts: Vec<u8>,
}

/// What stands in the name of every namespace, before the number of the process that made it.
const PREFIX: &str = "hubtest";
/// A host drops what comes from those it is cut from, and what goes to them.
const RULES: &str = "table inet cut {
    set gone { type ipv4_addr; }
    chain incoming { type filter hook input priority 0; ip saddr @gone drop; }
    chain outgoing { type filter hook output priority 0; ip daddr @gone drop; }
}
";

impl Lab {
    /// A bridge without hosts.
    ///
    /// # Errors
    /// Why this machine cannot have one, for whoever reads that a test was skipped.
    pub fn new() -> Outcome<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::new("network namespaces need root"));
        }
        for needed in ["ip", "nft"] {
            program(needed).ok_or_else(|| {
                Failure(format!(
                    "{needed} is not installed: ./tools/need.sh network"
                ))
            })?;
        }
        sweep()?;
        let own = std::process::id();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{own}-{number}");
        // A /24 of its own of what RFC 2544 sets aside for tests.
        let place = own.wrapping_mul(7).wrapping_add(number) % 512;
        let lab = Self {
            subnet: [198, 18 + (place / 256) as u8, (place % 256) as u8],
            name,
            hosts: Vec::new(),
        };
        let (name, cable) = (&lab.name, lab.cable());
        run("ip", &["netns", "add", name])?;
        let inside = |arguments: &[&str]| run("ip", &[&["-n", name.as_str()], arguments].concat());
        inside(&["link", "add", "name", "bridge0", "type", "bridge"])?;
        inside(&["link", "set", "dev", "bridge0", "up"])?;
        let peer = ["type", "veth", "peer", "name", "harness", "netns", name];
        run(
            "ip",
            &[&["link", "add", "name", &cable], &peer[..]].concat(),
        )?;
        inside(&["link", "set", "dev", "harness", "master", "bridge0", "up"])?;
        let address = format!("{}/24", lab.address(1));
        run("ip", &["addr", "add", &address, "dev", &cable])?;
        run("ip", &["link", "set", "dev", &cable, "up"])?;
        Ok(lab)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, last)
    }

    /// The harness's end of the cable to the bridge. Interface names are short.
    fn cable(&self) -> String {
        format!("ht{}", self.name.trim_start_matches(PREFIX))
    }

    fn namespace(&self, last: u8) -> String {
        format!("{}-{last}", self.name)
    }

    fn host(&mut self, last: u8) -> Outcome<Host> {
        let namespace = self.namespace(last);
        if !self.hosts.contains(&last) {
            let (bridge, port) = (self.name.as_str(), format!("port{last}"));
            let address = format!("{}/24", self.address(last));
            run("ip", &["netns", "add", &namespace])?;
            self.hosts.push(last);
            let peer = ["type", "veth", "peer", "name", "eth0", "netns", &namespace];
            let add = ["-n", bridge, "link", "add", "name", &port];
            run("ip", &[&add[..], &peer[..]].concat())?;
            let set = ["-n", bridge, "link", "set", "dev", &port];
            run("ip", &[&set[..], &["master", "bridge0", "up"]].concat())?;
            for arguments in [
                &["addr", "add", &address, "dev", "eth0"][..],
                &["link", "set", "dev", "eth0", "up"],
                &["link", "set", "dev", "lo", "up"],
            ] {
                run("ip", &[&["-n", namespace.as_str()], arguments].concat())?;
            }
            self.nft(last, RULES)?;
        }
        Ok(Host {
            address: self.address(last),
            namespace: Some(namespace),
        })
    }

    /// From now on no packet gets from one of the two hosts to the other.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn cut(&self, one: &Host, other: &Host) -> Outcome<()> {
        for (here, there) in [(one, other), (other, one)] {
            let [_, _, _, last] = here.address.octets();
            let rule = format!("add element inet cut gone {{ {} }}\n", there.address);
            self.nft(last, &rule)?;
        }
        Ok(())
    }

    /// All links are whole again.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn heal(&self) -> Outcome<()> {
        for last in &self.hosts {
            self.nft(*last, "flush set inet cut gone\n")?;
        }
        Ok(())
    }

    fn nft(&self, last: u8, rules: &str) -> Outcome<()> {
        let namespace = self.namespace(last);
        run("ip", &["netns", "exec", &namespace, "nft", rules])
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for last in &self.hosts {
            let _ = run("ip", &["netns", "del", &self.namespace(*last)]);
        }
        let _ = run("ip", &["link", "del", "dev", &self.cable()]);
        let _ = run("ip", &["netns", "del", &self.name]);
    }
}

/// Removes what harnesses have left behind that were killed.
fn sweep() -> Outcome<()> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return Ok(());
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            // Another harness may be at it too.
            let _ = run("ip", &["netns", "del", &name]);
        }
    }
    Ok(())
}

/// Runs a program that must succeed.
fn run(name: &str, arguments: &[&str]) -> Outcome<()> {
    let path = program(name).ok_or_else(|| Failure(format!("{name} is not installed")))?;
    let output = Command::new(path)
        .args(arguments)
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure(format!("{name} {}: {said}", arguments.join(" "))))
}
