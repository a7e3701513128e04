//! What an order is told to expect, keeps for a while, and shows.

use super::*;
use crate::{Sight, tell::Journey};
use protocol::{
    view::{Eta, Etas, Queued, StopKind},
    work::VehicleKind,
};

fn eta(s: u32) -> Eta {
    Eta { s, low_s: s / 2, high_s: 2 * s }
}

fn etas(play: &Play, pickup_s: Option<u32>, arrival_s: u32) -> Etas {
    Etas { at: play.now, pickup: pickup_s.map(eta), next: None, arrival: Some(eta(arrival_s)) }
}

/// The order sees this. What it wants to know of others because of it.
fn sees(play: &mut Play, sighting: &Sighting) -> Vec<Sight> {
    let around = Context { id: play.id, by: SYSTEM, now: play.now, writes: Format::WRITES };
    play.order.see(sighting, &around).passed_on
}

/// Driver 1 is seen that far east of the pickup. What the order lets others see because of it.
fn is_at(play: &mut Play, east_m: f64, vehicle: Option<VehicleKind>) -> Option<Sight> {
    is_at_in(play, east_m, vehicle, None)
}

/// The same, while all that it has to do is of that run.
fn is_at_in(
    play: &mut Play,
    east_m: f64,
    vehicle: Option<VehicleKind>,
    run: Option<RunId>,
) -> Option<Sight> {
    let position = Position {
        at: PICKUP.offset_m(east_m, 0.0),
        sampled_at: play.now,
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
    };
    let (driver, n_corrected) = (nth(1), 0);
    sees(play, &Sighting::DriverAt { driver, position, vehicle, run, n_corrected }).pop()
}

/// The same. The way whose duration the order then asks for.
fn asks(play: &mut Play, east_m: f64, vehicle: Option<VehicleKind>) -> Option<Journey> {
    match is_at(play, east_m, vehicle)? {
        Sight::Way(journey) => Some(journey),
        other @ (Sight::Order(..) | Sight::Rescue(..) | Sight::Driver(..) | Sight::Run(..)) => {
            panic!("{other:?}")
        }
    }
}

/// Driver 1 comes as this says.
fn expected(etas: Option<Etas>) -> Sighting {
    Sighting::Expected { driver: nth(1), etas }
}

/// What is to be done on a journey, all of it for this order.
fn stops(play: &Play, journey: &Journey) -> Vec<StopKind> {
    assert!(journey.halts.iter().all(|it| it.job == play.id.into()), "{journey:?}");
    journey.halts.iter().map(|it| it.what).collect()
}

fn shown(play: &Play, by: Principal) -> (Option<Etas>, Option<Queued>) {
    let view = play.order.order_view(play.id, 7, by).expect("it was placed");
    (view.eta, view.queue)
}

#[test]
fn an_order_asks_how_long_its_drivers_way_takes_and_not_with_every_position() {
    let moto = Some(VehicleKind::Moto);
    let mut play = Play::at(ride(), OrderStatus::EnRoutePickup);
    let before = play.journal.len();
    let journey = asks(&mut play, 2_000.0, moto).expect("nobody knows yet");
    assert_eq!((journey.driver, journey.from), (nth(1), PICKUP.offset_m(2_000.0, 0.0)));
    assert_eq!(stops(&play, &journey), [StopKind::Pickup, StopKind::Dropoff]);
    assert_eq!(asks(&mut play, 1_990.0, moto), None, "it asked just now");
    play.wait(5 * SECOND);
    assert!(asks(&mut play, 1_950.0, moto).is_some());
    let told = etas(&play, Some(200), 900);
    sees(&mut play, &expected(Some(told)));
    assert_eq!(shown(&play, RIDER), (Some(told), None));
    assert_eq!(shown(&play, DISPATCHER), (Some(told), None));
    assert_eq!(shown(&play, driver(1)), (None, None), "who drives knows best");
    // Another driver's way is not this order's.
    for etas in [Some(etas(&play, Some(1), 1)), None] {
        sees(&mut play, &Sighting::Expected { driver: nth(2), etas });
        assert_eq!(shown(&play, RIDER).0, Some(told));
    }
    assert_eq!(play.journal.len(), before, "nothing of it is written down");
    let written = rmp_serde::to_vec_named(&play.order).unwrap();
    let read: Order = rmp_serde::from_slice(&written).unwrap();
    assert_eq!(read.order_view(play.id, 7, RIDER).unwrap().eta, None, "nor in a snapshot");
}

