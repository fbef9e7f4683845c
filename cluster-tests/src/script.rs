//! The language of scenarios: what is done to a cluster, a step a line.
//!
//! ```text
//! start zk; start all             # does not wait
//! wait until all ready
//! kill 2                          # kill -9; `stop 2` asks it to end, and waits
//! pause 1,3                       # SIGSTOP; `resume 1,3` lets them go on
//! cut 1 from 2,zk                 # no packet passes, in either direction
//! heal                            # all links are whole again
//! skew 3 by -150                  # its wall clock is 150 ms behind
//! wipe 2                          # its data folder goes; it must not run
//! add                             # a further hub, with the next number; does not start it
//! wait until 1,3 ready, within 30 s
//! wait until 2 not ready
//! wait until all ring 1,3         # the newest ring in force, as each of them says
//! wait until all rings 2          # how many rings their histories hold
//! ```
//!
//! Steps stand on lines of their own or are parted by `;`, and `#` begins a comment. Hubs are
//! numbers from 1, `all` is all hubs that there are (to be started, wiped or skewed) or that run
//! (for all else), `zk` is ZooKeeper. Parsing is pure; [`crate::cluster::Cluster::play`] does the steps.

use std::fmt;
use std::time::Duration;

use crate::failure::{Failure, Outcome};

/// How long a condition may take that does not say.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Whom a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// All hubs.
    All,
    /// These.
    These(Vec<Node>),
}

/// A process of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The hub with that number.
    Hub(u8),
    /// ZooKeeper.
    ZooKeeper,
}

/// Something that is done to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Starts processes, and does not wait for them.
    Start(Who),
    /// Asks processes to end, and waits until they have.
    Stop(Who),
    /// Kills processes, as `kill -9` does.
    Kill(Who),
    /// Stops processes where they are.
    Pause(Who),
    /// Lets paused processes go on.
    Resume(Who),
    /// Cuts the links between the ones and the others.
    Cut(Who, Who),
    /// All links are whole again.
    Heal,
    /// Sets wall clocks ahead by so many milliseconds, or back.
    Skew(Who, i64),
    /// Removes the data of processes that do not run.
    Wipe(Who),
    /// A further hub.
    Add,
    /// Waits until a condition holds for each of them.
    Wait(Who, Condition, Duration),
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `/health` says 200; of ZooKeeper, that it serves.
    Ready,
    /// It answers something else, or nothing.
    NotReady,
    /// The newest ring in force, as it knows it, has these members.
    Ring(Vec<u8>),
    /// Its history holds so many rings.
    Rings(usize),
}

/// The steps of a text.
///
/// # Errors
/// [`Failure`] that names the step that is none.
pub fn parse(text: &str) -> Outcome<Vec<Step>> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let steps = lines.flat_map(|line| line.split(';')).map(str::trim);
    let steps = steps.filter(|step| !step.is_empty());
    steps
        .map(|text| step(text).ok_or_else(|| Failure(format!("{text:?} is no step of a scenario"))))
        .collect()
}

fn step(text: &str) -> Option<Step> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    Some(match verb {
        "start" => Step::Start(who(rest)?),
        "stop" => Step::Stop(who(rest)?),
        "kill" => Step::Kill(who(rest)?),
        "pause" => Step::Pause(who(rest)?),
        "resume" => Step::Resume(who(rest)?),
        "wipe" => Step::Wipe(who(rest)?),
        "cut" => {
            let (ones, others) = rest.split_once(" from ")?;
            Step::Cut(who(ones)?, who(others)?)
        }
        "skew" => {
            let (whom, by) = rest.split_once(" by ")?;
            Step::Skew(who(whom)?, by.trim().parse().ok()?)
        }
        "heal" if rest.is_empty() => Step::Heal,
        "add" if rest.is_empty() => Step::Add,
        "wait" => wait(rest.strip_prefix("until ")?)?,
        _ => return None,
    })
}

