//! What of everybody's board a dispatcher of some regions is told: jobs that begin there, and drivers who are there.
//!
//! ```text
//! everybody's board ──► outlook ──► a board of those regions ──► what is looked at of it, as of everybody's
//! ```
//!
//! Whoever leaves the regions leaves the board, and is counted no more.

use crate::{
    auth::scope::Scope,
    gateway::scope::{key_of, place_of},
};
use actors::{EntityKey, board::Tally};
use protocol::{
    frame::{Attending, Board},
    view::{Happening, Mark},
};
use std::{collections::HashSet, sync::Arc};
use tokio::sync::broadcast;

/// What becomes of everybody's board, for one session.
#[derive(Debug)]
pub(super) struct Diffs {
    pub(super) changes: broadcast::Receiver<Arc<Board>>,
    /// What it was told, if it is of some regions only.
    pub(super) outlook: Outlook,
}

/// What one dispatcher was told of the board.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    told: Tally,
    /// Of what it was told last: what changes elsewhere is left out, and must leave no gap.
    seq: u64,
}

/// Does a board of what changed say nothing?
pub(super) fn is_quiet(diff: &Board) -> bool {
    diff.marks.is_empty() && diff.gone.is_empty() && diff.happenings.is_empty()
}

impl Outlook {
    /// All of it, from all of everybody's board.
    pub(super) fn full(&mut self, scope: &Scope, board: Vec<Board>) -> Vec<Board> {
        self.told = Tally::default();
        self.seq = board.first().map_or(0, |part| part.seq);
        let is_within = |mark: &Mark| scope.contains(place_of(mark));
        let mut parts = board;
        for part in &mut parts {
            part.marks.retain(is_within);
            part.marks.iter().for_each(|mark| self.told.put(key_of(mark), mark));
        }
        parts.retain(|part| part.full || !part.marks.is_empty());
        for part in &mut parts {
            part.counters = self.told.counters().clone();
            part.happenings.retain(|it| self.is_of(it, &HashSet::new()));
        }
        parts
    }

    /// What changed of it. One that is quiet is not numbered, and not to be said.
    pub(super) fn diff(&mut self, scope: &Scope, board: &Board) -> Board {
        let (mut marks, mut gone, mut left) = (Vec::new(), Vec::new(), HashSet::new());
        for mark in &board.marks {
            let key = key_of(mark);
            if scope.contains(place_of(mark)) {
                self.told.put(key, mark);
                marks.push(mark.clone());
            } else if self.told.take_off(key) {
                gone.push(key.to_string());
                left.insert(key);
            }
        }
        for id in &board.gone {
            if let Some(key) = EntityKey::parse(id)
                && self.told.take_off(key)
            {
                gone.push(id.clone());
                left.insert(key);
            }
        }
        let happenings = board.happenings.iter().filter(|it| self.is_of(it, &left));
        let mut diff = Board {
            seq: self.seq,
            full: false,
            server_time: board.server_time,
            marks,
            gone,
            counters: self.told.counters().clone(),
            happenings: happenings.cloned().collect(),
            attending: None,
            left_out: 0,
        };
        if !is_quiet(&diff) {
            self.seq += 1;
            diff.seq = self.seq;
        }
        diff
    }

    /// Is it of a job that it was told of?
    pub(super) fn knows(&self, it: &Attending) -> bool {
        self.told.has(it.job.into())
    }

