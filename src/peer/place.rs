//! Where another member is: as it has registered, else as DNS says.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hub_ring::Member;
use parking_lot::Mutex;

use super::resolver::PeerResolver;
use crate::cluster::MemberRecord;

/// How long DNS may take to know better than the registration.
const DNS_PATIENCE: Duration = Duration::from_millis(250);

/// Where a member is.
#[derive(Debug)]
pub(super) struct Place {
    /// Its name without a port.
    host: String,
    /// The port in its name, or the usual one.
    port: u16,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    record: Option<MemberRecord>,
    address: Option<SocketAddr>,
    /// The registered address led nowhere: DNS may know better.
    doubtful: bool,
}

impl Place {
    /// Of a member about which nothing is known but its name.
    pub(super) fn new(member: &Member, default_port: u16) -> Self {
        let name = member.as_str();
        let named = name
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = named.unwrap_or((name, default_port));
        Self {
            host: host.to_owned(),
            port,
            known: Mutex::default(),
        }
    }

    /// Where it was last looked for.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.known.lock().address
    }

    /// Takes up what the member has registered; says whether that may have moved it.
    pub(super) fn registered(&self, record: &MemberRecord) -> bool {
        let mut known = self.known.lock();
        let said = |record: &MemberRecord| (record.incarnation, record.ip, record.peer_port);
        let before = known.record.replace(record.clone());
        if before.as_ref().map(said) == Some(said(record)) {
            return false;
        }
        known.doubtful = false;
        let port = self.port_of(Some(record));
        known.address = match (record.ip, known.address) {
            (Some(ip), _) => Some(SocketAddr::new(ip, port)),
            // It may still be where it was.
            (None, Some(address)) if address.port() == port => Some(address),
            (None, _) => None,
        };
        true
    }

    fn port_of(&self, record: Option<&MemberRecord>) -> u16 {
        let registered = record.map(|record| record.peer_port);
        registered.filter(|port| *port != 0).unwrap_or(self.port)
    }

    /// Looks for the member, as far as it is not known where it is.
    ///
    /// # Errors
    /// Why it cannot be found.
    pub(super) async fn locate(&self, resolver: Option<&PeerResolver>) -> Result<(), String> {
        let (registered, port, doubtful) = {
            let known = self.known.lock();
            let record = known.record.as_ref();
            let ip = record.and_then(|record| record.ip);
            (ip, self.port_of(record), known.doubtful)
        };
        let found = match registered {
            Some(ip) if !doubtful => Ok(ip),
            // It may be back where it was before DNS has answered.
            Some(ip) => {
                let looked_up = tokio::time::timeout(DNS_PATIENCE, self.look_up(resolver)).await;
                Ok(looked_up.ok().and_then(Result::ok).unwrap_or(ip))
            }
            None => self.look_up(resolver).await,
        };
        let mut known = self.known.lock();
        let record = known.record.as_ref();
        let same = record.and_then(|record| record.ip) == registered;
        // What was registered meanwhile is newer than what was looked up.
        if same && self.port_of(record) == port {
            let address = found.as_ref().ok().map(|ip| SocketAddr::new(*ip, port));
            known.address = address;
        }
        found.map(|_| ())
    }

    async fn look_up(&self, resolver: Option<&PeerResolver>) -> Result<IpAddr, String> {
        if let Ok(ip) = self.host.parse() {
            return Ok(ip);
        }
        match resolver {
            Some(resolver) => resolver.find(&self.host).await,
            None => Err(format!(
                "{} has not registered its address, and there is no DNS",
                self.host
            )),
        }
    }

    /// Where it was last looked for leads nowhere, or to somebody else: the other source may know
    /// better.
    pub(super) fn mislaid(&self, resolver: Option<&PeerResolver>) {
        let mut known = self.known.lock();
        let registered = known.record.as_ref().and_then(|record| record.ip);
        let at = known.address.map(|address| address.ip());
        known.doubtful = registered.is_some() && at == registered;
        drop(known);
        if let Some(resolver) = resolver {
            resolver.forget(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Incarnation;

    fn record(run: u64, ip: Option<&str>, port: u16) -> MemberRecord {
        let ip = ip.map(|ip| ip.parse().unwrap());
        crate::peer::tests::record(Incarnation(run), ip, port)
    }

    async fn at(place: &Place) -> Option<String> {
        // Without DNS some are not found.
        let _ = place.locate(None).await;
        place.address().map(|address| address.to_string())
    }

    #[tokio::test]
    async fn the_registered_address_counts_and_then_the_name() {
        let place = |name: &str| Place::new(&Member::new(name).unwrap(), 81);
        let named = place("hub-1.example");
        assert_eq!(at(&named).await, None);
        assert!(named.registered(&record(1, Some("10.0.0.1"), 0)));
        assert_eq!(at(&named).await.unwrap(), "10.0.0.1:81");
        assert!(!named.registered(&record(1, Some("10.0.0.1"), 0)));
        assert!(named.registered(&record(2, Some("10.0.0.2"), 91)));
        // Known at once, before anybody looks.
        assert_eq!(named.address().unwrap().to_string(), "10.0.0.2:91");
        // Without DNS it can only be there, however often it is not.
        for _ in 0..3 {
            named.mislaid(None);
            assert_eq!(at(&named).await.unwrap(), "10.0.0.2:91");
        }
        let numbered = place("127.0.0.11:8081");
        assert_eq!(at(&numbered).await.unwrap(), "127.0.0.11:8081");
        // A new run of which no address is known may be where the last one was.
        assert!(numbered.registered(&record(3, None, 8081)));
        assert_eq!(numbered.address().unwrap().to_string(), "127.0.0.11:8081");
        assert!(numbered.registered(&record(4, None, 91)));
        assert_eq!(at(&numbered).await.unwrap(), "127.0.0.11:91");
    }
}
