//! A region's board: what of everybody's board lies in one region.

use crate::gateway::scope::place_of;
use actors::listing::RegionId;
use protocol::{
    frame::{Board, RegionBoard, Topic},
    view::Mark,
};
use std::collections::HashSet;

/// What a client has been shown of a region.
#[derive(Debug)]
pub(super) struct Regional {
    region: RegionId,
    seq: u64,
    /// Who is in it, in display form.
    shown: HashSet<String>,
}

impl Regional {
    /// Nothing yet.
    pub(super) fn new(region: RegionId) -> Self {
        Self { region, seq: 0, shown: HashSet::new() }
    }

    pub(super) fn region(&self) -> RegionId {
        self.region
    }

    pub(super) fn topic(&self) -> Topic {
        Topic::Region(self.region.to_string())
    }

    /// All of it, from all of everybody's board.
    pub(super) fn full(&mut self, board: &[Board]) -> Vec<RegionBoard> {
        self.seq += 1;
        self.shown.clear();
        let mut parts: Vec<_> = board.iter().map(|part| self.part(part)).collect();
        let mut is_first = true;
        for part in &mut parts {
            part.full = std::mem::take(&mut is_first);
        }
        parts.retain(|part| part.full || !part.marks.is_empty());
        parts
    }

    /// What changed in it, if anything did.
    pub(super) fn diff(&mut self, board: &Board) -> Option<RegionBoard> {
        let part = self.part(board);
        if part.marks.is_empty() && part.gone.is_empty() {
            return None;
        }
        self.seq += 1;
        Some(RegionBoard { seq: self.seq, ..part })
    }

    fn part(&mut self, board: &Board) -> RegionBoard {
        let (mut marks, mut gone) = (Vec::new(), Vec::new());
        for mark in &board.marks {
            let id = id_of(mark);
            if RegionId::at(place_of(mark)) == self.region {
                self.shown.insert(id);
                marks.push(mark.clone());
            } else if self.shown.remove(&id) {
                gone.push(id);
            }
        }
        gone.extend(board.gone.iter().filter(|id| self.shown.remove(*id)).cloned());
        RegionBoard {
            region: self.region.to_string(),
            seq: self.seq,
            full: false,
            server_time: board.server_time,
            marks,
            gone,
        }
    }
}

fn id_of(mark: &Mark) -> String {
    match mark {
        Mark::Driver { id, .. } => id.to_string(),
        Mark::Order { id, .. } => id.to_string(),
        Mark::Rescue { id, .. } => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{DriverId, DriverStatus, Point, Timestamp, view::Counters};

    const HERE: Point = Point { lat: -1.9441, lon: 30.0619 };

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

    fn board(marks: Vec<Mark>, gone: &[u64]) -> Board {
        Board {
            seq: 7,
            full: false,
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
    fn whoever_comes_is_new_and_whoever_leaves_is_gone() {
        let far = HERE.offset_m(0.0, 100_000.0);
        let mut regional = Regional::new(RegionId::at(HERE));
        let all = [board(vec![driver(1, HERE)], &[]), board(vec![driver(2, far)], &[])];
        let full = regional.full(&all);
        assert_eq!(full.len(), 1, "of the second part, nothing is here");
        assert!(full[0].full && full[0].marks == [driver(1, HERE)]);

        assert_eq!(regional.diff(&board(vec![driver(3, far)], &[2])), None);
        let moved = regional.diff(&board(vec![driver(1, far), driver(2, HERE)], &[])).unwrap();
        assert_eq!((moved.seq, moved.full), (2, false));
        assert_eq!(moved.marks, [driver(2, HERE)]);
        assert_eq!(moved.gone, [DriverId::nth(1).to_string()]);
        let left = regional.diff(&board(vec![], &[1, 2])).unwrap();
        assert_eq!((left.seq, left.gone), (3, vec![DriverId::nth(2).to_string()]));
    }

    #[test]
    fn an_empty_region_is_shown_as_empty() {
        let mut regional = Regional::new(RegionId::at(HERE));
        let full = regional.full(&[board(vec![], &[])]);
        assert!(full[0].full && full[0].marks.is_empty());
        assert_eq!(full[0].region, RegionId::at(HERE).to_string());
    }
}
