//! What a client was told to expect of a job that it follows, and when it is told something else: when that is news, and
//! not too often. None of it is written down anywhere.

use protocol::{
    changes::Changed,
    frame::ServerFrame,
    view::{Etas, Queued},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// Nobody is told again sooner.
const EVERY: Duration = Duration::from_secs(5);

/// What a view says that is only expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    #[serde(default)]
    pub(crate) eta: Option<Etas>,
    #[serde(default)]
    pub(crate) queue: Option<Queued>,
}

impl Told {
    /// What a view says of it; nothing of what is no job.
    pub(crate) fn by(view: &ServerFrame) -> Option<Self> {
        if let ServerFrame::Order(view) = view {
            Some(Self { eta: view.eta, queue: view.queue })
        } else if let ServerFrame::Rescue(view) = view {
            Some(Self { eta: view.eta, queue: view.queue })
        } else {
            None
        }
    }

    /// Makes a view say it.
    pub(crate) fn put_into(self, view: &mut ServerFrame) {
        if let ServerFrame::Order(view) = view {
            (view.eta, view.queue) = (self.eta, self.queue);
        } else if let ServerFrame::Rescue(view) = view {
            (view.eta, view.queue) = (self.eta, self.queue);
        }
    }

    /// What `view` says that is news to whoever was shown the same version, and was told this.
    pub(crate) fn news(self, view: &ServerFrame) -> Option<ServerFrame> {
        let now = Self::by(view)?;
        if !is_other(self.eta, now.eta) && self.queue == now.queue {
            return None;
        }
        let mut was = view.clone();
        self.put_into(&mut was);
        Changed::between(&was, view).map(ServerFrame::Changed)
    }
}

/// What of that is said to be something else.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    eta: Option<Option<Etas>>,
    queue: Option<Option<Queued>>,
}

impl Said {
    fn by(changed: &Changed) -> Self {
        match changed {
            Changed::Order(changes) => Self { eta: changes.eta, queue: changes.queue },
            Changed::Rescue(changes) => Self { eta: changes.eta, queue: changes.queue },
            Changed::Driver(_) | Changed::Rider(_) | Changed::Run(_) => Self::default(),
        }
    }
}

