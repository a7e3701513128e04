//! What one region knows of its drivers and searches, and one round over it.
//!
//! Pure: whoever lets it live (an actor, or a simulation) tells it what changed and what time it is,
//! brings the rosters of the regions around it, and carries its proposals out.
//!
//! ```text
//!  put, forget ──► Region ──wanting, proposed──► neighbours ──► their rosters, their wanting, whom they proposed
//!                     └──prepare──► Matching ──run──► Outcome ──► learn
//! ```
//!
//! What takes long to learn, and who stands in line, can be kept for whoever matches here next: `lore.rs`.

mod lore;

pub use lore::{Lines, Lore};

use crate::{
    Came, DriverCard, Field, Router, SearchCard,
    batch::{self, Against, Assigned, Chosen, Engine, Leeway, Proposal, RunCard},
    cost::Settings,
    demand::{Demand, Hint, Idle, Rates, Spreading, Square, spread, spread_part},
    forecast::Profile,
    rank::{Line, Rank, choose},
    round::{Outcome, Pairing, Terms, round},
    router::{Gone, KeptWays, Learned, Leg, Ways},
    surge::Count,
    trace::{Told, Traces},
};
use protocol::{
    DriverId, JobId, Point, RunId, Timestamp,
    trace::{Verdict, WhyAlone, WhyNot},
    view::{WorkKind, ZonePause},
    work::VehicleKind,
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use strum::EnumCount;

/// After this long, a request counts for 1/e of what it counted for the demand around it.
const DEMAND_MEMORY: Duration = Duration::from_secs(15 * 60);
/// For so long it is remembered that a request was counted…
const COUNTED_FOR: Duration = Duration::from_secs(3_600);
/// … unless so many have come since.
const N_COUNTED: usize = 16_384;
/// For so long a driver who was sent somewhere counts as being there.
const SENT_FOR: Duration = Duration::from_secs(10 * 60);

/// Where no more than so many drivers have nothing to do, in a region and around it, one look finds out at once which of
/// them had better wait elsewhere: an exact assignment of all of them. Of more, it looks at a part that costs no more.
const N_IDLE: usize = 2_000;
/// How many drivers at most are sent elsewhere in one tick. Each is a commit of a driver: a minute's worth at once would
/// stand in front of offers.
const N_HINTS: usize = 20;

/// A way that was gone longer ago teaches nothing about how ways are.
const CAME_WITHIN: Duration = Duration::from_secs(2 * 3_600);

/// Drivers of one region, in the order of their ids.
pub type Roster = Vec<Arc<DriverCard>>;

/// Open searches of one region that wait for a proposal, in the order of their jobs.
pub type Wanting = Vec<Arc<SearchCard>>;

/// Drivers a region proposed a moment ago, and when, in the order of their ids.
pub type Proposed = Vec<(DriverId, Timestamp)>;

/// What one region knows. All of it can be learned again, though some of that takes weeks.
#[derive(Debug)]
pub struct Region {
    middle: Point,
    radius_m: f64,
    /// How long a proposal is given to show in listings before it is repeated.
    repeat: Duration,
    drivers: BTreeMap<DriverId, Arc<DriverCard>>,
    /// The same as neighbours and rounds see them; none, if somebody has changed since.
    roster: Option<Arc<Roster>>,
    searches: BTreeMap<JobId, Open>,
    /// Runs that may take more along.
    runs: BTreeMap<RunId, Arc<RunCard>>,
    /// How long a delivery that may be brought with others is kept for company.
    hold: Duration,
    /// Drivers proposed a moment ago, whose listing does not show it yet.
    asked: Asked,
    /// Empty before the first round, and while one uses them: large, and used again.
    fields: Vec<Field>,
    demand: Demand,
    /// Whose requests have been counted.
    counted: Counted,
    /// How much is usually asked, over all of it.
    profile: Profile,
    /// Where drivers line up in it, and who does.
    ranks: Vec<(Rank, Line)>,
    /// Where idle drivers were last sent, and when.
    sent: HashMap<DriverId, (Point, Timestamp)>,
    /// Who is still to be sent somewhere, as was found out last.
    hints: VecDeque<Waiting>,
    /// How often that was found out for a part of them only.
    n_parts: usize,
    /// How ways in it really go.
    ways: Arc<Ways>,
    /// What was found of another router, until as much was learned of this one.
    other_ways: Option<Box<KeptWays>>,
    /// Ways that drivers told of, and were not learned from yet.
    came: Vec<(Arc<Came>, VehicleKind)>,
    /// When each driver set out on the last of them.
    left_at: HashMap<DriverId, Timestamp>,
}

/// Who was proposed a moment ago.
#[derive(Debug, Default)]
struct Asked {
    /// By this region, and when.
    here: HashMap<DriverId, Timestamp>,
    /// By those around it, as they last told.
    around: HashSet<DriverId>,
}

impl Asked {
    fn contains(&self, driver: DriverId) -> bool {
        self.here.contains_key(&driver) || self.around.contains(&driver)
    }
}

/// Which requests have been counted, the oldest first: one that lost its driver, was held for a while or is listed by
/// another node now asks for nothing new.
#[derive(Debug, Default)]
struct Counted {
    jobs: BTreeSet<(Timestamp, JobId)>,
    /// Of what was opened until then it is not known any more; it counts for next to nothing, and is taken to have been.
    forgotten_until: Option<Timestamp>,
}

impl Counted {
    /// Is it counted for the first time? From now on, it is not.
    fn is_new(&mut self, job: JobId, opened_at: Timestamp) -> bool {
        if self.forgotten_until.is_some_and(|until| opened_at <= until) {
            return false;
        }
        let is_new = self.jobs.insert((opened_at, job));
        while let (Some((oldest, _)), Some((latest, _))) = (self.jobs.first(), self.jobs.last())
            && (self.jobs.len() > N_COUNTED || latest.since(*oldest) > COUNTED_FOR)
        {
            self.forgotten_until = Some(*oldest);
            self.jobs.pop_first();
        }
        is_new
    }
}

/// A hint that has not been given yet.
#[derive(Debug)]
struct Waiting {
    hint: Hint,
    /// Where its driver was when it was found out.
    from: Square,
}

/// An open search.
#[derive(Debug)]
struct Open {
    card: Arc<SearchCard>,
    /// When drivers were last proposed for it, as it is listed now.
    proposed_at: Option<Timestamp>,
    /// When it was last told of its zone, as it is listed now.
    told_at: Option<Timestamp>,
    /// Its zone is paused, or it does not know yet that it is not any more.
    is_paused: bool,
}

impl Region {
    /// A region that knows nobody yet. No point of it is further than `radius_m` metres from `middle`.
    pub fn new(middle: Point, radius_m: f64, repeat: Duration, now: Timestamp) -> Self {
        Self {
            middle,
            radius_m,
            repeat,
            drivers: BTreeMap::new(),
            roster: None,
            searches: BTreeMap::new(),
            runs: BTreeMap::new(),
            hold: Duration::ZERO,
            asked: Asked::default(),
            fields: Vec::new(),
            demand: Demand::new(DEMAND_MEMORY, now),
            counted: Counted::default(),
            profile: Profile::new(now),
            ranks: Vec::new(),
            sent: HashMap::new(),
            hints: VecDeque::new(),
            n_parts: 0,
            ways: Arc::new(Ways::new(middle)),
            other_ways: None,
            came: Vec::new(),
            left_at: HashMap::new(),
        }
    }

    /// The same, with places in it where drivers line up.
    #[must_use]
    pub fn with_ranks(self, ranks: impl IntoIterator<Item = Rank>) -> Self {
        let ranks = ranks.into_iter().map(|rank| (rank, Line::default())).collect();
        Self { ranks, ..self }
    }

    /// The same, in which deliveries that may be brought with others are kept for company for so long, and no longer,
    /// before their own searches begin.
    #[must_use]
    pub fn with_hold(self, hold: Duration) -> Self {
        Self { hold, ..self }
    }

    /// A run is here that may take more along, or has changed.
    pub fn put_run(&mut self, card: Arc<RunCard>) {
        self.runs.insert(card.run, card);
    }

    /// A run takes nothing more along, or is over.
    pub fn forget_run(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// A driver is here, or has changed.
    pub fn put_driver(&mut self, card: Arc<DriverCard>) {
        // Each way is learned from where it ended, wherever its driver is listed afterwards.
        if let Some(came) = &card.came
            && self.middle.distance_m(came.to) <= self.radius_m
            && self.left_at.get(&card.id).is_none_or(|before| *before < came.left_at)
        {
            self.left_at.insert(card.id, came.left_at);
            self.came.push((came.clone(), card.vehicle.kind));
        }
        self.drivers.insert(card.id, card);
        self.roster = None;
    }

    /// A search is here, or has changed: it waits for a proposal.
    pub fn put_search(&mut self, card: Arc<SearchCard>) {
        if self.counted.is_new(card.job, card.opened_at) {
            self.demand.record(card.pickup, card.opened_at);
            self.profile.record(card.opened_at);
        }
        let is_paused = card.paused.is_some();
        self.searches.insert(card.job, Open { card, proposed_at: None, told_at: None, is_paused });
    }

    /// Learns of the ways that its drivers told of since it last did. `router` is what rounds are held with.
    pub fn learn_ways(&mut self, router: &dyn Router, now: Timestamp) {
        if self.came.is_empty() {
            return;
        }
        self.left_at.retain(|_, left_at| now.since(*left_at) < CAME_WITHIN);
        // Whichever was listed first: the same ways are learned from in the same order.
        self.came.sort_unstable_by_key(|(came, _)| (came.left_at, came.took_ms));
        let ways = Arc::make_mut(&mut self.ways);
        for (came, vehicle) in self.came.drain(..) {
            if now.since(came.left_at) >= CAME_WITHIN {
                continue;
            }
            let Came { from, to, left_at, took_ms } = *came;
            let learned = Learned { router, ways };
            let leg = Leg {
                from: learned.spot(from),
                to: learned.spot(to),
                distance_m: from.distance_m(to) as f32,
                vehicle,
                leaving: left_at,
            };
            ways.learn(&Gone { leg, took_ms }, router);
        }
    }

    /// What it knows of how ways really go.
    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    /// The same, to be kept. While somebody keeps it, the next that is learned costs a copy of it.
    pub fn shared_ways(&self) -> Arc<Ways> {
        self.ways.clone()
    }

    /// A driver has left, or can be offered nothing now. Was it here?
    pub fn forget_driver(&mut self, driver: DriverId) -> bool {
        self.asked.here.remove(&driver);
        self.sent.remove(&driver);
        let was_here = self.drivers.remove(&driver).is_some();
        if was_here {
            self.roster = None;
        }
        was_here
    }

    /// A search is over, or has left.
    pub fn forget_search(&mut self, job: JobId) {
        self.searches.remove(&job);
    }

    /// Keeps only these drivers, searches and runs. Has any driver gone?
    pub fn retain(
        &mut self,
        is_kept_driver: impl Fn(DriverId) -> bool,
        is_kept_job: impl Fn(JobId) -> bool,
        is_kept_run: impl Fn(RunId) -> bool,
    ) -> bool {
        self.runs.retain(|run, _| is_kept_run(*run));
        let n_before = self.drivers.len();
        self.drivers.retain(|driver, _| is_kept_driver(*driver));
        self.searches.retain(|job, _| is_kept_job(*job));
        let has_any_gone = self.drivers.len() != n_before;
        if has_any_gone {
            self.roster = None;
        }
        has_any_gone
    }

    /// How many drivers it knows.
    pub fn n_drivers(&self) -> usize {
        self.drivers.len()
    }

    /// How many searches it knows.
    pub fn n_searches(&self) -> usize {
        self.searches.len()
    }

    /// Does it know nobody at all?
    pub fn is_empty(&self) -> bool {
        self.drivers.is_empty() && self.searches.is_empty() && self.runs.is_empty()
    }

    /// Its drivers, as its neighbours may see them.
    pub fn roster(&self) -> Roster {
        self.drivers.values().cloned().collect()
    }

    /// The same, shared with its own rounds: it is made once for both, and only when somebody has changed.
    pub fn shared_roster(&mut self) -> Arc<Roster> {
        let drivers = &self.drivers;
        self.roster.get_or_insert_with(|| Arc::new(drivers.values().cloned().collect())).clone()
    }

    /// Whom it proposed a moment ago, so that its neighbours leave them alone until their listings show what came of it.
    pub fn proposed(&self, now: Timestamp) -> Proposed {
        let lately = self.asked.here.iter().filter(|(_, at)| now.since(**at) < self.repeat);
        let mut proposed: Proposed = lately.map(|(driver, at)| (*driver, *at)).collect();
        proposed.sort_unstable();
        proposed
    }

    /// Takes in whom the regions around it proposed, in place of what they told before.
    pub fn see_proposed<'a>(
        &mut self,
        around: impl IntoIterator<Item = &'a Proposed>,
        now: Timestamp,
    ) {
        let lately = around.into_iter().flatten().filter(|(_, at)| now.since(*at) < self.repeat);
        self.asked.around = lately.map(|(driver, _)| *driver).collect();
    }

    fn forget_asked(&mut self, now: Timestamp) {
        self.asked.here.retain(|_, at| now.since(*at) < self.repeat);
    }

    /// The searches it would propose for now.
    pub fn wanting(&self, now: Timestamp) -> Wanting {
        let is_due = |open: &&Open| {
            !open.is_paused
                && open.proposed_at.is_none_or(|at| now.since(at) >= self.repeat)
                && !self.waits_for_company(&open.card, now)
        };
        self.searches.values().filter(is_due).map(|open| open.card.clone()).collect()
    }

    /// Does it wait for company still?
    fn waits_for_company(&self, card: &SearchCard, now: Timestamp) -> bool {
        card.batch.is_some() && now.since(card.opened_at) < self.hold
    }

    /// Everything a look at what may be brought together needs. Nobody who was proposed a moment ago is proposed again.
    pub fn prepare_batches<'a>(
        &mut self,
        rosters: impl IntoIterator<Item = &'a Roster>,
        now: Timestamp,
    ) -> Batching {
        self.forget_asked(now);
        let is_due = |open: &&Open| {
            !open.is_paused
                && open.card.batch.is_some()
                && open.proposed_at.is_none_or(|at| now.since(at) >= self.repeat)
        };
        let waiting: Wanting =
            self.searches.values().filter(is_due).map(|open| open.card.clone()).collect();
        if waiting.is_empty() {
            let (others, drivers, runs) = (Vec::new(), Vec::new(), Vec::new());
            return Batching { waiting, others, drivers, runs, ways: self.ways.clone(), now };
        }
        let others = Vec::new();
        let (drivers, runs) = self.bringing(rosters);
        Batching { waiting, others, drivers, runs, ways: self.ways.clone(), now }
    }

    /// The same for whoever asks what would come of it: with all other deliveries, and with drivers also where none waits.
    pub fn prepare_groups<'a>(
        &mut self,
        rosters: impl IntoIterator<Item = &'a Roster>,
        now: Timestamp,
    ) -> Batching {
        let batching = self.prepare_batches(std::iter::empty(), now);
        let due: HashSet<JobId> = batching.waiting.iter().map(|it| it.job).collect();
        let is_other =
            |open: &&Open| open.card.work == WorkKind::Delivery && !due.contains(&open.card.job);
        let others = self.searches.values().filter(is_other).map(|open| open.card.clone());
        let others = others.collect();
        let (drivers, runs) = self.bringing(rosters);
        Batching { others, drivers, runs, ..batching }
    }

    /// The same for whoever brings along all that is looked at: nothing but how ways go here.
    pub fn prepare_ways(&self, now: Timestamp) -> Batching {
        let (waiting, others, drivers, runs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Batching { waiting, others, drivers, runs, ways: self.ways.clone(), now }
    }

    /// Who may bring deliveries: drivers who were not proposed a moment ago, and runs under way.
    fn bringing<'a>(
        &self,
        rosters: impl IntoIterator<Item = &'a Roster>,
    ) -> (Roster, Vec<Arc<RunCard>>) {
        let is_free = |card: &&Arc<DriverCard>| card.n_slots > 0 && !self.asked.contains(card.id);
        let mut drivers: Roster = self.drivers.values().filter(is_free).cloned().collect();
        drivers.extend(rosters.into_iter().flatten().filter(is_free).cloned());
        (drivers, self.runs.values().cloned().collect())
    }

    /// Takes note of what was proposed to be brought together.
    pub fn learn_batches(&mut self, proposals: &[Proposal], now: Timestamp) {
        for proposal in proposals {
            let (driver, orders) = match proposal {
                Proposal::Run(together) => (Some(together.driver), together.orders.clone()),
                Proposal::Insert { run, order, .. } => {
                    (self.runs.get(run).map(|it| it.driver), vec![*order])
                }
            };
            self.asked.here.extend(driver.map(|it| (it, now)));
            for (order, _) in orders {
                if let Some(open) = self.searches.get_mut(&JobId::Order(order)) {
                    open.proposed_at = Some(now);
                }
            }
        }
    }

    /// The same searches, but each that is picked up at a rank only for the driver whose turn it is there, if it is
    /// anybody's.
    pub fn line_up(&mut self, mut due: Wanting, now: Timestamp, settings: &Settings) -> Wanting {
        for (rank, line) in &mut self.ranks {
            let free = self.drivers.values().filter(|card| card.is_free);
            let there = free.filter(|card| rank.holds(card.at));
            let there = there.map(|card| (card.id, card.idle_since));
            line.see(there, now, Duration::from_millis(rank.grace_ms.into()));
            let order = line.order().into_iter().filter(|it| !self.asked.contains(*it));
            let standing: Roster = order.filter_map(|it| self.drivers.get(&it).cloned()).collect();
            for (n, driver) in choose(&due, rank, &standing, now, settings) {
                due[n] = Arc::new(SearchCard { only: Some(driver), ..(*due[n]).clone() });
            }
        }
        due
    }

    /// Who stands in line at each of its ranks, first come first.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = (&str, Vec<DriverId>)> {
        self.ranks.iter().map(|(rank, line)| (rank.name.as_str(), line.order()))
    }

    /// Which jobs must be told of the zone of their pickup: that it is paused, still is, or is not any more. Each is
    /// told again until its listing shows it, and asks for nobody before it goes on. Rescues are never kept waiting.
    pub fn pauses<Z: AsRef<ZonePause>>(
        &mut self,
        now: Timestamp,
        pause_of: impl Fn(Point) -> Option<Z>,
    ) -> Vec<(JobId, Option<Z>)> {
        let repeat = self.repeat;
        let not_rescues =
            self.searches.iter_mut().filter(|(_, open)| open.card.work != WorkKind::Rescue);
        let told = not_rescues.filter_map(|(job, open)| {
            let pause = pause_of(open.card.pickup);
            let known = open.card.paused;
            open.is_paused = pause.is_some() || known.is_some();
            let is_known = match (&pause, known) {
                (None, None) => true,
                (Some(pause), Some(known)) => {
                    let pause = pause.as_ref();
                    (pause.zone, pause.until) == (known.zone, known.until)
                        && known.stale_at.is_none_or(|at| now < at)
                }
                (Some(_), None) | (None, Some(_)) => false,
            };
            if is_known || open.told_at.is_some_and(|at| now.since(at) < repeat) {
                return None;
            }
            open.told_at = Some(now);
            Some((*job, pause))
        });
        told.collect()
    }

    /// The searches that ask for nobody because of their zone, for those who ask why.
    pub fn paused(&self) -> Traces {
        let mut traces = Traces::default();
        for card in self.searches.values().filter(|it| it.is_paused).map(|it| &it.card) {
            let told = Told {
                job: card.job,
                work: card.work,
                pickup: card.pickup,
                round: card.round,
                radius_m: card.radius_m,
                verdict: Verdict::ZonePaused,
                n_weighed: 0,
                tally: [0; WhyNot::COUNT],
                ruling: None,
                model: None,
            };
            traces.push(told, std::iter::empty(), std::iter::empty());
        }
        traces
    }

    /// A round for the searches that are `due`, with the drivers of the ring and what their own regions
    /// want them for. Nobody who was proposed a moment ago is proposed again.
    pub fn prepare<'a>(
        &mut self,
        due: Arc<Wanting>,
        rosters: impl IntoIterator<Item = &'a Roster>,
        rivals: impl IntoIterator<Item = &'a Wanting>,
        now: Timestamp,
        pairing: Pairing,
    ) -> Matching {
        let ring: Roster = rosters.into_iter().flatten().cloned().collect();
        self.prepare_shared(due, [Arc::new(ring)], rivals, now, pairing)
    }

    /// The same, of rosters that need not be copied for it.
    pub fn prepare_shared<'a>(
        &mut self,
        due: Arc<Wanting>,
        rosters: impl IntoIterator<Item = Arc<Roster>>,
        rivals: impl IntoIterator<Item = &'a Wanting>,
        now: Timestamp,
        pairing: Pairing,
    ) -> Matching {
        let free = self.free(rosters, now);
        let rivals = self.rivals(rivals);
        self.matching(free, due, rivals, now, pairing)
    }

    /// The same in parts, to be run side by side, for a region that is too hot to be matched at once. Each part is given
    /// its own searches and the drivers of the parts `around` it (itself among them), whose searches are its rivals.
    /// Two parts may come to the same driver: [`Region::learn`] sees to that.
    pub fn divide<'a, C: Copy + Ord>(
        &mut self,
        due: &Wanting,
        rosters: impl IntoIterator<Item = Arc<Roster>>,
        rivals: impl IntoIterator<Item = &'a Wanting>,
        now: Timestamp,
        pairing: Pairing,
        (part_of, around): (impl Fn(Point) -> C, impl Fn(C) -> Vec<C>),
    ) -> Vec<Matching> {
        let mut free: BTreeMap<C, Roster> = BTreeMap::new();
        for card in self.free(rosters, now).iter() {
            free.entry(part_of(card.start().0)).or_default().push(card.clone());
        }
        let mut wanting: BTreeMap<C, Wanting> = BTreeMap::new();
        for card in due {
            wanting.entry(part_of(card.pickup)).or_default().push(card.clone());
        }
        let mut foreign: BTreeMap<C, Wanting> = BTreeMap::new();
        for card in self.rivals(rivals) {
            foreign.entry(part_of(card.pickup)).or_default().push(card);
        }
        let mut parts = Vec::with_capacity(wanting.len());
        for (part, due) in &wanting {
            let around = around(*part);
            let here: Roster =
                around.iter().filter_map(|it| free.get(it)).flatten().cloned().collect();
            let here = Free { rosters: vec![Arc::new(here)], asked: HashSet::new() };
            let ours = around.iter().filter(|it| *it != part).filter_map(|it| wanting.get(it));
            let others = around.iter().filter_map(|it| foreign.get(it));
            let rivals = ours.chain(others).flatten().cloned().collect();
            parts.push((here, Arc::new(due.clone()), rivals));
        }
        let parts = parts.into_iter();
        parts.map(|(free, due, rivals)| self.matching(free, due, rivals, now, pairing)).collect()
    }

    fn matching(
        &mut self,
        free: Free,
        due: Arc<Wanting>,
        rivals: Wanting,
        now: Timestamp,
        pairing: Pairing,
    ) -> Matching {
        let field = self.fields.pop().unwrap_or_else(|| Field::new(self.middle));
        Matching { field, free, due, rivals, now, pairing, ways: self.ways.clone() }
    }

    /// Whoever was not proposed a moment ago, here and in the ring.
    fn free(&mut self, ring: impl IntoIterator<Item = Arc<Roster>>, now: Timestamp) -> Free {
        self.forget_asked(now);
        let rosters = std::iter::once(self.shared_roster()).chain(ring).collect();
        let asked = self.asked.here.keys().chain(&self.asked.around).copied().collect();
        Free { rosters, asked }
    }

    /// Who of the ring may want drivers that it wants.
    fn rivals<'a>(&self, rivals: impl IntoIterator<Item = &'a Wanting>) -> Wanting {
        let (middle, radius_m) = (self.middle, self.radius_m);
        let reaches = |card: &&Arc<SearchCard>| {
            middle.distance_m(card.pickup) <= radius_m + f64::from(card.radius_m)
        };
        rivals.into_iter().flatten().filter(reaches).cloned().collect()
    }

    /// Takes note of what the parts of a round proposed, and gets their fields back. Of two parts that came to the same
    /// driver, the first has it, and the other search came away empty. Returns all of it together.
    pub fn learn(
        &mut self,
        parts: impl IntoIterator<Item = (Field, Outcome)>,
        now: Timestamp,
    ) -> Outcome {
        let mut whole = Outcome::default();
        let mut taken = HashSet::new();
        for (field, mut outcome) in parts {
            self.fields.push(field);
            let empty = &mut outcome.empty;
            outcome.proposals.retain_mut(|proposal| {
                proposal.candidates.retain(|it| !taken.contains(&it.driver));
                if proposal.candidates.is_empty() {
                    empty.push(proposal.job);
                }
                !proposal.candidates.is_empty()
            });
            for proposal in &outcome.proposals {
                if let Some(open) = self.searches.get_mut(&proposal.job) {
                    open.proposed_at = Some(now);
                }
                taken.extend(proposal.candidates.iter().map(|it| it.driver));
            }
            whole.add(outcome);
        }
        self.asked.here.extend(taken.into_iter().map(|driver| (driver, now)));
        whole
    }
}

