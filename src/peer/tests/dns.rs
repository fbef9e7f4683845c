//! Members that are found by DNS.

use std::process::{Child, Command, Stdio};

use tokio::net::UdpSocket;

use super::*;
use crate::spoke::peers::Peers as _;

const NAME: &str = "b.hub.test";
/// Long enough that nothing is looked up again for its age.
const KEEP: Duration = Duration::from_mins(10);

/// A name server that knows one name.
trait NameServer {
    fn address(&self) -> SocketAddr;
    fn point_to(&self, ip: Ipv4Addr);
}

/// One in this process.
struct Small {
    address: SocketAddr,
    ip: Arc<Mutex<Ipv4Addr>>,
}

impl Small {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let ip = Arc::new(Mutex::new(Ipv4Addr::UNSPECIFIED));
        let known = Arc::clone(&ip);
        tokio::spawn(async move {
            let mut packet = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let reply = reply(&packet[..length], *known.lock());
                let _ = socket.send_to(&reply, from).await;
            }
        });
        Self { address, ip }
    }
}

/// An answer to a question about an address: of version 4, as it is known; of version 6, none.
fn reply(question: &[u8], ip: Ipv4Addr) -> Vec<u8> {
    let name = question[12..].iter().position(|byte| *byte == 0).unwrap() + 13;
    let wants_v4 = question[name..name + 2] == [0, 1];
    let mut reply = question[..2].to_vec();
    reply.extend_from_slice(&[0x85, 0x80, 0, 1, 0, u8::from(wants_v4), 0, 0, 0, 0]);
    reply.extend_from_slice(&question[12..name + 4]);
    if wants_v4 {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend_from_slice(&ip.octets());
    }
    reply
}

impl NameServer for Small {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn point_to(&self, ip: Ipv4Addr) {
        *self.ip.lock() = ip;
    }
}

/// A real one: dnsmasq, on a port of its own.
struct Dnsmasq {
    address: SocketAddr,
    process: Child,
    folder: tempfile::TempDir,
}

impl Dnsmasq {
    /// On a port that is free. Where another process takes it meanwhile, on another.
    fn start() -> Self {
        let mut reasons = Vec::new();
        for _ in 0..5 {
            match Self::try_start() {
                Ok(started) => return started,
                Err(reason) => reasons.push(reason),
            }
        }
        panic!("dnsmasq does not start: {reasons:#?}");
    }

    fn try_start() -> Result<Self, String> {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        std::fs::write(&hosts, "").unwrap();
        let said = folder.path().join("said");
        let process = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--no-resolv",
                "--no-hosts",
                "--conf-file=",
                // Else it watches folders, of which a machine can have used up its share.
                "--no-poll",
            ])
            .args([
                "--listen-address=127.0.0.1",
                "--bind-interfaces",
                "--local=/test/",
            ])
            .args(["--user=root", "--pid-file="])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--addn-hosts={}", hosts.display()))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let mut started = Self {
            address,
            process,
            folder,
        };
        // It hears signals before it listens.
        // That it listens is read and not tried: what is tried with may be what it fails for.
        let wanted = format!("0100007F:{:04X} ", address.port());
        let listens = || {
            std::fs::read_to_string("/proc/net/udp")
                .unwrap()
                .contains(&wanted)
        };
        let began = Instant::now();
        loop {
            if let Some(status) = started.process.try_wait().unwrap() {
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                return Err(format!("{address}: {status}: {said}"));
            }
            if listens() {
                return Ok(started);
            }
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "dnsmasq does not listen"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl NameServer for Dnsmasq {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn point_to(&self, ip: Ipv4Addr) {
        let hosts = self.folder.path().join("hosts");
        std::fs::write(hosts, format!("{ip} {NAME}\n")).unwrap();
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_member_is_found_by_dns_and_looked_for_only_when_it_moves() {
    moves(Small::start().await).await;
}

#[tokio::test]
async fn so_it_is_with_a_real_name_server() {
    moves(Dnsmasq::start()).await;
}

async fn moves(dns: impl NameServer) {
    let b = member(NAME);
    let node = Node::start(NAME, 5).await;
    let port = node.address.port();
    dns.point_to(Ipv4Addr::LOCALHOST);
    let resolver = PeerResolver::of_server(dns.address(), KEEP).unwrap();
    let registered = record(Incarnation(5), None, port);
    let members: Members = Arc::new([(b.clone(), registered)].into());
    let (_sender, members) = watch::channel(members);
    let client = PeerClient::start(identity("a", 3), settings(), Some(resolver), members).unwrap();
    until("it is found", || is_connected(&client, &b)).await;

    let before = client.dns_lookups();
    for number in 0..500 {
        client
            .append(&b, append(number, Bytes::new()))
            .await
            .unwrap();
        client.get(&b, channel(), key(number)).await.unwrap();
    }
    // Heartbeats look up nothing either.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(client.dns_lookups(), before);

    // The process is moved: its old address refuses, and DNS knows the new one.
    node.end().await;
    let moved = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
    let node = Node::start_at(identity(NAME, 6), moved).await;
    dns.point_to(Ipv4Addr::new(127, 0, 0, 2));
    let began = Instant::now();
    while client
        .append(&b, append(1_000, Bytes::new()))
        .await
        .is_err()
    {
        in_time(began.elapsed(), Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    in_time(began.elapsed(), Duration::from_secs(1));
    assert_eq!(node.service.appended.lock().len(), 1);
    let address = client.snapshot().remove(0).address;
    assert_eq!(address, Some(moved));
}

#[tokio::test]
async fn settings_of_the_system_are_read_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    assert!(PeerResolver::of_file(&path, KEEP).is_err());
    std::fs::write(&path, "nameserver 127.0.0.53\noptions ndots:5\n").unwrap();
    assert!(PeerResolver::of_file(&path, KEEP).is_ok());
}
