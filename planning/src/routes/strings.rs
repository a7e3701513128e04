//! Shorter ways: takes strings of neighbouring visits out and puts them back, again and again.

use super::{
    Ground,
    route::{Gap, Route},
};
use crate::chance::Chance;

/// How many visits are taken out of one route at most.
const STRING_MAX: f64 = 10.0;
/// How many visits are taken out on average.
const OUT_MEAN: f64 = 10.0;
/// How often a position is overlooked.
const BLINK: f64 = 0.01;
/// Annealing, relative to the mean length of a pair's way.
const WARM: f64 = 0.3;
const COLD: f64 = 0.001;

/// Makes `routes` shorter, never more.
pub(super) fn shorter(
    ground: &Ground,
    routes: &mut Vec<Route>,
    chance: &mut Chance,
    spent: &mut impl FnMut() -> f64,
) {
    let n = ground.problem.sites.len();
    if n < 2 || routes.is_empty() {
        return;
    }
    // Who is near whom, the nearest first.
    let near: Vec<Vec<usize>> = (0..n)
        .map(|from| {
            let mut list: Vec<usize> =
                (1..n).filter(|it| ground.pair_of[*it] != usize::MAX).collect();
            list.sort_by(|a, b| ground.distance(from, *a).total_cmp(&ground.distance(from, *b)));
            list
        })
        .collect();
    let length = |routes: &[Route]| routes.iter().map(|it| it.length).sum::<f64>();
    let mut best = routes.clone();
    let mut best_length = length(&best);
    let mut now = routes.clone();
    let mut now_length = best_length;
    let scale = best_length / ground.problem.pairs.len().max(1) as f64;
    let began = spent();
    let mut heat = WARM * scale;
    let mut round = 0u32;
    let mut room = Room { with: vec![usize::MAX; n], out: Vec::new(), ruined: Vec::new() };
    for (index, route) in now.iter().enumerate() {
        for site in &route.sites {
            room.with[*site] = index;
        }
    }
    let mut kept: Vec<(usize, Route)> = Vec::new();
    loop {
        if round.is_multiple_of(64) {
            let it = (spent() - began) / (1.0 - began).max(1e-9);
            if it >= 1.0 {
                break;
            }
            heat = scale * WARM * (COLD / WARM).powf(it);
        }
        round = round.wrapping_add(1);
        kept.clear();
        ruin(ground, &mut now, &near, &mut room, &mut kept, chance);
        let is_whole = recreate(ground, &mut now, &mut room, &mut kept, chance);
        let length = length(&now);
        let is_taken = is_whole && length < now_length - heat * chance.unit().ln();
        if is_taken {
            now_length = length;
            if length < best_length - 1e-9 {
                best_length = length;
                best.clone_from(&now);
            }
            continue;
        }
        for (index, route) in kept.drain(..) {
            for site in &route.sites {
                room.with[*site] = index;
            }
            now[index] = route;
        }
    }
    best.retain(|it| !it.sites.is_empty());
    *routes = best;
}

struct Room {
    /// Per site, its route.
    with: Vec<usize>,
    out: Vec<usize>,
    ruined: Vec<usize>,
}