impl Region {
    /// What is asked in it, for itself and its neighbours.
    pub fn rates(&mut self, now: Timestamp) -> Rates {
        self.demand.prune(now);
        self.demand.rates(now)
    }

    /// What it counts of each of its cells: who waits, who is free, how much is asked, and how much after so long. Cells
    /// may be astride it and the regions around it, which count what they have of them: [`surge::together`].
    ///
    /// [`surge::together`]: crate::surge::together
    pub fn census<C: Copy + Ord>(
        &mut self,
        now: Timestamp,
        ahead: Duration,
        cell_of: impl Fn(Point) -> C,
    ) -> BTreeMap<C, Count> {
        let mut counts: BTreeMap<C, Count> = BTreeMap::new();
        let waiting = self.searches.values().filter(|open| !open.is_paused);
        for open in waiting {
            counts.entry(cell_of(open.card.pickup)).or_default().n_waiting += 1;
        }
        for card in self.drivers.values().filter(|card| card.is_free && card.destination.is_none())
        {
            counts.entry(cell_of(card.at)).or_default().n_free += 1;
        }
        self.profile.roll(now);
        for (square, rate) in self.rates(now) {
            let count = counts.entry(cell_of(square.middle())).or_default();
            count.per_hour += rate;
            count.per_hour_soon += self.profile.forecast(rate, now, ahead);
        }
        counts
    }

