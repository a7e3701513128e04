//! The one thing an entity has to be: a pure function of its past.

use crate::{
    Claim, Effect, Format, Kind, Listing, Posting, Refusal, Sight, Tell, ViewRow, search::Account,
};
use protocol::{
    DriverId, Identifier, JobId, Principal, Timestamp,
    view::{Etas, Mark},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Debug, time::Duration};
use uuid::Uuid;

/// An entity's rules. No clock, no I/O, no randomness: what they need arrives with the command.
///
/// `Default` is the entity before its first event. Replaying its journal through [`evolve`] is the
/// only way to reach any other state, so a decider tested in memory is tested for real.
///
/// Only [`decide`] chooses. Everything else a commit contains is *derived*: effects from each event,
/// and deadline, claims, listing and view from the state that the events lead to. The runtime
/// compares the derived values before and after, and writes or tells the difference, so no rule can
/// forget to cancel a timer or to release a slot.
///
/// [`evolve`]: Self::evolve
/// [`decide`]: Self::decide
pub trait Decider:
    Default + Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Names this kind of entity in the journal, in logs and in metrics.
    const KIND: Kind;
    /// Tells one entity of this kind from another.
    type Id: Identifier;
    /// What can be asked of it, in the imperative: `Accept`.
    type Command: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What has happened to it, in the past tense: `Accepted`. Old ones must be readable for ever.
    type Event: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What can be seen of it without being written down, such as a position.
    type Sighting: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What it knows from what was seen. Not part of the journal, but taken along to another node.
    type Soft: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Chooses what happens next; an empty list means "already so".
    ///
    /// Asking again right after a yes must be "already so" or a refusal, never a second effect.
    /// (Repeats with the same command id never get here: the runtime answers them from the
    /// journal.)
    fn decide(
        &self,
        command: &Self::Command,
        context: &Context<Self::Id>,
    ) -> Result<Vec<Self::Event>, Refusal>;

    /// What a refusal itself leaves behind, such as a count of wrong codes. Written together with
    /// the refusal, and before anyone hears it.
    fn remarks(
        &self,
        _command: &Self::Command,
        _refusal: &Refusal,
        _context: &Context<Self::Id>,
    ) -> Vec<Self::Event> {
        Vec::new()
    }

    /// Folds a fact into the state. It cannot refuse: the event has already happened.
    fn evolve(&mut self, event: &Self::Event);

    /// What others must be told once `event` is durable. `self` is the state it happens *to*.
    /// Delivered at least once, in order per receiver, and once in effect.
    fn effects(&self, id: Self::Id, event: &Self::Event) -> Vec<Effect>;

    /// When this entity next acts by itself, and what it then asks of itself as
    /// [`Principal::System`]. May be asked late, and again after a restart; never early.
    fn deadline(&self) -> Option<(Timestamp, Self::Command)>;

    /// What it asks of itself, as the platform, when the command of its deadline could not be
    /// committed because someone else holds `claim`. Nobody else would hear that refusal.
    fn when_taken(&self, _claim: &Claim) -> Option<Self::Command> {
        None
    }

    /// The unique keys it holds in this state. A commit that would take a key someone else holds is
    /// refused as [`Refusal::Taken`] and changes nothing.
    fn claims(&self, id: Self::Id) -> Vec<Claim>;

    /// What the region it is in should know about it in this state; `None` for "not there".
    fn listing(&self, id: Self::Id) -> Option<Listing>;

    /// Its row in lists and searches; `None` before it exists, and for kinds that are in no list. One that is not as before is
    /// written, and is much of what a commit costs: so it has nothing that moves and that no list is read for.
    fn view(&self, id: Self::Id) -> Option<ViewRow>;

    /// Its mark on the dispatcher's map in this state; `None` for "not there".
    fn mark(&self, id: Self::Id) -> Option<Mark>;

    /// How long somebody waited for `event`, where a service level says for how long at most; or how long somebody did who will
    /// not be served any more, if that was too long. `self` is the state it happens *to*.
    fn waited(&self, _event: &Self::Event) -> Option<Waited> {
        None
    }

    /// Whose rounds these events may tell of, and after which round of its search that is news. `self` is the state before
    /// them. Rounds are in a node's memory: what they saw goes along with what is written anyway, and decides nothing.
    fn may_tell(&self, _id: Self::Id, _events: &[Self::Event]) -> Option<(JobId, u32)> {
        None
    }

    /// Lets the first of these events that may tell what rounds saw tell it.
    fn tell_rounds(_events: &mut [Self::Event], _account: Account) {}

    /// The money `event` moves: lines that sum to zero per currency. `self` is the state before.
    fn postings(&self, _id: Self::Id, _event: &Self::Event) -> Vec<Posting> {
        Vec::new()
    }

    /// Takes in something that is not written down. It may change fields that are not part of the
    /// journal (`#[serde(skip)]`, and ignored by `PartialEq` where that matters), lead to commands
    /// for itself, and be passed on.
    fn see(
        &mut self,
        sighting: &Self::Sighting,
        context: &Context<Self::Id>,
    ) -> Seen<Self::Command>;

    /// What it sees when it is known that a way takes that long, which it let itself be told; nothing, if it has none.
    fn expects(_driver: DriverId, _etas: Etas) -> Option<Self::Sighting> {
        None
    }

    /// What others should see once `event` is durable. As of any sighting, it is lost if there is no room for it. `self`
    /// is the state after.
    fn shows(&self, _id: Self::Id, _event: &Self::Event) -> Vec<Sight> {
        Vec::new()
    }

    /// What it knows and has not written down.
    fn soft(&self) -> Self::Soft;

    /// Knows what its former host knew.
    fn recall(&mut self, soft: Self::Soft);

    /// What it is about: of two about the same thing that are on their way, only the newer arrives.
    fn topic(_sighting: &Self::Sighting) -> Topic {
        Topic::default()
    }

    /// Does this sighting tell a follower anything?
    fn is_worth_seeing(_sighting: &Self::Sighting) -> bool {
        true
    }

    /// It was just read back from the journal: whatever was not written down starts anew.
    fn wake(&mut self, _now: Timestamp) {}

    /// How long it stays in memory without being spoken to; `None` while it must not sleep.
    fn idle_max(&self) -> Option<Duration>;

    /// The name of a command, as a refusal's `allowed` lists it.
    fn command_name(command: &Self::Command) -> &'static str;

    /// Whom to tell of a command that was right and left no event behind, for it would say nothing here. It is
    /// told once, if at all: of what is lost with the node nobody hears.
    fn passes_on(&self, _command: &Self::Command) -> Option<Tell> {
        None
    }

    /// May the events of this command of the platform's wait for the next commit, for a second at most?
    ///
    /// It is answered before they are written, and they are lost with the node, so nobody may mind that. The
    /// command they then come with was judged without them: they change nothing by which others are.
    fn may_wait(_command: &Self::Command) -> bool {
        false
    }

    /// Does this begin an entity, under an id that was made for it? Then there is most likely nothing to
    /// be read of it, and the commit finds out if there is.
    fn begins(_command: &Self::Command) -> bool {
        false
    }

    /// Is somebody in danger who asks this? Then there is room for it where there is none for others.
    fn is_urgent(_command: &Self::Command) -> bool {
        false
    }

    /// The name of an event in lists and metrics: `Assigned` → `assigned`.
    fn event_name(event: &Self::Event) -> &'static str;

    /// Does somebody who looks for a driver wait for this event? Then it is written before what can wait.
    fn comes_first(_event: &Self::Event) -> bool {
        false
    }

    /// What a build must know to read this event whole. No rule may let something happen that needs
    /// more than [`Context::writes`].
    fn event_format(_event: &Self::Event) -> Format {
        Format::FIRST
    }

    /// The same for a command, which may wait in the outbox until another build delivers it.
    fn command_format(_command: &Self::Command) -> Format {
        Format::FIRST
    }
}

