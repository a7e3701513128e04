use super::*;
use serde_json::json;

/// A cluster as `me` sees it.
fn seen(me: Option<u64>, nodes: &[(u64, &str)]) -> Cluster {
    let node = |(incarnation, standing): &(u64, &str)| {
        json!({
            "node": format!("node-{incarnation}"), "incarnation": incarnation, "standing": standing,
            "address": "http://10.0.0.5:7070", "zone": "", "weight": 1, "version": "0.1.0", "reads": 1,
            "hears": true, "age_ms": 1, "lease_left_ms": 1, "n_shards": 0,
        })
    };
    let cluster = json!({
        "me": me, "nodes": nodes.iter().map(node).collect::<Vec<_>>(), "shards": [], "moves": [],
        "pins": [], "n_orphans": 0, "n_waiting": 0, "writes": 1,
    });
    serde_json::from_value(cluster).unwrap()
}

#[test]
fn behind_a_load_balancer_another_node_says_that_one_has_left() {
    let has_left = |me, nodes: &[(u64, &str)]| is_gone_for_another(&seen(me, nodes), Some(1));
    assert!(!has_left(Some(2), &[(1, "draining"), (2, "up")]));
    assert!(has_left(Some(2), &[(1, "dead"), (2, "up")]));
    assert!(has_left(Some(2), &[(2, "up")]));
    // It is asked itself, or started anew where there is no cluster.
    assert!(!has_left(Some(1), &[(1, "dead"), (2, "up")]));
    assert!(!has_left(None, &[]));
}
