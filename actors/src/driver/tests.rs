//! What a driver promises.

use super::*;
use crate::listing::RegionId;
use matching::Came;
use proptest::prelude::*;
use protocol::{
    Currency, Money, OrderId, PartnerId, Place, Point, Principal, RescueId,
    trace::WhyNot,
    view::{Position, RunOffer, RunPay, RunStop, Shift, ShiftView, StopKind, Turnout},
    work::{DutyWish, VehicleKind},
};
use std::collections::BTreeSet;
use strum::VariantNames;

mod fatigue;
mod rota;
mod vouched;

/// Of these somebody must vouch for the first.
const SKILLS: [&str; 2] = ["certificate.hazmat", "winch"];
const START: Timestamp = Timestamp(1_000_000_000);
const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

fn me() -> DriverId {
    DriverId::nth(7)
}

fn own() -> Principal {
    Principal::Driver(me())
}

fn ride(n: u64) -> JobId {
    JobId::Order(OrderId::nth(n))
}

fn moto() -> Vehicle {
    Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: vec![] }
}

fn money(amount: i64) -> Money {
    Money { amount, currency: Currency::RWF }
}

/// A driver, its journal, what it told others, and a clock that only moves when told to.
#[derive(Debug)]
struct World {
    driver: Driver,
    journal: Vec<Event>,
    told: Vec<Effect>,
    now: Timestamp,
    policy: DriverPolicy,
}

impl World {
    /// A driver nobody has heard of.
    fn new(policy: DriverPolicy) -> Self {
        let mut driver = Driver::default();
        driver.wake(START);
        Self { driver, journal: vec![], told: vec![], now: START, policy }
    }

    /// A driver on duty, with a position.
    fn on_duty() -> Self {
        let mut world = Self::new(DriverPolicy::default());
        world.go_on().unwrap();
        world.at(KIGALI).unwrap();
        world
    }

    fn ask(&mut self, by: Principal, command: Command) -> Result<Vec<&'static str>, Refusal> {
        let context = Context { id: me(), by, now: self.now, writes: Format::WRITES };
        let events = self.driver.decide(&command, &context)?;
        for event in &events {
            self.told.extend(self.driver.effects(me(), event));
            self.driver.evolve(event);
        }
        let names = events.iter().map(Driver::event_name).collect();
        self.journal.extend(events);
        Ok(names)
    }

    fn go_on(&mut self) -> Result<Vec<&'static str>, Refusal> {
        let (vehicle, policy) = (Some(moto()), self.policy);
        self.ask(own(), Command::SetDuty { duty: DutyWish::On, vehicle, policy })
    }

    fn set(&mut self, duty: DutyWish) -> Result<Vec<&'static str>, Refusal> {
        let policy = self.policy;
        self.ask(own(), Command::SetDuty { duty, vehicle: None, policy })
    }

    fn offer(&self, n: u32, job: JobId, work: WorkKind) -> Offer {
        Offer {
            id: OfferId::of(job, n),
            job,
            work,
            pickup: Place::from(KIGALI),
            dropoff: Some(KIGALI.offset_m(0.0, 300.0).into()),
            fare: money(2_500),
            eta_s: 120,
            expires_at: self.now + Duration::from_secs(15),
            run: None,
            next: false,
        }
    }

    fn reserve(&mut self, offer: &Offer) -> Result<Vec<&'static str>, Refusal> {
        self.reserve_weighing(offer, &[])
    }

    /// The same of a job that asks something of its driver.
    fn reserve_wanting(
        &mut self,
        offer: &Offer,
        wants: Wants,
        force: bool,
    ) -> Result<Vec<&'static str>, Refusal> {
        let (offer, weights_g, wants) = (offer.clone(), vec![], vec![wants]);
        let reserve = Command::ReserveOffer { offer, consent: !force, force, weights_g, wants };
        self.ask(Principal::System, reserve)
    }

    fn reserve_weighing(
        &mut self,
        offer: &Offer,
        weights_g: &[u32],
    ) -> Result<Vec<&'static str>, Refusal> {
        let (offer, weights_g) = (offer.clone(), weights_g.to_vec());
        let (consent, force) = (true, false);
        let reserve = Command::ReserveOffer { offer, consent, force, weights_g, wants: vec![] };
        self.ask(Principal::System, reserve)
    }

    /// Forces an offer on the driver, without asking.
    fn force(&mut self, offer: &Offer) -> Result<Vec<&'static str>, Refusal> {
        let (offer, weights_g) = (offer.clone(), vec![]);
        let (consent, force) = (false, true);
        let reserve = Command::ReserveOffer { offer, consent, force, weights_g, wants: vec![] };
        self.ask(Principal::System, reserve)
    }

    /// Puts the driver on a job.
    fn on_job(&mut self, n: u64, work: WorkKind) -> JobId {
        let job = ride(n);
        let offer = self.offer(0, job, work);
        self.reserve(&offer).unwrap();
        self.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
        self.ask(Principal::System, Command::CommitJob { job }).unwrap();
        job
    }

    fn end(&mut self, job: JobId) -> Result<Vec<&'static str>, Refusal> {
        self.ask(Principal::System, Command::EndJob { job, reason: "completed".to_owned() })
    }

    fn pass(&mut self, ms: u64) {
        self.now = Timestamp(self.now.0 + ms);
    }

    fn tick(&mut self) -> Vec<&'static str> {
        self.ask(Principal::System, Command::Tick {}).unwrap()
    }

    fn see(&mut self, sighting: &Sighting) -> Seen<Command> {
        let context =
            Context { id: me(), by: Principal::System, now: self.now, writes: Format::WRITES };
        let seen = self.driver.see(sighting, &context);
        for command in &seen.asks {
            self.ask(Principal::System, command.clone()).unwrap();
        }
        seen
    }

    fn hear(&mut self) {
        self.see(&Sighting::Heartbeat);
    }

    fn position(&self, at: Point) -> Position {
        let sampled_at = self.now;
        Position { at, sampled_at, heading_deg: None, speed_mps: None, accuracy_m: Some(8.0) }
    }

    /// The driver's device says where it is.
    fn at(&mut self, at: Point) -> Result<usize, Refusal> {
        let seen = self.see(&Sighting::At(self.position(at)));
        seen.refused.map_or(Ok(seen.passed_on.len()), Err)
    }

    fn status(&self) -> DriverStatus {
        self.driver.status()
    }

    fn card(&self) -> Option<DriverCard> {
        match self.driver.listing(me())?.card {
            Card::Driver(card) => Some(card),
            Card::Search(_) | Card::Run(_) => None,
        }
    }

    fn told(&mut self) -> Vec<String> {
        self.told.drain(..).map(|effect| describe(&effect)).collect()
    }
}

/// A command to a job, and what follows if it is refused, in a few words.
fn describe(effect: &Effect) -> String {
    let name = |tell: &Tell| match tell {
        Tell::Order { command: crate::order::Command::Search(command), .. } => {
            <&'static str>::from(command).to_owned()
        }
        Tell::Driver { command, .. } => <&'static str>::from(command).to_owned(),
        Tell::Rescue { .. }
        | Tell::Rider { .. }
        | Tell::Revocation { .. }
        | Tell::Incident { .. }
        | Tell::Zone { .. }
        | Tell::Run { .. }
        | Tell::Rule { .. }
        | Tell::Template { .. }
        | Tell::Order { .. } => {
            format!("{tell:?}")
        }
    };
    match &effect.if_refused {
        Some(tell) => format!("{} else {}", name(&effect.tell), name(tell)),
        None => name(&effect.tell),
    }
}

// The table.

/// What each duty allows beyond what is always possible.
const TABLE: [(Duty, &[&str]); 4] = [
    (Duty::Off, &[]),
    (Duty::On, &["reserve_offer", "claim_job", "set_destination"]),
    (Duty::Break(Break::Wanted), &["reserve_offer"]),
    (Duty::Draining(Leave::Wanted), &["reserve_offer"]),
];

#[test]
fn every_command_is_either_always_possible_or_in_the_table() {
    for (duty, listed) in TABLE {
        let allowed = rules::allowed(duty);
        for name in Command::VARIANTS {
            let depends_on_duty = ["reserve_offer", "claim_job", "set_destination"].contains(name);
            let is_expected = *name != "tick" && (!depends_on_duty || listed.contains(name));
            assert_eq!(allowed.contains(name), is_expected, "{name} while {duty}");
        }
    }
}

#[test]
fn what_the_table_does_not_list_is_refused_with_what_it_does() {
    let mut world = World::new(DriverPolicy::default());
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    let Err(Refusal::IllegalTransition { state, allowed }) = world.reserve(&offer) else {
        panic!("an off-duty driver takes no offers");
    };
    assert_eq!(state, "off");
    assert!(!allowed.contains(&"reserve_offer".to_owned()));
    let claim = Command::ClaimJob { job: ride(1), work: WorkKind::Ride, weight_g: 0 };
    assert!(matches!(world.ask(own(), claim), Err(Refusal::IllegalTransition { .. })));
}

// Stories.

#[test]
fn an_offer_becomes_a_job_and_the_driver_is_free_again() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    let mut story = String::new();
    for (by, command) in [
        (
            Principal::System,
            Command::ReserveOffer {
                offer: offer.clone(),
                consent: true,
                force: false,
                weights_g: vec![],
                wants: vec![],
            },
        ),
        (own(), Command::SeeOffer { offer: offer.id }),
        (own(), Command::AcceptOffer { offer: offer.id }),
        (own(), Command::AcceptOffer { offer: offer.id }),
        (Principal::System, Command::CommitJob { job: ride(1) }),
        (Principal::System, Command::EndJob { job: ride(1), reason: "completed".to_owned() }),
        (Principal::System, Command::RecordRating { job: ride(1), stars: 4 }),
        (own(), Command::AcceptOffer { offer: offer.id }),
    ] {
        let name: &'static str = (&command).into();
        let answer = world.ask(by, command);
        story += &format!("{name} -> {answer:?}, {}, told {:?}\n", world.status(), world.told());
    }
    insta::assert_snapshot!(story, @r#"
    reserve_offer -> Ok(["offer_reserved"]), offered, told []
    see_offer -> Ok([]), offered, told []
    accept_offer -> Ok(["offer_accepted"]), busy, told ["offer_accepted else abort_job"]
    accept_offer -> Ok([]), busy, told []
    commit_job -> Ok(["job_committed"]), busy, told []
    end_job -> Ok(["job_ended"]), available, told []
    record_rating -> Ok(["rated"]), available, told []
    accept_offer -> Err(OfferGone(Accepted)), available, told []
    "#);
}

/// A row is much of what a commit costs, and a driver commits twice for each offer.
#[test]
fn offers_and_jobs_leave_its_row_as_it_is() {
    let mut world = World::on_duty();
    let row = world.driver.view(me()).unwrap();
    assert_eq!((row.status.as_str(), row.at), ("on_duty", START));
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.pass(SECOND);
    world.reserve(&offer).unwrap();
    assert_eq!(world.status(), DriverStatus::Offered);
    world.ask(own(), Command::DeclineOffer { offer: offer.id }).unwrap();
    let job = world.on_job(2, WorkKind::Ride);
    assert_eq!(world.status(), DriverStatus::Busy);
    world.pass(MINUTE);
    world.end(job).unwrap();
    assert_eq!(world.driver.view(me()), Some(row));

    world.set(DutyWish::Break).unwrap();
    let row = world.driver.view(me()).unwrap();
    assert_eq!((row.status.as_str(), row.at), ("on_break", world.now));
}

