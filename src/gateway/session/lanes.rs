//! Keeps one client's commands to one actor in the order they were said.
//!
//! A mailbox keeps that order by itself, but the way there does not: while a shard moves, whoever was on
//! the way asks anew, and not in turn. So each actor is asked for one thing at a time, and what was said
//! after it waits here. Commands to different actors do not wait for each other.

use actors::EntityKey;
use protocol::{CommandId, work::Wish};
use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;

/// A command that was said, and when.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) id: CommandId,
    pub(super) wish: Wish,
    pub(super) at: Instant,
}

/// Whoever is being asked, and what waits for its turn.
#[derive(Debug, Default)]
pub(super) struct Lanes(BTreeMap<EntityKey, VecDeque<Said>>);

impl Lanes {
    /// Returns what is to be performed now; nothing, if it has to wait.
    pub(super) fn enter(&mut self, to: EntityKey, said: Said) -> Option<Said> {
        match self.0.get_mut(&to) {
            Some(waiting) => {
                waiting.push_back(said);
                None
            }
            None => {
                self.0.insert(to, VecDeque::new());
                Some(said)
            }
        }
    }

    /// What was under way has been answered. Returns what is to be performed next.
    pub(super) fn leave(&mut self, to: EntityKey) -> Option<Said> {
        let next = self.0.get_mut(&to)?.pop_front();
        if next.is_none() {
            self.0.remove(&to);
        }
        next
    }

    /// Nothing more will be performed. Returns what was waiting.
    pub(super) fn clear(&mut self) -> Vec<Said> {
        self.0.values_mut().flat_map(std::mem::take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::Kind;
    use protocol::{DriverId, Identifier, work::DriverAction};

    fn said() -> Said {
        let wish = Wish::Driver { id: None, action: DriverAction::Reinstate {} };
        Said { id: CommandId::mint(), wish, at: Instant::now() }
    }

    fn driver(n: u64) -> EntityKey {
        EntityKey { kind: Kind::Driver, id: DriverId::nth(n).uuid() }
    }

    #[tokio::test]
    async fn what_was_said_later_waits_for_what_was_said_before() {
        let (mut lanes, all) = (Lanes::default(), [said(), said(), said()]);
        let ids = all.each_ref().map(|it| it.id);
        let [first, second, third] = all;
        assert_eq!(lanes.enter(driver(1), first).map(|it| it.id), Some(ids[0]));
        assert!(lanes.enter(driver(1), second).is_none());
        assert!(lanes.enter(driver(1), third).is_none());
        assert_eq!(lanes.leave(driver(1)).map(|it| it.id), Some(ids[1]));
        assert_eq!(lanes.leave(driver(1)).map(|it| it.id), Some(ids[2]));
        assert!(lanes.leave(driver(1)).is_none());
        assert!(lanes.0.is_empty(), "nothing is kept of an actor nobody asks");
    }

    #[tokio::test]
    async fn what_waits_when_nothing_more_is_done_is_given_back() {
        let (mut lanes, all) = (Lanes::default(), [said(), said(), said()]);
        let ids = all.each_ref().map(|it| it.id);
        for said in all {
            lanes.enter(driver(1), said);
        }
        let waiting: Vec<_> = lanes.clear().iter().map(|it| it.id).collect();
        assert_eq!(waiting, ids[1..]);
        assert!(lanes.leave(driver(1)).is_none(), "the one under way is still answered");
    }

    #[tokio::test]
    async fn actors_do_not_wait_for_each_other() {
        let mut lanes = Lanes::default();
        assert!(lanes.enter(driver(1), said()).is_some());
        assert!(lanes.enter(driver(2), said()).is_some());
    }
}
