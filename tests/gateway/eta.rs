//! What riders are told without asking: when their driver comes, or help, and where in the queue they are.

use crate::{
    client::Client,
    control::{done, hear_assigned, on_duty},
    node::{Node, driver, rider},
    rest::{Caller, json_of, ride},
    ride::{PICKUP, accept, hear_offer, place_ride, position},
    why::node_that_looks_often,
};
use protocol::{
    JobId, Principal,
    changes::Changed,
    frame::ServerFrame,
    view::{Eta, Etas, Queued},
};
use serde_json::json;
use std::time::Duration;

async fn hear_place(client: &mut Client) -> Queued {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Order(view) => view.queue,
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_rider_is_told_when_its_driver_comes_and_again_when_that_changes() {
    let node = node_that_looks_often();
    let mut waiting = Client::connect(&node, rider(1)).await;
    let mut coming = on_duty(&node, 1, 900.0).await;
    let order = place_ride(&mut waiting).await;
    let offer = hear_offer(&mut coming).await;
    accept(&mut coming, &offer).await;

    // Much faster than was thought.
    let drive = async {
        let mut east_m = 895.0;
        while east_m > 100.0 {
            coming.say(&position(PICKUP.offset_m(east_m, 0.0))).await;
            east_m -= 8.0;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let mut last: Option<(u64, Etas)> = None;
    let hear = waiting.hear_any(|frame| {
        let ServerFrame::Order(view) = frame else { return None };
        let now = (view.version, view.eta?);
        let was = last.replace(now)?;
        (was.0 == now.0 && was.1.at < now.1.at).then_some((was.1, now.1))
    });
    let (was, now) = tokio::select! {
        heard = hear => heard,
        () = drive => panic!("the driver is there, and nobody was told"),
    };
    assert!(was.differs(&now), "{was:?} {now:?}");
    let (pickup, arrival) = (now.pickup.unwrap(), now.arrival.unwrap());
    assert!(pickup.low_s < pickup.s && pickup.s < pickup.high_s, "{pickup:?}");
    assert!(pickup.s < arrival.s, "{now:?}");

    let staff = Caller::new(&node, Principal::Dispatcher);
    let view = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
    assert!(view["eta"]["pickup"]["high_s"].as_u64() > view["eta"]["pickup"]["s"].as_u64());
}

#[tokio::test]
async fn a_rider_is_told_its_place_in_the_queue_and_when_it_moves_up() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut first = Client::connect(&node, rider(1)).await;
    let mut second = Client::connect(&node, rider(2)).await;
    let one = place_ride(&mut first).await;
    let two = place_ride(&mut second).await;
    let place = hear_place(&mut second).await;
    assert_eq!((place.position, place.n_waiting, place.eta), (2, 2, None), "nobody could come");
    let path = format!("/v1/orders/{two}");
    let version = json_of(staff.get(&path).await).await["version"].clone();
    done(&staff, &format!("/v1/orders/{one}/actions"), json!({ "cancel": {} })).await;
    assert_eq!(hear_place(&mut second).await.position, 1);
    let view = json_of(staff.get(&path).await).await;
    assert_eq!((&view["queue"]["position"], &view["version"]), (&json!(1), &version), "no commit");
}

/// What a sighting says of when the driver is there, if this is one that does.
fn sighted(frame: &ServerFrame) -> Option<Eta> {
    let ServerFrame::Sighted { eta_s, eta_low_s, eta_high_s, .. } = *frame else { return None };
    Some(Eta { s: eta_s?, low_s: eta_low_s?, high_s: eta_high_s? })
}

/// Is it what was counted a moment before?
fn is_of(eta: Eta, counted: Eta) -> bool {
    let is_of = |it: u32, was: u32| it <= was && was - it <= 15;
    is_of(eta.s, counted.s) && is_of(eta.low_s, counted.low_s) && is_of(eta.high_s, counted.high_s)
}

#[tokio::test]
async fn a_sighting_says_when_the_driver_is_there_as_the_view_does() {
    // Ways are twice as long here as they usually are.
    let node = Node::with(&[
        ("REGIONS__TICK_MS", "50"),
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__REPEAT_MS", "0"),
        ("REGIONS__MATCHING__DETOUR", "2.7"),
    ]);
    let mut waiting = Client::connect(&node, rider(1)).await;
    let mut coming = on_duty(&node, 1, 450.0).await;
    let order = place_ride(&mut waiting).await;
    let offer = hear_offer(&mut coming).await;
    accept(&mut coming, &offer).await;
    coming.say(&position(PICKUP.offset_m(445.0, 0.0))).await;
    let eta = waiting.hear_any(|frame| match frame {
        ServerFrame::Sighted { .. } => Some(sighted(&frame)),
        _ => None,
    });
    let eta = eta.await.expect("the first one knows it already");
    let staff = Caller::new(&node, Principal::Dispatcher);
    let view = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
    let told: Etas = serde_json::from_value(view["eta"].clone()).unwrap();
    // 445 m, 2.7 times as far, at 7.5 m/s.
    let counted = told.pickup.unwrap();
    assert!((159..=162).contains(&counted.s), "{counted:?}");
    assert!(is_of(eta, counted), "{eta:?} {counted:?}");
}

#[tokio::test]
async fn who_waits_for_help_is_told_its_place_and_then_when_help_comes() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut waiting = Client::connect(&node, rider(7)).await;
    let stranded = Caller::new(&node, rider(7));
    let stops = ride()["stops"].clone();
    let wish = json!({ "issue": "battery_dead", "at": stops[0], "dropoff": stops[1] });
    let placed = json_of(stranded.post("/v1/rescues", &wish).await).await;
    let rescue = placed["actor"].as_str().unwrap();
    let place = waiting.hear_any(|frame| match frame {
        ServerFrame::Rescue(view) => view.queue,
        _ => None,
    });
    let place = place.await;
    assert_eq!((place.position, place.n_waiting, place.eta), (1, 1, None), "nobody could come");

    let mut coming = on_duty(&node, 1, 900.0).await;
    let assign = json!({ "assign": { "driver": helper(), "force": true, "reason": "has cables" } });
    done(&staff, &format!("/v1/rescues/{rescue}/actions"), assign).await;
    hear_assigned(&mut coming, JobId::Rescue(rescue.parse().unwrap())).await;
    coming.say(&position(PICKUP.offset_m(895.0, 0.0))).await;
    let (mut told, mut seen) = (None, None);
    let heard = waiting.hear_any(|frame| {
        if let ServerFrame::Rescue(view) = &frame {
            assert!(view.eta.is_none() || view.queue.is_none(), "{view:?}");
            told = view.eta.or(told);
        }
        seen = sighted(&frame).or(seen);
        told.zip(seen)
    });
    let (told, seen): (Etas, Eta) = heard.await;
    let (scene, dropoff) = (told.pickup.unwrap(), told.arrival.unwrap());
    assert!(scene.low_s < scene.s && scene.s < scene.high_s && scene.s < dropoff.s, "{told:?}");
    assert!(is_of(seen, scene), "{seen:?} {scene:?}");
    let path = format!("/v1/rescues/{rescue}");
    let view = json_of(staff.get(&path).await).await;
    assert_eq!(view["eta"], json!(told), "staff see it, too");
    let helper = Caller::new(&node, driver(1));
    let view = json_of(helper.get(&path).await).await;
    assert_eq!((&view["eta"], &view["id"]), (&json!(null), &json!(rescue)), "it knows where it is");
}

/// The id of the driver who helps.
fn helper() -> String {
    let Principal::Driver(id) = driver(1) else { panic!("a driver") };
    id.to_string()
}

#[tokio::test]
async fn whoever_moved_up_in_the_queue_while_it_was_cut_off_is_told_when_it_is_back() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut first = Client::connect(&node, rider(1)).await;
    let mut second = Client::connect(&node, rider(2)).await;
    let one = place_ride(&mut first).await;
    let two = place_ride(&mut second).await;
    assert_eq!(hear_place(&mut second).await.position, 2);
    let at = second.cut();
    let path = format!("/v1/orders/{two}");
    let version = json_of(staff.get(&path).await).await["version"].clone();
    done(&staff, &format!("/v1/orders/{one}/actions"), json!({ "cancel": {} })).await;
    loop {
        let view = json_of(staff.get(&path).await).await;
        assert_eq!(view["version"], version, "of another one all is told anyway");
        if view["queue"]["position"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (mut back, is_resumed) = Client::resume(&node, rider(2), at).await;
    assert!(is_resumed);
    let place = back
        .hear_any(|frame| match frame {
            ServerFrame::Changed(Changed::Order(changes)) => changes.queue,
            _ => None,
        })
        .await;
    assert_eq!(place.map(|it| it.position), Some(1));
    // It goes on from there: what is over is said to be.
    let mut coming = on_duty(&node, 1, 300.0).await;
    let offer = hear_offer(&mut coming).await;
    accept(&mut coming, &offer).await;
    back.hear_any(|frame| match frame {
        ServerFrame::Changed(Changed::Order(changes)) => changes.queue.filter(Option::is_none),
        ServerFrame::Order(view) => view.queue.is_none().then_some(None),
        _ => None,
    })
    .await;
}
