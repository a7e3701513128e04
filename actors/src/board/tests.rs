use super::*;
use proptest::prelude::*;
use protocol::{
    DriverId, JobId, OrderId, RescueId, RiderId,
    codec::Codec,
    work::{Issue, Priority, VehicleKind},
};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn driver(n: u64, status: DriverStatus) -> Published {
    let mark = Mark::Driver {
        id: DriverId::nth(n),
        at: Point::default(),
        status,
        jobs: Vec::new(),
        vehicle: None,
        doubted: false,
        tired: false,
    };
    published(DriverId::nth(n).into(), mark, vec![])
}

fn order(n: u64, kind: OrderKind, status: OrderStatus) -> Published {
    let mark = Mark::Order {
        id: OrderId::nth(n),
        kind,
        status,
        pickup: Point::default(),
        dropoff: Point::default(),
        driver: None,
        priority: Priority::Normal,
        held: false,
        since: None,
        due: None,
    };
    published(OrderId::nth(n).into(), mark, vec!["placed"])
}

fn published(entity: EntityKey, mark: Mark, events: Vec<&'static str>) -> Published {
    let events = events.into_iter().map(Into::into).collect();
    Published { entity, at: NOW, mark: Some(mark), events }
}

fn counters<S: Ord + Copy>(counts: &[(S, u32)]) -> BTreeMap<S, u32> {
    counts.iter().copied().collect()
}

#[test]
fn a_new_viewer_is_shown_everything() {
    let mut board = Board::new();
    board.hear(driver(1, DriverStatus::Available));
    board.hear(order(1, OrderKind::Ride, OrderStatus::Searching));

    let [full] = board.full(NOW).try_into().unwrap();
    assert!(full.full);
    assert_eq!((full.seq, full.marks.len(), full.server_time), (0, 2, NOW));
    assert_eq!(full.counters.drivers, counters(&[(DriverStatus::Available, 1)]));
    assert_eq!(full.counters.rides, counters(&[(OrderStatus::Searching, 1)]));
}

#[test]
fn who_is_on_it_is_found_by_words() {
    let mut board = Board::new();
    for n in 1..=3 {
        board.hear(driver(n, DriverStatus::Available));
    }
    board.hear(driver(4, DriverStatus::Busy));
    board.hear(order(4, OrderKind::Ride, OrderStatus::Searching));
    let found = |text: &str, most: usize| {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        board.find(&words, most, None).marks.len()
    };
    assert_eq!((found("available", 9), found("available", 2)), (3, 2));
    assert_eq!((found("ride searching", 9), found("ride busy", 9)), (1, 0));
    let id = DriverId::nth(2).to_string();
    assert_eq!(found(&id[id.len() - 6..], 9), 1);
}

#[test]
fn a_large_one_is_looked_through_in_turns() {
    let mut board = Board::new();
    let looked_at_max = u64::try_from(LOOKED_AT_MAX).unwrap();
    for n in 1..=looked_at_max + 2 {
        board.hear(driver(n, DriverStatus::Available));
    }
    let words = ["available".to_owned()];
    let first = board.find(&words, usize::MAX, None);
    assert_eq!((first.marks.len(), first.up_to.is_some()), (LOOKED_AT_MAX, true));
    let rest = board.find(&words, usize::MAX, first.up_to);
    assert_eq!((rest.marks.len(), rest.up_to), (2, None));
    assert_eq!(board.find(&words, 3, None).marks, first.marks[..3]);
    assert_eq!(board.find(&["busy".to_owned()], 3, None).marks, []);
}

#[test]
fn a_quiet_board_says_nothing() {
    let mut board = Board::new();
    assert!(board.diff(NOW).is_empty());
    board.hear(driver(1, DriverStatus::Available));
    assert_eq!(board.diff(NOW).len(), 1);
    board.hear(driver(1, DriverStatus::Available));
    assert!(board.diff(NOW).is_empty(), "the same mark again is no news");
}

#[test]
fn a_diff_holds_each_mark_once_as_it_is_now() {
    let mut board = Board::new();
    board.hear(driver(1, DriverStatus::Available));
    board.hear(driver(1, DriverStatus::Offered));
    board.hear(driver(1, DriverStatus::Busy));
    let [diff] = board.diff(NOW).try_into().unwrap();
    assert_eq!(diff.seq, 1);
    assert_eq!(diff.marks, [driver(1, DriverStatus::Busy).mark.unwrap()]);
    assert_eq!(diff.counters.drivers, counters(&[(DriverStatus::Busy, 1)]));
}

#[test]
fn an_ended_order_stays_a_while_on_the_map_and_for_ever_in_the_counters() {
    let mut board = Board::new();
    board.hear(order(1, OrderKind::Delivery, OrderStatus::InTransit));
    board.hear(order(1, OrderKind::Delivery, OrderStatus::Delivered));
    let just_before = Timestamp((NOW + LINGER).0 - 1);

    assert!(board.diff(just_before)[0].gone.is_empty());
    let [left] = board.diff(NOW + LINGER).try_into().unwrap();
    assert_eq!(left.gone, [OrderId::nth(1).to_string()]);
    assert_eq!(left.counters.deliveries, counters(&[(OrderStatus::Delivered, 1)]));
    assert_eq!(board.n_marks(), 0);
}

