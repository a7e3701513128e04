//! The life of a decider: remember, decide, commit, evolve, answer, tell.
//!
//! The order of those verbs is the durability guarantee: a caller hears "yes", and others hear of
//! it, only after the journal has the events. A crash anywhere in between loses a reply, never a
//! fact.

use super::{
    Ask, BREATHER, Repeats, System,
    admission::{Permit, RETRY_AFTER_MS},
    home::Home,
    listed::Listed,
    publisher::{Published, Retell},
    recent::{self, Fingerprint, First, Known, Recent},
    relay::Outgoing,
    shard::ToShard,
    verdict::Curious,
    watchers::{Follower, Update, Watchers},
};
use crate::{
    Claim, Commit, Context, Decider, Effect, EntityKey, Format, Kind, Refusal, Seen, Sight,
    Version, Waited,
    cluster::envelope::{self, Warm},
    commit::{CommandResult, EncodedEvent},
    format,
    journal::{CommitError, JournalError, Stored},
    tell::Journey,
};
use protocol::{CommandId, Identifier, Principal, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{
    borrow::Cow, fmt::Display, future::poll_fn, marker::PhantomData, sync::Arc, time::Duration,
};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, warn};

/// What an entity answered: the version its journal then had, or why not.
pub type Answer = Result<Version, Refusal>;

/// How long what may wait for the next commit waits for one.
const PUT_OFF_FOR: Duration = Duration::from_secs(1);
/// Of how many commands; the next one is written at once, and they with it.
const PUT_OFF_MAX: usize = 16;

/// How often a journal that cannot be reached is tried again before the entity falls.
const LOAD_TRIES: u32 = 40;

/// Anything an entity can be sent. Its shard is the only sender, but of what is seen and what that leads to.
#[derive(Debug)]
pub(super) enum Message<D: Decider> {
    /// A command.
    Ask { ask: Ask<D::Command>, repeats: Repeats, reply: oneshot::Sender<Answer>, permit: Permit },
    /// Something seen.
    See(Sighted<D>),
    /// It has seen something that it must ask things of itself because of, and has not done so.
    Wonder,
    /// The deadline may have come.
    Tick,
    /// Somebody wants to follow it.
    Watch { follower: Follower<D>, reply: StateReply<D>, permit: Permit },
    /// Somebody wants to see it.
    Read { reply: StateReply<D>, permit: Permit },
    /// A region has forgotten it, or has moved.
    Relist,
    /// A board wants its mark.
    Republish(Retell),
    /// It may go to sleep if it has been idle long enough, or at all.
    MayIdle { is_forced: bool },
    /// It is to sleep now; nothing else follows.
    Sleep,
    /// It moves to another node; nothing else follows.
    Depart(mpsc::Sender<Warm>),
}

/// Something an entity is shown, and who wants to know what it thinks of that.
#[derive(Debug)]
pub(super) struct Sighted<D: Decider> {
    pub(super) sighting: D::Sighting,
    pub(super) curious: Option<Curious>,
    /// None while it is in the hands of whoever shows it: there it does not wait.
    pub(super) permit: Option<Permit>,
}

/// Something that was seen and is not done with, for it makes the entity ask things of itself.
#[derive(Debug)]
pub(super) struct Wonder<D: Decider> {
    sighted: Sighted<D>,
    asks: Vec<D::Command>,
    refused: Option<Refusal>,
}

/// What a command is recognised by when it is repeated.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    id: CommandId,
    print: Fingerprint,
}

/// Where a state goes.
type StateReply<D> = oneshot::Sender<Result<(Version, Arc<D>), Refusal>>;

impl<D: Decider> Message<D> {
    /// Answers without having asked anybody.
    pub(super) fn refuse(self, refusal: Refusal) {
        match self {
            // Whoever is gone needs no answer.
            Self::Ask { reply, .. } => drop(reply.send(Err(refusal))),
            Self::Watch { reply, .. } | Self::Read { reply, .. } => drop(reply.send(Err(refusal))),
            Self::See(_)
            | Self::Wonder
            | Self::Tick
            | Self::Relist
            | Self::Republish(_)
            | Self::MayIdle { .. }
            | Self::Sleep
            | Self::Depart(_) => {}
        }
    }

    /// Answers whoever would follow an entity that sleeps, and is so.
    pub(super) fn follow(
        self,
        watchers: &Watchers<D>,
        id: D::Id,
        version: Version,
        state: &Arc<D>,
    ) {
        if let Self::Watch { follower, reply, permit } = self {
            watchers.add(id, follower);
            drop(permit);
            // Whoever is gone needs no answer.
            reply.send(Ok((version, Arc::clone(state)))).ok();
        }
    }

    /// Does somebody only want to follow it?
    pub(super) fn is_watch(&self) -> bool {
        matches!(self, Self::Watch { .. })
    }

