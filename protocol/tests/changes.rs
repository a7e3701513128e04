//! What changed of a view makes the one from the other, in both codecs, and nothing but what changed is said.

use proptest::prelude::*;
use protocol::{
    Currency, DriverId, DriverStatus, Fare, FareLine, FulfilmentStatus, JobId, MemberStatus, Money,
    OfferId, OfferStatus, OrderId, OrderStatus, Place, Point, RescueId, RescueStatus, RiderId,
    RunId, RunStatus, Timestamp,
    changes::{Changed, NotShown, OtherVersion, Shown},
    codec::Codec,
    frame::{ServerFrame, Topic},
    view::{
        DriverView, Eta, Etas, Grant, HubStay, Offer, OfferView, OrderView, Position, Queued,
        Rates, RescueView, Rest, RiderView, RunOrder, RunStop, RunView, Shift, StopKind, WorkKind,
    },
    work::{Issue, Needs, OfferPolicy, OrderKind, Vehicle, VehicleKind},
};
use strum::IntoEnumIterator;

/// One of the few values that each field has here.
type Dice = [u8; 20];

fn pick<T: IntoEnumIterator>(n: u8) -> T {
    T::iter().nth(n.into()).expect("as many as a die has sides")
}

fn maybe<T>(n: u8, some: impl Fn(u8) -> T) -> Option<T> {
    (n > 0).then(|| some(n))
}

fn few<T>(n: u8, each: impl Fn(u8) -> T) -> Vec<T> {
    (0..n).map(each).collect()
}

fn time(n: u8) -> Timestamp {
    Timestamp(1_800_000_000_000 + u64::from(n))
}

fn text(n: u8) -> String {
    "x".repeat(n.into())
}

fn place(n: u8) -> Place {
    Place { at: Point { lat: f64::from(n) / 7.0, lon: -1.5 }, label: maybe(n, text) }
}

fn fare(n: u8) -> Fare {
    let line = |n| FareLine { code: text(n), amount: n.into() };
    Fare { currency: Currency::RWF, lines: few(n, line) }
}

fn job(n: u8) -> JobId {
    JobId::Order(OrderId::nth(n.into()))
}

fn driver(n: u8) -> DriverId {
    DriverId::nth(n.into())
}

fn eta(n: u8) -> Eta {
    Eta { s: n.into(), low_s: 0, high_s: 2 * u32::from(n) }
}

fn etas(n: u8) -> Etas {
    Etas { at: time(n), pickup: maybe(n / 2, eta), next: maybe(n / 3, eta), arrival: maybe(n, eta) }
}

fn queued(n: u8) -> Queued {
    Queued { at: time(n), position: n.into(), n_waiting: 9, eta: maybe(n / 2, eta) }
}

fn offer_view(n: u8) -> OfferView {
    let (id, status) = (OfferId::nth(n.into()), pick::<OfferStatus>(n));
    OfferView { id, driver: driver(n), status, expires_at: time(n) }
}

fn offer(n: u8) -> Offer {
    Offer {
        id: OfferId::nth(n.into()),
        job: job(n),
        work: WorkKind::Ride,
        pickup: place(n),
        dropoff: maybe(n, place),
        fare: Money { amount: n.into(), currency: Currency::RWF },
        eta_s: n.into(),
        expires_at: time(n),
        run: None,
        next: n.is_multiple_of(2),
    }
}

fn hub_stay(n: u8) -> HubStay {
    HubStay { until: maybe(n, time), left_at: maybe(n / 2, time), by: maybe(n / 2, driver) }
}