    /// Who waits for a driver, in the order in which they are served where there are too few: what matters more, then
    /// who came first.
    pub fn queue(&self) -> Vec<JobId> {
        let waiting = self.searches.values().filter(|open| !open.is_paused);
        let mut open: Vec<&SearchCard> = waiting.map(|open| &*open.card).collect();
        open.sort_by_key(|card| (Reverse(card.priority), card.opened_at, card.job));
        open.into_iter().map(|card| card.job).collect()
    }

    /// Its drivers who have nothing to do: where each is, or was sent a moment ago.
    pub fn idle(&self, now: Timestamp, spreading: &Spreading) -> Vec<Idle> {
        let idle = self.drivers.values().filter_map(|card| self.idle_of(card, now, spreading));
        idle.collect()
    }

    /// The same of one driver; nothing, if it has something to do.
    fn idle_of(&self, card: &DriverCard, now: Timestamp, spreading: &Spreading) -> Option<Idle> {
        if !card.is_free || card.destination.is_some() {
            return None;
        }
        let rest = Duration::from_millis(spreading.rest_ms.into());
        let sent = self
            .sent
            .get(&card.id)
            .filter(|(to, at)| now.since(*at) < SENT_FOR && Square::at(*to) != Square::at(card.at));
        let is_rested = now.since(card.idle_since) >= rest;
        let is_movable = card.takes_hints && sent.is_none() && is_rested;
        Some(Idle { driver: card.id, at: sent.map_or(card.at, |(to, _)| *to), is_movable })
    }