    /// Does somebody outside wait for it, and not only the platform?
    pub(super) fn is_live(&self) -> bool {
        match self {
            Self::Ask { ask, .. } => ask.by != Principal::System,
            Self::See(_) | Self::Wonder | Self::Watch { .. } | Self::Read { .. } => true,
            Self::Tick
            | Self::Relist
            | Self::Republish(_)
            | Self::MayIdle { .. }
            | Self::Sleep
            | Self::Depart(_) => false,
        }
    }

    /// Is there room for it where there is none for others?
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::Ask { ask, .. } => D::is_urgent(&ask.command),
            Self::See(_)
            | Self::Wonder
            | Self::Watch { .. }
            | Self::Read { .. }
            | Self::Tick
            | Self::Relist
            | Self::Republish(_)
            | Self::MayIdle { .. }
            | Self::Sleep
            | Self::Depart(_) => false,
        }
    }

    /// Does it begin whom it is for?
    pub(super) fn begins(&self) -> bool {
        match self {
            Self::Ask { ask, .. } => D::begins(&ask.command),
            Self::See(_)
            | Self::Wonder
            | Self::Watch { .. }
            | Self::Read { .. }
            | Self::Tick
            | Self::Relist
            | Self::Republish(_)
            | Self::MayIdle { .. }
            | Self::Sleep
            | Self::Depart(_) => false,
        }
    }

    /// Does it count against the bound of what may wait for one entity?
    pub(super) fn is_admitted(&self) -> bool {
        match self {
            Self::Ask { .. }
            | Self::See(_)
            | Self::Wonder
            | Self::Watch { .. }
            | Self::Read { .. } => true,
            Self::Tick
            | Self::Relist
            | Self::Republish(_)
            | Self::MayIdle { .. }
            | Self::Sleep
            | Self::Depart(_) => false,
        }
    }
}

/// Why an entity fell.
#[derive(Debug, Error)]
pub(super) enum Fall {
    /// The journal cannot be reached: not the entity's fault.
    #[error("journal out of reach: {0}")]
    Unreachable(String),
    /// Its past cannot be read.
    #[error(transparent)]
    Unreadable(JournalError),
}

/// Hosts one `D` as a ractor actor.
#[derive(Debug)]
pub(super) struct Entity<D>(PhantomData<fn() -> D>);

impl<D> Entity<D> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

/// What an entity is born with.
#[derive(Debug)]
pub(super) struct Birth<D: Decider> {
    pub(super) id: D::Id,
    pub(super) system: System,
    pub(super) shard: ActorRef<ToShard<D>>,
    pub(super) watchers: Arc<Watchers<D>>,
    /// What it was on its former node.
    pub(super) warm: Option<Box<Warm>>,
    /// It is woken by what begins it.
    pub(super) is_new: bool,
}

/// Commands that were answered and wait to be written. Apart, for hardly anybody has any.
#[derive(Debug)]
struct PutOff<C> {
    /// With the next one…
    commands: Vec<C>,
    /// …and then, if there is none.
    until: Timestamp,
}

/// A decider that is awake.
#[derive(Debug)]
pub(super) struct Awake<D: Decider> {
    birth: Birth<D>,
    myself: ActorRef<Box<Message<D>>>,
    key: EntityKey,
    version: Version,
    state: D,
    recent: Recent,
    /// Nobody has looked yet whether it has a past. Whoever is believed to have none and has written an event has none, for
    /// the journal says so: nobody else writes an entity's first one, and who has no event has no answers.
    pub(super) is_unread: bool,
    put_off: Option<Box<PutOff<D::Command>>>,
    /// The journal has its row as it is in this state. Not known of what was read, or came from another
    /// node: rows of an older build may say less.
    has_row: bool,
    /// What its region was last told.
    listed: Option<Box<Listed>>,
    /// The deadline the journal has.
    stored_deadline: Option<Timestamp>,
    /// The deadline the alarm has.
    armed: Option<Timestamp>,
    n_unsnapshot: u32,
    /// What a build must know to read its state whole: what its events needed.
    format: Format,
    n_received: u64,
    active_at: Timestamp,
    /// What it saw in the hands of others, and is not done with.
    pub(super) wonder: Option<Box<Wonder<D>>>,
}

