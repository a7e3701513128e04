use super::*;
use std::collections::BTreeSet;

fn crowd(scenario: &Scenario) -> &Options {
    let Play::Crowd(options) = &scenario.play else { panic!("{} is no crowd", scenario.name) };
    options
}

/// What must be set before this one can be played.
fn needed(name: &str) -> Vec<String> {
    match name {
        "nyc-morning" => vec!["arrivals.trips=trips.csv.gz".to_owned()],
        _ => Vec::new(),
    }
}

fn read(text: &str) -> Result<Scenario, String> {
    Scenario::read("mine", text, &[]).map_err(|error| error.to_string())
}

#[test]
fn those_that_are_ready_can_be_played() {
    for (name, text) in READY {
        let scenario =
            Scenario::open(name, &needed(name)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Scenario::about(name, text).unwrap(), scenario.about);
        assert!(!scenario.about.is_empty() && !scenario.thresholds.is_empty(), "{name}");
        if let Play::Crowd(options) = &scenario.play {
            assert!(options.audits && options.warm_up < options.lasting, "{name}");
        }
    }
    let has_beside = |name| Scenario::open(name, &[]).unwrap().beside.is_some();
    assert!(has_beside("rolling-restart") && has_beside("million-sessions"));
}

#[test]
fn a_replay_without_trips_is_refused_and_says_what_to_set() {
    let said = Scenario::open("nyc-morning", &[]).unwrap_err().to_string();
    assert!(said.starts_with("nyc-morning:"), "{said}");
    assert!(said.contains("arrivals.trips is missing; curve = \"replay\" has trips, "), "{said}");
    assert!(said.ends_with("--set arrivals.trips=…"), "{said}");
    let streets = |set: &[String]| {
        let scenario = Scenario::open("nyc-morning", set).unwrap();
        crowd(&scenario).streets.clone()
    };
    let mut set = needed("nyc-morning");
    assert!(matches!(streets(&set), Streets::None), "without roads everybody drives straight");
    set.push("city.roads=roads".to_owned());
    assert!(matches!(streets(&set), Streets::Folder(folder) if folder == Path::new("roads")));
}

#[test]
fn steps_go_up_and_home_within_the_run() {
    let scenario = Scenario::open("steps", &[]).unwrap();
    let options = crowd(&scenario);
    let Demand::Curve { curve, .. } = &options.demand else { panic!() };
    let city_s = options.lasting.as_secs_f64() * options.speed;
    let per_hour = |share: f64| (curve.per_s(city_s * share) * 3_600.0).round();
    assert_eq!([0.1, 0.4, 0.65, 1.0].map(per_hour), [300.0, 600.0, 1_200.0, 0.0]);
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
        ("last = \"5s\"", "mine:2: unknown field `last`, expected one of `about`"),
        ("about = \"y\"", "mine:2: duplicate key"),
        ("[fleet]\ndriver = 5", "mine:3: unknown field `driver`, expected one of `drivers`"),
        ("[fleet]\ndrivers = \"many\"", "mine:3: invalid type: string \"many\""),
        ("[fleet]\n\nsources = 0", "mine:4: fleet.sources is 0; 1 to 250"),
        ("lasts = \"5 parsecs\"", "mine:2: "),
        ("[mix]\ndeliveries = 1.5", "mine:3: mix.deliveries is 1.5; a share is 0 to 1"),
        ("[mix]\ndeliveries = 0.6\nrescues = 0.6", "mine:2: mix is 1.2; all shares"),
        ("lasts = \"5s\"\nwarm_up = \"5s\"", "mine:3: warm_up is 5s; it is shorter"),
        (
            "thresholds = [\n  \"errors < 1%\",\n  \"luck > 3\",\n]",
            "mine:4: thresholds[1] is \"luck > 3\"; what is measured is errors",
        ),
        ("[behaviour]\naccept = 0.9\ndecline = 0.3", "mine:4: behaviour.decline is 0.3 beside"),
        (
            "[behaviour]\nposition_every = \"1ms\"",
            "mine:3: behaviour.position_every is 1ms; at least",
        ),
        ("[city]\nstreets = \"none\"\nroads = \"x\"", "mine:3: city.streets is none; `roads`"),
        ("[network]\nshare = 0.5\nstall = \"2s\"", "mine:4: network.stall is 2s; nothing arrives"),
        ("compress = 0.5", "mine:2: compress is 0.5; a run is compressed 1 to 1000 times"),
        // Which keys a curve has.
        (
            "[arrivals]\ncurve = \"constant\"\nper_hour = 5\nperhour = 7",
            "mine:5: unknown field `perhour`",
        ),
        (
            "[arrivals]\ncurve = \"wild\"",
            "mine:3: unknown variant `wild`, expected one of `constant`",
        ),
        (
            "[arrivals]\ncurve = \"constant\"\nper_hour = 5\ntimes = 7",
            "mine:5: arrivals.times is there; curve = \"constant\" has per_hour, pacing",
        ),
        (
            "[arrivals]\ncurve = \"spike\"\nper_hour = 5",
            "mine:2: arrivals.times is missing; curve = \"spike\" has per_hour, times, at",
        ),
        (
            "[arrivals]\ncurve = \"spike\"\nper_hour = 5\ntimes = 9\nat = \"5m\"\nrise = \"1s\"\nhold = \"1s\"\nfall = \"1s\"",
            "mine:6: arrivals.at is 5m; by then nobody asks any more",
        ),
        (
            "[arrivals]\ncurve = \"day\"\nper_hour = 9\nhours = [1.0, 2.0]",
            "mine:5: arrivals.hours is 2 numbers; a day has 24",
        ),
        ("[arrivals]\ncurve = \"stages\"\nstages = []", "mine:4: arrivals.stages is empty"),
        (
            "compress = 2.0\n[arrivals]\ncurve = \"replay\"\ntrips = \"x.csv\"",
            "mine:2: compress is 2; what is replayed is made shorter by",
        ),
        (
            "[city]\nstarts_at = \"07:00\"\n[arrivals]\ncurve = \"replay\"\ntrips = \"x.csv\"\nfrom = \"08:00\"",
            "mine:7: arrivals.from is 08:00:00; it is the same moment",
        ),
        ("[[cuts]]\nat = \"5s\"\n[[cuts]]\nat = \"5s\"\nshare = 7.0", "mine:6: cuts[1].share is 7"),
        ("[[cuts]]\nat = \"5m\"", "mine:3: cuts[0].at is 5m; by then nobody asks"),
        (
            "[fleet]\nshifts = [{ from = \"5\", until = \"14:00\", share = 1.0 }]",
            "is not a time of day",
        ),
        (
            "lasts = \"9s\"\n[sessions]\nn = 5\nper_s = 5.0\nhold = \"1s\"\nlasts = \"9s\"",
            "mine:2: lasts is there; sessions that are only there have no crowd",
        ),
        (
            "[sessions]\nn = 50\nper_s = 5.0\nhold = \"1s\"\nlasts = \"9s\"",
            "mine:6: sessions.lasts is 9s; to open all of them",
        ),
    ] {
        let error = read(&format!("about = \"x\"\n{text}")).expect_err(text);
        assert!(error.contains(said) && error.starts_with("mine:"), "{text}\n{error}");
    }
    assert!(read("lasts = \"5s\"").unwrap_err().contains("missing field `about`"));
    let unknown = Scenario::open("city-night", &[]).unwrap_err().to_string();
    assert!(unknown.contains("city-day, new-year-spike, steps"), "{unknown}");
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
        "compress=2",
        "arrivals={ curve = \"spike\", per_hour = 60, times = 5, at = \"1s\", rise = \"1s\", hold = \"1s\", fall = \"1s\" }",
    ])
    .unwrap();
    let options = crowd(&scenario);
    assert_eq!((options.drivers, options.lasting), (7, Duration::from_millis(2_500)));
    assert_eq!(options.habits.battery.map(|it| it.lasts_s), Some(4.0 * 3_600.0));
    // What other generators are given says the same.
    let again = Scenario::read("smoke", &scenario.text, &[]).unwrap();
    let again = crowd(&again);
    assert_eq!((again.drivers, again.lasting), (7, Duration::from_millis(2_500)));
    assert!(matches!(set(&["fleet.drivers"]), Err(NoScenario::Set(_))));
    assert!(matches!(set(&["speed.of.light=1"]), Err(NoScenario::Set(_))));
    let mistake = |of: &[&str]| set(of).unwrap_err().to_string();
    let wheels = mistake(&["fleet.drivers=4", "fleet.wheels=4"]);
    assert!(wheels.starts_with("--set fleet.wheels=4: unknown field `wheels`"), "{wheels}");
    let share = mistake(&["mix.deliveries=2"]);
    assert_eq!(share, "--set mix.deliveries=2: mix.deliveries is 2; a share is 0 to 1");
}

