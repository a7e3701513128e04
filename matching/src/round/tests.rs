use super::*;
use crate::{
    DriverCard, Standing,
    card::Ending,
    cost::Weights,
    fit::fits,
    router::{Gone, Learned, Ways},
    ruling::Ruling,
};
use proptest::prelude::*;
use protocol::{
    DriverId, OrderId, Point, RiderId, RuleId,
    rule::{RuleChanges, RuleMark, WeightChanges},
    trace::WhyNot,
    work::{Needs, Priority, Vehicle, VehicleKind},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{collections::HashSet, sync::Arc};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const NOW: Timestamp = Timestamp(1_000_000_000);
const SKILLS: [&str; 3] = ["winch", "cold_chain", "gender.female"];

fn moto() -> Arc<Vehicle> {
    Arc::new(Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: vec![] })
}

/// A free driver with a motorcycle, so many metres east of the middle.
fn driver(n: u64, east_m: f64) -> DriverCard {
    DriverCard::nth(n, moto(), KIGALI.offset_m(east_m, 0.0), NOW)
}

/// A ride that has just been asked for, so many metres east of the middle.
fn search(n: u64, east_m: f64, policy: OfferPolicy) -> SearchCard {
    SearchCard { policy, ..SearchCard::nth(n, KIGALI.offset_m(east_m, 0.0), NOW) }
}

fn field(drivers: impl IntoIterator<Item = DriverCard>) -> Field {
    let mut field = Field::new(KIGALI);
    field.fill(drivers.into_iter().map(Arc::new), &Settings::default().straight());
    field
}

fn settings() -> Settings {
    // Without tie-breaks, so that cases can be worked out by hand.
    Settings { weights: Weights::NONE, ..Settings::default() }
}

fn round_at<'a>(
    searches: impl IntoIterator<Item = &'a SearchCard>,
    rivals: impl IntoIterator<Item = &'a SearchCard>,
    field: &Field,
    now: Timestamp,
    settings: &Settings,
    pairing: Pairing,
) -> Outcome {
    let terms = Terms { router: &settings.straight(), settings, now, pairing };
    round(searches, rivals, field, &terms)
}

/// Who is proposed, by number of the search; drivers as ids.
fn proposed(
    searches: &[SearchCard],
    field: &Field,
    now: Timestamp,
    pairing: Pairing,
) -> Vec<(JobId, Vec<DriverId>)> {
    round_at(searches, [], field, now, &settings(), pairing)
        .proposals
        .into_iter()
        .map(|it| (it.job, it.candidates.iter().map(|candidate| candidate.driver).collect()))
        .collect()
}

fn jointly(searches: &[SearchCard], field: &Field) -> Vec<(JobId, Vec<DriverId>)> {
    proposed(searches, field, NOW, Pairing::Joint)
}

fn job(n: u64) -> JobId {
    JobId::Order(OrderId::nth(n))
}

#[test]
fn sequential_gets_the_best_one() {
    let field = field([driver(1, 900.0), driver(2, 300.0), driver(3, -500.0)]);
    let search = search(1, 0.0, OfferPolicy::Sequential);
    assert_eq!(jointly(&[search], &field), [(job(1), vec![DriverId::nth(2)])]);
}

#[test]
fn broadcast_and_two_sided_get_as_many_as_they_want_best_first() {
    for policy in [OfferPolicy::BroadcastFirstWins, OfferPolicy::TwoSided] {
        let field = field((1..=6).map(|n| driver(n, 1_000.0 - n as f64 * 100.0)));
        let search = SearchCard { n_wanted: 3, ..search(1, 0.0, policy) };
        let wanted = [6, 5, 4].map(DriverId::nth).to_vec();
        assert_eq!(jointly(&[search], &field), [(job(1), wanted)]);
    }
}

#[test]
fn every_search_gets_one_before_any_gets_a_second() {
    let field = field([driver(1, 0.0), driver(2, 100.0), driver(3, 9_000.0)]);
    let greedy = SearchCard { n_wanted: 5, ..search(1, 0.0, OfferPolicy::BroadcastFirstWins) };
    let modest = search(2, 0.0, OfferPolicy::Sequential);
    let proposed = jointly(&[greedy, modest], &field);
    let n_distinct = proposed.iter().flat_map(|(_, drivers)| drivers).collect::<HashSet<_>>().len();
    assert_eq!(proposed.iter().map(|(_, drivers)| drivers.len()).sum::<usize>(), n_distinct);
    assert_eq!(proposed.len(), 2);
    assert_eq!(proposed[0].1.len(), 2);
}

#[test]
fn direct_gets_only_the_one_asked_for() {
    let field = field([driver(1, 10.0), driver(2, 5_000.0)]);
    let only = Some(DriverId::nth(2));
    let wanted = SearchCard { only, ..search(1, 0.0, OfferPolicy::Direct) };
    let nobody = search(2, 0.0, OfferPolicy::Direct);
    assert_eq!(jointly(&[wanted, nobody], &field), [(job(1), vec![DriverId::nth(2)])]);
}

#[test]
fn the_feed_is_never_proposed_to_anyone() {
    let field = field([driver(1, 10.0)]);
    assert_eq!(jointly(&[search(1, 0.0, OfferPolicy::Feed)], &field), []);
}

#[test]
fn a_search_that_wants_nobody_gets_nobody() {
    let field = field([driver(1, 10.0)]);
    let search = SearchCard { n_wanted: 0, ..search(1, 0.0, OfferPolicy::Sequential) };
    assert_eq!(jointly(&[search], &field), []);
}

#[test]
fn together_is_better_than_in_turn() {
    // Both are nearest to driver 1, but only the second search is stuck without it.
    let field = field([driver(1, 100.0), driver(2, -300.0)]);
    let searches =
        [search(1, 0.0, OfferPolicy::Sequential), search(2, 400.0, OfferPolicy::Sequential)];
    let first_comes =
        SearchCard { opened_at: NOW - std::time::Duration::from_secs(1), ..searches[0].clone() };
    let searches = [first_comes, searches[1].clone()];
    let (a, b) = (DriverId::nth(1), DriverId::nth(2));
    let joint = proposed(&searches, &field, NOW, Pairing::Joint);
    assert_eq!(joint, [(job(1), vec![b]), (job(2), vec![a])]);
    let in_turn = proposed(&searches, &field, NOW, Pairing::Greedy);
    assert_eq!(in_turn, [(job(1), vec![a]), (job(2), vec![b])]);
}

#[test]
fn a_pair_is_held_until_it_is_good_enough_for_its_age() {
    for policy in [OfferPolicy::BatchOptimal, OfferPolicy::AutoAssign] {
        // 1,000 m x 1.35 / 7.5 m/s = 180 s, allowed from 12 s on: 60 + 10 x 12.
        let field = field([driver(1, 1_000.0)]);
        let search = search(1, 0.0, policy);
        let at = |age_ms: u64| {
            let now = NOW + std::time::Duration::from_millis(age_ms);
            round_at([&search], [], &field, now, &settings(), Pairing::Joint)
        };
        assert_eq!((at(0).n_held, at(0).proposals.len()), (1, 0));
        assert_eq!(at(11_900).n_held, 1);
        let released = at(12_100);
        assert_eq!((released.n_held, released.proposals.len()), (0, 1));
        assert_eq!(released.proposals[0].candidates[0].distance_m.abs_diff(1_000), 0);
    }
}

