//! What is followed, as a stream that survives every drop.

use crate::core::is_about;
use protocol::{
    JobId, Point, Principal, Refused, Timestamp,
    frame::{ActorView, Board, RegionBoard, ServerFrame, Topic},
    view::{
        Crossing, DriverView, IncidentView, OrderView, RescueView, RiderView, RunView, StopKind,
    },
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// So much waits for a slow reader; beyond, what is newer takes the place of what is older.
const WAITING_MAX: usize = 256;

/// What a follower hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It began, or could not go on where it was: everything is told anew from here.
    Anew,
    /// How something is now, whole. Versions grow from one [`Change::Anew`] to the next.
    View(View),
    /// It is followed no more: gone, or not the client's to follow.
    Ended(Refused),
}

/// How something is.
#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// An order.
    Order(Box<OrderView>),
    /// A rescue.
    Rescue(Box<RescueView>),
    /// A driver.
    Driver(Box<DriverView>),
    /// A rider.
    Rider(RiderView),
    /// An incident.
    Incident(Box<IncidentView>),
    /// A run.
    Run(Box<RunView>),
    /// One actor, whole.
    Actor(Box<ActorView>),
    /// The map, whole (`full`) or what changed on it. Without gaps: after one it is whole.
    Board(Box<Board>),
    /// What is in a region (`full`) or what changed in it.
    Region(Box<RegionBoard>),
    /// Where the driver of a job is.
    Sighted {
        /** Of which job. */
        job: JobId,
        /** Where. */
        at: Point,
        /** Until the next place it must be, in seconds. */
        eta_s: Option<u32>,
        /** One time in ten it takes less than this… */
        eta_low_s: Option<u32>,
        /** … and one in ten more than this. */
        eta_high_s: Option<u32>,
    },
    /// Whether the other side of a job can be reached.
    Presence {
        /** Of which job. */
        job: JobId,
        /** Who. */
        who: Principal,
        /** Can it? */
        reachable: bool,
    },
    /// The driver of a job has come to a place where it has something to do, has stayed there, or has gone again.
    Near {
        /** Of which job. */
        job: JobId,
        /** Which of its stops, from 0. */
        stop: u8,
        /** What is to be done there. */
        what: StopKind,
        /** Which of them. */
        crossing: Crossing,
        /** When it was seen. */
        at: Timestamp,
    },
}

impl View {
    /// How many events made it so; none for the map and for sightings.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Order(view) => Some(view.version),
            Self::Rescue(view) => Some(view.version),
            Self::Driver(view) => Some(view.version),
            Self::Rider(view) => Some(view.version),
            Self::Incident(view) => Some(view.version),
            Self::Run(view) => Some(view.version),
            Self::Actor(view) => Some(view.version),
            Self::Board(_)
            | Self::Region(_)
            | Self::Sighted { .. }
            | Self::Presence { .. }
            | Self::Near { .. } => None,
        }
    }

    /// Does it say all that an older one of the same said?
    fn supersedes(&self, older: &Self) -> bool {
        match (self, older) {
            (Self::Order(it), Self::Order(older)) => it.id == older.id,
            (Self::Rescue(it), Self::Rescue(older)) => it.id == older.id,
            (Self::Driver(it), Self::Driver(older)) => it.id == older.id,
            (Self::Rider(it), Self::Rider(older)) => it.id == older.id,
            (Self::Incident(it), Self::Incident(older)) => it.id == older.id,
            (Self::Run(it), Self::Run(older)) => it.id == older.id,
            (Self::Sighted { job, .. }, Self::Sighted { job: older, .. }) => job == older,
            (
                Self::Presence { job, who, .. },
                Self::Presence { job: older_job, who: older, .. },
            ) => (job, who) == (older_job, older),
            (Self::Near { job, stop, .. }, Self::Near { job: older_job, stop: older, .. }) => {
                (job, stop) == (older_job, older)
            }
            // Of actors the events since the last view would be missing, of boards what changed.
            (
                Self::Order(_)
                | Self::Rescue(_)
                | Self::Driver(_)
                | Self::Rider(_)
                | Self::Incident(_)
                | Self::Run(_)
                | Self::Actor(_)
                | Self::Board(_)
                | Self::Region(_)
                | Self::Sighted { .. }
                | Self::Presence { .. }
                | Self::Near { .. },
                _,
            ) => false,
        }
    }

    fn of(frame: &ServerFrame) -> Option<Self> {
        Some(match frame {
            ServerFrame::Order(view) => Self::Order(view.clone()),
            ServerFrame::Rescue(view) => Self::Rescue(view.clone()),
            ServerFrame::Driver(view) => Self::Driver(view.clone()),
            ServerFrame::Rider(view) => Self::Rider(view.clone()),
            ServerFrame::Incident(view) => Self::Incident(view.clone()),
            ServerFrame::Run(view) => Self::Run(view.clone()),
            ServerFrame::Actor(view) => Self::Actor(view.clone()),
            ServerFrame::Board(board) => Self::Board(board.clone()),
            ServerFrame::Region(board) => Self::Region(board.clone()),
            ServerFrame::Sighted { job, at, eta_s, eta_low_s, eta_high_s } => Self::Sighted {
                job: *job,
                at: *at,
                eta_s: *eta_s,
                eta_low_s: *eta_low_s,
                eta_high_s: *eta_high_s,
            },
            ServerFrame::Presence { job, who, reachable } => {
                Self::Presence { job: *job, who: *who, reachable: *reachable }
            }
            ServerFrame::Near { job, stop, what, crossing, at } => {
                Self::Near { job: *job, stop: *stop, what: *what, crossing: *crossing, at: *at }
            }
            ServerFrame::Hello { .. }
            | ServerFrame::Welcome { .. }
            | ServerFrame::Heartbeat { .. }
            | ServerFrame::Result { .. }
            | ServerFrame::Push { .. }
            | ServerFrame::Refused(_)
            // Told whole.
            | ServerFrame::Changed(_)
            | ServerFrame::Unsubscribed { .. }
            | ServerFrame::Goodbye { .. } => return None,
        })
    }
}

