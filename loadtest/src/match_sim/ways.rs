//! How well one learns how long ways take, on real trips: what is expected of each before it is gone, and how long it took.
//!
//! No trip's duration was kept, so that it took what it takes on the road graph at that hour. Real ones scatter more.

use super::{SimError, morning::Morning};
use crate::trips::{self, Window};
use comfy_table::{CellAlignment, Table, presets};
use matching::router::{Gone, Learned, Leg, Router, Straight, Ways};
use protocol::{Timestamp, work::VehicleKind};
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How far what was expected is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Errors {
    /// How many ways are counted.
    pub n: usize,
    /// The mean, whichever way.
    pub mean_abs_s: f64,
    /// The mean, with its sign: above zero, ways took longer than expected.
    pub mean_s: f64,
    /// How many of a hundred took what the interval said that eighty would.
    pub within_percent: f64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How many ways there were; the second half of them is counted.
    pub n_ways: usize,
    /// How long one takes, on the mean.
    pub mean_s: f64,
    /// The straight line at a mean speed: what is expected before anything was learned.
    pub straight: Errors,
    /// `a + b` times the straight line, as fits all of them best: nobody knows that beforehand.
    pub fitted: Errors,
    /// What was learned from the ways before.
    pub learned: Errors,
}

/// A way, and how long it took.
#[derive(Debug, Clone, Copy)]
struct Way {
    distance_m: f64,
    took_s: f64,
}

/// Lets one who knows nothing see every trip of these mornings, in their order.
///
/// # Errors
/// If the tables cannot be read.
pub fn learn(trips: &[PathBuf], roads: &Path, window: Window) -> Result<Report, SimError> {
    let straight = Straight::default();
    let mut known: Option<Ways> = None;
    let (mut ways, mut expected) = (Vec::new(), Vec::new());
    for (day, trips) in (0..).zip(trips) {
        let morning = Morning::read(trips, roads, window, None, 1)?;
        let start_s = trips::start_of(trips, window)?;
        // Tables do not say which week: one after the other.
        let begin = Timestamp(0) + Duration::from_secs_f64(day as f64 * 86_400.0 + start_s);
        for request in &morning.requests {
            let Some(took_ms) = morning.roads.times(request.at).ms(request.from, request.to) else {
                continue;
            };
            let (from, to) = (morning.roads.point(request.from), morning.roads.point(request.to));
            let known = known.get_or_insert_with(|| Ways::new(from));
            let learned = Learned { router: &straight, ways: known };
            let leg = Leg {
                from: learned.spot(from),
                to: learned.spot(to),
                distance_m: from.distance_m(to) as f32,
                vehicle: VehicleKind::Car,
                leaving: begin + request.at.since(Timestamp(0)),
            };
            expected.push((straight.eta(&leg), learned.eta(&leg)));
            ways.push(Way { distance_m: from.distance_m(to), took_s: f64::from(took_ms) / 1e3 });
            known.learn(&Gone { leg, took_ms }, &straight);
        }
    }
    let (a, b) = fit(&ways);
    let counted = ways.len() / 2..ways.len();
    let errors = |expected_s: &dyn Fn(usize) -> (f64, [f64; 2])| {
        let mut errors = Errors { n: counted.len(), ..Errors::default() };
        let n = counted.len().max(1) as f64;
        for i in counted.clone() {
            let (expected_s, [low_s, high_s]) = expected_s(i);
            let took_s = ways[i].took_s;
            errors.mean_abs_s += (took_s - expected_s).abs() / n;
            errors.mean_s += (took_s - expected_s) / n;
            let is_within = (low_s..=high_s).contains(&took_s);
            errors.within_percent += f64::from(u8::from(is_within)) * 100.0 / n;
        }
        errors
    };
    let s = |ms: u32| f64::from(ms) / 1e3;
    Ok(Report {
        n_ways: ways.len(),
        mean_s: ways.iter().map(|it| it.took_s).sum::<f64>() / ways.len().max(1) as f64,
        straight: errors(&|i| {
            let eta = expected[i].0;
            (s(eta.ms), [s(eta.low_ms), s(eta.high_ms)])
        }),
        fitted: errors(&|i| {
            let fitted_s = a + b * ways[i].distance_m;
            (fitted_s, [fitted_s, fitted_s])
        }),
        learned: errors(&|i| {
            let eta = expected[i].1;
            (s(eta.ms), [s(eta.low_ms), s(eta.high_ms)])
        }),
    })
}

/// The line through these ways that is least off, by squares: where it begins, in seconds, and how steep it is.
fn fit(ways: &[Way]) -> (f64, f64) {
    let n = ways.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Way) -> f64| ways.iter().map(of).sum::<f64>() / n;
    let (distance_m, took_s) = (mean(&|it| it.distance_m), mean(&|it| it.took_s));
    let spread = mean(&|it| (it.distance_m - distance_m).powi(2));
    let both = mean(&|it| (it.distance_m - distance_m) * (it.took_s - took_s));
    let b = if spread > 0.0 { both / spread } else { 0.0 };
    (took_s - b * distance_m, b)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["expected by", "ways", "mean error s", "bias s", "within 80 % interval"]);
        for (name, it, has_interval) in [
            ("straight line", &self.straight, true),
            ("a + b x straight line, fitted afterwards", &self.fitted, false),
            ("what was learned before", &self.learned, true),
        ] {
            let within =
                if has_interval { format!("{:.1} %", it.within_percent) } else { String::new() };
            table.add_row([
                name.to_owned(),
                it.n.to_string(),
                format!("{:.1}", it.mean_abs_s),
                format!("{:.1}", it.mean_s),
                within,
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{} ways of {:.0} s on the mean", self.n_ways, self.mean_s)?;
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_again() {
        let line = |n: u32| Way { distance_m: f64::from(n), took_s: 40.0 + 0.25 * f64::from(n) };
        let (a, b) = fit(&(0..100).map(line).collect::<Vec<_>>());
        assert!((a - 40.0).abs() < 1e-6 && (b - 0.25).abs() < 1e-9);
        assert_eq!(fit(&[]), (0.0, 0.0));
    }
}
