//! Tests of the store as a whole, on simulated disks.

mod rig;

mod close;
mod crash;
mod cuts;
mod damage;
mod damage_kept;
mod disk;
mod doubt;
mod duplicates;
mod evicted;
mod expiry;
mod faults;
mod format;
mod full;
mod fuzz;
mod lost;
mod memory;
mod model;
mod races;
mod scale;
mod several;
