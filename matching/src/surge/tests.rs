use super::*;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(n: u32) -> Timestamp {
    Timestamp(1_000_000) + MINUTE * n
}

fn count(n_waiting: u32, n_free: u32) -> Count {
    Count { n_waiting, n_free, ..Count::default() }
}

fn percent(surge: &Surge<u8>) -> u32 {
    surge.cells().next().map_or(USUAL, |(_, cell)| cell.percent)
}

/// One cell over so many minutes; what it was after each.
fn run(surge: &mut Surge<u8>, from: u32, counts: &[Count]) -> Vec<u32> {
    let settings = Settings::default();
    let steps = (from..).zip(counts).map(|(n, count)| {
        surge.step(&BTreeMap::from([(0, *count)]), at(n), &settings);
        percent(surge)
    });
    steps.collect()
}

#[test]
fn of_a_cell_astride_two_regions_one_tells_and_of_all_that_is_there() {
    // Cell 10 is of region 1, 20 of region 2, and 30 of region 3, where nobody is.
    let region_of = |cell: u8| Some(cell / 10);
    let mut counts = Counts::from([
        (1, Arc::new(BTreeMap::from([(10, count(4, 0)), (20, count(2, 1)), (30, count(1, 0))]))),
        (2, Arc::new(BTreeMap::from([(10, count(0, 8)), (20, count(3, 3)), (30, count(0, 5))]))),
    ]);
    let told = |counts: &Counts<u8, u8>, region| together(counts, region, region_of);
    let first = BTreeMap::from([(10, count(4, 8)), (30, count(1, 5))]);
    assert_eq!(told(&counts, 1), first, "not scarce at all, for those who wait");
    assert_eq!(told(&counts, 2), BTreeMap::from([(20, count(5, 4))]));
    // Once its own region counts too, that tells, though it has nothing in it itself.
    counts.insert(3, Arc::default());
    assert_eq!(told(&counts, 3), BTreeMap::from([(30, count(1, 5))]));
    assert_eq!(told(&counts, 1), BTreeMap::from([(10, count(4, 8))]));
    // Who sees nobody tells of all it has.
    counts.retain(|region, _| *region == 1);
    assert_eq!(told(&counts, 1), *counts[&1]);
}

#[test]
fn it_rises_slowly_where_many_wait_and_falls_back_when_they_do_not() {
    let mut surge = Surge::default();
    let risen = run(&mut surge, 0, &[count(9, 3); 12]);
    assert_eq!(risen[0], 130, "no more at once than may be");
    assert!(risen.is_sorted() && risen[11] == 180, "{risen:?}");
    let fallen = run(&mut surge, 12, &[count(0, 3); 20]);
    assert!(fallen.is_sorted_by(|a, b| a >= b) && fallen[19] == USUAL, "{fallen:?}");
    let (_, cell) = surge.cells().next().unwrap();
    let audit = cell.changes.iter().map(|it| (it.from_percent, it.to_percent));
    assert!(audit.clone().all(|(from, to)| from != to));
    assert!(audit.clone().zip(audit.skip(1)).all(|((_, to), (from, _))| to == from));
    assert_eq!(cell.changes[0].count, count(9, 3));
}

#[test]
fn a_little_more_or_less_changes_nothing() {
    let mut surge = Surge::default();
    assert_eq!(run(&mut surge, 0, &[count(6, 5), count(4, 5), count(6, 5)]), [USUAL; 3]);
    assert_eq!(percent(&surge), USUAL);
}

#[test]
fn one_that_is_less_than_the_least_there_may_be_is_as_usual() {
    let settings = Settings { percent_min: 130, ..Settings::default() };
    let mut surge = Surge::<u8>::default();
    let mut seen = |from: u32, counts: &[Count]| -> Vec<u32> {
        let steps = (from..).zip(counts).map(|(n, count)| {
            surge.step(&BTreeMap::from([(0, *count)]), at(n), &settings);
            percent(&surge)
        });
        steps.collect()
    };
    // Two for each driver would be 150: it goes there in steps of less than 30.
    let risen = seen(0, &[count(6, 3); 12]);
    assert_eq!(risen[0], USUAL, "20 more is not worth telling");
    assert_eq!(risen[11], 150, "{risen:?}");
    let fallen = seen(12, &[count(0, 3); 20]);
    assert_eq!(fallen[19], USUAL);
    let all = || risen.iter().chain(&fallen);
    assert!(all().all(|it| settings.allows(*it)), "{risen:?}, {fallen:?}");
    assert!(!settings.allows(120) && !settings.allows(190) && settings.allows(180));
    let cannot_be = |percent_min, percent_max| {
        !Settings { percent_min, percent_max, ..Settings::default() }.is_bounded()
    };
    assert!(settings.is_bounded());
    assert!(cannot_be(90, 180) && cannot_be(150, 140) && cannot_be(100, MOST + 1));
}

