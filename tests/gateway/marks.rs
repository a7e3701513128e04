//! Finding somebody on the map, wherever they are, by what is known of them.

use crate::{
    control::on_duty,
    node::{Node, driver},
    rest::{Caller, assert_refused},
    why::until,
};
use protocol::Principal;
use serde_json::Value;
use std::time::Duration;

pub(crate) fn is_someone(found: &Value) -> bool {
    found.as_array().is_some_and(|all| !all.is_empty())
}

#[tokio::test]
async fn staff_find_who_is_on_the_map_by_a_part_of_an_id() {
    let node = Node::with(&[]);
    let _waiting = on_duty(&node, 1, 1_800.0).await;
    let staff = Caller::new(&node, Principal::Dispatcher);
    let id = driver(1).to_string();
    let path = format!("/v1/marks?text={}%20AVAILABLE", &id[id.len() - 7..]);
    let found = until(&staff, &path, is_someone).await;
    assert_eq!(found[0]["driver"]["id"], id.as_str(), "{found}");
    let nobody = format!("/v1/marks?text={}%20rescue", &id[id.len() - 7..]);
    assert_eq!(until(&staff, &nobody, Value::is_array).await.as_array().map(Vec::len), Some(0));

    assert_refused(Caller::new(&node, driver(1)).get(&path).await, 403, "forbidden").await;
    let many = "text=abc+b+c+d+e+f+g+h+i";
    let few = "text=ab+cd";
    for rubbish in
        ["text=ab", "text=", many, few, "limit=3", "text=abc&limit=51", "text=abc&sort=id"]
    {
        let path = format!("/v1/marks?{rubbish}");
        assert_refused(staff.get(&path).await, 422, "invalid").await;
    }
    // Each looks at everybody, so that all who search share what there may be of that.
    let too_many = async {
        loop {
            let answer = staff.get(&path).await;
            if !answer.status().is_success() {
                return answer;
            }
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(10), too_many).await.expect("in time");
    assert_refused(refused, 429, "busy").await;
}