#[test]
fn a_good_pair_is_not_held() {
    let field = field([driver(1, 100.0)]);
    let search = search(1, 0.0, OfferPolicy::BatchOptimal);
    assert_eq!(jointly(&[search], &field), [(job(1), vec![DriverId::nth(1)])]);
}

#[test]
fn who_does_not_fit_is_not_proposed() {
    let fit = driver(1, 100.0);
    let ride = search(1, 0.0, OfferPolicy::Sequential);
    let is_proposed = |search: &SearchCard, driver: &DriverCard| {
        !jointly(std::slice::from_ref(search), &field([driver.clone()])).is_empty()
    };
    assert!(is_proposed(&ride, &fit));

    let busy = DriverCard { is_free: false, ..fit.clone() };
    assert!(!is_proposed(&ride, &busy));
    let delivery = SearchCard { work: WorkKind::Delivery, ..ride.clone() };
    assert!(is_proposed(&delivery, &busy), "a busy courier has room for one more");
    let full = DriverCard { has_delivery_slot: false, ..fit.clone() };
    assert!(!is_proposed(&delivery, &full));

    let nearly = DriverCard { is_nearly_free: true, ..busy.clone() };
    assert!(is_proposed(&ride, &nearly), "one more, when the ride under way has ended");
    let stranded = SearchCard { work: WorkKind::Rescue, ..ride.clone() };
    assert!(!is_proposed(&stranded, &nearly), "nobody waits for help");

    let going_home = DriverCard { destination: Some(KIGALI.offset_m(8_000.0, 0.0)), ..fit.clone() };
    let to = |east_m| SearchCard { dropoff: Some(KIGALI.offset_m(east_m, 0.0)), ..ride.clone() };
    assert!(is_proposed(&to(6_000.0), &going_home));
    assert!(!is_proposed(&to(-6_000.0), &going_home), "the other way");
    assert!(!is_proposed(&to(20_000.0), &going_home), "far past it");
    assert!(!is_proposed(&ride, &going_home), "nobody knows where to");

    let myself = DriverCard { id: DriverId(ride.rider.0), ..fit.clone() };
    assert!(!is_proposed(&ride, &myself));
    let excluded = SearchCard { excluded: vec![fit.id], ..ride.clone() };
    assert!(!is_proposed(&excluded, &fit));
    let elsewhere = SearchCard { radius_m: 90, ..ride.clone() };
    assert!(!is_proposed(&elsewhere, &fit));
    let partner = |n| Some(protocol::PartnerId::nth(n));
    let kept = SearchCard { fleet: partner(1), ..ride.clone() };
    let drives_for = |fleet| DriverCard { fleet, ..fit.clone() };
    assert!(is_proposed(&kept, &drives_for(partner(1))));
    assert!(!is_proposed(&kept, &drives_for(partner(2))));
    assert!(!is_proposed(&kept, &fit), "nor who drives for nobody");
    assert!(is_proposed(&ride, &drives_for(partner(2))), "it is kept to nobody");
    let someone_else = SearchCard { only: Some(DriverId::nth(9)), ..ride.clone() };
    assert!(!is_proposed(&someone_else, &fit));

    let seen =
        |s: u64| DriverCard { seen_at: NOW - std::time::Duration::from_secs(s), ..fit.clone() };
    assert!(is_proposed(&ride, &seen(60)));
    assert!(!is_proposed(&ride, &seen(61)));

    let needing = |needs| SearchCard { needs, ..ride.clone() };
    let car = Needs { vehicles: vec![VehicleKind::Car], ..Needs::default() };
    assert!(!is_proposed(&needing(car), &fit));
    let heavy = Needs { weight_g: 20_001, ..Needs::default() };
    assert!(!is_proposed(&needing(heavy), &fit));
    let light = needing(Needs { weight_g: 5_000, ..Needs::default() });
    let carrying = |load_g| DriverCard { load_g, ..fit.clone() };
    assert!(is_proposed(&light, &carrying(15_000)));
    assert!(!is_proposed(&light, &carrying(15_001)), "beside what it carries already");
    assert!(is_proposed(&ride, &carrying(25_000)), "what weighs nothing fits always");
    let skilled = Needs { skills: vec!["cold_chain".to_owned()], ..Needs::default() };
    assert!(!is_proposed(&needing(skilled), &fit));
}

#[test]
fn ties_go_to_who_has_waited_longest_then_to_who_is_liked_best() {
    let idle =
        DriverCard { idle_since: NOW - std::time::Duration::from_secs(600), ..driver(1, 100.0) };
    let liked = DriverCard { rating: 480, ..driver(2, 100.0) };
    let disliked = DriverCard { rating: 200, ..driver(3, 100.0) };
    let wanted = SearchCard { n_wanted: 3, ..search(1, 0.0, OfferPolicy::BroadcastFirstWins) };
    let field = field([disliked, liked, idle]);
    let outcome = round_at([&wanted], [], &field, NOW, &Settings::default(), Pairing::Joint);
    let order: Vec<_> = outcome.proposals[0].candidates.iter().map(|it| it.driver).collect();
    assert_eq!(order, [1, 2, 3].map(DriverId::nth));
}

#[test]
fn who_has_something_to_do_has_not_been_idle_all_the_while() {
    // It went on duty hours ago, and has had deliveries to bring ever since; the other has waited for ten minutes.
    let busy = DriverCard { is_free: false, idle_since: Timestamp(0), ..driver(1, 100.0) };
    let idle =
        DriverCard { idle_since: NOW - std::time::Duration::from_secs(600), ..driver(2, 100.0) };
    let parts = |it: &DriverCard| {
        let search = search(1, 0.0, OfferPolicy::Sequential);
        Weights::default().parts(&search, it, NOW).idle_ms
    };
    assert_eq!((parts(&busy), parts(&idle)), (5_000, 2_500));
    let delivery =
        SearchCard { work: WorkKind::Delivery, ..search(1, 0.0, OfferPolicy::Sequential) };
    let field = field([busy, idle]);
    let outcome = round_at([&delivery], [], &field, NOW, &Settings::default(), Pairing::Joint);
    assert_eq!(outcome.proposals[0].candidates[0].driver, DriverId::nth(2));
}

/// Whom a ride among these drivers is given, where this alone counts beside the way.
fn chosen(drivers: [DriverCard; 2], needs: Needs, weights: Weights) -> DriverId {
    let search = SearchCard { needs, ..search(1, 0.0, OfferPolicy::Sequential) };
    let settings = Settings { weights, ..Settings::default() };
    let field = field(drivers);
    let outcome = round_at([&search], [], &field, NOW, &settings, Pairing::Joint);
    outcome.proposals[0].candidates[0].driver
}

