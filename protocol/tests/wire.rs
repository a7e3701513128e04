//! The bytes of every frame, written down: whoever changes one changes what phones in the field say.

use protocol::{
    Code, CommandId, Currency, DriverId, DriverStatus, Fare, FareLine, FulfilmentStatus,
    IncidentId, IncidentStatus, JobId, MemberStatus, Money, OfferId, OfferStatus, OrderId,
    OrderStatus, Place, Point, Principal, Refused, RescueId, RescueStatus, RiderId, RunId,
    RunStatus, SessionId, ShardId, Timestamp, ZoneId,
    changes::Changed,
    codec::Codec,
    frame::{
        ActorView, Board, ClientFrame, Done, Fix, Outcome, Push, RegionBoard, Resume,
        SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, ServerFrame, Topic, Viewport,
    },
    view::{
        CheckView, Counters, Crossing, DriverView, Eta, Etas, Grant, Happening, IncidentView, Mark,
        Message, Offer, OfferView, OrderView, Position, Queued, Rates, RescueView, RiderView,
        RunOffer, RunOrder, RunPay, RunStop, RunView, Shift, StopKind, WorkKind, ZonePause,
    },
    work::{
        CheckItem, DriverAction, Handoff, IncidentAction, IncidentKind, Issue, Needs, NewOrder,
        NewRescue, OfferPolicy, OrderAction, OrderKind, PaymentTiming, Priority, RescueAction,
        RunAction, RunErrand, Severity, Sos, Vehicle, VehicleKind, Wish, ZoneAction,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};
use strum::IntoEnumIterator;

const NOON: Timestamp = Timestamp(1_800_000_000_000);
const HERE: Point = Point { lat: -1.9441, lon: 30.0619 };
const THERE: Point = Point { lat: -1.95, lon: 30.1 };

fn order() -> OrderId {
    OrderId::nth(1)
}

fn rescue() -> RescueId {
    RescueId::nth(1)
}

fn incident() -> IncidentId {
    IncidentId::nth(1)
}

fn zone() -> ZoneId {
    ZoneId::of_cell(0x0872_8308_28ff_ffff)
}

fn pause() -> ZonePause {
    ZonePause { zone: zone(), since: NOON, until: None, reason: "a flood".to_owned() }
}

fn driver() -> DriverId {
    DriverId::nth(1)
}

fn rider() -> RiderId {
    RiderId::nth(1)
}

fn offer() -> OfferId {
    OfferId::nth(1)
}

fn money(amount: i64) -> Money {
    Money { amount, currency: Currency::RWF }
}

fn fare() -> Fare {
    let line = |code: &str, amount| FareLine { code: code.to_owned(), amount };
    Fare { currency: Currency::RWF, lines: vec![line("base", 400), line("discount", -50)] }
}

fn vehicle() -> Vehicle {
    Vehicle { kind: VehicleKind::Moto, capacity_g: 5_000, skills: vec!["cold_chain".to_owned()] }
}

fn position() -> Position {
    Position {
        at: HERE,
        sampled_at: NOON,
        heading_deg: Some(90.0),
        speed_mps: Some(7.5),
        accuracy_m: None,
    }
}

fn offer_view() -> OfferView {
    OfferView { id: offer(), driver: driver(), status: OfferStatus::Seen, expires_at: NOON }
}

fn offered() -> Offer {
    Offer {
        id: offer(),
        job: JobId::Order(order()),
        work: WorkKind::Ride,
        pickup: HERE.into(),
        dropoff: Some(THERE.into()),
        fare: money(350),
        eta_s: 120,
        expires_at: NOON,
        run: None,
        next: false,
    }
}

fn wishes() -> Vec<Wish> {
    let new_order = NewOrder {
        kind: OrderKind::Ride,
        stops: vec![Place { at: HERE, label: Some("the market".to_owned()) }, THERE.into()],
        rider: None,
        start_at: Some(NOON),
        payment: PaymentTiming::Cash,
        needs: Needs { vehicles: vec![VehicleKind::Car], ..Needs::default() },
        quote: Some("a.b.c".to_owned()),
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
    };
    let new_rescue = NewRescue {
        issue: Issue::FlatTyre,
        at: HERE.into(),
        accuracy_m: Some(12),
        severity: Some(Severity::Minor),
        dropoff: None,
        rider: None,
        vehicle: Some(VehicleKind::Car),
        bike: None,
        weight_g: 0,
        policy: None,
    };
    let cancel = OrderAction::Cancel { reason: "rain".to_owned() };
    vec![
        Wish::PlaceOrder(Box::new(new_order)),
        Wish::Order { id: order(), action: cancel },
        Wish::Order { id: order(), action: OrderAction::Arrive {} },
        Wish::RequestRescue(Box::new(new_rescue)),
        Wish::Rescue { id: rescue(), action: RescueAction::Rate { stars: 5 } },
        Wish::Driver { id: None, action: DriverAction::AcceptOffer { offer: offer() } },
        Wish::Driver {
            id: Some(driver()),
            action: DriverAction::ClaimJob { job: JobId::Rescue(rescue()) },
        },
        Wish::Driver {
            id: Some(driver()),
            action: DriverAction::Message { job: None, text: "come in, please".to_owned() },
        },
        Wish::Driver {
            id: Some(driver()),
            action: DriverAction::GrantSkill {
                skill: "certificate.hazmat".to_owned(),
                reason: "seen".to_owned(),
                until: Some(NOON),
            },
        },
        Wish::Driver {
            id: Some(driver()),
            action: DriverAction::RevokeSkill {
                skill: "certificate.hazmat".to_owned(),
                reason: "forged".to_owned(),
            },
        },
        Wish::Driver {
            id: Some(driver()),
            action: DriverAction::AllowOffShift { until: NOON, reason: "rain".to_owned() },
        },
        Wish::Driver {
            id: Some(driver()),
            action: DriverAction::RevokeOffShift { reason: "dry".to_owned() },
        },
        Wish::Sos(Sos {
            job: Some(JobId::Order(order())),
            position: Some(position()),
            mock: false,
        }),
        Wish::Sos(Sos::default()),
        Wish::Incident { id: incident(), action: IncidentAction::Ack {} },
        Wish::Incident {
            id: incident(),
            action: IncidentAction::AddResponder { name: "police".to_owned() },
        },
        Wish::Zone {
            id: zone(),
            action: ZoneAction::Pause { reason: "a flood".to_owned(), until: Some(NOON) },
        },
        Wish::Zone { id: zone(), action: ZoneAction::Resume { reason: "dry again".to_owned() } },
        Wish::Zone {
            id: zone(),
            action: ZoneAction::SetSurge {
                percent: 150,
                reason: "a concert".to_owned(),
                until: NOON,
            },
        },
        Wish::Zone { id: zone(), action: ZoneAction::LiftSurge { reason: "over".to_owned() } },
        Wish::Run {
            id: run(),
            action: RunAction::Reorder {
                stops: vec![RunErrand { order: order(), what: StopKind::Pickup }],
                reason: "the street is closed".to_owned(),
            },
        },
        Wish::Run {
            id: run(),
            action: RunAction::Split {
                orders: vec![order()],
                driver: driver(),
                reason: "too much for one".to_owned(),
            },
        },
    ]
}

fn topics() -> [Topic; 8] {
    [
        Topic::Order(order()),
        Topic::Rescue(rescue()),
        Topic::Driver(driver()),
        Topic::Incident(incident()),
        Topic::Run(run()),
        Topic::Board,
        Topic::Actor(order().to_string()),
        Topic::Viewport(Viewport {
            south: -2_050_000,
            west: 29_950_000,
            north: -1_850_000,
            east: 30_200_000,
        }),
    ]
}

fn client_frames() -> Vec<ClientFrame> {
    let mut frames = vec![
        ClientFrame::Identify { token: "a.b.c".to_owned(), resume: None },
        ClientFrame::Identify {
            token: "a.b.c".to_owned(),
            resume: Some(Resume { session: SessionId::nth(1), heard: 1_234 }),
        },
        ClientFrame::Heartbeat { heard: None },
        ClientFrame::Heartbeat { heard: Some(1_234) },
        ClientFrame::Position(position().into()),
        ClientFrame::Position(Fix { mock: true, ..position().into() }),
        ClientFrame::Ack { n: 7 },
    ];
    let command = |wish| ClientFrame::Command { id: CommandId::nth(1), wish };
    frames.extend(wishes().into_iter().map(command));
    frames.extend(topics().map(ClientFrame::Subscribe));
    frames.push(ClientFrame::Unsubscribe(Topic::Board));
    frames
}

fn pushes() -> Vec<Push> {
    let job = JobId::Order(order());
    vec![
        Push::Offer(offered()),
        Push::Offer(Offer { work: WorkKind::Delivery, run: Some(run_offer()), ..offered() }),
        Push::OfferEnded { offer: offer(), status: OfferStatus::Withdrawn },
        Push::Assigned { job },
        Push::Released { job, reason: "completed".to_owned() },
        Push::ClaimLost { job, reason: "refused".to_owned() },
        Push::Incident(Box::new(incident_view())),
        Push::IncidentHeeded { incident: incident() },
        Push::Message(Message {
            job: Some(job),
            text: "the gate is open".to_owned(),
            by: Principal::Dispatcher,
            at: NOON,
            in_a_row: None,
        }),
        Push::Message(Message {
            job: None,
            text: "You did not take the last 5 offers. You can take a break.".to_owned(),
            by: Principal::System,
            at: NOON,
            in_a_row: Some(5),
        }),
        Push::Offer(Offer { next: true, ..offered() }),
    ]
}

fn order_view() -> OrderView {
    OrderView {
        id: order(),
        version: 3,
        kind: OrderKind::Ride,
        status: OrderStatus::Assigned,
        fulfilment: FulfilmentStatus::None,
        rider: rider(),
        driver: Some(driver()),
        stops: vec![HERE.into(), THERE.into()],
        stops_done: 0,
        fare: fare(),
        tip: Some(money(100)),
        policy: OfferPolicy::BatchOptimal,
        held: false,
        paused: None,
        priority: Priority::Normal,
        fleet: None,
        fleet_first: false,
        offers: vec![offer_view()],
        reason: None,
        placed_at: NOON,
        changed_at: NOON,
        start_at: Some(NOON),
        price_asked: None,
        follows: Some(order()),
        followed_by: None,
        run: None,
        eta: None,
        queue: None,
        code: Some("0042".to_owned()),
        hub: None,
    }
}

fn etas() -> Etas {
    let pickup = Some(Eta { s: 240, low_s: 180, high_s: 360 });
    let arrival = Some(Eta { s: 900, low_s: 600, high_s: 1_400 });
    Etas { at: NOON, pickup, next: None, arrival }
}

fn queued() -> Queued {
    let eta = Some(Eta { s: 240, low_s: 180, high_s: 360 });
    Queued { at: NOON, position: 3, n_waiting: 12, eta }
}

fn rescue_view() -> RescueView {
    RescueView {
        id: rescue(),
        version: 2,
        issue: Issue::BatteryDead,
        status: RescueStatus::Searching,
        rider: rider(),
        driver: None,
        attached: None,
        at: HERE.into(),
        dropoff: Some(THERE.into()),
        fare: fare(),
        needs: Needs::default(),
        held: false,
        priority: Priority::Normal,
        fleet: None,
        offers: Vec::new(),
        outcome: None,
        alternatives: Vec::new(),
        requested_at: NOON,
        changed_at: NOON,
        eta: None,
        queue: None,
    }
}

fn driver_view() -> DriverView {
    DriverView {
        id: driver(),
        version: 4,
        status: DriverStatus::Available,
        blocked: None,
        vehicle: Some(vehicle()),
        jobs: vec![JobId::Order(order())],
        offers: vec![offered()],
        position: Some(position()),
        fleet: None,
        hint: None,
        run: None,
        grants: vec![Grant { skill: "certificate.hazmat".to_owned(), until: Some(NOON) }],
        ungranted: vec!["cold_chain".to_owned()],
        rates: Rates {
            made: 3,
            accepted: 2,
            declined: 1,
            acceptance_percent: 84,
            ..Rates::default()
        },
        shift: Some(Shift { start: NOON, end: Timestamp(NOON.0 + 14_400_000), zone: None }),
        n_shift_no_shows: 1,
        doubted: false,
        rest: None,
    }
}

fn incident_view() -> IncidentView {
    IncidentView {
        id: incident(),
        version: 2,
        kind: IncidentKind::Sos,
        mock: false,
        status: IncidentStatus::Open,
        raised_by: Principal::Rider(rider()),
        job: Some(JobId::Order(order())),
        position: Some(position()),
        opened_at: NOON,
        changed_at: NOON,
        calling: true,
        escalations: 1,
        acked_at: None,
        responders: vec!["police".to_owned()],
        others: vec![Principal::Driver(driver())],
        checklist: vec![CheckView { item: CheckItem::CallerSafe, answer: true }],
        note: Some("nobody has taken it on".to_owned()),
    }
}

fn run() -> RunId {
    RunId::nth(1)
}

fn run_stops() -> Vec<RunStop> {
    let stop = |what, at: Point| RunStop { order: order(), what, at: at.into(), due: NOON };
    vec![stop(StopKind::Pickup, HERE), stop(StopKind::Dropoff, THERE)]
}

fn run_offer() -> Box<RunOffer> {
    let orders = vec![RunPay { order: order(), fare: money(350) }];
    Box::new(RunOffer { run: run(), orders, stops: run_stops() })
}

fn run_view() -> RunView {
    let order = RunOrder { order: order(), status: MemberStatus::Waiting, fare: Some(money(350)) };
    RunView {
        id: run(),
        version: 7,
        status: RunStatus::Active,
        driver: driver(),
        orders: vec![order],
        stops: run_stops(),
        fare: Some(money(350)),
        saving_percent: 38,
        reason: None,
        planned_at: NOON,
        changed_at: NOON,
    }
}

fn rider_view() -> RiderView {
    RiderView { id: rider(), version: 1, jobs: vec![JobId::Order(order())] }
}

fn changed(was: ServerFrame, now: ServerFrame) -> ServerFrame {
    ServerFrame::Changed(Changed::between(&was, &now).expect("views of the same"))
}

fn region_board() -> RegionBoard {
    RegionBoard {
        region: "region-856a3243fffffff".to_owned(),
        seq: 2,
        full: false,
        server_time: NOON,
        marks: Vec::new(),
        gone: vec![driver().to_string()],
    }
}

fn board() -> Board {
    let driver = Mark::Driver {
        id: driver(),
        at: HERE,
        status: DriverStatus::Available,
        jobs: Vec::new(),
        vehicle: None,
        doubted: false,
        tired: false,
    };
    let order = Mark::Order {
        id: order(),
        kind: OrderKind::Delivery,
        status: OrderStatus::Searching,
        pickup: HERE,
        dropoff: THERE,
        driver: None,
        priority: Priority::Urgent,
        held: true,
        since: Some(NOON),
        due: Some(NOON),
    };
    let rescue = Mark::Rescue {
        id: rescue(),
        issue: Issue::Stuck,
        status: RescueStatus::OnScene,
        at: HERE,
        driver: None,
        priority: Priority::Normal,
        held: false,
        since: None,
        due: None,
    };
    let counters = Counters {
        drivers: BTreeMap::from([(DriverStatus::Available, 1)]),
        rides: BTreeMap::new(),
        deliveries: BTreeMap::from([(OrderStatus::Searching, 2)]),
        rescues: BTreeMap::from([(RescueStatus::OnScene, 3)]),
    };
    let actor = rider().to_string();
    let happenings = vec![Happening { at: NOON, actor: actor.clone(), what: "placed".to_owned() }];
    Board {
        seq: 9,
        full: true,
        server_time: NOON,
        marks: vec![driver, order, rescue],
        gone: vec![actor],
        counters,
        happenings,
        attending: None,
        left_out: 0,
    }
}

fn server_frames() -> Vec<ServerFrame> {
    let id = CommandId::nth(1);
    let done = Done { actor: order().to_string(), version: 1 };
    let mut refused = Refused::new(Code::IllegalTransition, "not while searching");
    refused.allowed = vec!["cancel".to_owned()];
    let mut paused = Refused::new(Code::ZonePaused, "this zone is paused: a flood");
    paused.zone = Some(Box::new(pause()));
    let busy = Refused::new(Code::Busy, "too many commands at once").retry_after_ms(100);
    let actor = ActorView {
        actor: order().to_string(),
        version: 3,
        shard: ShardId(7),
        state: serde_json::json!({ "status": "assigned" }),
        events: vec!["assigned".to_owned()],
        deadline: Some(NOON),
    };
    let mut frames = vec![
        ServerFrame::Hello {
            session: SessionId::nth(1),
            server_time: NOON,
            heartbeat_ms: 20_000,
            frame_bytes_max: 65_536,
            frames_per_s: 20,
            commands_per_s: 10,
            commands_max: 16,
            topics_max: 64,
            resume_ms: 120_000,
        },
        ServerFrame::Welcome {
            principal: Principal::Rider(rider()),
            expires_at: Timestamp(3_600_000),
            resumed: None,
            regions: Vec::new(),
        },
        ServerFrame::Welcome {
            principal: Principal::Dispatcher,
            expires_at: Timestamp(3_600_000),
            resumed: Some(true),
            regions: Vec::new(),
        },
        ServerFrame::Welcome {
            principal: Principal::Dispatcher,
            expires_at: Timestamp(3_600_000),
            resumed: None,
            regions: vec![zone()],
        },
        ServerFrame::Heartbeat { server_time: NOON, heartbeat_ms: Some(60_000) },
        ServerFrame::Result { id, outcome: Outcome::Ok(done) },
        ServerFrame::Result { id, outcome: Outcome::Refused(refused) },
        ServerFrame::Result { id, outcome: Outcome::Refused(paused) },
        ServerFrame::Refused(busy.clone()),
        ServerFrame::Order(Box::new(order_view())),
        ServerFrame::Rescue(Box::new(rescue_view())),
        ServerFrame::Driver(Box::new(driver_view())),
        ServerFrame::Rider(rider_view()),
        ServerFrame::Incident(Box::new(incident_view())),
        ServerFrame::Incident(Box::new(IncidentView {
            position: None,
            acked_at: Some(NOON),
            responders: Vec::new(),
            others: Vec::new(),
            checklist: Vec::new(),
            note: None,
            ..incident_view()
        })),
        changed(
            order_view().into(),
            OrderView {
                version: 4,
                status: OrderStatus::Searching,
                driver: None,
                tip: None,
                start_at: None,
                offers: vec![offer_view(), offer_view()],
                ..order_view()
            }
            .into(),
        ),
        changed(
            order_view().into(),
            OrderView { version: 4, paused: Some(pause()), ..order_view() }.into(),
        ),
        changed(order_view().into(), OrderView { eta: Some(etas()), ..order_view() }.into()),
        changed(order_view().into(), OrderView { queue: Some(queued()), ..order_view() }.into()),
        changed(
            rescue_view().into(),
            RescueView { version: 3, driver: Some(driver()), ..rescue_view() }.into(),
        ),
        changed(rescue_view().into(), RescueView { eta: Some(etas()), ..rescue_view() }.into()),
        changed(rescue_view().into(), RescueView { queue: Some(queued()), ..rescue_view() }.into()),
        changed(driver_view().into(), DriverView { position: None, ..driver_view() }.into()),
        changed(rider_view().into(), RiderView { version: 2, jobs: vec![], ..rider_view() }.into()),
        ServerFrame::Run(Box::new(run_view())),
        changed(
            run_view().into(),
            RunView { version: 8, stops: run_view().stops.split_off(1), ..run_view() }.into(),
        ),
        ServerFrame::Sighted {
            job: JobId::Order(order()),
            at: HERE,
            eta_s: Some(60),
            eta_low_s: Some(45),
            eta_high_s: Some(90),
        },
        ServerFrame::Presence {
            job: JobId::Order(order()),
            who: Principal::Driver(driver()),
            reachable: false,
        },
        ServerFrame::Near {
            job: JobId::Order(order()),
            stop: 1,
            what: StopKind::Dropoff,
            crossing: Crossing::Entered,
            at: NOON,
        },
        ServerFrame::Board(Box::new(board())),
        ServerFrame::Region(Box::new(region_board())),
        ServerFrame::Actor(Box::new(actor)),
        ServerFrame::Unsubscribed { topic: Topic::Board, refused: busy.clone() },
        ServerFrame::Goodbye { refused: busy },
    ];
    let push = |(n, push)| ServerFrame::Push { n, push };
    frames.extend((1..).zip(pushes()).map(push));
    frames
}

/// A new kind of frame must be added here, and then its bytes are missing.
fn client_name(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::Identify { .. } => "identify",
        ClientFrame::Heartbeat { .. } => "heartbeat",
        ClientFrame::Command { .. } => "command",
        ClientFrame::Position(_) => "position",
        ClientFrame::Ack { .. } => "ack",
        ClientFrame::Subscribe(_) => "subscribe",
        ClientFrame::Unsubscribe(_) => "unsubscribe",
    }
}

