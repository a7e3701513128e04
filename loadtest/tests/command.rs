//! The program as somebody in a terminal, or a pipeline, meets it when something is wrong: what it says, and exits with.
#![expect(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use loadtest::Record;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn loadtest(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.current_dir(folder).args(args).output().unwrap()
}

fn code_and_words(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A key nobody believes, where a node would keep its own.
fn key(folder: &Path) -> PathBuf {
    let path = folder.join("key.pem");
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    fs::write(&path, pem::encode(&pem::Pem::new("PRIVATE KEY", document.as_ref()))).unwrap();
    path
}

#[test]
fn a_mistake_in_a_scenario_is_told_with_its_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), "about = \"x\"\n\n[fleet]\ndriver = 5\n").unwrap();
    let (code, said) =
        code_and_words(&loadtest(folder.path(), &["run", "--scenario", "mine.toml"]));
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with(
            "loadtest: mine.toml:4: unknown field `driver`, expected one of `drivers`"
        ),
        "{said}"
    );
    let (code, said) =
        code_and_words(&loadtest(folder.path(), &["run", "--set", "fleet.drivers=-1"]));
    assert_eq!(code, Some(1));
    assert!(said.starts_with("loadtest: --set fleet.drivers=-1: "), "{said}");
    let (code, said) = code_and_words(&loadtest(folder.path(), &["run", "--scenario", "smok"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("neither a file nor one of: smoke, city-day"), "{said}");
}

#[test]
fn without_a_node_or_a_key_nobody_sets_out() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = code_and_words(&loadtest(folder.path(), &["run"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("data/development-key.pem") && said.contains("--dev-key"), "{said}");
    let key = key(folder.path());
    // Port 1 is nobody's.
    let absent =
        ["run", "--dev-key", key.to_str().unwrap(), "--url", "ws://127.0.0.1:1/v1/ws", "--json"];
    let output = loadtest(folder.path(), &absent);
    let (code, said) = code_and_words(&output);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("no node answers at 127.0.0.1:1") && said.contains("outrider serve"),
        "{said}"
    );
    assert!(output.stdout.is_empty(), "what reads the last line finds none");
}

#[test]
fn a_wrong_flag_is_no_missed_threshold() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(loadtest(folder.path(), &["run", "--drivres", "5"]).status.code(), Some(1));
    assert_eq!(loadtest(folder.path(), &["run", "--help"]).status.code(), Some(0));
}

#[test]
fn scenarios_are_listed_and_printed_to_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    let listed = loadtest(folder.path(), &["scenarios"]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    for name in ["smoke", "city-day", "service-level", "steps"] {
        let printed = loadtest(folder.path(), &["scenarios", name]);
        assert!(printed.status.success() && listed.contains(name), "{name}");
        let text = String::from_utf8(printed.stdout).unwrap();
        assert!(loadtest::scenario::Scenario::read(name, &text, &[]).is_ok(), "{name}");
    }
    // One that needs something to be set is there all the same, and says what.
    let printed = loadtest(folder.path(), &["scenarios", "nyc-morning"]);
    assert!(printed.status.success() && listed.contains("nyc-morning"), "{listed}");
    let (code, said) =
        code_and_words(&loadtest(folder.path(), &["run", "--scenario", "nyc-morning"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("arrivals.trips is missing") && said.contains("--set"), "{said}");
}

#[test]
fn two_records_are_compared_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (Record::default(), Record { violations: 1, ..Record::default() });
    for (name, record) in [("before.json", &before), ("after.json", &after)] {
        fs::write(folder.path().join(name), serde_json::to_string(record).unwrap()).unwrap();
    }
    let compare = |one, other| loadtest(folder.path(), &["compare", one, other]).status.code();
    assert_eq!(compare("before.json", "before.json"), Some(0));
    assert_eq!(compare("before.json", "after.json"), Some(2));
    assert_eq!(compare("before.json", "absent.json"), Some(1));
    let part = ["compare", "before.json", "after.json", "--between"];
    let (code, said) = code_and_words(&loadtest(folder.path(), &[&part[..], &["0h..1h"]].concat()));
    assert_eq!(code, Some(1));
    assert!(said.contains("counted in 0s..1h"), "{said}");
    let (code, said) = code_and_words(&loadtest(folder.path(), &[&part[..], &["1h"]].concat()));
    assert_eq!(code, Some(1));
    assert!(said.contains("no part of a run such as 1h..2h"), "{said}");
    assert!(
        loadtest(folder.path(), &["page", "after.json", "--html", "page.html"]).status.success()
    );
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("A promise was broken"));
}

#[test]
fn how_well_it_is_forecast_is_printed_as_a_table_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    for date in ["2016-02-01", "2016-02-15"] {
        let rows = (0..180).map(|minute| {
            let time = format!("{:02}:{:02}:00", 8 + minute / 60, minute % 60);
            format!("{date} {time},1,40.75,-73.98,40.76,-73.97\n")
        });
        let head = "pickup_time,passengers,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon\n";
        let text: String = std::iter::once(head.to_owned()).chain(rows).collect();
        fs::write(folder.path().join(format!("{date}.csv")), text).unwrap();
    }
    let both = ["forecast", "--trips", "2016-02-01.csv", "2016-02-15.csv"];
    let output = loadtest(folder.path(), &both);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("| last week's value "), "{told}");
    let output = loadtest(folder.path(), &[&both[..], &["--by", "square", "--json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["grain"], &report["every_s"]), (&"square".into(), &900.into()));
    assert_eq!(report["ways"][2]["wape_percent"], 0.0, "{report}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("WAPE"));
    let (code, said) = code_and_words(&loadtest(folder.path(), &both[..3]));
    assert_eq!(code, Some(1));
    assert!(said.contains("no two tables are of one weekday"), "{said}");
}