#[test]
fn a_hand_plays_crowds_only() {
    let hand = Hand { n: 1, of: 3 };
    let smoke = Scenario::open("smoke", &[]).unwrap().hand(hand).unwrap();
    assert_eq!(crowd(&smoke).hand, hand);
    assert!(Scenario::open("million-sessions", &[]).unwrap().hand(hand).is_err());
}

#[test]
fn a_compressed_run_asks_as_often_for_a_shorter_while() {
    let of = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(|it| (*it).to_owned()).collect();
        Scenario::open("city-day", &set).unwrap()
    };
    let (whole, short) = (of(&[]), of(&["compress=4"]));
    let (whole, short) = (crowd(&whole), crowd(&short));
    assert_eq!((short.lasting, short.warm_up), (whole.lasting / 4, whole.warm_up / 4));
    assert_eq!((short.drain, short.speed), (whole.drain, whole.speed), "streets are as long");
    assert_eq!(short.habits.tunnel_s, whole.habits.tunnel_s);
    assert!((short.habits.drop_s * 4.0 - whole.habits.drop_s).abs() < 1e-6);
    let (Demand::Curve { curve: long, .. }, Demand::Curve { curve, .. }) =
        (&whole.demand, &short.demand)
    else {
        panic!("both are curves")
    };
    let city_s = |it: &Options| it.lasting.as_secs_f64() * it.speed;
    let noon = |it: &Options, curve: &Curve| curve.per_s(city_s(it) / 2.0);
    assert!((noon(whole, long) - noon(short, curve)).abs() < 1e-9);
    assert!((long.asked_by(city_s(whole)) / curve.asked_by(city_s(short)) - 4.0).abs() < 1e-6);
}

#[test]
fn what_is_replayed_begins_when_it_is_replayed_from() {
    let replay = "about = \"x\"\n[arrivals]\ncurve = \"replay\"\ntrips = \"x.csv\"\n";
    for text in
        [format!("{replay}from = \"07:30\""), format!("{replay}[city]\nstarts_at = \"07:30\"")]
    {
        let scenario = read(&text).unwrap();
        let options = crowd(&scenario);
        let Demand::File { window, .. } = &options.demand else { panic!() };
        assert_eq!(window.from, Some(TimeOfDay(27_000)));
        assert!((options.starts_at_s - 27_000.0).abs() < 1e-9);
        assert!(matches!(options.streets, Streets::None), "trips of another town");
    }
}
