//! The client an app holds: a [`Link`] in a task of its own, and handles to it.

use crate::{
    core::{Answer, Event, Habits, NotTaken, PUSHES_MAX, PushId, State, Why},
    follow::{Follower, Following},
    kept::Keep,
    link::{Link, Target},
    socket::{Address, Dial, NoAddress},
    token::Tokens,
};
use protocol::{
    CommandId, Principal, Refused, Timestamp,
    codec::Codec,
    frame::{Done, Fix, Outcome, Push, ServerFrame, Topic},
    work::Wish,
};
use rand::Rng;
use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

/// So many wishes of handles wait for the task, which never waits itself.
const ASKS_MAX: usize = 64;
/// How often a command is wished once more that was refused for a moment.
const ONCE_MORE_MAX: u32 = 3;

/// Why there is no [`Done`].
#[derive(Debug, Error)]
pub enum NotDone {
    /// The node says no, for good. If the code is `unavailable`, the client gave up, and the outcome is
    /// not known: ask again with the same id.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It was not asked for: too much waits already, or it can never be.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// It was not asked for: it could not be kept.
    #[error("could not be kept: {0}")]
    NotKept(#[source] io::Error),
    /// The client was closed first. Whether it happened is not known; if it is kept, the next start asks.
    #[error("closed before there was an answer")]
    Closed,
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum NotBuilt {
    /// An address is none.
    #[error(transparent)]
    Address(#[from] NoAddress),
    /// There is no address.
    #[error("no node is known")]
    NoAddresses,
    /// What was kept cannot be read.
    #[error("what was kept cannot be read: {0}")]
    Kept(#[from] io::Error),
}

/// What a client is to be like, before it connects.
pub struct Builder {
    addresses: Vec<String>,
    tokens: Arc<dyn Tokens>,
    dial: Option<Dial>,
    keep: Option<Box<dyn Keep>>,
    habits: Habits,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("addresses", &self.addresses)
            .field("habits", &self.habits)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Speaks JSON instead of MessagePack.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.habits.codec = Codec::Json;
        self
    }

    /// At most so many commands wait for their answers; 256 otherwise.
    #[must_use]
    pub fn commands_max(mut self, n: usize) -> Self {
        self.habits.commands_max = n;
        self
    }

    /// A command that is only told "later" for so long is answered with that.
    #[must_use]
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.habits.give_up_after = Some(patience);
        self
    }

    /// The first pause after a failure is at most `first`, each further one twice as long, none longer
    /// than `most`: any part of that, so that not everybody comes back at once.
    #[must_use]
    pub fn pauses(mut self, first: Duration, most: Duration) -> Self {
        self.habits.pause_first = first;
        self.habits.pause_max = most;
        self
    }

    /// Keeps commands until they are answered, also while the app does not run; see [`Client::take_kept`].
    #[must_use]
    pub fn keep(mut self, keep: impl Keep) -> Self {
        self.keep = Some(Box::new(keep));
        self
    }

    /// Reaches nodes in another way than the system takes.
    #[must_use]
    pub fn dial(mut self, dial: Dial) -> Self {
        self.dial = Some(dial);
        self
    }

    /// Connects, and stays connected until [`Client::close`], or until the last handle is gone. Returns at
    /// once: what is wished before there is a connection waits for it.
    ///
    /// # Errors
    ///
    /// An address is none, or what was kept cannot be read.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect(self) -> Result<Client, NotBuilt> {
        let addresses =
            self.addresses.iter().map(|it| it.parse()).collect::<Result<Vec<Address>, _>>()?;
        if addresses.is_empty() {
            return Err(NotBuilt::NoAddresses);
        }
        let mut target = Target { tokens: self.tokens, ..Target::new(addresses, String::new()) };
        if let Some(dial) = self.dial {
            target.dial = dial;
        }
        let mut keep = self.keep;
        let kept = keep.as_mut().map_or(Ok(Vec::new()), |keep| keep.kept())?;
        // What was kept must all be asked for, however little else may wait.
        let commands_max = self.habits.commands_max.max(kept.len());
        let habits = Habits { seed: rand::rng().random(), commands_max, ..self.habits };
        let mut link = Link::new(target, habits);
        let mut answers = HashMap::new();
        let mut unanswered = Vec::new();
        for (id, wish) in kept {
            if link.command(id, wish.clone()).is_ok() {
                let (answer, answered) = oneshot::channel();
                answers.insert(id, answer);
                unanswered.push(Kept { id, wish, answered });
            }
        }
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (state, seen) = watch::channel(State::Connecting);
        let (positions, at) = watch::channel(None);
        let (pushes, pushed) = mpsc::channel(PUSHES_MAX);
        let ahead_ms = Arc::new(AtomicI64::new(0));
        let (follower, own) = Follower::new(None);
        follower.begin_anew();
        let task = Task {
            link,
            keep,
            answers,
            followers: vec![follower],
            state,
            pushes,
            principal: None,
            ahead_ms: Arc::clone(&ahead_ms),
        };
        tokio::spawn(task.live(asked, at));
        let once = Once { own: Some(own), pushed: Some(pushed), kept: unanswered };
        let shared = Shared { asks, state: seen, positions, ahead_ms, once: Mutex::new(once) };
        Ok(Client { shared: Arc::new(shared) })
    }
}

/// One client of a node, for as long as an app lives; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<State>,
    positions: watch::Sender<Option<Fix>>,
    /// How far the node's clock is ahead of this machine's.
    ahead_ms: Arc<AtomicI64>,
    once: Mutex<Once>,
}

