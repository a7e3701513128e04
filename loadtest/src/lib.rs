//! A crowd: simulated riders and drivers. Knows the protocol and nothing else of a node.
//!
//! ```text
//! city ──► streets, and how they look     trips ──► who wants to go where, and when
//!    └───────────────► crowd ◄───────────────┘
//!                        │ one WebSocket each
//!                      a node
//!                        │ every frame
//!            checker (promises)   report (counts, times)   measure (waits, from when they were due)
//!                                           └──────────► record ──► page, compare
//!
//!  trips, roads ──► match_sim ──► what policies of matching are worth, without any node
//! ```
//!
//! [`forecast`] asks of the same trips how well regions forecast how much will be asked.
//!
//! Beside it, without a node, what plans batches and routes is measured on published instances: [`mdrp`] (meals of a
//! day, as they are ordered) and [`pdptw`] (routes known in advance).
//!
//! [`scenario`] says what a run is to be like; [`several`] lets generators on many machines play one together.
//!
//! `connect` is another crowd: as many sessions as a machine holds, which do little more than to be there.

pub mod checker;
pub mod city;
mod clock;
pub mod compare;
pub mod connect;
mod cpu;
mod crowd;
pub mod curve;
pub mod forecast;
pub mod match_sim;
pub mod mdrp;
pub mod measure;
pub mod nodes;
mod page;
pub mod pdptw;
pub mod record;
pub mod report;
pub mod scenario;
pub mod several;
mod table;
pub mod token;
pub mod trips;

pub use city::City;
pub use clock::now;
pub use crowd::{
    Audit, Battery, Cut, Demand, Habits, Hand, Network, NoEntry, NoTarget, NoToken, Options,
    PrepareError, Reach, Shift, Streets, Target, TokenSource, play, run,
};
pub use page::page;
pub use record::Record;
pub use report::{Glance, Progress, Report};
pub use table::TableError;
pub use tokio_util::sync::CancellationToken;
