use super::*;
use protocol::{OrderId, RescueId, work::Issue};

fn ride(n: u64) -> JobId {
    JobId::Order(OrderId::nth(n))
}

const RIDE: Want = Want::Order(OrderKind::Ride);

fn a_day() -> Book {
    let (mut book, start) = (Book::new(), Instant::now());
    let after = |ms| start + Duration::from_millis(ms);
    for n in 1..=4 {
        book.created(ride(n), RiderId::nth(n), RIDE, [start, start, after(20)]);
    }
    book.offered(ride(1), after(40));
    book.offered(ride(1), after(900));
    book.assigned(ride(1), after(1_000));
    book.ended(ride(1), Ending::Completed);
    book.ended(ride(2), Ending::CancelledByRider);
    book.ended(ride(3), Ending::NoDriver);
    let rescue = JobId::Rescue(RescueId::nth(1));
    book.assigned(rescue, start);
    book.created(rescue, RiderId::nth(9), Want::Rescue(Issue::Stuck), [start, start, after(10)]);
    book.answered(Duration::from_millis(3), None);
    book.answered(Duration::from_millis(5), Some(Code::TooFar));
    book
}

#[test]
fn the_last_line_has_the_keys_that_were_promised() {
    let json = serde_json::to_value(a_day().report()).unwrap();
    for kind in ["orders", "rescues", "deliveries"] {
        for key in ["created", "assigned", "completed", "cancelled", "no_driver"] {
            assert!(json[kind][key].is_u64(), "{kind}.{key}");
        }
    }
    for key in ["commands_acked", "violations", "rss_bytes"] {
        assert!(json[key].is_u64(), "{key}");
    }
    for times in ["offer_ms", "assign_ms"] {
        for key in ["p50", "p99"] {
            assert!(json[times][key].is_f64(), "{times}.{key}");
        }
    }
}

#[test]
fn each_job_is_counted_once_where_it_ended() {
    let report = a_day().report();
    assert_eq!(
        report.orders,
        Outcomes {
            created: 4,
            assigned: 1,
            completed: 1,
            cancelled: 1,
            cancelled_by_rider: 1,
            no_driver: 1,
            failed: 0,
            open: 1
        }
    );
    assert_eq!((report.rescues.created, report.rescues.assigned, report.rescues.open), (1, 1, 1));
    assert_eq!(report.all().created, 5);
    assert!((report.satisfied - 0.4).abs() < 1e-9);
    assert_eq!(report.refused["too_far"], 1);
}

#[test]
fn only_the_first_offer_and_the_first_driver_are_timed() {
    let report = a_day().report();
    assert_eq!((report.offer_ms.n, report.offer_ms.p50), (1, 20.0));
    assert_eq!((report.assign_ms.n, report.assign_ms.max), (2, 980.0));
    assert_eq!((report.wait_ms.n, report.wait_ms.max), (2, 1_000.0));
}

#[test]
fn broken_promises_are_the_exit_code() {
    assert_eq!(Report::default().exit_code(), 0);
    assert_eq!(Report { violations: 1, ..Report::default() }.exit_code(), 3);
}

#[test]
fn the_summary_can_be_read_by_people() {
    let text = a_day().report().to_string();
    assert!(text.contains("rides") && text.contains("40.0 % completed"), "{text}");
}

#[test]
fn a_rider_waits_from_when_it_was_due_to_ask() {
    let (mut book, start) = (Book::new(), Instant::now());
    let after = |ms| start + Duration::from_millis(ms);
    let job = ride(1);
    assert_eq!(book.created(job, RiderId::nth(1), RIDE, [start, after(400), after(500)]), []);
    let [first, offered] = book.offered(job, after(900))[..] else { panic!("two ways to count") };
    assert_eq!((first.due, first.said, first.at), (start, after(400), after(900)));
    assert_eq!((offered.op, offered.due, offered.at), (Op::Offered, after(500), after(900)));
    assert_eq!(book.offered(job, after(950)), []);
    // Seen before the answer came: as it was, not as it was heard of.
    let early = ride(2);
    assert_eq!(book.assigned(early, after(700)), None);
    let [found] = book.created(early, RiderId::nth(2), RIDE, [start, after(600), after(800)])[..]
    else {
        panic!("one wait has ended");
    };
    assert_eq!((found.op, found.at), (Op::DriverFound, after(700)));
}

#[test]
fn a_step_is_heard_when_its_rider_is_shown_that_version_or_a_later_one() {
    let (mut book, start) = (Book::new(), Instant::now());
    let after = |ms| start + Duration::from_millis(ms);
    let heard = |sample: Option<Sample>| sample.map(|it| it.at.duration_since(it.said).as_millis());
    assert_eq!(heard(book.stepped(ride(1), 5, [start, start])), None);
    assert_eq!(heard(book.shown(ride(1), 4, after(10))), None);
    assert_eq!(heard(book.shown(ride(1), 6, after(30))), Some(30));
    assert_eq!(heard(book.shown(ride(1), 7, after(40))), None, "once");
    assert_eq!(
        heard(book.stepped(ride(1), 7, [after(35), after(35)])),
        Some(5),
        "shown before it was answered"
    );
    assert_eq!(heard(book.stepped(ride(1), 3, [start, start])), None, "shown with what came after");
}

#[test]
fn what_was_acknowledged_after_the_last_look_is_still_to_be_read() {
    let (mut book, now) = (Book::new(), Instant::now());
    book.created(ride(1), RiderId::nth(1), RIDE, [now; 3]);
    book.looked(ride(1), 7);
    book.looked(ride(1), 5);
    assert_eq!(book.looked_at(), [(ride(1), RiderId::nth(1), 7)]);
}