#[test]
fn an_offer_that_was_seen_is_passed_on_to_its_job_and_not_written_down() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    let see = Command::SeeOffer { offer: offer.id };
    assert_eq!(world.ask(own(), see.clone()), Ok(vec![]));
    let seen = search::Command::OfferSeen { offer: offer.id };
    assert_eq!(world.driver.passes_on(&see), Some(Tell::job(ride(1), seen)));
    assert_eq!(world.driver.passes_on(&Command::AcceptOffer { offer: offer.id }), None);
    world.ask(own(), Command::DeclineOffer { offer: offer.id }).unwrap();
    assert_eq!(world.ask(own(), see), Err(Refusal::OfferGone(OfferStatus::Declined)));
}

#[test]
fn a_job_assigned_without_asking_can_be_given_back_for_a_while() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    let (consent, force, weights_g) = (false, false, vec![]);
    let reserve = Command::ReserveOffer { offer, consent, force, weights_g, wants: vec![] };
    let mut story = format!("{:?}\n", world.ask(Principal::System, reserve));
    for (by, command) in [
        (own(), Command::RejectJob { job: ride(1) }),
        (Principal::System, Command::CommitJob { job: ride(1) }),
        (own(), Command::RejectJob { job: ride(1) }),
        (own(), Command::RejectJob { job: ride(1) }),
        (Principal::System, Command::EndJob { job: ride(1), reason: "reassigned".to_owned() }),
    ] {
        let name: &'static str = (&command).into();
        let answer = world.ask(by, command);
        story += &format!("{name} -> {answer:?}, {}, told {:?}\n", world.status(), world.told());
    }
    insta::assert_snapshot!(story, @r#"
    Ok(["offer_reserved", "offer_accepted"])
    reject_job -> Err(TooEarly { what: "the job is still being assigned", remaining_ms: 250 }), busy, told ["offer_accepted else abort_job"]
    commit_job -> Ok(["job_committed"]), busy, told []
    reject_job -> Ok(["job_left"]), busy, told ["driver_lost else keep_job"]
    reject_job -> Ok([]), busy, told []
    end_job -> Ok(["job_ended"]), available, told []
    "#);
}

#[test]
fn a_dispatcher_displaces_what_is_in_the_way() {
    let mut world = World::on_duty();
    let old = world.on_job(1, WorkKind::Ride);
    world.told();
    let offer = world.offer(0, ride(2), WorkKind::Ride);
    let mut story = format!("force -> {:?}, told {:?}\n", world.force(&offer), world.told());
    story += &format!("jobs {}, {}\n", world.driver.current_jobs().len(), world.status());
    story += &format!("end -> {:?}, told {:?}\n", world.end(old), world.told());
    insta::assert_snapshot!(story, @r#"
    force -> Ok(["offer_reserved", "offer_promised", "job_left"]), told ["driver_lost else keep_job"]
    jobs 1, offered
    end -> Ok(["job_ended", "offer_accepted"]), told ["offer_accepted else abort_job"]
    "#);
}

#[test]
fn silence_ends_in_being_forced_offline() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.pass(110 * SECOND);
    let offer = Offer { expires_at: world.now + Duration::from_secs(15), ..offer };
    world.reserve(&offer).unwrap();
    let mut story = String::new();
    for seconds in [5, 5, 170, 10] {
        world.pass(seconds * SECOND);
        let (events, status) = (world.tick(), world.status());
        let silent_s = world.now.since(START).as_secs();
        story += &format!("{silent_s} s: {events:?}, {status}, told {:?}\n", world.told());
    }
    insta::assert_snapshot!(story, @r#"
    115 s: [], offered, told []
    120 s: ["went_stale", "offer_dropped"], unreachable, told ["offer_refused"]
    290 s: [], unreachable, told []
    300 s: ["forced_offline"], offline, told []
    "#);
}

#[test]
fn a_lost_drivers_jobs_are_told_and_decide() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    world.told();
    world.pass(5 * MINUTE);
    assert_eq!(world.tick(), ["went_stale", "went_lost", "job_left"]);
    assert_eq!(world.told(), ["driver_lost else keep_job"]);
    assert_eq!(world.status(), DriverStatus::Unreachable);
    assert_eq!(world.driver.current_jobs(), [job]);
    assert_eq!(world.end(job).unwrap(), ["job_ended", "forced_offline"]);
}

#[test]
fn a_lost_driver_on_a_job_that_cannot_move_goes_on_when_heard_again() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    world.pass(5 * MINUTE);
    world.tick();
    assert_eq!(world.ask(Principal::System, Command::KeepJob { job }).unwrap(), ["job_kept"]);
    world.hear();
    assert_eq!(world.status(), DriverStatus::Busy);
    assert_eq!(world.end(job).unwrap(), ["job_ended"]);
    assert_eq!(world.status(), DriverStatus::Available);
}

// Guards.

#[test]
fn a_driver_cannot_act_for_another() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    let stranger = Principal::Driver(DriverId::nth(8));
    for command in [
        Command::AcceptOffer { offer: offer.id },
        Command::DeclineOffer { offer: offer.id },
        Command::SetDuty { duty: DutyWish::Off, vehicle: None, policy: world.policy },
        Command::Suspend { reason: String::new(), reassign: false },
        Command::Tick {},
    ] {
        let answer = world.ask(stranger, command.clone());
        assert!(matches!(answer, Err(Refusal::NotYours(_))), "{command:?}");
    }
}

#[test]
fn not_even_a_dispatcher_says_yes_for_a_driver() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    let accept = Command::AcceptOffer { offer: offer.id };
    assert!(matches!(world.ask(Principal::Dispatcher, accept), Err(Refusal::NotYours(_))));
}

#[test]
fn a_shift_needs_a_vehicle() {
    let mut world = World::new(DriverPolicy::default());
    assert!(matches!(world.set(DutyWish::On), Err(Refusal::Invalid { .. })));
    assert_eq!(world.go_on().unwrap(), ["went_on"]);
    assert_eq!(world.go_on().unwrap(), [""; 0]);
}

#[test]
fn an_expired_offer_is_gone() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    world.pass(15 * SECOND);
    let accept = Command::AcceptOffer { offer: offer.id };
    let gone = Err(Refusal::OfferGone(OfferStatus::Expired));
    assert_eq!(world.ask(own(), accept.clone()), gone);
    assert_eq!(world.tick(), ["offer_ended"]);
    assert_eq!(world.ask(own(), accept), gone);
    assert_eq!(world.reserve(&offer).unwrap_err(), Refusal::OfferGone(OfferStatus::Expired));
}

#[test]
fn one_offer_at_a_time() {
    let mut world = World::on_duty();
    let (first, second) =
        (world.offer(0, ride(1), WorkKind::Ride), world.offer(0, ride(2), WorkKind::Ride));
    world.reserve(&first).unwrap();
    assert!(matches!(world.reserve(&second), Err(Refusal::NotEligible(_))));
    assert_eq!(world.card(), None);
}

#[test]
fn accepting_one_offer_drops_the_others_first() {
    let mut world = World::new(DriverPolicy { parallel_offers: 2, ..DriverPolicy::default() });
    world.go_on().unwrap();
    let (first, second) =
        (world.offer(0, ride(1), WorkKind::Ride), world.offer(0, ride(2), WorkKind::Ride));
    world.reserve(&first).unwrap();
    world.reserve(&second).unwrap();
    let accept = Command::AcceptOffer { offer: second.id };
    assert_eq!(world.ask(own(), accept).unwrap(), ["offer_dropped", "offer_accepted"]);
    assert_eq!(world.told(), ["offer_refused", "offer_accepted else abort_job"]);
}

#[test]
fn a_ride_fills_the_vehicle_and_deliveries_share_it() {
    let mut world = World::on_duty();
    for n in 1..=5 {
        world.on_job(n, WorkKind::Delivery);
        let slots: Vec<u8> = world.driver.jobs.iter().flat_map(|job| job.slots.iter()).collect();
        assert_eq!(slots, (0..n as u8).collect::<Vec<_>>());
    }
    assert_eq!(world.status(), DriverStatus::Busy);
    let sixth = world.offer(0, ride(6), WorkKind::Delivery);
    assert!(matches!(world.reserve(&sixth), Err(Refusal::NotEligible(_))));
    world.end(ride(3)).unwrap();
    assert_eq!(world.status(), DriverStatus::PartlyBusy);
    let lift = world.offer(0, ride(7), WorkKind::Ride);
    assert!(matches!(world.reserve(&lift), Err(Refusal::NotEligible(_))));
    world.on_job(6, WorkKind::Delivery);
    assert_eq!(world.driver.job(ride(6)).unwrap().slots, Slots { first: 2, n: 1 });
}

/// What speaks against giving the driver delivery `n`, which weighs so much.
fn against_weight(world: &World, n: u64, weight_g: u32) -> Vec<WhyNot> {
    let needs = protocol::work::Needs { weight_g, ..Default::default() };
    let way = matching::fit::Way { pickup: KIGALI, dropoff: None };
    let (work, fleet, fleet_first) = (WorkKind::Delivery, None, false);
    let asks = Asks { work, needs: &needs, fleet, fleet_first, way };
    world.driver.against(ride(n), &asks, world.now, &matching::cost::Settings::default())
}

#[test]
fn what_it_has_to_bring_already_leaves_so_much_less_room() {
    let mut world = World::on_duty();
    for n in 1..=2 {
        let offer = world.offer(0, ride(n), WorkKind::Delivery);
        world.reserve_weighing(&offer, &[8_000]).unwrap();
        world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
        world.ask(Principal::System, Command::CommitJob { job: ride(n) }).unwrap();
    }
    let card = world.card().unwrap();
    assert_eq!((card.load_g, card.vehicle.capacity_g, card.n_slots), (16_000, 20_000, 3));
    assert_eq!(world.driver.room_g(), 4_000);
    let too_heavy = Err(Refusal::NotEligible("has no room for so much weight".to_owned()));
    // Whoever asks hears the same: a dispatcher, a region that knew less, and the driver itself.
    assert_eq!(against_weight(&world, 3, 4_001), [WhyNot::Capacity]);
    assert_eq!(against_weight(&world, 3, 4_000), []);
    let offer = world.offer(0, ride(3), WorkKind::Delivery);
    assert_eq!(world.reserve_weighing(&offer, &[4_001]), too_heavy);
    let claim = |weight_g| Command::ClaimJob { job: ride(4), work: WorkKind::Delivery, weight_g };
    assert_eq!(world.ask(own(), claim(4_001)), too_heavy);
    assert_eq!(world.ask(own(), claim(4_000)), Ok(vec!["job_claimed"]));
    assert_eq!(world.card().unwrap().load_g, 20_000);
    assert_eq!(world.reserve_weighing(&offer, &[0]).unwrap(), ["offer_reserved"], "a letter");
    // What it has is not in its own way, and what is over weighs nothing.
    assert!(!against_weight(&world, 1, 8_000).contains(&WhyNot::Capacity));
    world.end(ride(1)).unwrap();
    assert_eq!(world.driver.load_g(None), 12_000);
}

#[test]
fn a_dispatcher_may_overrule_what_it_weighs() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Delivery);
    let (consent, force, weights_g) = (false, true, vec![20_001]);
    let reserve = Command::ReserveOffer { offer, consent, force, weights_g, wants: vec![] };
    let events = world.ask(Principal::System, reserve);
    assert_eq!(events, Ok(vec!["offer_reserved", "offer_accepted"]));
}

