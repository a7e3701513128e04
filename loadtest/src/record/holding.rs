//! Sessions that are only there, second by second, as the record and the screen of a crowd have it.

use super::{Record, Seen};
use crate::{
    connect::{self, Counts},
    measure::{Generator, Host, Slot, Timeline},
    nodes::Nodes,
    report::{Glance, Phase, Progress},
};
use protocol::Timestamp;

/// Sessions that are held, and the nodes that hold them.
#[derive(Debug)]
pub struct Holding {
    nodes: Nodes,
    timeline: Timeline,
    events: Vec<Seen>,
    before: Counts,
    host_at_first: Host,
}

impl Holding {
    /// Nobody is there yet.
    pub fn new(nodes: Nodes) -> Self {
        nodes.begin_counting();
        Self {
            nodes,
            timeline: Timeline::default(),
            events: Vec::new(),
            before: Counts::default(),
            host_at_first: Host::look(),
        }
    }

    /// A second is over: how things stand.
    pub fn second(&mut self, progress: &connect::Progress) -> Glance {
        let connect::Progress { doing, after, wanted, counts } = *progress;
        let after_s = after.as_secs_f64();
        let sights = self.nodes.look();
        let seen = sights.events.into_iter().map(|(who, what)| Seen { after_s, who, what });
        self.events.extend(seen);
        let mut slot = counts.slot_since(&self.before);
        slot.nodes = sights.slots;
        self.before = counts;
        // Seconds that were missed were not without sessions.
        while self.timeline.n_s + 1 < after_s.round() as u64 {
            let nodes = slot.nodes.clone();
            self.timeline.second(Slot { riders: slot.riders, nodes, ..Slot::default() });
        }
        self.timeline.second(slot.clone());
        Glance {
            progress: Progress {
                after_s,
                phase: if doing == connect::OPENING { Phase::Gathering } else { Phase::Out },
                riders: counts.alive,
                commands_acked: counts.done,
                ..Progress::default()
            },
            planned: wanted,
            started: counts.alive,
            // A share of all, rather than of time.
            lasting_s: wanted as f64,
            asking_s: counts.alive as f64,
            slot,
            events: self.events.iter().rev().take(8).rev().cloned().collect(),
            ..Glance::default()
        }
    }

    /// What came of them.
    pub fn record(self, report: &connect::Report, began_at: Timestamp) -> Record {
        self.nodes.end_counting();
        let record = Record::of_sessions(report, self.timeline, began_at);
        // Generators are processes of their own: only the whole machine tells whether they had room.
        let machine_share = Host::look().since(&self.host_at_first).machine;
        let generator = Generator { machine_share, ..Generator::default() };
        Record { events: self.events, nodes: self.nodes.sides(), generator, ..record }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn seconds_show_what_happened_in_them() {
        let mut holding = Holding::new(Nodes::default());
        let second = |holding: &mut Holding, counts| {
            let after = Duration::from_secs(holding.timeline.n_s + 2);
            holding.second(&connect::Progress { doing: "holding", after, wanted: 10, counts })
        };
        let counts = Counts { alive: 4, beats: 3, beats_heard: 2, ..Counts::default() };
        second(&mut holding, counts);
        let glance =
            second(&mut holding, Counts { alive: 3, died: 1, beats: 5, beats_heard: 5, ..counts });
        assert_eq!((glance.slot.riders, glance.slot.lost, glance.slot.done), (3, 1, 3));
        assert_eq!((glance.started, glance.planned), (3, 10));
        assert_eq!(holding.timeline.n_s, 4, "a second between them was missed, twice");
    }
}
