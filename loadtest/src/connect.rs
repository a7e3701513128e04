//! Many sessions that do little: opened, held, and, if that is asked for, cut off all at once.
//!
//! ```text
//!  run ── order, words ──► generators, each a process: 18,000 sockets are what one may have
//!   ▲                          │ a WebSocket each, from 127.1.x.y
//!   └──── counts, times ───────┤
//!                              ▼
//!                            nodes
//! ```
//!
//! What a generator does is in `worker.rs`; here they are started, told what to do, and added up.

mod args;
mod holding;
mod limits;
mod order;
mod tally;
mod weigh;
mod wire;
mod worker;

pub use crate::measure::Spread;
pub use args::Sessions;
pub use order::Held;
pub use tally::{AllTimes, Counts};
pub use weigh::Weight;

use crate::measure::Times;
use limits::{Kernel, Need};
use order::{Cast, Order, Said, Word};
use serde::Serialize;
use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::{timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Most sessions of one generator, of the 20,000 files a process may open.
const PER_WORKER: u32 = 18_000;
/// Most handshakes all generators have under way at once.
const AT_ONCE: u32 = 256;
/// How long nodes are looked at before anybody comes.
const BASE: Duration = Duration::from_secs(5);
/// How long pushes may take that are on their way before the cut.
const PLACED_WITHIN: Duration = Duration::from_secs(4);
/// How long the cut has been when the other half of the orders is placed.
const MEANWHILE: Duration = Duration::from_millis(300);
/// How long generators may take to say how long things took, when somebody wants no more of it.
const TELL_WITHIN: Duration = Duration::from_secs(3);
/// How long a generator may take to end.
const LEAVE_WITHIN: Duration = Duration::from_secs(20);
/// What is being done while sessions are let in.
pub(crate) const OPENING: &str = "opening";
/// Most lines of generators that wait.
const LINES_MAX: usize = 256;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many sessions.
    pub sessions: u64,
    /// Where nodes are; sessions go to each in turn, as many at a time as begin together.
    pub at: Vec<SocketAddr>,
    /// The key that signs tokens which nodes believe.
    pub key: PathBuf,
    /// Repeats a crowd.
    pub seed: u64,
    /// How many of a hundred are drivers.
    pub drivers_percent: u8,
    /// Do drivers start to work?
    pub on_duty: bool,
    /// How many are opened a second.
    pub per_s: f64,
    /// How long everybody is left alone before what they cost is measured. Nodes need a minute until whoever does
    /// nothing is at rest.
    pub settle: Duration,
    /// How long all of them are held after that.
    pub hold: Duration,
    /// Phones begin and say something at multiples of this; whenever it is time for each, if it is nothing.
    pub in_step: Duration,
    /// The longest all of it may take.
    pub lasting: Duration,
    /// Cut all off, once they have been held.
    pub storm: Option<Storm>,
    /// Processes whose memory and time are weighed: the nodes to which sessions go.
    pub pids: Vec<u32>,
    /// The same of nodes to which none go: those whose actors are spoken to by way of others.
    pub owners: Vec<u32>,
}

/// How everybody is cut off.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Drivers among them who hold pushes that they do not acknowledge.
    pub holders: u32,
    /// Drivers who are not cut off, and wish for something all the while.
    pub askers: u32,
    /// How many commands those say a second, together.
    pub asks_per_s: u32,
    /// How long coming back may take.
    pub within: Duration,
    /// How long 99 of 100 commands of those who are not cut off may take meanwhile; none: however long.
    pub others_p99: Option<Duration>,
}

