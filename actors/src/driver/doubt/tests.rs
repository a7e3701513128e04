//! Who is believed, who is not, and for how long that is held against them.

use super::*;
use proptest::prelude::*;
use protocol::Point;

const HERE: Point = Point { lat: -1.9441, lon: 30.0619 };
const START: Timestamp = Timestamp(1_000_000_000);
/// 150 km/h.
const SPEED_MAX_MPS: f32 = 41.7;

fn position(after_s: u64, at: Point) -> Position {
    let (sampled_at, accuracy_m) = (START + Duration::from_secs(after_s), Some(8.0));
    Position { at, sampled_at, heading_deg: None, speed_mps: None, accuracy_m }
}

/// So many seconds after the start so many metres to the east.
fn east(after_s: u64, east_m: f64) -> Position {
    position(after_s, HERE.offset_m(east_m, 0.0))
}

/// A device that is judged as a driver's is: one position after the other.
#[derive(Debug)]
struct Device {
    last: Position,
    doubts: Option<Doubts>,
}

impl Device {
    fn new() -> Self {
        Self { last: east(0, 0.0), doubts: None }
    }

    fn says(&mut self, next: Position) -> Judged {
        let now = next.sampled_at;
        let suspect = self.doubts.as_ref().and_then(Doubts::suspect);
        // Its clock is as ours, and nothing is on its way for long.
        let heard_at = self.last.sampled_at;
        let judged = judge(&self.last, heard_at, suspect, &next, SPEED_MAX_MPS, now);
        match judged {
            Judged::Jump { suspect, .. } => {
                self.doubts.get_or_insert_default().jumps(suspect, now);
            }
            Judged::Plausible | Judged::Corrects => {
                self.last = next;
                if let Some(doubts) = &mut self.doubts {
                    doubts.is_believed();
                }
            }
        }
        if self.doubts.as_ref().is_some_and(|it| it.is_forgiven(now)) {
            self.doubts = None;
        }
        judged
    }

    fn n_doubts(&self) -> usize {
        self.doubts.as_ref().map_or(0, |it| it.at.len())
    }

    fn is_marked(&self) -> bool {
        self.doubts.as_ref().is_some_and(Doubts::is_marked)
    }
}

fn is_jump(judged: Judged) -> bool {
    matches!(judged, Judged::Jump { .. })
}

#[test]
fn nobody_is_faster_than_a_hundred_and_fifty() {
    let last = east(0, 0.0);
    for (after_s, east_m, is_believed) in [
        (10, 415.0, true),
        // As vague as both are, it may be.
        (10, 430.0, true),
        (10, 440.0, false),
        (1, 190.0, true),
        (1, 210.0, false),
        // After a gap it is the time since then that counts.
        (600, 24_000.0, true),
        (600, 26_000.0, false),
    ] {
        let next = east(after_s, east_m);
        let judged = judge(&last, START, None, &next, SPEED_MAX_MPS, next.sampled_at);
        assert_eq!(judged == Judged::Plausible, is_believed, "{after_s} s, {east_m} m: {judged:?}");
    }
    let far = judge(&last, START, None, &east(1, 900_000.0), 0.0, START);
    assert_eq!(far, Judged::Plausible, "nobody looks");
}

#[test]
fn a_clock_that_is_set_right_makes_no_jump_of_what_anybody_can_drive() {
    let after = |after_s| START + Duration::from_secs(after_s);
    // Twenty seconds ahead, and then no more.
    let (last, next) = (east(20, 0.0), east(21, 600.0));
    let judged = |now| judge(&last, START, None, &next, SPEED_MAX_MPS, now);
    assert_eq!(judged(after(21)), Judged::Plausible);
    assert!(is_jump(judged(after(1))), "so soon nobody is there");

    // Nor does what is suspected begin anew because of that.
    let (first, next) = (east(20, 90_000.0), east(21, 90_500.0));
    let suspect = Some(Suspect::new(&first, START));
    let judged = judge(&east(0, 0.0), START, suspect, &next, SPEED_MAX_MPS, after(15));
    let Judged::Jump { suspect, .. } = judged else { panic!("{judged:?}") };
    assert_eq!((suspect.first, suspect.n), (first, 2));
}