fn order_view(d: Dice) -> ServerFrame {
    OrderView {
        id: OrderId::nth(1),
        version: d[0].into(),
        kind: [OrderKind::Ride, OrderKind::Delivery, OrderKind::Commerce][usize::from(d[1]) % 3],
        status: pick::<OrderStatus>(d[2]),
        fulfilment: pick::<FulfilmentStatus>(d[3]),
        rider: RiderId::nth(d[4].into()),
        driver: maybe(d[5], driver),
        stops: few(d[6], place),
        stops_done: d[7],
        fare: fare(d[8]),
        tip: maybe(d[9], |n| Money { amount: n.into(), currency: Currency::RWF }),
        policy: [OfferPolicy::Feed, OfferPolicy::Direct][usize::from(d[10]) % 2],
        held: false,
        paused: None,
        priority: protocol::work::Priority::Normal,
        fleet: None,
        fleet_first: false,
        offers: few(d[11], offer_view),
        reason: maybe(d[12], text),
        placed_at: time(d[13]),
        changed_at: time(d[14]),
        start_at: maybe(d[15], time),
        price_asked: maybe(d[16], fare),
        follows: maybe(d[17], |n| OrderId::nth(n.into())),
        followed_by: maybe(d[18], |n| OrderId::nth(n.into())),
        run: None,
        eta: maybe(d[15], etas),
        queue: maybe(d[16], queued),
        code: maybe(d[19], text),
        hub: maybe(d[17], hub_stay),
    }
    .into()
}

fn rescue_view(d: Dice) -> ServerFrame {
    RescueView {
        id: RescueId::nth(1),
        version: d[0].into(),
        issue: pick::<Issue>(d[1]),
        status: pick::<RescueStatus>(d[2]),
        rider: RiderId::nth(d[3].into()),
        driver: maybe(d[4], driver),
        attached: maybe(d[5], driver),
        at: place(d[6]),
        dropoff: maybe(d[7], place),
        fare: fare(d[8]),
        needs: Needs {
            weight_g: u32::from(d[15]) + 1,
            skills: few(d[16], text),
            ..Needs::default()
        },
        held: false,
        priority: protocol::work::Priority::Normal,
        fleet: None,
        offers: few(d[9], offer_view),
        outcome: maybe(d[10], text),
        alternatives: Vec::new(),
        requested_at: time(d[11]),
        changed_at: time(d[12]),
        eta: maybe(d[13], etas),
        queue: maybe(d[14], queued),
    }
    .into()
}

fn driver_view(d: Dice) -> ServerFrame {
    let position = |n| Position {
        at: place(n).at,
        sampled_at: time(n),
        heading_deg: maybe(n, f32::from),
        speed_mps: None,
        accuracy_m: Some(f32::from(n)),
    };
    let vehicle =
        |n| Vehicle { kind: VehicleKind::Moto, capacity_g: u32::from(n), skills: few(n, text) };
    DriverView {
        id: driver(1),
        version: d[0].into(),
        status: pick::<DriverStatus>(d[1]),
        blocked: maybe(d[2], text),
        vehicle: maybe(d[3], vehicle),
        jobs: few(d[4], job),
        offers: few(d[5], offer),
        position: maybe(d[6], position),
        fleet: None,
        hint: None,
        run: None,
        // What is empty is left out of a view, and said of a change.
        grants: few(d[7] + 1, |n| Grant { skill: text(n), until: maybe(n, time) }),
        ungranted: few(d[8] + 1, text),
        rates: Rates { made: u32::from(d[9]) + 1, in_a_row: d[10], ..Rates::default() },
        shift: Some(Shift { start: time(d[11]), end: time(d[12]), zone: None }),
        n_shift_no_shows: u32::from(d[13]) + 1,
        // Left out of a view and said of a change as well: by itself, below.
        doubted: true,
        rest: Some(Rest {
            must: d[14] % 2 == 1,
            at: maybe(d[14], time),
            until: maybe(d[15], time),
        }),
    }
    .into()
}

fn rider_view(d: Dice) -> ServerFrame {
    RiderView { id: RiderId::nth(1), version: d[0].into(), jobs: few(d[1], job) }.into()
}

fn run_view(d: Dice) -> ServerFrame {
    let money = |n: u8| Money { amount: n.into(), currency: Currency::RWF };
    let order = |n: u8| RunOrder {
        order: OrderId::nth(n.into()),
        status: pick::<MemberStatus>(n),
        fare: maybe(n, money),
    };
    let stop = |n: u8| RunStop {
        order: OrderId::nth(n.into()),
        what: [StopKind::Pickup, StopKind::Dropoff][usize::from(n) % 2],
        at: place(n),
        due: time(n),
    };
    RunView {
        id: RunId::nth(1),
        version: d[0].into(),
        status: pick::<RunStatus>(d[1]),
        driver: driver(d[2]),
        orders: few(d[3], order),
        stops: few(d[4], stop),
        fare: maybe(d[5], money),
        saving_percent: d[6],
        reason: maybe(d[7], text),
        planned_at: time(d[8]),
        changed_at: time(d[9]),
    }
    .into()
}