fn ruin(
    ground: &Ground,
    routes: &mut [Route],
    near: &[Vec<usize>],
    room: &mut Room,
    kept: &mut Vec<(usize, Route)>,
    chance: &mut Chance,
) {
    room.out.clear();
    room.ruined.clear();
    let n_sites: usize = routes.iter().map(|it| it.sites.len()).sum();
    let mean = n_sites as f64 / routes.len() as f64;
    let string_max = STRING_MAX.min(mean).max(1.0);
    let strings_max = 4.0 * OUT_MEAN / (1.0 + string_max) - 1.0;
    let n_strings = (chance.unit() * strings_max + 1.0) as usize;
    let seed = 1 + chance.below(ground.problem.sites.len() - 1);
    for site in near[seed].iter().copied() {
        if room.ruined.len() >= n_strings {
            break;
        }
        let which = room.with[site];
        if which == usize::MAX || room.ruined.contains(&which) {
            continue;
        }
        room.ruined.push(which);
        let route = &routes[which];
        let most = string_max.min(route.sites.len() as f64);
        let long = ((chance.unit() * most + 1.0) as usize).min(route.sites.len());
        let at = route.sites.iter().position(|it| *it == site).unwrap_or(0);
        let first = (at + 1).saturating_sub(long);
        let last = at.min(route.sites.len() - long);
        let start = first + chance.below(last - first + 1);
        kept.push((which, route.clone()));
        // Sometimes some visits in the middle stay.
        let stays = if chance.unit() < 0.5 && long < route.sites.len() {
            let mut more = 1;
            while long + more < route.sites.len() && chance.unit() > 0.5 {
                more += 1;
            }
            more
        } else {
            0
        };
        let start = start.min(route.sites.len() - long - stays.min(route.sites.len() - long));
        let stays = stays.min(route.sites.len() - long);
        let hole = start + chance.below(long + 1);
        let mut gone: Vec<usize> = Vec::new();
        for at in start..start + long + stays {
            if (hole..hole + stays).contains(&at) {
                continue;
            }
            let pair = ground.pair_of[route.sites[at]];
            if !gone.contains(&pair) {
                gone.push(pair);
            }
        }
        let route = &mut routes[which];
        route.sites.retain(|it| !gone.contains(&ground.pair_of[*it]));
        route.count(ground);
        for pair in gone {
            let (from, to) = ground.problem.pairs[pair];
            room.with[from] = usize::MAX;
            room.with[to] = usize::MAX;
            room.out.push(pair);
        }
    }
}

fn recreate(
    ground: &Ground,
    routes: &mut [Route],
    room: &mut Room,
    kept: &mut Vec<(usize, Route)>,
    chance: &mut Chance,
) -> bool {
    let problem = ground.problem;
    let key = |pair: usize| {
        let (from, to) = problem.pairs[pair];
        (from, to, &problem.sites[from], &problem.sites[to])
    };
    let mut out = std::mem::take(&mut room.out);
    chance.shuffle(&mut out);
    match chance.below(8) {
        0 => out.sort_by_key(|it| -key(*it).2.demand),
        1 => out.sort_by(|a, b| {
            let far = |it: usize| ground.distance(0, key(it).0) + ground.distance(0, key(it).1);
            far(*b).total_cmp(&far(*a))
        }),
        2 => out.sort_by(|a, b| {
            let wide =
                |it: usize| key(it).2.closes - key(it).2.opens + key(it).3.closes - key(it).3.opens;
            wide(*a).total_cmp(&wide(*b))
        }),
        3 => out.sort_by(|a, b| key(*a).2.opens.total_cmp(&key(*b).2.opens)),
        4 => out.sort_by(|a, b| key(*b).3.closes.total_cmp(&key(*a).3.closes)),
        _ => {}
    }
    let mut is_whole = true;
    for pair in out.iter().copied() {
        let mut best: Option<(usize, Gap)> = None;
        let mut empty_seen = false;
        for (index, route) in routes.iter().enumerate() {
            if route.sites.is_empty() {
                if empty_seen {
                    continue;
                }
                empty_seen = true;
            }
            route.gaps(ground, pair, |gap| {
                if best.is_none_or(|it| gap.more < it.1.more) && chance.unit() >= BLINK {
                    best = Some((index, gap));
                }
            });
        }
        let Some((index, gap)) = best else {
            is_whole = false;
            break;
        };
        if !kept.iter().any(|it| it.0 == index) {
            kept.push((index, routes[index].clone()));
        }
        routes[index].put(ground, pair, gap);
        let (from, to) = problem.pairs[pair];
        room.with[from] = index;
        room.with[to] = index;
    }
    room.out = out;
    is_whole
}
