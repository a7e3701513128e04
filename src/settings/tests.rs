use super::*;
use protocol::work::{OfferPolicy, OrderKind};
use std::fs;

fn with(toml: &str) -> Result<Settings, SettingsError> {
    Settings::from_figment(&Figment::from(Toml::string(DEFAULT)).merge(Toml::string(toml)))
}

/// What a machine that strangers talk to would read, with what only its environment knows.
fn production(environment: &str) -> Result<Settings, SettingsError> {
    let file = include_str!("../../config/production.toml");
    let figment = Figment::from(Toml::string(DEFAULT)).merge(Toml::string(file));
    Settings::from_figment(&figment.merge(Toml::string(environment)))
}

#[test]
fn a_variable_with_one_underscore_too_few_is_not_passed_over() {
    let mistaken = |name: &str| mistaken([name.to_owned()].into_iter());
    assert_eq!(mistaken("OUTRIDER_GATEWAY_LISTEN"), Some("OUTRIDER_GATEWAY_LISTEN".to_owned()));
    for fine in
        ["OUTRIDER_GATEWAY__LISTEN", "OUTRIDER_CONFIG", "OUTRIDER_TEST_NATS", "GATEWAY_LISTEN"]
    {
        assert_eq!(mistaken(fine), None);
    }
}

#[test]
fn the_built_in_defaults_are_complete() {
    let settings = with("").unwrap();
    assert_eq!(settings.profile, Profile::Development);
    assert_eq!(settings.gateway.listen.port(), 7070);
}

#[test]
fn every_file_in_config_is_understood() {
    with(include_str!("../../config/local.toml")).unwrap();
    production("auth.key_file = \"key.pem\"\njournal.url = \"postgresql://here\"").unwrap();
    production("auth.key_file = \"key.pem\"\njournal.kind = \"sqlite\"").unwrap();
}

#[test]
fn what_keeps_the_journal_may_be_said_by_hand_before_anything_is_judged() {
    let file = Some(Path::new("config/production.toml"));
    let problem = |kind| Settings::read(file, kind).unwrap_err().to_string();
    assert!(problem(None).contains("journal.url"), "{}", problem(None));
    let by_hand = problem(Some(JournalKind::Sqlite));
    assert!(by_hand.contains("auth.key_file"), "all else is as it should be: {by_hand}");
}

