use super::*;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

const TAXIS: &str = "\
pickup_time,passengers,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon
2016-02-01 08:00:00,1,40.75208,-73.97844,40.72885,-74.00655
2016-02-01 08:00:30,2,40.75,-73.98,40.76,-73.97
2016-02-01 09:15:00,1,40.71,-74.0,40.72,-73.99
";

fn packed(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".csv.gz").tempfile().unwrap();
    let mut packer = GzEncoder::new(file.reopen().unwrap(), Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap();
    file
}

const RIDES_ONLY: Mix = Mix { deliveries: 0.0, rescues: 0.0, merchants: 0.0 };

#[test]
fn taxi_trips_become_rides_from_second_zero() {
    let file = packed(TAXIS);
    let trips = read(file.path(), Window::default(), RIDES_ONLY, 1).unwrap();
    assert_eq!(trips.iter().map(|trip| trip.at_s).collect::<Vec<_>>(), [0.0, 30.0, 4_500.0]);
    assert_eq!(trips[0].from, Point { lat: 40.75208, lon: -73.97844 });
    assert!(trips.iter().all(|trip| trip.want == Want::Order(OrderKind::Ride)));
}

#[test]
fn a_window_starts_the_clock_at_its_start() {
    let file = packed(TAXIS);
    let window = Window {
        from: Some("09:00".parse().unwrap()),
        until: Some("10:00".parse().unwrap()),
        sample: 1.0,
    };
    let trips = read(file.path(), window, RIDES_ONLY, 1).unwrap();
    assert_eq!(trips.iter().map(|trip| trip.at_s).collect::<Vec<_>>(), [900.0]);
}

#[test]
fn trips_can_be_deliveries_and_rescues_come_on_top() {
    let file = packed(TAXIS);
    let mix = Mix { deliveries: 1.0, rescues: 1.0, merchants: 0.0 };
    let trips = read(file.path(), Window::default(), mix, 1).unwrap();
    let n_rescues = trips.iter().filter(|trip| matches!(trip.want, Want::Rescue(_))).count();
    assert_eq!((trips.len(), n_rescues), (6, 3));
    assert!(trips.iter().all(|trip| trip.want != Want::Order(OrderKind::Ride)));
}

#[test]
fn a_table_without_its_columns_says_which() {
    let file = packed("a,b\n1,2\n");
    let error = read(file.path(), Window::default(), RIDES_ONLY, 1).unwrap_err();
    assert!(error.to_string().ends_with("no column pickup_time"), "{error}");
    let file = packed(&TAXIS.replace("40.75208", "140.75208"));
    let error = read(file.path(), Window::default(), RIDES_ONLY, 1).unwrap_err();
    assert_eq!(error.to_string(), "\"140.75208,-73.97844\" is not a position");
}

#[test]
fn times_of_day_are_read_and_nonsense_is_not() {
    assert_eq!("08:30".parse(), Ok(TimeOfDay(30_600)));
    assert_eq!("16:00:05".parse::<TimeOfDay>().unwrap().to_string(), "16:00:05");
    for wrong in ["", "8", "25:61", "08:00:00:00", "noon"] {
        assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
    }
}

#[test]
fn invented_trips_are_as_many_and_as_mixed_as_asked() {
    let city = City::generate(1);
    let mix = Mix { deliveries: 0.3, rescues: 0.1, merchants: 0.0 };
    let trips = invent(&city, 3_000.0, 3_600.0, mix, 7);
    assert!((2_600..3_400).contains(&trips.len()), "{}", trips.len());
    assert_eq!(trips, invent(&city, 3_000.0, 3_600.0, mix, 7));
    let share = |want: fn(&Trip) -> bool| {
        trips.iter().filter(|trip| want(trip)).count() as f64 / trips.len() as f64
    };
    assert!((share(|trip| matches!(trip.want, Want::Rescue(_))) - 0.1).abs() < 0.03);
    assert!((share(|trip| trip.want == Want::Order(OrderKind::Delivery)) - 0.3).abs() < 0.04);
    assert!(trips.is_sorted_by(|a, b| a.at_s <= b.at_s));
}

#[test]
fn the_day_of_a_table_is_known() {
    let of = |date: &str| {
        let file = packed(&TAXIS.replace("2016-02-01", date));
        (date_of(file.path()).unwrap(), day_of(file.path()).unwrap())
    };
    assert_eq!(of("1970-01-01"), (Some(0), Day::Weekday));
    assert_eq!(of("2016-02-01"), (Some(16_832), Day::Weekday));
    assert_eq!(of("2016-02-28"), (Some(16_859), Day::Sunday));
    assert_eq!(of("2016-02-29"), (Some(16_860), Day::Weekday));
    assert_eq!(of("2016-03-01"), (Some(16_861), Day::Weekday));
    assert_eq!(of("2016-03-05"), (Some(16_865), Day::Saturday));
    let nothing = packed(TAXIS.lines().next().unwrap());
    assert_eq!(date_of(nothing.path()).unwrap(), None);
    let wrong = packed(&TAXIS.replace("2016-02-01 08:00:00", "yesterday"));
    assert!(date_of(wrong.path()).unwrap_err().to_string().contains("a day and a time"));
}