#[test]
fn each_weight_lets_a_better_driver_come_from_further_away_but_not_from_anywhere() {
    let standing = Standing::default();
    // Ten seconds further away.
    let far = driver(2, 155.0);
    let near = driver(1, 100.0);
    let with = |standing| DriverCard { standing, ..near.clone() };
    let busy = with(Standing { busy_percent: 100, ..standing });
    let picky = with(Standing { acceptance: 0, ..standing });
    let green = with(Standing { level: 0, ..standing });
    let away = with(Standing { heading_deg: Some(90), ..standing });
    let van = Vehicle { kind: VehicleKind::Van, capacity_g: 500_000, skills: vec![] };
    let large = DriverCard { vehicle: Arc::new(van), ..near.clone() };
    let disliked = DriverCard { rating: 400, ..near.clone() };
    let long_idle = DriverCard { idle_since: Timestamp(0), ..far.clone() };
    let either = Needs { vehicles: vec![VehicleKind::Moto, VehicleKind::Van], ..Needs::default() };
    let none = Weights::NONE;
    type Case = (DriverCard, DriverCard, Needs, fn(u32, Weights) -> Weights);
    let cases: [Case; 7] = [
        (busy, far.clone(), Needs::default(), |fairness_ms, of| Weights { fairness_ms, ..of }),
        (picky, far.clone(), Needs::default(), |refusal_ms, of| Weights { refusal_ms, ..of }),
        (green, far.clone(), Needs::default(), |ms, of| Weights { level_ms: ms / 5, ..of }),
        (away, far.clone(), Needs::default(), |turn_ms, of| Weights { turn_ms, ..of }),
        (large, far.clone(), either, |excess_ms, of| Weights { excess_ms, ..of }),
        (disliked, far.clone(), Needs::default(), |star_ms, of| Weights { star_ms, ..of }),
        (near, long_idle, Needs::default(), |idle_ms, of| Weights {
            idle_ms,
            idle_full_ms: 60_000,
            ..of
        }),
    ];
    for (n, (near, far, needs, weigh)) in cases.into_iter().enumerate() {
        let with = |ms| chosen([near.clone(), far.clone()], needs.clone(), weigh(ms, none));
        assert_eq!(with(0), DriverId::nth(1), "{n}: the way alone counts");
        assert_eq!(with(5_000), DriverId::nth(1), "{n}: so much further it may not be");
        assert_eq!(with(15_000), DriverId::nth(2), "{n}");
    }
}

#[test]
fn who_cannot_load_it_is_told_what_is_missing_by_name() {
    let settings = settings();
    let needing = |skills: &[&str]| {
        let skills = skills.iter().map(|&it| it.to_owned()).collect();
        let needs = Needs { skills, ..Needs::default() };
        SearchCard { needs, ..search(1, 0.0, OfferPolicy::Sequential) }
    };
    let having = |kind, skills: &[&str]| {
        let skills = skills.iter().map(|&it| it.to_owned()).collect();
        let vehicle = Arc::new(Vehicle { kind, capacity_g: 20_000, skills });
        DriverCard { vehicle, ..driver(1, 100.0) }
    };
    let (van, truck) = (VehicleKind::Van, VehicleKind::TowTruck);
    let all = ["ramp", "lift_gate", "tie_downs"];
    for (needs, driver, why) in [
        (&all[..1], having(van, &[]), Some(WhyNot::Ramp)),
        (&all[..1], having(van, &["ramp"]), None),
        (&all[..1], having(van, &["lift_gate"]), None),
        (&all[1..2], having(van, &["ramp"]), Some(WhyNot::LiftGate)),
        (&all[1..], having(van, &["lift_gate"]), Some(WhyNot::TieDowns)),
        (&all[..], having(truck, &[]), None),
        (&["winch"][..], having(truck, &all), Some(WhyNot::Skill)),
    ] {
        assert_eq!(misfit(&needing(needs), &driver, NOW, &settings), why, "{needs:?}");
        assert!(why.is_none_or(|why| why.may_be_overruled() && why.is_of_fit()));
    }
    let needs = needing(&all).needs;
    let lacks = crate::fit::all_missing(&needs, &having(van, &["ramp"]).vehicle, 0);
    assert_eq!(lacks, [WhyNot::LiftGate, WhyNot::TieDowns]);
    for skill in all {
        assert!(!crate::fit::must_be_granted(skill), "drivers say {skill} of themselves");
    }
    // A name that only begins like it is another thing.
    assert_eq!(
        misfit(&needing(&["ramp.long"]), &having(truck, &all), NOW, &settings),
        Some(WhyNot::Skill)
    );
}

#[test]
fn what_the_law_and_the_rider_ask_for_is_no_matter_of_cost() {
    let search = search(1, 0.0, OfferPolicy::Sequential);
    let settings = settings();
    let why = |search: &SearchCard, driver: &DriverCard, settings: &Settings| {
        misfit(search, driver, NOW, settings)
    };
    let needing = |skill: &str| SearchCard {
        needs: Needs { skills: vec![skill.to_owned()], ..Needs::default() },
        ..search.clone()
    };
    let having = |skill: &str| DriverCard {
        vehicle: Arc::new(Vehicle { skills: vec![skill.to_owned()], ..(*moto()).clone() }),
        ..driver(1, 100.0)
    };
    for (skill, reason) in [
        ("cold_chain", WhyNot::ColdChain),
        ("certificate.hazmat", WhyNot::Certificate),
        ("gender.female", WhyNot::Gender),
        ("permit.airport", WhyNot::Permit),
        ("winch", WhyNot::Skill),
    ] {
        assert_eq!(why(&needing(skill), &driver(1, 100.0), &settings), Some(reason));
        assert_eq!(why(&needing(skill), &having(skill), &settings), None);
        assert_eq!(why(&needing(skill), &having("gender.male"), &settings), Some(reason));
        assert!(reason == WhyNot::Skill || !reason.may_be_overruled());
    }
    let Point { lat, lon } = KIGALI.offset_m(5_000.0, 0.0);
    let permit = crate::fit::Permit { name: "airport".to_owned(), lat, lon, radius_m: 800 };
    let settings = Settings { permits: vec![permit], ..settings };
    let there = SearchCard { dropoff: Some(Point { lat, lon }), ..search.clone() };
    assert_eq!(why(&search, &driver(1, 100.0), &settings), None);
    assert_eq!(why(&there, &driver(1, 100.0), &settings), Some(WhyNot::Permit));
    assert_eq!(why(&there, &having("permit.airport"), &settings), None);

    let until = |s| DriverCard {
        standing: Standing {
            until: Some(NOW + std::time::Duration::from_secs(s)),
            ..Standing::default()
        },
        ..having("permit.airport")
    };
    // Five kilometres and a hundred metres, at 7.5 m/s on streets that are a third longer: 918 s.
    assert_eq!(why(&there, &until(917), &settings), Some(WhyNot::Hours));
    assert_eq!(why(&there, &until(919), &settings), None);
    assert_eq!(why(&search, &until(19), &settings), None, "nobody knows where to");
    assert_eq!(why(&search, &until(17), &settings), Some(WhyNot::Hours));
}

