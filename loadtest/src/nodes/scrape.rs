//! The text a node answers `GET /metrics` with (Prometheus, 0.0.4), as far as a report needs it.

use super::Inside;
use std::collections::BTreeMap;

/// What a node had counted at one moment: for each name, its lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scrape(BTreeMap<String, Vec<Line>>);

#[derive(Debug, Clone, PartialEq)]
struct Line {
    labels: Vec<(String, String)>,
    value: f64,
}

/// A histogram over all its labels: how many took at most so many seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Buckets {
    /// Ascending; the last may be infinite.
    at_most: Vec<(f64, u64)>,
    sum_s: f64,
    n: u64,
}

impl Scrape {
    /// Reads it. What it does not understand, it passes over.
    pub(super) fn read(text: &str) -> Self {
        let mut lines = BTreeMap::<String, Vec<Line>>::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, line)) = read(line) {
                lines.entry(name).or_default().push(line);
            }
        }
        Self(lines)
    }

    fn lines(&self, name: &str) -> &[Line] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Its first line; none, if there is none.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.lines(name).first().map(|line| line.value)
    }

    /// The sum over all labels.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.lines(name).iter().map(|line| line.value).sum::<f64>().max(0.0) as u64
    }

    /// Sums by one label.
    pub(super) fn by_label(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for line in self.lines(name) {
            let value = line.labels.iter().find(|(key, _)| key == label);
            let word = value.map_or("", |(_, value)| value).to_owned();
            *sums.entry(word).or_default() += line.value.max(0.0) as u64;
        }
        sums
    }

    /// What a label says.
    pub(super) fn label(&self, name: &str, label: &str) -> Option<String> {
        let mut labels = self.lines(name).iter().flat_map(|line| &line.labels);
        labels.find(|(key, _)| key == label).map(|(_, value)| value.clone())
    }

    /// A histogram, over all its labels.
    pub(super) fn times(&self, name: &str) -> Buckets {
        let mut at_most: Vec<(f64, u64)> = Vec::new();
        for line in self.lines(&format!("{name}_bucket")) {
            let bound = line.labels.iter().find(|(key, _)| key == "le").map(|(_, it)| it.parse());
            let Some(Ok(bound)) = bound else { continue };
            let n = line.value.max(0.0) as u64;
            match at_most.iter_mut().find(|(other, _): &&mut (f64, u64)| *other == bound) {
                Some((_, all)) => *all += n,
                None => at_most.push((bound, n)),
            }
        }
        at_most.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sum_s = self.lines(&format!("{name}_sum")).iter().map(|line| line.value).sum();
        Buckets { at_most, sum_s, n: self.number(&format!("{name}_count")) }
    }

    /// Does it count less than before? Counters only grow, until a process begins anew.
    pub(super) fn is_younger_than(&self, before: &Self) -> bool {
        [
            "outrider_frames_total",
            "outrider_commands_total",
            "outrider_journal_commit_seconds_count",
        ]
        .iter()
        .any(|name| self.number(name) < before.number(name))
    }
}

impl Buckets {
    /// What was added since an earlier look.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| {
            before.at_most.iter().find(|(other, _)| *other == bound).map_or(0, |(_, n)| *n)
        };
        let at_most = self.at_most.iter();
        Self {
            at_most: at_most
                .map(|(bound, n)| (*bound, n.saturating_sub(earlier(*bound))))
                .collect(),
            sum_s: (self.sum_s - before.sum_s).max(0.0),
            n: self.n.saturating_sub(before.n),
        }
    }

    /// In milliseconds, to the bounds of the buckets.
    pub(super) fn inside(&self) -> Inside {
        // Of what is in the last bucket, nobody knows how long it took: at least as long as the one before allows.
        let finite = |bound: f64| bound.is_finite().then_some(bound);
        let longest =
            self.at_most.iter().rev().find_map(|(bound, _)| finite(*bound)).unwrap_or(0.0);
        let at = |quantile: f64| {
            let wanted = (self.n as f64 * quantile).ceil() as u64;
            let bucket = self.at_most.iter().find(|(_, n)| *n >= wanted);
            bucket.and_then(|(bound, _)| finite(*bound)).unwrap_or(longest) * 1e3
        };
        let all = self.at_most.iter().find(|(_, n)| *n >= self.n);
        match self.n {
            0 => Inside::default(),
            n => Inside {
                n,
                mean: self.sum_s * 1e3 / n as f64,
                p50: at(0.5),
                p95: at(0.95),
                p99: at(0.99),
                max: all.and_then(|(bound, _)| finite(*bound)).map(|bound| bound * 1e3),
            },
        }
    }
}

/// One line: `name{key="value",…} number`.
fn read(line: &str) -> Option<(String, Line)> {
    let (rest, value) = line.trim().rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = rest.split_once('{') else {
        return Some((rest.to_owned(), Line { labels: Vec::new(), value }));
    };
    let labels = labels.strip_suffix('}')?.split("\",");
    let labels = labels.filter_map(|label| {
        let (key, value) = label.trim().split_once("=\"")?;
        Some((key.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name.to_owned(), Line { labels: labels.collect(), value }))
}
