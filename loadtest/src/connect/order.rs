//! What a generator is told to do, and what it says back: lines of JSON on its pipes.

use super::tally::{Counts, Taken};
use protocol::{DriverId, Principal, RiderId};
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Which sessions a generator opens, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// Its number.
    pub(super) worker: u32,
    /// Its first session among all.
    pub(super) first: u64,
    /// How many it has.
    pub(super) n: u32,
    /// Where nodes are.
    pub(super) at: Vec<SocketAddr>,
    /// Who signs its tokens.
    pub(super) key: PathBuf,
    /// Repeats a crowd.
    pub(super) seed: u64,
    /// How many of a hundred are drivers.
    pub(super) drivers_percent: u8,
    /// Do drivers start to work?
    pub(super) on_duty: bool,
    /// How many it opens a second.
    pub(super) per_s: f64,
    /// How many it opens at once.
    pub(super) at_once: u32,
    /// How many are begun at the same moment, at the same node.
    pub(super) at_a_time: u32,
    /// At multiples of how many microseconds its phones say something; 0: whenever it is time.
    pub(super) step_us: u64,
    /// Does it keep tokens, to come back with?
    pub(super) keeps_tokens: bool,
    /// Those among them who do more than to be there.
    pub(super) cast: Cast,
}

/// Who of a generator's sessions plays a part: the first ones, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cast {
    /// Drivers who are told something and do not say that they have it; and as many riders, who ask for one of
    /// them each, and are never cut off.
    pub(super) n_holders: u32,
    /// Drivers who wish for something again and again, and are never cut off.
    pub(super) n_askers: u32,
    /// How many commands they say a second, together.
    pub(super) asks_per_s: u32,
}

/// The part a session plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It is there.
    Extra,
    /// It holds pushes.
    Holder,
    /// It orders the holder of this number.
    Placer(u32),
    /// It asks.
    Asker,
}

impl Cast {
    /// What the `index`th plays.
    pub(super) fn part(&self, index: u32) -> Part {
        let Self { n_holders, n_askers, .. } = *self;
        match index {
            _ if index < n_holders => Part::Holder,
            _ if index < 2 * n_holders => Part::Placer(index - n_holders),
            _ if index < 2 * n_holders + n_askers => Part::Asker,
            _ => Part::Extra,
        }
    }

    /// How many there are.
    pub(super) fn n(&self) -> u32 {
        2 * self.n_holders + self.n_askers
    }
}

impl Order {
    /// Who the `index`th is.
    pub(super) fn principal(&self, index: u32) -> Principal {
        let n = self.seed << 32 | (self.first + u64::from(index));
        let is_driver = match self.cast.part(index) {
            Part::Holder | Part::Asker => true,
            Part::Placer(_) => false,
            // Spread evenly, and the same in every run.
            Part::Extra => (n * 37) % 100 < u64::from(self.drivers_percent),
        };
        match is_driver {
            true => Principal::Driver(DriverId::nth(n)),
            false => Principal::Rider(RiderId::nth(n)),
        }
    }

    /// Where the `index`th comes from: two addresses for each generator, for one has 28,000 ports.
    pub(super) fn source(&self, index: u32) -> SocketAddr {
        let n = 2 * self.worker + index % 2;
        let ip = Ipv4Addr::new(127, 1, (n / 250) as u8, (n % 250) as u8 + 1);
        SocketAddr::new(ip.into(), 0)
    }

    /// Where the `index`th goes.
    pub(super) fn target(&self, index: u32) -> SocketAddr {
        let at_a_time = u64::from(self.at_a_time.max(1));
        let n = self.first / at_a_time + u64::from(index) / at_a_time;
        self.at[(n % self.at.len() as u64) as usize]
    }

    /// When a phone says something that is to say it then, in microseconds of a clock that all generators share.
    pub(super) fn in_step(&self, due_us: u64) -> u64 {
        match self.step_us {
            0 => due_us,
            step_us => due_us.div_ceil(step_us) * step_us,
        }
    }

