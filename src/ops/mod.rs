//! What is said of the node: health, metrics, the cluster as it sees it, and the log; and what
//! administrators may do.

mod admin;
mod archive;
mod backup;
mod channels;
mod checks;
mod cluster;
mod health;
mod internal;
mod leaving;
pub mod logging;
mod losses;
mod membership;
mod others;
mod recovery;
mod rings;
mod times;

pub use admin::{AdminGate, AdminTokenError};
pub use channels::Working;
pub use health::{Node, NodeFacts};
pub use leaving::Leaving;
pub use membership::Membership;
pub use others::Others;
pub use times::TimeSource;
