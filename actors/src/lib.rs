//! Who acts: the rules of every entity, the runtime that makes them durable, and the regions that
//! bring them together.
//!
//! Read in this order: [`decider`] (what rules are), `driver.rs` (rules), [`commit`] (what a yes
//! writes), [`journal`] (where), [`runtime`] (how rules live), [`region`] (who proposes).

pub mod board;
pub mod cluster;
pub mod commit;
pub mod decider;
pub mod driver;
pub mod fare;
pub mod format;
mod geofence;
pub mod incident;
pub mod journal;
pub mod listing;
pub mod order;
pub mod policy;
mod prospect;
pub mod reason;
pub mod refusal;
pub mod region;
pub mod rescue;
pub mod revocation;
pub mod rider;
pub mod rule;
pub mod run;
pub mod runtime;
pub mod search;
pub mod tell;
pub mod template;
pub mod told;
pub mod zone;

pub use commit::{Claim, Commit, Effect, EntityKey, Kind, Posting, Version, ViewRow};
pub use decider::{Context, Decider, Seen, Topic, Waited};
pub use format::Format;
pub use listing::{Card, DriverCard, Listing, SearchCard};
pub use refusal::Refusal;
pub use tell::{Sight, Tell};
