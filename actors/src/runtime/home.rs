//! Where somebody who is awake is while it does nothing, and what is on its way to it.
//!
//! ```text
//!  its actor ◀──take── home ──visit──▶ whoever shows it something, while nothing waits for it
//!      └────────put──▶      ◀──put────────┘
//! ```
//!
//! Whoever takes it has it alone, and puts it back. So nobody who shows something has to wait, or to wake an actor for what
//! takes a moment; and where its actor waits for it, that has it next. Who falls, sleeps or departs in the hands of its actor is not put back: from then on nobody is at home,
//! and whatever comes goes to the mailbox.

use super::entity::{Awake, Message, Sighted};
use crate::Decider;
use std::{
    any::Any,
    cell::Cell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::sync::Notify;

/// Most who take something in on one thread, each because of the one before: a driver shows its job where it is, and that
/// shows others when it comes. Nobody is among them twice, for who takes something in is not at home. What leads further goes
/// to mailboxes.
const NESTED_MAX: usize = 3;

thread_local! {
    /// How many take something in on this thread.
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

/// Does something, of which nobody takes anything in on this thread.
pub(super) fn by_mailbox<T>(act: impl FnOnce() -> T) -> T {
    let nested = NESTED.replace(NESTED_MAX);
    let done = act();
    NESTED.set(nested);
    done
}

/// The home of an entity that is awake, as its shard, its actor and whoever shows it something see it.
#[derive(Debug)]
pub(super) struct Home<D: Decider> {
    /// Messages sent to it and not yet handled.
    pub(super) n_waiting: AtomicU32,
    /// How many it was ever sent, or shown, past its shard.
    pub(super) n_shown: AtomicU64,
    /// One of them is live: it must not wait for its turn to be read.
    pub(super) live: Notify,
    place: Mutex<Place<D>>,
}

#[derive(Debug)]
enum Place<D: Decider> {
    /// At home.
    In(Box<Awake<D>>),
    /// At home, for its actor, which waited for it: whoever shows it something comes after that.
    Due(Box<Awake<D>>),
    /// Somebody has it, or nobody will again. Its actor is woken, if it waits for it.
    Out(Option<Waker>),
    /// It saw something that its rules panicked of. Its actor falls of that.
    Fallen(Box<dyn Any + Send>),
}

impl<D: Decider> Default for Home<D> {
    fn default() -> Self {
        Self {
            n_waiting: AtomicU32::new(0),
            n_shown: AtomicU64::new(0),
            live: Notify::new(),
            place: Mutex::new(Place::Out(None)),
        }
    }
}

impl<D: Decider> Home<D> {
    /// Gives it to its actor, as soon as nobody else has it. If its rules panicked meanwhile, its actor now does.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Box<Awake<D>>> {
        let mut place = self.place();
        match mem::replace(&mut *place, Place::Out(None)) {
            Place::In(awake) | Place::Due(awake) => Poll::Ready(awake),
            Place::Out(_) => {
                *place = Place::Out(Some(cx.waker().clone()));
                Poll::Pending
            }
            Place::Fallen(panic) => {
                drop(place);
                resume_unwind(panic)
            }
        }
    }

    /// Here it is again.
    pub(super) fn put(&self, awake: Box<Awake<D>>) {
        let mut place = self.place();
        let before = mem::replace(&mut *place, Place::Out(None));
        let Place::Out(Some(actor)) = before else {
            *place = Place::In(awake);
            return;
        };
        *place = Place::Due(awake);
        drop(place);
        actor.wake();
    }

    /// Its rules have panicked.
    fn falls(&self, panic: Box<dyn Any + Send>) {
        let before = mem::replace(&mut *self.place(), Place::Fallen(panic));
        if let Place::Out(Some(actor)) = before {
            actor.wake();
        }
    }

    /// Gives it to somebody who shows it something, if it is at home and nothing waits for it that may have been said before.
    ///
    /// What that is counts as sent from now on, and as received once it is taken in, so that nobody lets it sleep in between.
    fn visited(&self) -> Option<Box<Awake<D>>> {
        if self.n_waiting.load(Ordering::Acquire) > 0 || NESTED.get() >= NESTED_MAX {
            return None;
        }
        let mut place = self.place();
        match mem::replace(&mut *place, Place::Out(None)) {
            // Whoever has a past that is not read takes nothing in.
            Place::In(awake) if !awake.is_unread => {
                self.n_shown.fetch_add(1, Ordering::AcqRel);
                Some(awake)
            }
            other @ (Place::In(_) | Place::Due(_) | Place::Out(_) | Place::Fallen(_)) => {
                *place = other;
                None
            }
        }
    }

    /// Something is sent to it past its shard.
    pub(super) fn sent(&self) {
        self.n_waiting.fetch_add(1, Ordering::AcqRel);
        self.n_shown.fetch_add(1, Ordering::AcqRel);
    }

    /// Something that waited has been handled.
    pub(super) fn handled(&self) {
        self.n_waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Never held across a panic of rules, so poison means nothing here.
    fn place(&self) -> MutexGuard<'_, Place<D>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was to be shown to somebody who is not at home, and where that is.
pub(super) struct NotAtHome<D: Decider> {
    pub(super) home: Arc<Home<D>>,
    pub(super) sighted: Sighted<D>,
}

/// Somebody in the hands of whoever shows it something.
#[derive(Debug)]
#[must_use = "nobody else has it until it has taken that in"]
pub(super) struct Visit<D: Decider> {
    home: Arc<Home<D>>,
    awake: Box<Awake<D>>,
    sighted: Sighted<D>,
}

impl<D: Decider> Visit<D> {
    /// Goes there with something to show; gives it back if nobody is at home.
    pub(super) fn to(home: Arc<Home<D>>, sighted: Sighted<D>) -> Result<Self, NotAtHome<D>> {
        match home.visited() {
            Some(awake) => Ok(Self { home, awake, sighted }),
            None => Err(NotAtHome { home, sighted }),
        }
    }

    /// Lets it take in what it is shown, and go home. Under no lock: of what it passes on because of that, something may be
    /// for others of its shard.
    pub(super) fn take_in(self) {
        let Self { home, mut awake, sighted } = self;
        NESTED.set(NESTED.get() + 1);
        let taken_in = catch_unwind(AssertUnwindSafe(|| awake.take_in(sighted)));
        NESTED.set(NESTED.get() - 1);
        match taken_in {
            Ok(None) => home.put(awake),
            Ok(Some(wonder)) => {
                // Before anybody else can have it: whatever its actor hears next, it does that first, and what is shown
                // meanwhile waits behind it.
                awake.wonder = Some(wonder);
                home.sent();
                awake.remind(Message::Wonder);
                home.put(awake);
            }
            Err(panic) => {
                home.falls(panic);
                // Whatever it hears, its actor falls of it.
                awake.remind(Message::Tick);
            }
        }
    }
}
