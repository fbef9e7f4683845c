//! How far a tail has come, and what it asks next. Nothing here does I/O.
//!
//! The position moves on with each item that was printed and with nothing else, so that an answer
//! that breaks off half-way is simply asked for again from there.

use std::time::Duration;

use crate::cli::retry::Backoff;
use crate::item::{ItemKey, KeyFields};

/// How many keys are asked for at a time while following.
pub const BATCH: u32 = 500;

const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Where a tail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Nothing is known of the channel yet.
    Start,
    /// The channel was seen without a single item: whatever comes first is new.
    Empty,
    /// This item was printed last, or was the latest when nothing old was wanted.
    After(ItemKey),
}

/// What to ask the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The latest items, that many.
    Latest(u32),
    /// The earliest ones.
    Earliest(u32),
    /// Those after a key.
    Next(ItemKey, u32),
}

impl Question {
    /// Its path below the channel.
    pub fn path(&self) -> String {
        match self {
            Self::Latest(count) => format!("latest/{count}"),
            Self::Earliest(count) => format!("earliest/{count}"),
            Self::Next(key, count) => format!("{key}/next/{count}"),
        }
    }

    /// Whether it starts from a key. Such a question has an answer even where there is nothing
    /// after the key, so that "not found" means the channel.
    pub fn has_key(&self) -> bool {
        matches!(self, Self::Next(..))
    }
}

/// What to do with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The items to print, in this order.
    pub print: Vec<ItemKey>,
    /// How long to wait then before asking again.
    pub wait: Duration,
}

/// How far a tail has come.
#[derive(Debug, Clone)]
pub struct Progress {
    number: u32,
    position: Position,
    waits: Backoff,
}

impl Progress {
    /// Begins with the latest `number` items.
    pub fn new(number: u32) -> Self {
        Self {
            number,
            position: Position::Start,
            waits: Backoff::new(SHORTEST_WAIT, LONGEST_WAIT),
        }
    }

    /// What to ask now.
    pub fn question(&self) -> Question {
        match self.position {
            // Even if nothing old is wanted, the latest item says where the new ones begin.
            Position::Start => Question::Latest(self.number.max(1)),
            Position::Empty => Question::Earliest(BATCH),
            Position::After(key) => Question::Next(key, BATCH),
        }
    }

    /// Takes the keys that the hub listed for a question.
    pub fn answered(&mut self, question: &Question, mut keys: Vec<ItemKey>) -> Turn {
        let full = matches!(question, Question::Next(_, count) | Question::Earliest(count)
            if keys.len() >= *count as usize);
        // A hub lists keys in order and only those asked for; a tail that trusted it blindly
        // would repeat an item where something between rearranges answers.
        keys.sort_unstable();
        keys.dedup();
        if let Position::After(last) = self.position {
            keys.retain(|key| *key > last);
        }
        match (self.position, keys.last()) {
            (Position::Start, None) => self.position = Position::Empty,
            (Position::Start, Some(latest)) if self.number == 0 => {
                self.position = Position::After(*latest);
                keys.clear();
            }
            _ => {}
        }
        let wait = if keys.is_empty() {
            self.waits.wait()
        } else {
            self.waits.reset();
            if full { Duration::ZERO } else { SHORTEST_WAIT }
        };
        Turn { print: keys, wait }
    }

    /// This item was printed.
    pub fn printed(&mut self, key: ItemKey) {
        self.position = Position::After(key);
    }
}

/// The key that the URL of an item ends with.
pub fn key_of(uri: &str) -> Option<ItemKey> {
    let path = uri.split(['?', '#']).next()?;
    let mut segments: Vec<&str> = path.rsplitn(9, '/').take(8).collect();
    segments.reverse();
    let (hash, time) = segments.split_last()?;
    let fields = KeyFields::parse(time)
        .ok()
        .filter(|fields| fields.depth == 7)?;
    fields.key(hash).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(second: u32) -> ItemKey {
        key_of(&format!(
            "http://hub/channel/x/2024/05/01/09/15/{second:02}/123/0000aa"
        ))
        .unwrap()
    }

    #[test]
    fn keys_are_read_from_urls() {
        let path = "2024/05/01/09/15/00/123/a1B2c3";
        for uri in [
            "http://hub/channel/orders/",
            "https://front/events/channel/channel/",
            "/",
        ] {
            assert_eq!(key_of(&format!("{uri}{path}")).unwrap().to_string(), path);
            assert_eq!(
                key_of(&format!("{uri}{path}?tag=a/b")).unwrap().to_string(),
                path
            );
        }
        for bad in [
            "",
            "http://hub/channel/x",
            "http://hub/2024/05/01/09/15/00/123/a-b",
            "a/b",
        ] {
            assert_eq!(key_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn begins_with_the_latest_and_follows_from_the_last_printed() {
        let mut tail = Progress::new(2);
        let latest = tail.question();
        assert_eq!(latest.path(), "latest/2");
        let turn = tail.answered(&latest, vec![key(1), key(2)]);
        assert_eq!(turn.print, [key(1), key(2)]);
        tail.printed(key(1));
        // The second was lost on the way: it is asked for again, the first is not.
        assert_eq!(tail.question(), Question::Next(key(1), BATCH));
        assert_eq!(
            tail.question().path(),
            "2024/05/01/09/15/01/123/0000aa/next/500"
        );
        tail.printed(key(2));
        assert_eq!(tail.question(), Question::Next(key(2), BATCH));
    }

    #[test]
    fn nothing_is_repeated_or_out_of_order() {
        let mut tail = Progress::new(1);
        tail.printed(key(5));
        let odd = vec![key(7), key(5), key(6), key(4), key(7)];
        let turn = tail.answered(&tail.question(), odd);
        assert_eq!(turn.print, [key(6), key(7)]);
    }

    #[test]
    fn in_an_empty_channel_everything_is_new() {
        for number in [0, 10] {
            let mut tail = Progress::new(number);
            assert_eq!(tail.question(), Question::Latest(number.max(1)));
            tail.answered(&tail.question(), Vec::new());
            assert_eq!(tail.question(), Question::Earliest(BATCH));
            tail.answered(&tail.question(), Vec::new());
            let turn = tail.answered(&tail.question(), vec![key(1)]);
            assert_eq!(turn.print, [key(1)]);
            assert_eq!(tail.question(), Question::Earliest(BATCH));
            tail.printed(key(1));
            assert_eq!(tail.question(), Question::Next(key(1), BATCH));
        }
    }

    #[test]
    fn with_none_wanted_only_what_comes_is_printed() {
        let mut tail = Progress::new(0);
        let turn = tail.answered(&tail.question(), vec![key(3)]);
        assert_eq!(turn.print, []);
        assert_eq!(tail.question(), Question::Next(key(3), BATCH));
    }

    #[test]
    fn waits_longer_the_longer_nothing_comes() {
        let mut tail = Progress::new(1);
        tail.printed(key(0));
        let mut ask = |keys: Vec<ItemKey>| {
            let turn = tail.answered(&tail.question(), keys);
            turn.wait.as_millis()
        };
        let idle: Vec<_> = (0..6).map(|_| ask(Vec::new())).collect();
        assert_eq!(idle, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(ask(vec![key(1)]), 100);
        assert_eq!(ask(Vec::new()), 100);
        // There is more where a full list came from.
        let many = (0..BATCH).map(|n| ItemKey::new(key(2).millis.plus(n.into()), key(2).suffix));
        assert_eq!(ask(many.collect()), 0);
    }
}
