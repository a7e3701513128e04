//! The node is killed again and again while a city depends on it, and nothing it said yes to is lost.
//!
//! Three witnesses: the crowd's own checker (every acknowledged command stays visible, no order has two
//! drivers, no driver two rides), merchants who repeat each order with its key until it is answered and
//! then count what they have, and the journal's history of every order.

use crate::node::{Node, rider};
use loadtest::{CancellationToken, Demand, Options, Streets, Target, token::DevelopmentKey};
use protocol::Principal;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

const N_KILLS: u32 = 20;
const N_KEEPERS: u64 = 8;
const SPEED: &str = "20";

#[expect(clippy::print_stdout, reason = "the figures of this test are worth reading")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_kills_under_load_lose_and_double_nothing() {
    let mut node = Node::with(&[
        ("JOURNAL__KIND", "sqlite"),
        ("SIMULATION__SPEED", SPEED),
        ("REGIONS__WARM_UP_MS", "500"),
        // Afterwards one dispatcher reads everything at once.
        ("GATEWAY__REQUESTS_PER_S", "100000"),
        ("GATEWAY__REQUESTS_BURST", "100000"),
    ]);
    let staff = node.token(Principal::Dispatcher);
    let keepers = (0..N_KEEPERS).map(|n| node.token(rider(1_000_000 + n))).collect::<Vec<_>>();
    let url = format!("ws://{}/v1/ws", node.address);
    let base = format!("http://{}", node.address);

    let stop = CancellationToken::new();
    let options = Options {
        drivers: 40,
        speed: SPEED.parse().unwrap(),
        lasting: Duration::from_secs(45),
        drain: Duration::from_secs(45),
        streets: Streets::Invented,
        demand: Demand::Invented { per_driver_hour: 3.0 },
        ..Options::default()
    };
    let target = Target::new(&url, DevelopmentKey::read(&node.key_file()).unwrap()).unwrap();
    let crowd = tokio::spawn(loadtest::run(options, target, stop, |_| {}));

    let enough = CancellationToken::new();
    let keeping = keepers
        .iter()
        .map(|token| tokio::spawn(keep_ordering(base.clone(), token.clone(), enough.clone())));
    let keeping = keeping.collect::<Vec<_>>();

    let mut dice = StdRng::seed_from_u64(7);
    for _ in 0..N_KILLS {
        tokio::time::sleep(Duration::from_millis(dice.random_range(300..2_500))).await;
        tokio::task::block_in_place(|| node.kill_and_restart());
    }
    enough.cancel();
    let mut kept = Vec::new();
    for keeper in keeping {
        kept.push(keeper.await.unwrap());
    }
    let report = crowd.await.unwrap().unwrap();
    println!("{report}");
    assert_eq!(report.violations, 0, "{:#?}", report.violation_details);
    assert!(report.reconnects > 0, "nobody noticed the kills");
    let all = report.all();
    assert!(all.completed > 0, "no job was completed between the kills");

    // Whoever was told that an order exists still has it, once.
    let http = Client::new();
    for (token, keys) in keepers.iter().zip(&kept) {
        let orders = list(&http, &format!("{base}/v1/orders"), token).await;
        let ids = orders.iter().map(|it| it["id"].as_str().unwrap()).collect::<BTreeSet<_>>();
        let told = keys.values().map(String::as_str).collect::<BTreeSet<_>>();
        assert_eq!(told.len(), keys.len(), "two keys made one order");
        assert_eq!(ids, told, "a rider has other orders than it was told of");
    }
    let n_kept: usize = kept.iter().map(HashMap::len).sum();
    println!("{n_kept} orders kept by {N_KEEPERS} riders through {N_KILLS} kills");
    assert!(n_kept > 0);

    // No order was ever given to a second driver before the first had lost it.
    let orders = list(&http, &format!("{base}/v1/orders"), &staff).await;
    assert!(orders.len() >= n_kept);
    for order in &orders {
        let id = order["id"].as_str().unwrap();
        let history = history(&http, &base, id, &staff).await;
        let mut has_driver = false;
        for (n, recorded) in history.iter().enumerate() {
            assert_eq!(recorded["version"], json!(n + 1), "{id} has a gap");
            match recorded["event"].as_str().unwrap() {
                "assigned" => {
                    assert!(!has_driver, "{id} has two drivers: {history:#?}");
                    has_driver = true;
                }
                "released" => has_driver = false,
                _ => {}
            }
        }
    }
}

/// Orders something every now and then, each with a key of its own, and repeats it until it is answered.
/// Returns what each key was told to have made.
async fn keep_ordering(
    base: String,
    token: String,
    enough: CancellationToken,
) -> HashMap<String, String> {
    let http = Client::new();
    let mut made = HashMap::new();
    while !enough.is_cancelled() {
        let key = format!("parcel-{}", made.len());
        let order = loop {
            let request = http.post(format!("{base}/v1/orders")).bearer_auth(&token);
            let answer = request.header("idempotency-key", &key).json(&parcel()).send().await;
            match answer {
                Ok(answer) if answer.status() == StatusCode::CREATED => {
                    // The body may be cut off by a kill; then nobody was told.
                    if let Ok(body) = answer.json::<Value>().await {
                        break body["actor"].as_str().unwrap().to_owned();
                    }
                }
                Ok(answer) => {
                    let is_passing = answer.status().is_server_error()
                        || answer.status() == StatusCode::TOO_MANY_REQUESTS;
                    assert!(is_passing, "{}", answer.text().await.unwrap_or_default());
                }
                Err(_down) => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        made.insert(key, order);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    made
}

/// A delivery far from the crowd, that nobody will come for.
fn parcel() -> Value {
    json!({ "kind": "delivery", "stops": [{ "at": { "lat": -2.60, "lon": 29.74 } }, { "at": { "lat": -2.61, "lon": 29.75 } }] })
}

/// All pages of a list.
async fn list(http: &Client, url: &str, token: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut before = String::new();
    loop {
        let page: Value = http
            .get(format!("{url}?limit=100{before}"))
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        items.extend(page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone());
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return items,
        }
    }
}

/// All events of an actor.
async fn history(http: &Client, base: &str, actor: &str, token: &str) -> Vec<Value> {
    let url = format!("{base}/v1/actors/{actor}/history?limit=500");
    http.get(url).bearer_auth(token).send().await.unwrap().json().await.unwrap()
}
