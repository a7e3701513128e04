//! The table is the law: what it lists is possible, what it does not list is not.

use super::*;
use protocol::FulfilmentStatus;
use std::collections::BTreeSet;

/// One of each command.
pub(super) fn samples(play: &Play) -> Vec<Command> {
    let offers = play.order.offers();
    let offer = offers.first().map_or(OfferId::of(JobId::Order(play.id), 0), |open| open.id);
    let holder = offers.first().map_or(nth(1), |open| open.driver);
    let driver = play.order.driver().unwrap_or(nth(1));
    let round =
        play.order.0.is_some().then(|| play.order.listing(play.id)).flatten().map_or(0, |it| {
            match it.card {
                crate::Card::Search(card) => card.round,
                crate::Card::Driver(_) | crate::Card::Run(_) => 0,
            }
        });
    let (reason, proofs) = ("because".to_owned(), vec![photo()]);
    let candidates =
        (1..=3).map(|n| Candidate { driver: nth(n), eta_s: 60, distance_m: 500, cost_ms: 0 });
    vec![
        Command::Place(Box::new(ride())),
        Command::ConfirmPayment { amount: 2_000 },
        Command::FailPayment {},
        Command::Reschedule { start_at: Timestamp(play.now.0 + 7_200_000), fare: None },
        Command::Requote { fare: fare(2_500) },
        Command::AcceptPrice {},
        Command::DeclinePrice {},
        Command::ModifyStops { stops: vec![place_at(3_000.0), place_at(6_000.0)], fare: None },
        Command::AcceptChange {},
        Command::DeclineChange {},
        Command::ConfirmOffer { offer },
        Command::RejectOffer { offer },
        Command::Assign {
            driver: nth(2),
            force: false,
            reason: reason.clone(),
            against: Vec::new(),
        },
        Command::Unassign { reason: reason.clone() },
        Command::Hold { reason: reason.clone() },
        Command::Resume { reason: reason.clone() },
        Command::SetPriority { priority: Priority::High, reason: reason.clone() },
        Command::SetFleet { fleet: Some(PartnerId::nth(1)), reason: reason.clone() },
        Command::Reassign {
            driver: nth(5),
            force: false,
            reason: reason.clone(),
            against: Vec::new(),
        },
        Command::ExtendSearch {},
        Command::CollectInstead {},
        Command::Depart {},
        Command::Arrive {},
        Command::OnBoard {},
        Command::Start { code: Some("1234".to_owned()) },
        Command::PickUp { proofs: proofs.clone() },
        Command::ArriveStop {},
        Command::CompleteStop { proofs: proofs.clone() },
        Command::SkipStop { reason: reason.clone() },
        Command::Finish { code: None, early_reason: Some("rider_asked".to_owned()) },
        Command::Deliver { proofs: proofs.clone(), cash: Some(500) },
        Command::Fail { reason: reason.clone() },
        Command::Retry {},
        Command::StartReturn {},
        Command::Returned { proofs },
        Command::Handover {
            driver: nth(3),
            force: false,
            reason: reason.clone(),
            against: Vec::new(),
        },
        Command::Contacted {},
        Command::NoShow {},
        Command::Cancel { reason: reason.clone() },
        Command::RequestCancel { reason: reason.clone() },
        Command::DecideCancel { decision: CancelDecision::Return },
        Command::CancelSafety { reason: reason.clone() },
        Command::EndEarly {},
        Command::CannotContinue { reason: reason.clone() },
        Command::ReportLoss { reason: reason.clone() },
        Command::AdjustFareDown { percent: 10 },
        Command::Tip { amount: 300 },
        Command::Rate { stars: 5 },
        Command::MerchantAccept { prep_min: 20 },
        Command::MerchantReject { reason: reason.clone() },
        Command::StartPrep {},
        Command::Ready {},
        Command::ItemUnavailable { item: 1 },
        Command::DecideItem { item: 1, replace: false },
        Command::HandOver {},
        Command::Collected { code: Some("1234".to_owned()) },
        Command::Metered { total_m: play.life_or_zero() + 500 },
        Command::Unfollow {},
        Command::Postpone {},
        Command::Tick {},
        Command::Search(Heard::Propose { round, candidates: candidates.collect() }),
        Command::Search(Heard::OfferRefused { offer, why: None }),
        Command::Search(Heard::OfferSeen { offer }),
        Command::Search(Heard::OfferAccepted { offer, driver: holder, slots: vec![0] }),
        Command::Search(Heard::OfferDeclined { offer }),
        Command::Search(Heard::Claim { driver: nth(2), slots: vec![0], fleet: None, brings: None }),
        Command::Search(Heard::Settle { driver, slots: vec![0, 1] }),
        Command::Search(Heard::DriverLost { driver, reason }),
        Command::Search(Heard::Bar { drivers: vec![nth(3)] }),
        Command::Search(Heard::Pause { pause: flood(None) }),
        Command::Search(Heard::Unpause {}),
        join_run(1, round, play.now),
        Command::Search(Heard::LeaveRun { run: RunId::nth(1), status: OfferStatus::Declined }),
        Command::Search(Heard::TakeByRun {
            run: RunId::nth(1),
            offer: OfferId::of_run(RunId::nth(1), 0),
            driver: nth(1),
            slots: vec![1],
        }),
    ]
}

