//! What a search promises, whatever job it is part of.

use super::*;
use proptest::prelude::*;
use protocol::{
    Currency, OrderId, PartnerId, ZoneId,
    work::{Vehicle, VehicleKind},
};
use std::collections::HashMap;

const TTL: u64 = 15_000;

/// A search and the job it belongs to.
#[derive(Clone)]
struct Hunt {
    policy: JobPolicy,
    needs: Needs,
    search: Search,
    assignment: Option<Assignment>,
    now: Timestamp,
    told: Vec<Effect>,
    is_exhausted: bool,
}

impl Hunt {
    fn open(offer: OfferPolicy) -> Self {
        Self::with(JobPolicy { offer, ..JobPolicy::default() }, None)
    }

    fn with(policy: JobPolicy, only: Option<DriverId>) -> Self {
        let mut hunt = Self::new(policy);
        hunt.begin(only);
        hunt
    }

    /// One that is the first fleet's first.
    fn of_fleet_first(policy: JobPolicy) -> Self {
        let mut hunt = Self::new(policy);
        let (at, fleet, by) = (hunt.now, Some(PartnerId::nth(1)), Principal::System);
        let reason = "as it was asked for".to_owned();
        let set = Event::FleetSet { at, fleet, by, reason, first: true };
        assert_eq!(set.format(), FLEETS_FIRST);
        hunt.take(Decision::from(vec![set]));
        hunt.begin(None);
        hunt
    }

    fn new(policy: JobPolicy) -> Self {
        Self {
            policy,
            needs: Needs::default(),
            search: Search::default(),
            assignment: None,
            now: Timestamp(1_000_000),
            told: Vec::new(),
            is_exhausted: false,
        }
    }

    fn begin(&mut self, only: Option<DriverId>) {
        let opened = self.search.open(only, &self.policy, self.now);
        self.take(Decision::from(opened));
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            job: job(),
            rider: RiderId::nth(1),
            policy: &self.policy,
            needs: &self.needs,
            assignment: self.assignment.as_ref(),
            now: self.now,
        }
    }

    fn take(&mut self, decision: Decision) -> Vec<Event> {
        let pickup = Place::from(Point::default());
        let fare = Money { amount: 1_000, currency: Currency::RWF };
        let work = WorkKind::Ride;
        let needs = &Needs::default();
        let terms = Terms { job: job(), work, pickup: &pickup, dropoff: None, fare, needs };
        for event in &decision.events {
            self.told.extend(self.search.effects(&terms, event));
            self.search.evolve(event);
        }
        match decision.outcome {
            None => {}
            Some(Outcome::Won(won)) => {
                assert_eq!(self.assignment.replace(won), None, "won twice");
                assert!(!self.search.is_open());
            }
            Some(Outcome::Exhausted) => {
                assert_eq!(self.search.offers().len(), 0);
                self.is_exhausted = true;
                self.search.evolve(&Event::Closed { seen: None });
            }
        }
        decision.events
    }

    fn hear(&mut self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let decision = self.search.decide(command, &self.asked())?;
        Ok(self.take(decision))
    }

    fn propose(&mut self, drivers: &[u64]) -> Vec<OfferId> {
        let round = self.card().map_or(0, |card| card.round);
        let candidates = drivers.iter().map(|n| candidate(*n)).collect();
        let events = self.hear(&Command::Propose { round, candidates }).unwrap();
        events.iter().filter_map(made).collect()
    }

    fn accept(&mut self, offer: OfferId, n: u64) -> Result<Vec<Event>, Refusal> {
        self.hear(&Command::OfferAccepted { offer, driver: DriverId::nth(n), slots: vec![0] })
    }

    fn tick(&mut self) -> Vec<Event> {
        let decision = self.search.tick(&self.asked());
        self.take(decision)
    }

    fn wait(&mut self, ms: u64) -> Vec<Event> {
        self.now = Timestamp(self.now.0 + ms);
        self.tick()
    }

    fn card(&self) -> Option<SearchCard> {
        let (rider, needs) = (RiderId::nth(1), Needs::default());
        self.search.card(job(), WorkKind::Ride, rider, Point::default(), &needs, &self.policy)
    }
}

fn job() -> JobId {
    JobId::Order(OrderId::nth(1))
}

fn candidate(n: u64) -> Candidate {
    Candidate { driver: DriverId::nth(n), eta_s: 60, distance_m: 400, cost_ms: 0 }
}

fn made(event: &Event) -> Option<OfferId> {
    if let Event::OfferMade { offer, .. } = event { Some(*offer) } else { None }
}

fn told_drivers(effects: &[Effect]) -> Vec<(&DriverId, &'static str)> {
    let about = |effect| match effect {
        &Effect { tell: Tell::Driver { ref to, ref command }, .. } => (to, command.into()),
        other => panic!("a search tells drivers only, not {other:?}"),
    };
    effects.iter().map(about).collect()
}

#[test]
fn sequential_asks_one_and_broadcast_asks_five() {
    assert_eq!(Hunt::open(OfferPolicy::Sequential).propose(&[1, 2, 3]).len(), 1);
    assert_eq!(Hunt::open(OfferPolicy::BatchOptimal).propose(&[1, 2, 3]).len(), 1);
    let mut broadcast = Hunt::open(OfferPolicy::BroadcastFirstWins);
    assert_eq!(broadcast.propose(&[1, 2, 3, 4, 5, 6, 7]).len(), 5);
    assert_eq!(broadcast.card().unwrap().n_wanted, 0);
    assert_eq!(broadcast.propose(&[8]), [], "nobody else is wanted");
}

#[test]
fn a_proposal_for_an_old_round_is_too_late() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    let round = hunt.card().unwrap().round;
    let candidates = vec![candidate(1)];
    hunt.hear(&Command::Propose { round, candidates: candidates.clone() }).unwrap();
    let again = hunt.hear(&Command::Propose { round, candidates });
    assert!(matches!(again, Err(Refusal::TooLate(_))));
}

