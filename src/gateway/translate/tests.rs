use super::*;
use crate::{
    auth::Keys,
    settings::{Circle, PresetSettings, Profile, Settings},
};
use actors::{journal::memory::MemoryJournal, region, runtime};
use protocol::{
    PartnerId,
    work::{Issue, OfferPolicy, OrderKind, PaymentTiming, Via},
};
use std::path::PathBuf;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };

/// A translator in front of an empty node.
async fn translator() -> Translator {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::read(None, None).unwrap();
    let keys = Keys::open(&settings.auth, Profile::Development, dir.path()).unwrap();
    let preset = PresetSettings { name: "safeboda".to_owned(), file: PathBuf::new() };
    let preset = Arc::new(preset.read().unwrap());
    let system = System::start(
        Arc::new(MemoryJournal::default()),
        runtime::Clock::Machine,
        runtime::Settings::default(),
        region::Settings::default(),
    );
    Translator {
        system: system.await.unwrap(),
        prices: Prices::new(Arc::clone(&preset), settings.estimate, Arc::new(keys)),
        preset,
        area: Arc::default(),
    }
}

fn rider(n: u64) -> Principal {
    Principal::Rider(RiderId::nth(n))
}

fn ride() -> NewOrder {
    NewOrder {
        kind: OrderKind::Ride,
        stops: vec![KIGALI.into(), KIGALI.offset_m(2_000.0, 0.0).into()],
        rider: None,
        start_at: None,
        payment: PaymentTiming::Cash,
        needs: protocol::work::Needs::default(),
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

fn place(order: NewOrder) -> Wish {
    Wish::PlaceOrder(Box::new(order))
}

fn cancel(reason: &str) -> Wish {
    let action = OrderAction::Cancel { reason: reason.to_owned() };
    Wish::Order { id: OrderId::nth(1), action }
}

#[tokio::test]
async fn the_same_command_names_the_same_order_where_it_is_picked_up() {
    let translator = translator().await;
    let id = CommandId::mint();
    let first = translator.command(place(ride()), rider(1), id).await.unwrap();
    let again = translator.command(place(ride()), rider(1), id).await.unwrap();
    let other = translator.command(place(ride()), rider(2), id).await.unwrap();
    assert_eq!(first.to(), again.to());
    assert_ne!(first.to(), other.to());
    assert_eq!(first.to().shard(), RegionId::at(KIGALI).shard());
}

#[tokio::test]
async fn only_staff_order_for_others_and_choose_how() {
    let translator = translator().await;
    let for_two = NewOrder { rider: Some(RiderId::nth(2)), ..ride() };
    let by_choice = NewOrder { policy: Some(OfferPolicy::AutoAssign), ..ride() };
    let code = async |order: &NewOrder, by| {
        let told = translator.command(place(order.clone()), by, CommandId::mint()).await;
        told.map_err(|refused| refused.code).map(|_| ())
    };
    assert_eq!(code(&for_two, rider(1)).await, Err(Code::Forbidden));
    assert_eq!(code(&for_two, rider(2)).await, Ok(()));
    assert_eq!(code(&for_two, Principal::Dispatcher).await, Ok(()));
    assert_eq!(code(&ride(), Principal::Dispatcher).await, Err(Code::Invalid));
    assert_eq!(code(&by_choice, rider(1)).await, Err(Code::Forbidden));
    let driver = Principal::Driver(DriverId(RiderId::nth(1).0));
    assert_eq!(code(&ride(), driver).await, Err(Code::Forbidden), "the same person, another hat");
}

#[tokio::test]
async fn an_order_for_a_fleet_is_that_fleets_first_or_alone() {
    let translator = translator().await;
    let fleet = Some(PartnerId::nth(1));
    let kept = async |fleet, exclusive| {
        let order = NewOrder { fleet, exclusive, ..ride() };
        match translator.command(place(order), rider(1), CommandId::mint()).await {
            Ok(Tell::Order { command: order::Command::Place(placement), .. }) => {
                Ok((placement.fleet.as_deref().copied(), placement.fleet_first))
            }
            Ok(told) => panic!("{told:?}"),
            Err(refused) => Err(refused.code),
        }
    };
    assert_eq!(kept(fleet, false).await, Ok((fleet, true)));
    assert_eq!(kept(fleet, true).await, Ok((fleet, false)));
    assert_eq!(kept(None, false).await, Ok((None, false)));
    assert_eq!(kept(None, true).await, Err(Code::Invalid));
}

#[tokio::test]
async fn a_hub_lies_where_jobs_may_begin_and_goods_stay_there_until_some_time_to_come() {
    let circle = Circle { lat: KIGALI.lat, lon: KIGALI.lon, radius_km: 5.0 };
    let area = Arc::new(Area { circles: vec![circle], ..Area::default() });
    let translator = Translator { area, ..translator().await };
    let now = translator.system.now();
    let refused = async |away_m: f64, until| {
        let hub = KIGALI.offset_m(away_m, 0.0).into();
        let via = Some(Via { hub, until });
        let order = NewOrder { kind: OrderKind::Delivery, via, ..ride() };
        let told = translator.command(place(order), rider(1), CommandId::mint()).await;
        told.map_err(|refused| (refused.code, refused.message)).err()
    };
    let day = Duration::from_secs(24 * 3_600);
    assert_eq!(refused(1_000.0, None).await, None);
    assert_eq!(refused(1_000.0, Some(now + day)).await, None);
    let code = refused(9_000.0, None).await.map(|(code, _)| code);
    assert_eq!(code, Some(Code::OutOfArea));
    let past = (Code::Invalid, "via.until: in the past".to_owned());
    assert_eq!(refused(1_000.0, Some(now - day)).await, Some(past));
    let far = (Code::Invalid, "via.until: more than 60 days ahead".to_owned());
    assert_eq!(refused(1_000.0, Some(now + 61 * day)).await, Some(far));
}

#[test]
fn only_whose_token_names_a_fleet_orders_for_it_and_staff_for_any() {
    let (mine, theirs) = (PartnerId::nth(1), PartnerId::nth(2));
    let code = |who: Principal, mine: Option<PartnerId>, wanted: Option<PartnerId>| {
        let asker = Asker { fleet: mine.map(Box::new), ..Asker::everywhere(who) };
        let wish = place(NewOrder { fleet: wanted, ..ride() });
        check_fleet(&wish, &asker).map_err(|refused| refused.code)
    };
    let merchant = Principal::Merchant(protocol::MerchantId::nth(1));
    for who in [rider(1), merchant] {
        assert_eq!(code(who, None, None), Ok(()));
        assert_eq!(code(who, Some(mine), Some(mine)), Ok(()));
        assert_eq!(code(who, Some(mine), None), Ok(()), "it need not be asked first");
        assert_eq!(code(who, Some(mine), Some(theirs)), Err(Code::Forbidden));
        assert_eq!(code(who, None, Some(mine)), Err(Code::Forbidden));
    }
    assert_eq!(code(Principal::Dispatcher, None, Some(theirs)), Ok(()));
    assert_eq!(code(Principal::Admin, None, Some(theirs)), Ok(()));
}

#[tokio::test]
async fn trips_that_nobody_can_mean_are_refused() {
    let translator = translator().await;
    let with = |stops: Vec<Place>| NewOrder { stops, ..ride() };
    let far = KIGALI.offset_m(0.0, 900_000.0);
    for (why, order) in [
        ("one stop", with(vec![KIGALI.into()])),
        ("too many stops", with(vec![KIGALI.into(); STOPS_MAX + 1])),
        ("too far", with(vec![KIGALI.into(), far.into()])),
        ("a long label", {
            let label = Some("x".repeat(TEXT_CHARS_MAX + 1));
            with(vec![Place { at: KIGALI, label }, KIGALI.into()])
        }),
        ("a label that rings bells", {
            with(vec![Place { at: KIGALI, label: Some("\u{7}".to_owned()) }, KIGALI.into()])
        }),
        ("many needs", {
            let mut order = ride();
            order.needs.skills = vec!["x".to_owned(); LIST_MAX + 1];
            order
        }),
    ] {
        let told = translator.command(place(order), rider(1), CommandId::mint()).await;
        assert_eq!(told.unwrap_err().code, Code::Invalid, "{why}");
    }
}

#[tokio::test]
async fn an_order_from_outside_the_area_is_refused_and_a_rescue_says_so() {
    let elsewhere = Circle { lat: 0.0, lon: 0.0, radius_km: 1.0 };
    let partner = |name: &str, east_m, radius_km| {
        let Point { lat, lon } = KIGALI.offset_m(east_m, 0.0);
        let (name, phone) = (name.to_owned(), "112".to_owned());
        crate::settings::Partner { name, phone, lat, lon, radius_km }
    };
    let partners = vec![
        partner("far", 9_000.0, 50.0),
        partner("not here", 0.0, -1.0),
        partner("near", 0.0, 5.0),
    ];
    let area = Area { circles: vec![elsewhere], boxes: Vec::new(), partners };
    let translator = Translator { area: Arc::new(area), ..translator().await };
    let told = translator.command(place(ride()), rider(1), CommandId::mint()).await;
    assert_eq!(told.unwrap_err().code, Code::OutOfArea);

    let rescue = NewRescue {
        issue: Issue::FlatTyre,
        at: KIGALI.into(),
        accuracy_m: None,
        severity: None,
        dropoff: None,
        rider: None,
        vehicle: None,
        bike: None,
        weight_g: 0,
        policy: None,
    };
    let wish = Wish::RequestRescue(Box::new(rescue));
    let told = translator.command(wish, rider(1), CommandId::mint()).await.unwrap();
    let Tell::Rescue { command: rescue::Command::Request(request), .. } = told else {
        panic!("{told:?}")
    };
    assert!(!request.served, "who is stranded is told by the rescue, which remembers it");
    let told: Vec<&str> = request.elsewhere.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(told, ["near", "far"], "and who may help there");
}

#[tokio::test]
async fn a_promised_price_is_kept_for_that_trip_only() {
    let translator = translator().await;
    let now = translator.system.now();
    let NewOrder { kind, stops, start_at, .. } = ride();
    let request = super::super::price::QuoteRequest { kind, stops, start_at };
    let quote = translator.prices.promise(&request, rider(1), now).unwrap();
    let with_quote = NewOrder { quote: Some(quote.quote), ..ride() };
    let told = translator.command(place(with_quote.clone()), rider(1), CommandId::mint()).await;
    let Ok(Tell::Order { command: order::Command::Place(placement), .. }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(placement.fare, quote.fare);

    let mut elsewhere = with_quote.clone();
    elsewhere.stops[1] = KIGALI.offset_m(9_000.0, 0.0).into();
    for (order, by) in [(elsewhere, rider(1)), (with_quote, rider(2))] {
        let told = translator.command(place(order), by, CommandId::mint()).await;
        assert_eq!(told.unwrap_err().code, Code::QuoteInvalid);
    }
}

#[tokio::test]
async fn who_cannot_see_a_thing_does_not_learn_its_state() {
    let translator = translator().await;
    let key = EntityKey::from(OrderId::nth(1));
    let state = Refused::new(Code::IllegalTransition, "not possible while searching");
    let hidden = translator.hide(state, key, rider(1)).await;
    assert_eq!(hidden.code, Code::NotFound);
    let busy = Refused::new(Code::Busy, "later");
    assert_eq!(translator.hide(busy.clone(), key, rider(1)).await, busy);
}

#[tokio::test]
async fn a_driver_wish_without_a_driver_is_about_oneself() {
    let translator = translator().await;
    let action = DriverAction::Reinstate {};
    let wish = Wish::Driver { id: None, action };
    let me = DriverId::nth(1);
    let told = translator.command(wish.clone(), Principal::Driver(me), CommandId::mint()).await;
    assert_eq!(told.unwrap().to(), me.into());
    let told = translator.command(wish, Principal::Admin, CommandId::mint()).await;
    assert_eq!(told.unwrap_err().code, Code::Invalid);
}

#[test]
fn texts_are_bounded_wherever_they_are() {
    assert_eq!(check_sizes(&cancel(&"ü".repeat(TEXT_CHARS_MAX))), Ok(()));
    let refused = check_sizes(&cancel(&"ü".repeat(TEXT_CHARS_MAX + 1))).unwrap_err();
    assert_eq!(refused.code, Code::Invalid);
    assert!(refused.message.starts_with("reason:"), "{refused}");
}

#[test]
fn what_is_heavier_than_anything_on_the_road_is_refused_wherever_it_is() {
    use protocol::work::{DutyWish, Needs, Vehicle};
    let needs = |weight_g| Needs { weight_g, ..Needs::default() };
    let ordered = |weight_g| place(NewOrder { needs: needs(weight_g), ..ride() });
    let triaged = |weight_g| {
        let action = RescueAction::Triage { needs: needs(weight_g) };
        Wish::Rescue { id: RescueId::nth(1), action }
    };
    let driven = |capacity_g| {
        let vehicle = Vehicle { kind: VehicleKind::Van, capacity_g, skills: Vec::new() };
        let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
        Wish::Driver { id: None, action }
    };
    let wishes = |grams| [ordered(grams), triaged(grams), driven(grams)];
    for wish in wishes(STRANDED_G_MAX) {
        assert_eq!(check_sizes(&wish), Ok(()));
    }
    let fields = ["weight_g:", "weight_g:", "capacity_g:"];
    for (wish, field) in wishes(STRANDED_G_MAX + 1).iter().zip(fields) {
        let refused = check_sizes(wish).unwrap_err();
        assert_eq!(refused.code, Code::Invalid);
        assert!(refused.message.starts_with(field), "{refused}");
    }
}

#[test]
fn a_position_from_a_broken_device_is_refused() {
    let now = Timestamp(1_000_000);
    let good = Position {
        at: KIGALI,
        sampled_at: now,
        heading_deg: Some(359.0),
        speed_mps: Some(12.0),
        accuracy_m: Some(8.0),
    };
    assert_eq!(check_position(&good, now), Ok(()));
    for bad in [
        Position { sampled_at: now + SAMPLED_AHEAD_MAX + Duration::from_millis(1), ..good },
        Position { heading_deg: Some(-1.0), ..good },
        Position { heading_deg: Some(f32::NAN), ..good },
        Position { speed_mps: Some(f32::INFINITY), ..good },
        Position { accuracy_m: Some(-5.0), ..good },
    ] {
        assert_eq!(check_position(&bad, now).unwrap_err().code, Code::Invalid, "{bad:?}");
    }
}

#[test]
fn a_key_is_a_command_id_only_if_it_says_when_it_was_minted() {
    let id = CommandId::mint();
    assert_eq!(command_id(&id.to_string()), Some(id));
    assert_eq!(command_id(&id.0.to_string()), Some(id));
    assert_eq!(command_id("f47ac10b-58cc-4372-a567-0e02b2c3d479"), None, "a UUIDv4");
    assert_eq!(command_id("order-from-tuesday"), None);
}

#[test]
fn a_text_names_the_same_command_for_the_same_author_only() {
    let at = Timestamp(7);
    let id = command_id_of("rider-1", "k", at);
    assert_eq!(id, command_id_of("rider-1", "k", at));
    assert_ne!(id, command_id_of("rider-2", "k", at));
    assert_ne!(id, command_id_of("rider-1", "l", at));
    assert_eq!(id.minted_at(), at);
}
