//! What is true of every order at all times, and after any sequence of commands.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// Checked after every yes of every test in this module.
pub(super) fn hold_always(
    before: &Order,
    play: &Play,
    command: &Command,
    by: Principal,
    events: &[Event],
) {
    replay_gives_the_live_state(play);
    events_survive_the_journal(play, events);
    asking_again_changes_nothing(play, command, by);
    the_end_is_final(before, play, events);
    claims_follow_the_driver(play);
    offers_end_once_and_in_time(play);
    at_most_one_driver(play);
    an_early_tick_is_already_so(play);
    versions_of_the_fare_are_sums(play);
}

fn replay_gives_the_live_state(play: &Play) {
    let mut replayed = Order::default();
    play.journal.iter().for_each(|event| replayed.evolve(event));
    assert_eq!(replayed, play.order);
    let bytes = rmp_serde::to_vec_named(&play.order).unwrap();
    assert_eq!(rmp_serde::from_slice::<Order>(&bytes).unwrap(), play.order);
}

fn events_survive_the_journal(play: &Play, events: &[Event]) {
    for event in events {
        let bytes = rmp_serde::to_vec_named(event).unwrap();
        assert_eq!(&rmp_serde::from_slice::<Event>(&bytes).unwrap(), event);
        let json = serde_json::to_string(event).unwrap();
        assert_eq!(&serde_json::from_str::<Event>(&json).unwrap(), event);
    }
    for effect in &play.effects {
        let bytes = rmp_serde::to_vec_named(effect).unwrap();
        assert_eq!(&rmp_serde::from_slice::<Effect>(&bytes).unwrap(), effect);
    }
}

fn asking_again_changes_nothing(play: &Play, command: &Command, by: Principal) {
    let around = Context { id: play.id, by, now: play.now, writes: Format::WRITES };
    if let Ok(events) = play.order.decide(command, &around) {
        assert_eq!(events, [], "{command:?} again");
    }
}

fn the_end_is_final(before: &Order, play: &Play, events: &[Event]) {
    if let Some(status) = before.status().filter(|status| status.is_final()) {
        assert_eq!(play.status(), status, "{events:?}");
    }
    if play.status().is_final() {
        assert_eq!(play.order.offers(), []);
        assert_eq!(play.order.claims(play.id), []);
        assert_eq!(play.order.deadline(), None);
        assert_eq!(play.order.listing(play.id), None);
        assert_eq!(play.journal.iter().filter(|event| event.ends_with().is_some()).count(), 1);
    }
}

fn claims_follow_the_driver(play: &Play) {
    let claims = play.order.claims(play.id);
    let slots = claims.iter().filter(|claim| claim.0.starts_with("driver/"));
    assert_eq!(slots.count() > 0, play.status().has_driver());
    let placement = &play.life().placement;
    let is_for_later = play.status() == OrderStatus::Scheduled
        || play.status() == OrderStatus::AwaitingPayment && placement.start_at.is_some();
    let is_active_ride =
        placement.kind == OrderKind::Ride && !play.status().is_final() && !is_for_later;
    assert_eq!(claims.contains(&Claim::ride(rider())), is_active_ride);
    if play.status().has_driver() {
        assert!(play.order.driver().is_some());
    }
    let is_listed = play.order.listing(play.id).is_some();
    // What is held is known to its region only while it waits for a run.
    let is_held = play.life().search.is_held() && play.life().search.run().is_none();
    assert_eq!(is_listed, play.status() == OrderStatus::Searching && !is_held);
}

