//! What a rescue promises.

use super::*;
use crate::{
    DriverCard, SearchCard, Sight,
    policy::{JobPolicy, Loading},
    search::{Candidate, Command as Search, FEATURES},
};
use matching::{
    Field, cost,
    round::{Pairing, Terms, round},
};
use proptest::prelude::*;
use protocol::{
    Currency, DriverId, Fare, FareLine, OfferId, OfferStatus, OrderId, PartnerId, Place, Point,
    Principal, RiderId, RuleId, ZoneId,
    rule::RuleMark,
    trace::WhyNot,
    view::{Crossing, Position, Queued, StopKind, ZonePause},
    work::{
        Alternative, Bike, IncidentKind, Issue, OfferPolicy, Priority, Proof, ProofKind, Severity,
        Vehicle, VehicleKind,
    },
};
use std::{collections::BTreeSet, sync::Arc};
use strum::{IntoEnumIterator, VariantNames};

const START: Timestamp = Timestamp(1_000_000_000);
const SCENE: Point = Point { lat: -1.9441, lon: 30.0619 };
const GARAGE: Point = Point { lat: -1.9600, lon: 30.1000 };
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

fn id() -> RescueId {
    RescueId::nth(1)
}

fn rider() -> Principal {
    Principal::Rider(RiderId::nth(1))
}

fn d(n: u64) -> DriverId {
    DriverId::nth(n)
}

fn by(n: u64) -> Principal {
    Principal::Driver(d(n))
}

fn why() -> String {
    "because".to_owned()
}

fn photo() -> Vec<Proof> {
    vec![Proof { kind: ProofKind::Photo, value: "sha256:1".to_owned() }]
}

fn request() -> Request {
    Request {
        rider: RiderId::nth(1),
        issue: Issue::FlatTyre,
        at: Place::from(SCENE),
        accuracy_m: Some(10),
        severity: None,
        dropoff: None,
        vehicle: Some(VehicleKind::Moto),
        bike: None,
        weight_g: 0,
        served: true,
        fare: Fare {
            currency: Currency::RWF,
            lines: vec![
                FareLine { code: "base".to_owned(), amount: 5_000 },
                FareLine { code: "distance".to_owned(), amount: 1_200 },
            ],
        },
        policy: JobPolicy::rescue(),
        barred: Vec::new(),
        elsewhere: Vec::new(),
        rule: None,
    }
}