/// What only the first who asks gets.
#[derive(Debug)]
struct Once {
    own: Option<Following>,
    pushed: Option<mpsc::Receiver<(PushId, Push)>>,
    kept: Vec<Kept>,
}

/// A command that an earlier run of the app wished, and that was not answered then.
#[derive(Debug)]
pub struct Kept {
    /// Its id, still the same.
    pub id: CommandId,
    /// What was wished.
    pub wish: Wish,
    answered: oneshot::Receiver<Result<Done, NotDone>>,
}

impl Kept {
    /// What came of it.
    ///
    /// # Errors
    ///
    /// It was refused, or the client was closed first.
    pub async fn answer(self) -> Result<Done, NotDone> {
        self.answered.await.unwrap_or(Err(NotDone::Closed))
    }
}

impl Client {
    /// A client of these nodes (`ws://host:port/v1/ws`). It begins with any of them, and after a failure
    /// tries the next one.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use outrider_client::Client;
    /// use protocol::{OrderId, work::{OrderAction, Wish}};
    ///
    /// let token = || async { Ok("a token from your own server".to_owned()) };
    /// let client = Client::builder(["ws://127.0.0.1:7070/v1/ws"], token).connect()?;
    /// let id: OrderId = "order-0192f3c8aaaa7000800000000000cccc".parse()?;
    /// client.command(Wish::Order { id, action: OrderAction::Rate { stars: 5 } }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        tokens: impl Tokens,
    ) -> Builder {
        Builder {
            addresses: addresses.into_iter().map(Into::into).collect(),
            tokens: Arc::new(tokens),
            dial: None,
            keep: None,
            habits: Habits { once_more_max: ONCE_MORE_MAX, ..Habits::default() },
        }
    }

    /// Wants something. However often the connection breaks meanwhile, it happens once and is answered
    /// once. Dropping the future does not take the wish back.
    ///
    /// # Errors
    ///
    /// It was refused for good, or not taken, or the client was closed.
    pub async fn command(&self, wish: Wish) -> Result<Done, NotDone> {
        self.command_as(self.mint(), wish).await
    }

    /// The same with an id from [`Client::mint`], for whoever keeps ids.
    ///
    /// # Errors
    ///
    /// As [`Client::command`].
    pub async fn command_as(&self, id: CommandId, wish: Wish) -> Result<Done, NotDone> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Command { id, wish: Box::new(wish), answer }).await?;
        answered.await.unwrap_or(Err(NotDone::Closed))
    }

    /// A new command id, by the node's clock as far as it is known: a phone's own may be hours off.
    pub fn mint(&self) -> CommandId {
        let Timestamp(now_ms) = self.server_now();
        let (s, ms) = (now_ms / 1_000, now_ms % 1_000);
        let at = uuid::Timestamp::from_unix(uuid::NoContext, s, (ms * 1_000_000) as u32);
        CommandId(uuid::Uuid::new_v7(at))
    }

    /// The node's clock; this machine's, until the node has said what it is.
    pub fn server_now(&self) -> Timestamp {
        let ms = device_ms().saturating_add(self.shared.ahead_ms.load(Relaxed));
        Timestamp(u64::try_from(ms).unwrap_or_default())
    }

    /// Says where a driver is: a position, or a [`Fix`], which may say that it is made up. Without a connection the latest waits,
    /// and nothing else.
    pub fn position(&self, position: impl Into<Fix>) {
        self.shared.positions.send_replace(Some(position.into()));
    }

    /// Follows something, now and after every drop, until the returned is dropped.
    ///
    /// # Errors
    ///
    /// The client is closed.
    pub async fn follow(&self, topic: Topic) -> Result<Following, NotDone> {
        let (follower, following) = Follower::new(Some(topic));
        self.ask(Ask::Follow(follower)).await?;
        Ok(following)
    }

    /// What the node tells by itself, from the beginning: the rider or driver, and their jobs; for the
    /// first who asks.
    pub fn take_own(&self) -> Option<Following> {
        self.shared.once.lock().unwrap_or_else(PoisonError::into_inner).own.take()
    }

    /// What must arrive; for the first who asks.
    pub fn take_pushes(&self) -> Option<Pushes> {
        let mut once = self.shared.once.lock().unwrap_or_else(PoisonError::into_inner);
        let pushed = once.pushed.take()?;
        Some(Pushes { pushed, asks: self.shared.asks.clone() })
    }

    /// What an earlier run of the app wished and did not hear the answer to, if [`Builder::keep`] was told
    /// to keep it. It is asked for again whether this is called or not; for the first who asks.
    pub fn take_kept(&self) -> Vec<Kept> {
        let mut once = self.shared.once.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut once.kept)
    }

    /// Where it stands, and each change of that.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.clone()
    }

    /// Asks for a newer token and shows it. Happens by itself before a token ends.
    ///
    /// # Errors
    ///
    /// The client is closed.
    pub async fn renew(&self) -> Result<(), NotDone> {
        self.ask(Ask::Renew).await
    }

    /// Ends the wait for the next attempt, also one that a node asked for: the network is back, says the platform. For nothing
    /// else; see [`Client::rouse`].
    ///
    /// # Errors
    ///
    /// The client is closed.
    pub async fn retry_now(&self) -> Result<(), NotDone> {
        self.ask(Ask::RetryNow).await
    }

    /// Somebody takes the phone out: whoever was cut off while nobody waited for it lets others come back first no longer. How
    /// long a node asked it to wait, it does. What is wished, said or followed rouses it, too.
    ///
    /// # Errors
    ///
    /// The client is closed.
    pub async fn rouse(&self) -> Result<(), NotDone> {
        self.ask(Ask::Rouse).await
    }

    /// Says goodbye, and returns when it is said.
    pub async fn close(&self) {
        let (said, is_said) = oneshot::channel();
        if self.ask(Ask::Leave(said)).await.is_ok() {
            // Without an answer the task is gone, which is as good.
            drop(is_said.await);
        }
    }

    fn ask(&self, ask: Ask) -> impl Future<Output = Result<(), NotDone>> + Send {
        let asking = self.shared.asks.send(ask);
        async move { asking.await.map_err(|_| NotDone::Closed) }
    }
}

