//! Node slots: two characters that tell the members of a history apart.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::member::Member;

/// The digits of base 62, ascending by ASCII byte, so that slots order as their numbers do.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The number of node slots: 62 times 62.
pub const NODE_SLOTS: u16 = 3_844;

/// Two base-62 characters that end the suffix of every item key stamped by a member, so that two
/// members cannot stamp the same key within one millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeSlot(u16);

/// Why a string is not a node slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node slot is two characters of 0-9, A-Z and a-z, not {found:?}")]
pub struct NodeSlotError {
    /// The string that was refused.
    pub found: String,
}

impl NodeSlot {
    /// The slot of a number below [`NODE_SLOTS`]; `None` from there on.
    pub const fn new(number: u16) -> Option<Self> {
        if number < NODE_SLOTS {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number of the slot, below [`NODE_SLOTS`].
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The two characters, as ASCII.
    pub const fn as_bytes(self) -> [u8; 2] {
        [
            DIGITS[(self.0 / 62) as usize],
            DIGITS[(self.0 % 62) as usize],
        ]
    }
}

impl fmt::Display for NodeSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low] = self.as_bytes().map(char::from);
        write!(f, "{high}{low}")
    }
}

impl FromStr for NodeSlot {
    type Err = NodeSlotError;

    fn from_str(text: &str) -> Result<Self, NodeSlotError> {
        let digit = |byte| {
            (0_u16..)
                .zip(DIGITS)
                .find(|&(_, &d)| d == byte)
                .map(|(n, _)| n)
        };
        if let &[high, low] = text.as_bytes()
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            return Ok(Self(high * 62 + low));
        }
        Err(NodeSlotError {
            found: text.to_owned(),
        })
    }
}

/// Who has which node slot. A member keeps its slot for as long as it is in the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NodeSlots(BTreeMap<Member, NodeSlot>);

impl NodeSlots {
    pub(crate) fn get(&self, member: &Member) -> Option<NodeSlot> {
        self.0.get(member).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Member, NodeSlot)> {
        self.0.iter().map(|(member, &slot)| (member, slot))
    }

    /// The number of slots that nobody has.
    pub(crate) fn free(&self) -> usize {
        usize::from(NODE_SLOTS) - self.0.len()
    }

    /// Whether the slots are enough for those of the members who have none yet.
    pub(crate) fn suffice<'a>(&self, members: impl IntoIterator<Item = &'a Member>) -> bool {
        let without = members.into_iter().filter(|m| !self.0.contains_key(*m));
        without.count() <= self.free()
    }

    /// Gives each member without a slot the lowest free one, in the order given. Members for whom
    /// none is left go without; ask [`suffice`](Self::suffice) first.
    pub(crate) fn assign<'a>(&mut self, members: impl IntoIterator<Item = &'a Member>) {
        let mut taken = vec![false; usize::from(NODE_SLOTS)];
        for slot in self.0.values() {
            taken[usize::from(slot.0)] = true;
        }
        let mut free = (0..NODE_SLOTS).filter(|&number| !taken[usize::from(number)]);
        for member in members {
            if !self.0.contains_key(member)
                && let Some(number) = free.next()
            {
                self.0.insert(member.clone(), NodeSlot(number));
            }
        }
    }

    /// Takes the slots of members who are not to keep theirs.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Member) -> bool) {
        self.0.retain(|member, _| keep(member));
    }

    /// The slots as they were stored; `None` if a member or a slot comes twice.
    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (Member, NodeSlot)>) -> Option<Self> {
        let mut slots = BTreeMap::new();
        let mut taken = vec![false; usize::from(NODE_SLOTS)];
        for (member, slot) in pairs {
            if std::mem::replace(&mut taken[usize::from(slot.0)], true)
                || slots.insert(member, slot).is_some()
            {
                return None;
            }
        }
        Some(Self(slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> Member {
        Member::new(&format!("m{n}")).unwrap()
    }

    #[test]
    fn every_slot_has_its_own_two_characters_in_ascending_order() {
        let all: Vec<String> = (0..NODE_SLOTS)
            .map(|n| NodeSlot::new(n).unwrap().to_string())
            .collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(
            (all[0].as_str(), all[61].as_str(), all[62].as_str()),
            ("00", "0z", "10")
        );
        assert_eq!(all[3_843], "zz");
        for (n, text) in all.iter().enumerate() {
            assert_eq!(text.parse::<NodeSlot>().unwrap().number() as usize, n);
        }
        assert_eq!(NodeSlot::new(NODE_SLOTS), None);
        for bad in ["", "0", "000", "0-", "ä", "0\u{e4}"] {
            assert!(bad.parse::<NodeSlot>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_lowest_free_slot_is_given_and_kept() {
        let mut slots = NodeSlots::default();
        let members: Vec<Member> = (0..4).map(name).collect();
        slots.assign(&members);
        slots.retain(|member| *member != members[1]);
        slots.assign(&[members[2].clone(), name(9), name(10)]);
        let numbers = [0, 2, 3, 9, 10].map(|n| slots.get(&name(n)).unwrap().number());
        assert_eq!(numbers, [0, 2, 3, 1, 4]);
        assert_eq!(slots.get(&members[1]), None);
    }

    #[test]
    fn stored_slots_must_be_distinct() {
        let pairs = |list: &[(usize, u16)]| {
            NodeSlots::from_pairs(list.iter().map(|&(m, s)| (name(m), NodeSlot(s))))
        };
        assert_eq!(
            pairs(&[(1, 5), (2, 0)]).unwrap().get(&name(1)),
            Some(NodeSlot(5))
        );
        assert_eq!(pairs(&[(1, 5), (2, 5)]), None);
        assert_eq!(pairs(&[(1, 5), (1, 6)]), None);
    }

    #[test]
    fn when_all_are_taken_nobody_gets_one() {
        let mut slots = NodeSlots::default();
        let members: Vec<Member> = (0..3_845).map(name).collect();
        assert!(slots.suffice(&members[..3_844]) && !slots.suffice(&members));
        slots.assign(&members);
        assert_eq!((slots.free(), slots.get(&members[3_844])), (0, None));
        assert!(slots.suffice(&members[..3_844]) && !slots.suffice(&members[3_844..]));
    }
}
