use super::*;
use proptest::prelude::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn what_was_due_while_everybody_waited_counts_in_full() {
    let (mut meter, began) = (Meter::new(), Instant::now());
    meter.count_from(began);
    // A node that answers in 10 ms stops for a second. Ten wishes were due meanwhile, each was said when it woke.
    for n in 0..10 {
        let due = began + ms(n * 100);
        let woke = began + ms(1_000);
        meter.took(Sample { op: Op::Place, due, said: woke, at: woke + ms(10) });
    }
    let took = &meter.took[&Op::Place];
    assert!(took.service.spread().max < 11.0, "a closed loop has noticed nothing");
    let corrected = took.corrected.spread();
    assert!((1_009.0..1_012.0).contains(&corrected.max) && corrected.p50 > 500.0, "{corrected:?}");
}

#[test]
fn warm_up_and_going_home_do_not_count() {
    let (mut meter, began) = (Meter::new(), Instant::now());
    meter.count_from(began + ms(1_000));
    meter.count_until(began + ms(2_000));
    for due_ms in [0, 999, 1_000, 1_999, 2_000] {
        let due = began + ms(due_ms);
        meter.wanted(due);
        meter.answered(due, None);
        meter.took(Sample { op: Op::Step, due, said: due, at: due + ms(5_000) });
    }
    assert_eq!((meter.commands.wanted, meter.commands.done), (2, 2));
    assert_eq!(meter.took[&Op::Step].corrected.n(), 2, "late answers count, late wishes do not");
    assert_eq!(meter.counted(began + ms(9_000)), ms(1_000));
    assert_eq!(meter.second().done, 5, "a chart shows all of it");
}

#[test]
fn a_rules_no_is_an_answer_and_silence_is_an_error() {
    let (mut meter, now) = (Meter::new(), Instant::now());
    meter.count_from(now);
    for _ in 0..10 {
        meter.wanted(now);
    }
    (0..7).for_each(|_| meter.answered(now, None));
    meter.answered(now, Some(Code::Taken));
    meter.answered(now, Some(Code::Unavailable));
    let commands = &meter.commands;
    assert_eq!((commands.failed, commands.unanswered()), (1, 1));
    assert!((commands.errors() - 0.2).abs() < 1e-9);
    assert_eq!(Commands::default().errors(), 0.0);
}

#[test]
fn a_generator_that_cannot_keep_up_says_so() {
    let fine = Generator { cpu_share: 0.5, ..Generator::default() }.judge(100, 0);
    assert_eq!(fine.saturated, Vec::<String>::new());
    let mut lag = Times::default();
    lag.record(ms(40));
    let busy = Generator { lag, cpu_share: 0.95, ..Generator::default() }.judge(100, 3);
    assert_eq!(busy.saturated.len(), 3, "{:?}", busy.saturated);
    assert!(busy.saturated[2].starts_with("3 of 100"), "{:?}", busy.saturated);
}

fn slots() -> impl Strategy<Value = Vec<Slot>> {
    let slot = (0..50_u64, 0..9_u64, prop::collection::vec((1..5_000_000_u64, 1..4_u64), 0..4));
    let slot = slot.prop_map(|(done, drivers, counts)| Slot {
        done,
        drivers,
        took: [(Op::Place, coarsen(counts))].into(),
        ..Slot::default()
    });
    prop::collection::vec(slot, 0..2_000)
}

fn line(slots: &[Slot]) -> Timeline {
    let mut line = Timeline::default();
    slots.iter().for_each(|slot| line.second(slot.clone()));
    line
}

fn totals(line: &Timeline) -> (u64, u64) {
    let n = |slot: &Slot| slot.took.values().flatten().map(|(_, n)| n).sum::<u64>();
    (line.slots.iter().map(|slot| slot.done).sum(), line.slots.iter().map(n).sum())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_long_run_takes_no_more_room_and_loses_nothing(slots in slots()) {
        let line = line(&slots);
        prop_assert!(line.slots.len() <= timeline::SLOTS_MAX);
        prop_assert_eq!(line.n_s as usize, slots.len());
        prop_assert_eq!(line.slots.len(), slots.len().div_ceil(line.width_s as usize));
        let done: u64 = slots.iter().map(|slot| slot.done).sum();
        prop_assert_eq!(totals(&line).0, done);
        prop_assert_eq!(line.slots.last().map(|it| it.drivers), slots.last().map(|it| it.drivers));
        let few = line.clone().with_at_most(50);
        prop_assert!(few.slots.len() <= 50);
        prop_assert_eq!(totals(&few), totals(&line));
    }

    #[test]
    fn two_lines_merge_whatever_their_widths(one in slots(), other in slots()) {
        let (a, b) = (line(&one), line(&other));
        let mut both = a.clone();
        both.merge(b.clone());
        prop_assert_eq!(both.width_s, a.width_s.max(b.width_s));
        prop_assert_eq!(totals(&both), (totals(&a).0 + totals(&b).0, totals(&a).1 + totals(&b).1));
    }

    #[test]
    fn times_are_read_as_they_were_written(us in prop::collection::vec(1..u64::from(u32::MAX), 0..200)) {
        let mut times = Times::default();
        us.iter().for_each(|us| times.record(Duration::from_micros(*us)));
        let text = serde_json::to_string(&times).unwrap();
        let again: Times = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(again.counts(), times.counts());
        prop_assert_eq!(again.spread(), times.spread());
    }
}

#[test]
fn times_of_two_are_the_times_of_all() {
    let (mut one, mut other, mut all) = (Times::default(), Times::default(), Times::default());
    for n in 1..=50 {
        // Longer than a histogram has room for at first.
        one.record(ms(n));
        other.record(ms(n + 50));
    }
    all.add(&one.take());
    all.merge(&other);
    assert_eq!(one.n(), 0, "what was taken is not there any more");
    let Spread { n, p50, max, .. } = all.spread();
    assert!(n == 100 && (49.5..51.0).contains(&p50) && (99.5..101.0).contains(&max));
}