/// What must arrive, each once.
#[derive(Debug)]
pub struct Pushes {
    pushed: mpsc::Receiver<(PushId, Push)>,
    asks: mpsc::Sender<Ask>,
}

impl Pushes {
    /// The next one, which is acknowledged by this; none, once the client is closed. Safe to drop at any
    /// point: what was not returned is not acknowledged.
    pub async fn next(&mut self) -> Option<Push> {
        // A place for the acknowledgement first: between the two nothing may be waited for.
        let place = self.asks.reserve().await.ok()?;
        let (id, push) = self.pushed.recv().await?;
        place.send(Ask::Taken(id));
        Some(push)
    }
}

#[derive(Debug)]
enum Ask {
    Command { id: CommandId, wish: Box<Wish>, answer: oneshot::Sender<Result<Done, NotDone>> },
    Follow(Follower),
    Taken(PushId),
    Renew,
    RetryNow,
    Rouse,
    Leave(oneshot::Sender<()>),
}

/// The task of a client.
struct Task {
    link: Link,
    keep: Option<Box<dyn Keep>>,
    answers: HashMap<CommandId, oneshot::Sender<Result<Done, NotDone>>>,
    followers: Vec<Follower>,
    state: watch::Sender<State>,
    pushes: mpsc::Sender<(PushId, Push)>,
    principal: Option<Principal>,
    ahead_ms: Arc<AtomicI64>,
}

