use super::*;
use proptest::prelude::*;
use protocol::OrderId;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const USUAL: Weights = Weights { star_ms: 1_000, ..Weights::NONE };

fn job(n: u64) -> JobId {
    JobId::Order(OrderId::nth(n))
}

/// A driver who takes so long, and whose missing stars cost so much.
fn weighed(n: u64, travel_ms: u32, rating_ms: u32, fate: Fate) -> Weighed {
    Weighed {
        driver: DriverId::nth(n),
        fate,
        distance_m: travel_ms / 100,
        cost_ms: travel_ms + rating_ms,
        travel_ms,
        busy_ms: 0,
        low_s: 0,
        high_s: 0,
        parts: Parts { rating_ms, ..Parts::default() },
    }
}

fn past(n: u64, verdict: Verdict, weighed: Vec<Weighed>) -> Past {
    Past { job: job(n), at: NOW, verdict, weighed, weights: USUAL, is_meant: true }
}

/// Two jobs that weigh the same two drivers: both would have the first, and one has it for both of them to wait less.
fn contested() -> Vec<Past> {
    vec![
        past(
            1,
            Verdict::Proposed,
            vec![weighed(1, 60_000, 2_000, Fate::Proposed), weighed(2, 70_000, 0, Fate::Taken)],
        ),
        past(
            2,
            Verdict::Proposed,
            vec![weighed(1, 58_000, 2_000, Fate::Taken), weighed(2, 65_000, 0, Fate::Proposed)],
        ),
    ]
}

fn alone(fate: Fate) -> Past {
    let verdict = if fate == Fate::Proposed { Verdict::Proposed } else { Verdict::HeldTooFar };
    let weighed = vec![weighed(7, 60_000, 2_000, fate), weighed(8, 65_000, 0, Fate::Spare)];
    past(7, verdict, weighed)
}

fn again(rounds: impl IntoIterator<Item = Past>, weights: &Weights) -> Replayed {
    replay(rounds.into_iter().map(|past| ((), past)), weights)
}

#[test]
fn by_the_same_weights_nothing_differs() {
    let same = again(contested().into_iter().chain([alone(Fate::Proposed)]), &USUAL);
    assert_eq!((same.n_assignments, same.n_differ, same.n_after), (3, 0, 3));
    assert_eq!(same.eta_before_ms, same.eta_after_ms);
    assert_eq!((same.left_out, same.differ), (LeftOut::default(), vec![]));
}

#[test]
fn where_stars_count_for_more_the_better_driver_comes_and_takes_longer() {
    let stars = Weights { star_ms: 10_000, ..USUAL };
    let told = again([alone(Fate::Proposed)], &stars);
    let (before, after) = (DriverId::nth(7), Some(DriverId::nth(8)));
    let (eta_before_ms, eta_after_ms) = (60_000, Some(65_000));
    let differs = Differs { job: job(7), at: NOW, before, eta_before_ms, after, eta_after_ms };
    assert_eq!((told.n_assignments, told.n_differ, &told.differ[..]), (1, 1, &[differs][..]));
    assert_eq!((told.eta_before_ms, told.eta_after_ms), (60_000, 65_000));
    // Of two who weigh the same drivers both keep theirs: somebody has to take either.
    let told = again(contested(), &stars);
    assert_eq!((told.n_assignments, told.n_differ), (2, 0));
}

#[test]
fn a_search_that_is_not_meant_costs_what_it_did_and_counts_only_beside_one_that_is() {
    let stars = Weights { star_ms: 10_000, ..USUAL };
    let unmeant = Past { is_meant: false, ..alone(Fate::Proposed) };
    assert_eq!(again([unmeant], &stars), Replayed::default());
    let mut both = contested();
    both[1].is_meant = false;
    assert_eq!(again(both, &stars).n_assignments, 2);
}

