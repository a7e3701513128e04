//! How well it is forecast how much will be asked, on real trips: what regions say, against what was asked a week before and
//! what was just asked.
//!
//! ```text
//!  trips, day by day ──► matching::Region (its demand, its profile) ──census──► so much will be asked here
//!         └──► what was then asked · what was asked a week before · what had just been asked
//! ```
//!
//! Tables of one weekday count as one a week, whatever lies between them: a day that nobody wrote down is no day on which nobody
//! asked. The first of each weekday is only learned from.

use crate::{
    table::TableError,
    trips::{self, Mix, Window},
};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use matching::{Region, SearchCard, demand::Square};
use protocol::{Point, Timestamp};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use thiserror::Error;

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;
/// Before regions have watched a day for so long, which has no night before it here, they have not seen how much is asked.
const WARM_UP_MS: u64 = HOUR_MS;
/// What is usual of an hour is known from its middle to the next one's, so that the last half hour of a table has no end.
const HALF_HOUR_MS: u64 = HOUR_MS / 2;

/// What it is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// Zones of about five square kilometres, as multipliers are.
    Zone,
    /// Squares of half a kilometre, as hints where to wait are.
    Square,
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zone => "zone",
            Self::Square => "square",
        })
    }
}

/// What is asked of regions.
#[derive(Debug, Clone)]
pub struct Options {
    /// A table of trips for each day.
    pub trips: Vec<PathBuf>,
    /// For how long at a time it is forecast.
    pub every: Duration,
    /// How long before that begins.
    pub ahead: Duration,
    /// Counted by what.
    pub by: Grain,
}

/// Why nothing could be forecast.
#[derive(Debug, Error)]
pub enum ForecastError {
    /// Trips could not be read.
    #[error(transparent)]
    Trips(#[from] TableError),
    /// Nothing to replay.
    #[error("no trips in {0}")]
    NoTrips(PathBuf),
    /// Nothing was learned of any day that is to be forecast.
    #[error("no two tables are of one weekday: of no day is it known what was asked a week before")]
    NoWeek,
    /// A day is too short for anything to be said of it.
    #[error("none of these days is as long as two hours and what is forecast of it")]
    TooShort,
}

/// How far one way to forecast was off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Off {
    /// By what it was forecast.
    pub by: &'static str,
    /// All that it was off, whichever way, in percent of all that was asked (WAPE).
    pub wape_percent: f64,
    /// The same with its sign: above zero, more was forecast than was asked.
    pub bias_percent: f64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Counted by what.
    pub grain: Grain,
    /// For how long at a time it was forecast, in seconds.
    pub every_s: u64,
    /// How long before that began, in seconds.
    pub ahead_s: u64,
    /// The days that were forecast, as their tables are called.
    pub days: Vec<String>,
    /// How many times it was.
    pub n_moments: usize,
    /// How many places anything was asked in.
    pub n_places: usize,
    /// How many requests there were meanwhile.
    pub n_requests: usize,
    /// How far each way was off.
    pub ways: Vec<Off>,
}

/// One day as it is replayed.
struct Day {
    name: String,
    /// Midnight: one of each weekday a week.
    begin_ms: u64,
    /// From which hour to which there is anything in it, since midnight.
    hours_ms: (u64, u64),
    /// In order, since midnight.
    asked: Vec<(u64, Point)>,
}

/// How much is asked in each place.
type Counts = BTreeMap<u64, f64>;

impl Day {
    /// What was asked between two moments after midnight.
    fn between(&self, from_ms: u64, until_ms: u64, place: &dyn Fn(Point) -> u64) -> Counts {
        let first = self.asked.partition_point(|(at_ms, _)| *at_ms < from_ms);
        let last = self.asked.partition_point(|(at_ms, _)| *at_ms < until_ms);
        let mut counts = Counts::new();
        for (_, at) in &self.asked[first..last] {
            *counts.entry(place(*at)).or_default() += 1.0;
        }
        counts
    }
}

/// The ways to forecast that are compared, in this order.
const WAYS: [&str; 4] = [
    "regions: recent level, times how much more is usual then",
    "recent level alone",
    "last week's value",
    "last interval's value",
];

