//! What is broken, and what must come of it. The numbers are those of the table in ARCHITECTURE.md.

mod contention;
mod crash;
mod flow;
mod network;
mod outage;

pub(crate) use outage::{Disk, move_tables};

use crate::{
    Outcome,
    fleet::{Fleet, Needs, Programs},
    load::{Load, Size},
    record::Stalls,
    verdict,
};
use futures_util::future::BoxFuture;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;
use std::{
    fmt,
    time::{Duration, Instant},
};

/// How long people are served before anything is broken.
const CALM: Duration = Duration::from_secs(2);
/// How long they are served after all is well again.
const AFTER: Duration = Duration::from_secs(1);
/// Most complaints that are printed.
const COMPLAINTS_MAX: usize = 12;
/// How long a whole scenario may take.
const LASTING_MAX: Duration = Duration::from_secs(480);

/// One way to break a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    /// Which of the table, or a word for those that are not in it.
    pub(crate) number: &'static str,
    /// What is done.
    pub(crate) fault: &'static str,
    /// What must come of it.
    pub(crate) expected: &'static str,
    /// How it is done, or why it is not.
    pub(crate) how: How,
    /// Is it one of the quick selection?
    pub(crate) is_quick: bool,
}

/// How a scenario is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// By this, with this fleet; afterwards all is well again within the time.
    Run(Needs, fn(&mut Stage) -> BoxFuture<'_, Outcome>, Duration),
    /// Elsewhere or not at all, for this reason.
    Argued(&'static str),
}

/// A cluster at work.
#[derive(Debug)]
pub(crate) struct Stage {
    // Clients before servers: nobody is to complain at the end.
    pub(crate) load: Load,
    pub(crate) fleet: Fleet,
    pub(crate) dice: StdRng,
    /// When the fault began, and when it was over.
    pub(crate) broken_at: Instant,
    /// What is worth telling.
    pub(crate) notes: Vec<String>,
    /// What was not as expected.
    pub(crate) wrong: Vec<String>,
}

impl Stage {
    /// Sets one up and lets it work for a while.
    pub(crate) async fn set(
        programs: &Programs,
        needs: Needs,
        size: Size,
        seed: u64,
    ) -> Outcome<Self> {
        let fleet = Fleet::start(programs, needs).await?;
        let load = Load::start(&fleet, size).await?;
        tokio::time::sleep(CALM).await;
        let dice = StdRng::seed_from_u64(seed);
        let (notes, wrong) = (Vec::new(), Vec::new());
        Ok(Self { load, fleet, dice, broken_at: Instant::now(), notes, wrong })
    }

    /// A node drawn by lot.
    pub(crate) fn anyone(&mut self, n_nodes: usize) -> usize {
        self.dice.random_range(0..n_nodes)
    }

    /// Notes something worth telling.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    /// Notes that something is not as expected, unless it is.
    pub(crate) fn expect(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.wrong.push(what.into());
        }
    }

    /// Waits until everybody is served again by a cluster that is calm; notes how long that took.
    pub(crate) async fn recover(&mut self, within: Duration) -> Outcome<Duration> {
        let began = Instant::now();
        self.fleet.well(within).await?;
        let left = within.saturating_sub(began.elapsed()).max(Duration::from_secs(30));
        self.load.everybody_answered(left).await?;
        Ok(began.elapsed())
    }
}

/// What came of a scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) fault: &'static str,
    /// Is everything as expected?
    pub(crate) is_sound: bool,
    /// Was anything that was said unsaid? What else is wrong may be the machine's fault.
    pub(crate) is_kept: bool,
    /// How long from the fault until all was well, in milliseconds.
    pub(crate) well_ms: u64,
    /// Before the fault.
    pub(crate) calm: Option<Stalls>,
    /// From the fault until all was well.
    pub(crate) broken: Option<Stalls>,
    pub(crate) n_acked: u64,
    pub(crate) n_refused: u64,
    pub(crate) n_repeated: u64,
    /// How often a shard went from one node to another.
    pub(crate) n_moves: i64,
    pub(crate) notes: Vec<String>,
    pub(crate) wrong: Vec<String>,
}