impl<D: Decider> Actor for Entity<D> {
    // Behind pointers, both of them: ractor keeps room for several of each inside every idle actor.
    type Msg = Box<Message<D>>;
    type State = Arc<Home<D>>;
    type Arguments = (Birth<D>, Arc<Home<D>>);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (birth, home): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        home.put(Box::new(Awake {
            key: EntityKey { kind: D::KIND, id: birth.id.uuid() },
            active_at: birth.system.now(),
            birth,
            myself,
            is_unread: true,
            version: Version::default(),
            state: D::default(),
            recent: Recent::default(),
            put_off: None,
            has_row: false,
            listed: None,
            stored_deadline: None,
            armed: None,
            n_unsnapshot: 0,
            format: Format::FIRST,
            n_received: 0,
            wonder: None,
        }));
        Ok(home)
    }

    /// Reads the journal here and not in `pre_start`, where ractor has not linked the actor yet and
    /// tells nobody when it fails.
    async fn post_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        home: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let mut awake = poll_fn(|cx| home.poll_take(cx)).await;
        if !awake.birth.is_new {
            // Boxed for the same reason as handlers are.
            Box::pin(awake.remember_in_turn(&home.live)).await?;
        }
        home.put(awake);
        Ok(())
    }

    /// Boxed whole, and not only what takes room: ractor keeps room for several handlers inside every idle actor.
    fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        home: &mut Self::State,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        Box::pin(attend(home, message))
    }
}

/// Handles a message, as soon as the entity is at home.
async fn attend<D: Decider>(
    home: &Home<D>,
    message: Box<Message<D>>,
) -> Result<(), ActorProcessingErr> {
    let mut awake = poll_fn(|cx| home.poll_take(cx)).await;
    // Whatever does not begin it is for somebody who has a past.
    if awake.is_unread && !message.begins() {
        Box::pin(awake.remember_in_turn(&home.live)).await?;
    }
    if let Some(wonder) = awake.wonder.take() {
        Box::pin(awake.follow_up(*wonder)).await?;
    }
    let is_admitted = message.is_admitted();
    let next = match awake.at_once(*message) {
        None => Next::Stay,
        // Boxed, for what was seen needs no such room, and that is most of what comes.
        Some(left) => Box::pin(awake.take(left)).await?,
    };
    if is_admitted {
        home.handled();
    }
    match next {
        Next::Stay => home.put(awake),
        Next::Leave => awake.myself.stop(None),
    }
    Ok(())
}

/// What becomes of an entity that has handled a message.
enum Next {
    /// It waits for the next one.
    Stay,
    /// It has nothing left to do here.
    Leave,
}

impl<D: Decider> Awake<D> {
    /// Does what can be done at once, and gives back what is left, which may have to wait for the journal. Most of what an
    /// entity is sent was seen, and leaves nothing: that needs no future.
    fn at_once(&mut self, message: Message<D>) -> Option<Message<D>> {
        let Message::See(sighted) = message else {
            self.n_received += 1;
            if message.is_admitted() {
                self.active_at = self.birth.system.now();
            }
            return Some(message);
        };
        self.wonder = self.take_in(sighted);
        self.wonder.is_some().then_some(Message::Wonder)
    }

    /// Takes in what is seen, unless something must be asked because of it.
    pub(super) fn take_in(&mut self, mut sighted: Sighted<D>) -> Option<Box<Wonder<D>>> {
        self.n_received += 1;
        let context = self.context(Principal::System);
        self.active_at = context.now;
        let Seen { asks, passed_on, refused, waited, implausible } =
            self.state.see(&sighted.sighting, &context);
        if let Some(waited) = waited {
            count(D::KIND, &waited);
        }
        if let Some(why) = implausible {
            metrics::counter!("outrider_positions_implausible_total", "why" => why).increment(1);
        }
        for sight in passed_on {
            if let Sight::Way(journey) = sight {
                self.look_ahead(&journey);
            } else {
                self.birth.system.see(sight);
            }
        }
        if !asks.is_empty() {
            // From here on it waits, and whoever leaves waits for it. If there is no room, the next sighting leads there again.
            let admission = &self.birth.system.0.admission;
            let admit = || admission.admit(self.key.shard(), false).ok();
            sighted.permit = sighted.permit.or_else(admit);
            if sighted.permit.is_some() {
                return Some(Box::new(Wonder { sighted, asks, refused }));
            }
        }
        self.seen(sighted, refused);
        None
    }

    /// Asks of itself what something seen leads to.
    async fn follow_up(
        &mut self,
        Wonder { sighted, asks, refused }: Wonder<D>,
    ) -> Result<(), Fall> {
        for command in &asks {
            // A refusal means that the sighting led to nothing; the next one may.
            self.ask(command, Principal::System, None).await?.ok();
        }
        self.seen(sighted, refused);
        Ok(())
    }

    /// Leaves its actor something to do.
    pub(super) fn remind(&self, of: Message<D>) {
        // It may fall before it comes to that; the next sighting leads there again.
        self.myself.send_message(Box::new(of)).ok();
    }