#[test]
fn of_a_run_each_order_weighs_what_it_does_and_what_is_on_board_at_once_the_run_has_judged() {
    let mut world = World::on_duty();
    let offer = run_offer(&world, 3);
    world.reserve_weighing(&offer, &[9_000, 10_000, 11_000]).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    assert_eq!(world.driver.load_g(None), 30_000);
    assert_eq!(world.driver.load_g(Some(ride(2))), 20_000);
    for n in 1..=3 {
        world.ask(Principal::System, Command::CommitJob { job: ride(n) }).unwrap();
    }
    assert_eq!(against_weight(&world, 9, 1), [WhyNot::Capacity]);
    assert_eq!(against_weight(&world, 9, 0), []);
}

#[test]
fn several_at_once_are_weighed_together_and_beside_what_is_of_no_run() {
    let mut world = World::on_duty();
    let alone = world.offer(0, ride(9), WorkKind::Delivery);
    world.reserve_weighing(&alone, &[8_000]).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: alone.id }).unwrap();
    let run = Some(RunId::nth(1));
    let against = |world: &World, n, weight_g, run| world.driver.against_together(n, weight_g, run);
    assert_eq!(against(&world, 2, 12_001, None), [WhyNot::Capacity]);
    assert_eq!(against(&world, 4, 12_000, None), []);
    assert_eq!(against(&world, 5, 12_001, None), [WhyNot::NoRoom, WhyNot::Capacity]);
    // Of a run the heaviest must fit beside that; what is on board at once, the run has judged.
    let offer = run_offer(&world, 2);
    let too_heavy = Err(Refusal::NotEligible("has no room for so much weight".to_owned()));
    assert_eq!(world.reserve_weighing(&offer, &[5_000, 12_001]), too_heavy);
    world.reserve_weighing(&offer, &[9_000, 12_000]).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    assert_eq!(against(&world, 2, 12_000, run), []);
    assert_eq!(against(&world, 2, 12_001, run), [WhyNot::Capacity]);
    for other in [None, Some(RunId::nth(2))] {
        assert_eq!(against(&world, 2, 1, other), [WhyNot::Capacity]);
    }
}

#[test]
fn what_was_written_before_anything_was_weighed_weighs_nothing() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Delivery);
    world.reserve(&offer).unwrap();
    let reserved = serde_json::to_string(world.journal.last().unwrap()).unwrap();
    assert!(!reserved.contains("weights_g"), "an earlier build reads it as it always did");
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    let kept = serde_json::to_string(&world.driver).unwrap();
    assert!(!kept.contains("weight"), "{kept}");
    let driver: Driver = serde_json::from_str(&kept).unwrap();
    assert_eq!(driver.load_g(None), 0);
}

#[test]
fn a_job_that_went_to_someone_else_frees_the_driver() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    let reason = || "lost".to_owned();
    let abort = Command::AbortJob { job: ride(1), offer: Some(offer.id), reason: reason() };
    assert_eq!(world.ask(Principal::System, abort.clone()).unwrap(), ["job_aborted"]);
    assert_eq!(world.driver.ended_offer(offer.id), Some(OfferStatus::Lost));
    assert_eq!(world.status(), DriverStatus::Available);
    let job = world.on_job(2, WorkKind::Ride);
    let offer = world.driver.job(job).unwrap().offer;
    let abort = Command::AbortJob { job, offer, reason: reason() };
    assert_eq!(world.ask(Principal::System, abort).unwrap(), [""; 0], "only an end ends a job");
}

/// A driver with a rider on board, 200 m before the end.
fn nearly_there() -> (World, JobId) {
    let mut world = World::new(DriverPolicy { forward_m: 250, ..DriverPolicy::default() });
    world.go_on().unwrap();
    world.at(KIGALI).unwrap();
    let job = world.on_job(1, WorkKind::Ride);
    world.pass(10_000);
    world.at(KIGALI).unwrap();
    world.pass(10_000);
    world.at(KIGALI.offset_m(0.0, 100.0)).unwrap();
    (world, job)
}

#[test]
fn a_driver_about_to_end_a_ride_may_take_one_more_that_begins_when_it_has_ended() {
    let (mut world, first) = nearly_there();
    let card = world.card().expect("it is listed");
    assert!(card.is_nearly_free && !card.is_free && !card.has_delivery_slot);
    assert_eq!(world.status(), DriverStatus::Busy);
    let help = world.offer(0, JobId::Rescue(RescueId::nth(1)), WorkKind::Rescue);
    assert!(matches!(world.reserve(&help), Err(Refusal::NotEligible(_))));
    let second = world.on_job(2, WorkKind::Ride);
    assert_eq!(world.driver.job(second).unwrap().slots, Slots::NEXT);
    assert_eq!(world.card(), None, "one, and no more");
    let third = world.offer(0, ride(3), WorkKind::Ride);
    assert!(matches!(world.reserve(&third), Err(Refusal::NotEligible(_))));
    world.told.clear();
    assert_eq!(world.end(first).unwrap(), ["job_ended", "next_started"]);
    assert_eq!(world.driver.job(second).unwrap().slots, Slots { first: 0, n: 5 });
    assert_eq!(world.told(), ["settle"]);
}

#[test]
fn where_and_when_its_deliveries_end_is_listed_and_they_come_first_once_it_has_left_with_them() {
    let mut world = World::on_duty();
    let (from, to) = (KIGALI, KIGALI.offset_m(0.0, 300.0));
    world.pass(MINUTE);
    world.at(KIGALI.offset_m(0.0, -500.0)).unwrap();
    assert_eq!(world.card().unwrap().ending, None, "it has nothing to do");
    world.on_job(1, WorkKind::Delivery);
    let listed = |world: &World| {
        let card = world.card().unwrap();
        let ending = card.ending.unwrap();
        let left_s = ending.due.since(card.seen_at).as_secs_f64().round();
        (ending.at, left_s, card.is_bringing, card.start().0)
    };
    let here = KIGALI.offset_m(0.0, -500.0);
    assert_eq!(listed(&world), (to, 160.0, false, here), "to the pickup, and on");
    world.pass(30 * SECOND);
    world.at(from).unwrap();
    assert_eq!(listed(&world), (to, 60.0, false, from), "it may fetch more while it is there");
    world.pass(30 * SECOND);
    let left = KIGALI.offset_m(0.0, 200.0);
    world.at(left).unwrap();
    assert_eq!(listed(&world), (to, 20.0, true, to));
    // Dispatchers are told the same of its hours: the next one is a hundred metres, and three hundred from there.
    let needs = protocol::work::Needs::default();
    let costs = matching::cost::Settings::default();
    let against = |world: &World, until_s: u64| {
        let policy = DriverPolicy {
            duty_max_ms: (world.now.0 - START.0 + until_s * SECOND) as u32,
            ..DriverPolicy::default()
        };
        let driver = Driver { policy, ..world.driver.clone() };
        let way = matching::fit::Way { pickup: from, dropoff: None };
        let (work, fleet, fleet_first) = (WorkKind::Delivery, None, false);
        let asks = Asks { work, needs: &needs, fleet, fleet_first, way };
        driver.against(ride(2), &asks, world.now, &costs)
    };
    assert_eq!(against(&world, 20 + 53), [WhyNot::Hours]);
    assert_eq!(against(&world, 20 + 55), []);
    // One more is to be fetched: who knows which it does first?
    world.on_job(2, WorkKind::Delivery);
    assert_eq!(listed(&world), (to, 140.0, false, left));
    assert_eq!(against(&world, 139), [WhyNot::HasIt, WhyNot::Hours]);
}

#[test]
fn of_two_deliveries_from_one_place_nothing_is_left_to_fetch_once_it_has_left_it() {
    let mut world = World::on_duty();
    let (from, to) = (KIGALI, KIGALI.offset_m(0.0, 300.0));
    world.pass(MINUTE);
    world.at(KIGALI.offset_m(0.0, -500.0)).unwrap();
    world.on_job(1, WorkKind::Delivery);
    world.on_job(2, WorkKind::Delivery);
    world.pass(30 * SECOND);
    world.at(from).unwrap();
    assert!(world.card().unwrap().came.is_some(), "it set out for the first of them");
    world.pass(30 * SECOND);
    world.at(KIGALI.offset_m(0.0, 200.0)).unwrap();
    let card = world.card().unwrap();
    let ending = card.ending.unwrap();
    let left_s = ending.due.since(card.seen_at).as_secs_f64().round();
    assert_eq!((ending.at, left_s, card.is_bringing), (to, 20.0, true), "both go to one door");
}

#[test]
fn of_who_is_on_a_run_the_run_knows_when_it_ends() {
    let mut world = World::on_duty();
    let offer = run_offer(&world, 2);
    world.reserve(&offer).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    let card = world.card().unwrap();
    assert_eq!((card.ending, card.is_bringing, card.start().0), (None, false, KIGALI));
}

#[test]
fn a_job_that_decides_after_the_ride_before_it_has_ended_begins_then() {
    let (mut world, first) = nearly_there();
    let offer = world.offer(0, ride(2), WorkKind::Delivery);
    world.reserve(&offer).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    assert_eq!(world.end(first).unwrap(), ["job_ended"]);
    let commit = Command::CommitJob { job: ride(2) };
    let committed = world.ask(Principal::System, commit).unwrap();
    assert_eq!(committed, ["job_committed", "next_started"]);
    assert_eq!(world.driver.job(ride(2)).unwrap().slots, Slots { first: 0, n: 1 });
}

#[test]
fn nobody_gets_one_more_before_the_rider_is_on_board_or_where_the_policy_says_never() {
    let mut world = World::new(DriverPolicy { forward_m: 250, ..DriverPolicy::default() });
    world.go_on().unwrap();
    world.at(KIGALI.offset_m(0.0, 300.0)).unwrap();
    world.on_job(1, WorkKind::Ride);
    world.pass(10_000);
    world.at(KIGALI.offset_m(0.0, 290.0)).unwrap();
    assert_eq!(world.card(), None, "near the end, but it has not been at the pickup");
    let mut never = World::on_duty();
    never.on_job(1, WorkKind::Ride);
    never.pass(10_000);
    never.at(KIGALI.offset_m(0.0, 100.0)).unwrap();
    assert_eq!(never.card(), None);
}

#[test]
fn where_a_driver_wants_to_go_is_listed_until_the_shift_ends() {
    let mut world = World::on_duty();
    let home = Some(KIGALI.offset_m(5_000.0, 0.0));
    let to_home = Command::SetDestination { to: home };
    assert_eq!(world.ask(own(), to_home.clone()).unwrap(), ["destination_set"]);
    assert_eq!(world.card().unwrap().destination, home);
    assert!(matches!(world.ask(Principal::Admin, to_home.clone()), Err(Refusal::NotYours(_))));
    world.set(DutyWish::Off).unwrap();
    assert!(matches!(world.ask(own(), to_home), Err(Refusal::IllegalTransition { .. })));
    world.go_on().unwrap();
    world.at(KIGALI).unwrap();
    assert_eq!(world.card().unwrap().destination, None);
}

#[test]
fn a_driver_nobody_has_ever_heard_of_cannot_be_suspended() {
    let mut world = World::new(DriverPolicy::default());
    let unknown = Err(Refusal::Unknown("driver".to_owned()));
    let suspend = Command::Suspend { reason: "papers".to_owned(), reassign: false };
    assert_eq!(world.ask(Principal::Admin, suspend.clone()), unknown);
    assert_eq!(world.ask(Principal::Admin, Command::Reinstate {}), unknown);
    world.go_on().unwrap();
    assert!(world.ask(Principal::Admin, suspend).is_ok());
}