#[test]
fn the_first_yes_wins_and_everyone_else_is_let_go() {
    let mut hunt = Hunt::open(OfferPolicy::BroadcastFirstWins);
    let offers = hunt.propose(&[1, 2, 3]);
    hunt.told.clear();
    hunt.accept(offers[1], 2).unwrap();
    assert_eq!(hunt.assignment.as_ref().unwrap().driver, DriverId::nth(2));
    let others = [DriverId::nth(1), DriverId::nth(3)];
    assert_eq!(
        told_drivers(&hunt.told),
        [(&others[0], "withdraw_offer"), (&others[1], "withdraw_offer")]
    );
    assert_eq!(hunt.accept(offers[1], 2), Ok(vec![]), "asked again, it is already so");
    let late = hunt.accept(offers[0], 1);
    assert_eq!(late, Err(Refusal::OfferGone(OfferStatus::Withdrawn)));
}

#[test]
fn an_offer_made_to_one_driver_cannot_be_accepted_by_another() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    let offers = hunt.propose(&[1]);
    assert!(matches!(hunt.accept(offers[0], 2), Err(Refusal::NotYours(_))));
}

#[test]
fn who_declines_is_excluded_and_who_is_silent_rests_for_a_while_and_until_a_tier_opens() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    let offers = hunt.propose(&[1]);
    hunt.hear(&Command::OfferDeclined { offer: offers[0] }).unwrap();
    hunt.propose(&[2]);
    hunt.wait(TTL);
    assert_eq!(hunt.propose(&[1, 2]), []);
    let excluded = hunt.card().unwrap().excluded;
    assert_eq!(excluded, [DriverId::nth(1), DriverId::nth(2)]);
    hunt.wait(5_000);
    assert_eq!(hunt.card().unwrap().radius_m, 5_000, "the next tier");
    assert_eq!(hunt.propose(&[1, 2]), [], "the phone is where it was five seconds ago");
    hunt.wait(20_000);
    assert_eq!(hunt.propose(&[1, 2]), []);
    // Thirty seconds after it was silent, in the last tier.
    assert_eq!(hunt.search.deadline(), Some(Timestamp(hunt.now.0 + 5_000)));
    hunt.wait(5_000);
    assert_eq!(hunt.propose(&[1]), [], "no is no");
    assert_eq!(hunt.propose(&[2]).len(), 1, "silence is not");
}

#[test]
fn whoever_could_not_be_reserved_is_asked_again_when_the_next_tier_opens_after_that_offer() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    let offers = hunt.propose(&[1]);
    hunt.hear(&Command::OfferRefused { offer: offers[0], why: None }).unwrap();
    hunt.wait(TTL);
    assert_eq!(hunt.propose(&[1]), []);
    hunt.wait(5_000);
    assert_eq!(hunt.propose(&[1]).len(), 1);
}

#[test]
fn however_many_are_silent_nobody_is_asked_again_before_having_rested() {
    let policy = JobPolicy {
        offer: OfferPolicy::BroadcastFirstWins,
        attempts_max: 20,
        ..JobPolicy::default()
    };
    let mut hunt = Hunt::with(policy, None);
    for five in [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]] {
        assert_eq!(hunt.propose(&five).len(), 5);
        hunt.wait(TTL);
    }
    assert_eq!(hunt.card().unwrap().radius_m, 5_000, "another tier has opened meanwhile");
    assert_eq!(hunt.propose(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), []);
    assert_eq!(hunt.propose(&[11]).len(), 1);
}

#[test]
fn in_the_last_tier_each_who_was_silent_has_a_rest_of_its_own() {
    let silent = || {
        let mut hunt = Hunt::open(OfferPolicy::Sequential);
        hunt.wait(20_000);
        hunt.wait(20_000);
        for n in [1, 2] {
            assert_eq!(hunt.propose(&[n]).len(), 1);
            hunt.wait(TTL);
        }
        hunt
    };
    let rest_ms = REST.as_millis() as u64;
    let mut hunt = silent();
    hunt.wait(rest_ms - TTL);
    assert_eq!(hunt.propose(&[2]), [], "asked fifteen seconds after the first");
    assert_eq!(hunt.propose(&[1]).len(), 1);
    // Where the timer is late, both have rested, and nothing stays due.
    let mut late = silent();
    assert_eq!(late.wait(rest_ms).len(), 2);
    assert_eq!(late.search.deadline(), late.search.until());
    assert_eq!(late.propose(&[2]).len(), 1);
}

#[test]
fn in_the_last_tier_who_was_silent_is_asked_again_after_a_rest() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    hunt.wait(20_000);
    hunt.wait(20_000);
    let widest_m = hunt.card().unwrap().radius_m;
    assert_eq!(widest_m, hunt.policy.tiers_m[2]);
    assert_eq!(hunt.propose(&[1]).len(), 1);
    hunt.wait(TTL);
    let rest_ms = REST.as_millis() as u64;
    hunt.wait(rest_ms - 1);
    assert_eq!(hunt.propose(&[1]), [], "others are asked meanwhile");
    assert_eq!(hunt.search.deadline(), Some(Timestamp(hunt.now.0 + 1)));
    assert!(matches!(hunt.wait(1)[..], [Event::TierOpened { tier: 2, next_tier_at: None, .. }]));
    assert_eq!(hunt.card().unwrap().radius_m, widest_m, "and nobody further away");
    assert_eq!(hunt.propose(&[1]).len(), 1, "there may be nobody else");
    // Where the timer is late, what is due then is done at once, and nothing stays due.
    hunt.wait(TTL + rest_ms);
    assert!(hunt.search.deadline().unwrap() > hunt.now);
    assert_eq!(hunt.propose(&[1]).len(), 1);
    // Nothing is written while nobody rests.
    let mut idle = Hunt::open(OfferPolicy::Sequential);
    idle.wait(20_000);
    idle.wait(20_000);
    assert_eq!(idle.search.deadline(), idle.search.until());
}

#[test]
fn in_the_last_tier_who_could_not_be_reserved_is_asked_again_when_that_may_have_changed() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    hunt.wait(20_000);
    hunt.wait(20_000);
    let offers = hunt.propose(&[1]);
    hunt.hear(&Command::OfferRefused { offer: offers[0], why: None }).unwrap();
    hunt.wait(TTL - 1);
    assert_eq!(hunt.propose(&[1]), []);
    hunt.wait(1);
    let again = hunt.propose(&[1]);
    assert_eq!(again.len(), 1);
    // A no is a no in every tier.
    hunt.hear(&Command::OfferDeclined { offer: again[0] }).unwrap();
    hunt.wait(2 * TTL);
    assert_eq!(hunt.propose(&[1]), []);
}