    async fn take(&mut self, message: Message<D>) -> Result<Next, Fall> {
        match message {
            Message::Ask { ask: Ask { command, by, .. }, reply, permit, .. }
                if self.puts_off(&command, by) =>
            {
                drop(permit);
                reply.send(Ok(self.version)).ok();
            }
            Message::Ask { ask: Ask { command, by, id }, repeats, reply, permit } => {
                let stamp = match repeats {
                    Repeats::ById(wish) => {
                        let print = Fingerprint::of(by, D::command_name(&command), &command, wish);
                        Some(Stamp { id, print })
                    }
                    Repeats::Never => None,
                };
                let mut answer = self.ask(&command, by, stamp).await?;
                if self.is_unread {
                    // Nothing was written, so that nobody has said yet that it has no past.
                    self.remember().await?;
                    answer = self.ask(&command, by, stamp).await?;
                }
                drop(permit);
                // A caller that gave up will ask again.
                reply.send(answer).ok();
            }
            // Taken in at once.
            Message::See(_) => {}
            // Mostly it was done before that was heard.
            Message::Wonder => {
                if let Some(wonder) = self.wonder.take() {
                    self.follow_up(*wonder).await?;
                }
            }
            Message::Tick => self.tick().await?,
            Message::Watch { follower, reply, permit } => {
                self.birth.watchers.add(self.birth.id, follower);
                drop(permit);
                reply.send(Ok((self.version, Arc::new(self.state.clone())))).ok();
            }
            Message::Read { reply, permit } => {
                drop(permit);
                reply.send(Ok((self.version, Arc::new(self.state.clone())))).ok();
            }
            Message::Relist => {
                if let Some(listed) = &self.listed {
                    listed.repeat(&self.birth.system);
                }
            }
            Message::Republish(to) => {
                self.birth.system.0.publisher.publish_again(&to, || self.published(Vec::new()));
            }
            Message::MayIdle { is_forced } => {
                let idle = self.birth.system.now().since(self.active_at);
                if self.state.idle_max().is_some_and(|max| is_forced || idle >= max) {
                    let drowsy = ToShard::Drowsy { id: self.birth.id, n_received: self.n_received };
                    // Fails only when the shard is gone, and the entity with it.
                    self.birth.shard.send_message(drowsy).ok();
                }
            }
            Message::Sleep => {
                self.write_put_off().await?;
                self.snapshot().await;
                return Ok(Next::Leave);
            }
            Message::Depart(to) => {
                // Its former host waits for nobody, so there is room for everyone.
                to.try_send(self.warm()).ok();
                return Ok(Next::Leave);
            }
        }
        Ok(Next::Stay)
    }

    /// Decides, commits, evolves, tells. `stamp` is absent when the entity asks itself, and when nobody repeats it.
    async fn ask(
        &mut self,
        command: &D::Command,
        by: Principal,
        stamp: Option<Stamp>,
    ) -> Result<Answer, Fall> {
        // Terminates: it comes round again only when somebody else's commit, or ours, got through.
        loop {
            if let Some(stamp) = stamp
                && let Some(first) = self.first_answer(stamp.id).await?
            {
                return Ok(first.repeated(stamp.print));
            }
            let context = self.context(by);
            let (events, refusal) = match self.state.decide(command, &context) {
                Ok(events) if events.is_empty() => {
                    if let Some(tell) = self.state.passes_on(command) {
                        self.birth.system.pass_on(tell);
                    }
                    return Ok(self.keep(stamp, Ok(self.version)));
                }
                Ok(events) => (events, None),
                Err(refusal) => {
                    let remarks = self.state.remarks(command, &refusal, &context);
                    if remarks.is_empty() {
                        return self.refuse(refusal, by, stamp, context.now).await;
                    }
                    (remarks, Some(refusal))
                }
            };
            let mut events = self.after_put_off(events, context.now);
            if let Some((job, after)) = self.state.may_tell(self.birth.id, &events)
                && let Some(account) = self.birth.system.regions().account_of(job, after)
            {
                D::tell_rounds(&mut events, account);
            }
            let version = Version(self.version.0 + events.len() as u64);
            let answer = refusal.map_or(Ok(version), Err);
            let result = stamp.map(|Stamp { id: command, print }| {
                let bytes = recent::encode(&First::new(print, answer.clone()));
                CommandResult { command, bytes }
            });
            let format = events.iter().map(D::event_format).fold(self.format, Format::max);
            let (commit, after, outgoing, waits) =
                self.prepare(&events, format, result, context.now);
            let told = outgoing.effects.iter().map(Effect::format).max().unwrap_or_default();
            if (format > self.format && format > context.writes) || context.writes < told {
                error!(entity = %self.key, %format, %told, "a rule says what not every node can read");
                return Ok(Err(Refusal::Unavailable));
            }
            let is_snapshot = commit.snapshot.is_some();
            match self.birth.system.commit_and_tell(commit, outgoing, self.is_unread).await {
                Ok(()) => {
                    self.is_unread = false;
                    self.has_row = true;
                    self.put_off = None;
                    self.version = version;
                    self.state = after;
                    self.format = format;
                    self.n_unsnapshot =
                        if is_snapshot { 0 } else { self.n_unsnapshot + events.len() as u32 };
                    self.stored_deadline = self.state.deadline().map(|(due, _)| due);
                    let answer = self.keep(stamp, answer);
                    waits.iter().for_each(|it| count(D::KIND, it));
                    self.tell_all(events);
                    return Ok(answer);
                }
                Err(CommitError::ClaimTaken { claim, holder }) => {
                    return Ok(Err(Refusal::Taken { claim, holder }));
                }
                Err(CommitError::BelowFloor { account, .. }) => {
                    return Ok(Err(Refusal::InsufficientFunds { account }));
                }
                Err(error @ CommitError::Fenced { .. }) => {
                    warn!(entity = %self.key, %error, "commit fenced off");
                    metrics::counter!("outrider_fenced_total").increment(1);
                    self.birth.system.fenced(self.key.shard());
                    return Ok(Err(Refusal::Busy { retry_after_ms: RETRY_AFTER_MS }));
                }
                Err(CommitError::Unavailable(error)) => {
                    warn!(entity = %self.key, error, "commit not written");
                    return Ok(Err(Refusal::Busy { retry_after_ms: RETRY_AFTER_MS }));
                }
                Err(CommitError::Postings(problem) | CommitError::Unsound(problem)) => {
                    // A rule is wrong. It would be wrong again, so this is an answer and no fall.
                    error!(entity = %self.key, problem, "commit makes no sense");
                    return Ok(Err(Refusal::invalid("commit", problem)));
                }
                // Another host wrote first, or nobody knows whether we did. Read what is there, and
                // think again: in place, for falling would drop everyone who waits behind.
                Err(error @ (CommitError::Stale { .. } | CommitError::Unknown(_))) => {
                    warn!(entity = %self.key, %error, "reading the journal again");
                    metrics::counter!("outrider_rereads_total").increment(1);
                    self.remember().await?;
                }
            }
        }
    }