/// I-9, I-10 and I-12: every offer ends at most once, none is accepted late, and nobody who had it
/// and gave it up is offered it again unless forced.
fn offers_end_once_and_in_time(play: &Play) {
    struct Made {
        driver: DriverId,
        expires_at: Timestamp,
        is_over: bool,
    }
    let mut made: HashMap<OfferId, Made> = HashMap::new();
    let mut excluded: Vec<DriverId> = Vec::new();
    let mut now = Timestamp::default();
    for (nth, event) in play.journal.iter().enumerate() {
        now = event.at().unwrap_or(now);
        if let Event::LeftAtHub { .. } = event {
            // From there it is another way.
            excluded.clone_from(&play.life().placement.excluded);
        }
        let Event::Search(event) = event else { continue };
        if let SearchEvent::OfferMade { offer, driver, expires_at, force, .. } = event {
            assert!(*force || !excluded.contains(driver), "{driver} was offered it again");
            assert_ne!(driver.0, rider().0);
            let old = made
                .insert(*offer, Made { driver: *driver, expires_at: *expires_at, is_over: false });
            assert!(old.is_none(), "{offer} was made twice");
        }
        if let SearchEvent::OfferConfirmed { offer, expires_at, .. } = event {
            made.get_mut(offer).unwrap().expires_at = *expires_at;
        }
        if let SearchEvent::OfferRefused { offer, .. } | SearchEvent::OfferClosed { offer, .. } =
            event
        {
            let offer = made.get_mut(offer).expect("it was made");
            assert!(!offer.is_over, "it ended twice");
            offer.is_over = true;
        }
        if let SearchEvent::OfferClosed { offer, status, .. } = event {
            assert!(status.is_final());
            let made = &made[offer];
            if *status == OfferStatus::Declined {
                excluded.push(made.driver);
            }
            if *status == OfferStatus::Accepted {
                let at = play.journal[nth..].iter().find_map(Event::at).unwrap();
                assert!(at < made.expires_at, "{offer} was accepted late");
            }
        }
        if let SearchEvent::Excluded { driver } = event {
            excluded.push(*driver);
        }
    }
    let open: Vec<_> = play.order.offers().iter().map(|offer| offer.id).collect();
    for (offer, made) in made {
        assert_eq!(open.contains(&offer), !made.is_over, "{offer}");
    }
}

/// I-1, over the whole journal.
fn at_most_one_driver(play: &Play) {
    let mut driver = None;
    for event in &play.journal {
        if let Event::Assigned(by) = event {
            assert_eq!(driver.replace(by.driver), None, "two drivers");
        } else if let Event::CustodyPassed(by) = event {
            assert!(driver.replace(by.driver).is_some(), "custody passed from nobody");
        } else if let Event::DriverGone { driver: gone, .. } | Event::LeftAtHub { by: gone, .. } =
            event
        {
            assert_eq!(driver.take(), Some(*gone));
        }
    }
    assert_eq!(play.order.driver(), driver);
}

fn an_early_tick_is_already_so(play: &Play) {
    let around = Context { id: play.id, by: SYSTEM, now: play.now, writes: Format::WRITES };
    let due = play.order.deadline().is_some_and(|(at, _)| at <= play.now);
    let events = play.order.decide(&Command::Tick {}, &around).unwrap();
    assert_eq!(!events.is_empty(), due, "{events:?}");
}

fn versions_of_the_fare_are_sums(play: &Play) {
    let view = play.order.order_view(play.id, 1, RIDER).unwrap();
    let sum: i64 = view.fare.lines.iter().map(|line| line.amount).sum();
    assert_eq!(view.fare.total().amount, sum);
    assert!(sum >= 0);
}

/// One step of a random life: who asks what, after how long, and where the driver is meanwhile.
#[derive(Debug, Clone)]
struct Step {
    asker: u8,
    command: usize,
    is_sensible: bool,
    wait_ms: u64,
    east_m: f64,
}

fn step() -> impl Strategy<Value = Step> {
    let wait_ms = prop_oneof![6 => 0..5_000_u64, 3 => 0..60_000_u64, 1 => 0..2_000_000_u64];
    let east_m = prop_oneof![Just(0.0), Just(2_000.0), Just(5_000.0), -100.0..6_000.0];
    (0..8_u8, any::<prop::sample::Index>(), prop::bool::weighted(0.85), wait_ms, east_m).prop_map(
        |(asker, command, is_sensible, wait_ms, east_m)| Step {
            asker,
            command: command.index(1_000_000),
            is_sensible,
            wait_ms,
            east_m,
        },
    )
}

