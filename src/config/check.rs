//! What must hold between settings.

use std::net::{IpAddr, SocketAddr};

use super::settings::Config;

/// Two settings that do not go together.
pub(super) struct Clash {
    /// Section and key of each.
    pub(super) settings: [&'static str; 2],
    pub(super) rule: &'static str,
}

/// What does not go together in `config`.
pub(super) fn clashes(config: &Config) -> Vec<Clash> {
    let clustered = config.zookeeper.servers.is_some();
    let checks = [
        (
            overlap(config.http.listen, config.ops.listen),
            ["http.listen", "ops.listen"],
            "the two listeners need different addresses",
        ),
        (
            clustered && overlap(config.http.listen, config.peer.listen),
            ["http.listen", "peer.listen"],
            "the two listeners need different addresses",
        ),
        (
            clustered && overlap(config.ops.listen, config.peer.listen),
            ["ops.listen", "peer.listen"],
            "the two listeners need different addresses",
        ),
        (
            clustered && config.cluster.secret_file.is_none(),
            ["zookeeper.servers", "cluster.secret_file"],
            "the nodes of a cluster need a secret by which they know each other",
        ),
        (
            config.limits.item_bytes > config.limits.inflight_bytes,
            ["limits.item_bytes", "limits.inflight_bytes"],
            "the largest item must fit into what may be in flight",
        ),
        (
            config.tls.certificate_file.is_some() != config.tls.key_file.is_some(),
            ["tls.certificate_file", "tls.key_file"],
            "both must be set, or neither",
        ),
    ];
    checks
        .into_iter()
        .filter(|(broken, ..)| *broken)
        .map(|(_, settings, rule)| Clash { settings, rule })
        .collect()
}

/// What is allowed in `config`, but hardly meant.
pub(super) fn doubts(config: &Config) -> Vec<String> {
    let mut doubts = Vec::new();
    let (window, skew) = (config.spoke.accept_window_ms, config.cluster.max_skew_ms);
    if window <= skew {
        doubts.push(format!(
            "spoke.accept_window_ms = {window} is not above cluster.max_skew_ms = {skew}: nodes \
             whose clocks are within the bounds may refuse each other's items"
        ));
    }
    doubts
}

/// Whether the system refuses to listen on both.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    // Port 0 asks the system for a free one, so two of them never meet.
    if a.port() != b.port() || a.port() == 0 {
        return false;
    }
    let (a, b) = (a.ip().to_canonical(), b.ip().to_canonical());
    // The unspecified IPv6 address takes IPv4 connections as well.
    let takes = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a == b || takes(a, b) || takes(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_meet_where_one_takes_the_others_connections() {
        for (a, b, meet) in [
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "0.0.0.0:81", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (a, b): (SocketAddr, SocketAddr) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(overlap(a, b), meet, "{a} {b}");
            assert_eq!(overlap(b, a), meet, "{b} {a}");
        }
    }
}
