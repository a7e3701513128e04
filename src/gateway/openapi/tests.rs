use super::*;

#[test]
fn every_route_is_described() {
    let mut described: Vec<String> = document()
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| {
            let has = |name: &'static str, is: bool| is.then(|| format!("{name} {path}"));
            [has("GET", item.get.is_some()), has("POST", item.post.is_some())]
        })
        .flatten()
        .collect();
    described.sort();
    insta::assert_snapshot!(described.join("\n"), @"");
}

#[test]
fn every_operation_says_how_it_is_refused() {
    let document = serde_json::to_value(document()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_public = !path.starts_with("/v1/");
            let says_401 = operation["responses"].get("401").is_some();
            assert!(is_public || says_401, "{method} {path}");
        }
    }
}
