//! The plain ring: points on a circle of hashes, and the walk along them.
//!
//! Consistent hashing after Karger et al., "Consistent Hashing and Random Trees" (STOC 1997), with
//! virtual nodes. A key belongs to the first point at or after its hash, and its replicas are the
//! next distinct members clockwise. Adding a member moves only keys to that member, but the shares
//! are uneven; the table of a [`Ring`](crate::Ring) starts from this and evens it out.

use crate::hash;
use crate::member::Member;

/// The points of some members on the circle of 64-bit hashes.
#[derive(Debug, Clone)]
pub struct Points {
    /// Hash and index of the member, ascending. Two points on one hash order by the member's index,
    /// which is the order of the names, so the input's order never matters.
    points: Vec<(u64, u16)>,
}

impl Points {
    /// Places each member's virtual nodes. Members are named by their index in the slice from then
    /// on; the slice should be sorted, or two callers disagree on those indexes. Only the first
    /// 65,535 members are placed (a ring never has as many).
    pub fn new(members: &[Member], virtual_nodes: u16) -> Self {
        let mut points = Vec::with_capacity(members.len() * usize::from(virtual_nodes));
        let mut scratch = Vec::with_capacity(crate::member::MAX_NAME_BYTES + 5);
        for (index, member) in (0..u16::MAX).zip(members) {
            for number in 0..u32::from(virtual_nodes) {
                points.push((hash::point(&mut scratch, member, number), index));
            }
        }
        points.sort_unstable();
        Self { points }
    }

    /// The distinct members met clockwise from a hash, each as its index; the first one is that of
    /// the first point at or after the hash.
    pub fn walk(&self, from: u64) -> Walk<'_> {
        Walk {
            points: &self.points,
            next: self.points.partition_point(|&(hash, _)| hash < from),
            left: self.points.len(),
            seen: Vec::new(),
        }
    }
}

/// The members along the ring, see [`Points::walk`].
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    points: &'a [(u64, u16)],
    next: usize,
    left: usize,
    seen: Vec<u16>,
}

impl Iterator for Walk<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.left > 0 {
            self.left -= 1;
            if self.next == self.points.len() {
                self.next = 0;
            }
            let (_, member) = self.points[self.next];
            self.next += 1;
            if !self.seen.contains(&member) {
                self.seen.push(member);
                return Some(member);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> Vec<Member> {
        names.iter().map(|n| Member::new(n).unwrap()).collect()
    }

    #[test]
    fn a_walk_meets_every_member_once() {
        let points = Points::new(&members(&["a", "b", "c", "d"]), 64);
        for from in [0, 1, 1 << 40, 1 << 63, u64::MAX] {
            let mut met: Vec<_> = points.walk(from).collect();
            met.sort_unstable();
            assert_eq!(met, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn a_walk_begins_at_the_point_itself_and_wraps() {
        let points = Points::new(&members(&["a", "b", "c"]), 8);
        let (first, last) = (points.points[0], *points.points.last().unwrap());
        assert_eq!(points.walk(first.0).next(), Some(first.1));
        assert_eq!(points.walk(last.0).next(), Some(last.1));
        assert_eq!(points.walk(last.0 + 1).next(), Some(first.1));
    }

    #[test]
    fn no_members_no_walk() {
        assert_eq!(Points::new(&[], 256).walk(7).next(), None);
    }
}
