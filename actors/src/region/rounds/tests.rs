use super::*;
use matching::{
    DriverCard, Field, SearchCard,
    cost::Settings,
    round::{Pairing, Terms, round},
};
use protocol::{
    OrderId, RuleId,
    rule::RuleChanges,
    work::{OfferPolicy, Vehicle, VehicleKind},
};
use std::{sync::Arc, time::Duration};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const START: Timestamp = Timestamp(1_800_000_000_000);

fn driver(n: u64, east_m: f64, at: Timestamp) -> DriverCard {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: vec![] };
    let here = KIGALI.offset_m(east_m, 0.0);
    DriverCard { idle_since: START, ..DriverCard::nth(n, Arc::new(vehicle), here, at) }
}

fn job(n: u64) -> JobId {
    JobId::Order(OrderId::nth(n))
}

fn search(n: u64) -> SearchCard {
    let policy = OfferPolicy::BatchOptimal;
    SearchCard { policy, radius_m: 3_000, ..SearchCard::nth(n, KIGALI, START) }
}

/// Takes note of a round over these, so many seconds after the start.
fn hold(rounds: &Rounds, after_s: u64, searches: &[SearchCard], drivers: &[(u64, f64)]) {
    let now = START + Duration::from_secs(after_s);
    let settings = Settings::default();
    let router = settings.straight();
    let mut field = Field::new(KIGALI);
    let cards = drivers.iter().map(|(n, east_m)| Arc::new(driver(*n, *east_m, now)));
    field.fill(cards, &router);
    let terms = Terms { router: &router, settings: &settings, now, pairing: Pairing::Joint };
    rounds.record(&round(searches, [], &field, &terms).traces, now);
}

fn told(rounds: &Rounds, n: u64) -> Vec<(u64, u32, Verdict)> {
    let after_s = |at: Timestamp| at.since(START).as_secs();
    rounds.of_job(job(n)).into_iter().map(|it| (after_s(it.at), it.n, it.verdict)).collect()
}

#[test]
fn rounds_that_came_to_the_same_are_told_as_one() {
    let rounds = Rounds::default();
    // It takes 178 s, which is good enough after 12 s.
    for after_s in 0..15 {
        hold(&rounds, after_s, &[search(1)], &[(1, 990.0)]);
    }
    hold(&rounds, 15, &[search(1)], &[]);
    assert_eq!(
        told(&rounds, 1),
        [(11, 12, Verdict::HeldTooFar), (14, 3, Verdict::Proposed), (15, 1, Verdict::Nobody)]
    );
}

#[test]
fn of_a_job_the_last_few_rounds_are_kept() {
    let rounds = Rounds::default();
    for n in 0..40 {
        hold(&rounds, n, &[SearchCard { round: n as u32, ..search(1) }], &[]);
    }
    let told = rounds.of_job(job(1));
    assert_eq!(told.iter().map(|it| it.round).collect::<Vec<_>>(), Vec::from_iter(32..40));
}

#[test]
fn a_round_is_kept_in_about_a_kilobyte() {
    let Settings { n_candidates, n_told, .. } = Settings::default();
    let lists =
        usize::from(n_candidates) * size_of::<Weighed>() + usize::from(n_told) * size_of::<Unfit>();
    assert!(usize::from(n_told) >= usize::from(n_candidates), "everybody who was weighed is named");
    assert!(size_of::<Round>() + lists <= 1_040, "{} + {lists}", size_of::<Round>());
}

#[test]
fn of_jobs_those_that_were_looked_at_last_are_kept() {
    let rounds = Rounds::new(4, 1);
    for n in 1..=100 {
        hold(&rounds, n, &[search(0), search(n)], &[]);
    }
    let kept: Vec<u64> = (0..=100).filter(|n| !told(&rounds, *n).is_empty()).collect();
    assert!((4..=8).contains(&kept.len()), "{kept:?}");
    assert!(kept.contains(&0) && kept.contains(&100), "{kept:?}");
    // What was seen of one that is looked at again and again is not forgotten in between.
    assert_eq!(told(&rounds, 0), [(100, 100, Verdict::Nobody)]);
    let since = rounds.known_since().since(START).as_secs();
    let oldest = kept.iter().copied().filter(|n| *n > 0).min().unwrap();
    assert!(since > 0 && since <= oldest, "what is forgotten was seen before: {since} {kept:?}");
    assert_eq!(Rounds::default().known_since(), Timestamp::default(), "nothing was forgotten");
}

