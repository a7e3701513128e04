use super::*;
use protocol::{
    Currency, DriverStatus, Fare, FulfilmentStatus, OrderId, Place, Point, RiderId, Timestamp,
    work::OfferPolicy,
};

fn order(version: u64, status: OrderStatus, driver: Option<u64>) -> OrderView {
    OrderView {
        id: OrderId::nth(1),
        version,
        kind: OrderKind::Ride,
        status,
        fulfilment: FulfilmentStatus::None,
        rider: RiderId::nth(1),
        driver: driver.map(DriverId::nth),
        stops: vec![Place::from(Point::default()); 2],
        stops_done: 0,
        fare: Fare { currency: Currency::RWF, lines: Vec::new() },
        tip: None,
        policy: OfferPolicy::Sequential,
        held: false,
        paused: None,
        priority: protocol::work::Priority::Normal,
        fleet: None,
        fleet_first: false,
        offers: Vec::new(),
        reason: None,
        placed_at: Timestamp(0),
        changed_at: Timestamp(0),
        start_at: None,
        price_asked: None,
        follows: None,
        followed_by: None,
        run: None,
        eta: None,
        queue: None,
        code: None,
        hub: None,
    }
}

fn driver(version: u64, jobs: &[JobId]) -> DriverView {
    DriverView {
        id: DriverId::nth(1),
        version,
        status: DriverStatus::Busy,
        blocked: None,
        vehicle: None,
        jobs: jobs.to_vec(),
        offers: Vec::new(),
        position: None,
        fleet: None,
        hint: None,
        run: None,
        grants: Vec::new(),
        ungranted: Vec::new(),
        rates: protocol::view::Rates::default(),
        shift: None,
        n_shift_no_shows: 0,
        doubted: false,
        rest: None,
    }
}

fn done(version: u64) -> Done {
    Done { actor: OrderId::nth(1).to_string(), version }
}

const JOB: fn() -> JobId = || JobId::Order(OrderId::nth(1));

fn broken(checker: &Checker) -> Vec<Broken> {
    checker.violations().iter().map(|violation| violation.broken).collect()
}

#[test]
fn a_plain_ride_breaks_nothing() {
    let (mut checker, now) = (Checker::default(), Instant::now());
    checker.acked(&done(1), now);
    checker.order_seen(&order(1, OrderStatus::Searching, None), now);
    checker.assigned(JOB(), DriverId::nth(1), now);
    checker.order_seen(&order(4, OrderStatus::Assigned, Some(1)), now);
    checker.performed(JOB(), DriverId::nth(1), 5);
    checker.order_seen(&order(7, OrderStatus::Completed, Some(1)), now);
    checker.order_seen(&order(8, OrderStatus::Completed, Some(1)), now);
    checker.sweep(now + HANDOVER_MAX * 2);
    assert_eq!(broken(&checker), []);
}

#[test]
fn an_acknowledged_command_that_is_gone_later_is_noticed() {
    let (mut checker, now) = (Checker::default(), Instant::now());
    checker.acked(&done(5), now);
    checker.order_seen(&order(4, OrderStatus::Searching, None), now + IN_FLIGHT_MAX / 2);
    assert_eq!(broken(&checker), [], "it may have been on the way");
    checker.order_seen(&order(4, OrderStatus::Searching, None), now + IN_FLIGHT_MAX * 2);
    assert_eq!(broken(&checker), [Broken::AckedNotVisible]);
}

