//! A dispatcher's board: every job there is, for the queue, and of drivers those in one part of the map.
//!
//! ```text
//! everybody's board ──► judge each mark ──► a board of its own: full once, then changes, whatever was panned over
//! ```

use super::Session;
use crate::gateway::{
    attendance::{Attendance, Attends},
    follow::Follow,
    scope::{key_of, place_of},
};
use actors::EntityKey;
use protocol::{
    JobId, Timestamp,
    frame::{Board, Viewport},
    view::Mark,
};
use std::{collections::HashSet, mem, sync::Arc};

/// Most drivers that are told. More than that are no dots any more, and would take a slow line's all.
const DRIVERS_MAX: usize = 12_000;
/// Most jobs that are told; twice as many, if nobody has them yet.
const JOBS_MAX: usize = 4_000;
/// Most departures that one frame tells.
const GONE_MAX: usize = 1_000;
/// Most jobs that one dispatcher is said to have open.
const OPEN_MAX: usize = 4;

/// What a dispatcher has been shown.
#[derive(Debug)]
pub(super) struct Overview {
    viewport: Viewport,
    /// Nothing was said yet.
    is_new: bool,
    seq: u64,
    said_at: Timestamp,
    drivers: HashSet<EntityKey>,
    jobs: HashSet<EntityKey>,
    /// Wanted, and there is no room.
    left_out: HashSet<EntityKey>,
    /// What was last said of who has which job open.
    told: Option<u64>,
    attends: Option<Attends>,
}

/// What becomes of a mark.
enum Judged {
    Shown,
    /// It was shown.
    Gone,
    Hidden,
}

impl Overview {
    fn new(viewport: Viewport) -> Self {
        Self {
            viewport,
            is_new: true,
            seq: 0,
            said_at: Timestamp::default(),
            drivers: HashSet::new(),
            jobs: HashSet::new(),
            left_out: HashSet::new(),
            told: None,
            attends: None,
        }
    }

    pub(super) fn viewport(&self) -> Viewport {
        self.viewport
    }

    /// Who has which job open is said anew: it may know of other jobs now.
    pub(super) fn attend_anew(&mut self) {
        self.told = None;
    }

    /// Is there something to be said of that?
    pub(super) fn has_news(&self, attendance: &Attendance) -> bool {
        self.told != Some(attendance.n_changes())
    }

    /// All of it, from all of everybody's board: whole, or what is to be changed of what was shown.
    pub(super) fn full(&mut self, board: &[Board], attendance: &Attendance) -> Vec<Board> {
        let was: Vec<EntityKey> = self.drivers.drain().chain(self.jobs.drain()).collect();
        self.left_out.clear();
        self.seq += 1;
        let (is_new, said_at) = (mem::take(&mut self.is_new), self.said_at);
        let mut parts: Vec<Board> = Vec::new();
        for part in board.iter().map(|part| self.part(part)) {
            if parts.is_empty() || !part.marks.is_empty() {
                parts.push(part);
            }
        }
        let is_shown = |key: &EntityKey| self.drivers.contains(key) || self.jobs.contains(key);
        let gone = was.iter().filter(|key| !is_shown(key));
        let gone: Vec<String> = gone.map(EntityKey::to_string).collect();
        let Some(first) = parts.first_mut() else { return parts };
        first.full = is_new;
        if !is_new {
            first.happenings.retain(|it| it.at > said_at);
        }
        let more =
            Board { full: false, marks: Vec::new(), happenings: Vec::new(), ..first.clone() };
        first.attending = self.news(attendance);
        parts.extend(
            gone.chunks(GONE_MAX).map(|gone| Board { gone: gone.to_vec(), ..more.clone() }),
        );
        let left_out = self.n_left_out();
        for part in &mut parts {
            part.left_out = left_out;
        }
        parts
    }

    /// What changed.
    pub(super) fn diff(&mut self, board: &Board, attendance: &Attendance) -> Board {
        self.seq += 1;
        let part = self.part(board);
        Board { attending: self.news(attendance), left_out: self.n_left_out(), ..part }
    }