#[test]
fn what_agrees_by_a_clock_that_was_set_back_counts_and_what_only_comes_late_does_not() {
    let now = START + Duration::from_secs(30);
    let judged = |first_s| {
        let suspect = Some(Suspect::new(&east(first_s, 90_000.0), START));
        judge(&east(0, 0.0), START, suspect, &east(30, 90_000.0), SPEED_MAX_MPS, now)
    };
    assert!(is_jump(judged(90)));
    assert_eq!(judged(91), Judged::Corrects);
}

#[test]
fn a_wild_position_is_not_believed_and_the_ones_after_it_are() {
    let mut device = Device::new();
    assert!(is_jump(device.says(east(1, 5_000.0))));
    assert_eq!(device.says(east(2, 10.0)), Judged::Plausible);
    assert!(is_jump(device.says(east(3, 5_000.0))), "what came between speaks against it");
    assert_eq!(device.last, east(2, 10.0));
}

#[test]
fn five_that_agree_are_believed_so_that_nobody_is_stuck_where_they_never_were() {
    let mut device = Device::new();
    assert!(is_jump(device.says(east(1, 900_000.0))));
    for n in 0..4 {
        // It moves on meanwhile, as anybody can.
        let judged = device.says(east(2 + n, -900_000.0 - 30.0 * n as f64));
        assert!(is_jump(judged), "number {n}, and the first two do not agree");
    }
    assert_eq!(device.n_doubts(), 2, "of those that agree the first counts");
    assert_eq!(device.says(east(6, -900_120.0)), Judged::Corrects);
    assert_eq!(device.says(east(7, -900_150.0)), Judged::Plausible);
}

#[test]
fn however_many_agree_at_the_same_moment_say_no_more_than_one() {
    let (last, moment) = (east(0, 0.0), START + Duration::from_secs(1));
    let says = |suspect, after_s, now| {
        judge(&last, START, suspect, &east(after_s, 90_000.0), SPEED_MAX_MPS, now)
    };
    let mut suspect = None;
    for n in 1..10 {
        let judged = says(suspect, n, moment);
        let Judged::Jump { suspect: it, .. } = judged else { panic!("number {n}: {judged:?}") };
        suspect = Some(it);
    }
    let later = |ms| moment + Duration::from_millis(ms);
    assert!(is_jump(says(suspect, 10, later(3_999))));
    assert_eq!(says(suspect, 10, later(4_000)), Judged::Corrects);
}

#[test]
fn fewer_are_believed_if_they_agree_for_long_enough() {
    let mut device = Device::new();
    assert!(is_jump(device.says(east(10, 900_000.0))));
    assert!(is_jump(device.says(east(29, 900_000.0))));
    assert_eq!(device.says(east(30, 900_000.0)), Judged::Corrects);

    // How long that is, is not for the device to say.
    let (first, heard_at) = (east(10, 900_000.0), START + Duration::from_secs(10));
    let suspect = Some(Suspect::new(&first, heard_at));
    let soon = heard_at + Duration::from_secs(1);
    let later = east(35, 900_000.0);
    assert!(is_jump(judge(&east(0, 0.0), START, suspect, &later, SPEED_MAX_MPS, soon)));
}

#[test]
fn a_place_that_something_plausible_came_between_is_suspected_anew() {
    let mut device = Device::new();
    for n in 0..10 {
        assert!(is_jump(device.says(east(1 + 5 * n, 90_000.0))), "number {n}");
        assert_eq!(device.says(east(2 + 5 * n, 0.0)), Judged::Plausible);
    }
    assert!(device.is_marked());
}

