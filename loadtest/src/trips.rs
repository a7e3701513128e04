//! Who wants to go where, and when: from a table of real trips, or invented around a city's places.

use crate::{
    city::{City, Day},
    table::{self, Table, TableError},
};
use protocol::{
    Point,
    work::{Issue, OrderKind},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer};
use std::{fmt, path::Path, str::FromStr};
use thiserror::Error;

/// Shorter than this nobody rides, in metres.
const TRIP_M_MIN: f64 = 400.0;

/// Farther than this hardly anybody rides, in metres.
const TRIP_M_MAX: f64 = 5_000.0;

/// One wish.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trip {
    /// City seconds after the start.
    pub at_s: f64,
    /// What is wanted.
    pub want: Want,
    /// Where.
    pub from: Point,
    /// To where; for a rescue, where the vehicle would be taken.
    pub to: Point,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Something moved: a ride or a delivery.
    Order(OrderKind),
    /// Help.
    Rescue(Issue),
}

/// Of all trips, how many are what; the rest are rides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Share of deliveries, 0 to 1.
    pub deliveries: f64,
    /// Share of rescues, 0 to 1.
    pub rescues: f64,
    /// Share of baskets that a shop prepares, 0 to 1.
    pub merchants: f64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { deliveries: 0.25, rescues: 0.05, merchants: 0.0 }
    }
}

/// A time of day, in seconds since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub u32);

/// Text that is no time of day.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a time of day such as 08:30 or 08:30:15")]
pub struct NoTimeOfDay(String);

impl FromStr for TimeOfDay {
    type Err = NoTimeOfDay;

    fn from_str(text: &str) -> Result<Self, NoTimeOfDay> {
        let wrong = || NoTimeOfDay(text.to_owned());
        let mut parts = text.split(':');
        let mut next = |limit: u32| match parts.next() {
            None => Ok(None),
            Some(part) => match part.parse::<u32>() {
                Ok(n) if n < limit => Ok(Some(n)),
                Ok(_) | Err(_) => Err(wrong()),
            },
        };
        let (hour, minute, second) = (next(25)?, next(60)?, next(60)?);
        match (hour, minute, parts.next()) {
            (Some(hour), Some(minute), None) => {
                Ok(Self(hour * 3_600 + minute * 60 + second.unwrap_or(0)))
            }
            (Some(_) | None, Some(_) | None, Some(_) | None) => Err(wrong()),
        }
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.0 / 3_600, self.0 / 60 % 60, self.0 % 60)
    }
}

/// Which part of a table to use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Not before; the clock of the crowd starts here.
    pub from: Option<TimeOfDay>,
    /// Before this.
    pub until: Option<TimeOfDay>,
    /// This share of the trips, 0 to 1.
    pub sample: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: None, until: None, sample: 1.0 }
    }
}

/// Reads a table of taxi trips; turns some into deliveries and adds rescues by `mix`.
///
/// The earliest trip of the window, or the window's start, is second 0.
pub fn read(path: &Path, window: Window, mix: Mix, seed: u64) -> Result<Vec<Trip>, TableError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7219_5000);
    let columns = ["pickup_time", "pickup_lat", "pickup_lon", "dropoff_lat", "dropoff_lon"];
    let mut trips = Vec::new();
    for row in Table::open(path)?.rows(columns)? {
        let [time, from_lat, from_lon, to_lat, to_lon] = row?;
        let at = time_of_day(&time)?;
        let is_inside = window.from.is_none_or(|from| at >= from)
            && window.until.is_none_or(|until| at < until);
        if !is_inside || !rng.random_bool(window.sample.clamp(0.0, 1.0)) {
            continue;
        }
        let from = table::point(&from_lat, &from_lon)?;
        let to = table::point(&to_lat, &to_lon)?;
        let dice = rng.random::<f64>();
        let kind = match dice - mix.deliveries {
            delivery if delivery < 0.0 => OrderKind::Delivery,
            basket if basket < mix.merchants => OrderKind::Commerce,
            _ => OrderKind::Ride,
        };
        let want = Want::Order(kind);
        trips.push(Trip { at_s: f64::from(at.0), want, from, to });
        // Rescues come on top: a taxi trip is never one.
        if rng.random_bool(mix.rescues.clamp(0.0, 1.0)) {
            trips.push(Trip {
                at_s: f64::from(at.0) + rng.random_range(0.0..30.0),
                want: Want::Rescue(issue(&mut rng)),
                from: to,
                to: from,
            });
        }
    }
    trips.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let start_s = window
        .from
        .map(|from| f64::from(from.0))
        .or_else(|| trips.first().map(|trip| trip.at_s))
        .unwrap_or(0.0);
    for trip in &mut trips {
        trip.at_s -= start_s;
    }
    Ok(trips)
}

/// The clock's part of "2016-02-01 08:00:00".
fn time_of_day(time: &str) -> Result<TimeOfDay, TableError> {
    let clock = time.rsplit([' ', 'T']).next();
    clock
        .and_then(|clock| clock.parse().ok())
        .ok_or_else(|| TableError::Value { text: time.to_owned(), wanted: "a time" })
}

