//! Tells boards what every entity looks like, as well as they can keep up.

use crate::EntityKey;
use protocol::{Timestamp, view::Mark};
use std::sync::{Mutex, PoisonError};
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
    pub events: Vec<&'static str>,
}

/// Those who want to be told.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    readers: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Sender<Published>,
    /// Only of events with these names; of everything, if absent.
    names: Option<&'static [&'static str]>,
}

impl Reader {
    fn wants(&self, events: &[&'static str]) -> bool {
        self.names.is_none_or(|names| events.iter().any(|event| names.contains(event)))
    }
}

impl Publisher {
    pub(super) fn subscribe(
        &self,
        names: Option<&'static [&'static str]>,
    ) -> mpsc::Receiver<Published> {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let reader = Reader { queue, names };
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        receiver
    }

    /// Builds the publication only if somebody reads it. Whoever is full or gone is cut off.
    pub(super) fn publish(
        &self,
        events: Vec<&'static str>,
        make: impl FnOnce(Vec<&'static str>) -> Published,
    ) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if !readers.iter().any(|reader| reader.wants(&events)) {
            return;
        }
        let published = make(events);
        readers.retain(|reader| {
            !reader.wants(&published.events) || reader.queue.try_send(published.clone()).is_ok()
        });
    }
}