/// Is that news to somebody with a clock?
fn is_other(was: Option<Etas>, now: Option<Etas>) -> bool {
    match (was, now) {
        (Some(was), Some(now)) => was.differs(&now),
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

/// What a client was told to expect, and what it is to be told next.
#[derive(Debug, Default)]
pub(crate) struct Prospect {
    told: Told,
    /// When it was last told something else than a view says anyway.
    told_at: Option<Instant>,
    /// The latest that is news.
    waiting: Option<Changed>,
    /// It is not known whether its client may still be told.
    is_withheld: bool,
}

impl Prospect {
    /// What it was told last.
    pub(crate) fn told(&self) -> Told {
        self.told
    }

    /// A view says this.
    pub(crate) fn is_told(&mut self, told: Told) {
        self.told = told;
        self.waiting = None;
    }

    /// There is another version: what waits is of the one before.
    pub(crate) fn is_outdated(&mut self) {
        self.waiting = None;
    }

    /// Its client is told nothing until it is shown it again.
    pub(crate) fn withhold(&mut self) {
        self.is_withheld = true;
    }

    /// Its client is shown it.
    pub(crate) fn is_shown(&mut self) {
        self.is_withheld = false;
    }

    /// This is expected now.
    pub(crate) fn sees(&mut self, changed: Changed) {
        let said = Said::by(&changed);
        let is_other_eta = said.eta.is_some_and(|now| is_other(self.told.eta, now));
        // A region says nothing of its queue that is no news.
        let is_news = is_other_eta || said.queue.is_some();
        self.waiting = is_news.then_some(changed);
    }

    /// When to tell what waits, if anything does.
    pub(crate) fn due_at(&self, now: Instant) -> Option<Instant> {
        self.waiting.as_ref().filter(|_| !self.is_withheld)?;
        Some(self.told_at.map_or(now, |at| at + EVERY))
    }

    /// What to tell now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<ServerFrame> {
        if self.due_at(now).is_none_or(|due| now < due) {
            return None;
        }
        let changed = self.waiting.take()?;
        let said = Said::by(&changed);
        self.told_at = Some(now);
        self.told.eta = said.eta.unwrap_or(self.told.eta);
        self.told.queue = said.queue.unwrap_or(self.told.queue);
        Some(ServerFrame::Changed(changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        OrderId, RescueId, RiderId, Timestamp,
        changes::{OrderChanges, RescueChanges},
        view::{Eta, OrderView},
    };

    const START: u64 = 1_800_000_000_000;

    fn changes(eta: Option<(u64, u32)>, position: Option<u32>) -> Box<OrderChanges> {
        let eta = eta.map(|(at_s, s)| {
            let pickup = Some(Eta { s, low_s: s / 2, high_s: 2 * s });
            Some(Etas { at: Timestamp(START + 1_000 * at_s), pickup, next: None, arrival: None })
        });
        let queue = position.map(|position| {
            Some(Queued { at: Timestamp(START), position, n_waiting: 9, eta: None })
        });
        let json = serde_json::json!({ "id": OrderId::nth(1), "from": 4, "version": 4 });
        let nothing: OrderChanges = serde_json::from_value(json).expect("nothing changed");
        Box::new(OrderChanges { eta, queue, ..nothing })
    }

    /// Of which nothing is expected.
    fn order() -> OrderView {
        let json = serde_json::json!({
            "id": OrderId::nth(1), "version": 4, "kind": "ride", "status": "assigned", "fulfilment": "none",
            "rider": RiderId::nth(1), "driver": null, "stops": [], "stops_done": 0,
            "fare": { "currency": "RWF", "lines": [] }, "tip": null, "policy": "batch_optimal", "offers": [],
            "reason": null, "placed_at": Timestamp(START), "changed_at": Timestamp(START),
        });
        serde_json::from_value(json).expect("an order")
    }

    /// After so many seconds it is expected that the driver is at the pickup so many later. Is the client told?
    fn tells(prospect: &mut Prospect, begin: Instant, at_s: u64, s: u32) -> bool {
        prospect.sees(Changed::Order(changes(Some((at_s, s)), None)));
        prospect.next(begin + Duration::from_secs(at_s)).is_some()
    }

    #[test]
    fn a_client_with_a_clock_is_told_only_what_the_clock_does_not_say() {
        let (mut prospect, begin) = (Prospect::default(), Instant::now());
        assert!(tells(&mut prospect, begin, 0, 300), "it knew nothing");
        assert!(!tells(&mut prospect, begin, 60, 240), "as the clock says");
        assert!(!tells(&mut prospect, begin, 120, 205), "within half a minute of it");
        assert!(tells(&mut prospect, begin, 130, 205), "later than that");
        assert!(!tells(&mut prospect, begin, 190, 145));
        assert!(tells(&mut prospect, begin, 200, 60), "much sooner");
    }

    #[test]
    fn what_is_news_waits_until_the_last_is_old_enough_and_the_latest_counts() {
        let (mut prospect, begin) = (Prospect::default(), Instant::now());
        let at = |s| begin + Duration::from_secs(s);
        assert_eq!(prospect.due_at(at(0)), None);
        let place = |n| Changed::Order(changes(None, Some(n)));
        prospect.sees(place(9));
        assert!(prospect.next(at(0)).is_some());
        prospect.sees(place(5));
        prospect.sees(place(3));
        assert_eq!((prospect.due_at(at(1)), prospect.next(at(4))), (Some(at(5)), None));
        let said = prospect.next(at(5));
        assert_eq!(said, Some(ServerFrame::Changed(place(3))));
        assert_eq!(prospect.told().queue.map(|it| it.position), Some(3));
        prospect.sees(place(2));
        prospect.is_outdated();
        assert_eq!(prospect.next(at(60)), None, "a view has said it");
    }

    #[test]
    fn what_is_expected_no_more_is_taken_back_once() {
        let (mut prospect, begin) = (Prospect::default(), Instant::now());
        let at = |s| begin + Duration::from_secs(s);
        let mut nothing = changes(None, None);
        nothing.eta = Some(None);
        let nothing = Changed::Order(nothing);
        prospect.sees(nothing.clone());
        assert_eq!(prospect.next(at(0)), None, "nothing was expected");
        assert!(tells(&mut prospect, begin, 0, 300));
        prospect.sees(nothing.clone());
        let said = prospect.next(at(5));
        assert_eq!(said, Some(ServerFrame::Changed(nothing.clone())));
        let json = serde_json::to_value(said).expect("frames are JSON");
        assert_eq!(json["changed"]["order"].get("eta"), Some(&serde_json::Value::Null), "{json}");
        assert_eq!(prospect.told().eta, None);
        prospect.sees(nothing);
        assert_eq!(prospect.next(at(60)), None, "it knows");
        assert!(tells(&mut prospect, begin, 61, 300), "it is known again");
    }

    #[test]
    fn what_waits_while_it_is_not_known_who_may_know_of_it_is_told_afterwards() {
        let (mut prospect, begin) = (Prospect::default(), Instant::now());
        prospect.is_told(Told { eta: changes(Some((0, 300)), None).eta.flatten(), queue: None });
        prospect.withhold();
        let mut nothing = changes(None, None);
        nothing.eta = Some(None);
        let nothing = Changed::Order(nothing);
        prospect.sees(nothing.clone());
        assert_eq!((prospect.due_at(begin), prospect.next(begin)), (None, None));
        prospect.is_shown();
        let said = prospect.next(begin);
        assert_eq!(said, Some(ServerFrame::Changed(nothing)), "it was expected");
    }

    #[test]
    fn a_view_of_the_same_version_is_news_if_something_else_is_expected() {
        let expected = |at_s, s| changes(Some((at_s, s)), None).eta.flatten();
        let place = |position| changes(None, Some(position)).queue.flatten();
        let told = |eta, queue| Told { eta, queue };
        let view = |eta, queue| {
            let mut view = ServerFrame::Order(Box::new(order()));
            told(eta, queue).put_into(&mut view);
            view
        };
        let [soon, as_ever, late] = [(0, 300), (60, 240), (60, 900)].map(|(at, s)| expected(at, s));
        for (was, now, is_news) in [
            (told(None, None), view(None, None), false),
            (told(soon, None), view(as_ever, None), false),
            (told(soon, None), view(late, None), true),
            (told(soon, None), view(None, None), true),
            (told(None, place(3)), view(None, place(3)), false),
            (told(None, place(3)), view(None, place(2)), true),
            (told(None, place(3)), view(soon, None), true),
        ] {
            let Some(news) = was.news(&now) else {
                assert!(!is_news, "{was:?} {now:?}");
                continue;
            };
            assert!(is_news, "{was:?} {now:?}");
            let ServerFrame::Changed(changed) = news else { panic!("{news:?}") };
            let mut seen = now.clone();
            was.put_into(&mut seen);
            changed.apply(&mut seen).expect("of the same version");
            assert_eq!(seen, now);
        }
    }

    #[test]
    fn what_a_view_says_is_not_told_again() {
        let (mut prospect, begin) = (Prospect::default(), Instant::now());
        let eta = changes(Some((0, 300)), None).eta.flatten();
        prospect.is_told(Told { eta, queue: None });
        assert!(!tells(&mut prospect, begin, 1, 299));
        assert!(tells(&mut prospect, begin, 2, 400));
    }

    #[test]
    fn who_waits_for_help_is_told_as_who_waits_for_a_ride() {
        let (mut prospect, begin) = (Prospect::default(), Instant::now());
        let json = serde_json::json!({ "id": RescueId::nth(1), "from": 4, "version": 4 });
        let nothing: RescueChanges = serde_json::from_value(json).expect("nothing changed");
        let comes = |s| {
            let eta = changes(Some((0, s)), None).eta;
            Changed::Rescue(Box::new(RescueChanges { eta, ..nothing.clone() }))
        };
        prospect.sees(comes(300));
        assert_eq!(prospect.next(begin), Some(ServerFrame::Changed(comes(300))));
        prospect.sees(comes(320));
        assert_eq!(prospect.next(begin + EVERY), None, "within half a minute of it");
        prospect.sees(comes(400));
        assert_eq!(prospect.next(begin + EVERY), Some(ServerFrame::Changed(comes(400))));
    }
}
