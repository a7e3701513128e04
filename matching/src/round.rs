//! Who should be offered what: one round over all open searches of a region, as a pure function.
//!
//! Every search first gets one driver, chosen together with all other searches of its priority so that the
//! total cost is least, after those of a greater one; only then do those that want several get more. No driver is proposed twice in a round. A
//! pair of `batch_optimal` or `auto_assign` is *held* back until it is good enough for the age of the
//! request: on real trips waiting for a good pair saved a quarter of all waiting, and solving a short
//! batch exactly, without the hold, next to nothing.

use crate::{
    Candidate, Field, Router, SearchCard,
    assignment::{Edges, assign},
    cost::{Settings, Weights},
    fit::misfit,
    grid::{Grid, Near},
    router::{Eta, Learning, Leg},
    trace::{Misfits, Told, Traces},
};
use protocol::{
    JobId, Timestamp,
    trace::{Fate, Model, Parts, Unfit, Verdict, Weighed},
    view::WorkKind,
    work::{OfferPolicy, Priority},
};
use std::{cmp::Reverse, ops::Range};

/// How often searches that came away empty look further in one round.
const N_HELPINGS: u32 = 3;

/// A search looks further if the fastest there are would take so much less, from where it has looked to and with what nobody
/// costs less than beside the way, than half of those it weighs cost; in milliseconds. Less is not worth another look, and the default weights make no more of one driver and
/// another.
const WORTH_A_LOOK_MS: u32 = 15_000;
/// How many it looks at then, for each that it weighs.
const FURTHER: usize = 8;

/// Not worked out yet.
const UNKNOWN: u32 = u32::MAX;

/// How searches share drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// The least total cost over all searches.
    Joint,
    /// The oldest search chooses first: for a region that does not know everyone yet.
    Greedy,
    /// The cheapest pair of all first: only to compare with.
    Closest,
}

/// Under what terms a round is held.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Knows how long ways take.
    pub router: &'a dyn Router,
    /// How pairs are valued.
    pub settings: &'a Settings,
    /// When.
    pub now: Timestamp,
    /// How searches share drivers.
    pub pairing: Pairing,
}

/// Drivers to be offered a job, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Which job.
    pub job: JobId,
    /// The round of its search that this answers.
    pub round: u32,
    /// Whom.
    pub candidates: Vec<Candidate>,
}

/// What came out of a round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// At most one per search, the oldest search of each part of the round first.
    pub proposals: Vec<Proposal>,
    /// How many pairs were found and held back as not good enough yet.
    pub n_held: usize,
    /// The searches whose pair was held: they have drivers all the same.
    pub held: Vec<JobId>,
    /// The searches that came away empty: nobody who fits was near, or others had them.
    pub empty: Vec<JobId>,
    /// What it saw of each search, for those who ask why.
    pub traces: Traces,
}

impl Outcome {
    /// Adds what came out of another part of the same round.
    pub fn add(&mut self, other: Self) {
        self.proposals.extend(other.proposals);
        self.n_held += other.n_held;
        self.held.extend(other.held);
        self.empty.extend(other.empty);
        self.traces.add(other.traces);
    }
}

/// A driver as one search sees it.
#[derive(Debug, Clone, Copy)]
struct Pick {
    driver: u32,
    cost_ms: u32,
    eta_ms: u32,
    /// One in ten is there sooner than this, …
    low_ms: u32,
    /// … and one in ten later than this.
    high_ms: u32,
    /// How long it is still busy; a part of its ETA.
    busy_ms: u32,
    /// How long its way takes as far as the router alone knows.
    untaught_ms: u32,
    /// What it costs for the size of its vehicle, …
    excess_ms: u32,
    /// … and for having to turn.
    turn_ms: u32,
    distance_m: f32,
}

