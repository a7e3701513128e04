//! The REST routes and their description, which are one and the same list.

use super::{
    Gate, cluster, demand, events, feed, health, incidents, inspect, levels, marks, no_such_method,
    orchestrations, plans, residence, rest, revocations, rules, runs, shifts, stream, templates,
    together, why, zones,
};
use axum::{Router, extract::DefaultBodyLimit};
use protocol::{Refused, view, work};
use std::sync::Arc;
use tower_http::cors::CorsLayer;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

/// What is said about the API as a whole.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Outrider",
        description = "Realtime dispatch. The same commands as on the WebSocket (`GET /v1/ws`), one \
                       request each. Give `Idempotency-Key` to repeat a request safely.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(
        Refused,
        work::Wish,
        view::OrderView,
        view::RescueView,
        view::DriverView,
        view::RiderView,
        view::IncidentView
    )),
    modifiers(&BearerToken)
)]
struct Api;

#[derive(Debug)]
struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", scheme);
    }
}

/// Every REST route, and the document that describes them. Pages of other origins may open streams as `cross` says.
pub(super) fn routes(cross: CorsLayer) -> (Router<Arc<Gate>>, openapi::OpenApi) {
    // Asking first is a method of its own, which a fallback of all routes would answer before `cross` sees it.
    let crossed = |(schemas, paths, methods): UtoipaMethodRouter<Arc<Gate>>| {
        (schemas, paths, methods.fallback(no_such_method).layer(cross.clone()))
    };
    // What names hundreds of places is longer than what wishes one thing.
    let roomy = |(schemas, paths, methods): UtoipaMethodRouter<Arc<Gate>>| {
        let limit = DefaultBodyLimit::max(plans::BODY_BYTES_MAX);
        (schemas, paths, methods.fallback(no_such_method).layer(limit))
    };
    let (router, document) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(rest::quote))
        .routes(routes!(rest::place_order, rest::list_orders))
        .routes(routes!(rest::show_order))
        .routes(routes!(rest::act_on_order))
        .routes(routes!(why::trace_order))
        .routes(routes!(demand::queue_of_order))
        .routes(routes!(rest::request_rescue, rest::list_rescues))
        .routes(routes!(rest::show_rescue))
        .routes(routes!(rest::act_on_rescue))
        .routes(routes!(why::trace_rescue))
        .routes(routes!(demand::queue_of_rescue))
        .routes(routes!(rest::list_drivers))
        .routes(routes!(rest::show_driver))
        .routes(routes!(rest::act_on_driver))
        .routes(routes!(why::why_no_offers))
        .routes(routes!(shifts::show_shifts, shifts::set_shifts))
        .routes(routes!(demand::queue_of_driver))
        .routes(routes!(feed::jobs_in_feed))
        .routes(routes!(rest::show_rider))
        .routes(routes!(rest::act_on_rider))
        .routes(routes!(zones::list_zones))
        .routes(routes!(zones::zones_at))
        .routes(routes!(zones::show_zone))
        .routes(routes!(zones::surge_of_zone))
        .routes(routes!(demand::around))
        .routes(routes!(levels::service_levels))
        .routes(routes!(zones::act_on_zone))
        .routes(routes!(rules::make_rule, rules::list_rules))
        .routes(routes!(rules::show_rule, rules::change_rule, rules::remove_rule))
        .routes(routes!(rules::try_rule))
        .routes(routes!(runs::list_runs, together::make_runs))
        .routes(routes!(templates::make_template, templates::list_templates))
        .routes(routes!(
            templates::show_template,
            templates::change_template,
            templates::remove_template
        ))
        .routes(routes!(templates::act_on_template))
        .routes(routes!(together::cluster_deliveries))
        .routes(routes!(orchestrations::orchestrate))
        .routes(routes!(orchestrations::commit))
        .routes(routes!(runs::show_run))
        .routes(routes!(runs::act_on_run))
        .routes(roomy(routes!(plans::plan_routes)))
        .routes(routes!(incidents::raise_sos))
        .routes(routes!(incidents::list_incidents))
        .routes(routes!(incidents::show_incident))
        .routes(routes!(incidents::act_on_incident))
        .routes(routes!(marks::find_marks))
        .routes(routes!(rest::show_actor))
        .routes(routes!(rest::actor_history))
        .routes(routes!(residence::residence))
        .routes(routes!(rest::release_actor))
        .routes(crossed(routes!(stream::open)))
        .routes(crossed(routes!(stream::post, stream::leave)))
        .routes(routes!(events::events))
        .routes(routes!(cluster::show))
        .routes(routes!(cluster::pin))
        .routes(routes!(cluster::rebalance))
        .routes(routes!(cluster::drain))
        .routes(routes!(cluster::drain_node))
        .routes(routes!(revocations::revoke, revocations::list))
        .routes(routes!(revocations::log_out))
        .routes(routes!(inspect::sessions))
        .routes(routes!(inspect::frames))
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .split_for_parts();
    let described = document.clone();
    let router = router
        .route("/v1/openapi.json", axum::routing::get(|| async move { axum::Json(described) }));
    (router, document)
}

/// The OpenAPI document.
pub(crate) fn document() -> openapi::OpenApi {
    routes(CorsLayer::new()).1
}

#[cfg(test)]
mod tests;
