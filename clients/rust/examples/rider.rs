//! Orders a ride and tells what becomes of it.
//!
//! `cargo run -p outrider-client --example rider -- ws://127.0.0.1:7070/v1/ws "$(outrider token --role rider --id rider-…)"`

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use outrider_client::{Change, Client, View};
use protocol::{
    OrderId, Point,
    view::OrderView,
    work::{Handoff, Needs, NewOrder, OrderAction, OrderKind, PaymentTiming, Wish},
};
use std::{error::Error, time::Duration};

/// Where the ride begins.
const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };
/// Who waits longer than this calls it off.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err("usage: rider <ws://…/v1/ws> <token>".into());
    };
    let client = Client::builder([address], token).connect()?;
    let mut own = client.take_own().ok_or("nobody else takes it")?;

    let done = client.command(Wish::PlaceOrder(Box::new(ride()))).await?;
    let id: OrderId = done.actor.parse()?;
    println!("ordered {id}");

    let watching = async {
        while let Some(change) = own.next().await {
            if tell(id, change) {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, watching).await.is_err() {
        let action = OrderAction::Cancel { reason: "changed_mind".to_owned() };
        client.command(Wish::Order { id, action }).await?;
        println!("called off");
    }
    client.close().await;
    Ok(())
}

/// Tells people what changed; true if that was the end of the ride.
fn tell(id: OrderId, change: Change) -> bool {
    match change {
        Change::View(View::Order(order)) if order.id == id => {
            let OrderView { status, driver, code, .. } = *order;
            println!("it is {status}, driver {driver:?}, code {code:?}");
            return status.is_final();
        }
        Change::View(View::Sighted { at, eta_s, .. }) => {
            println!("the driver is at {}, {}; {eta_s:?} s away", at.lat, at.lon);
        }
        Change::View(View::Presence { reachable, .. }) => {
            println!("the driver can {}be reached", if reachable { "" } else { "not " });
        }
        Change::View(View::Near { what, crossing, .. }) => {
            println!("the driver has {crossing} the surroundings of the {what}");
        }
        Change::Anew => println!("everything is told from its beginning"),
        Change::Ended(refused) => println!("no more of that: {refused}"),
        Change::View(
            View::Order(_)
            | View::Rescue(_)
            | View::Driver(_)
            | View::Rider(_)
            | View::Incident(_)
            | View::Run(_)
            | View::Actor(_)
            | View::Board(_)
            | View::Region(_),
        ) => {}
    }
    false
}

fn ride() -> NewOrder {
    NewOrder {
        kind: OrderKind::Ride,
        stops: vec![PICKUP.into(), PICKUP.offset_m(1_500.0, 400.0).into()],
        rider: None,
        start_at: None,
        payment: PaymentTiming::Cash,
        needs: Needs::default(),
        quote: None,
        merchant: None,
        handoff: Handoff::Driver,
        driver: None,
        policy: None,
        pickup_proof: Vec::new(),
        dropoff_proof: Vec::new(),
        cash_on_delivery: None,
        n_items: None,
        fleet: None,
        exclusive: false,
        via: None,
    }
}