#[test]
fn a_late_abort_of_one_offer_leaves_the_same_job_by_another_offer_alone() {
    let mut world = World::on_duty();
    let (first, second) =
        (world.offer(0, ride(1), WorkKind::Ride), world.offer(1, ride(1), WorkKind::Ride));
    let abort = |offer| Command::AbortJob { job: ride(1), offer, reason: "lost".to_owned() };
    world.reserve(&first).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: first.id }).unwrap();
    world.ask(Principal::System, abort(Some(first.id))).unwrap();
    world.reserve(&second).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: second.id }).unwrap();
    for late in [Some(first.id), None] {
        assert_eq!(world.ask(Principal::System, abort(late)).unwrap(), [""; 0]);
    }
    let freed = world.ask(Principal::System, abort(Some(second.id))).unwrap();
    assert_eq!(freed, ["job_aborted"]);
}

#[test]
fn an_abort_written_before_it_named_its_offer_can_still_be_read() {
    let text = r#"{"abort_job":{"job":{"order":"order-00000000000070008000000000000001"},"reason":"lost"}}"#;
    let Command::AbortJob { offer, .. } = serde_json::from_str(text).unwrap() else {
        panic!("not an abort");
    };
    assert_eq!(offer, None);
}

#[test]
fn a_job_that_does_not_decide_is_asked_again_less_and_less_often() {
    let mut world = World::on_duty();
    let claim = Command::ClaimJob { job: ride(1), work: WorkKind::Delivery, weight_g: 0 };
    world.ask(own(), claim).unwrap();
    let mut waits = Vec::new();
    while waits.len() < 4 {
        let (due, tick) = world.driver.deadline().unwrap();
        waits.push(due.since(world.now).as_secs());
        world.pass(due.since(world.now).as_millis() as u64);
        world.hear();
        world.ask(Principal::System, tick).unwrap();
    }
    assert_eq!(waits, [3, 6, 12, 24]);
    assert_eq!(world.told(), ["claim else abort_job"; 5]);
}

#[test]
fn a_rejected_job_can_no_longer_be_rejected_after_the_window() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    let reject = Command::RejectJob { job };
    assert!(matches!(world.ask(own(), reject), Err(Refusal::TooLate(_))), "it was asked");
    world.end(job).unwrap();
    let offer = world.offer(0, ride(2), WorkKind::Ride);
    let (consent, force, weights_g) = (false, false, vec![]);
    let reserve = Command::ReserveOffer { offer, consent, force, weights_g, wants: vec![] };
    world.ask(Principal::System, reserve).unwrap();
    world.ask(Principal::System, Command::CommitJob { job: ride(2) }).unwrap();
    world.pass(10 * SECOND + 1);
    let reject = Command::RejectJob { job: ride(2) };
    assert!(matches!(world.ask(own(), reject), Err(Refusal::TooLate(_))));
}

#[test]
fn going_off_duty_with_a_job_drains() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Delivery);
    assert_eq!(world.set(DutyWish::Off).unwrap(), ["draining"]);
    assert_eq!(world.set(DutyWish::Off).unwrap(), [""; 0]);
    let offer = world.offer(0, ride(2), WorkKind::Delivery);
    assert!(world.reserve(&offer).is_err());
    assert_eq!(world.end(job).unwrap(), ["job_ended", "went_off"]);
    assert_eq!(world.status(), DriverStatus::Offline);
}

#[test]
fn going_off_duty_declines_what_was_offered() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    assert_eq!(world.set(DutyWish::Off).unwrap(), ["offer_declined", "went_off"]);
    assert_eq!(world.told(), ["offer_declined"]);
}

#[test]
fn a_suspension_takes_effect_when_the_work_is_done() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    let suspend = Command::Suspend { reason: "papers".to_owned(), reassign: false };
    assert_eq!(world.ask(Principal::Admin, suspend.clone()).unwrap(), ["suspended", "draining"]);
    assert_eq!(world.status(), DriverStatus::Busy);
    assert_eq!(world.end(job).unwrap(), ["job_ended", "went_off"]);
    assert_eq!(world.status(), DriverStatus::Blocked);
    assert_eq!(world.go_on(), Err(Refusal::NotEligible("papers".to_owned())));
    assert_eq!(world.ask(Principal::Admin, suspend).unwrap(), [""; 0]);
    assert_eq!(world.ask(Principal::Admin, Command::Reinstate {}).unwrap(), ["reinstated"]);
    assert_eq!(world.go_on().unwrap(), ["went_on"]);
}

#[test]
fn a_strict_suspension_gives_the_jobs_to_others() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    world.told();
    let suspend = Command::Suspend { reason: "unsafe".to_owned(), reassign: true };
    let events = world.ask(Principal::Dispatcher, suspend).unwrap();
    assert_eq!(events, ["suspended", "draining", "job_left"]);
    assert_eq!(world.told(), ["driver_lost else keep_job"]);
    world.end(job).unwrap();
    assert_eq!(world.status(), DriverStatus::Blocked);
}

#[test]
fn a_stranded_driver_helps_nobody_until_help_has_come() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    world.told();
    let rescue = RescueId::nth(9);
    let strand = Command::Strand { rescue };
    assert_eq!(world.ask(Principal::System, strand).unwrap(), ["stranded", "job_left"]);
    assert_eq!(world.told(), ["driver_lost else keep_job"]);
    assert_eq!(world.status(), DriverStatus::Blocked);
    world.end(job).unwrap();
    assert_eq!(world.card(), None);
    let offer = world.offer(0, ride(2), WorkKind::Ride);
    assert_eq!(world.force(&offer), Err(Refusal::NotEligible("stranded".to_owned())));
    let other = Command::Unstrand { rescue: RescueId::nth(8) };
    assert_eq!(world.ask(Principal::System, other).unwrap(), [""; 0]);
    world.ask(Principal::System, Command::Unstrand { rescue }).unwrap();
    assert_eq!(world.status(), DriverStatus::Available);
}

#[test]
fn an_offer_that_comes_too_late_is_not_laid_before_the_driver() {
    let mut world = World::on_duty();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.pass(15 * SECOND);
    assert_eq!(world.reserve(&offer), Err(Refusal::OfferGone(OfferStatus::Expired)));
}

#[test]
fn finishing_what_one_has_is_work_on_a_break_and_after_it() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    world.set(DutyWish::Break).unwrap();
    world.pass(3 * HOUR);
    world.hear();
    assert_eq!(world.set(DutyWish::Off).unwrap(), ["draining"]);
    world.pass(7 * HOUR);
    assert_eq!(world.driver.worked_ms(world.now), 10 * HOUR as u32, "and so it was on the break");
    world.pass(2 * HOUR);
    world.end(job).unwrap();
    assert!(matches!(world.go_on(), Err(Refusal::MustRest { .. })));
}

#[test]
fn three_unanswered_offers_end_in_a_break() {
    let mut world = World::on_duty();
    for n in 1..=3 {
        let offer = world.offer(0, ride(n), WorkKind::Ride);
        world.reserve(&offer).unwrap();
        world.pass(15 * SECOND);
        let events = world.tick();
        let expected: &[_] =
            if n < 3 { &["offer_ended"] } else { &["offer_ended", "break_started"] };
        assert_eq!(events, expected);
    }
    assert_eq!(world.status(), DriverStatus::OnBreak);
    assert_eq!(world.set(DutyWish::On).unwrap(), ["resumed"]);
    assert_eq!(world.status(), DriverStatus::Available);
}

#[test]
fn an_answer_forgives_earlier_silence() {
    let mut world = World::on_duty();
    for n in 1..=5 {
        let offer = world.offer(0, ride(n), WorkKind::Ride);
        world.reserve(&offer).unwrap();
        if n == 3 {
            world.ask(own(), Command::DeclineOffer { offer: offer.id }).unwrap();
        }
        world.pass(15 * SECOND);
        world.tick();
    }
    assert_eq!(world.status(), DriverStatus::Available);
}

#[test]
fn after_twelve_hours_a_driver_must_rest_for_six() {
    let mut world = World::on_duty();
    world.pass(11 * HOUR);
    world.hear();
    world.set(DutyWish::Off).unwrap();
    world.pass(HOUR);
    world.go_on().unwrap();
    world.pass(HOUR);
    world.hear();
    assert_eq!(world.tick(), ["break_started"], "a short break does not start the clock anew");
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    assert!(world.reserve(&offer).is_err());
    world.pass(5 * HOUR);
    let must_rest = Refusal::MustRest { remaining_ms: HOUR };
    assert_eq!(world.set(DutyWish::On), Err(must_rest.clone()));
    world.hear();
    world.set(DutyWish::Off).unwrap();
    assert_eq!(world.go_on(), Err(must_rest), "going home does not shorten the rest");
    world.pass(HOUR);
    assert_eq!(world.go_on().unwrap(), ["went_on"]);
    assert_eq!(world.tick(), [""; 0]);
}

#[test]
fn a_rest_begins_when_the_last_job_ends() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    world.pass(12 * HOUR);
    world.hear();
    assert_eq!(world.tick(), ["break_started"]);
    world.pass(2 * HOUR);
    world.end(job).unwrap();
    world.pass(5 * HOUR);
    assert!(matches!(world.set(DutyWish::On), Err(Refusal::MustRest { .. })));
}

#[test]
fn a_dispatcher_can_wake_a_resting_driver_but_not_an_absent_or_blocked_one() {
    let mut world = World::on_duty();
    world.set(DutyWish::Break).unwrap();
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    assert!(matches!(world.reserve(&offer), Err(Refusal::IllegalTransition { .. })));
    assert_eq!(world.force(&offer).unwrap(), ["offer_reserved", "offer_accepted"]);
    let mut world = World::on_duty();
    world.pass(3 * MINUTE);
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    assert!(matches!(world.force(&offer), Err(Refusal::NotEligible(_))));
    let mut world = World::on_duty();
    let suspend = Command::Suspend { reason: "papers".to_owned(), reassign: false };
    world.ask(Principal::Admin, suspend).unwrap();
    assert!(world.force(&offer).is_err());
}

#[test]
fn a_displaced_job_that_cannot_move_keeps_its_driver() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    let offer = world.offer(0, ride(2), WorkKind::Ride);
    world.force(&offer).unwrap();
    world.told();
    let keep = Command::KeepJob { job };
    assert_eq!(world.ask(Principal::System, keep).unwrap(), ["job_kept", "offer_dropped"]);
    assert_eq!(world.told(), ["offer_refused"]);
    assert_eq!(world.driver.current_jobs(), [job]);
}

// Positions.

#[test]
fn regions_hear_of_a_driver_who_has_got_somewhere_or_every_two_seconds() {
    let mut world = World::on_duty();
    let first = world.card().unwrap();
    world.pass(SECOND);
    world.at(KIGALI.offset_m(3.0, 0.0)).unwrap();
    assert_eq!(world.card().unwrap(), first, "near, and too soon");
    world.pass(SECOND);
    let second = KIGALI.offset_m(100.0, 0.0);
    world.at(second).unwrap();
    assert_eq!(world.card().unwrap().at, second);
    let mut shown = second;
    for (half_way, away) in [
        (second.offset_m(105.0, 0.0), second.offset_m(210.0, 0.0)),
        (second.offset_m(210.0, -105.0), second.offset_m(210.0, -210.0)),
    ] {
        world.pass(SECOND * 9 / 10);
        world.at(half_way).unwrap();
        assert_eq!(world.card().unwrap().at, shown, "near, and too soon");
        world.pass(SECOND * 9 / 10);
        world.at(away).unwrap();
        assert_eq!(world.card().unwrap().at, away, "at once");
        shown = away;
    }
}

