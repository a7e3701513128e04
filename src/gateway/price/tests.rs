//! What is quoted by streets and by straight lines.

use super::*;
use crate::settings::{PresetSettings, Profile, Settings};
use matching::router::{Road, Roads, Times};
use protocol::Point;
use std::path::PathBuf;

const HERE: Point = Point { lat: -1.95, lon: 30.06 };
const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn prices() -> Prices {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::read(None, None).unwrap();
    let keys = Keys::open(&settings.auth, Profile::Development, dir.path()).unwrap();
    let preset = PresetSettings { name: "safeboda".to_owned(), file: PathBuf::new() };
    Prices::new(Arc::new(preset.read().unwrap()), settings.estimate, Arc::new(keys))
}

/// A kilometre to the east, then one to the north, in 100 s each; and a crossing further north that no street leads to.
fn streets() -> Arc<dyn Router> {
    let ends = [(0.0, 0.0), (1_000.0, 0.0), (1_000.0, 1_000.0), (1_000.0, 2_000.0)];
    let nodes: Vec<Point> = ends.map(|(east_m, north_m)| HERE.offset_m(east_m, north_m)).to_vec();
    let street = |from, to| Road { from, to, ms: 100_000 };
    let both_ways = [street(0, 1), street(1, 0), street(1, 2), street(2, 1)];
    let times = Times::new(nodes.len(), both_ways.to_vec()).unwrap();
    Arc::new(Roads::new(nodes, Arc::new(times)).unwrap())
}

fn way_to(east_m: f64, north_m: f64) -> [Place; 2] {
    [HERE.into(), HERE.offset_m(east_m, north_m).into()]
}

/// Within so many of what it should be.
fn is_about(it: u32, wanted: u32) -> bool {
    it.abs_diff(wanted) <= 10
}

#[test]
fn a_way_is_as_far_and_takes_as_long_as_its_streets_where_they_are_known() {
    let stops = way_to(1_000.0, 1_000.0);
    let Estimate { distance_m, duration_s } = prices().estimate(&stops, NOW);
    assert!(is_about(distance_m, 1_909) && is_about(duration_s, 286), "{distance_m} {duration_s}");
    let by_streets = prices().by_streets(Some(streets()));
    let Estimate { distance_m, duration_s } = by_streets.estimate(&stops, NOW);
    assert!(is_about(distance_m, 2_000) && duration_s == 200, "{distance_m} {duration_s}");
    // There and back again, by way of the corner.
    let corner = HERE.offset_m(1_000.0, 0.0).into();
    let round = [stops[0].clone(), stops[1].clone(), corner, stops[0].clone()];
    let Estimate { distance_m, duration_s } = by_streets.estimate(&round, NOW);
    assert!(is_about(distance_m, 4_000) && duration_s == 400, "{distance_m} {duration_s}");
}

#[test]
fn where_no_street_leads_it_is_as_far_as_a_straight_line_makes_likely() {
    let by_streets = prices().by_streets(Some(streets()));
    for (east_m, north_m, straight_m) in [(1_000.0, 2_000.0, 2_236.0), (-9_000.0, 0.0, 9_000.0)] {
        let Estimate { distance_m, duration_s } =
            by_streets.estimate(&way_to(east_m, north_m), NOW);
        let likely_m = straight_m * 1.35;
        assert!(is_about(distance_m, likely_m as u32), "{distance_m}");
        assert!(is_about(duration_s, (likely_m / 7.0) as u32), "{duration_s}");
    }
}

#[test]
fn a_fare_follows_the_same_tariff_over_what_streets_say() {
    let stops = way_to(1_000.0, 1_000.0);
    let quoted = |prices: &Prices| {
        let request = QuoteRequest { kind: OrderKind::Ride, stops: stops.to_vec(), start_at: None };
        let rider = Principal::Rider(protocol::RiderId::nth(1));
        let quote = prices.promise(&request, rider, NOW).unwrap();
        assert_eq!(quote.fare, prices.order(request.kind, &stops, NOW));
        let estimate = Estimate { distance_m: quote.distance_m, duration_s: quote.duration_s };
        assert_eq!(estimate, prices.estimate(&stops, NOW));
        let tariff = &prices.preset.order(request.kind).tariff;
        assert_eq!(quote.fare, prices.by_tariff(tariff, estimate, NOW));
        estimate
    };
    assert_ne!(quoted(&prices()), quoted(&prices().by_streets(Some(streets()))));
    assert_eq!(quoted(&prices()), quoted(&prices().by_streets(None)));
    let towed = |prices: &Prices| prices.rescue(&stops[0], Some(&stops[1]), NOW).lines;
    let by_streets = prices().by_streets(Some(streets()));
    assert_ne!(towed(&prices()), towed(&by_streets));
    assert_eq!(prices().rescue(&stops[0], None, NOW), by_streets.rescue(&stops[0], None, NOW));
}