#[test]
fn whoever_is_silent_again_and_again_takes_no_attempt_from_those_who_may_come() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    hunt.wait(20_000);
    hunt.wait(20_000);
    let n_attempts = hunt.search.n_attempts_left(&hunt.policy);
    for _ in 0..3 {
        assert_eq!(hunt.propose(&[1]).len(), 1);
        hunt.wait(TTL);
        hunt.wait(REST.as_millis() as u64);
    }
    assert_eq!(hunt.search.n_attempts_left(&hunt.policy), n_attempts - 1, "the first time counts");
}

#[test]
fn a_driver_who_could_not_be_reserved_costs_no_attempt() {
    let policy =
        JobPolicy { offer: OfferPolicy::Sequential, attempts_max: 1, ..JobPolicy::default() };
    let mut hunt = Hunt::with(policy, None);
    for n in 1..=3 {
        let offers = hunt.propose(&[n]);
        hunt.hear(&Command::OfferRefused { offer: offers[0], why: None }).unwrap();
        assert!(!hunt.is_exhausted);
    }
    let offers = hunt.propose(&[4]);
    hunt.hear(&Command::OfferRefused { offer: offers[0], why: None }).unwrap();
    assert!(hunt.is_exhausted, "but it does not go on for ever");
}

#[test]
fn it_gives_up_after_the_last_attempt_or_at_the_deadline() {
    let policy =
        JobPolicy { offer: OfferPolicy::Sequential, attempts_max: 2, ..JobPolicy::default() };
    let mut hunt = Hunt::with(policy, None);
    hunt.propose(&[1]);
    hunt.wait(TTL);
    hunt.propose(&[2]);
    assert!(!hunt.is_exhausted);
    hunt.wait(TTL);
    assert!(hunt.is_exhausted);

    let mut slow = Hunt::open(OfferPolicy::Sequential);
    slow.wait(179_000);
    let offers = slow.propose(&[1]);
    let expires_at = slow.search.offers().next().unwrap().expires_at;
    assert_eq!(expires_at, Timestamp(1_180_000), "no offer outlives its search");
    slow.wait(1_000);
    assert!(slow.is_exhausted);
    assert_eq!(slow.accept(offers[0], 1), Err(Refusal::OfferGone(OfferStatus::Expired)));
}

#[test]
fn direct_asks_one_driver_and_nobody_else() {
    let policy = JobPolicy { offer: OfferPolicy::Direct, ..JobPolicy::default() };
    let mut hunt = Hunt::with(policy, Some(DriverId::nth(7)));
    assert_eq!(hunt.propose(&[1, 2]), []);
    let offers = hunt.propose(&[1, 7]);
    hunt.hear(&Command::OfferDeclined { offer: offers[0] }).unwrap();
    assert!(hunt.is_exhausted, "there is nobody else to ask");
}

#[test]
fn a_scanned_code_is_told_not_asked_and_only_beside_the_rider() {
    let policy = JobPolicy { offer: OfferPolicy::AutoAssign, ..JobPolicy::default() };
    let mut hunt = Hunt::with(policy, Some(DriverId::nth(7)));
    assert_eq!(hunt.card().unwrap().radius_m, policy.pickup_fence_m);
    hunt.propose(&[7]);
    assert!(matches!(
        &hunt.told[..],
        [Effect {
            tell: Tell::Driver {
                command: driver::Command::ReserveOffer { consent: false, force: false, .. },
                ..
            },
            if_refused: Some(_),
        }]
    ));
}

#[test]
fn two_sided_needs_both_in_either_order() {
    let mut hunt = Hunt::open(OfferPolicy::TwoSided);
    let offers = hunt.propose(&[1, 2]);
    hunt.accept(offers[0], 1).unwrap();
    assert_eq!(hunt.assignment, None);
    let decision = hunt.search.confirm(offers[0], &hunt.asked()).unwrap();
    hunt.take(decision);
    assert_eq!(hunt.assignment.as_ref().unwrap().slots, [0]);

    let mut rider_first = Hunt::open(OfferPolicy::TwoSided);
    let offers = rider_first.propose(&[1, 2]);
    let decision = rider_first.search.confirm(offers[1], &rider_first.asked()).unwrap();
    rider_first.take(decision);
    assert_eq!(rider_first.assignment, None);
    rider_first.accept(offers[1], 2).unwrap();
    assert_eq!(rider_first.assignment.as_ref().unwrap().driver, DriverId::nth(2));
}

#[test]
fn a_driver_the_rider_never_confirms_is_freed_in_time() {
    let mut hunt = Hunt::open(OfferPolicy::TwoSided);
    let offers = hunt.propose(&[1]);
    hunt.wait(10_000);
    hunt.accept(offers[0], 1).unwrap();
    hunt.told.clear();
    hunt.wait(TTL - 1);
    assert_eq!(hunt.told, [], "the pair has a time of its own");
    hunt.wait(1);
    assert_eq!(told_drivers(&hunt.told), [(&DriverId::nth(1), "abort_job")]);
}

#[test]
fn a_feed_asks_nobody_and_the_first_claim_wins() {
    let mut hunt = Hunt::open(OfferPolicy::Feed);
    assert!(hunt.search.is_in_feed());
    assert_eq!(hunt.card(), None);
    let claim =
        |n| Command::Claim { driver: DriverId::nth(n), slots: vec![2], fleet: None, brings: None };
    hunt.hear(&claim(1)).unwrap();
    assert_eq!(hunt.hear(&claim(1)), Ok(vec![]));
    assert!(matches!(hunt.hear(&claim(2)), Err(Refusal::TooLate(_))));
}

