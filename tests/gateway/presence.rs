//! Whether the other side of a job can be reached: known to those who have part in it, and to staff.

use crate::{
    client::Client,
    cluster::{Shared, is_shared_by, seen},
    node::{Node, driver, rider},
    ride::{PICKUP, accept, go_on_duty, hear_offer, hear_status, place_ride},
};
use protocol::{
    JobId, OrderId, OrderStatus, Principal,
    frame::{ClientFrame, ServerFrame, Topic},
};

/// Clients say something all the time, but none is silent for so long in the tests.
const QUICK: (&str, &str) = ("GATEWAY__SESSION__HEARTBEAT", "1500ms");

/// The next word about somebody; whoever listens also speaks, or it would be taken for gone.
async fn hear_presence(client: &mut Client, of: Principal) -> bool {
    let is_about = |frame| match frame {
        ServerFrame::Presence { who, reachable, .. } if who == of => Some(Some(reachable)),
        ServerFrame::Heartbeat { .. } => Some(None),
        _ => None,
    };
    loop {
        // Slowly enough to be within its limits.
        client.say(&ClientFrame::Heartbeat { heard: None }).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if let Some(reachable) = client.hear_any(is_about).await {
            return reachable;
        }
    }
}

async fn under_way(driving: &mut Client, riding: &mut Client) -> OrderId {
    go_on_duty(driving, PICKUP.offset_m(60.0, 0.0)).await;
    let order = place_ride(riding).await;
    let offer = hear_offer(driving).await;
    accept(driving, &offer).await;
    assert_eq!(offer.job, JobId::Order(order));
    order
}

#[tokio::test]
async fn a_rider_hears_whether_the_driver_can_be_reached_and_so_do_staff() {
    let node = Node::with(&[QUICK]);
    let mut driving = Client::connect(&node, driver(1)).await;
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = under_way(&mut driving, &mut riding).await;
    assert!(hear_presence(&mut riding, driver(1)).await);
    assert!(hear_presence(&mut driving, rider(1)).await);
    let at = driving.cut();
    assert!(!hear_presence(&mut riding, driver(1)).await);
    // Whoever looks later is told too, and of both.
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Order(order)).await;
    assert!(!hear_presence(&mut staff, driver(1)).await);
    let mut riding = Client::connect(&node, rider(1)).await;
    hear_status(&mut riding, OrderStatus::Assigned).await;
    let (_driving, is_resumed) = Client::resume(&node, driver(1), at).await;
    assert!(is_resumed);
    assert!(hear_presence(&mut riding, driver(1)).await);
    assert!(hear_presence(&mut staff, driver(1)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_known_across_nodes_and_to_whoever_comes_back() {
    let shared = Shared::new().await;
    let quick = [QUICK];
    let (first, second) = (shared.node_with("first", &quick), shared.node_with("second", &quick));
    seen(&first, is_shared_by(2)).await;
    let mut driving = Client::connect(&second, driver(1)).await;
    let mut riding = Client::connect(&first, rider(1)).await;
    under_way(&mut driving, &mut riding).await;
    assert!(hear_presence(&mut riding, driver(1)).await);
    let at = riding.cut();
    drop(driving);
    // The rider was in a tunnel when the driver's device fell silent.
    let (mut riding, is_resumed) = Client::resume(&second, rider(1), at).await;
    assert!(is_resumed);
    assert!(!hear_presence(&mut riding, driver(1)).await);
}