#[test]
fn nobody_counts_on_a_driver_who_goes_elsewhere_first_and_all_who_follow_hear_that_once() {
    let moto = Some(VehicleKind::Moto);
    let mut play = Play::at(ride(), OrderStatus::EnRoutePickup);
    assert!(is_at(&mut play, 2_000.0, None).is_none(), "nothing was expected yet");
    assert!(asks(&mut play, 1_990.0, moto).is_some());
    let told = etas(&play, Some(200), 900);
    sees(&mut play, &expected(Some(told)));
    assert_eq!(shown(&play, RIDER).0, Some(told));

    let Some(Sight::Order(id, nothing)) = is_at(&mut play, 1_980.0, None) else {
        panic!("followers still count on it");
    };
    assert_eq!((id, &nothing), (play.id, &expected(None)));
    sees(&mut play, &nothing);
    assert_eq!(shown(&play, RIDER).0, None);
    assert!(is_at(&mut play, 1_970.0, None).is_none(), "they know");
    play.wait(5 * SECOND);
    assert!(asks(&mut play, 1_900.0, moto).is_some(), "it comes straight again");
}

#[test]
fn the_pickup_is_expected_until_the_driver_is_there_and_the_end_until_all_is_done() {
    let moto = Some(VehicleKind::Moto);
    let mut play = Play::at(ride(), OrderStatus::EnRoutePickup);
    let told = etas(&play, Some(60), 700);
    assert!(asks(&mut play, 50.0, moto).is_some());
    sees(&mut play, &expected(Some(told)));
    play.yes(DISPATCHER, Command::Arrive {});
    assert_eq!(shown(&play, RIDER).0, Some(Etas { pickup: None, ..told }));
    play.yes(driver(1), Command::Start { code: None });
    play.wait(5 * SECOND);
    let journey = asks(&mut play, 500.0, moto).expect("it is on its way");
    assert_eq!(stops(&play, &journey), [StopKind::Dropoff]);
    play.see(5_000.0);
    play.yes(driver(1), Command::Finish { code: None, early_reason: None });
    assert_eq!(shown(&play, RIDER).0, None, "it is over");
}

#[test]
fn of_another_way_nothing_is_expected_until_it_was_asked_and_that_is_at_once() {
    let moto = Some(VehicleKind::Moto);
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    assert!(asks(&mut play, 500.0, moto).is_some());
    let told = etas(&play, None, 700);
    sees(&mut play, &expected(Some(told)));
    let change = Command::ModifyStops { stops: vec![place_at(7_000.0)], fare: None };
    play.yes(RIDER, change);
    assert_eq!(shown(&play, RIDER).0, Some(told), "its driver has not agreed yet");
    play.yes(driver(1), Command::AcceptChange {});
    assert_eq!(shown(&play, RIDER).0, None, "that was the way to the old end");
    let journey = asks(&mut play, 510.0, moto).expect("it asked of another way just now");
    assert_eq!(journey.halts.last().map(|it| it.at), Some(place_at(7_000.0).at));
}

#[test]
fn a_place_in_the_queue_is_shown_to_who_waits_and_only_while_they_wait() {
    let mut play = Play::placed(ride());
    let queued = Queued { at: play.now, position: 3, n_waiting: 8, eta: Some(eta(240)) };
    sees(&mut play, &Sighting::Queued { queued });
    assert_eq!(shown(&play, RIDER), (None, Some(queued)));
    play.offer_to(1);
    assert_eq!(shown(&play, driver(1)).1, None, "who is asked need not know how many wait");
    let offer = play.order.offers().last().expect("an offer was made").id;
    play.yes(SYSTEM, accepted(offer, 1));
    assert_eq!(shown(&play, RIDER).1, None);
    sees(&mut play, &Sighting::Queued { queued });
    assert_eq!(shown(&play, RIDER).1, None, "that was on its way");
}

