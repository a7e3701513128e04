use super::*;
use protocol::{RiderId, Timestamp};

const WITHIN: Duration = Duration::from_secs(60);

fn rider(n: u64) -> Principal {
    Principal::Rider(RiderId::nth(n))
}

/// A token of `by`.
fn token(by: Principal) -> Identity {
    Identity {
        principal: by,
        scope: crate::auth::scope::Scope::default(),
        fleet: None,
        token: None,
        issued_at: Timestamp(1_000),
        expires_at: Timestamp(9_000),
        print: crate::auth::Print::default(),
    }
}

fn let_go(call: Call) -> HandIn {
    match call {
        Call::LetGo(to) => to,
        Call::Revoked | Call::Look(_) => panic!("not asked to let go: {call:?}"),
    }
}

fn suspended(by: Principal) -> Suspended {
    Suspended::nothing(by)
}

fn room(sessions: usize) -> Room {
    Room { sessions, bytes: 1_000_000 }
}

/// Session `n`, taken into another one by a client that has heard three of its frames.
fn taking(n: u64, by: Principal, into: u64) -> Taking {
    Taking {
        session: SessionId::nth(n),
        by,
        into: SessionId::nth(into),
        heard: Some(3),
        is_hop: false,
    }
}

impl Sessions {
    /// Is there something left of session `n`? It goes on in session 99.
    async fn takes(&self, n: u64, by: Principal) -> bool {
        matches!(self.take(taking(n, by, 99), false).await, Some(Taken::Left(_)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_cut_off_waits_for_its_own_client_and_for_so_long() {
    let sessions = Sessions::new(WITHIN, room(10));
    for n in 1..=3 {
        sessions.suspend(SessionId::nth(n), suspended(rider(n)));
    }
    assert!(!sessions.takes(1, rider(2)).await, "it is another's");
    assert!(sessions.takes(1, rider(1)).await);
    assert!(!sessions.takes(1, rider(1)).await, "it is gone");
    tokio::time::advance(WITHIN).await;
    assert!(!sessions.takes(2, rider(2)).await, "it was too late");
    let known = sessions.known();
    assert_eq!((known.by_id.len(), known.suspended_of.0.len(), known.moved_of.0.len()), (0, 0, 0));
    assert_eq!((known.n_suspended, known.n_moved), (0, 0));
}

#[tokio::test]
async fn what_waits_has_only_so_many_bytes() {
    let each = suspended(rider(1)).with_frame(10_000).bytes();
    let sessions = Sessions::new(WITHIN, Room { sessions: 100, bytes: each * 5 / 2 });
    for n in 1..=3 {
        sessions.suspend(SessionId::nth(n), suspended(rider(n)).with_frame(10_000));
    }
    sessions.suspend(SessionId::nth(4), suspended(rider(4)).with_frame(30_000));
    assert!(!sessions.takes(1, rider(1)).await, "it made room");
    assert!(!sessions.takes(4, rider(4)).await, "nobody makes room for what never fits");
    assert!(sessions.takes(2, rider(2)).await);
    assert!(sessions.takes(3, rider(3)).await);
    assert_eq!(sessions.known().suspended_bytes, 0);
}

#[tokio::test]
async fn the_oldest_makes_room_for_the_newest() {
    let sessions = Sessions::new(WITHIN, room(2));
    for n in 1..=3 {
        sessions.suspend(SessionId::nth(n), suspended(rider(n)));
    }
    assert!(!sessions.takes(1, rider(1)).await);
    assert!(sessions.takes(2, rider(2)).await);
    assert!(sessions.takes(3, rider(3)).await);
    assert_eq!(sessions.known().n_suspended, 0);
}

#[tokio::test]
async fn one_that_has_not_noticed_lets_go_when_it_is_asked() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (id, by) = (SessionId::nth(1), rider(1));
    let (_begun, asked) = sessions.open(id, token(by));
    let live =
        tokio::spawn(async move { let_go(asked.await.unwrap()).send(suspended(by)).is_ok() });
    assert!(!sessions.takes(1, rider(2)).await, "nobody else may ask");
    assert!(sessions.takes(1, by).await);
    assert!(live.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_let_go_is_not_waited_for_long() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (id, by) = (SessionId::nth(1), rider(1));
    let _open = sessions.open(id, token(by));
    assert!(!sessions.takes(1, by).await);
}

#[tokio::test]
async fn nobody_waits_where_nobody_may() {
    let sessions = Sessions::new(Duration::ZERO, room(10));
    sessions.suspend(SessionId::nth(1), suspended(rider(1)));
    assert_eq!(sessions.known().by_id.len(), 0);
}

#[tokio::test]
async fn one_that_is_over_is_forgotten_whatever_it_ended_with() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (begun, _asked) = sessions.open(SessionId::nth(1), token(rider(1)));
    drop(begun);
    assert_eq!(sessions.known().by_id.len(), 0);
    let (begun, _asked) = sessions.open(SessionId::nth(2), token(rider(1)));
    sessions.suspend(SessionId::nth(2), suspended(rider(1)));
    drop(begun);
    assert!(sessions.takes(2, rider(1)).await, "that one waits");
}

#[tokio::test]
async fn one_that_was_cut_off_while_it_was_asked_is_found_all_the_same() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (id, by) = (SessionId::nth(1), rider(1));
    let (_begun, asked) = sessions.open(id, token(by));
    let live = sessions.clone();
    tokio::spawn(async move {
        drop(asked.await);
        live.suspend(id, suspended(by));
    });
    assert!(sessions.takes(1, by).await);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_moved_says_where_for_as_long_as_it_would_have_waited() {
    let sessions = Sessions::new(WITHIN, room(10));
    sessions.suspend(SessionId::nth(1), suspended(rider(1)));
    assert!(sessions.takes(1, rider(1)).await);
    let asked = |by| sessions.take(taking(1, by, 100), false);
    let Some(Taken::Moved { to, heard }) = asked(rider(1)).await else { panic!("it has moved") };
    assert_eq!((to, heard), (SessionId::nth(99), Some(3)));
    assert!(asked(rider(2)).await.is_none(), "that is nobody else's affair");
    tokio::time::advance(WITHIN).await;
    assert!(asked(rider(1)).await.is_none());
    assert_eq!(sessions.known().n_moved, 0);
}

#[tokio::test]
async fn what_was_given_to_another_node_is_given_again_to_the_same_session_only() {
    let sessions = Sessions::new(WITHIN, room(10));
    for n in 1..=2 {
        sessions.suspend(SessionId::nth(n), suspended(rider(1)));
    }
    let near = taking(1, rider(1), 99);
    assert!(matches!(sessions.take(near, false).await, Some(Taken::Left(_))));
    assert!(sessions.take(near, false).await.is_none(), "here no answer gets lost");
    let far = taking(2, rider(1), 99);
    for _ in 0..2 {
        assert!(matches!(sessions.take(far, true).await, Some(Taken::Left(_))));
    }
    let other = taking(2, rider(1), 100);
    assert!(matches!(sessions.take(other, true).await, Some(Taken::Moved { .. })));
}

#[tokio::test]
async fn one_client_takes_the_room_of_nobody_else() {
    let sessions = Sessions::new(WITHIN, room(100));
    sessions.suspend(SessionId::nth(1_000), suspended(rider(2)));
    for n in 1..=200 {
        sessions.suspend(SessionId::nth(n), suspended(rider(1)));
    }
    assert_eq!(sessions.known().n_suspended, OF_ONE_MAX + 1);
    assert!(!sessions.takes(1, rider(1)).await, "its oldest made room");
    assert!(sessions.takes(200, rider(1)).await);
    assert!(sessions.takes(1_000, rider(2)).await);
}

#[tokio::test]
async fn old_words_do_not_take_a_session_from_a_client_that_knows_of_it() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (id, by) = (SessionId::nth(2), rider(1));
    let hop = Taking { is_hop: true, ..taking(2, by, 3) };
    let (_begun, mut asked) = sessions.open(id, token(by));
    sessions.welcomed(id);
    assert!(sessions.take(hop, false).await.is_none());
    assert!(asked.try_recv().is_err(), "it is not even asked to let go");
    // By its own name it is found.
    sessions.suspend(id, suspended(by));
    assert!(sessions.takes(2, by).await);
}

#[tokio::test]
async fn one_client_leaves_few_traces() {
    let sessions = Sessions::new(WITHIN, room(100));
    for n in 1..=50 {
        sessions.suspend(SessionId::nth(n), suspended(rider(1)));
        assert!(sessions.takes(n, rider(1)).await);
    }
    assert_eq!(sessions.known().n_moved, HOPS_MAX);
}

#[tokio::test]
async fn those_whose_token_is_revoked_end_whether_they_live_wait_or_have_moved() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (_one, mut lives) = sessions.open(SessionId::nth(1), token(rider(1)));
    let (_two, mut other) = sessions.open(SessionId::nth(2), token(rider(2)));
    sessions.suspend(SessionId::nth(3), suspended(rider(1)));
    sessions.suspend(SessionId::nth(4), suspended(rider(2)));
    sessions.suspend(SessionId::nth(5), suspended(rider(1)));
    let far = taking(5, rider(1), 99);
    assert!(matches!(sessions.take(far, true).await, Some(Taken::Left(_))));

    let n_ended = sessions.end_revoked(|identity| identity.principal == rider(1));
    assert_eq!(n_ended, 3);
    assert!(matches!(lives.try_recv(), Ok(Call::Revoked)));
    assert!(other.try_recv().is_err(), "nobody else hears of it");
    assert!(!sessions.takes(3, rider(1)).await);
    assert!(sessions.take(far, true).await.is_none(), "what was given is not given again");
    assert!(sessions.takes(4, rider(2)).await);
    assert_eq!(sessions.end_revoked(|identity| identity.principal == rider(1)), 0);
}

#[tokio::test]
async fn one_that_lives_by_a_newer_token_does_not_end_with_the_older_one() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (id, old) = (SessionId::nth(1), token(rider(1)));
    let new = Identity { issued_at: Timestamp(2_000), ..old.clone() };
    let (_begun, mut called) = sessions.open(id, old.clone());
    sessions.renewed(id, new.clone());
    assert_eq!(sessions.end_revoked(|identity| identity.issued_at == old.issued_at), 0);
    assert!(called.try_recv().is_err());
    assert_eq!(sessions.end_revoked(|identity| identity.issued_at == new.issued_at), 1);
}

