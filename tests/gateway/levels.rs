//! How often what is promised is kept, asked over HTTP.

use crate::{
    client::Client,
    control::{done, hear_assigned, on_duty},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, position},
    why::until,
};
use protocol::{JobId, Principal};
use serde_json::{Value, json};

const PATH: &str = "/v1/analytics/service-levels";

fn level<'v>(answer: &'v Value, what: &str) -> &'v Value {
    let all = answer["levels"].as_array().unwrap();
    all.iter().find(|it| it["for"] == what).unwrap_or_else(|| panic!("no {what} in {answer}"))
}

#[tokio::test]
async fn a_brand_is_told_how_many_it_helped_in_time() {
    let node = Node::with(&[
        ("REGIONS__TICK_MS", "50"),
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__REPEAT_MS", "0"),
        ("PRESET__NAME", "supportcarr"),
    ]);
    let staff = Caller::new(&node, Principal::Dispatcher);
    let before = json_of(staff.get(PATH).await).await;
    let found = level(&before, "driver");
    assert_eq!((&found["preset"], &found["kind"]), (&json!("supportcarr"), &json!("rescue")));
    assert_eq!((&found["within_s"], &found["n_kept"]), (&json!(120), &json!(0)));
    assert_eq!(
        (&level(&before, "eta")["within_s"], &found["share_percent"]),
        (&json!(60), &Value::Null)
    );

    let mut near: Client = on_duty(&node, 1, 60.0).await;
    let stranded = Caller::new(&node, rider(7));
    let rescue = json!({ "issue": "flat_tyre", "at": ride()["stops"][0] });
    let response = stranded.post("/v1/rescues", &rescue).await;
    assert_eq!(response.status(), 201);
    let rescue = json_of(response).await["actor"].as_str().unwrap().to_owned();
    let assign = json!({ "assign": { "driver": driver(1).to_string(), "force": true, "reason": "it has cables" } });
    done(&staff, &format!("/v1/rescues/{rescue}/actions"), assign).await;
    hear_assigned(&mut near, JobId::Rescue(rescue.parse().unwrap())).await;
    near.say(&position(PICKUP.offset_m(50.0, 0.0))).await;
    let after = until(&staff, PATH, |it| level(it, "eta")["n_kept"] == 1).await;
    let found = level(&after, "driver");
    assert_eq!((&found["n_kept"], &found["n_missed"]), (&json!(1), &json!(0)));
    assert_eq!(found["share_percent"], json!(100.0));
    assert_refused(stranded.get(PATH).await, 403, "forbidden").await;
}