    fn part(&mut self, board: &Board) -> Board {
        let (mut marks, mut gone) = (Vec::new(), Vec::new());
        for mark in &board.marks {
            match self.judge(mark) {
                Judged::Shown => marks.push(mark.clone()),
                Judged::Gone => gone.push(key_of(mark).to_string()),
                Judged::Hidden => {}
            }
        }
        let left =
            board.gone.iter().filter(|id| EntityKey::parse(id).is_some_and(|it| self.forget(it)));
        gone.extend(left.cloned());
        self.said_at = board.server_time;
        Board {
            seq: self.seq,
            full: false,
            server_time: board.server_time,
            marks,
            gone,
            counters: board.counters.clone(),
            happenings: board.happenings.clone(),
            attending: None,
            left_out: 0,
        }
    }

    fn judge(&mut self, mark: &Mark) -> Judged {
        let key = key_of(mark);
        let (is_wanted, n_max) = match mark {
            Mark::Driver { .. } => (self.viewport.contains(place_of(mark)), DRIVERS_MAX),
            Mark::Order { driver, .. } | Mark::Rescue { driver, .. } => {
                (true, if driver.is_some() { JOBS_MAX } else { 2 * JOBS_MAX })
            }
        };
        if !is_wanted {
            return if self.forget(key) { Judged::Gone } else { Judged::Hidden };
        }
        let shown = match mark {
            Mark::Driver { .. } => &mut self.drivers,
            Mark::Order { .. } | Mark::Rescue { .. } => &mut self.jobs,
        };
        if shown.contains(&key) || shown.len() < n_max {
            shown.insert(key);
            self.left_out.remove(&key);
            return Judged::Shown;
        }
        self.left_out.insert(key);
        Judged::Hidden
    }

    /// Was it shown?
    fn forget(&mut self, key: EntityKey) -> bool {
        self.left_out.remove(&key);
        self.drivers.remove(&key) || self.jobs.remove(&key)
    }

    fn news(&mut self, attendance: &Attendance) -> Option<Vec<protocol::frame::Attending>> {
        let (n, all) = attendance.news(self.told)?;
        self.told = Some(n);
        Some(all)
    }

    fn n_left_out(&self) -> u32 {
        u32::try_from(self.left_out.len()).unwrap_or(u32::MAX)
    }
}

impl Session {
    /// Looks at this part of the map from now on. What is in it comes with all of the board.
    pub(super) fn look_at(&mut self, viewport: Viewport) {
        match &mut self.overview {
            Some(overview) => overview.viewport = viewport,
            None => self.overview = Some(Box::new(Overview::new(viewport))),
        }
    }

    /// Looks no more, unless it looks elsewhere by now.
    pub(super) fn look_away(&mut self, viewport: Viewport) {
        drop(self.overview.take_if(|overview| overview.viewport == viewport));
    }

