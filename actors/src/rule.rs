//! A rule of assignment: how drivers are found otherwise, for some jobs and for a while, by the word of an admin.
//!
//! ```text
//! nobody has said it ── set ──► set ── its end has come ──► over
//!                               │ ▲ set: this is what it says      │
//!                               │ └────────────── set ◄────────────┘
//!                               └── remove ──► removed (from over, too)
//! ```
//!
//! One of these for each rule, so that editors of one meet there: whoever says something of a version that is none any more is
//! refused. What is set is known in memory on every node ([`Rules`]). A job is placed under the rule that is in force where it is
//! picked up, and keeps what that says of how it is offered; what it says of weights, holds and what was learned counts in each round
//! as it is then. Whether one is in force is a matter of time, place and kind of work alone ([`RuleSet::in_force`]).

use crate::{
    Claim, Context, Decider, Effect, Format, Kind, Listing, Refusal, Seen, ViewRow,
    policy::{JobPolicy, makes_sense},
    reason,
    zone::cell_of,
};
use arc_swap::ArcSwap;
use h3o::{CellIndex, LatLng, Resolution};
use matching::{cost, ruling::Ruling};
use protocol::{
    Point, Principal, RuleId, Timestamp, TokenId,
    rule::{RuleChanges, RuleMark, RuleTerms, WeightChanges},
    view::{Mark, WorkKind},
    work::OfferPolicy,
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

#[cfg(test)]
mod tests;

/// What it takes to know this kind of entity, and what jobs say of it.
pub const RULED: Format = Format(9);
/// Most rules that are set at a time.
pub const RULES_MAX: usize = 256;
/// Most zones of one.
pub const ZONES_MAX: usize = 64;
/// The strongest there is.
pub const PRIORITY_MAX: u16 = 1_000;
/// The last moment one may name, the end of the year 9999: not all who show moments can show a later one.
pub const LATEST: Timestamp = Timestamp(253_402_300_799_999);
/// The status of one that is set, in lists: it is in force, or will be.
pub const SET: &str = "set";
/// The status of one whose end has come.
pub const OVER: &str = "over";
/// The status of one that was removed.
pub const REMOVED: &str = "removed";
/// How long one stays in memory that nobody speaks to.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What can be asked of a rule. All of it needs format 9.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// This is what it says. For admins.
    Set {
        /** What. */
        terms: Box<RuleTerms>,
        /** Which version it has, as far as the asker knows; 0: none, it is to be new. */
        expects: u32,
        /** Why. */
        reason: String,
        /** By which token. */
        with: Option<TokenId>,
    },
    /// It says nothing any more, for good. For admins.
    Remove {
        /** Which version it has, as far as the asker knows. */
        expects: u32,
        /** Why. */
        reason: String,
        /** By which token. */
        with: Option<TokenId>,
    },
    /// Its end has come. The platform asks.
    Lapse {},
}

/// What has happened to a rule. All of it needs format 9.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// It says this from now on.
    #[strum(serialize = "rule_set")]
    Set {
        /** When. */
        at: Timestamp,
        /** Who said so. */
        by: Principal,
        /** By which token. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<TokenId>,
        /** What. */
        terms: Box<RuleTerms>,
        /** Why. */
        reason: String,
    },
    /// It says nothing any more.
    #[strum(serialize = "rule_removed")]
    Removed {
        /** When. */
        at: Timestamp,
        /** Who said so. */
        by: Principal,
        /** By which token. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<TokenId>,
        /** Why. */
        reason: String,
    },
    /// Its end had come.
    #[strum(serialize = "rule_lapsed")]
    Lapsed {
        /** When. */
        at: Timestamp,
    },
}

/// A rule, as far as its own rules care.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// How much has happened to it: its version.
    nth: u32,
    said: Option<Box<Said>>,
    phase: Phase,
    /// When something last happened to it.
    changed_at: Timestamp,
}

/// What was last said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What it says.
    pub terms: RuleTerms,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who last changed it, or removed it.
    pub by: Principal,
    /// Why.
    pub reason: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    Set,
    Over,
    Removed,
}