    /// Everything it takes to find out which of its idle drivers had better wait elsewhere, and where, given the idle drivers
    /// of the ring around it and what is asked there.
    pub fn prepare_hints<'a>(
        &mut self,
        around: impl IntoIterator<Item = &'a [Idle]>,
        rates: impl IntoIterator<Item = &'a Rates>,
        now: Timestamp,
        spreading: &Spreading,
    ) -> Hinting {
        let mut all = self.rates(now);
        for (square, rate) in rates.into_iter().flatten() {
            *all.entry(*square).or_default() += rate;
        }
        let mut idle = self.idle(now, spreading);
        let n_ours = idle.len();
        idle.extend(around.into_iter().flatten());
        let part = (idle.len() > N_IDLE).then_some(self.n_parts);
        self.n_parts = self.n_parts.wrapping_add(usize::from(part.is_some()));
        Hinting { idle, n_ours, rates: all, part }
    }

    /// Takes note of what was found out, in place of what was found out before. Drivers of the ring are sent by their own
    /// regions, which come to much the same answer.
    pub fn learn_hints(&mut self, hints: Vec<Hint>) {
        let ours = hints.into_iter().filter_map(|hint| {
            let from = Square::at(self.drivers.get(&hint.driver)?.at);
            Some(Waiting { hint, from })
        });
        self.hints = ours.collect();
    }

    /// Whom to send where in this tick, of those of whom that was found out: a few at most, and the others another time. Who
    /// has got something to do, was proposed a moment ago or has gone elsewhere meanwhile is not sent any more.
    pub fn next_hints(&mut self, now: Timestamp, spreading: &Spreading) -> Vec<(DriverId, Point)> {
        self.next_hints_of(N_HINTS, now, spreading)
    }

    fn next_hints_of(
        &mut self,
        n_max: usize,
        now: Timestamp,
        spreading: &Spreading,
    ) -> Vec<(DriverId, Point)> {
        let mut next = Vec::new();
        self.forget_asked(now);
        while next.len() < n_max
            && let Some(Waiting { hint, from }) = self.hints.pop_front()
        {
            let Some(card) = self.drivers.get(&hint.driver) else { continue };
            let is_movable = self.idle_of(card, now, spreading).is_some_and(|it| it.is_movable);
            if is_movable && !self.asked.contains(card.id) && Square::at(card.at) == from {
                let to = hint.to.middle();
                self.sent.insert(hint.driver, (to, now));
                next.push((hint.driver, to));
            }
        }
        next
    }
}

