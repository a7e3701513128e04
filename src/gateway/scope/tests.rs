use super::*;
use actors::zone::neighbourhood;
use protocol::{RunId, work::Sos};

const HERE: Point = Point { lat: -1.9441, lon: 30.0619 };
const FAR: Point = Point { lat: -2.4441, lon: 30.0619 };

fn here() -> Scope {
    Scope::of(&[neighbourhood(HERE).to_string()]).unwrap()
}

fn assign(driver: DriverId) -> Wish {
    let action = OrderAction::Assign { driver, force: false, reason: "near".to_owned() };
    Wish::Order { id: OrderId::nth(1), action }
}

#[test]
fn whom_a_wish_is_for_and_whom_it_is_about_must_be_seen() {
    let (order, driver) = (OrderId::nth(1), DriverId::nth(2));
    assert_eq!(named(&assign(driver)), [EntityKey::from(order), driver.into()]);
    let action = RunAction::Split { orders: vec![order], driver, reason: "too many".to_owned() };
    let split = Wish::Run { id: RunId::nth(3), action };
    assert_eq!(named(&split), [EntityKey::from(RunId::nth(3)), order.into(), driver.into()]);
    let action = DriverAction::Message { job: Some(JobId::Order(order)), text: "hello".to_owned() };
    let message = Wish::Driver { id: Some(driver), action };
    assert_eq!(named(&message), [EntityKey::from(driver), order.into()]);
    let action = RiderAction::Block { driver, reason: "a quarrel".to_owned() };
    let block = Wish::Rider { id: RiderId::nth(4), action };
    assert_eq!(named(&block), [EntityKey::from(RiderId::nth(4)), driver.into()]);
}

#[test]
fn of_whoever_calls_for_help_nobody_asks_where() {
    let sos = Sos { job: Some(JobId::Order(OrderId::nth(1))), ..Sos::default() };
    assert_eq!(named(&Wish::Sos(sos)), [] as [EntityKey; 0]);
}

#[test]
fn whom_nobody_knows_where_they_are_may_only_be_let_work_again_and_written_to() {
    let wish = |action| Wish::Driver { id: Some(DriverId::nth(1)), action };
    assert!(is_for_unseen(&wish(DriverAction::Reinstate {})));
    let message = DriverAction::Message { job: None, text: "hello".to_owned() };
    assert!(is_for_unseen(&wish(message)));
    let revoke = DriverAction::RevokeOffShift { reason: "dry again".to_owned() };
    assert!(is_for_unseen(&wish(revoke)), "to take back what was allowed is no harm anywhere");
    let suspend = DriverAction::Suspend { reason: "papers".to_owned(), reassign: false };
    assert!(!is_for_unseen(&wish(suspend)));
    assert!(!is_for_unseen(&assign(DriverId::nth(1))));
}

#[test]
fn what_is_vouched_for_counts_in_some_regions_only_if_it_is_a_permit_for_a_place_in_them() {
    let permit = |name: &str, at: Point, radius_m| Permit {
        name: name.to_owned(),
        lat: at.lat,
        lon: at.lon,
        radius_m,
    };
    let middle = actors::zone::middle_of(neighbourhood(HERE)).expect("a zone has one");
    let permits = [
        permit("market", middle, 300),
        permit("valley", middle, 30_000),
        permit("elsewhere", FAR, 300),
        permit("both", middle, 300),
        permit("both", FAR, 300),
    ];
    let counts = |skill| counts_only_within(skill, &permits, &here());
    assert!(counts("permit.market"));
    for skill in ["permit.valley", "permit.elsewhere", "permit.both", "permit.unknown", "permit"] {
        assert!(!counts(skill), "{skill}");
    }
    assert!(!counts("certificate.hazmat") && !counts("gender.female"));
}

#[test]
fn a_page_that_ends_elsewhere_does_not_name_what_is_there_and_goes_on_behind_what_was_told() {
    let row = |n, at| {
        let row = ViewRow {
            status: "searching".to_owned(),
            rider: None,
            driver: None,
            at: Timestamp(at),
            body: serde_json::Value::Null,
        };
        (EntityKey::from(OrderId::nth(n)), row)
    };
    let (at, id) = (Timestamp(7), OrderId::nth(1).0);
    let behind_all = Some((at, Uuid::max()));
    assert_eq!(unnamed((at, id), &[], None), (at, Uuid::max()));
    assert_eq!(unnamed((at, id), &[row(9, 8)], Some((Timestamp(9), id))), (at, Uuid::max()));
    assert_eq!(unnamed((at, id), &[row(9, 7)], None), (at, OrderId::nth(9).0), "it was told");
    assert_eq!(unnamed((at, id), &[], behind_all), (at, id), "or it would go on there for ever");
}

#[test]
fn a_sighting_is_where_it_was() {
    let at = |at| ServerFrame::Sighted {
        job: JobId::Order(OrderId::nth(1)),
        at,
        eta_s: None,
        eta_low_s: None,
        eta_high_s: None,
    };
    assert!(says_within(&here(), &at(HERE)));
    assert!(!says_within(&here(), &at(FAR)));
}

#[test]
fn who_wants_something_elsewhere_is_told_where_it_may_be() {
    assert_eq!(check_place(&here(), HERE), Ok(()));
    let refused = check_place(&here(), FAR).unwrap_err();
    assert_eq!(refused.code, Code::Forbidden);
    assert!(refused.message.contains(&neighbourhood(HERE).to_string()), "{refused}");
}
