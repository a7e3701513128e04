//! What an order promises: its table, its stories, its guards and its laws.

mod again;
mod guards;
mod hub;
mod later;
mod laws;
mod old_journals;
mod prospect;
mod run;
mod stories;
mod table;

use super::{table as rules, *};
use crate::{
    policy::JobPolicy,
    search::{Candidate, Command as Heard, Event as SearchEvent},
};
use protocol::{
    Currency, Fare, FareLine, MerchantId, OfferId, OfferStatus, PartnerId, Point, RiderId, RunId,
    ZoneId,
    trace::WhyNot,
    view::{Position, ZonePause},
    work::{
        CancelDecision, Handoff, OfferPolicy, PaymentTiming, Priority, Proof, ProofKind,
        VehicleKind,
    },
};

const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };
const RIDER: Principal = Principal::Rider(RiderId(uuid::Uuid::from_u128(0xa)));
const SYSTEM: Principal = Principal::System;
const DISPATCHER: Principal = Principal::Dispatcher;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60_000;

fn rider() -> RiderId {
    RiderId(uuid::Uuid::from_u128(0xa))
}

fn nth(n: u64) -> DriverId {
    DriverId::nth(n)
}

fn driver(n: u64) -> Principal {
    Principal::Driver(nth(n))
}

/// The `n`th run asks whether it joins, and waits for its first driver.
fn join_run(n: u64, round: u32, now: Timestamp) -> Command {
    Command::Search(Heard::JoinRun {
        run: RunId::nth(n),
        driver: nth(1),
        round: Some(round),
        from: None,
        until: now + Duration::from_secs(40),
    })
}

/// Lets the `n`th driver take over the goods.
fn handover(n: u64, force: bool, reason: &str, against: &[WhyNot]) -> Command {
    let (reason, against) = (reason.to_owned(), against.to_vec());
    Command::Handover { driver: nth(n), force, reason, against }
}

/// Why nothing begins where orders are picked up.
fn flood(until: Option<Timestamp>) -> ZonePause {
    let reason = "a flood".to_owned();
    ZonePause { zone: ZoneId::of_cell(7), since: Timestamp(1), until, reason }
}

fn merchant() -> Principal {
    Principal::Merchant(MerchantId::nth(1))
}

/// To a millionth of a degree, which JSON reads back exactly.
fn place_at(east_m: f64) -> Place {
    let Point { lat, lon } = PICKUP.offset_m(east_m, 0.0);
    Point { lat, lon: (lon * 1e6).round() / 1e6 }.into()
}

fn ride() -> Placement {
    let ride = Placement::ride(rider(), place_at(0.0), place_at(5_000.0));
    Placement { fare: fare(2_000), ..ride }
}

fn delivery() -> Placement {
    Placement { kind: OrderKind::Delivery, policy: JobPolicy::delivery(), ..ride() }
}

fn commerce() -> Placement {
    Placement {
        kind: OrderKind::Commerce,
        merchant: Some(MerchantId::nth(1)),
        n_items: 3,
        code: Some("1234".to_owned()),
        ..delivery()
    }
}

fn fare(amount: i64) -> Fare {
    let line = |code: &str, amount| FareLine { code: code.to_owned(), amount };
    let lines = vec![line("base", 500), line("distance", amount - 500)];
    Fare { currency: Currency::RWF, lines }
}

fn photo() -> Proof {
    Proof { kind: ProofKind::Photo, value: "sha256:77".to_owned() }
}

/// One order and everything that happens to it. Every yes is checked against the laws that hold at
/// all times.
#[derive(Clone)]
struct Play {
    id: OrderId,
    now: Timestamp,
    order: Order,
    journal: Vec<Event>,
    effects: Vec<Effect>,
}

