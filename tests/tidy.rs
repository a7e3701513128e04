//! The architecture, as tests. If one fails, either the code or ARCHITECTURE.md is wrong.

use actors::{
    cluster::arbiter::Standing, driver, incident, order, rescue, revocation, rider, rule, run,
    runtime::Phase, search, template, zone,
};
use protocol::{
    DriverId, DutyStatus,
    template::DayOutcome,
    trace::{Fate, Parts, Verdict, Weighed, WhyNot},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use strum::{IntoEnumIterator, VariantNames};

/// Which of our crates `package` may name in its `[dependencies]`.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("matching", &["planning", "protocol"]),
    ("actors", &["matching", "protocol"]),
    ("planning", &[]),
    ("loadtest", &["matching", "outrider-client", "planning", "protocol"]),
    ("outrider-client", &["protocol"]),
    ("chaos", &["actors", "loadtest", "protocol"]),
    ("outrider", &["actors", "loadtest", "matching", "planning", "protocol"]),
];

/// Rules that are no `Decider` themselves; deciders are built of them, so the same holds for them.
const RULES: &[&str] = &[
    "actors/src/search.rs",
    "actors/src/prospect.rs",
    "actors/src/fare.rs",
    "actors/src/geofence.rs",
    "actors/src/board.rs",
    "matching/src",
    "planning/src",
];

/// What rules may not say: they get time, chance and answers as arguments, or not at all.
const NOT_IN_RULES: &[&str] =
    &["async", "await", "tokio", "ractor", "sqlx", "rand", "SystemTime", "Instant", "std::fs"];

/// The only places that speak SQL: what keeps the journals, and what breaks them.
const SPEAK_SQL: [&str; 2] = ["actors/src/journal", "chaos/src"];
const SQL: &[&str] = &[
    "SELECT ",
    "INSERT INTO ",
    "INSERT OR ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "CREATE INDEX ",
    "CREATE UNIQUE ",
    "PRAGMA ",
];

/// Events that go by another name: that of what is inside them, or of the status they lead to.
const NAMED_OTHERWISE: &[&str] = &["search", "fulfilment", "alerted", "cancelled", "ended"];

const UNBOUNDED: &[&str] = &["unbounded_channel", "mpsc::unbounded", "UnboundedSender", "flume::"];

#[test]
fn dependencies_point_one_way() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("cargo speaks JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert_eq!(packages.len(), MAY_DEPEND_ON.len(), "a new crate needs a line in MAY_DEPEND_ON");

    for package in packages {
        let name = package["name"].as_str().expect("name");
        let (_, allowed) =
            MAY_DEPEND_ON.iter().find(|(it, _)| *it == name).expect("listed in MAY_DEPEND_ON");
        let actual: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|it| it["kind"].is_null() && !it["path"].is_null())
            .filter_map(|it| it["name"].as_str())
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(actual.is_subset(&allowed), "{name} depends on {actual:?}, may use {allowed:?}");
    }
}

#[test]
fn protocol_brings_no_runtime() {
    let manifest = fs::read_to_string(root().join("protocol/Cargo.toml")).expect("readable");
    let dependencies = manifest.split("[dependencies]").nth(1).expect("a dependency table");
    let dependencies = dependencies.split("\n[").next().expect("a first part");
    for banned in ["tokio", "ractor", "axum", "sqlx"] {
        assert!(!dependencies.contains(banned), "protocol may not depend on {banned}");
    }
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    for file in sources().iter().filter(|it| !it.is_unit_tests()) {
        let header = file.text.lines().next().unwrap_or_default();
        assert!(header.starts_with("//! "), "{} has no //! line", file.path);
        assert!(header.len() > "//! ".len() + 10, "{} says too little: {header}", file.path);
    }
}

#[test]
fn rules_touch_nothing_but_data() {
    let sources = sources();
    let deciders: Vec<&Source> = sources
        .iter()
        .filter(|it| it.is_code() && it.text.contains("\nimpl Decider for "))
        .collect();
    assert!(deciders.len() >= 4, "order, rescue, driver and rider decide; found {deciders:?}");

    let homes: Vec<&str> =
        deciders.iter().map(|it| it.path.as_str()).chain(RULES.iter().copied()).collect();
    for file in sources.iter().filter(|it| it.is_code()) {
        let belongs = |home: &&&str| {
            let parts = format!("{}/", home.trim_end_matches(".rs"));
            file.path == **home || file.path.starts_with(&parts)
        };
        let Some(home) = homes.iter().find(belongs) else { continue };
        for banned in NOT_IN_RULES {
            for (line, code) in file.code() {
                let is_said = words(code).any(|word| word == *banned)
                    || (banned.contains("::") && code.contains(banned));
                assert!(
                    !is_said,
                    "{}:{line} may not say {banned}: it is rules ({home})",
                    file.path
                );
            }
        }
    }
}