#[test]
fn a_late_word_about_an_ended_order_does_not_count_it_twice() {
    let mut board = Board::new();
    board.hear(order(1, OrderKind::Ride, OrderStatus::Completed));
    let after = NOW + LINGER;
    board.diff(after);
    let tipped = Published {
        events: vec!["tipped".into()],
        ..order(1, OrderKind::Ride, OrderStatus::Completed)
    };
    board.hear(tipped);

    let [diff] = board.diff(after).try_into().unwrap();
    assert!(diff.marks.is_empty());
    assert_eq!(diff.happenings[0].what, "tipped");
    assert_eq!(diff.counters.rides, counters(&[(OrderStatus::Completed, 1)]));
}

#[test]
fn a_driver_who_goes_home_is_gone_and_no_longer_counted() {
    let mut board = Board::new();
    board.hear(driver(1, DriverStatus::Available));
    board.diff(NOW);
    board.hear(Published { mark: None, ..driver(1, DriverStatus::Offline) });
    let [diff] = board.diff(NOW).try_into().unwrap();
    assert_eq!(diff.gone, [DriverId::nth(1).to_string()]);
    assert_eq!(diff.counters.drivers, counters(&[]));
}

#[test]
fn only_the_newest_happenings_are_told_and_a_new_viewer_hears_none_twice() {
    let mut board = Board::new();
    for n in 0..30 {
        let mut it = order(n, OrderKind::Ride, OrderStatus::Searching);
        it.at = Timestamp(NOW.0 + n);
        board.hear(it);
    }
    assert!(board.full(NOW)[0].happenings.is_empty(), "they come with the next diff");
    let [diff] = board.diff(NOW).try_into().unwrap();
    assert_eq!(diff.happenings.len(), HAPPENINGS_MAX);
    assert_eq!(diff.happenings.last().unwrap().at, Timestamp(NOW.0 + 29));
    assert_eq!(board.full(NOW)[0].happenings, diff.happenings);
}

#[test]
fn who_has_something_to_tell_is_told_the_next_diff_though_nothing_changed() {
    let mut board = Board::new();
    assert!(board.diff(NOW).is_empty());
    board.speak();
    assert_eq!(board.diff(NOW).len(), 1);
    assert!(board.diff(NOW).is_empty());
}

#[test]
fn an_entity_without_a_mark_still_happens() {
    let mut board = Board::new();
    let entity = RiderId::nth(1).into();
    board.hear(Published { entity, at: NOW, mark: None, events: vec!["job_opened".into()] });
    let [diff] = board.diff(NOW).try_into().unwrap();
    assert_eq!(diff.happenings[0].actor, RiderId::nth(1).to_string());
    assert!(diff.marks.is_empty() && diff.gone.is_empty());
}

#[test]
fn a_city_of_ten_thousand_is_told_in_frames_that_fit() {
    // The longest numbers and statuses there are.
    let at = Point::new(-88.888_888_8, -177.777_777_7).unwrap();
    let mut board = Board::new();
    for n in 0..4_000 {
        let jobs = (0..n % 4).map(|job| JobId::Rescue(RescueId::nth(job))).collect();
        let id = DriverId::nth(n);
        let (status, vehicle) = (DriverStatus::Unreachable, Some(VehicleKind::TowTruck));
        let (doubted, tired) = (true, true);
        let mark = Mark::Driver { id, at, status, jobs, vehicle, doubted, tired };
        board.hear(published(id.into(), mark, vec!["duty_began"]));
        let id = OrderId::nth(n);
        let mark = Mark::Order {
            id,
            kind: OrderKind::Commerce,
            status: OrderStatus::CancelledByMerchant,
            pickup: at,
            dropoff: at,
            driver: Some(DriverId::nth(n)),
            priority: Priority::Urgent,
            held: true,
            since: Some(NOW),
            due: Some(NOW),
        };
        board.hear(published(id.into(), mark, vec![]));
        let id = RescueId::nth(n);
        let mark = Mark::Rescue {
            id,
            issue: Issue::BatteryDead,
            status: RescueStatus::RejectedOutOfArea,
            at,
            driver: Some(DriverId::nth(n)),
            priority: Priority::Urgent,
            held: true,
            since: Some(NOW),
            due: Some(NOW),
        };
        board.hear(published(id.into(), mark, vec![]));
    }
    let full = board.full(NOW);
    let diff = board.diff(NOW);
    assert!(full.len() > 1 && full[0].full && full[1..].iter().all(|it| !it.full));
    assert!(full.iter().all(|it| it.seq == 0));
    assert!(diff.iter().map(|it| it.seq).eq(1..=diff.len() as u64));
    let gone = board.diff(NOW + LINGER);
    assert_eq!(gone.iter().map(|it| it.gone.len()).sum::<usize>(), 8_000);
    for part in full.into_iter().chain(diff).chain(gone) {
        for mark in &part.marks {
            let bytes = serde_json::to_vec(mark).unwrap().len() + 1;
            assert!(bytes <= json_bytes_max(mark), "{bytes} bytes: {mark:?}");
        }
        for codec in [Codec::Json, Codec::MsgPack] {
            let bytes = codec.encode(&frame::ServerFrame::Board(Box::new(part.clone()))).unwrap();
            assert!(bytes.len() <= frame::FRAME_BYTES_MAX, "{} bytes", bytes.len());
        }
    }
}