impl Phase {
    fn status(self) -> &'static str {
        match self {
            Self::Set => SET,
            Self::Over => OVER,
            Self::Removed => REMOVED,
        }
    }
}

impl Rule {
    /// What nodes must know of it; none before anybody has said it.
    pub fn standing(&self) -> Option<Standing> {
        let said = self.said.as_deref()?;
        Some(Standing {
            nth: self.nth,
            status: self.phase.status().to_owned(),
            changed_at: self.changed_at,
            said: said.clone(),
        })
    }

    /// Refuses who speaks of another version than there is.
    fn check_version(&self, expects: u32) -> Result<(), Refusal> {
        if expects == self.nth {
            return Ok(());
        }
        Err(Refusal::TooLate(format!("it has version {} by now", self.nth)))
    }

    /// Does it say this already?
    fn says(&self, terms: &RuleTerms) -> bool {
        self.phase == Phase::Set && self.said.as_ref().is_some_and(|it| it.terms == *terms)
    }
}

fn admins_only(by: Principal) -> Result<(), Refusal> {
    match by {
        Principal::Admin => Ok(()),
        Principal::Rider(_)
        | Principal::Driver(_)
        | Principal::Merchant(_)
        | Principal::Dispatcher
        | Principal::System => Err(Refusal::NotYours("this is for admins".to_owned())),
    }
}

/// Refuses terms that nobody can mean, and says which part of them: as presets are refused.
pub fn check(terms: &RuleTerms) -> Result<(), Refusal> {
    let RuleTerms { name, preset, zones, kinds, from, until, priority, changes } = terms;
    reason::check_line("name", name)?;
    reason::check_line("preset", preset)?;
    let require = |is_so: bool, field: &str, problem: &str| match is_so {
        true => Ok(()),
        false => Err(Refusal::invalid(field, problem)),
    };
    let are_cells = zones.iter().all(|zone| cell_of(*zone).is_some());
    require(zones.len() <= ZONES_MAX, "zones", "64 at most")?;
    require(are_cells, "zones", "cells of the H3 grid of resolution 4 to 9")?;
    let n_zones = zones.iter().collect::<HashSet<_>>().len();
    require(n_zones == zones.len(), "zones", "each once")?;
    let n_kinds = kinds.iter().collect::<BTreeSet<_>>().len();
    require(n_kinds == kinds.len(), "kinds", "each once")?;
    let is_shown = |it: &Option<Timestamp>| it.is_none_or(|it| it <= LATEST);
    require(is_shown(from), "from", "in the year 9999 at the latest")?;
    require(is_shown(until), "until", "in the year 9999 at the latest")?;
    let has_time = from.zip(*until).is_none_or(|(from, until)| from < until);
    require(has_time, "until", "later than `from`")?;
    require(*priority <= PRIORITY_MAX, "priority", "1,000 at most")?;
    check_changes(changes, kinds)
}

