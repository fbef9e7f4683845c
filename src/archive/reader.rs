//! Reading objects: their indexes, and single records.

use bytes::Bytes;

use super::object::{Damaged, FOOTER_LEN, Footer, Index, Record};
use super::store::{Store, StoreError, Which};

/// How much of an object's end is read at first, in bytes: of most objects that is all of the index, and
/// of small ones all there is.
const TAIL: u64 = 64 * 1024;

/// An object's index; `None` if there is no object of that name.
///
/// # Errors
/// [`StoreError`] if that is not known; what is wrong with the object stands within.
pub async fn index(
    store: &Store,
    name: &str,
) -> Result<Option<Result<Index, Damaged>>, StoreError> {
    let Some(tail) = store.read(name, Which::Last(TAIL)).await? else {
        return Ok(None);
    };
    let footer = match Footer::parse(&tail.bytes, tail.length) {
        Ok(footer) => footer,
        Err(damaged) => return Ok(Some(Err(damaged))),
    };
    let end = tail.length - FOOTER_LEN as u64;
    let missing = tail.length - tail.bytes.len() as u64;
    let bytes = match footer.index_at.checked_sub(missing) {
        Some(at) => tail.bytes.slice(at as usize..tail.bytes.len() - FOOTER_LEN),
        None => match store.read(name, Which::These(footer.index_at..end)).await? {
            Some(part) => part.bytes,
            None => return Ok(None),
        },
    };
    Ok(Some(Index::parse(&bytes, &footer)))
}

/// A record's payload; `None` if its object is not there any more.
///
/// # Errors
/// As [`index`].
pub async fn payload(
    store: &Store,
    name: &str,
    index: &Index,
    record: &Record<'_>,
) -> Result<Option<Result<Bytes, Damaged>>, StoreError> {
    let block = store
        .read(name, Which::These(index.block_of(record)))
        .await?;
    Ok(block.map(|block| index.payload(record, &block.bytes)))
}
