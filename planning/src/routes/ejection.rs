//! Fewer vehicles: takes a route apart and presses what it carried into the others.

use super::{
    Ground,
    route::{Gap, Route},
};
use crate::chance::Chance;

/// Which share of all time may be spent here.
pub(super) const SHARE: f64 = 0.6;

/// How many random moves follow each time something was thrown out.
const SHAKES: usize = 60;

/// Takes routes out of `routes` as long as time is left and others can take what they carried.
pub(super) fn fewer(
    ground: &Ground,
    routes: &mut Vec<Route>,
    chance: &mut Chance,
    spent: &mut impl FnMut() -> f64,
) {
    // How often each pair could not be put back: what is hard to place is not thrown out lightly.
    let mut hard = vec![1u32; ground.problem.pairs.len()];
    loop {
        let mut fewer = routes.clone();
        if fewer.len() <= 1 {
            return;
        }
        // The shortest of some is the likeliest to dissolve.
        let which =
            (0..2).map(|_| chance.below(fewer.len())).min_by_key(|it| fewer[*it].sites.len());
        let Some(which) = which else { return };
        let gone = fewer.swap_remove(which);
        let mut out: Vec<usize> = gone.pairs(ground).collect();
        chance.shuffle(&mut out);
        hard.fill(1);
        while let Some(pair) = out.pop() {
            if let Some((index, gap)) = any_gap(ground, &fewer, pair, chance) {
                fewer[index].put(ground, pair, gap);
                continue;
            }
            if spent() >= 1.0 {
                return;
            }
            hard[pair] += 1;
            match cheapest_ejection(ground, &fewer, pair, &hard, chance) {
                Some((index, thrown, gap)) => {
                    for it in &thrown {
                        fewer[index].take(ground, *it);
                    }
                    fewer[index].put(ground, pair, gap);
                    out.extend(thrown);
                }
                None => out.push(pair),
            }
            shake(ground, &mut fewer, chance);
        }
        *routes = fewer;
    }
}

/// One of all gaps for `pair`, each as likely as the others.
fn any_gap(
    ground: &Ground,
    routes: &[Route],
    pair: usize,
    chance: &mut Chance,
) -> Option<(usize, Gap)> {
    let mut best = None;
    let mut n = 0;
    for (index, route) in routes.iter().enumerate() {
        route.gaps(ground, pair, |gap| {
            n += 1;
            if chance.below(n) == 0 {
                best = Some((index, gap));
            }
        });
    }
    best
}

/// What to throw out of which route so that `pair` fits, one or two others: what is easiest to place elsewhere.
fn cheapest_ejection(
    ground: &Ground,
    routes: &[Route],
    pair: usize,
    hard: &[u32],
    chance: &mut Chance,
) -> Option<(usize, Vec<usize>, Gap)> {
    let mut best: Option<(usize, Vec<usize>, Gap)> = None;
    let mut least = u32::MAX;
    let mut n_best = 0;
    let mut without = Route::default();
    for (index, route) in routes.iter().enumerate() {
        let pairs: Vec<usize> = route.pairs(ground).collect();
        let mut look = |thrown: &[usize]| {
            let sum: u32 = thrown.iter().map(|it| hard[*it]).sum();
            if sum > least {
                return;
            }
            without.sites.clear();
            without
                .sites
                .extend(route.sites.iter().filter(|it| !thrown.contains(&ground.pair_of[**it])));
            without.count(ground);
            without.gaps(ground, pair, |gap| {
                if sum < least {
                    n_best = 0;
                    least = sum;
                }
                n_best += 1;
                if chance.below(n_best) == 0 {
                    best = Some((index, thrown.to_vec(), gap));
                }
            });
        };
        for (at, one) in pairs.iter().enumerate() {
            look(&[*one]);
            for other in &pairs[..at] {
                look(&[*one, *other]);
            }
        }
    }
    best
}

/// Moves some pairs to other places where they fit.
fn shake(ground: &Ground, routes: &mut [Route], chance: &mut Chance) {
    for _ in 0..SHAKES {
        let from = chance.below(routes.len());
        if routes[from].sites.is_empty() {
            continue;
        }
        let at = chance.below(routes[from].sites.len());
        let pair = ground.pair_of[routes[from].sites[at]];
        let to = chance.below(routes.len());
        let before = routes[from].clone();
        routes[from].take(ground, pair);
        match any_gap(ground, &routes[to..=to], pair, chance) {
            Some((_, gap)) => routes[to].put(ground, pair, gap),
            None => routes[from] = before,
        }
    }
}
