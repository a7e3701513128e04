//! The gateway from outside: the real binary, real sockets, and clients that misbehave.

#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/limits.rs"]
mod limits;
#[path = "gateway/node.rs"]
mod node;
#[path = "gateway/rest.rs"]
mod rest;
#[path = "gateway/ride.rs"]
mod ride;
#[path = "gateway/session.rs"]
mod session;
