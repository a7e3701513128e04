//! A crowd: simulated riders and drivers. Knows the protocol and nothing else of a node.
//!
//! ```text
//! city ──► streets, and how they look     trips ──► who wants to go where, and when
//!    └───────────────► crowd ◄───────────────┘
//!                        │ one WebSocket each
//!                      a node
//!                        │ every frame
//!            checker (promises)   report (counts, times)
//!
//!  trips, roads ──► match_sim ──► what policies of matching are worth, without any node
//! ```
//!
//! Beside it, without a node, what plans batches and routes is measured on published instances: [`mdrp`] (meals of a
//! day, as they are ordered) and [`pdptw`] (routes known in advance).
//!
//! `connect` is another crowd: as many sessions as a machine holds, which do little more than to be there.

pub mod checker;
pub mod city;
mod clock;
pub mod connect;
mod cpu;
mod crowd;
pub mod match_sim;
pub mod mdrp;
pub mod pdptw;
pub mod report;
mod table;
pub mod token;
pub mod trips;

pub use city::City;
pub use crowd::{
    Demand, Habits, NoTarget, NoToken, Options, PrepareError, Streets, Target, TokenSource, run,
};
pub use report::{Progress, Report};
pub use table::TableError;
pub use tokio_util::sync::CancellationToken;
