use super::*;

const BEFORE: &str = r#"
# TYPE outrider_ask_seconds histogram
outrider_ask_seconds_bucket{kind="order",le="0.005"} 10
outrider_ask_seconds_bucket{kind="order",le="0.05"} 10
outrider_ask_seconds_bucket{kind="order",le="+Inf"} 10
outrider_ask_seconds_sum{kind="order"} 0.02
outrider_ask_seconds_count{kind="order"} 10
outrider_commands_total{kind="order",outcome="done"} 10
outrider_build_info{version="0.1.0",revision="a, b"} 1
outrider_sessions 7
"#;

const AFTER: &str = r#"
outrider_ask_seconds_bucket{kind="order",le="0.005"} 60
outrider_ask_seconds_bucket{kind="order",le="0.05"} 100
outrider_ask_seconds_bucket{kind="order",le="+Inf"} 110
outrider_ask_seconds_sum{kind="order"} 1.02
outrider_ask_seconds_count{kind="order"} 110
outrider_ask_seconds_bucket{kind="driver",le="0.005"} 100
outrider_ask_seconds_bucket{kind="driver",le="0.05"} 100
outrider_ask_seconds_bucket{kind="driver",le="+Inf"} 100
outrider_ask_seconds_sum{kind="driver"} 0.1
outrider_ask_seconds_count{kind="driver"} 100
outrider_commands_total{kind="order",outcome="done"} 100
outrider_commands_total{kind="driver",outcome="done"} 90
outrider_commands_total{kind="driver",outcome="refused"} 20
outrider_busy_total{bound="node"} 3
outrider_sessions 9
"#;

#[test]
fn a_side_is_what_was_added_from_the_first_look_to_the_last() {
    let mut node = Node { name: "a".to_owned(), ..Node::default() };
    node.saw(Some(true), Some(Scrape::read(BEFORE)));
    node.saw(Some(true), Some(Scrape::read(AFTER)));
    let side = node.side();
    assert_eq!(side.version, "0.1.0");
    assert_eq!(side.busy, 3);
    assert_eq!(
        side.commands,
        BTreeMap::from([("done".to_owned(), 180), ("refused".to_owned(), 20)])
    );
    let ask = side.inside["command answered"];
    assert_eq!((ask.n, ask.p50, ask.p95, ask.p99), (200, 5.0, 50.0, 50.0));
    assert_eq!(ask.max, None, "ten took longer than all bounds");
    assert!((ask.mean - 5.5).abs() < 1e-9, "{ask:?}");
    assert_eq!(node.slot.map(|it| it.sessions), Some(9));
}

#[test]
fn what_a_node_does_in_the_warm_up_and_after_the_end_does_not_count() {
    let nodes = Nodes { seen: Arc::new(Mutex::new(vec![Node::default()])), _looking: None };
    let saw = |text| nodes.seen()[0].saw(Some(true), Some(Scrape::read(text)));
    let answered = || nodes.sides()[0].inside.get("command answered").map(|it| it.n);
    saw("outrider_ask_seconds_count 0");
    saw(BEFORE);
    assert_eq!(answered(), Some(10));
    nodes.begin_counting();
    assert_eq!(answered(), None);
    saw(AFTER);
    nodes.begin_counting();
    assert_eq!(answered(), Some(200), "it begins once");
    nodes.end_counting();
    saw("outrider_ask_seconds_count 900\noutrider_commands_total 900");
    assert_eq!(answered(), Some(200));
    assert_eq!(nodes.look().slots.len(), 1, "how it is can still be seen");
}

#[test]
fn the_longest_is_at_most_the_bound_of_its_bucket() {
    let scrape = Scrape::read(
        "a_bucket{le=\"0.5\"} 3\na_bucket{le=\"1\"} 5\na_bucket{le=\"5\"} 5\na_bucket{le=\"+Inf\"} 5\na_sum 2\na_count 5",
    );
    assert_eq!(scrape.times("a").inside().max, Some(1_000.0));
    assert_eq!(scrape.value("a_sum"), Some(2.0));
}

#[test]
fn a_node_that_begins_anew_is_told_and_counted_from_nothing() {
    let mut node = Node::default();
    node.saw(Some(true), Some(Scrape::read(AFTER)));
    node.saw(Some(true), Some(Scrape::read(BEFORE)));
    assert_eq!(node.news, ["began anew"]);
    assert_eq!((node.n_restarts, node.side().inside["command answered"].n), (1, 10));
}

#[test]
fn what_happens_to_a_node_is_told_once() {
    let up = NodeSlot { is_up: true, is_ready: true, sessions: 100, shards: 512, awake: 0 };
    let told = |before, after| news(Some(before), after, false);
    assert_eq!(told(up, up), Vec::<String>::new());
    assert_eq!(told(up, NodeSlot::default()), ["gone"]);
    assert_eq!(told(NodeSlot::default(), up), ["back"]);
    assert_eq!(told(up, NodeSlot { is_ready: false, ..up }), ["wants no more work"]);
    assert_eq!(told(up, NodeSlot { shards: 1_024, ..up }), ["owns 1024 shards, before 512"]);
    assert_eq!(told(up, NodeSlot { shards: 520, sessions: 90, ..up }), Vec::<String>::new());
    assert_eq!(told(up, NodeSlot { sessions: 40, ..up }), ["60 of 100 sessions gone"]);
    assert_eq!(news(None, NodeSlot::default(), false), ["does not answer"]);
}