#[test]
fn production_without_a_key_of_its_own_does_not_start() {
    let error = production("journal.url = \"postgresql://here\"").unwrap_err();
    assert!(error.to_string().contains("auth.key_file"), "{error}");
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let error = with("[gateway]\nlisen = \"127.0.0.1:1\"").unwrap_err();
    assert!(error.to_string().contains("lisen"), "{error}");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for bad in [
        "[gateway.session]\nheartbeat = \"1ms\"",
        "[gateway.session]\nframes_per_s = 0",
        "[gateway.session]\nqueue_max = 0",
        "[estimate]\ndetour = 0.5",
        "[gateway]\nplans_max = 0",
        "[gateway]\nplans_max = 65",
        "[gateway]\nlisten = \"nowhere\"",
        "[cluster]\nttl = \"1s\"",
        "[cluster]\nrenew = \"0s\"",
        "[cluster]\nhandovers_max = 0",
        "[map]\nstyle_url = \"maps.example.org/style.json\"",
        "[map]\nstyle_url = \"https://a;script-src *\"",
        "[map]\nstyle_url = \"https://maps.example.org/\"\narchive = \"city.pmtiles\"",
        "[map]\nstyle_origins = [\"https://tiles.example.org/\"]",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_cluster_needs_a_database_a_broker_and_names() {
    let member = |more: &str| {
        let journal = "[journal]\nkind = \"postgres\"\nurl = \"postgresql:///outrider\"";
        with(&format!("[auth]\nkey_file = \"key.pem\"\n{journal}\n[cluster]\n{more}"))
    };
    assert!(with("").unwrap().cluster.is_alone());
    let settings = member("nats = \"nats://me:secret@one:4222,two\"\nnode = \"pod-1\"").unwrap();
    assert!(!settings.cluster.is_alone());
    assert!(!format!("{settings:?}").contains("secret"));
    let keyless = settings.clone();
    let keyless =
        Settings { auth: AuthSettings { key_file: PathBuf::new(), ..keyless.auth }, ..keyless };
    assert!(keyless.check().is_err(), "each would sign with a key of its own");
    assert!(with("[cluster]\nnats = \"nats://one\"").is_err(), "SQLite is nobody else's");
    for bad in ["nats = \"http://one\"", "name = \"a.b\"", "name = \"\"", "node = \"a b\""] {
        let nats = if bad.starts_with("nats") { "" } else { "nats = \"nats://one\"\n" };
        assert!(member(&format!("{nats}{bad}")).is_err(), "{bad}");
    }
}

#[test]
fn browsers_are_sent_nowhere_without_a_style() {
    let origins = |more: &str| {
        let others = "style_origins = [\"https://tiles.example.org\"]";
        with(&format!("[map]\n{others}\n{more}")).unwrap().map.origins()
    };
    assert!(origins("").is_empty() && origins("archive = \"city.pmtiles\"").is_empty());
    let style = origins("style_url = \"https://maps.example.org/{theme}.json?key=1\"");
    assert_eq!(style, ["https://maps.example.org", "https://tiles.example.org"]);
}

#[test]
fn whoever_has_two_maps_is_told_where_the_other_one_may_be_from() {
    let both = with("[map]\nstyle_url = \"https://maps.example.org/\"\narchive = \"city.pmtiles\"");
    assert!(both.unwrap_err().to_string().contains("MAP_STYLE_URL"));
}

#[test]
fn where_the_key_is_does_not_show() {
    let settings = with("[auth]\nkey_file = \"very-secret-place.pem\"").unwrap();
    assert!(!format!("{settings:?}").contains("very-secret-place"));
}

#[test]
fn every_built_in_preset_is_read_and_carries_its_name() {
    for (name, _) in PRESETS {
        let preset = PresetSettings { name: name.to_owned(), file: PathBuf::new() }.read().unwrap();
        assert_eq!(preset.name, name);
    }
    let nebengjek = PresetSettings { name: "nebengjek".to_owned(), file: PathBuf::new() };
    assert_eq!(
        nebengjek.read().unwrap().order(OrderKind::Ride).policy.offer,
        OfferPolicy::TwoSided
    );
}

#[test]
fn a_preset_key_that_nothing_reads_is_an_error() {
    let text = PRESETS[0].1.replace("offer_ttl_ms", "offer_tll_ms");
    let error = read_preset("riderguy", Figment::from(Toml::string(&text))).unwrap_err();
    assert!(error.to_string().contains("policy.offer_tll_ms"), "{error}");
    // How long a job can be given back is the driver's policy, not the job's.
    let text = PRESETS[0].1.replace("[ride.policy]", "[ride.policy]\nreject_ms = 5000");
    let error = read_preset("riderguy", Figment::from(Toml::string(&text))).unwrap_err();
    assert!(error.to_string().contains("ride.policy.reject_ms"), "{error}");
    let text = PRESETS[0].1.replace("[driver]", "[driver]\nreject_ms = 5000");
    let preset = read_preset("riderguy", Figment::from(Toml::string(&text))).unwrap();
    assert_eq!(preset.driver.reject_ms, 5_000);
}

#[test]
fn how_far_away_a_driver_may_be_makes_sense_wherever_a_preset_says_it() {
    let text = PRESETS[0].1;
    let read = |text: &str| read_preset("own", Figment::from(Toml::string(text)));
    let place = "\n[[places]]\nname = \"airport\"\nlat = -1.97\nlon = 30.14\nradius_m = 1000\n";
    let with_place = |tiers: &str| format!("{text}{place}tiers_m = {tiers}\n");
    for tiers in ["[0, 1000, 2000]", "[3000, 2000, 4000]", "[3000, 5000, 100001]"] {
        let ride = text.replacen("tiers_m = [3000, 5000, 10000]", &format!("tiers_m = {tiers}"), 1);
        let error = read(&ride).unwrap_err().to_string();
        assert!(error.contains("preset own: ride.policy.tiers_m: each"), "{tiers}: {error}");
        let error = read(&with_place(tiers)).unwrap_err().to_string();
        assert!(error.contains("places.airport.tiers_m"), "{tiers}: {error}");
    }
    // Who wants fewer tiers says one twice.
    assert!(read(&with_place("[3000, 100000, 100000]")).is_ok());
}

#[test]
fn where_shifts_are_demanded_there_is_time_to_come_to_them() {
    let text = PRESETS[0].1;
    let read = |shifts: &str, grace_s: u16| {
        let text = text.replace("shifts = \"off\"", &format!("shifts = \"{shifts}\""));
        let grace = format!("shift_grace_s = {grace_s}");
        let text = text.replace("shift_grace_s = 900", &grace);
        read_preset("own", Figment::from(Toml::string(&text))).map_err(|error| error.to_string())
    };
    let error = read("demanded", 59).unwrap_err();
    assert!(error.contains("preset own: driver.shift_grace_s: 60 at least"), "{error}");
    assert!(read("demanded", 60).is_ok() && read("off", 0).is_ok());
}

#[test]
fn a_driver_is_told_before_it_must_rest_and_what_counts_is_no_less_than_it_may_work() {
    for (name, text) in PRESETS {
        let read = |limit: &str, ms: u32| {
            let nth = text.find(&format!("\n{limit} = ")).unwrap() + 1;
            let (before, after) = text.split_at(nth);
            let rest = after.split_once('\n').unwrap().1;
            let text = format!("{before}{limit} = {ms}\n{rest}");
            read_preset("own", Figment::from(Toml::string(&text)))
                .map_err(|error| error.to_string())
        };
        let hour = 3_600_000;
        let (told, max) = ("duty_told_ms", "duty_max_ms");
        for (limit, ms, key) in [
            (told, 12 * hour, told),
            (max, 10 * hour, told),
            (max, 0, max),
            ("duty_within_ms", 12 * hour - 1, "duty_within_ms"),
            ("rest_ms", 25 * hour, "duty_within_ms"),
        ] {
            let error = read(limit, ms).unwrap_err();
            assert!(error.contains(&format!("preset own: driver.{key}: ")), "{name}: {error}");
        }
        assert!(read(told, 0).is_ok() && read("duty_within_ms", 0).is_ok(), "{name}");
    }
}

#[test]
fn between_what_multipliers_lie_is_the_brands_choice_and_the_nodes_where_it_makes_none() {
    let bounds = |name: &str, node: &str| {
        let surge = with(&format!("[preset]\nname = \"{name}\"\n{node}")).unwrap().regions();
        surge.map(|it| (it.surge.percent_min, it.surge.percent_max))
    };
    assert_eq!(bounds("supportcarr", "").unwrap(), (100, 300));
    let node = "[regions.surge]\npercent_max = 150";
    assert_eq!(bounds("supportcarr", node).unwrap(), (100, 300));
    assert_eq!(bounds("reskflow", node).unwrap(), (100, 150));
    assert_eq!(bounds("reskflow", "").unwrap(), (100, 180));
    let error = with("[regions.surge]\npercent_max = 90").unwrap_err();
    assert!(error.to_string().contains("regions.surge"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("own.toml");
    fs::write(&file, PRESETS[0].1.replace("percent_max = 180", "percent_max = 90")).unwrap();
    let own = with(&format!("[preset]\nfile = {file:?}")).unwrap();
    let error = own.regions().unwrap_err().to_string();
    assert!(error.contains("preset riderguy: surge"), "{error}");
    let text = PRESETS[0].1.replace("[surge]", "[surge]\npercent_most = 2");
    let error = read_preset("riderguy", Figment::from(Toml::string(&text))).unwrap_err();
    assert!(error.to_string().contains("percent_most"), "{error}");
}

#[test]
fn an_unknown_preset_is_told_which_there_are() {
    let error =
        PresetSettings { name: "uber".to_owned(), file: PathBuf::new() }.read().unwrap_err();
    assert!(error.to_string().contains("safeboda"), "{error}");
}

#[test]
fn the_area_is_everywhere_unless_it_is_somewhere() {
    let kigali = Point { lat: -1.9441, lon: 30.0619 };
    let nairobi = Point { lat: -1.2921, lon: 36.8219 };
    assert!(Area::default().serves(nairobi));

    let area = with("[area]\ncircles = [{ lat = -1.94, lon = 30.06, radius_km = 40.0 }]").unwrap();
    assert!(area.area.serves(kigali) && !area.area.serves(nairobi));

    let area = with("[area]\nboxes = [{ south = -2.0, west = 36.0, north = -1.0, east = 37.0 }]");
    let area = area.unwrap().area;
    assert!(area.serves(nairobi) && !area.serves(kigali));
}

#[test]
fn the_file_of_defaults_names_every_key() {
    let written: serde_json::Value = Figment::from(Toml::string(DEFAULT)).extract().unwrap();
    let mut all = serde_json::to_value(with("").unwrap()).unwrap();
    // What nobody has chosen has no value to be written.
    all["simulation"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    assert_eq!(unknown_key(&all, &written), None, "is not in config/default.toml");
}

/// The first key that is written and not understood.
fn unknown_key(written: &serde_json::Value, understood: &serde_json::Value) -> Option<String> {
    let (written, understood) = (written.as_object()?, understood.as_object()?);
    written.iter().find_map(|(key, value)| match understood.get(key) {
        None => Some(key.clone()),
        Some(known) => unknown_key(value, known).map(|deeper| format!("{key}.{deeper}")),
    })
}
