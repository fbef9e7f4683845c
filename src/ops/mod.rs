//! What is said of the node: health, metrics, the cluster as it sees it, and the log; and what
//! administrators may do.

mod admin;
mod checks;
mod cluster;
mod health;
mod internal;
pub mod logging;
mod losses;
mod membership;
mod others;
mod recovery;
mod rings;

pub use admin::{AdminGate, AdminTokenError};
pub use health::{Node, NodeFacts};
pub use membership::Membership;
pub use others::Others;