/// What keeps sessions from being opened, or from being counted.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// It would fail half-way.
    #[error("this machine is too small: {0}")]
    TooSmall(String),
    /// No generator could be started or spoken to.
    #[error("generators: {0}")]
    Io(#[from] io::Error),
    /// A generator ended by itself.
    #[error("generator {0} has ended by itself")]
    Ended(usize),
    /// It said what nobody understands.
    #[error("generators: {0}")]
    Said(#[from] serde_json::Error),
    /// There is nobody to speak to.
    #[error("not one node is given that is on this machine's loopback: {0:?}")]
    Nowhere(Vec<SocketAddr>),
}

/// How it goes.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is being done.
    pub doing: &'static str,
    /// For how long all of it has been going on.
    pub after: Duration,
    /// How many sessions there should be.
    pub wanted: u64,
    /// How many of what.
    pub counts: Counts,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, after, wanted, counts } = self;
        let Counts { alive, died, too_fast, busy, refused, failed, beats_heard, .. } = counts;
        write!(
            f,
            "{:>4} s {doing}: {alive} of {wanted} alive, {died} died, {beats_heard} heartbeats heard, \
             refused {} ({too_fast} too fast, {busy} busy), {failed} failed",
            after.as_secs(),
            too_fast + busy + refused,
        )
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many sessions were wanted.
    pub wanted: u64,
    /// How many were there at the end of the hold.
    pub held: u64,
    /// Did somebody end it before it was over? Then this is what was until then.
    pub is_interrupted: bool,
    /// All counts at the end.
    pub counts: Counts,
    /// How long it took to open all of them, in seconds.
    pub ramp_s: f64,
    /// How many were opened a second.
    pub ramp_per_s: f64,
    /// From the first byte to the welcome, in milliseconds.
    pub welcome_ms: Spread,
    /// From a heartbeat to the next one heard, in milliseconds.
    pub beat_ms: Spread,
    /// How long they were held, in seconds.
    pub hold_s: f64,
    /// What generators cost while all were held, and how many there were.
    pub generators: Cost,
    /// What nodes cost; nothing, if none was named.
    pub nodes: Cost,
    /// What nodes cost whose actors those sessions are of, if that was asked.
    pub owners: Option<Cost>,
    /// By how much less memory was free once all were held, in bytes for each session: everything, the kernel's
    /// ends of the sockets included. Others on the machine count, too.
    pub machine_bytes_per_session: u64,
    /// What is too small here for so many, if anything.
    pub too_small: Vec<String>,
    /// What came of the cut.
    pub storm: Option<StormReport>,
    /// All times, for whoever adds them up.
    #[serde(skip)]
    pub times: AllTimes,
}

/// What processes cost.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Cost {
    /// How many there were.
    pub n: usize,
    /// What they weighed before the first session.
    pub bytes_before: u64,
    /// What they weighed when all were held.
    pub bytes_held: u64,
    /// The difference for each session.
    pub bytes_per_session: u64,
    /// Processor time for each session until it was let in, in microseconds.
    pub cpu_us_per_connect: f64,
    /// Share of one core that they took before the first session, in percent.
    pub base_percent: f64,
    /// The same for 100,000 sessions while they were held, what they took before among it.
    pub idle_percent_per_100k: f64,
    /// Processor time for each heartbeat heard while they were held, in microseconds.
    pub cpu_us_per_beat: f64,
}

/// What came of a cut.
#[derive(Debug, Serialize)]
pub struct StormReport {
    /// Drivers among those who were to hold pushes that they do not acknowledge.
    pub n_holders: u32,
    /// How many were cut off at once.
    pub n_cut: u64,
    /// How long it took until all were back, in seconds; none, if they were not in time.
    pub all_back_s: Option<f64>,
    /// From the cut to the welcome, in milliseconds.
    pub back_ms: Spread,
    /// How many went on where they were.
    pub resumed: u64,
    /// How many did not.
    pub anew: u64,
    /// Commands of those who were not cut off: before the cut, and until all were back, in milliseconds.
    pub commands_before_ms: Spread,
    /// The same, from the cut until all were back.
    pub commands_meanwhile_ms: Spread,
    /// How long 99 of 100 of those were to take at most, in milliseconds, if somebody said so.
    pub commands_p99_most_ms: Option<f64>,
    /// Commands that were refused meanwhile.
    pub commands_refused: u64,
    /// Handshakes that were refused meanwhile and came again: too fast, and busy.
    pub handshakes_refused: [u64; 2],
    /// What became of pushes that were not acknowledged.
    pub pushes: Held,
    /// What nodes spent from the cut until all were back, in microseconds for each session.
    pub node_cpu_us_per_session: f64,
}

