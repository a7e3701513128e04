use super::*;
use protocol::{
    Currency, IncidentStatus, JobId, Money, OrderId, Place, Point, Principal,
    view::{IncidentView, Offer, WorkKind},
    work::IncidentKind,
};

const AGAIN: Duration = Duration::from_secs(3);

fn offer(n: u32, expires_at: u64) -> Push {
    let job = JobId::Order(OrderId::nth(1));
    Push::Offer(Offer {
        id: OfferId::of(job, n),
        job,
        work: WorkKind::Ride,
        pickup: Place::from(Point::default()),
        dropoff: None,
        fare: Money { amount: 1, currency: Currency::RWF },
        eta_s: 60,
        expires_at: Timestamp(expires_at),
        run: None,
        next: false,
    })
}

fn assigned() -> Push {
    Push::Assigned { job: JobId::Order(OrderId::nth(1)) }
}

#[test]
fn what_was_not_acknowledged_is_said_again_with_the_same_number() {
    let (mut pushes, now) = (Pushes::default(), Instant::now());
    let first = pushes.add(assigned(), now + AGAIN);
    assert_eq!(pushes.again(now, AGAIN, Timestamp(0)), []);
    assert_eq!(pushes.again(now + AGAIN, AGAIN, Timestamp(0)), [first]);
    assert_eq!(pushes.due(), Some(now + AGAIN + AGAIN));
}

#[test]
fn what_was_acknowledged_is_not_said_again() {
    let (mut pushes, now) = (Pushes::default(), Instant::now());
    pushes.add(assigned(), now);
    assert_eq!(pushes.acknowledge(1), None);
    assert_eq!(pushes.due(), None);
}

#[test]
fn acknowledging_an_offer_says_which_offer_was_seen() {
    let (mut pushes, now) = (Pushes::default(), Instant::now());
    pushes.add(offer(7, 100), now);
    assert_eq!(pushes.acknowledge(1), Some(OfferId::of(JobId::Order(OrderId::nth(1)), 7)));
    assert_eq!(pushes.acknowledge(1), None);
}

#[test]
fn an_offer_that_has_expired_or_ended_is_not_said_again() {
    let (mut pushes, now) = (Pushes::default(), Instant::now());
    pushes.add(offer(1, 100), now);
    assert_eq!(pushes.again(now, AGAIN, Timestamp(100)), []);
    pushes.add(offer(2, 1_000), now);
    pushes.void(OfferId::of(JobId::Order(OrderId::nth(1)), 2));
    assert_eq!(pushes.due(), None);
}

#[test]
fn what_waits_is_bounded() {
    let (mut pushes, now) = (Pushes::default(), Instant::now());
    for _ in 0..WAITING_MAX {
        pushes.add(assigned(), now);
    }
    assert!(!pushes.are_too_many());
    pushes.add(assigned(), now);
    assert!(pushes.are_too_many() && pushes.may_be_kept());
    assert_eq!((pushes.room(), pushes.again(now, AGAIN, Timestamp(0)).len()), (0, WAITING_MAX + 1));
    let (last_n, kept) = pushes.pack();
    let mut pushes = Pushes::unpack(last_n, kept, now);
    assert!(!pushes.are_too_many(), "whoever comes back with them has time to acknowledge them");
    for _ in 1..WAITING_MAX {
        pushes.add(assigned(), now);
    }
    assert!(!pushes.are_too_many());
    pushes.add(assigned(), now);
    assert!(pushes.are_too_many() && !pushes.may_be_kept(), "but not for ever");
}

#[test]
fn what_waits_is_bounded_also_for_whoever_is_cut_off_again_and_again() {
    let (mut pushes, now) = (Pushes::default(), Instant::now());
    let mut n_said = 0;
    while !pushes.are_too_many() {
        assert!(n_said <= KEPT_MAX, "there is no end to it");
        let (last_n, kept) = pushes.pack();
        pushes = Pushes::unpack(last_n, kept, now);
        pushes.add(assigned(), now);
        n_said += 1;
    }
    assert_eq!(n_said, KEPT_MAX + 1);
    assert!(!pushes.may_be_kept(), "it begins anew");
}

fn call(n: u64) -> Push {
    Push::Incident(Box::new(IncidentView {
        id: IncidentId::nth(n),
        version: 1,
        kind: IncidentKind::Sos,
        mock: false,
        status: IncidentStatus::Open,
        raised_by: Principal::Dispatcher,
        job: None,
        position: None,
        opened_at: Timestamp(0),
        changed_at: Timestamp(0),
        calling: true,
        escalations: 0,
        acked_at: None,
        responders: Vec::new(),
        others: Vec::new(),
        checklist: Vec::new(),
        note: None,
    }))
}

#[test]
fn a_call_is_said_again_until_it_is_void_and_others_are_not_touched() {
    let (mut pushes, now) = (Pushes::default(), Instant::now());
    let [first, second] = [1, 2].map(|n| pushes.add(call(n), now));
    assert_eq!(pushes.room(), WAITING_MAX - 2);
    assert_eq!(pushes.again(now, AGAIN, Timestamp(u64::MAX)), [first, second.clone()]);
    pushes.void_call(IncidentId::nth(1));
    assert_eq!(pushes.again(now + AGAIN, AGAIN, Timestamp(0)), [second]);
    assert_eq!(pushes.acknowledge(2), None);
    assert_eq!((pushes.due(), pushes.room()), (None, WAITING_MAX));
}
