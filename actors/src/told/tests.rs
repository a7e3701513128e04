use super::*;
use crate::{
    Context, Decider, Format, Version,
    commit::EncodedEvent,
    driver::Driver,
    order::{Command, Order, Placement},
    policy::{DriverPolicy, Shifts},
    search::{Candidate, Command as Heard},
};
use protocol::{
    Currency, DriverId, Money, OrderId, Place, Point, RiderId,
    trace::Verdict,
    view::{Offer, Shift},
    work::{DutyWish, OfferPolicy, Vehicle, VehicleKind},
};
use std::time::Duration;

const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };
const START: Timestamp = Timestamp(1_800_000_000_000);
const SYSTEM: Principal = Principal::System;

/// One entity and its journal.
struct Play<D: Decider> {
    id: D::Id,
    state: D,
    now: Timestamp,
    journal: Vec<Recorded>,
    /// What its node has in memory of rounds.
    rounds: Vec<Seen>,
}

impl<D: Decider> Play<D> {
    fn new(id: D::Id) -> Self {
        Self { id, state: D::default(), now: START, journal: Vec::new(), rounds: Vec::new() }
    }

    fn after_s(&mut self, s: u64) -> &mut Self {
        self.now = START + Duration::from_secs(s);
        self
    }

    fn ask(&mut self, by: Principal, command: D::Command) -> &mut Self {
        let context = Context { id: self.id, by, now: self.now, writes: Format::WRITES };
        let mut events = self.state.decide(&command, &context).unwrap();
        if let Some((_, after)) = self.state.may_tell(self.id, &events) {
            let new = self.rounds.iter().filter(|it| it.round > after).cloned();
            if let Some(account) = Account::of(&new.collect::<Vec<_>>()) {
                D::tell_rounds(&mut events, account);
            }
        }
        for event in events {
            self.state.evolve(&event);
            let name = D::event_name(&event).to_owned();
            let bytes = format::encode(&event, D::event_format(&event));
            self.journal.push(Recorded {
                version: Version(self.journal.len() as u64 + 1),
                at: self.now,
                event: EncodedEvent { name, bytes },
            });
        }
        self
    }
}

fn nth(n: u64) -> DriverId {
    DriverId::nth(n)
}

fn ride(policy: JobPolicy) -> Command {
    let ride = Placement::ride(RiderId::nth(99), PICKUP, PICKUP.offset_m(3_000.0, 0.0));
    Command::Place(Box::new(Placement { policy, ..ride }))
}

impl Play<Order> {
    fn propose(&mut self, n: u64) -> OfferId {
        let Some(crate::Card::Search(card)) = self.state.listing(self.id).map(|it| it.card) else {
            panic!("nobody is looked for")
        };
        let candidate = Candidate { driver: nth(n), eta_s: 90, distance_m: 500, cost_ms: 91_000 };
        let candidates = vec![candidate];
        self.ask(SYSTEM, Command::Search(Heard::Propose { round: card.round, candidates }));
        self.state.offers().last().unwrap().id
    }

    fn told(&self) -> Told {
        search(JobId::Order(self.id), &self.journal).unwrap()
    }
}

#[test]
fn an_order_tells_whom_it_was_offered_and_what_came_of_it() {
    let mut play = Play::<Order>::new(OrderId::nth(1));
    play.ask(Principal::Rider(RiderId::nth(99)), ride(JobPolicy::default()));
    let refused = play.after_s(1).propose(1);
    let why = Some("not eligible: has no room".to_owned());
    play.ask(SYSTEM, Command::Search(Heard::OfferRefused { offer: refused, why: why.clone() }));
    let declined = play.after_s(2).propose(2);
    play.after_s(4).ask(SYSTEM, Command::Search(Heard::OfferSeen { offer: declined }));
    play.after_s(6).ask(SYSTEM, Command::Search(Heard::OfferDeclined { offer: declined }));
    let won = play.after_s(7).propose(3);
    let accepted = Heard::OfferAccepted { offer: won, driver: nth(3), slots: vec![0] };
    play.after_s(9).ask(SYSTEM, Command::Search(accepted));

    let offers = play.told().offers;
    let after_s = |at: Timestamp| at.since(START).as_secs();
    let rows: Vec<_> = offers
        .iter()
        .map(|it| (it.driver, after_s(it.made_at), it.ended_at.map(after_s), it.outcome.unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            (nth(1), 1, Some(1), OfferStatus::Withdrawn),
            (nth(2), 2, Some(6), OfferStatus::Declined),
            (nth(3), 7, Some(9), OfferStatus::Accepted),
        ]
    );
    assert_eq!((&offers[0].refused, offers[1].seen_at.map(after_s)), (&why, Some(4)));
    let score = (offers[2].cost_ms, offers[2].distance_m, offers[2].radius_m);
    assert_eq!(score, (Some(91_000), Some(500), Some(3_000)));
}

