//! Backups of an archive that changes while it is listed.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;

/// What happens as a folder is listed.
#[derive(Debug, Default)]
struct Turn {
    /// Objects that come before.
    put: Vec<(String, Bytes)>,
    /// What goes before.
    gone: Vec<String>,
    /// What that listing does not have: it came where the listing had been.
    hidden: Vec<String>,
}

/// A store in memory in which things happen as it is listed.
struct Busy {
    inner: Arc<InMemory>,
    listings: AtomicI64,
    turn: Box<dyn Fn(i64) -> Turn + Send + Sync>,
}

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("busy")
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("busy")
    }
}

/// A store of which each listing, counted from 0, goes as `turn` says.
fn busy(turn: impl Fn(i64) -> Turn + Send + Sync + 'static) -> Store {
    Store::watched(Arc::new(Busy {
        inner: Arc::new(InMemory::new()),
        listings: AtomicI64::new(0),
        turn: Box::new(turn),
    }))
}

#[async_trait]
impl ObjectStore for Busy {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let turn = (self.turn)(self.listings.fetch_add(1, Ordering::SeqCst));
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        let listing = async move {
            for (name, bytes) in turn.put {
                inner.put(&Path::from(name), bytes.into()).await?;
            }
            for name in turn.gone {
                inner.delete(&Path::from(name)).await?;
            }
            let mut found: Vec<ObjectMeta> = inner.list(prefix.as_ref()).try_collect().await?;
            found.retain(|meta| {
                turn.hidden
                    .iter()
                    .all(|name| meta.location.as_ref() != name)
            });
            Ok::<_, object_store::Error>(stream::iter(found.into_iter().map(Ok)))
        };
        stream::once(listing).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl PaginatedListStore for Busy {
    async fn list_paginated(
        &self,
        _: Option<&str>,
        _: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        Err(object_store::Error::NotImplemented {
            operation: "pages".to_owned(),
            implementer: "busy".to_owned(),
        })
    }
}

fn world(archive: Store) -> World {
    World {
        archive,
        ..World::new()
    }
}

fn named(object: Object, times: &[i64]) -> (String, Bytes) {
    (object.name(CHANNEL), super::object(times))
}

#[tokio::test]
async fn a_channel_that_gets_items_all_the_time_is_backed_up() {
    let world = world(busy(|listing| Turn {
        // A new one, and another version of one that is there.
        put: vec![
            named(Object::Item(key(listing + 1)), &[listing + 1]),
            named(Object::Item(key(0)), &[0, listing + 1]),
        ],
        ..Turn::default()
    }));
    world.minute(0, &[5000]).await;
    let first = world.make("a", 1, true).await.unwrap();
    assert!(first.totals.objects >= 3, "{first:?}");
    let second = world.make("b", 2, true).await.unwrap();
    assert!(second.totals.objects > first.totals.objects, "{second:?}");
    assert_eq!(world.verified().await, []);
}

#[tokio::test]
async fn what_goes_while_it_is_listed_is_in_an_hour_or_kept() {
    // Minutes go one by one, past their retention, and are rolled up where the first listing has been.
    for rolled_up in [false, true] {
        let minute = |number: i64| Object::Minute(Millis::new(number * MINUTE)).name(CHANNEL);
        let hour = Object::Hour(Millis::new(0)).name(CHANNEL);
        let world = world(busy(move |listing| match (listing, rolled_up) {
            (0, true) => Turn {
                put: vec![(hour.clone(), object(&[1, MINUTE, 2 * MINUTE]))],
                gone: vec![minute(0), minute(1)],
                hidden: vec![hour.clone()],
            },
            (1, _) => Turn {
                gone: vec![minute(2)],
                ..Turn::default()
            },
            _ => Turn::default(),
        }));
        for number in 0..3 {
            world.minute(number, &[(number * MINUTE).max(1)]).await;
        }
        let document = world.make("a", 1, true).await.unwrap();
        assert_eq!(document.totals.objects, if rolled_up { 1 } else { 3 });
        let hub = NewHub::new();
        hub.restore(&world, Wanted::Newest).await.unwrap();
        assert_eq!(hub.times().await, [1, MINUTE, 2 * MINUTE]);
    }
}