#[test]
fn nobody_but_the_journals_speaks_sql() {
    let may = |file: &Source| SPEAK_SQL.iter().any(|it| file.path.starts_with(it));
    for file in sources().iter().filter(|it| it.is_code() && !may(it)) {
        for (line, code) in file.code() {
            // Words alone are English; a statement is a string.
            let is_sql = SQL.iter().any(|it| code.contains(&format!("\"{it}")))
                || words(code).any(|word| word == "sqlx");
            assert!(!is_sql, "{}:{line} speaks SQL: {code}", file.path);
        }
    }
}

#[test]
fn no_queue_is_unbounded() {
    for file in sources().iter().filter(|it| it.path != "tests/tidy.rs") {
        for (line, code) in file.code() {
            for word in UNBOUNDED {
                assert!(!code.contains(word), "{}:{line} has no bound: {code}", file.path);
            }
        }
    }
}

#[test]
fn modules_are_files_named_after_what_they_hold() {
    for file in sources() {
        assert!(!file.path.ends_with("/mod.rs"), "{}: name it after its module", file.path);
    }
}

#[test]
fn nothing_knows_the_machine_it_was_written_on() {
    // Pieced together, so that this file does not fail itself.
    let homes = ["work", "root", "home"].map(|dir| format!("/{dir}/"));
    let mut files = Vec::new();
    for dir in [
        "src",
        "protocol",
        "matching",
        "planning",
        "actors",
        "clients",
        "loadtest",
        "chaos",
        "tests",
        "console/src",
        "console/test",
        "config",
        "e2e",
        ".ci",
    ] {
        walk(&root().join(dir), &mut files);
    }
    files.extend(
        ["README.md", "ARCHITECTURE.md", "Cargo.toml", "test"].map(|file| root().join(file)),
    );
    let mut read = 0;
    for path in files {
        // What is not text (an archive of test trips) has no paths to leak.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        read += 1;
        for home in &homes {
            // The same word within a longer path is somebody's route or URL.
            let is_path = text.match_indices(home.as_str()).any(|(at, _)| {
                !text[..at].ends_with(|before: char| {
                    before.is_alphanumeric() || matches!(before, '.' | '-' | '_' | '}' | '/')
                })
            });
            assert!(!is_path, "{} contains the path {home}", path.display());
        }
    }
    assert!(read > 20, "too little was read to be believed: {read} files");
}

#[test]
fn the_console_asks_nobody_but_its_node() {
    let mut files = Vec::new();
    for dir in ["console/src", "console/dist"] {
        walk(&root().join(dir), &mut files);
    }
    // MapLibre, its worker and the reader of archives know addresses of their makers, and nobody asks there: what is asked when
    // streets are drawn is tested in a browser, whose policy forbids the rest. What of that file is ours is among the sources.
    files.retain(|it| {
        !it.ends_with("dist/basemap.js") && !it.ends_with("dist/maplibre-gl-worker.mjs")
    });
    files.push(root().join("console/index.html"));
    assert!(files.len() > 20, "the console has modules: {files:?}");
    for path in files {
        let text = fs::read_to_string(&path).expect("readable");
        let is_ours = !path.starts_with(root().join("console/dist"));
        // Preact knows a way to set markup, which nothing of ours takes.
        let banned: &[&str] = match is_ours {
            true => &["https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("],
            false => &["https://", "insertAdjacentHTML", "eval("],
        };
        for banned in banned {
            assert!(!text.contains(banned), "{} may not contain {banned}", path.display());
        }
        let known = ["http://www.w3.org/", "http://${"];
        let elsewhere = text
            .match_indices("http://")
            .find(|(at, _)| !known.iter().any(|known| text[*at..].starts_with(known)));
        assert_eq!(elsewhere, None, "{} names another host", path.display());
        if path.extension().is_some_and(|it| it == "html") {
            let has_inline =
                text.contains("<style") || text.contains(" style=") || text.contains(" onclick=");
            assert!(!has_inline, "{} has inline code, which its policy forbids", path.display());
        }
    }
}

