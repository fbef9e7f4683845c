//! Makes the load even.
//!
//! A plain walk with 256 points a member leaves members of a ring of up to 200 as much as 16 % from
//! even for their places in the replica sets and 37 % for the first places. With 16,384 slots no
//! number of points would help, since 200 members that were given slots by chance would already
//! differ by 6 % and 11 %. So the walk is a preference, and this evens it out, in the spirit of
//! Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (SODA 2018), with a
//! floor beside the ceiling.
//!
//! **Replicas.** Each member's number of places in the replica sets is brought within 5 % of even:
//! 1. members above the ceiling give to members below the floor,
//! 2. members still above the ceiling give to members below the mean,
//! 3. members still below the floor take from members above the mean.
//!
//! Each of these is one pass over the places that its givers hold, in an order drawn by hashing
//! giver and slot. A place goes to the taker, not yet in that replica set, that wants the slot most
//! by the hash of taker and slot. So what is moved depends on hashes and on who is a giver or a
//! taker, hardly on how many there are: one more member in the ring moves little else.
//!
//! *Why one pass is enough.* Suppose that after a pass a giver is above its limit and a taker below
//! its. Then the giver met the taker in each of its slots, since otherwise it would have given, and
//! a taker never leaves a set during the pass. So the taker is in all slots of the giver and has at
//! least its load; but it has less: a contradiction. And a giver above the mean always finds
//! someone below the mean, a taker below it always someone above. The limits hold by construction,
//! for any members.
//!
//! **Primaries.** Then the order within the sets is changed, by the same three passes over the
//! first places, until each member's number of first places is within 5 % of even. No set changes
//! its members. Here a giver can only give to the members of its own sets, so the limits are not
//! proven; tests hold them for 3 to 200 members.

use crate::hash::{self, Choice, SLOTS, Slot};
use crate::member::Member;

/// How far from even a member's load may be, in percent.
///
/// Half of the 10 % that is promised: what is placed is channels, not slots, and these fall into
/// slots unevenly. A narrower band would move more places between old members when one joins.
const BAND_PERCENT: usize = 5;

/// The loads between which the passes bring every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    floor: usize,
    mean_down: usize,
    mean_up: usize,
    ceiling: usize,
}

impl Bounds {
    fn new(places: usize, members: usize) -> Self {
        let (mean_down, mean_up) = (places / members, places.div_ceil(members));
        let share = |percent: usize| (places * percent, members * 100);
        let (low, high) = (share(100 - BAND_PERCENT), share(100 + BAND_PERCENT));
        // Where the band is narrower than one place, the whole numbers around the mean must be in
        // it.
        Self {
            floor: low.0.div_ceil(low.1).min(mean_down),
            mean_down,
            mean_up,
            ceiling: (high.0 / high.1).max(mean_up),
        }
    }

    /// The three passes: a giver keeps so many, a taker is filled up to so many.
    fn passes(self) -> [Pass; 3] {
        let pass = |keep, fill| Pass { keep, fill };
        [
            pass(self.ceiling, self.floor),
            pass(self.ceiling, self.mean_up),
            pass(self.mean_down, self.floor),
        ]
    }
}

#[derive(Debug, Clone, Copy)]
struct Pass {
    keep: usize,
    fill: usize,
}

/// Evens out a table of `width` members a slot, given as indexes into `members`.
pub(crate) fn even_out(table: &mut [u16], width: usize, members: &[Member]) {
    let hashes: Vec<u64> = members.iter().map(hash::member).collect();
    let mut loads = vec![0; members.len()];
    for &member in &*table {
        loads[usize::from(member)] += 1;
    }
    for pass in Bounds::new(SLOTS * width, members.len()).passes() {
        move_replicas(table, width, &hashes, &mut loads, pass);
    }
    loads.fill(0);
    for set in table.chunks_exact(width) {
        loads[usize::from(set[0])] += 1;
    }
    for pass in Bounds::new(SLOTS, members.len()).passes() {
        move_primaries(table, width, &hashes, &mut loads, pass);
    }
}