    /// Keeps a command for the next commit, if it may wait for that, and says something new.
    fn puts_off(&mut self, command: &D::Command, by: Principal) -> bool {
        let may_wait = by == Principal::System && D::may_wait(command);
        let waiting = self.put_off.as_ref().map_or(&[][..], |it| &it.commands);
        if !may_wait || waiting.len() == PUT_OFF_MAX {
            return false;
        }
        if waiting.contains(command) {
            return true;
        }
        let context = self.context(by);
        let is_new = self.state.decide(command, &context).is_ok_and(|events| !events.is_empty());
        if is_new {
            let until = context.now + PUT_OFF_FOR;
            let begin = || Box::new(PutOff { commands: Vec::new(), until });
            self.put_off.get_or_insert_with(begin).commands.push(command.clone());
            self.arm();
        }
        is_new
    }

    /// What was put off, and then `events`.
    fn after_put_off(&self, events: Vec<D::Event>, now: Timestamp) -> Vec<D::Event> {
        let Some(put_off) = &self.put_off else { return events };
        let context = Context { now, ..self.context(Principal::System) };
        let (mut state, mut all) = (self.state.clone(), Vec::new());
        for command in &put_off.commands {
            // What is refused by now has nothing to say.
            for event in state.decide(command, &context).unwrap_or_default() {
                state.evolve(&event);
                all.push(event);
            }
        }
        all.extend(events);
        all
    }

    /// Writes what was put off.
    async fn write_put_off(&mut self) -> Result<(), Fall> {
        // Each is asked once more; the first that has something to say takes the others along.
        while let Some(command) = self.next_put_off() {
            if self.ask(&command, Principal::System, None).await?.is_err() {
                // Nobody waits for it.
                self.put_off = None;
            }
        }
        Ok(())
    }

    fn next_put_off(&mut self) -> Option<D::Command> {
        let put_off = self.put_off.as_mut()?;
        let command = put_off.commands.pop();
        if put_off.commands.is_empty() {
            self.put_off = None;
        }
        command
    }

    /// The answer this command got when it was first asked, if it was.
    async fn first_answer(&mut self, id: CommandId) -> Result<Option<First>, Fall> {
        match self.recent.find(id) {
            Known::Answered(first) => Ok(Some(first)),
            Known::New => Ok(None),
            Known::Maybe => {
                match self.birth.system.journal().result(self.key, id).await {
                    Ok(None) => Ok(None),
                    Ok(Some(bytes)) => match recent::decode(&bytes) {
                        Ok(answer) => Ok(Some(answer)),
                        Err(error) => Err(unreadable(self.key, error)),
                    },
                    // Without knowing, the only safe answer is none.
                    Err(error) => Err(Fall::Unreachable(error.to_string())),
                }
            }
        }
    }