/// Lets regions that know nothing see every trip of these days, in their order, and asks them again and again.
///
/// # Errors
/// If the tables cannot be read, or say too little.
pub fn replay(options: &Options) -> Result<Report, ForecastError> {
    let Options { trips, every, ahead, by } = options;
    let (every_ms, ahead_ms) = (ms(*every).max(1), ms(*ahead));
    let place: &dyn Fn(Point) -> u64 = match by {
        Grain::Zone => &zone_of,
        Grain::Square => &square_of,
    };
    let days = read(trips)?;
    let has_week = |n: usize| before(&days, n).is_some();
    if !(0..days.len()).any(has_week) {
        return Err(ForecastError::NoWeek);
    }
    let mut regions: BTreeMap<h3o::CellIndex, Region> = BTreeMap::new();
    let mut sums = Sums::default();
    let mut forecast_days = Vec::new();
    let mut n_seen = 0;
    for (n, day) in days.iter().enumerate() {
        let week_before = before(&days, n);
        let (from_ms, until_ms) = day.hours_ms;
        let mut left = day.asked.as_slice();
        let mut is_forecast = false;
        for now_ms in (from_ms..until_ms).step_by(usize::try_from(every_ms).unwrap_or(usize::MAX)) {
            let n_now = left.partition_point(|(at_ms, _)| *at_ms < now_ms);
            let (past, to_come) = left.split_at(n_now);
            left = to_come;
            for (at_ms, at) in past {
                n_seen += 1;
                see(&mut regions, n_seen, Timestamp(day.begin_ms + at_ms), *at);
            }
            let (first_ms, last_ms) = (now_ms + ahead_ms, now_ms + ahead_ms + every_ms);
            let middle_ms = first_ms + every_ms / 2;
            let is_known = now_ms >= from_ms + WARM_UP_MS && middle_ms + HALF_HOUR_MS <= until_ms;
            let Some(week_before) = week_before.filter(|_| is_known && last_ms <= until_ms) else {
                continue;
            };
            is_forecast = true;
            let now = Timestamp(day.begin_ms + now_ms);
            let soon = Duration::from_millis(middle_ms - now_ms);
            let [told, level] = told(&mut regions, now, soon, *every, place);
            let asked = day.between(first_ms, last_ms, place);
            let of_week = week_before.between(first_ms, last_ms, place);
            let just = day.between(now_ms.saturating_sub(every_ms), now_ms, place);
            sums.add(&asked, [&told, &level, &of_week, &just]);
        }
        for (at_ms, at) in left {
            n_seen += 1;
            see(&mut regions, n_seen, Timestamp(day.begin_ms + at_ms), *at);
        }
        if is_forecast {
            forecast_days.push(day.name.clone());
        }
    }
    if sums.n_moments == 0 {
        return Err(ForecastError::TooShort);
    }
    Ok(sums.report(options, forecast_days))
}

/// The days of these tables: one of each weekday a week, in order.
fn read(tables: &[PathBuf]) -> Result<Vec<Day>, ForecastError> {
    let rides = Mix { deliveries: 0.0, rescues: 0.0, merchants: 0.0 };
    let mut dated = Vec::new();
    for path in tables {
        let date = trips::date_of(path)?.ok_or_else(|| ForecastError::NoTrips(path.clone()))?;
        dated.push((date, path));
    }
    dated.sort();
    let mut n_of_weekday = [0; 7];
    let mut days = Vec::new();
    for (date, path) in dated {
        let start_s = trips::start_of(path, Window::default())?;
        let trips = trips::read(path, Window::default(), rides, 1)?;
        let asked: Vec<(u64, Point)> = trips
            .iter()
            .map(|trip| (((start_s + trip.at_s) * 1_000.0) as u64, trip.from))
            .collect();
        let (Some((first_ms, _)), Some((last_ms, _))) = (asked.first(), asked.last()) else {
            return Err(ForecastError::NoTrips(path.clone()));
        };
        let hours_ms = (first_ms / HOUR_MS * HOUR_MS, (last_ms / HOUR_MS + 1) * HOUR_MS);
        let weekday = date % 7;
        let week = &mut n_of_weekday[weekday as usize];
        let begin_ms = (*week * 7 + weekday) * DAY_MS;
        *week += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        days.push(Day { name, begin_ms, hours_ms, asked });
    }
    days.sort_by_key(|day| day.begin_ms);
    Ok(days)
}