#[test]
fn a_claim_is_judged_by_what_its_driver_brings_as_it_is_made() {
    let mut hunt = Hunt::open(OfferPolicy::Feed);
    hunt.needs = Needs {
        vehicles: vec![VehicleKind::Moto],
        weight_g: 5_000,
        skills: vec!["certificate.hazmat".to_owned()],
    };
    let claim = |kind, load_g, skills: &[&str]| {
        let skills = skills.iter().map(|it| (*it).to_owned()).collect();
        let vehicle = Vehicle { kind, capacity_g: 10_000, skills };
        let brings = Some(Box::new(Brings { vehicle, load_g }));
        Command::Claim { driver: DriverId::nth(1), slots: vec![0], fleet: None, brings }
    };
    let has = ["certificate.hazmat"];
    for (said, why) in [
        (claim(VehicleKind::Car, 0, &has), WhyNot::Vehicle),
        (claim(VehicleKind::Moto, 5_001, &has), WhyNot::Capacity),
        (claim(VehicleKind::Moto, 0, &[]), WhyNot::Certificate),
    ] {
        assert_eq!(hunt.hear(&said), Err(Refusal::Unfit(vec![why])));
        assert!(hunt.search.is_in_feed(), "the others may have it");
    }
    hunt.hear(&claim(VehicleKind::Moto, 5_000, &has)).unwrap();
    assert_eq!(hunt.hear(&claim(VehicleKind::Moto, 10_000, &[])), Ok(vec![]), "it has it by now");
}

#[test]
fn a_claim_of_an_older_build_says_not_what_its_driver_brings_and_is_read_as_ever() {
    let (driver, slots) = (DriverId::nth(1), vec![0]);
    let claim = Command::Claim { driver, slots, fleet: None, brings: None };
    let said = serde_json::to_value(&claim).unwrap();
    assert_eq!(said["claim"].get("brings"), None);
    assert_eq!(serde_json::from_value::<Command>(said).unwrap(), claim);
    let mut hunt = Hunt::open(OfferPolicy::Feed);
    hunt.needs = Needs { weight_g: 5_000, ..Needs::default() };
    hunt.hear(&claim).unwrap();
}

#[test]
fn closing_takes_back_what_is_open_and_only_once() {
    let mut hunt = Hunt::open(OfferPolicy::BroadcastFirstWins);
    hunt.propose(&[1, 2]);
    let closed = hunt.search.close(hunt.now);
    assert_eq!(closed.len(), 3);
    hunt.take(Decision::from(closed));
    assert_eq!(hunt.search.close(hunt.now), []);
    assert_eq!(hunt.search.deadline(), None);
}

#[test]
fn a_held_search_asks_nobody_and_goes_on_with_the_time_that_was_left() {
    let by = Principal::Dispatcher;
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    hunt.propose(&[1]);
    hunt.now = Timestamp(hunt.now.0 + 5_000);
    let (next_tier_ms, until_ms) = (15_000, 175_000);
    let held = hunt.search.hold(by, "the rider phones", hunt.now);
    assert!(matches!(held[..], [Event::OfferClosed { .. }, Event::Held { .. }]), "{held:?}");
    hunt.take(Decision::from(held));
    assert_eq!((hunt.card(), hunt.search.deadline()), (None, None));
    assert!(hunt.search.hold(by, "again", hunt.now).is_empty(), "already so");
    assert!(hunt.hear(&Command::Propose { round: 0, candidates: vec![candidate(2)] }).is_err());
    // However long it takes.
    assert_eq!(hunt.wait(3_600_000), []);

    let resumed = hunt.search.resume(by, "", &hunt.asked()).unwrap();
    hunt.take(resumed);
    let again = hunt.search.resume(by, "", &hunt.asked()).unwrap();
    assert!(again.events.is_empty(), "already so");
    assert_eq!(hunt.search.deadline(), Some(Timestamp(hunt.now.0 + next_tier_ms)));
    assert_eq!(hunt.propose(&[2]).len(), 1);
    let end = Timestamp(hunt.now.0 + until_ms);
    while !hunt.is_exhausted {
        hunt.now = hunt.search.deadline().unwrap();
        hunt.tick();
    }
    assert!(hunt.now <= end, "{:?} {end:?}", hunt.now);
}

#[test]
fn a_held_feed_is_claimed_by_nobody() {
    let mut hunt = Hunt::open(OfferPolicy::Feed);
    let held = hunt.search.hold(Principal::Dispatcher, "why", hunt.now);
    hunt.take(Decision::from(held));
    let claim =
        Command::Claim { driver: DriverId::nth(1), slots: vec![0], fleet: None, brings: None };
    assert!(matches!(hunt.hear(&claim), Err(Refusal::TooLate(_))));
    let resumed = hunt.search.resume(Principal::Dispatcher, "", &hunt.asked()).unwrap();
    hunt.take(resumed);
    assert!(hunt.hear(&claim).is_ok());
}

#[test]
fn a_job_that_is_kept_to_a_fleet_is_asked_of_nobody_else_until_it_is_freed() {
    let mut hunt = Hunt::open(OfferPolicy::BroadcastFirstWins);
    let offers = hunt.propose(&[1, 2]);
    let fleet = Some(PartnerId::nth(1));
    let keep_to = |hunt: &mut Hunt, fleet| {
        let said = hunt.search.keep_to(fleet, Principal::Dispatcher, "why", &hunt.asked());
        hunt.take(said)
    };
    let events = keep_to(&mut hunt, fleet);
    assert_eq!(events.len(), offers.len() + 1, "they may drive for another one: {events:?}");
    assert!(events.iter().all(|event| event.format() <= FLEETS));
    assert_eq!(keep_to(&mut hunt, fleet), [], "already so");
    assert_eq!(hunt.card().unwrap().fleet, fleet);
    assert_eq!(hunt.propose(&[3]).len(), 1);
    assert_eq!(keep_to(&mut hunt, None).len(), 1, "who is asked may answer all the same");
    assert_eq!(hunt.card().unwrap().fleet, None);
}

#[test]
fn a_job_in_the_feed_that_is_kept_to_a_fleet_is_claimed_by_its_drivers_only() {
    let mut hunt = Hunt::open(OfferPolicy::Feed);
    let fleet = Some(PartnerId::nth(1));
    let said = hunt.search.keep_to(fleet, Principal::Dispatcher, "why", &hunt.asked());
    hunt.take(said);
    let claim =
        |fleet| Command::Claim { driver: DriverId::nth(1), slots: vec![0], fleet, brings: None };
    for other in [None, Some(PartnerId::nth(2))] {
        assert!(matches!(hunt.hear(&claim(other)), Err(Refusal::NotEligible(_))));
    }
    assert!(hunt.hear(&claim(fleet)).is_ok());
}

