//! What clients were told, and how long they waited for it.

use crate::Outcome;
use hdrhistogram::Histogram;
use protocol::{
    CommandId, Principal,
    frame::Done,
    work::{DriverAction, Wish},
};
use serde::Serialize;
use std::{
    fmt,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many commands are kept to be repeated.
const SAMPLES_MAX: usize = 300;
/// One of so many commands that were answered at once is kept; all that were repeated are.
const SAMPLE_EVERY: u64 = 37;
/// Most refusals that are kept word by word.
const WORDS_MAX: usize = 20;

/// Everything that was said to clients.
#[derive(Debug)]
pub(crate) struct Record {
    acks: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: BufWriter<File>,
    spans: Vec<Span>,
    gaps: Vec<(Instant, Duration)>,
    samples: Vec<Sample>,
    placed: Vec<(Principal, CommandId, String)>,
    n_acked: u64,
    n_refused: u64,
    n_repeated: u64,
    unexpected: Vec<String>,
    by_client: Vec<u64>,
}

/// One command, from its first sending to its answer.
#[derive(Debug, Clone, Copy)]
struct Span {
    client: usize,
    began: Instant,
    ended: Instant,
}

/// A command that was answered, to be asked again.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) by: Principal,
    pub(crate) id: CommandId,
    pub(crate) wish: Wish,
    pub(crate) done: Done,
}

/// How long clients waited.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stalls {
    /// Commands that were answered in the time.
    pub(crate) n_commands: u64,
    /// Of their time to an answer, repeats and reconnects included, in milliseconds.
    pub(crate) p50_ms: f64,
    /// The same.
    pub(crate) p90_ms: f64,
    /// The same.
    pub(crate) p99_ms: f64,
    /// The longest any of them took.
    pub(crate) max_ms: f64,
    /// The longest any client wanted something and heard nothing at all, not even "later".
    pub(crate) gap_ms: f64,
    /// Answers per second.
    pub(crate) per_s: f64,
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is done.
    Yes,
    /// It is not, for a reason that may well be.
    No,
    /// It is not, and should have been.
    Wrong,
}

impl Record {
    /// One that writes what was acknowledged to `acks`, of so many clients.
    pub(crate) fn new(acks: PathBuf, n_clients: usize) -> Outcome<Self> {
        let inner = Inner {
            file: BufWriter::new(File::create(&acks)?),
            spans: Vec::new(),
            gaps: Vec::new(),
            samples: Vec::new(),
            placed: Vec::new(),
            n_acked: 0,
            n_refused: 0,
            n_repeated: 0,
            unexpected: Vec::new(),
            by_client: vec![0; n_clients],
        };
        Ok(Self { acks, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client waited so long until it heard anything.
    pub(crate) fn gap(&self, long: Duration) {
        self.inner().gaps.push((Instant::now(), long));
    }

    /// A command was acknowledged.
    pub(crate) fn acked(&self, sample: Sample, n_tries: u32) {
        let mut inner = self.inner();
        let Sample { by, id, wish, done } = &sample;
        let Done { actor, version } = done;
        // "Already so" changes nothing, so nothing of it is kept.
        let is_duty = matches!(wish, Wish::Driver { action: DriverAction::SetDuty { .. }, .. });
        if !is_duty {
            let line = serde_json::json!({ "entity": actor, "version": version, "command": id });
            writeln!(inner.file, "{line}").expect("the disk has room for a line");
        }
        inner.n_acked += 1;
        if matches!(wish, Wish::PlaceOrder(_)) {
            inner.placed.push((*by, *id, actor.clone()));
        }
        let is_chosen = n_tries > 1 || inner.n_acked.is_multiple_of(SAMPLE_EVERY);
        if is_chosen && !matches!(wish, Wish::Driver { .. }) && inner.samples.len() < SAMPLES_MAX {
            inner.samples.push(sample);
        }
    }

    /// A command has had its answer.
    pub(crate) fn answered(&self, client: usize, began: Instant, n_tries: u32, told: Told) {
        let mut inner = self.inner();
        inner.spans.push(Span { client, began, ended: Instant::now() });
        inner.n_repeated += u64::from(n_tries > 1);
        inner.by_client[client] += 1;
        inner.n_refused += u64::from(told != Told::Yes);
    }

    /// Something was said that should not have been.
    pub(crate) fn unexpected(&self, what: String) {
        let mut inner = self.inner();
        if inner.unexpected.len() < WORDS_MAX {
            inner.unexpected.push(what);
        }
    }

    /// How many answers there were.
    pub(crate) fn n_answered(&self) -> u64 {
        self.inner().by_client.iter().sum()
    }

    /// How many answers each client has had.
    pub(crate) fn by_client(&self) -> Vec<u64> {
        self.inner().by_client.clone()
    }

    /// How many commands were acknowledged, were refused, and needed more than one try.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let inner = self.inner();
        (inner.n_acked, inner.n_refused, inner.n_repeated)
    }

    /// What should not have been said.
    pub(crate) fn all_unexpected(&self) -> Vec<String> {
        self.inner().unexpected.clone()
    }

    /// Some of what was acknowledged.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.inner().samples.clone()
    }

    /// Every order that was acknowledged: by whom, with which command, and its id.
    pub(crate) fn placed(&self) -> Vec<(Principal, CommandId, String)> {
        self.inner().placed.clone()
    }

    /// The file of acknowledgements, complete.
    pub(crate) fn file(&self) -> Outcome<&Path> {
        self.inner().file.flush()?;
        Ok(&self.acks)
    }

    /// How long after `at` the last of those who were waiting then had its answer.
    pub(crate) fn last_of(&self, at: Instant) -> Duration {
        let inner = self.inner();
        let waiting = inner.spans.iter().filter(|it| it.began <= at && it.ended > at);
        waiting.map(|it| it.ended.duration_since(at)).max().unwrap_or_default()
    }

    /// How long clients waited between two moments.
    pub(crate) fn stalls(&self, from: Instant, to: Instant) -> Stalls {
        self.stalls_of(from, to, |_| true)
    }

    /// The same for some clients.
    pub(crate) fn stalls_of(
        &self,
        from: Instant,
        to: Instant,
        is_meant: impl Fn(usize) -> bool,
    ) -> Stalls {
        let inner = self.inner();
        let mut times = Histogram::<u64>::new(3).expect("three digits are possible");
        let spans = inner.spans.iter().filter(|it| it.ended >= from && it.began <= to);
        for span in spans.filter(|it| is_meant(it.client)) {
            let us = span.ended.duration_since(span.began).as_micros() as u64;
            times.record(us.max(1)).expect("it grows");
        }
        let gaps = inner.gaps.iter().filter(|(at, long)| *at >= from && *at <= to + *long);
        let gap = gaps.map(|(_, long)| *long).max().unwrap_or_default();
        let at = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1_000.0;
        let seconds = to.duration_since(from).as_secs_f64().max(0.001);
        Stalls {
            n_commands: times.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: times.max() as f64 / 1_000.0,
            gap_ms: gap.as_secs_f64() * 1_000.0,
            per_s: times.len() as f64 / seconds,
        }
    }
}

impl fmt::Display for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_commands, p50_ms, p90_ms, p99_ms, max_ms, gap_ms, per_s } = self;
        write!(
            f,
            "{n_commands} commands ({per_s:.0}/s), p50 {p50_ms:.0} p90 {p90_ms:.0} p99 {p99_ms:.0} \
             max {max_ms:.0} ms, longest silence {gap_ms:.0} ms"
        )
    }
}