#[test]
fn whoever_comes_back_is_told_what_it_missed_in_its_order() {
    let (mut checker, began) = (Checker::default(), Instant::now());
    let mut phone = ClientTrace::default();
    let s = |n| began + Duration::from_secs(n);
    // Its battery is flat for half a minute; meanwhile somebody else changes its job.
    phone.lost(s(0), s(0));
    checker.acked(&done(17), s(5));
    phone.resumed(s(30));
    checker.order_seen(&order(16, OrderStatus::Searching, None), phone.as_of(s(31)));
    checker.order_seen(&order(17, OrderStatus::Searching, None), phone.as_of(s(31)));
    assert_eq!(broken(&checker), [], "it had been said, and did not arrive");
    assert_eq!(phone.saw(JOB(), 17), None);
    assert_eq!(phone.saw(JOB(), 16).unwrap().0, Broken::VersionWentBack, "in its order");
}

#[test]
fn whoever_comes_back_is_told_nothing_older_than_what_it_missed() {
    let (mut checker, began) = (Checker::default(), Instant::now());
    let s = |n| began + Duration::from_secs(n);
    let seen = |checker: &mut Checker, phone: &ClientTrace, at| {
        checker.order_seen(&order(16, OrderStatus::Searching, None), phone.as_of(at));
        std::mem::take(&mut checker.violations).len()
    };
    checker.acked(&done(17), s(0));
    let mut phone = ClientTrace::default();
    phone.lost(s(20), s(20));
    phone.resumed(s(50));
    assert_eq!(seen(&mut checker, &phone, s(51)), 1, "it was known before the connection was lost");
    let mut phone = ClientTrace::default();
    phone.lost(s(0), s(0));
    phone.resumed(s(30));
    assert_eq!(seen(&mut checker, &phone, s(31)), 0);
    assert_eq!(seen(&mut checker, &phone, s(45)), 1, "by then it has been told what it missed");
    phone.lost(s(50), s(50));
    phone.reconnected();
    assert_eq!(seen(&mut checker, &phone, s(51)), 1, "whoever begins anew is told how things are");
}

#[test]
fn whoever_is_cut_off_again_before_it_has_heard_of_it_all_misses_it_still() {
    let began = Instant::now();
    let s = |n| began + Duration::from_secs(n);
    let mut phone = ClientTrace::default();
    assert_eq!(phone.as_of(s(3)), s(3));
    phone.lost(s(10), s(12));
    phone.resumed(s(40));
    phone.lost(s(41), s(41));
    phone.resumed(s(60));
    assert_eq!(phone.as_of(s(61)), s(10));
    assert_eq!(phone.as_of(s(75)), s(75));
    phone.lost(s(80), s(80));
    phone.resumed(s(90));
    assert_eq!(phone.as_of(s(91)), s(80), "the first was long ago");
}

#[test]
fn a_driver_s_acknowledged_command_that_is_gone_later_is_noticed() {
    let (mut checker, now) = (Checker::default(), Instant::now());
    checker.acked(&Done { actor: DriverId::nth(1).to_string(), version: 3 }, now);
    checker.driver_seen(&driver(2, &[]), now + IN_FLIGHT_MAX * 2);
    assert_eq!(broken(&checker), [Broken::AckedNotVisible]);
}

#[test]
fn one_version_with_two_drivers_is_noticed() {
    let (mut checker, now) = (Checker::default(), Instant::now());
    checker.order_seen(&order(4, OrderStatus::Assigned, Some(1)), now);
    checker.order_seen(&order(4, OrderStatus::Assigned, Some(2)), now);
    assert_eq!(broken(&checker), [Broken::TwoTruths]);
}

#[test]
fn what_is_final_stays_final() {
    let (mut checker, now) = (Checker::default(), Instant::now());
    checker.order_seen(&order(4, OrderStatus::CancelledByRider, None), now);
    checker.order_seen(&order(3, OrderStatus::Searching, None), now);
    assert_eq!(broken(&checker), [], "an older frame may come later");
    checker.order_seen(&order(5, OrderStatus::Assigned, Some(1)), now);
    assert_eq!(broken(&checker), [Broken::FinalChanged]);
}

