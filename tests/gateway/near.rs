//! Where a driver is, and where it says that it is: who is told that it has come near, and what becomes of what cannot be.

use crate::{
    client::{Client, now},
    control::{nth, on_duty},
    node::{Node, driver, rider},
    rest::{Caller, json_of},
    ride::{PICKUP, accept, act, hear_offer, hear_status, place_ride},
    why::{node_that_looks_often, until},
};
use protocol::{
    Code, JobId, OrderId, OrderStatus, Point, Principal,
    frame::{ClientFrame, Fix, Outcome, ServerFrame, Topic},
    view::{Crossing, Mark, Position, StopKind},
    work::{OrderAction, Wish},
};
use serde_json::Value;
use std::time::Duration;
use tempfile::NamedTempFile;

/// So many seconds from now by the device's clock, so that each is later than the one before, however quick they come.
fn fix(at: Point, ahead_s: u64) -> Fix {
    Fix {
        at,
        sampled_at: now() + Duration::from_secs(ahead_s),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: Some(8.0),
        mock: false,
    }
}

async fn drives_to(phone: &mut Client, east_m: f64, ahead_s: u64) {
    phone.say(&ClientFrame::Position(fix(PICKUP.offset_m(east_m, 0.0), ahead_s))).await;
}

/// What it is told next of its driver's coming and going.
async fn hear_near(client: &mut Client) -> (JobId, u8, StopKind, Crossing) {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Near { job, stop, what, crossing, at: _ } => {
                Some((job, stop, what, crossing))
            }
            _ => None,
        })
        .await
}

/// An order that its driver has taken.
async fn under_way(coming: &mut Client, waiting: &mut Client) -> OrderId {
    let order = place_ride(waiting).await;
    let offer = hear_offer(coming).await;
    accept(coming, &offer).await;
    hear_status(waiting, OrderStatus::Assigned).await;
    order
}

#[tokio::test]
async fn who_waits_and_staff_are_told_when_the_driver_comes_near_and_when_it_goes_again() {
    let node = node_that_looks_often();
    let mut coming = on_duty(&node, 1, 190.0).await;
    let mut waiting = Client::connect(&node, rider(1)).await;
    let order = under_way(&mut coming, &mut waiting).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Order(order)).await;
    hear_status(&mut staff, OrderStatus::Assigned).await;

    let on_the_way = [
        (50.0, Crossing::Entered),
        (190.0, Crossing::Exited),
        // Beyond the fence, and then inside.
        (50.0, Crossing::Entered),
    ];
    for (ahead_s, (east_m, crossing)) in (1..).zip(on_the_way) {
        drives_to(&mut coming, east_m, ahead_s).await;
        for client in [&mut waiting, &mut staff] {
            let told = hear_near(client).await;
            assert_eq!(told, (JobId::Order(order), 0, StopKind::Pickup, crossing));
        }
    }
    // Nobody but the driver says that it has arrived.
    let rest = Caller::new(&node, Principal::Dispatcher);
    let view = json_of(rest.get(&format!("/v1/orders/{order}")).await).await;
    assert_eq!(view["status"], "assigned");
    act(&mut coming, order, OrderAction::Arrive {}).await;
    hear_status(&mut waiting, OrderStatus::AtPickup).await;
}

#[tokio::test]
async fn where_the_brand_wants_it_coming_near_is_arriving_once() {
    let preset = NamedTempFile::new().unwrap();
    let safeboda = include_str!("../../config/presets/safeboda.toml");
    let wanted = safeboda.replace("auto_arrive = false", "auto_arrive = true");
    assert_ne!(wanted, safeboda);
    std::fs::write(preset.path(), wanted).unwrap();
    let file = preset.path().to_str().unwrap();
    let often = ["REGIONS__WARM_UP_MS", "REGIONS__REPEAT_MS"].map(|it| (it, "0"));
    let tick = ("REGIONS__TICK_MS", "50");
    let node = Node::with(&[("PRESET__FILE", file), often[0], often[1], tick]);
    let mut coming = on_duty(&node, 1, 190.0).await;
    let mut waiting = Client::connect(&node, rider(1)).await;
    let order = under_way(&mut coming, &mut waiting).await;

    drives_to(&mut coming, 120.0, 1).await;
    drives_to(&mut coming, 60.0, 2).await;
    hear_status(&mut waiting, OrderStatus::AtPickup).await;
    // The driver, who did not know that yet, says so, too.
    let wish = Wish::Order { id: order, action: OrderAction::Arrive {} };
    let outcome = coming.wish(wish).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.code, Code::IllegalTransition);
    let staff = Caller::new(&node, Principal::Dispatcher);
    let history = json_of(staff.get(&format!("/v1/actors/{order}/history")).await).await;
    let arrived = history.as_array().unwrap().iter().filter(|it| it["event"] == "arrived");
    assert_eq!(arrived.count(), 1, "{history}");
}

