//! Tells boards what every entity looks like, as well as they can keep up.

use crate::EntityKey;
use protocol::{Timestamp, view::Mark};
use std::{
    borrow::Cow,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::mpsc;

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
    /// How many of them want what no event led to. Most of what is published is that, and most of the time nobody is.
    n_watching: AtomicUsize,
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Sender<Published>,
    interest: Interest,
}

/// What a reader wants to be told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Interest {
    /// Everything, whichever node it is from.
    Everything,
    /// What entities of this node publish.
    Own,
    /// What entities of this node publish of events with these names.
    Named(&'static [&'static str]),
}

impl Interest {
    fn is_in_sightings(self) -> bool {
        match self {
            Self::Everything | Self::Own => true,
            Self::Named(_) => false,
        }
    }
}

impl Reader {
    fn wants(&self, is_own: bool, events: &[Cow<'static, str>]) -> bool {
        match self.interest {
            Interest::Everything => true,
            Interest::Own => is_own,
            Interest::Named(names) => {
                is_own && events.iter().any(|event| names.contains(&&**event))
            }
        }
    }
}

impl Publisher {
    pub(super) fn subscribe(&self, interest: Interest) -> mpsc::Receiver<Published> {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let reader = Reader { queue, interest };
        let mut readers = self.readers();
        readers.push(reader);
        self.count(&readers);
        receiver
    }

    /// Builds the publication only if somebody reads it. Whoever is full or gone is cut off.
    pub(super) fn publish(
        &self,
        events: Vec<Cow<'static, str>>,
        make: impl FnOnce(Vec<Cow<'static, str>>) -> Published,
    ) {
        self.tell(true, events, make);
    }

    /// The same for what an entity of another node published.
    pub(super) fn pass_on(&self, published: Published) {
        let Published { entity, at, mark, events } = published;
        self.tell(false, events, |events| Published { entity, at, mark, events });
    }

    fn tell(
        &self,
        is_own: bool,
        events: Vec<Cow<'static, str>>,
        make: impl FnOnce(Vec<Cow<'static, str>>) -> Published,
    ) {
        if events.is_empty() && self.n_watching.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut readers = self.readers();
        let (n_before, mut n_left) =
            (readers.len(), readers.iter().filter(|it| it.wants(is_own, &events)).count());
        if n_left == 0 {
            return;
        }
        let mut published = Some(make(events));
        readers.retain(|reader| {
            let wanted = published.as_ref().filter(|it| reader.wants(is_own, &it.events));
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
        let n_watching = readers.iter().filter(|it| it.interest.is_in_sightings()).count();
        self.n_watching.store(n_watching, Ordering::Release);
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
