use super::*;
use protocol::{Code, DriverId, OrderId};
use protocol::{Timestamp, view::Counters};

async fn heard(following: &mut Following, n: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..n {
        changes.extend(following.next().await);
    }
    changes
}

fn driver(n: u64, version: u64) -> ServerFrame {
    ServerFrame::Driver(Box::new(DriverView {
        id: DriverId::nth(n),
        version,
        status: protocol::DriverStatus::Available,
        blocked: None,
        vehicle: None,
        jobs: Vec::new(),
        offers: Vec::new(),
        position: None,
        fleet: None,
        hint: None,
        run: None,
        grants: Vec::new(),
        ungranted: Vec::new(),
        rates: protocol::view::Rates::default(),
        shift: None,
        n_shift_no_shows: 0,
        doubted: false,
        rest: None,
    }))
}

fn board(seq: u64) -> ServerFrame {
    ServerFrame::Board(Box::new(Board {
        seq,
        full: false,
        server_time: Timestamp(0),
        marks: Vec::new(),
        gone: Vec::new(),
        counters: Counters::default(),
        happenings: Vec::new(),
        attending: None,
        left_out: 0,
    }))
}

#[tokio::test]
async fn a_follower_hears_of_its_topic_only_and_of_its_end() {
    let topic = Topic::Driver(DriverId::nth(1));
    let (follower, mut following) = Follower::new(Some(topic.clone()));
    for _ in 0..2 {
        follower.begin_anew();
    }
    for frame in [driver(2, 1), driver(1, 1), board(1)] {
        follower.tell(&frame).unwrap();
    }
    let refused = Refused::new(Code::Forbidden, "not yours");
    let other = Topic::Order(OrderId::nth(1));
    for topic in [other, topic] {
        follower.tell(&ServerFrame::Unsubscribed { topic, refused: refused.clone() }).unwrap();
    }
    let changes = heard(&mut following, 4).await;
    let [Change::Anew, Change::View(view), Change::Ended(_)] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!(view.version(), Some(1));
    assert!(!follower.is_alone());
    drop(following);
    assert!(follower.is_alone());
}

#[tokio::test]
async fn a_slow_reader_hears_the_latest_of_everybody() {
    let (follower, mut following) = Follower::new(None);
    follower.begin_anew();
    for version in 1..2_000 {
        for n in 0..5 {
            follower.tell(&driver(n, version)).unwrap();
        }
    }
    let changes = heard(&mut following, WAITING_MAX).await;
    let mut latest = [0; 5];
    for change in &changes {
        let Change::View(View::Driver(view)) = change else { continue };
        let n = (0..5).position(|n| DriverId::nth(n) == view.id).unwrap();
        assert!(view.version > latest[n], "versions grow");
        latest[n] = view.version;
    }
    assert_eq!((changes.len(), latest), (WAITING_MAX, [1_999; 5]));
}

#[tokio::test]
async fn a_map_that_was_not_read_begins_anew() {
    let (follower, mut following) = Follower::new(Some(Topic::Board));
    let told = (0..=WAITING_MAX as u64).map(|seq| follower.tell(&board(seq)));
    assert_eq!(told.filter(Result::is_err).count(), 1);
    follower.begin_anew();
    assert_eq!(heard(&mut following, 1).await, [Change::Anew]);
}