#[test]
fn who_has_waited_for_too_long_is_not_outbid_again_and_again() {
    let field = field([driver(1, 100.0)]);
    let policies = [
        OfferPolicy::Sequential,
        OfferPolicy::BroadcastFirstWins,
        OfferPolicy::TwoSided,
        OfferPolicy::BatchOptimal,
        OfferPolicy::AutoAssign,
        OfferPolicy::Direct,
    ];
    for policy in policies {
        let only = (policy == OfferPolicy::Direct).then(|| DriverId::nth(1));
        let wanted = |n, east_m| SearchCard { only, ..search(n, east_m, policy) };
        let fresh = wanted(1, 0.0);
        let waiting = |s| SearchCard {
            opened_at: NOW - std::time::Duration::from_secs(s),
            ..wanted(2, 3_000.0)
        };
        let first = |searches: &[SearchCard]| jointly(searches, &field)[0].0;
        assert_eq!(first(&[fresh.clone(), waiting(239)]), job(1), "{policy}");
        assert_eq!(first(&[fresh.clone(), waiting(240)]), job(2), "{policy}");
        let urgent = SearchCard { priority: Priority::Urgent, ..fresh };
        assert_eq!(first(&[urgent, waiting(240)]), job(1), "{policy}");
    }
}

#[test]
fn a_faster_vehicle_may_beat_a_nearer_one() {
    let on_foot = Vehicle { kind: VehicleKind::Foot, capacity_g: 1, skills: vec![] };
    let walker = DriverCard { vehicle: Arc::new(on_foot), ..driver(1, 300.0) };
    let field = field([walker, driver(2, 600.0)]);
    let search = search(1, 0.0, OfferPolicy::Sequential);
    assert_eq!(jointly(&[search], &field), [(job(1), vec![DriverId::nth(2)])]);
}

#[test]
fn whoever_costs_less_is_found_however_many_are_nearer() {
    let on_foot = Vehicle { kind: VehicleKind::Foot, capacity_g: 1, skills: vec![] };
    let on_foot = Arc::new(on_foot);
    let walker =
        |n: u64| DriverCard { vehicle: on_foot.clone(), ..driver(n, 600.0 + 20.0 * n as f64) };
    let search = search(1, 0.0, OfferPolicy::Sequential);
    let with_moto = field((2..32).map(walker).chain([driver(1, 1_300.0)]));
    assert_eq!(jointly(std::slice::from_ref(&search), &with_moto)[0].1, [DriverId::nth(1)]);
    // A veteran among novices, where that counts for more than the way.
    let weights = Weights { level_ms: 162_000, ..Weights::NONE };
    let of_level = |n, east_m, level| {
        let standing = Standing { level, ..Standing::default() };
        DriverCard { standing, ..driver(n, east_m) }
    };
    let novices = (2..32).map(|n| of_level(n, 5.0 * n as f64, 0));
    let all = field(novices.chain([of_level(1, 350.0, Standing::LEVEL_MAX)]));
    let settings = Settings { weights, ..settings() };
    let outcome = round_at([&search], [], &all, NOW, &settings, Pairing::Joint);
    assert_eq!(outcome.proposals[0].candidates[0].driver, DriverId::nth(1));
}

proptest! {
    #[test]
    fn nobody_costs_much_less_than_whom_a_lone_search_gets(
        drivers in prop::collection::vec((-3_000.0..3_000.0, 0..6_u8, 0..6_usize), 1..80)
    ) {
        let kinds = [
            VehicleKind::Foot,
            VehicleKind::Bicycle,
            VehicleKind::Moto,
            VehicleKind::Car,
            VehicleKind::Van,
            VehicleKind::TowTruck,
        ];
        let cards: Vec<_> = (1..).zip(&drivers).map(|(n, &(east_m, level, kind))| {
            let vehicle = Vehicle { kind: kinds[kind], capacity_g: 1_000, skills: vec![] };
            let standing = Standing { level, ..Standing::default() };
            DriverCard { vehicle: Arc::new(vehicle), standing, ..driver(n, east_m) }
        }).collect();
        let weights = Weights { level_ms: 60_000, ..Weights::NONE };
        let settings = Settings { weights, ..settings() };
        let search = search(1, 0.0, OfferPolicy::Sequential);
        let all = field(cards.iter().cloned());
        let outcome = round_at([&search], [], &all, NOW, &settings, Pairing::Joint);
        let found = outcome.proposals[0].candidates[0].cost_ms;
        let straight = settings.straight();
        let costs = cards.iter().map(|card| {
            let way_m = card.at.distance_m(search.pickup) as f32;
            let way_ms = straight.ms(card.vehicle.kind, way_m);
            way_ms + weights.parts(&search, card, NOW).sum_ms()
        });
        // The field is a plane, and distances are a little off in it.
        let least = costs.min().unwrap();
        prop_assert!(found <= least + WORTH_A_LOOK_MS + 100, "{found} instead of {least}");
    }
}

#[test]
fn a_crowd_does_not_starve_on_its_nearest_few() {
    // Forty people leave a stadium; each weighs the same ten drivers first.
    let field = field((0..60).map(|n| driver(n, n as f64 * 20.0)));
    let searches: Vec<_> = (0..40).map(|n| search(n, 0.0, OfferPolicy::Sequential)).collect();
    for pairing in [Pairing::Joint, Pairing::Greedy] {
        let proposed = proposed(&searches, &field, NOW, pairing);
        assert_eq!(proposed.len(), 40, "{pairing:?}");
        let drivers: HashSet<_> = proposed.iter().flat_map(|(_, drivers)| drivers).collect();
        assert_eq!(drivers.len(), 40);
    }
}

#[test]
fn a_rival_gets_its_share_but_no_proposal() {
    // Both are nearest to driver 1; for the rival, driver 2 is much too far.
    let field = field([driver(1, 100.0), driver(2, -300.0)]);
    let (ours, rival) =
        (search(1, 0.0, OfferPolicy::Sequential), search(2, 400.0, OfferPolicy::Sequential));
    let proposed = |rivals: &[SearchCard]| {
        round_at([&ours], rivals, &field, NOW, &settings(), Pairing::Joint).proposals
    };
    let drivers = |rivals: &[SearchCard]| {
        let proposals = proposed(rivals).into_iter().flat_map(|it| it.candidates);
        proposals.map(|it| it.driver).collect::<Vec<_>>()
    };
    assert_eq!(drivers(&[]), [DriverId::nth(1)]);
    assert_eq!(drivers(&[rival]), [DriverId::nth(2)]);
}

