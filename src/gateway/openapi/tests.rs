use super::*;

#[test]
fn every_route_is_described() {
    let mut described: Vec<String> = document()
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| {
            let has = |name: &'static str, is: bool| is.then(|| format!("{name} {path}"));
            [
                has("GET", item.get.is_some()),
                has("POST", item.post.is_some()),
                has("PUT", item.put.is_some()),
                has("DELETE", item.delete.is_some()),
            ]
        })
        .flatten()
        .collect();
    described.sort();
    insta::assert_snapshot!(described.join("\n"), @r"
    DELETE /v1/rules/{id}
    DELETE /v1/run-templates/{id}
    DELETE /v1/sse/{session}
    GET /admin/cluster
    GET /admin/revocations
    GET /admin/sessions
    GET /admin/sessions/{id}/frames
    GET /health
    GET /health/live
    GET /health/ready
    GET /metrics
    GET /v1/actors/{id}
    GET /v1/actors/{id}/history
    GET /v1/actors/{id}/residence
    GET /v1/analytics/service-levels
    GET /v1/demand
    GET /v1/drivers
    GET /v1/drivers/{id}
    GET /v1/drivers/{id}/queue
    GET /v1/drivers/{id}/shifts
    GET /v1/drivers/{id}/why-no-offers
    GET /v1/events
    GET /v1/feed
    GET /v1/incidents
    GET /v1/incidents/{id}
    GET /v1/marks
    GET /v1/orders
    GET /v1/orders/{id}
    GET /v1/orders/{id}/match-trace
    GET /v1/orders/{id}/queue
    GET /v1/rescues
    GET /v1/rescues/{id}
    GET /v1/rescues/{id}/match-trace
    GET /v1/rescues/{id}/queue
    GET /v1/riders/{id}
    GET /v1/rules
    GET /v1/rules/{id}
    GET /v1/run-templates
    GET /v1/run-templates/{id}
    GET /v1/runs
    GET /v1/runs/{id}
    GET /v1/sse
    GET /v1/zones
    GET /v1/zones/at
    GET /v1/zones/{id}
    GET /v1/zones/{id}/surge
    POST /admin/cluster/pins
    POST /admin/cluster/rebalance
    POST /admin/drain
    POST /admin/drain/{node}
    POST /admin/revocations
    POST /v1/actors/{id}/release
    POST /v1/auth/logout
    POST /v1/cluster-deliveries
    POST /v1/drivers/{id}/actions
    POST /v1/incidents/{id}/actions
    POST /v1/orchestrations
    POST /v1/orchestrations/commit
    POST /v1/orders
    POST /v1/orders/{id}/actions
    POST /v1/quotes
    POST /v1/rescues
    POST /v1/rescues/{id}/actions
    POST /v1/riders/{id}/actions
    POST /v1/routes/plan
    POST /v1/rules
    POST /v1/rules/dry-run
    POST /v1/run-templates
    POST /v1/run-templates/{id}/actions
    POST /v1/runs
    POST /v1/runs/{id}/actions
    POST /v1/sos
    POST /v1/sse/{session}
    POST /v1/zones/{id}/actions
    PUT /v1/drivers/{id}/shifts
    PUT /v1/rules/{id}
    PUT /v1/run-templates/{id}
    ");
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