fn check_changes(changes: &RuleChanges, kinds: &[WorkKind]) -> Result<(), Refusal> {
    let RuleChanges {
        offer,
        tiers_m,
        tier_ms,
        attempts_max,
        parallel_max,
        offer_ttl_ms,
        search_ms,
        feed_ms,
        hold_ms,
        hold_per_age,
        weights,
        learned_ways: _,
    } = *changes;
    let weights = weights.unwrap_or_default();
    let is_idle = RuleChanges { weights: None, ..*changes } == RuleChanges::default()
        && weights == WeightChanges::default();
    if is_idle {
        return Err(Refusal::invalid("changes", "it changes nothing"));
    }
    let refuse =
        |field: &str, problem: &str| Err(Refusal::invalid(&format!("changes.{field}"), problem));
    match offer {
        // Whom it is for, only an order says.
        Some(OfferPolicy::Direct) => return refuse("offer", "direct is an order's own choice"),
        Some(OfferPolicy::Feed) if kinds != [WorkKind::Delivery] => {
            return refuse("offer", "feed is for deliveries: name them in `kinds`");
        }
        Some(
            OfferPolicy::Sequential
            | OfferPolicy::BroadcastFirstWins
            | OfferPolicy::TwoSided
            | OfferPolicy::BatchOptimal
            | OfferPolicy::AutoAssign
            | OfferPolicy::Feed,
        )
        | None => {}
    }
    if feed_ms.is_some() && kinds == [WorkKind::Rescue] {
        return refuse("feed_ms", "nobody claims a rescue: it is never in the feed");
    }
    if tiers_m.is_some_and(|it| !makes_sense(it)) {
        return refuse("tiers_m", "1 to 100,000, each as far as the one before or further");
    }
    let WeightChanges {
        idle_ms,
        idle_full_ms,
        star_ms,
        level_ms,
        refusal_ms,
        excess_ms,
        fairness_ms,
        turn_ms,
    } = weights;
    let hour = || 0..=3_600_000;
    let numbers: [(&str, Option<u32>, RangeInclusive<u32>); 16] = [
        ("tier_ms", tier_ms, 1_000..=3_600_000),
        ("attempts_max", attempts_max, 1..=100),
        ("parallel_max", parallel_max.map(u32::from), 1..=20),
        ("offer_ttl_ms", offer_ttl_ms, 1_000..=600_000),
        ("search_ms", search_ms, 1_000..=86_400_000),
        ("feed_ms", feed_ms, 0..=86_400_000),
        ("hold_ms", hold_ms, hour()),
        // With nothing of either kind nobody would ever be good enough.
        ("hold_per_age", hold_per_age, 1..=1_000),
        ("weights.idle_ms", idle_ms, hour()),
        ("weights.idle_full_ms", idle_full_ms, 1..=86_400_000),
        ("weights.star_ms", star_ms, hour()),
        ("weights.level_ms", level_ms, hour()),
        ("weights.refusal_ms", refusal_ms, hour()),
        ("weights.excess_ms", excess_ms, hour()),
        ("weights.fairness_ms", fairness_ms, hour()),
        ("weights.turn_ms", turn_ms, hour()),
    ];
    for (field, number, allowed) in numbers {
        if number.is_some_and(|it| !allowed.contains(&it)) {
            return refuse(field, &format!("{} to {}", allowed.start(), allowed.end()));
        }
    }
    Ok(())
}

/// Changes how a job is offered that is placed under a rule; what it does not say stays.
pub fn apply(changes: &RuleChanges, policy: &mut JobPolicy) {
    policy.offer = changes.offer.unwrap_or(policy.offer);
    policy.tiers_m = changes.tiers_m.unwrap_or(policy.tiers_m);
    policy.tier_ms = changes.tier_ms.unwrap_or(policy.tier_ms);
    policy.attempts_max = changes.attempts_max.unwrap_or(policy.attempts_max);
    policy.parallel_max = changes.parallel_max.unwrap_or(policy.parallel_max);
    policy.offer_ttl_ms = changes.offer_ttl_ms.unwrap_or(policy.offer_ttl_ms);
    policy.search_ms = changes.search_ms.unwrap_or(policy.search_ms);
    policy.feed_ms = changes.feed_ms.unwrap_or(policy.feed_ms);
}

impl Decider for Rule {
    const KIND: Kind = Kind::Rule;
    type Id = RuleId;
    type Command = Command;
    type Event = Event;
    type Sighting = ();
    type Soft = ();