    /// How many may have been begun by then, in seconds since the start.
    pub(super) fn n_allowed(&self, at_s: f64) -> f64 {
        let at_a_time = f64::from(self.at_a_time.max(1));
        ((at_s * self.per_s / at_a_time).floor() + 1.0) * at_a_time
    }
}

/// What a generator is told on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// Half of the placers place their orders.
    Place,
    /// Everybody but placers and askers is cut off, and comes back.
    Cut,
    /// Say how long things took.
    Tell,
    /// Say what became of the pushes.
    Judge,
    /// Say goodbye, and end.
    Leave,
}

/// What a generator says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// Every second.
    Counts(Counts),
    /// Because it was told to tell.
    Took(Taken),
    /// Because it was told to judge.
    Held(Held),
}

/// What became of pushes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Orders that were placed for drivers who were cut off, before and meanwhile.
    pub n_placed: u64,
    /// Orders that could not be placed.
    pub n_not_placed: u64,
    /// Pushes that were heard before the cut and not acknowledged.
    pub n_held: u64,
    /// Pushes heard after it.
    pub n_heard_after: u64,
    /// What should have been heard after it, and was not.
    pub missed: Vec<String>,
}

/// How long a socket and its welcome may take, as in the clients apps hold.
pub(super) const WELCOME_MAX: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    fn order(cast: Cast) -> Order {
        Order {
            worker: 130,
            first: 18_000,
            n: 1_000,
            at: vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()],
            key: PathBuf::new(),
            seed: 1,
            drivers_percent: 10,
            on_duty: false,
            per_s: 1.0,
            at_once: 1,
            at_a_time: 1,
            step_us: 0,
            keeps_tokens: false,
            cast,
        }
    }

    #[test]
    fn so_many_of_a_hundred_are_drivers() {
        let order = order(Cast::default());
        let n = (0..1_000).filter(|n| matches!(order.principal(*n), Principal::Driver(_))).count();
        assert_eq!(n, 100);
    }

    #[test]
    fn everybody_is_somebody_else() {
        let order = order(Cast { n_holders: 3, n_askers: 2, asks_per_s: 1 });
        let all: std::collections::HashSet<_> = (0..1_000).map(|n| order.principal(n)).collect();
        assert_eq!(all.len(), 1_000);
        let parts: Vec<_> = (2..9).map(|n| order.cast.part(n)).collect();
        let placers = [Part::Placer(0), Part::Placer(1), Part::Placer(2)];
        assert_eq!(parts[0], Part::Holder);
        assert_eq!(parts[1..4], placers);
        assert_eq!(parts[4..], [Part::Asker, Part::Asker, Part::Extra]);
    }

    #[test]
    fn sources_are_loopback_addresses_of_two_for_each_generator() {
        let order = order(Cast::default());
        assert_eq!(order.source(0).to_string(), "127.1.1.11:0");
        assert_eq!(order.source(1).to_string(), "127.1.1.12:0");
        assert_eq!(order.source(2), order.source(0));
        assert_ne!(order.target(0), order.target(1));
    }

    #[test]
    fn those_who_begin_together_go_to_the_same_node() {
        let order = Order { at_a_time: 4, per_s: 8.0, ..order(Cast::default()) };
        let targets: Vec<_> = (0..12).map(|n| order.target(n)).collect();
        assert!(targets.chunks(4).all(|four| four.iter().all(|it| *it == four[0])));
        assert!(targets[0] != targets[4] && targets[0] == targets[8]);
        assert_eq!([0, 999].map(|due_us| order.in_step(due_us)), [0, 999]);
        let slow = Order { step_us: 250, ..order.clone() };
        assert_eq!([0, 1, 250, 251].map(|due_us| slow.in_step(due_us)), [0, 250, 250, 500]);
        let allowed = [0.0, 0.4, 0.5, 0.9, 1.0].map(|at_s| order.n_allowed(at_s));
        assert_eq!(allowed, [4.0, 4.0, 8.0, 8.0, 12.0]);
    }
}
