//! What goes over the wire: frames, and the messages in them.
//!
//! A body is one byte of version, then frames: four bytes of length, big-endian, and a message in
//! the encoding of Protocol Buffers, whose fields are additive: an older member passes over a field
//! that it does not know. A payload is always the last field of a message, so that it can be sent
//! from where it lies and is a slice of the body where it arrives; neither side copies a large one.
//!
//! Whatever bytes come, reading them gives a value or a [`Malformed`]; nothing is allocated by a
//! length that is said and not there.

mod convert;
mod frame;
mod items;
pub(super) mod messages;

pub(super) use convert::{
    decode_channels, decode_history, decode_settle, decode_settled, decode_vouched, decode_written,
    encode_channels, encode_history, encode_settle, encode_settled, encode_vouched, encode_written,
};
pub(super) use frame::{Frame, Malformed, VERSION, frames, message};
pub(super) use items::{
    decode_append, decode_appended, decode_digests, decode_digests_range, decode_fetch,
    decode_fetched, decode_get, decode_got, decode_inventory, decode_inventory_request,
    decode_report, decode_report_request, decode_stage, decode_write, encode_append,
    encode_appended, encode_digests, encode_digests_range, encode_fetch, encode_fetched,
    encode_get, encode_got, encode_inventory, encode_inventory_request, encode_report,
    encode_report_request, encode_stage, encode_write,
};

#[cfg(test)]
mod tests;