impl Report {
    /// Was everybody there all the while, or back?
    pub fn is_sound(&self) -> bool {
        let storm = self.storm.as_ref().is_none_or(StormReport::is_sound);
        self.held == self.wanted && self.counts.died == 0 && storm && !self.is_interrupted
    }
}

impl StormReport {
    /// Is everybody back in time and where they were, was nothing missed of what there was to miss, and did others notice no more
    /// of it than they were to?
    fn is_sound(&self) -> bool {
        let is_back = self.n_cut > 0 && self.all_back_s.is_some() && self.anew == 0;
        let others = self.commands_meanwhile_ms;
        let is_quick =
            self.commands_p99_most_ms.is_none_or(|most| others.n > 0 && others.p99 <= most);
        is_back && self.has_pushed() && self.pushes.missed.is_empty() && is_quick
    }

    /// Was anything pushed to those who were to hold it? Of nothing, nothing is missed.
    fn has_pushed(&self) -> bool {
        self.n_holders == 0 || self.pushes.n_placed > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, held, counts, welcome_ms, beat_ms, nodes, generators, .. } = self;
        if self.is_interrupted {
            writeln!(f, "INTERRUPTED: what was until then")?;
        }
        writeln!(
            f,
            "{held} of {wanted} sessions held for {:.0} s, {} died",
            self.hold_s, counts.died
        )?;
        writeln!(
            f,
            "opened in {:.1} s, {:.0} a second; welcome after p50 {:.1} ms, p99 {:.1} ms",
            self.ramp_s, self.ramp_per_s, welcome_ms.p50, welcome_ms.p99
        )?;
        writeln!(
            f,
            "{} heartbeats said, {} heard; p50 {:.1} ms, p99 {:.1} ms",
            counts.beats, counts.beats_heard, beat_ms.p50, beat_ms.p99
        )?;
        let owners = self.owners.iter().map(|it| ("owners", it));
        for (name, it) in
            [("nodes", nodes)].into_iter().chain(owners).chain([("generators", generators)])
        {
            writeln!(
                f,
                "{name} ({}): {} bytes and {:.0} us per session, {:.2} % of a core without any, idle {:.2} % per 100,000 ({:.1} us per heartbeat)",
                it.n,
                it.bytes_per_session,
                it.cpu_us_per_connect,
                it.base_percent,
                it.idle_percent_per_100k,
                it.cpu_us_per_beat
            )?;
        }
        writeln!(f, "the machine: {} bytes per session", self.machine_bytes_per_session)?;
        for too_small in &self.too_small {
            writeln!(f, "too small: {too_small}")?;
        }
        if let Some(storm) = &self.storm {
            let StormReport { n_cut, all_back_s, back_ms, resumed, anew, pushes, .. } = storm;
            match all_back_s {
                Some(s) => writeln!(f, "{n_cut} cut off at once, all back after {s:.1} s")?,
                None => writeln!(f, "{n_cut} cut off at once, NOT all back in time")?,
            }
            writeln!(
                f,
                "back after p50 {:.0} ms, p99 {:.0} ms; {resumed} went on where they were, {anew} did not",
                back_ms.p50, back_ms.p99
            )?;
            writeln!(
                f,
                "commands of others: p99 {:.1} ms before, {:.1} ms meanwhile (max {:.0} ms), {} refused",
                storm.commands_before_ms.p99,
                storm.commands_meanwhile_ms.p99,
                storm.commands_meanwhile_ms.max,
                storm.commands_refused
            )?;
            if let Some(most) = storm.commands_p99_most_ms
                && storm.commands_meanwhile_ms.p99 > most
            {
                writeln!(f, "TOO SLOW for others: p99 was to be {most:.0} ms at most")?;
            }
            writeln!(
                f,
                "pushes: {} orders placed, {} pushes held, {} heard after the cut, {} missed",
                pushes.n_placed,
                pushes.n_held,
                pushes.n_heard_after,
                pushes.missed.len()
            )?;
            if !storm.has_pushed() {
                let n = pushes.n_not_placed;
                writeln!(f, "NOTHING PLACED, so nothing could be missed: {n} orders were refused")?;
            }
            for missed in pushes.missed.iter().take(10) {
                writeln!(f, "missed: {missed}")?;
            }
        }
        Ok(())
    }
}