/// One round: whom to propose for each of these searches. `rivals` want drivers of the same field but
/// are served elsewhere: they get their share of the joint choice, so that two regions with one border
/// come to much the same answer, but nothing is proposed for them. The same input gives the same answer.
pub fn round<'a>(
    searches: impl IntoIterator<Item = &'a SearchCard>,
    rivals: impl IntoIterator<Item = &'a SearchCard>,
    field: &Field,
    terms: &Terms,
) -> Outcome {
    let Terms { settings, pairing, .. } = *terms;
    let ours = searches.into_iter().map(|card| (card, true));
    let all = ours.chain(rivals.into_iter().map(|card| (card, false)));
    let mut all: Vec<(&SearchCard, bool)> = all.filter(|(card, _)| proposes(card)).collect();
    all.sort_by_key(|(card, _)| (Reverse(card.priority), card.opened_at, card.job));
    let (searches, is_ours): (Vec<&SearchCard>, Vec<bool>) = all.into_iter().unzip();
    let mut order: Vec<usize> = (0..searches.len()).collect();
    if pairing != Pairing::Greedy {
        order.sort_by_cached_key(|&i| field.grid.place(searches[i].pickup));
    }
    let (besides, ruled) = besides(&searches, settings, field.len());
    // The last of them may look further than it weighs, as any other.
    let n_picks = (searches.len() + FURTHER) * usize::from(settings.n_candidates);
    let mut round = Round {
        field,
        terms,
        chosen: vec![None; searches.len()],
        is_taken: vec![false; field.len()],
        besides,
        ruled,
        picks: Vec::with_capacity(n_picks),
        spans: vec![0..0; searches.len()],
        near: Vec::new(),
        legs: Vec::new(),
        etas: Vec::new(),
        misfits: Misfits::new(settings.n_told, searches.len(), field.len()),
        searches,
        is_ours,
        order,
    };
    round.weigh_everyone();
    match pairing {
        Pairing::Joint | Pairing::Closest => round.choose_together(),
        Pairing::Greedy => round.choose_in_turn(),
    }
    round.help_again();
    round.outcome()
}

/// What drivers cost beside the way by the same weights.
struct Beside {
    weights: Weights,
    /// Per driver: the number of what it costs; worked out when it is first needed.
    numbers: Vec<u32>,
    /// What drivers cost, whoever is picked up.
    standings: Vec<Parts>,
    /// The least of the first so many drivers, in milliseconds.
    least_ms: u32,
    n_looked: u32,
}

impl Beside {
    fn new(weights: Weights, n_drivers: usize) -> Self {
        Self {
            weights,
            numbers: vec![UNKNOWN; n_drivers],
            standings: Vec::with_capacity(n_drivers),
            least_ms: u32::MAX,
            n_looked: 0,
        }
    }

    /// What a driver costs, whoever is picked up.
    fn standing(&mut self, driver: u32, field: &Field, now: Timestamp) -> Parts {
        let number = &mut self.numbers[driver as usize];
        if *number == UNKNOWN {
            *number = self.standings.len() as u32;
            self.standings.push(self.weights.of_driver(field.card(driver), now));
        }
        self.standings[*number as usize]
    }

    /// The same of a driver who has been weighed.
    fn known_standing(&self, driver: u32) -> Parts {
        self.standings[self.numbers[driver as usize] as usize]
    }

    /// Does any driver cost less than that, whoever is picked up? Mostly one of the first does, and nobody else is looked at.
    fn is_any_below(&mut self, ms: u32, field: &Field, now: Timestamp) -> bool {
        while self.least_ms >= ms && (self.n_looked as usize) < field.len() {
            let standing_ms = self.standing(self.n_looked, field, now).sum_ms();
            self.least_ms = self.least_ms.min(standing_ms);
            self.n_looked += 1;
        }
        self.least_ms < ms
    }
}