    /// Keeps a refusal as the command's answer, so that a repeat hears the same. Unknown entities
    /// keep nothing: ids that were never created must not fill the journal.
    async fn refuse(
        &mut self,
        refusal: Refusal,
        by: Principal,
        stamp: Option<Stamp>,
        now: Timestamp,
    ) -> Result<Answer, Fall> {
        let is_kept = by != Principal::System && self.version > Version::default();
        if let Some(Stamp { id: command, print }) = stamp.filter(|_| is_kept) {
            let bytes = recent::encode(&First::new(print, Err(refusal.clone())));
            let result = Some(CommandResult { command, bytes });
            let commit = Commit { result, ..self.empty_commit(now) };
            if let Err(error) = self.birth.system.journal().commit(commit).await {
                warn!(entity = %self.key, %error, "refusal not kept");
            }
            return Ok(self.keep(stamp, Err(refusal)));
        }
        Ok(Err(refusal))
    }

    fn keep(&mut self, stamp: Option<Stamp>, answer: Answer) -> Answer {
        if let Some(Stamp { id, print }) = stamp {
            self.recent.add(id, First::new(print, answer.clone()));
        }
        answer
    }

    /// What surrounds a command that is decided now.
    fn context(&self, by: Principal) -> Context<D::Id> {
        let system = &self.birth.system;
        Context { id: self.birth.id, by, now: system.now(), writes: system.writes() }
    }

