//! What dispatchers see of the whole node: folds everything published into marks and counters.
//!
//! ```text
//! entities ── Published ──► hear ──► marks, counters, happenings
//!                                      │ full: everything, for a new viewer
//!                                      └ diff: what changed since the last diff, for all viewers
//! ```
//!
//! A full board stands for the board as of the last diff or later, so whoever shows a full one and
//! then applies every diff that follows ends where the board is. Hearing a change twice is harmless.

use crate::{EntityKey, runtime::Published};
use protocol::{
    DriverStatus, OrderStatus, Point, RescueStatus, Timestamp, frame,
    view::{Counters, Happening, Mark},
    work::OrderKind,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    mem,
    ops::Bound,
    time::Duration,
};

/// How long an order or a rescue stays on the map after its end, so that the end can be seen.
pub const LINGER: Duration = Duration::from_secs(8);
/// Most happenings told at a time; older ones are left out.
pub const HAPPENINGS_MAX: usize = 20;
/// How many marks a search looks at before it is somebody else's turn.
const LOOKED_AT_MAX: usize = 4_096;
/// How many ended orders and rescues are remembered, so that a late word (a tip, a rating) does not
/// count them a second time.
const ENDED_MAX: usize = 100_000;
/// What the marks and departures of one frame may take; the rest is for counters and happenings.
const MARKS_BYTES_MAX: usize = frame::FRAME_BYTES_MAX - 8 * 1024;

/// The whole node at a glance. Has no clock: callers say when it is.
#[derive(Debug, Default)]
pub struct Board {
    seq: u64,
    marks: BTreeMap<EntityKey, Mark>,
    changed: BTreeSet<EntityKey>,
    gone: BTreeSet<EntityKey>,
    counters: Counters,
    /// What a new viewer is told of the past: happenings that were in some diff.
    told: VecDeque<Happening>,
    /// Happenings for the next diff.
    untold: VecDeque<Happening>,
    /// Ended and still on the map, with when they leave it.
    leaving: VecDeque<(Timestamp, EntityKey)>,
    ended: Ended,
    are_counters_new: bool,
}

/// What a part of the map had of what was looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Whom the words name, in the order of their keys.
    pub marks: Vec<Mark>,
    /// After whom to go on, if there are others.
    pub up_to: Option<EntityKey>,
}

impl Board {
    /// A board nobody has told anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many marks are on the map.
    pub fn n_marks(&self) -> usize {
        self.marks.len()
    }

    /// Takes in what an entity published.
    pub fn hear(&mut self, published: Published) {
        let Published { entity, at, mark, events } = published;
        for what in events {
            let what = what.into_owned();
            push_bounded(&mut self.untold, Happening { at, actor: entity.to_string(), what });
        }
        match mark.map(rounded) {
            Some(mark) => self.place(entity, at, mark),
            None => self.remove(entity),
        }
    }

    /// The first `most` marks behind `after` that all of these words name, in small letters: by any part of an id, a
    /// kind, a status, a vehicle or of what is wrong. Looks at some thousands of marks, and says where it stopped.
    pub fn find(&self, words: &[String], most: usize, after: Option<EntityKey>) -> Found {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Found { marks: Vec::new(), up_to: None };
        let others = self.marks.range((behind, Bound::Unbounded));
        for (n_looked_at, (entity, mark)) in others.enumerate() {
            if n_looked_at == LOOKED_AT_MAX || found.marks.len() == most {
                return found;
            }
            let said = said_of(entity, mark);
            if words.iter().all(|word| said.contains(word.as_str())) {
                found.marks.push(mark.clone());
            }
            found.up_to = Some(*entity);
        }
        Found { up_to: None, ..found }
    }

    /// There is something to tell that is not on it: the next diff is told, whatever changed.
    pub fn speak(&mut self) {
        self.are_counters_new = true;
    }

    /// Everything, for someone who knows nothing: one `full` frame and, if it does not fit, further
    /// ones with the same `seq` that add to it.
    pub fn full(&self, now: Timestamp) -> Vec<frame::Board> {
        let mut parts = self.parts(now, self.marks.values().cloned(), []);
        for part in &mut parts {
            part.seq = self.seq;
        }
        let first = &mut parts[0];
        first.full = true;
        first.happenings = self.told.iter().cloned().collect();
        parts
    }

