use super::*;
use protocol::{OrderId, trace::Verdict};

fn chance(at: u64, why: Option<WhyNot>) -> Chance {
    let at = Timestamp(at);
    Chance { job: None, at, why, distance_m: None, cost_ms: None, best_cost_ms: None }
}

fn seen(from: u64, round: u32, n: u32) -> Seen {
    let (from, at) = (Timestamp(from), Timestamp(from + u64::from(n)));
    Seen {
        from,
        at,
        n,
        round,
        radius_m: 3_000,
        verdict: Verdict::Nobody,
        n_weighed: 0,
        weighed: Vec::new(),
        n_unfit: BTreeMap::new(),
        unfit: Vec::new(),
        rule: None,
        model: None,
    }
}

#[test]
fn what_was_kept_of_rounds_stands_in_for_those_that_nobody_remembers() {
    let remembered = vec![seen(30, 3, 9), seen(40, 4, 1)];
    let kept = vec![seen(10, 1, 1), seen(30, 3, 2)];
    let all = together(remembered, kept);
    assert_eq!(all, [seen(10, 1, 1), seen(30, 3, 9), seen(40, 4, 1)], "memory has more");
    assert_eq!(together(Vec::new(), vec![seen(10, 1, 1)]), [seen(10, 1, 1)]);
}

#[test]
fn of_a_job_that_two_nodes_have_looked_at_the_later_word_counts() {
    let [first, second] = [1, 2].map(|n| JobId::Order(OrderId::nth(n)));
    let before = vec![
        (first, chance(10, Some(WhyNot::TooFar))),
        (second, chance(40, Some(WhyNot::Outranked))),
    ];
    let after = vec![(first, chance(30, None))];
    let all = latest(before.into_iter().chain(after));
    assert_eq!(
        all,
        [(second, chance(40, Some(WhyNot::Outranked))), (first, chance(30, None))],
        "newest first"
    );
}

#[test]
fn a_driver_is_not_told_who_asked_for_another_gender_nor_where() {
    let near = |why| Chance { distance_m: Some(80), ..chance(10, Some(why)) };
    let told = |why| {
        let mut chance = near(why);
        discreet(&mut chance);
        (chance.why, chance.distance_m)
    };
    assert_eq!(told(WhyNot::Gender), (Some(WhyNot::Skill), None));
    for other in [WhyNot::Skill, WhyNot::Hours] {
        assert_eq!((as_told(other), told(other)), (other, (Some(other), Some(80))));
    }
}
