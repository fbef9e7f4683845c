//! The requests that the hub serves, as types.

use std::borrow::Cow;

use super::on_node::OnNode;
use crate::env::Millis;
use crate::item::{ItemKey, TimePath, Unit};

/// A request that the hub serves. HEAD has the route of GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET /`
    Root,
    /// `GET /openapi.json`
    OpenApi,
    /// `GET /health`
    Health,
    /// `GET /health/live`
    HealthLive,
    /// `GET /health/metrics`
    HealthMetrics,
    /// `GET /metrics`
    Metrics,
    /// `GET /channel`
    ChannelList,
    /// `POST /channel`
    ChannelCreate,
    /// `POST /provider`
    Provider,
    /// `POST /provider/bulk`
    ProviderBulk,
    /// Anything below `/channel/{channel}`.
    Channel {
        /// The name as the path spells it, percent-decoded and otherwise unchecked. Links repeat
        /// this spelling.
        channel: Cow<'a, str>,
        /// What is asked of the channel.
        route: ChannelRoute,
    },
    /// `GET /tag`
    TagList,
    /// Anything below `/tag/{tag}`: what is read of a channel.
    Tag {
        /// The tag, percent-decoded and otherwise unchecked.
        tag: Cow<'a, str>,
        /// What is asked of it.
        route: ChannelRoute,
    },
    /// `GET /internal` and below.
    Internal(InternalRoute),
    /// `GET /internal/rings/{channel}`
    RingsOf {
        /// The name as the path spells it.
        channel: Cow<'a, str>,
    },
    /// A page of the node with parameters in its path, or something done to the hub.
    OnNode(OnNode<'a>),
    /// `OPTIONS` on any path that is served.
    Preflight {
        /// The path's methods, as the `Allow` header lists them.
        allow: &'static str,
    },
}

/// What is asked of one channel. Paths are relative to `/channel/{channel}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelRoute {
    /// `GET`: the configuration.
    Get,
    /// `PUT`: create or merge.
    Put,
    /// `PATCH`: merge.
    Patch,
    /// `DELETE`: the channel.
    Delete,
    /// `POST`: insert an item.
    Insert,
    /// `POST /bulk`: insert several items.
    Bulk,
    /// `GET /status`
    Status,
    /// `GET /doc`
    DocGet,
    /// `PUT /doc`
    DocPut,
    /// `DELETE /doc`
    DocDelete,
    /// `GET /time`: links to the current periods.
    TimeLinks,
    /// `GET /time/{unit}`: a redirect to the current period.
    TimeNow(Unit),
    /// `GET /{Y}/{M}/{D}`, down to the second: the items of a period.
    Period(TimePath),
    /// `GET /{Y}/{M}/{D}/{h}/{m}/{s}/{ms}`: a redirect to this second, which holds it.
    Millisecond(TimePath),
    /// `POST /{Y}/{M}/{D}/{h}/{m}/{s}/{ms}`: insert an item of that time, under a hash that the hub chooses.
    InsertAt(Millis),
    /// `POST /{key}`: insert the item of that key, or put it in place of the one that is there.
    InsertAs(ItemKey),
    /// `DELETE /{key}`
    DeleteItem(ItemKey),
    /// `GET /{key}`
    Item(ItemKey),
    /// `GET /{key}/{direction}`: a redirect to one neighbour.
    Neighbour {
        /// Where the search starts; the item there is no answer.
        from: ItemKey,
        /// Which way it goes.
        direction: Direction,
    },
    /// `GET /{key}/{direction}/{count}`
    Neighbours {
        /// Where the search starts.
        from: ItemKey,
        /// Which way it goes.
        direction: Direction,
        /// How many items at most: any integer, one that does not fit cut to the ends of `i64`.
        count: i64,
    },
    /// `GET /{Y}/{M}/{D}/{h}/{m}/{s}/{direction}/{count}`: a run of seconds, not of items.
    Seconds {
        /// The second that it starts from.
        from: TimePath,
        /// Which way it goes.
        direction: Direction,
        /// How many seconds at most; as in [`Self::Neighbours`].
        count: i64,
    },
    /// `GET /latest`, `/earliest`: a redirect to one item.
    Edge(Edge),
    /// `GET /latest/{count}`, `/earliest/{count}`
    Edges {
        /// Which end of the channel.
        edge: Edge,
        /// How many items at most; as in [`Self::Neighbours`].
        count: i64,
    },
}

