use super::*;

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