/// Everything one look at where idle drivers had better wait needs, so that it can be done on any thread.
#[derive(Debug)]
pub struct Hinting {
    /// First those of the region itself.
    idle: Vec<Idle>,
    n_ours: usize,
    rates: Rates,
    /// There are so many that it looks at a part of them only: which.
    part: Option<usize>,
}

impl Hinting {
    /// Is there nobody whom the region could send anywhere?
    pub fn is_vain(&self) -> bool {
        !self.idle.iter().take(self.n_ours).any(|it| it.is_movable)
    }

    /// Are there so many drivers that it looks at a part of them only?
    pub fn is_part(&self) -> bool {
        self.part.is_some()
    }

    /// Looks. Whoever asked hands the answer to [`Region::learn_hints`].
    pub fn run(&self, spreading: &Spreading) -> Vec<Hint> {
        let Self { idle, n_ours, rates, part } = self;
        match *part {
            None => spread(idle, rates, spreading),
            // As many places as drivers: both together are no more than are looked at all at once.
            Some(turn) => spread_part(idle, *n_ours, rates, spreading, N_IDLE / 2, turn),
        }
    }
}

/// What a look at what may be brought together comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    /// What would be proposed.
    pub proposals: Vec<Proposal>,
    /// Why the others are alone, of [`batch::REASONS_MAX`] of them at most; nothing, if nobody asked.
    pub alone: Vec<Against>,
    /// How many those others are.
    #[serde(default)]
    pub n_alone: usize,
}