/// What a viewer holds.
#[derive(Debug, Default, PartialEq)]
struct Viewer {
    seq: u64,
    marks: BTreeMap<String, Mark>,
    counters: Counters,
}

impl Viewer {
    fn apply(&mut self, part: frame::Board) {
        if part.full {
            self.marks.clear();
        } else {
            assert!(part.seq == self.seq || part.seq == self.seq + 1, "a gap");
        }
        self.seq = part.seq;
        self.counters = part.counters;
        for id in part.gone {
            self.marks.remove(&id);
        }
        for mark in part.marks {
            let id = match &mark {
                Mark::Driver { id, .. } => id.to_string(),
                Mark::Order { id, .. } => id.to_string(),
                Mark::Rescue { id, .. } => id.to_string(),
            };
            self.marks.insert(id, mark);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Hear(Published),
    Diff { later_ms: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let driver_step = (
        0..4u64,
        prop_oneof![
            Just(None),
            Just(Some(DriverStatus::Available)),
            Just(Some(DriverStatus::Busy)),
        ],
    )
        .prop_map(|(n, status)| match status {
            Some(status) => driver(n, status),
            None => Published { mark: None, ..driver(n, DriverStatus::Offline) },
        });
    let order_step = (
        0..4u64,
        prop_oneof![
            Just(OrderStatus::Searching),
            Just(OrderStatus::Assigned),
            Just(OrderStatus::Completed),
            Just(OrderStatus::NoDriverFound),
        ],
    )
        .prop_map(|(n, status)| order(n, OrderKind::Ride, status));
    let step = prop_oneof![
        3 => driver_step.prop_map(Step::Hear),
        3 => order_step.prop_map(Step::Hear),
        1 => (0..12_000u64).prop_map(|later_ms| Step::Diff { later_ms }),
    ];
    proptest::collection::vec(step, 0..60)
}

/// Takes the steps, and a diff at the end.
fn run(
    board: &mut Board,
    now: &mut Timestamp,
    steps: Vec<Step>,
    mut told: impl FnMut(frame::Board),
) {
    for step in steps.into_iter().chain([Step::Diff { later_ms: 0 }]) {
        match step {
            Step::Hear(published) => board.hear(Published { at: *now, ..published }),
            Step::Diff { later_ms } => {
                *now = *now + Duration::from_millis(later_ms);
                board.diff(*now).into_iter().for_each(&mut told);
            }
        }
    }
}

proptest! {
    #[test]
    fn whoever_joins_at_any_moment_ends_where_the_board_is(
        before in steps(), after in steps(),
    ) {
        let (mut board, mut now) = (Board::new(), NOW);
        run(&mut board, &mut now, before, |_| {});
        let mut joined = Viewer::default();
        board.full(now).into_iter().for_each(|part| joined.apply(part));
        run(&mut board, &mut now, after, |part| joined.apply(part));

        let mut fresh = Viewer::default();
        board.full(now).into_iter().for_each(|part| fresh.apply(part));
        prop_assert_eq!(joined, fresh);
    }

    #[test]
    fn counters_count_the_living_marks_and_everything_that_ended(steps in steps()) {
        let mut board = Board::new();
        let mut ended = BTreeMap::new();
        let mut drivers = BTreeMap::new();
        for step in steps {
            let Step::Hear(published) = step else { continue };
            match published.mark {
                Some(Mark::Order { id, status, .. }) => {
                    let known = ended.entry(id).or_insert(status);
                    if !known.is_final() { *known = status; }
                }
                Some(Mark::Driver { id, status, .. }) => { drivers.insert(id, status); }
                Some(Mark::Rescue { .. }) => {}
                None => { drivers.remove(&DriverId(published.entity.id)); }
            }
            board.hear(published);
        }
        let full = board.full(NOW).remove(0);
        let mut rides = BTreeMap::new();
        for status in ended.into_values() { *rides.entry(status).or_insert(0) += 1; }
        let mut by_status = BTreeMap::new();
        for status in drivers.into_values() { *by_status.entry(status).or_insert(0) += 1; }
        prop_assert_eq!(full.counters.rides, rides);
        prop_assert_eq!(full.counters.drivers, by_status);
    }
}