fn server_name(frame: &ServerFrame) -> &'static str {
    match frame {
        ServerFrame::Hello { .. } => "hello",
        ServerFrame::Welcome { .. } => "welcome",
        ServerFrame::Heartbeat { .. } => "heartbeat",
        ServerFrame::Result { .. } => "result",
        ServerFrame::Push { .. } => "push",
        ServerFrame::Refused(_) => "refused",
        ServerFrame::Order(_) => "order",
        ServerFrame::Rescue(_) => "rescue",
        ServerFrame::Driver(_) => "driver",
        ServerFrame::Rider(_) => "rider",
        ServerFrame::Incident(_) => "incident",
        ServerFrame::Run(_) => "run",
        ServerFrame::Changed(_) => "changed",
        ServerFrame::Sighted { .. } => "sighted",
        ServerFrame::Presence { .. } => "presence",
        ServerFrame::Near { .. } => "near",
        ServerFrame::Board(_) => "board",
        ServerFrame::Region(_) => "region",
        ServerFrame::Actor(_) => "actor",
        ServerFrame::Unsubscribed { .. } => "unsubscribed",
        ServerFrame::Goodbye { .. } => "goodbye",
    }
}

fn push_name(push: &Push) -> &'static str {
    match push {
        Push::Offer(_) => "offer",
        Push::OfferEnded { .. } => "offer_ended",
        Push::Assigned { .. } => "assigned",
        Push::Released { .. } => "released",
        Push::ClaimLost { .. } => "claim_lost",
        Push::Incident(_) => "incident",
        Push::IncidentHeeded { .. } => "incident_heeded",
        Push::Message(_) => "message",
    }
}

