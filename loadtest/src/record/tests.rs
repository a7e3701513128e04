use super::*;
use crate::{
    measure::{Slot, Times},
    nodes::{Inside, NodeSide},
    scenario::Scenario,
};
use std::{io::Write, time::Duration};

/// Two minutes of a node that is well, as a crowd of one generator has it.
pub(crate) fn a_run() -> Record {
    let mut timeline = Timeline::default();
    let mut took = Took::default();
    for n in 0..120_u64 {
        let counts: Vec<(u64, u64)> = (0..20).map(|k| (2_000 + 500 * k + 7 * n, 1)).collect();
        for (us, _) in &counts {
            took.corrected.record(Duration::from_micros(*us));
            took.service.record(Duration::from_micros(us / 2));
        }
        timeline.second(Slot {
            asked: 20,
            wanted: 20,
            done: 20,
            drivers: 50,
            riders: n,
            took: [(Op::Place, counts)].into(),
            ..Slot::default()
        });
    }
    let record = Record {
        lasted_s: 120.0,
        counted_from_s: 10.0,
        counted_until_s: 110.0,
        schedule: Schedule { planned: 2_400, started: 2_400, turned_away: 0 },
        commands: Commands { wanted: 2_400, done: 2_400, ..Commands::default() },
        took: [(Op::Place, took)].into(),
        jobs: Jobs {
            rides: Outcomes { created: 100, completed: 97, open: 3, ..Outcomes::default() },
            ..Jobs::default()
        },
        timeline,
        events: vec![Seen {
            after_s: 60.0,
            who: "127.0.0.1:7070".to_owned(),
            what: "gone".to_owned(),
        }],
        ..Record::default()
    };
    record.of(&scenario("[\"place.p99 < 500ms\", \"errors < 0.1%\"]"))
}

fn scenario(thresholds: &str) -> Scenario {
    let text = format!("about = \"a test\"\nthresholds = {thresholds}");
    Scenario::read("mine", &text, &[]).unwrap()
}

#[test]
fn the_shape_has_the_keys_that_were_promised() {
    let json = serde_json::to_value(a_run()).unwrap();
    assert_eq!(json["format"], 1);
    for key in
        ["scenario", "machine", "schedule", "commands", "jobs", "traffic", "audit", "generator"]
    {
        assert!(!json[key].is_null(), "{key}");
    }
    let place = &json["took"]["place"]["corrected"];
    for key in ["n", "mean", "p50", "p90", "p95", "p99", "p999", "max"] {
        assert!(place["ms"][key].is_number(), "{key}");
    }
    assert!(place["counts_us"][0][1].is_u64());
    assert_eq!(json["timeline"]["slots"][0]["took"]["place"][0][1], 1);
    assert_eq!(json["verdicts"][0]["is_kept"], true);
}

#[test]
fn a_record_is_read_as_it_was_written_also_below_other_text() {
    let run = a_run();
    let folder = tempfile::tempdir().unwrap();
    let (alone, below) = (folder.path().join("a.json"), folder.path().join("b.txt"));
    fs::write(&alone, serde_json::to_string_pretty(&run).unwrap()).unwrap();
    let mut file = fs::File::create(&below).unwrap();
    writeln!(file, "{run}\n{}", serde_json::to_string(&run).unwrap()).unwrap();
    assert_eq!(Record::open(&alone).unwrap(), run);
    assert_eq!(Record::open(&below).unwrap(), run);
    fs::write(&alone, "{\"format\": 99}").unwrap();
    assert!(matches!(Record::open(&alone), Err(NoRecord::Newer { format: 99, .. })));
    fs::write(&alone, "not one").unwrap();
    assert!(matches!(Record::open(&alone), Err(NoRecord::Json { .. })));
}

#[test]
fn what_a_run_exits_with() {
    let run = a_run();
    assert_eq!(run.exit_code(), 0);
    let missed = Record {
        verdicts: run.judge(&scenario("[\"place.p50 < 1ms\"]").thresholds),
        ..run.clone()
    };
    assert_eq!(missed.exit_code(), 2);
    let mut saturated = missed;
    saturated.generator.saturated.push("it ran late".to_owned());
    assert_eq!(saturated.exit_code(), 4, "nobody can tell whether it was missed");
    let unasked = Record { verdicts: Vec::new(), ..saturated.clone() };
    assert_eq!(unasked.exit_code(), 4, "nor whether all is well");
    let interrupted = Record { is_interrupted: true, ..saturated.clone() };
    assert_eq!(interrupted.exit_code(), 130, "whoever interrupts it knows why");
    let mut unread = a_run();
    unread.audit.unread = 1;
    assert_eq!(unread.exit_code(), 4, "what nobody could read may be there, or not");
    saturated.violations = 1;
    assert_eq!(saturated.exit_code(), 3, "a broken promise is one, whoever was busy");
}

