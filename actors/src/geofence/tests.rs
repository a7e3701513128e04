//! What a fence promises: nobody comes and goes by trembling, and nobody goes who did not come.

use super::*;
use proptest::prelude::*;

const HERE: Point = Point { lat: -1.9441, lon: 30.0619 };
const START: Timestamp = Timestamp(1_000_000_000);
const RADIUS_M: u32 = 100;
const FENCE: Fence = Fence { stop: 0, what: StopKind::Pickup, around: HERE, radius_m: RADIUS_M };

fn position(at: Point, accuracy_m: Option<f32>) -> Position {
    Position { at, sampled_at: START, heading_deg: None, speed_mps: None, accuracy_m }
}

/// Somebody in or around the fence, and a clock.
#[derive(Debug)]
struct Walk {
    kept: Option<Box<Stay>>,
    now: Timestamp,
}

impl Walk {
    fn new() -> Self {
        Self { kept: None, now: START }
    }

    /// So many seconds later they are seen so many metres to the east.
    fn to(&mut self, later_s: u64, east_m: f64) -> Option<Crossing> {
        self.seen_as(later_s, east_m, Some(8.0))
    }

    fn seen_as(&mut self, later_s: u64, east_m: f64, accuracy_m: Option<f32>) -> Option<Crossing> {
        self.now = self.now + Duration::from_secs(later_s);
        FENCE.see(&mut self.kept, &position(HERE.offset_m(east_m, 0.0), accuracy_m), self.now)
    }
}

#[test]
fn whoever_comes_enters_once_dwells_once_and_exits_well_beyond() {
    let mut walk = Walk::new();
    assert_eq!(walk.to(0, 101.0), None, "not yet");
    assert_eq!(walk.to(1, 99.0), Some(Crossing::Entered));
    assert_eq!(walk.to(60, 10.0), None);
    assert_eq!(walk.to(59, 149.0), None, "a little beyond is no exit");
    assert_eq!(walk.to(1, 20.0), Some(Crossing::Dwelt));
    assert_eq!(walk.to(60, 20.0), None, "once");
    assert_eq!(walk.to(1, 151.0), Some(Crossing::Exited));
    assert_eq!(walk.to(1, 120.0), None, "back in the band is not back inside");
    assert_eq!(walk.to(1, 99.0), Some(Crossing::Entered), "again");
}

#[test]
fn after_a_silence_how_long_somebody_has_been_there_counts_anew_and_that_they_are_does_not() {
    let mut walk = Walk::new();
    assert_eq!(walk.to(0, 0.0), Some(Crossing::Entered));
    assert_eq!(walk.to(121, 0.0), None, "they may have been anywhere");
    assert_eq!(walk.kept.as_ref().map(|it| it.since), Some(walk.now));
    assert_eq!(walk.to(119, 0.0), None);
    assert_eq!(walk.to(1, 0.0), Some(Crossing::Dwelt));
    assert_eq!(walk.to(600, 900.0), Some(Crossing::Exited), "whenever that was");
}

#[test]
fn who_may_be_inside_all_the_time_dwells_there_all_the_time() {
    let mut walk = Walk::new();
    assert_eq!(walk.to(0, 0.0), Some(Crossing::Entered));
    let entered_at = walk.now;
    for _ in 0..4 {
        assert_eq!(walk.seen_as(60, 240.0, Some(150.0)), None, "it is as vague as that");
    }
    assert_eq!(walk.to(60, 0.0), Some(Crossing::Dwelt));
    assert_eq!(walk.kept.as_ref().map(|it| it.since), Some(entered_at));

    let mut gone = Walk::new();
    gone.to(0, 0.0);
    for _ in 0..4 {
        assert_eq!(gone.seen_as(60, 260.0, Some(150.0)), None);
    }
    assert_eq!(gone.to(60, 0.0), None, "it was not inside, however vague that is");

    let mut silent = Walk::new();
    silent.to(0, 0.0);
    assert_eq!(silent.seen_as(121, 0.0, Some(150.0)), None);
    assert_eq!(silent.to(1, 0.0), None, "nobody knows where it was meanwhile");
}

#[test]
fn a_device_that_does_not_say_how_accurate_it_is_is_believed() {
    assert_eq!(Walk::new().seen_as(0, 50.0, None), Some(Crossing::Entered));
}

#[test]
fn a_small_fence_has_a_wide_band_all_the_same() {
    let fence = Fence { radius_m: 10, ..FENCE };
    let at = |east_m| position(HERE.offset_m(east_m, 0.0), Some(5.0));
    let (stay, crossing) = fence.judge(None, &at(9.0), START);
    assert_eq!(crossing, Some(Crossing::Entered));
    assert_eq!(fence.judge(stay, &at(59.0), START).1, None);
    assert_eq!(fence.judge(stay, &at(61.0), START).1, Some(Crossing::Exited));
}

