//! Who should be offered what: pure functions over what is known of drivers and of open searches.
//!
//! ```text
//!  cards ──► Region (who is here, who looks, who was just proposed)
//!               │ one round, with the rosters of the ring around it
//!               ▼
//!   Field (grid of drivers) ──► round: fit ─► cost (Router) ─► assignment ─► hold ──► proposals
//! ```
//!
//! Regions (actors) and simulations run the same code: time is an argument, and nothing here waits,
//! reads a clock or draws lots. The same input gives the same answer.

pub mod assignment;
pub mod batch;
pub mod card;
pub mod cost;
pub mod demand;
pub mod field;
pub mod fit;
pub mod forecast;
pub mod grid;
pub mod rank;
pub mod region;
pub mod replay;
pub mod round;
pub mod router;
pub mod ruling;
pub mod surge;
pub mod trace;

pub use card::{Came, Candidate, DriverCard, Paused, SearchCard, Standing};
pub use field::Field;
pub use region::Region;
pub use router::Router;