    /// What changed since the last diff: usually one frame, none if nothing did, several if it does
    /// not fit. Each has the next `seq`.
    pub fn diff(&mut self, now: Timestamp) -> Vec<frame::Board> {
        while let Some(&(at, entity)) = self.leaving.front()
            && at <= now
        {
            self.leaving.pop_front();
            self.take_off(entity);
        }
        let is_quiet = self.changed.is_empty()
            && self.gone.is_empty()
            && self.untold.is_empty()
            && !self.are_counters_new;
        if is_quiet {
            return Vec::new();
        }
        self.are_counters_new = false;

        let changed = mem::take(&mut self.changed);
        let gone = mem::take(&mut self.gone);
        let marks = changed.iter().filter_map(|entity| self.marks.get(entity).cloned());
        let mut parts = self.parts(now, marks, gone);
        for part in &mut parts {
            self.seq += 1;
            part.seq = self.seq;
        }
        let happenings = mem::take(&mut self.untold);
        for happening in &happenings {
            push_bounded(&mut self.told, happening.clone());
        }
        parts[0].happenings = happenings.into();
        parts
    }

    fn place(&mut self, entity: EntityKey, at: Timestamp, mark: Mark) {
        if self.ended.contains(entity) {
            return;
        }
        let standing = Standing::of(&mark);
        let before = self.marks.get(&entity).map(Standing::of);
        if before != Some(standing) {
            self.count(before, Some(standing));
        }
        if standing.is_final() {
            self.ended.insert(entity);
            self.leaving.push_back((at + LINGER, entity));
        }
        if self.marks.get(&entity) != Some(&mark) {
            self.marks.insert(entity, mark);
            self.changed.insert(entity);
            self.gone.remove(&entity);
        }
    }

    fn remove(&mut self, entity: EntityKey) {
        if let Some(mark) = self.marks.get(&entity) {
            let standing = Standing::of(mark);
            // What ended stays counted; a driver who went home does not.
            if !standing.is_final() {
                self.count(Some(standing), None);
            }
            self.take_off(entity);
        }
    }

    fn take_off(&mut self, entity: EntityKey) {
        if self.marks.remove(&entity).is_some() {
            self.changed.remove(&entity);
            self.gone.insert(entity);
        }
    }

    fn count(&mut self, before: Option<Standing>, after: Option<Standing>) {
        self.are_counters_new = true;
        if let Some(before) = before {
            before.adjust(&mut self.counters, Step::Down);
        }
        if let Some(after) = after {
            after.adjust(&mut self.counters, Step::Up);
        }
    }

    /// At least one frame; no frame's marks and departures exceed [`MARKS_BYTES_MAX`] in JSON, the
    /// wordier codec.
    fn parts(
        &self,
        now: Timestamp,
        marks: impl IntoIterator<Item = Mark>,
        gone: impl IntoIterator<Item = EntityKey>,
    ) -> Vec<frame::Board> {
        let empty = || frame::Board {
            seq: 0,
            full: false,
            server_time: now,
            marks: Vec::new(),
            gone: Vec::new(),
            counters: self.counters.clone(),
            happenings: Vec::new(),
            attending: None,
            left_out: 0,
        };
        let mut parts = Vec::new();
        let mut part = empty();
        let mut room = MARKS_BYTES_MAX;
        let mut fit = |part: &mut frame::Board, bytes: usize| {
            if bytes > room {
                parts.push(mem::replace(part, empty()));
                room = MARKS_BYTES_MAX;
            }
            room = room.saturating_sub(bytes);
        };
        for mark in marks {
            fit(&mut part, json_bytes_max(&mark));
            part.marks.push(mark);
        }
        for entity in gone {
            let gone = entity.to_string();
            fit(&mut part, gone.len() + "\"\",".len());
            part.gone.push(gone);
        }
        parts.push(part);
        parts
    }
}

/// What of a board somebody is told, and how much that is.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    standings: HashMap<EntityKey, Standing>,
    counters: Counters,
}

impl Tally {
    /// Counts a mark, once, as it is now.
    pub fn put(&mut self, entity: EntityKey, mark: &Mark) {
        let now = Standing::of(mark);
        if let Some(before) = self.standings.insert(entity, now) {
            before.adjust(&mut self.counters, Step::Down);
        }
        now.adjust(&mut self.counters, Step::Up);
    }

    /// Counts it no more. Was it there?
    pub fn take_off(&mut self, entity: EntityKey) -> bool {
        let before = self.standings.remove(&entity);
        if let Some(before) = before {
            before.adjust(&mut self.counters, Step::Down);
        }
        before.is_some()
    }