#[test]
fn a_driver_listed_twice_counts_where_it_was_seen_last() {
    let before =
        DriverCard { seen_at: NOW - std::time::Duration::from_secs(5), ..driver(1, 9_000.0) };
    for both in [[before.clone(), driver(1, 50.0)], [driver(1, 50.0), before]] {
        let field = field(both);
        assert_eq!(field.len(), 1);
        let search = search(1, 0.0, OfferPolicy::BatchOptimal);
        assert_eq!(jointly(&[search], &field).len(), 1);
    }
}

/// Some vehicle, with or without one of three skills.
fn any_vehicle(random: &mut StdRng) -> Vehicle {
    let kinds = [VehicleKind::Bicycle, VehicleKind::Moto, VehicleKind::Car];
    let mut skills = SKILLS.map(str::to_owned).to_vec();
    skills.retain(|_| random.random_bool(0.5));
    Vehicle {
        kind: kinds[random.random_range(0..kinds.len())],
        capacity_g: 10_000 * random.random_range(0..4),
        skills,
    }
}

/// What a job needs: nothing of most kinds, and now and then something of each.
fn any_needs(random: &mut StdRng) -> Needs {
    let mut needs = Needs::default();
    if random.random_bool(0.3) {
        needs.vehicles = vec![VehicleKind::Moto, VehicleKind::Car];
        needs.vehicles.truncate(random.random_range(1..=2));
    }
    if random.random_bool(0.3) {
        needs.weight_g = 5_000 * random.random_range(1..6);
    }
    if random.random_bool(0.3) {
        needs.skills.push(SKILLS[random.random_range(0..SKILLS.len())].to_owned());
    }
    needs
}

/// What is wrong with a pair, by rules said once more and in other words than those that matching goes by.
fn wrong_with(search: &SearchCard, driver: &DriverCard) -> Option<&'static str> {
    let Needs { vehicles, weight_g, skills } = &search.needs;
    let vehicle = &*driver.vehicle;
    let is_delivery = search.work == WorkKind::Delivery;
    let wrong = [
        (is_delivery && !driver.has_delivery_slot, "it takes no deliveries"),
        (!is_delivery && !driver.is_free, "it has something to do"),
        (!vehicles.is_empty() && vehicles.iter().all(|it| *it != vehicle.kind), "the vehicle"),
        // With nothing to bring it fits even where too much is on board.
        (*weight_g > 0 && weight_g + driver.load_g > vehicle.capacity_g, "what it weighs"),
        (skills.iter().any(|it| vehicle.skills.iter().all(|held| held != it)), "a skill"),
        (search.excluded.contains(&driver.id), "it said no"),
        (search.only.is_some() && search.only != Some(driver.id), "it is for another one"),
        (search.rider.0 == driver.id.0, "it is the same person"),
        (driver.seen_at.0 + 60_000 < NOW.0, "nobody knows where it is"),
        (search.pickup.distance_m(driver.at) > f64::from(search.radius_m) + 1.0, "too far"),
    ];
    wrong.into_iter().find(|(is_so, _)| *is_so).map(|(_, why)| why)
}

/// A city of random drivers and searches, some odd ones among them.
fn city(seed: u64, n_drivers: u64, n_searches: u64) -> (Vec<DriverCard>, Vec<SearchCard>) {
    let mut random = StdRng::seed_from_u64(seed);
    let place = |random: &mut StdRng| {
        KIGALI.offset_m(random.random_range(-6e3..6e3), random.random_range(-6e3..6e3))
    };
    let drivers = (0..n_drivers)
        .map(|n| DriverCard {
            id: DriverId(RiderId::nth(n).0),
            at: place(&mut random),
            seen_at: NOW - std::time::Duration::from_secs(random.random_range(0..70)),
            is_free: random.random_bool(0.7),
            has_delivery_slot: random.random_bool(0.7),
            vehicle: Arc::new(any_vehicle(&mut random)),
            load_g: 5_000 * random.random_range(0..5),
            rating: random.random_range(300..=500),
            standing: Standing {
                acceptance: random.random_range(0..=100),
                level: random.random_range(0..=Standing::LEVEL_MAX),
                busy_percent: random.random_range(0..=100),
                heading_deg: random.random_bool(0.5).then(|| random.random_range(0..360)),
                until: random
                    .random_bool(0.3)
                    .then(|| NOW + std::time::Duration::from_secs(random.random_range(0..3_600))),
            },
            ..driver(n, 0.0)
        })
        .collect();
    let policies = [
        OfferPolicy::Sequential,
        OfferPolicy::BroadcastFirstWins,
        OfferPolicy::TwoSided,
        OfferPolicy::BatchOptimal,
        OfferPolicy::AutoAssign,
        OfferPolicy::Direct,
        OfferPolicy::Feed,
    ];
    let searches = (0..n_searches)
        .map(|n| {
            let policy = policies[random.random_range(0..policies.len())];
            let is_direct = policy == OfferPolicy::Direct;
            SearchCard {
                pickup: place(&mut random),
                work: if random.random() { WorkKind::Ride } else { WorkKind::Delivery },
                opened_at: NOW - std::time::Duration::from_secs(random.random_range(0..100)),
                priority: [Priority::Normal, Priority::Low, Priority::Urgent]
                    [random.random_range(0..3)],
                radius_m: random.random_range(500..8_000),
                n_wanted: random.random_range(0..5),
                needs: any_needs(&mut random),
                excluded: (0..3)
                    .map(|_| DriverId(RiderId::nth(random.random_range(0..n_drivers)).0))
                    .collect(),
                only: is_direct
                    .then(|| DriverId(RiderId::nth(random.random_range(0..n_drivers)).0)),
                ..search(n, 0.0, policy)
            }
        })
        .collect();
    (drivers, searches)
}

/// What a round told of itself that is not so.
fn told_wrong(
    outcome: &Outcome,
    drivers: &[DriverCard],
    searches: &[SearchCard],
    settings: &Settings,
) -> Option<String> {
    let card = |id: DriverId| drivers.iter().find(|it| it.id == id).unwrap();
    for (trace, weighed, unfit) in outcome.traces.iter() {
        let search = searches.iter().find(|it| it.job == trace.job).unwrap();
        let proposal = outcome.proposals.iter().find(|it| it.job == trace.job);
        if proposal.is_some() != (trace.verdict == Verdict::Proposed) {
            return Some(format!("{trace:?} {proposal:?}"));
        }
        let best = proposal.and_then(|it| it.candidates.first()).map(|it| it.driver);
        let is_told = |id| weighed.iter().any(|it| it.driver == id && it.fate == Fate::Proposed);
        if best.is_some_and(|best| search.n_wanted == 1 && !is_told(best)) {
            return Some(format!("{best:?} is not told of"));
        }
        for one in weighed {
            let way_ms = one.travel_ms + one.busy_ms;
            let [low_ms, high_ms] = [one.low_s, one.high_s].map(|s| 1_000 * u32::from(s));
            let is_so = way_ms + one.parts.sum_ms() == one.cost_ms
                && (low_ms..=high_ms).contains(&way_ms)
                && one.distance_m <= search.radius_m
                && fits(search, card(one.driver), NOW, settings);
            if !is_so {
                return Some(format!("{one:?}"));
            }
        }
        let is_wrong = |it: &&Unfit| misfit(search, card(it.driver), NOW, settings) != Some(it.why);
        if let Some(one) = unfit.iter().find(is_wrong) {
            return Some(format!("{one:?}"));
        }
        let n_unfit: usize = trace.tally.iter().map(|n| usize::from(*n)).sum();
        if n_unfit < unfit.len() || (trace.n_weighed as usize) < weighed.len() {
            return Some(format!("{trace:?} counts too few"));
        }
    }
    let told: HashSet<JobId> = outcome.traces.iter().map(|(trace, ..)| trace.job).collect();
    let is_untold = |it: &&SearchCard| proposes(it) && !told.contains(&it.job);
    searches.iter().find(is_untold).map(|it| format!("{} is not told of", it.job))
}