fn placement() -> impl Strategy<Value = Placement> {
    let kind = prop_oneof![Just(ride()), Just(delivery()), Just(commerce())];
    let policies = [
        OfferPolicy::Sequential,
        OfferPolicy::BroadcastFirstWins,
        OfferPolicy::TwoSided,
        OfferPolicy::BatchOptimal,
        OfferPolicy::AutoAssign,
        OfferPolicy::Direct,
        OfferPolicy::Feed,
    ];
    let policy = prop::sample::select(policies.to_vec());
    let start_at = prop::option::weighted(0.2, 0..4_000_000_u64);
    (kind, policy, start_at, any::<[bool; 7]>()).prop_map(|(placement, offer, start_at, flags)| {
        let [is_prepaid, is_via, is_auto, is_collected, is_quick, is_kept, has_hub] = flags;
        let mut placement =
            Placement { start_at: start_at.map(|ms| Timestamp(1_000_000_000 + ms)), ..placement };
        placement.policy.offer = offer;
        placement.policy.auto_arrive = is_auto;
        placement.policy.merchant_auto_accept = is_auto;
        if offer == OfferPolicy::Direct {
            placement.driver = Some(nth(1));
        }
        if is_prepaid {
            placement.payment = PaymentTiming::Prepay;
        }
        if is_via {
            placement.stops.insert(1, place_at(2_000.0));
        }
        if is_kept {
            placement.kept_until = Some(Timestamp(1_000_000_000 + 100_000));
        }
        if is_via && has_hub && placement.kind == OrderKind::Delivery && placement.driver.is_none()
        {
            let until = is_quick.then_some(Timestamp(1_000_000_000 + 3_000_000));
            placement.hub = Some(Box::new(Hub { until }));
        }
        if is_collected && placement.kind == OrderKind::Commerce {
            placement.handoff = Handoff::Collect;
        }
        if is_quick {
            placement.policy.sla_ms = 100_000;
            placement.policy.stuck_ms = 100_000;
            placement.policy.attempts_max = 3;
        }
        placement
    })
}

/// Lives a random life; the laws are checked at every step of it.
fn live(placement: Placement, steps: Vec<Step>) -> Play {
    let mut play = Play::placed(placement);
    for step in steps {
        play.wait(step.wait_ms);
        if play.order.deadline().is_some_and(|(at, _)| at <= play.now) {
            play.tick();
        }
        if let Some(driver) = play.order.driver()
            && let Some(n) = (1..=3).find(|n| nth(*n) == driver)
        {
            let alone = step.is_sensible.then_some(VehicleKind::Moto);
            play.sees(n, play.position(step.east_m), alone, 0);
        }
        let by = match step.asker {
            0 | 1 => RIDER,
            2 | 3 => play.order.driver().map_or(driver(1), Principal::Driver),
            4 => merchant(),
            5 => Principal::Dispatcher,
            6 => Principal::Admin,
            _ => SYSTEM,
        };
        let life = play.life();
        let (kind, status, fulfilment) =
            (life.placement.kind, life.status(), life.fulfilment_status());
        let mut commands = table::samples(&play);
        if step.is_sensible {
            let relation = life.relation(by);
            // Most lives should not end at once.
            commands.retain(|command| {
                let who = rules::who(command.name(), kind, status, fulfilment);
                let ends = ["cancel", "cancel_safety", "report_loss", "fail_payment"];
                who & relation != 0 && !ends.contains(&command.name())
            });
        }
        if !commands.is_empty() {
            let command = commands.swap_remove(step.command % commands.len());
            // A refusal is as good as a yes: what matters is what it leaves behind.
            drop(play.ask(by, command));
        }
    }
    play
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_in_every_life(placement in placement(), steps in prop::collection::vec(step(), 1..60)) {
        live(placement, steps);
    }

    #[test]
    fn ticking_at_every_deadline_comes_to_an_end(
        placement in placement(),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut play = live(placement, steps);
        for _ in 0..100 {
            let Some((at, _)) = play.order.deadline() else { return Ok(()) };
            play.now = at.max(play.now);
            prop_assert!(!play.tick().is_empty(), "a timer that is due does something");
        }
        prop_assert!(false, "timers re-arm each other for ever while {}", play.status());
    }
}

#[test]
fn random_lives_are_not_all_short() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<OrderStatus, u32>::new();
    for _ in 0..80 {
        let life = (placement(), prop::collection::vec(step(), 1..60));
        let (placement, steps) = life.new_tree(&mut runner).unwrap().current();
        *seen.entry(live(placement, steps).status()).or_default() += 1;
    }
    let reached: Vec<_> = seen.keys().copied().collect();
    assert!(reached.len() >= 8, "only {reached:?}");
}