#[test]
fn each_tier_is_told_with_its_radius() {
    let mut play = Play::<Order>::new(OrderId::nth(1));
    play.ask(Principal::Rider(RiderId::nth(99)), ride(JobPolicy::default()));
    while let Some((due, tick)) = play.state.deadline() {
        play.now = due;
        play.ask(SYSTEM, tick);
        if play.state.status().unwrap().is_final() {
            break;
        }
    }
    let Told { steps, offers, .. } = play.told();
    assert_eq!(offers, []);
    let rows: Vec<_> = steps.iter().map(|it| (it.what.as_str(), it.radius_m)).collect();
    assert_eq!(
        rows,
        [
            ("search_opened", Some(3_000)),
            ("tier_opened", Some(5_000)),
            ("tier_opened", Some(10_000)),
            ("dispatch_failed", None),
            ("search_closed", None),
            ("no_driver_found", None),
        ]
    );
}

#[test]
fn of_offers_of_an_order_at_most_one_was_accepted() {
    let policy = JobPolicy { offer: OfferPolicy::BroadcastFirstWins, ..JobPolicy::default() };
    let mut play = Play::<Order>::new(OrderId::nth(1));
    play.ask(Principal::Rider(RiderId::nth(99)), ride(policy));
    let offers: Vec<OfferId> = (1..=3).map(|n| play.propose(n)).collect();
    let accepted = Heard::OfferAccepted { offer: offers[1], driver: nth(2), slots: vec![0] };
    play.ask(SYSTEM, Command::Search(accepted));
    let mut outcomes: Vec<_> =
        play.told().offers.iter().map(|it| it.outcome.unwrap().to_string()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["accepted", "withdrawn", "withdrawn"]);
}

/// A round that came to nothing, of a search that had got so far.
fn seen(round: u32) -> Seen {
    Seen {
        from: START,
        at: START,
        n: 1,
        round,
        radius_m: 3_000,
        verdict: Verdict::Nobody,
        n_weighed: 0,
        weighed: Vec::new(),
        n_unfit: BTreeMap::from([(WhyNot::Skill, 4)]),
        unfit: Vec::new(),
        rule: None,
        model: None,
    }
}

/// What rounds saw goes along with what is written anyway, and what was written is not written again.
#[test]
fn what_rounds_saw_is_told_from_the_journal_alone() {
    let mut play = Play::<Order>::new(OrderId::nth(1));
    play.ask(Principal::Rider(RiderId::nth(99)), ride(JobPolicy::default()));
    play.rounds = vec![seen(1)];
    let declined = play.after_s(1).propose(1);
    assert_eq!(play.told().rounds, [seen(1)]);
    play.after_s(2).ask(SYSTEM, Command::Search(Heard::OfferDeclined { offer: declined }));
    assert_eq!(play.told().rounds.len(), 1, "an answer tells nothing of rounds");
    play.rounds.push(seen(3));
    while let Some((due, tick)) = play.state.deadline() {
        play.now = due;
        play.ask(SYSTEM, tick);
        if play.state.status().unwrap().is_final() {
            break;
        }
    }
    let Told { rounds, pickup, .. } = play.told();
    assert_eq!(rounds, [seen(1), seen(3)]);
    assert_eq!(pickup, Some(PICKUP));
    let told = play.journal.iter().filter(|it| it.event.name == "search_closed").count();
    assert_eq!(told, 1, "it ended once");
}

/// An older build reads it: it leaves out what it does not know.
#[test]
fn what_rounds_saw_needs_no_newer_build() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Before {
        Search(Inner),
    }
    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Inner {
        #[serde(rename = "closed")]
        Closed {},
    }
    let mut event = search::Event::Closed { seen: None };
    let bare = format::encode(&order::Event::Search(event.clone()), Format::FIRST);
    *event.account_mut().unwrap() = Account::of(&[seen(1)]);
    assert_eq!(event.format(), Format::FIRST);
    let told = format::encode(&order::Event::Search(event), Format::FIRST);
    assert!(told.len() > bare.len() + 20 && told.len() < bare.len() + 120, "{}", told.len());
    for bytes in [bare, told] {
        let (Before::Search(Inner::Closed {}), _) = format::decode(&bytes).unwrap();
    }
}

fn offer(n: u64, at: Timestamp) -> Offer {
    let place: Place = PICKUP.into();
    let job = JobId::Order(OrderId::nth(n));
    Offer {
        id: OfferId::of(job, 0),
        job,
        work: WorkKind::Ride,
        pickup: place.clone(),
        dropoff: Some(place),
        fare: Money { amount: 1, currency: Currency::RWF },
        eta_s: 60,
        expires_at: at + Duration::from_secs(15),
        run: None,
        next: false,
    }
}