impl Play {
    fn life_or_zero(&self) -> u32 {
        self.order.0.as_ref().map_or(0, |life| life.metered_m)
    }
}

/// Every state that an order of every kind can be in.
fn everywhere() -> Vec<Play> {
    let via = |placement: Placement| Placement {
        stops: vec![place_at(0.0), place_at(2_000.0), place_at(5_000.0)],
        ..placement
    };
    let mut plays = Vec::new();
    for placement in [ride(), delivery(), commerce()] {
        let is_ride = placement.kind == OrderKind::Ride;
        for status in rules::statuses() {
            let exists = match status {
                OrderStatus::InProgress | OrderStatus::Completed | OrderStatus::NoShow => is_ride,
                OrderStatus::PickedUp
                | OrderStatus::InTransit
                | OrderStatus::AtStop
                | OrderStatus::AtDropoff
                | OrderStatus::FailedAttempt
                | OrderStatus::Returning
                | OrderStatus::Delivered
                | OrderStatus::Returned => !is_ride,
                OrderStatus::Waiting | OrderStatus::CancelledByMerchant => {
                    placement.kind == OrderKind::Commerce
                }
                OrderStatus::JobFeed => !is_ride,
                OrderStatus::AwaitingPayment
                | OrderStatus::Scheduled
                | OrderStatus::Searching
                | OrderStatus::Assigned
                | OrderStatus::EnRoutePickup
                | OrderStatus::AtPickup
                | OrderStatus::NoDriverFound
                | OrderStatus::CancelledByRider
                | OrderStatus::CancelledByDriver
                | OrderStatus::CancelledBySystem
                | OrderStatus::CancelledByAdmin
                | OrderStatus::CancelledSafety
                | OrderStatus::Failed => true,
            };
            if exists {
                let is_at_stop = status == OrderStatus::AtStop;
                let placement = if is_at_stop { via(placement.clone()) } else { placement.clone() };
                plays.push(Play::at(placement, status));
            }
        }
    }
    // The merchant's side beside a driver's.
    let early = Play::placed(commerce());
    plays.push(early.clone());
    let mut confirmed = early;
    confirmed.yes(merchant(), Command::MerchantAccept { prep_min: 30 });
    plays.push(confirmed.clone());
    confirmed.yes(merchant(), Command::StartPrep {});
    plays.push(confirmed.clone());
    confirmed.tick_at_deadline();
    confirmed.assign(1);
    plays.push(confirmed);
    plays
}

fn is_illegal(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::IllegalTransition { .. })
}

const ASKERS: [fn() -> Principal; 6] = [
    || RIDER,
    || driver(1),
    merchant,
    || Principal::Dispatcher,
    || Principal::Admin,
    || Principal::System,
];

