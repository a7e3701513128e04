//! What was measured, for people and programs.

use super::{
    figures::{Spread, quantile},
    offers::Taken,
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, fs, thread};

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    /// Who was compared, as built or installed.
    pub(super) versions: BTreeMap<String, String>,
    /// What a position costs whom.
    pub(super) positions: Vec<Costs>,
    /// How long orders take with whom.
    pub(super) offers: BTreeMap<String, Trips>,
    /// What moving and searching cost.
    pub(super) near: Option<Near>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cores: usize,
    processor: String,
    /// Of the last minute, before and after.
    load_before: f64,
    load_after: f64,
}

/// What positions cost, at one rate.
#[derive(Debug, Serialize)]
pub(super) struct Costs {
    pub(super) drivers: u32,
    /// Of all drivers together.
    pub(super) per_s: u32,
    /// How many come in one breath.
    pub(super) burst: u32,
    /// Microseconds of processor time per position, by whom.
    pub(super) us: BTreeMap<String, Spread>,
    /// Medians over rounds of ratios within one round. Target: at most 1.5.
    pub(super) to_bare_echo: f64,
    /// The same to one that does not answer.
    pub(super) to_bare_reader: f64,
    /// Socket.IO and Redis to ours. Target: at least 5.
    pub(super) usual_to_ours: f64,
}

/// How long orders took, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Trips {
    orders: usize,
    lost: u32,
    offer_p50_ms: f64,
    offer_p99_ms: f64,
    assign_p50_ms: f64,
    assign_p99_ms: f64,
    whole_p50_ms: f64,
    whole_p99_ms: f64,
}

/// What moving a driver and finding the ten nearest costs.
#[derive(Debug, Serialize)]
pub(super) struct Near {
    /// How far Redis looks.
    pub(super) radius_m: u32,
    /// Or so far that it may expect so many.
    pub(super) n_expected: f64,
    pub(super) sizes: Vec<NearAt>,
}

/// Among so many, in microseconds of processor time.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct NearAt {
    pub(super) n_drivers: u32,
    pub(super) move_us: f64,
    pub(super) geoadd_us: f64,
    pub(super) ten_nearest_us: f64,
    pub(super) geosearch_us: f64,
    pub(super) geosearch_fitting_us: f64,
}

impl Report {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            machine,
            versions: BTreeMap::new(),
            positions: Vec::new(),
            offers: BTreeMap::new(),
            near: None,
        }
    }

    /// Nothing more is measured.
    pub(super) fn settle(&mut self) {
        self.machine.load_after = load();
    }
}

impl Machine {
    pub(super) fn look() -> Self {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("model name"));
        let processor = model.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned();
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let load_before = load();
        Self { cores, processor, load_before, load_after: load_before }
    }
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or_default()
}

impl Trips {
    pub(super) fn of(taken: &Taken) -> Self {
        let p = |all: &[f64], share| quantile(all.to_vec(), share);
        Self {
            orders: taken.offer_ms.len(),
            lost: taken.n_lost,
            offer_p50_ms: p(&taken.offer_ms, 0.5),
            offer_p99_ms: p(&taken.offer_ms, 0.99),
            assign_p50_ms: p(&taken.assign_ms, 0.5),
            assign_p99_ms: p(&taken.assign_ms, 0.99),
            whole_p50_ms: p(&taken.whole_ms, 0.5),
            whole_p99_ms: p(&taken.whole_ms, 0.99),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, processor, load_before, load_after } = &self.machine;
        writeln!(
            f,
            "{cores} cores ({processor}), load {load_before} before and {load_after} after"
        )?;
        let versions: Vec<_> =
            self.versions.iter().map(|(name, it)| format!("{name} {it}")).collect();
        writeln!(f, "{}", versions.join(", "))?;
        for costs in &self.positions {
            write!(f, "\n{costs}")?;
        }
        if !self.offers.is_empty() {
            writeln!(f, "\norders while positions flow, p50 / p99 in ms")?;
            writeln!(
                f,
                "  {:<24} {:>7} {:>5} {:>20} {:>20} {:>20}",
                "", "orders", "lost", "order to offer", "yes to assigned", "both"
            )?;
        }
        for (name, it) in &self.offers {
            let pair = |p50: f64, p99: f64| format!("{p50:.1} / {p99:.1}");
            writeln!(
                f,
                "  {name:<24} {:>7} {:>5} {:>20} {:>20} {:>20}",
                it.orders,
                it.lost,
                pair(it.offer_p50_ms, it.offer_p99_ms),
                pair(it.assign_p50_ms, it.assign_p99_ms),
                pair(it.whole_p50_ms, it.whole_p99_ms),
            )?;
        }
        if let Some(near) = &self.near {
            write!(f, "\n{near}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drivers, per_s, burst, .. } = self;
        writeln!(f, "{per_s} positions/s from {drivers} sockets, {burst} in one breath")?;
        writeln!(
            f,
            "  {:<24} {:>12} {:>18} {:>16}",
            "", "CPU us each", "least to most", "per core-second"
        )?;
        for (name, us) in &self.us {
            let range = format!("{:.2} - {:.2}", us.least, us.most);
            let per_core_s = 1e6 / us.median;
            writeln!(f, "  {name:<24} {:>12.2} {range:>18} {per_core_s:>16.0}", us.median)?;
        }
        let Self { to_bare_echo, to_bare_reader, usual_to_ours, .. } = self;
        writeln!(
            f,
            "  outrider: {to_bare_echo:.2} x a bare echo (target 1.5), {to_bare_reader:.2} x a bare reader; \
             the usual stack: {usual_to_ours:.1} x outrider (target 5)"
        )
    }
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { radius_m, n_expected, sizes } = self;
        writeln!(
            f,
            "CPU us each: a driver moves 20 m; the ten nearest (Redis: within {radius_m} m, or as near as {n_expected} are expected)"
        )?;
        writeln!(
            f,
            "  {:>9} {:>9} {:>9} {:>7} {:>12} {:>11} {:>9} {:>13} {:>7}",
            "drivers", "grid", "GEOADD", "x", "ten nearest", "GEOSEARCH", "x", "fitting", "x"
        )?;
        for it in sizes {
            writeln!(
                f,
                "  {:>9} {:>9.3} {:>9.2} {:>7.0} {:>12.2} {:>11.0} {:>9.0} {:>13.1} {:>7.0}",
                it.n_drivers,
                it.move_us,
                it.geoadd_us,
                it.geoadd_us / it.move_us,
                it.ten_nearest_us,
                it.geosearch_us,
                it.geosearch_us / it.ten_nearest_us,
                it.geosearch_fitting_us,
                it.geosearch_fitting_us / it.ten_nearest_us,
            )?;
        }
        Ok(())
    }
}