/// Lives as a generator, ordered by standard input. For whoever is started by [`run`].
pub fn generate() -> io::Result<()> {
    worker::run()
}

/// Opens sessions, holds them, and says what came of it. `generator` is a command that calls [`generate`].
pub async fn run(
    plan: Plan,
    generator: impl Fn() -> std::process::Command,
    stop: CancellationToken,
    show: impl FnMut(&Progress),
) -> Result<Report, ConnectError> {
    if plan.at.is_empty() || plan.at.iter().any(|at| !at.ip().is_loopback() || at.is_ipv6()) {
        return Err(ConnectError::Nowhere(plan.at));
    }
    let too_small = Kernel::read().judge(Need {
        n_sessions: plan.sessions,
        per_worker: plan.sessions.min(PER_WORKER.into()),
        n_addresses: plan.at.len() as u64,
    });
    if let Some(fatal) = too_small.iter().find(|it| it.is_fatal) {
        return Err(ConnectError::TooSmall(fatal.to_string()));
    }
    let too_small: Vec<_> = too_small.iter().map(ToString::to_string).collect();
    let base = Base::of(&plan).await;
    let mut crowd = Crowd::start(&plan, &generator, show).await?;
    let lasting = plan.lasting;
    let done = tokio::select! {
        done = timeout(lasting, crowd.act(&plan, &base, too_small.clone())) => Some(done),
        () = stop.cancelled() => None,
    };
    let report = match done {
        Some(Ok(report)) => report?,
        Some(Err(_)) => {
            let says = "not done in the time it may take";
            return Err(io::Error::new(io::ErrorKind::TimedOut, says).into());
        }
        None => crowd.so_far(too_small).await,
    };
    crowd.leave().await?;
    Ok(report)
}

/// All generators, which end when it is dropped.
struct Crowd<F> {
    workers: Vec<Worker>,
    lines: mpsc::Receiver<(usize, Option<String>)>,
    wanted: u64,
    times: AllTimes,
    /// How long it took to be let in, once all were.
    welcome: Times,
    held: Held,
    /// How many answers are still to come.
    n_awaited: usize,
    began: Instant,
    show: F,
    shown: Instant,
}

struct Worker {
    child: Child,
    words: ChildStdin,
    counts: Counts,
}

/// What was counted and weighed at a moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    counts: Counts,
    nodes: Weight,
    owners: Weight,
    generators: Weight,
}

impl<F: FnMut(&Progress)> Crowd<F> {
    async fn start(
        plan: &Plan,
        generator: &impl Fn() -> std::process::Command,
        show: F,
    ) -> Result<Self, ConnectError> {
        let (lines_in, lines) = mpsc::channel(LINES_MAX);
        let orders = orders(plan);
        let wanted = orders.iter().map(|order| u64::from(order.n)).sum();
        let mut workers = Vec::new();
        for (n, order) in orders.iter().enumerate() {
            let mut command = Command::from(generator());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
            // Who interrupts us on a terminal interrupts our whole group, and generators are to say what was.
            command.process_group(0);
            let mut child = command.spawn()?;
            let gone = || io::Error::other("a generator without pipes");
            let mut words = child.stdin.take().ok_or_else(gone)?;
            let said = child.stdout.take().ok_or_else(gone)?;
            words.write_all(&[serde_json::to_vec(order)?, b"\n".to_vec()].concat()).await?;
            let lines_in = lines_in.clone();
            tokio::spawn(async move {
                let mut said = BufReader::new(said).lines();
                loop {
                    let line = said.next_line().await.ok().flatten();
                    let is_over = line.is_none();
                    if lines_in.send((n, line)).await.is_err() || is_over {
                        return;
                    }
                }
            });
            workers.push(Worker { child, words, counts: Counts::default() });
        }
        let (times, held, began) = (AllTimes::default(), Held::default(), Instant::now());
        Ok(Self {
            workers,
            lines,
            wanted,
            times,
            welcome: Times::default(),
            held,
            n_awaited: 0,
            began,
            show,
            shown: began,
        })
    }

