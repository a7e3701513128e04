//! The gateway from outside: the real binary, real sockets, and clients that misbehave.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a client picks what it waits for")]

#[path = "gateway/abuse.rs"]
mod abuse;
#[path = "gateway/basemap.rs"]
mod basemap;
#[path = "gateway/claim.rs"]
mod claim;
#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/cluster.rs"]
mod cluster;
#[path = "gateway/control.rs"]
mod control;
#[path = "gateway/demand.rs"]
mod demand;
#[path = "gateway/eta.rs"]
mod eta;
#[path = "gateway/feed.rs"]
mod feed;
#[path = "gateway/grants.rs"]
mod grants;
#[path = "gateway/hub.rs"]
mod hub;
#[path = "gateway/incident.rs"]
mod incident;
#[path = "gateway/inspect.rs"]
mod inspect;
#[path = "gateway/journal.rs"]
mod journal;
#[path = "gateway/levels.rs"]
mod levels;
#[path = "gateway/limits.rs"]
mod limits;
#[path = "gateway/loading.rs"]
mod loading;
#[path = "gateway/marks.rs"]
mod marks;
#[path = "gateway/near.rs"]
mod near;
#[path = "gateway/node.rs"]
mod node;
#[path = "gateway/orchestrations.rs"]
mod orchestrations;
#[path = "gateway/plans.rs"]
mod plans;
#[path = "gateway/postgres.rs"]
mod postgres;
#[path = "gateway/presence.rs"]
mod presence;
#[path = "gateway/rest.rs"]
mod rest;
#[path = "gateway/resume.rs"]
mod resume;
#[path = "gateway/revoke.rs"]
mod revoke;
#[path = "gateway/ride.rs"]
mod ride;
#[path = "gateway/rules.rs"]
mod rules;
#[path = "gateway/runs.rs"]
mod runs;
#[path = "gateway/scope.rs"]
mod scope;
#[path = "gateway/session.rs"]
mod session;
#[path = "gateway/shifts.rs"]
mod shifts;
#[path = "gateway/stream.rs"]
mod stream;
#[path = "gateway/survival.rs"]
mod survival;
#[path = "gateway/templates.rs"]
mod templates;
#[path = "gateway/together.rs"]
mod together;
#[path = "gateway/upgrade.rs"]
mod upgrade;
#[path = "gateway/why.rs"]
mod why;
#[path = "gateway/zones.rs"]
mod zones;
