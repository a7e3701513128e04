//! What must hold of a run, as one says it: `place.p99 < 500ms`, `errors < 0.1%`, `completed > 95%`, `violations == 0`.

use crate::{
    measure::{Op, Times},
    nodes::{INSIDE, Inside},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};
use thiserror::Error;

/// Something that must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    said: String,
    /// What is compared.
    pub what: Measured,
    relation: Relation,
    /// In milliseconds, as a share, or as a number.
    bound: f64,
}

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measured {
    /// How long something took, in milliseconds.
    Time {
        /** What. */
        op: Op,
        /** Counted from when it was said, rather than from when it was due? */
        is_service: bool,
        /** Which part of them: a quantile, or all there were. */
        of: Part,
    },
    /// How long something took inside the slowest node by its own clock, in milliseconds.
    Inside {
        /** What. */
        what: &'static str,
        /** Which part of them: half, 95 or 99 of a hundred, the mean, or all there were. */
        of: Part,
    },
    /// The share of commands that failed or were never answered.
    Errors,
    /// The share of jobs that ended well or were called off by whoever asked.
    Completed,
    /// Connections that were lost and not by us.
    Lost,
    /// Commands answered with a yes, a second.
    DonePerS,
    /// Broken promises, those of the audit among them.
    Violations,
    /// Sessions that were held to the end, of those that were wanted.
    Held,
}

/// Which part of the times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// So many of one.
    Quantile(f64),
    /// The longest.
    Max,
    /// On average.
    Mean,
}

impl Part {
    /// This part of these times, in milliseconds; none of none.
    pub(crate) fn of(self, times: &Times) -> Option<f64> {
        let spread = times.spread();
        (spread.n > 0).then(|| match self {
            Self::Quantile(quantile) => times.at(quantile),
            Self::Max => spread.max,
            Self::Mean => spread.mean,
        })
    }
}