#[test]
fn what_two_generators_measured_is_as_if_one_had() {
    let (one, mut other) = (a_run(), a_run());
    other.violations = 1;
    other.violation_details =
        vec![Violation { broken: Broken::TwoTruths, detail: "order-1".to_owned() }];
    other.generator.cpu_share = 0.5;
    let mut both = one.clone();
    both.merge(other);
    assert_eq!((both.generators, both.commands.wanted, both.violations), (2, 4_800, 1));
    let (alone, together) = (&one.took[&Op::Place].corrected, &both.took[&Op::Place].corrected);
    assert_eq!(together.n(), 2 * alone.n());
    assert_eq!(Times::spread(together).p99, alone.spread().p99, "the same twice is the same");
    assert_eq!(both.timeline.slots[5].done, 40);
    assert_eq!(both.events.len(), 1, "both saw the same node go");
    assert!((both.generator.cpu_share - 0.25).abs() < 1e-9);
    assert!((both.done_per_s() - 48.0).abs() < 1e-9);
}

#[test]
fn what_was_measured_is_found_by_its_name() {
    let run = a_run();
    let of = |name: &str| run.measured(name.parse().unwrap());
    let (corrected, service) = (of("place.p50").unwrap(), of("place.service.p50").unwrap());
    assert!((corrected / service - 2.0).abs() < 0.05, "{corrected} {service}");
    assert_eq!((of("errors"), of("violations"), of("lost")), (Some(0.0), Some(0.0), Some(0.0)));
    assert_eq!((of("completed"), of("back.p99"), of("held")), (Some(0.97), None, None));
}

#[test]
fn the_summary_can_be_read_by_people() {
    let text = a_run().to_string();
    assert!(
        text.contains("order placed, answered durably")
            && text.contains("kept   place.p99 < 500ms"),
        "{text}"
    );
}

#[test]
fn what_was_withdrawn_is_said_and_is_no_error() {
    let mut run = a_run();
    run.commands.wanted += 3;
    run.commands.withdrawn = 3;
    assert_eq!((run.commands.unanswered(), run.commands.errors()), (0, 0.0));
    assert!(run.to_string().contains("\n3 withdrawn: "), "{run}");
    let mut both = run.clone();
    both.merge(run.clone());
    assert_eq!(both.commands.withdrawn, 6);
    run.commands.wanted += 1;
    assert_eq!(run.commands.unanswered(), 1, "whoever had a network waited for its answer");
}

#[test]
fn sessions_that_are_only_there_have_no_audit_and_say_so() {
    assert!(a_run().to_string().contains("\naudit: 0 acknowledged"));
    let held = Record { sessions: Some(Held::default()), ..a_run() };
    assert!(held.to_string().contains("\nno audit in this kind of run; 0 violations"), "{held}");
}

#[test]
fn what_nodes_measure_of_themselves_is_judged_by_the_slowest() {
    let inside = |max| Inside { n: 5, p99: 250.0, max, ..Default::default() };
    let node = |max| NodeSide {
        inside: [("matching round".to_owned(), inside(max))].into(),
        ..Default::default()
    };
    let judged = |nodes: Vec<NodeSide>| {
        let run = Record { nodes, ..a_run() };
        let wanted =
            "[\"node.tick.max <= 1s\", \"node.tick.p99 <= 250ms\", \"node.commit.p99 < 1s\"]";
        run.judge(&scenario(wanted).thresholds).iter().map(|it| it.is_kept).collect::<Vec<_>>()
    };
    assert_eq!(judged(vec![node(Some(500.0)), node(Some(1_000.0))]), [true, true, false]);
    assert_eq!(judged(vec![node(Some(500.0)), node(Some(5_000.0))]), [false, true, false]);
    assert_eq!(judged(vec![node(Some(500.0)), node(None)]), [false, true, false]);
    assert_eq!(judged(Vec::new()), [false; 3], "what was not measured is not kept");
}

#[test]
fn watched_processes_are_added_up() {
    let watched = Watched { n: 1, cores: 0.5, bytes_before: 1, bytes_after: 2, bytes_max: 3 };
    let mut run = Record { watched: Some(watched), ..a_run() };
    run.merge(Record { watched: None, ..a_run() });
    run.merge(Record { watched: Some(watched), ..a_run() });
    assert_eq!(run.watched.map(|it| (it.n, it.bytes_max)), Some((2, 6)));
    assert!(run.to_string().contains("2 watched: 1.00 processors"), "{run}");
}
