//! Who waits is told where in the queue they are: when it is news to them, and not too often.
//!
//! Soft, and never written down: a job shows it to whoever follows it, and forgets it with its node.

use protocol::{
    JobId, Timestamp,
    view::{Eta, Queued},
};
use std::{collections::HashMap, time::Duration};

/// Whoever has waited for less is not told anything yet: most have a driver by then.
const PATIENCE: Duration = Duration::from_secs(3);
/// Nobody is looked at again sooner, and so nobody told.
const EVERY: Duration = Duration::from_secs(5);
/// Most who are told in one tick. The others are told in the next.
const TOLD_MAX: usize = 200;

/// Jobs that wait, and what each was told.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: HashMap<JobId, Waiting>,
    /// Which tick it is. It begins anew after the last, for it is only compared with the one before.
    tick: u32,
}

/// A job that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// When it was first seen to.
    since: Timestamp,
    /// When it was last looked at whether there is news for it.
    looked_at: Option<Timestamp>,
    /// What it was told last.
    told: Option<Queued>,
    /// The last tick in which it was in the queue.
    tick: u32,
}

impl Line {
    /// Somebody else tells them.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whom to tell what now, in the order of the queue. `eta_of` says when the driver would be there who would come for a
    /// job if one had to be chosen now.
    pub(super) fn news(
        &mut self,
        queue: &[JobId],
        now: Timestamp,
        eta_of: impl Fn(JobId) -> Option<Eta>,
    ) -> Vec<(JobId, Queued)> {
        self.tick = self.tick.wrapping_add(1);
        let tick = self.tick;
        let n_waiting = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        let (mut news, mut n_here) = (Vec::new(), 0);
        for (position, job) in (1..).zip(queue) {
            let begins = Waiting { since: now, looked_at: None, told: None, tick };
            let waiting = self.waiting.entry(*job).or_insert(begins);
            waiting.tick = tick;
            n_here += 1;
            let due = waiting.looked_at.map_or(waiting.since + PATIENCE, |at| at + EVERY);
            if now < due || news.len() == TOLD_MAX {
                continue;
            }
            waiting.looked_at = Some(now);
            let queued = Queued { at: now, position, n_waiting, eta: eta_of(*job) };
            if waiting.told.is_none_or(|told| is_news(&told, &queued)) {
                waiting.told = Some(queued);
                news.push((*job, queued));
            }
        }
        // Who waits no more is forgotten: should it wait again, it knows nothing of its place any more.
        if self.waiting.len() > n_here {
            self.waiting.retain(|_, waiting| waiting.tick == tick);
        }
        news
    }
}