#[test]
fn what_is_not_known_is_left_out_and_counted() {
    let stars = Weights { star_ms: 10_000, ..USUAL };
    // Nobody was chosen.
    let vain = past(3, Verdict::Outbid, vec![weighed(3, 9_000, 0, Fate::Taken)]);
    let told = again([vain], &stars);
    assert_eq!((told.n_assignments, told.left_out.n_without_choice), (0, 1));
    // The dearer of two was chosen, for whatever reason.
    let odd = vec![weighed(5, 9_000, 0, Fate::Spare), weighed(6, 10_000, 0, Fate::Proposed)];
    let told = again([past(4, Verdict::Proposed, odd)], &stars);
    assert_eq!((told.n_assignments, told.left_out.n_not_reproduced), (0, 1));
    // What counted for nothing is not told.
    let turns = Weights { turn_ms: 5_000, ..USUAL };
    let told = again([alone(Fate::Proposed)], &turns);
    assert_eq!((told.n_assignments, told.left_out.n_unweighable), (0, 1));
    // Who is held is no assignment, and nobody else's.
    let told = again([alone(Fate::Held)], &stars);
    assert_eq!((told.n_assignments, told.left_out), (0, LeftOut::default()));
}

#[test]
fn of_several_who_were_proposed_at_once_any_was_chosen() {
    let both = [(1, 60_000, 2_000), (2, 61_000, 0)];
    let both =
        both.map(|(n, travel_ms, rating_ms)| weighed(n, travel_ms, rating_ms, Fate::Proposed));
    let told = again([past(1, Verdict::Proposed, both.to_vec())], &USUAL);
    assert_eq!((told.n_assignments, told.n_differ), (1, 0));
}

#[test]
fn rounds_of_other_regions_and_moments_are_others() {
    let mut all = contested();
    let other = all.remove(1);
    let told = replay([(1, all[0].clone()), (2, other.clone())], &USUAL);
    assert_eq!((told.n_assignments, told.left_out.n_not_reproduced), (1, 1));
    let later = Past { at: Timestamp(NOW.0 + 1_000), ..other };
    let told = again([all.remove(0), later], &USUAL);
    assert_eq!((told.n_assignments, told.left_out.n_not_reproduced), (1, 1));
}

#[test]
fn what_nodes_have_replayed_is_added_up_and_the_latest_are_told() {
    let stars = Weights { star_ms: 10_000, ..USUAL };
    let rounds = |from: u64| {
        let all = (from..from + 40).map(|n| Past {
            job: job(n),
            at: Timestamp(NOW.0 + n),
            ..alone(Fate::Proposed)
        });
        again(all, &stars)
    };
    let both = rounds(0).and(rounds(40));
    assert_eq!((both.n_assignments, both.n_differ, both.n_after), (80, 80, 80));
    let times: Vec<u64> = both.differ.iter().map(|it| it.at.0 - NOW.0).collect();
    assert_eq!(times, (30..80).rev().collect::<Vec<_>>());
}

fn any_weights() -> impl Strategy<Value = Weights> {
    (1..9_000_u32, 1..9_000_u32).prop_map(|(star_ms, level_ms)| Weights {
        star_ms,
        level_ms,
        ..Weights::NONE
    })
}

proptest! {
    /// There and back again it costs the same, but for what is lost in rounding.
    #[test]
    fn parts_follow_their_weights(
        from in any_weights(),
        to in any_weights(),
        rating_ms in 0..40_000_u32,
        level_ms in 0..40_000_u32,
    ) {
        let parts = Parts { rating_ms, level_ms, ..Parts::default() };
        let there = reweighed(parts, &from, &to).unwrap();
        let back = reweighed(there, &to, &from).unwrap();
        let lost = |it: u32, from: u32, to: u32| it / 10_000 + from.div_ceil(to) + 1;
        prop_assert!(rating_ms.abs_diff(back.rating_ms) <= lost(rating_ms, from.star_ms, to.star_ms));
        prop_assert!(level_ms.abs_diff(back.level_ms) <= lost(level_ms, from.level_ms, to.level_ms));
        prop_assert_eq!(reweighed(parts, &from, &from), Some(parts));
        prop_assert_eq!(reweighed(parts, &from, &Weights::NONE), Some(Parts::default()));
    }
}
