//! REST from outside: the same rules as on the socket, in HTTP's words.

use crate::{
    control::on_duty,
    node::{Node, driver, outrider, rider},
    ride::{PICKUP, hear_offer, new_ride},
};
use flate2::{Compression, write::GzEncoder};
use protocol::{OrderId, Principal};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use std::{fs::File, io::Write, path::Path};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) struct Caller<'a> {
    node: &'a Node,
    token: String,
    http: Client,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(node: &'a Node, principal: Principal) -> Self {
        Self::with(node, node.token(principal))
    }

    /// Whoever has this token.
    pub(crate) fn with(node: &'a Node, token: String) -> Self {
        Self { node, token, http: Client::new() }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let request = self.http.get(self.node.url(path)).bearer_auth(&self.token);
        request.send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self.http.post(self.node.url(path)).bearer_auth(&self.token);
        request.json(body).send().await.unwrap()
    }

    pub(crate) async fn post_as(&self, key: &str, path: &str, body: &Value) -> Response {
        let request = self.http.post(self.node.url(path)).bearer_auth(&self.token);
        request.header("idempotency-key", key).json(body).send().await.unwrap()
    }

    /// Does something to what has this version.
    pub(crate) async fn post_for(&self, path: &str, version: u64, body: &Value) -> Response {
        let request = self.http.post(self.node.url(path)).bearer_auth(&self.token);
        request.header("if-match", format!("\"{version}\"")).json(body).send().await.unwrap()
    }

    /// Changes what has this version.
    pub(crate) async fn put(&self, path: &str, version: u64, body: &Value) -> Response {
        let request = self.http.put(self.node.url(path)).bearer_auth(&self.token);
        request.header("if-match", format!("\"{version}\"")).json(body).send().await.unwrap()
    }

    /// Removes it.
    pub(crate) async fn delete(&self, path: &str, version: u64) -> Response {
        let request = self.http.delete(self.node.url(path)).bearer_auth(&self.token);
        request.header("if-match", format!("\"{version}\"")).send().await.unwrap()
    }

    pub(crate) async fn place(&self) -> String {
        let response = self.post("/v1/orders", &ride()).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        json_of(response).await["actor"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn json_of(response: Response) -> Value {
    response.json().await.unwrap()
}

pub(crate) async fn assert_refused(response: Response, status: u16, code: &str) {
    let got = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{body}");
}

pub(crate) fn ride() -> Value {
    serde_json::to_value(new_ride()).unwrap()
}

fn with(key: &str, value: Value) -> Value {
    let mut ride = ride();
    ride[key] = value;
    ride
}

#[tokio::test]
async fn an_order_is_placed_shown_listed_and_cancelled() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let response = me.post("/v1/orders", &ride()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let shown = json_of(me.get(&location).await).await;
    assert_eq!(shown["status"], "searching");
    let listed = json_of(me.get("/v1/orders").await).await;
    assert_eq!(listed["items"][0]["id"], shown["id"]);

    let actions = format!("{location}/actions");
    let response = me.post(&actions, &json!({ "cancel": { "reason": "rain" } })).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(json_of(me.get(&location).await).await["status"], "cancelled_by_rider");
    assert_refused(me.post(&actions, &json!({ "on_board": {} })).await, 409, "illegal_transition")
        .await;
}

#[tokio::test]
async fn a_refusal_lists_what_the_asker_may_do_instead() {
    let node = Node::start();
    let [me, staff] = [rider(1), Principal::Dispatcher].map(|by| Caller::new(&node, by));
    let actions = format!("/v1/orders/{}/actions", me.place().await);
    let allowed = async |caller: &Caller<'_>, path: &str, action: Value| {
        let refused = json_of(caller.post(path, &action).await).await;
        assert_eq!(refused["code"], "illegal_transition", "{refused}");
        serde_json::from_value::<Vec<String>>(refused["allowed"].clone()).unwrap()
    };
    let on_board = json!({ "on_board": {} });
    let mine = allowed(&me, &actions, on_board.clone()).await;
    assert_eq!(mine, ["confirm_offer", "reject_offer", "cancel", "cancel_safety"]);
    let theirs = allowed(&staff, &actions, on_board).await;
    assert!(theirs.contains(&"assign".to_owned()), "{theirs:?}");

    let rescue = json!({ "issue": "flat_tyre", "at": ride()["stops"][0] });
    let rescue = json_of(me.post("/v1/rescues", &rescue).await).await;
    let actions = format!("/v1/rescues/{}/actions", rescue["actor"].as_str().unwrap());
    let mine = allowed(&me, &actions, json!({ "confirm_fixed": { "fixed": true } })).await;
    assert!(mine.contains(&"cancel".to_owned()), "{mine:?}");
    assert!(!mine.iter().any(|name| name == "assign" || name == "fail"), "{mine:?}");

    let me = Caller::new(&node, driver(1));
    let actions = format!("/v1/drivers/{}/actions", driver(1));
    let vehicle = json!({ "kind": "moto", "capacity_g": 0, "skills": [] });
    for duty in [json!({ "duty": "on", "vehicle": vehicle }), json!({ "duty": "break" })] {
        let set = me.post(&actions, &json!({ "set_duty": duty })).await;
        assert_eq!(set.status(), StatusCode::OK);
    }
    let claim = json!({ "claim_job": { "job": { "rescue": rescue["actor"] } } });
    let mine = allowed(&me, &actions, claim).await;
    assert!(mine.contains(&"set_duty".to_owned()), "{mine:?}");
    assert!(!mine.iter().any(|name| name == "suspend" || name == "commit_job"), "{mine:?}");
}

#[tokio::test]
async fn a_repeat_with_the_same_key_returns_the_first_answer() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let uuid = protocol::CommandId::mint().0.to_string();
    for key in ["tuesday-evening", uuid.as_str()] {
        let first = json_of(me.post_as(key, "/v1/orders", &ride()).await).await;
        let again = json_of(me.post_as(key, "/v1/orders", &ride()).await).await;
        assert_eq!(first, again);
        let other = with("payment", json!("prepay"));
        assert_refused(me.post_as(key, "/v1/orders", &other).await, 422, "command_id_reused").await;
        let id = first["actor"].as_str().unwrap();
        let cancel = json!({ "cancel": {} });
        me.post(&format!("/v1/orders/{id}/actions"), &cancel).await;
    }
    assert_eq!(json_of(me.get("/v1/orders").await).await["items"].as_array().unwrap().len(), 2);
    let long = "k".repeat(65);
    assert_refused(me.post_as(&long, "/v1/orders", &ride()).await, 422, "invalid").await;
}

