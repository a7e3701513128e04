use super::*;
use protocol::RiderId;

fn rider(n: usize) -> Principal {
    Principal::Rider(RiderId::nth(n as u64))
}

#[test]
fn a_key_used_for_two_things_is_noticed_and_a_repeat_is_not() {
    let seen = Uses::default();
    let [one, other] = ["one", "other"].map(|wish| Wished::new(&wish));
    assert_eq!(seen.reserve(rider(1), "k", one), Use::First);
    assert_eq!(seen.reserve(rider(1), "k", one), Use::Repeat);
    assert_eq!(seen.reserve(rider(1), "k", other), Use::Other);
    assert_eq!(seen.reserve(rider(2), "k", other), Use::First, "another one's key");
    seen.free(rider(1), "k", one);
    assert_eq!(seen.reserve(rider(1), "k", other), Use::First, "nothing came of the first");
}

#[test]
fn nobody_makes_the_platform_forget_the_keys_of_others() {
    let seen = Uses::default();
    let [one, other] = ["one", "other"].map(|wish| Wished::new(&wish));
    seen.reserve(rider(1), "k", one);
    for n in 0..SEEN_MAX * 4 {
        seen.reserve(rider(2), &n.to_string(), one);
    }
    assert_eq!(seen.reserve(rider(1), "k", other), Use::Other);
    for n in 0..SEEN_CLIENTS_MAX * 2 {
        seen.reserve(rider(n), "l", one);
    }
    let seen = seen.0.lock().unwrap();
    assert_eq!((seen.by_client.len(), seen.by_use.len()), (SEEN_CLIENTS_MAX, SEEN_CLIENTS_MAX));
    assert!(seen.by_client.values().all(|client| client.names.len() <= SEEN_MAX));
}
