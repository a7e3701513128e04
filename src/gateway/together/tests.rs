use super::*;

#[test]
fn no_more_look_at_once_than_may_and_whoever_comes_too_early_is_told_when_to_come_again() {
    let two = Arc::new(Semaphore::new(2));
    let first = a_turn(&two, "busy").expect("there is a turn");
    let _second = a_turn(&two, "busy").expect("there is another");
    let refused = a_turn(&two, "others look").expect_err("there is no third");
    assert_eq!((refused.code, refused.retry_after_ms), (Code::Busy, Some(BUSY_MS)));
    drop(first);
    assert!(a_turn(&two, "busy").is_ok());
}

#[test]
fn no_more_runs_are_made_at_once_than_may_be_and_how_many_are_left_is_told() {
    let proposal = |n: u64| Proposal::Insert {
        run: RunId::nth(n),
        order: (OrderId::nth(n), 1),
        at: protocol::Point { lat: -1.95, lon: 30.06 },
        legs: run::Legs::default(),
    };
    for (n, n_made, n_left) in [(0, 0, 0), (1, 1, 0), (RUNS_MAX, RUNS_MAX, 0), (23, RUNS_MAX, 3)] {
        let (made, left) = at_once((0..n as u64).map(proposal).collect());
        assert_eq!((made.len(), left), (n_made, n_left), "of {n}");
        let first: Vec<OrderId> = made.iter().flat_map(Proposal::orders).collect();
        let expected: Vec<OrderId> = (0..n_made as u64).map(OrderId::nth).collect();
        assert_eq!(first, expected, "the first of them");
    }
}

#[test]
fn of_what_was_refused_each_order_is_told_of_once_with_its_own_words_or_the_answer() {
    let orders = [1, 2, 3].map(OrderId::nth);
    let own = Alone {
        said: Some("it is offered alone".to_owned()),
        ..Alone::new(orders[1], WhyAlone::Refused)
    };
    let refused = Refused::new(Code::TooLate, "its search has moved on");
    let told = NotMade { refused, against: vec![own.clone()] }.told_of(&orders);
    assert_eq!(told.iter().map(|it| it.order).collect::<Vec<_>>(), orders);
    assert_eq!(told[1], own);
    for other in [&told[0], &told[2]] {
        assert_eq!(other.why, WhyAlone::Refused);
        assert_eq!(other.said.as_deref(), Some("too_late: its search has moved on"));
    }
}