/// What a sighting is about: what sort of thing, and whose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic(pub u8, pub Uuid);

/// What surrounds a command.
#[derive(Debug, Clone, Copy)]
pub struct Context<Id> {
    /// Who is asked.
    pub id: Id,
    /// Who asks.
    pub by: Principal,
    /// When it reached the platform: the only clock a decider ever sees.
    pub now: Timestamp,
    /// The newest format that may be written: every node can read it.
    pub writes: Format,
}

/// How long somebody waited for something, and for how long they should have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// For what, as metrics call it.
    pub what: &'static str,
    /// How long.
    pub took: Duration,
    /// How long at most; zero where nothing is promised.
    pub at_most: Duration,
}

impl Waited {
    /// Was it longer than was promised?
    pub fn is_missed(&self) -> bool {
        !self.at_most.is_zero() && self.took > self.at_most
    }
}

/// What came of a sighting.
#[derive(Debug)]
pub struct Seen<C> {
    /// What the entity now asks of itself as [`Principal::System`].
    pub asks: Vec<C>,
    /// What others should see as well.
    pub passed_on: Vec<Sight>,
    /// What to say to whoever sent it, if it was rubbish.
    pub refused: Option<Refusal>,
    /// What somebody waited for, and was shown by it.
    pub waited: Option<Waited>,
    /// Why it cannot be so, as metrics call it, if a device says what cannot be.
    pub implausible: Option<&'static str>,
}

impl<C> Default for Seen<C> {
    fn default() -> Self {
        let (asks, passed_on) = (Vec::new(), Vec::new());
        Self { asks, passed_on, refused: None, waited: None, implausible: None }
    }
}