impl Part {
    /// This part of what a node measured of itself, in milliseconds; none of none, and of what its buckets do not tell.
    pub(crate) fn inside(self, it: &Inside) -> Option<f64> {
        let is_known = it.n > 0;
        let value = match self {
            Self::Quantile(0.5) => Some(it.p50),
            Self::Quantile(0.95) => Some(it.p95),
            Self::Quantile(0.99) => Some(it.p99),
            Self::Quantile(_) => None,
            Self::Max => it.max,
            Self::Mean => Some(it.mean),
        };
        value.filter(|_| is_known)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

/// Text that is no threshold, and what one may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NoThreshold(pub &'static str);

/// How a threshold was met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// What was to hold.
    pub threshold: String,
    /// What was measured, as people say it; none, if nothing was.
    pub measured: Option<String>,
    /// Does it hold? What was not measured does not.
    pub is_kept: bool,
}

impl Threshold {
    /// Judges what was measured.
    pub fn judge(&self, value: Option<f64>) -> Verdict {
        let is_kept = value.is_some_and(|value| match self.relation {
            Relation::Below => value < self.bound,
            Relation::AtMost => value <= self.bound,
            Relation::Above => value > self.bound,
            Relation::AtLeast => value >= self.bound,
            Relation::Equal => (value - self.bound).abs() < 1e-9,
        });
        let measured = value.map(|value| match self.what {
            Measured::Time { .. } => format!("{value:.1} ms"),
            Measured::Inside { .. } => format!("{value:.1} ms at most"),
            Measured::Errors | Measured::Completed | Measured::Held => {
                format!("{:.3} %", value * 100.0)
            }
            Measured::DonePerS => format!("{value:.1}"),
            Measured::Lost | Measured::Violations => format!("{value:.0}"),
        });
        Verdict { threshold: self.said.clone(), measured, is_kept }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl FromStr for Threshold {
    type Err = NoThreshold;

    fn from_str(text: &str) -> Result<Self, NoThreshold> {
        const SHAPE: NoThreshold = NoThreshold(
            "say it like \"place.p99 < 500ms\", \"errors < 0.1%\" or \"violations == 0\"",
        );
        let at = text.find(['<', '>', '=']).ok_or(SHAPE)?;
        let (name, rest) = text.split_at(at);
        let signs = [
            ("<=", Relation::AtMost),
            (">=", Relation::AtLeast),
            ("==", Relation::Equal),
            ("<", Relation::Below),
            (">", Relation::Above),
        ];
        let (sign, relation) =
            signs.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or(SHAPE)?;
        let what: Measured = name.trim().parse()?;
        let bound = what.bound(rest[sign.len()..].trim())?;
        Ok(Self { said: text.trim().to_owned(), what, relation, bound })
    }
}

impl FromStr for Measured {
    type Err = NoThreshold;

    fn from_str(name: &str) -> Result<Self, NoThreshold> {
        const NAMES: NoThreshold = NoThreshold(
            "what is measured is errors, completed, lost, done_per_s, violations, held, or a time: place, first_offer, offered, \
             driver_found, accept, step, other, heard, welcome, back or beat with .p50, .p90, .p95, .p99, .p999, .mean \
             or .max (and .service before it, to count from when it was said); or what nodes measured of themselves: \
             node.command, node.commit, node.ask or node.tick with .p50, .p95, .p99, .mean or .max",
        );
        let parts: Vec<&str> = name.split('.').collect();
        let time = |op: &str, is_service, of: &str| {
            let op = op.parse().map_err(|_| NAMES)?;
            let of = match of {
                "p50" => Part::Quantile(0.5),
                "p90" => Part::Quantile(0.9),
                "p95" => Part::Quantile(0.95),
                "p99" => Part::Quantile(0.99),
                "p999" => Part::Quantile(0.999),
                "max" => Part::Max,
                "mean" => Part::Mean,
                _ => return Err(NAMES),
            };
            Ok(Self::Time { op, is_service, of })
        };
        let inside = |name: &str, of: &str| {
            let (_, what, _) = *INSIDE.iter().find(|(it, ..)| *it == name).ok_or(NAMES)?;
            let of = match of {
                "p50" => Part::Quantile(0.5),
                "p95" => Part::Quantile(0.95),
                "p99" => Part::Quantile(0.99),
                "max" => Part::Max,
                "mean" => Part::Mean,
                _ => return Err(NAMES),
            };
            Ok(Self::Inside { what, of })
        };
        match parts[..] {
            ["errors"] => Ok(Self::Errors),
            ["completed"] => Ok(Self::Completed),
            ["lost"] => Ok(Self::Lost),
            ["done_per_s"] => Ok(Self::DonePerS),
            ["violations"] => Ok(Self::Violations),
            ["held"] => Ok(Self::Held),
            ["node", name, of] => inside(name, of),
            [op, of] => time(op, false, of),
            [op, "service", of] => time(op, true, of),
            _ => Err(NAMES),
        }
    }
}

impl Measured {
    /// The bound, in the unit of what it bounds.
    fn bound(self, text: &str) -> Result<f64, NoThreshold> {
        match self {
            Self::Time { .. } | Self::Inside { .. } => humantime::parse_duration(text)
                .map(|it: Duration| it.as_secs_f64() * 1e3)
                .map_err(|_| NoThreshold("a time is bounded by a time, such as 500ms or 2s")),
            Self::Errors | Self::Completed | Self::Held => {
                let number = text.strip_suffix('%').and_then(|it| it.trim().parse::<f64>().ok());
                number.map(|it| it / 100.0).ok_or(NoThreshold("a share is bounded by one: 0.1%"))
            }
            Self::Lost | Self::DonePerS | Self::Violations => {
                text.parse().map_err(|_| NoThreshold("a count is bounded by a number"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, value: f64) -> bool {
        text.parse::<Threshold>().unwrap().judge(Some(value)).is_kept
    }

    #[test]
    fn thresholds_are_said_in_the_units_of_what_they_bound() {
        assert!(kept("place.p99 < 500ms", 499.9) && !kept("place.p99 < 500ms", 500.0));
        assert!(kept("step.service.max <= 2s", 2_000.0));
        assert!(kept("errors < 0.1%", 0.000_9) && !kept("errors<0.1%", 0.001));
        assert!(kept("completed >= 95 %", 0.95));
        assert!(kept("violations == 0", 0.0) && !kept("violations == 0", 1.0));
        assert!(kept("done_per_s > 1000", 1_000.5));
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        let verdict = "place.p99 < 500ms".parse::<Threshold>().unwrap().judge(None);
        assert!(!verdict.is_kept && verdict.measured.is_none());
    }

    #[test]
    fn nonsense_is_told_what_would_be_sense() {
        for (text, wanted) in [
            ("place.p99", "say it like"),
            ("place.p98 < 1s", "what is measured is"),
            ("luck > 7", "what is measured is"),
            ("node.tick.p90 < 1s", "node.tick with .p50"),
            ("node.luck.max < 1s", "what is measured is"),
            ("place.p99 < 500", "bounded by a time"),
            ("errors < 0.1", "bounded by one"),
            ("violations == none", "by a number"),
        ] {
            let NoThreshold(said) = text.parse::<Threshold>().unwrap_err();
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}
