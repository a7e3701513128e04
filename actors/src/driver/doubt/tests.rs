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
        let suspected = self.doubts.as_ref().and_then(Doubts::suspected);
        let judged = judge(&self.last, suspected, &next, SPEED_MAX_MPS);
        match judged {
            Judged::Jump { .. } => {
                self.doubts.get_or_insert_default().jumps(next, next.sampled_at);
            }
            Judged::Plausible | Judged::Corrects => {
                self.last = next;
                if self.doubts.as_mut().is_some_and(|it| it.fall(next.sampled_at)) {
                    self.doubts = None;
                }
            }
        }
        judged
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
        let judged = judge(&last, None, &east(after_s, east_m), SPEED_MAX_MPS);
        assert_eq!(judged == Judged::Plausible, is_believed, "{after_s} s, {east_m} m: {judged:?}");
    }
    assert_eq!(judge(&last, None, &east(1, 900_000.0), 0.0), Judged::Plausible, "nobody looks");
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
fn two_that_agree_are_believed_so_that_nobody_is_stuck_where_they_never_were() {
    let mut device = Device::new();
    assert!(is_jump(device.says(east(1, 900_000.0))));
    assert!(is_jump(device.says(east(2, -900_000.0))), "they do not agree");
    assert_eq!(device.says(east(3, -900_010.0)), Judged::Corrects);
    assert_eq!(device.says(east(4, -900_020.0)), Judged::Plausible);
}

#[test]
fn the_same_position_said_twice_is_one() {
    let far = east(1, 5_000.0);
    assert!(is_jump(judge(&east(0, 0.0), Some(&far), &far, SPEED_MAX_MPS)));
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

    /// Wherever a device really is, and whatever it said before: of any three that say so, one after the other, the last is believed.
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
        let judged = [1, 2, 3].map(|later_s| device.says(east(after_s + later_s, east_m)));
        prop_assert!(!is_jump(judged[2]), "{:?}", judged);
        prop_assert_eq!(device.last, east(after_s + 3, east_m));
    }
}