/// Two views of one thing.
fn two_views() -> impl Strategy<Value = (ServerFrame, ServerFrame)> {
    let kinds: [fn(Dice) -> ServerFrame; 5] =
        [order_view, rescue_view, driver_view, rider_view, run_view];
    let dice = || prop::array::uniform20(0_u8..4);
    // Most of a view stays what it was.
    let few_changed = (dice(), dice(), dice()).prop_map(|(was, other, is_other)| {
        let now = std::array::from_fn(|n| if is_other[n] == 0 { other[n] } else { was[n] });
        (was, now)
    });
    (prop::sample::select(kinds.to_vec()), few_changed)
        .prop_map(|(view, (was, now))| (view(was), view(now)))
}

/// As it arrives.
fn sent(frame: &ServerFrame, codec: Codec) -> ServerFrame {
    codec.decode(&codec.encode(frame).expect("a frame can be written")).expect("and read")
}

proptest! {
    #[test]
    fn what_changed_makes_the_one_from_the_other((was, now) in two_views()) {
        let changed = Changed::between(&was, &now).expect("of the same");
        let mut applied = was.clone();
        prop_assert_eq!(changed.clone().apply(&mut applied), Ok(()));
        prop_assert_eq!(&applied, &now);
        for codec in [Codec::Json, Codec::MsgPack] {
            let frame = ServerFrame::Changed(changed.clone());
            prop_assert_eq!(&sent(&frame, codec), &frame);
            let mut shown = Shown::default();
            prop_assert_eq!(shown.whole(sent(&was, codec)), Ok(was.clone()));
            prop_assert_eq!(shown.whole(sent(&frame, codec)), Ok(now.clone()));
        }
    }

    #[test]
    fn nothing_but_what_changed_is_said((was, now) in two_views()) {
        let json = |frame: &ServerFrame| serde_json::to_value(frame).expect("frames are JSON");
        let fields = |frame: &ServerFrame| {
            let frame = json(frame);
            let (_, view) = frame.as_object().and_then(|it| it.iter().next()).expect("one name");
            view.clone()
        };
        let changed = Changed::between(&was, &now).expect("of the same");
        let changed = fields(&ServerFrame::Changed(changed));
        let (_, said) = changed.as_object().and_then(|it| it.iter().next()).expect("one kind");
        let (was, now) = (fields(&was), fields(&now));
        for (field, said) in said.as_object().expect("a map") {
            match field.as_str() {
                "id" => prop_assert_eq!(said, &now["id"]),
                "from" => prop_assert_eq!(said, &was["version"]),
                "version" => prop_assert_eq!(said, &now["version"]),
                _ => {
                    prop_assert_eq!(said, &now[field], "{}", field);
                    prop_assert_ne!(said, &was[field], "{}", field);
                }
            }
        }
    }

    #[test]
    fn changes_of_another_version_change_nothing((was, now) in two_views(), (other, _) in two_views()) {
        let changed = Changed::between(&was, &now).expect("of the same");
        let is_of = Changed::between(&other, &was).is_some();
        let mut applied = other.clone();
        if changed.clone().apply(&mut applied) == Err(OtherVersion) {
            prop_assert_eq!(applied, other);
        } else {
            prop_assert!(is_of);
        }
    }
}

#[test]
fn that_a_driver_is_doubted_is_said_and_that_it_is_no_more_although_a_view_leaves_that_out() {
    let view = |doubted| {
        let ServerFrame::Driver(view) = driver_view([1; 20]) else { panic!("it is a driver's") };
        ServerFrame::Driver(Box::new(DriverView { doubted, ..*view }))
    };
    for doubted in [true, false] {
        let (was, now) = (view(!doubted), view(doubted));
        let changed = Changed::between(&was, &now).expect("of the same");
        let Changed::Driver(changes) = &changed else { panic!("{changed:?}") };
        assert_eq!((changes.doubted, &changes.position), (Some(doubted), &None));
        for codec in [Codec::Json, Codec::MsgPack] {
            let mut shown = Shown::default();
            assert_eq!(shown.whole(sent(&was, codec)), Ok(was.clone()));
            let frame = sent(&ServerFrame::Changed(changed.clone()), codec);
            assert_eq!(shown.whole(frame), Ok(now.clone()));
        }
    }
    let same = Changed::between(&view(true), &view(true)).expect("of the same");
    assert!(matches!(same, Changed::Driver(changes) if changes.doubted.is_none()));
}

