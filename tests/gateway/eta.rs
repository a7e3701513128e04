//! What riders are told without asking: when their driver comes, and where in the queue they are.

use crate::{
    client::Client,
    control::{done, on_duty},
    node::rider,
    rest::{Caller, json_of},
    ride::{PICKUP, accept, hear_offer, place_ride, position},
    why::node_that_looks_often,
};
use protocol::{
    Principal,
    changes::Changed,
    frame::ServerFrame,
    view::{Etas, Queued},
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
