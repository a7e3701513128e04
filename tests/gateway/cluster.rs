//! Several nodes behind several addresses: one platform for phones, and operators who can look.

use crate::{
    client::Client,
    control::on_duty,
    marks::is_someone,
    node::{Node, driver, outrider, rider},
    rest::{Caller, json_of},
    ride::{accept, go_on_duty, hear_offer, hear_status, place_ride, position},
    why::until,
};
use actors::{
    EntityKey, cluster::nats::testing::TestNats, journal::postgres::testing::TestDatabase,
};
use protocol::{
    CommandId, DriverId, OrderId, OrderStatus, Point, Principal,
    frame::{ClientFrame, Outcome, ServerFrame, Topic},
    work::{DriverAction, OrderAction, Wish},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tempfile::TempDir;

const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };

/// What nodes of one cluster share.
pub(crate) struct Shared {
    pub(crate) directory: TempDir,
    database: TestDatabase,
    nats: TestNats,
}

impl Shared {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let minted =
            outrider(directory.path()).args(["token", "--role", "admin"]).output().unwrap();
        assert!(minted.status.success(), "{minted:?}");
        let database = TestDatabase::start().await;
        Self { directory, database, nats: TestNats::start().await }
    }

    fn key_file(&self) -> PathBuf {
        self.directory.path().join("development-key.pem")
    }

    pub(crate) fn node(&self, name: &str) -> Node {
        self.node_with(name, &[])
    }

    pub(crate) fn node_with(&self, name: &str, more: &[(&str, &str)]) -> Node {
        let settings = self.settings(name);
        let settings = settings.iter().map(|(key, value)| (*key, value.as_str()));
        Node::with(&settings.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// What a node of that name is told.
    pub(crate) fn settings(&self, name: &str) -> [(&'static str, String); 9] {
        // Brokers may be shared with other tests.
        let cluster = self.directory.path().file_name().unwrap().to_string_lossy().into_owned();
        [
            ("JOURNAL__KIND", "postgres".to_owned()),
            ("JOURNAL__URL", self.database.url()),
            ("AUTH__KEY_FILE", self.key_file().to_string_lossy().into_owned()),
            ("CLUSTER__NATS", self.nats.settings().url),
            ("CLUSTER__NAME", cluster.replace('.', "")),
            ("CLUSTER__NODE", name.to_owned()),
            ("CLUSTER__SETTLE", "100ms".to_owned()),
            ("REGIONS__TICK_MS", "200".to_owned()),
            ("REGIONS__WARM_UP_MS", "0".to_owned()),
        ]
    }
}

/// The cluster as a node shows it to operators, once it is as wanted.
pub(crate) async fn seen(node: &Node, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let (http, token) = (reqwest::Client::new(), node.token(Principal::Admin));
    let seen = async {
        loop {
            let asked = http.get(node.url("/admin/cluster")).bearer_auth(&token).send().await;
            let cluster: Value = asked.unwrap().json().await.unwrap();
            if is_wanted(&cluster) {
                return cluster;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await.expect("in time")
}

/// So many nodes share everything about equally, and nothing moves.
pub(crate) fn is_shared_by(n: usize) -> impl Fn(&Value) -> bool {
    move |cluster| {
        let nodes = cluster["nodes"].as_array().unwrap();
        let counts: Vec<u64> = nodes.iter().map(|it| it["n_shards"].as_u64().unwrap()).collect();
        let fair = 1_024 / n as u64;
        nodes.len() == n
            && counts.iter().sum::<u64>() == 1_024
            && counts.iter().all(|it| it.abs_diff(fair) < fair / 3 + 1)
    }
}

/// The one of a cluster's nodes that is meant.
fn called(cluster: &Value, is_meant: impl Fn(&Value) -> bool) -> &Value {
    cluster["nodes"].as_array().unwrap().iter().find(|it| is_meant(it)).unwrap()
}

/// What `outrider cluster …` says when it asks a node, and whether it is content.
fn told(shared: &Shared, at: &Node, args: &[&str]) -> (bool, String) {
    let mut command = outrider(shared.directory.path());
    command.env("OUTRIDER_AUTH__KEY_FILE", shared.key_file());
    command.args(["cluster", "--at", &at.url("")]).args(args);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

/// Asks again when it is told to.
pub(crate) async fn insist(client: &mut Client, id: OrderId, action: OrderAction) {
    loop {
        match client.wish(Wish::Order { id, action: action.clone() }).await {
            Outcome::Ok(_) => return,
            Outcome::Refused(refused) => {
                let wait = refused.retry_after_ms.unwrap_or_else(|| panic!("{refused:?}"));
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ride_goes_on_while_nodes_come_leave_and_are_killed() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;

    let mut driver = Client::connect(&second, driver(1)).await;
    go_on_duty(&mut driver, PICKUP.offset_m(60.0, 0.0)).await;
    let mut rider = Client::connect(&first, rider(1)).await;
    let order = place_ride(&mut rider).await;
    let offer = hear_offer(&mut driver).await;
    accept(&mut driver, &offer).await;
    hear_status(&mut rider, OrderStatus::Assigned).await;

    // A third takes its share; nobody's socket notices.
    let third = shared.node("third");
    seen(&first, is_shared_by(3)).await;
    driver.say(&position(PICKUP)).await;
    // What was seen takes another way than what is asked, and may come later.
    insist(&mut driver, order, OrderAction::Arrive {}).await;
    hear_status(&mut rider, OrderStatus::AtPickup).await;

    // The driver's node leaves: it says so, ends well, and another one knows everything.
    second.terminate();
    let (_, closed) = driver.hear_out().await;
    assert_eq!(closed.code, 1012, "{closed:?}");
    assert!(second.wait().success());
    seen(&first, is_shared_by(2)).await;
    let mut driver = Client::connect(&third, crate::node::driver(1)).await;
    // Where a driver is is not kept in the journal: whoever has the order now is told anew.
    driver.say(&position(PICKUP)).await;
    insist(&mut driver, order, OrderAction::Start { code: None }).await;
    hear_status(&mut rider, OrderStatus::InProgress).await;

    // And one is killed.
    drop(third);
    let mut driver = Client::connect(&first, crate::node::driver(1)).await;
    let early = OrderAction::Finish { code: None, early_reason: Some("rider_asked".to_owned()) };
    driver.say(&position(PICKUP)).await;
    insist(&mut driver, order, early).await;
    hear_status(&mut rider, OrderStatus::Completed).await;
    let alone = seen(&first, is_shared_by(1)).await;
    assert_eq!(alone["n_orphans"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_without_weight_is_given_no_shard_and_serves_a_ride() {
    let shared = Shared::new().await;
    let owner = shared.node("owner");
    let gateway = shared.node_with("gateway", &[("CLUSTER__WEIGHT", "0")]);
    let is_up = |cluster: &Value| cluster["nodes"].as_array().unwrap().len() == 2;
    seen(&gateway, is_up).await;

    let mut driver = Client::connect(&gateway, driver(1)).await;
    go_on_duty(&mut driver, PICKUP.offset_m(60.0, 0.0)).await;
    let mut rider = Client::connect(&gateway, rider(1)).await;
    let order = place_ride(&mut rider).await;
    let offer = hear_offer(&mut driver).await;
    accept(&mut driver, &offer).await;
    hear_status(&mut rider, OrderStatus::Assigned).await;
    driver.say(&position(PICKUP)).await;
    insist(&mut driver, order, OrderAction::Arrive {}).await;
    hear_status(&mut rider, OrderStatus::AtPickup).await;

    let cluster = seen(&gateway, is_up).await;
    let nodes = cluster["nodes"].as_array().unwrap();
    let n_shards = |name: &str| {
        nodes.iter().find(|it| it["node"] == name).unwrap()["n_shards"].as_u64().unwrap()
    };
    assert_eq!((n_shards("owner"), n_shards("gateway")), (1_024, 0));

    // The owner leaves: there is nobody to take what it has, and it is not given to one who must not have it.
    owner.terminate();
    assert!(owner.wait().success());
    let left = seen(&gateway, |it| it["n_orphans"] == 1_024).await;
    assert!(
        left["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["n_shards"] == 0 || it["standing"] == "dead")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whom_another_node_has_is_found_though_nobody_looks_at_a_board() {
    /// Longer than it takes until a node asks again whether anybody still looks.
    const A_WHILE: Duration = Duration::from_secs(6);
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    let cluster = seen(&first, is_shared_by(2)).await;
    let shard = usize::from(EntityKey::from(DriverId::nth(1)).shard().0);
    let is_of_first = cluster["shards"][shard]["owner"] == cluster["me"];
    let (owner, other) = if is_of_first { (&first, &second) } else { (&second, &first) };
    let _waiting = on_duty(owner, 1, 1_800.0).await;
    let path = format!("/v1/marks?text={}", driver(1));
    until(&Caller::new(owner, Principal::Dispatcher), &path, is_someone).await;

    let staff = Caller::new(other, Principal::Dispatcher);
    for _ in 0..3 {
        let found = json_of(staff.get(&path).await).await;
        assert!(is_someone(&found), "{found}");
        tokio::time::sleep(A_WHILE / 2).await;
    }
    // Whoever opens a board there is told everything, too.
    let mut looking = Client::connect(other, Principal::Dispatcher).await;
    looking.subscribe(Topic::Board).await;
    let is_shown = |frame| match frame {
        ServerFrame::Board(board) if !board.marks.is_empty() => Some(()),
        _ => None,
    };
    tokio::time::timeout(A_WHILE, looking.hear_any(is_shown)).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_node_tells_what_all_of_them_have_to_do() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;
    let mut driver = Client::connect(&second, driver(1)).await;
    go_on_duty(&mut driver, PICKUP).await;
    let _rider = Client::connect(&first, rider(1)).await;
    let _other = Client::connect(&first, rider(2)).await;
    let _staff = Client::connect(&first, Principal::Dispatcher).await;

    let shard = usize::from(EntityKey::from(DriverId::nth(1)).shard().0);
    for node in [&first, &second] {
        // Its shard may have moved since, and each owner counts for itself.
        let action = DriverAction::SetDestination { to: Some(PICKUP) };
        let done = driver.wish(Wish::Driver { id: None, action }).await;
        assert!(matches!(done, Outcome::Ok(_)), "{done:?}");
        let cluster = seen(node, |it| {
            let shards = it["shards"].as_array().unwrap();
            let has_load = |it: &Value| it["n_awake"].is_u64() && it["n_commands"].is_u64();
            let owner = called(it, |node| node["incarnation"] == shards[shard]["owner"]);
            // Who is on duty may not sleep.
            let is_busy = shards[shard]["n_awake"] == 1 && shards[shard]["n_commands"] != 0;
            shards.iter().all(has_load) && is_busy && owner["commit_p99_ms"].is_f64()
        })
        .await;
        assert_eq!(cluster["sessions"], json!({ "dispatcher": 1, "driver": 1, "rider": 2 }));
        let sessions = |name| called(&cluster, |it| it["node"] == name)["sessions"].clone();
        assert_eq!(sessions("first"), json!({ "dispatcher": 1, "rider": 2 }));
        assert_eq!(sessions("second"), json!({ "driver": 1 }));
        assert_eq!(cluster["silent"], json!([]));
    }

    driver.leave().await;
    let is_counted_off = |it: &Value| it["sessions"] == json!({ "dispatcher": 1, "rider": 2 });
    seen(&first, is_counted_off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_node_is_let_go_by_its_name_by_admins_and_by_nobody_else() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;
    let http = reqwest::Client::new();
    let asked = async |name: &str, by: Principal| {
        let asked = http.post(first.url(&format!("/admin/drain/{name}")));
        asked.bearer_auth(first.token(by)).send().await.unwrap()
    };
    assert_eq!(asked("second", Principal::Dispatcher).await.status(), 403);
    assert_eq!(asked("second", rider(1)).await.status(), 403);
    let unknown = asked("third", Principal::Admin).await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.json::<Value>().await.unwrap()["code"], "not_found");
    let (is_ok, text) = told(&shared, &first, &["drain", "third"]);
    assert!(!is_ok && text.contains("no node of this cluster is called that"), "{text}");
    let untouched = seen(&first, is_shared_by(2)).await;
    assert!(untouched["nodes"].as_array().unwrap().iter().all(|it| it["standing"] == "up"));

    let (is_ok, text) = told(&shared, &first, &["drain", "second"]);
    assert!(is_ok && text.contains("second has left after"), "{text}");
    assert!(second.wait().success());
    seen(&first, is_shared_by(1)).await;
    // By its own name, too.
    let (is_ok, text) = told(&shared, &first, &["drain", "first"]);
    assert!(is_ok && text.contains("first has left after"), "{text}");
    assert!(first.wait().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operators_look_pin_rebalance_and_drain() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    let cluster = seen(&first, is_shared_by(2)).await;
    let told = |args: &[&str]| told(&shared, &first, args);

    let (is_ok, table) = told(&["status"]);
    assert!(is_ok && table.contains("first*") && table.contains("second"), "{table}");
    let (is_ok, json) = told(&["status", "--json"]);
    let same: Value = serde_json::from_str(&json).unwrap();
    assert!(is_ok && same["shards"].as_array().unwrap().len() == 1_024);

    // A shard of the first goes to the second, and comes back.
    let me = &cluster["me"];
    let shards = cluster["shards"].as_array().unwrap();
    let ours = shards.iter().find(|it| it["owner"] == *me).unwrap()["shard"].as_u64().unwrap();
    let owner = |cluster: &Value| cluster["shards"][ours as usize]["owner"].clone();
    assert!(told(&["pin", &ours.to_string(), "second"]).0);
    let pinned = seen(&first, |it| owner(it) != *me).await;
    assert_eq!(pinned["pins"][0]["node"], "second");
    let (is_ok, text) = told(&["rebalance"]);
    assert!(is_ok && text.contains("1 pin removed"), "{text}");
    seen(&first, |it| owner(it) == *me).await;

    // What makes no sense, and who may not.
    let (is_ok, text) = told(&["pin", &ours.to_string(), "nobody"]);
    assert!(!is_ok && text.contains("no node of this cluster is called that"), "{text}");
    assert!(!told(&["pin", "1024", "second"]).0);
    let http = reqwest::Client::new();
    let by_staff = http.post(second.url("/admin/drain"));
    let by_staff = by_staff.bearer_auth(second.token(Principal::Dispatcher)).send().await.unwrap();
    assert_eq!(by_staff.status(), 403);

    let (is_ok, text) = told(&["drain"]);
    assert!(is_ok && text.contains("it has left after"), "{text}");
    assert!(first.wait().success());
    seen(&second, is_shared_by(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_client_says_to_one_actor_is_done_in_that_order_while_its_shard_moves() {
    const AT_ONCE: usize = 16;
    let shared = Shared::new().await;
    let fast = [
        ("GATEWAY__SESSION__COMMANDS_PER_S", "100000"),
        ("GATEWAY__SESSION__COMMANDS_BURST", "100000"),
        ("GATEWAY__SESSION__FRAMES_PER_S", "100000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "100000"),
    ];
    let first = shared.node_with("first", &fast);
    let second = shared.node_with("second", &fast);
    seen(&first, is_shared_by(2)).await;
    let me = Principal::Driver(DriverId::nth(1));
    let shard = EntityKey::from(DriverId::nth(1)).shard().0;

    let mut driver = Client::connect(&second, me).await;
    go_on_duty(&mut driver, PICKUP).await;
    let has_moved = AtomicBool::new(false);
    let moving = async {
        let (http, token) = (reqwest::Client::new(), first.token(Principal::Admin));
        for name in ["first", "second"].into_iter().cycle().take(10) {
            let pin = http.post(first.url("/admin/cluster/pins")).bearer_auth(&token);
            let pinned = pin.json(&json!({ "shard": shard, "node": name })).send().await.unwrap();
            assert!(pinned.status().is_success(), "{pinned:?}");
            seen(&first, |cluster| {
                let owner = &cluster["shards"][usize::from(shard)]["owner"];
                let nodes = cluster["nodes"].as_array().unwrap();
                nodes.iter().any(|it| it["node"] == name && it["incarnation"] == *owner)
            })
            .await;
        }
        has_moved.store(true, Ordering::Release);
    };
    let speaking = async {
        let (mut n, mut last) = (0.0, 0);
        while !has_moved.load(Ordering::Acquire) {
            let mut said = Vec::new();
            for _ in 0..AT_ONCE {
                n += 1.0;
                let action = DriverAction::SetDestination { to: Some(PICKUP.offset_m(n, 0.0)) };
                let (id, wish) = (CommandId::mint(), Wish::Driver { id: None, action });
                driver.say(&ClientFrame::Command { id, wish }).await;
                said.push(id);
            }
            let mut versions = BTreeMap::new();
            while versions.len() < AT_ONCE {
                if let ServerFrame::Result { id, outcome } = driver.hear().await {
                    let Outcome::Ok(done) = outcome else { panic!("{outcome:?}") };
                    versions.insert(id, done.version);
                }
            }
            for id in said {
                assert!(versions[&id] > last, "{} overtook {last}", versions[&id]);
                last = versions[&id];
            }
        }
    };
    tokio::join!(moving, speaking);
}
