//! Goes on duty, says where it is, and takes what it is offered.
//!
//! `cargo run -p outrider-client --example driver -- ws://127.0.0.1:7070/v1/ws "$(outrider token --role driver --id driver-…)"`

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use outrider_client::{Client, JsonLines, NotDone, State};
use protocol::{
    JobId, Point,
    frame::Push,
    view::Position,
    work::{DriverAction, DutyWish, OrderAction, Vehicle, VehicleKind, Wish},
};
use std::{error::Error, time::Duration};

/// Where it waits, near enough to be there at once.
const HERE: Point = Point { lat: -1.9443, lon: 30.0620 };
/// How often it says so.
const POSITION_EVERY: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err(
            "usage: driver <ws://…/v1/ws> <token> [a file for what was not answered]".into()
        );
    };
    let mut builder = Client::builder([address], token);
    if let Some(path) = arguments.next() {
        builder = builder.keep(JsonLines::open(path)?);
    }
    let client = builder.connect()?;
    for kept in client.take_kept() {
        let id = kept.id;
        println!("{id} from last time: {:?}", kept.answer().await);
    }
    let mut pushes = client.take_pushes().ok_or("nobody else takes them")?;
    let mut state = client.state();

    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: Vec::new() };
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
    client.command(Wish::Driver { id: None, action }).await?;
    println!("on duty");

    let mut every = tokio::time::interval(POSITION_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => client.position(here(&client)),
            push = pushes.next() => match push {
                Some(push) => pushed(&client, push).await?,
                None => return Ok(()),
            },
            Ok(()) = state.changed() => {
                let state = state.borrow_and_update().clone();
                println!("{state:?}");
                if let State::Closed(why) = state {
                    return Err(why.into());
                }
            }
        }
    }
}

/// Does what a push asks for. A refusal is said and no more: somebody else was quicker, or it is over.
async fn pushed(client: &Client, push: Push) -> Result<(), NotDone> {
    let Some(wish) = wish(push) else { return Ok(()) };
    match client.command(wish).await {
        Ok(done) => println!("done: {} is at version {}", done.actor, done.version),
        Err(NotDone::Refused(refused)) => println!("refused: {refused}"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What this driver wants on hearing that.
fn wish(push: Push) -> Option<Wish> {
    match push {
        Push::Offer(offer) => {
            println!("offered {} for {:?}", offer.job, offer.fare);
            let action = DriverAction::AcceptOffer { offer: offer.id };
            return Some(Wish::Driver { id: None, action });
        }
        Push::Assigned { job: JobId::Order(id) } => {
            println!("{id} is ours: there at once");
            return Some(Wish::Order { id, action: OrderAction::Arrive {} });
        }
        Push::Assigned { job: JobId::Rescue(id) } => println!("{id} is ours"),
        Push::OfferEnded { offer, status } => println!("{offer} ended: {status:?}"),
        Push::Released { job, reason } | Push::ClaimLost { job, reason } => {
            println!("{job} is not ours: {reason}");
        }
        // Dispatchers hear of them.
        Push::Message(message) => println!("dispatch says: {}", message.text),
        Push::Incident(_) | Push::IncidentHeeded { .. } => {}
    }
    None
}

fn here(client: &Client) -> Position {
    Position {
        at: HERE,
        sampled_at: client.server_now(),
        heading_deg: None,
        speed_mps: Some(0.0),
        accuracy_m: Some(5.0),
    }
}