    fn decide(&self, command: &Command, context: &Context<RuleId>) -> Result<Vec<Event>, Refusal> {
        let (at, by) = (context.now, context.by);
        match command {
            Command::Set { terms, expects, reason, with } => {
                admins_only(by)?;
                reason::check(reason)?;
                check(terms)?;
                if terms.until.is_some_and(|until| until <= at) {
                    return Err(Refusal::invalid("until", "in the past"));
                }
                if self.phase == Phase::Removed || (self.nth == 0 && *expects > 0) {
                    return Err(Refusal::Unknown("rule".to_owned()));
                }
                if self.says(terms) {
                    return Ok(Vec::new());
                }
                self.check_version(*expects)?;
                let (terms, reason, with) = (terms.clone(), reason.clone(), *with);
                Ok(vec![Event::Set { at, by, with, terms, reason }])
            }
            Command::Remove { expects, reason, with } => {
                admins_only(by)?;
                reason::check(reason)?;
                if self.nth == 0 {
                    return Err(Refusal::Unknown("rule".to_owned()));
                }
                if self.phase == Phase::Removed {
                    return Ok(Vec::new());
                }
                self.check_version(*expects)?;
                Ok(vec![Event::Removed { at, by, with: *with, reason: reason.clone() }])
            }
            Command::Lapse {} => {
                if by != Principal::System {
                    return Err(Refusal::NotYours("it lapses by itself".to_owned()));
                }
                // One that was prolonged meanwhile goes on.
                let is_over = self.until().is_some_and(|until| until <= at);
                Ok(is_over.then_some(Event::Lapsed { at }).into_iter().collect())
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.nth = self.nth.saturating_add(1);
        match event {
            Event::Set { at, by, terms, reason, with: _ } => {
                let made_at = self.said.as_ref().map_or(*at, |it| it.made_at);
                let (terms, reason) = ((**terms).clone(), reason.clone());
                self.said = Some(Box::new(Said { terms, made_at, by: *by, reason }));
                (self.phase, self.changed_at) = (Phase::Set, *at);
            }
            Event::Removed { at, by, reason, with: _ } => {
                if let Some(said) = &mut self.said {
                    (said.by, said.reason) = (*by, reason.clone());
                }
                (self.phase, self.changed_at) = (Phase::Removed, *at);
            }
            Event::Lapsed { at } => (self.phase, self.changed_at) = (Phase::Over, *at),
        }
    }

    fn effects(&self, _id: RuleId, _event: &Event) -> Vec<Effect> {
        Vec::new()
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        Some((self.until()?, Command::Lapse {}))
    }

    fn claims(&self, _id: RuleId) -> Vec<Claim> {
        Vec::new()
    }

    fn listing(&self, _id: RuleId) -> Option<Listing> {
        None
    }

    fn view(&self, _id: RuleId) -> Option<ViewRow> {
        let standing = self.standing()?;
        Some(ViewRow {
            status: standing.status.clone(),
            rider: None,
            driver: None,
            at: self.changed_at,
            body: serde_json::to_value(standing).expect("plain data"),
        })
    }

    fn mark(&self, _id: RuleId) -> Option<Mark> {
        None
    }

    fn see(&mut self, _sighting: &(), _context: &Context<RuleId>) -> Seen<Command> {
        Seen::default()
    }

    fn soft(&self) {}

    fn recall(&mut self, (): ()) {}

    fn idle_max(&self) -> Option<Duration> {
        Some(IDLE_MAX)
    }

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    fn event_name(event: &Event) -> &'static str {
        event.into()
    }

    fn event_format(_event: &Event) -> Format {
        RULED
    }

    fn command_format(_command: &Command) -> Format {
        RULED
    }
}

impl Rule {
    /// When it ends, while it is set and has an end.
    fn until(&self) -> Option<Timestamp> {
        let said = self.said.as_ref().filter(|_| self.phase == Phase::Set)?;
        said.terms.until
    }
}

/// What a node knows of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its version: what is known of a later one is not undone by what is told of an earlier one.
    pub nth: u32,
    /// Its status, as lists have it.
    pub status: String,
    /// When something last happened to it.
    pub changed_at: Timestamp,
    /// What it says, and who said so.
    pub said: Said,
}

impl Standing {
    /// The same as a row of a list says it; none, if that is another kind of row, or says what only a newer build understands.
    pub fn of_row(row: &ViewRow) -> Option<Self> {
        serde_json::from_value(row.body.clone()).ok()
    }