/// A rescue, its journal, what it told others, how long its rider waited, and a clock that only moves when told to.
#[derive(Debug, Clone)]
struct World {
    rescue: Rescue,
    journal: Vec<Event>,
    told: Vec<Effect>,
    waited: Vec<Waited>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let (journal, told, waited) = (vec![], vec![], vec![]);
        Self { rescue: Rescue::default(), journal, told, waited, now: START }
    }

    fn requested(request: Request) -> Self {
        let mut world = Self::new();
        world.ask(rider(), Command::Request(Box::new(request))).unwrap();
        world
    }

    /// A rescue in this status, with driver 1 wherever there is one. Driver 9 stays with it where
    /// it is escalated.
    fn in_status(status: RescueStatus) -> Self {
        use RescueStatus as S;
        let mut world = match status {
            S::Requested => Self::requested(Request { accuracy_m: Some(5_000), ..request() }),
            S::RejectedOutOfArea => Self::requested(Request { served: false, ..request() }),
            S::Searching => Self::requested(request()),
            S::Accepted => Self::in_status(S::Searching),
            S::EnRoute => Self::in_status(S::Accepted),
            S::OnScene => Self::in_status(S::EnRoute),
            S::Assisting | S::Loading | S::Escalated | S::NoShow => Self::in_status(S::OnScene),
            S::InTransit => Self::in_status(S::Loading),
            S::AtDropoff => Self::in_status(S::InTransit),
            S::Completed => Self::in_status(S::AtDropoff),
            S::NoDriver
            | S::CancelledByRider
            | S::CancelledByAdmin
            | S::CancelledSafety
            | S::Failed => Self::in_status(S::Searching),
        };
        match status {
            S::Requested | S::Searching | S::RejectedOutOfArea => {}
            S::Accepted => world.win(1),
            S::EnRoute => world.yes(by(1), Command::Depart {}),
            S::OnScene => {
                world.see(1, SCENE);
                world.yes(by(1), Command::Arrive {});
            }
            S::Assisting => world.yes(by(1), Command::BeginAssist {}),
            S::Loading => {
                let dropoff = Some(Place::from(GARAGE));
                world.yes(by(1), Command::Load { dropoff, proofs: photo() });
            }
            S::InTransit => world.yes(by(1), Command::Depart {}),
            S::AtDropoff => {
                world.see(1, GARAGE);
                world.yes(by(1), Command::Arrive {});
            }
            S::Completed => world.yes(by(1), Command::Unload { proofs: photo() }),
            S::Escalated => {
                let needs = Needs { vehicles: vec![VehicleKind::TowTruck], ..Needs::default() };
                world.yes(by(1), Command::Escalate { needs, stay: true });
            }
            S::NoShow => {
                world.yes(by(1), Command::Contacted {});
                world.pass(10 * MINUTE);
                world.see(1, SCENE);
                world.yes(by(1), Command::NoShow {});
            }
            S::NoDriver => {
                world.pass(10 * MINUTE);
                world.yes(Principal::System, Command::Tick {});
            }
            S::CancelledByRider => world.yes(rider(), Command::Cancel { reason: why() }),
            S::CancelledByAdmin => world.yes(Principal::Admin, Command::Cancel { reason: why() }),
            S::CancelledSafety => world.yes(rider(), Command::CancelSafety { reason: why() }),
            S::Failed => world.yes(Principal::Admin, Command::Fail { reason: why() }),
        }
        assert_eq!(world.rescue.status(), Some(status));
        world
    }

    fn ask(&mut self, by: Principal, command: Command) -> Result<Vec<&'static str>, Refusal> {
        let context = Context { id: id(), by, now: self.now, writes: Format::WRITES };
        let events = self.rescue.decide(&command, &context)?;
        for event in &events {
            self.told.extend(self.rescue.effects(id(), event));
            self.waited.extend(self.rescue.waited(event));
            self.rescue.evolve(event);
        }
        let names = events.iter().map(Rescue::event_name).collect();
        self.journal.extend(events);
        Ok(names)
    }

    fn yes(&mut self, by: Principal, command: Command) {
        let name: &'static str = (&command).into();
        let answer = self.ask(by, command);
        assert!(answer.as_ref().is_ok_and(|events| !events.is_empty()), "{name}: {answer:?}");
    }

    fn search(&mut self, command: Search) -> Result<Vec<&'static str>, Refusal> {
        self.ask(Principal::System, Command::Search(command))
    }

    /// The region proposes driver `n`, who gets the offer.
    fn offer(&mut self, n: u64) -> OfferId {
        let Some(Card::Search(card)) = self.rescue.listing(id()).map(|listing| listing.card) else {
            panic!("nobody is looked for");
        };
        let candidates =
            vec![Candidate { driver: d(n), eta_s: 240, distance_m: 1_500, cost_ms: 0 }];
        self.search(Search::Propose { round: card.round, candidates }).unwrap();
        self.open_offer(n).expect("the driver is offered it")
    }

    fn open_offer(&self, n: u64) -> Option<OfferId> {
        let view = self.rescue.rescue_view(id(), 0, Principal::System)?;
        view.offers.iter().find(|offer| offer.driver == d(n)).map(|offer| offer.id)
    }

    fn accept(&mut self, offer: OfferId, n: u64) -> Result<Vec<&'static str>, Refusal> {
        self.search(Search::OfferAccepted { offer, driver: d(n), slots: slots() })
    }

    /// Driver `n` gets it.
    fn win(&mut self, n: u64) {
        let offer = self.offer(n);
        self.accept(offer, n).unwrap();
    }

    fn see(&mut self, n: u64, at: Point) -> Vec<Command> {
        self.see_coming(n, at, None).asks
    }

    /// Driver `n` is there, and goes nowhere else first if it is known with what.
    fn see_coming(&mut self, n: u64, at: Point, vehicle: Option<VehicleKind>) -> Seen<Command> {
        self.see_corrected(n, at, vehicle, 0)
    }

    /// The same, after it was said so often to be where it was not.
    fn see_corrected(
        &mut self,
        n: u64,
        at: Point,
        vehicle: Option<VehicleKind>,
        n_corrected: u16,
    ) -> Seen<Command> {
        let (driver, sampled_at) = (d(n), self.now);
        let position =
            Position { at, sampled_at, heading_deg: None, speed_mps: None, accuracy_m: None };
        let run = None;
        self.sees(&Sighting::DriverAt { driver, position, vehicle, run, n_corrected })
    }

    fn sees(&mut self, sighting: &Sighting) -> Seen<Command> {
        let context =
            Context { id: id(), by: Principal::System, now: self.now, writes: Format::WRITES };
        let seen = self.rescue.see(sighting, &context);
        self.waited.extend(seen.waited);
        seen
    }

    /// What `reader` is told to expect.
    fn expects(&self, reader: Principal) -> (Option<Etas>, Option<Queued>) {
        let view = self.rescue.rescue_view(id(), 3, reader).expect("it was requested");
        (view.eta, view.queue)
    }

    fn pass(&mut self, ms: u64) {
        self.now = Timestamp(self.now.0 + ms);
    }

    fn status(&self) -> RescueStatus {
        self.rescue.status().unwrap()
    }

    fn case(&self) -> &Case {
        self.rescue.case.as_deref().unwrap()
    }

    /// What was waited for since the last time, for how many seconds, and whether that was too long.
    fn waits(&mut self) -> Vec<(&'static str, u64, bool)> {
        let waits = self.waited.drain(..);
        waits.map(|it| (it.what, it.took.as_secs(), it.is_missed())).collect()
    }

    fn told(&mut self) -> Vec<String> {
        let name = |tell: &Tell| match tell {
            Tell::Driver { to, command } => {
                let n = (1..10).find(|n| d(*n) == *to).unwrap();
                format!("driver {n}: {}", <&'static str>::from(command))
            }
            Tell::Rider { command, .. } => format!("rider: {}", <&'static str>::from(command)),
            Tell::Incident { command, .. } => {
                format!("incident: {}", <&'static str>::from(command))
            }
            Tell::Order { .. }
            | Tell::Rescue { .. }
            | Tell::Revocation { .. }
            | Tell::Zone { .. }
            | Tell::Run { .. }
            | Tell::Rule { .. }
            | Tell::Template { .. } => {
                format!("{tell:?}")
            }
        };
        self.told.drain(..).map(|effect| name(&effect.tell)).collect()
    }

    fn line(&mut self, by: Principal, command: Command) -> String {
        let name: &'static str = (&command).into();
        let answer = self.ask(by, command);
        format!("{} {name} -> {answer:?}; {}; told {:?}\n", by.role(), self.status(), self.told())
    }
}

fn slots() -> Vec<u8> {
    (0..5).collect()
}

// The table.

/// MODEL section 5.3, by hand: what each status allows.
const TABLE: [(RescueStatus, &str); 18] = [
    (RescueStatus::Requested, "locate triage set_priority set_fleet cancel"),
    (
        RescueStatus::Searching,
        "confirm_offer reject_offer assign hold resume set_priority set_fleet cancel",
    ),
    (RescueStatus::Accepted, "depart arrive contacted unassign reassign cancel"),
    (RescueStatus::EnRoute, "arrive contacted unassign reassign cancel"),
    (RescueStatus::OnScene, "begin_assist load escalate contacted no_show"),
    (RescueStatus::Assisting, "load escalate fixed confirm_fixed"),
    (RescueStatus::Loading, "depart escalate"),
    (RescueStatus::InTransit, "arrive"),
    (RescueStatus::AtDropoff, "unload"),
    (
        RescueStatus::Escalated,
        "confirm_offer reject_offer assign hold resume set_priority set_fleet",
    ),
    (RescueStatus::Completed, "rate"),
    (RescueStatus::RejectedOutOfArea, ""),
    (RescueStatus::NoDriver, ""),
    (RescueStatus::CancelledByRider, ""),
    (RescueStatus::CancelledByAdmin, ""),
    (RescueStatus::NoShow, ""),
    (RescueStatus::CancelledSafety, ""),
    (RescueStatus::Failed, ""),
];

/// A command of that name, from somebody who may give it.
fn command(name: &str) -> (Principal, Command) {
    let offer = OfferId::of(JobId::Rescue(id()), 0);
    let (needs, stay, reason) = (Needs::default(), true, why());
    let dropoff = Some(Place::from(GARAGE));
    match name {
        "request" => (rider(), Command::Request(Box::new(request()))),
        "locate" => {
            let (at, accuracy_m) = (Place::from(SCENE), Some(20));
            (rider(), Command::Locate { at, accuracy_m, served: true })
        }
        "triage" => (Principal::Dispatcher, Command::Triage { needs }),
        "confirm_offer" => (rider(), Command::ConfirmOffer { offer }),
        "reject_offer" => (rider(), Command::RejectOffer { offer }),
        "assign" => {
            let force = false;
            (
                Principal::Dispatcher,
                Command::Assign { driver: d(5), force, reason, against: Vec::new() },
            )
        }
        "unassign" => (Principal::Dispatcher, Command::Unassign { reason }),
        "hold" => (Principal::Dispatcher, Command::Hold { reason }),
        "resume" => (Principal::Dispatcher, Command::Resume { reason }),
        "set_priority" => {
            (Principal::Dispatcher, Command::SetPriority { priority: Priority::High, reason })
        }
        "set_fleet" => {
            let fleet = Some(PartnerId::nth(1));
            (Principal::Dispatcher, Command::SetFleet { fleet, reason })
        }
        "reassign" => {
            let (driver, force, against) = (d(5), false, Vec::new());
            (Principal::Dispatcher, Command::Reassign { driver, force, reason, against })
        }
        "depart" => (by(1), Command::Depart {}),
        "arrive" => (by(1), Command::Arrive {}),
        "begin_assist" => (by(1), Command::BeginAssist {}),
        "load" => (by(1), Command::Load { dropoff, proofs: photo() }),
        "escalate" => (by(1), Command::Escalate { needs, stay }),
        "unload" => (by(1), Command::Unload { proofs: photo() }),
        "fixed" => (by(1), Command::Fixed {}),
        "confirm_fixed" => (rider(), Command::ConfirmFixed { fixed: true }),
        "contacted" => (by(1), Command::Contacted {}),
        "no_show" => (by(1), Command::NoShow {}),
        "cancel" => (rider(), Command::Cancel { reason }),
        "cancel_safety" => (rider(), Command::CancelSafety { reason }),
        "fail" => (Principal::Admin, Command::Fail { reason }),
        "rate" => (rider(), Command::Rate { stars: 5 }),
        other => panic!("no command is called {other}"),
    }
}

#[test]
fn every_status_allows_what_the_table_lists_and_nothing_else() {
    let every: BTreeSet<_> = RescueStatus::iter().collect();
    assert_eq!(every, TABLE.iter().map(|(status, _)| *status).collect());
    for (status, listed) in TABLE {
        let world = World::in_status(status);
        for name in Command::VARIANTS.iter().filter(|name| !["search", "tick"].contains(name)) {
            let is_for_all = ["cancel_safety", "fail"].contains(name) && !status.is_final();
            let is_listed = is_for_all || listed.split(' ').any(|it| it == *name);
            let (mut by, command) = command(name);
            if status == RescueStatus::Escalated && by == self::by(1) {
                // The first driver waits: nobody is the one who performs it.
                by = Principal::System;
            }
            let answer = world.clone().ask(by, command);
            let is_legal =
                !matches!(answer, Err(Refusal::IllegalTransition { .. } | Refusal::NotYours(_)));
            // The very same request again is "already so".
            let is_expected = is_listed || *name == "request" && answer == Ok(vec![]);
            assert_eq!(is_legal, is_expected, "{name} while {status}: {answer:?}");
        }
    }
}

#[test]
fn a_refusal_says_where_it_is_and_what_is_possible() {
    let mut world = World::in_status(RescueStatus::InTransit);
    let refused = world.ask(rider(), Command::Cancel { reason: why() });
    let allowed = ["arrive", "cancel_safety", "fail"].map(str::to_owned).to_vec();
    let state = "in_transit".to_owned();
    assert_eq!(refused, Err(Refusal::IllegalTransition { state, allowed }));
}

#[test]
fn nobody_who_is_stranded_waits_because_of_a_zone() {
    let mut world = World::new();
    world.line_of_request(request());
    let (zone, reason) = (ZoneId::of_cell(7), "a flood".to_owned());
    let pause = ZonePause { zone, since: Timestamp(1), until: None, reason };
    let told = Command::Search(search::Command::Pause { pause });
    assert_eq!(world.ask(Principal::System, told), Ok(vec![]));
    world.win(1);
}

#[test]
fn nothing_can_be_done_to_a_rescue_nobody_requested() {
    for name in
        Command::VARIANTS.iter().filter(|name| !["request", "search", "tick"].contains(name))
    {
        let (by, command) = command(name);
        assert!(matches!(World::new().ask(by, command), Err(Refusal::Unknown(_))), "{name}");
    }
    assert_eq!(Rescue::default().view(id()), None);
}

// Stories.

#[test]
fn a_flat_tyre_is_fixed_on_the_scene() {
    let mut world = World::new();
    let mut story = world.line_of_request(request());
    world.win(1);
    story += &format!("won; {}; told {:?}\n", world.status(), world.told());
    story += &world.line(by(1), Command::Depart {});
    world.see(1, SCENE);
    for (by, command) in [
        (by(1), Command::Arrive {}),
        (by(1), Command::BeginAssist {}),
        (by(1), Command::Fixed {}),
        (rider(), Command::ConfirmFixed { fixed: false }),
        (by(1), Command::Fixed {}),
        (rider(), Command::ConfirmFixed { fixed: true }),
        (rider(), Command::Rate { stars: 5 }),
        (rider(), Command::Rate { stars: 5 }),
        (rider(), Command::Rate { stars: 1 }),
    ] {
        story += &world.line(by, command);
    }
    insta::assert_snapshot!(story, @r#"
    rider request -> Ok(["requested", "triaged", "search_opened"]); searching; told ["rider: open_job"]
    won; accepted; told ["driver 1: reserve_offer", "driver 1: commit_job"]
    driver depart -> Ok(["departed"]); en_route; told []
    driver arrive -> Ok(["arrived"]); on_scene; told []
    driver begin_assist -> Ok(["assist_started"]); assisting; told []
    driver fixed -> Ok(["fix_reported"]); assisting; told []
    rider confirm_fixed -> Ok(["fix_denied"]); assisting; told []
    driver fixed -> Ok(["fix_reported"]); assisting; told []
    rider confirm_fixed -> Ok(["completed"]); completed; told ["driver 1: end_job", "rider: close_job"]
    rider rate -> Ok(["rated"]); completed; told ["driver 1: record_rating"]
    rider rate -> Ok([]); completed; told []
    rider rate -> Err(TooLate("it has been rated")); completed; told []
    "#);
}

#[test]
fn a_wreck_is_towed_by_a_second_driver_while_the_first_one_waits() {
    let mut world = World::in_status(RescueStatus::OnScene);
    world.told();
    let needs = Needs { vehicles: vec![VehicleKind::TowTruck], ..Needs::default() };
    let mut story = world.line(by(1), Command::Escalate { needs, stay: true });
    world.win(2);
    story += &format!("won; {}; told {:?}\n", world.status(), world.told());
    story += &world.line(by(2), Command::Depart {});
    world.see(2, SCENE);
    story += &world.line(by(2), Command::Arrive {});
    let (dropoff, proofs) = (Some(Place::from(GARAGE)), photo());
    story += &world.line(by(2), Command::Load { dropoff, proofs });
    story += &world.line(by(1), Command::Cancel { reason: "no longer needed".to_owned() });
    story += &world.line(by(2), Command::Depart {});
    world.see(2, GARAGE);
    story += &world.line(by(2), Command::Arrive {});
    story += &world.line(by(2), Command::Unload { proofs: photo() });
    insta::assert_snapshot!(story, @r#"
    driver escalate -> Ok(["escalated", "driver_excluded", "search_opened"]); escalated; told []
    won; accepted; told ["driver 2: reserve_offer", "driver 2: commit_job"]
    driver depart -> Ok(["departed"]); en_route; told []
    driver arrive -> Ok(["arrived"]); on_scene; told []
    driver load -> Ok(["load_started"]); loading; told []
    driver cancel -> Ok(["detached"]); loading; told ["driver 1: end_job"]
    driver depart -> Ok(["departed"]); in_transit; told []
    driver arrive -> Ok(["arrived"]); at_dropoff; told []
    driver unload -> Ok(["unloaded", "completed"]); completed; told ["driver 2: end_job", "rider: close_job"]
    "#);
}

#[test]
fn a_driver_who_gives_up_is_replaced_by_another() {
    let mut world = World::in_status(RescueStatus::EnRoute);
    world.told();
    let mut story = world.line(by(1), Command::Cancel { reason: "puncture".to_owned() });
    world.win(2);
    story += &format!("won; {}; told {:?}\n", world.status(), world.told());
    story += &world.line(Principal::Dispatcher, Command::Unassign { reason: why() });
    world.pass(10 * MINUTE);
    story += &world.line(Principal::System, Command::Tick {});
    insta::assert_snapshot!(story, @r#"
    driver cancel -> Ok(["driver_released", "driver_excluded", "search_opened"]); searching; told ["driver 1: end_job"]
    won; accepted; told ["driver 2: reserve_offer", "driver 2: commit_job"]
    dispatcher unassign -> Ok(["driver_released", "driver_excluded", "search_opened"]); searching; told ["driver 2: end_job"]
    system tick -> Ok(["search_closed", "no_driver"]); no_driver; told ["rider: close_job"]
    "#);
}

impl World {
    fn line_of_request(&mut self, request: Request) -> String {
        self.line(rider(), Command::Request(Box::new(request)))
    }
}

// Guards, by row of the table.

#[test]
fn a_place_nobody_serves_is_refused_at_once_and_leaves_the_rider_free() {
    let mut world = World::new();
    world.line_of_request(Request { served: false, ..request() });
    assert_eq!(world.status(), RescueStatus::RejectedOutOfArea);
    assert_eq!(world.rescue.claims(id()), []);
    assert_eq!(world.rescue.deadline(), None);
}

#[test]
fn one_asks_only_for_oneself() {
    let ask = |by| World::new().ask(by, Command::Request(Box::new(request())));
    assert!(matches!(ask(Principal::Rider(RiderId::nth(2))), Err(Refusal::NotYours(_))));
    assert!(matches!(ask(by(1)), Err(Refusal::NotYours(_))));
    assert!(ask(Principal::Dispatcher).is_ok());
    let same_person = Principal::Driver(DriverId(RiderId::nth(1).0));
    assert!(ask(same_person).is_ok(), "a stranded driver");
}

#[test]
fn a_stranded_driver_is_spared_other_work_until_it_is_over() {
    let me = DriverId(RiderId::nth(1).0);
    let mut world = World::new();
    world.ask(Principal::Driver(me), Command::Request(Box::new(request()))).unwrap();
    world.ask(rider(), Command::Cancel { reason: why() }).unwrap();
    let told: Vec<_> = world.told.iter().map(|effect| effect.tell.clone()).collect();
    let tell = |command| Tell::Driver { to: me, command };
    assert!(told.contains(&tell(driver::Command::Strand { rescue: id() })));
    assert_eq!(told.last(), Some(&tell(driver::Command::Unstrand { rescue: id() })));
}

#[test]
fn an_accident_is_an_incident_and_needs_something_to_carry_it_away() {
    let mut world = World::requested(Request { issue: Issue::Accident, ..request() });
    let report = Some(Report { kind: IncidentKind::Accident, by: rider() });
    assert_eq!(world.journal[1], Event::IncidentOpened { at: START, report });
    assert!(world.told().contains(&"incident: open".to_owned()));
    let needs = &world.case().needs;
    assert_eq!(needs.vehicles, [VehicleKind::Van, VehicleKind::TowTruck]);
    assert_eq!(needs.weight_g, 150_000);
}

/// A driver with a truck, who is there.
fn truck() -> DriverCard {
    let skills = vec!["tyre".to_owned()];
    let vehicle = Vehicle { kind: VehicleKind::TowTruck, capacity_g: 9_000_000, skills };
    DriverCard::nth(7, Arc::new(vehicle), SCENE, START)
}

/// The first driver of a round over these searches, by job; one driver with a truck is there.
fn matched(searches: &[&SearchCard]) -> Vec<(JobId, DriverId)> {
    let settings = cost::Settings::default();
    let router = settings.straight();
    let mut field = Field::new(SCENE);
    field.fill([Arc::new(truck())], &router);
    let (now, pairing) = (START, Pairing::Joint);
    let terms = Terms { router: &router, settings: &settings, now, pairing };
    let outcome = round(searches.iter().copied(), [], &field, &terms);
    outcome.proposals.iter().map(|it| (it.job, it.candidates[0].driver)).collect()
}

fn card_of(world: &World) -> Box<SearchCard> {
    match world.rescue.listing(id()).map(|listing| listing.card) {
        Some(Card::Search(card)) => card,
        other => panic!("nobody is looked for: {other:?}"),
    }
}

#[test]
fn rounds_and_dispatchers_know_of_the_same_way() {
    let dropoff = Some(Place::from(GARAGE));
    let world = World::requested(Request { dropoff, ..request() });
    let card = card_of(&world);
    assert_eq!((card.pickup, card.dropoff), (SCENE, Some(GARAGE)));
    let asks = world.rescue.asks().unwrap();
    assert_eq!(asks.way, Way { pickup: card.pickup, dropoff: card.dropoff });
    // So nobody is asked to tow where they have no permit to drive.
    let Point { lat, lon } = GARAGE;
    let permit = matching::fit::Permit { name: "harbour".to_owned(), lat, lon, radius_m: 500 };
    let settings = cost::Settings { permits: vec![permit], ..cost::Settings::default() };
    let router = settings.straight();
    let (now, pairing) = (START, Pairing::Joint);
    let mut field = Field::new(SCENE);
    field.fill([Arc::new(truck())], &router);
    let terms = Terms { router: &router, settings: &settings, now, pairing };
    assert_eq!(round([&*card], [], &field, &terms).proposals, []);
    let fixed_there = card_of(&World::requested(request()));
    assert_eq!(round([&*fixed_there], [], &field, &terms).proposals.len(), 1);
}

#[test]
fn of_one_driver_an_older_ride_and_an_accident_the_accident_gets_it() {
    let card = |request| card_of(&World::requested(request));
    // Asked for long ago, and right beside the driver.
    let job = JobId::Order(OrderId::nth(1));
    let ride = SearchCard {
        job,
        work: WorkKind::Ride,
        rider: RiderId::nth(2),
        needs: Needs::default(),
        opened_at: START - Duration::from_secs(3_600),
        ..*card(request())
    };
    let far = Place::from(SCENE.offset_m(3_000.0, 0.0));
    let dangers = [
        Request { issue: Issue::Accident, at: far.clone(), ..request() },
        Request { severity: Some(Severity::Urgent), at: far, ..request() },
    ];
    for request in dangers {
        let danger = card(request);
        assert_eq!(danger.priority, Priority::Urgent);
        assert_eq!(matched(&[&ride, &danger]), [(JobId::Rescue(id()), d(7))]);
    }
    let minor = card(Request { severity: Some(Severity::Minor), ..request() });
    assert_eq!(minor.priority, Priority::Normal, "it can wait its turn");
}

#[test]
fn what_is_urgent_is_told_in_words_that_every_node_can_read_and_a_dispatcher_has_the_last_one() {
    let urgent = Request { severity: Some(Severity::Urgent), ..request() };
    let ask = |writes| {
        let context = Context { id: id(), by: rider(), now: START, writes };
        Rescue::default().decide(&Command::Request(Box::new(urgent.clone())), &context).unwrap()
    };
    for writes in (Format::FIRST.0..=Format::WRITES.0).map(Format) {
        let events = ask(writes);
        assert!(events.iter().all(|event| Rescue::event_format(event) <= writes), "{writes}");
        let is_first = events.iter().any(|event| matches!(event, Event::PrioritySet { .. }));
        assert_eq!(is_first, writes >= CONTROLLED, "{writes}");
    }
    let mut world = World::requested(urgent);
    let reason = why();
    let lower = Command::SetPriority { priority: Priority::Normal, reason };
    world.yes(Principal::Dispatcher, lower);
    assert_eq!(world.case().priority, Priority::Normal);
}

#[test]
fn rules_say_what_each_issue_needs() {
    let mut story = String::new();
    for issue in Issue::iter() {
        for (vehicle, weight_g) in [(VehicleKind::Moto, 0), (VehicleKind::Car, 1_200_000)] {
            let policy = loading(Loading::Known);
            let request = Request { issue, vehicle: Some(vehicle), weight_g, policy, ..request() };
            let Needs { vehicles, weight_g, skills } = triage::needs(&request, true);
            let vehicles: Vec<_> = vehicles.iter().map(ToString::to_string).collect();
            let (vehicles, skills) = (vehicles.join("|"), skills.join("+"));
            story += &format!("{issue} {vehicle}: {vehicles}, {} kg, {skills}\n", weight_g / 1_000);
        }
    }
    insta::assert_snapshot!(story, @"
    flat_tyre moto: moto|car|van|tow_truck, 0 kg, tyre
    flat_tyre car: moto|car|van|tow_truck, 0 kg, tyre
    battery_dead moto: moto|car|van|tow_truck, 0 kg, jump_start
    battery_dead car: moto|car|van|tow_truck, 0 kg, jump_start
    out_of_fuel moto: moto|car|van|tow_truck, 0 kg, fuel
    out_of_fuel car: moto|car|van|tow_truck, 0 kg, fuel
    mechanical moto: moto|car|van|tow_truck, 0 kg, repair
    mechanical car: moto|car|van|tow_truck, 0 kg, repair
    accident moto: van|tow_truck, 150 kg, ramp+tie_downs
    accident car: tow_truck, 1200 kg, tie_downs
    locked_out moto: moto|car|van|tow_truck, 0 kg, locksmith
    locked_out car: moto|car|van|tow_truck, 0 kg, locksmith
    stuck moto: van|tow_truck, 150 kg, winch+ramp+tie_downs
    stuck car: tow_truck, 1200 kg, winch+tie_downs
    ");
}

/// A brand's that asks for what loads something then.
fn loading(loading: Loading) -> JobPolicy {
    JobPolicy { loading, ..JobPolicy::rescue() }
}

/// An accident of something of which only this is known, where what loads it is asked for if it is known.
fn accident(bike: Option<Bike>, weight_g: u32) -> Request {
    let policy = loading(Loading::Known);
    Request { issue: Issue::Accident, vehicle: None, bike, weight_g, policy, ..request() }
}

#[test]
fn a_bike_is_loaded_as_its_kind_usually_is_unless_somebody_weighed_it() {
    let mut story = String::new();
    for bike in Bike::iter() {
        story += &format!("{bike}: {}\n", triage::needs(&accident(Some(bike), 0), true));
    }
    let laden = accident(Some(Bike::Bicycle), 45_000);
    story += &format!("bicycle with bags: {}\n", triage::needs(&laden, true));
    insta::assert_snapshot!(story, @"
    bicycle: van or tow_truck, 20 kg, tie_downs
    e_bike: van or tow_truck, 25 kg, tie_downs
    cargo_bike: van or tow_truck, 60 kg, ramp, tie_downs
    kick_scooter: van or tow_truck, 20 kg, tie_downs
    moped: van or tow_truck, 100 kg, ramp, tie_downs
    motorcycle: van or tow_truck, 200 kg, lift_gate, tie_downs
    bicycle with bags: van or tow_truck, 45 kg, ramp, tie_downs
    ");
}

#[test]
fn what_it_takes_to_load_it_changes_where_the_table_says() {
    let skills = |weight_g| triage::needs(&accident(None, weight_g), true).skills.join("+");
    let vehicles = |weight_g| triage::needs(&accident(None, weight_g), true).vehicles;
    assert_eq!((skills(1), skills(25_000)), ("tie_downs".to_owned(), "tie_downs".to_owned()));
    for weight_g in [25_001, 150_000] {
        assert_eq!(skills(weight_g), "ramp+tie_downs");
    }
    for weight_g in [150_001, 300_000] {
        assert_eq!(skills(weight_g), "lift_gate+tie_downs");
    }
    assert_eq!(vehicles(300_000), [VehicleKind::Van, VehicleKind::TowTruck]);
    assert_eq!((vehicles(300_001), skills(300_001)), (vec![VehicleKind::TowTruck], skills(1)));
    let on_foot = Request { vehicle: Some(VehicleKind::Foot), ..accident(None, 0) };
    assert_eq!(triage::needs(&on_foot, true).skills, [""; 0], "it has no wheels");
}

#[test]
fn of_whom_nothing_is_known_nothing_more_is_demanded_unless_the_brand_wants_to_be_sure() {
    let unknown = accident(None, 0);
    let as_ever = "van or tow_truck, 150 kg";
    assert_eq!(triage::needs(&unknown, true).to_string(), as_ever);
    let policy = loading(Loading::Always);
    let careful = Request { policy, ..unknown };
    let with_all = "van or tow_truck, 150 kg, ramp, tie_downs";
    assert_eq!(triage::needs(&careful, true).to_string(), with_all);
    // As long as a node may match that knows nobody who has such things.
    let known = Request { vehicle: Some(VehicleKind::Moto), ..careful };
    assert_eq!(triage::needs(&known, false).to_string(), as_ever);
}

#[test]
fn where_the_brand_does_not_want_it_any_van_that_is_large_enough_will_do() {
    let needs = |issue, vehicle, weight_g| {
        let stranded = Request { issue, vehicle, weight_g, ..request() };
        assert_eq!(triage::needs(&stranded, true), triage::needs(&stranded, false));
        triage::needs(&stranded, true).to_string()
    };
    let (moto, car) = (Some(VehicleKind::Moto), Some(VehicleKind::Car));
    assert_eq!(needs(Issue::Accident, moto, 0), "van or tow_truck, 150 kg");
    assert_eq!(needs(Issue::Stuck, moto, 300_000), "van or tow_truck, 300 kg, winch");
    assert_eq!(needs(Issue::Accident, car, 0), "tow_truck, 1500 kg");
    let van = Needs { vehicles: vec![VehicleKind::Van], ..Needs::default() };
    let stranded = Request { vehicle: moto, ..request() };
    assert_eq!(triage::escalated(van.clone(), &stranded), van, "as it was said");
}

#[test]
fn what_an_older_build_wrote_asks_for_nothing_to_load_it_with() {
    let mut written = serde_json::to_value(JobPolicy::rescue()).unwrap();
    assert_eq!(written.get("loading"), None);
    written["loading_unknown"] = true.into();
    let read: JobPolicy = serde_json::from_value(written).unwrap();
    assert_eq!(read.loading, Loading::Never);
    for (said, when) in [("known", Loading::Known), ("always", Loading::Always)] {
        let policy = loading(when);
        let written = serde_json::to_value(policy).unwrap();
        assert_eq!(written["loading"], said);
        assert_eq!(serde_json::from_value::<JobPolicy>(written).unwrap(), policy);
    }
}

#[test]
fn what_not_every_node_can_read_is_left_out_and_asking_again_is_the_same() {
    let rule = Some(Box::new(RuleMark { id: RuleId::nth(1), version: 1 }));
    let said = Request { bike: Some(Bike::Moped), rule, ..request() };
    let ask = Command::Request(Box::new(said.clone()));
    let older = Format(FEATURES.0 - 1);
    let context = |writes| Context { id: id(), by: rider(), now: START, writes };
    for (writes, bike) in [(older, None), (FEATURES, said.bike)] {
        let mut rescue = Rescue::default();
        let events = rescue.decide(&ask, &context(writes)).unwrap();
        assert!(events.iter().all(|event| Rescue::event_format(event) <= writes), "{writes}");
        events.iter().for_each(|event| rescue.evolve(event));
        let request = &rescue.case.as_deref().unwrap().request;
        assert_eq!((request.bike, request.rule.is_some()), (bike, bike.is_some()));
        for again in [older, FEATURES] {
            assert_eq!(rescue.decide(&ask, &context(again)), Ok(Vec::new()));
        }
    }
}

#[test]
fn what_loads_something_is_demanded_and_told_once_every_node_knows_of_it() {
    let decide = |rescue: &Rescue, by, command: &Command, writes| {
        let context = Context { id: id(), by, now: START, writes };
        rescue.decide(command, &context).unwrap()
    };
    let policy = loading(Loading::Known);
    let wreck = Request { issue: Issue::Accident, policy, ..request() };
    let ask = Command::Request(Box::new(wreck));
    let older = Format(FEATURES.0 - 1);
    for (writes, wanted) in [(older, ""), (FEATURES, "ramp+tie_downs")] {
        let events = decide(&Rescue::default(), rider(), &ask, writes);
        let needs = events.iter().find_map(|event| {
            if let Event::Triaged { needs, .. } = event {
                Some(needs.skills.join("+"))
            } else {
                None
            }
        });
        assert_eq!(needs.as_deref(), Some(wanted), "{writes}");
        assert!(events.iter().all(|event| Rescue::event_format(event) <= writes), "{writes}");
        let mut there = World::requested(Request { policy, ..request() });
        there.win(1);
        there.see(1, SCENE);
        there.yes(by(1), Command::Arrive {});
        let there = there.rescue;
        let needs = Needs { vehicles: vec![VehicleKind::Van], ..Needs::default() };
        let escalate = Command::Escalate { needs: needs.clone(), stay: true };
        let events = decide(&there, by(1), &escalate, writes);
        let is_as_said =
            matches!(&events[0], Event::Escalated { needs: wanted, .. } if *wanted == needs);
        assert_eq!(is_as_said, writes == older, "{events:?}");
    }
    // What kind of bike it is, an older build would not read.
    let bike = Request { bike: Some(Bike::Moped), ..request() };
    let said = serde_json::to_string(&request()).unwrap();
    assert!(!said.contains("bike") && !said.contains("loading"), "{said}");
    assert_eq!((request().format(), bike.format()), (Format::FIRST, FEATURES));
    let (at, stranded, request) = (START, None, Box::new(bike));
    assert_eq!(Rescue::command_format(&Command::Request(request.clone())), FEATURES);
    assert_eq!(Rescue::event_format(&Event::Requested { at, request, stranded }), FEATURES);
    let (driver, by, bypassed) = (d(2), Principal::Dispatcher, vec![WhyNot::TieDowns]);
    let chosen = Event::DriverChosen { at, driver, by, reason: why(), bypassed };
    assert_eq!(Rescue::event_format(&chosen), FEATURES);
}

#[test]
fn whoever_is_sent_to_carry_it_away_after_all_must_be_able_to_load_it() {
    let request = || Request { policy: loading(Loading::Known), ..request() };
    let asked_for = |request: Request, needs: Needs| {
        let mut world = World::requested(request);
        world.win(1);
        world.see(1, SCENE);
        world.yes(by(1), Command::Arrive {});
        world.yes(by(1), Command::Escalate { needs, stay: true });
        assert_eq!(card_of(&world).needs, world.case().needs);
        world.case().needs.to_string()
    };
    let only = |kind| Needs { vehicles: vec![kind], ..Needs::default() };
    let van = only(VehicleKind::Van);
    assert_eq!(asked_for(request(), van.clone()), "van, 150 kg, ramp, tie_downs");
    let heavy = Request { bike: Some(Bike::Motorcycle), ..request() };
    assert_eq!(asked_for(heavy.clone(), van.clone()), "van, 200 kg, lift_gate, tie_downs");
    let truck = asked_for(heavy.clone(), only(VehicleKind::TowTruck));
    assert_eq!(truck, "tow_truck, 200 kg, tie_downs");
    // What the one who is there says, counts, and is not said twice.
    let skills = vec!["tie_downs".to_owned(), "winch".to_owned()];
    let said = Needs { weight_g: 280_000, skills, ..van.clone() };
    assert_eq!(asked_for(heavy.clone(), said), "van, 280 kg, tie_downs, winch, lift_gate");
    // No van says that it may carry a car; who asks for a van knows why, and it need bring no less than for what just fits in.
    let car = Request { vehicle: Some(VehicleKind::Car), ..request() };
    assert_eq!(asked_for(car.clone(), van.clone()), "van, 300 kg, lift_gate, tie_downs");
    let truck = asked_for(car, only(VehicleKind::TowTruck));
    assert_eq!(truck, "tow_truck, 1500 kg, tie_downs");
    // Somebody with cables carries nothing.
    let skills = vec!["jump_start".to_owned()];
    let helper = Needs { vehicles: vec![VehicleKind::Moto, VehicleKind::Van], skills, weight_g: 0 };
    assert_eq!(asked_for(heavy.clone(), helper.clone()), helper.to_string());
    assert_eq!(asked_for(heavy, Needs::default()), "nothing");
    let unknown = Request { vehicle: None, ..request() };
    assert_eq!(asked_for(unknown, van.clone()), "van", "nobody said what it is");
}

#[test]
fn what_is_needed_is_shown_to_its_rider_and_to_staff() {
    let mut world = World::requested(Request { issue: Issue::Accident, ..request() });
    world.win(1);
    let shown = |reader| world.rescue.rescue_view(id(), 1, reader).unwrap().needs;
    assert_eq!(shown(rider()), world.case().needs);
    assert_eq!(shown(Principal::Dispatcher), world.case().needs);
    assert_eq!(shown(by(1)), Needs::default(), "a driver is told what its offer says");
}

fn any_vehicle() -> impl Strategy<Value = Vehicle> {
    let kinds: Vec<VehicleKind> = VehicleKind::iter().collect();
    let has = ["ramp", "lift_gate", "tie_downs", "winch"];
    let skills = prop::sample::subsequence(has.map(str::to_owned).to_vec(), 0..=has.len());
    (prop::sample::select(kinds), 0..2_000_000_u32, skills)
        .prop_map(|(kind, capacity_g, skills)| Vehicle { kind, capacity_g, skills })
}

/// What is known of something stranded, but for its weight.
fn anything_stranded() -> impl Strategy<Value = Request> {
    let vehicle = prop::option::of(prop::sample::select(VehicleKind::iter().collect::<Vec<_>>()));
    let bike = prop::option::of(prop::sample::select(Bike::iter().collect::<Vec<_>>()));
    let issue = prop::sample::select(Issue::iter().collect::<Vec<_>>());
    let when = prop::sample::select(vec![Loading::Never, Loading::Known, Loading::Always]);
    (vehicle, bike, issue, when).prop_map(|(vehicle, bike, issue, when)| Request {
        vehicle,
        bike,
        issue,
        policy: loading(when),
        ..request()
    })
}

proptest! {
    /// Whatever may carry it may carry what is lighter, and what is demanded to load it never excludes who was told before.
    #[test]
    fn what_is_heavier_never_needs_less(
        stranded in anything_stranded(),
        weights_g in [1..400_000_u32, 1..400_000_u32],
        vehicle in any_vehicle(),
        asked_for in prop::sample::select(vec![
            vec![VehicleKind::Van],
            vec![VehicleKind::TowTruck],
            vec![VehicleKind::Van, VehicleKind::TowTruck],
        ]),
        said_g in prop_oneof![Just(0), 1..400_000_u32],
    ) {
        let needs = |weight_g| triage::needs(&Request { weight_g, ..stranded.clone() }, true);
        let [a, b] = weights_g;
        let (light, heavy) = (needs(a.min(b)), needs(a.max(b)));
        prop_assert!(!heavy.are_met_by(&vehicle) || light.are_met_by(&vehicle), "{light}; {heavy}");
        prop_assert!(light.weight_g <= heavy.weight_g);
        let escalated = |weight_g| {
            let request = Request { weight_g, ..stranded.clone() };
            let (vehicles, weight_g) = (asked_for.clone(), said_g);
            triage::escalated(Needs { vehicles, weight_g, skills: Vec::new() }, &request)
        };
        // Whatever whoever is there would do with, also beyond what usually fits into a van.
        let (light, heavy) = (escalated(a.min(b)), escalated(a.max(b)));
        prop_assert!(light.weight_g <= heavy.weight_g, "{light}; {heavy}");
        prop_assert!(!heavy.are_met_by(&vehicle) || light.are_met_by(&vehicle), "{light}; {heavy}");
    }

    /// A tow truck that is large enough, with a winch, can carry anything away, whether or not it says more.
    #[test]
    fn a_tow_truck_that_is_large_enough_need_not_say_that_it_is_one(
        stranded in anything_stranded(),
        weight_g in 0..40_000_000_u32,
    ) {
        let skills = ["winch", "tyre", "jump_start", "fuel", "locksmith", "repair"];
        let skills = skills.map(str::to_owned).to_vec();
        let truck = Vehicle { kind: VehicleKind::TowTruck, capacity_g: 40_000_000, skills };
        let needs = triage::needs(&Request { weight_g, ..stranded }, true);
        prop_assert!(needs.are_met_by(&truck), "{needs}");
    }
}

#[test]
fn a_vague_call_waits_for_a_person_but_not_for_long() {
    let mut world = World::in_status(RescueStatus::Requested);
    assert_eq!(world.rescue.listing(id()), None);
    assert_eq!(world.ask(Principal::System, Command::Tick {}), Ok(vec![]));
    world.pass(MINUTE);
    assert_eq!(
        world.ask(Principal::System, Command::Tick {}).unwrap(),
        ["triaged", "search_opened"]
    );
}

#[test]
fn nobody_rescues_oneself() {
    let mut world = World::in_status(RescueStatus::Searching);
    let (driver, force, reason) = (DriverId(RiderId::nth(1).0), true, why());
    let assign = Command::Assign { driver, force, reason, against: Vec::new() };
    assert!(matches!(world.ask(Principal::Dispatcher, assign), Err(Refusal::Unfit(_))));
}

#[test]
fn the_second_driver_is_told_it_is_gone() {
    let mut world = World::requested(Request { policy: broadcast(), ..request() });
    let (first, second) = (world.offer(1), world.offer(2));
    world.told();
    world.accept(first, 1).unwrap();
    assert_eq!(world.told(), ["driver 2: withdraw_offer", "driver 1: commit_job"]);
    assert_eq!(world.accept(second, 2), Err(Refusal::OfferGone(OfferStatus::Withdrawn)));
}

fn broadcast() -> JobPolicy {
    JobPolicy { offer: OfferPolicy::BroadcastFirstWins, ..JobPolicy::rescue() }
}

#[test]
fn an_expired_offer_is_never_accepted() {
    let mut world = World::in_status(RescueStatus::Searching);
    let offer = world.offer(1);
    world.pass(20 * SECOND);
    assert_eq!(world.accept(offer, 1), Err(Refusal::OfferGone(OfferStatus::Expired)));
}

#[test]
fn arriving_means_being_near() {
    let mut world = World::in_status(RescueStatus::EnRoute);
    let arrive = || Command::Arrive {};
    assert!(matches!(world.ask(by(1), arrive()), Err(Refusal::TooEarly { .. })));
    world.see(1, SCENE.offset_m(101.0, 0.0));
    let too_far =
        |retry_after_ms| Err(Refusal::TooFar { distance_m: 101, limit_m: 100, retry_after_ms });
    assert_eq!(world.ask(by(1), arrive()), too_far(None));
    let mut later = world.clone();
    later.pass(SECOND);
    assert_eq!(
        later.ask(by(1), arrive()),
        too_far(Some(500)),
        "its last position may be on its way"
    );
    assert!(world.clone().ask(rider(), arrive()).is_ok(), "the rider sees the driver");
    world.see(1, SCENE.offset_m(99.0, 0.0));
    assert_eq!(world.ask(by(1), arrive()).unwrap(), ["arrived"]);
}

#[test]
fn moving_towards_the_scene_is_setting_off_and_reaching_it_is_arriving() {
    let policy = JobPolicy { auto_arrive: true, ..JobPolicy::rescue() };
    let mut world = World::requested(Request { policy, ..request() });
    world.win(1);
    assert_eq!(world.see(1, SCENE.offset_m(900.0, 0.0)), []);
    assert_eq!(world.see(1, SCENE.offset_m(870.0, 0.0)), []);
    assert_eq!(world.see(2, SCENE.offset_m(1.0, 0.0)), [], "somebody else");
    assert_eq!(world.see(1, SCENE.offset_m(840.0, 0.0)), [Command::Depart {}]);
    let mut corrected = world.clone();
    let seen = corrected.see_corrected(1, SCENE.offset_m(40.0, 0.0), None, 1);
    assert_eq!(seen.asks, [], "it may be corrected again");
    assert_eq!(corrected.see_corrected(1, SCENE, None, 1).asks, [Command::Arrive {}]);
    assert_eq!(world.see(1, SCENE.offset_m(40.0, 0.0)), [Command::Arrive {}]);
    let beside = world.see(1, SCENE.offset_m(120.0, 0.0));
    assert_eq!(beside, [Command::Depart {}], "the band around it is not within");
}

#[test]
fn whoever_was_never_where_they_were_said_to_be_has_not_set_off_from_there() {
    let mut world = World::requested(request());
    world.win(1);
    let mut asks = |east_m: f64, n_corrected| {
        world.see_corrected(1, SCENE.offset_m(east_m, 0.0), None, n_corrected).asks
    };
    assert_eq!(asks(5_000.0, 0), []);
    // The sighting that said so first was lost.
    assert_eq!(asks(900.0, 1), [], "it was never further away");
    assert_eq!(asks(870.0, 1), []);
    // Its actor fell, and counts anew.
    assert_eq!(asks(840.0, 0), [Command::Depart {}]);
    assert_eq!(asks(400.0, 1), []);
}

#[test]
fn who_follows_it_is_told_when_help_comes_and_goes_and_of_another_driver_anew() {
    let dropoff = Some(Place::from(GARAGE));
    let mut world = World::requested(Request { dropoff, ..request() });
    let crosses = |world: &mut World, n: u64, at: Point| {
        world.see_coming(n, at, None).passed_on.into_iter().find_map(|it| {
            let Sight::Rescue(_, Sighting::Crossed { driver, stop, crossing, .. }) = it else {
                return None;
            };
            assert_eq!(driver, d(n));
            Some((stop, crossing))
        })
    };
    world.win(1);
    assert_eq!(crosses(&mut world, 1, near()), None);
    assert_eq!(crosses(&mut world, 1, SCENE), Some((0, Crossing::Entered)));
    assert_eq!(crosses(&mut world, 1, SCENE.offset_m(120.0, 0.0)), None);
    assert_eq!(crosses(&mut world, 1, SCENE.offset_m(160.0, 0.0)), Some((0, Crossing::Exited)));
    assert_eq!(crosses(&mut world, 1, SCENE), Some((0, Crossing::Entered)));
    world.yes(by(1), Command::Cancel { reason: why() });
    world.win(2);
    assert_eq!(crosses(&mut world, 2, near()), None, "it was not there");
    assert_eq!(crosses(&mut world, 2, SCENE), Some((0, Crossing::Entered)));
    world.yes(by(2), Command::Arrive {});
    world.yes(by(2), Command::Load { dropoff: None, proofs: photo() });
    world.yes(by(2), Command::Depart {});
    assert_eq!(crosses(&mut world, 2, near()), None, "it goes where it should");
    assert_eq!(crosses(&mut world, 2, GARAGE), Some((1, Crossing::Entered)));
}

#[test]
fn loading_needs_a_destination_and_a_photo() {
    let mut world = World::in_status(RescueStatus::OnScene);
    let load = |dropoff, proofs| Command::Load { dropoff, proofs };
    let garage = Some(Place::from(GARAGE));
    assert!(matches!(world.ask(by(1), load(None, photo())), Err(Refusal::Invalid { .. })));
    let bare = world.ask(by(1), load(garage.clone(), vec![]));
    assert_eq!(bare, Err(Refusal::ProofMissing("photo".to_owned())));
    assert!(world.ask(by(1), load(garage, photo())).is_ok());
}

#[test]
fn unloading_needs_a_photo() {
    let mut world = World::in_status(RescueStatus::AtDropoff);
    let bare = world.ask(by(1), Command::Unload { proofs: vec![] });
    assert_eq!(bare, Err(Refusal::ProofMissing("photo".to_owned())));
}

#[test]
fn a_silent_rider_means_it_is_fixed() {
    let mut world = World::in_status(RescueStatus::Assisting);
    world.yes(by(1), Command::Fixed {});
    world.pass(2 * MINUTE - 1);
    assert_eq!(world.ask(Principal::System, Command::Tick {}), Ok(vec![]));
    world.pass(1);
    assert_eq!(world.rescue.deadline(), Some((world.now, Command::Tick {})));
    assert_eq!(world.ask(Principal::System, Command::Tick {}).unwrap(), ["completed"]);
    assert_eq!(world.case().outcome.as_deref(), Some("fixed_on_scene"));
}

#[test]
fn a_rider_cannot_confirm_what_the_driver_has_not_said() {
    let mut world = World::in_status(RescueStatus::Assisting);
    let confirm = Command::ConfirmFixed { fixed: true };
    assert!(matches!(world.ask(rider(), confirm), Err(Refusal::TooEarly { .. })));
}

#[test]
fn a_no_show_takes_ten_minutes_at_the_scene_and_an_attempt_to_call() {
    let mut world = World::in_status(RescueStatus::OnScene);
    let no_show = || Command::NoShow {};
    world.pass(10 * MINUTE);
    world.see(1, SCENE);
    assert!(matches!(world.ask(by(1), no_show()), Err(Refusal::ProofMissing(_))));
    world.yes(by(1), Command::Contacted {});
    assert_eq!(world.clone().ask(by(1), no_show()).unwrap(), ["no_show"]);
    world.see(1, SCENE.offset_m(300.0, 0.0));
    assert!(matches!(world.ask(by(1), no_show()), Err(Refusal::TooFar { .. })));
    world.see(1, SCENE);
    let what = "the wait".to_owned();
    let too_early = Refusal::TooEarly { what, remaining_ms: 10 * MINUTE };
    assert_eq!(world.ask(by(1), no_show()), Err(too_early), "the wait begins anew");
    world.pass(10 * MINUTE);
    world.see(1, SCENE);
    world.yes(by(1), no_show());
    assert_eq!(world.case().fee, 5_000);
}

#[test]
fn cancelling_is_free_until_two_minutes_after_acceptance() {
    let fee_after = |ms| {
        let mut world = World::in_status(RescueStatus::Accepted);
        world.pass(ms);
        world.yes(rider(), Command::Cancel { reason: why() });
        world.case().fee
    };
    assert_eq!((fee_after(2 * MINUTE), fee_after(2 * MINUTE + 1)), (0, 5_000));
}

#[test]
fn nobody_but_those_concerned_can_call_it_off() {
    let mut world = World::in_status(RescueStatus::Accepted);
    for by in [by(2), Principal::Rider(RiderId::nth(2))] {
        for command in [Command::Cancel { reason: why() }, Command::CancelSafety { reason: why() }]
        {
            assert!(matches!(world.ask(by, command), Err(Refusal::NotYours(_))));
        }
    }
}

#[test]
fn whoever_feels_unsafe_can_end_it_in_every_active_status() {
    for status in RescueStatus::iter().filter(|status| !status.is_final()) {
        let world = World::in_status(status);
        let driver = world.case().driver.as_ref().or(world.case().attached.as_ref());
        let driver = driver.map(|it| Principal::Driver(it.driver));
        for by in [Some(rider()), driver, Some(Principal::Dispatcher)].into_iter().flatten() {
            let mut world = world.clone();
            world.yes(by, Command::CancelSafety { reason: why() });
            assert_eq!((world.status(), world.case().fee), (RescueStatus::CancelledSafety, 0));
            assert_eq!(world.rescue.claims(id()), []);
            let told = world.told();
            let n_incidents = told.iter().filter(|it| *it == "incident: open").count();
            assert_eq!(n_incidents, 1, "{by} while {status}: {told:?}");
        }
    }
}

#[test]
fn a_lost_driver_is_replaced_on_the_way_but_not_at_the_scene() {
    let lost = || Search::DriverLost { driver: d(1), reason: why() };
    let mut world = World::in_status(RescueStatus::EnRoute);
    let events = world.search(lost()).unwrap();
    assert_eq!(events, ["driver_released", "driver_excluded", "search_opened"]);
    assert_eq!(world.search(lost()), Ok(vec![]));
    let mut world = World::in_status(RescueStatus::OnScene);
    assert!(matches!(world.search(lost()), Err(Refusal::IllegalTransition { .. })));
}

#[test]
fn who_loses_a_driver_has_waited_since_the_call_and_has_a_whole_new_search() {
    let mut world = World::in_status(RescueStatus::EnRoute);
    world.pass(5 * MINUTE);
    world.yes(by(1), Command::Cancel { reason: why() });
    assert_eq!(card_of(&world).opened_at, START);
    let search = Duration::from_millis(request().policy.search_ms.into());
    assert_eq!(world.case().search.until(), Some(world.now + search));
}

#[test]
fn a_driver_who_gave_it_up_is_not_offered_it_again() {
    let mut world = World::in_status(RescueStatus::EnRoute);
    world.yes(by(1), Command::Cancel { reason: why() });
    let Some(Card::Search(card)) = world.rescue.listing(id()).map(|it| it.card) else { panic!() };
    assert!(card.excluded.contains(&d(1)));
    let candidates = vec![Candidate { driver: d(1), eta_s: 1, distance_m: 1, cost_ms: 0 }];
    assert_eq!(world.search(Search::Propose { round: card.round, candidates }), Ok(vec![]));
    let (driver, force) = (d(1), false);
    let assign = Command::Assign { driver, force, reason: why(), against: Vec::new() };
    assert!(matches!(world.ask(Principal::Dispatcher, assign), Err(Refusal::Unfit(_))));
}

#[test]
fn a_dispatcher_gives_it_to_another_driver_in_one_go() {
    for status in [RescueStatus::Accepted, RescueStatus::EnRoute] {
        let mut world = World::in_status(status);
        world.told();
        let reassign = |n, force, against: &[WhyNot]| Command::Reassign {
            driver: d(n),
            force,
            reason: why(),
            against: against.to_vec(),
        };
        let refused = world.ask(Principal::Dispatcher, reassign(2, false, &[WhyNot::Skill]));
        assert_eq!(refused, Err(Refusal::Unfit(vec![WhyNot::Skill])));
        assert_eq!(world.status(), status, "nothing has changed");
        let events = world.ask(Principal::Dispatcher, reassign(2, true, &[WhyNot::Skill]));
        let wanted =
            ["driver_released", "driver_excluded", "search_opened", "driver_chosen", "offer_made"];
        assert_eq!(events.unwrap(), wanted);
        assert_eq!(world.told(), ["driver 1: end_job", "driver 2: reserve_offer"]);
        assert_eq!(world.status(), RescueStatus::Searching);
    }
}

#[test]
fn a_rescue_that_loses_too_many_drivers_is_given_up() {
    let mut world = World::in_status(RescueStatus::Accepted);
    for n in 2..=4 {
        world.yes(by(n - 1), Command::Cancel { reason: why() });
        world.win(n);
    }
    world.yes(by(4), Command::Cancel { reason: why() });
    assert_eq!(world.status(), RescueStatus::NoDriver);
}

#[test]
fn when_nobody_else_comes_the_driver_who_stayed_goes_on() {
    let mut world = World::in_status(RescueStatus::Escalated);
    world.pass(10 * MINUTE);
    world.yes(Principal::System, Command::Tick {});
    assert_eq!(world.status(), RescueStatus::OnScene);
    assert_eq!(world.case().driver.as_ref().unwrap().driver, d(1));
    world.yes(by(1), Command::BeginAssist {});
}

#[test]
fn when_nobody_else_comes_and_nobody_stayed_it_is_over() {
    let mut world = World::in_status(RescueStatus::OnScene);
    world.told();
    world.yes(by(1), Command::Escalate { needs: Needs::default(), stay: false });
    assert_eq!(world.told(), ["driver 1: end_job"]);
    world.pass(10 * MINUTE);
    world.yes(Principal::System, Command::Tick {});
    assert_eq!(world.status(), RescueStatus::NoDriver);
}

#[test]
fn only_one_driver_waits() {
    let mut world = World::in_status(RescueStatus::Escalated);
    world.win(2);
    world.see(2, SCENE);
    world.yes(by(2), Command::Arrive {});
    let escalate = |stay| Command::Escalate { needs: Needs::default(), stay };
    assert!(matches!(world.ask(by(2), escalate(true)), Err(Refusal::NotEligible(_))));
    world.yes(by(2), escalate(false));
    assert_eq!(world.case().attached.as_ref().unwrap().driver, d(1));
}

#[test]
fn a_second_driver_who_gives_up_leaves_the_first_one_waiting() {
    let mut world = World::in_status(RescueStatus::Escalated);
    world.win(2);
    world.yes(by(2), Command::Cancel { reason: why() });
    assert_eq!(world.status(), RescueStatus::Escalated);
    let view = world.rescue.rescue_view(id(), 3, rider()).unwrap();
    assert_eq!((view.driver, view.attached), (None, Some(d(1))));
}

#[test]
fn who_is_stranded_where_nobody_of_ours_goes_is_told_who_does() {
    let partner = Alternative { name: "Roadside".to_owned(), phone: "+250 788 000 000".to_owned() };
    let elsewhere = vec![partner.clone()];
    let told = |request: Request| {
        World::requested(request).rescue.rescue_view(id(), 1, rider()).unwrap().alternatives
    };
    assert_eq!(
        told(Request { served: false, elsewhere: elsewhere.clone(), ..request() }),
        [partner]
    );
    let somebody_comes = Request { elsewhere, ..request() };
    assert_eq!(told(somebody_comes), []);
}

/// Near the scene, and not there.
fn near() -> Point {
    SCENE.offset_m(900.0, 0.0)
}

#[test]
fn how_long_somebody_waited_for_a_driver_and_to_know_when_it_comes_is_told_once() {
    let mut world = World::in_status(RescueStatus::Searching);
    world.pass(90 * SECOND);
    world.win(1);
    let (took, at_most) = (Duration::from_secs(90), Duration::from_secs(120));
    assert_eq!(world.waited, [Waited { what: "driver", took, at_most }]);
    assert_eq!(world.waits(), [("driver", 90, false)]);

    world.pass(70 * SECOND);
    world.see(1, near());
    let (took, at_most) = (Duration::from_secs(70), Duration::from_secs(60));
    assert_eq!(world.waited, [Waited { what: "eta", took, at_most }]);
    assert_eq!(world.waits(), [("eta", 70, true)]);
    world.see(1, near());
    assert_eq!(world.waits(), [], "it is known by now");

    // Whoever comes instead is to be seen as well, but that somebody came has been told.
    world.yes(by(1), Command::Cancel { reason: why() });
    world.pass(5 * MINUTE);
    world.win(2);
    world.see(2, near());
    assert_eq!(world.waits(), [("eta", 0, false)]);
    world.yes(rider(), Command::Cancel { reason: why() });
    assert_eq!(world.waits(), []);
}

#[test]
fn who_gets_no_driver_in_time_has_waited_too_long_however_it_ends() {
    let ends = [
        (rider(), Command::Cancel { reason: why() }),
        (rider(), Command::CancelSafety { reason: why() }),
        (Principal::Dispatcher, Command::Cancel { reason: why() }),
        (Principal::Dispatcher, Command::Fail { reason: why() }),
    ];
    for (by, command) in ends {
        let mut world = World::in_status(RescueStatus::Searching);
        world.pass(2 * MINUTE);
        let mut soon = world.clone();
        soon.yes(by, command.clone());
        assert_eq!(soon.waits(), [], "{command:?}: there was time left");
        world.pass(SECOND);
        world.yes(by, command.clone());
        assert_eq!(world.waits(), [("driver", 121, true)], "{command:?}");
    }
    let mut world = World::in_status(RescueStatus::NoDriver);
    assert_eq!(world.waits(), [("driver", 600, true)]);
    let nothing_promised = JobPolicy { driver_within_ms: 0, ..JobPolicy::rescue() };
    let mut world = World::requested(Request { policy: nothing_promised, ..request() });
    world.pass(10 * MINUTE);
    world.yes(Principal::System, Command::Tick {});
    assert_eq!((world.status(), world.waits()), (RescueStatus::NoDriver, vec![]));
}

#[test]
fn who_had_a_driver_and_ends_without_one_has_waited_for_that_one_only() {
    // It loses every driver, each of whom was seen.
    let mut world = World::in_status(RescueStatus::Searching);
    for n in 1..=4 {
        world.win(n);
        world.see(n, near());
        world.pass(MINUTE);
        world.yes(by(n), Command::Cancel { reason: why() });
    }
    assert_eq!(world.status(), RescueStatus::NoDriver);
    let waits = world.waits();
    assert_eq!(waits.iter().filter(|(what, ..)| *what == "driver").count(), 1, "{waits:?}");
    assert!(waits.iter().all(|(_, _, is_missed)| !is_missed), "{waits:?}");

    // One was there and nobody stays; the second never comes.
    let mut world = World::in_status(RescueStatus::OnScene);
    world.yes(by(1), Command::Escalate { needs: Needs::default(), stay: false });
    world.waits();
    world.pass(10 * MINUTE);
    world.yes(Principal::System, Command::Tick {});
    assert_eq!((world.status(), world.waits()), (RescueStatus::NoDriver, vec![]));
    // One stays, and nobody else comes.
    let mut world = World::in_status(RescueStatus::Escalated);
    world.waits();
    world.pass(10 * MINUTE);
    world.yes(Principal::System, Command::Tick {});
    assert_eq!((world.status(), world.waits()), (RescueStatus::OnScene, vec![]));
}

#[test]
fn a_driver_whom_nobody_sees_is_told_when_it_goes_or_is_there_and_not_before() {
    let lost = |world: &mut World| {
        let (driver, reason) = (d(1), why());
        world.search(Search::DriverLost { driver, reason }).unwrap();
    };
    let waiting = |ms| {
        let mut world = World::in_status(RescueStatus::Accepted);
        assert_eq!(world.waits(), [("driver", 0, false)]);
        world.pass(ms);
        world
    };
    let mut soon = waiting(MINUTE);
    lost(&mut soon);
    assert_eq!(soon.waits(), [], "there was time left");
    let mut late = waiting(MINUTE + SECOND);
    lost(&mut late);
    assert_eq!(late.waits(), [("eta", 61, true)]);
    late.yes(rider(), Command::Cancel { reason: why() });
    assert_eq!(late.waits(), [], "it was told when it went");

    // It says that it has set off, which shows nobody when it comes.
    let mut silent = waiting(MINUTE + SECOND);
    silent.yes(by(1), Command::Depart {});
    let mut over = silent.clone();
    over.yes(rider(), Command::Cancel { reason: why() });
    assert_eq!(over.waits(), [("eta", 61, true)]);
    silent.yes(rider(), Command::Arrive {});
    assert_eq!(silent.waits(), [("eta", 61, true)]);
    silent.yes(Principal::Admin, Command::Fail { reason: why() });
    assert_eq!(silent.waits(), []);

    // Whether one was seen who accepted before this life of the rescue, nobody knows any more.
    let mut woken = waiting(MINUTE + SECOND);
    woken.rescue.wake(woken.now);
    lost(&mut woken);
    assert_eq!(woken.waits(), []);
    // But what its former host knew it does.
    let mut moved = waiting(MINUTE + SECOND);
    let soft = rmp_serde::to_vec_named(&moved.rescue.soft()).unwrap();
    moved.rescue.wake(moved.now);
    moved.rescue.recall(rmp_serde::from_slice(&soft).unwrap());
    lost(&mut moved);
    assert_eq!(moved.waits(), [("eta", 61, true)]);
}

#[test]
fn the_rider_chooses_where_both_sides_must_agree() {
    let policy = JobPolicy { offer: OfferPolicy::TwoSided, ..JobPolicy::rescue() };
    let mut world = World::requested(Request { policy, ..request() });
    let (first, second) = (world.offer(1), world.offer(2));
    world.accept(first, 1).unwrap();
    assert_eq!(world.status(), RescueStatus::Searching);
    world.yes(rider(), Command::RejectOffer { offer: first });
    world.accept(second, 2).unwrap();
    world.yes(rider(), Command::ConfirmOffer { offer: second });
    assert_eq!(world.status(), RescueStatus::Accepted);
    assert_eq!(world.case().driver.as_ref().unwrap().driver, d(2));
}

#[test]
fn a_slow_rescue_is_noticed_before_and_when_it_is_too_slow() {
    let mut world = World::in_status(RescueStatus::Assisting);
    world.pass(48 * MINUTE);
    assert_eq!(world.ask(Principal::System, Command::Tick {}).unwrap(), ["sla_at_risk"]);
    world.pass(12 * MINUTE);
    assert_eq!(world.ask(Principal::System, Command::Tick {}).unwrap(), ["sla_breached"]);
    assert_eq!(world.rescue.deadline(), None);
}

// Old journals.

/// Every kind of event there is, as the first version wrote them. Never edit; add.
const GOLDEN: &str = include_str!("../../tests/journals/rescue-v1.jsonl");

#[test]
fn a_journal_of_version_1_still_replays() {
    let mut rescue = Rescue::default();
    let mut names = BTreeSet::new();
    for line in GOLDEN.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        names.insert(<&'static str>::from(&event));
        rescue.evolve(&event);
    }
    let missing: Vec<_> = Event::VARIANTS.iter().filter(|name| !names.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are in no golden journal");
    insta::assert_json_snapshot!(rescue.view(id()).unwrap().body, @r#"
    {
      "at": {
        "at": {
          "lat": -1.9441,
          "lon": 30.0619
        },
        "label": "KN 3 Rd"
      },
      "changed_at": 1700004225000,
      "dropoff": {
        "at": {
          "lat": -1.96,
          "lon": 30.1
        }
      },
      "issue": "accident",
      "outcome": "towed",
      "status": "completed",
      "total": {
        "amount": 6200,
        "currency": "RWF"
      }
    }
    "#);
}

// Laws.

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Named(&'static str, Principal),
    Propose(u64),
    Offer(OfferAnswer, u32, u64),
    Lost(u64),
    Claim(u64),
    Assign(u64, bool),
    Confirm(u32, bool),
    Fixed(bool),
    Stay(u64, bool),
    At(u64, bool),
    Tick,
}

#[derive(Debug, Clone, Copy)]
enum OfferAnswer {
    Refused,
    Seen,
    Accepted,
    Declined,
}

fn any_step() -> impl Strategy<Value = Step> {
    let names: Vec<&'static str> =
        Command::VARIANTS.iter().copied().filter(|it| !["search", "tick"].contains(it)).collect();
    let n = || 1..4_u64;
    let who = prop_oneof![
        6 => n().prop_map(by),
        3 => Just(rider()),
        2 => Just(Principal::Dispatcher),
        1 => Just(Principal::System),
        1 => Just(Principal::Rider(RiderId::nth(2))),
    ];
    let answer = prop_oneof![
        1 => Just(OfferAnswer::Refused),
        1 => Just(OfferAnswer::Seen),
        6 => Just(OfferAnswer::Accepted),
        1 => Just(OfferAnswer::Declined),
    ];
    prop_oneof![
        2 => (0..30_000_u64).prop_map(Step::Pass),
        1 => (0..15 * MINUTE).prop_map(Step::Pass),
        16 => (prop::sample::select(names), who).prop_map(|(name, by)| Step::Named(name, by)),
        6 => n().prop_map(Step::Propose),
        8 => (answer, 0..6_u32, n()).prop_map(|(it, nth, n)| Step::Offer(it, nth, n)),
        1 => n().prop_map(Step::Lost),
        1 => n().prop_map(Step::Claim),
        1 => (n(), any::<bool>()).prop_map(|(n, force)| Step::Assign(n, force)),
        2 => (0..6_u32, any::<bool>()).prop_map(|(nth, yes)| Step::Confirm(nth, yes)),
        1 => any::<bool>().prop_map(Step::Fixed),
        2 => (n(), any::<bool>()).prop_map(|(n, stay)| Step::Stay(n, stay)),
        6 => (n(), any::<bool>()).prop_map(|(n, is_scene)| Step::At(n, is_scene)),
        3 => Just(Step::Tick),
    ]
}

impl World {
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let nth_offer = |nth| OfferId::of(JobId::Rescue(id()), nth);
        let system = Principal::System;
        let (by, command) = match step {
            Step::Pass(ms) => {
                self.pass(*ms);
                return Ok(());
            }
            Step::At(n, is_scene) => {
                for command in self.see(*n, if *is_scene { SCENE } else { GARAGE }) {
                    self.step(system, command)?;
                }
                return Ok(());
            }
            Step::Named(name, by) => (*by, command(name).1),
            Step::Propose(n) => {
                let Some(Card::Search(card)) = self.rescue.listing(id()).map(|it| it.card) else {
                    return Ok(());
                };
                let candidates =
                    vec![Candidate { driver: d(*n), eta_s: 60, distance_m: 500, cost_ms: 0 }];
                let round = card.round;
                (system, Command::Search(Search::Propose { round, candidates }))
            }
            Step::Offer(answer, nth, n) => {
                let (offer, driver) = (nth_offer(*nth), d(*n));
                (
                    system,
                    Command::Search(match answer {
                        OfferAnswer::Refused => Search::OfferRefused { offer, why: None },
                        OfferAnswer::Seen => Search::OfferSeen { offer },
                        OfferAnswer::Declined => Search::OfferDeclined { offer },
                        OfferAnswer::Accepted => {
                            Search::OfferAccepted { offer, driver, slots: slots() }
                        }
                    }),
                )
            }
            Step::Lost(n) => {
                (system, Command::Search(Search::DriverLost { driver: d(*n), reason: why() }))
            }
            Step::Claim(n) => {
                let (driver, slots) = (d(*n), slots());
                (
                    system,
                    Command::Search(Search::Claim { driver, slots, fleet: None, brings: None }),
                )
            }
            Step::Assign(n, force) => {
                let (driver, force) = (d(*n), *force);
                (
                    Principal::Dispatcher,
                    Command::Assign { driver, force, reason: why(), against: Vec::new() },
                )
            }
            Step::Confirm(nth, true) => (rider(), Command::ConfirmOffer { offer: nth_offer(*nth) }),
            Step::Confirm(nth, false) => (rider(), Command::RejectOffer { offer: nth_offer(*nth) }),
            Step::Fixed(fixed) => (rider(), Command::ConfirmFixed { fixed: *fixed }),
            Step::Stay(n, stay) => {
                (by(*n), Command::Escalate { needs: Needs::default(), stay: *stay })
            }
            Step::Tick => (system, Command::Tick {}),
        };
        self.step(by, command)
    }

    /// Asks, and checks that asking again has no second effect and that nothing due stays due.
    fn step(&mut self, by: Principal, command: Command) -> Result<(), TestCaseError> {
        let before = self.rescue.status();
        let answer = self.ask(by, command.clone());
        if answer.is_ok() {
            let again = self.ask(by, command.clone()).unwrap_or_default();
            prop_assert!(again.is_empty(), "{command:?} again: {again:?}");
        }
        if answer.is_ok() && command == (Command::Tick {}) {
            let due = self.rescue.deadline().map(|(due, _)| due);
            prop_assert!(due.is_none_or(|due| due > self.now), "{due:?} stands still");
        }
        if before.is_some_and(RescueStatus::is_final) {
            prop_assert_eq!(before, self.rescue.status(), "final is final");
        }
        Ok(())
    }

    /// What must hold whatever has happened.
    fn check(&self) -> Result<(), TestCaseError> {
        let Some(case) = self.rescue.case.as_deref() else { return Ok(()) };
        let status = case.status;
        let is_escalated = status == RescueStatus::Escalated;
        if !status.is_final() {
            let needs_driver = status.has_driver() && !is_escalated;
            prop_assert_eq!(case.driver.is_some(), needs_driver, "I-4: {}", status);
        }
        let is_looking = matches!(status, RescueStatus::Searching | RescueStatus::Escalated);
        prop_assert_eq!(case.search.is_open(), is_looking, "{}", status);
        if !is_looking {
            prop_assert_eq!(case.search.offers().len(), 0, "I-9: {}", status);
        }
        let is_asking = is_looking && !case.search.is_in_feed() && !case.search.is_held();
        prop_assert_eq!(self.rescue.listing(id()).is_some(), is_asking);
        let drivers: Vec<_> =
            case.driver.iter().chain(&case.attached).map(|it| it.driver).collect();
        let distinct: BTreeSet<_> = drivers.iter().collect();
        prop_assert_eq!(drivers.len(), distinct.len(), "nobody is there twice");
        let claims = self.rescue.claims(id());
        let expected = match status.is_final() {
            true => 0,
            false => 1 + drivers.len() * slots().len(),
        };
        prop_assert_eq!(claims.len(), expected, "I-1, I-5: {:?}", claims);
        prop_assert_eq!(self.rescue.idle_max().is_some(), status.is_final());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever is asked and seen, in whatever order.
    #[test]
    fn no_sequence_of_commands_breaks_a_rescue(
        offer in prop::sample::select(vec![
            OfferPolicy::Sequential, OfferPolicy::BroadcastFirstWins, OfferPolicy::TwoSided,
            OfferPolicy::AutoAssign, OfferPolicy::Feed,
        ]),
        auto_arrive in any::<bool>(),
        steps in prop::collection::vec(any_step(), 0..100),
    ) {
        let policy = JobPolicy { offer, auto_arrive, ..JobPolicy::rescue() };
        let mut world = World::requested(Request { policy, ..request() });
        for step in steps {
            world.take(&step)?;
            world.check()?;
        }
        let mut replayed = Rescue::default();
        for event in &world.journal {
            let bytes = rmp_serde::to_vec_named(event).unwrap();
            replayed.evolve(&rmp_serde::from_slice(&bytes).unwrap());
        }
        prop_assert_eq!(&replayed, &world.rescue, "replaying the journal gives the live state");
        let bytes = rmp_serde::to_vec_named(&world.rescue).unwrap();
        let restored: Rescue = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&restored, &world.rescue, "and so does a snapshot");
        let ends = world.journal.iter().filter(|it| matches!(it, Event::Ended { .. })).count();
        prop_assert!(ends <= 1);
    }
}

#[test]
fn a_place_too_vague_waits_for_a_better_one_and_one_that_is_a_little_vague_has_a_wider_fence() {
    let vague = || World::in_status(RescueStatus::Requested);
    let locate =
        |accuracy_m, served| Command::Locate { at: Place::from(SCENE), accuracy_m, served };
    let mut still = vague();
    assert_eq!(still.ask(rider(), locate(Some(2_000), true)).unwrap(), ["located"]);
    assert_eq!(still.ask(rider(), locate(Some(2_000), true)).unwrap(), [""; 0]);
    assert_eq!(still.rescue.status(), Some(RescueStatus::Requested));
    let mut outside = vague();
    outside.yes(rider(), locate(Some(20), false));
    assert_eq!(outside.rescue.status(), Some(RescueStatus::RejectedOutOfArea));
    assert!(matches!(vague().ask(by(1), locate(Some(20), true)), Err(Refusal::NotYours(_))));

    let mut world = vague();
    let found = world.ask(rider(), locate(Some(400), true)).unwrap();
    assert_eq!(found, ["located", "triaged", "search_opened"]);
    world.win(1);
    world.see(1, SCENE.offset_m(450.0, 0.0));
    let too_far = Refusal::TooFar { distance_m: 450, limit_m: 400, retry_after_ms: None };
    assert_eq!(world.ask(by(1), Command::Arrive {}), Err(too_far));
    world.see(1, SCENE.offset_m(390.0, 0.0));
    world.yes(by(1), Command::Arrive {});
}

#[test]
fn who_is_in_danger_is_offered_to_several_drivers_at_once_and_a_dispatcher_is_told() {
    let urgent = Request { severity: Some(Severity::Urgent), ..request() };
    let mut world = World::requested(urgent.clone());
    let incident = |event: &Event| matches!(event, Event::IncidentOpened { .. });
    assert!(world.journal.iter().any(incident));
    let Some(Card::Search(card)) = world.rescue.listing(id()).map(|listing| listing.card) else {
        panic!("nobody is looked for");
    };
    assert_eq!((card.policy, card.n_wanted), (OfferPolicy::BroadcastFirstWins, 5));
    assert_eq!(world.ask(rider(), Command::Request(Box::new(urgent))).unwrap(), [""; 0]);
    let minor = World::requested(Request { severity: Some(Severity::Minor), ..request() });
    assert!(!minor.journal.iter().any(incident));
}

/// Of this way it wants to know how long it takes.
fn wonders(seen: Seen<Command>) -> Option<Vec<(StopKind, Point)>> {
    let [Sight::Way(journey)] = &seen.passed_on[..] else {
        assert!(seen.passed_on.is_empty(), "{seen:?}");
        return None;
    };
    assert_eq!(journey.driver, d(2));
    assert!(journey.halts.iter().all(|it| it.job == JobId::Rescue(id())), "{journey:?}");
    Some(journey.halts.iter().map(|it| (it.what, it.at)).collect())
}

fn comes_in(now: Timestamp, pickup_s: Option<u32>, arrival_s: u32) -> Etas {
    let eta = |s| Eta { s, low_s: s / 2, high_s: 2 * s };
    Etas { at: now, pickup: pickup_s.map(eta), next: None, arrival: Some(eta(arrival_s)) }
}

#[test]
fn whoever_waits_for_help_is_told_when_it_is_there_and_when_it_has_brought_the_vehicle_away() {
    let truck = Some(VehicleKind::TowTruck);
    let dropoff = Some(Place::from(GARAGE));
    let mut world = World::requested(Request { dropoff, ..request() });
    world.win(2);
    let seen = world.see_coming(2, near(), truck);
    let (up, down) = (StopKind::Pickup, StopKind::Dropoff);
    assert_eq!(wonders(seen), Some(vec![(up, SCENE), (down, GARAGE)]));
    let again = world.see_coming(2, near(), truck);
    assert_eq!(wonders(again), None, "it asked just now");
    let told = comes_in(world.now, Some(240), 900);
    let expected = |n, etas| Sighting::Expected { driver: d(n), etas };
    world.sees(&expected(2, Some(told)));
    world.sees(&expected(3, None));
    assert_eq!(world.expects(rider()).0, Some(told));
    assert_eq!(world.expects(Principal::Dispatcher).0, Some(told));
    assert_eq!(world.expects(by(2)).0, None, "whoever comes knows best");
    assert_eq!(world.rescue.next_of(&told), told.pickup);
    world.yes(by(2), Command::Depart {});
    assert_eq!(world.expects(rider()).0, Some(told), "it is as far as before");

    // It has something else to do first.
    let seen = world.see_coming(2, near(), None);
    let [Sight::Rescue(_, nothing)] = &seen.passed_on[..] else { panic!("{seen:?}") };
    assert_eq!(*nothing, expected(2, None));
    world.sees(nothing);
    assert_eq!(world.expects(rider()).0, None);
    assert!(world.see_coming(2, near(), None).passed_on.is_empty(), "they know");

    world.pass(5 * SECOND);
    assert!(wonders(world.see_coming(2, near(), truck)).is_some());
    world.sees(&expected(2, Some(told)));
    world.see(2, SCENE);
    world.yes(by(2), Command::Arrive {});
    assert_eq!(world.expects(rider()).0, None, "it is there");
    world.pass(5 * SECOND);
    assert_eq!(wonders(world.see_coming(2, SCENE, truck)), None);
    world.yes(by(2), Command::Load { dropoff: None, proofs: photo() });
    world.yes(by(2), Command::Depart {});
    assert_eq!(wonders(world.see_coming(2, SCENE, truck)), Some(vec![(down, GARAGE)]));
    let told = comes_in(world.now, None, 700);
    world.sees(&expected(2, Some(told)));
    assert_eq!(world.expects(rider()).0, Some(told));
    assert_eq!(world.rescue.next_of(&told), told.arrival);
}

#[test]
fn whoever_waits_for_a_driver_is_told_where_in_the_queue_and_only_meanwhile() {
    let mut world = World::in_status(RescueStatus::Searching);
    let queued = Queued { at: world.now, position: 2, n_waiting: 3, eta: None };
    world.sees(&Sighting::Queued { queued });
    assert_eq!(world.expects(rider()), (None, Some(queued)));
    assert_eq!(world.expects(Principal::Dispatcher).1, Some(queued));
    assert_eq!(world.expects(by(2)).1, None, "who is asked need not know");
    world.win(2);
    assert_eq!(world.expects(rider()).1, None);
    world.sees(&Sighting::Queued { queued });
    assert_eq!(world.expects(rider()).1, None, "that was on its way");
    world.yes(by(2), Command::Cancel { reason: why() });
    assert_eq!(world.expects(rider()), (None, None), "where it waits now was not counted yet");
}

#[test]
fn a_driver_who_needs_help_is_told_as_any_rider_is() {
    let me = DriverId(request().rider.0);
    let mut world = World::in_status(RescueStatus::Searching);
    world.win(2);
    world.see_coming(2, near(), Some(VehicleKind::TowTruck));
    let told = comes_in(world.now, Some(240), 240);
    world.sees(&Sighting::Expected { driver: d(2), etas: Some(told) });
    assert_eq!(world.expects(Principal::Driver(me)).0, Some(told));
}
