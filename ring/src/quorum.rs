//! How many members of a replica set must answer.

/// The quorum `W` of `n` members: `n / 2 + 1`. Two write quorums of a replica set share a member.
///
/// ```
/// assert_eq!([1, 2, 3].map(hub_ring::quorum), [1, 2, 2]);
/// ```
pub const fn quorum(n: usize) -> usize {
    n / 2 + 1
}

/// The read quorum of `n` members: `n - W + 1`, the fewest that share a member with every write
/// quorum. An empty set has none (0).
///
/// ```
/// assert_eq!([1, 2, 3].map(hub_ring::read_quorum), [1, 1, 2]);
/// ```
pub const fn read_quorum(n: usize) -> usize {
    n + 1 - quorum(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_read_quorum_meets_every_write_quorum_and_is_the_smallest_that_does() {
        for n in 1..=9 {
            assert!(quorum(n) + read_quorum(n) > n);
            assert!(quorum(n) + (read_quorum(n) - 1) <= n);
            assert!(2 * quorum(n) > n && quorum(n) <= n);
        }
        assert_eq!((quorum(3), read_quorum(3)), (2, 2));
        assert_eq!((quorum(0), read_quorum(0)), (1, 0));
    }
}
