use super::*;
use protocol::{Timestamp, view::StopKind};

/// Something whose end is known, or not yet.
#[derive(Debug)]
struct Fake {
    is_over: bool,
    /// As it is shown, if it is.
    frame: Option<ServerFrame>,
}

impl Fake {
    fn new(is_over: bool) -> Box<Self> {
        Box::new(Self { is_over, frame: None })
    }

    /// An order that this driver has, if anybody has.
    fn order_of(driver: Option<DriverId>) -> Box<Self> {
        let json = serde_json::json!({
            "id": OrderId::nth(1), "version": 4, "kind": "ride", "status": "assigned", "fulfilment": "none",
            "rider": RiderId::nth(1), "driver": driver, "stops": [], "stops_done": 0,
            "fare": { "currency": "RWF", "lines": [] }, "tip": null, "policy": "batch_optimal", "offers": [],
            "reason": null, "placed_at": Timestamp(1), "changed_at": Timestamp(1),
        });
        let view = serde_json::from_value(json).unwrap();
        Box::new(Self { is_over: false, frame: Some(ServerFrame::Order(view)) })
    }
}

impl Watched for Fake {
    fn poll_change(&mut self, _: &mut Context<'_>, _: Principal, _: &System) -> Poll<Change> {
        Poll::Pending
    }

    fn version(&self) -> u64 {
        1
    }

    fn frame(&self, _by: Principal) -> Option<ServerFrame> {
        self.frame.clone()
    }

    fn say(
        &mut self,
        whole: ServerFrame,
        _by: Principal,
        _shown: Option<u64>,
        _told: Option<Told>,
    ) -> ServerFrame {
        whole
    }

    fn renew(&mut self, _whole: &ServerFrame, _told: Told) -> Option<ServerFrame> {
        None
    }

    fn whole(&self, _events: Vec<String>) -> ActorView {
        unreachable!("nobody asks for it")
    }

    fn may_sleep(&self) -> bool {
        true
    }

    fn has_had_its_say(&self, _by: Principal) -> bool {
        self.is_over
    }

    fn ended_offer(&self, _offer: OfferId) -> Option<OfferStatus> {
        None
    }

    fn parts(&self) -> Vec<Principal> {
        Vec::new()
    }
}

fn leaving(now: Instant) -> Follow {
    let mut follow = Follow::new(OrderId::nth(1).into());
    follow.leave(Some(now));
    follow
}

const BY: Principal = Principal::Dispatcher;

#[test]
fn what_is_one_s_own_is_never_forgotten() {
    let now = Instant::now();
    let mut follow = leaving(now);
    follow.opened(Fake::new(true));
    follow.leave(None);
    assert!(!follow.is_done(BY, now + 2 * LAST_WORD_MAX));
    assert_eq!(follow.done_at(now), None);
}

#[test]
fn a_job_that_has_said_its_last_word_is_forgotten_when_it_may_be() {
    let now = Instant::now();
    let mut follow = leaving(now + Duration::from_secs(1));
    follow.opened(Fake::new(true));
    assert!(!follow.is_done(BY, now));
    assert_eq!(follow.done_at(now), Some(now + Duration::from_secs(1)));
    assert!(follow.is_done(BY, now + Duration::from_secs(1)));
}

/// Its rider hears that the job is over by another way, which may be the faster one.
#[test]
fn the_last_word_is_waited_for_while_the_way_to_it_is_lost_or_long_but_not_for_ever() {
    let now = Instant::now();
    let mut follow = leaving(now);
    for _ in 0..2 {
        assert!(!follow.is_done(BY, now + LAST_WORD_MAX / 2));
        assert_eq!(follow.done_at(now), Some(now + LAST_WORD_MAX), "no sooner, or it would spin");
        assert!(follow.is_done(BY, now + LAST_WORD_MAX));
        follow.opened(Fake::new(false));
    }
}