/// A long way in small steps: the region that is listed is that of a place two hundred metres behind at most.
#[test]
fn the_region_is_that_of_a_place_nearby() {
    let mut world = World::on_duty();
    let mut at = KIGALI;
    let mut behind = std::collections::VecDeque::from([RegionId::at(KIGALI)]);
    let mut regions = BTreeSet::new();
    for _ in 0..800 {
        world.pass(2 * SECOND);
        at = at.offset_m(40.0, 25.0);
        behind.push_front(RegionId::at(at));
        behind.truncate(6);
        world.at(at).unwrap();
        let region = world.driver.listing(me()).unwrap().region;
        assert!(behind.contains(&region), "at {at:?}");
        regions.insert(region);
    }
    assert!(regions.len() > 2, "{regions:?}");
    // Whoever was silent for too long is listed nowhere, and then where it is.
    world.pass(90 * SECOND);
    world.hear();
    assert_eq!(world.driver.listing(me()), None);
    world.at(at).unwrap();
    assert_eq!(world.driver.listing(me()).unwrap().region, RegionId::at(at));
}

#[test]
fn rubbish_positions_are_refused_and_change_nothing() {
    let mut world = World::on_duty();
    let good = world.position(KIGALI);
    world.pass(4 * SECOND);
    let next = world.position(KIGALI.offset_m(20.0, 0.0));
    let rubbish = [
        ("older", Position { sampled_at: START - Duration::from_secs(1), ..next }),
        ("twice", Position { sampled_at: START, ..next }),
        ("from the future", Position { sampled_at: world.now + Duration::from_secs(31), ..next }),
        ("vague", Position { accuracy_m: Some(201.0), ..next }),
        ("negative", Position { accuracy_m: Some(-1.0), ..next }),
        ("nonsense", Position { accuracy_m: Some(f32::NAN), ..next }),
        ("a jump", Position { at: KIGALI.offset_m(5_000.0, 0.0), ..next }),
    ];
    for (what, position) in rubbish {
        let seen = world.see(&Sighting::At(position));
        assert!(matches!(seen.refused, Some(Refusal::Invalid { .. })), "{what}");
        assert!(seen.passed_on.is_empty());
        assert_eq!(world.driver.soft.position(), Some(&good), "{what}");
    }
    assert!(world.see(&Sighting::At(next)).refused.is_none());
}

#[test]
fn a_driver_far_away_is_believed_once_there_was_time_to_get_there() {
    let mut world = World::on_duty();
    let far = KIGALI.offset_m(0.0, 7_000.0);
    world.pass(60 * SECOND);
    assert!(world.at(far).is_err());
    world.pass(45 * SECOND);
    assert!(world.at(far).is_ok());
}

#[test]
fn a_driver_whose_clock_is_set_right_goes_on_as_before() {
    let mut world = World::on_duty();
    world.pass(4 * SECOND);
    let ahead = world.now + Duration::from_secs(20);
    let seen = world.see(&Sighting::At(Position { sampled_at: ahead, ..world.position(KIGALI) }));
    assert_eq!(seen.refused, None);
    world.pass(21 * SECOND);
    let there = KIGALI.offset_m(600.0, 0.0);
    let seen = world.see(&Sighting::At(world.position(there)));
    assert_eq!((seen.refused, seen.implausible), (None, None));
    assert_eq!(world.driver.position(), Some(there));
}

#[test]
fn a_driver_whose_clock_is_set_back_is_believed_again_after_a_minute() {
    let mut world = World::on_duty();
    let beside = KIGALI.offset_m(100.0, 0.0);
    let says = |world: &mut World, at, older_s| {
        let sampled_at = world.now - Duration::from_secs(older_s);
        let seen = world.see(&Sighting::At(Position { sampled_at, ..world.position(at) }));
        seen.refused.is_none()
    };
    world.pass(MINUTE);
    assert!(!says(&mut world, beside, 300), "it may have been stored");
    world.pass(SECOND);
    assert!(!says(&mut world, beside, 121), "only a minute older, it came late");
    assert!(says(&mut world, beside, 300));
    assert_eq!(world.driver.position(), Some(beside));
    world.pass(SECOND);
    assert!(says(&mut world, KIGALI, 300), "it goes on by that clock");
    // Or those were stored, and the clock is as it was.
    world.pass(SECOND);
    assert!(says(&mut world, beside, 0));
    world.pass(SECOND);
    assert!(!says(&mut world, KIGALI, 300));
    assert_eq!(world.driver.position(), Some(beside));
}

/// Somewhere its device cannot be by then; and what is made of that.
fn jump(world: &mut World) -> Seen<Command> {
    world.pass(SECOND);
    let seen = world.see(&Sighting::At(world.position(KIGALI.offset_m(90_000.0, 0.0))));
    assert!(matches!(seen.refused, Some(Refusal::Invalid { .. })), "{seen:?}");
    seen
}

#[test]
fn a_jump_is_counted_and_positions_that_go_on_agreeing_are_believed() {
    let mut world = World::on_duty();
    world.on_job(1, WorkKind::Delivery);
    let seen = jump(&mut world);
    assert_eq!((seen.implausible, seen.passed_on.len()), (Some("jump"), 0));
    let there = KIGALI.offset_m(90_010.0, 0.0);
    for _ in 0..3 {
        world.pass(SECOND);
        let seen = world.see(&Sighting::At(world.position(there)));
        assert_eq!((seen.implausible, seen.passed_on.len()), (Some("jump"), 0));
        assert_eq!(world.driver.position(), Some(KIGALI), "and nobody is shown it");
    }
    world.pass(SECOND);
    let n_corrected = |world: &mut World| {
        let seen = world.see(&Sighting::At(world.position(there)));
        assert_eq!((&seen.refused, seen.implausible), (&None, None));
        let [Sight::Order(_, search::Sighting::DriverAt { n_corrected, .. })] = &seen.passed_on[..]
        else {
            panic!("{seen:?}");
        };
        *n_corrected
    };
    assert_eq!(n_corrected(&mut world), 1, "it has not come from where it was thought to be");
    assert_eq!(world.driver.position(), Some(there));
    world.pass(SECOND);
    assert_eq!(n_corrected(&mut world), 1, "nor is it said once only");
}

#[test]
fn from_where_it_never_was_no_way_to_a_pickup_is_learned() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Ride);
    jump(&mut world);
    let there = KIGALI.offset_m(90_000.0, 0.0);
    while world.driver.position() != Some(there) {
        world.pass(SECOND);
        drop(world.at(there));
    }
    world.pass(2 * HOUR);
    world.at(KIGALI).unwrap();
    world.end(job).unwrap();
    assert_eq!(world.card().unwrap().came, None);
}

#[test]
fn whoever_goes_on_duty_may_be_anywhere() {
    let mut world = World::on_duty();
    world.set(DutyWish::Off).unwrap();
    world.pass(SECOND);
    world.go_on().unwrap();
    assert!(world.at(KIGALI.offset_m(90_000.0, 0.0)).is_ok());
}

#[test]
fn what_a_device_knows_to_be_made_up_is_counted_and_shows_only_that_it_lives() {
    let mut world = World::on_duty();
    let (card, silence) = (world.card(), world.driver.silence_due());
    world.pass(SECOND);
    let seen = world.see(&Sighting::MadeUp);
    assert!(matches!(seen.refused, Some(Refusal::Invalid { .. })), "{seen:?}");
    assert_eq!((seen.implausible, seen.passed_on.len()), (Some("mock"), 0));
    assert_eq!(world.card(), card);
    assert!(world.driver.silence_due() > silence);
    world.set(DutyWish::Off).unwrap();
    assert_eq!(world.see(&Sighting::MadeUp).implausible, None, "nobody asks it now");
}

#[test]
fn whoever_jumps_again_and_again_is_marked_until_it_has_not_for_a_while() {
    let mut world = World::on_duty();
    let is_marked = |world: &World| {
        let Some(Mark::Driver { doubted, .. }) = world.driver.mark(me()) else {
            panic!("it is on duty");
        };
        assert_eq!(world.driver.driver_view(me(), 1).doubted, doubted);
        doubted
    };
    // What those who follow it are told of that.
    let told = |seen: &Seen<Command>| {
        seen.passed_on.iter().find_map(|it| {
            let Sight::Driver(id, Sighting::Doubted { doubted }) = it else { return None };
            (*id == me()).then_some(*doubted)
        })
    };
    for _ in 0..2 {
        assert_eq!(told(&jump(&mut world)), None);
        world.pass(SECOND);
        world.at(KIGALI).unwrap();
        world.pass(SECOND);
        world.see(&Sighting::MadeUp);
        assert!(!is_marked(&world));
    }
    assert_eq!(told(&jump(&mut world)), Some(true));
    assert!(is_marked(&world), "five in ten minutes");
    let heard_at = world.driver.soft.heard_at();
    world.pass(SECOND);
    let seen = world.see(&Sighting::Doubted { doubted: true });
    assert_eq!((told(&seen), seen.asks.len()), (None, 0), "it does nothing about it");
    assert_eq!(world.driver.soft.heard_at(), heard_at, "nor is it a sign of life");
    world.now = heard_at;
    // It goes along to another node, and is not written down.
    let mut moved: Driver =
        rmp_serde::from_slice(&rmp_serde::to_vec_named(&world.driver).unwrap()).unwrap();
    assert!(!moved.driver_view(me(), 1).doubted);
    let soft = rmp_serde::to_vec_named(&world.driver.soft()).unwrap();
    moved.recall(rmp_serde::from_slice(&soft).unwrap());
    assert!(moved.driver_view(me(), 1).doubted);
    for _ in 0..10 {
        world.pass(59 * SECOND);
        world.at(KIGALI).unwrap();
        assert!(is_marked(&world));
    }
    world.pass(10 * SECOND);
    assert_eq!(told(&world.see(&Sighting::Heartbeat)), Some(false));
    assert!(!is_marked(&world));
    assert_eq!(told(&world.see(&Sighting::Heartbeat)), None);
}

#[test]
fn jobs_see_where_their_driver_is() {
    let mut world = World::on_duty();
    assert_eq!(world.at(KIGALI), Err(Refusal::invalid("sampled_at", "is not after the last one")));
    let job = world.on_job(1, WorkKind::Delivery);
    world.pass(SECOND);
    let seen = world.see(&Sighting::At(world.position(KIGALI)));
    let [Sight::Order(order, search::Sighting::DriverAt { driver, .. })] = &seen.passed_on[..]
    else {
        panic!("{seen:?}");
    };
    assert_eq!((JobId::Order(*order), *driver), (job, me()));
}

#[test]
fn how_a_driver_comes_is_told_only_where_it_goes_nowhere_else_first() {
    let mut world = World::on_duty();
    world.on_job(1, WorkKind::Delivery);
    let vehicles = |world: &mut World| -> Vec<Option<VehicleKind>> {
        world.pass(SECOND);
        let seen = world.see(&Sighting::At(world.position(KIGALI)));
        let vehicle = |it: &Sight| {
            let Sight::Order(_, search::Sighting::DriverAt { vehicle, .. }) = it else {
                panic!("{it:?}")
            };
            *vehicle
        };
        seen.passed_on.iter().map(vehicle).collect()
    };
    let kind = world.driver.vehicle.as_ref().expect("it is on duty").kind;
    assert_eq!(vehicles(&mut world), [Some(kind)]);
    world.on_job(2, WorkKind::Delivery);
    assert_eq!(vehicles(&mut world), [None, None]);
}