/// Each frame in both codecs, having read it back from both.
fn written<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    frames: &[T],
    name: impl Fn(&T) -> &'static str,
) -> String {
    let mut text = String::new();
    for frame in frames {
        let [json, msgpack] = [Codec::Json, Codec::MsgPack].map(|codec| {
            let bytes = codec.encode(frame).expect("a frame can be written");
            assert_eq!(&codec.decode::<T>(&bytes).expect("and read"), frame, "{codec:?}");
            bytes
        });
        let hex: String = msgpack.iter().map(|byte| format!("{byte:02x}")).collect();
        let json = String::from_utf8(json).expect("JSON is text");
        let name = name(frame);
        assert!(json.starts_with(&format!("{{\"{name}\":")), "{name}: {json}");
        text.push_str(&format!("{json}\n{hex}\n\n"));
    }
    text
}

#[test]
fn what_clients_say() {
    insta::assert_snapshot!(written(&client_frames(), client_name));
}

#[test]
fn what_the_server_says() {
    insta::assert_snapshot!(written(&server_frames(), server_name));
    assert_eq!(
        pushes().iter().map(push_name).collect::<Vec<_>>(),
        [
            "offer",
            "offer",
            "offer_ended",
            "assigned",
            "released",
            "claim_lost",
            "incident",
            "incident_heeded",
            "message",
            "message",
            "offer"
        ]
    );
}

