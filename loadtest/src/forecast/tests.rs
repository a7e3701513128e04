use super::*;
use std::{fs, path::Path};

/// A table of one morning, from 8 to 12, in which so much is asked each minute at some doors.
fn table(folder: &Path, date: &str, per_minute: impl Fn(u32) -> u32) -> PathBuf {
    let mut text =
        "pickup_time,passengers,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon\n".to_owned();
    for minute in 0..240 {
        for n in 0..per_minute(minute) {
            // Three places, two kilometres apart.
            let lat = 40.70 + 0.02 * f64::from(n % 3);
            let time = format!("{:02}:{:02}:{:02}", 8 + minute / 60, minute % 60, n % 60);
            text.push_str(&format!("{date} {time},1,{lat},-73.98,40.76,-73.97\n"));
        }
    }
    let path = folder.join(format!("{date}.csv"));
    fs::write(&path, text).unwrap();
    path
}

fn options(trips: Vec<PathBuf>, by: Grain) -> Options {
    Options { trips, every: Duration::from_secs(900), ahead: Duration::ZERO, by }
}

fn wape(report: &Report, way: usize) -> f64 {
    report.ways[way].wape_percent
}

#[test]
fn what_is_the_same_every_week_is_forecast_and_a_busier_week_better_by_its_level() {
    let folder = tempfile::tempdir().unwrap();
    // Three times as busy at noon as at eight.
    let usual = |minute: u32| 6 + minute / 20;
    let [one, other, busy] = [
        table(folder.path(), "2016-02-01", usual),
        // Two weeks later, and yet the next Monday that anybody wrote down.
        table(folder.path(), "2016-02-15", usual),
        table(folder.path(), "2016-02-29", |minute| 2 * usual(minute)),
    ];
    for by in [Grain::Zone, Grain::Square] {
        let same = replay(&options(vec![one.clone(), other.clone()], by)).unwrap();
        assert_eq!((same.days.join(" ").as_str(), same.n_moments), ("2016-02-15.csv", 10));
        assert!(wape(&same, 2) < 1e-9, "{same}");
        assert!(wape(&same, 0) < wape(&same, 1), "the profile sees the busy hours come: {same}");
        let twice = replay(&options(vec![other.clone(), busy.clone()], by)).unwrap();
        // Half of it was asked a week before.
        assert!((wape(&twice, 2) - 50.0).abs() < 1.0, "{twice}");
        assert!(wape(&twice, 0) < 25.0, "{twice}");
        assert!(twice.ways[2].bias_percent < -45.0, "{twice}");
    }
    let both = replay(&options(vec![busy, one, other], Grain::Zone)).unwrap();
    assert_eq!(both.days, ["2016-02-15.csv", "2016-02-29.csv"], "in their order");
    assert_eq!(both.n_moments, 20);
    let told = both.to_string();
    assert!(told.contains("last week's value") && told.contains("WAPE"), "{told}");
}

#[test]
fn what_was_just_asked_is_what_the_last_interval_says() {
    let folder = tempfile::tempdir().unwrap();
    let steady = |_: u32| 9_u32;
    let trips = ["2016-02-06", "2016-02-13"].map(|date| table(folder.path(), date, steady));
    let report = replay(&options(trips.to_vec(), Grain::Square)).unwrap();
    assert!(wape(&report, 3) < 1e-9 && wape(&report, 2) < 1e-9, "{report}");
    // A level that fades has not seen quite all, and never more.
    assert!(wape(&report, 1) < 15.0, "{report}");
    assert_eq!(report.n_requests, 10 * 15 * 9);
    assert_eq!(report.n_places, 3);
}

#[test]
fn a_day_without_one_a_week_before_is_not_forecast() {
    let folder = tempfile::tempdir().unwrap();
    let monday = table(folder.path(), "2016-02-01", |_| 3);
    let saturday = table(folder.path(), "2016-02-06", |_| 3);
    let nothing = replay(&options(vec![monday.clone(), saturday], Grain::Zone));
    assert!(matches!(nothing, Err(ForecastError::NoWeek)), "{nothing:?}");
    let next = table(folder.path(), "2016-02-08", |minute| u32::from(minute < 60));
    let short = replay(&options(vec![monday, next], Grain::Zone));
    assert!(matches!(short, Err(ForecastError::TooShort)), "{short:?}");
}
