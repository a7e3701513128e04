//! Who brings what, and in which order: pure functions over plain data, for batches that are on their way and for
//! routes that are planned in advance.
//!
//! ```text
//! batch     one vehicle: what a route costs and whether it can be driven;
//!             insertion (one more order), sequence (a better order)
//! fleet     many vehicles: a plan that gets better while orders come in
//! routes    known in advance: as few vehicles as possible, then as short as possible;
//!             mixed (vehicles that differ, and what fits into none of them)
//! ```
//!
//! Nothing here knows a clock, a message or an actor. Time is a number in the caller's unit, chance comes from a seed.

pub mod batch;
mod chance;
pub mod fleet;
pub mod routes;