#[test]
fn a_journal_is_told_of_the_rounds_after_those_it_knows() {
    let rounds = Rounds::default();
    for n in 1..=4 {
        hold(&rounds, n, &[SearchCard { round: n as u32, ..search(1) }], &[]);
    }
    let after = |n| rounds.of_job_after(job(1), n).iter().map(|it| it.round).collect::<Vec<_>>();
    assert_eq!((after(0), after(2), after(4)), (vec![1, 2, 3, 4], vec![3, 4], vec![]));
}

#[test]
fn what_is_noted_before_the_others_is_not_noted_twice() {
    let rounds = Rounds::default();
    let settings = Settings::default();
    let router = settings.straight();
    let field = Field::new(KIGALI);
    let now = START;
    let terms = Terms { router: &router, settings: &settings, now, pairing: Pairing::Joint };
    let searches = [search(1), search(2)];
    let mut traces = round(&searches, [], &field, &terms).traces;
    rounds.record_of(&traces, now, |it| it == job(1));
    assert_eq!((told(&rounds, 1).len(), told(&rounds, 2).len()), (1, 0));
    traces.forget(&[job(1)].into_iter().collect());
    rounds.record(&traces, now);
    assert_eq!(told(&rounds, 1), [(0, 1, Verdict::Nobody)]);
    assert_eq!(told(&rounds, 2), [(0, 1, Verdict::Nobody)]);
}

#[test]
fn a_driver_is_told_why_not() {
    let rounds = Rounds::default();
    let excluding = SearchCard { excluded: vec![DriverId::nth(3)], ..search(1) };
    hold(&rounds, 60, &[excluding], &[(1, 100.0), (2, 200.0), (3, 50.0), (4, 2_900.0)]);
    let why = |n: u64, east_m: f64| {
        let at = Some(KIGALI.offset_m(east_m, 0.0));
        let chances = rounds.of_driver(DriverId::nth(n), at, START);
        chances.first().map(|(_, chance)| chance.why)
    };
    assert_eq!(why(1, 100.0), Some(None), "it was proposed");
    assert_eq!(why(2, 200.0), Some(Some(WhyNot::Outranked)));
    assert_eq!(why(3, 50.0), Some(Some(WhyNot::Excluded)));
    assert_eq!(why(5, 3_500.0), Some(Some(WhyNot::TooFar)));
    assert_eq!(why(5, 9_000.0), None, "that is another part of the city");
    let later = START + Duration::from_secs(61);
    assert!(rounds.of_driver(DriverId::nth(2), None, later).is_empty(), "too long ago");
}

#[test]
fn that_it_was_proposed_is_not_forgotten_over_what_came_later() {
    let rounds = Rounds::default();
    hold(&rounds, 60, &[search(1)], &[(1, 100.0)]);
    let declined = SearchCard { round: 2, excluded: vec![DriverId::nth(1)], ..search(1) };
    hold(&rounds, 61, &[declined], &[(1, 100.0)]);
    let (_, chance) = rounds.of_driver(DriverId::nth(1), None, START)[0];
    assert_eq!(chance.why, None);
}

/// Under this version of a rule, which says nothing of weights.
fn under(version: u32, search: SearchCard) -> SearchCard {
    let mark = RuleMark { id: RuleId::nth(1), version };
    let changes = RuleChanges { hold_ms: Some(1), ..RuleChanges::default() };
    let ruling = Some(Arc::new(Ruling::of(mark, &changes, &Settings::default())));
    SearchCard { ruling, ..search }
}

