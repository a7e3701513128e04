//! The policies that are compared, in the terms of the regions' matching.

use clap::ValueEnum;
use matching::{cost, demand::Spreading, round::Pairing, surge};
use protocol::work::OfferPolicy;
use std::{fmt, time::Duration};

/// How requests and drivers are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// The oldest request takes the nearest free driver, at once.
    FirstCome,
    /// Of all requests and drivers, the closest pair first, every 2 s.
    ClosestPair,
    /// The least total way over all requests, every 2 s.
    Optimal2,
    /// The same every 10 s.
    Optimal10,
    /// The same every 30 s.
    Optimal30,
    /// Every 2 s, but a pair waits until it is good enough for the age of its request.
    Hold,
    /// The same every second, among drivers who end a ride soon, too.
    HoldAhead,
    /// The closest pair first, and idle drivers are told where to wait.
    ClosestSpread,
    /// As nodes do: with hold, every second, and idle drivers are told where to wait.
    Node,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.pad(value.get_name()),
            None => Ok(()),
        }
    }
}

/// A policy, spelt out.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// How often regions match.
    pub(super) tick: Duration,
    pub(super) pairing: Pairing,
    pub(super) offer: OfferPolicy,
    pub(super) settings: cost::Settings,
    /// A driver is listed this long before its ride ends.
    pub(super) ahead: Duration,
    /// How idle drivers are told where to wait; none if they are not.
    pub(super) hints: Option<Hints>,
}

/// How idle drivers are told where to wait.
#[derive(Debug, Clone)]
pub(super) struct Hints {
    /// How often regions look.
    pub(super) every: Duration,
    /// How often each driver is told, at most.
    pub(super) again: Duration,
    pub(super) spreading: Spreading,
}

impl Hints {
    /// As regions and presets have it (`driver.hints_every_ms`).
    fn of_nodes() -> Self {
        let every_ms = surge::Settings::default().every_ms;
        Self {
            every: Duration::from_millis(every_ms.into()),
            again: Duration::from_secs(300),
            spreading: Spreading::default(),
        }
    }
}

impl Policy {
    /// In the terms of matching.
    pub(super) fn rules(self) -> Rules {
        let rules = |tick_s, pairing, offer| Rules {
            tick: Duration::from_secs(tick_s),
            pairing,
            offer,
            // A simulation's positions are never old, and ties between people are not what is compared.
            settings: cost::Settings {
                stale_ms: u32::MAX,
                weights: cost::Weights::NONE,
                // Nobody asks it why.
                n_told: 0,
                ..cost::Settings::default()
            },
            ahead: Duration::ZERO,
            hints: None,
        };
        match self {
            Self::FirstCome => rules(1, Pairing::Greedy, OfferPolicy::Sequential),
            Self::ClosestPair => rules(2, Pairing::Closest, OfferPolicy::Sequential),
            Self::Optimal2 => rules(2, Pairing::Joint, OfferPolicy::Sequential),
            Self::Optimal10 => rules(10, Pairing::Joint, OfferPolicy::Sequential),
            Self::Optimal30 => rules(30, Pairing::Joint, OfferPolicy::Sequential),
            Self::Hold => rules(2, Pairing::Joint, OfferPolicy::BatchOptimal),
            Self::HoldAhead => Rules {
                ahead: Duration::from_secs(120),
                ..rules(1, Pairing::Joint, OfferPolicy::BatchOptimal)
            },
            Self::ClosestSpread => {
                Rules { hints: Some(Hints::of_nodes()), ..Self::ClosestPair.rules() }
            }
            Self::Node => Rules {
                hints: Some(Hints::of_nodes()),
                ..rules(1, Pairing::Joint, OfferPolicy::BatchOptimal)
            },
        }
    }
}
