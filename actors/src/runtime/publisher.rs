//! Tells boards what every entity looks like, as well as they can keep up.

use crate::EntityKey;
use protocol::{Timestamp, view::Mark};
use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

/// Most publications that wait for one board.
const QUEUE_MAX: usize = 65_536;

/// What a board is told of an entity.
#[derive(Debug, Clone)]
pub struct Published {
    /// Whom it is about.
    pub entity: EntityKey,
    /// When it was so.
    pub at: Timestamp,
    /// What the map shows of it.
    pub mark: Option<Mark>,
    /// The names of the events that made it so; none for a mere sighting.
    pub events: Vec<Cow<'static, str>>,
}

/// Those who want to be told.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    readers: Mutex<Vec<Reader>>,
    /// How many of them want what is merely seen. Most of what there is to tell is that, and most of the time nobody does.
    n_watching: AtomicUsize,
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Sender<Published>,
    interest: Interest,
    /// Does anybody look at what it makes of that?
    is_looked_at: bool,
}

/// What a reader wants to be told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Interest {
    /// Everything, whichever node it is from; what is merely seen here only while somebody looks.
    Everything,
    /// What entities of this node publish.
    Own,
    /// What entities of this node publish of events with these names.
    Named(&'static [&'static str]),
}

/// Who is to be told again how everybody is who is awake.
#[derive(Debug, Clone)]
pub(super) enum Retell {
    /// The boards of this node. Once nobody has a copy of this any more, all have told them.
    Here(#[expect(dead_code, reason = "whoever waits hears of its end")] Arc<DropGuard>),
    /// Those of other nodes, too.
    Everywhere,
}

/// Where something comes from that is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whence {
    /// An entity of this node.
    Here,
    /// The same, of which something was merely seen.
    Seen,
    /// The same, which tells boards of this node how it is.
    Again,
    /// An entity of another node.
    Elsewhere,
}

impl Reader {
    fn is_in_sightings(&self) -> bool {
        match self.interest {
            Interest::Everything => self.is_looked_at,
            Interest::Own => true,
            Interest::Named(_) => false,
        }
    }

    fn wants(&self, from: Whence, events: &[Cow<'static, str>]) -> bool {
        if from == Whence::Seen {
            return self.is_in_sightings();
        }
        if from == Whence::Again {
            return matches!(self.interest, Interest::Everything);
        }
        match self.interest {
            Interest::Everything => true,
            Interest::Own => from == Whence::Here,
            Interest::Named(names) => {
                from == Whence::Here && events.iter().any(|event| names.contains(&&**event))
            }
        }
    }
}

impl Publisher {
    pub(super) fn subscribe(&self, interest: Interest) -> mpsc::Receiver<Published> {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let reader = Reader { queue, interest, is_looked_at: false };
        let mut readers = self.readers();
        readers.push(reader);
        self.count(&readers);
        receiver
    }

    /// Does anybody look at what those make of it who want everything?
    pub(super) fn look(&self, are_looked_at: bool) {
        let mut readers = self.readers();
        for reader in readers.iter_mut().filter(|it| matches!(it.interest, Interest::Everything)) {
            reader.is_looked_at = are_looked_at;
        }
        self.count(&readers);
    }

    /// Builds the publication only if somebody reads it. Whoever is full or gone is cut off.
    pub(super) fn publish(
        &self,
        events: Vec<Cow<'static, str>>,
        make: impl FnOnce(Vec<Cow<'static, str>>) -> Published,
    ) {
        self.tell(Whence::Here, events, make);
    }

    /// The same for what is merely seen: nobody looks for readers while there are none.
    pub(super) fn publish_seen(&self, make: impl FnOnce() -> Published) {
        if self.n_watching.load(Ordering::Acquire) > 0 {
            self.tell(Whence::Seen, Vec::new(), |_| make());
        }
    }

    /// Tells how one is once more.
    pub(super) fn publish_again(&self, to: &Retell, make: impl FnOnce() -> Published) {
        let from = match to {
            Retell::Here(_) => Whence::Again,
            Retell::Everywhere => Whence::Here,
        };
        self.tell(from, Vec::new(), |_| make());
    }

    /// Passes on what an entity of another node published.
    pub(super) fn pass_on(&self, published: Published) {
        let Published { entity, at, mark, events } = published;
        self.tell(Whence::Elsewhere, events, |events| Published { entity, at, mark, events });
    }

    fn tell(
        &self,
        from: Whence,
        events: Vec<Cow<'static, str>>,
        make: impl FnOnce(Vec<Cow<'static, str>>) -> Published,
    ) {
        let mut readers = self.readers();
        let (n_before, mut n_left) =
            (readers.len(), readers.iter().filter(|it| it.wants(from, &events)).count());
        if n_left == 0 {
            return;
        }
        let mut published = Some(make(events));
        readers.retain(|reader| {
            let wanted = published.as_ref().filter(|it| reader.wants(from, &it.events));
            if wanted.is_none() {
                return true;
            }
            n_left -= 1;
            // Mostly there is one of them, and the last one needs no copy.
            let copy = if n_left == 0 { published.take() } else { published.clone() };
            copy.is_none_or(|it| reader.queue.try_send(it).is_ok())
        });
        if readers.len() < n_before {
            self.count(&readers);
        }
    }

    fn count(&self, readers: &[Reader]) {
        let n_watching = readers.iter().filter(|it| it.is_in_sightings()).count();
        self.n_watching.store(n_watching, Ordering::Release);
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