/// What drivers cost beside the way by each of the weights that there are, first by the usual ones; and, per search, by which of them.
fn besides(
    searches: &[&SearchCard],
    settings: &Settings,
    n_drivers: usize,
) -> (Vec<Beside>, Vec<usize>) {
    let mut besides = vec![Beside::new(settings.weights, n_drivers)];
    let which = searches.iter().map(|card| {
        let Some(ruling) = &card.ruling else { return 0 };
        let known = besides.iter().position(|it| it.weights == ruling.weights);
        known.unwrap_or_else(|| {
            besides.push(Beside::new(ruling.weights, n_drivers));
            besides.len() - 1
        })
    });
    let which = which.collect();
    (besides, which)
}

/// Does this search take proposals at all?
fn proposes(search: &SearchCard) -> bool {
    search.n_wanted > 0
        && match search.policy {
            OfferPolicy::Feed => false,
            OfferPolicy::Direct => search.only.is_some(),
            OfferPolicy::Sequential
            | OfferPolicy::BroadcastFirstWins
            | OfferPolicy::TwoSided
            | OfferPolicy::BatchOptimal
            | OfferPolicy::AutoAssign => true,
        }
}

/// May one search be offered to several drivers at once?
fn is_shared(policy: OfferPolicy) -> bool {
    match policy {
        OfferPolicy::BroadcastFirstWins | OfferPolicy::TwoSided => true,
        OfferPolicy::Sequential
        | OfferPolicy::BatchOptimal
        | OfferPolicy::AutoAssign
        | OfferPolicy::Direct
        | OfferPolicy::Feed => false,
    }
}

/// Does a pair wait until it is good enough?
fn is_held(policy: OfferPolicy) -> bool {
    match policy {
        OfferPolicy::BatchOptimal | OfferPolicy::AutoAssign => true,
        OfferPolicy::Sequential
        | OfferPolicy::BroadcastFirstWins
        | OfferPolicy::TwoSided
        | OfferPolicy::Direct
        | OfferPolicy::Feed => false,
    }
}

/// How many drivers a search weighs.
fn n_candidates(search: &SearchCard, settings: &Settings) -> usize {
    usize::from(settings.n_candidates).max(usize::from(search.n_wanted)).max(1)
}

struct Round<'a> {
    searches: Vec<&'a SearchCard>,
    /// Per search: are proposals for it wanted?
    is_ours: Vec<bool>,
    /// In what order searches are looked at. Those that choose together go by place, so that what one
    /// looks at is still at hand for the next; those that choose in turn go by age.
    order: Vec<usize>,
    field: &'a Field,
    terms: &'a Terms<'a>,
    /// Everyone's picks, one search after the other, each cheapest first.
    picks: Vec<Pick>,
    /// Per search: its part of `picks`.
    spans: Vec<Range<usize>>,
    /// Per search: the driver it gets.
    chosen: Vec<Option<Pick>>,
    /// Per driver.
    is_taken: Vec<bool>,
    /// What drivers cost beside the way, by the usual weights and by those of rules.
    besides: Vec<Beside>,
    /// Per search: by which of them.
    ruled: Vec<usize>,
    /// Scratch space.
    near: Vec<Near>,
    legs: Vec<Leg>,
    etas: Vec<(Eta, u32)>,
    /// Who did not fit, as far as that is told.
    misfits: Misfits,
}

