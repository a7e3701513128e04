//! A crowd: simulated riders and drivers. Knows the protocol and nothing else.
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

pub mod checker;
pub mod city;
mod clock;
mod crowd;
pub mod match_sim;
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
