//! Two runs beside each other: what got worse, what got better, and what is only noise.
//!
//! How far a figure scatters by itself is asked of the runs: their seconds are drawn again, with repetition and in blocks
//! (a slow second is seldom alone), and the figure is computed anew, some hundred times. A difference counts if it is more
//! than a twentieth, and zero lies outside of 95 of a hundred such differences. Two runs of one build that do differ (the
//! machine did something else) are not told apart from two builds: run each more than once.
//!
//! What is weighed at the end has no seconds to be drawn from; of that, a tenth counts.
//!
//! A part of a run ([`Between`]) is compared by its slots alone, so to their three per cent, and without what only the whole
//! can tell: what became of jobs, and promises.

use crate::{
    measure::{Commands, Op, Slot, Took},
    record::{Record, Watched},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};
use thiserror::Error;

/// How often the seconds are drawn again.
const N_DRAWS: usize = 400;
/// Seconds of a block.
const BLOCK_S: u64 = 8;
/// Smaller differences are nobody's concern: a twentieth.
const LEAST: f64 = 0.05;
/// Fewer of something than this say nothing of its p99.
const N_LEAST: u64 = 200;
/// Of what was weighed once, smaller differences are nobody's concern.
const LEAST_WEIGHED: f64 = 0.1;

/// A part of a run: `1h..2h`, counted from when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// From then on …
    pub from: Duration,
    /// … to then.
    pub until: Duration,
}

/// Text that is no part of a run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no part of a run such as 1h..2h or 5m..20m")]
pub struct NoBetween(String);

impl FromStr for Between {
    type Err = NoBetween;

    fn from_str(text: &str) -> Result<Self, NoBetween> {
        let wrong = || NoBetween(text.to_owned());
        let (from, until) = text.split_once("..").ok_or_else(wrong)?;
        let moment = |it: &str| humantime::parse_duration(it.trim()).map_err(|_| wrong());
        let (from, until) = (moment(from)?, moment(until)?);
        if from < until { Ok(Self { from, until }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, until] = [self.from, self.until].map(humantime::format_duration);
        write!(f, "{from}..{until}")
    }
}

/// A part of a run in which nothing counted.
#[derive(Debug, Clone, PartialEq, Error)]
#[error(
    "nothing of {scenario} counted in {between}: what did was from second {from_s:.0} to second {until_s:.0}"
)]
pub struct NoPart {
    scenario: String,
    between: Between,
    from_s: f64,
    until_s: f64,
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It got worse, beyond noise.
    Worse,
    /// It got better, beyond noise.
    Better,
    /// The difference is within noise, or too small to care.
    Same,
    /// There is too little of it to tell.
    Unknown,
}

/// One figure of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Which.
    pub name: String,
    /// In the first run.
    pub before: f64,
    /// In the second.
    pub after: f64,
    /// By how much it changed, as a share of what it was; none where that was nothing.
    pub change: Option<f64>,
    /// Between these shares it would change 95 times of a hundred, by what the runs scatter themselves.
    pub likely: Option<[f64; 2]>,
    /// What that comes to.
    pub verdict: Change,
}

/// Two runs beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What was played first.
    pub before: String,
    /// What was played then.
    pub after: String,
    /// Why they can hardly be compared, if so.
    pub unlike: Vec<String>,
    /// Figure by figure.
    pub figures: Vec<Figure>,
}

impl Comparison {
    /// What the process should exit with: 2 if anything got worse.
    pub fn exit_code(&self) -> u8 {
        let is_worse = self.figures.iter().any(|it| it.verdict == Change::Worse);
        if is_worse { 2 } else { 0 }
    }
}

/// Compares two runs.
pub fn compare(before: &Record, after: &Record) -> Comparison {
    let mut figures = figures(before, after, "errors");
    figures.extend(of_the_whole(before, after));
    Comparison {
        before: label(before),
        after: label(after),
        unlike: unlike(before, after),
        figures,
    }
}

/// Compares a part of a run with a part of another, or of the same.
///
/// # Errors
/// If nothing counted in one of them.
pub fn compare_parts(
    (before, earlier): (&Record, Between),
    (after, later): (&Record, Between),
) -> Result<Comparison, NoPart> {
    let parts = [part(before, earlier)?, part(after, later)?];
    Ok(Comparison {
        before: format!("{}, {earlier}", label(before)),
        after: format!("{}, {later}", label(after)),
        unlike: unlike(before, after),
        figures: figures(&parts[0], &parts[1], "errors, of what was answered"),
    })
}

