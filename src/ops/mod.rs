//! What is said of the node: health, metrics, and the log.

mod health;
pub mod logging;
mod rings;

pub use health::{Node, NodeFacts};