    /// Everything `events` write, the state of that format they lead to, what others are to be told, and how long somebody waited.
    fn prepare(
        &self,
        events: &[D::Event],
        format: Format,
        result: Option<CommandResult>,
        now: Timestamp,
    ) -> (Commit, D, Outgoing, Vec<Waited>) {
        let mut after = self.state.clone();
        let (mut effects, mut postings, mut waits) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            effects.extend(after.effects(self.birth.id, event));
            postings.extend(after.postings(self.birth.id, event));
            waits.extend(after.waited(event));
            after.evolve(event);
        }
        let version = Version(self.version.0 + events.len() as u64);
        let held = self.state.claims(self.birth.id);
        let wanted = after.claims(self.birth.id);
        let deadline = after.deadline().map(|(due, _)| due);
        // A search says much that no list shows, and a row is what is dearest to write.
        let row = if self.has_row { self.state.view(self.birth.id) } else { None };
        let is_snapshot_due = self.n_unsnapshot as usize + events.len()
            >= self.birth.system.0.settings.snapshot_every as usize;
        let commit = Commit {
            events: events.iter().map(encode_event::<D>).collect(),
            snapshot: is_snapshot_due.then(|| format::encode(&after, format)),
            result,
            effects: effects.iter().map(|it| format::encode(it, it.format())).collect(),
            deadline: (deadline != self.stored_deadline).then_some(deadline),
            claims_taken: difference(&wanted, &held),
            claims_released: difference(&held, &wanted),
            postings,
            view: after.view(self.birth.id).filter(|it| row.as_ref() != Some(it)),
            comes_first: events.iter().any(D::comes_first),
            ..self.empty_commit(now)
        };
        (commit, after, Outgoing { source: self.key, version, at: now, effects }, waits)
    }

    fn empty_commit(&self, now: Timestamp) -> Commit {
        let writes = self.birth.system.writes();
        Commit { writes, ..Commit::new(self.key, self.version, now) }
    }

    /// Tells everyone who follows it what was just committed.
    fn tell_all(&mut self, events: Vec<D::Event>) {
        let names = events.iter().map(|event| Cow::Borrowed(D::event_name(event))).collect();
        for event in &events {
            metrics::counter!("outrider_events_total", "kind" => D::KIND.to_string(), "event" => D::event_name(event))
                .increment(1);
            for sight in self.state.shows(self.birth.id, event) {
                self.birth.system.see(sight);
            }
        }
        self.follow_state();
        self.birth.watchers.tell(&self.birth.system, self.birth.id, || Update::Changed {
            version: self.version,
            state: Arc::new(self.state.clone()),
            events: events.into(),
        });
        self.publish(names);
    }

    /// Brings alarm and region in line with the state.
    fn follow_state(&mut self) {
        self.arm();
        self.follow_listing();
    }

    /// Sets the alarm to when it next has something to do by itself.
    fn arm(&mut self) {
        let deadline = self.state.deadline().map(|(due, _)| due);
        let put_off = self.put_off.as_ref().map(|it| it.until);
        let due = deadline.into_iter().chain(put_off).min();
        if due != self.armed {
            self.armed = due;
            self.birth.system.0.alarm.set(self.key, due);
        }
    }

    /// Tells its region what changed, if anything did.
    fn follow_listing(&mut self) {
        let listing = self.state.listing(self.birth.id);
        Listed::follow(&mut self.listed, &self.birth.system, self.key, listing);
    }

    fn publish(&self, events: Vec<Cow<'static, str>>) {
        self.birth.system.0.publisher.publish(events, |events| self.published(events));
    }

    fn published(&self, events: Vec<Cow<'static, str>>) -> Published {
        Published {
            entity: self.key,
            at: self.birth.system.now(),
            mark: self.state.mark(self.birth.id),
            events,
        }
    }

    /// Tells all who follow it of what was seen, unless it was refused, and whoever is curious what became of it.
    fn seen(&mut self, sighted: Sighted<D>, refused: Option<Refusal>) {
        let Sighted { sighting, curious, permit } = sighted;
        let verdict = match refused {
            Some(refusal) => Err(refusal),
            None => {
                self.tell_seen(sighting);
                Ok(())
            }
        };
        drop(permit);
        if let Some(curious) = curious {
            curious.hear(verdict);
        }
    }

    fn tell_seen(&mut self, sighting: D::Sighting) {
        self.follow_listing();
        // What was seen usually moves a deadline further away, and then the alarm may ring early.
        if let Some((due, _)) = self.state.deadline()
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            self.birth.system.0.alarm.set(self.key, Some(due));
        }
        if D::is_worth_seeing(&sighting) {
            self.birth.watchers.tell_seen(&self.birth.system, self.birth.id, || sighting);
        }
        self.birth.system.0.publisher.publish_seen(|| self.published(Vec::new()));
    }

    /// Finds out how long a way takes. What that says of this entity it sees at once, so that its followers know it before
    /// they are told of the sighting that led to it.
    fn look_ahead(&mut self, journey: &Journey) {
        let now = self.birth.system.now();
        let told = self.birth.system.regions().etas(journey, now);
        for (job, etas) in told {
            let is_own = EntityKey::from(job) == self.key;
            match D::expects(journey.driver, etas).filter(|_| is_own) {
                Some(sighting) => {
                    let context = self.context(Principal::System);
                    self.state.see(&sighting, &context);
                    self.birth.watchers.tell_seen(&self.birth.system, self.birth.id, || sighting);
                }
                None => self.birth.system.see(Sight::expected(job, journey.driver, etas)),
            }
        }
    }

    async fn tick(&mut self) -> Result<(), Fall> {
        self.armed = None;
        let now = self.birth.system.now();
        if self.put_off.as_ref().is_some_and(|it| it.until <= now) {
            self.write_put_off().await?;
        }
        let before = self.version;
        if let Some((due, command)) = self.state.deadline()
            && due <= now
        {
            let mut answer = self.ask(&command, Principal::System, None).await?;
            if let Err(Refusal::Taken { claim, .. }) = &answer
                && let Some(instead) = self.state.when_taken(claim)
            {
                answer = self.ask(&instead, Principal::System, None).await?;
            }
            let is_still_due = self.state.deadline().is_some_and(|(due, _)| due <= now);
            if self.version == before && is_still_due {
                // A rule that does not move its own deadline must not keep a core busy.
                warn!(entity = %self.key, ?answer, "deadline stands still");
                let later = now + Duration::from_secs(1);
                self.armed = Some(later);
                self.birth.system.0.alarm.set(self.key, self.armed);
                return Ok(());
            }
        }
        self.follow_state();
        Ok(())
    }

    /// Becomes what the journal says. Whatever was not written down starts anew.
    async fn remember(&mut self) -> Result<(), Fall> {
        let stored = stored(&self.birth.system, self.key).await?;
        self.is_unread = false;
        self.has_row = false;
        self.version = stored.version();
        self.n_unsnapshot = stored.tail.len() as u32;
        self.recent = Recent::of(&stored).map_err(|error| unreadable(self.key, error))?;
        let (mut state, format) = durable::<D>(self.key, &stored)?;
        self.format = format;
        // The journal keeps the deadline of the durable state, before soft state is renewed.
        self.stored_deadline = state.deadline().map(|(due, _)| due);
        state.wake(self.birth.system.now());
        self.state = state;
        self.appear();
        Ok(())
    }

    /// Becomes what it was on its former node.
    fn resume(&mut self, warm: &Warm) -> Result<(), rmp_serde::decode::Error> {
        let mut state: D = rmp_serde::from_slice(&warm.durable)?;
        state.recall(rmp_serde::from_slice(&warm.soft)?);
        self.recent = rmp_serde::from_slice(&warm.recent)?;
        self.version = warm.version;
        self.n_unsnapshot = warm.n_unsnapshot;
        self.format = warm.format;
        self.stored_deadline = warm.stored_deadline;
        self.is_unread = false;
        self.state = state;
        self.appear();
        Ok(())
    }

    /// What its next host needs, to go on without reading the journal. What was put off stays behind.
    fn warm(&self) -> Warm {
        Warm {
            entity: self.key,
            epoch: self.birth.system.epoch(self.key.shard()),
            version: self.version,
            n_unsnapshot: self.n_unsnapshot,
            format: self.format,
            stored_deadline: self.stored_deadline,
            durable: envelope::encode(&self.state),
            soft: envelope::encode(&self.state.soft()),
            recent: envelope::encode(&self.recent),
        }
    }

    /// Shows itself to all who follow it, as it is now.
    fn appear(&mut self) {
        if self.version > Version::default() {
            self.follow_state();
            self.birth.watchers.tell(&self.birth.system, self.birth.id, || Update::Changed {
                version: self.version,
                state: Arc::new(self.state.clone()),
                events: Arc::new([]),
            });
            self.publish(Vec::new());
        }
    }

    /// The same, but only so many at a time where nobody outside waits for it: a restart leaves room
    /// for who does.
    async fn remember_in_turn(&mut self, live: &Notify) -> Result<(), Fall> {
        // What a newer build wrote would be read by half.
        if let Some(warm) = self.birth.warm.take().filter(|it| it.format <= Format::READS) {
            match self.resume(&warm) {
                Ok(()) => return Ok(()),
                // The journal has all that matters of it.
                Err(error) => warn!(entity = %self.key, %error, "what it was elsewhere is lost"),
            }
        }
        let turns = self.birth.system.0.background_loads.clone();
        let _turn = tokio::select! {
            biased;
            () = live.notified() => None,
            turn = turns.acquire_owned() => turn.ok(),
        };
        self.remember().await
    }

    async fn snapshot(&mut self) {
        if self.n_unsnapshot == 0 {
            return;
        }
        let snapshot = Some(format::encode(&self.state, self.format));
        let commit = Commit { snapshot, ..self.empty_commit(self.birth.system.now()) };
        // Without it the next host reads a few more events.
        if let Err(error) = self.birth.system.journal().commit(commit).await {
            warn!(entity = %self.key, %error, "no snapshot on sleep");
        }
    }
}