#[test]
fn what_was_asked_of_one_driver_alone_is_nobody_elses_in_the_feed_either() {
    let mut hunt = Hunt::with(JobPolicy::delivery(), Some(DriverId::nth(1)));
    let opened = feed(&hunt.policy, hunt.now);
    hunt.take(Decision::from(vec![opened]));
    let claim =
        |n| Command::Claim { driver: DriverId::nth(n), slots: vec![0], fleet: None, brings: None };
    let is_open_to = |hunt: &Hunt, n| hunt.search.is_open_to(DriverId::nth(n));
    assert_eq!((is_open_to(&hunt, 1), is_open_to(&hunt, 2)), (true, false));
    assert!(matches!(hunt.hear(&claim(2)), Err(Refusal::NotEligible(_))));

    let held = hunt.search.hold(Principal::Dispatcher, "why", hunt.now);
    hunt.take(Decision::from(held));
    assert!(!is_open_to(&hunt, 1));
    let resumed = hunt.search.resume(Principal::Dispatcher, "", &hunt.asked()).unwrap();
    hunt.take(resumed);
    let bytes = rmp_serde::to_vec_named(&hunt.search).unwrap();
    assert_eq!(rmp_serde::from_slice::<Search>(&bytes).unwrap(), hunt.search);
    assert!(matches!(hunt.hear(&claim(2)), Err(Refusal::NotEligible(_))));
    assert!(hunt.hear(&claim(1)).is_ok());
}

/// Whose drivers it is kept to, and whether only at first.
fn kept_to(hunt: &Hunt) -> (Option<PartnerId>, bool) {
    let card = hunt.card().expect("drivers are asked");
    assert_eq!((card.fleet, card.fleet_first), (hunt.search.fleet(), hunt.search.fleet_first));
    (card.fleet, card.fleet_first)
}

/// As `kept_to` says it of a search that is the first fleet's first.
fn first() -> (Option<PartnerId>, bool) {
    (Some(PartnerId::nth(1)), true)
}

/// The same of one that is kept to it.
fn alone() -> (Option<PartnerId>, bool) {
    (Some(PartnerId::nth(1)), false)
}

const EVERYBODY: (Option<PartnerId>, bool) = (None, false);

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::name).collect()
}

#[test]
fn a_fleet_that_comes_first_is_asked_alone_until_its_tiers_are_over() {
    let tier_ms = u64::from(JobPolicy::default().tier_ms);
    // However many tiers it is to have, everybody is asked in the last.
    for (fleet_tiers, n) in [(1, 1), (2, 2), (9, 2)] {
        let mut hunt = Hunt::of_fleet_first(JobPolicy { fleet_tiers, ..JobPolicy::default() });
        for _ in 1..n {
            assert_eq!(kept_to(&hunt), first());
            assert_eq!(names(&hunt.wait(tier_ms)), ["tier_opened"]);
        }
        hunt.now = Timestamp(hunt.now.0 + tier_ms - TTL / 2);
        let asked = hunt.propose(&[1]);
        assert_eq!(kept_to(&hunt), first());
        assert_eq!(names(&hunt.wait(TTL / 2)), ["tier_opened", "fleet_set"], "{fleet_tiers}");
        assert_eq!(kept_to(&hunt), EVERYBODY);
        hunt.accept(asked[0], 1).expect("who is asked may answer all the same");
    }
}

#[test]
fn a_search_opened_anew_has_all_its_time_again_and_whoever_waits_has_waited_since_the_first() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    let (first, search_ms) = (hunt.now, u64::from(hunt.policy.search_ms));
    let offers = hunt.propose(&[1]);
    hunt.accept(offers[0], 1).unwrap();
    assert_eq!(hunt.card(), None);
    hunt.wait(10 * 60_000);
    hunt.assignment = None;
    hunt.begin(None);
    assert_eq!(hunt.card().unwrap().opened_at, first);
    assert_eq!(hunt.search.until(), Some(Timestamp(hunt.now.0 + search_ms)));
    assert_eq!(hunt.card().unwrap().radius_m, hunt.policy.tiers_m[0], "nearby first, again");
    // Nor does standing still make anybody's wait shorter.
    hunt.hear(&Command::Pause { pause: pause(None) }).unwrap();
    assert_eq!(hunt.card().unwrap().opened_at, first);
    // What an earlier build kept of it says when it was opened last.
    let mut kept = serde_json::to_value(&hunt.search).unwrap();
    kept.as_object_mut().unwrap().remove("first_opened_at").unwrap();
    let opened_at = hunt.now;
    hunt.search = serde_json::from_value(kept).unwrap();
    assert_eq!(hunt.card().unwrap().opened_at, opened_at);
}

#[test]
fn where_a_search_is_shorter_than_its_fleets_tiers_the_others_have_as_long_a_one() {
    let (search_ms, tier_ms) = (20_000, 30_000);
    let policy = JobPolicy { search_ms, tier_ms, fleet_tiers: 2, ..JobPolicy::default() };
    let mut hunt = Hunt::of_fleet_first(policy);
    let opened_at = hunt.card().unwrap().opened_at;
    hunt.propose(&[1]);
    assert_eq!(names(&hunt.wait(TTL)), ["offer_closed"]);
    assert_eq!(kept_to(&hunt), first());
    let freed = hunt.wait(u64::from(search_ms) - TTL);
    assert_eq!(names(&freed), ["fleet_set", "search_opened"]);
    assert!(!hunt.is_exhausted);
    assert_eq!(kept_to(&hunt), EVERYBODY);
    assert_eq!(hunt.card().unwrap().opened_at, opened_at, "it keeps its place in the queue");
    assert_eq!(hunt.search.until(), Some(Timestamp(hunt.now.0 + u64::from(search_ms))));
    assert_eq!(hunt.wait(u64::from(search_ms) - 1), []);
    hunt.wait(1);
    assert!(hunt.is_exhausted, "and that once");
}