/// A part of a run as one of its own, from its slots: what only the whole can tell is as if it had not been.
fn part(run: &Record, between: Between) -> Result<Record, NoPart> {
    let from_s = run.counted_from_s.max(between.from.as_secs_f64());
    let until_s = run.counted_until_s.min(between.until.as_secs_f64());
    let empty = NoPart {
        scenario: run.scenario.clone(),
        between,
        from_s: run.counted_from_s,
        until_s: run.counted_until_s,
    };
    let narrow = Record { counted_from_s: from_s, counted_until_s: until_s, ..run.clone() };
    let slots: Vec<&Slot> = Seconds::of(&narrow).blocks.into_iter().flatten().collect();
    let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return Err(empty) };
    if from_s >= until_s {
        return Err(empty);
    }
    let mut took = BTreeMap::<Op, Took>::new();
    for (op, counts) in slots.iter().flat_map(|slot| &slot.took) {
        took.entry(*op).or_default().corrected.add(counts);
    }
    let sum = |of: fn(&Slot) -> u64| slots.iter().map(|slot| of(slot)).sum::<u64>();
    let (done, refused, failed) =
        (sum(|slot| slot.done), sum(|slot| slot.refused), sum(|slot| slot.failed));
    // What was said before and answered in it, and the other way round, makes up for each other. When something was said that
    // was never answered, no slot knows.
    let commands = Commands {
        wanted: done + refused,
        done,
        refused: [("refused".to_owned(), refused)].into(),
        failed,
        ..Commands::default()
    };
    let cores = slots.iter().map(|slot| slot.watched_cores).sum::<f64>() / slots.len() as f64;
    let watched = run.watched.map(|it| Watched {
        n: it.n,
        cores,
        bytes_before: first.watched_bytes,
        bytes_after: last.watched_bytes,
        bytes_max: slots.iter().map(|slot| slot.watched_bytes).max().unwrap_or_default(),
    });
    Ok(Record { commands, took, watched, sessions: None, ..narrow })
}

/// What a run and a part of one can tell; `errors`: what to call the share of commands that failed, or were never answered as
/// far as that is known.
fn figures(before: &Record, after: &Record, errors: &str) -> Vec<Figure> {
    let mut figures = Vec::new();
    let (one, other) = (Seconds::of(before), Seconds::of(after));
    // Also what was not done any more then.
    for op in before.took.keys() {
        for (name, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            figures.push(time(*op, name, quantile, (before, &one), (after, &other)));
        }
    }
    figures.push(rate(&one, &other, [before.done_per_s(), after.done_per_s()]));
    figures.push(share(
        errors,
        [before, after]
            .map(|run| (run.commands.failed + run.commands.unanswered(), run.commands.wanted)),
    ));
    if let (Some(ours), Some(theirs)) = (before.watched, after.watched) {
        let values = [ours.cores, theirs.cores];
        let likely = likely([&one, &other], |slots| {
            let n = slots.len().max(1) as f64;
            Some(slots.into_iter().map(|slot| slot.watched_cores).sum::<f64>() / n)
        });
        figures.push(judged("watched: processors".to_owned(), values, likely, true));
        let mb = |bytes: [u64; 2]| bytes.map(|it| it as f64 / 1e6);
        let [most, last] =
            [[ours.bytes_max, theirs.bytes_max], [ours.bytes_after, theirs.bytes_after]].map(mb);
        figures.push(weighed("watched: most memory, MB", most));
        figures.push(weighed("watched: memory at last, MB", last));
    }
    figures
}

/// What only a whole run can tell.
fn of_the_whole(before: &Record, after: &Record) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let (Some(ours), Some(theirs)) = (before.sessions, after.sessions) {
        let both = [ours, theirs];
        let gone = both.map(|it| (it.wanted.saturating_sub(it.held), it.wanted));
        figures.push(share("sessions not held", gone));
        figures
            .push(share("sessions that died", both.map(|it| (it.died.min(it.wanted), it.wanted))));
        if both.iter().all(|it| it.node_bytes > 0) {
            figures.push(weighed("bytes of a session", both.map(|it| it.node_bytes as f64)));
        }
    }
    let unfinished = |run: &Record| {
        let all = run.jobs.all();
        (all.created - (all.completed + all.cancelled_by_rider).min(all.created), all.created)
    };
    figures.push(share("jobs that did not end well", [unfinished(before), unfinished(after)]));
    // Of these, none may be: one more is worse, and no noise.
    let broken = |run: &Record| run.violations + run.audit.missing;
    figures.push(count("promises broken", [broken(before), broken(after)]));
    figures
}

fn label(run: &Record) -> String {
    format!(
        "{} (seed {}, {:.0} s, {} started)",
        run.scenario, run.seed, run.lasted_s, run.schedule.started
    )
}