/// Everything one look at what may be brought together needs, so that it can be done on any thread.
#[derive(Debug)]
pub struct Batching {
    waiting: Wanting,
    /// Deliveries that no look is at now; only for whoever asks.
    others: Wanting,
    drivers: Roster,
    runs: Vec<Arc<RunCard>>,
    ways: Arc<Ways>,
    now: Timestamp,
}

impl Batching {
    /// Around a place where nobody is, and of which nothing is known.
    pub fn of_nobody(middle: Point, now: Timestamp) -> Self {
        Self {
            waiting: Vec::new(),
            others: Vec::new(),
            drivers: Vec::new(),
            runs: Vec::new(),
            ways: Arc::new(Ways::new(middle)),
            now,
        }
    }

    /// Of all that, only what is at these places: drivers are where they are, and deliveries where they are fetched. A run is
    /// where its driver is.
    #[must_use]
    pub fn within(mut self, contains: impl Fn(Point) -> bool) -> Self {
        self.waiting.retain(|it| contains(it.pickup));
        self.others.retain(|it| contains(it.pickup));
        self.drivers.retain(|it| contains(it.at));
        self
    }

    /// Of these deliveries, whatever waits there.
    #[must_use]
    pub fn of_these(self, cards: impl IntoIterator<Item = SearchCard>) -> Self {
        let waiting = cards.into_iter().map(Arc::new).collect();
        Self { waiting, others: Vec::new(), ..self }
    }