/// One pass over the places in replica sets. The taker gets the last place, and who stood behind
/// the giver moves up: the order of the walk stays the order of preference.
fn move_replicas(table: &mut [u16], width: usize, hashes: &[u64], loads: &mut [usize], pass: Pass) {
    let mut offers = Vec::new();
    for (slot, set) in Slot::all().zip(table.chunks_exact(width)) {
        for &giver in set {
            if loads[usize::from(giver)] > pass.keep {
                let wish = hash::preference(hashes[usize::from(giver)], slot, Choice::Replica);
                offers.push((wish, slot, giver));
            }
        }
    }
    offers.sort_unstable();
    let mut takers: Vec<u16> = (0..)
        .zip(&*loads)
        .filter(|&(_, &load)| load < pass.fill)
        .map(|(m, _)| m)
        .collect();
    for (_, slot, giver) in offers {
        if loads[usize::from(giver)] <= pass.keep {
            continue;
        }
        let set = &mut table[slot.index() * width..][..width];
        let wish = |taker: u16| hash::preference(hashes[usize::from(taker)], slot, Choice::Replica);
        let Some(taker) = takers
            .iter()
            .copied()
            .filter(|taker| !set.contains(taker))
            .max_by_key(|&taker| wish(taker))
        else {
            continue;
        };
        if let Some(place) = set.iter().position(|&member| member == giver) {
            set[place..].rotate_left(1);
            set[width - 1] = taker;
            loads[usize::from(giver)] -= 1;
            loads[usize::from(taker)] += 1;
            if loads[usize::from(taker)] >= pass.fill {
                takers.retain(|&other| other != taker);
            }
        }
    }
}

/// One pass over the first places. The taker comes from within the set; the others keep their
/// order.
fn move_primaries(
    table: &mut [u16],
    width: usize,
    hashes: &[u64],
    loads: &mut [usize],
    pass: Pass,
) {
    let mut offers = Vec::new();
    for (slot, set) in Slot::all().zip(table.chunks_exact(width)) {
        let giver = set[0];
        if loads[usize::from(giver)] > pass.keep {
            let wish = hash::preference(hashes[usize::from(giver)], slot, Choice::Primary);
            offers.push((wish, slot));
        }
    }
    offers.sort_unstable();
    for (_, slot) in offers {
        let set = &mut table[slot.index() * width..][..width];
        let giver = usize::from(set[0]);
        if loads[giver] <= pass.keep {
            continue;
        }
        let wish =
            |place: usize| hash::preference(hashes[usize::from(set[place])], slot, Choice::Primary);
        let taker = (1..width)
            .filter(|&place| loads[usize::from(set[place])] < pass.fill)
            .max_by_key(|&place| wish(place));
        if let Some(place) = taker {
            set[..=place].rotate_right(1);
            loads[giver] -= 1;
            loads[usize::from(set[0])] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_hold_the_mean_even_where_the_band_is_narrow() {
        for (places, members) in [
            (49_152, 200),
            (16_384, 200),
            (49_152, 3),
            (16_384, 3_844),
            (7, 3),
        ] {
            let b = Bounds::new(places, members);
            assert!(b.floor <= b.mean_down && b.mean_down <= b.mean_up && b.mean_up <= b.ceiling);
            assert!(b.floor * members <= places && places <= b.ceiling * members);
        }
        let b = Bounds::new(49_152, 200);
        assert_eq!(
            (b.floor, b.mean_down, b.mean_up, b.ceiling),
            (234, 245, 246, 258)
        );
    }

    /// The worst table there is: everything on the first members. The proof above does not lean on
    /// the walk, so neither does the test.
    #[test]
    fn any_table_is_evened_out() {
        for (count, width) in [(4, 3), (5, 1), (7, 2), (40, 3)] {
            let members: Vec<Member> = (0..count)
                .map(|i| Member::new(&format!("m{i}")).unwrap())
                .collect();
            let mut table: Vec<u16> = (0..SLOTS).flat_map(|_| 0..width as u16).collect();
            even_out(&mut table, width, &members);
            let mut loads = vec![0; count];
            for set in table.chunks(width) {
                for (place, &member) in set.iter().enumerate() {
                    assert!(!set[..place].contains(&member), "{set:?}");
                    loads[usize::from(member)] += 1;
                }
            }
            let bounds = Bounds::new(SLOTS * width, count);
            for load in loads {
                assert!(
                    (bounds.floor..=bounds.ceiling).contains(&load),
                    "{count} {width}: {load}"
                );
            }
        }
    }
}
