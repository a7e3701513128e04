use super::*;
use protocol::RiderId;

const WITHIN: Duration = Duration::from_secs(60);

fn rider(n: u64) -> Principal {
    Principal::Rider(RiderId::nth(n))
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
    let (_begun, asked) = sessions.open(id, by);
    let live = tokio::spawn(async move { asked.await.unwrap().send(suspended(by)).is_ok() });
    assert!(!sessions.takes(1, rider(2)).await, "nobody else may ask");
    assert!(sessions.takes(1, by).await);
    assert!(live.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_let_go_is_not_waited_for_long() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (id, by) = (SessionId::nth(1), rider(1));
    let _open = sessions.open(id, by);
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
    let (begun, _asked) = sessions.open(SessionId::nth(1), rider(1));
    drop(begun);
    assert_eq!(sessions.known().by_id.len(), 0);
    let (begun, _asked) = sessions.open(SessionId::nth(2), rider(1));
    sessions.suspend(SessionId::nth(2), suspended(rider(1)));
    drop(begun);
    assert!(sessions.takes(2, rider(1)).await, "that one waits");
}

#[tokio::test]
async fn one_that_was_cut_off_while_it_was_asked_is_found_all_the_same() {
    let sessions = Sessions::new(WITHIN, room(10));
    let (id, by) = (SessionId::nth(1), rider(1));
    let (_begun, asked) = sessions.open(id, by);
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
    let (_begun, mut asked) = sessions.open(id, by);
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