#[tokio::test]
async fn those_who_are_live_are_counted_by_what_they_are() {
    let sessions = Sessions::new(WITHIN, room(10));
    let n_live = || {
        let n_live = sessions.n_live();
        [Role::Rider, Role::Admin].map(|role| n_live.get(&role).copied().unwrap_or_default())
    };
    let (first, _called) = sessions.open(SessionId::nth(1), token(rider(1)));
    let (_second, _called) = sessions.open(SessionId::nth(2), token(rider(2)));
    let (third, called) = sessions.open(SessionId::nth(3), token(rider(3)));
    let (_staff, _called) = sessions.open(SessionId::nth(4), token(Principal::Admin));
    assert_eq!(n_live(), [3, 1]);
    sessions.suspend(SessionId::nth(1), suspended(rider(1)));
    drop(first);
    assert_eq!(n_live(), [2, 1], "who waits for its client is not connected");
    drop((third, called));
    assert_eq!(n_live(), [1, 1]);
    assert_eq!(sessions.end_revoked(|identity| identity.principal == rider(2)), 1);
    assert_eq!(n_live(), [0, 1]);
}

#[tokio::test]
async fn one_is_looked_at_again_and_again_and_then_lets_go() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (id, by) = (SessionId::nth(1), rider(1));
    let (_begun, called) = sessions.open(id, token(by));
    for _ in 0..3 {
        let (to, _state) = oneshot::channel();
        assert!(sessions.look(id, Wants::State(to)), "also before it has heard the look before");
    }
    let live = tokio::spawn(async move {
        let (mut called, mut n_looks) = (called, 0);
        loop {
            match called.await.unwrap() {
                Call::Look(look) => (called, n_looks) = (look.next, n_looks + 1),
                call @ (Call::LetGo(_) | Call::Revoked) => {
                    assert!(let_go(call).send(suspended(by)).is_ok());
                    return n_looks;
                }
            }
        }
    });
    assert!(sessions.takes(1, by).await);
    assert_eq!(live.await.unwrap(), 3);
    let (to, _state) = oneshot::channel();
    assert!(!sessions.look(id, Wants::State(to)), "it is over");
}

#[tokio::test]
async fn those_that_live_are_listed_in_pages_and_by_whose_they_are() {
    let sessions = Sessions::new(WITHIN, room(10));
    let open = |n| sessions.open(SessionId::nth(n), token(rider(n % 2)));
    let _all: Vec<_> = [5, 1, 4, 2, 3].into_iter().map(open).collect();
    sessions.suspend(SessionId::nth(6), suspended(rider(1)));
    let live = |of, after: Option<u64>, n_max| sessions.live(of, after.map(SessionId::nth), n_max);
    let ids = |all: &[u64]| all.iter().map(|n| SessionId::nth(*n)).collect::<Vec<_>>();
    assert_eq!(live(None, None, 9), ids(&[1, 2, 3, 4, 5]));
    assert_eq!(live(None, None, 2), ids(&[1, 2]));
    assert_eq!(live(None, Some(2), 2), ids(&[3, 4]));
    assert_eq!(live(Some(rider(1)), Some(1), 9), ids(&[3, 5]));
    assert_eq!(live(Some(rider(7)), None, 9), ids(&[]));
}