/// The second of the day that is second 0 of the trips that [`read`] gives.
pub fn start_of(path: &Path, window: Window) -> Result<f64, TableError> {
    if let Some(from) = window.from {
        return Ok(f64::from(from.0));
    }
    let mut first = None;
    for row in Table::open(path)?.rows(["pickup_time"])? {
        let [time] = row?;
        let at = time_of_day(&time)?;
        first = Some(first.map_or(at, |first: TimeOfDay| first.min(at)));
    }
    Ok(first.map_or(0.0, |first| f64::from(first.0)))
}

/// The kind of day that a table of trips begins on.
pub fn day_of(path: &Path) -> Result<Day, TableError> {
    // The first of 1970 was a Thursday.
    Ok(match date_of(path)?.map(|days| (days + 4) % 7) {
        None => Day::default(),
        Some(0) => Day::Sunday,
        Some(6) => Day::Saturday,
        Some(_) => Day::Weekday,
    })
}

/// The day that a table of trips begins on, counted from the first of 1970; none if there is nothing in it.
pub fn date_of(path: &Path) -> Result<Option<u64>, TableError> {
    let Some(row) = Table::open(path)?.rows(["pickup_time"])?.next() else { return Ok(None) };
    let [time] = row?;
    let wrong = || TableError::Value { text: time.clone(), wanted: "a day and a time" };
    let numbers: Vec<u64> =
        time.split(['-', ' ', 'T']).take(3).filter_map(|it| it.parse().ok()).collect();
    let [year @ 1970..=9999, month @ 1..=12, day @ 1..=31] = numbers[..] else {
        return Err(wrong());
    };
    // Counted from March on, the day that a year may have more is its last.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let of_years = 365 * year + year / 4 - year / 100 + year / 400;
    // So many lie between March of the year 0 and 1970.
    Ok(Some(of_years + of_year - 719_468))
}

/// Invents trips for `lasting_s` city seconds: so many an hour, from place to place, in waves.
pub fn invent(city: &City, per_hour: f64, lasting_s: f64, mix: Mix, seed: u64) -> Vec<Trip> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x1237_e000);
    let mut trips = Vec::new();
    let mut at_s = 0.0;
    if per_hour <= 0.0 {
        return trips;
    }
    loop {
        // Arrivals of a Poisson process whose rate breathes by a quarter every 40 minutes.
        let wave = 1.0 + 0.25 * (at_s / 2_400.0 * std::f64::consts::TAU).sin();
        at_s += -(1.0 - rng.random::<f64>()).ln() * 3_600.0 / (per_hour * wave);
        if at_s >= lasting_s {
            break;
        }
        trips.push(invented(city, at_s, mix, &mut rng));
    }
    trips
}

/// Invents a trip for each of these city seconds.
pub fn invent_at(city: &City, seconds: &[f64], mix: Mix, seed: u64) -> Vec<Trip> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x1237_e001);
    seconds.iter().map(|&at_s| invented(city, at_s, mix, &mut rng)).collect()
}

fn invented(city: &City, at_s: f64, mix: Mix, rng: &mut impl Rng) -> Trip {
    let from = somewhere(city, rng);
    let reach_m = TRIP_M_MAX * rng.random_range(0.35..1.0);
    let to = (0..12)
        .map(|_| somewhere(city, rng))
        .find(|to| (TRIP_M_MIN..reach_m).contains(&from.distance_m(*to)))
        .unwrap_or_else(|| from.towards(city.center, 0.5).offset_m(500.0, 300.0));
    let dice = rng.random::<f64>();
    let want = if dice < mix.rescues {
        Want::Rescue(issue(rng))
    } else if dice < mix.rescues + mix.deliveries {
        Want::Order(OrderKind::Delivery)
    } else if dice < mix.rescues + mix.deliveries + mix.merchants {
        Want::Order(OrderKind::Commerce)
    } else {
        Want::Order(OrderKind::Ride)
    };
    Trip { at_s, want, from, to }
}

/// A door in the city: near a crossing, near one of its places, more often near the busy ones.
pub(crate) fn somewhere(city: &City, rng: &mut impl Rng) -> Point {
    let around = city.places.choose_weighted(rng, |place| place.weight).ok();
    let (middle, spread_m) = match around {
        Some(place) => (place.at, 900.0),
        None => (city.center, 2_000.0),
    };
    // The sum of three dice is near enough to a bell.
    let mut bell = || (0..3).map(|_| rng.random_range(-1.0..1.0)).sum::<f64>() * spread_m;
    let at = middle.offset_m(bell(), bell());
    let at = Point {
        lat: at.lat.clamp(city.south_west.lat, city.north_east.lat),
        lon: at.lon.clamp(city.south_west.lon, city.north_east.lon),
    };
    let corner = city.nearest(at).and_then(|(node, _)| city.node(node as usize)).unwrap_or(at);
    corner.offset_m(rng.random_range(-25.0..25.0), rng.random_range(-25.0..25.0))
}

fn issue(rng: &mut impl Rng) -> Issue {
    const ISSUES: [(Issue, u32); 7] = [
        (Issue::FlatTyre, 30),
        (Issue::BatteryDead, 25),
        (Issue::OutOfFuel, 15),
        (Issue::Mechanical, 12),
        (Issue::LockedOut, 8),
        (Issue::Stuck, 6),
        (Issue::Accident, 4),
    ];
    ISSUES.choose_weighted(rng, |(_, weight)| *weight).map_or(Issue::FlatTyre, |(issue, _)| *issue)
}

#[cfg(test)]
mod tests;