fn wait(text: &str) -> Option<Step> {
    let (text, within) = match text.split_once(", within ") {
        Some((text, within)) => {
            let seconds = within.trim().strip_suffix('s')?.trim().parse().ok()?;
            (text, Duration::from_secs(seconds))
        }
        None => (text, PATIENCE),
    };
    let (whom, condition) = text.trim().split_once(' ')?;
    let mut words = condition.split_whitespace();
    let condition = match (words.next()?, words.next()) {
        ("ready", None) => Condition::Ready,
        ("not", Some("ready")) => Condition::NotReady,
        ("ring", Some(members)) => Condition::Ring(hubs(members)?),
        ("rings", Some(count)) => Condition::Rings(count.parse().ok()?),
        _ => return None,
    };
    let over = words.next().is_none();
    over.then_some(Step::Wait(who(whom)?, condition, within))
}

fn who(text: &str) -> Option<Who> {
    let text = text.trim();
    if text == "all" {
        return Some(Who::All);
    }
    let nodes = text.split(',').map(|name| match name.trim() {
        "zk" => Some(Node::ZooKeeper),
        number => Some(Node::Hub(hub(number)?)),
    });
    Some(Who::These(nodes.collect::<Option<_>>()?))
}

fn hubs(text: &str) -> Option<Vec<u8>> {
    text.split(',').map(hub).collect()
}

fn hub(text: &str) -> Option<u8> {
    text.trim().parse().ok().filter(|number| *number > 0)
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(number) => write!(f, "{number}"),
            Self::ZooKeeper => f.write_str("zk"),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::These(nodes) => f.write_str(&joined(nodes)),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::NotReady => f.write_str("not ready"),
            Self::Ring(members) => write!(f, "ring {}", joined(members)),
            Self::Rings(count) => write!(f, "rings {count}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(who) => write!(f, "start {who}"),
            Self::Stop(who) => write!(f, "stop {who}"),
            Self::Kill(who) => write!(f, "kill {who}"),
            Self::Pause(who) => write!(f, "pause {who}"),
            Self::Resume(who) => write!(f, "resume {who}"),
            Self::Cut(ones, others) => write!(f, "cut {ones} from {others}"),
            Self::Heal => f.write_str("heal"),
            Self::Skew(who, by) => write!(f, "skew {who} by {by}"),
            Self::Wipe(who) => write!(f, "wipe {who}"),
            Self::Add => f.write_str("add"),
            Self::Wait(who, condition, within) => {
                write!(f, "wait until {who} {condition}")?;
                if *within == PATIENCE {
                    return Ok(());
                }
                write!(f, ", within {} s", within.as_secs())
            }
        }
    }
}

fn joined(parts: &[impl fmt::Display]) -> String {
    let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_read_as_it_is_written() {
        for text in [
            "start zk",
            "start all",
            "stop 2",
            "kill 1,2,12",
            "pause 1,zk",
            "resume all",
            "cut 1 from 2,zk",
            "heal",
            "skew 3 by -150",
            "wipe 2",
            "add",
            "wait until all ready",
            "wait until 2 not ready",
            "wait until 1,3 ready, within 30 s",
            "wait until all ring 1,3",
            "wait until all rings 2, within 5 s",
            "wait until zk ready",
        ] {
            let steps = parse(text).unwrap();
            assert_eq!(steps.len(), 1, "{text}");
            assert_eq!(steps[0].to_string(), text);
        }
    }

    #[test]
    fn steps_stand_on_lines_or_behind_semicolons() {
        let steps = parse("start zk ; start 1, 2 # both\n\n  wait until all ready\n").unwrap();
        let texts: Vec<String> = steps.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["start zk", "start 1,2", "wait until all ready"]);
    }

    #[test]
    fn what_is_no_step_is_named() {
        for text in [
            "jump 1",
            "kill",
            "kill 0",
            "kill one",
            "cut 1",
            "skew 1 by much",
            "heal 1",
            "wait until all",
            "wait until all ready, within 5",
            "wait until all ready now",
            "wait until all rings many",
        ] {
            let refused = parse(&format!("start all; {text}")).unwrap_err();
            assert!(refused.0.contains(text), "{refused}");
        }
    }
}