/// Follows something for as long as it lives.
#[derive(Debug)]
pub struct Following {
    queue: Arc<Queue>,
}

impl Following {
    /// The next change; none, once the client is closed. Safe to drop at any point.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let told = self.queue.told.notified();
            {
                let mut waiting = self.queue.lock();
                if let Some(change) = waiting.changes.pop_front() {
                    return Some(change);
                }
                if waiting.is_closed {
                    return None;
                }
            }
            told.await;
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    told: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Change>,
    /// Nothing was told since it began.
    is_fresh: bool,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One follower, as the client has it.
#[derive(Debug)]
pub(crate) struct Follower {
    /// What it follows; none: whatever is told of people and their jobs.
    pub(crate) topic: Option<Topic>,
    queue: Arc<Queue>,
}

/// A reader was too slow for what cannot be shortened: it must be told anew.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

impl Follower {
    /// A follower and what it hears.
    pub(crate) fn new(topic: Option<Topic>) -> (Self, Following) {
        let queue = Arc::new(Queue::default());
        (Self { topic, queue: Arc::clone(&queue) }, Following { queue })
    }

    /// Does nobody listen any more?
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.queue) == 1
    }

    /// Tells it a frame, if it is about what it follows.
    pub(crate) fn tell(&self, frame: &ServerFrame) -> Result<(), TooSlow> {
        if self.topic.as_ref().is_some_and(|topic| !is_about(frame, topic)) {
            return Ok(());
        }
        match (View::of(frame), frame) {
            // These are for whoever asked for them.
            (Some(View::Board(_) | View::Region(_) | View::Actor(_)), _)
                if self.topic.is_none() =>
            {
                Ok(())
            }
            (Some(view), _) => self.put(Change::View(view)),
            (None, ServerFrame::Unsubscribed { refused, .. }) if self.topic.is_some() => {
                let told = self.put(Change::Ended(refused.clone()));
                self.close();
                told
            }
            (None, _) => Ok(()),
        }
    }

    /// Everything is told anew from here.
    pub(crate) fn begin_anew(&self) {
        let mut waiting = self.queue.lock();
        if std::mem::replace(&mut waiting.is_fresh, true) {
            return;
        }
        if waiting.changes.len() >= WAITING_MAX {
            waiting.changes.clear();
        }
        waiting.changes.push_back(Change::Anew);
        drop(waiting);
        self.queue.told.notify_one();
    }

    /// There is no more.
    pub(crate) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.queue.told.notify_one();
    }

    fn put(&self, change: Change) -> Result<(), TooSlow> {
        let mut waiting = self.queue.lock();
        if waiting.changes.len() >= WAITING_MAX {
            let older = waiting.changes.iter().position(|older| match (&change, older) {
                (Change::View(view), Change::View(older)) => view.supersedes(older),
                (Change::View(_) | Change::Anew | Change::Ended(_), _) => false,
            });
            let Some(older) = older else { return Err(TooSlow) };
            waiting.changes.remove(older);
        }
        waiting.is_fresh = false;
        waiting.changes.push_back(change);
        drop(waiting);
        self.queue.told.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