/// Some time later the driver is seen. Of which run its jobs see that all of them is, and which runs see where it is.
fn runs(world: &mut World, later_ms: u64) -> (Vec<Option<RunId>>, Vec<RunId>) {
    world.pass(later_ms);
    let seen = world.see(&Sighting::At(world.position(KIGALI)));
    let (mut by_jobs, mut by_runs) = (Vec::new(), Vec::new());
    for sight in seen.passed_on {
        if let Sight::Order(_, search::Sighting::DriverAt { run, .. }) = sight {
            by_jobs.push(run);
        } else if let Sight::Run(run, run::Sighting { driver, at, .. }) = sight {
            assert_eq!((driver, at), (me(), KIGALI));
            by_runs.push(run);
        } else {
            panic!("{sight:?}");
        }
    }
    (by_jobs, by_runs)
}

#[test]
fn a_run_sees_where_its_driver_is_now_and_then_while_that_has_nothing_else_to_do() {
    let mut world = World::on_duty();
    let (one, other) = (Some(RunId::nth(1)), Some(RunId::nth(2)));
    for n in [1, 2] {
        world.on_job(n, WorkKind::Delivery);
    }
    assert_eq!(runs(&mut world, SECOND), (vec![None, None], vec![]));
    world.driver.jobs.iter_mut().for_each(|job| job.run = one);
    assert_eq!(runs(&mut world, SECOND), (vec![one, one], vec![RunId::nth(1)]));
    assert_eq!(runs(&mut world, SECOND), (vec![one, one], vec![]), "not with every position");
    assert_eq!(runs(&mut world, 4 * SECOND), (vec![one, one], vec![RunId::nth(1)]));
    for elsewhere in [None, other] {
        world.driver.jobs[1].run = elsewhere;
        assert_eq!(runs(&mut world, 5 * SECOND), (vec![None, None], vec![]), "{elsewhere:?}");
    }
}

/// The jobs that see that nobody knows when this driver comes.
fn given_up(sights: &[Sight]) -> Vec<JobId> {
    let job = |it: &Sight| match it {
        Sight::Order(id, search::Sighting::Expected { driver, etas: None }) if *driver == me() => {
            JobId::Order(*id)
        }
        other @ (Sight::Order(..)
        | Sight::Rescue(..)
        | Sight::Driver(..)
        | Sight::Run(..)
        | Sight::Way(_)) => panic!("{other:?}"),
    };
    sights.iter().map(job).collect()
}

#[test]
fn of_a_driver_who_does_not_say_where_it_is_nobody_knows_when_it_comes() {
    let mut world = World::on_duty();
    let job = world.on_job(1, WorkKind::Delivery);
    world.pass(2 * MINUTE - SECOND);
    assert_eq!(given_up(&world.see(&Sighting::Heartbeat).passed_on), []);
    world.pass(SECOND);
    assert_eq!(given_up(&world.see(&Sighting::Heartbeat).passed_on), [job]);
    // Then it is silent altogether.
    world.pass(2 * MINUTE);
    assert_eq!(world.tick(), ["went_stale"]);
    let last = world.journal.last().expect("it was just written");
    assert_eq!(given_up(&world.driver.shows(me(), last)), [job]);
    world.hear();
    let last = world.journal.last().expect("it was just written");
    assert_eq!(Driver::event_name(last), "recovered");
    assert_eq!(given_up(&world.driver.shows(me(), last)), []);
}

#[test]
fn only_the_driver_itself_is_seen() {
    let mut world = World::on_duty();
    let by = Principal::Driver(DriverId::nth(8));
    let seen = world.driver.see(
        &Sighting::Heartbeat,
        &Context { id: me(), by, now: world.now, writes: Format::WRITES },
    );
    assert!(matches!(seen.refused, Some(Refusal::NotYours(_))));
}

#[test]
fn nobody_tracks_a_driver_off_duty() {
    let mut world = World::on_duty();
    assert!(world.driver.mark(me()).is_some());
    world.set(DutyWish::Off).unwrap();
    world.pass(SECOND);
    world.at(KIGALI).unwrap();
    assert_eq!(world.driver.mark(me()), None);
    assert_eq!(world.driver.driver_view(me(), 1).position, None);
}

#[test]
fn a_driver_without_a_fresh_position_is_not_listed() {
    let mut world = World::on_duty();
    assert!(world.card().is_some());
    world.pass(61 * SECOND);
    world.hear();
    assert_eq!(world.card(), None);
    world.at(KIGALI).unwrap();
    assert!(world.card().is_some());
}

#[test]
fn a_restarted_node_forces_nobody_offline() {
    let mut world = World::on_duty();
    world.pass(HOUR);
    let bytes = rmp_serde::to_vec_named(&world.driver).unwrap();
    world.driver = rmp_serde::from_slice(&bytes).unwrap();
    world.driver.wake(world.now);
    assert_eq!(world.tick(), [""; 0]);
    assert_eq!(world.card(), None, "until it says where it is");
    world.at(KIGALI).unwrap();
    assert!(world.card().is_some());
}

#[test]
fn a_driver_on_a_job_fits_into_a_kilobyte() {
    let mut world = World::on_duty();
    world.on_job(1, WorkKind::Ride);
    let Driver { jobs, leases, ended, .. } = &world.driver;
    let heap = jobs.capacity() * size_of::<Job>()
        + leases.capacity() * size_of::<Lease>()
        + ended.capacity() * size_of::<(OfferId, OfferStatus)>()
        + size_of::<Vehicle>();
    let stack = size_of::<Driver>();
    assert!(stack + heap <= 1_024, "{stack} + {heap}");
}

#[test]
fn who_drives_for_a_fleet_is_listed_so_and_a_job_kept_to_another_speaks_against_it() {
    let mut world = World::on_duty();
    let fleet = Some(PartnerId::nth(1));
    let set = |fleet, reason: &str| Command::SetFleet { fleet, reason: reason.to_owned() };
    assert!(matches!(world.ask(own(), set(fleet, "why")), Err(Refusal::NotYours(_))));
    assert!(matches!(world.ask(Principal::Admin, set(fleet, "")), Err(Refusal::Invalid { .. })));
    world.ask(Principal::Dispatcher, set(fleet, "hired")).unwrap();
    assert_eq!(world.ask(Principal::Dispatcher, set(fleet, "again")).unwrap().len(), 0);
    assert_eq!(world.driver.driver_view(me(), 1).fleet, fleet);
    let needs = protocol::work::Needs::default();
    let against = |fleet| {
        let way = matching::fit::Way { pickup: KIGALI, dropoff: None };
        let (work, fleet_first) = (WorkKind::Ride, false);
        let asks = Asks { work, needs: &needs, fleet, fleet_first, way };
        let costs = matching::cost::Settings::default();
        world.driver.against(ride(1), &asks, world.now, &costs).contains(&WhyNot::OtherFleet)
    };
    assert_eq!(
        (against(None), against(fleet), against(Some(PartnerId::nth(2)))),
        (false, false, true)
    );
}

#[test]
fn staff_write_to_a_driver_whatever_it_does() {
    let mut world = World::on_duty();
    let message = |text: &str| Command::Message { job: None, text: text.to_owned() };
    assert!(matches!(world.ask(own(), message("hello")), Err(Refusal::NotYours(_))));
    assert!(matches!(world.ask(Principal::Admin, message(" ")), Err(Refusal::Invalid { .. })));
    assert_eq!(world.ask(Principal::Dispatcher, message("hello")), Ok(vec!["messaged"]));
    assert!(world.journal.iter().any(|event| Driver::event_format(event) == run::KNOWN));
}

#[test]
fn who_waits_is_told_of_a_better_place_but_not_too_often_and_not_while_it_has_work() {
    let told = |world: &World| world.driver.driver_view(me(), 1).hint.map(|it| it.to);
    let hint = || Command::Hint { to: KIGALI };
    let mut unasked = World::on_duty();
    assert_eq!(unasked.ask(Principal::System, hint()), Ok(vec![]), "its preset does not want it");

    let policy = DriverPolicy { hints_every_ms: 600_000, ..DriverPolicy::default() };
    let mut world = World::new(policy);
    world.go_on().unwrap();
    world.at(KIGALI).unwrap();
    assert!(matches!(world.ask(own(), hint()), Err(Refusal::NotYours(_))));
    assert_eq!(world.ask(Principal::System, hint()), Ok(vec!["hinted"]));
    assert!(world.journal.iter().any(|event| Driver::event_format(event) == FLEETS));
    assert_eq!(told(&world), Some(KIGALI));
    assert_eq!(world.ask(Principal::System, hint()), Ok(vec![]), "just now");
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    assert_eq!(told(&world), None, "it has something else to do");
    assert_eq!(world.ask(Principal::System, hint()), Ok(vec![]));
}

/// A run of the first orders, as it is offered.
fn run_offer(world: &World, n: u64) -> Offer {
    let orders: Vec<OrderId> = (1..=n).map(OrderId::nth).collect();
    let pays = orders.iter().map(|order| RunPay { order: *order, fare: money(1_000) }).collect();
    let stop = |what| {
        let due = world.now;
        move |order: &OrderId| RunStop { order: *order, what, at: KIGALI.into(), due }
    };
    let pickups = orders.iter().map(stop(StopKind::Pickup));
    let stops = pickups.chain(orders.iter().map(stop(StopKind::Dropoff))).collect();
    let run = Some(Box::new(RunOffer { run: RunId::nth(1), orders: pays, stops }));
    let id = OfferId::of_run(RunId::nth(1), 0);
    Offer { id, run, ..world.offer(0, orders[0].into(), WorkKind::Delivery) }
}

#[test]
fn a_yes_to_a_run_is_a_job_for_each_of_its_orders_and_each_decides_for_itself() {
    let mut world = World::on_duty();
    let offer = run_offer(&world, 3);
    assert_eq!(world.reserve(&offer), Ok(vec!["offer_reserved"]));
    assert_eq!(world.reserve(&offer), Ok(vec![]));
    let see = Command::SeeOffer { offer: offer.id };
    assert_eq!(world.ask(own(), see.clone()), Ok(vec![]));
    assert_eq!(world.driver.passes_on(&see), None, "to a run it makes no difference");
    let accept = Command::AcceptOffer { offer: offer.id };
    assert_eq!(world.ask(own(), accept.clone()), Ok(vec!["run_accepted"]));
    assert_eq!(world.ask(own(), accept), Ok(vec![]));
    assert!(
        world
            .told()
            .pop()
            .is_some_and(|it| it.contains("AcceptOffer") && it.ends_with("abort_run"))
    );
    let job = |n| JobId::Order(OrderId::nth(n));
    for n in [3, 1] {
        world.ask(Principal::System, Command::CommitJob { job: job(n) }).unwrap();
    }
    let abort = |n| Command::AbortJob { job: job(n), offer: Some(offer.id), reason: String::new() };
    world.ask(Principal::System, abort(2)).unwrap();
    assert_eq!(world.ask(Principal::System, abort(1)), Ok(vec![]), "that one is the driver's");
    let view = world.driver.driver_view(me(), 1);
    assert_eq!((view.jobs, view.run), (vec![job(1), job(3)], Some(RunId::nth(1))));
    let other =
        Offer { run: run_offer(&world, 2).run, ..world.offer(1, job(8), WorkKind::Delivery) };
    assert!(matches!(world.reserve(&other), Err(Refusal::NotEligible(_))), "it has one of these");
    world.end(job(1)).unwrap();
    world.end(job(3)).unwrap();
    assert_eq!(world.driver.driver_view(me(), 1).run, None);
}