    /// By these drivers alone.
    #[must_use]
    pub fn by(self, drivers: impl IntoIterator<Item = DriverCard>) -> Self {
        Self { drivers: drivers.into_iter().map(Arc::new).collect(), ..self }
    }

    /// Which of the drivers brings which of what waits. As [`batch::assign`].
    pub fn assign(
        &self,
        engine: Engine,
        settings: &batch::Settings,
        costs: &Settings,
        router: &dyn Router,
    ) -> Assigned {
        let learned = Learned { router, ways: &self.ways };
        let Self { waiting, drivers, now, .. } = self;
        batch::assign(waiting, drivers, engine, *now, settings, costs, &learned)
    }

    /// What a look comes to, and, if that is asked, why the others are alone.
    pub fn groups(
        &self,
        says_why: bool,
        settings: &batch::Settings,
        costs: &Settings,
        router: &dyn Router,
    ) -> Groups {
        let learned = Learned { router, ways: &self.ways };
        let proposals = self.run(settings, costs, router);
        let Self { waiting, others, drivers, now, .. } = self;
        let n_together: usize = proposals.iter().map(|it| it.orders().len()).sum();
        let is_order = |it: &&Arc<SearchCard>| matches!(it.job, JobId::Order(_));
        let n_all = waiting.iter().chain(others).filter(is_order).count();
        let n_alone = n_all.saturating_sub(n_together);
        if !says_why {
            return Groups { proposals, alone: Vec::new(), n_alone };
        }
        let mut alone = batch::alone(waiting, drivers, &proposals, *now, settings, costs, &learned);
        // They may be fit to be brought with others, and are being proposed to somebody at this moment.
        let offered = |card: &Arc<SearchCard>| {
            batch::why_not_now(card, *now, settings).unwrap_or(WhyAlone::Offered)
        };
        let against = |card: &Arc<SearchCard>| Against::of(card, offered(card), None);
        let n_more = batch::REASONS_MAX.saturating_sub(alone.len());
        alone.extend(others.iter().filter_map(against).take(n_more));
        Groups { proposals, alone, n_alone }
    }

