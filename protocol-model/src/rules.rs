//! The rules of the protocol as switches: each can be left out, to see that the model notices.

use std::fmt;

/// A rule that a configuration can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Who answers "I do not have it" to a settling coordinator refuses that key from then on.
    RaisedFrontier,
    /// A key is dead when every replica named in its record has refused it, not when one has.
    EveryRefusal,
    /// A replica that warms does not vote: it accepts nothing, settles nothing, reports nothing.
    WarmingSilent,
    /// A replica votes once it has merged what a whole read quorum of the others holds.
    WarmQuorum,
    /// What a warming replica merges from another one includes what that one has accepted: it waits
    /// until that is on disk there.
    WarmWaits,
    /// A replica that warms keeps the undecided items that may have been sent to it.
    Adopt,
    /// Neither a replica nor a coordinator outside the replica set of a key accepts it.
    Placed,
    /// Nobody stamps a key within the clock skew after a ring change, or past it before its own
    /// clock is.
    Wait,
    /// A write that may have been tried before a ring change is asked about in the earlier sets.
    Question,
    /// It is asked about in a set that ended up to a clock skew before it began, too: another clock
    /// than the one that says when it began may have stamped it.
    QuestionSkew,
    /// Who answers "no" to that question refuses the rest of the earlier set's time.
    QuestionRaises,
    /// The time from which a ring is in force comes in a second write, after the announcement.
    FromSecond,
    /// A node accepts nothing at or past its ring horizon.
    AcceptHorizon,
    /// A node says nothing about times at or past its ring horizon.
    ReaderHorizon,
    /// A reader takes its horizon with its ring history, before it asks, not after the answers.
    HorizonFirst,
    /// Who sends an announcement counts it as known, when somebody asks and to itself.
    AnnouncedKnown,
    /// What spans a ring change is stable past it only when the old set's bound has reached it.
    OldBound,
    /// Whether the offered key is held is looked at before the frontier.
    HeldFirst,
    /// A key refused by a replica that holds the write under a higher key waits for that one.
    Yield,
    /// A pending record names only replicas with an open connection.
    Named,
    /// From stamp or acceptance until it is on disk an item holds the reported frontier down.
    SerialPoint,
    /// Who has heard of a newer incarnation drops appends of an older one.
    OldIncarnation,
    /// At a start every frontier is set past all that the run before can have promised.
    StartFrontier,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::RaisedFrontier,
        Self::EveryRefusal,
        Self::WarmingSilent,
        Self::WarmQuorum,
        Self::WarmWaits,
        Self::Adopt,
        Self::Placed,
        Self::Wait,
        Self::Question,
        Self::QuestionSkew,
        Self::QuestionRaises,
        Self::FromSecond,
        Self::AcceptHorizon,
        Self::ReaderHorizon,
        Self::HorizonFirst,
        Self::AnnouncedKnown,
        Self::OldBound,
        Self::HeldFirst,
        Self::Yield,
        Self::Named,
        Self::SerialPoint,
        Self::OldIncarnation,
        Self::StartFrontier,
    ];
}

/// What must always hold, and what is said when it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// Every read on every node finds an acknowledged item.
    NothingLost,
    /// One write is committed under one key.
    OneKey,
    /// A write that began after another was acknowledged has a greater key.
    Order,
    /// What a stable read returned for a range it returns for ever.
    StableStays,
    /// No two rings accept items of one key time.
    OneRing,
    /// When faults are over, nothing stays undecided.
    Decided,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NothingLost,
        Self::OneKey,
        Self::Order,
        Self::StableStays,
        Self::OneRing,
        Self::Decided,
    ];

    /// Its place in a set of properties.
    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingLost => "no acknowledged item is lost",
            Self::OneKey => "one write, one key",
            Self::Order => "sequential writes keep their order",
            Self::StableStays => "a stable read never changes",
            Self::OneRing => "no two rings accept one key time",
            Self::Decided => "nothing stays undecided",
        })
    }
}