#[test]
fn a_run_needs_room_for_all_of_it_and_comes_to_nothing_as_a_whole() {
    let mut world = World::on_duty();
    let offer = run_offer(&world, 6);
    assert_eq!(world.reserve(&offer), Err(Refusal::NotEligible("has no room".to_owned())));
    let offer = run_offer(&world, 2);
    world.reserve(&offer).unwrap();
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    world.told();
    world.pass(60_000);
    world.hear();
    assert_eq!(world.tick(), ["job_asked", "job_asked"], "nobody has decided");
    assert!(world.told().iter().all(|it| it.contains("AcceptOffer") && it.ends_with("abort_job")));
    let abort = Command::AbortRun { offer: offer.id, reason: "dissolved".to_owned() };
    assert_eq!(world.ask(Principal::System, abort.clone()), Ok(vec!["job_aborted", "job_aborted"]));
    assert_eq!(world.ask(Principal::System, abort), Ok(vec![]));
    assert_eq!(world.status(), DriverStatus::Available);
    assert_eq!(world.card().map(|card| card.n_slots), Some(5));
    assert_eq!(
        Driver::command_format(&Command::ReserveOffer {
            offer,
            consent: true,
            force: false,
            weights_g: vec![],
            wants: vec![],
        }),
        Format(5)
    );
}

#[test]
fn a_shift_that_not_every_node_can_read_begins_without_hints() {
    let policy = DriverPolicy { hints_every_ms: 600_000, ..DriverPolicy::default() };
    let command = Command::SetDuty { duty: DutyWish::On, vehicle: Some(moto()), policy };
    let context = Context { id: me(), by: own(), now: START, writes: Format(3) };
    let events = Driver::default().decide(&command, &context).unwrap();
    assert!(events.iter().all(|event| Driver::event_format(event) <= Format(3)));
}

// Old journals.

/// Event by event, every kind of event there is, as the first version wrote them. Never edit; add.
const GOLDEN: &str = include_str!("../../tests/journals/driver-v1.jsonl");

