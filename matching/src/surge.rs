//! How scarce drivers are, cell by cell, and the multiplier that follows from it: slowly, in whole steps, and never beyond
//! its cap.
//!
//! ```text
//!  counts ──► ratio ──► target ──► level (goes part of the way) ──► percent (moves by whole steps) ──► changes
//!                                    ▲ restore: what was written down, less the older it is
//! ```

use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// The multiplier of a cell in which drivers are not scarce, in percent.
pub const USUAL: u32 = 100;
/// The greatest multiplier that may be set or is believed, in percent.
pub const MOST: u32 = 1_000;
/// How many changes of a cell are remembered.
const CHANGES_MAX: usize = 16;
/// How long a cell is remembered in which nothing is unusual any more.
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Of how many drivers a cell without any is taken to have.
const NOBODY: f64 = 0.5;
/// As good as there, in percent.
const NEAR: f64 = 1.0;
/// For so long what was written down of a multiplier is taken as it was; while it is unusual, it is said again this often…
pub const FRESH: Duration = Duration::from_secs(20 * 60);
/// … and after so long it says nothing any more. In between it counts less and less.
pub const STALE: Duration = Duration::from_secs(60 * 60);

/// How scarcity becomes a multiplier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How often it is counted, and multipliers move, in milliseconds.
    pub every_ms: u32,
    /// How far ahead requests are expected that have not come yet, in milliseconds.
    pub ahead_ms: u32,
    /// From how many requests for each free driver on it rises, in percent.
    pub from_percent: u32,
    /// By how much it rises with each further request for a free driver, in percent.
    pub slope_percent: u32,
    /// The least multiplier there is but the usual one, in percent; 100: any.
    pub percent_min: u32,
    /// The greatest multiplier there is, in percent; 100 for none.
    pub percent_max: u32,
    /// What part of the way to where it should be it goes at once, in percent.
    pub follow_percent: u8,
    /// Most that it moves at once, in percent.
    pub step_percent_max: u32,
    /// It moves when it is off by so much, and by whole multiples of it, in percent.
    pub grain_percent: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every_ms: 60_000,
            ahead_ms: 5 * 60_000,
            from_percent: 100,
            slope_percent: 50,
            percent_min: USUAL,
            percent_max: 180,
            follow_percent: 40,
            step_percent_max: 30,
            grain_percent: 10,
        }
    }
}

impl Settings {
    /// Can a multiplier lie between its bounds?
    pub fn is_bounded(&self) -> bool {
        USUAL <= self.percent_min
            && self.percent_min <= self.percent_max
            && self.percent_max <= MOST
    }

    /// May a multiplier be this one, in percent?
    pub fn allows(&self, percent: u32) -> bool {
        percent == USUAL || (self.percent_min..=self.percent_max).contains(&percent)
    }
}

/// What is counted of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Searches that wait for a driver.
    pub n_waiting: u32,
    /// Drivers who have nothing to do.
    pub n_free: u32,
    /// How much is asked at present, in requests an hour.
    pub per_hour: f64,
    /// How much will be asked in a while, in requests an hour.
    pub per_hour_soon: f64,
}

impl Count {
    /// How many requests there are, or soon will be, for each free driver.
    pub fn ratio(&self, settings: &Settings) -> f64 {
        let ahead = f64::from(settings.ahead_ms) / 3_600_000.0;
        let wanted = f64::from(self.n_waiting) + self.per_hour_soon.max(0.0) * ahead;
        wanted / f64::from(self.n_free).max(NOBODY)
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.n_waiting += other.n_waiting;
        self.n_free += other.n_free;
        self.per_hour += other.per_hour;
        self.per_hour_soon += other.per_hour_soon;
    }
}

/// What was counted of cells, region by region.
pub type Counts<R, C> = BTreeMap<R, Arc<BTreeMap<C, Count>>>;

/// What regions that see each other have counted of the same cells, together: of those cells that `ours` is to tell of. Of a
/// cell astride several, one region tells: the one that it belongs to, or, where that does not count, the first that does.
pub fn together<R: Copy + Ord, C: Copy + Ord>(
    counts: &Counts<R, C>,
    ours: R,
    region_of: impl Fn(C) -> Option<R>,
) -> BTreeMap<C, Count> {
    let mut whole: BTreeMap<C, (R, Count)> = BTreeMap::new();
    for (region, counted) in counts {
        for (cell, count) in &**counted {
            let belongs_to = region_of(*cell).filter(|it| counts.contains_key(it));
            let (_, sum) =
                whole.entry(*cell).or_insert((belongs_to.unwrap_or(*region), Count::default()));
            *sum += *count;
        }
    }
    whole.retain(|_, (teller, _)| *teller == ours);
    whole.into_iter().map(|(cell, (_, sum))| (cell, sum)).collect()
}

/// What a multiplier follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// What was counted.
    #[default]
    Counted,
    /// What was written down before its region was matched here.
    Restored,
    /// Nobody said it again in time.
    Lapsed,
    /// Staff set it, whatever is counted. Needs format 7, in journals.
    Set,
    /// It follows what is counted again: staff say so, or the time for which they had set it is over. Needs format 7, too.
    Lifted,
}

/// A multiplier that became another one, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// What it was, in percent.
    pub from_percent: u32,
    /// What it is, in percent.
    pub to_percent: u32,
    /// How many requests there were for each free driver.
    pub ratio: f64,
    /// What was counted.
    pub count: Count,
    /// What it follows.
    #[serde(default)]
    pub cause: Cause,
}

/// What is known of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What was counted last.
    pub count: Count,
    /// How many requests that makes for each free driver.
    pub ratio: f64,
    /// The multiplier, in percent.
    pub percent: u32,
    /// Where it is before it is brought to whole steps, in percent.
    level: f64,
    /// The last ones, oldest first.
    pub changes: VecDeque<Change>,
    usual_since: Timestamp,
}