/// The day that was a week before.
fn before(days: &[Day], n: usize) -> Option<&Day> {
    days.iter().find(|day| day.begin_ms + 7 * DAY_MS == days[n].begin_ms)
}

/// Somebody asks: the region it is in takes note, as it does of every search.
fn see(regions: &mut BTreeMap<h3o::CellIndex, Region>, n: u64, now: Timestamp, at: Point) {
    let cell = cell_of(at, h3o::Resolution::Five);
    let region = regions.entry(cell).or_insert_with(|| {
        let middle = h3o::LatLng::from(cell);
        let middle = Point { lat: middle.lat(), lon: middle.lng() };
        let radius_m = cell.resolution().edge_length_m() * 1.2;
        // Since long before, so that nothing is new to it but what is asked.
        Region::new(middle, radius_m, Duration::ZERO, Timestamp(0))
    });
    let card = SearchCard::nth(n, at, now);
    let job = card.job;
    region.put_search(Arc::new(card));
    region.forget_search(job);
}

/// What regions say will be asked in so much time, that long from now, and what would be if it went on as it is.
fn told(
    regions: &mut BTreeMap<h3o::CellIndex, Region>,
    now: Timestamp,
    soon: Duration,
    lasts: Duration,
    place: &dyn Fn(Point) -> u64,
) -> [Counts; 2] {
    let hours = lasts.as_secs_f64() / 3_600.0;
    let (mut told, mut level) = (Counts::new(), Counts::new());
    for region in regions.values_mut() {
        for (place, count) in region.census(now, soon, place) {
            *told.entry(place).or_default() += count.per_hour_soon * hours;
            *level.entry(place).or_default() += count.per_hour * hours;
        }
    }
    [told, level]
}

/// What all forecasts were off, added up.
#[derive(Default)]
struct Sums {
    n_moments: usize,
    asked: f64,
    places: BTreeSet<u64>,
    /// Whichever way, and with its sign.
    off: [(f64, f64); WAYS.len()],
}

impl Sums {
    /// One moment: what was asked then, and what each way had said.
    fn add(&mut self, asked: &Counts, told: [&Counts; WAYS.len()]) {
        self.n_moments += 1;
        self.asked += asked.values().sum::<f64>();
        self.places.extend(asked.keys());
        for (off, told) in self.off.iter_mut().zip(told) {
            let places: BTreeSet<&u64> = asked.keys().chain(told.keys()).collect();
            for place in places {
                let of = |counts: &Counts| counts.get(place).copied().unwrap_or_default();
                let more = of(told) - of(asked);
                *off = (off.0 + more.abs(), off.1 + more);
            }
        }
    }

    fn report(self, options: &Options, days: Vec<String>) -> Report {
        let percent = |it: f64| 100.0 * it / self.asked.max(1.0);
        let ways = WAYS.into_iter().zip(self.off).map(|(by, (off, more))| Off {
            by,
            wape_percent: percent(off),
            bias_percent: percent(more),
        });
        Report {
            grain: options.by,
            every_s: options.every.as_secs(),
            ahead_s: options.ahead.as_secs(),
            days,
            n_moments: self.n_moments,
            n_places: self.places.len(),
            n_requests: self.asked as usize,
            ways: ways.collect(),
        }
    }
}

fn ms(it: Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
}

fn cell_of(at: Point, resolution: h3o::Resolution) -> h3o::CellIndex {
    h3o::LatLng::new(at.lat, at.lon).expect("a Point is finite").to_cell(resolution)
}

/// The zone that a node counts by.
fn zone_of(at: Point) -> u64 {
    cell_of(at, h3o::Resolution::Seven).into()
}

fn square_of(at: Point) -> u64 {
    let Square { row, column } = Square::at(at);
    u64::from(row.cast_unsigned()) << 32 | u64::from(column.cast_unsigned())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["forecast by", "WAPE", "bias"]);
        for it in &self.ways {
            table.add_row([
                it.by.to_owned(),
                format!("{:.1} %", it.wape_percent),
                format!("{:+.1} %", it.bias_percent),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(
            f,
            "{} requests in {} places (by {}), {} times {} s, each {} s before it began, on {}",
            self.n_requests,
            self.n_places,
            self.grain,
            self.n_moments,
            self.every_s,
            self.ahead_s,
            self.days.join(", ")
        )?;
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests;