#[test]
fn where_there_are_too_few_drivers_what_matters_more_gets_them() {
    for pairing in [Pairing::Joint, Pairing::Greedy] {
        let field = field([driver(1, 0.0)]);
        let near = search(1, 10.0, OfferPolicy::Sequential);
        let later = NOW - std::time::Duration::from_secs(1);
        let near = SearchCard { opened_at: later, ..near };
        let far = search(2, 500.0, OfferPolicy::Sequential);
        let served = |priority| {
            let far = SearchCard { priority, ..far.clone() };
            proposed(&[near.clone(), far], &field, NOW, pairing)[0].0
        };
        assert_eq!(served(Priority::Low), job(1));
        assert_eq!(served(Priority::Normal), job(1));
        assert_eq!(served(Priority::High), job(2));
        assert_eq!(served(Priority::Urgent), job(2));
    }
}

#[test]
fn what_is_urgent_is_not_held_for_somebody_better() {
    let field = field([driver(1, 1_000.0)]);
    let with = |priority| SearchCard { priority, ..search(1, 0.0, OfferPolicy::BatchOptimal) };
    assert_eq!(jointly(&[with(Priority::High)], &field), []);
    assert_eq!(jointly(&[with(Priority::Urgent)], &field).len(), 1);
}

#[test]
fn a_round_tells_whom_it_weighed_and_who_did_not_fit() {
    let settings = Settings { n_told: 2, ..settings() };
    let excluded = driver(1, 100.0);
    let tired = DriverCard { is_free: false, ..driver(2, 150.0) };
    let far = driver(3, 9_000.0);
    let others = (4..=7).map(|n| driver(n, n as f64 * 100.0));
    let field = field([excluded, tired, far].into_iter().chain(others));
    let search = SearchCard {
        excluded: vec![DriverId::nth(1)],
        radius_m: 2_000,
        ..search(1, 0.0, OfferPolicy::Sequential)
    };
    let outcome = round_at([&search], [], &field, NOW, &settings, Pairing::Joint);
    let (trace, weighed, unfit) = outcome.traces.iter().next().unwrap();
    assert_eq!((trace.verdict, trace.n_weighed, trace.radius_m), (Verdict::Proposed, 4, 2_000));
    let fates: Vec<_> = weighed.iter().map(|it| (it.driver, it.fate)).collect();
    let nth = DriverId::nth;
    assert_eq!(fates, [(nth(4), Fate::Proposed), (nth(5), Fate::Spare)]);
    // 72 s, as the straight line says, or down to 65 % and up to 155 % of that.
    assert_eq!((weighed[0].low_s, weighed[0].high_s), (46, 112));
    let mut why: Vec<_> = unfit.iter().map(|it| (it.driver, it.why)).collect();
    why.sort_unstable();
    assert_eq!(why, [(nth(1), WhyNot::Excluded), (nth(2), WhyNot::NoRoom)]);
}

#[test]
fn of_a_crowd_everybody_who_was_weighed_is_told_with_what_it_cost() {
    let field = field((1..=30).map(|n| driver(n, n as f64 * 50.0)));
    let search = search(1, 0.0, OfferPolicy::Sequential);
    let outcome = round_at([&search], [], &field, NOW, &Settings::default(), Pairing::Joint);
    let (trace, weighed, _) = outcome.traces.iter().next().unwrap();
    assert_eq!(trace.n_weighed, u32::from(Settings::default().n_candidates));
    assert_eq!(weighed.len(), trace.n_weighed as usize);
}

#[test]
fn a_round_tells_why_nothing_was_proposed() {
    let verdict_of = |nth: usize, searches: &[SearchCard], drivers: Vec<DriverCard>| {
        let field = field(drivers);
        let outcome = round_at(searches, [], &field, NOW, &settings(), Pairing::Joint);
        outcome.traces.iter().nth(nth).unwrap().0.verdict
    };
    let one = [search(1, 0.0, OfferPolicy::BatchOptimal)];
    assert_eq!(verdict_of(0, &one, vec![driver(1, 1_000.0)]), Verdict::HeldTooFar);
    assert_eq!(verdict_of(0, &one, vec![driver(1, 20_000.0)]), Verdict::Nobody);
    let busy = DriverCard {
        is_free: false,
        is_nearly_free: true,
        ending: Some(Ending { at: KIGALI, due: NOW + std::time::Duration::from_secs(40) }),
        ..driver(1, 10.0)
    };
    assert_eq!(verdict_of(0, &one, vec![busy]), Verdict::HeldBusy);
    let two = [search(1, 0.0, OfferPolicy::Sequential), search(2, 500.0, OfferPolicy::Sequential)];
    assert_eq!(verdict_of(1, &two, vec![driver(1, 10.0)]), Verdict::Outbid);
}

/// A courier beside the pickup, who has so many seconds to go to the end of what it has, which is there as well.
fn courier(n: u64, left_s: u64) -> DriverCard {
    let due = NOW + std::time::Duration::from_secs(left_s);
    let ending = Some(Ending { at: KIGALI.offset_m(100.0, 0.0), due });
    DriverCard { is_free: false, ending, ..driver(n, 300.0) }
}

#[test]
fn who_brings_something_comes_when_that_is_done_and_who_has_still_to_fetch_it_may_come_at_once() {
    let delivery = |policy| SearchCard { work: WorkKind::Delivery, ..search(1, 0.0, policy) };
    let eta_s = |courier: DriverCard| {
        let field = field([courier]);
        let wanted = [delivery(OfferPolicy::Sequential)];
        let outcome = round_at(&wanted, [], &field, NOW, &settings(), Pairing::Joint);
        outcome.proposals[0].candidates[0].eta_s
    };
    let bringing = |n, left_s| DriverCard { is_bringing: true, ..courier(n, left_s) };
    assert!(eta_s(courier(1, 120)).abs_diff(54) <= 1, "300 m from where it is");
    assert!(eta_s(bringing(1, 120)).abs_diff(120 + 18) <= 1, "100 m from where it will be");
    // So whoever has nothing to do is asked before, from further away.
    let both = field([bringing(1, 120), driver(2, 600.0)]);
    let chosen = jointly(&[delivery(OfferPolicy::Sequential)], &both);
    assert_eq!(chosen, [(job(1), vec![DriverId::nth(2)])]);
}

