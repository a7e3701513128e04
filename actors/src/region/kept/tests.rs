use super::*;
use matching::{
    Came, DriverCard, Router,
    router::{Gone, Learned, Leg, Straight, Ways},
};
use protocol::{
    DriverId, Point,
    work::{Vehicle, VehicleKind},
};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const START: Timestamp = Timestamp(1_800_000_000_000);

fn region() -> Known {
    Known::new(KIGALI, 12_000.0, Duration::from_secs(2), START)
}

/// What a region has learned to which so many drivers came, each from another place.
fn learned(n: u64) -> Lore {
    let (mut region, router) = (region(), Straight::default());
    for n in 0..n {
        let from = KIGALI.offset_m(1_500.0 + 900.0 * n as f64, 0.0);
        let came = Came { from, to: KIGALI, left_at: START, took_ms: 900_000 };
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: vec![] };
        let card = DriverCard::nth(n, Arc::new(vehicle), KIGALI, START);
        let card = DriverCard { came: Some(Arc::new(came)), ..card };
        region.put_driver(Arc::new(card));
    }
    region.learn_ways(&router, START);
    region.lore(&router, START, false)
}

fn here() -> RegionId {
    RegionId::at(KIGALI)
}

#[test]
fn each_is_kept_by_itself_where_the_regions_jobs_are() {
    let [lore, lines] = [Kept::Lore, Kept::Lines].map(|it| it.shelf(here()));
    assert_eq!(lore.shard, here().shard());
    assert_eq!(lines.shard, here().shard());
    assert_eq!(lore.name, format!("{}/lore", here()));
    assert_eq!(lines.name, format!("{}/lines", here()));
}

#[test]
fn what_is_kept_comes_back_as_it_was() {
    let lore = learned(6);
    assert_eq!(decode::<Lore>(here(), Kept::Lore, Some(&encode(&lore))), Some(lore));
    let stood = Stood(DriverId::nth(7), START, Some(START));
    let lines = Lines { at: START, ranks: vec![("airport".to_owned(), vec![stood])] };
    assert_eq!(decode::<Lines>(here(), Kept::Lines, Some(&encode(&lines))), Some(lines));
    assert_eq!(decode::<Lore>(here(), Kept::Lore, None), None);
}

#[test]
fn damaged_bytes_are_never_a_fall_and_mostly_nothing() {
    let (bytes, router) = (encode(&learned(6)), Straight::default());
    for n in 0..bytes.len() {
        assert_eq!(decode::<Lore>(here(), Kept::Lore, Some(&bytes[..n])), None, "cut off at {n}");
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[n] ^= change;
            if let Some(lore) = decode::<Lore>(here(), Kept::Lore, Some(&damaged)) {
                region().resume(&lore, &router, START, START);
            }
        }
    }
    let newer = format::encode(&learned(1), Format(Format::READS.0 + 1));
    assert_eq!(decode::<Lore>(here(), Kept::Lore, Some(&newer)), None);
}

#[test]
fn a_region_that_has_seen_all_it_can_keeps_a_quarter_of_a_megabyte() {
    let (router, mut ways) = (Straight::default(), Ways::new(KIGALI));
    for n in 0..8_000_u64 {
        let to = KIGALI.offset_m((n % 100) as f64 * 1_000.0, (n / 100) as f64 * 1_000.0 + 600.0);
        let learned = Learned { router: &router, ways: &ways };
        let leg = Leg {
            from: learned.spot(KIGALI),
            to: learned.spot(to),
            distance_m: KIGALI.distance_m(to) as f32,
            vehicle: VehicleKind::Car,
            leaving: START,
        };
        let took_ms = router.eta(&leg).ms + 7_000 + n as u32;
        ways.learn(&Gone { leg, took_ms }, &router);
    }
    assert!(ways.n_places() > 12_000, "{}", ways.n_places());
    let n_bytes = encode(&ways.kept(KIGALI, &router)).len();
    assert!((100_000..256 * 1_024).contains(&n_bytes), "{n_bytes}");
}

#[test]
fn what_all_regions_would_say_is_said_at_once_and_then_rarely() {
    let (rarely, later) = (Rarely::default(), START + SAY_EVERY);
    let moments = [START, START, later - AGAIN_AFTER, later, later];
    let said = moments.map(|now| rarely.is_time(now));
    assert_eq!(said, [true, false, false, true, false]);
}
