use super::*;
use protocol::OrderId;

fn chance(at: u64, why: Option<WhyNot>) -> Chance {
    let at = Timestamp(at);
    Chance { job: None, at, why, distance_m: None, cost_ms: None, best_cost_ms: None }
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