#[test]
fn a_job_given_to_two_drivers_is_noticed_unless_the_first_was_released() {
    let (mut checker, now) = (Checker::default(), Instant::now());
    let (first, second, third) = (DriverId::nth(1), DriverId::nth(2), DriverId::nth(3));
    checker.assigned(JOB(), first, now);
    checker.assigned(JOB(), second, now);
    checker.released(JOB(), first);
    checker.sweep(now + HANDOVER_MAX * 2);
    assert_eq!(broken(&checker), []);
    checker.assigned(JOB(), third, now);
    checker.sweep(now + HANDOVER_MAX / 2);
    assert_eq!(broken(&checker), [], "the second may not have heard yet");
    checker.sweep(now + HANDOVER_MAX * 2);
    assert_eq!(broken(&checker), [Broken::TwoDrivers]);
}

#[test]
fn a_driver_out_of_reach_is_no_suspect() {
    let (mut checker, now) = (Checker::default(), Instant::now());
    checker.assigned(JOB(), DriverId::nth(1), now);
    checker.assigned(JOB(), DriverId::nth(2), now);
    checker.unreachable(DriverId::nth(1));
    checker.sweep(now + HANDOVER_MAX * 2);
    assert_eq!(broken(&checker), []);
}

#[test]
fn two_drivers_who_take_turns_are_noticed() {
    let mut checker = Checker::default();
    let (first, second) = (DriverId::nth(1), DriverId::nth(2));
    checker.performed(JOB(), first, 5);
    checker.performed(JOB(), second, 9);
    assert_eq!(broken(&checker), [], "it was handed over");
    checker.performed(JOB(), first, 11);
    assert_eq!(broken(&checker), [Broken::TwoDrivers]);
}

#[test]
fn a_driver_with_a_ride_and_anything_else_is_noticed() {
    let (mut checker, now) = (Checker::default(), Instant::now());
    let other = JobId::Order(OrderId::nth(2));
    checker.driver_seen(&driver(1, &[JOB(), other]), now);
    assert_eq!(broken(&checker), [], "deliveries go together");
    checker.order_seen(&order(4, OrderStatus::Assigned, Some(1)), now);
    checker.driver_seen(&driver(2, &[JOB()]), now);
    assert_eq!(broken(&checker), []);
    checker.driver_seen(&driver(3, &[JOB(), other]), now);
    assert_eq!(broken(&checker), [Broken::TwoRides]);
}

#[test]
fn a_command_is_answered_once_for_each_time_it_is_sent() {
    let mut client = ClientTrace::default();
    let id = CommandId::nth(1);
    client.sent(id);
    assert_eq!(client.answered(id, Some(&done(1))), None);
    client.sent(id);
    assert_eq!(client.answered(id, Some(&done(1))), None, "a repeat is answered too");
    let (broken, _) = client.answered(id, Some(&done(1))).unwrap();
    assert_eq!(broken, Broken::ManyAnswers);
}

#[test]
fn a_repeat_is_answered_alike() {
    let mut client = ClientTrace::default();
    let id = CommandId::nth(1);
    client.sent(id);
    client.sent(id);
    assert_eq!(client.answered(id, Some(&done(1))), None);
    assert_eq!(client.answered(id, Some(&done(2))).unwrap().0, Broken::OtherAnswer);
}

#[test]
fn versions_do_not_go_back_on_a_connection() {
    let mut client = ClientTrace::default();
    assert_eq!(client.saw(JOB(), 3), None);
    assert_eq!(client.saw(JOB(), 3), None);
    assert_eq!(client.saw(JOB(), 2).unwrap().0, Broken::VersionWentBack);
    client.reconnected();
    assert_eq!(client.saw(JOB(), 2), None);
}

#[test]
fn an_offer_does_not_come_back_from_the_dead() {
    let mut client = ClientTrace::default();
    let offer = OfferId::nth(1);
    assert_eq!(client.offered(offer), None);
    client.voided(offer);
    assert_eq!(client.offered(offer).unwrap().0, Broken::OfferRevived);
}