/// What is asked of the hub itself. Paths are relative to `/internal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InternalRoute {
    /// `GET`: links to the rest.
    Index,
    /// `GET /properties`
    Properties,
    /// `GET /deploy`
    Deploy,
    /// `GET /deploy/text`
    DeployText,
    /// `GET /health`
    Health,
    /// `GET /rings`
    Rings,
    /// `GET /cluster`
    Cluster,
    /// `GET /cluster/recover`: the choices of an operator, and what each would cost.
    Recovery,
    /// `POST /cluster/recover`: makes one of them.
    Recover,
    /// `GET /backup`: what a backup holds of the channels and the rings.
    Backup,
    /// `GET /time`
    Time,
    /// `GET /time/local`
    TimeLocal,
    /// `GET /time/millis`
    TimeMillis,
    /// `GET /time/remote`
    TimeRemote,
}

/// Which way a search goes in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To later items.
    Next,
    /// To earlier items.
    Previous,
}

impl Direction {
    /// `next` or `previous`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Previous => "previous",
        }
    }

    /// Reads a segment: any that starts with `n` is next, with `p` previous.
    pub(super) fn of(segment: &str) -> Option<Self> {
        match segment.bytes().next()? {
            b'n' => Some(Self::Next),
            b'p' => Some(Self::Previous),
            _ => None,
        }
    }
}

/// An end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// Where the newest items are.
    Latest,
    /// Where the oldest items are.
    Earliest,
}

impl Edge {
    /// `latest` or `earliest`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Earliest => "earliest",
        }
    }
}

impl Route<'_> {
    /// Whether it is about the node and not about channels.
    pub const fn is_of_node(&self) -> bool {
        matches!(
            self,
            Self::Health
                | Self::HealthLive
                | Self::HealthMetrics
                | Self::Metrics
                | Self::Internal(_)
                | Self::RingsOf { .. }
                | Self::OnNode(_)
        )
    }

    /// The route's name in metrics, one of a small fixed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::OpenApi => "openapi",
            Self::Health => "health",
            Self::HealthLive => "health_live",
            Self::HealthMetrics => "health_metrics",
            Self::Metrics => "metrics",
            Self::ChannelList => "channel_list",
            Self::ChannelCreate => "channel_create",
            Self::Provider => "provider",
            Self::ProviderBulk => "provider_bulk",
            Self::TagList => "tag_list",
            Self::Tag { .. } => "tag",
            Self::Channel { route, .. } => route.label(),
            Self::Internal(route) => route.label(),
            Self::RingsOf { .. } => "internal_rings_of",
            Self::OnNode(route) => route.label(),
            Self::Preflight { .. } => "preflight",
        }
    }
}

impl ChannelRoute {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Get => "channel_get",
            Self::Put => "channel_put",
            Self::Patch => "channel_patch",
            Self::Delete => "channel_delete",
            Self::Insert => "insert",
            Self::Bulk => "bulk",
            Self::Status => "status",
            Self::DocGet => "doc_get",
            Self::DocPut => "doc_put",
            Self::DocDelete => "doc_delete",
            Self::TimeLinks => "time_links",
            Self::TimeNow(_) => "time_now",
            Self::Period(_) => "time_query",
            Self::Millisecond(_) => "millisecond",
            Self::InsertAt(_) | Self::InsertAs(_) => "insert_historical",
            Self::DeleteItem(_) => "item_delete",
            Self::Item(_) => "item",
            Self::Neighbour { .. } => "direction",
            Self::Neighbours { .. } => "direction_count",
            Self::Seconds { .. } => "seconds",
            Self::Edge(Edge::Latest) => "latest",
            Self::Edge(Edge::Earliest) => "earliest",
            Self::Edges { edge, .. } => match edge {
                Edge::Latest => "latest_count",
                Edge::Earliest => "earliest_count",
            },
        }
    }
}

impl InternalRoute {
    fn label(self) -> &'static str {
        match self {
            Self::Index => "internal",
            Self::Properties => "internal_properties",
            Self::Deploy => "internal_deploy",
            Self::DeployText => "internal_deploy_text",
            Self::Health => "internal_health",
            Self::Rings => "internal_rings",
            Self::Cluster => "internal_cluster",
            Self::Recovery => "internal_cluster_recovery",
            Self::Recover => "internal_cluster_recover",
            Self::Backup => "internal_backup",
            Self::Time => "internal_time",
            Self::TimeLocal => "internal_time_local",
            Self::TimeMillis => "internal_time_millis",
            Self::TimeRemote => "internal_time_remote",
        }
    }
}
