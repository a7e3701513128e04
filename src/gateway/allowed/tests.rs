use super::*;
use actors::rescue;
use protocol::{DriverId, RescueStatus, RiderId};
use strum::IntoEnumIterator;

#[test]
fn whatever_a_rescue_allows_is_for_somebody() {
    let everybody = [
        Principal::Rider(RiderId::nth(1)),
        Principal::Driver(DriverId::nth(1)),
        Principal::Dispatcher,
    ];
    for status in RescueStatus::iter() {
        for name in rescue::table::allowed(status) {
            assert!(everybody.iter().any(|by| of_rescue(name, *by)), "{name}");
        }
    }
}

#[test]
fn what_the_platform_asks_of_a_driver_is_for_no_person() {
    for name in ["reserve_offer", "withdraw_offer", "commit_job", "end_job", "strand"] {
        for by in [Principal::Driver(DriverId::nth(1)), Principal::Admin] {
            assert!(!of_driver(name, by), "{name}");
        }
    }
}
