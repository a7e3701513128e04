use super::*;
use std::collections::BTreeSet;

fn crowd(scenario: &Scenario) -> &Options {
    let Play::Crowd(options) = &scenario.play else { panic!("{} is no crowd", scenario.name) };
    options
}

fn read(text: &str) -> Result<Scenario, String> {
    Scenario::read("mine", text, &[]).map_err(|error| error.to_string())
}

#[test]
fn those_that_are_ready_can_be_played() {
    for (name, _) in READY {
        let scenario = Scenario::open(name, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(!scenario.about.is_empty() && !scenario.thresholds.is_empty(), "{name}");
        if let Play::Crowd(options) = &scenario.play {
            assert!(options.audits && options.warm_up < options.lasting, "{name}");
        }
    }
    let has_beside = |name| Scenario::open(name, &[]).unwrap().beside.is_some();
    assert!(has_beside("rolling-restart") && has_beside("million-sessions"));
}

#[test]
fn the_folder_holds_what_the_binary_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/scenarios");
    let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let tomls = files.filter(|path| path.extension().is_some_and(|it| it == "toml"));
    let names: BTreeSet<String> =
        tomls.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, READY.map(|(name, _)| name.to_owned()).into());
}

#[test]
fn every_key_is_explained() {
    let explained = include_str!("../../../config/scenarios/README.md");
    let keys = include_str!("text.rs").lines().filter_map(|line| {
        let (before, rest) = line.split_once(": ")?;
        let key = before.trim().trim_start_matches("pub(super) ");
        let is_key =
            rest.ends_with(',') && key.chars().all(|it| it.is_ascii_lowercase() || it == '_');
        is_key.then_some(key)
    });
    // The tables, which are explained by what is in them.
    let tables =
        ["city", "fleet", "arrivals", "mix", "behaviour", "network", "cuts", "sessions", "battery"];
    let keys: BTreeSet<&str> =
        keys.filter(|key| !key.is_empty() && !tables.contains(key)).collect();
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        assert!(
            explained.contains(&format!("`{key}`")) || explained.contains(&format!("{key} =")),
            "{key}"
        );
    }
}

#[test]
fn what_nobody_says_is_as_usual() {
    let scenario = read("about = \"nothing\"").unwrap();
    let options = crowd(&scenario);
    assert_eq!((options.drivers, options.seed, options.speed), (200, 1, 1.0));
    let Demand::Curve { curve, .. } = &options.demand else { panic!() };
    assert!((curve.asked_by(3_600.0) - 500.0).abs() < 1e-6);
    assert!(options.network.is_none() && options.cuts.is_empty());
}

#[test]
fn mistakes_are_told_by_the_key_they_are_in() {
    for (text, said) in [
        ("about = \"x\"\nlast = \"5s\"", "last"),
        ("about = \"x\"\n[fleet]\ndriver = 5", "driver"),
        ("about = \"x\"\n[arrivals]\ncurve = \"constant\"\nper_hour = 5\nperhour = 7", "perhour"),
        ("about = \"x\"\n[arrivals]\ncurve = \"wild\"", "wild"),
        ("about = \"x\"\nlasts = \"5 parsecs\"", "lasts"),
        ("about = \"x\"\n[mix]\ndeliveries = 1.5", "mix.deliveries is 1.5; a share is 0 to 1"),
        ("about = \"x\"\n[mix]\ndeliveries = 0.6\nrescues = 0.6", "mix is 1.2; all shares"),
        ("about = \"x\"\nlasts = \"5s\"\nwarm_up = \"5s\"", "warm_up is 5s; it is shorter"),
        (
            "about = \"x\"\nthresholds = [\"errors < 1%\", \"luck > 3\"]",
            "thresholds[1] is \"luck > 3\"",
        ),
        ("about = \"x\"\n[behaviour]\naccept = 0.9\ndecline = 0.3", "behaviour.accept + decline"),
        (
            "about = \"x\"\n[arrivals]\ncurve = \"day\"\nper_hour = 9\nhours = [1.0, 2.0]",
            "a day has 24",
        ),
        ("about = \"x\"\n[[cuts]]\nat = \"5s\"\nshare = 7.0", "cuts[0].share is 7"),
        (
            "about = \"x\"\n[fleet]\nshifts = [{ from = \"5\", until = \"14:00\", share = 1.0 }]",
            "is not a time of day",
        ),
        (
            "about = \"x\"\n[fleet]\n[sessions]\nn = 5\nper_s = 5.0\nhold = \"1s\"\nlasts = \"9s\"",
            "sessions is there",
        ),
        ("lasts = \"5s\"", "about"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(said) && error.starts_with("mine: "), "{text}\n{error}");
    }
    let unknown = Scenario::open("city-night", &[]).unwrap_err().to_string();
    assert!(unknown.contains("city-day, new-year-spike"), "{unknown}");
}

#[test]
fn any_key_can_be_set_for_one_run() {
    let set = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(|it| (*it).to_owned()).collect();
        Scenario::open("smoke", &set)
    };
    let scenario = set(&[
        "fleet.drivers=7",
        "lasts=5s",
        "warm_up=\"1s\"",
        "behaviour.battery.lasts=8h",
        "behaviour.battery.recharge=1m",
        "arrivals={ curve = \"spike\", per_hour = 60, times = 5, at = \"1s\", rise = \"1s\", hold = \"1s\", fall = \"1s\" }",
    ])
    .unwrap();
    let options = crowd(&scenario);
    assert_eq!((options.drivers, options.lasting), (7, Duration::from_secs(5)));
    assert_eq!(options.habits.battery.map(|it| it.lasts_s), Some(8.0 * 3_600.0));
    // What other generators are given says the same.
    let again = Scenario::read("smoke", &scenario.text, &[]).unwrap();
    assert_eq!(crowd(&again).drivers, 7);
    assert!(matches!(set(&["fleet.drivers"]), Err(NoScenario::Set(_))));
    assert!(matches!(set(&["speed.of.light=1"]), Err(NoScenario::Set(_))));
    assert!(set(&["fleet.wheels=4"]).unwrap_err().to_string().contains("wheels"));
}

#[test]
fn a_hand_plays_crowds_only() {
    let hand = Hand { n: 1, of: 3 };
    let smoke = Scenario::open("smoke", &[]).unwrap().hand(hand).unwrap();
    assert_eq!(crowd(&smoke).hand, hand);
    assert!(Scenario::open("million-sessions", &[]).unwrap().hand(hand).is_err());
}