#[test]
fn a_client_that_says_more_than_is_known_is_refused_and_a_server_may() {
    let more = br#"{"ack":{"n":1,"colour":"red"}}"#;
    assert!(Codec::Json.decode::<ClientFrame>(more).is_err());
    let more = br#"{"heartbeat":{"server_time":1,"colour":"red"}}"#;
    assert!(Codec::Json.decode::<ServerFrame>(more).is_ok());
}

#[test]
fn nothing_may_come_after_a_frame() {
    let is_refused = |codec: Codec, frame: &ClientFrame, more: &[u8]| {
        let bytes = [&codec.encode(frame).unwrap(), more].concat();
        codec.decode::<ClientFrame>(&bytes).is_err()
    };
    for frame in client_frames() {
        assert!(!is_refused(Codec::MsgPack, &frame, &[]) && !is_refused(Codec::Json, &frame, &[]));
        for byte in 0..=u8::MAX {
            assert!(is_refused(Codec::MsgPack, &frame, &[byte]), "{byte:#x} after {frame:?}");
            // As the begin of something longer, too.
            assert!(is_refused(Codec::MsgPack, &frame, &[byte, 0x91, 0xc0]), "{byte:#x}, ...");
            let is_blank = b" \n\r\t".contains(&byte);
            assert_eq!(is_refused(Codec::Json, &frame, &[byte]), !is_blank, "{byte:#x}");
        }
    }
}