    /// Did it happen to somebody on it, or to one of those who have just `left` it?
    fn is_of(&self, it: &Happening, left: &HashSet<EntityKey>) -> bool {
        EntityKey::parse(&it.actor).is_some_and(|key| self.told.has(key) || left.contains(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::zone::neighbourhood;
    use protocol::{
        DriverId, DriverStatus, JobId, OrderId, OrderStatus, Point, Principal, SessionId,
        Timestamp,
        view::Counters,
        work::{OrderKind, Priority},
    };

    const HERE: Point = Point { lat: -1.9441, lon: 30.0619 };
    const FAR: Point = Point { lat: -2.4441, lon: 30.0619 };

    fn here() -> Scope {
        Scope::of(&[neighbourhood(HERE).to_string()]).unwrap()
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

    fn order(n: u64, pickup: Point, dropoff: Point) -> Mark {
        Mark::Order {
            id: OrderId::nth(n),
            kind: OrderKind::Ride,
            status: OrderStatus::Searching,
            pickup,
            dropoff,
            driver: None,
            priority: Priority::Normal,
            held: false,
            since: None,
            due: None,
        }
    }

    fn happening(actor: String) -> Happening {
        Happening { at: Timestamp(1), actor, what: "assigned".to_owned() }
    }

    fn board(full: bool, marks: Vec<Mark>, gone: &[u64]) -> Board {
        let happenings = (1..=4).map(|n| happening(DriverId::nth(n).to_string())).collect();
        Board {
            seq: 7,
            full,
            server_time: Timestamp(1),
            marks,
            gone: gone.iter().map(|n| DriverId::nth(*n).to_string()).collect(),
            counters: Counters {
                drivers: [(DriverStatus::Available, 99)].into(),
                ..Counters::default()
            },
            happenings,
            attending: None,
            left_out: 0,
        }
    }

    fn n_drivers(board: &Board) -> u32 {
        board.counters.drivers.get(&DriverStatus::Available).copied().unwrap_or_default()
    }

    #[test]
    fn jobs_that_begin_there_and_drivers_who_are_there_are_told_and_counted_and_nobody_else() {
        let mut outlook = Outlook::default();
        let all = vec![
            board(true, vec![driver(2, FAR), order(6, FAR, HERE)], &[]),
            board(false, vec![driver(3, FAR)], &[]),
            board(false, vec![driver(1, HERE), order(5, HERE, FAR)], &[]),
        ];
        let parts = outlook.full(&here(), all);
        let marks: Vec<_> = parts.iter().map(|part| (part.full, part.marks.clone())).collect();
        let there = vec![driver(1, HERE), order(5, HERE, FAR)];
        assert_eq!(marks, [(true, Vec::new()), (false, there)], "nothing of the second is there");
        for part in &parts {
            assert_eq!(n_drivers(part), 1);
            assert_eq!(part.counters.rides, [(OrderStatus::Searching, 1)].into());
            assert_eq!(part.happenings, [happening(DriverId::nth(1).to_string())]);
        }
    }

    #[test]
    fn whoever_drives_over_the_border_leaves_or_comes() {
        let mut outlook = Outlook::default();
        outlook.full(&here(), vec![board(true, vec![driver(1, HERE), driver(2, FAR)], &[])]);
        let diff = outlook.diff(&here(), &board(false, vec![driver(1, FAR), driver(2, HERE)], &[]));
        assert_eq!((diff.seq, diff.full), (8, false));
        assert_eq!(
            (diff.marks, diff.gone),
            (vec![driver(2, HERE)], vec![DriverId::nth(1).to_string()])
        );
        let whose: Vec<_> = diff.happenings.iter().map(|it| it.actor.clone()).collect();
        assert_eq!(whose, [1, 2].map(|n| DriverId::nth(n).to_string()), "its last, too");
        let diff = outlook.diff(&here(), &board(false, vec![driver(1, FAR)], &[1, 2, 3]));
        assert_eq!(diff.gone, [DriverId::nth(2).to_string()], "the others were not there");
        assert_eq!((n_drivers(&diff), diff.marks.len()), (0, 0));
    }

    #[test]
    fn what_changes_elsewhere_is_quiet_and_leaves_no_gap() {
        let mut outlook = Outlook::default();
        let [full] = outlook
            .full(&here(), vec![board(true, vec![driver(1, HERE), driver(2, FAR)], &[])])
            .try_into()
            .unwrap();
        let elsewhere = board(false, vec![driver(2, FAR)], &[3]);
        let elsewhere =
            Board { happenings: vec![happening(DriverId::nth(2).to_string())], ..elsewhere };
        assert!(is_quiet(&outlook.diff(&here(), &elsewhere)));
        let diff = outlook.diff(&here(), &board(false, vec![driver(1, FAR)], &[]));
        assert!(!is_quiet(&diff));
        assert_eq!(diff.seq, full.seq + 1);
    }

    #[test]
    fn who_has_a_job_open_is_told_of_jobs_it_knows() {
        let mut outlook = Outlook::default();
        outlook
            .full(&here(), vec![board(true, vec![order(5, HERE, FAR), order(6, FAR, HERE)], &[])]);
        let open = |n| Attending {
            job: JobId::Order(OrderId::nth(n)),
            session: SessionId::nth(1),
            by: Principal::Dispatcher,
        };
        assert!(outlook.knows(&open(5)) && !outlook.knows(&open(6)));
    }
}