#[test]
fn a_fleet_that_does_not_want_it_leaves_the_others_all_their_attempts() {
    let policy = JobPolicy { attempts_max: 2, ..JobPolicy::default() };
    let mut hunt = Hunt::of_fleet_first(policy);
    let decline = |hunt: &mut Hunt, n| {
        let offer = hunt.propose(&[n])[0];
        names(&hunt.hear(&Command::OfferDeclined { offer }).unwrap())
    };
    assert_eq!(decline(&mut hunt, 1), ["offer_closed"]);
    assert_eq!(kept_to(&hunt), first());
    assert_eq!(decline(&mut hunt, 2), ["offer_closed", "fleet_set"]);
    assert!(!hunt.is_exhausted);
    assert_eq!(kept_to(&hunt), EVERYBODY);
    assert_eq!(decline(&mut hunt, 3), ["offer_closed"]);
    assert_eq!(decline(&mut hunt, 4), ["offer_closed"]);
    assert!(hunt.is_exhausted);
}

#[test]
fn a_fleet_that_comes_first_does_so_for_as_long_although_the_search_stood_still() {
    let mut hunt = Hunt::of_fleet_first(JobPolicy::default());
    let tier_ms = u64::from(JobPolicy::default().tier_ms);
    hunt.wait(tier_ms / 2);
    let held = hunt.search.hold(Principal::Dispatcher, "why", hunt.now);
    hunt.take(Decision::from(held));
    assert_eq!(hunt.wait(10 * tier_ms), []);
    let resumed = hunt.search.resume(Principal::Dispatcher, "", &hunt.asked()).unwrap();
    hunt.take(resumed);
    assert_eq!(kept_to(&hunt), first());
    hunt.wait(tier_ms / 2);
    assert_eq!(kept_to(&hunt), EVERYBODY);
}

#[test]
fn what_is_its_fleets_first_may_be_kept_to_it_and_what_is_kept_to_it_stays_so() {
    let mut hunt = Hunt::of_fleet_first(JobPolicy::default());
    let asked = hunt.propose(&[1]);
    let fleet = Some(PartnerId::nth(1));
    let kept = hunt.search.keep_to(fleet, Principal::Dispatcher, "why", &hunt.asked());
    assert_eq!(names(&hunt.take(kept)), ["fleet_set"]);
    assert_eq!(hunt.search.offers().next().map(|it| it.id), asked.first().copied());
    let mut n_tiers = 0;
    while hunt.search.is_open() {
        assert_eq!(kept_to(&hunt), alone());
        let due = hunt.search.deadline().expect("a timer is armed");
        hunt.now = due;
        n_tiers += names(&hunt.tick()).iter().filter(|it| **it == "tier_opened").count();
    }
    assert!(hunt.is_exhausted && n_tiers >= 2, "{n_tiers}");
}

#[test]
fn in_a_feed_no_fleet_comes_first() {
    let policy = JobPolicy { offer: OfferPolicy::Feed, ..JobPolicy::default() };
    let mut hunt = Hunt::of_fleet_first(policy);
    assert_eq!((hunt.search.fleet(), hunt.search.fleet_first), EVERYBODY);
    let claim =
        Command::Claim { driver: DriverId::nth(1), slots: vec![0], fleet: None, brings: None };
    assert!(hunt.hear(&claim).is_ok());
}

fn pause(until: Option<Timestamp>) -> ZonePause {
    let reason = "a flood".to_owned();
    ZonePause { zone: ZoneId::of_cell(7), since: Timestamp(900_000), until, reason }
}

fn is_paused(hunt: &Hunt) -> bool {
    hunt.card().is_some_and(|it| it.paused.is_some())
}

#[test]
fn a_search_in_a_paused_zone_stands_still_and_goes_on_with_the_time_that_was_left() {
    let mut hunt = Hunt::open(OfferPolicy::BroadcastFirstWins);
    let end = hunt.search.deadline().unwrap();
    let offers = hunt.propose(&[1, 2]);
    let told = Command::Pause { pause: pause(None) };
    let events = hunt.hear(&told).unwrap();
    assert_eq!(events.len(), offers.len() + 1, "{events:?}");
    assert!(is_paused(&hunt) && hunt.search.is_open() && !hunt.search.is_held());
    assert_eq!(hunt.search.pause_of_zone().unwrap().reason, "a flood");
    assert_eq!(hunt.hear(&told).unwrap(), [], "already so");
    let proposed = Command::Propose { round: hunt.search.round, candidates: vec![candidate(3)] };
    assert!(matches!(hunt.hear(&proposed), Err(Refusal::TooLate(_))), "nobody is asked");

    hunt.now = hunt.now + PAUSE_MAX / 4;
    assert_eq!(hunt.hear(&Command::Unpause {}).unwrap().len(), 1);
    assert_eq!(hunt.hear(&Command::Unpause {}).unwrap(), []);
    assert!(hunt.search.deadline().unwrap() > end, "what was left of it");
    assert_eq!(hunt.propose(&[3]).len(), 1);
}

/// A region that is gone tells nobody that the zone is open again.
#[test]
fn a_search_that_is_not_told_again_that_its_zone_is_paused_goes_on_by_itself() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    let told = Command::Pause { pause: pause(None) };
    hunt.hear(&told).unwrap();
    hunt.now = hunt.now + PAUSE_MAX / 2;
    let card = hunt.card().unwrap();
    assert!(card.paused.unwrap().stale_at.unwrap() <= hunt.now, "it wants to hear it again");
    assert_eq!(hunt.hear(&told).unwrap().len(), 1);
    hunt.wait(PAUSE_MAX.as_millis() as u64 - 1);
    assert!(is_paused(&hunt));
    hunt.wait(1);
    assert!(!is_paused(&hunt) && hunt.propose(&[1]).len() == 1);
    // One whose end is near is not told again.
    let soon = hunt.now + PAUSE_MAX / 4;
    hunt.hear(&Command::Pause { pause: pause(Some(soon)) }).unwrap();
    assert_eq!(hunt.card().unwrap().paused.unwrap().stale_at, None);
    assert_eq!(hunt.search.deadline(), Some(soon));
}