/// The page that people read names everything there is.
#[test]
fn the_page_names_every_frame_push_and_code() {
    let page = include_str!("../PROTOCOL.md");
    let clients = client_frames().iter().map(client_name).collect::<Vec<_>>();
    let servers = server_frames().iter().map(server_name).collect::<Vec<_>>();
    let pushes = pushes().iter().map(push_name).collect::<Vec<_>>();
    let codes = Code::iter().map(|code| code.to_string()).collect::<Vec<_>>();
    let names = [clients, servers, pushes].concat().into_iter().map(str::to_owned).chain(codes);
    let missing: Vec<_> = names.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, [""; 0]);
    for subprotocol in [SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK] {
        assert!(page.contains(subprotocol));
    }
}

/// What a module `close` calls by name.
fn close_codes(source: &str) -> impl Iterator<Item = u16> {
    let (_, module) = source.split_once("mod close {").expect("there are close codes");
    let (module, _) = module.split_once("\n}").expect("it ends");
    let code = |line: &str| line.strip_suffix(';')?.rsplit_once("u16 = ")?.1.parse().ok();
    module.lines().filter_map(code)
}

#[test]
fn the_page_has_a_row_for_every_code_a_gateway_closes_with_and_for_no_other() {
    let gateway =
        [include_str!("../../src/gateway/session.rs"), include_str!("../../src/gateway/socket.rs")];
    let said: BTreeSet<u16> = gateway.into_iter().flat_map(close_codes).collect();
    assert!(said.len() > 8, "{said:?}");
    let (_, table) = include_str!("../PROTOCOL.md").split_once("\n## Close codes\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let code = |row: &str| row.strip_prefix("| ")?.split_once(' ')?.0.parse().ok();
    let rows: BTreeSet<u16> = table.lines().filter_map(code).collect();
    assert_eq!(rows, said);
}
