//! The archive: the long-term store behind Spoke, which is any object store.
//!
//! What it holds is final: the stable items of whole minutes. So objects are written once, under names that
//! follow from what is in them, and whoever writes one again writes the same. `docs/archive-format.md`
//! draws the objects byte by byte, and says what they are called.

pub mod name;
pub mod object;
pub mod reader;
pub mod stats;
pub mod store;