#[tokio::test]
async fn a_key_is_not_used_up_by_a_request_that_changed_nothing() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let nowhere = with("stops", json!([]));
    assert_refused(me.post_as("k", "/v1/orders", &nowhere).await, 422, "invalid").await;
    let placed = me.post_as("k", "/v1/orders", &ride()).await;
    assert_eq!(placed.status(), StatusCode::CREATED);
    assert_refused(me.post_as("k", "/v1/orders", &nowhere).await, 422, "command_id_reused").await;
    // A rider has one ride at a time; the key of the one that was not made is still free.
    assert_refused(me.post_as("l", "/v1/orders", &ride()).await, 409, "taken").await;
    let other = with("kind", json!("delivery"));
    assert_eq!(me.post_as("l", "/v1/orders", &other).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_key_used_for_something_else_is_noticed_after_a_restart() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite")]);
    let uuid = protocol::CommandId::mint().0.to_string();
    let keys = ["wednesday", uuid.as_str()];
    let mut placed = Vec::new();
    for (n, key) in (1..).zip(keys) {
        let me = Caller::new(&node, rider(n));
        placed.push(json_of(me.post_as(key, "/v1/orders", &ride()).await).await);
    }
    node.kill_and_restart();
    for (n, key) in (1..).zip(keys) {
        let me = Caller::new(&node, rider(n));
        let other = with("payment", json!("prepay"));
        assert_refused(me.post_as(key, "/v1/orders", &other).await, 422, "command_id_reused").await;
        let again = json_of(me.post_as(key, "/v1/orders", &ride()).await).await;
        assert_eq!(again, placed[n as usize - 1]);
    }
}