/// What was not the same, although it should have been.
fn unlike(before: &Record, after: &Record) -> Vec<String> {
    let mut unlike = Vec::new();
    let mut say = |what: &str, a: String, b: String| {
        if a != b {
            unlike.push(format!("{what}: {a}, then {b}"));
        }
    };
    say("scenario", before.scenario.clone(), after.scenario.clone());
    say("set", before.set.join(", "), after.set.join(", "));
    say("seed", before.seed.to_string(), after.seed.to_string());
    say("speed", before.speed.to_string(), after.speed.to_string());
    say("planned", before.schedule.planned.to_string(), after.schedule.planned.to_string());
    say("generators", before.generators.to_string(), after.generators.to_string());
    say("processors", before.machine.cores.to_string(), after.machine.cores.to_string());
    say("processor", before.machine.model.clone(), after.machine.model.clone());
    for (which, run) in [("first", before), ("second", after)] {
        if run.is_interrupted {
            unlike.push(format!("the {which} run was interrupted"));
        }
        let why = run.generator.saturated.iter();
        unlike.extend(why.map(|why| format!("the {which} run's generator was saturated: {why}")));
    }
    unlike
}

/// What each counted slot of a run holds: blocks of slots, to be drawn from.
struct Seconds<'a> {
    blocks: Vec<&'a [Slot]>,
    width_s: u64,
}

impl<'a> Seconds<'a> {
    fn of(run: &'a Record) -> Self {
        let line = &run.timeline;
        let (from, until) = (run.counted_from_s as u64, run.counted_until_s.ceil() as u64);
        let n = line.slots.len();
        let first = from.div_ceil(line.width_s).min(n as u64) as usize;
        let last = (until.div_ceil(line.width_s) as usize).clamp(first, n);
        let per_block = (BLOCK_S / line.width_s).max(1) as usize;
        Self { blocks: line.slots[first..last].chunks(per_block).collect(), width_s: line.width_s }
    }

    /// Draws as many blocks as there are, with repetition.
    fn draw(&self, rng: &mut impl Rng) -> impl Iterator<Item = &'a Slot> {
        let n = self.blocks.len();
        let drawn: Vec<&'a [Slot]> = (0..n).map(|_| self.blocks[rng.random_range(0..n)]).collect();
        drawn.into_iter().flatten()
    }
}

/// The quantile of what slots counted of one thing.
fn quantile<'a>(slots: impl Iterator<Item = &'a Slot>, op: Op, quantile: f64) -> Option<f64> {
    let mut all = BTreeMap::<u64, u64>::new();
    for (us, n) in slots.filter_map(|slot| slot.took.get(&op)).flatten() {
        *all.entry(*us).or_default() += n;
    }
    let wanted = ((all.values().sum::<u64>() as f64 * quantile).ceil() as u64).max(1);
    let mut below = 0;
    let found = all.iter().find(|(_, n)| {
        below += **n;
        below >= wanted
    });
    found.map(|(us, _)| *us as f64)
}

