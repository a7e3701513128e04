use super::*;
use protocol::{IncidentStatus, Principal, RiderId, Timestamp, work::IncidentKind};

fn view(n: u64, escalations: u8) -> IncidentView {
    IncidentView {
        id: IncidentId::nth(n),
        version: 1,
        kind: IncidentKind::Sos,
        mock: false,
        status: IncidentStatus::Open,
        raised_by: Principal::Rider(RiderId::nth(n)),
        job: None,
        position: None,
        opened_at: Timestamp(n),
        changed_at: Timestamp(n),
        calling: true,
        escalations,
        acked_at: None,
        responders: Vec::new(),
        others: Vec::new(),
        checklist: Vec::new(),
        note: None,
    }
}

fn alarm(n: u64, escalations: u8) -> Alarm {
    Alarm { incident: IncidentId::nth(n), escalations }
}

fn call(n: u64, escalations: u8) -> Push {
    Push::Incident(Box::new(view(n, escalations)))
}

fn heeded(n: u64) -> Push {
    Push::IncidentHeeded { incident: IncidentId::nth(n) }
}

fn picture(calling: &[(u64, u8)]) -> Picture {
    let calling = calling.iter().map(|(n, escalations)| view(*n, *escalations)).collect();
    Picture { since: Instant::now(), calling, is_whole: true }
}

#[test]
fn each_call_is_told_once_and_again_when_it_is_louder() {
    let first = news(&[], &picture(&[(1, 0), (2, 0)]), 9);
    assert_eq!(first.pushes, [call(1, 0), call(2, 0)]);
    assert_eq!(first.told, [alarm(1, 0), alarm(2, 0)]);
    let same = news(&first.told, &picture(&[(1, 0), (2, 0)]), 9);
    assert_eq!((same.pushes, same.void), (vec![], vec![]));
    let louder = news(&first.told, &picture(&[(1, 1), (2, 0)]), 9);
    assert_eq!(louder.pushes, [call(1, 1)]);
    assert_eq!(louder.void, [IncidentId::nth(1)], "as it called before, nobody needs to hear it");
    assert_eq!(louder.told, [alarm(2, 0), alarm(1, 1)]);
}

#[test]
fn what_calls_no_more_is_void_and_told_as_heeded_once() {
    let over = news(&[alarm(1, 2), alarm(2, 0)], &picture(&[(2, 0)]), 9);
    assert_eq!(over.pushes, [heeded(1)]);
    assert_eq!(
        (over.void, over.told.as_slice()),
        (vec![IncidentId::nth(1)], [alarm(2, 0)].as_slice())
    );
    assert_eq!(news(&over.told, &picture(&[(2, 0)]), 9).pushes, []);
    let again = news(&over.told, &picture(&[(1, 3), (2, 0)]), 9);
    assert_eq!(again.pushes, [call(1, 3)], "and it may call again");
}

#[test]
fn what_there_is_no_room_for_waits_and_is_not_forgotten() {
    let full = news(&[alarm(9, 0)], &picture(&[(1, 0), (2, 0)]), 2);
    assert_eq!(full.pushes, [heeded(9), call(1, 0)]);
    assert_eq!(full.told, [alarm(1, 0)]);
    assert_eq!(news(&full.told, &picture(&[(1, 0), (2, 0)]), 1).pushes, [call(2, 0)]);
    let none = news(&[alarm(9, 0)], &picture(&[]), 0);
    assert_eq!((none.pushes, none.told), (vec![], vec![alarm(9, 0)]));
    assert_eq!(none.void, [IncidentId::nth(9)], "at least it is not said again");
}

#[test]
fn what_a_picture_has_no_room_for_is_not_taken_for_heeded() {
    let cut = Picture { is_whole: false, ..picture(&[(2, 0)]) };
    let unknown = news(&[alarm(1, 0)], &cut, 9);
    assert_eq!((unknown.pushes, unknown.void), (vec![call(2, 0)], vec![]));
}