    /// Is it there?
    pub fn has(&self, entity: EntityKey) -> bool {
        self.standings.contains_key(&entity)
    }

    /// How many there are, by their status. What ended is counted for as long as it is on the map.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Where a mark is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Driver(DriverStatus),
    Ride(OrderStatus),
    Delivery(OrderStatus),
    Rescue(RescueStatus),
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Up,
    Down,
}

impl Standing {
    fn of(mark: &Mark) -> Self {
        match *mark {
            Mark::Driver { status, .. } => Self::Driver(status),
            Mark::Order { kind, status, .. } => match kind {
                OrderKind::Ride => Self::Ride(status),
                OrderKind::Delivery | OrderKind::Commerce => Self::Delivery(status),
            },
            Mark::Rescue { status, .. } => Self::Rescue(status),
        }
    }

    fn is_final(self) -> bool {
        match self {
            Self::Driver(_) => false,
            Self::Ride(status) | Self::Delivery(status) => status.is_final(),
            Self::Rescue(status) => status.is_final(),
        }
    }

    fn adjust(self, counters: &mut Counters, step: Step) {
        match self {
            Self::Driver(status) => adjust(&mut counters.drivers, status, step),
            Self::Ride(status) => adjust(&mut counters.rides, status, step),
            Self::Delivery(status) => adjust(&mut counters.deliveries, status, step),
            Self::Rescue(status) => adjust(&mut counters.rescues, status, step),
        }
    }
}

fn adjust<S: Ord + Copy>(counts: &mut BTreeMap<S, u32>, status: S, step: Step) {
    let count = counts.entry(status).or_default();
    match step {
        Step::Up => *count = count.saturating_add(1),
        Step::Down => *count = count.saturating_sub(1),
    }
    if *count == 0 {
        counts.remove(&status);
    }
}

/// The last [`ENDED_MAX`] entities that ended.
#[derive(Debug, Default)]
struct Ended {
    entities: HashSet<EntityKey>,
    oldest_first: VecDeque<EntityKey>,
}

impl Ended {
    fn contains(&self, entity: EntityKey) -> bool {
        self.entities.contains(&entity)
    }

    fn insert(&mut self, entity: EntityKey) {
        if self.entities.insert(entity) {
            self.oldest_first.push_back(entity);
        }
        if self.oldest_first.len() > ENDED_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.entities.remove(&oldest);
        }
    }
}

fn push_bounded(happenings: &mut VecDeque<Happening>, happening: Happening) {
    if happenings.len() == HAPPENINGS_MAX {
        happenings.pop_front();
    }
    happenings.push_back(happening);
}

/// What words can be found in.
fn said_of(entity: &EntityKey, mark: &Mark) -> String {
    match mark {
        Mark::Driver { status, vehicle, doubted, tired, .. } => {
            let vehicle = vehicle.map_or_else(String::new, |vehicle| format!(" {vehicle}"));
            let doubted = if *doubted { " doubted" } else { "" };
            let tired = if *tired { " tired" } else { "" };
            format!("{entity} {status}{vehicle}{doubted}{tired}")
        }
        Mark::Order { kind, status, .. } => format!("{entity} {kind} {status}"),
        Mark::Rescue { issue, status, .. } => format!("{entity} {issue} {status}"),
    }
}

/// The same mark to a tenth of a metre: more digits are noise, and half of a frame's bytes.
fn rounded(mut mark: Mark) -> Mark {
    let round = |point: &mut Point| {
        point.lat = (point.lat * 1e6).round() / 1e6;
        point.lon = (point.lon * 1e6).round() / 1e6;
    };
    match &mut mark {
        Mark::Driver { at, .. } | Mark::Rescue { at, .. } => round(at),
        Mark::Order { pickup, dropoff, .. } => {
            round(pickup);
            round(dropoff);
        }
    }
    mark
}

/// No mark of this kind takes more in JSON, whatever its numbers and statuses are. Checked by test.
fn json_bytes_max(mark: &Mark) -> usize {
    match mark {
        Mark::Driver { jobs, doubted, tired, .. } => {
            let n_marks = usize::from(*doubted) + usize::from(*tired);
            168 + 56 * jobs.len() + 16 * n_marks
        }
        Mark::Order { .. } => 376,
        Mark::Rescue { .. } => 312,
    }
}

#[cfg(test)]
mod tests;