async fn hear_refused(phone: &mut Client) -> String {
    let refused = phone.hear_any(|frame| match frame {
        ServerFrame::Refused(refused) => Some(refused),
        _ => None,
    });
    let refused = refused.await;
    assert_eq!(refused.code, Code::Invalid, "{refused}");
    refused.message
}

#[tokio::test]
async fn what_cannot_be_is_counted_and_who_says_it_again_and_again_is_marked_for_staff() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut board = Client::connect(&node, Principal::Dispatcher).await;
    board.subscribe(Topic::Board).await;
    let mut phone = on_duty(&node, 1, 50.0).await;
    let mut watcher = Client::connect(&node, Principal::Dispatcher).await;
    watcher.subscribe(Topic::Driver(nth(1))).await;
    let is_unmarked = watcher.hear_any(|frame| match frame {
        ServerFrame::Driver(view) => Some(!view.doubted),
        _ => None,
    });
    assert!(is_unmarked.await);
    let path = format!("/v1/drivers/{}", nth(1));
    let here = until(&staff, &path, |it| !it["position"].is_null()).await["position"].clone();

    drives_to(&mut phone, 90_000.0, 1).await;
    let told = hear_refused(&mut phone).await;
    assert!(told.contains("jump"), "{told}");
    for ahead_s in 2..6 {
        let made_up = Fix { mock: true, ..fix(PICKUP, ahead_s) };
        phone.say(&ClientFrame::Position(made_up)).await;
    }
    let marked = until(&staff, &path, |it| it["doubted"] == true).await;
    assert_eq!(marked["position"], here, "nothing of it was believed");
    board
        .hear_any(|frame| match frame {
            ServerFrame::Board(board) => {
                let is_marked = |it: &Mark| matches!(it, Mark::Driver { doubted: true, .. });
                board.marks.iter().any(is_marked).then_some(())
            }
            _ => None,
        })
        .await;
    // Whoever follows it is told without asking.
    watcher
        .hear_any(|frame| match frame {
            ServerFrame::Driver(view) => view.doubted.then_some(()),
            _ => None,
        })
        .await;
    let own = json_of(Caller::new(&node, driver(1)).get(&path).await).await;
    assert!(own["doubted"].is_null(), "it need not know: {own}");

    let metrics = reqwest::get(node.url("/metrics")).await.unwrap().text().await.unwrap();
    let counted = |why: &str| {
        let name = format!("outrider_positions_implausible_total{{why=\"{why}\"}} ");
        metrics.lines().find_map(|it| it.strip_prefix(&name)).map(str::to_owned)
    };
    assert_eq!((counted("jump"), counted("mock")), (Some("1".into()), Some("4".into())));

    // Those that go on saying so are believed, but not for saying it all at once. What it says in between begins that anew.
    drives_to(&mut phone, -90_000.0, 7).await;
    for ahead_s in 8..13 {
        drives_to(&mut phone, 90_000.0, ahead_s).await;
    }
    drives_to(&mut phone, 100.0, 13).await;
    let is_moved = |it: &Value| it["position"] != here && !it["position"].is_null();
    let moved = until(&staff, &path, is_moved).await;
    let position: Position = serde_json::from_value(moved["position"].clone()).unwrap();
    let distance_m = PICKUP.distance_m(position.at);
    assert!((90.0..110.0).contains(&distance_m), "{distance_m} m away");
}