#[test]
fn a_journal_of_version_1_still_replays() {
    let mut driver = Driver::default();
    let mut names = BTreeSet::new();
    for line in GOLDEN.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        names.insert(<&'static str>::from(&event));
        driver.evolve(&event);
    }
    let missing: Vec<_> = Event::VARIANTS.iter().filter(|name| !names.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are in no golden journal");
    insta::assert_json_snapshot!(driver.view(me()).unwrap().body, @r#"
    {
      "blocked": "papers",
      "fleet": "partner-0192f3c8aaaa7000800000000000eeee",
      "rating": 400,
      "vehicle": "moto"
    }
    "#);
    let shown = driver.driver_view(me(), 1);
    assert_eq!((shown.status, shown.jobs.len()), (DriverStatus::Blocked, 0));
    let rates = shown.rates;
    assert_eq!((rates.made, rates.accepted, rates.declined, rates.ignored), (6, 3, 1, 1));
}

// Laws.

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    /// The preset changes: whether only the last hour counts, and for how many minutes it must rest.
    Preset(bool, u32),
    Ask(Principal, Box<Ask>),
    Hear,
    At(f64),
}

/// A command whose details depend on when it is given.
#[derive(Debug, Clone)]
enum Ask {
    Plain(Command),
    Reserve {
        job: usize,
        n: u32,
        consent: bool,
        force: bool,
    },
    /// With or without skills.
    Duty(DutyWish, bool),
    /// So many shifts of a quarter of an hour, with as much between them, of which the first begins so soon.
    Shifts {
        n: u64,
        in_ms: u64,
    },
    /// May work outside of them for so long.
    OffShift(u64),
}

const WORKS: [WorkKind; 6] = [
    WorkKind::Ride,
    WorkKind::Ride,
    WorkKind::Rescue,
    WorkKind::Delivery,
    WorkKind::Delivery,
    WorkKind::Delivery,
];

fn job(n: usize) -> JobId {
    match WORKS[n] {
        WorkKind::Rescue => JobId::Rescue(RescueId::nth(n as u64)),
        WorkKind::Ride | WorkKind::Delivery => ride(n as u64),
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let a_job = || 0..WORKS.len();
    let an_offer = || (a_job(), 0..3_u32).prop_map(|(n, nth)| OfferId::of(job(n), nth));
    let text = || Just("because".to_owned());
    let wish = prop_oneof![Just(DutyWish::On), Just(DutyWish::Off), Just(DutyWish::Break)];
    let plain = prop_oneof![
        6 => an_offer().prop_map(|offer| Command::AcceptOffer { offer }),
        2 => an_offer().prop_map(|offer| Command::DeclineOffer { offer }),
        1 => an_offer().prop_map(|offer| Command::SeeOffer { offer }),
        2 => an_offer().prop_map(|offer| Command::WithdrawOffer { offer, status: OfferStatus::Lost }),
        1 => an_offer()
            .prop_map(|offer| Command::WithdrawOffer { offer, status: OfferStatus::Expired }),
        2 => a_job().prop_map(|n| Command::ClaimJob { job: job(n), work: WORKS[n], weight_g: 0 }),
        2 => a_job().prop_map(|n| Command::RejectJob { job: job(n) }),
        6 => a_job().prop_map(|n| Command::CommitJob { job: job(n) }),
        2 => (a_job(), prop::option::of(an_offer()), text())
            .prop_map(|(n, offer, reason)| Command::AbortJob { job: job(n), offer, reason }),
        3 => (a_job(), text()).prop_map(|(n, reason)| Command::EndJob { job: job(n), reason }),
        2 => a_job().prop_map(|n| Command::KeepJob { job: job(n) }),
        1 => (a_job(), 0..7_u8).prop_map(|(n, stars)| Command::RecordRating { job: job(n), stars }),
        1 => (text(), any::<bool>())
            .prop_map(|(reason, reassign)| Command::Suspend { reason, reassign }),
        2 => Just(Command::Reinstate {}),
        1 => Just(Command::Hint { to: KIGALI }),
        1 => (prop::option::of(Just(PartnerId::nth(1))), text())
            .prop_map(|(fleet, reason)| Command::SetFleet { fleet, reason }),
        2 => (prop::option::of(0..HOUR), text()).prop_map(|(until, reason)| {
            let until = until.map(|until| Timestamp(START.0 + until));
            Command::GrantSkill { skill: SKILLS[0].to_owned(), reason, until }
        }),
        1 => text()
            .prop_map(|reason| Command::RevokeSkill { skill: SKILLS[0].to_owned(), reason }),
        1 => text().prop_map(|reason| Command::RevokeOffShift { reason }),
        1 => a_job().prop_map(|n| Command::Strand { rescue: RescueId::nth(n as u64) }),
        1 => a_job().prop_map(|n| Command::Unstrand { rescue: RescueId::nth(n as u64) }),
        1 => prop::option::of(Just(KIGALI)).prop_map(|to| Command::SetDestination { to }),
        4 => Just(Command::Tick {}),
    ];
    let ask = prop_oneof![
        6 => plain.prop_map(Ask::Plain),
        4 => (a_job(), 0..3_u32, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(job, n, consent, force)| Ask::Reserve { job, n, consent, force }),
        2 => (wish, any::<bool>()).prop_map(|(duty, is_skilled)| Ask::Duty(duty, is_skilled)),
        2 => (0..4_u64, 0..HOUR).prop_map(|(n, in_ms)| Ask::Shifts { n, in_ms }),
        1 => (1..HOUR).prop_map(Ask::OffShift),
    ];
    let by = prop_oneof![
        5 => Just(own()),
        8 => Just(Principal::System),
        3 => Just(Principal::Admin),
        1 => Just(Principal::Driver(DriverId::nth(8))),
    ];
    prop_oneof![
        2 => (0..40_000_u64).prop_map(Step::Pass),
        1 => (0..HOUR).prop_map(Step::Pass),
        1 => (any::<bool>(), 20..60_u32).prop_map(|(is_hour, min)| Step::Preset(is_hour, min)),
        12 => (by, ask).prop_map(|(by, ask)| Step::Ask(by, Box::new(ask))),
        3 => Just(Step::Hear),
        3 => (0.0..400.0).prop_map(Step::At),
    ]
}

impl World {
    fn command(&self, ask: &Ask) -> Command {
        match ask {
            Ask::Plain(command) => command.clone(),
            Ask::Duty(duty, is_skilled) => {
                let skills = SKILLS.iter().filter(|_| *is_skilled).map(|&it| it.to_owned());
                let vehicle = Some(Vehicle { skills: skills.collect(), ..moto() });
                Command::SetDuty { duty: *duty, vehicle, policy: self.policy }
            }
            Ask::Shifts { n, in_ms } => {
                let quarter = 15 * MINUTE;
                let shift = |nth: u64| {
                    let start = self.now.0 + in_ms + nth * 2 * quarter;
                    Shift { start: Timestamp(start), end: Timestamp(start + quarter), zone: None }
                };
                let expects = self.driver.shifts_view(true, self.now).version;
                let (shifts, reason) = ((0..*n).map(shift).collect(), "because".to_owned());
                Command::SetShifts { expects, shifts, grace_s: 300, reason }
            }
            Ask::OffShift(for_ms) => {
                let until = Timestamp(self.now.0 + for_ms);
                Command::AllowOffShift { until, reason: "because".to_owned() }
            }
            Ask::Reserve { job: n, n: nth, consent, force } => {
                let offer = self.offer(*nth, job(*n), WORKS[*n]);
                let weights_g = vec![nth * 12_000];
                let skills = SKILLS[..1].iter().filter(|_| *n == 2).map(|&it| it.to_owned());
                let needs =
                    protocol::work::Needs { skills: skills.collect(), ..Default::default() };
                let wants = Wants::of(&needs, None, false).into_iter().collect();
                let (consent, force) = (*consent, *force);
                Command::ReserveOffer { offer, consent, force, weights_g, wants }
            }
        }
    }

    /// What must hold whatever has happened.
    fn check(&self) -> Result<(), TestCaseError> {
        let Driver { duty, link, jobs, leases, ban, policy, .. } = &self.driver;
        prop_assert!(leases.len() <= usize::from(policy.parallel_offers), "I-3: {leases:?}");
        let slots: Vec<u8> = jobs.iter().flat_map(|job| job.slots.iter()).collect();
        let distinct: BTreeSet<u8> = slots.iter().copied().collect();
        prop_assert_eq!(slots.len(), distinct.len(), "I-2: one job per slot");
        let is_slot = |slot: &u8| *slot < policy.deliveries_max || *slot == search::NEXT_SLOT;
        prop_assert!(slots.iter().all(is_slot), "I-2: {slots:?}");
        let now: Vec<_> = jobs.iter().filter(|job| !job.is_next()).collect();
        let is_alone = now.len() <= 1 || now.iter().all(|job| job.work == WorkKind::Delivery);
        prop_assert!(is_alone, "I-2: {jobs:?}");
        prop_assert!(self.driver.claims(me()).is_empty());
        if *duty == Duty::Off {
            prop_assert!(jobs.is_empty() && leases.is_empty(), "nothing is held off duty");
        }
        if self.driver.listing(me()).is_some() {
            prop_assert_eq!((*duty, *link), (Duty::On, Link::Live), "I-11");
            prop_assert!(ban.is_none() && self.driver.stranded.is_none());
            prop_assert!(leases.len() < usize::from(policy.parallel_offers));
            let can_work =
                matches!(self.status(), DriverStatus::Available | DriverStatus::PartlyBusy)
                    || !leases.is_empty()
                    || self.driver.is_nearly_free();
            prop_assert!(can_work, "I-11: {}", self.status());
        }
        if let Some(card) = self.card() {
            let is_vouched_for = |skill: &String| {
                let lasts = |until: Timestamp| card.seen_at < until;
                let mut grants = self.driver.grants.iter().filter(|it| it.skill == *skill);
                skill == SKILLS[1] || grants.any(|it| it.until.is_none_or(lasts))
            };
            prop_assert!(card.vehicle.skills.iter().all(is_vouched_for), "{:?}", card.vehicle);
        }
        let told = self.driver.shifts_view(true, self.now);
        let no_show = |event: &&Event| matches!(event, Event::ShiftMissed { .. });
        let n_no_shows = self.journal.iter().filter(no_show).count();
        prop_assert_eq!(told.n_shift_no_shows as usize, n_no_shows, "each is counted once");
        let is_apart = |pair: &[ShiftView]| pair[0].end <= pair[1].start;
        prop_assert!(told.shifts.windows(2).all(is_apart), "{:?}", told.shifts);
        let asked_until = self.card().map(|card| card.standing.asked_until.is_some());
        let is_demanded = policy.shifts == Shifts::Demanded;
        prop_assert!(asked_until.is_none_or(|it| it == is_demanded), "{asked_until:?}");
        prop_assert_eq!(self.driver.idle_max().is_some(), *duty == Duty::Off);
        if ban.is_some() {
            prop_assert!(!matches!(duty, Duty::On | Duty::Break(_)), "banned and at work");
        }
        Ok(())
    }

    /// Asks, checks that asking again has no second effect, and that nothing due stays due.
    fn step(&mut self, by: Principal, command: Command) -> Result<(), TestCaseError> {
        let left = self.driver.rest_left(&self.driver.policy, self.now);
        let answer = self.ask(by, command.clone());
        let is_yes = answer.is_ok();
        let is_new = |event: &&str| ["offer_reserved", "job_claimed"].contains(event);
        let has_new = answer.is_ok_and(|events| events.iter().any(is_new));
        prop_assert!(!has_new || left.is_none(), "{command:?}, and must rest for {left:?}");
        if is_yes {
            let again = self.ask(by, command.clone()).unwrap_or_default();
            prop_assert!(again.is_empty(), "{command:?} again: {again:?}");
        }
        if command == (Command::Tick {}) && is_yes {
            let due = self.driver.deadline().map(|(due, _)| due);
            prop_assert!(due.is_none_or(|due| due > self.now), "{due:?} stands still");
            let Driver { duty, policy, .. } = &self.driver;
            let is_at_work = matches!(duty, Duty::On | Duty::Break(_));
            let is_outside = self.driver.is_outside_shift(policy, self.now);
            prop_assert!(!(is_at_work && is_outside), "at work, and in no shift");
            let must = self.driver.rest().is_some_and(|rest| rest.must);
            prop_assert!(!(*duty == Duty::On && must), "on duty, and must rest");
            let left = self.driver.rest_left(policy, self.now);
            let is_listed = self.driver.listing(me()).is_some();
            prop_assert!(!is_listed || left.is_none(), "listed, and must rest for {left:?}");
        }
        self.check()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever is asked and seen, in whatever order.
    #[test]
    fn no_sequence_of_commands_breaks_a_driver(
        parallel_offers in 1..3_u8,
        is_demanded in any::<bool>(),
        is_counted in any::<bool>(),
        steps in prop::collection::vec(any_step(), 0..120),
    ) {
        let preset = |is_hour: bool, rest_min: u32| {
            let minute = MINUTE as u32;
            let usual = DriverPolicy {
                parallel_offers,
                deliveries_max: 2,
                forward_m: 250,
                shifts: if is_demanded { Shifts::Demanded } else { Shifts::Off },
                ..DriverPolicy::default()
            };
            let hour = DriverPolicy {
                duty_told_ms: 20 * minute,
                duty_max_ms: 30 * minute,
                duty_within_ms: 60 * minute,
                rest_ms: rest_min * minute,
                ..usual
            };
            if is_hour { hour } else { usual }
        };
        let mut world = World::new(preset(is_counted, 40));
        let allow = world.command(&Ask::OffShift(HOUR));
        world.ask(Principal::Admin, allow).unwrap();
        world.go_on().unwrap();
        for step in steps {
            match step {
                Step::Pass(ms) => world.pass(ms),
                Step::Preset(is_hour, rest_min) => world.policy = preset(is_hour, rest_min),
                Step::Hear => world.hear(),
                Step::At(north_m) => drop(world.at(KIGALI.offset_m(0.0, north_m))),
                Step::Ask(by, ask) => {
                    let command = world.command(&ask);
                    world.step(by, command)?;
                }
            }
            world.check()?;
        }
        let mut replayed = Driver::default();
        for event in &world.journal {
            let bytes = rmp_serde::to_vec_named(event).unwrap();
            replayed.evolve(&rmp_serde::from_slice(&bytes).unwrap());
        }
        prop_assert_eq!(&replayed, &world.driver, "replaying the journal gives the live state");
        let bytes = rmp_serde::to_vec_named(&world.driver).unwrap();
        let restored: Driver = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&restored, &world.driver, "and so does a snapshot");
    }
}

// What speaks for it.

#[test]
fn how_its_way_to_a_pickup_went_is_told_with_where_it_waits_next() {
    let mut world = World::on_duty();
    let from = KIGALI.offset_m(-1_500.0, 0.0);
    world.pass(5 * MINUTE);
    world.at(from).unwrap();
    let job = world.on_job(1, WorkKind::Ride);
    let left_at = world.now;
    world.pass(4 * MINUTE);
    world.at(KIGALI.offset_m(-100.0, 0.0)).unwrap();
    world.pass(MINUTE);
    world.at(KIGALI).unwrap();
    world.end(job).unwrap();
    let came = world.card().unwrap().came.unwrap();
    let (to, took_ms) = (KIGALI, 4 * 60_000);
    assert_eq!(*came, Came { from, to, left_at, took_ms });
    world.set(DutyWish::Off).unwrap();
    world.go_on().unwrap();
    world.at(KIGALI).unwrap();
    assert_eq!(world.card().unwrap().came, None, "nobody tracks who is off duty");
}

#[test]
fn it_stands_better_the_more_it_takes_and_worse_the_more_it_has_had_to_do() {
    let mut world = World::on_duty();
    let standing = |world: &World| world.card().unwrap().standing;
    let fresh = standing(&world);
    assert_eq!((fresh.acceptance, fresh.level, fresh.busy_percent), (90, 0, 0));
    assert_eq!(fresh.until, Some(START + Duration::from_secs(12 * 3_600)));

    // Ten jobs, each of which takes half of the time.
    for n in 0..10 {
        world.pass(2 * MINUTE);
        world.hear();
        let job = world.on_job(n, WorkKind::Ride);
        world.pass(2 * MINUTE - SECOND);
        world.hear();
        world.end(job).unwrap();
        world.pass(SECOND);
    }
    world.at(KIGALI).unwrap();
    let busy = standing(&world);
    assert_eq!((busy.acceptance, busy.level), (95, 1));
    assert!((48..=50).contains(&busy.busy_percent), "{busy:?}");

    let offer = world.offer(0, ride(99), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    world.ask(own(), Command::DeclineOffer { offer: offer.id }).unwrap();
    assert_eq!(standing(&world).acceptance, 90, "19 of 21");
}

#[test]
fn it_heads_somewhere_only_while_it_moves() {
    let mut world = World::on_duty();
    let mut headed = |speed_mps| {
        world.pass(5 * SECOND);
        let position = Position {
            heading_deg: Some(270.4),
            speed_mps: Some(speed_mps),
            ..world.position(KIGALI)
        };
        assert!(world.see(&Sighting::At(position)).refused.is_none());
        world.card().unwrap().standing.heading_deg
    };
    assert_eq!(headed(8.0), Some(270));
    assert_eq!(headed(0.3), None);
}

#[test]
fn what_the_law_says_against_a_job_is_said_to_dispatchers_too() {
    let mut world = World::on_duty();
    let needs = protocol::work::Needs::default();
    let Point { lat, lon } = KIGALI.offset_m(6_000.0, 0.0);
    let permit = matching::fit::Permit { name: "old-town".to_owned(), lat, lon, radius_m: 500 };
    let costs = matching::cost::Settings { permits: vec![permit], ..Default::default() };
    let against = |world: &World, dropoff| {
        let way = matching::fit::Way { pickup: KIGALI, dropoff };
        let (work, fleet, fleet_first) = (WorkKind::Ride, None, false);
        let asks = Asks { work, needs: &needs, fleet, fleet_first, way };
        world.driver.against(ride(1), &asks, world.now, &costs)
    };
    let there = Some(Point { lat, lon });
    assert_eq!(against(&world, there), [WhyNot::Permit]);
    assert_eq!(against(&world, None), []);
    // Six kilometres take eighteen minutes, of which five are left.
    for _ in 0..11 * 60 + 55 {
        world.pass(MINUTE);
        world.hear();
    }
    assert_eq!(against(&world, there), [WhyNot::Hours, WhyNot::Permit]);
    assert_eq!(against(&world, None), []);
}

#[test]
fn a_claim_needs_room_now_and_other_offers_make_way_for_it() {
    let mut world = World::on_duty();
    let needs = protocol::work::Needs { weight_g: 20_000, ..Default::default() };
    let costs = matching::cost::Settings::default();
    let against = |world: &World, work, fleet| {
        let way = matching::fit::Way { pickup: KIGALI, dropoff: None };
        let asks = Asks { work, needs: &needs, fleet, fleet_first: false, way };
        world.driver.against_claim(ride(1), &asks, world.now, &costs)
    };
    let offer = world.offer(0, ride(2), WorkKind::Delivery);
    world.reserve(&offer).unwrap();
    assert_eq!(against(&world, WorkKind::Ride, None), []);
    let fleet = Some(PartnerId::nth(1));
    assert_eq!(against(&world, WorkKind::Ride, fleet), [WhyNot::OtherFleet]);
    world.ask(own(), Command::AcceptOffer { offer: offer.id }).unwrap();
    assert_eq!(against(&world, WorkKind::Delivery, None), [], "also while the other one decides");
    assert_eq!(against(&world, WorkKind::Ride, None), [WhyNot::NoRoom]);
    let claim = |work| Command::ClaimJob { job: ride(1), work, weight_g: 0 };
    assert!(matches!(world.ask(own(), claim(WorkKind::Ride)), Err(Refusal::NotEligible(_))));
    assert_eq!(world.driver.why_no_claims(world.now), []);
    world.ask(own(), claim(WorkKind::Delivery)).unwrap();
    assert_eq!(against(&world, WorkKind::Delivery, None), [WhyNot::HasIt]);

    world.set(DutyWish::Break).unwrap();
    assert_eq!(world.driver.why_no_claims(world.now), [WhyNot::OnBreak]);
    assert_eq!(World::new(DriverPolicy::default()).driver.why_no_claims(START), [WhyNot::OffDuty]);
    let mut unseen = World::new(DriverPolicy::default());
    unseen.go_on().unwrap();
    assert_eq!(unseen.driver.why_no_claims(unseen.now), [WhyNot::NoPosition]);
}