fn time(
    op: Op,
    name: &str,
    which: f64,
    (before, one): (&Record, &Seconds<'_>),
    (after, other): (&Record, &Seconds<'_>),
) -> Figure {
    let at = |run: &Record| run.took.get(&op).map_or(0.0, |took| took.corrected.at(which));
    let n = |run: &Record| run.took.get(&op).map_or(0, |took| took.corrected.n());
    // The rarer a quantile, the more it takes to know it.
    let least = (N_LEAST as f64 / 100.0 / (1.0 - which)).ceil().max(30.0) as u64;
    let name = format!("{op}.{name}");
    let values = [at(before), at(after)];
    if n(after) == 0 {
        // Nothing took no time.
        return Figure { change: None, ..unknown(name, values) };
    }
    if n(before) < least || n(after) < least {
        return unknown(name, values);
    }
    let likely = likely([one, other], |slots| quantile(slots.into_iter(), op, which));
    judged(name, values, likely, true)
}

fn rate(one: &Seconds<'_>, other: &Seconds<'_>, values: [f64; 2]) -> Figure {
    let name = "done_per_s".to_owned();
    let likely = likely([one, other], |slots| {
        let n = slots.len().max(1) as f64;
        Some(slots.into_iter().map(|slot| slot.done as f64).sum::<f64>() / n)
    });
    // A slot of a run that is longer has more seconds.
    let scale = one.width_s as f64 / other.width_s.max(1) as f64;
    let likely = likely.map(|[low, high]| [(low + 1.0) * scale - 1.0, (high + 1.0) * scale - 1.0]);
    judged(name, values, likely, false)
}

/// Between which shares a figure would change, 95 times of a hundred; none, if there is nothing to draw from.
fn likely(runs: [&Seconds<'_>; 2], figure: impl Fn(Vec<&Slot>) -> Option<f64>) -> Option<[f64; 2]> {
    if runs.iter().any(|run| run.blocks.len() < 4) {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0xc0_4a7e);
    let mut changes = Vec::with_capacity(N_DRAWS);
    for _ in 0..N_DRAWS {
        let [before, after] = runs.map(|run| figure(run.draw(&mut rng).collect()));
        if let (Some(before), Some(after)) = (before, after)
            && before > 0.0
        {
            changes.push(after / before - 1.0);
        }
    }
    if changes.len() < N_DRAWS / 2 {
        return None;
    }
    changes.sort_by(f64::total_cmp);
    let at = |share: f64| changes[((changes.len() - 1) as f64 * share).round() as usize];
    Some([at(0.025), at(0.975)])
}

fn judged(
    name: String,
    [before, after]: [f64; 2],
    likely: Option<[f64; 2]>,
    less_is_better: bool,
) -> Figure {
    let change = (before > 0.0).then(|| after / before - 1.0);
    let verdict = match (change, likely) {
        (Some(change), Some([low, high])) => {
            let is_more = change > LEAST && low > 0.0;
            let is_less = change < -LEAST && high < 0.0;
            match (is_more, is_less, less_is_better) {
                (true, _, true) | (_, true, false) => Change::Worse,
                (true, _, false) | (_, true, true) => Change::Better,
                (false, false, _) => Change::Same,
            }
        }
        (None | Some(_), None | Some(_)) => Change::Unknown,
    };
    Figure { name, before, after, change, likely, verdict }
}

fn unknown(name: String, [before, after]: [f64; 2]) -> Figure {
    let change = (before > 0.0).then(|| after / before - 1.0);
    Figure { name, before, after, change, likely: None, verdict: Change::Unknown }
}

/// Two shares of so many: whether they differ by more than three standard deviations, and by more than a twentieth.
fn share(name: &str, [(a, of_a), (b, of_b)]: [(u64, u64); 2]) -> Figure {
    let name = name.to_owned();
    let part = |n: u64, of: u64| if of == 0 { 0.0 } else { n as f64 / of as f64 };
    let (before, after) = (part(a, of_a), part(b, of_b));
    if of_a == 0 || of_b == 0 {
        return unknown(name, [before, after]);
    }
    let all = part(a + b, of_a + of_b);
    let spread = (all * (1.0 - all) * (1.0 / of_a as f64 + 1.0 / of_b as f64)).sqrt();
    let is_far = (after - before).abs() > 3.0 * spread && (after - before).abs() > LEAST * before;
    let verdict = match (is_far, after > before) {
        (false, _) => Change::Same,
        (true, true) => Change::Worse,
        (true, false) => Change::Better,
    };
    let change = (before > 0.0).then(|| after / before - 1.0);
    Figure { name, before, after, change, likely: None, verdict }
}

/// What was weighed once in each run, and the less the better.
fn weighed(name: &str, [before, after]: [f64; 2]) -> Figure {
    let change = (before > 0.0).then(|| after / before - 1.0);
    let verdict = match change {
        Some(change) if change > LEAST_WEIGHED => Change::Worse,
        Some(change) if change < -LEAST_WEIGHED => Change::Better,
        Some(_) => Change::Same,
        None => Change::Unknown,
    };
    Figure { name: name.to_owned(), before, after, change, likely: None, verdict }
}

fn count(name: &str, [before, after]: [u64; 2]) -> Figure {
    let verdict = match after.cmp(&before) {
        std::cmp::Ordering::Greater => Change::Worse,
        std::cmp::Ordering::Less => Change::Better,
        std::cmp::Ordering::Equal => Change::Same,
    };
    let (before, after) = (before as f64, after as f64);
    let change = (before > 0.0).then(|| after / before - 1.0);
    Figure { name: name.to_owned(), before, after, change, likely: None, verdict }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "before: {}\nafter:  {}", self.before, self.after)?;
        for unlike in &self.unlike {
            writeln!(f, "UNLIKE  {unlike}")?;
        }
        writeln!(
            f,
            "\n{:<28} {:>12} {:>12} {:>9}   {:<18} ",
            "", "before", "after", "change", "within noise"
        )?;
        for it in &self.figures {
            let percent = |share: f64| format!("{:+.1} %", share * 100.0);
            let change = it.change.map_or_else(|| "–".to_owned(), percent);
            let likely = it.likely.map_or_else(String::new, |[low, high]| {
                format!("{} to {}", percent(low), percent(high))
            });
            let verdict = match it.verdict {
                Change::Worse => "WORSE",
                Change::Better => "better",
                Change::Same => "",
                Change::Unknown => "too little to tell",
            };
            writeln!(
                f,
                "{:<28} {:>12.4} {:>12.4} {change:>9}   {likely:<18} {verdict}",
                it.name, it.before, it.after
            )?;
        }
        let n = |verdict| self.figures.iter().filter(|it| it.verdict == verdict).count();
        write!(
            f,
            "\n{} worse, {} better, {} the same, {} unknown",
            n(Change::Worse),
            n(Change::Better),
            n(Change::Same),
            n(Change::Unknown)
        )
    }
}

#[cfg(test)]
mod tests;