#[test]
fn a_courier_with_room_for_one_more_is_asked_however_long_it_still_brings_something() {
    let verdict = |work, age_s: u64, courier: DriverCard| {
        let opened_at = NOW - std::time::Duration::from_secs(age_s);
        let wanted = SearchCard { work, opened_at, ..search(1, 0.0, OfferPolicy::BatchOptimal) };
        let field = field([courier]);
        let outcome = round_at([&wanted], [], &field, NOW, &settings(), Pairing::Joint);
        outcome.traces.iter().next().unwrap().0.verdict
    };
    let bringing = |left_s| DriverCard { is_bringing: true, ..courier(1, left_s) };
    let delivery = WorkKind::Delivery;
    assert_eq!(verdict(delivery, 0, bringing(40)), Verdict::Proposed, "there within a minute");
    // Ten minutes and 18 seconds are good enough after 55.8 s: 60 + 10 x 55.8.
    assert_eq!(verdict(delivery, 55, bringing(600)), Verdict::HeldTooFar);
    assert_eq!(verdict(delivery, 56, bringing(600)), Verdict::Proposed);
    // Who still drives somebody has no room before that is over.
    let riding = DriverCard { has_delivery_slot: false, is_nearly_free: true, ..courier(1, 40) };
    assert_eq!(verdict(delivery, 56, riding.clone()), Verdict::HeldBusy);
    assert_eq!(verdict(WorkKind::Ride, 56, riding), Verdict::HeldBusy);
}

#[test]
fn all_that_a_courier_has_must_be_over_when_it_may_work_no_more() {
    let delivery =
        SearchCard { work: WorkKind::Delivery, ..search(1, 0.0, OfferPolicy::Sequential) };
    let fits_until = |until_s, courier: DriverCard| {
        let until = Some(NOW + std::time::Duration::from_secs(until_s));
        let standing = Standing { until, ..courier.standing };
        misfit(&delivery, &DriverCard { standing, ..courier }, NOW, &settings())
    };
    let bringing = DriverCard { is_bringing: true, ..courier(1, 120) };
    // 54 s to the pickup, but all it has takes two minutes; or two minutes and 18 s.
    assert_eq!(fits_until(119, courier(1, 120)), Some(WhyNot::Hours));
    assert_eq!(fits_until(120, courier(1, 120)), None);
    assert_eq!(fits_until(137, bringing.clone()), Some(WhyNot::Hours));
    assert_eq!(fits_until(139, bringing), None);
}

