//! The contract of the HTTP API, sentence by sentence.
//!
//! Each module holds the tables of one section. A row of a table says what the contract says in one
//! short sentence; what has to be there for that; the request; and what is expected of the answer:
//!
//! ```text
//! "One step leads to the item after a key, without the query."
//!     items(2) "GET {own}/{first}/next?stable=false" => 303 location("{url}/{last}") empty();
//! ```
//!
//! [`row`] lists what a row can ask for and expect, and [`world`] the names that its texts can have in
//! braces. A row has channels of its own, so that rows do not meet. All rows of a table are tried,
//! and all that failed are reported together. Beside what it expects itself, every row has the
//! headers that each answer has ([`compare::common`]).
//!
//! In a cluster, what a row needs is written through one hub and asked of another.

/// A table of rows; see the module.
macro_rules! rows {
    ($(
        $says:literal $($given:ident($($with:expr),*))*
        $ask:literal $($sent:ident($($what:expr),*))*
        => $status:literal $($expected:ident($($value:expr),*))*;
    )+) => {
        vec![$(
            $crate::contract::row::Given::that($says)$(.$given($($with),*))*
                .ask($ask)$(.$sent($($what),*))*
                .is($status)$(.$expected($($value),*))*
        ),+]
    };
}

mod compare;
mod row;
mod world;

mod beyond;
mod channels;
mod conventions;
mod historical;
mod internal;
mod modes;
mod reading;
mod root_and_health;
mod runs;
mod tags;
mod writing;

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, StreamExt as _};
use row::Row;
use world::World;

use crate::harness::Hub;

/// So many rows are tried at a time.
const AT_ONCE: usize = 8;

/// Tries every row of a table at the hubs that tests share.
///
/// # Panics
/// If a row failed, with all that did.
async fn check(section: &str, rows: Vec<Row>) {
    // By turns: in a cluster these are two members.
    let shared = async || World::new(Hub::shared().await, Hub::shared().await).await;
    report(section, rows, shared).await;
}

/// Tries every row of a table at a hub that was started for it, which knows these names.
///
/// # Panics
/// As [`check`].
async fn check_at(hub: &Hub, known: &[(&str, &str)], section: &str, rows: Vec<Row>) {
    let own = async || {
        let mut world = World::new(hub.again(), hub.again()).await;
        for (name, value) in known {
            world.learn(name, *value);
        }
        world
    };
    report(section, rows, own).await;
}

/// Whether the hubs that tests share are members of a cluster.
fn is_cluster() -> bool {
    std::env::var_os("HUB_TEST_HUBS").is_some()
}

async fn report(section: &str, rows: Vec<Row>, world: impl AsyncFn() -> World) {
    let trials = rows.iter().map(async |row: &Row| {
        let trial = async { tried(row, world().await).await };
        let trial = AssertUnwindSafe(trial).catch_unwind().await;
        let wrong = trial.unwrap_or_else(|panic| vec![reason(&*panic)]);
        (!wrong.is_empty()).then(|| format!("\n{row}\n  - {}", wrong.join("\n  - ")))
    });
    let trials = futures_util::stream::iter(trials).buffered(AT_ONCE);
    let failed: Vec<String> = trials.filter_map(std::future::ready).collect().await;
    let (count, all) = (failed.len(), rows.len());
    assert!(
        failed.is_empty(),
        "section {section}: {count} of {all} rows failed{}",
        failed.concat()
    );
}

/// What is wrong with the answer to a row.
async fn tried(row: &Row, mut world: World) -> Vec<String> {
    for step in &row.steps {
        world.take(step).await;
    }
    let answer = world.send(&row.request).await;
    let mut wrong = Vec::new();
    if answer.status != row.status {
        wrong.push(format!("status: {} and not {}", answer.status, row.status));
    }
    compare::common(&world, &answer, &mut wrong);
    for expected in &row.expected {
        compare::one(&world, expected, &answer, &mut wrong);
    }
    if !wrong.is_empty() {
        let body: String = answer.text_lossy().chars().take(compare::SHOWN).collect();
        wrong.push(format!("asked: {}", answer.about));
        wrong.push(format!("answered: {} {body}", answer.status));
    }
    wrong
}

/// What a panic said: a step that did not come about.
fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
