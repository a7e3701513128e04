use super::*;
use protocol::{Currency, DriverId, FareLine, MerchantId, RiderId};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

fn settings() -> AuthSettings {
    AuthSettings {
        issuer: "outrider".to_owned(),
        audience: "outrider".to_owned(),
        key_file: PathBuf::new(),
        leeway: Duration::from_secs(30),
        quote_ttl: Duration::from_secs(300),
        token_ttl_max: 24 * HOUR,
        revocations_max: 10,
    }
}

fn keys() -> Keys {
    let pair = Ed25519KeyPair::generate().unwrap();
    Keys::of(&settings(), pair.to_pkcs8v1().unwrap().as_ref()).unwrap()
}

fn now() -> Timestamp {
    Clock::Machine.now()
}

fn driver() -> Principal {
    Principal::Driver(DriverId::nth(7))
}

/// The names of the zones at some places, north and south of each other.
fn zones(lats: &[f64]) -> Vec<String> {
    let at = |lat: &f64| protocol::Point { lat: *lat, lon: 30.0619 };
    lats.iter().map(|lat| actors::zone::neighbourhood(at(lat)).to_string()).collect()
}

/// Claims that would be believed.
fn good() -> Value {
    let now_s = now().0 / 1_000;
    json!({
        "iss": "outrider", "aud": "outrider", "sub": driver().to_string(), "role": "driver",
        "iat": now_s, "nbf": now_s, "exp": now_s + 600,
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = good();
    claims[key] = value;
    claims
}

fn header() -> Header {
    Header { typ: Some(ACCESS.to_owned()), ..Header::new(Algorithm::EdDSA) }
}

fn assert_refused(keys: &Keys, token: &str, why: &str) {
    assert_eq!(keys.verify(token), Err(unauthenticated()), "{why}");
}

#[test]
fn a_minted_token_is_believed_until_it_expires() {
    let (keys, now) = (keys(), now());
    let token = keys.mint(driver(), HOUR, now).unwrap();
    let identity = keys.verify(&token).unwrap();
    assert_eq!(identity.principal, driver());
    assert_eq!(identity.expires_at.0, (now.0 / 1_000 + 3600) * 1_000);
    for staff in [Principal::Dispatcher, Principal::Admin] {
        let token = keys.mint(staff, HOUR, now).unwrap();
        assert_eq!(keys.verify(&token).unwrap().principal, staff);
    }
}

#[test]
fn who_is_known_is_recognised_by_the_same_token_until_it_expires_and_by_no_other() {
    let (ours, others) = (keys(), keys());
    let token = others.mint(driver(), HOUR, now()).unwrap();
    let known = others.verify(&token).unwrap();
    assert_eq!(ours.recognise(&token, None), Err(unauthenticated()), "somebody else signed it");
    let recognised = ours.recognise(&token, Some(known.clone()));
    assert_eq!(recognised, Ok(known.clone()), "no signature is looked at");
    let forged = format!("{token}x");
    assert_eq!(ours.recognise(&forged, Some(known.clone())), Err(unauthenticated()));
    let late = Identity { expires_at: now() - ours.leeway(), ..known.clone() };
    assert_eq!(ours.recognise(&token, Some(late)), Err(unauthenticated()));
    // One that was never believed here, but elsewhere.
    let far = Identity { expires_at: Timestamp::default(), print: Print::default(), ..known };
    assert_eq!(ours.recognise(&token, Some(far)), Err(unauthenticated()));
}

#[test]
fn claims_that_are_not_ours_are_refused() {
    let keys = keys();
    let now_s = now().0 / 1_000;
    let sign = |claims: &Value| jsonwebtoken::encode(&header(), claims, &keys.signing).unwrap();
    assert!(keys.verify(&sign(&good())).is_ok(), "the claims these are made from are good");
    for (key, value) in [
        ("iss", json!("someone")),
        ("aud", json!("elsewhere")),
        ("aud", Value::Null),
        ("exp", json!(now_s - 3600)),
        ("exp", Value::Null),
        ("nbf", json!(now_s + 3600)),
        ("nbf", Value::Null),
        ("sub", json!(RiderId::nth(7).to_string())),
        ("sub", json!("driver-7")),
        ("sub", Value::Null),
        ("role", json!("system")),
        ("role", json!("king")),
    ] {
        let claims = with(key, value.clone());
        assert_refused(&keys, &sign(&claims), &format!("{key} = {value}"));
    }
}

#[test]
fn a_dispatchers_token_says_of_which_regions_it_is() {
    let keys = keys();
    let zones = zones(&[-1.9441, -2.9]);
    let scope = Scope::of(&zones).unwrap();
    let asker = Asker { who: Principal::Dispatcher, scope, fleet: None };
    let token = keys.mint_for(&asker, HOUR, now()).unwrap();
    assert_eq!(keys.verify(&token).unwrap().asker(), asker);
    let everywhere = keys.mint(Principal::Dispatcher, HOUR, now()).unwrap();
    assert!(keys.verify(&everywhere).unwrap().scope.is_everywhere());
}

#[test]
fn a_dispatchers_token_that_names_no_regions_is_refused_and_says_why() {
    let keys = keys();
    let sign = |role: &str, sub: &str, regions: &Value| {
        let mut claims = with("regions", regions.clone());
        (claims["role"], claims["sub"]) = (json!(role), json!(sub));
        keys.sign(ACCESS, &claims).unwrap()
    };
    let [one] = zones(&[-1.9441]).try_into().unwrap();
    let many: Vec<&String> = vec![&one; scope::REGIONS_MAX + 1];
    for regions in
        [json!([]), json!(null), json!(one), json!([one, 7]), json!(["zone-7"]), json!(many)]
    {
        let refused = keys.verify(&sign("dispatcher", "dispatcher", &regions)).unwrap_err();
        assert_eq!(refused.code, Code::Unauthenticated);
        assert!(refused.message.starts_with("regions: "), "{refused}");
        // Of others nobody asks where they are.
        let driver = sign("driver", &driver().to_string(), &regions);
        assert!(keys.verify(&driver).unwrap().scope.is_everywhere());
    }
    let admin = keys.verify(&sign("admin", "admin", &json!([one]))).unwrap();
    assert!(admin.scope.is_everywhere(), "admins see everything");
}

#[test]
fn a_token_has_room_for_as_many_regions_as_there_may_be() {
    let keys = keys();
    let lats: Vec<f64> = (0..scope::REGIONS_MAX).map(|n| n as f64 / 2.0 - 20.0).collect();
    let scope = Scope::of(&zones(&lats)).unwrap();
    assert_eq!(scope.regions().len(), scope::REGIONS_MAX);
    let asker = Asker { who: Principal::Dispatcher, scope, fleet: None };
    let token = keys.mint_for(&asker, HOUR, now()).unwrap();
    assert_eq!(keys.verify(&token).unwrap().asker(), asker, "{} bytes", token.len());
}

#[test]
fn a_riders_or_merchants_token_may_say_whose_drivers_come_first() {
    let keys = keys();
    let (rider, merchant) =
        (Principal::Rider(RiderId::nth(1)), Principal::Merchant(MerchantId::nth(1)));
    for who in [rider, merchant] {
        let fleet = Some(Box::new(PartnerId::nth(1)));
        let asker = Asker { fleet, ..Asker::everywhere(who) };
        let token = keys.mint_for(&asker, HOUR, now()).unwrap();
        assert_eq!(keys.verify(&token).unwrap().asker(), asker);
        let without = keys.mint(who, HOUR, now()).unwrap();
        assert_eq!(keys.verify(&without).unwrap().fleet, None);
    }
    let sign = |who: Principal, fleet: &Value| {
        let mut claims = with("fleet", fleet.clone());
        (claims["role"], claims["sub"]) = (json!(who.role()), json!(who.to_string()));
        keys.sign(ACCESS, &claims).unwrap()
    };
    let driver_id = DriverId::nth(1).to_string();
    for fleet in [json!(null), json!(7), json!([]), json!("partner-7"), json!(driver_id)] {
        let refused = keys.verify(&sign(merchant, &fleet)).unwrap_err();
        assert_eq!(refused.code, Code::Unauthenticated);
        assert!(refused.message.starts_with("fleet: "), "{refused}");
        // Drivers order nothing, and staff may name any.
        for who in [driver(), Principal::Dispatcher, Principal::Admin] {
            assert_eq!(keys.verify(&sign(who, &fleet)).unwrap().fleet, None);
        }
    }
}

#[test]
fn a_token_of_another_kind_is_no_access_token() {
    let keys = keys();
    for typ in [None, Some("JWT"), Some(QUOTE), Some("rt+jwt")] {
        let header = Header { typ: typ.map(str::to_owned), ..header() };
        let token = jsonwebtoken::encode(&header, &good(), &keys.signing).unwrap();
        assert_refused(&keys, &token, &format!("typ {typ:?}"));
    }
}

#[test]
fn another_ones_signature_is_refused() {
    let (ours, theirs) = (keys(), keys());
    let token = theirs.mint(driver(), HOUR, now()).unwrap();
    assert_refused(&ours, &token, "another key");
    let mut token = ours.mint(driver(), HOUR, now()).unwrap();
    let last = token.pop().unwrap();
    token.push(if last == 'A' { 'Q' } else { 'A' });
    assert_refused(&ours, &token, "a changed signature");
}

#[test]
fn an_unsigned_token_is_refused() {
    let keys = keys();
    let minted = keys.mint(driver(), HOUR, now()).unwrap();
    let claims = minted.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"at+jwt"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    assert_refused(&keys, &format!("{none}.{claims}."), "alg none");
}

#[test]
fn a_signature_made_with_the_public_key_as_a_secret_is_refused() {
    let keys = keys();
    let public = keys.verifying.try_get_as_bytes().unwrap();
    for algorithm in [Algorithm::HS256, Algorithm::HS512] {
        let header = Header { alg: algorithm, ..header() };
        let forged =
            jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(public)).unwrap();
        assert_refused(&keys, &forged, &format!("{algorithm:?}"));
    }
}

#[test]
fn rubbish_and_huge_tokens_are_refused() {
    let keys = keys();
    let huge = keys.sign(ACCESS, &with("extra", json!("x".repeat(TOKEN_BYTES_MAX)))).unwrap();
    for token in ["", ".", "..", "a.b.c", "ü.ü.ü", huge.as_str()] {
        assert_refused(&keys, token, &token.chars().take(20).collect::<String>());
    }
}

#[test]
fn a_quote_holds_for_its_trip_and_its_rider_only() {
    let keys = keys();
    let (me, you) = (Principal::Rider(RiderId::nth(1)), Principal::Rider(RiderId::nth(2)));
    let lines = vec![FareLine { code: "base".to_owned(), amount: 500 }];
    let fare = Fare { currency: Currency::RWF, lines };
    let (quote, _) = keys.promise(&fare, "trip".to_owned(), me, now()).unwrap();
    assert_eq!(keys.promised(&quote, "trip", me), Ok(fare));
    for refused in [
        keys.promised(&quote, "other trip", me),
        keys.promised(&quote, "trip", you),
        keys.promised(&keys.mint(me, HOUR, now()).unwrap(), "trip", me),
    ] {
        assert_eq!(refused.unwrap_err().code, Code::QuoteInvalid);
    }
    assert_refused(&keys, &quote, "a quote is no access token");
}

#[test]
fn a_quote_runs_out() {
    let keys = keys();
    let me = Principal::Rider(RiderId::nth(1));
    let fare = Fare { currency: Currency::RWF, lines: Vec::new() };
    let long_ago = now() - HOUR;
    let (quote, _) = keys.promise(&fare, "trip".to_owned(), me, long_ago).unwrap();
    assert_eq!(keys.promised(&quote, "trip", me).unwrap_err().code, Code::QuoteInvalid);
}

#[test]
fn development_makes_a_private_key_once_and_keeps_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Keys::open(&settings(), Profile::Development, &data).unwrap();
    let second = Keys::open(&settings(), Profile::Development, &data).unwrap();
    let token = first.mint(driver(), HOUR, now()).unwrap();
    assert!(second.verify(&token).is_ok());
    let mode = fs::metadata(data.join(DEVELOPMENT_KEY)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn production_refuses_the_development_key() {
    let dir = tempfile::tempdir().unwrap();
    Keys::open(&settings(), Profile::Development, dir.path()).unwrap();
    let by_name = AuthSettings { key_file: dir.path().join(DEVELOPMENT_KEY), ..settings() };
    for settings in [settings(), by_name] {
        let refused = Keys::open(&settings, Profile::Production, dir.path());
        assert!(matches!(refused, Err(KeyError::DevelopmentKey)));
    }
}

#[test]
fn a_file_that_is_no_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    fs::write(&path, "not a key").unwrap();
    let settings = AuthSettings { key_file: path, ..settings() };
    let error = Keys::open(&settings, Profile::Production, dir.path()).unwrap_err();
    assert!(error.to_string().contains("key.pem"), "{error}");
}