    /// Is it set, and its end still to come?
    pub fn is_set(&self, now: Timestamp) -> bool {
        self.status == SET && self.said.terms.until.is_none_or(|until| now < until)
    }

    /// Had it nothing to say then, and has nothing happened to it since?
    fn is_settled(&self, then: Timestamp) -> bool {
        self.changed_at < then && !self.is_set(then)
    }
}

/// The rules of a brand, as far as this node knows.
#[derive(Debug)]
pub struct Rules {
    /// The name of its preset.
    preset: String,
    /// How pairs are valued where no rule says otherwise.
    costs: cost::Settings,
    /// Has anybody said which there are?
    is_known: AtomicBool,
    known: Mutex<HashMap<RuleId, Standing>>,
    set: ArcSwap<RuleSet>,
}

impl Rules {
    /// Knows none yet. Where there is no brand, there are none.
    pub fn new(preset: String, costs: cost::Settings) -> Self {
        let is_known = AtomicBool::new(preset.is_empty());
        Self { preset, costs, is_known, known: Mutex::default(), set: ArcSwap::default() }
    }

    /// Takes in what is known of rules; was any of it news?
    pub fn take_in(&self, all: impl IntoIterator<Item = (RuleId, Standing)>) -> bool {
        // Never held across an await or a panic, so poison means nothing here.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_news = false;
        for (id, standing) in all {
            if known.get(&id).is_none_or(|it| it.nth < standing.nth) {
                known.insert(id, standing);
                has_news = true;
            }
        }
        if has_news {
            self.follow(&known);
        }
        has_news
    }

    /// All that are set have been taken in.
    pub fn are_read(&self) {
        self.is_known.store(true, Ordering::Release);
    }

    /// Has anybody said yet which are set? Before that nobody is matched as if none were.
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    /// Forgets rules that have said nothing since then.
    pub fn forget_settled(&self, then: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let n_before = known.len();
        known.retain(|_, it| !it.is_settled(then));
        if known.len() < n_before {
            self.follow(&known);
        }
    }

    /// How many are set, of all brands.
    pub fn n_set(&self, now: Timestamp) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|it| it.is_set(now)).count()
    }

    /// May this one be set? It is already, or there are not yet as many, of all brands, as there may be.
    pub fn has_room(&self, id: RuleId, now: Timestamp) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).is_some_and(|it| it.is_set(now))
            || known.values().filter(|it| it.is_set(now)).count() < RULES_MAX
    }

    /// Those of this brand that are set.
    pub fn set(&self) -> Arc<RuleSet> {
        self.set.load_full()
    }

    /// How pairs are valued where none says otherwise.
    pub fn costs(&self) -> &cost::Settings {
        &self.costs
    }

    /// Brings those that are set in line with what is known.
    fn follow(&self, known: &HashMap<RuleId, Standing>) {
        let known = known.iter().map(|(id, standing)| (*id, standing));
        self.set.store(Arc::new(RuleSet::of(&self.preset, known, &self.costs)));
    }
}

/// Rules that are set, the strongest first.
#[derive(Debug, Default)]
pub struct RuleSet(Vec<InForce>);

/// A rule that is set: in force, when it is.
#[derive(Debug)]
pub struct InForce {
    scope: Scope,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// What is different under it.
    pub changes: RuleChanges,
    /// The same for one round.
    pub ruling: Arc<Ruling>,
}

/// For which jobs a rule is.
#[derive(Debug, Clone)]
pub struct Scope {
    /// In order.
    cells: Vec<CellIndex>,
    resolutions: Vec<Resolution>,
    kinds: Vec<WorkKind>,
}

impl Scope {
    /// The scope of a rule that says this.
    pub fn of(terms: &RuleTerms) -> Self {
        let mut cells: Vec<_> = terms.zones.iter().filter_map(|zone| cell_of(*zone)).collect();
        cells.sort_unstable();
        let resolutions: BTreeSet<_> = cells.iter().map(|cell| cell.resolution()).collect();
        let resolutions = resolutions.into_iter().collect();
        Self { cells, resolutions, kinds: terms.kinds.clone() }
    }

