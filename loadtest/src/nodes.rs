//! Nodes as they are seen from outside, once a second: whether they answer and want work, what they say they do, and how
//! long that took by their own clocks.
//!
//! Anybody may ask these (`GET /health/ready`, `GET /metrics`), so a crowd still knows nothing but what is public. What
//! nodes measure of themselves is kept apart from what clients measure: the difference is the network, the queue in
//! front of a socket, and the generator.

mod scrape;

use crate::measure::NodeSlot;
use scrape::Scrape;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often they are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// A node that takes longer to say how it is counts as silent.
const PATIENCE: Duration = Duration::from_millis(900);

/// What nodes measure of themselves: how thresholds call it, what people call it, and the histogram it is in.
pub(crate) const INSIDE: [(&str, &str, &str); 4] = [
    ("command", "command answered", "outrider_ask_seconds"),
    ("commit", "commit written", "outrider_journal_commit_seconds"),
    ("ask", "asked another node", "outrider_cluster_ask_seconds"),
    ("tick", "matching round", "outrider_region_tick_seconds"),
];

/// Nodes that are looked at; by default none.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    seen: Arc<Mutex<Vec<Node>>>,
    /// Nobody looks any more when the last of these is gone.
    _looking: Option<Arc<DropGuard>>,
}

/// One of them.
#[derive(Debug, Default)]
struct Node {
    name: String,
    version: String,
    first: Option<Scrape>,
    last: Option<Scrape>,
    counting: Counting,
    slot: Option<NodeSlot>,
    /// What happened since somebody asked.
    news: Vec<String>,
    /// How often it began anew: what was counted before is gone.
    n_restarts: u64,
}

/// Does what a node does now count?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Counting {
    #[default]
    NotYet,
    Now,
    NoMore,
}

/// What was seen since the last look.
#[derive(Debug, Default)]
pub(crate) struct Sights {
    pub(crate) slots: BTreeMap<String, NodeSlot>,
    /// Who, and what.
    pub(crate) events: Vec<(String, String)>,
}

/// What a node says of itself, while it counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSide {
    /// Where it is.
    pub name: String,
    /// Which build.
    pub version: String,
    /// How often it began anew meanwhile; what it had measured before is not in its times.
    pub n_restarts: u64,
    /// How long what it did took, by its own clock.
    pub inside: BTreeMap<String, Inside>,
    /// Commands by how they were answered, by the node's own count.
    pub commands: BTreeMap<String, u64>,
    /// Times it was too busy.
    pub busy: u64,
}

/// How long something took inside a node: the bounds of the buckets of its histogram, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inside {
    /// How often.
    pub n: u64,
    /// On average.
    pub mean: f64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 95 of a hundred.
    pub p95: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// The bound of the bucket with the longest of them; none, if one took longer than all bounds.
    #[serde(default)]
    pub max: Option<f64>,
}