#[test]
fn what_was_not_shown_or_not_last_is_asked_for_anew() {
    let version = |n: u8| {
        let mut dice = [1; 20];
        dice[0] = n;
        order_view(dice)
    };
    let changed = |from, to| {
        ServerFrame::Changed(Changed::between(&version(from), &version(to)).expect("of the same"))
    };
    let missing = Err(NotShown { topic: Topic::Order(OrderId::nth(1)) });
    let mut shown = Shown::default();
    assert_eq!(shown.whole(changed(1, 2)), missing);
    assert_eq!(shown.whole(version(1)), Ok(version(1)));
    assert_eq!(shown.whole(changed(1, 2)), Ok(version(2)));
    assert_eq!(shown.whole(changed(1, 2)), missing, "it is at the second version");
    assert_eq!(shown.whole(changed(2, 3)), missing, "and not to be trusted after that");
    assert_eq!(shown.whole(version(3)), Ok(version(3)));
    assert_eq!(shown.whole(rider_view([2; 20])), Ok(rider_view([2; 20])));
    assert_eq!(shown.whole(changed(3, 1)), Ok(version(1)));
    shown.forget();
    assert_eq!(shown.whole(changed(1, 2)), missing);
    let not_null = br#"{"changed":{"order":{"id":"order-01b0f3c8aaaa70008000000000000000","from":1,"version":2,"status":null}}}"#;
    assert!(Codec::Json.decode::<ServerFrame>(not_null).is_err(), "an order always has a status");
}

#[test]
fn what_is_only_expected_otherwise_keeps_its_version_and_takes_few_bytes() {
    let mut dice = [1; 20];
    let was = order_view(dice);
    let ServerFrame::Order(now) = was.clone() else { panic!("{was:?}") };
    let now = ServerFrame::from(OrderView { eta: Some(etas(3)), ..*now });
    let changed = ServerFrame::Changed(Changed::between(&was, &now).expect("of the same"));
    let bytes = Codec::MsgPack.encode(&changed).expect("a frame can be written").len();
    assert!(bytes <= 160, "{bytes}: a phone hears this every few seconds");
    let mut shown = Shown::default();
    assert_eq!(shown.whole(was.clone()), Ok(was));
    assert_eq!(shown.whole(changed.clone()), Ok(now.clone()));
    assert_eq!(shown.whole(changed), Ok(now.clone()), "it is still that version");
    // Nobody knows any more.
    let ServerFrame::Order(none) = now.clone() else { panic!("{now:?}") };
    let none = ServerFrame::from(OrderView { eta: None, ..*none });
    let changed = ServerFrame::Changed(Changed::between(&now, &none).expect("of the same"));
    for codec in [Codec::Json, Codec::MsgPack] {
        let bytes = codec.encode(&changed).expect("a frame can be written");
        let read = codec.decode::<ServerFrame>(&bytes).expect("and read");
        assert_eq!(shown.clone().whole(read), Ok(none.clone()), "{codec:?}");
    }
    // An older node says nothing of it.
    dice[15] = 0;
    let json = serde_json::to_value(order_view(dice)).expect("frames are JSON");
    assert!(json["order"].get("eta").is_none(), "{json}");
    let read: ServerFrame = serde_json::from_value(json).expect("an older view");
    assert_eq!(read, order_view(dice));
}

#[test]
fn a_client_keeps_no_more_than_it_may_be_shown() {
    let mut shown = Shown::default();
    let view = |n| RiderView { id: RiderId::nth(n), version: 1, jobs: Vec::new() };
    for n in 0..1_000 {
        assert!(shown.whole(view(n).into()).is_ok());
    }
    let changed = |n| {
        let changes = view(n).changes_since(&view(n)).expect("of the same");
        ServerFrame::Changed(Changed::Rider(changes))
    };
    assert!(shown.whole(changed(999)).is_ok());
    assert!(shown.whole(changed(900)).is_ok());
    assert!(shown.whole(changed(800)).is_err());
}
