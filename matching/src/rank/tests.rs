use super::*;
use proptest::prelude::*;
use protocol::work::{Priority, Vehicle, VehicleKind};

const AIRPORT: Point = Point { lat: -1.9686, lon: 30.1395 };
const GRACE: Duration = Duration::from_secs(120);

fn at(s: u64) -> Timestamp {
    Timestamp(10_000_000 + s * 1_000)
}

fn rank() -> Rank {
    let Point { lat, lon } = AIRPORT;
    Rank { name: "airport".to_owned(), lat, lon, radius_m: 500, grace_ms: 120_000 }
}

fn nth(n: u64) -> DriverId {
    DriverId::nth(n)
}

fn see(line: &mut Line, s: u64, there: &[u64]) -> Vec<DriverId> {
    line.see(there.iter().map(|n| (nth(*n), at(s))), at(s), GRACE);
    line.order()
}

fn driver(n: u64) -> Arc<DriverCard> {
    let vehicle = Vehicle { kind: VehicleKind::Car, capacity_g: 0, skills: vec![] };
    Arc::new(DriverCard::nth(n, Arc::new(vehicle), AIRPORT, at(0)))
}

fn search(n: u64, opened_s: u64) -> SearchCard {
    SearchCard { radius_m: 3_000, ..SearchCard::nth(n, AIRPORT, at(opened_s)) }
}

#[test]
fn who_came_first_is_first_and_keeps_its_place_for_a_while() {
    let mut line = Line::default();
    see(&mut line, 0, &[2]);
    assert_eq!(see(&mut line, 10, &[1, 2]), [nth(2), nth(1)]);
    assert_eq!(see(&mut line, 20, &[1]), [nth(1)], "who is gone is not asked");
    assert_eq!(see(&mut line, 100, &[1, 2]), [nth(2), nth(1)], "back in time");
    see(&mut line, 110, &[1]);
    assert_eq!(see(&mut line, 400, &[1, 2]), [nth(1), nth(2)], "back too late");
}

#[test]
fn a_line_that_has_not_seen_them_come_guesses_by_how_long_they_have_waited() {
    let mut line = Line::default();
    line.see([(nth(1), at(90)), (nth(2), at(50))].into_iter(), at(100), GRACE);
    assert_eq!(line.order(), [nth(2), nth(1)]);
    // Whoever is listed again a little later had waited, too.
    line.see([1, 2, 3].map(|n| (nth(n), at(60))).into_iter(), at(110), GRACE);
    assert_eq!(line.order(), [nth(2), nth(3), nth(1)]);
    // By now it sees them come.
    line.see([1, 2, 3, 4].map(|n| (nth(n), at(10))).into_iter(), at(300), GRACE);
    assert_eq!(line.order(), [nth(2), nth(3), nth(1), nth(4)]);
}

#[test]
fn of_a_long_line_those_are_kept_who_came_first() {
    let mut line = Line::default();
    line.see((0..3_000).map(|n| (nth(n), at(3_000 - n))), at(3_000), GRACE);
    let kept = line.kept();
    assert_eq!((kept.len(), kept[0]), (N_KEPT_MAX, Stood(nth(2_999), at(1), None)));
}

#[test]
fn who_has_waited_longest_gets_who_stands_first() {
    let line = [driver(3), driver(1), driver(2)];
    let choose = |searches: &[SearchCard]| {
        let searches: Vec<_> = searches.iter().cloned().map(Arc::new).collect();
        choose(&searches, &rank(), &line, at(60), &cost::Settings::default())
    };
    assert_eq!(choose(&[search(1, 9), search(2, 5)]), [(1, nth(3)), (0, nth(1))]);
    let urgent = SearchCard { priority: Priority::Urgent, ..search(1, 9) };
    assert_eq!(choose(&[urgent, search(2, 5)]), [(0, nth(3)), (1, nth(1))]);
    let declined = SearchCard { excluded: vec![nth(3)], ..search(1, 9) };
    assert_eq!(choose(&[declined]), [(0, nth(1))], "the next one is asked");
    let rescue = SearchCard { work: WorkKind::Rescue, ..search(1, 9) };
    let elsewhere = SearchCard { pickup: AIRPORT.offset_m(900.0, 0.0), ..search(2, 9) };
    let scanned = SearchCard { only: Some(nth(2)), ..search(3, 9) };
    assert_eq!(choose(&[rescue, elsewhere, scanned]), []);
    assert_eq!(choose(&[0, 1, 2, 3].map(|n| search(n, n))).len(), 3, "there are no more");
}

proptest! {
    #[test]
    fn nobody_overtakes_who_stays(seen in prop::collection::vec(prop::collection::btree_set(0..6_u64, 0..6), 1..30)) {
        let mut line = Line::default();
        let mut before: Vec<DriverId> = Vec::new();
        for (n, there) in (0..).zip(seen) {
            let there: Vec<u64> = there.into_iter().collect();
            let now = see(&mut line, n * 50, &there);
            prop_assert_eq!(now.len(), there.len());
            let stayed: Vec<_> = before.iter().filter(|it| now.contains(it)).collect();
            let still: Vec<_> = now.iter().filter(|it| before.contains(it)).collect();
            prop_assert_eq!(stayed, still);
            before = now;
        }
    }
}
