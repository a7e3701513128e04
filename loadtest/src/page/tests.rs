use super::*;
use crate::record::{Seen, Watched, tests::a_run};

#[test]
fn a_page_is_one_file_and_asks_nobody() {
    let page = page(&a_run());
    assert!(page.starts_with("<!doctype html>"));
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for banned in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!elsewhere.contains(banned), "{banned}");
    }
    for shown in
        ["Over time", "Waiting", "Sessions", "How rare is how long", "place.p99 &lt; 500ms"]
    {
        assert!(page.contains(shown), "{shown}");
    }
}

#[test]
fn nothing_that_was_read_becomes_markup() {
    let evil = "<script>alert(\"1\")</script>'";
    let mut run = a_run();
    run.scenario = evil.to_owned();
    run.about = evil.to_owned();
    run.beside = Some(evil.to_owned());
    run.events.push(Seen { after_s: 3.0, who: evil.to_owned(), what: evil.to_owned() });
    run.generator.saturated.push(evil.to_owned());
    let page = page(&run);
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert(&quot;1&quot;)"));
    assert_eq!(page.matches("<script").count(), 1);
}

#[test]
fn what_was_interrupted_and_what_was_watched_is_said() {
    let watched = Watched { n: 1, cores: 0.4, bytes_max: 7_000_000, ..Watched::default() };
    let set = vec!["fleet.drivers=7".to_owned()];
    let run = Record { is_interrupted: true, watched: Some(watched), set, ..a_run() };
    let page = page(&run);
    for shown in [
        "--set &#39;fleet.drivers=7&#39; --set &#39;seed=0&#39;",
        "with <code>fleet.drivers=7</code>",
        "Interrupted</span>",
        "Watched processes",
        "0.40 processors in the mean",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
}

#[test]
fn an_empty_run_has_a_page_too() {
    let page = page(&Record::default());
    assert!(page.contains("No promise broken") && !page.contains("NaN"));
}

#[test]
fn numbers_are_as_people_read_them() {
    let said = [0.0, 0.126, 3.0, 12.34, 123.4, 1_234.5, 1_000_000.0].map(number);
    assert_eq!(said, ["0", "0.13", "3", "12.3", "123", "1\u{202f}234", "1\u{202f}000\u{202f}000"]);
    assert_eq!((clock(65.4), clock(3_725.0)), ("1:05".to_owned(), "1:02:05".to_owned()));
    assert_eq!(moment(0), "1970-01-01 00:00 UTC");
}

#[test]
fn a_badge_says_why_nobody_can_tell() {
    let mut run = a_run();
    run.audit.unread = 1;
    assert!(page(&run).contains("Not all could be read</span>"));
    run.verdicts.clear();
    run.generator.saturated.push("it ran late".to_owned());
    assert!(page(&run).contains("badge fair\">Generator saturated</span>"));
}

#[test]
fn long_waits_are_said_in_seconds() {
    let mut run = a_run();
    let took = run.took.get_mut(&Op::Place).unwrap();
    (0..2_400).for_each(|_| took.corrected.record(std::time::Duration::from_secs(14)));
    let page = page(&run);
    assert!(page.contains("<small> s</small>"), "a tile");
    assert!(page.contains(">1\u{202f}000 ms</text>") && page.contains(">100 s</text>"), "an axis");
    assert!(!page.contains(">10\u{202f}000 ms</text>"));
}

#[test]
fn a_slots_quantile_is_that_of_its_counts() {
    let counts = [(1_000, 98), (5_000, 1), (9_000, 1)];
    assert_eq!(at(&counts, 0.5), Some(1.0));
    assert_eq!(at(&counts, 0.99), Some(5.0));
    assert_eq!(at(&counts, 1.0), Some(9.0));
    assert_eq!(at(&[], 0.5), None);
}