    async fn act(
        &mut self,
        plan: &Plan,
        base: &Base,
        too_small: Vec<String>,
    ) -> Result<Report, ConnectError> {
        let available = weigh::available();
        let start = self.mark(plan);
        self.listen(OPENING, |counts, wanted| counts.alive >= wanted, plan.lasting).await?;
        let open = self.mark(plan);
        self.listen("settling", |_, _| false, plan.settle).await?;
        let settled = self.mark(plan);
        self.tell(Word::Tell).await?;
        let welcome = self.times.welcome.clone();
        let welcome_ms = welcome.spread();
        self.times = AllTimes::default();
        self.welcome.clone_from(&welcome);
        self.listen("holding", |_, _| false, plan.hold).await?;
        let held = self.mark(plan);
        let machine = available.saturating_sub(weigh::available());
        self.tell(Word::Tell).await?;
        let beat_ms = self.times.beat.spread();
        let ramp_s = open.at.duration_since(start.at).as_secs_f64();
        let n = self.wanted.max(1);
        let marks = [&start, &open, &settled, &held];
        let mut report = Report {
            wanted: self.wanted,
            held: held.counts.alive,
            is_interrupted: false,
            counts: held.counts,
            ramp_s,
            ramp_per_s: self.wanted as f64 / ramp_s.max(1e-3),
            welcome_ms,
            beat_ms,
            hold_s: held.at.duration_since(settled.at).as_secs_f64(),
            generators: cost(self.workers.len(), n, 0.0, marks, |mark| mark.generators),
            nodes: cost(plan.pids.len(), n, base.nodes, marks, |mark| mark.nodes),
            owners: (!plan.owners.is_empty())
                .then(|| cost(plan.owners.len(), n, base.owners, marks, |mark| mark.owners)),
            machine_bytes_per_session: machine / n,
            too_small,
            storm: None,
            times: AllTimes { welcome, beat: self.times.beat.clone(), ..AllTimes::default() },
        };
        if let Some(storm) = plan.storm {
            report.storm = Some(self.storm(plan, storm).await?);
            report.times.back = self.times.back.clone();
            report.times.command = self.times.command.clone();
            report.counts = self.counts();
        }
        Ok(report)
    }

    /// What was until somebody wanted no more of it. What it cost is not known of less than all of it.
    async fn so_far(&mut self, too_small: Vec<String>) -> Report {
        // Who does not say it in time has nothing to say.
        timeout(TELL_WITHIN, self.tell(Word::Tell)).await.ok();
        self.times.welcome.merge(&self.welcome);
        let (counts, ramp_s) = (self.counts(), self.began.elapsed().as_secs_f64());
        Report {
            wanted: self.wanted,
            held: counts.alive,
            is_interrupted: true,
            counts,
            ramp_s,
            ramp_per_s: counts.alive as f64 / ramp_s.max(1e-3),
            welcome_ms: self.times.welcome.spread(),
            beat_ms: self.times.beat.spread(),
            hold_s: 0.0,
            generators: Cost { n: self.workers.len(), ..Cost::default() },
            nodes: Cost::default(),
            owners: None,
            machine_bytes_per_session: 0,
            too_small,
            storm: None,
            times: std::mem::take(&mut self.times),
        }
    }