#[test]
fn what_the_table_lists_is_never_illegal_and_what_it_does_not_list_always_is() {
    let mut n_pairs = 0;
    for play in everywhere() {
        let life = play.life();
        let (kind, status, fulfilment) =
            (life.placement.kind, life.status(), life.fulfilment_status());
        for command in samples(&play) {
            let who = rules::who(command.name(), kind, status, fulfilment);
            for asker in ASKERS {
                let by = asker();
                let answer = play.clone().ask(by, command.clone());
                let about = format!("{} by {by} while {status}, {fulfilment}", command.name());
                match answer {
                    Err(refusal) if who == 0 => assert!(is_illegal(&refusal), "{about}: {refusal}"),
                    Ok(events) if who == 0 => panic!("{about} was granted: {events:?}"),
                    Err(refusal) => {
                        assert!(!is_illegal(&refusal), "{about}: {refusal}");
                        let may = who & life.relation(by) != 0;
                        assert!(
                            may || matches!(refusal, Refusal::NotYours(_)),
                            "{about}: {refusal}"
                        );
                    }
                    Ok(_) => assert_ne!(who & life.relation(by), 0, "{about} was granted"),
                }
                n_pairs += 1;
            }
        }
    }
    assert!(n_pairs > 10_000, "{n_pairs} is too few to mean anything");
}

#[test]
fn a_stranger_is_told_that_it_is_not_theirs() {
    let strangers =
        [Principal::Rider(RiderId::nth(99)), driver(99), Principal::Merchant(MerchantId::nth(99))];
    for play in everywhere() {
        for command in samples(&play) {
            for by in strangers {
                let answer = play.clone().ask(by, command.clone());
                let is_refused =
                    matches!(answer, Err(Refusal::NotYours(_) | Refusal::IllegalTransition { .. }));
                assert!(is_refused, "{by}: {command:?} while {}: {answer:?}", play.status());
            }
        }
    }
}

#[test]
fn nothing_but_placing_can_be_asked_of_an_order_that_does_not_exist() {
    let play = Play::new();
    for command in samples(&play).into_iter().skip(1) {
        assert_eq!(
            play.clone().ask(Principal::Admin, command),
            Err(Refusal::Unknown("order".to_owned()))
        );
    }
}

#[test]
fn every_command_is_in_the_table_and_the_table_knows_no_others() {
    let known: BTreeSet<_> = samples(&Play::new()).iter().map(Command::name).collect();
    let listed: BTreeSet<_> = rules::TABLE.iter().map(|row| row.command).collect();
    let mut missing = known.symmetric_difference(&listed);
    assert_eq!(missing.next(), Some(&"place"), "an order is placed before it has a state");
    assert_eq!(missing.next(), None);
}

#[test]
fn cancelling_for_safety_is_possible_wherever_the_order_lives() {
    for mut play in everywhere() {
        if !play.status().is_final() {
            for by in [RIDER, Principal::Dispatcher, Principal::Admin] {
                let mut play = play.clone();
                play.yes(by, Command::CancelSafety { reason: String::new() });
                assert_eq!(play.status(), OrderStatus::CancelledSafety);
                raises_one_incident(&play, by);
            }
            if let Some(id) = play.order.driver() {
                let by = Principal::Driver(id);
                play.yes(by, Command::CancelSafety { reason: String::new() });
                raises_one_incident(&play, by);
            }
        }
    }
}

/// MODEL row 25: an incident, once, and no fee.
fn raises_one_incident(play: &Play, by: Principal) {
    let mut opened = play.effects.iter().filter_map(|effect| {
        let Tell::Incident { command: incident::Command::Open(opening), .. } = &effect.tell else {
            return None;
        };
        Some(opening)
    });
    let opening = opened.next().expect("an incident is raised");
    let people = opening.parties.as_ref().expect("an order knows its people");
    assert!(people.contains(&RIDER), "{people:?}");
    let has_driver = people.iter().any(|it| matches!(it, Principal::Driver(_)));
    assert_eq!(has_driver, play.order.driver().is_some());
    assert_eq!((opening.kind, opening.raised_by), (IncidentKind::CancelledSafety, by));
    assert_eq!(opened.next(), None, "and no other");
    let has_fee = |event: &Event| matches!(event, Event::Cancelled { fee, .. } if *fee != 0);
    assert!(!play.journal.iter().any(has_fee));
}