#[test]
fn what_is_expected_counts_as_what_is_there() {
    let settings = Settings::default();
    let expected = Count { n_free: 2, per_hour_soon: 48.0, ..Count::default() };
    assert!((expected.ratio(&settings) - 2.0).abs() < 1e-9);
    assert!(count(1, 0).ratio(&settings) > count(1, 1).ratio(&settings));
    assert!(Count::default().ratio(&settings).abs() < 1e-9, "nobody asks");
}

#[test]
fn where_nothing_is_unusual_any_more_is_forgotten_after_a_while() {
    let (mut surge, settings) = (Surge::default(), Settings::default());
    surge.step(&BTreeMap::from([(0, count(9, 1))]), at(0), &settings);
    for n in 1..40 {
        surge.step(&BTreeMap::new(), at(n), &settings);
    }
    assert_eq!(percent(&surge), USUAL);
    assert_eq!(surge.cells().len(), 1, "what became of it can still be asked");
    surge.step(&BTreeMap::new(), at(200), &settings);
    assert_eq!(surge.cells().len(), 0);
}

#[test]
fn what_was_written_down_counts_less_the_older_it_is_and_then_not_at_all() {
    let settings = Settings::default();
    let restored = |minutes: u32, percent| {
        let mut surge = Surge::default();
        surge.restore(0_u8, percent, MINUTE * minutes, at(0), &settings);
        surge
    };
    let percent_after = |minutes| percent(&restored(minutes, 160));
    assert_eq!([0, 20].map(percent_after), [160; 2], "it is said again no sooner");
    let fading: Vec<u32> = (20..=60).map(percent_after).collect();
    assert!(fading.is_sorted_by(|a, b| a >= b), "{fading:?}");
    assert_eq!(percent_after(40), 130, "half of the way");
    assert_eq!([60, 1_000].map(percent_after), [USUAL; 2]);
    assert_eq!(percent(&restored(0, 900)), settings.percent_max, "never beyond its cap");

    let mut surge = restored(1, 160);
    let (_, cell) = surge.cells().next().unwrap();
    let change = cell.changes[0];
    assert_eq!((change.cause, change.from_percent, change.to_percent), (Cause::Restored, 100, 160));
    surge.restore(0, 130, Duration::ZERO, at(0), &settings);
    assert_eq!(percent(&surge), 160, "it is never lowered");
    // From there it follows what is counted.
    let risen = run(&mut surge, 1, &[count(9, 3)]);
    assert!(risen[0] >= 160, "{risen:?}");
    let fallen = run(&mut surge, 2, &[count(0, 3); 20]);
    assert_eq!(fallen[19], USUAL);
    assert_eq!(restored(60, 160).cells().len(), 1, "that it has ended is to be told");
}

proptest! {
    #[test]
    fn it_stays_within_its_cap_moves_in_steps_and_every_change_is_told(
        seen in prop::collection::vec((0..40_u32, 0..20_u32, 0.0..900.0_f64), 1..60),
        percent_min in 100..200_u32,
        percent_max in 50..400_u32,
        grain_percent in 0..30_u32,
        follow_percent in 0..120_u8,
    ) {
        let settings =
            Settings { percent_min, percent_max, grain_percent, follow_percent, ..Settings::default() };
        let (mut surge, mut before) = (Surge::<u8>::default(), USUAL);
        for (n, (n_waiting, n_free, per_hour_soon)) in (0..).zip(seen) {
            let count = Count { per_hour_soon, ..count(n_waiting, n_free) };
            let changes = surge.step(&BTreeMap::from([(0, count)]), at(n), &settings);
            let now = percent(&surge);
            prop_assert!((USUAL..=percent_max.max(USUAL)).contains(&now));
            prop_assert!(now == USUAL || now >= percent_min.min(percent_max));
            prop_assert_eq!(changes.len(), usize::from(now != before));
            if let Some((_, change)) = changes.first() {
                prop_assert_eq!((change.from_percent, change.to_percent), (before, now));
                let is_at_cap = now == percent_max.max(USUAL);
                prop_assert!(is_at_cap || (now - USUAL).is_multiple_of(grain_percent.max(1)));
            }
            before = now;
        }
    }

    #[test]
    fn more_who_wait_or_fewer_drivers_never_lower_the_target(
        n_waiting in 0..50_u32, n_free in 0..50_u32, per_hour_soon in 0.0..900.0_f64,
    ) {
        let settings = Settings::default();
        let aim = |count: Count| target(count.ratio(&settings), &settings);
        let now = Count { per_hour_soon, ..count(n_waiting, n_free) };
        let (one_more, one_free) = (n_waiting + 1, n_free + 1);
        let more = aim(Count { n_waiting: one_more, ..now });
        let freer = aim(Count { n_free: one_free, ..now });
        prop_assert!(more >= aim(now) && freer <= aim(now));
    }
}