/// How somebody is who sleeps: as it would be if it woke.
pub(super) async fn asleep<D: Decider>(system: &System, id: D::Id) -> Result<(Version, D), Fall> {
    let key = EntityKey { kind: D::KIND, id: id.uuid() };
    let stored = stored(system, key).await?;
    let (mut state, _) = durable::<D>(key, &stored)?;
    state.wake(system.now());
    Ok((stored.version(), state))
}

/// What the journal has of an entity; asked again, for a while, where it cannot be reached.
async fn stored(system: &System, key: EntityKey) -> Result<Stored, Fall> {
    let mut tries = 0;
    loop {
        match system.journal().load(key).await {
            Ok(stored) => return Ok(stored),
            Err(JournalError::Unavailable(error)) if tries == LOAD_TRIES => {
                return Err(Fall::Unreachable(error));
            }
            Err(JournalError::Unavailable(_)) => {
                tries += 1;
                tokio::time::sleep(BREATHER * tries).await;
            }
            Err(error @ JournalError::Unreadable { .. }) => return Err(Fall::Unreadable(error)),
        }
    }
}

/// The state that was written down, and what a build must know to read it whole.
fn durable<D: Decider>(key: EntityKey, stored: &Stored) -> Result<(D, Format), Fall> {
    let (mut state, mut format) = match &stored.snapshot {
        Some((_, bytes)) => format::decode(bytes).map_err(|error| unreadable(key, error))?,
        None => (D::default(), Format::FIRST),
    };
    for event in &stored.tail {
        let (event, needed) =
            format::decode(&event.bytes).map_err(|error| unreadable(key, error))?;
        D::evolve(&mut state, &event);
        format = format.max(needed);
    }
    Ok((state, format))
}

fn unreadable(entity: EntityKey, error: impl Display) -> Fall {
    Fall::Unreadable(JournalError::Unreadable { entity, problem: error.to_string() })
}

fn encode_event<D: Decider>(event: &D::Event) -> EncodedEvent {
    let bytes = format::encode(event, D::event_format(event));
    EncodedEvent { name: D::event_name(event).to_owned(), bytes }
}

/// Says in metrics how long somebody waited, and whether that was as promised.
fn count(kind: Kind, waited: &Waited) {
    let Waited { what, took, at_most } = *waited;
    metrics::histogram!("outrider_wait_seconds", "kind" => kind.to_string(), "for" => what)
        .record(took);
    if !at_most.is_zero() {
        let kept = if waited.is_missed() { "no" } else { "yes" };
        metrics::counter!("outrider_service_level_total", "kind" => kind.to_string(), "for" => what, "kept" => kept)
            .increment(1);
    }
}

fn difference(these: &[Claim], those: &[Claim]) -> Vec<Claim> {
    these.iter().filter(|it| !those.contains(it)).cloned().collect()
}