#[test]
fn rounds_under_another_rule_are_others_and_say_which() {
    let rounds = Rounds::default();
    let ride = || SearchCard { opened_at: START - Duration::from_secs(3_600), ..search(1) };
    hold(&rounds, 0, &[ride()], &[(1, 90.0)]);
    hold(&rounds, 1, &[under(1, ride())], &[(1, 90.0)]);
    hold(&rounds, 2, &[under(1, ride())], &[(1, 90.0)]);
    hold(&rounds, 3, &[under(2, ride())], &[(1, 90.0)]);
    let told: Vec<_> =
        rounds.of_job(job(1)).iter().map(|it| (it.rule.map(|it| it.version), it.n)).collect();
    assert_eq!(told, [(None, 1), (Some(1), 2), (Some(2), 1)]);
}

#[test]
fn what_is_held_again_is_of_the_last_hour_and_says_what_it_was_weighed_by() {
    let rounds = Rounds::default();
    let stars = Weights { star_ms: 7, ..Weights::NONE };
    hold(&rounds, 0, &[search(1)], &[(1, 90.0)]);
    for after_s in 10..13 {
        hold(&rounds, after_s, &[search(2)], &[]);
    }
    hold(&rounds, 20, &[under(1, search(3))], &[(1, 90.0)]);
    let since = START + Duration::from_secs(5);
    let (mut past, left_out) = rounds.past(since, stars, |_, work| work == WorkKind::Ride);
    past.sort_by_key(|(_, past)| past.at);
    let told: Vec<_> = past.iter().map(|(_, it)| (it.job, it.weighed.len(), it.weights)).collect();
    assert_eq!(told, [(job(2), 0, stars), (job(3), 1, Settings::default().weights)]);
    assert!(past.iter().all(|(_, it)| it.is_meant));
    assert_eq!(left_out, LeftOut { n_alike: 2, ..LeftOut::default() });
    let (_, left_out) = rounds.past(since, stars, |_, _| false);
    assert_eq!(left_out, LeftOut::default(), "nobody asks for those");
}

#[test]
fn rounds_of_a_long_search_that_are_forgotten_are_counted() {
    let rounds = Rounds::default();
    for n in 0..20 {
        let search = SearchCard { round: n, ..search(1) };
        hold(&rounds, u64::from(2 * n), std::slice::from_ref(&search), &[]);
        hold(&rounds, u64::from(2 * n + 1), &[search], &[]);
    }
    let left_out = |after_s, is_meant| {
        let since = START + Duration::from_secs(after_s);
        let (past, left_out) = rounds.past(since, Weights::NONE, |_, _| is_meant);
        assert_eq!(past.len(), 8);
        left_out
    };
    let all = LeftOut { n_alike: 8, n_over_limit: 24, ..LeftOut::default() };
    assert_eq!(left_out(0, true), all, "twelve of two each");
    assert_eq!(left_out(23, true), all);
    assert_eq!(left_out(24, true), LeftOut { n_over_limit: 0, ..all });
    assert_eq!(left_out(0, false), LeftOut::default());
}

#[test]
fn of_too_many_the_latest_moments_are_kept_whole() {
    let past = |n: u64, at: u64| Past {
        job: job(n),
        at: Timestamp(at),
        verdict: Verdict::Nobody,
        weighed: Vec::new(),
        weights: Weights::NONE,
        is_meant: n.is_multiple_of(2),
    };
    let here = RegionId::at(KIGALI);
    let mut all: Vec<_> = (0..10).map(|n| (here, past(n, n / 4))).collect();
    assert_eq!(keep_latest(&mut all, 10), 0);
    assert_eq!(all.len(), 10);
    assert_eq!(keep_latest(&mut all, 5), 4, "of eight that are gone every other one was meant");
    let times: Vec<u64> = all.iter().map(|(_, past)| past.at.0).collect();
    assert_eq!(times, [2, 2], "a moment of which some would be missing is left out");
}