/// A delivery that driver 1 has, and brings as a part of run 1.
fn in_run() -> Play {
    let placement = delivery();
    let policy = JobPolicy { batch: true, ..placement.policy };
    let mut play = Play::placed(Placement { policy, ..placement });
    let join = join_run(1, play.round(), play.now);
    play.yes(SYSTEM, join);
    let run = RunId::nth(1);
    let (offer, driver, slots) = (OfferId::of_run(run, 0), nth(1), vec![2]);
    play.yes(SYSTEM, Command::Search(Heard::TakeByRun { run, offer, driver, slots }));
    play
}

#[test]
fn of_what_is_brought_with_others_the_run_knows_the_way() {
    let (moto, run) = (Some(VehicleKind::Moto), Some(RunId::nth(1)));
    let mut play = in_run();
    assert!(is_at_in(&mut play, 2_000.0, None, run).is_none(), "its run asks");
    let told = etas(&play, Some(200), 900);
    sees(&mut play, &expected(Some(told)));
    assert_eq!(shown(&play, RIDER).0, Some(told));
    assert_eq!(play.order.next_of(&told), told.pickup);
    play.wait(5 * SECOND);
    assert!(
        is_at_in(&mut play, 1_990.0, moto, run).is_none(),
        "also of the last that is left of it"
    );
    assert_eq!(shown(&play, RIDER).0, Some(told));

    // It has something else to do as well, and no run says when.
    let Some(Sight::Order(_, nothing)) = is_at(&mut play, 1_980.0, None) else {
        panic!("followers still count on it");
    };
    sees(&mut play, &nothing);
    assert_eq!(shown(&play, RIDER).0, None);
    assert!(is_at_in(&mut play, 1_970.0, None, Some(RunId::nth(2))).is_none(), "they know");
}

#[test]
fn on_board_of_a_driver_whose_run_is_over_it_asks_for_itself_again() {
    let (moto, run) = (Some(VehicleKind::Moto), Some(RunId::nth(1)));
    let mut play = in_run();
    for step in [OrderStatus::EnRoutePickup, OrderStatus::AtPickup, OrderStatus::PickedUp] {
        play.drive_to(step);
    }
    let told = etas(&play, None, 900);
    sees(&mut play, &expected(Some(told)));
    assert!(is_at_in(&mut play, 1_000.0, moto, run).is_none(), "its run asks");
    play.yes(SYSTEM, lost(1));
    // Its driver still says that all it has is of that run.
    assert!(matches!(is_at_in(&mut play, 1_010.0, moto, run), Some(Sight::Way(_))));
    let Some(Sight::Order(_, nothing)) = is_at_in(&mut play, 1_020.0, None, run) else {
        panic!("nobody says when it comes any more, and followers still count on it");
    };
    sees(&mut play, &nothing);
    assert_eq!(shown(&play, RIDER).0, None);
}

#[test]
fn the_next_stop_is_expected_until_it_is_done_and_then_the_one_after_it() {
    let moto = Some(VehicleKind::Moto);
    let places = vec![place_at(0.0), place_at(2_000.0), place_at(5_000.0)];
    let mut play = Play::at(Placement { stops: places, ..ride() }, OrderStatus::InProgress);
    let journey = asks(&mut play, 500.0, moto).expect("it is on its way");
    assert_eq!(stops(&play, &journey), [StopKind::Dropoff, StopKind::Dropoff]);
    let told = Etas { next: Some(eta(90)), ..etas(&play, None, 700) };
    sees(&mut play, &expected(Some(told)));
    assert_eq!(shown(&play, RIDER).0, Some(told));
    assert_eq!(play.order.next_of(&told), told.next);

    play.see(2_000.0);
    play.yes(driver(1), Command::ArriveStop {});
    play.yes(driver(1), Command::CompleteStop { proofs: vec![] });
    let left = Etas { next: None, ..told };
    assert_eq!(shown(&play, RIDER).0, Some(left));
    assert_eq!(play.order.next_of(&left), told.arrival);
    let journey = asks(&mut play, 2_010.0, moto).expect("it asked of another stop just now");
    assert_eq!(stops(&play, &journey), [StopKind::Dropoff]);
}