#[test]
fn what_not_every_node_can_read_keeps_nobody_from_being_safe() {
    let play = Play::at(ride(), OrderStatus::InProgress);
    let old = Context { id: play.id, by: RIDER, now: play.now, writes: Format(2) };
    let command = Command::CancelSafety { reason: String::new() };
    let events = play.order.decide(&command, &old).unwrap();
    assert_eq!(events.iter().map(Event::name).collect::<Vec<_>>(), ["cancelled_safety"]);
    let formats = |events: &[Event]| events.iter().map(Order::event_format).max();
    assert_eq!(formats(&events), Some(Format::FIRST));
    let now = Context { writes: Format::WRITES, ..old };
    let events = play.order.decide(&command, &now).unwrap();
    assert_eq!(formats(&events), Some(incident::KNOWN));
}

fn listed(kind: OrderKind) -> String {
    let mut lines = Vec::new();
    for status in rules::statuses() {
        let names = rules::allowed(kind, status, FulfilmentStatus::None);
        if !names.is_empty() {
            lines.push(format!("{status}: {}", names.join(", ")));
        }
    }
    lines.join("\n")
}

#[test]
fn a_ride_allows() {
    insta::assert_snapshot!(listed(OrderKind::Ride), @r"
    awaiting_payment: confirm_payment, fail_payment, set_priority, set_fleet, cancel, cancel_safety
    scheduled: reschedule, requote, accept_price, decline_price, modify_stops, set_priority, set_fleet, cancel, cancel_safety
    waiting: set_priority, set_fleet, cancel, cancel_safety
    searching: confirm_offer, reject_offer, assign, hold, resume, set_priority, set_fleet, cancel, cancel_safety
    job_feed: assign, hold, set_priority, set_fleet, extend_search, cancel, cancel_safety
    assigned: unassign, reassign, depart, arrive, cancel, cancel_safety
    en_route_pickup: unassign, reassign, arrive, cancel, cancel_safety
    at_pickup: unassign, reassign, contacted, no_show, on_board, start, cancel, cancel_safety
    in_progress: modify_stops, accept_change, decline_change, arrive_stop, complete_stop, skip_stop, end_early, cannot_continue, finish, fail, cancel, cancel_safety
    picked_up: cancel_safety
    in_transit: cancel_safety
    at_stop: cancel_safety
    at_dropoff: cancel_safety
    failed_attempt: cancel_safety
    returning: cancel_safety
    completed: adjust_fare_down, tip, rate
    delivered: tip, rate
    no_driver_found: retry
    ");
}

#[test]
fn a_delivery_allows() {
    insta::assert_snapshot!(listed(OrderKind::Delivery), @r"
    awaiting_payment: confirm_payment, fail_payment, set_priority, set_fleet, cancel, cancel_safety
    scheduled: reschedule, requote, accept_price, decline_price, modify_stops, set_priority, set_fleet, cancel, cancel_safety
    waiting: set_priority, set_fleet, extend_search, cancel, cancel_safety
    searching: confirm_offer, reject_offer, assign, hold, resume, set_priority, set_fleet, cancel, cancel_safety
    job_feed: assign, hold, set_priority, set_fleet, extend_search, cancel, cancel_safety
    assigned: unassign, reassign, depart, arrive, report_loss, cancel, cancel_safety
    en_route_pickup: unassign, reassign, arrive, report_loss, cancel, cancel_safety
    at_pickup: unassign, reassign, contacted, pick_up, report_loss, cancel, cancel_safety
    in_progress: cancel_safety
    picked_up: depart, handover, cannot_continue, request_cancel, decide_cancel, report_loss, cancel_safety
    in_transit: arrive, arrive_stop, fail, handover, cannot_continue, request_cancel, decide_cancel, report_loss, cancel_safety
    at_stop: complete_stop, skip_stop, handover, cannot_continue, request_cancel, decide_cancel, report_loss, cancel_safety
    at_dropoff: contacted, deliver, fail, handover, cannot_continue, request_cancel, decide_cancel, report_loss, cancel_safety
    failed_attempt: retry, start_return, handover, cannot_continue, request_cancel, decide_cancel, report_loss, cancel_safety
    returning: returned, handover, cannot_continue, report_loss, cancel_safety
    completed: tip, rate
    delivered: tip, rate
    no_driver_found: retry
    ");
}