    /// Whether all of what waits may be brought together. As [`batch::chosen`].
    ///
    /// # Errors
    /// What keeps which of them from it.
    pub fn chosen(
        &self,
        leeway: Leeway,
        settings: &batch::Settings,
        costs: &Settings,
        router: &dyn Router,
    ) -> Result<Chosen, Vec<Against>> {
        let learned = Learned { router, ways: &self.ways };
        let Self { waiting, drivers, now, .. } = self;
        batch::chosen(waiting, drivers, leeway, *now, settings, costs, &learned)
    }

    /// Is there nothing to look at?
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() || self.drivers.is_empty()
    }

    /// How many deliveries and runs there are.
    pub fn size(&self) -> usize {
        self.waiting.len() + self.runs.len()
    }

    /// Looks, with what was learned about the router. Whoever asked hands the answer to [`Region::learn_batches`].
    pub fn run(
        &self,
        settings: &batch::Settings,
        costs: &Settings,
        router: &dyn Router,
    ) -> Vec<Proposal> {
        let learned = Learned { router, ways: &self.ways };
        let Self { waiting, drivers, runs, now, .. } = self;
        batch::plan(waiting, drivers, runs, *now, settings, costs, &learned)
    }
}

/// Whom a round may propose: all of these, as they are shared, but those who were asked a moment ago.
#[derive(Debug)]
struct Free {
    rosters: Vec<Arc<Roster>>,
    asked: HashSet<DriverId>,
}

impl Free {
    fn iter(&self) -> impl Iterator<Item = &Arc<DriverCard>> {
        let all = self.rosters.iter().flat_map(|roster| roster.iter());
        all.filter(|card| !self.asked.contains(&card.id))
    }

    /// How many there are, or a few more.
    fn size(&self) -> usize {
        self.rosters.iter().map(|roster| roster.len()).sum()
    }
}

/// Everything one round needs, so that it can be done on any thread.
#[derive(Debug)]
pub struct Matching {
    field: Field,
    free: Free,
    due: Arc<Wanting>,
    rivals: Wanting,
    now: Timestamp,
    pairing: Pairing,
    ways: Arc<Ways>,
}

impl Matching {
    /// How many drivers and searches there are.
    pub fn size(&self) -> usize {
        self.free.size() + self.due.len() + self.rivals.len()
    }

    /// Does the round, with what was learned about the router. Whoever asked hands both to [`Region::learn`].
    pub fn run(mut self, router: &dyn Router, settings: &Settings) -> (Field, Outcome) {
        let learned = Learned { router, ways: &self.ways };
        self.field.fill(self.free.iter().cloned(), &learned);
        let terms = Terms { router: &learned, settings, now: self.now, pairing: self.pairing };
        let due = self.due.iter().map(|card| &**card);
        let rivals = self.rivals.iter().map(|card| &**card);
        let outcome = round(due, rivals, &self.field, &terms);
        (self.field, outcome)
    }
}

#[cfg(test)]
mod tests;