#[test]
fn a_stay_within_one_fence_is_none_within_the_next_also_where_both_are_in_one_place() {
    let mut walk = Walk::new();
    walk.to(0, 0.0);
    let stay = walk.kept.as_deref().copied();
    let here = position(HERE, Some(8.0));
    let moved = Fence { around: HERE.offset_m(20.0, 0.0), ..FENCE };
    for next in [Fence { stop: 1, ..FENCE }, moved] {
        assert_eq!(next.judge(stay, &here, walk.now).1, Some(Crossing::Entered));
    }
    let far = Fence { stop: 1, around: HERE.offset_m(2_000.0, 0.0), ..FENCE };
    assert_eq!(far.judge(stay, &here, walk.now), (None, None), "nor is it told to have ended");
}

#[test]
fn whoever_goes_nowhere_stays_nowhere_and_a_crossing_says_of_which_stop_it_is() {
    let (driver, here) = (DriverId::nth(1), position(HERE, Some(8.0)));
    let mut kept = None;
    let crossed = crosses(Some(FENCE), &mut kept, driver, &here, START);
    let (stop, what, crossing, at) = (0, StopKind::Pickup, Crossing::Entered, START);
    assert_eq!(crossed, Some(Sighting::Crossed { driver, stop, what, crossing, at }));
    assert_eq!(crosses(None, &mut kept, driver, &here, START), None);
    assert_eq!(kept, None);
}

#[test]
fn a_stay_goes_along_to_another_node() {
    let mut walk = Walk::new();
    walk.to(0, 0.0);
    let bytes = rmp_serde::to_vec_named(&walk.kept).unwrap();
    assert_eq!(rmp_serde::from_slice::<Option<Box<Stay>>>(&bytes).unwrap(), walk.kept);
}

/// Where somebody is seen: how much later, at which bearing, how far away, and how accurately.
fn sights(far_m: f64) -> impl Strategy<Value = Vec<(u64, f64, f64, Option<f32>)>> {
    let accuracy_m = prop_oneof![
        4 => (0.0_f32..100.0).prop_map(Some),
        1 => Just(None),
        2 => (101.0_f32..500.0).prop_map(Some),
    ];
    let bearing = 0.0..std::f64::consts::TAU;
    prop::collection::vec((0..200_u64, bearing, 0.0..far_m, accuracy_m), 1..60)
}

fn towards(bearing: f64, distance_m: f64) -> Point {
    HERE.offset_m(distance_m * bearing.sin(), distance_m * bearing.cos())
}

proptest! {
    /// Whoever trembles by less than the band is told to have come, perhaps to have dwelt, and nothing else.
    #[test]
    fn nobody_comes_and_goes_by_trembling_at_the_border(sights in sights(149.0)) {
        let mut walk = Walk::new();
        let mut told = Vec::new();
        for (later_s, bearing, distance_m, accuracy_m) in sights {
            walk.now = walk.now + Duration::from_secs(later_s);
            let at = position(towards(bearing, distance_m), accuracy_m);
            told.extend(FENCE.see(&mut walk.kept, &at, walk.now));
        }
        let possible: [&[Crossing]; 3] =
            [&[], &[Crossing::Entered], &[Crossing::Entered, Crossing::Dwelt]];
        prop_assert!(possible.contains(&&told[..]), "{:?}", told);
    }

    #[test]
    fn coming_and_going_take_turns_and_nobody_dwells_outside_or_twice(sights in sights(400.0)) {
        let mut walk = Walk::new();
        let (mut is_inside, mut has_dwelt) = (false, false);
        for (later_s, bearing, distance_m, accuracy_m) in sights {
            walk.now = walk.now + Duration::from_secs(later_s);
            let at = position(towards(bearing, distance_m), accuracy_m);
            match FENCE.see(&mut walk.kept, &at, walk.now) {
                Some(Crossing::Entered) => {
                    prop_assert!(!is_inside);
                    (is_inside, has_dwelt) = (true, false);
                }
                Some(Crossing::Dwelt) => {
                    prop_assert!(is_inside && !has_dwelt);
                    has_dwelt = true;
                }
                Some(Crossing::Exited) => {
                    prop_assert!(is_inside);
                    is_inside = false;
                }
                None => {}
            }
            prop_assert_eq!(walk.kept.is_some(), is_inside);
        }
    }

    /// But when somebody was last seen there.
    #[test]
    fn what_is_vaguer_than_the_fence_is_wide_changes_nothing(
        is_inside in any::<bool>(),
        later_s in 0..10_000_u64,
        distance_m in 0.0..1_000.0_f64,
        accuracy_m in 100.1_f32..10_000.0,
    ) {
        let mut walk = Walk::new();
        if is_inside {
            walk.to(0, 0.0);
        }
        let stay = |walk: &Walk| walk.kept.as_deref().map(|it| Stay { seen_at: START, ..*it });
        let before = stay(&walk);
        prop_assert_eq!(walk.seen_as(later_s, distance_m, Some(accuracy_m)), None);
        prop_assert_eq!(stay(&walk), before);
    }

    /// The same, seen again: nothing more is crossed.
    #[test]
    fn what_is_seen_twice_is_crossed_once(
        distance_m in 0.0..1_000.0_f64,
        is_inside in any::<bool>(),
    ) {
        let mut walk = Walk::new();
        if is_inside {
            walk.to(0, 0.0);
        }
        walk.to(0, distance_m);
        prop_assert_eq!(walk.to(0, distance_m), None);
    }
}
