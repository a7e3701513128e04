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
        book.created(ride(n), RIDE, start, after(20));
    }
    book.offered(ride(1), after(40));
    book.offered(ride(1), after(900));
    book.assigned(ride(1), after(1_000));
    book.ended(ride(1), Ending::Completed);
    book.ended(ride(2), Ending::CancelledByRider);
    book.ended(ride(3), Ending::NoDriver);
    let rescue = JobId::Rescue(RescueId::nth(1));
    book.assigned(rescue, start);
    book.created(rescue, Want::Rescue(Issue::Stuck), start, after(10));
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