#[test]
fn a_driver_is_told_when_it_could_be_offered_nothing() {
    let me = Principal::Driver(nth(1));
    let mut play = Play::<Driver>::new(nth(1));
    let duty = |duty| driver::Command::SetDuty {
        duty,
        vehicle: Some(Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: vec![] }),
        policy: DriverPolicy::default(),
    };
    let reserve = |n, at| driver::Command::ReserveOffer {
        offer: offer(n, at),
        consent: true,
        force: false,
        weights_g: Vec::new(),
        wants: Vec::new(),
    };
    play.ask(me, duty(DutyWish::On));
    play.after_s(10).ask(me, duty(DutyWish::Break));
    play.after_s(20).ask(me, duty(DutyWish::On));
    let at = play.after_s(30).now;
    play.ask(SYSTEM, reserve(1, at));
    play.after_s(32).ask(me, driver::Command::DeclineOffer { offer: offer(1, at).id });
    let at = play.after_s(40).now;
    play.ask(SYSTEM, reserve(2, at));
    play.after_s(45).ask(me, driver::Command::AcceptOffer { offer: offer(2, at).id });
    play.after_s(46).ask(SYSTEM, driver::Command::CommitJob { job: offer(2, at).job });

    let since = START + Duration::from_secs(15);
    let (spells, offers) = driver(&play.journal, since, 5).unwrap();
    let after_s = |at: Option<Timestamp>| at.map(|at| at.since(START).as_secs());
    let rows: Vec<_> =
        spells.iter().map(|it| (it.why, after_s(it.from), after_s(it.until))).collect();
    assert_eq!(
        rows,
        [
            (WhyNot::OnBreak, Some(10), Some(20)),
            (WhyNot::HasOffer, Some(30), Some(32)),
            (WhyNot::HasOffer, Some(40), Some(45)),
            (WhyNot::NoRoom, Some(45), None),
        ]
    );
    let made: Vec<_> = offers.iter().map(|it| (after_s(Some(it.at)), it.outcome)).collect();
    assert_eq!(
        made,
        [(Some(30), Some(OfferStatus::Declined)), (Some(40), Some(OfferStatus::Accepted))]
    );
    assert_eq!(play.state.why_no_offers(play.now), [WhyNot::NoRoom, WhyNot::NoPosition]);
}

#[test]
fn a_driver_whose_shift_is_over_is_told_so_until_it_works_again() {
    let (me, staff) = (Principal::Driver(nth(1)), Principal::Dispatcher);
    let mut play = Play::<Driver>::new(nth(1));
    let policy = DriverPolicy { shifts: Shifts::Demanded, ..DriverPolicy::default() };
    let vehicle = Some(Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: vec![] });
    let on = driver::Command::SetDuty { duty: DutyWish::On, vehicle, policy };
    let reason = || "rain".to_owned();
    let shifts = vec![Shift { start: START, end: START + Duration::from_secs(60), zone: None }];
    let set = driver::Command::SetShifts { expects: 0, shifts, grace_s: 900, reason: reason() };
    play.ask(staff, set).ask(me, on.clone());
    play.after_s(60).ask(SYSTEM, driver::Command::Tick {});
    assert_eq!(
        play.state.why_no_offers(play.now),
        [WhyNot::OffDuty, WhyNot::OutsideShift],
        "and that it is in none now"
    );
    let until = START + Duration::from_secs(600);
    play.after_s(80).ask(staff, driver::Command::AllowOffShift { until, reason: reason() });
    play.ask(me, on);

    let (spells, _) = driver(&play.journal, START, 5).unwrap();
    let after_s = |at: Option<Timestamp>| at.map(|at| at.since(START).as_secs());
    let rows: Vec<_> =
        spells.iter().map(|it| (it.why, after_s(it.from), after_s(it.until))).collect();
    let whole = |why| (why, Some(60), Some(80));
    assert_eq!(rows, [whole(WhyNot::OffDuty), whole(WhyNot::OutsideShift)]);
}

#[test]
fn a_driver_who_must_rest_is_told_so_until_it_works_again() {
    let me = Principal::Driver(nth(1));
    let mut play = Play::<Driver>::new(nth(1));
    let policy = DriverPolicy { duty_max_ms: 60_000, rest_ms: 20_000, ..DriverPolicy::default() };
    let vehicle = Some(Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: vec![] });
    let on = driver::Command::SetDuty { duty: DutyWish::On, vehicle, policy };
    play.ask(me, on.clone());
    play.after_s(60).ask(SYSTEM, driver::Command::Tick {});
    assert_eq!(play.state.why_no_offers(play.now)[..2], [WhyNot::OnBreak, WhyNot::Hours]);
    play.after_s(80).ask(me, on);

    let (spells, _) = driver(&play.journal, START, 5).unwrap();
    let after_s = |at: Option<Timestamp>| at.map(|at| at.since(START).as_secs());
    let rows: Vec<_> =
        spells.iter().map(|it| (it.why, after_s(it.from), after_s(it.until))).collect();
    let whole = |why| (why, Some(60), Some(80));
    assert_eq!(rows, [whole(WhyNot::OnBreak), whole(WhyNot::Hours)]);
}