    /// Is it for work of this kind that is picked up there?
    pub fn holds(&self, at: Point, work: WorkKind) -> bool {
        self.holds_in(&mut Around::new(at), work)
    }

    fn holds_in(&self, around: &mut Around, work: WorkKind) -> bool {
        if !self.is_for(work) {
            return false;
        }
        let mut resolutions = self.resolutions.iter();
        self.cells.is_empty()
            || resolutions.any(|it| self.cells.binary_search(&around.cell(*it)).is_ok())
    }

    /// Is it for work of this kind, wherever that is?
    fn is_for(&self, work: WorkKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&work)
    }
}

/// The cells that a place is in, by resolution; each is worked out when it is first asked for, however many rules ask.
#[derive(Debug)]
struct Around {
    at: LatLng,
    cells: [Option<CellIndex>; 16],
}

impl Around {
    fn new(at: Point) -> Self {
        let at = LatLng::new(at.lat, at.lon).expect("a Point is finite");
        Self { at, cells: [None; 16] }
    }

    fn cell(&mut self, resolution: Resolution) -> CellIndex {
        let at = self.at;
        let n = usize::from(u8::from(resolution));
        *self.cells[n].get_or_insert_with(|| at.to_cell(resolution))
    }
}

impl RuleSet {
    /// Those of a brand among all that is known.
    pub fn of<'a>(
        preset: &str,
        known: impl IntoIterator<Item = (RuleId, &'a Standing)>,
        costs: &cost::Settings,
    ) -> Self {
        let is_ours = |it: &Standing| it.status == SET && it.said.terms.preset == preset;
        let mut ours: Vec<_> = known.into_iter().filter(|(_, it)| is_ours(it)).collect();
        ours.sort_by_key(|(id, it)| {
            let terms = &it.said.terms;
            let sizes = terms.zones.iter().filter_map(|zone| cell_of(*zone));
            let smallness = sizes.map(CellIndex::resolution).min().map_or(0, u8::from);
            let names_kinds = !terms.kinds.is_empty();
            Reverse((terms.priority, smallness, names_kinds, it.said.made_at, *id))
        });
        let in_force = ours.into_iter().map(|(id, it)| {
            let terms = &it.said.terms;
            let ruling = Ruling::of(RuleMark { id, version: it.nth }, &terms.changes, costs);
            InForce {
                scope: Scope::of(terms),
                from: terms.from,
                until: terms.until,
                changes: terms.changes,
                ruling: Arc::new(ruling),
            }
        });
        Self(in_force.collect())
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The one that counts for work of this kind that is picked up there, then: the strongest of those in force.
    pub fn in_force(&self, at: Point, work: WorkKind, now: Timestamp) -> Option<&InForce> {
        self.then(now).of(at, work)
    }

    /// How far away drivers are looked for at most who do such work, by any of them, in metres; 0 if none says.
    pub fn reach_m(&self, work: WorkKind) -> u32 {
        let theirs = self.0.iter().filter(|it| it.scope.is_for(work));
        theirs.filter_map(|it| it.changes.tiers_m).flatten().max().unwrap_or(0)
    }

    /// Those in force then, for whoever asks about many jobs.
    pub fn then(&self, now: Timestamp) -> Then<'_> {
        Then(self.0.iter().filter(|it| it.is_in_force(now)).collect())
    }
}

/// Rules that are in force at one moment, the strongest first.
#[derive(Debug)]
pub struct Then<'a>(Vec<&'a InForce>);

impl<'a> Then<'a> {
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that counts for work of this kind that is picked up there.
    pub fn of(&self, at: Point, work: WorkKind) -> Option<&'a InForce> {
        let mut around = Around::new(at);
        self.0.iter().copied().find(|it| it.scope.holds_in(&mut around, work))
    }
}

impl InForce {
    /// From its beginning until its end, which is not part of it.
    fn is_in_force(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// Which rule it is, as of which version.
    pub fn mark(&self) -> RuleMark {
        self.ruling.mark
    }
}
