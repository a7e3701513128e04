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
    boards: Mutex<Vec<mpsc::Sender<Published>>>,
}

impl Publisher {
    pub(super) fn subscribe(&self) -> mpsc::Receiver<Published> {
        let (board, receiver) = mpsc::channel(QUEUE_MAX);
        self.boards.lock().unwrap_or_else(PoisonError::into_inner).push(board);
        receiver
    }

    /// Builds the publication only if somebody reads it. Whoever is full or gone is cut off.
    pub(super) fn publish(&self, make: impl FnOnce() -> Published) {
        let mut boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
        if boards.is_empty() {
            return;
        }
        let published = make();
        boards.retain(|board| board.try_send(published.clone()).is_ok());
    }
}
