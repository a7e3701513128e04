//! What goes wrong in a run, and when: a pure function of its seed.

use super::{
    node::Temper,
    world::{CLIENTS, DATABASE, Weather},
};
use protocol::ShardId;
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// How many nodes there are, of which all but one are there from the beginning.
pub(crate) const N_NODES: usize = 4;
/// Nothing goes wrong before the first nodes have found their places…
const BEGIN_MS: u64 = 1_500;
/// …and nothing new goes wrong after this.
pub(crate) const CHAOS: Duration = Duration::from_secs(9);
/// Most shards in play.
const SHARDS_MAX: usize = 20;

/// What is done to hosts and links. Hosts go by their names.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// A process ends where it stands; does the database notice?
    Crash { node: usize, is_noticed: bool },
    /// It is started, if it is not running.
    Start { node: usize },
    /// It is told to leave.
    Leave { node: usize },
    /// Nothing gets through between two hosts, either way.
    Part(String, String),
    /// Nothing gets from the first to the second.
    PartOneWay(String, String),
    /// What is on its way between them waits.
    Hold(String, String),
    /// Whatever was done to the link is over.
    Heal(String, String),
    /// It may take that long.
    Slow(String, String, Duration),
    /// A node's connection to all others is lost, or back.
    Plug { node: usize, is_plugged: bool },
    /// Somebody wants a shard on a node.
    Pin(ShardId, usize),
}

/// What is done in one run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<(Duration, Action)>,
    pub(crate) weather: Weather,
    pub(crate) tempers: Vec<Temper>,
    pub(crate) in_play: Vec<ShardId>,
    /// How long a datagram may take when nothing is wrong.
    pub(crate) latency_max: Duration,
}

/// A kind of fault. Each run has a few of them, so that each is alone sometimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crash,
    Leave,
    Part,
    PartOneWay,
    Hold,
    Slow,
    Pause,
    DatabaseAway,
    Deaf,
    Pin,
}

const KINDS: [Kind; 10] = [
    Kind::Crash,
    Kind::Leave,
    Kind::Part,
    Kind::PartOneWay,
    Kind::Hold,
    Kind::Slow,
    Kind::Pause,
    Kind::DatabaseAway,
    Kind::Deaf,
    Kind::Pin,
];

pub(crate) fn name(node: usize) -> String {
    format!("node-{node}")
}

pub(crate) fn plan(rng: &mut ChaCha8Rng) -> Plan {
    let share = |rng: &mut ChaCha8Rng| *[0.0, 0.0, 0.01, 0.05].choose(rng).expect("some");
    let weather = Weather { lost: share(rng), doubled: share(rng) };
    let tempers = (0..N_NODES)
        .map(|_| Temper { is_stubborn: rng.random_bool(0.1), skew_ms: rng.random_range(0..50) });
    let tempers = tempers.collect();
    let n_shards = rng.random_range(4..=SHARDS_MAX);
    let in_play: Vec<ShardId> =
        (0..n_shards).map(|_| ShardId(rng.random_range(0..protocol::SHARDS))).collect();
    let latency_max = Duration::from_millis(*[1, 5, 30].choose(rng).expect("some"));
    let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|_| rng.random_bool(0.4)).collect();
    if kinds.is_empty() {
        kinds.push(*KINDS.choose(rng).expect("some"));
    }
    let mut actions = vec![(moment(rng), Action::Start { node: N_NODES - 1 })];
    for _ in 0..rng.random_range(3..12) {
        let kind = *kinds.choose(rng).expect("some");
        fault(rng, kind, &in_play, &mut actions);
    }
    actions.sort_by_key(|(at, _)| *at);
    Plan { actions, weather, tempers, in_play, latency_max }
}

fn moment(rng: &mut ChaCha8Rng) -> Duration {
    Duration::from_millis(rng.random_range(BEGIN_MS..CHAOS.as_millis() as u64))
}

/// Short ones are as likely as long ones.
fn while_(rng: &mut ChaCha8Rng) -> Duration {
    Duration::from_secs_f64(10_f64.powf(rng.random_range(-1.0..0.7)))
}

fn fault(
    rng: &mut ChaCha8Rng,
    kind: Kind,
    in_play: &[ShardId],
    actions: &mut Vec<(Duration, Action)>,
) {
    let (begin, length) = (moment(rng), while_(rng));
    let end = begin + length;
    let node = rng.random_range(0..N_NODES);
    let me = name(node);
    let mut peers: Vec<String> = (0..N_NODES).filter(|it| *it != node).map(name).collect();
    peers.push(DATABASE.to_owned());
    let peer = peers.choose(rng).expect("some").clone();
    let mut both = |one: Action, other: Action| {
        actions.push((begin, one));
        actions.push((end, other));
    };
    let heal = || Action::Heal(me.clone(), peer.clone());
    match kind {
        Kind::Crash => {
            let is_noticed = rng.random_bool(0.5);
            both(Action::Crash { node, is_noticed }, Action::Start { node });
        }
        Kind::Leave => both(Action::Leave { node }, Action::Start { node }),
        Kind::Part => both(Action::Part(me.clone(), peer.clone()), heal()),
        Kind::PartOneWay => match rng.random_bool(0.5) {
            true => both(Action::PartOneWay(me.clone(), peer.clone()), heal()),
            false => both(Action::PartOneWay(peer.clone(), me.clone()), heal()),
        },
        Kind::Hold => both(Action::Hold(me.clone(), peer.clone()), heal()),
        Kind::Slow => {
            let max = Duration::from_millis(rng.random_range(20..600));
            both(Action::Slow(me.clone(), peer.clone(), max), heal());
        }
        Kind::Pause => {
            peers.push(CLIENTS.to_owned());
            for peer in peers {
                both(Action::Hold(me.clone(), peer.clone()), Action::Heal(me.clone(), peer));
            }
        }
        Kind::DatabaseAway => {
            let is_held = rng.random_bool(0.5);
            for node in 0..N_NODES {
                let (one, other) = (name(node), DATABASE.to_owned());
                let begin = match is_held {
                    true => Action::Hold(one.clone(), other.clone()),
                    false => Action::Part(one.clone(), other.clone()),
                };
                both(begin, Action::Heal(one, other));
            }
        }
        Kind::Deaf => {
            both(Action::Plug { node, is_plugged: false }, Action::Plug { node, is_plugged: true })
        }
        Kind::Pin => {
            for shard in in_play {
                let node = rng.random_range(0..N_NODES);
                if rng.random_bool(0.3) {
                    actions.push((begin, Action::Pin(*shard, node)));
                }
            }
        }
    }
}