#[test]
fn the_same_position_said_again_and_again_is_one() {
    let mut device = Device::new();
    let far = east(1, 90_000.0);
    for _ in 0..10 {
        assert!(is_jump(device.says(far)));
    }
    assert_eq!(device.n_doubts(), 1);
    let suspect = device.doubts.as_ref().and_then(Doubts::suspect);
    let later = START + Duration::from_mins(5);
    let judged = judge(&device.last, START, suspect, &far, SPEED_MAX_MPS, later);
    assert!(is_jump(judged), "however long");
    // Nor do others that come between keep it from being believed.
    let said = [2, 3, 4].map(|after_s| [(); 2].map(|()| device.says(east(after_s, 90_000.0))));
    assert!(said.as_flattened().iter().all(|judged| is_jump(*judged)));
    assert_eq!(device.says(east(5, 90_000.0)), Judged::Corrects);
}

#[test]
fn five_in_ten_minutes_are_no_accident_and_are_forgiven_after_ten_without() {
    let wild = |device: &mut Device, after_s: u64| {
        assert!(is_jump(device.says(east(after_s, 90_000.0))));
        assert_eq!(device.says(east(after_s + 1, 0.0)), Judged::Plausible);
    };
    let mut device = Device::new();
    for after_s in [10, 100, 200, 300] {
        wild(&mut device, after_s);
    }
    assert!(!device.is_marked());
    wild(&mut device, 610);
    assert!(device.is_marked(), "the first was ten minutes ago");
    assert_eq!(device.says(east(1_209, 0.0)), Judged::Plausible);
    assert!(device.is_marked());
    assert_eq!(device.says(east(1_210, 0.0)), Judged::Plausible);
    assert!(!device.is_marked() && device.doubts.is_none());

    let mut seldom = Device::new();
    for after_s in (0..20).map(|n| 10 + n * 160) {
        wild(&mut seldom, after_s);
    }
    assert!(!seldom.is_marked(), "four in ten minutes are, however long that goes on");
}

#[test]
fn what_was_long_ago_counts_no_more_whether_or_not_anything_was_said_since() {
    let mut doubts = Doubts::default();
    let at = |after_s| START + Duration::from_secs(after_s);
    for after_s in 0..5 {
        doubts.rise(at(after_s));
    }
    assert!(doubts.is_doubted(at(603)));
    assert!(!doubts.is_doubted(at(604)), "it was silent, and nobody was told");
    assert!(doubts.is_marked());
    doubts.rise(at(604));
    assert!(!doubts.is_marked(), "one is an accident");
}

#[test]
fn doubts_go_along_to_another_node() {
    let mut device = Device::new();
    device.says(east(1, 5_000.0));
    let bytes = rmp_serde::to_vec_named(&device.doubts).unwrap();
    assert_eq!(rmp_serde::from_slice::<Option<Doubts>>(&bytes).unwrap(), device.doubts);
}

proptest! {
    /// Whoever moves as anybody can is believed whenever they say where they are.
    #[test]
    fn whoever_moves_as_anybody_can_is_always_believed(
        steps in prop::collection::vec(
            (1..120_u64, 0.0..std::f64::consts::TAU, 0.0..40.0_f64),
            1..50,
        ),
    ) {
        let mut device = Device::new();
        let (mut after_s, mut at) = (0, HERE);
        for (later_s, bearing, speed_mps) in steps {
            let way_m = speed_mps * later_s as f64;
            after_s += later_s;
            at = at.offset_m(way_m * bearing.sin(), way_m * bearing.cos());
            prop_assert_eq!(device.says(position(after_s, at)), Judged::Plausible);
        }
    }

    /// Wherever a device really is, and whatever it said before: of any five that say so, one after the other, the last is believed.
    #[test]
    fn nobody_is_stuck(
        rubbish in prop::collection::vec((-2e6..2e6_f64, 1..30_u64), 0..20),
        east_m in -2e6..2e6_f64,
    ) {
        let mut device = Device::new();
        let mut after_s = 0;
        for (east_m, later_s) in rubbish {
            after_s += later_s;
            device.says(east(after_s, east_m));
        }
        let judged = [1, 2, 3, 4, 5].map(|later_s| device.says(east(after_s + later_s, east_m)));
        prop_assert!(!is_jump(judged[4]), "{:?}", judged);
        prop_assert_eq!(device.last, east(after_s + 5, east_m));
    }
}
