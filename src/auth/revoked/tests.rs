use super::*;
use proptest::prelude::*;
use protocol::{DriverId, RiderId};

const NOW: Timestamp = Timestamp(10_000_000);
const LATER: Timestamp = Timestamp(99_000_000);

fn rider(n: u64) -> Principal {
    Principal::Rider(RiderId::nth(n))
}

fn identity(principal: Principal, token: Option<u64>, issued_ms: u64) -> Identity {
    Identity {
        principal,
        scope: crate::auth::scope::Scope::default(),
        fleet: None,
        token: token.map(TokenId::nth),
        issued_at: Timestamp(issued_ms),
        expires_at: LATER,
        print: crate::auth::Print::default(),
    }
}

fn in_force(target: Target, until: Timestamp) -> InForce {
    InForce { target, issued_until: until, lapses_at: LATER }
}

#[test]
fn a_token_is_revoked_by_its_id_and_no_other_one_with_it() {
    let revoked = Revoked::new(10);
    assert_eq!(revoked.add(&[in_force(Target::Token(TokenId::nth(1)), NOW)], NOW), 1);
    assert!(revoked.has(&identity(rider(1), Some(1), NOW.0)));
    assert!(!revoked.has(&identity(rider(1), Some(2), NOW.0)));
    assert!(!revoked.has(&identity(rider(1), None, NOW.0)), "it has no id, and is meant by nobody");
}

#[test]
fn all_that_was_issued_to_somebody_is_revoked_up_to_the_second_and_nothing_after_it() {
    let revoked = Revoked::new(10);
    let at = Timestamp(10_000_500);
    revoked.add(&[in_force(Target::Principal(rider(1)), at)], NOW);
    let has = |issued_ms, token| revoked.has(&identity(rider(1), token, issued_ms));
    assert!(has(9_999_000, Some(1)));
    assert!(has(9_999_000, None), "one without an id, too");
    assert!(has(10_000_000, None), "in the same second");
    assert!(!has(10_001_000, None));
    assert!(!revoked.has(&identity(rider(2), None, 0)), "somebody else");
    let same_person = Principal::Driver(DriverId(RiderId::nth(1).0));
    assert!(!revoked.has(&identity(same_person, None, 0)), "another role has tokens of its own");
}

#[test]
fn it_never_holds_for_less_than_it_did() {
    let revoked = Revoked::new(10);
    let all = Target::Principal(rider(1));
    assert_eq!(revoked.add(&[in_force(all, Timestamp(5_000))], NOW), 1);
    assert_eq!(revoked.add(&[in_force(all, Timestamp(5_000))], NOW), 0, "no news");
    assert_eq!(revoked.add(&[in_force(all, Timestamp(3_000))], NOW), 0);
    assert!(revoked.has(&identity(rider(1), None, 5_000)));
    assert_eq!(revoked.add(&[in_force(all, Timestamp(7_000))], NOW), 1);
    assert!(revoked.has(&identity(rider(1), None, 7_000)));
    let token = Target::Token(TokenId::nth(1));
    let short =
        InForce { lapses_at: NOW + std::time::Duration::from_secs(1), ..in_force(token, NOW) };
    revoked.add(&[in_force(token, NOW), short], NOW);
    revoked.forget_lapsed(Timestamp(50_000_000));
    assert!(revoked.has(&identity(rider(9), Some(1), 0)));
}

#[test]
fn what_has_lapsed_is_forgotten_and_never_taken_in() {
    let revoked = Revoked::new(10);
    let token = in_force(Target::Token(TokenId::nth(1)), NOW);
    revoked.add(&[token, in_force(Target::Principal(rider(1)), NOW)], NOW);
    assert_eq!(revoked.len(), 2);
    revoked.forget_lapsed(LATER - std::time::Duration::from_millis(1));
    assert_eq!(revoked.len(), 2);
    revoked.forget_lapsed(LATER);
    assert_eq!(revoked.len(), 0);
    assert_eq!((revoked.add(&[token], LATER), revoked.len()), (0, 0));
}

#[test]
fn it_says_when_it_is_full_and_takes_in_what_others_have_let_in() {
    let revoked = Revoked::new(2);
    for n in 0..3 {
        assert_eq!(revoked.is_full(), n >= 2);
        revoked.add(&[in_force(Target::Token(TokenId::nth(n)), NOW)], NOW);
    }
    assert_eq!(revoked.len(), 3);
}

#[test]
fn nobody_is_believed_on_old_news() {
    let revoked = Revoked::new(2);
    let somebody = identity(rider(1), None, 0);
    assert_eq!(revoked.check(&somebody, LATER), Ok(()), "a node that is alone hears of everything");
    revoked.is_known_until(NOW);
    assert_eq!(revoked.check(&somebody, Timestamp(NOW.0 - 1)), Ok(()));
    assert_eq!(revoked.check(&somebody, NOW).unwrap_err().code, Code::Unavailable);
    revoked.is_known_until(LATER);
    assert_eq!(revoked.check(&somebody, NOW), Ok(()));
    revoked.add(&[in_force(Target::Principal(rider(1)), NOW)], NOW);
    assert_eq!(revoked.check(&somebody, NOW), Err(super::revoked()));
}

#[tokio::test]
async fn whoever_waits_hears_of_it_at_once() {
    let revoked = Revoked::new(2);
    let somebody = identity(rider(1), Some(1), 0);
    let mut waiting = Box::pin(revoked.until(&somebody));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    revoked.add(&[in_force(Target::Token(TokenId::nth(2)), NOW)], NOW);
    assert!(futures_util::poll!(&mut waiting).is_pending(), "another one's");
    revoked.add(&[in_force(Target::Token(TokenId::nth(1)), NOW)], NOW);
    assert!(futures_util::poll!(&mut waiting).is_ready());
}

fn any_in_force() -> impl Strategy<Value = InForce> {
    let target = prop_oneof![
        (0..3_u64).prop_map(|n| Target::Token(TokenId::nth(n))),
        (0..3_u64).prop_map(|n| Target::Principal(rider(n))),
    ];
    (target, 0..9_u64, 1..9_u64).prop_map(|(target, until, lapses)| InForce {
        target,
        issued_until: Timestamp(until * 1_000),
        lapses_at: Timestamp(NOW.0 + lapses * 1_000),
    })
}

proptest! {
    /// In whatever order nodes hear of it, and however often, they come to the same.
    #[test]
    fn the_order_of_news_does_not_matter(
        all in prop::collection::vec(any_in_force(), 0..12),
        n in 0..3_u64, issued in 0..10_u64,
    ) {
        let (one, other) = (Revoked::new(99), Revoked::new(99));
        one.add(&all, NOW);
        let backwards: Vec<_> = all.iter().rev().chain(&all).copied().collect();
        other.add(&backwards, NOW);
        for lapsed_s in [0, 4, 9] {
            let now = Timestamp(NOW.0 + lapsed_s * 1_000);
            one.forget_lapsed(now);
            other.forget_lapsed(now);
            let who = identity(rider(n), Some(n), issued * 1_000);
            prop_assert_eq!((one.has(&who), one.len()), (other.has(&who), other.len()));
        }
    }
}