/// What sessions are told is held by the compiler of TypeScript; this is what only REST, or a name alone, tells.
#[test]
fn the_console_has_a_word_for_all_that_is_named() {
    let catalogue =
        fs::read_to_string(root().join("console/src/words/en.ts")).expect("a catalogue");
    let has = |group: &str, name: &str| catalogue.contains(&format!("\"{group}.{name}\": "));

    let events: [&[&str]; 14] = [
        order::Event::VARIANTS,
        order::Alert::VARIANTS,
        order::fulfilment::Event::VARIANTS,
        search::Event::VARIANTS,
        rescue::Event::VARIANTS,
        driver::Event::VARIANTS,
        &["forced_offline"],
        rider::Event::VARIANTS,
        incident::Event::VARIANTS,
        zone::Event::VARIANTS,
        run::Event::VARIANTS,
        rule::Event::VARIANTS,
        template::Event::VARIANTS,
        revocation::Event::VARIANTS,
    ];
    for event in events.into_iter().flatten().filter(|it| !NAMED_OTHERWISE.contains(it)) {
        let is_said = has("event", event) || has("status", event);
        assert!(is_said, "the console has no word for the event {event}");
    }

    let of_staff = order::table::DISPATCHER | order::table::ADMIN;
    let rows = order::table::TABLE.iter().filter(|row| row.who & of_staff != 0);
    let commands: Vec<&str> = rows.map(|row| row.command).collect();
    let weighed = Weighed {
        driver: DriverId::nth(1),
        fate: Fate::Spare,
        distance_m: 1,
        cost_ms: 9,
        travel_ms: 1,
        busy_ms: 1,
        low_s: 1,
        high_s: 1,
        parts: Parts::from([1; Parts::COUNT]),
    };
    let weighed = serde_json::to_value(weighed).expect("plain data");
    let fields = weighed.as_object().expect("a map of its fields").keys();
    let parts: Vec<&str> =
        fields.filter_map(|it| it.strip_suffix("_ms")).filter(|it| *it != "cost").collect();
    let stands =
        [template::SET, template::DUE, template::PAUSED, template::OVER, template::REMOVED];
    let duties: Vec<&str> = DutyStatus::iter().map(Into::into).collect();
    let named: [(&str, &[&str]); 9] = [
        ("verdict", Verdict::VARIANTS),
        ("fate", Fate::VARIANTS),
        ("standing", Standing::VARIANTS),
        ("phase", Phase::VARIANTS),
        ("command", &commands),
        ("cost", &parts),
        ("stands", &stands),
        ("day", DayOutcome::VARIANTS),
        ("status", &duties),
    ];
    for (group, names) in named {
        for name in names {
            assert!(has(group, name), "the console has no word for the {group} {name}");
        }
    }
}

#[test]
fn the_console_lets_force_what_may_be_overruled() {
    let path = root().join("console/src/views/actions.tsx");
    let actions = fs::read_to_string(path).expect("readable");
    for why in WhyNot::iter() {
        let says = format!(" {why}: {},", why.may_be_overruled());
        assert!(actions.contains(&says), "actions.tsx does not say{says}");
    }
}

#[test]
fn the_binary_has_all_of_the_console() {
    let listed = fs::read_to_string(root().join("console/dist/files.rs")).expect("readable");
    let mut files = Vec::new();
    walk(&root().join("console/dist"), &mut files);
    files.retain(|it| !it.ends_with("files.rs"));
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(listed.contains(&format!("({name:?}, include_bytes!({name:?})")), "{name}");
    }
}

/// While nodes are replaced a browser may have one half of the console from a node of another build, where what the halves
/// export to each other is called otherwise. So whatever imports of the console is called by its content, and that node has it not.
#[test]
fn no_half_of_the_console_meets_one_of_another_build() {
    let listed = fs::read_to_string(root().join("console/dist/files.rs")).expect("readable");
    let mut files = Vec::new();
    walk(&root().join("console/dist"), &mut files);
    for path in files.iter().filter(|it| it.extension().is_some_and(|ending| ending == "js")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let script = fs::read_to_string(path).expect("readable");
        let is_lasting = listed.contains(&format!("include_bytes!({name:?}) as &[u8], true"));
        let imports = ['"', '\'', '`']
            .iter()
            .any(|quote| script.contains(&format!("{quote}./console.js{quote}")));
        assert!(is_lasting || !imports, "{name} imports what console.js exports");
    }
}

#[test]
fn the_documents_exist() {
    for (file, least) in [("README.md", 500), ("ARCHITECTURE.md", 2000)] {
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(text.len() >= least, "{file} is missing or says too little");
    }
}

/// One Rust file.
#[derive(Debug)]
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Does it hold unit tests only?
    fn is_unit_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Is it part of what runs, and not of what tests it?
    fn is_code(&self) -> bool {
        let is_apart = [
            "tests/",
            "actors/tests/",
            "actors/benches/",
            "matching/benches/",
            "benches/",
            "loadtest/tests/",
        ];
        !self.is_unit_tests() && !is_apart.iter().any(|dir| self.path.starts_with(dir))
    }

    /// Its lines with their numbers, without comments and without the tests at its end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|it: char| !it.is_alphanumeric() && it != '_')
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for dir in [
        "src",
        "protocol/src",
        "matching/src",
        "matching/benches",
        "planning/src",
        "actors/src",
        "clients/rust/src",
        "clients/rust/examples",
        "loadtest/src",
        "chaos/src",
        "tests",
        "actors/tests",
        "actors/benches",
        "loadtest/tests",
        "benches",
    ] {
        walk(&root().join(dir), &mut found);
    }
    found.retain(|path| path.extension().is_some_and(|it| it == "rs"));
    assert!(found.len() > 10, "the walk found too little to be believed: {found:?}");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable");
            let path = path.strip_prefix(root()).expect("below the root");
            Source { path: path.to_string_lossy().replace('\\', "/"), text }
        })
        .collect()
}

/// All files below `dir`, which need not exist.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("entry").path();
        let is_foreign = path.ends_with("node_modules") || path.ends_with("target");
        if path.is_dir() && !is_foreign {
            walk(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}