    async fn storm(&mut self, plan: &Plan, storm: Storm) -> Result<StormReport, ConnectError> {
        self.say(Word::Place).await?;
        self.listen("before the cut", |_, _| false, PLACED_WITHIN).await?;
        self.tell(Word::Tell).await?;
        let commands_before_ms = self.times.command.spread();
        self.times = AllTimes::default();
        let before = self.mark(plan);
        self.say(Word::Cut).await?;
        self.listen("cut", |_, _| false, MEANWHILE).await?;
        self.say(Word::Place).await?;
        // What was counted before it was cut is no news of it.
        self.listen("cut", |_, _| false, Duration::from_millis(1_500)).await?;
        let is_back = |counts: &Counts, wanted| counts.alive >= wanted && counts.cut == 0;
        self.listen("coming back", is_back, storm.within).await?;
        let all_back = is_back(&self.counts(), self.wanted);
        let after = self.mark(plan);
        let n_cut = after.counts.reconnects + after.counts.cut - before.counts.reconnects;
        self.tell(Word::Tell).await?;
        let (back_ms, commands_meanwhile_ms) =
            (self.times.back.spread(), self.times.command.spread());
        // What is said again is said after three seconds at the latest.
        self.listen("hearing what was missed", |_, _| false, Duration::from_secs(5)).await?;
        self.tell(Word::Judge).await?;
        let n = n_cut.max(1) as f64;
        Ok(StormReport {
            n_holders: storm.holders,
            n_cut,
            all_back_s: all_back.then_some(back_ms.max / 1e3),
            back_ms,
            resumed: after.counts.resumed - before.counts.resumed,
            anew: after.counts.anew - before.counts.anew,
            commands_before_ms,
            commands_meanwhile_ms,
            commands_p99_most_ms: storm.others_p99.map(|most| most.as_secs_f64() * 1e3),
            commands_refused: after.counts.commands_refused - before.counts.commands_refused,
            handshakes_refused: [
                after.counts.too_fast - before.counts.too_fast,
                after.counts.busy - before.counts.busy,
            ],
            pushes: std::mem::take(&mut self.held),
            node_cpu_us_per_session: ((after.nodes - before.nodes).cpu_s
                + (after.owners - before.owners).cpu_s)
                * 1e6
                / n,
        })
    }

    /// Takes in what generators say until it is enough, or for so long.
    async fn listen(
        &mut self,
        doing: &'static str,
        is_enough: impl Fn(&Counts, u64) -> bool,
        within: Duration,
    ) -> Result<(), ConnectError> {
        let until = tokio::time::Instant::now() + within;
        loop {
            if is_enough(&self.counts(), self.wanted) {
                return Ok(());
            }
            let Ok(line) = timeout_at(until, self.lines.recv()).await else { return Ok(()) };
            self.take(line)?;
            if self.shown.elapsed() >= Duration::from_secs(1) {
                self.shown = Instant::now();
                let (after, wanted) = (self.began.elapsed(), self.wanted);
                let progress = Progress { doing, after, wanted, counts: self.counts() };
                (self.show)(&progress);
            }
        }
    }

    fn take(&mut self, line: Option<(usize, Option<String>)>) -> Result<(), ConnectError> {
        match line {
            Some((n, Some(line))) => match serde_json::from_str(&line)? {
                Said::Counts(counts) => self.workers[n].counts = counts,
                Said::Took(taken) => {
                    self.times.add(&taken);
                    self.n_awaited = self.n_awaited.saturating_sub(1);
                }
                Said::Held(Held { n_placed, n_not_placed, n_held, n_heard_after, missed }) => {
                    self.held.n_placed += n_placed;
                    self.held.n_not_placed += n_not_placed;
                    self.held.n_held += n_held;
                    self.held.n_heard_after += n_heard_after;
                    self.held.missed.extend(missed);
                    self.n_awaited = self.n_awaited.saturating_sub(1);
                }
            },
            Some((n, None)) => return Err(ConnectError::Ended(n)),
            None => return Err(ConnectError::Ended(self.workers.len())),
        }
        Ok(())
    }

    /// Says a word that every generator answers, and waits for the answers.
    async fn tell(&mut self, word: Word) -> Result<(), ConnectError> {
        self.n_awaited = self.workers.len();
        self.say(word).await?;
        while self.n_awaited > 0 {
            let line = self.lines.recv().await;
            self.take(line)?;
        }
        Ok(())
    }