    /// Lets other dispatchers know which jobs this one has open.
    pub(super) fn attend(&mut self) {
        let by = self.who();
        let (Some(overview), Some(by)) = (&mut self.overview, by) else { return };
        let open = self.follows.iter().filter(|follow| follow.wants.topic);
        let jobs: Vec<JobId> = open.filter_map(Follow::job).take(OPEN_MAX).collect();
        let begin = || Attends::begin(Arc::clone(&self.gate.attendance), self.id, by);
        overview.attends.get_or_insert_with(begin).to(jobs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        DriverId, DriverStatus, OrderId, OrderStatus, Point,
        view::Counters,
        work::{OrderKind, Priority},
    };

    const HERE: Point = Point { lat: -1.9441, lon: 30.0619 };

    fn around(at: Point) -> Viewport {
        let [lat, lon] = [at.lat, at.lon].map(|it| (it * 1e6) as i32);
        Viewport { south: lat - 9_000, west: lon - 9_000, north: lat + 9_000, east: lon + 9_000 }
    }

    fn driver(n: u64, at: Point) -> Mark {
        Mark::Driver {
            id: DriverId::nth(n),
            at,
            status: DriverStatus::Available,
            jobs: Vec::new(),
            vehicle: None,
            doubted: false,
            tired: false,
        }
    }

    fn order(n: u64, at: Point) -> Mark {
        Mark::Order {
            id: OrderId::nth(n),
            kind: OrderKind::Ride,
            status: OrderStatus::Searching,
            pickup: at,
            dropoff: at,
            driver: None,
            priority: Priority::Normal,
            held: false,
            since: None,
            due: None,
        }
    }

    fn board(marks: Vec<Mark>, gone: &[u64]) -> Board {
        Board {
            seq: 70,
            full: true,
            server_time: Timestamp(1),
            marks,
            gone: gone.iter().map(|n| DriverId::nth(*n).to_string()).collect(),
            counters: Counters::default(),
            happenings: Vec::new(),
            attending: None,
            left_out: 0,
        }
    }

    #[test]
    fn drivers_of_the_viewport_are_shown_and_jobs_wherever_they_are() {
        let far = HERE.offset_m(0.0, 20_000.0);
        let (nobody, mut overview) = (Attendance::default(), Overview::new(around(HERE)));
        let all = [board(vec![driver(1, HERE), driver(2, far), order(3, far)], &[])];
        let [full] = overview.full(&all, &nobody).try_into().unwrap();
        assert!(full.full && full.attending == Some(Vec::new()));
        assert_eq!(full.marks, [driver(1, HERE), order(3, far)]);

        let diff = overview.diff(&board(vec![driver(1, far), driver(2, HERE)], &[]), &nobody);
        assert_eq!((diff.seq, diff.full, diff.attending), (full.seq + 1, false, None));
        assert_eq!(diff.marks, [driver(2, HERE)]);
        assert_eq!(diff.gone, [DriverId::nth(1).to_string()]);
        let left = overview.diff(&board(vec![], &[1, 2]), &nobody);
        assert_eq!(left.gone, [DriverId::nth(2).to_string()], "the other was not there");
    }

    #[test]
    fn who_pans_is_told_what_came_into_view_and_what_left_it() {
        let far = HERE.offset_m(0.0, 20_000.0);
        let (nobody, mut overview) = (Attendance::default(), Overview::new(around(HERE)));
        let all = [board(vec![driver(1, HERE), driver(2, far), order(3, HERE)], &[])];
        let seq = overview.full(&all, &nobody)[0].seq;
        overview.viewport = around(far);
        let parts = overview.full(&all, &nobody);
        assert!(parts.iter().all(|part| !part.full && part.seq == seq + 1));
        let marks: Vec<_> = parts.iter().flat_map(|part| part.marks.clone()).collect();
        let gone: Vec<_> = parts.iter().flat_map(|part| part.gone.clone()).collect();
        assert_eq!(marks, [driver(2, far), order(3, HERE)]);
        assert_eq!(gone, [DriverId::nth(1).to_string()]);
    }

    #[test]
    fn of_too_many_drivers_it_is_said_how_many_are_not_told() {
        let (nobody, mut overview) = (Attendance::default(), Overview::new(around(HERE)));
        let many = DRIVERS_MAX as u64 + 3;
        let all = board((0..many).map(|n| driver(n, HERE)).collect(), &[]);
        let [full] = overview.full(&[all], &nobody).try_into().unwrap();
        assert_eq!((full.marks.len(), full.left_out), (DRIVERS_MAX, 3));
        let left = overview.diff(&board(vec![driver(many - 1, HERE)], &[0]), &nobody);
        assert_eq!((left.marks.len(), left.gone.len(), left.left_out), (0, 1, 3));
        let next = overview.diff(&board(vec![driver(many - 1, HERE)], &[]), &nobody);
        assert_eq!((next.marks.len(), next.left_out), (1, 2));
    }
}
