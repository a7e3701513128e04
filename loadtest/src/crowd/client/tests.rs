use super::*;
use protocol::OrderId;

fn said(at: Option<Instant>, due: Instant) -> Said {
    let wish = Wish::Order { id: OrderId::nth(1), action: OrderAction::Rate { stars: 5 } };
    Said { at, ..Said::new(&wish, due, false) }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn what_had_no_answer_in_the_light_is_not_withdrawn_in_the_dark() {
    let began = Instant::now();
    let now = began + seconds(100);
    let is_overdue = |at: Option<Instant>| {
        let mut said = said(at, began);
        said.go_dark(seconds(60), began, now);
        said.is_overdue()
    };
    assert!(!is_overdue(None), "it was never said");
    assert!(!is_overdue(Some(now - seconds(7))), "its answer may have been on its way");
    assert!(is_overdue(Some(now - seconds(9))));
}

#[test]
fn the_light_between_two_tunnels_adds_up_and_the_dark_does_not() {
    let began = Instant::now();
    let mut said = said(Some(began), began);
    said.go_dark(seconds(60), began, began + seconds(5));
    // While it is dark, that it is so for longer is no light.
    said.go_dark(seconds(10), began + seconds(65), began + seconds(30));
    assert_eq!((said.lit, said.dark, said.is_overdue()), (seconds(5), seconds(70), false));
    said.go_dark(seconds(60), began + seconds(75), began + seconds(79));
    assert_eq!((said.lit, said.dark, said.is_overdue()), (seconds(9), seconds(130), true));
}