#[test]
fn of_a_dispatcher_and_a_zone_the_dispatcher_has_the_last_word_only_while_the_zone_is_open() {
    let mut hunt = Hunt::open(OfferPolicy::Sequential);
    hunt.hear(&Command::Pause { pause: pause(None) }).unwrap();
    let resumed = hunt.search.resume(Principal::Dispatcher, "", &hunt.asked());
    assert!(matches!(resumed, Err(Refusal::ZonePaused(_))), "{resumed:?}");
    let chosen =
        |force| Chosen { driver: DriverId::nth(1), force, reason: "a doctor", against: &[] };
    let refused = hunt.search.assign(&chosen(false), &hunt.asked());
    assert_eq!(refused, Err(Refusal::Unfit(vec![WhyNot::ZonePaused])));
    let forced = hunt.search.assign(&chosen(true), &hunt.asked()).unwrap();
    assert_eq!(forced.bypassed, [WhyNot::ZonePaused]);
    assert_eq!(format_of(&forced.bypassed), ZONED);

    // Whom a dispatcher holds does not go on because the zone does.
    let held = hunt.search.hold(Principal::Dispatcher, "why", hunt.now);
    hunt.take(Decision::from(held));
    assert!(hunt.search.is_held() && hunt.search.pause_of_zone().is_none());
    assert_eq!(hunt.hear(&Command::Unpause {}).unwrap(), []);
    assert_eq!(hunt.hear(&Command::Pause { pause: pause(None) }).unwrap(), []);
    assert!(hunt.search.is_held() && hunt.card().is_none());
}

#[test]
fn who_is_kept_apart_from_the_rider_is_not_asked_and_cannot_be_forced() {
    let mut hunt = Hunt::open(OfferPolicy::BroadcastFirstWins);
    let offers = hunt.propose(&[1, 2]);
    let bar = Command::Bar { drivers: vec![DriverId::nth(1)] };
    let events = hunt.hear(&bar).unwrap();
    assert!(matches!(&events[..], [Event::OfferClosed { offer, .. }, Event::Barred { .. }]
        if *offer == offers[0]));
    assert_eq!(hunt.hear(&bar).unwrap(), [], "already so");
    assert_eq!(hunt.propose(&[1]), []);
    assert!(hunt.card().unwrap().excluded.contains(&DriverId::nth(1)));
    let chosen = Chosen { driver: DriverId::nth(1), force: true, reason: "please", against: &[] };
    let refused = hunt.search.assign(&chosen, &hunt.asked());
    assert_eq!(refused, Err(Refusal::Unfit(vec![WhyNot::PairBlocked])));
    hunt.hear(&Command::Bar { drivers: Vec::new() }).unwrap();
    assert_eq!(hunt.propose(&[1]).len(), 1);
}

/// What may be said to a search.
#[derive(Debug, Clone)]
enum Word {
    Propose(Vec<u64>),
    Accept(prop::sample::Index, bool),
    Confirm(prop::sample::Index),
    Reject(prop::sample::Index),
    Decline(prop::sample::Index),
    Refuse(prop::sample::Index),
    Claim(u64),
    Assign(u64, bool),
    Hold,
    Resume,
    Pause(u64),
    Unpause,
    KeepTo(Option<u64>),
    Bar(Vec<u64>),
    Wait(u64),
    /// Time passes, and the timer is late.
    Doze(u64),
    Lose,
}

fn word() -> impl Strategy<Value = Word> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => prop::collection::vec(0..8_u64, 1..6).prop_map(Word::Propose),
        2 => (index(), prop::bool::weighted(0.9)).prop_map(|(nth, own)| Word::Accept(nth, own)),
        1 => index().prop_map(Word::Confirm),
        1 => index().prop_map(Word::Reject),
        2 => index().prop_map(Word::Decline),
        2 => index().prop_map(Word::Refuse),
        1 => (0..8_u64).prop_map(Word::Claim),
        1 => (0..8_u64, any::<bool>()).prop_map(|(n, force)| Word::Assign(n, force)),
        1 => Just(Word::Hold),
        1 => Just(Word::Resume),
        1 => prop_oneof![Just(0), 1..400_000_u64].prop_map(Word::Pause),
        1 => Just(Word::Unpause),
        1 => prop::option::of(1..3_u64).prop_map(Word::KeepTo),
        1 => prop::collection::vec(1..8_u64, 0..3).prop_map(Word::Bar),
        4 => prop_oneof![0..3_000_u64, 0..30_000_u64].prop_map(Word::Wait),
        1 => (0..30_000_u64).prop_map(Word::Doze),
        1 => Just(Word::Lose),
    ]
}

fn policy() -> impl Strategy<Value = OfferPolicy> {
    prop::sample::select(vec![
        OfferPolicy::Sequential,
        OfferPolicy::BroadcastFirstWins,
        OfferPolicy::TwoSided,
        OfferPolicy::BatchOptimal,
        OfferPolicy::AutoAssign,
        OfferPolicy::Feed,
    ])
}