    async fn say(&mut self, word: Word) -> Result<(), ConnectError> {
        let line = [serde_json::to_vec(&word)?, b"\n".to_vec()].concat();
        for worker in &mut self.workers {
            worker.words.write_all(&line).await?;
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.workers.iter().for_each(|worker| all += worker.counts);
        all
    }

    fn mark(&self, plan: &Plan) -> Mark {
        let pids: Vec<u32> = self.workers.iter().filter_map(|it| it.child.id()).collect();
        Mark {
            at: Instant::now(),
            counts: self.counts(),
            nodes: Weight::of(&plan.pids),
            owners: Weight::of(&plan.owners),
            generators: Weight::of(&pids),
        }
    }

    async fn leave(mut self) -> Result<(), ConnectError> {
        self.say(Word::Leave).await?;
        // They may still have something to say, which nobody waits for any more.
        self.lines.close();
        let end = async {
            for worker in &mut self.workers {
                worker.child.wait().await?;
            }
            Ok::<_, io::Error>(())
        };
        match timeout(LEAVE_WITHIN, end).await {
            Ok(ended) => Ok(ended?),
            // They end with us.
            Err(_) => Ok(()),
        }
    }
}

/// Who opens which sessions.
fn orders(plan: &Plan) -> Vec<Order> {
    let cast = plan.storm.map_or_else(Cast::default, |storm| Cast {
        n_holders: storm.holders,
        n_askers: storm.askers,
        asks_per_s: storm.asks_per_s,
    });
    let n_extra = plan.sessions.saturating_sub(cast.n().into());
    let n_workers = n_extra.div_ceil(PER_WORKER.into()).max(1);
    let share = |n: u64| n_extra / n_workers + u64::from(n < n_extra % n_workers);
    let n_all = n_workers + u64::from(cast.n() > 0);
    let per_s = |n: u64| plan.per_s * n as f64 / plan.sessions.max(1) as f64;
    let at_a_time = |n: u64| (per_s(n) * plan.in_step.as_secs_f64()).round().max(1.0) as u32;
    let order = |worker: u64, first: u64, n: u64, cast: Cast| Order {
        worker: worker as u32,
        first,
        n: n as u32,
        at: plan.at.clone(),
        key: plan.key.clone(),
        seed: plan.seed,
        drivers_percent: plan.drivers_percent,
        on_duty: plan.on_duty,
        per_s: per_s(n),
        at_once: (AT_ONCE / n_all as u32).max(16),
        at_a_time: at_a_time(n),
        step_us: plan.in_step.as_micros() as u64,
        keeps_tokens: plan.storm.is_some(),
        cast,
    };
    let mut first = 0;
    let mut orders = Vec::new();
    for worker in 0..n_workers {
        let n = share(worker);
        orders.push(order(worker, first, n, Cast::default()));
        first += n;
    }
    if cast.n() > 0 {
        orders.push(order(n_workers, first, cast.n().into(), cast));
    }
    orders
}

/// What processes take while there is nobody, as shares of one core in percent.
struct Base {
    nodes: f64,
    owners: f64,
}

impl Base {
    async fn of(plan: &Plan) -> Self {
        let weigh = || (Weight::of(&plan.pids), Weight::of(&plan.owners));
        let (began, (nodes, owners)) = (Instant::now(), weigh());
        tokio::time::sleep(BASE).await;
        let (s, now) = (began.elapsed().as_secs_f64(), weigh());
        let percent = |cpu_s: f64| cpu_s / s * 100.0;
        Self { nodes: percent((now.0 - nodes).cpu_s), owners: percent((now.1 - owners).cpu_s) }
    }
}

fn cost(
    n: usize,
    sessions: u64,
    base_percent: f64,
    marks: [&Mark; 4],
    of: impl Fn(&Mark) -> Weight,
) -> Cost {
    let [start, open, settled, held] = marks;
    let per_session = |it: f64| it / sessions as f64;
    let hold_s = held.at.duration_since(settled.at).as_secs_f64().max(1e-3);
    let idle_s = (of(held) - of(settled)).cpu_s;
    let n_beats = (held.counts.beats_heard - settled.counts.beats_heard).max(1) as f64;
    Cost {
        n,
        bytes_before: of(start).bytes,
        bytes_held: of(held).bytes,
        bytes_per_session: (of(held) - of(start)).bytes / sessions,
        cpu_us_per_connect: per_session((of(open) - of(start)).cpu_s * 1e6),
        base_percent,
        idle_percent_per_100k: per_session(idle_s / hold_s * 100.0 * 1e5),
        cpu_us_per_beat: idle_s * 1e6 / n_beats,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sessions: u64, storm: Option<Storm>) -> Plan {
        Plan {
            sessions,
            at: vec!["127.0.0.1:7070".parse().unwrap()],
            key: PathBuf::new(),
            seed: 1,
            drivers_percent: 10,
            on_duty: false,
            per_s: 1_000.0,
            settle: Duration::ZERO,
            hold: Duration::ZERO,
            in_step: Duration::ZERO,
            lasting: Duration::from_secs(1),
            storm,
            pids: Vec::new(),
            owners: Vec::new(),
        }
    }

    #[test]
    fn sessions_are_shared_out_and_none_is_opened_twice() {
        for (sessions, n_workers) in [(1, 1), (18_000, 1), (18_001, 2), (1_000_000, 56)] {
            let orders = orders(&plan(sessions, None));
            assert_eq!(orders.len(), n_workers);
            let mut next = 0;
            for order in &orders {
                assert_eq!(order.first, next);
                next += u64::from(order.n);
                assert!(order.n <= PER_WORKER);
            }
            assert_eq!(next, sessions);
            let per_s: f64 = orders.iter().map(|it| it.per_s).sum();
            assert!((per_s - 1_000.0).abs() < 1.0);
        }
    }

    #[test]
    fn those_who_play_a_part_have_a_generator_of_their_own() {
        let within = Duration::from_secs(1);
        let storm = Storm { holders: 10, askers: 5, asks_per_s: 50, within, others_p99: None };
        let orders = orders(&plan(1_000, Some(storm)));
        assert_eq!(orders.iter().map(|it| it.n).collect::<Vec<_>>(), [975, 25]);
        assert!(orders.iter().all(|it| it.keeps_tokens) && orders[0].cast == Cast::default());
    }

    #[test]
    fn others_may_notice_a_storm_as_much_as_somebody_says() {
        let is_sound = |p99, commands_p99_most_ms, all_back_s| {
            let storm = StormReport { all_back_s, commands_p99_most_ms, ..storm(p99) };
            storm.is_sound()
        };
        assert!(is_sound(9_000.0, None, Some(30.0)), "nobody said");
        assert!(is_sound(250.0, Some(250.0), Some(30.0)));
        assert!(!is_sound(251.0, Some(250.0), Some(30.0)));
        assert!(!is_sound(1.0, Some(250.0), None), "not all are back");
    }

    #[test]
    fn a_storm_in_which_nothing_happened_shows_nothing() {
        assert!(storm(1.0).is_sound());
        let held = |n_placed| Held { n_placed, n_not_placed: 4, ..Held::default() };
        let nothing_placed = StormReport { pushes: held(0), ..storm(1.0) };
        assert!(!nothing_placed.is_sound(), "nothing could be missed");
        let nobody_holds = StormReport { n_holders: 0, pushes: held(0), ..storm(1.0) };
        assert!(nobody_holds.is_sound(), "nobody was to hold anything");
        assert!(!StormReport { n_cut: 0, ..storm(1.0) }.is_sound(), "nobody was cut off");
        let silent = StormReport {
            commands_meanwhile_ms: Spread::default(),
            commands_p99_most_ms: Some(250.0),
            ..storm(1.0)
        };
        assert!(!silent.is_sound(), "nobody asked for anything meanwhile");
    }

    /// One in which all went well, of which others noticed so much, in milliseconds.
    fn storm(p99: f64) -> StormReport {
        StormReport {
            n_holders: 1,
            n_cut: 1,
            all_back_s: Some(20.0),
            back_ms: Spread::default(),
            resumed: 1,
            anew: 0,
            commands_before_ms: Spread::default(),
            commands_meanwhile_ms: Spread { n: 100, p99, ..Spread::default() },
            commands_p99_most_ms: None,
            commands_refused: 0,
            handshakes_refused: [0, 0],
            pushes: Held { n_placed: 1, ..Held::default() },
            node_cpu_us_per_session: 0.0,
        }
    }

    #[tokio::test]
    async fn nobody_is_called_elsewhere() {
        let elsewhere = Plan { at: vec!["10.0.0.1:80".parse().unwrap()], ..plan(1, None) };
        let command = || std::process::Command::new("false");
        let outcome = run(elsewhere, command, CancellationToken::new(), |_| {}).await;
        assert!(matches!(outcome, Err(ConnectError::Nowhere(_))), "{outcome:?}");
    }
}