#[test]
fn what_cannot_be_followed_is_tried_less_and_less_often_and_what_could_be_sooner() {
    let mut follow = Follow::new(OrderId::nth(1).into());
    let waits: Vec<_> = (0..14).map(|_| follow.lost(Some(&Refusal::Unavailable))).collect();
    assert_eq!(waits[0], Duration::from_millis(20));
    assert!(waits.is_sorted() && waits[9] > Duration::from_secs(5), "{waits:?}");
    assert_eq!(waits[12..], [Duration::from_secs(30); 2]);
    let busy = Refusal::Busy { retry_after_ms: 100 };
    assert_eq!(follow.lost(Some(&busy)), Duration::from_secs(10), "somebody has answered");
    follow.opened(Fake::new(false));
    assert_eq!(follow.lost(None), Duration::from_secs(5), "it was followed");
    let wait = follow.lost(Some(&Refusal::Unavailable));
    assert!(wait < Duration::from_secs(30), "{wait:?}, not as if it had never been");
    follow.opened(Fake::new(false));
    follow.is_well();
    assert_eq!(follow.lost(None), Duration::from_millis(20));
}

/// Its driver is seen so.
fn seen(stop: u8, crossing: Crossing) -> ServerFrame {
    ServerFrame::Near {
        job: JobId::Order(OrderId::nth(1)),
        stop,
        what: StopKind::Pickup,
        crossing,
        at: Timestamp(1),
    }
}

#[test]
fn coming_and_going_are_told_now_and_then_and_only_what_is_news() {
    let (start, every) = (Instant::now(), Duration::from_secs(1));
    let mut near = Near::default();
    let next = |near: &mut Near, later_ms| {
        let now = start + Duration::from_millis(later_ms);
        near.next(now, every).as_ref().and_then(crossing)
    };
    assert_eq!(next(&mut near, 0), None);
    near.sees(None, seen(0, Crossing::Entered));
    assert_eq!(near.due_at(start, every), Some(start), "at once");
    assert_eq!(next(&mut near, 0), Some((0, Crossing::Entered)));
    for _ in 0..20 {
        near.sees(None, seen(0, Crossing::Exited));
        near.sees(None, seen(0, Crossing::Entered));
    }
    assert_eq!(next(&mut near, 1_000), None, "it is where it was");
    near.sees(None, seen(0, Crossing::Exited));
    near.sees(None, seen(0, Crossing::Entered));
    near.sees(None, seen(0, Crossing::Exited));
    assert_eq!(next(&mut near, 1_000), Some((0, Crossing::Exited)), "the latest counts");
    near.sees(None, seen(0, Crossing::Entered));
    assert_eq!(near.due_at(start, every), Some(start + 2 * every));
    assert_eq!(next(&mut near, 1_999), None);
    assert_eq!(next(&mut near, 2_000), Some((0, Crossing::Entered)));
    // The next stop; and then another driver, who comes to it, too.
    near.sees(None, seen(1, Crossing::Entered));
    assert_eq!(next(&mut near, 3_000), Some((1, Crossing::Entered)));
    near.is_outdated();
    near.sees(None, seen(1, Crossing::Entered));
    assert_eq!(next(&mut near, 4_000), Some((1, Crossing::Entered)));
}

#[test]
fn that_a_driver_has_come_is_not_told_once_another_has_the_job_or_nobody() {
    let (now, every) = (Instant::now(), Duration::from_secs(1));
    let [one, other] = [1, 2].map(|n| Some(DriverId::nth(n)));
    let becomes = |driver| {
        let mut follow = Follow::new(OrderId::nth(1).into());
        follow.opened(Fake::order_of(one));
        follow.sees_near(seen(0, Crossing::Entered));
        // Whatever else changes of it does not matter.
        follow.watch = Some(Fake::order_of(driver));
        follow.forget_who_came();
        let mut near = follow.near.unwrap();
        near.next(now, every).as_ref().and_then(crossing)
    };
    assert_eq!(becomes(one), Some((0, Crossing::Entered)));
    assert_eq!(becomes(other), None);
    assert_eq!(becomes(None), None);
}
