use super::*;
use protocol::RiderId;

const WITHIN: Duration = Duration::from_secs(60);

fn rider(n: u64) -> Principal {
    Principal::Rider(RiderId::nth(n))
}

fn suspended(by: Principal) -> Suspended {
    Suspended::nothing(by)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_cut_off_waits_for_its_own_client_and_for_so_long() {
    let sessions = Sessions::new(WITHIN, 10);
    for n in 1..=3 {
        sessions.suspend(SessionId::nth(n), suspended(rider(n)));
    }
    assert!(sessions.take(SessionId::nth(1), rider(2)).await.is_none(), "it is another's");
    let taken = sessions.take(SessionId::nth(1), rider(1)).await;
    assert_eq!(taken.map(|it| it.principal), Some(rider(1)));
    assert!(sessions.take(SessionId::nth(1), rider(1)).await.is_none(), "it is gone");
    tokio::time::advance(WITHIN).await;
    assert!(sessions.take(SessionId::nth(2), rider(2)).await.is_none(), "it was too late");
    assert_eq!(sessions.known().by_id.len(), 0);
}

#[tokio::test]
async fn the_oldest_makes_room_for_the_newest() {
    let sessions = Sessions::new(WITHIN, 2);
    for n in 1..=3 {
        sessions.suspend(SessionId::nth(n), suspended(rider(n)));
    }
    assert!(sessions.take(SessionId::nth(1), rider(1)).await.is_none());
    assert!(sessions.take(SessionId::nth(2), rider(2)).await.is_some());
    assert!(sessions.take(SessionId::nth(3), rider(3)).await.is_some());
    assert_eq!(sessions.known().n_suspended, 0);
}

#[tokio::test]
async fn one_that_has_not_noticed_lets_go_when_it_is_asked() {
    let sessions = Sessions::new(WITHIN, 10);
    let (id, by) = (SessionId::nth(1), rider(1));
    let (_begun, asked) = sessions.open(id, by);
    let live = tokio::spawn(async move { asked.await.unwrap().send(suspended(by)).is_ok() });
    assert!(sessions.take(id, rider(2)).await.is_none(), "nobody else may ask");
    assert!(sessions.take(id, by).await.is_some());
    assert!(live.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_let_go_is_not_waited_for_long() {
    let sessions = Sessions::new(WITHIN, 10);
    let (id, by) = (SessionId::nth(1), rider(1));
    let _open = sessions.open(id, by);
    assert!(sessions.take(id, by).await.is_none());
}

#[tokio::test]
async fn nobody_waits_where_nobody_may() {
    let sessions = Sessions::new(Duration::ZERO, 10);
    sessions.suspend(SessionId::nth(1), suspended(rider(1)));
    assert_eq!(sessions.known().by_id.len(), 0);
}

#[tokio::test]
async fn one_that_is_over_is_forgotten_whatever_it_ended_with() {
    let sessions = Sessions::new(WITHIN, 10);
    let (begun, _asked) = sessions.open(SessionId::nth(1), rider(1));
    drop(begun);
    assert_eq!(sessions.known().by_id.len(), 0);
    let (begun, _asked) = sessions.open(SessionId::nth(2), rider(1));
    sessions.suspend(SessionId::nth(2), suspended(rider(1)));
    drop(begun);
    assert!(sessions.take(SessionId::nth(2), rider(1)).await.is_some(), "that one waits");
}

#[tokio::test]
async fn one_that_was_cut_off_while_it_was_asked_is_found_all_the_same() {
    let sessions = Sessions::new(WITHIN, 10);
    let (id, by) = (SessionId::nth(1), rider(1));
    let (_begun, asked) = sessions.open(id, by);
    let live = sessions.clone();
    tokio::spawn(async move {
        drop(asked.await);
        live.suspend(id, suspended(by));
    });
    assert!(sessions.take(id, by).await.is_some());
}