proptest! {
    /// I-1, I-9, I-10 and I-12, over any conversation; the rider is also driver 0.
    #[test]
    fn offers_end_once_in_time_and_never_come_back(
        policy in policy(),
        is_fleets_first in any::<bool>(),
        words in prop::collection::vec(word(), 1..80),
    ) {
        let mut hunt = match is_fleets_first {
            true => Hunt::of_fleet_first(JobPolicy { offer: policy, ..JobPolicy::default() }),
            false => Hunt::open(policy),
        };
        let mut offers: Vec<(OfferId, DriverId)> = Vec::new();
        let mut ends: HashMap<OfferId, OfferStatus> = HashMap::new();
        for word in words {
            let pick = |nth: prop::sample::Index| {
                (!offers.is_empty()).then(|| offers[nth.index(offers.len())])
            };
            let me = DriverId(RiderId::nth(1).0);
            let driver = |n: u64| if n == 0 { me } else { DriverId::nth(n) };
            let before = hunt.clone();
            let said = match word {
                Word::Propose(drivers) => {
                    let round = hunt.card().map_or(0, |card| card.round);
                    let candidates =
                        drivers.iter().map(|n| Candidate { driver: driver(*n), ..candidate(1) });
                    Some(hunt.search.decide(
                        &Command::Propose { round, candidates: candidates.collect() },
                        &hunt.asked(),
                    ))
                }
                Word::Accept(nth, is_own) => pick(nth).map(|(offer, holder)| {
                    let driver = if is_own { holder } else { DriverId::nth(99) };
                    let command = Command::OfferAccepted { offer, driver, slots: vec![1] };
                    hunt.search.decide(&command, &hunt.asked())
                }),
                Word::Confirm(nth) => {
                    pick(nth).map(|(offer, _)| hunt.search.confirm(offer, &hunt.asked()))
                }
                Word::Reject(nth) => {
                    pick(nth).map(|(offer, _)| hunt.search.reject(offer, &hunt.asked()))
                }
                Word::Decline(nth) => pick(nth).map(|(offer, _)| {
                    hunt.search.decide(&Command::OfferDeclined { offer }, &hunt.asked())
                }),
                Word::Refuse(nth) => pick(nth).map(|(offer, _)| {
                    hunt.search.decide(&Command::OfferRefused { offer, why: None }, &hunt.asked())
                }),
                Word::Claim(n) => {
                    let command = Command::Claim { driver: driver(n), slots: vec![1], fleet: None, brings: None };
                    Some(hunt.search.decide(&command, &hunt.asked()))
                }
                // Once it has a driver, only a handover would assign; that is the job's affair.
                Word::Assign(n, force) => (hunt.assignment.is_none() && hunt.search.is_open())
                    .then(|| {
                        let chosen =
                            Chosen { driver: driver(n), force, reason: "why", against: &[] };
                        let given = hunt.search.assign(&chosen, &hunt.asked())?;
                        Ok(Decision::from(given.events))
                    }),
                Word::Bar(drivers) => {
                    let drivers = drivers.into_iter().map(driver).collect();
                    Some(hunt.search.decide(&Command::Bar { drivers }, &hunt.asked()))
                }
                Word::Hold => {
                    let events = hunt.search.hold(Principal::Dispatcher, "why", hunt.now);
                    Some(Ok(Decision::from(events)))
                }
                Word::Resume => {
                    Some(hunt.search.resume(Principal::Dispatcher, "why", &hunt.asked()))
                }
                Word::Pause(ms) => {
                    let until = (ms > 0).then(|| Timestamp(hunt.now.0 + ms));
                    let command = Command::Pause { pause: pause(until) };
                    Some(hunt.search.decide(&command, &hunt.asked()))
                }
                Word::KeepTo(fleet) => {
                    let fleet = fleet.map(PartnerId::nth);
                    Some(Ok(hunt.search.keep_to(
                        fleet,
                        Principal::Dispatcher,
                        "why",
                        &hunt.asked(),
                    )))
                }
                Word::Unpause => Some(hunt.search.decide(&Command::Unpause {}, &hunt.asked())),
                Word::Wait(ms) => {
                    hunt.now = Timestamp(hunt.now.0 + ms);
                    Some(Ok(hunt.search.tick(&hunt.asked())))
                }
                Word::Doze(ms) => {
                    hunt.now = Timestamp(hunt.now.0 + ms);
                    None
                }
                Word::Lose => hunt.assignment.take().map(|lost| {
                    let mut events = vec![Event::Excluded { driver: lost.driver }];
                    events.extend(hunt.search.open(None, &hunt.policy, hunt.now));
                    Ok(Decision::from(events))
                }),
            };
            let Some(Ok(decision)) = said else { continue };
            let excluded = before.search.excluded().to_vec();
            // Nobody gives up before everybody may be asked.
            let is_exhausted = decision.outcome == Some(Outcome::Exhausted);
            prop_assert!(!is_exhausted || !before.search.after(&decision.events).fleet_first);
            for event in &decision.events {
                let bytes = rmp_serde::to_vec_named(event).unwrap();
                prop_assert_eq!(&rmp_serde::from_slice::<Event>(&bytes).unwrap(), event);
                if let Event::OfferMade { offer, driver, force, consent, .. } = event {
                    prop_assert!(*force || !excluded.contains(driver));
                    prop_assert!(!before.search.barred().contains(driver), "not even by force");
                    // Only a dispatcher still gives it to somebody.
                    let stands = before.search.is_held() || before.search.pause_of_zone().is_some();
                    prop_assert!(!*consent || !stands);
                    prop_assert_ne!(driver.0, RiderId::nth(1).0);
                    prop_assert!(offers.iter().all(|(old, _)| old != offer));
                    offers.push((*offer, *driver));
                }
                let end = match event {
                    Event::OfferClosed { offer, status, .. } => Some((*offer, *status)),
                    Event::OfferRefused { offer, .. } => Some((*offer, OfferStatus::Withdrawn)),
                    Event::Opened { .. }
                    | Event::TierOpened { .. }
                    | Event::FeedOpened { .. }
                    | Event::OfferMade { .. }
                    | Event::OfferSeen { .. }
                    | Event::OfferConfirmed { .. }
                    | Event::Excluded { .. }
                    | Event::Barred { .. }
                    | Event::FleetSet { .. }
                    | Event::Held { .. }
                    | Event::Resumed { .. }
                    | Event::Paused { .. }
                    | Event::Unpaused { .. }
                    | Event::JoinedRun { .. }
                    | Event::LeftRun { .. }
                    | Event::Closed { .. } => None,
                };
                if let Some((offer, status)) = end {
                    prop_assert!(status.is_final());
                    prop_assert_eq!(ends.insert(offer, status), None);
                    let open = before.search.offers().find(|open| open.id == offer).unwrap();
                    let is_in_time = hunt.now < open.expires_at;
                    prop_assert!(status != OfferStatus::Accepted || is_in_time);
                }
            }
            hunt.take(decision);
            let n_open = hunt.search.offers().len();
            prop_assert_eq!(n_open + ends.len(), offers.len());
            prop_assert!(n_open == 0 || hunt.search.is_open());
            let waits = hunt.search.is_held() && n_open == 0;
            prop_assert!(hunt.search.deadline().is_some() == (hunt.search.is_open() && !waits));
            prop_assert!(!hunt.search.is_held() || hunt.card().is_none());
            if let Some(card) = hunt.card().filter(|it| it.paused.is_some()) {
                // Its region must be able to tell it that it may go on, and proposes nobody.
                prop_assert_eq!(card.n_wanted, 0);
                prop_assert!(hunt.search.pause_of_zone().is_some());
            } else {
                prop_assert!(hunt.search.pause_of_zone().is_none());
            }
            let is_due = hunt.search.deadline().is_some_and(|at| at <= hunt.now);
            let ticked = hunt.search.tick(&hunt.asked());
            prop_assert_eq!(ticked != Decision::from(Vec::new()), is_due);
        }
    }
}