impl Round<'_> {
    fn weigh_everyone(&mut self) {
        for n in 0..self.order.len() {
            let (search, start) = (self.order[n], self.picks.len());
            if self.is_ours[search] {
                self.misfits.begin(search);
            }
            self.weigh(&self.field.grid, search);
            self.misfits.end();
            self.spans[search] = start..self.picks.len();
        }
    }

    /// Appends to `picks` the cheapest drivers of `grid` for a search who are not taken. Mostly they are among the nearest;
    /// where a faster vehicle or a better driver further away may cost less, it is looked for.
    fn weigh(&mut self, grid: &Grid, search: usize) {
        let Terms { router, settings, .. } = *self.terms;
        let card = self.searches[search];
        let k = n_candidates(card, settings);
        let (start, n_near) = (self.picks.len(), router.n_sifted(k));
        self.weigh_nearest(grid, search, start, n_near);
        self.keep_cheapest(start, n_near);
        let is_everybody = self.near.len() < n_near;
        if let (Some(furthest), Some(middling)) = (self.near.last(), self.picks[start..].get(k / 2))
            && !is_everybody
            && self.is_worth_a_look(search, furthest.distance_m, middling.cost_ms)
        {
            self.weigh_nearest(grid, search, start, k * FURTHER);
            self.keep_cheapest(start, k);
        }
        self.picks.truncate(start + k);
    }

    /// May somebody who is further away cost much less than that?
    fn is_worth_a_look(&mut self, search: usize, beyond_m: f32, cost_ms: u32) -> bool {
        let Terms { settings, now, .. } = *self.terms;
        let vehicles = &self.searches[search].needs.vehicles;
        let Some(fastest) = self.field.fastest(vehicles, &settings.speeds) else {
            return false;
        };
        let least_ms = settings.straight().ms(fastest, beyond_m).saturating_add(WORTH_A_LOOK_MS);
        // Whoever is further away costs at least so much, and what it costs beside the way: that may take a look at everybody,
        // so it comes last.
        least_ms < cost_ms
            && self.besides[self.ruled[search]].is_any_below(cost_ms - least_ms, self.field, now)
    }

    /// Makes the picks from `start` on so many of `grid` who are nearest to a search and not taken, in no order. Those that are
    /// there already must be the nearest of them.
    fn weigh_nearest(&mut self, grid: &Grid, search: usize, start: usize, n_near: usize) {
        let Self {
            field, terms, is_taken, besides, ruled, near, legs, etas, picks, misfits, ..
        } = self;
        let Terms { router, settings, now, .. } = **terms;
        let beside = &mut besides[ruled[search]];
        let search = self.searches[search];
        let learned_ways = search.ruling.as_ref().is_none_or(|it| it.learned_ways);
        let fits = |n: u32| {
            if is_taken[n as usize] {
                return false;
            }
            let why = misfit(search, field.card(n), now, settings);
            if let Some(why) = why {
                misfits.note(n, why);
            }
            why.is_none()
        };
        grid.nearest(search.pickup, n_near, search.radius_m as f32, fits, near);
        let others = near.get(picks.len() - start..).unwrap_or_default();
        let to = router.spot(search.pickup);
        legs.clear();
        legs.extend(others.iter().map(|&Near { n, distance_m }| {
            let driver = field.card(n);
            let leaving = driver.start().1.max(now);
            Leg { from: field.spot(n), to, distance_m, vehicle: driver.vehicle.kind, leaving }
        }));
        if learned_ways {
            router.etas_and_untaught_ms(legs, etas);
        } else {
            etas.clear();
            etas.extend(legs.iter().map(|leg| {
                let untaught = router.untaught(leg);
                (untaught, untaught.ms)
            }));
        }
        let asked = legs.iter().zip(etas.iter());
        picks.extend(others.iter().zip(asked).map(|(&Near { n, distance_m }, (leg, answer))| {
            let driver = field.card(n);
            let busy_ms = leg.leaving.ms_since(now) as u32;
            let (Eta { ms, low_ms, high_ms }, untaught_ms) = *answer;
            let [eta_ms, low_ms, high_ms] =
                [ms, low_ms, high_ms].map(|it| it.saturating_add(busy_ms));
            let standing_ms = beside.standing(n, field, now).sum_ms();
            let (excess_ms, turn_ms) = beside.weights.of_pair(search, driver);
            let cost_ms = [standing_ms, excess_ms, turn_ms]
                .iter()
                .fold(eta_ms, |sum, part_ms| sum.saturating_add(*part_ms));
            Pick {
                driver: n,
                cost_ms,
                eta_ms,
                low_ms,
                high_ms,
                busy_ms,
                untaught_ms,
                excess_ms,
                turn_ms,
                distance_m,
            }
        }));
    }

    /// Puts the picks from `start` on in order, the cheapest first, and leaves no more than `k` of them.
    fn keep_cheapest(&mut self, start: usize, k: usize) {
        let field = self.field;
        // Never the order in which drivers came: two regions must agree on ties.
        let by_id = |a: &Pick, b: &Pick| field.card(a.driver).id.cmp(&field.card(b.driver).id);
        let by_cost = |a: &Pick, b: &Pick| a.cost_ms.cmp(&b.cost_ms).then_with(|| by_id(a, b));
        if self.picks.len() > start + k {
            self.picks[start..].select_nth_unstable_by(k, by_cost);
            self.picks.truncate(start + k);
        }
        self.picks[start..].sort_unstable_by(by_cost);
    }

    fn choose_together(&mut self) {
        let order = std::mem::take(&mut self.order);
        let spans: Vec<_> = order.iter().map(|&search| self.spans[search].clone()).collect();
        self.pair(&order, &spans);
        self.order = order;
    }

    /// Gives these searches a driver each out of these parts of `picks`: first those that come before others.
    fn pair(&mut self, searches: &[usize], spans: &[Range<usize>]) {
        let mut ranks: Vec<(Priority, bool)> = searches.iter().map(|it| self.rank(*it)).collect();
        ranks.sort_unstable();
        ranks.dedup();
        if ranks.len() <= 1 {
            return self.pair_equals(searches, spans);
        }
        for rank in ranks.into_iter().rev() {
            let of_it = searches.iter().zip(spans).filter(|(it, _)| self.rank(**it) == rank);
            let (searches, spans): (Vec<_>, Vec<_>) =
                of_it.map(|(it, span)| (*it, span.clone())).unzip();
            self.pair_equals(&searches, &spans);
        }
    }

    /// What comes before what: priority, and then whether it has waited for too long.
    fn rank(&self, search: usize) -> (Priority, bool) {
        let Terms { settings, now, .. } = *self.terms;
        let search = self.searches[search];
        (search.priority, settings.is_overdue(search, now))
    }

    fn pair_equals(&mut self, searches: &[usize], spans: &[Range<usize>]) {
        if self.terms.pairing == Pairing::Closest {
            self.pair_closest(searches, spans);
            return;
        }
        let mut edges = Edges::new(self.field.len());
        for span in spans {
            let picks = self.picks[span.clone()].iter();
            let picks = picks.filter(|pick| !self.is_taken[pick.driver as usize]);
            edges.push_row(picks.map(|pick| (pick.driver, pick.cost_ms)));
        }
        for ((&search, span), column) in searches.iter().zip(spans).zip(assign(&edges)) {
            let Some(driver) = column else { continue };
            self.is_taken[driver as usize] = true;
            self.chosen[search] =
                self.picks[span.clone()].iter().find(|pick| pick.driver == driver).copied();
        }
    }

    fn pair_closest(&mut self, searches: &[usize], spans: &[Range<usize>]) {
        let mut pairs: Vec<(u32, usize, Pick)> = Vec::new();
        for (&search, span) in searches.iter().zip(spans) {
            let picks = self.picks[span.clone()].iter();
            pairs.extend(picks.map(|pick| (pick.cost_ms, search, *pick)));
        }
        pairs.sort_unstable_by_key(|(cost_ms, search, pick)| (*cost_ms, *search, pick.driver));
        for (_, search, pick) in pairs {
            if self.chosen[search].is_none()
                && !std::mem::replace(&mut self.is_taken[pick.driver as usize], true)
            {
                self.chosen[search] = Some(pick);
            }
        }
    }

    fn choose_in_turn(&mut self) {
        for (chosen, span) in self.chosen.iter_mut().zip(&self.spans) {
            let mut picks = self.picks[span.clone()].iter();
            *chosen = picks.find(|pick| !self.is_taken[pick.driver as usize]).copied();
            if let Some(pick) = chosen {
                self.is_taken[pick.driver as usize] = true;
            }
        }
    }

    /// In a crowd many searches weigh the same few drivers, and most come away empty though others are
    /// not far. Those look again, among drivers that nobody has.
    fn help_again(&mut self) {
        let Terms { settings, pairing, .. } = *self.terms;
        for _ in 0..N_HELPINGS {
            let is_starved = |&i: &usize| {
                self.chosen[i].is_none()
                    && self.spans[i].len() == n_candidates(self.searches[i], settings)
            };
            let hungry: Vec<usize> = self.order.iter().copied().filter(is_starved).collect();
            if hungry.is_empty() {
                return;
            }
            let rest = self.field.without(&self.is_taken);
            let mut spans = Vec::with_capacity(hungry.len());
            for &search in &hungry {
                let start = self.picks.len();
                self.weigh(&rest, search);
                spans.push(start..self.picks.len());
                if pairing == Pairing::Greedy
                    && let Some(&best) = self.picks.get(start)
                {
                    self.is_taken[best.driver as usize] = true;
                    self.chosen[search] = Some(best);
                }
            }
            if pairing != Pairing::Greedy {
                self.pair(&hungry, &spans);
            }
            for (&search, span) in hungry.iter().zip(spans) {
                self.spans[search] = span;
            }
        }
    }

    fn outcome(mut self) -> Outcome {
        let n_searches = self.searches.len();
        let proposals = Vec::with_capacity(n_searches);
        let mut outcome = Outcome { proposals, ..Outcome::default() };
        let (mut verdicts, mut picks) = (Vec::with_capacity(n_searches), Vec::new());
        for i in 0..n_searches {
            let verdict = self.verdict(i);
            verdicts.push(verdict);
            match verdict {
                Verdict::Proposed => {}
                Verdict::HeldTooFar | Verdict::HeldBusy => {
                    outcome.n_held += usize::from(self.is_ours[i]);
                    outcome.held.extend(self.is_ours[i].then_some(self.searches[i].job));
                    continue;
                }
                Verdict::Outbid | Verdict::Nobody | Verdict::ZonePaused => {
                    outcome.empty.extend(self.is_ours[i].then_some(self.searches[i].job));
                    continue;
                }
            }
            let search = self.searches[i];
            picks.clear();
            picks.extend(self.chosen[i]);
            if is_shared(search.policy) {
                for &pick in &self.picks[self.spans[i].clone()] {
                    if picks.len() == usize::from(search.n_wanted) {
                        break;
                    }
                    if !std::mem::replace(&mut self.is_taken[pick.driver as usize], true) {
                        picks.push(pick);
                    }
                }
                picks.sort_by_key(|pick: &Pick| (pick.cost_ms, pick.driver));
            }
            if !self.is_ours[i] {
                continue;
            }
            let candidates = picks.iter().map(|pick| Candidate {
                driver: self.field.card(pick.driver).id,
                eta_s: pick.eta_ms.div_ceil(1_000),
                distance_m: pick.distance_m.round() as u32,
                cost_ms: pick.cost_ms,
            });
            outcome.proposals.push(Proposal {
                job: search.job,
                round: search.round,
                candidates: candidates.collect(),
            });
        }
        if self.terms.settings.n_told > 0 {
            outcome.traces = self.traces(&verdicts, &outcome.proposals);
        }
        outcome
    }

    fn verdict(&self, i: usize) -> Verdict {
        let Terms { settings, now, .. } = *self.terms;
        let search = self.searches[i];
        match self.chosen[i] {
            None if self.spans[i].is_empty() => Verdict::Nobody,
            None => Verdict::Outbid,
            Some(_) if !is_held(search.policy) => Verdict::Proposed,
            // A busy driver is waited for, not bound: until its ride ends, somebody nearer to either may
            // turn up. Who has room for one delivery more has it now: it is as good as what it takes until it comes.
            Some(pick) if pick.busy_ms > settings.bind_ahead_ms && !self.has_room_now(i, &pick) => {
                Verdict::HeldBusy
            }
            Some(pick) if settings.is_good_enough(search, pick.eta_ms, now) => Verdict::Proposed,
            Some(_) => Verdict::HeldTooFar,
        }
    }

    /// Does the driver take it on at once, and not only when what it does has ended?
    fn has_room_now(&self, search: usize, pick: &Pick) -> bool {
        let is_delivery = self.searches[search].work == WorkKind::Delivery;
        is_delivery && self.field.card(pick.driver).has_delivery_slot
    }

    /// What it saw of our searches.
    fn traces(&self, verdicts: &[Verdict], proposals: &[Proposal]) -> Traces {
        let n_told = usize::from(self.terms.settings.n_told);
        let n_ours = self.is_ours.iter().filter(|it| **it).count();
        let mut traces = Traces::with_room(n_ours, n_told);
        // They come in the order of the searches.
        let mut proposals = proposals.iter().peekable();
        for (i, search) in self.searches.iter().enumerate().filter(|(i, _)| self.is_ours[*i]) {
            let proposed = proposals.next_if(|it| it.job == search.job);
            let picks = &self.picks[self.spans[i].clone()];
            let (named, tally) = self.misfits.of(i);
            let told = Told {
                job: search.job,
                work: search.work,
                pickup: search.pickup,
                round: search.round,
                radius_m: search.radius_m,
                verdict: verdicts[i],
                n_weighed: picks.len() as u32,
                tally,
                ruling: search.ruling.clone(),
                model: self.model(i),
            };
            // Whoever was chosen is told of, however many were cheaper.
            let is_told = |(nth, pick): &(usize, &Pick)| {
                *nth < n_told || self.chosen[i].is_some_and(|it| it.driver == pick.driver)
            };
            let weighed = picks.iter().enumerate().filter(is_told);
            let weighed = weighed.map(|(_, pick)| self.weighed(i, pick, proposed));
            let unfit = named.iter().map(|&(n, why)| Unfit { driver: self.field.card(n).id, why });
            traces.push(told, weighed, unfit);
        }
        traces
    }

    fn weighed(&self, search: usize, pick: &Pick, proposed: Option<&Proposal>) -> Weighed {
        let driver = self.field.card(pick.driver).id;
        let standing = self.besides[self.ruled[search]].known_standing(pick.driver);
        let is_proposed =
            proposed.is_some_and(|it| it.candidates.iter().any(|it| it.driver == driver));
        let fate = if is_proposed {
            Fate::Proposed
        } else if self.chosen[search].is_some_and(|it| it.driver == pick.driver) {
            Fate::Held
        } else if self.is_taken[pick.driver as usize] {
            Fate::Taken
        } else {
            Fate::Spare
        };
        Weighed {
            driver,
            fate,
            distance_m: pick.distance_m.round() as u32,
            cost_ms: pick.cost_ms,
            travel_ms: pick.eta_ms.saturating_sub(pick.busy_ms),
            busy_ms: pick.busy_ms,
            low_s: seconds(pick.low_ms),
            high_s: seconds(pick.high_ms.saturating_add(999)),
            parts: Parts { excess_ms: pick.excess_ms, turn_ms: pick.turn_ms, ..standing },
        }
    }

    /// What knew better than the router how long the way of whoever was chosen for a search takes, or of the cheapest, if nobody was.
    fn model(&self, search: usize) -> Option<Model> {
        let card = self.searches[search];
        if card.ruling.as_ref().is_some_and(|it| !it.learned_ways) {
            return None;
        }
        let Learning { name, version, n_learned } = self.terms.router.model()?;
        let cheapest = self.picks[self.spans[search].clone()].first();
        let pick = self.chosen[search].as_ref().or(cheapest)?;
        let model_ms = pick.eta_ms.saturating_sub(pick.busy_ms);
        Some(Model { name, version, n_learned, router_ms: pick.untaught_ms, model_ms })
    }
}

/// Whole seconds; of what takes longer than eighteen hours nobody needs to know how long.
fn seconds(ms: u32) -> u16 {
    u16::try_from(ms / 1_000).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