#[tokio::test]
async fn without_a_good_token_everything_is_the_same_401() {
    let node = Node::start();
    let http = Client::new();
    let mut bodies = Vec::new();
    for authorization in [None, Some("Bearer a.b.c"), Some("Bearer "), Some("Basic YTpi")] {
        for (method, path) in [
            (Method::GET, "/v1/orders"),
            (Method::POST, "/v1/orders"),
            (Method::GET, "/v1/actors/driver-1"),
            (Method::POST, "/v1/quotes"),
        ] {
            let mut request = http.request(method, node.url(path));
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{authorization:?} {path}");
            bodies.push(response.text().await.unwrap());
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_refused() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let stop = |lat: f64, lon: f64| json!({ "at": { "lat": lat, "lon": lon } });
    for (body, code) in [
        (with("stops", json!([stop(91.0, 0.0), stop(0.0, 0.0)])), "invalid"),
        (with("stops", json!([stop(0.0, 0.0)])), "invalid"),
        (with("stops", json!([stop(0.0, 0.0), stop(50.0, 50.0)])), "invalid"),
        (with("colour", json!("red")), "invalid"),
        (with("kind", json!("flight")), "invalid"),
        (with("quote", json!("a.b.c")), "quote_invalid"),
    ] {
        assert_refused(me.post("/v1/orders", &body).await, 422, code).await;
    }
    let request = me.http.post(node.url("/v1/orders")).bearer_auth(&me.token);
    let response =
        request.header("content-type", "application/json").body("{").send().await.unwrap();
    assert_refused(response, 400, "malformed").await;
    let huge = with("quote", json!("x".repeat(70_000)));
    assert_refused(me.post("/v1/orders", &huge).await, 413, "too_large").await;
}

#[tokio::test]
async fn every_error_is_said_in_the_same_words() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    for (path, status, code) in [
        ("/v1/orders/%FF", 404, "not_found"),
        ("/v1/orders/%FF?x=%FF", 404, "not_found"),
        ("/v1/rescues/%C0%80", 404, "not_found"),
        ("/v1/drivers/%FF", 404, "not_found"),
        ("/v1/riders/%FF", 404, "not_found"),
        ("/v1/orders/", 404, "not_found"),
        ("/v1/nothing/at/all", 404, "not_found"),
        ("/v1", 404, "not_found"),
        ("/%FF", 404, "not_found"),
        ("/v1/orders?limit=%FF", 422, "invalid"),
        ("/v1/orders?limit=x", 422, "invalid"),
        ("/v1/quotes", 405, "invalid"),
        ("/v1/ws", 400, "malformed"),
    ] {
        let response = me.get(path).await;
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(kind, "application/json", "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        assert_refused(response, status, code).await;
    }
    let staff = Caller::new(&node, Principal::Dispatcher);
    for path in ["/v1/actors/%FF", "/v1/actors/%FF/history"] {
        assert_refused(staff.get(path).await, 404, "not_found").await;
    }
    let order = me.place().await;
    for path in [format!("/v1/orders/{order}/actions"), "/v1/orders/%FF/actions".to_owned()] {
        let wrong = me.http.put(node.url(&path)).bearer_auth(&me.token).send().await.unwrap();
        assert_refused(wrong, 405, "invalid").await;
    }
    let form = me.http.post(node.url("/v1/orders")).bearer_auth(&me.token);
    let form = form.header("content-type", "text/plain").body("{}").send().await.unwrap();
    assert_refused(form, 400, "malformed").await;
}

#[tokio::test]
async fn a_promised_price_is_the_price() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let asked = json!({ "kind": "ride", "stops": ride()["stops"] });
    let quote = json_of(me.post("/v1/quotes", &asked).await).await;
    let placed = me.post("/v1/orders", &with("quote", quote["quote"].clone())).await;
    assert_eq!(placed.status(), StatusCode::CREATED);
    let id = json_of(placed).await["actor"].as_str().unwrap().to_owned();
    let shown = json_of(me.get(&format!("/v1/orders/{id}")).await).await;
    assert_eq!(shown["fare"], quote["fare"]);
}

/// A table of a city's streets.
fn packed(folder: &Path, name: &str, text: &str) {
    let file = File::create(folder.join(name)).unwrap();
    let mut packer = GzEncoder::new(file, Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap();
}

#[tokio::test]
async fn where_streets_are_known_a_price_is_of_the_way_along_them() {
    // A kilometre to the east and one to the north, in 125 s each; as the crow flies it would be 1,909 m in 286 s.
    let folder = tempfile::tempdir().unwrap();
    let ends = [(0.0, 0.0), (1_000.0, 0.0), (1_000.0, 1_000.0)];
    let ends = ends.map(|(east_m, north_m)| PICKUP.offset_m(east_m, north_m));
    let mut nodes = "node,lat,lon\n".to_owned();
    for (n, at) in ends.iter().enumerate() {
        nodes.push_str(&format!("{n},{},{}\n", at.lat, at.lon));
    }
    packed(folder.path(), "nodes.csv.gz", &nodes);
    let edges = "edge,from_node,to_node\n1,0,1\n2,1,0\n3,1,2\n4,2,1\n";
    packed(folder.path(), "edges.csv.gz", edges);
    let travel = "edge,h12\n1,125\n2,125\n3,125\n4,125\n";
    packed(folder.path(), "travel_s_weekday.csv.gz", travel);
    let stops = json!([{ "at": ends[0] }, { "at": ends[2] }]);
    let asked = json!({ "kind": "ride", "stops": stops });
    let quoted = async |settings: &[(&str, &str)]| {
        let node = Node::with(settings);
        let me = Caller::new(&node, rider(1));
        let quote = json_of(me.post("/v1/quotes", &asked).await).await;
        let order = with("stops", stops.clone());
        let placed = json_of(me.post("/v1/orders", &order).await).await;
        let path = format!("/v1/orders/{}", placed["actor"].as_str().unwrap());
        let shown = json_of(me.get(&path).await).await;
        assert_eq!(shown["fare"], quote["fare"], "also of an order without a quote");
        (quote["distance_m"].as_u64().unwrap(), quote["duration_s"].as_u64().unwrap())
    };
    let (crow_m, crow_s) = quoted(&[]).await;
    assert!(crow_m.abs_diff(1_909) <= 5 && crow_s.abs_diff(286) <= 2, "{crow_m} m {crow_s} s");
    let (way_m, way_s) = quoted(&[("ROADS__FOLDER", folder.path().to_str().unwrap())]).await;
    assert!(way_m.abs_diff(2_000) <= 5 && way_s.abs_diff(250) <= 2, "{way_m} m {way_s} s");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_told_to_come_again() {
    let node = Node::with(&[("GATEWAY__REQUEST_TIMEOUT", "200ms")]);
    let token = node.token(rider(1));
    let mut socket = TcpStream::connect(&node.address).await.unwrap();
    // The rest of it never comes.
    let begun = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        node.address
    );
    socket.write_all(begun.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains('}') {
        let mut bytes = [0; 1_024];
        let n = socket.read(&mut bytes).await.unwrap();
        assert_ne!(n, 0, "{answer}");
        answer.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
    }
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1") && answer.contains(r#""unavailable""#), "{answer}");
}

#[tokio::test]
async fn a_price_is_promised_only_for_when_an_order_can_be_placed() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let now = crate::client::now().0;
    for start_at in [0, now - 3_600_000, now + 61 * 86_400_000, u64::MAX] {
        let asked = json!({ "kind": "ride", "stops": ride()["stops"], "start_at": start_at });
        assert_refused(me.post("/v1/quotes", &asked).await, 422, "invalid").await;
    }
    let asked = json!({ "kind": "ride", "stops": ride()["stops"], "start_at": now + 3_600_000 });
    assert_eq!(me.post("/v1/quotes", &asked).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_ride_cannot_be_moved_to_when_none_can_be_placed() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let now = crate::client::now().0;
    let placed = me.post("/v1/orders", &with("start_at", json!(now + 7_200_000))).await;
    let location = placed.headers()["location"].to_str().unwrap().to_owned();
    let actions = format!("{location}/actions");
    let to = |start_at: u64| json!({ "reschedule": { "start_at": start_at } });
    for start_at in [0, now - 3_600_000, now + 61 * 86_400_000, u64::MAX] {
        assert_refused(me.post(&actions, &to(start_at)).await, 422, "invalid").await;
    }
    assert_eq!(me.post(&actions, &to(now + 10_800_000)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_driver_calls_help_for_itself_and_sees_it_come() {
    let node = Node::start();
    let me = Caller::new(&node, driver(1));
    let rescue = json!({ "issue": "flat_tyre", "at": ride()["stops"][0] });
    let response = me.post("/v1/rescues", &rescue).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let shown = json_of(me.get(&location).await).await;
    assert_eq!(shown["status"], "searching");
    assert_refused(Caller::new(&node, driver(2)).get(&location).await, 404, "not_found").await;
    let mut for_another = rescue.clone();
    for_another["rider"] = json!(protocol::RiderId::nth(2));
    assert_refused(me.post("/v1/rescues", &for_another).await, 403, "forbidden").await;
}

#[tokio::test]
async fn what_belongs_to_others_is_not_found() {
    let node = Node::start();
    let order = Caller::new(&node, rider(1)).place().await;
    let path = format!("/v1/orders/{order}");
    for stranger in [rider(2), driver(3)] {
        let stranger = Caller::new(&node, stranger);
        assert_refused(stranger.get(&path).await, 404, "not_found").await;
        let cancel = stranger.post(&format!("{path}/actions"), &json!({ "cancel": {} })).await;
        assert_refused(cancel, 404, "not_found").await;
        assert_eq!(json_of(stranger.get("/v1/orders").await).await["items"], json!([]));
        assert_refused(stranger.get(&format!("/v1/actors/{order}")).await, 403, "forbidden").await;
        let me = stranger.get(&format!("/v1/riders/{}", rider(1))).await;
        assert_refused(me, 404, "not_found").await;
    }
    let staff = Caller::new(&node, Principal::Dispatcher);
    assert_eq!(staff.get(&path).await.status(), StatusCode::OK);
    let history = json_of(staff.get(&format!("/v1/actors/{order}/history")).await).await;
    assert_eq!(history[0]["event"], "placed");
}

#[tokio::test]
async fn ids_that_name_nothing_are_not_found() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Admin);
    for id in [OrderId::nth(404).to_string(), "order-7".to_owned(), rider(1).to_string()] {
        assert_refused(staff.get(&format!("/v1/orders/{id}")).await, 404, "not_found").await;
    }
    for path in ["/v1/actors/planet-3", "/v1/nothing", "/v1/actors/order-1/history"] {
        assert_refused(staff.get(path).await, 404, "not_found").await;
    }
    let wrong_method = staff.post("/v1/openapi.json", &json!({})).await;
    assert_eq!(wrong_method.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn pages_of_a_list_follow_each_other() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    for n in 1..=5 {
        let rider = protocol::RiderId::nth(n);
        let response = staff.post("/v1/orders", &with("rider", json!(rider))).await;
        assert_eq!(response.status(), StatusCode::CREATED);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/orders?limit=2".to_owned());
    loop {
        let page = json_of(staff.get(&path).await).await;
        let ids = page["items"].as_array().unwrap().iter().map(|row| row["id"].to_string());
        seen.extend(ids);
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/orders?limit=2&before={next}"),
            None => break,
        }
    }
    let n_seen = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((n_seen, seen.len()), (5, 5));
    for bad in ["limit=0", "limit=101", "before=yesterday", "colour=red", "status=searching,lost"] {
        assert_refused(staff.get(&format!("/v1/orders?{bad}")).await, 422, "invalid").await;
    }
}

#[tokio::test]
async fn drivers_are_listed_by_what_they_mean_to_do_and_stay_so_through_offers() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    for stranger in [rider(1), driver(1)] {
        let stranger = Caller::new(&node, stranger);
        assert_refused(stranger.get("/v1/drivers").await, 403, "forbidden").await;
    }
    let admin = Caller::new(&node, Principal::Admin);
    for list in ["/v1/drivers", "/v1/rules", "/v1/run-templates", "/admin/revocations"] {
        let unknown = admin.get(&format!("{list}?status=available")).await;
        assert_refused(unknown, 422, "invalid").await;
    }

    let mut asked = on_duty(&node, 1, 0.0).await;
    let here = json_of(staff.get("/v1/drivers?status=on_duty,leaving").await).await;
    let [row] = here["items"].as_array().unwrap().as_slice() else { panic!("{here}") };
    assert_eq!((&row["id"], &row["status"]), (&json!(driver(1).to_string()), &json!("on_duty")));
    assert_eq!(
        row["body"],
        json!({ "vehicle": "moto", "blocked": null, "fleet": null, "rating": 500 })
    );
    assert!(row["at"].as_u64().unwrap() > 0, "{row}");
    Caller::new(&node, rider(2)).place().await;
    hear_offer(&mut asked).await;
    assert_eq!(json_of(staff.get("/v1/drivers").await).await, here, "though it was asked");

    let _banned = on_duty(&node, 3, 20.0).await;
    let suspend = json!({ "suspend": { "reason": "a test", "reassign": true } });
    let path = format!("/v1/drivers/{}/actions", driver(3));
    assert_eq!(staff.post(&path, &suspend).await.status(), StatusCode::OK);
    let ids = |page: &Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect()
    };
    let blocked = json_of(staff.get("/v1/drivers?status=blocked").await).await;
    assert_eq!(ids(&blocked), [json!(driver(3).to_string())]);
    assert_eq!(blocked["items"][0]["body"]["blocked"], "a test");
    let all = json_of(staff.get("/v1/drivers").await).await;
    assert_eq!(
        ids(&all),
        [driver(3), driver(1)].map(|it| json!(it.to_string())),
        "who came or went last is first"
    );
}

#[tokio::test]
async fn staff_are_told_what_an_actor_was() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let order = me.place().await;
    let staff = Caller::new(&node, Principal::Dispatcher);
    let cancelled = me
        .post(&format!("/v1/orders/{order}/actions"), &json!({"cancel": {"reason": "too late"}}))
        .await;
    assert_eq!(cancelled.status(), StatusCode::OK);

    let now = json_of(staff.get(&format!("/v1/actors/{order}")).await).await;
    let version = now["version"].as_u64().unwrap();
    assert!(version > 1, "{now}");
    let as_of =
        async |version: u64| staff.get(&format!("/v1/actors/{order}?version={version}")).await;
    let same = json_of(as_of(version).await).await;
    assert_eq!((&same["state"], &same["version"]), (&now["state"], &now["version"]));
    let first = json_of(as_of(1).await).await;
    assert_eq!((first["version"].as_u64(), &first["events"]), (Some(1), &json!(["placed"])));
    assert_ne!(first["state"], now["state"]);
    let there = json_of(staff.get(&format!("/v1/actors/{order}/residence")).await).await;
    assert_eq!(there["shard"], now["shard"]);
    assert_eq!((&there["waiting"], &there["quarantined"]), (&json!(0), &json!(false)), "{there}");
    for never in [0, version + 1] {
        assert_refused(as_of(never).await, 404, "not_found").await;
    }
    assert_refused(as_of(1_000_000).await, 413, "too_large").await;
    let path = format!("/v1/actors/{order}?version=1");
    assert_refused(me.get(&path).await, 403, "forbidden").await;
}

#[tokio::test]
async fn the_node_says_how_it_is() {
    let node = Node::start();
    let http = Client::new();
    for path in ["/health", "/health/live", "/health/ready"] {
        let response = http.get(node.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(json_of(response).await["status"], "ok");
    }
    Caller::new(&node, rider(1)).place().await;
    let metrics = http.get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("outrider_commands_total"), "{metrics}");
    let document = json_of(http.get(node.url("/v1/openapi.json")).send().await.unwrap()).await;
    assert!(document["paths"]["/v1/orders"]["post"].is_object());
}

#[tokio::test]
async fn every_node_has_the_console() {
    let node = Node::start();
    let http = Client::new();
    let at_the_door = http.get(node.url("/")).send().await.unwrap();
    assert_eq!(at_the_door.url().path(), "/console/");
    let page = http.get(node.url("/console")).send().await.unwrap();
    assert_eq!(page.url().path(), "/console/");
    assert!(
        page.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self'")
    );
    let next = page.headers()["link"].to_str().unwrap();
    assert!(next.starts_with("<basemap.json>; rel=preload"), "{next}");
    let text = page.text().await.unwrap();
    assert!(text.contains("console.js") && text.contains("<title>Outrider</title>"), "{text}");
    let script = || http.get(node.url("/console/console.js"));
    let whole = script().send().await.unwrap();
    assert!(whole.headers().get("content-encoding").is_none());
    let tag = whole.headers()["etag"].clone();
    let packed = script().header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let (whole, packed) = (whole.bytes().await.unwrap(), packed.bytes().await.unwrap());
    assert!(packed.len() * 2 < whole.len(), "{} of {}", packed.len(), whole.len());
    let known = script().header("if-none-match", tag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
}

#[test]
fn a_container_without_a_shell_asks_how_its_node_is() {
    let node = Node::start();
    let dir = tempfile::tempdir().unwrap();
    let ask = |listen: &str| {
        let mut command = outrider(dir.path());
        command.env("OUTRIDER_GATEWAY__LISTEN", listen).args(["check", "node"]);
        command.output().unwrap()
    };
    let (_, port) = node.address.rsplit_once(':').unwrap();
    for listen in [node.address.as_str(), &format!("0.0.0.0:{port}")] {
        let answer = ask(listen);
        assert!(answer.status.success(), "{answer:?}");
        assert!(String::from_utf8(answer.stdout).unwrap().contains("\"journal\":true"));
    }
    let address = node.address.clone();
    drop(node);
    assert!(!ask(&address).status.success());
}

#[tokio::test]
async fn a_hasty_caller_is_told_when_to_come_back() {
    let node = Node::with(&[("GATEWAY__REQUESTS_PER_S", "1"), ("GATEWAY__REQUESTS_BURST", "2")]);
    let me = Caller::new(&node, rider(1));
    for _ in 0..2 {
        assert_eq!(me.get("/v1/orders").await.status(), StatusCode::OK);
    }
    let refused = me.get("/v1/orders").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_refused(refused, 429, "rate_limited").await;
    assert_eq!(Caller::new(&node, rider(2)).get("/v1/orders").await.status(), StatusCode::OK);
}