impl Play {
    fn new() -> Self {
        Self {
            id: OrderId::nth(1),
            now: Timestamp(1_000_000_000),
            order: Order::default(),
            journal: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// An order that was just placed by its rider.
    fn placed(placement: Placement) -> Self {
        let mut play = Self::new();
        play.yes(RIDER, Command::Place(Box::new(placement)));
        play
    }

    /// An order in the named state, with driver 1 where there is one.
    fn at(placement: Placement, status: OrderStatus) -> Self {
        let prepaid = Placement { payment: PaymentTiming::Prepay, ..placement.clone() };
        let start_at = Some(Timestamp(1_000_000_000 + 3_600_000));
        let scheduled = Placement { start_at, ..placement.clone() };
        let goods = placement.kind != OrderKind::Ride;
        let mut play = Self::placed(if status == OrderStatus::AwaitingPayment {
            prepaid
        } else if status == OrderStatus::Scheduled {
            scheduled
        } else {
            placement
        });
        if !matches!(
            status,
            OrderStatus::AwaitingPayment | OrderStatus::Scheduled | OrderStatus::Waiting
        ) {
            play.cook();
        }
        if play.status() == status {
            return play;
        }
        match status {
            OrderStatus::JobFeed => {
                play.exhaust();
            }
            OrderStatus::NoDriverFound => {
                play.exhaust();
                if play.status() == OrderStatus::JobFeed {
                    play.tick_at_deadline();
                }
            }
            OrderStatus::CancelledByRider => play.yes(RIDER, cancel()),
            OrderStatus::CancelledByAdmin => play.yes(DISPATCHER, cancel()),
            OrderStatus::CancelledBySystem => play.yes(SYSTEM, cancel()),
            OrderStatus::CancelledByMerchant => play.yes(merchant(), cancel()),
            OrderStatus::CancelledSafety => {
                play.yes(RIDER, Command::CancelSafety { reason: String::new() });
            }
            OrderStatus::CancelledByDriver => {
                for n in 1..=4 {
                    play.assign(n);
                    play.yes(driver(n), cancel());
                }
            }
            OrderStatus::Assigned
            | OrderStatus::EnRoutePickup
            | OrderStatus::AtPickup
            | OrderStatus::InProgress
            | OrderStatus::PickedUp
            | OrderStatus::InTransit
            | OrderStatus::AtStop
            | OrderStatus::AtDropoff
            | OrderStatus::FailedAttempt
            | OrderStatus::Returning
            | OrderStatus::Completed
            | OrderStatus::Delivered
            | OrderStatus::Returned
            | OrderStatus::NoShow
            | OrderStatus::Failed => {
                play.assign(1);
                let goes_back =
                    [OrderStatus::FailedAttempt, OrderStatus::Returning, OrderStatus::Returned];
                let steps = if status == OrderStatus::AtStop {
                    GOODS_VIA
                } else if goes_back.contains(&status) {
                    GOODS_BACK
                } else if goods {
                    GOODS
                } else if status == OrderStatus::NoShow {
                    RIDE_NO_SHOW
                } else {
                    RIDE
                };
                for step in steps {
                    if play.status() == status {
                        break;
                    }
                    play.drive_to(*step);
                }
                if status == OrderStatus::Failed {
                    let reason = "broken".to_owned();
                    play = Self::at(
                        play.placement(),
                        if goods { OrderStatus::InTransit } else { OrderStatus::InProgress },
                    );
                    play.yes(
                        DISPATCHER,
                        match goods {
                            true => Command::ReportLoss { reason },
                            false => Command::Fail { reason },
                        },
                    );
                }
            }
            OrderStatus::AwaitingPayment
            | OrderStatus::Scheduled
            | OrderStatus::Waiting
            | OrderStatus::Searching => {}
        }
        assert_eq!(play.status(), status);
        play
    }

    fn placement(&self) -> Placement {
        match self.journal.first() {
            Some(Event::Placed { placement, .. }) => (**placement).clone(),
            other => panic!("a journal starts with `placed`, not {other:?}"),
        }
    }

    /// Has the merchant make it, if there is one, until a driver is looked for.
    fn cook(&mut self) {
        if self.life().fulfilment.is_some() {
            self.yes(merchant(), Command::MerchantAccept { prep_min: 5 });
            self.yes(merchant(), Command::Ready {});
        }
    }

    fn exhaust(&mut self) {
        while matches!(self.status(), OrderStatus::Searching) {
            self.tick_at_deadline();
        }
    }

    fn drive_to(&mut self, step: OrderStatus) {
        let reason = "closed".to_owned();
        let proofs = vec![photo()];
        match step {
            OrderStatus::EnRoutePickup | OrderStatus::InTransit => {
                self.yes(driver(1), Command::Depart {});
            }
            OrderStatus::AtPickup => {
                self.see(0.0);
                self.yes(driver(1), Command::Arrive {});
            }
            OrderStatus::InProgress => self.yes(driver(1), Command::Start { code: None }),
            OrderStatus::PickedUp => self.yes(driver(1), Command::PickUp { proofs }),
            OrderStatus::AtStop => {
                self.see(2_000.0);
                self.yes(driver(1), Command::ArriveStop {});
            }
            OrderStatus::AtDropoff => {
                self.see(5_000.0);
                self.yes(driver(1), Command::Arrive {});
            }
            OrderStatus::FailedAttempt => self.yes(driver(1), Command::Fail { reason }),
            OrderStatus::Returning => self.yes(DISPATCHER, Command::StartReturn {}),
            OrderStatus::Returned => {
                self.see(0.0);
                self.yes(driver(1), Command::Returned { proofs });
            }
            OrderStatus::Delivered => {
                let pin = Proof { kind: ProofKind::Pin, value: "1234".to_owned() };
                let cash = self.placement().cash_on_delivery;
                self.yes(driver(1), Command::Deliver { proofs: vec![photo(), pin], cash });
            }
            OrderStatus::Completed => {
                self.see(5_000.0);
                self.yes(driver(1), Command::Finish { code: None, early_reason: None });
            }
            OrderStatus::NoShow => {
                self.yes(driver(1), Command::Contacted {});
                for _ in 0..20 {
                    self.wait(MINUTE);
                    self.see(0.0);
                }
                self.yes(driver(1), Command::NoShow {});
            }
            OrderStatus::AwaitingPayment
            | OrderStatus::Scheduled
            | OrderStatus::Waiting
            | OrderStatus::Searching
            | OrderStatus::JobFeed
            | OrderStatus::Assigned
            | OrderStatus::NoDriverFound
            | OrderStatus::CancelledByRider
            | OrderStatus::CancelledByDriver
            | OrderStatus::CancelledByMerchant
            | OrderStatus::CancelledBySystem
            | OrderStatus::CancelledByAdmin
            | OrderStatus::CancelledSafety
            | OrderStatus::Failed => unreachable!("nobody drives to {step}"),
        }
    }

    /// Offers it to a driver, who takes it.
    fn assign(&mut self, n: u64) {
        let offer = self.offer_to(n);
        self.yes(SYSTEM, accepted(offer, n));
    }

    fn offer_to(&mut self, n: u64) -> OfferId {
        let round = self.round();
        self.yes(SYSTEM, propose(round, &[n]));
        self.order.offers().last().expect("an offer was made").id
    }

    fn round(&self) -> u32 {
        match self.order.listing(self.id).expect("it is listed").card {
            crate::Card::Search(card) => card.round,
            crate::Card::Driver(_) | crate::Card::Run(_) => panic!("it is an order"),
        }
    }

    fn ask(&mut self, by: Principal, command: Command) -> Result<Vec<Event>, Refusal> {
        let around = Context { id: self.id, by, now: self.now, writes: Format::WRITES };
        let events = match self.order.decide(&command, &around) {
            Ok(events) => events,
            Err(refusal) => {
                for event in self.order.remarks(&command, &refusal, &around) {
                    self.order.evolve(&event);
                    self.journal.push(event);
                }
                return Err(refusal);
            }
        };
        let before = self.order.clone();
        for event in &events {
            self.effects.extend(self.order.effects(self.id, event));
            self.order.evolve(event);
        }
        self.journal.extend(events.iter().cloned());
        laws::hold_always(&before, self, &command, by, &events);
        Ok(events)
    }

    #[track_caller]
    fn yes(&mut self, by: Principal, command: Command) {
        let status = self.order.status();
        if let Err(refusal) = self.ask(by, command.clone()) {
            panic!("{by} was refused {command:?} while {status:?}: {refusal}");
        }
    }

    #[track_caller]
    fn no(&mut self, by: Principal, command: Command) -> Refusal {
        match self.ask(by, command.clone()) {
            Ok(events) => panic!("{by} was granted {command:?}: {events:?}"),
            Err(refusal) => refusal,
        }
    }

    fn tick(&mut self) -> Vec<&'static str> {
        let events = self.ask(SYSTEM, Command::Tick {}).expect("ticks are never refused");
        events.iter().map(Event::name).collect()
    }

    fn tick_at_deadline(&mut self) -> Vec<&'static str> {
        self.now = self.order.deadline().expect("a timer is armed").0.max(self.now);
        self.tick()
    }