#[test]
fn nothing_is_told_where_nobody_wants_to_know() {
    let settings = Settings { n_told: 0, ..settings() };
    let search = search(1, 0.0, OfferPolicy::Sequential);
    let field = field([driver(1, 10.0)]);
    let outcome = round_at([&search], [], &field, NOW, &settings, Pairing::Joint);
    assert!(outcome.traces.is_empty());
    assert_eq!(outcome.proposals.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Both ways: nobody is kept from what they could do, and of the hours they may work other tests tell.
    #[test]
    fn who_fits_by_plain_rules_is_no_misfit_but_for_the_hours_it_may_work(
        seed in any::<u64>(),
    ) {
        let (drivers, searches) = city(seed, 20, 20);
        let settings = Settings::default();
        for search in &searches {
            // Who is too far away does not fit, but is told so by nobody: rounds look no further.
            let near = SearchCard { radius_m: u32::MAX, ..search.clone() };
            for driver in &drivers {
                let why = misfit(&near, driver, NOW, &settings).filter(|it| *it != WhyNot::Hours);
                prop_assert_eq!(why.is_some(), wrong_with(&near, driver).is_some(), "{:?}", why);
            }
        }
    }

    #[test]
    fn nobody_is_proposed_twice_or_to_whom_they_do_not_fit(
        seed in any::<u64>(),
        n_drivers in 1..120_u64,
        n_searches in 0..120_u64,
        is_joint in any::<bool>(),
    ) {
        let (drivers, searches) = city(seed, n_drivers, n_searches);
        let pairing = if is_joint { Pairing::Joint } else { Pairing::Greedy };
        let weights = Weights {
            level_ms: 3_000,
            refusal_ms: 20_000,
            fairness_ms: 10_000,
            ..Weights::default()
        };
        let settings = Settings { weights, ..Settings::default() };
        let outcome = round_at(&searches, [], &field(drivers.clone()), NOW, &settings, pairing);
        prop_assert_eq!(&outcome, &round_at(&searches, [], &field(drivers.clone()), NOW, &settings, pairing));
        prop_assert_eq!(told_wrong(&outcome, &drivers, &searches, &settings), None);
        let mut seen = HashSet::new();
        for proposal in outcome.proposals {
            let search = searches.iter().find(|it| it.job == proposal.job).unwrap();
            prop_assert!(!proposal.candidates.is_empty());
            prop_assert!(proposal.candidates.len() <= usize::from(search.n_wanted));
            prop_assert_ne!(search.policy, OfferPolicy::Feed);
            for candidate in &proposal.candidates {
                prop_assert!(seen.insert(candidate.driver), "{} twice", candidate.driver);
                let driver = drivers.iter().find(|it| it.id == candidate.driver).unwrap();
                prop_assert!(fits(search, driver, NOW, &settings));
                prop_assert_eq!(wrong_with(search, driver), None);
                prop_assert!(candidate.distance_m <= search.radius_m);
                let age_s = NOW.since(search.opened_at).as_secs() as u32;
                let is_urgent = search.priority == Priority::Urgent;
                prop_assert!(!is_held(search.policy) || is_urgent || candidate.eta_s <= 60 + 10 * age_s);
            }
        }
    }
}

/// Under this rule, whose version says what.
fn ruled(n: u32, changes: RuleChanges, settings: &Settings) -> Option<Arc<Ruling>> {
    let mark = RuleMark { id: RuleId::nth(1), version: n };
    Some(Arc::new(Ruling::of(mark, &changes, settings)))
}

#[test]
fn each_search_is_weighed_held_and_told_under_its_own_rule() {
    let settings = Settings { weights: Weights::NONE, hold_per_age: 0, ..Settings::default() };
    let weights = Some(WeightChanges { star_ms: Some(60_000), ..WeightChanges::default() });
    let stars = ruled(1, RuleChanges { weights, ..RuleChanges::default() }, &settings);
    let strict = ruled(2, RuleChanges { hold_ms: Some(0), ..RuleChanges::default() }, &settings);
    let field = field([DriverCard { rating: 400, ..driver(1, 100.0) }, driver(2, -200.0)]);
    let told = |ruling: &Option<Arc<Ruling>>| {
        let ride = search(1, 0.0, OfferPolicy::BatchOptimal);
        let search = SearchCard { ruling: ruling.clone(), ..ride };
        let outcome = round_at([&search], [], &field, NOW, &settings, Pairing::Joint);
        let (trace, weighed, _) = outcome.traces.iter().next().unwrap();
        let mark = trace.ruling.as_ref().map(|it| it.mark.version);
        (mark, trace.verdict, weighed[0].driver, weighed[0].parts.rating_ms)
    };
    assert_eq!(told(&None), (None, Verdict::Proposed, DriverId::nth(1), 0));
    assert_eq!(told(&stars), (Some(1), Verdict::Proposed, DriverId::nth(2), 0));
    assert_eq!(told(&strict), (Some(2), Verdict::HeldTooFar, DriverId::nth(1), 0));
}

/// Ways of a city whose east is slow.
fn slow_in_the_east(random: &mut StdRng, router: &dyn Router) -> Ways {
    let mut ways = Ways::new(KIGALI);
    for _ in 0..2_000 {
        let mut place =
            || KIGALI.offset_m(random.random_range(-6e3..6e3), random.random_range(-6e3..6e3));
        let (from, to) = (place(), place());
        let times = if to.lon > KIGALI.lon { 2.2 } else { 0.9 };
        let learned = Learned { router, ways: &ways };
        let leg = Leg {
            from: learned.spot(from),
            to: learned.spot(to),
            distance_m: from.distance_m(to) as f32,
            vehicle: VehicleKind::Moto,
            leaving: NOW + std::time::Duration::from_secs(random.random_range(0..7_200)),
        };
        let took_ms = f64::from(router.eta(&leg).ms) * times * random.random_range(0.8..1.2);
        ways.learn(&Gone { leg, took_ms: took_ms as u32 }, router);
    }
    ways
}

/// Whom a lone search weighs and what is told of each, by formulas that remember nothing and take no short cut; and whether it
/// looked further.
fn weighed_plainly(search: &SearchCard, field: &Field, terms: &Terms) -> (Vec<Weighed>, bool) {
    let Terms { router, settings, now, .. } = *terms;
    let k = n_candidates(search, settings);
    let weights = search.ruling.as_ref().map_or(&settings.weights, |it| &it.weights);
    let weighed = |&Near { n, distance_m }: &Near| {
        let driver = field.card(n);
        let (from, from_when) = driver.start();
        let leg = Leg {
            from: router.spot(from),
            to: router.spot(search.pickup),
            distance_m,
            vehicle: driver.vehicle.kind,
            leaving: from_when.max(now),
        };
        let is_learned = search.ruling.as_ref().is_none_or(|it| it.learned_ways);
        let way = if is_learned { router.eta(&leg) } else { router.untaught(&leg) };
        let busy_ms = from_when.ms_since(now) as u32;
        let parts = weights.parts(search, driver, now);
        Weighed {
            driver: driver.id,
            fate: Fate::Spare,
            distance_m: distance_m.round() as u32,
            cost_ms: way.ms + busy_ms + parts.sum_ms(),
            travel_ms: way.ms,
            busy_ms,
            low_s: seconds(way.low_ms + busy_ms),
            high_s: seconds(way.high_ms + busy_ms + 999),
            parts,
        }
    };
    let nearest = |n_near: usize| {
        let mut near = Vec::new();
        let fits = |n| fits(search, field.card(n), now, settings);
        field.grid.nearest(search.pickup, n_near, search.radius_m as f32, fits, &mut near);
        near
    };
    let cheapest = |near: &[Near]| {
        let mut all: Vec<Weighed> = near.iter().map(weighed).collect();
        all.sort_by_key(|it| (it.cost_ms, it.driver));
        all.truncate(k);
        all
    };
    let near = nearest(router.n_sifted(k));
    let all = cheapest(&near);
    if near.len() < router.n_sifted(k) {
        return (all, false);
    }
    let fastest = field.fastest(&search.needs.vehicles, &settings.speeds).unwrap();
    let way_ms = settings.straight().ms(fastest, near.last().unwrap().distance_m);
    let drivers = (0..field.len() as u32).map(|n| field.card(n));
    let standing_ms = drivers.map(|it| weights.of_driver(it, now).sum_ms()).min().unwrap();
    if way_ms + WORTH_A_LOOK_MS + standing_ms >= all[k / 2].cost_ms {
        return (all, false);
    }
    (cheapest(&nearest(k * FURTHER)), true)
}

#[test]
fn what_is_worked_out_once_and_remembered_is_what_plain_formulas_say_of_each_pair() {
    let weights =
        Weights { level_ms: 3_000, refusal_ms: 20_000, fairness_ms: 10_000, ..Weights::default() };
    let settings = Settings { weights, ..Settings::default() };
    let straight = settings.straight();
    let ways = slow_in_the_east(&mut StdRng::seed_from_u64(1), &straight);
    let learned = Learned { router: &straight, ways: &ways };
    let routers: [&dyn Router; 2] = [&straight, &learned];
    let stars = Some(WeightChanges { star_ms: Some(60_000), ..WeightChanges::default() });
    let rulings = [
        None,
        ruled(1, RuleChanges { weights: stars, ..RuleChanges::default() }, &settings),
        ruled(2, RuleChanges { learned_ways: Some(false), ..RuleChanges::default() }, &settings),
    ];
    let (mut n_searches, mut n_further) = (0, 0);
    for seed in 0..60 {
        // Each has ten to choose from, or all that fit: nobody comes away empty and looks again.
        let (mut drivers, mut searches) = city(seed, 40 + 8 * seed, 10);
        for (n, driver) in (0..).zip(&mut drivers).step_by(5) {
            let due = NOW + std::time::Duration::from_secs(20 * n);
            driver.ending = Some(Ending { at: driver.at, due });
            (driver.is_free, driver.is_nearly_free) = (false, true);
        }
        for (search, ruling) in searches.iter_mut().zip(rulings.iter().cycle()) {
            search.ruling.clone_from(ruling);
        }
        for router in routers {
            let mut field = Field::new(KIGALI);
            field.fill(drivers.iter().cloned().map(Arc::new), router);
            let terms = Terms { router, settings: &settings, now: NOW, pairing: Pairing::Joint };
            let outcome = round(&searches, [], &field, &terms);
            for (trace, told, _) in outcome.traces.iter() {
                let search = searches.iter().find(|it| it.job == trace.job).unwrap();
                let (plain, is_further) = weighed_plainly(search, &field, &terms);
                let told: Vec<Weighed> =
                    told.iter().map(|it| Weighed { fate: Fate::Spare, ..*it }).collect();
                assert_eq!(told, plain, "of {} in city {seed}", trace.job);
                n_searches += 1;
                n_further += usize::from(is_further);
            }
        }
    }
    assert!(n_further > 50, "some look further: {n_further} of {n_searches}");
    assert!(n_searches - n_further > 50, "and some do not: {n_further} of {n_searches}");
}