/// The multipliers of all cells.
#[derive(Debug, Clone)]
pub struct Surge<C> {
    cells: BTreeMap<C, Cell>,
}

impl<C> Default for Surge<C> {
    fn default() -> Self {
        Self { cells: BTreeMap::new() }
    }
}

impl<C: Copy + Ord> Surge<C> {
    /// Takes in what was counted, one step further; tells what changed. A cell that is not counted is empty.
    pub fn step(
        &mut self,
        counts: &BTreeMap<C, Count>,
        now: Timestamp,
        settings: &Settings,
    ) -> Vec<(C, Change)> {
        for cell in counts.keys() {
            self.cells.entry(*cell).or_insert_with(|| Cell::new(now));
        }
        let moved = self.cells.iter_mut().filter_map(|(at, cell)| {
            let count = counts.get(at).copied().unwrap_or_default();
            cell.step(count, now, settings).map(|change| (*at, change))
        });
        let changes = moved.collect();
        self.cells.retain(|at, cell| {
            counts.contains_key(at) || !cell.is_usual() || now.since(cell.usual_since) < REMEMBERED
        });
        changes
    }

    /// Takes in what was written down of a cell's multiplier so long ago: all of it while that is fresh, then less and less, and
    /// nothing once it is stale. A cell that was counted before that was known is raised to it, and never lowered.
    pub fn restore(
        &mut self,
        at: C,
        percent: u32,
        age: Duration,
        now: Timestamp,
        settings: &Settings,
    ) {
        let cell = self.cells.entry(at).or_insert_with(|| Cell::new(now));
        let above = f64::from(percent.saturating_sub(USUAL)) * left(age);
        let level = (f64::from(USUAL) + above).min(cap(settings));
        if level <= cell.level {
            return;
        }
        let from_percent = cell.percent;
        cell.level = level;
        cell.percent = grained(from_percent, level, settings);
        if cell.percent != from_percent {
            cell.note(from_percent, now, Cause::Restored);
        }
    }

    /// Is anything known of a cell?
    pub fn knows(&self, at: C) -> bool {
        self.cells.contains_key(&at)
    }

    /// Forgets all cells but these: of the others somebody else tells, who knows better.
    pub fn keep(&mut self, is_kept: impl Fn(C) -> bool) {
        self.cells.retain(|at, _| is_kept(*at));
    }

    /// What is known of each cell.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = (&C, &Cell)> {
        self.cells.iter()
    }
}

impl Cell {
    fn new(now: Timestamp) -> Self {
        Self {
            count: Count::default(),
            ratio: 0.0,
            percent: USUAL,
            level: f64::from(USUAL),
            changes: VecDeque::new(),
            usual_since: now,
        }
    }

    fn is_usual(&self) -> bool {
        self.percent == USUAL && self.level <= f64::from(USUAL)
    }

    fn step(&mut self, count: Count, now: Timestamp, settings: &Settings) -> Option<Change> {
        let was_usual = self.is_usual();
        self.count = count;
        self.ratio = count.ratio(settings);
        self.level = follow(self.level, target(self.ratio, settings), settings);
        let from_percent = self.percent;
        self.percent = grained(self.percent, self.level, settings);
        if !was_usual && self.is_usual() {
            self.usual_since = now;
        }
        (self.percent != from_percent).then(|| self.note(from_percent, now, Cause::Counted))
    }

    /// Remembers that it has become what it is.
    fn note(&mut self, from_percent: u32, now: Timestamp, cause: Cause) -> Change {
        let (to_percent, ratio, count) = (self.percent, self.ratio, self.count);
        let change = Change { at: now, from_percent, to_percent, ratio, count, cause };
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        change
    }
}

/// What part of a multiplier that was written down so long ago counts still: 1 to 0.
fn left(age: Duration) -> f64 {
    let beyond = age.saturating_sub(FRESH).as_secs_f64();
    (1.0 - beyond / (STALE - FRESH).as_secs_f64()).max(0.0)
}

/// Where a multiplier should be when there are so many requests for each free driver, in percent.
pub fn target(ratio: f64, settings: &Settings) -> f64 {
    let beyond = ratio - f64::from(settings.from_percent) / 100.0;
    let raised = f64::from(USUAL) + beyond.max(0.0) * f64::from(settings.slope_percent);
    raised.min(cap(settings))
}

/// Part of the way to where it should be, and no more than may be at once.
fn follow(level: f64, target: f64, settings: &Settings) -> f64 {
    let left = target - level;
    if left.abs() < NEAR {
        return target;
    }
    let most = f64::from(settings.step_percent_max);
    let way = left * f64::from(settings.follow_percent.min(100)) / 100.0;
    (level + way.clamp(-most, most)).clamp(f64::from(USUAL), cap(settings).max(level))
}

/// The multiplier that is told: it stays what it was until it is off by a whole step.
fn grained(percent: u32, level: f64, settings: &Settings) -> u32 {
    let grain = f64::from(settings.grain_percent.max(1));
    let cap = cap(settings);
    if (level - f64::from(percent)).abs() < grain && f64::from(percent) <= cap {
        return percent;
    }
    let steps = ((level - f64::from(USUAL)) / grain).round();
    let told = (f64::from(USUAL) + steps * grain).clamp(f64::from(USUAL), cap);
    // Below the least there is, it is not worth telling.
    if told < f64::from(settings.percent_min).min(cap) { USUAL } else { told as u32 }
}

fn cap(settings: &Settings) -> f64 {
    f64::from(settings.percent_max.max(USUAL))
}

#[cfg(test)]
mod tests;