    fn wait(&mut self, ms: u64) {
        self.now = Timestamp(self.now.0 + ms);
    }

    /// Driver 1 is seen that far east of the pickup; what the order asks of itself is done.
    fn see(&mut self, east_m: f64) -> Vec<&'static str> {
        self.see_driver(1, east_m)
    }

    fn see_driver(&mut self, n: u64, east_m: f64) -> Vec<&'static str> {
        self.sees(n, self.position(east_m), None, 0)
    }

    /// The same of driver 1, who has nothing else to do.
    fn see_coming(&mut self, east_m: f64) -> Vec<&'static str> {
        self.sees(1, self.position(east_m), Some(VehicleKind::Moto), 0)
    }

    fn position(&self, east_m: f64) -> Position {
        let (at, sampled_at) = (PICKUP.offset_m(east_m, 0.0), self.now);
        Position { at, sampled_at, heading_deg: None, speed_mps: None, accuracy_m: None }
    }

    /// Driver `n` is there, with a vehicle if it has nothing else to do first.
    fn sees(
        &mut self,
        n: u64,
        position: Position,
        vehicle: Option<VehicleKind>,
        n_corrected: u16,
    ) -> Vec<&'static str> {
        let around = Context { id: self.id, by: SYSTEM, now: self.now, writes: Format::WRITES };
        let (driver, run) = (nth(n), None);
        let sighting = Sighting::DriverAt { driver, position, vehicle, run, n_corrected };
        let seen = self.order.see(&sighting, &around);
        let names = seen.asks.iter().map(Command::name).collect();
        for command in seen.asks {
            self.yes(SYSTEM, command);
        }
        names
    }

    fn life(&self) -> &Life {
        self.order.0.as_ref().expect("it was placed")
    }

    fn status(&self) -> OrderStatus {
        self.order.status().expect("it was placed")
    }

    /// The names of everything that happened, one per line.
    fn story(&self) -> String {
        self.journal.iter().map(Event::name).collect::<Vec<_>>().join("\n")
    }

    /// Who was told what, one per line.
    fn told(&self) -> Vec<String> {
        self.effects
            .iter()
            .map(|effect| {
                let name: &str = match &effect.tell {
                    Tell::Driver { command, .. } => command.into(),
                    Tell::Rider { command, .. } => command.into(),
                    Tell::Order { command, .. } => command.name(),
                    Tell::Rescue { .. } => "rescue",
                    Tell::Revocation { .. } => "revocation",
                    Tell::Incident { command, .. } => command.into(),
                    Tell::Zone { command, .. } => command.into(),
                    Tell::Run { command, .. } => command.into(),
                    Tell::Rule { command, .. } => command.into(),
                    Tell::Template { command, .. } => command.into(),
                };
                format!("{}: {name}", effect.tell.to().kind)
            })
            .collect()
    }
}