/// Is it worth telling? Who is among the first is told of each place, others of every tenth. That somebody could come
/// now, or nobody, is told with that: it comes and goes with every driver who is asked, and with what rounds tell.
fn is_news(was: &Queued, now: &Queued) -> bool {
    let is_other_eta = was.eta.zip(now.eta).is_some_and(|(was, now)| was.differs(now));
    let moved = was.position.abs_diff(now.position);
    is_other_eta || (moved > 0 && moved.saturating_mul(10) >= was.position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{OrderId, RescueId};

    const START: Timestamp = Timestamp(1_800_000_000_000);

    fn at(s: u64) -> Timestamp {
        START + Duration::from_secs(s)
    }

    fn queue(orders: impl IntoIterator<Item = u64>) -> Vec<JobId> {
        orders.into_iter().map(order).collect()
    }

    fn order(n: u64) -> JobId {
        JobId::Order(OrderId::nth(n))
    }

    fn eta(s: u32) -> Option<Eta> {
        Some(Eta { s, low_s: s / 2, high_s: 2 * s })
    }

    /// Who is told, and which place.
    fn told(line: &mut Line, orders: &[u64], s: u64, eta_s: Option<u32>) -> Vec<(JobId, u32)> {
        let queue = queue(orders.iter().copied());
        let news = line.news(&queue, at(s), |_| eta_s.and_then(eta));
        news.into_iter().map(|(job, queued)| (job, queued.position)).collect()
    }

    #[test]
    fn whoever_waits_is_told_once_and_again_when_it_is_news_but_not_at_once() {
        let (mut line, one, two) = (Line::default(), order(1), order(2));
        assert_eq!(told(&mut line, &[1, 2], 0, None), [], "most have a driver in a moment");
        assert_eq!(told(&mut line, &[1, 2], 3, None), [(one, 1), (two, 2)]);
        assert_eq!(told(&mut line, &[1, 2], 60, None), [], "nothing is new");
        assert_eq!(told(&mut line, &[2, 1], 64, None), [], "it was looked just now");
        assert_eq!(told(&mut line, &[2, 1], 65, None), [(two, 1), (one, 2)]);
        assert_eq!(told(&mut line, &[1, 2], 69, None), [], "that was just now");
        assert_eq!(told(&mut line, &[1, 2], 70, None), [(one, 1), (two, 2)]);
        // Somebody could come, and then later than that.
        assert_eq!(told(&mut line, &[2, 1], 80, Some(200)), [(two, 1), (one, 2)]);
        assert_eq!(told(&mut line, &[2, 1], 90, Some(225)), []);
        assert_eq!(told(&mut line, &[2, 1], 95, Some(240)), [(two, 1), (one, 2)]);
    }

    #[test]
    fn that_somebody_could_come_or_nobody_is_told_with_a_place_but_is_no_news_alone() {
        let (mut line, one) = (Line::default(), order(1));
        told(&mut line, &[0, 1], 0, None);
        assert_eq!(told(&mut line, &[0, 1], 3, None).len(), 2);
        assert_eq!(told(&mut line, &[0, 1], 10, Some(200)), []);
        let news = line.news(&queue([1]), at(20), |_| eta(200));
        let queued = Queued { at: at(20), position: 1, n_waiting: 1, eta: eta(200) };
        assert_eq!(news, [(one, queued)]);
        assert_eq!(told(&mut line, &[1], 30, None), []);
        assert_eq!(told(&mut line, &[1], 40, Some(210)), [], "as it was told last");
        assert_eq!(told(&mut line, &[1], 50, Some(300)), [(one, 1)]);
    }

    #[test]
    fn far_behind_only_every_tenth_place_is_news_and_a_tick_tells_only_so_many() {
        let (mut line, many) = (Line::default(), (0..1_000).collect::<Vec<u64>>());
        told(&mut line, &many, 0, None);
        for tick in 0..5 {
            assert_eq!(told(&mut line, &many, 3 + tick, None).len(), TOLD_MAX);
        }
        assert_eq!(told(&mut line, &many, 100, None), []);
        let next = told(&mut line, &many[1..], 200, None);
        assert_eq!(next.len(), 10 - 1, "{next:?}");
        assert_eq!(line.waiting.len(), 1_000 - 1, "who waits no more is forgotten");
        told(&mut line, &many[500..], 300, None);
        assert_eq!(line.waiting.len(), 500);
    }

    #[test]
    fn who_waits_for_the_second_time_is_told_as_if_it_were_the_first() {
        let (mut line, one, two) = (Line::default(), order(1), order(2));
        told(&mut line, &[1, 2], 0, None);
        assert_eq!(told(&mut line, &[1, 2], 3, None), [(one, 1), (two, 2)]);
        // It has a driver for a moment, and waits again where it was.
        assert_eq!(told(&mut line, &[1], 4, None), []);
        assert_eq!(told(&mut line, &[1, 2], 5, None), []);
        assert_eq!(told(&mut line, &[1, 2], 7, None), [], "most have a driver in a moment");
        assert_eq!(told(&mut line, &[1, 2], 8, None), [(two, 2)]);
    }

    #[test]
    fn for_whom_there_is_no_news_it_is_not_looked_with_every_tick_either() {
        let (mut line, queue) = (Line::default(), queue(0..10));
        let n_looked = std::cell::Cell::new(0);
        let mut look = |s| {
            line.news(&queue, at(s), |_| {
                n_looked.set(n_looked.get() + 1);
                None
            });
            n_looked.take()
        };
        assert_eq!((look(0), look(2)), (0, 0));
        assert_eq!((look(3), look(4), look(7)), (10, 0, 0));
        assert_eq!((look(8), look(9), look(12)), (10, 0, 0), "nothing was new");
        assert_eq!(look(13), 10);
    }

    #[test]
    fn who_waits_for_help_is_told_as_who_waits_for_a_ride() {
        let (rescue, ride) = (JobId::Rescue(RescueId::nth(1)), order(1));
        let mut line = Line::default();
        assert_eq!(line.news(&[rescue, ride], at(0), |_| None), []);
        let queued = |position, n_waiting, eta| Queued { at: at(60), position, n_waiting, eta };
        let eta_of = |job| eta(240).filter(|_| job == rescue);
        assert_eq!(
            line.news(&[rescue, ride], at(60), eta_of),
            [(rescue, queued(1, 2, eta(240))), (ride, queued(2, 2, None))]
        );
    }
}
