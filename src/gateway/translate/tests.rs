use super::*;
use proptest::prelude::*;
use protocol::{Point, work::CancelDecision};
use strum as _;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };

fn cancel(reason: &str) -> Wish {
    let action = OrderAction::Cancel { reason: reason.to_owned() };
    Wish::Order { id: OrderId::nth(1), action }
}