const RIDE: &[OrderStatus] = &[
    OrderStatus::EnRoutePickup,
    OrderStatus::AtPickup,
    OrderStatus::InProgress,
    OrderStatus::Completed,
];
const RIDE_NO_SHOW: &[OrderStatus] = &[OrderStatus::AtPickup, OrderStatus::NoShow];
const GOODS: &[OrderStatus] = &[
    OrderStatus::EnRoutePickup,
    OrderStatus::AtPickup,
    OrderStatus::PickedUp,
    OrderStatus::InTransit,
    OrderStatus::AtDropoff,
    OrderStatus::Delivered,
];
const GOODS_VIA: &[OrderStatus] = &[
    OrderStatus::EnRoutePickup,
    OrderStatus::AtPickup,
    OrderStatus::PickedUp,
    OrderStatus::InTransit,
    OrderStatus::AtStop,
];
const GOODS_BACK: &[OrderStatus] = &[
    OrderStatus::EnRoutePickup,
    OrderStatus::AtPickup,
    OrderStatus::PickedUp,
    OrderStatus::InTransit,
    OrderStatus::FailedAttempt,
    OrderStatus::Returning,
    OrderStatus::Returned,
];

fn propose(round: u32, drivers: &[u64]) -> Command {
    let candidates = drivers
        .iter()
        .map(|n| Candidate { driver: nth(*n), eta_s: 120, distance_m: 800, cost_ms: 0 })
        .collect();
    Command::Search(Heard::Propose { round, candidates })
}

fn accepted(offer: OfferId, n: u64) -> Command {
    Command::Search(Heard::OfferAccepted { offer, driver: nth(n), slots: vec![0, 1] })
}

fn lost(n: u64) -> Command {
    Command::Search(Heard::DriverLost { driver: nth(n), reason: "offline".to_owned() })
}

fn cancel() -> Command {
    Command::Cancel { reason: "changed my mind".to_owned() }
}
