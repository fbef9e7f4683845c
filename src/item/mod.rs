//! Items: their keys, the paths that keys and times have in URLs, and what an item carries.
//!
//! Nothing here does I/O or asks for the time. Every form of a key that leaves the process (URL,
//! bytes on disk) is written and read here and nowhere else, and sorts as the key does.

mod key;
pub mod pack;
mod payload;
mod stamps;
mod suffix;
mod timepath;

pub use key::{Frontier, ItemKey, KEY_BYTES_MAX};
pub use payload::{ContentType, ContentTypeError, Payload};
pub use stamps::{PastStamps, Stamps};
pub use suffix::{NodeSlot, Suffix, SuffixError};
pub use timepath::{FieldError, KeyFields, TimePath, TimePathError, Unit};