impl Nodes {
    /// Looks at these (`host:port`), until it and all its clones are gone.
    pub fn watch(authorities: &[String]) -> Self {
        let nodes = authorities.iter().map(|name| Node { name: name.clone(), ..Node::default() });
        let seen = Arc::new(Mutex::new(nodes.collect()));
        let stop = CancellationToken::new();
        for (n, authority) in authorities.iter().enumerate() {
            tokio::spawn(follow(authority.clone(), n, Arc::clone(&seen), stop.clone()));
        }
        Self { seen, _looking: Some(Arc::new(stop.drop_guard())) }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Node>> {
        // Whoever panicked here has spoilt at most one look.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How they are, and what happened since the last look.
    pub(crate) fn look(&self) -> Sights {
        let mut sights = Sights::default();
        for node in self.seen().iter_mut() {
            sights.slots.extend(node.slot.map(|slot| (node.name.clone(), slot)));
            let news = std::mem::take(&mut node.news);
            sights.events.extend(news.into_iter().map(|what| (node.name.clone(), what)));
        }
        sights
    }

    /// What they do from now on counts: the warm-up is over.
    pub(crate) fn begin_counting(&self) {
        for node in self.seen().iter_mut().filter(|it| it.counting == Counting::NotYet) {
            node.counting = Counting::Now;
            node.first.clone_from(&node.last);
            node.n_restarts = 0;
        }
    }

    /// What they do from now on does not count any more.
    pub(crate) fn end_counting(&self) {
        for node in self.seen().iter_mut() {
            node.counting = Counting::NoMore;
        }
    }

    /// What they say of themselves, of what counted.
    pub(crate) fn sides(&self) -> Vec<NodeSide> {
        self.seen().iter().map(Node::side).collect()
    }
}

impl Node {
    /// A look, or none if it did not answer.
    fn saw(&mut self, is_ready: Option<bool>, scrape: Option<Scrape>) {
        let slot = scrape.as_ref().map_or_else(NodeSlot::default, |scrape| NodeSlot {
            is_up: true,
            is_ready: is_ready.unwrap_or(false),
            sessions: scrape.number("outrider_sessions"),
            shards: scrape.number("outrider_cluster_shards_owned"),
            awake: scrape.number("outrider_entities_awake"),
        });
        let began_anew = match (&self.last, &scrape) {
            (Some(before), Some(after)) => after.is_younger_than(before),
            (None, _) | (_, None) => false,
        };
        self.news.extend(news(self.slot, slot, began_anew));
        self.slot = Some(slot);
        if self.counting == Counting::NoMore {
            return;
        }
        let Some(scrape) = scrape else { return };
        if let Some(version) = scrape.label("outrider_build_info", "version") {
            self.version = version;
        }
        if began_anew {
            self.n_restarts += 1;
            self.first = None;
        }
        if self.first.is_none() {
            self.first = Some(if began_anew { Scrape::default() } else { scrape.clone() });
        }
        self.last = Some(scrape);
    }

    fn side(&self) -> NodeSide {
        let (Some(first), Some(last)) = (&self.first, &self.last) else {
            return NodeSide { name: self.name.clone(), ..NodeSide::default() };
        };
        let inside = INSIDE.iter().filter_map(|(_, says, name)| {
            let inside = last.times(name).since(&first.times(name)).inside();
            (inside.n > 0).then(|| ((*says).to_owned(), inside))
        });
        let commands = last.by_label("outrider_commands_total", "outcome");
        let before = first.by_label("outrider_commands_total", "outcome");
        let since = |(word, n): (String, u64)| {
            let n = n.saturating_sub(before.get(&word).copied().unwrap_or(0));
            (n > 0).then_some((word, n))
        };
        NodeSide {
            name: self.name.clone(),
            version: self.version.clone(),
            n_restarts: self.n_restarts,
            inside: inside.collect(),
            commands: commands.into_iter().filter_map(since).collect(),
            busy: last
                .number("outrider_busy_total")
                .saturating_sub(first.number("outrider_busy_total")),
        }
    }
}

/// How much quicker than life a node (`host:port`) takes vehicles to be; none, if it does not say so.
pub async fn speed_of(authority: &str) -> Option<f64> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().ok()?;
    let text = client.get(format!("http://{authority}/metrics")).send().await.ok()?.text().await;
    Scrape::read(&text.ok()?).value("outrider_simulation_speed")
}

/// What is worth telling of two looks at a node.
fn news(before: Option<NodeSlot>, after: NodeSlot, began_anew: bool) -> Vec<String> {
    let mut news = Vec::new();
    let Some(before) = before else {
        if !after.is_up {
            news.push("does not answer".to_owned());
        }
        return news;
    };
    match (before.is_up, after.is_up) {
        (true, false) => news.push("gone".to_owned()),
        (false, true) => news.push("back".to_owned()),
        (true, true) if began_anew => news.push("began anew".to_owned()),
        (true, true) | (false, false) => {}
    }
    match (before.is_ready, after.is_ready) {
        (true, false) if after.is_up => news.push("wants no more work".to_owned()),
        (false, true) if before.is_up => news.push("wants work".to_owned()),
        (true | false, true | false) => {}
    }
    // One or two shards move all the time; a sixteenth of all is news.
    let is_news = before.shards.abs_diff(after.shards) >= 64;
    if before.is_up && after.is_up && is_news {
        news.push(format!("owns {} shards, before {}", after.shards, before.shards));
    }
    let lost = before.sessions.saturating_sub(after.sessions);
    if before.is_up && after.is_up && lost >= 20 && lost * 4 >= before.sessions {
        news.push(format!("{lost} of {} sessions gone", before.sessions));
    }
    news
}

/// Looks at one node again and again.
async fn follow(authority: String, n: usize, seen: Arc<Mutex<Vec<Node>>>, stop: CancellationToken) {
    let Ok(client) = reqwest::Client::builder().timeout(PATIENCE).build() else { return };
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => return,
        }
        let ask = async |path: &str| client.get(format!("http://{authority}{path}")).send().await;
        let ready = async { ask("/health/ready").await.ok().map(|it| it.status().is_success()) };
        let scraped = async { ask("/metrics").await.ok()?.text().await.ok() };
        let (is_ready, text) = tokio::join!(ready, scraped);
        let scrape = text.map(|text| Scrape::read(&text));
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = seen.get_mut(n) {
            node.saw(is_ready, scrape);
        }
    }
}

#[cfg(test)]
mod tests;