impl Task {
    async fn live(mut self, mut asked: mpsc::Receiver<Ask>, mut at: watch::Receiver<Option<Fix>>) {
        let said = loop {
            tokio::select! {
                event = self.link.next() => match event {
                    Some(event) => self.hear(event),
                    None => break None,
                },
                ask = asked.recv() => match ask {
                    Some(Ask::Leave(said)) => break Some(said),
                    Some(ask) => self.ask(ask),
                    None => break None,
                },
                // Once nobody can change it any more, nobody asks for anything either.
                Ok(()) = at.changed() => {
                    if let Some(position) = *at.borrow_and_update() {
                        self.link.position(position);
                    }
                }
            }
        };
        asked.close();
        self.link.leave().await;
        self.state.send_if_modified(|state| {
            let is_open = !matches!(state, State::Closed(_));
            if is_open {
                *state = State::Closed(Why::Left);
            }
            is_open
        });
        for follower in &self.followers {
            follower.close();
        }
        if let Some(said) = said {
            // Whoever asked may not have waited for it.
            let _is_heard = said.send(()).is_ok();
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Command { id, wish, answer } => match self.command(id, *wish) {
                Ok(()) => drop(self.answers.insert(id, answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Ask::Follow(follower) => {
                if let Some(topic) = &follower.topic {
                    self.link.follow(topic.clone());
                }
                follower.begin_anew();
                self.followers.push(follower);
            }
            Ask::Taken(id) => self.link.taken(id),
            Ask::Renew => self.link.renew(),
            Ask::RetryNow => self.link.retry_now(),
            Ask::Rouse => self.link.rouse(),
            Ask::Leave(_) => {}
        }
    }

    fn command(&mut self, id: CommandId, wish: Wish) -> Result<(), NotDone> {
        let Some(keep) = &mut self.keep else { return Ok(self.link.command(id, wish)?) };
        self.link.command(id, wish.clone())?;
        // Nothing is said before the task waits again, so what cannot be kept can still be taken back.
        keep.keep(id, &wish).map_err(|error| {
            self.link.withdraw(id);
            NotDone::NotKept(error)
        })
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::State(state) => drop(self.state.send_replace(state)),
            Event::Welcome { principal, resumed } => {
                self.principal = Some(principal);
                self.set_clock();
                if !resumed {
                    for follower in &self.followers {
                        follower.begin_anew();
                    }
                }
            }
            Event::Frame(frame) => self.tell(&frame),
            Event::Push { id, push } => {
                // As many as may wait have a place; the core does not deliver more.
                if self.pushes.try_send((id, push)).is_err() {
                    tracing::debug!("nobody listens for pushes");
                }
            }
            Event::Answered(answer) => self.answered(*answer),
            Event::Unreadable(error) => tracing::debug!(%error, "a frame that cannot be read"),
            Event::PushedAgain(_)
            | Event::Asked { .. }
            | Event::Later { .. }
            | Event::AnsweredAgain { .. } => {}
        }
    }

    fn tell(&mut self, frame: &ServerFrame) {
        let (gone, followers) = std::mem::take(&mut self.followers)
            .into_iter()
            .partition::<Vec<_>, _>(Follower::is_alone);
        self.followers = followers;
        for topic in gone.iter().filter_map(|it| it.topic.as_ref()) {
            if !self.followers.iter().any(|it| it.topic.as_ref() == Some(topic)) {
                self.link.unfollow(topic);
            }
        }
        for follower in &self.followers {
            if follower.tell(frame).is_err() {
                follower.begin_anew();
                if let Some(topic) = &follower.topic {
                    self.link.follow(topic.clone());
                }
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        let Answer { id, outcome, .. } = answer;
        if let Some(keep) = &mut self.keep
            && let Err(error) = keep.forget(id)
        {
            tracing::warn!(%error, "an answered command is still kept");
        }
        let result = match outcome {
            Outcome::Ok(done) => Ok(done),
            Outcome::Refused(refused) => Err(NotDone::Refused(refused)),
        };
        if let Some(answer) = self.answers.remove(&id) {
            // Whoever asked may not wait for it any more.
            drop(answer.send(result));
        }
    }

    fn set_clock(&self) {
        if let Some(Timestamp(now)) = self.link.server_now() {
            self.ahead_ms.store(now as i64 - device_ms(), Relaxed);
        }
    }
}

/// What this machine's clock says, in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "an id says when it was minted")]
fn device_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
