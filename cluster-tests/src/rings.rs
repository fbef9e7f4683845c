//! The rings as a hub knows them: `/internal/rings`.

use std::collections::BTreeSet;
use std::fmt;

use hub::env::{HubClock, SystemClock};
use serde_json::Value;

use crate::client::Client;
use crate::cluster::fqdn;
use crate::failure::{Failure, Outcome};
use crate::script::Condition;

/// A hub's ring history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rings {
    /// Oldest first, those included that are not in force yet.
    pub rings: Vec<Ring>,
}

/// A ring of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// Its number.
    pub version: u64,
    /// From when it is in force; `None` if that is not known yet.
    pub from: Option<String>,
    /// The names of its members.
    pub members: BTreeSet<String>,
}

impl Rings {
    /// Asks a hub.
    ///
    /// # Errors
    /// [`Failure`] if it does not say.
    pub async fn of(client: &Client) -> Outcome<Self> {
        const PATH: &str = "/internal/rings";
        let (status, body) = client.send(reqwest::Method::GET, PATH).await?;
        let text = String::from_utf8_lossy(&body);
        let broken = || Failure(format!("{PATH}: {status} {text}"));
        let body: Value = serde_json::from_slice(&body).map_err(|_| broken())?;
        let rings = body["rings"].as_array().ok_or_else(broken)?;
        let rings = rings.iter().map(ring).collect::<Option<Vec<Ring>>>();
        let rings = rings.ok_or_else(broken)?;
        Ok(Self { rings })
    }

    /// The newest ring that is in force.
    pub fn in_force(&self) -> Option<&Ring> {
        let now = HubClock::start(std::sync::Arc::new(SystemClock))
            .now()
            .iso();
        // Times in ISO form sort as their texts do.
        let begun = |ring: &&Ring| ring.from.as_ref().is_some_and(|from| *from <= now);
        self.rings.iter().rev().find(begun)
    }

    /// Whether it is as a step waits for.
    pub fn meet(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Rings(count) => self.rings.len() == *count,
            Condition::Ring(members) => {
                let members: BTreeSet<String> = members.iter().map(|n| fqdn(*n)).collect();
                self.in_force().is_some_and(|ring| ring.members == members)
            }
            Condition::Ready | Condition::NotReady => false,
        }
    }
}

fn ring(value: &Value) -> Option<Ring> {
    let members = value["members"].as_array()?.iter();
    let members = members.map(|name| Some(name.as_str()?.to_owned()));
    Some(Ring {
        version: value["version"].as_u64()?,
        from: value["from"].as_str().map(str::to_owned),
        members: members.collect::<Option<_>>()?,
    })
}

impl fmt::Display for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ring in &self.rings {
            let from = ring.from.as_deref().unwrap_or("not yet");
            let members: Vec<&str> = ring.members.iter().map(String::as_str).collect();
            write!(f, "[{} from {from}: {}]", ring.version, members.join(" "))?;
        }
        Ok(())
    }
}
