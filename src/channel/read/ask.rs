//! Asking replicas: this node's own, and those of others.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hub_ring::Member;

use super::Reads;
use crate::item::ItemKey;
use crate::spoke::peers::{ChannelRef, GetAnswer, PeerItem, PeerPayload, Report, ReportRequest};
use crate::spoke::{ItemFlags, ItemHead, ReadError, StoredItem, StoredPayload, Vote};

/// What a replica said to a question about a key.
pub(super) enum Said {
    /// It holds it.
    Found(StoredItem),
    /// It would, if it existed.
    No,
    /// It does not hold that time any more: it is in the archive.
    Evicted,
    /// Neither, with the reason.
    Nothing(ReadError),
}

/// What a read quorum said of a range.
pub(super) struct Asked {
    /// Who answered, with the answer.
    pub(super) reports: Vec<(Member, Report)>,
    /// Who did not.
    pub(super) missing: Vec<Member>,
    /// Why this node's own replica did not, if that is so.
    pub(super) own: Option<ReadError>,
    /// How many were asked.
    pub(super) count: usize,
}

impl Reads {
    /// A replica set in the order in which it is asked: this node, those that are connected, the
    /// rest.
    pub(super) fn nearest(&self, set: &[Member]) -> Vec<Member> {
        let mut order = set.to_vec();
        order.sort_by_key(|member| {
            if member == self.view.own() {
                0
            } else if self.peers.is_connected(member) {
                1
            } else {
                2
            }
        });
        order
    }

    /// Asks replicas about a key, one after the other, until one holds it or `needed` of them say that
    /// it does not exist, or that they have let go of that time; with `soon`, one who says so is enough.
    /// The next one is asked as well when one takes its time. Gives who did not answer, too.
    pub(super) async fn ask_for(
        &self,
        set: &[Member],
        needed: usize,
        channel: &ChannelRef,
        key: ItemKey,
        soon: bool,
    ) -> (Said, Vec<Member>) {
        let order = self.nearest(set);
        let mut waiting = order.iter();
        let mut asking = FuturesUnordered::new();
        let mut missing = Vec::new();
        let mut wrong = None;
        let mut denials = 0;
        let mut evicted = false;
        let mut next = waiting.next();
        let mut asked = 0;
        let said = loop {
            if let Some(member) = next.take() {
                asked += 1;
                asking.push(self.ask_one(member, channel, key));
            }
            let answered = tokio::select! {
                // Who was looked at late may find both: then nobody else needs to be asked.
                biased;
                answered = asking.next() => answered,
                () = tokio::time::sleep(self.settings.hedge), if waiting.len() > 0 => {
                    next = waiting.next();
                    continue;
                }
            };
            match answered {
                Some((_, Said::Found(item))) => break Said::Found(item),
                Some((_, Said::No)) => denials += 1,
                Some((_, Said::Evicted)) if soon => break Said::Evicted,
                Some((_, Said::Evicted)) => {
                    evicted = true;
                    denials += 1;
                }
                Some((member, Said::Nothing(error))) => {
                    missing.push(member.clone());
                    wrong = Some(error);
                }
                None if waiting.len() == 0 => {
                    break Said::Nothing(wrong.unwrap_or_else(no_answer));
                }
                None => {}
            }
            if denials >= needed {
                break if evicted { Said::Evicted } else { Said::No };
            }
            next = waiting.next();
        };
        crate::metric::read_asked(asked);
        (said, missing)
    }

    async fn ask_one<'a>(
        &self,
        member: &'a Member,
        channel: &ChannelRef,
        key: ItemKey,
    ) -> (&'a Member, Said) {
        let said = if member == self.view.own() {
            match self.local.get() {
                None => Said::Nothing(closed()),
                Some(replica) => match replica.vote_on(channel.id, key).await {
                    Ok(Vote::Held(item)) => Said::Found(item),
                    Ok(Vote::No) => Said::No,
                    Ok(Vote::Evicted) => Said::Evicted,
                    Err(error) => Said::Nothing(error),
                },
            }
        } else {
            match self.peers.get(member, channel.clone(), key).await {
                Ok(GetAnswer::Found(item)) => match stored(item) {
                    Some(item) => Said::Found(item),
                    None => Said::Nothing(no_answer()),
                },
                Ok(GetAnswer::No) => Said::No,
                Ok(GetAnswer::Evicted) => Said::Evicted,
                Ok(GetAnswer::Unknown(reason)) => Said::Nothing(ReadError::Closed { reason }),
                Err(error) => Said::Nothing(ReadError::Closed {
                    reason: error.to_string(),
                }),
            }
        };
        (member, said)
    }

    /// Asks replicas about a range until `needed` of them have answered; with `all`, waits for every
    /// one that is connected.
    pub(super) async fn ask_range(
        &self,
        set: &[Member],
        needed: usize,
        all: bool,
        request: &ReportRequest,
    ) -> Asked {
        let order = self.nearest(set);
        let mut waiting = order.iter();
        let mut asking = FuturesUnordered::new();
        let mut out = Asked {
            reports: Vec::new(),
            missing: Vec::new(),
            own: None,
            count: 0,
        };
        loop {
            let wanted = if all { order.len() } else { needed };
            while asking.len() + out.reports.len() < wanted {
                let Some(member) = waiting.next() else { break };
                out.count += 1;
                asking.push(self.report_of(member, request));
            }
            if asking.is_empty() {
                break;
            }
            let answered = tokio::select! {
                answered = asking.next() => answered,
                () = tokio::time::sleep(self.settings.hedge), if waiting.len() > 0 => {
                    if let Some(member) = waiting.next() {
                        out.count += 1;
                        asking.push(self.report_of(member, request));
                    }
                    continue;
                }
            };
            match answered {
                Some((member, Ok(report))) => out.reports.push((member.clone(), report)),
                Some((member, Err(error))) => {
                    out.missing.push(member.clone());
                    if member == self.view.own() {
                        out.own = Some(error);
                    }
                }
                None => break,
            }
            if !all && out.reports.len() >= needed {
                break;
            }
        }
        crate::metric::read_asked(out.count as u64);
        out
    }

    async fn report_of<'a>(
        &self,
        member: &'a Member,
        request: &ReportRequest,
    ) -> (&'a Member, Result<Report, ReadError>) {
        let report = if member == self.view.own() {
            match self.local.get() {
                None => Err(closed()),
                Some(replica) => replica.report(request).await,
            }
        } else {
            let report = self.peers.report(member, request.clone()).await;
            report.map_err(|error| ReadError::Closed {
                reason: error.to_string(),
            })
        };
        (member, report)
    }
}

fn closed() -> ReadError {
    ReadError::Closed {
        reason: "the store is not open".to_owned(),
    }
}

fn no_answer() -> ReadError {
    ReadError::Closed {
        reason: "no replica answered".to_owned(),
    }
}

/// An item that came from another member; `None` if its payload did not come along.
fn stored(item: PeerItem) -> Option<StoredItem> {
    let PeerPayload::Inline(bytes) = item.body.payload else {
        return None;
    };
    Some(StoredItem {
        head: ItemHead {
            key: item.key,
            write_id: item.body.write_id,
            flags: ItemFlags {
                pending: item.pending,
                keyed: item.body.keyed,
            },
            content_type: item.body.content_type,
            size: item.body.size,
            digest: item.body.digest,
            replicas: Vec::new(),
        },
        payload: StoredPayload::Whole(bytes),
    })
}
