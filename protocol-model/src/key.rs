//! Keys and frontiers as small numbers, and as the types that ship.
//!
//! A state of the model is cloned and hashed millions of times, and a key of the hub takes 40
//! bytes. So the model keeps numbers of two bytes, and gives the hub's functions its own types.

use std::fmt;
use std::sync::OnceLock;

use hub::env::Millis;
use hub::item::{Frontier, ItemKey, NodeSlot, Suffix};

/// A key: time, counter within that time, and the node that stamped it, in the order of keys.
pub type Key = u16;

/// A frontier: it covers the keys at or below this number.
pub type Front = u16;

/// Bits of a key below its time.
const LOW: u32 = 7;
const SLOT_BITS: u32 = 3;
const COUNTERS: usize = 1 << (LOW - SLOT_BITS);
const SLOTS: usize = (1 << SLOT_BITS) - 1;

/// The time of a key.
pub fn time(key: Key) -> u16 {
    key >> LOW
}

/// The frontier that covers everything earlier than a time.
pub fn before(time: u16) -> Front {
    (time << LOW).saturating_sub(1)
}

/// A key as it is printed: its time, its counter, and the node that stamped it.
pub struct Named(pub Key);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = (usize::from(self.0) & SLOTS) as u8;
        let counter = (usize::from(self.0) >> SLOT_BITS) & (COUNTERS - 1);
        write!(f, "{}.{counter}", time(self.0))?;
        match slot.checked_sub(1) {
            Some(node) => write!(f, "{}", char::from(b'a' + node)),
            None => Ok(()),
        }
    }
}

/// The suffixes that stamping gives, by counter and node.
fn suffixes() -> &'static [[Suffix; SLOTS]; COUNTERS] {
    static TABLE: OnceLock<[[Suffix; SLOTS]; COUNTERS]> = OnceLock::new();
    TABLE.get_or_init(|| {
        std::array::from_fn(|counter| {
            std::array::from_fn(|slot| {
                let mut after = ItemKey::first_of(Millis::new(1));
                for _ in 0..=counter {
                    after = ItemKey::stamp(&after, after.millis, node_slot(slot));
                }
                after.suffix
            })
        })
    })
}

/// A node's slot in the suffixes.
pub fn node_slot(node: usize) -> NodeSlot {
    // Slots of a handful of nodes are in range.
    NodeSlot::new(node as u16).unwrap_or_else(|| unreachable!("a handful of nodes"))
}

/// A key as the hub has it.
pub fn shipped(key: Key) -> ItemKey {
    let slot = usize::from(key) & SLOTS;
    let counter = (usize::from(key) >> SLOT_BITS) & (COUNTERS - 1);
    let suffix = match slot.checked_sub(1) {
        Some(node) => suffixes()[counter][node],
        None => Suffix::EMPTY,
    };
    ItemKey::new(Millis::new(i64::from(time(key))), suffix)
}

/// A key of the hub as the model has it; `None` if it is beyond what the model counts.
pub fn small(key: &ItemKey) -> Option<Key> {
    let base = u16::try_from(key.millis.get()).ok()? << LOW;
    if key.suffix.is_empty() {
        return Some(base);
    }
    suffixes().iter().enumerate().find_map(|(counter, slots)| {
        let node = slots.iter().position(|suffix| *suffix == key.suffix)?;
        Some(base | ((counter << SLOT_BITS) | (node + 1)) as u16)
    })
}

/// A frontier as the hub has it.
pub fn shipped_front(front: Front) -> Frontier {
    let next = front.saturating_add(1);
    if usize::from(front) & SLOTS == 0 || next & ((1 << LOW) - 1) == 0 {
        Frontier::below(shipped(next))
    } else {
        Frontier::up_to(shipped(front))
    }
}

/// A frontier of the hub as the model has it.
pub fn small_front(front: &Frontier) -> Front {
    let Some(key) = small(&front.key()) else {
        return 0;
    };
    if front.covers(&front.key()) {
        key
    } else {
        key.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_frontiers_come_back() {
        let mut last = None;
        for time in 1..4u16 {
            for low in 0..127u16 {
                let key = (time << LOW) | low;
                if low != 0 && usize::from(low) & SLOTS == 0 {
                    continue;
                }
                let there = shipped(key);
                assert!(last.is_none_or(|last| last < there), "{key}");
                last = Some(there);
                assert_eq!(small(&there), Some(key));
                assert_eq!(small_front(&Frontier::up_to(there)), key);
                assert_eq!(small_front(&Frontier::below(there)), key - 1);
                for other in [key.saturating_sub(1), key] {
                    let front = shipped_front(other);
                    assert_eq!(front.covers(&there), key <= other, "{other} {key}");
                }
            }
            assert_eq!(
                small_front(&Frontier::before(Millis::new(i64::from(time)))),
                before(time)
            );
        }
    }
}
