use super::*;

#[test]
fn a_burst_is_allowed_and_what_follows_is_told_how_long_to_wait() {
    let rate = Rate::new(2, 5);
    assert!((0..5).all(|_| rate.check().is_ok()));
    let wait = rate.check().unwrap_err();
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500), "{wait:?}");
}

#[test]
fn one_who_is_too_fast_does_not_slow_another_down() {
    let rates = Rates::new(1, 1);
    assert!(rates.check(&"a").is_ok());
    assert!(rates.check(&"a").is_err());
    assert!(rates.check(&"b").is_ok());
}

#[test]
fn whoever_is_forgotten_gains_nothing_and_whoever_asks_for_itself_has_no_other() {
    let rates = Rates::new(1, 2);
    let mine = rates.of(&0);
    // One of them is not as new, and somebody has the other.
    assert!(rates.check(&1).is_ok());
    assert!((2..2 * FORGET_EVERY).all(|n| rates.check(&n).is_ok()));
    assert!(rates.check(&1).is_ok() && rates.check(&1).is_err());
    assert!(rates.check(&0).is_ok() && mine.check().is_ok());
    assert!(rates.check(&0).is_err() && mine.check().is_err());
    let as_new = Rates::new(1_000_000_000, 1);
    (0..2 * FORGET_EVERY).for_each(|n| drop(as_new.of(&n)));
    assert!(as_new.known.len() <= FORGET_EVERY as usize, "those that nobody asks are forgotten");
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let refused = rate_limited(Duration::from_millis(250));
    assert_eq!((refused.code, refused.retry_after_ms), (Code::RateLimited, Some(250)));
}

#[test]
fn a_household_is_one_address() {
    let near: IpAddr = "2001:db8:1:2::1".parse().unwrap();
    let same: IpAddr = "2001:db8:1:2:ffff::9".parse().unwrap();
    let other: IpAddr = "2001:db8:1:3::1".parse().unwrap();
    assert_eq!(neighbourhood(near), neighbourhood(same));
    assert_ne!(neighbourhood(near), neighbourhood(other));
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
    assert_eq!(neighbourhood(mapped), "10.0.0.1".parse::<IpAddr>().unwrap());
}

#[test]
fn staff_are_let_past_however_many_of_them_there_are() {
    let one = || Rates::new(1, 1);
    let limits = Limits {
        handshakes: Rates::new(1, 1),
        requests: one(),
        frames: one(),
        commands: one(),
        urgent: one(),
    };
    let rider = Principal::Rider(protocol::RiderId::nth(1));
    assert_eq!([limits.lets_past(rider), limits.lets_past(rider)], [true, false]);
    assert!((0..10).all(|_| limits.lets_past(Principal::Dispatcher)));
}