impl Report {
    fn failed(scenario: &Scenario, problem: String) -> Self {
        Self {
            scenario: scenario.number,
            fault: scenario.fault,
            is_sound: false,
            // Nobody has judged.
            is_kept: false,
            well_ms: 0,
            calm: None,
            broken: None,
            n_acked: 0,
            n_refused: 0,
            n_repeated: 0,
            n_moves: 0,
            notes: Vec::new(),
            wrong: vec![problem],
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_sound { "as expected" } else { "NOT as expected" };
        writeln!(
            f,
            "{:>5} {}: {verdict}, well after {} ms",
            self.scenario, self.fault, self.well_ms
        )?;
        if let (Some(calm), Some(broken)) = (&self.calm, &self.broken) {
            writeln!(f, "      before: {calm}")?;
            writeln!(f, "      during: {broken}")?;
        }
        let Self { n_acked, n_refused, n_repeated, n_moves, .. } = self;
        writeln!(
            f,
            "      {n_acked} acknowledged, {n_refused} refused, {n_repeated} asked again; {n_moves} moves of shards"
        )?;
        for note in &self.notes {
            writeln!(f, "      {note}")?;
        }
        for wrong in &self.wrong {
            writeln!(f, "      wrong: {wrong}")?;
        }
        Ok(())
    }
}

/// Sets the stage, breaks it, waits, and judges. None if the scenario is argued elsewhere.
pub(crate) async fn run(
    scenario: &Scenario,
    programs: &Programs,
    size: Size,
    seed: u64,
) -> Option<Report> {
    let How::Run(needs, breaking, within) = scenario.how else { return None };
    let playing = play(scenario, programs, needs, breaking, within, size, seed);
    let report = match tokio::time::timeout(LASTING_MAX, Box::pin(playing)).await {
        Ok(Ok(report)) => report,
        Ok(Err(problem)) => Report::failed(scenario, problem.to_string()),
        Err(_) => Report::failed(scenario, format!("not over after {LASTING_MAX:?}")),
    };
    Some(report)
}

async fn play(
    scenario: &Scenario,
    programs: &Programs,
    needs: Needs,
    breaking: fn(&mut Stage) -> BoxFuture<'_, Outcome>,
    within: Duration,
    size: Size,
    seed: u64,
) -> Outcome<Report> {
    let began = Instant::now();
    let mut stage = Box::pin(Stage::set(programs, needs, size, seed)).await?;
    let set_at = Instant::now();
    let n_moves = stage.fleet.database.n_moves().await?;
    // Before anything is broken, so that nothing that waits across the break is counted.
    let calm_from = set_at.checked_sub(CALM).unwrap_or(began);
    let calm = stage.load.world.record.stalls(calm_from, Instant::now());
    stage.broken_at = Instant::now();
    let mut outcome = breaking(&mut stage).await;
    if outcome.is_ok() {
        outcome = stage.recover(within).await.map(drop);
    }
    let (broken_at, well_at) = (stage.broken_at, Instant::now());
    if let Err(problem) = outcome {
        let kept = stage.fleet.keep();
        let problem = format!("{problem}; see {}", kept.display());
        return Ok(Report { notes: stage.notes, ..Report::failed(scenario, problem) });
    }
    tokio::time::sleep(AFTER).await;
    stage.load.stop().await?;
    let n_moves = stage.fleet.database.n_moves().await? - n_moves;
    let mut wrong = std::mem::take(&mut stage.wrong);
    let unsaid = verdict::judge(&stage.fleet, &stage.load).await?;
    let is_kept = unsaid.is_empty();
    wrong.extend(unsaid);
    let n_more = wrong.len().saturating_sub(COMPLAINTS_MAX);
    if n_more > 0 {
        wrong.truncate(COMPLAINTS_MAX);
        wrong.push(format!("and {n_more} more"));
    }
    if !wrong.is_empty() {
        let kept = stage.fleet.keep();
        stage.notes.push(format!("see {}", kept.display()));
    }
    let record = &stage.load.world.record;
    let (n_acked, n_refused, n_repeated) = record.counts();
    Ok(Report {
        scenario: scenario.number,
        fault: scenario.fault,
        is_sound: wrong.is_empty(),
        is_kept,
        well_ms: well_at.duration_since(broken_at).as_millis() as u64,
        calm: Some(calm),
        broken: Some(record.stalls(broken_at, well_at)),
        n_acked,
        n_refused,
        n_repeated,
        n_moves,
        notes: std::mem::take(&mut stage.notes),
        wrong,
    })
}

/// Every scenario, in the order of the table.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(crash::SCENARIOS);
    all.extend(outage::SCENARIOS);
    all.extend(network::SCENARIOS);
    all.extend(contention::SCENARIOS);
    all.extend(flow::SCENARIOS);
    all.extend(ARGUED);
    all.sort_by_key(|it| {
        (it.number.trim_end_matches(char::is_alphabetic).parse().unwrap_or(99), it.number)
    });
    all
}

const fn argued(
    number: &'static str,
    fault: &'static str,
    expected: &'static str,
    reason: &'static str,
) -> Scenario {
    Scenario { number, fault, expected, how: How::Argued(reason), is_quick: false }
}

/// Those that are not played here.
const ARGUED: [Scenario; 6] = [
    argued(
        "3",
        "a zombie's statement runs while its shard is stolen",
        "the thief waits for it or fences it; never acknowledged and missed",
        "needs a statement stopped half-way: the four interleavings of a write and a steal are tests of the journal in Postgres",
    ),
    argued(
        "6",
        "Postgres fails over to a synchronous standby",
        "as 5, and no epoch goes back",
        "a node sees nothing but 5: connections that break and a server that comes back with all that was committed",
    ),
    argued(
        "7",
        "Postgres fails over to an asynchronous standby that lacks the last commits",
        "the cluster fails closed until an operator raises the epochs",
        "documented as an unsupported set-up",
    ),
    argued(
        "23",
        "a zombie's batch and a steal lock the same shards in opposite orders",
        "impossible",
        "both lock in the order of shards; a test of the journal in Postgres gives the input reversed",
    ),
    argued(
        "25",
        "one device's commands overtake each other across a reconnect",
        "the entity's rules judge each in the state it meets",
        "there is no order between commands of one device to keep: deciders refuse what is too late, and their laws are tests",
    ),
    argued(
        "28",
        "a snapshot from a newer build is read by an older one",
        "refused for that entity, and the shard moves to a newer node",
        "needs two builds: the test of rolling upgrades (tests/gateway/upgrade.rs) runs them side by side",
    ),
];
